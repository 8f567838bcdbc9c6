//! Marker in the image itself: written as the application would, or refused alike by the trial and in earnest.

mod common;
mod completing;
mod placing;
mod support;

use airkeep::database::Marker;
use completing::{Case, text};
use rusqlite::types::Value;

const AUDIT: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY, v)";

fn site(schema: &str) -> Case {
    Case::new(schema, "SELECT 1")
}

#[test]
fn a_trial_changes_no_byte_and_says_what_the_real_thing_will_say() {
    let many =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO big SELECT hex(zeroblob(400)) FROM n";
    let schema =
        format!("{AUDIT}; CREATE TABLE big(x); {many}; CREATE TRIGGER t AFTER INSERT ON audit BEGIN UPDATE big SET x = x || 'y'; END");
    for schema in [AUDIT, &schema] {
        let case = site(schema);
        let before = case.bytes();
        case.try_marker("audit:v={lost} rows").unwrap();
        assert!(case.bytes() == before);
        assert_eq!(case.rows("SELECT * FROM audit"), Vec::<Vec<Value>>::new());
        assert_eq!(case.mark("audit:v={lost} rows").unwrap(), Some(1));
        assert_eq!(case.rows("SELECT * FROM audit"), [[Value::Integer(1), text("12 rows")]]);
    }
}

#[test]
fn constraints_and_foreign_keys_refuse_it_in_sqlites_words() {
    let parent = "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE audit(v";
    for (columns, marker, words) in [
        (" CHECK(length(v) < 3))", "audit:v=long", "CHECK constraint failed: length(v) < 3"),
        (" , w NOT NULL)", "audit:v=x", "NOT NULL constraint failed: audit.w"),
        (" NOT NULL)", "audit:v=NULL", "NOT NULL constraint failed: audit.v"),
        (" REFERENCES p)", "audit:v=7", "FOREIGN KEY constraint failed"),
        (" REFERENCES p DEFERRABLE INITIALLY DEFERRED)", "audit:v=7", "a foreign key would point to nothing"),
        (", w AS (v + 1))", "audit:w=7", "cannot INSERT into generated column \"w\""),
        (")", "audit:w=7", "no column named w"),
        (" UNIQUE); INSERT INTO audit VALUES('x')", "audit:v=x", "UNIQUE constraint failed: audit.v"),
        (" UNIQUE ON CONFLICT REPLACE); INSERT INTO audit VALUES('x')", "audit:v=x", "UNIQUE constraint failed: audit.v"),
        (" UNIQUE ON CONFLICT IGNORE); INSERT INTO audit VALUES('x')", "audit:v=x", "UNIQUE constraint failed: audit.v"),
    ] {
        site(&format!("{parent}{columns}")).refuses_marker(marker, words);
    }
    let case = site(&format!("{parent} REFERENCES p); INSERT INTO p VALUES(7); PRAGMA foreign_keys=OFF; INSERT INTO audit VALUES(8)"));
    case.mark("audit:v=7").unwrap();
    assert_eq!(case.rows("SELECT count(*) FROM audit"), [[Value::Integer(2)]], "orphans of long ago are no reason");
}

#[test]
fn tables_that_take_no_marker_are_refused() {
    let case = site("CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT); CREATE VIEW v AS SELECT 1 AS x");
    for (marker, table) in [
        ("v:x=1", "v"),
        ("audit:x=1", "audit"),
        ("sqlite_sequence:name=a,seq=0", "sqlite_sequence"),
        ("sqlite_schema:name=x", "sqlite_schema"),
    ] {
        case.refuses_marker(marker, &format!("the snapshot has no table '{table}' that could take a marker"));
    }
}

