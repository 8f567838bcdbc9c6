//! Graft in the image itself: what goes back, what is refused, and that a refusal leaves every byte as it was.

mod common;
mod completing;
mod placing;
mod support;

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU32, Ordering};

use airkeep::database::{Access, Certainty, Doubt, GraftError, Grafted, Presence, Side, can_graft, graft};
use completing::{Case, rows, text};
use rusqlite::types::Value;

const AUDIT: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, v)";

#[test]
fn after_a_graft_nothing_is_lost_and_every_value_is_the_live_one() {
    for (schema, then) in [
        (
            AUDIT,
            "INSERT INTO audit(v) VALUES(NULL), (9007199254740993), (-0.0), (9e999), (-9e999), (5e-324), (CAST(x'ff00' AS TEXT)), (x''), ('')",
        ),
        ("CREATE TABLE audit(id INTEGER PRIMARY KEY, v REAL)", "INSERT INTO audit(v) VALUES(1), (-0.0), (1.5), ('x'), (1e300)"),
        ("CREATE TABLE audit(id TEXT PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO audit VALUES('z', 1), ('a', x'00'), ('é', 'e')"),
        (
            "CREATE TABLE audit(a, b, v, PRIMARY KEY(b, a)); INSERT INTO audit VALUES(1, 1, 1)",
            "INSERT INTO audit VALUES(1, 2, 2), (2, 1, 3)",
        ),
        ("CREATE TABLE audit(v); INSERT INTO audit VALUES('x')", "INSERT INTO audit VALUES('x'), ('x'), ('y')"),
        ("CREATE TABLE audit(id INTEGER PRIMARY KEY, v, w AS (v + 1) STORED, x AS (v * 2))", "INSERT INTO audit(v) VALUES(1), (2)"),
        ("PRAGMA encoding='UTF-16be'; CREATE TABLE audit(id INTEGER PRIMARY KEY, v)", "INSERT INTO audit(v) VALUES('ä☃𝄞')"),
        ("CREATE TABLE audit(\"odd \"\" 'n'\" INTEGER PRIMARY KEY, \"select\")", "INSERT INTO audit VALUES(-5, 'x')"),
    ] {
        let case = Case::grown(schema, then);
        let lost = case.gap().0[0].lost;
        assert_eq!(case.graft().unwrap(), [Grafted { table: "audit".into(), rows: lost }], "{schema}");
        assert!(lost > 0);
        let after = case.gap();
        assert_eq!((after.0[0].lost, after.0[0].altered, after.0[0].resurrected, after.1.len()), (0, 0, 0, 0), "{schema}");
        let sql = stored(&case);
        assert!(sql.contains("typeof"), "{sql}");
        assert_eq!(case.rows(&sql), rows(&case.live, &sql), "{schema}");
    }
}

/// A query for type and bytes of every value; numbers as such, since their text is rounded.
fn stored(case: &Case) -> String {
    let names = rows(&case.live, "SELECT name FROM pragma_table_xinfo('audit')").concat();
    let column = |name: Value| {
        let Value::Text(name) = name else { panic!("{name:?}") };
        let name = format!("\"{}\"", name.replace('"', "\"\""));
        format!("typeof({name}), hex({name}), CASE WHEN typeof({name}) IN ('integer', 'real') THEN {name} END")
    };
    let columns: Vec<String> = names.into_iter().map(column).collect();
    let places: Vec<String> = (1..=3 * columns.len()).map(|place| place.to_string()).collect();
    format!("SELECT {} FROM audit ORDER BY {}", columns.join(","), places.join(","))
}

#[test]
fn two_hundred_thousand_rows_go_back() {
    let many =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) INSERT INTO audit(v) SELECT 'row ' || i FROM n";
    let case = Case::grown(AUDIT, many);
    assert_eq!(case.graft().unwrap()[0].rows, 200_000);
    assert_eq!(case.gap().0[0].lost, 0);
    assert_eq!(case.rows("SELECT count(*), max(v) FROM audit"), [[Value::Integer(200_000), text("row 99999")]]);
}

#[test]
fn a_value_longer_than_the_snapshot_could_hold_goes_back() {
    let case = Case::grown(AUDIT, "INSERT INTO audit(v) VALUES(zeroblob(40000000))");
    case.graft().unwrap();
    assert_eq!(case.rows("SELECT length(v) FROM audit"), [[Value::Integer(40_000_000)]]);
}

