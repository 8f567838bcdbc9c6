//! Restore in place through the program: what is replaced, what is kept, what is told, and what is refused before a byte changes.

mod cli;

use std::path::Path;

use cli::{Home, assert_same_tree, has, is_root};
use rusqlite::Connection;
use serde_json::{Value, json};

const SCHEMA: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, what TEXT); CREATE TABLE data(x);
    CREATE TRIGGER keep BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'append only'); END;
    CREATE TRIGGER hold BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'append only'); END;";

/// A database with an audit trail of some rows, sealed as bundle 1, to which others were added afterwards.
fn site(mode: &str) -> (Home, Connection, String) {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    add(&database, 1, 100);
    let bundle = seal(&home, &[]);
    add(&database, 101, 140);
    (home, database, bundle)
}

fn add(database: &Connection, from: i64, to: i64) {
    let sql = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i+1 FROM n WHERE i < ?2)
        INSERT INTO audit(at, what) SELECT strftime('%Y-%m-%dT%H:%M:%SZ', 1700000000 + i, 'unixepoch'), 'event ' || i FROM n";
    database.execute(sql, [from, to]).unwrap();
    database.execute("INSERT INTO data VALUES(?1)", [to]).unwrap();
}

fn seal(home: &Home, more: &[&str]) -> String {
    let report = home.json(&[&["backup", "app.db", "--key-file", "key", "--json"], more].concat());
    report["bundle"]["path"].as_str().unwrap().to_owned()
}

fn restore<'a>(bundle: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", bundle, "--in-place", "--force", "--key-file", "key", "--json"], more].concat()
}

