//! One case each for what can happen to a table between a snapshot and now.

use super::*;
use serde_json::Value;

const KEYED: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY, at TEXT, what)";
const TEXT: &str = "CREATE TABLE audit(id TEXT PRIMARY KEY, what)";
const BARE: &str = "CREATE TABLE audit(at, what)";
const PLAIN: &str = "CREATE TABLE audit(a TEXT, b INTEGER, what, PRIMARY KEY(b, a)) WITHOUT ROWID";

struct Case {
    snapshot: Connection,
    live: Connection,
}

impl Case {
    fn new(schema: &str, rows: &str, change: &str) -> Self {
        let side = || {
            let connection = Connection::open_in_memory().unwrap();
            connection.execute_batch(&format!("{schema}; {rows};")).unwrap();
            connection
        };
        let case = Self { snapshot: side(), live: side() };
        case.live.execute_batch(change).unwrap();
        case
    }

    fn try_run(&self, names: &[&str], out: &mut dyn Write, cancelled: Cancelled<'_>) -> Result<Vec<GapTable>, GapError> {
        let space = ScratchSpace::new(std::env::temp_dir(), |key| key.fill(7)).with_memory_limit(0);
        let tables: Vec<AppendOnlyTable> =
            names.iter().map(|name| AppendOnlyTable { name: (*name).into(), declaration: Declaration::Declared }).collect();
        gap(&self.snapshot, &self.live, &tables, &space, out, cancelled)
    }

    fn run(&self) -> (GapTable, Vec<Value>) {
        let mut capsule = Vec::new();
        let mut tables = self.try_run(&["AUDIT"], &mut capsule, &|| false).unwrap();
        let lines: Vec<Value> = capsule.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap()).collect();
        let found = tables.remove(0);
        assert!(tables.is_empty());
        assert_eq!(lines.len() as u64, found.lost + found.altered);
        (found, lines)
    }

    /// Lost, resurrected, altered, common.
    fn counts(&self) -> [u64; 4] {
        let (found, _) = self.run();
        assert_eq!(found.certainty, Certainty::Exact);
        [found.lost, found.resurrected, found.altered, found.common]
    }
}

const THREE: [(&str, &str); 4] = [
    (KEYED, "INSERT INTO audit VALUES (1, 't', 'a'), (2, 't', 'b'), (3, 't', 'c')"),
    (TEXT, "INSERT INTO audit VALUES ('z', 'a'), ('y', 'b'), ('x', 'c')"),
    (BARE, "INSERT INTO audit VALUES ('t', 'a'), ('t', 'b'), ('t', 'c')"),
    (PLAIN, "INSERT INTO audit VALUES ('q', 3, 'a'), ('q', 2, 'b'), ('p', 2, 'c')"),
];

#[test]
fn equal_tables_have_no_gap_whatever_vacuum_did() {
    for (schema, rows) in THREE {
        assert_eq!(Case::new(schema, rows, "VACUUM").counts(), [0, 0, 0, 3], "{schema}");
        assert_eq!(Case::new(schema, rows, "ALTER TABLE audit ADD COLUMN who DEFAULT 7").counts(), [0, 0, 0, 3], "{schema}");
    }
    // Rowids are renumbered: what was 3 is 2.
    for (schema, rows) in [THREE[1], THREE[2]] {
        let change = "DELETE FROM audit WHERE what = 'b'; CREATE TABLE copy AS SELECT * FROM audit; DELETE FROM audit; INSERT INTO audit SELECT * FROM copy ORDER BY what DESC; DROP TABLE copy";
        assert_eq!(Case::new(schema, rows, change).counts(), [0, 1, 0, 2], "{schema}");
    }
}