#[test]
fn no_id_is_given_out_again() {
    let insert = "INSERT INTO audit(v) VALUES(1), (2), (3)";
    for (then, sequence) in [("DELETE FROM audit WHERE id > 1", 3), ("DELETE FROM audit", 3), ("SELECT 1", 3)] {
        let case = Case::grown(AUDIT, &format!("{insert}; {then}"));
        case.graft().unwrap();
        assert_eq!(case.rows("SELECT name, seq FROM sqlite_sequence"), [[text("audit"), Value::Integer(sequence)]], "{then}");
    }
    let case =
        Case::grown(&format!("{AUDIT}; {insert}; DELETE FROM audit"), "UPDATE sqlite_sequence SET seq = 1; INSERT INTO audit(v) VALUES(4)");
    case.graft().unwrap();
    assert_eq!(case.rows("SELECT seq FROM sqlite_sequence"), [[Value::Integer(3)]], "never lower than the snapshot's own");
}

#[test]
fn triggers_and_foreign_keys_stay_silent() {
    let schema = "CREATE TABLE echo(v); CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE audit(id INTEGER PRIMARY KEY, p REFERENCES p);
        CREATE TRIGGER t AFTER INSERT ON audit BEGIN INSERT INTO echo VALUES(new.id); END;
        CREATE TRIGGER u BEFORE INSERT ON audit BEGIN SELECT raise(ABORT, 'no'); END";
    let case = Case::grown(schema, "DROP TRIGGER u; DROP TRIGGER t; INSERT INTO p VALUES(9); INSERT INTO audit VALUES(1, 9)");
    case.graft().unwrap();
    assert_eq!(case.rows("SELECT (SELECT count(*) FROM echo), (SELECT count(*) FROM p), p FROM audit"), [[0, 0, 9].map(Value::Integer)]);
}

#[test]
fn what_would_be_stored_otherwise_is_refused() {
    for (snapshot, live, column) in [
        ("id INTEGER PRIMARY KEY, v INTEGER", "id INTEGER PRIMARY KEY, v TEXT); INSERT INTO audit(v) VALUES('12'", "v"),
        ("id INTEGER PRIMARY KEY, v TEXT", "id INTEGER PRIMARY KEY, v); INSERT INTO audit(v) VALUES(12", "v"),
        ("id INTEGER PRIMARY KEY, v REAL", "id INTEGER PRIMARY KEY, v); INSERT INTO audit(v) VALUES(9007199254740993", "v"),
        ("id INTEGER PRIMARY KEY, v REAL", "id INTEGER PRIMARY KEY, v); INSERT INTO audit(v) VALUES(-0.0", "v"),
        (
            "id INTEGER PRIMARY KEY, v, w AS (v+1) STORED",
            "id INTEGER PRIMARY KEY, v, w AS (v+2) STORED); INSERT INTO audit(v) VALUES(5",
            "w",
        ),
    ] {
        let case = Case::new(&format!("CREATE TABLE audit({snapshot})"), &format!("CREATE TABLE audit({live})"));
        case.refuses_graft(&format!("row 1 of table 'audit' (id 1) cannot be put back: column '{column}' would store another value"));
    }
    let utf16 = format!("PRAGMA encoding='UTF-16le'; {AUDIT}");
    Case::new(&utf16, &format!("{AUDIT}; INSERT INTO audit(v) VALUES('fine'), (CAST(x'ff41' AS TEXT))")).refuses_graft("(id 2)");
}

#[test]
fn no_row_of_the_snapshot_is_replaced() {
    for conflict in ["REPLACE", "IGNORE", "ROLLBACK", "FAIL"] {
        let schema =
            format!("CREATE TABLE audit(id INTEGER PRIMARY KEY, v UNIQUE ON CONFLICT {conflict}); INSERT INTO audit VALUES(1, 'a')");
        let case = Case::grown(&schema, "DELETE FROM audit; INSERT INTO audit VALUES(2, 'new'), (3, 'a')");
        case.refuses_graft("UNIQUE constraint failed: audit.v");
        assert_eq!(case.rows("SELECT * FROM audit"), [[Value::Integer(1), text("a")]], "{conflict}");
    }
}

#[test]
fn rows_that_the_snapshots_schema_forbids_are_refused_with_their_key() {
    let loose = "CREATE TABLE audit(a, b, v, PRIMARY KEY(a, b)); INSERT INTO audit VALUES(1, 'x', 1), (2, 'y', NULL)";
    for (strict, words) in
        [("v NOT NULL", "NOT NULL constraint failed: audit.v"), ("v CHECK(v IS NOT NULL)", "CHECK constraint failed: v IS NOT NULL")]
    {
        let case = Case::new(&format!("CREATE TABLE audit(a, b, {strict}, PRIMARY KEY(a, b))"), loose);
        case.refuses_graft(words);
        let Err(GraftError::Row { row: 2, key: Some(key), .. }) = case.graft() else { panic!("{words}") };
        assert_eq!(key, "a 2, b y");
    }
}