fn rows(path: &Path) -> (i64, i64) {
    let connection = Connection::open(path).unwrap();
    let ok: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    connection.query_row("SELECT count(*), (SELECT max(x) FROM data) FROM audit", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn events(home: &Home) -> Vec<String> {
    let shown = home.json(&["audit", "show", "--json"]);
    let word = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    shown["records"].as_array().unwrap().iter().map(|record| word(record, "event") + " " + &word(record, "outcome")).collect()
}

#[test]
fn forty_lost_rows_are_told_kept_and_on_the_record() {
    for mode in ["wal", "delete"] {
        let (home, database, bundle) = site(mode);
        drop(database);
        let report = home.json(&restore(&bundle, &["--reason", "bad import", "--ticket", "OPS-17", "--operator", "Ann"]));
        assert_eq!(rows(&home.path("app.db")), (100, 100));
        let table = &report["targets"][0]["gap"]["tables"][0];
        assert_eq!((&table["table"], &table["declaration"]), (&json!("audit"), &json!("inferred")));
        assert_eq!((&table["lost"], &table["common"], &table["altered"]), (&json!(40), &json!(100), &json!(0)));
        assert_eq!((&table["lost_range"], &table["reused_ids"]), (&json!(["101", "140"]), &json!([101, 140])));
        assert_eq!((&table["times"]["first"], &table["times"]["last"]), (&json!("2023-11-14T22:15:01Z"), &json!("2023-11-14T22:15:40Z")));
        assert_eq!(report["targets"][0]["comparison"], "equal");
        let safety = report["safety"]["path"].as_str().unwrap();
        assert_eq!(report["safety"]["kind"], "safety");
        assert_eq!(
            events(&home),
            ["backup success", "restore intent", "backup success", "restore intent", "gap success", "restore success"]
        );
        let shown = home.json(&["audit", "show", "--json"]);
        let last = shown["records"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(
            (&last["reason"], &last["details"]["ticket"], &last["actor"]["operator"]),
            (&json!("bad import"), &json!("OPS-17"), &json!("Ann"))
        );
        assert_eq!(last["details"]["sources"][0]["lost"], 40);
        home.succeeds(&["restore", safety, "--to", "before", "--key-file", "key"]);
        assert_eq!(rows(&home.path("before/app.db")), (140, 140), "the state before is in the safety bundle");
        home.succeeds(&["audit", "verify"]);
        home.succeeds(&["verify", "airkeep-vault", "--key-file", "key"]);
        let now: String = Connection::open(home.path("app.db")).unwrap().query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
        assert_eq!(now, mode, "the journal mode is the target's");
    }
}

#[test]
fn a_dry_run_tells_the_same_gap_and_changes_no_byte() {
    for mode in ["wal", "delete"] {
        let (home, database, bundle) = site(mode);
        drop(database);
        let before = home.tree();
        let plan = home.json(&["restore", &bundle, "--in-place", "--dry-run", "--key-file", "key", "--json"]);
        assert_same_tree(&before, &home.tree());
        assert_eq!(plan.get("targets"), None, "nothing was done");
        let text = home.succeeds(&["restore", &bundle, "--in-place", "--dry-run", "--key-file", "key", "-q"]);
        assert!(text.contains("lose      app.audit: 40 rows, id 101 to 140, at 2023-11-14T22:15:01Z to 2023-11-14T22:15:40Z\n"), "{text}");
        let mut report = home.json(&restore(&bundle, &[]));
        let gap = report["targets"][0]["gap"].as_object_mut().unwrap();
        assert!(gap.insert("capsule".into(), Value::Null).unwrap()["size_bytes"].as_u64().unwrap() > 0);
        assert_eq!(plan["plan"]["targets"][0]["gap"], Value::Object(gap.clone()));
    }
}

#[test]
fn nothing_lost_is_on_the_record_too() {
    let (home, database, _) = site("wal");
    let bundle = seal(&home, &[]);
    drop(database);
    let report = home.json(&restore(&bundle, &[]));
    let table = &report["targets"][0]["gap"]["tables"][0];
    assert_eq!((&table["lost"], &table["certainty"]), (&json!(0), &json!("exact")));
    assert_eq!(report["targets"][0]["gap"]["capsule"], Value::Null);
    assert!(events(&home).contains(&"gap success".to_owned()));
    home.succeeds(&["verify", "airkeep-vault", "--key-file", "key"]);
}

#[test]
fn the_next_backup_accuses_nobody_of_what_a_restore_did_and_still_finds_tampering() {
    let (home, database, _) = site("wal");
    let bundle = seal(&home, &["--append-only", "audit"]);
    add(&database, 141, 150);
    seal(&home, &[]);
    drop(database);
    let report = home.json(&restore(&bundle, &[]));
    assert_eq!(report["targets"][0]["gap"]["tables"][0]["declaration"], "recorded");
    seal(&home, &[]);
    let database = Connection::open(home.path("app.db")).unwrap();
    add(&database, 141, 145);
    seal(&home, &[]);
    database.execute_batch("DROP TRIGGER keep; UPDATE audit SET what = 'x' WHERE id = 7").unwrap();
    let run = home.run(["backup", "app.db", "--key-file", "key"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("history rewritten in table app.audit"), "{}", run.stderr);
    let run = home.run(["audit", "continuity"]);
    assert_eq!(run.stdout.matches("when backup").count(), 1, "{}", run.stdout);
}

#[test]
fn incarnations_tell_apart_ids_that_were_issued_twice() {
    let (home, database, first) = site("wal");
    let second = seal(&home, &[]);
    drop(database);
    let incarnation = |bundle: &str| home.json(&restore(bundle, &[]))["targets"][0]["incarnation"].clone();
    assert_eq!(incarnation(&first), json!({ "number": 2, "parent": 1, "replaced": 1 }));
    add(&Connection::open(home.path("app.db")).unwrap(), 101, 110);
    let third = seal(&home, &[]);
    assert_eq!(incarnation(&second), json!({ "number": 3, "parent": 1, "replaced": 2 }));
    assert_eq!(incarnation(&third), json!({ "number": 4, "parent": 2, "replaced": 3 }));
}

#[test]
fn a_missing_target_is_made_and_what_was_lost_is_unknown_but_bounded() {
    let (home, database, bundle) = site("wal");
    seal(&home, &["--append-only", "audit"]);
    drop(database);
    std::fs::remove_file(home.path("app.db")).unwrap();
    let report = home.json(&restore(&bundle, &["--append-only", "audit"]));
    assert_eq!(rows(&home.path("app.db")), (100, 100));
    let (gap, table) = (&report["targets"][0]["gap"], &report["targets"][0]["gap"]["tables"][0]);
    assert_eq!((&gap["live"], &table["certainty"], &table["at_least"]), (&json!("missing"), &json!("unknown"), &json!(40)));
    assert_eq!((&report["safety"], &report["targets"][0]["way"]), (&Value::Null, &json!("replace")));
}

#[test]
fn what_cannot_be_opened_is_kept_beside() {
    let (home, database, bundle) = site("delete");
    drop(database);
    home.write("app.db", "this was a database once", 0o640);
    home.refuses(2, "what is there is no database that can be opened", &["restore", &bundle, "--in-place", "--force", "--key-file", "key"]);
    home.refuses(2, "lies in a vault", &["restore", &bundle, "--onto", &bundle, "--force", "--key-file", "key", "--accept-other"]);
    let report = home.json(&restore(&bundle, &["--accept-other"]));
    assert_eq!(rows(&home.path("app.db")), (100, 100));
    assert_eq!(report["targets"][0]["gap"]["live"], "unreadable");
    let aside = report["targets"][0]["aside"].as_str().unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), b"this was a database once");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(home.path("app.db").metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn another_place_is_named_with_onto() {
    let (home, database, bundle) = site("wal");
    let run = |more: &[&str]| home.run([&["restore", &bundle, "--key-file", "key", "--force"], more].concat());
    assert_eq!(run(&["--onto", "copy.db"]).code, 0);
    assert_eq!(rows(&home.path("copy.db")), (100, 100));
    drop(database);
    assert_eq!(rows(&home.path("app.db")), (140, 140), "the original is untouched");
}

#[test]
fn all_targets_are_locked_before_the_first_is_replaced() {
    let home = Home::new();
    home.key("key");
    let make = |name: &str| {
        let database = Connection::open(home.path(name)).unwrap();
        database.execute_batch(SCHEMA).unwrap();
        add(&database, 1, 10);
        database
    };
    let (a, b) = (make("a.db"), make("b.db"));
    let report = home.json(&["backup", "a.db", "b.db", "--key-file", "key", "--json"]);
    let bundle = report["bundle"]["path"].as_str().unwrap().to_owned();
    [&a, &b].iter().for_each(|database| add(database, 11, 20));
    drop(a);
    b.execute_batch("BEGIN IMMEDIATE").unwrap();
    let run = home.run(restore(&bundle, &["--busy-timeout", "0.2"]));
    assert_eq!(run.code, 11, "{}", run.stderr);
    assert!(run.stderr.contains("cannot restore 'b' in place") && run.stderr.contains("is locked"), "{}", run.stderr);
    b.execute_batch("ROLLBACK").unwrap();
    assert_eq!([rows(&home.path("a.db")), rows(&home.path("b.db"))], [(20, 20), (20, 20)], "none of both was replaced");
    drop(b);
    let report = home.json(&restore(&bundle, &[]));
    assert_eq!(report["targets"].as_array().unwrap().len(), 2);
    assert_eq!([rows(&home.path("a.db")), rows(&home.path("b.db"))], [(10, 10), (10, 10)]);
    let run = home.run(restore(&bundle, &["--onto", "c.db"]));
    assert_eq!(run.code, 2, "--in-place and --onto together: {}", run.stderr);
    home.refuses(2, "one target was named for 2 sources: a, b", &["restore", &bundle, "--onto", "c.db", "--key-file", "key", "--force"]);
}

#[test]
fn who_uses_the_database_is_named_and_the_online_way_goes_past_them() {
    let (home, database, bundle) = site("wal");
    let run = home.run(restore(&bundle, &["--busy-timeout", "0.1"]));
    assert_eq!(run.code, 11, "{}", run.stderr);
    assert!(run.stderr.contains(&format!("open in {} (", std::process::id())) && run.stderr.contains("--online"), "{}", run.stderr);
    let report = home.json(&restore(&bundle, &["--online"]));
    assert_eq!(report["targets"][0]["way"], "online");
    let seen: i64 = database.query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(seen, 100, "a connected reader sees the restored content");
}

#[test]
fn nothing_is_replaced_where_nobody_agrees() {
    let (home, database, bundle) = site("wal");
    drop(database);
    let before = home.read("app.db");
    home.refuses(2, "nobody to ask", &["restore", &bundle, "--in-place", "--key-file", "key"]);
    assert_eq!(home.read("app.db"), before);
    assert_eq!(events(&home), ["backup success"], "what was only looked at is not on the record");
}

#[test]
fn refusals_come_before_a_byte_changes() {
    let (home, database, bundle) = site("delete");
    let in_place = |more: &[&'static str]| [&["restore", &bundle, "--in-place", "--force", "--key-file", "key"], more].concat();
    home.refuses(2, "needs a reason", &in_place(&["--no-safety-bundle"]));
    home.refuses(10, "no source has a table 'audits'", &in_place(&["--append-only", "audits"]));
    database.execute_batch("PRAGMA application_id=7").unwrap();
    home.refuses(2, "its application_id is 7, the snapshot's 0", &in_place(&[]));
    database.execute_batch("PRAGMA application_id=0").unwrap();
    drop(database);
    let before = home.read("app.db");
    std::fs::copy(home.path(&bundle), home.path("carried.akb")).unwrap();
    let carried = ["restore", "carried.akb", "--in-place", "--force", "--key-file", "key"];
    home.refuses(10, "is no vault", &carried);
    home.key("other");
    home.succeeds(&["backup", "app.db", "--vault", "elsewhere", "--key-file", "other"]);
    home.refuses(12, "do not open the newest bundle", &[&carried[..], &["--vault", "elsewhere"]].concat());
    home.refuses(1, "the application was not stopped", &in_place(&["--stop-with", "sh -c 'exit 3'"]));
    std::fs::rename(home.path("app.db"), home.path("real.db")).unwrap();
    std::os::unix::fs::symlink("real.db", home.path("app.db")).unwrap();
    home.refuses(2, "is a symbolic link", &in_place(&[]));
    assert_eq!(home.read("real.db"), before);
    home.succeeds(&in_place(&["--follow-links"]));
    assert_eq!(rows(&home.path("real.db")), (100, 100));
}

#[test]
fn an_empty_snapshot_and_a_corrupt_one_need_a_word() {
    let (home, database, bundle) = site("delete");
    drop(database);
    home.write("empty.db", "", 0o600);
    let empty = home.json(&["backup", "empty.db", "--key-file", "key", "--json"])["bundle"]["path"].as_str().unwrap().to_owned();
    let onto = ["restore", &empty, "--onto", "app.db", "--force", "--key-file", "key"];
    home.refuses(2, "the snapshot is empty, and it is not", &onto);
    assert_eq!(rows(&home.path("app.db")), (140, 140));
    home.succeeds(&[&onto[..], &["--accept-other"]].concat());
    home.succeeds(&["restore", &bundle, "--in-place", "--force", "--key-file", "key"]);
    assert_eq!(rows(&home.path("app.db")), (100, 100));
}

#[test]
fn an_application_is_stopped_before_and_started_again_whatever_happens() {
    let (home, database, bundle) = site("wal");
    let stop = "sh -c 'echo stopped >> service'";
    let start = "sh -c 'echo started >> service'";
    let service = ["--stop-with", stop, "--start-with", start, "--busy-timeout", "0.1"];
    let run = home.run(restore(&bundle, &service));
    assert_eq!(run.code, 11, "it is still connected: {}", run.stderr);
    assert_eq!(home.read("service"), b"stopped\nstarted\n");
    drop(database);
    home.json(&restore(&bundle, &service));
    assert_eq!(home.read("service"), b"stopped\nstarted\nstopped\nstarted\n");
    let run = home.run(restore(&bundle, &["--start-with", "sh -c 'exit 1'"]));
    assert_eq!(run.code, 3, "restored, and the application is down: {}", run.stderr);
    assert!(run.stderr.contains("the application was not started"), "{}", run.stderr);
}

#[test]
fn where_the_present_state_cannot_be_kept_nothing_is_replaced_unless_somebody_says_why() {
    if !has("mount") || !is_root() {
        return eprintln!("skipped: a file system of no size needs root and mount");
    }
    let (home, database, bundle) = site("delete");
    drop(database);
    home.folder("small");
    let mount = |arguments: &[&str]| assert_eq!(cli::finish(home.program("mount").args(arguments)).code, 0);
    mount(&["-t", "tmpfs", "-o", "size=64k,mode=700", "none", "small"]);
    home.succeeds(&["init", "--vault", "small", "--name", "small"]);
    home.write("small/filler", vec![1; 30 << 10], 0o600);
    let run = home.run(restore(&bundle, &["--vault", "small"]));
    let without = home.run(restore(&bundle, &["--vault", "small", "--no-safety-bundle", "--reason", "the disk is full"]));
    let umount = cli::finish(home.program("umount").arg("small")).code;
    assert_eq!((run.code, umount), (1, 0), "{}", run.stderr);
    assert!(run.stderr.contains("the present state cannot be kept, and nothing was replaced"), "{}", run.stderr);
    assert_eq!(without.code, 0, "{}", without.stderr);
    assert_eq!(rows(&home.path("app.db")), (100, 100));
}

#[test]
fn a_damaged_bundle_replaces_nothing() {
    let (home, database, bundle) = site("wal");
    drop(database);
    let mut bytes = home.read(&bundle);
    cli::surgery::flip(&mut bytes, "frames/00000001");
    home.write(&bundle, bytes, 0o600);
    home.refuses(13, "nothing was restored", &["restore", &bundle, "--in-place", "--force", "--key-file", "key"]);
    assert_eq!(rows(&home.path("app.db")), (140, 140));
}

#[test]
fn a_corrupt_live_database_is_kept_as_it_is_and_the_gap_is_a_lower_bound() {
    let (home, database, bundle) = site("delete");
    add(&database, 141, 3000);
    drop(database);
    let mut bytes = home.read("app.db");
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 8192].fill(0xee);
    home.write("app.db", bytes, 0o600);
    let report = home.json(&restore(&bundle, &[]));
    assert_eq!(rows(&home.path("app.db")), (100, 100));
    let table = &report["targets"][0]["gap"]["tables"][0];
    assert_eq!(table["certainty"], "lower-bound", "{table}");
    assert!(table["lost"].as_u64().unwrap() >= 40, "{table}");
    home.succeeds(&["verify", report["safety"]["path"].as_str().unwrap(), "--key-file", "key"]);
}

#[test]
fn the_databases_of_a_real_application_lose_exactly_what_is_expected() {
    let Some(corpus) = std::env::var_os("AIRKEEP_CORPUS").map(|folder| Path::new(&folder).join("icdev")).filter(|path| path.exists())
    else {
        return eprintln!("skipped: AIRKEEP_CORPUS names no folder with icdev");
    };
    let home = Home::new();
    home.key("key");
    let place = |side: &str, name: &str| {
        std::fs::copy(corpus.join(side).join(name), home.path(name)).unwrap();
    };
    for name in ["icdev.db", "platform.db"] {
        place("live-before", name);
    }
    let tables = corpus.join("append_only_tables.json");
    let tables = format!("{}", tables.display());
    let report = home.json(&[
        "backup",
        "icdev.db",
        "platform.db",
        "--append-only",
        &tables,
        "--append-only",
        "platform:audit_platform",
        "--key-file",
        "key",
        "--json",
    ]);
    let bundle = report["bundle"]["path"].as_str().unwrap();
    for name in ["icdev.db", "platform.db"] {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(home.path(format!("{name}{suffix}")));
        }
        place("live-after", name);
    }
    let report = home.json(&restore(bundle, &[]));
    let expected: Value = serde_json::from_slice(&std::fs::read(corpus.join("expected_gap.json")).unwrap()).unwrap();
    for (target, database) in report["targets"].as_array().unwrap().iter().zip(["icdev", "platform"]) {
        let tables = target["gap"]["tables"].as_array().unwrap();
        assert!(tables.iter().all(|table| table["declaration"] == "recorded" && table["certainty"] == "exact"), "{target:#}");
        let number = |text: &Value| text.as_str().unwrap().parse::<i64>().unwrap();
        let facts = |table: &Value| {
            let (common, lost) = (table["common"].as_u64().unwrap(), table["lost"].as_u64().unwrap());
            json!({ "rows_in_backup": common, "rows_live": common + lost, "missing": lost, "first_missing": table["times"]["first"],
                "last_missing": table["times"]["last"], "pk_min": number(&table["lost_range"][0]), "pk_max": number(&table["lost_range"][1]) })
        };
        let lost = tables.iter().filter(|table| table["lost"] != 0);
        let found: serde_json::Map<String, Value> = lost.map(|table| (table["table"].as_str().unwrap().to_owned(), facts(table))).collect();
        assert_eq!(Value::Object(found), expected[format!("{database}: live-after vs bak-plain")], "{database}");
    }
    assert_eq!(report["targets"][0]["gap"]["tables"].as_array().unwrap().len(), 67);
    assert_eq!(home.run(["backup", "icdev.db", "platform.db", "--key-file", "key"]).code, 0, "the next backup accuses nobody");
    home.succeeds(&["audit", "verify"]);
}