#[test]
fn deleted_rows_come_back_and_overwritten_ones_are_altered_only_under_a_key() {
    for (schema, rows) in THREE {
        assert_eq!(Case::new(schema, rows, "DELETE FROM audit WHERE what = 'a'").counts(), [0, 1, 0, 2], "{schema}");
        let expected = if schema == BARE { [1, 1, 0, 2] } else { [0, 0, 1, 2] };
        assert_eq!(Case::new(schema, rows, "UPDATE audit SET what = 'x' WHERE what = 'b'").counts(), expected, "{schema}");
        assert_eq!(Case::new(schema, rows, "DROP TABLE audit").counts(), [0, 3, 0, 0], "{schema}");
    }
    assert_eq!(Case::new("", "", THREE[0].0).counts(), [0, 0, 0, 0]);
}

#[test]
fn forty_rows_are_lost_as_forty_lines_with_keys_and_times() {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100) INSERT INTO audit SELECT i, '2026-11-20T01:00:00Z', i FROM n";
    let more = "WITH RECURSIVE n(i) AS (SELECT 101 UNION ALL SELECT i + 1 FROM n WHERE i < 140) INSERT INTO audit SELECT i, CASE i WHEN 120 THEN '2026-11-20T02:00:00Z' ELSE '2026-11-20 02:00:01' END, i FROM n";
    let (found, lines) = Case::new(KEYED, rows, more).run();
    assert_eq!((found.lost, found.common, found.certainty), (40, 100, Certainty::Exact));
    assert_eq!(found.lost_range, Some(("101".into(), "140".into())));
    assert_eq!(found.reused_ids, Some((101, 140)));
    let times = found.times.unwrap();
    assert_eq!((times.column.as_str(), times.format, times.first.as_str()), ("at", TimeFormat::Mixed, "2026-11-20T02:00:00Z"));
    assert_eq!(
        lines[39],
        serde_json::json!({"table": "audit", "what": "lost", "key": {"id": 140}, "row": {"id": 140, "at": "2026-11-20 02:00:01", "what": 140}})
    );
}

#[test]
fn an_altered_row_is_kept_in_both_versions() {
    for (schema, rows) in [THREE[0], THREE[1], THREE[3]] {
        let (_, lines) = Case::new(schema, rows, "UPDATE audit SET what = x'00ff' WHERE what = 'b'").run();
        assert_eq!((&lines[0]["was"]["what"], &lines[0]["row"]["what"]["blob_hex"]), (&"b".into(), &"00ff".into()), "{schema}");
        assert_eq!(lines[0]["what"], "altered");
    }
}

#[test]
fn type_and_bytes_decide_and_not_sqlites_comparison() {
    for (one, other) in
        [("1", "1.0"), ("'a'", "x'61'"), ("0.0", "-0.0"), ("9007199254740993", "9007199254740992"), ("1", "'1'"), ("NULL", "''")]
    {
        let case = Case::new(KEYED, &format!("INSERT INTO audit VALUES (1, 't', {one})"), &format!("UPDATE audit SET what = {other}"));
        assert_eq!(case.counts(), [0, 0, 1, 0], "{one} {other}");
    }
}

#[test]
fn rows_without_key_are_counted_one_by_one() {
    let rows = "INSERT INTO audit VALUES ('t', 'a'), ('t', 'a'), ('t', 'b')";
    assert_eq!(Case::new(BARE, rows, "INSERT INTO audit VALUES ('t', 'a'), ('t', 'a')").counts(), [2, 0, 0, 3]);
    assert_eq!(Case::new(BARE, rows, "DELETE FROM audit WHERE rowid = 1").counts(), [0, 1, 0, 2]);
    let rows = "INSERT INTO audit VALUES (NULL, 'a'), (NULL, 'a'), ('k', 'b')";
    let (found, lines) = Case::new(TEXT, rows, "INSERT INTO audit VALUES (NULL, 'a'); UPDATE audit SET what = 'c' WHERE id = 'k'").run();
    assert_eq!((found.lost, found.altered, found.resurrected, found.common), (1, 1, 0, 2));
    assert_eq!(found.lost_range, None);
    assert_eq!(lines.iter().filter(|line| line["what"] == "lost").count(), 1);
}