#[test]
fn a_gap_that_is_not_for_a_program_to_mend_is_refused() {
    let schema = format!("{AUDIT}; INSERT INTO audit VALUES(1, 'a')");
    for (then, words) in [
        ("UPDATE audit SET v = 'b'", "1 of them have the key of a row in the snapshot"),
        ("ALTER TABLE audit ADD COLUMN w; INSERT INTO audit VALUES(2, 'b', 1)", "the schema moved on: w"),
        ("ALTER TABLE audit RENAME COLUMN v TO w; INSERT INTO audit VALUES(2, 'b')", "the schema moved on: w, v"),
    ] {
        Case::grown(&schema, then).refuses_graft(words);
    }
    Case::new("CREATE TABLE x(y)", &schema).refuses_graft("the snapshot has no such table");
    let mut table = Case::grown(&schema, "INSERT INTO audit(v) VALUES('b')").gap().0.remove(0);
    assert!(can_graft(std::slice::from_ref(&table)).is_ok());
    let doubt = Doubt::Unreadable { side: Side::Live, message: "torn".into() };
    for certainty in [Certainty::LowerBound(doubt.clone()), Certainty::Unknown(doubt)] {
        table.certainty = certainty;
        assert!(can_graft(std::slice::from_ref(&table)).unwrap_err().to_string().contains("the live side cannot be read: torn"));
    }
    table.certainty = Certainty::Exact;
    table.presence = Presence::Renamed { in_snapshot: "old".into() };
    assert!(can_graft(std::slice::from_ref(&table)).unwrap_err().to_string().contains("in the snapshot it is called 'old'"));
    table.lost = 0;
    assert!(can_graft(&[table]).is_ok(), "nothing lost is no reason");
}

#[test]
fn a_capsule_that_is_not_the_gaps_is_refused_and_nothing_is_written() {
    let case = Case::grown(AUDIT, "INSERT INTO audit(v) VALUES('a'), ('b'), ('c')");
    let (tables, capsule) = case.gap();
    let before = case.bytes();
    let end = capsule.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let stranger = br#"{"table":"other","what":"lost","key":null,"row":{"v":1}}"#;
    for (damaged, words) in [
        (capsule[..end].to_vec(), "the capsule has 1 lost rows of table 'audit', not 3"),
        (Vec::new(), "the capsule has 0 lost rows of table 'audit', not 3"),
        ([&capsule[..], &capsule[..end]].concat(), "UNIQUE constraint failed: audit.id"),
        ([&capsule[..], stranger].concat(), "near \")\""),
        (capsule[..capsule.len() - 9].to_vec(), "line 3 of the capsule cannot be read"),
        (String::from_utf8(capsule.clone()).unwrap().replace("\"v\":", "\"w\":").into_bytes(), "the schema moved on"),
        (String::from_utf8(capsule.clone()).unwrap().replace("\"c\"", "{\"real\":\"one\"}").into_bytes(), "line 3 of the capsule"),
    ] {
        let error = graft(&case.image, &tables, &mut &damaged[..], &[], &|| false).unwrap_err();
        assert!(support::causes(&error).contains(words), "{words}: {}", support::causes(&error));
        assert!(case.bytes() == before, "{words}");
    }
    graft(&case.image, &tables, &mut &capsule[..], &[], &|| false).unwrap();
}

#[test]
fn cancelling_leaves_the_image_as_it_was() {
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) INSERT INTO audit(v) SELECT hex(zeroblob(100)) FROM n";
    let case = Case::grown(AUDIT, many);
    let (tables, capsule) = case.gap();
    let before = case.bytes();
    assert!(matches!(graft(&case.image, &tables, &mut &capsule[..], &[], &|| true), Err(GraftError::Cancelled)));
    assert!(case.bytes() == before);
    assert!(case.image.open(Access::ReadWrite).is_ok(), "no lock is left");
}

/// An interrupt while no statement runs stops none: the capsule comes from scratch, which can be slow.
#[test]
fn cancelling_while_the_capsule_is_read_is_noticed() {
    struct Slow<'c>(&'c [u8], &'c AtomicU32);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            // Asked twice: what the first answer sets is set.
            while self.1.load(Ordering::SeqCst) < 2 {
                std::thread::yield_now();
            }
            self.0.read(buffer)
        }
    }
    let case = Case::grown(AUDIT, "INSERT INTO audit(v) VALUES('a'), ('b'), ('c')");
    let (tables, capsule) = case.gap();
    let (before, asked) = (case.bytes(), AtomicU32::new(0));
    let cancelled = || {
        asked.fetch_add(1, Ordering::SeqCst);
        true
    };
    let done = graft(&case.image, &tables, &mut BufReader::new(Slow(&capsule, &asked)), &[], &cancelled);
    assert!(matches!(done, Err(GraftError::Cancelled)), "{done:?}");
    assert!(case.bytes() == before);
}