#[test]
fn triggers_fire_as_in_the_application() {
    let trigger = |body: &str| {
        format!(
            "{AUDIT}; CREATE TABLE last(k PRIMARY KEY, v); INSERT INTO last VALUES(1, 'old');
        CREATE TABLE link(p REFERENCES audit(id) DEFERRABLE INITIALLY DEFERRED); CREATE VIEW w AS SELECT max(id) AS m FROM audit;
        CREATE TRIGGER t {body}; END"
        )
    };
    for body in ["INSERT OR REPLACE INTO last VALUES(1, new.v)", "INSERT OR IGNORE INTO last VALUES(1, ''); UPDATE last SET v = new.v"] {
        let case = site(&trigger(&format!("AFTER INSERT ON audit BEGIN {body}")));
        case.try_marker("audit:v=x").unwrap();
        assert_eq!(case.mark("audit:v=x").unwrap(), Some(1), "{body}");
        assert_eq!(case.rows("SELECT v FROM last"), [[text("x")]], "a trigger's own OR is its own: {body}");
    }
    let case = site(&trigger("AFTER INSERT ON audit BEGIN INSERT INTO link SELECT m FROM w"));
    case.mark("AUDIT:V=x").unwrap();
    assert_eq!(case.rows("SELECT p FROM link"), [[Value::Integer(1)]], "views are read");
    for (body, words) in [
        ("BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'not today')", "not today"),
        ("BEFORE INSERT ON audit BEGIN SELECT raise(IGNORE)", "a trigger ignores it"),
        ("AFTER INSERT ON audit BEGIN INSERT INTO link VALUES(77)", "a foreign key would point to nothing"),
        ("AFTER INSERT ON audit BEGIN SELECT app_user()", "calls a function that only the application has"),
    ] {
        site(&trigger(body)).refuses_marker("audit:v=x", words);
    }
}

#[test]
fn a_hostile_trigger_gets_a_few_seconds_and_no_more() {
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS m FROM n";
    let case = site(&format!("{AUDIT}; CREATE VIEW w AS {endless}; CREATE TRIGGER t AFTER INSERT ON audit BEGIN SELECT m FROM w; END"));
    case.refuses_marker("audit:v=x", "in the time that it has");
}

#[test]
fn values_are_text_that_the_columns_take_as_they_would() {
    let case = site("CREATE TABLE audit(i INTEGER, t TEXT, n, z DEFAULT 'd', e)");
    assert_eq!(case.mark(r"audit:i=12,t=a\,b\=c\\d={{{lost}}},n=NULL,e=").unwrap(), Some(1));
    assert_eq!(case.rows("SELECT * FROM audit"), [[Value::Integer(12), text(r"a,b=c\d={12}"), Value::Null, text("d"), text("")]]);
}

#[test]
fn no_name_and_no_value_becomes_sql() {
    let case = site(&format!("{AUDIT}; CREATE TABLE \"odd \"\"; DROP TABLE audit; --\"(\"a\"\"b\" TEXT, \"select\" TEXT, 'x:y=z' TEXT)"));
    case.mark(r#"odd "; DROP TABLE audit; --:a"b={reason},select=x'); DROP TABLE audit; --,x:y\=z=v"#).unwrap();
    let expected = ["x'); DROP TABLE audit; --,v=\"{gap}\"", "x'); DROP TABLE audit; --", "v"].map(text);
    assert_eq!(case.rows("SELECT * FROM \"odd \"\"; DROP TABLE audit; --\""), [expected]);
    assert_eq!(case.rows("SELECT count(*) FROM audit"), [[Value::Integer(0)]]);
    case.refuses_marker("audit:v) VALUES(1); DROP TABLE audit; --=x", "has no column named v) VALUES(1); DROP TABLE audit; --");
}

#[test]
fn a_rowid_is_told_where_there_is_one() {
    let case = site(
        "CREATE TABLE audit(k TEXT PRIMARY KEY, v) WITHOUT ROWID; CREATE TABLE other(x, v); INSERT INTO other(rowid, x) VALUES(41, 1);
        CREATE TRIGGER t AFTER INSERT ON other BEGIN INSERT INTO audit VALUES('by trigger', 1); END",
    );
    assert_eq!(case.mark("audit:k=a,v=x").unwrap(), None);
    assert_eq!(case.mark("other:v=x").unwrap(), Some(42), "the marker's, and no trigger's");
}

#[test]
fn what_is_no_marker_is_refused_with_what_is_known() {
    for (text, words) in [
        ("audit", "names no table"),
        ("audit:v", "names no column"),
        ("audit:v=1,V=2", "stands twice"),
        ("audit:v={rows}", "'{rows}' means nothing, known are: {lost}"),
        ("audit:v={lost", "a brace stands alone"),
        ("audit:v=x\\", "a backslash stands at the end"),
    ] {
        assert!(Marker::parse(text).unwrap_err().to_string().contains(words), "{text}");
    }
}