#[test]
fn ids_that_were_given_out_would_be_given_out_again() {
    let auto = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, what)";
    for (schema, change, expected) in [
        (KEYED, "INSERT INTO audit VALUES (9, 't', 'd')", Some((4, 9))),
        (KEYED, "INSERT INTO audit VALUES (0, 't', 'd')", None),
        (KEYED, "INSERT INTO audit VALUES (9, 't', 'd'); DELETE FROM audit WHERE id = 9", None),
        (auto, "INSERT INTO audit VALUES (9, 't', 'd')", Some((4, 9))),
        (auto, "INSERT INTO audit VALUES (9, 't', 'd'); DELETE FROM audit WHERE id = 9", Some((4, 9))),
    ] {
        assert_eq!(Case::new(schema, THREE[0].1, change).run().0.reused_ids, expected, "{schema} {change}");
    }
    assert_eq!(Case::new(TEXT, THREE[1].1, "INSERT INTO audit VALUES ('zz', 'd')").run().0.reused_ids, None);
}

#[test]
fn a_renamed_table_is_found_by_its_rows_or_at_least_suspected() {
    for (schema, rows) in THREE {
        let change =
            "ALTER TABLE audit RENAME TO journal; ALTER TABLE journal ADD COLUMN who; UPDATE journal SET what = 'x' WHERE what = 'b'";
        let (found, _) = Case::new(schema, rows, change).run();
        assert_eq!(found.presence, Presence::Renamed { in_snapshot: "audit".into() }, "{schema}");
        assert_eq!((found.common, found.only_live_columns, found.certainty), (2, vec!["who".to_owned()], Certainty::Exact), "{schema}");
    }
    let change = "ALTER TABLE audit RENAME TO journal; INSERT INTO journal VALUES (1, 't', 'a')";
    let (found, _) = Case::new(KEYED, "", change).run();
    assert_eq!(found.certainty, Certainty::LowerBound(Doubt::PerhapsRenamed { candidates: vec!["journal".into()] }));
    // Two could be it.
    let change =
        "ALTER TABLE audit RENAME TO one; CREATE TABLE two(id INTEGER PRIMARY KEY, at TEXT, what); INSERT INTO two SELECT * FROM one";
    let (found, _) = Case::new(KEYED, THREE[0].1, change).run();
    assert_eq!((found.presence, found.resurrected), (Presence::SnapshotOnly, 3));
    assert_eq!(found.certainty, Certainty::LowerBound(Doubt::PerhapsRenamed { candidates: vec!["one".into(), "two".into()] }));
    // Rotated: rows were written between the snapshot and the rotation.
    let change = "INSERT INTO audit VALUES (4, 't', 'd'); ALTER TABLE audit RENAME TO old; CREATE TABLE audit(id INTEGER PRIMARY KEY, at TEXT, what)";
    let (found, _) = Case::new(KEYED, THREE[0].1, change).run();
    assert_eq!((found.presence, found.lost, found.resurrected), (Presence::Both, 0, 3));
    assert_eq!(found.certainty, Certainty::LowerBound(Doubt::PerhapsRenamed { candidates: vec!["old".into()] }));
}

#[test]
fn a_table_is_told_once_however_often_it_is_named() {
    let case = Case::new("", "", &format!("{KEYED}; INSERT INTO audit VALUES (1, 't', 'a')"));
    let mut capsule = Vec::new();
    assert_eq!(case.try_run(&["audit", "Audit", "AUDIT"], &mut capsule, &|| false).unwrap().len(), 1);
    assert_eq!(capsule.iter().filter(|byte| **byte == b'\n').count(), 1);
    // Both names are declared: told once.
    let case = Case::new(KEYED, THREE[0].1, "ALTER TABLE audit RENAME TO journal");
    assert_eq!(case.try_run(&["audit", "journal"], &mut Vec::new(), &|| false).unwrap().len(), 1);
}

