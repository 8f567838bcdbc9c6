//! Backups find what was done to an application's own audit trail behind its back, and nothing else.

mod cli;

use cli::Home;
use rusqlite::Connection;
use serde_json::Value;

const SCHEMA: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, what TEXT);
    CREATE TABLE log(at TEXT PRIMARY KEY, what TEXT); CREATE TABLE other(x);
    CREATE TRIGGER keep BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'append only'); END;
    INSERT INTO audit(at, what) VALUES ('1', 'a'), ('2', 'b'), ('3', 'c'); INSERT INTO log VALUES ('z', 'a'), ('y', 'b'); INSERT INTO other VALUES (1);";

const BACKUP: [&str; 5] = ["backup", "app.db", "--key-file", "key", "--json"];

fn site() -> (Home, Connection) {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    let first = home.json(&[&BACKUP[..], &["--append-only", "audit", "--append-only", "app:LOG"]].concat());
    assert_eq!(first["sources"][0]["append_only"], serde_json::json!(["audit", "log"]));
    (home, database)
}

/// Backs up, and gives what was reported as rewritten, by table.
fn rewritten(home: &Home) -> Vec<String> {
    let run = home.run(BACKUP);
    let object: Value = serde_json::from_str(&run.stdout).unwrap();
    let events = home.json(&["audit", "show", "--event", "continuity", "--json"]);
    let last = home.bundles().len();
    let of_this = |record: &&Value| record["subject"]["sequence"] == last;
    let word = |record: &Value, name: &str| record["details"][name].as_str().unwrap().to_owned();
    let found: Vec<String> =
        events["records"].as_array().unwrap().iter().filter(of_this).map(|r| word(r, "table") + " " + &word(r, "problem")).collect();
    assert_eq!(run.code, if found.is_empty() { 0 } else { 3 }, "{}", run.stderr);
    assert_eq!(run.stderr.contains("history rewritten in table app."), !found.is_empty(), "{}", run.stderr);
    assert!(object["bundle"]["path"].is_string(), "sealed all the same: {object}");
    found
}

#[test]
fn exactly_the_rewritten_tables_are_reported_and_each_only_once() {
    for (change, expected) in [
        ("INSERT INTO audit(at, what) VALUES ('4', 'd'); INSERT INTO log VALUES ('a', 'c')", &[][..]),
        ("VACUUM", &[]),
        ("DELETE FROM other; ALTER TABLE audit ADD COLUMN who", &[]),
        ("DROP TRIGGER keep; UPDATE audit SET what = 'x' WHERE id = 2", &["audit rewritten"]),
        ("DELETE FROM audit WHERE id = 1", &["audit shrunk"]),
        ("DELETE FROM log WHERE at = 'z'; INSERT INTO log VALUES ('w', 'n')", &["log rewritten"]),
        ("DROP TABLE log; DROP TABLE audit; CREATE TABLE audit(id INTEGER PRIMARY KEY, at TEXT, what TEXT)", &["audit shrunk", "log gone"]),
    ] {
        let (home, database) = site();
        database.execute_batch(change).unwrap();
        assert_eq!(rewritten(&home), expected, "{change}");
        assert!(rewritten(&home).is_empty(), "{change}: what was told is the new beginning");
        home.succeeds(&["audit", "verify"]);
        let run = home.run(["audit", "continuity"]);
        assert_eq!(run.code, if expected.is_empty() { 0 } else { 3 }, "{}", run.stdout);
        assert_eq!(run.stdout.matches("when backup 2 was made").count(), expected.len(), "{}", run.stdout);
    }
}

#[test]
fn a_table_without_rowid_has_no_order_that_could_be_kept() {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database.execute_batch("CREATE TABLE audit(at TEXT PRIMARY KEY, what) WITHOUT ROWID; INSERT INTO audit VALUES ('2', 'b')").unwrap();
    home.succeeds(&[&BACKUP[..], &["--append-only", "audit"]].concat());
    database.execute_batch("INSERT INTO audit VALUES ('1', 'a')").unwrap();
    assert!(rewritten(&home).is_empty());
}

#[test]
fn a_list_may_stand_in_a_file_and_a_wrong_name_is_refused() {
    let (home, _) = site();
    home.write("list.json", r#"["audit", {"table": "log", "label": "app", "pk": []}]"#, 0o600);
    home.succeeds(&[&BACKUP[..], &["--append-only", "list.json"]].concat());
    for (code, words, value) in [
        (10, "has a table 'audti'", "audti"),
        (10, "no source 'other' has a table", "other:audit"),
        (2, "names no table", "app:"),
        (10, "cannot use 'none.json'", "none.json"),
        (2, "cannot use 'key.json'", "key.json"),
        (2, "item 1 names no table", "wrong.json"),
    ] {
        home.write("key.json", "x", 0o600);
        home.write("wrong.json", "[{}]", 0o600);
        home.refuses(code, words, &["backup", "app.db", "--key-file", "key", "--append-only", value]);
    }
}

#[test]
fn a_real_audit_trail_that_only_grew_is_not_accused() {
    let Some(corpus) = std::env::var_os("AIRKEEP_CORPUS").map(std::path::PathBuf::from) else {
        return eprintln!("skipped: AIRKEEP_CORPUS names no corpus");
    };
    let home = Home::new();
    home.key("key");
    let icdev = corpus.join("icdev");
    let list = icdev.join("append_only_tables.json");
    let place = |state: &str| {
        for suffix in ["", "-wal"] {
            let from = icdev.join(state).join(format!("icdev.db{suffix}"));
            let to = home.path(format!("icdev.db{suffix}"));
            let _ = std::fs::remove_file(&to);
            if from.exists() {
                std::fs::copy(from, to).unwrap();
            }
        }
        let _ = std::fs::remove_file(home.path("icdev.db-shm"));
    };
    let backup = ["backup", "icdev.db", "--key-file", "key", "--json"];
    place("live-before");
    let first = home.json(&[&backup[..], &["--append-only", list.to_str().unwrap()]].concat());
    let watched = first["sources"][0]["append_only"].as_array().unwrap().len();
    assert!(watched >= 60, "{watched} tables");
    place("live-after");
    home.json(&backup);
    let told = home.json(&["audit", "continuity", "--json"]);
    assert!(told["tables"].as_array().unwrap().iter().all(|table| table["ok"] == true), "{told}");

    let database = Connection::open(home.path("icdev.db")).unwrap();
    let triggers: Vec<String> = {
        let mut statement = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'audit_trail'").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    triggers.iter().for_each(|name| database.execute_batch(&format!("DROP TRIGGER \"{name}\"")).unwrap());
    database.execute_batch("UPDATE audit_trail SET actor = 'nobody' WHERE id = 7").unwrap();
    let run = home.run(backup);
    assert!(run.code == 3 && run.stderr.contains("history rewritten in table icdev.audit_trail"), "{}", run.stderr);
}
