//! Graft and marker, through the program: what goes back is what was there, what cannot go back is refused before anything is replaced.

mod cli;

use cli::Home;
use rusqlite::Connection;
use rusqlite::types::Value;
use serde_json::json;

/// A database that is sealed, and then goes on.
fn site(schema: &str, then: &str) -> (Home, String) {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database.execute_batch(schema).unwrap();
    let report = home.json(&["backup", "app.db", "--key-file", "key", "--json"]);
    database.execute_batch(then).unwrap();
    (home, report["bundle"]["path"].as_str().unwrap().to_owned())
}

fn restore<'a>(bundle: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", bundle, "--in-place", "--force", "--key-file", "key", "--append-only", "audit"], more].concat()
}

/// All rows with types, sorted.
fn rows(home: &Home, sql: &str) -> Vec<Vec<Value>> {
    let database = Connection::open(home.path("app.db")).unwrap();
    let mut statement = database.prepare(sql).unwrap();
    let count = statement.column_count();
    let read = statement.query_map([], |row| (0..count).map(|index| row.get(index)).collect::<rusqlite::Result<Vec<Value>>>());
    let mut rows: Vec<Vec<Value>> = read.unwrap().collect::<rusqlite::Result<_>>().unwrap();
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

fn number(home: &Home, sql: &str) -> i64 {
    Connection::open(home.path("app.db")).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Restores with a graft, and insists that the audit table is what it was and the data what it had been.
fn survives(schema: &str, then: &str, columns: &str) {
    let data = "CREATE TABLE data(x); INSERT INTO data VALUES('before');";
    let (home, bundle) = site(&format!("{data}{schema}"), &format!("{then}; UPDATE data SET x = 'after'"));
    let sql = format!("SELECT {columns} FROM audit");
    let before = rows(&home, &sql);
    let report = home.json(&restore(&bundle, &["--graft", "--json"]));
    assert_eq!(rows(&home, &sql), before, "{schema}");
    assert_eq!(rows(&home, "SELECT x FROM data"), [[Value::Text("before".into())]]);
    let table = &report["targets"][0]["gap"]["tables"][0];
    assert_eq!(table["grafted"], table["lost"], "{table}");
    assert!(table["lost"].as_u64().unwrap() > 0);
    assert_eq!(rows(&home, "PRAGMA integrity_check"), [[Value::Text("ok".into())]]);
    let again = home.json(&restore(report["safety"]["path"].as_str().unwrap(), &["--dry-run", "--json"]));
    let table = &again["plan"]["targets"][0]["gap"]["tables"][0];
    assert_eq!((&table["lost"], &table["resurrected"], &table["altered"]), (&json!(0), &json!(0), &json!(0)), "against the state before");
}

const VALUES: &str =
    "(NULL), (1), (9007199254740993), (-9223372036854775808), (1.0), (-0.0), (9e999), (5e-324), ('text'), (''), ('quote '' \" \\'),
    (CAST(x'ff00fe' AS TEXT)), (x''), (x'00ff'), ('12'), (char(0) || 'x'), ('snow ☃')";

#[test]
fn every_value_comes_back_with_its_type_and_its_bytes() {
    let insert = format!("INSERT INTO audit(v) VALUES {VALUES}");
    let columns = "id, typeof(v), hex(CAST(v AS BLOB)), CASE WHEN typeof(v) IN ('integer', 'real') THEN v END";
    survives("CREATE TABLE audit(id INTEGER PRIMARY KEY, v)", &insert, columns);
    survives("CREATE TABLE audit(id INTEGER PRIMARY KEY, v TEXT)", "INSERT INTO audit(v) VALUES ('12'), (x'3132'), (NULL)", columns);
    survives("CREATE TABLE audit(id INTEGER PRIMARY KEY, v REAL)", "INSERT INTO audit(v) VALUES (1), (1.5), ('x'), (1e300)", columns);
    survives(
        "PRAGMA encoding='UTF-16le'; CREATE TABLE audit(id INTEGER PRIMARY KEY, v)",
        "INSERT INTO audit(v) VALUES ('ä'), ('☃')",
        columns,
    );
}

#[test]
fn every_kind_of_table_comes_back() {
    for (schema, then, columns) in [
        (
            "CREATE TABLE audit(id TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO audit VALUES('m', 1)",
            "INSERT INTO audit VALUES('a', 2), ('z', 3)",
            "id, v",
        ),
        (
            "CREATE TABLE audit(a, b, v, PRIMARY KEY(b, a)); INSERT INTO audit VALUES(1, 1, 1)",
            "INSERT INTO audit VALUES(1, 2, 2), (2, 1, 3)",
            "a, b, v",
        ),
        ("CREATE TABLE audit(v); INSERT INTO audit VALUES('x'), ('x')", "INSERT INTO audit VALUES('x'), ('y'), ('y')", "v"),
        (
            "CREATE TABLE audit(id INTEGER PRIMARY KEY, v, w AS (v + 1) STORED, x AS (v * 2))",
            "INSERT INTO audit(v) VALUES(1), (2)",
            "id, v, w, x",
        ),
        ("CREATE TABLE audit(\"odd \"\" name\" INTEGER PRIMARY KEY, \"select\" TEXT)", "INSERT INTO audit VALUES(7, 'x')", "*"),
        ("CREATE TABLE audit(id INTEGER PRIMARY KEY, v TEXT) STRICT", "INSERT INTO audit VALUES(7, 'x')", "*"),
        (
            "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE audit(id INTEGER PRIMARY KEY, p REFERENCES p)",
            "INSERT INTO p VALUES(9); INSERT INTO audit VALUES(1, 9)",
            "*",
        ),
        (
            "CREATE TABLE audit(id INTEGER PRIMARY KEY, v UNIQUE ON CONFLICT REPLACE); INSERT INTO audit VALUES(1, 'a')",
            "INSERT INTO audit VALUES(2, 'b')",
            "*",
        ),
    ] {
        survives(schema, then, columns);
    }
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 60000) INSERT INTO audit SELECT 'key ' || (i * 7919 % 60013), i FROM n";
    survives("CREATE TABLE audit(id TEXT PRIMARY KEY, v)", many, "id, v");
}

#[test]
fn triggers_stay_silent_and_no_id_is_given_out_again() {
    let schema = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, v); CREATE TABLE echo(v);
        CREATE TRIGGER t AFTER INSERT ON audit BEGIN INSERT INTO echo VALUES(new.v); END;
        CREATE TRIGGER u BEFORE INSERT ON audit WHEN new.v = 'late' BEGIN SELECT raise(ABORT, 'no'); END;
        INSERT INTO audit(v) VALUES('a');";
    let then = "DROP TRIGGER u; INSERT INTO audit(v) VALUES('late'), ('gone'); DELETE FROM audit WHERE v = 'gone'; DELETE FROM echo";
    let (home, bundle) = site(schema, then);
    let report = home.json(&restore(&bundle, &["--graft", "--json"]));
    assert_eq!(report["targets"][0]["gap"]["tables"][0]["grafted"], 1);
    assert_eq!(
        (number(&home, "SELECT count(*) FROM echo"), number(&home, "SELECT count(*) FROM audit")),
        (1, 2),
        "the snapshot's echo, and no other"
    );
    assert_eq!(number(&home, "SELECT seq FROM sqlite_sequence WHERE name = 'audit'"), 3, "id 3 was given out");
}