#[test]
fn what_is_no_table_is_unknown_and_never_evaluated() {
    let endless =
        "DROP TABLE audit; CREATE VIEW audit AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS id FROM n";
    let (found, _) = Case::new(KEYED, THREE[0].1, endless).run();
    assert_eq!(found.certainty, Certainty::Unknown(Doubt::NotATable { side: Side::Live, what: "a view" }));
    let (found, _) = Case::new(KEYED, "", "DROP TABLE audit; CREATE TABLE audit(rowid, oid, _rowid_)").run();
    assert_eq!(found.certainty, Certainty::Unknown(Doubt::HiddenRowid { side: Side::Live }));
}

#[test]
fn names_are_names_and_nothing_else() {
    let odd = "a\"; DROP TABLE \u{1f512}']--".replace("--", "");
    let quoted = crate::database::sql::quoted(&odd);
    let schema = format!("CREATE TABLE {quoted}({quoted} TEXT PRIMARY KEY, \"x'\")");
    let case = Case::new(&schema, "", &format!("INSERT INTO {quoted} VALUES ('k', 'v')"));
    let mut lines = Vec::new();
    let found = case.try_run(&[&odd], &mut lines, &|| false).unwrap();
    assert_eq!((found[0].lost, &found[0].name), (1, &odd));
    assert_eq!(serde_json::from_slice::<Value>(&lines).unwrap()["row"][&odd], "k");
}

#[test]
fn columns_that_one_side_lacks_are_named_and_a_table_of_other_columns_is_another_table() {
    let (found, _) = Case::new(BARE, THREE[2].1, "ALTER TABLE audit DROP COLUMN what; ALTER TABLE audit ADD COLUMN Who").run();
    assert_eq!((found.common, found.only_live_columns, found.only_snapshot_columns), (3, vec!["Who".to_owned()], vec!["what".to_owned()]));
    let change = "DROP TABLE audit; CREATE TABLE audit(other); INSERT INTO audit VALUES (1), (2)";
    assert_eq!(Case::new(BARE, THREE[2].1, change).counts(), [2, 3, 0, 0]);
    let change = "DROP TABLE audit; CREATE TABLE audit(at TEXT, what, id); INSERT INTO audit VALUES ('t', 'a', 1), ('t', 'b', 2)";
    let (found, _) = Case::new(KEYED, THREE[0].1, change).run();
    assert_eq!((found.key.len(), found.common, found.resurrected), (0, 2, 1), "without the key contents are compared");
}

#[test]
fn failures_are_failures() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for (schema, rows) in THREE {
        let case = Case::new(schema, "", rows);
        assert!(matches!(case.try_run(&["audit"], &mut Full, &|| false), Err(GapError::Capsule { .. })), "{schema}");
        assert!(matches!(case.try_run(&["audit"], &mut Vec::new(), &|| true), Err(GapError::Cancelled)), "{schema}");
        assert!(case.live.is_autocommit() && case.snapshot.is_autocommit());
    }
}

#[test]
fn tables_come_from_the_first_source_that_names_any() {
    let case = Case::new(
        KEYED,
        "",
        "CREATE TRIGGER u BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, ''); END; CREATE TRIGGER d BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, ''); END",
    );
    let chosen = |declared: &[&str], recorded: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let found = choose_append_only(&names(declared), &names(recorded), &case.snapshot, &case.live);
        found.into_iter().map(|table| (table.name, table.declaration)).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&["b", "B", "a"], &["c"]), [("b".into(), Declaration::Declared), ("a".into(), Declaration::Declared)]);
    assert_eq!(chosen(&[], &["c"]), [("c".into(), Declaration::Recorded)]);
    assert_eq!(chosen(&[], &[]), [("audit".into(), Declaration::Inferred)]);
}