#[test]
fn what_cannot_go_back_is_refused_with_its_reason_before_anything_is_replaced() {
    let schema = "CREATE TABLE audit(id INTEGER PRIMARY KEY, v UNIQUE, w CHECK(w < 10)); INSERT INTO audit VALUES(1, 'a', 1), (2, 'b', 1)";
    for (then, reason) in [
        ("UPDATE audit SET w = 2 WHERE id = 1", "1 of them have the key of a row in the snapshot, with another content"),
        ("UPDATE audit SET v = 'c' WHERE id = 2; INSERT INTO audit VALUES(3, 'b', 1)", "have the key of a row in the snapshot"),
        ("DELETE FROM audit WHERE id = 2; INSERT INTO audit VALUES(3, 'b', 1)", "UNIQUE constraint failed: audit.v"),
        ("ALTER TABLE audit ADD COLUMN x; INSERT INTO audit VALUES(3, 'c', 1, 1)", "the schema moved on: x"),
        ("PRAGMA ignore_check_constraints=ON; INSERT INTO audit VALUES(3, 'c', 11)", "CHECK constraint failed: w < 10"),
    ] {
        let (home, bundle) = site(schema, then);
        let before = home.read("app.db");
        home.refuses(1, reason, &restore(&bundle, &["--graft"]));
        assert!(home.read("app.db") == before, "{then}");
        home.succeeds(&restore(&bundle, &[]));
    }
    let (home, bundle) = site("CREATE TABLE other(x)", "CREATE TABLE audit(id INTEGER PRIMARY KEY); INSERT INTO audit VALUES(1)");
    home.refuses(1, "the snapshot has no such table", &restore(&bundle, &["--graft"]));
    std::fs::remove_file(home.path("app.db")).unwrap();
    home.refuses(1, "there is no live database", &restore(&bundle, &["--graft"]));
}

#[test]
fn a_marker_states_the_gap_in_the_applications_own_table() {
    let schema = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, what TEXT NOT NULL, n INTEGER);
        CREATE TABLE echo(v); CREATE TRIGGER t AFTER INSERT ON audit BEGIN INSERT INTO echo VALUES(new.what); END;
        INSERT INTO audit(at, what) VALUES('2026-11-01', 'a');";
    let (home, bundle) = site(schema, "INSERT INTO audit(at, what) VALUES('2026-11-02', 'b'), ('2026-11-03', 'c')");
    let marker = r"audit:at={time},what=restored by {operator}\, {reason}: {gap} from {bundle},n={lost}";
    home.succeeds(&restore(&bundle, &["--marker", marker, "--operator", "Ann", "--reason", "x'); DROP TABLE audit; --"]));
    let file = bundle.rsplit('/').next().unwrap();
    let said = format!(
        "restored by Ann, x'); DROP TABLE audit; --: audit: 2 rows, id 2 to 3, at 2026-11-02 to 2026-11-03; audit: ids 2 to 3 will be given out again from {file}"
    );
    assert_eq!(
        rows(&home, "SELECT what, n, typeof(n) FROM audit WHERE id = 2"),
        [[Value::Text(said), Value::Integer(2), Value::Text("integer".into())]]
    );
    assert_eq!(number(&home, "SELECT count(*) FROM echo WHERE v LIKE 'restored by Ann%'"), 1, "written as the application would");
}

#[test]
fn graft_and_marker_together_keep_the_trail_and_say_so() {
    let schema = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT); INSERT INTO audit(what) VALUES('a')";
    let (home, bundle) = site(schema, "INSERT INTO audit(what) VALUES('b'), ('c')");
    home.succeeds(&restore(&bundle, &["--graft", "--marker", "audit:what=restored"]));
    let text = |text: &str| Value::Text(text.into());
    assert_eq!(
        rows(&home, "SELECT id, what FROM audit"),
        [
            [Value::Integer(1), text("a")],
            [Value::Integer(2), text("b")],
            [Value::Integer(3), text("c")],
            [Value::Integer(4), text("restored")]
        ]
    );
    assert_eq!(home.run(["backup", "app.db", "--key-file", "key"]).code, 0, "the next backup accuses nobody");
}

#[test]
fn a_marker_that_the_schema_refuses_ends_the_restore_before_it_begins() {
    let schema = "CREATE TABLE person(id INTEGER PRIMARY KEY); CREATE VIEW v AS SELECT 1 AS x;
        CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT NOT NULL CHECK(length(what) < 20), person REFERENCES person DEFERRABLE INITIALLY DEFERRED,
        now REFERENCES person); CREATE TRIGGER t BEFORE INSERT ON audit WHEN new.what = 'no' BEGIN SELECT raise(ABORT, 'not today'); END;";
    let (home, bundle) = site(schema, "INSERT INTO audit(what) VALUES('a')");
    let before = home.read("app.db");
    for (marker, reason) in [
        ("audit:person=NULL", "NOT NULL constraint failed: audit.what"),
        ("audit:what=far too long for that column", "CHECK constraint failed"),
        ("audit:what=x,person=7", "a foreign key would point to nothing"),
        ("audit:what=x,now=7", "FOREIGN KEY constraint failed"),
        ("audit:what=no", "not today"),
        ("audit:nothing=x", "has no column named nothing"),
        ("audits:what=x", "has no table 'audits'"),
        ("v:x=1", "has no table 'v'"),
    ] {
        home.refuses(1, reason, &restore(&bundle, &["--marker", marker]));
        assert!(home.read("app.db") == before, "{marker}");
    }
    let events = home.json(&["audit", "show", "--event", "restore", "--json"]);
    assert_eq!(events["records"].as_array().unwrap().len(), 0, "it had not begun");
    home.refuses(2, "'{rows}' means nothing", &restore(&bundle, &["--marker", "audit:what={rows}"]));
    home.succeeds(&restore(&bundle, &["--marker", "audit:what={lost} rows"]));
    assert_eq!(rows(&home, "SELECT what FROM audit"), [[Value::Text("1 row".to_owned() + "s")]]);
}

#[test]
fn a_marker_whose_triggers_take_rows_away_is_refused() {
    let schema = "CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT);
        CREATE TRIGGER retention AFTER INSERT ON audit BEGIN DELETE FROM audit WHERE id <= new.id - 2; END;
        INSERT INTO audit VALUES(1, 'a'), (2, 'b');";
    let (home, bundle) = site(schema, "");
    let before = home.read("app.db");
    home.refuses(1, "removes rows of the append-only table 'audit'", &restore(&bundle, &["--marker", "audit:what=x"]));
    assert!(home.read("app.db") == before);
}
