//! The gap, against databases of a real application, against an oracle that shares no code with it, and at the size of a large audit trail.
#![allow(clippy::print_stderr)] // a test that skips, or measures, says so

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use airkeep::database::{AppendOnlyTable, Certainty, Declaration, Doubt, GapTable, Presence, Side, gap, harden};
use airkeep::files::ScratchSpace;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

fn scratch() -> ScratchSpace {
    ScratchSpace::new(std::env::temp_dir(), |key: &mut [u8]| key.fill(3))
}

fn open(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open");
    harden(&connection, std::fs::metadata(path).expect("size").len()).expect("harden");
    connection
}

fn run(snapshot: &Path, live: &Path, names: &[String], capsule: &mut dyn Write) -> Vec<GapTable> {
    let tables: Vec<AppendOnlyTable> =
        names.iter().map(|name| AppendOnlyTable { name: name.clone(), declaration: Declaration::Declared }).collect();
    gap(&open(snapshot), &open(live), &tables, &scratch(), capsule, &|| false).expect("gap")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("read")).expect("json")
}

fn lines(capsule: &[u8]) -> Vec<Value> {
    capsule.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).expect("line")).collect()
}

/// A database of the application that was copied, so that no folder gets sidecars.
fn copy(folder: &Path, from: &Path, name: &str) -> PathBuf {
    std::fs::copy(from, folder.join(name)).expect("copy");
    folder.join(name)
}

#[test]
fn icdevs_gap_is_exactly_the_expected_one() {
    let Some(corpus) = std::env::var_os("AIRKEEP_CORPUS").map(|folder| Path::new(&folder).join("icdev")).filter(|path| path.exists())
    else {
        eprintln!("skipped: AIRKEEP_CORPUS names no folder with icdev");
        return;
    };
    let folder = tempfile::tempdir().expect("folder");
    let expected = json(&corpus.join("expected_gap.json"));
    let mut names: Vec<String> = json(&corpus.join("append_only_tables.json"))
        .as_array()
        .expect("list")
        .iter()
        .map(|item| item["table"].as_str().expect("name").to_owned())
        .collect();
    assert_eq!(names.len(), 67);
    names.push("audit_platform".into());
    for database in ["icdev", "platform"] {
        let side = |side: &str| copy(folder.path(), &corpus.join(format!("live-{side}/{database}.db")), &format!("{database}-{side}.db"));
        let mut capsule = Vec::new();
        let found = run(&side("before"), &side("after"), &names, &mut capsule);
        assert!(found.iter().all(|table| table.certainty == Certainty::Exact && table.altered + table.resurrected == 0));
        assert_eq!(found.iter().filter(|table| table.presence == Presence::Both).count(), if database == "icdev" { 67 } else { 1 });
        let told = |table: &GapTable| {
            let (times, range) = (table.times.as_ref().expect("times"), table.lost_range.as_ref().expect("range"));
            let number = |text: &str| text.parse::<i64>().expect("number");
            let facts = serde_json::json!({"rows_in_backup": table.common, "rows_live": table.common + table.lost, "missing": table.lost,
                "first_missing": times.first, "last_missing": times.last, "pk_min": number(&range.0), "pk_max": number(&range.1)});
            (table.name.clone(), facts)
        };
        let with_gap: serde_json::Map<String, Value> = found.iter().filter(|table| table.lost > 0).map(told).collect();
        assert_eq!(Value::Object(with_gap), expected[format!("{database}: live-after vs bak-plain")], "{database}");
        let lost: u64 = found.iter().map(|table| table.lost).sum();
        assert_eq!(lines(&capsule).len() as u64, lost);
        assert!(found.iter().filter(|table| table.lost > 0).all(|table| table.reused_ids.is_some()), "AUTOINCREMENT is no protection");
    }
}

const SHAPES: [&str; 4] = [
    "id INTEGER PRIMARY KEY, what TEXT)",
    "id TEXT PRIMARY KEY, what TEXT)",
    "id, what TEXT)",
    "id TEXT PRIMARY KEY, what TEXT) WITHOUT ROWID",
];

/// A snapshot, and a live side that has fifty rows more at both ends; then some pages in the middle of one are damaged.
fn damaged(folder: &Path, shape: &str, side: Side) -> [PathBuf; 2] {
    let paths = ["snapshot.db", "live.db"].map(|name| folder.join(name));
    let fill = |connection: &Connection, from: i64, to: i64| {
        let sql = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) INSERT INTO audit SELECT i, hex(zeroblob(40)) || i FROM n";
        connection.execute(sql, [from, to]).expect("rows");
    };
    for (path, (from, to)) in paths.iter().zip([(10_050, 15_000), (10_000, 15_050)]) {
        let connection = Connection::open(path).expect("open");
        connection.execute_batch(&format!("PRAGMA page_size=1024; CREATE TABLE audit({shape}")).expect("table");
        fill(&connection, from, to);
    }
    let path = &paths[usize::from(side == Side::Live)];
    let mut bytes = std::fs::read(path).expect("read");
    let middle = bytes.len() / 2 / 1024 * 1024;
    bytes[middle..middle + 16 * 1024].fill(0xee);
    std::fs::write(path, bytes).expect("write");
    paths
}

#[test]
fn what_cannot_be_read_is_never_none() {
    for shape in SHAPES {
        for side in [Side::Live, Side::Snapshot] {
            let folder = tempfile::tempdir().expect("folder");
            let [snapshot, live] = damaged(folder.path(), shape, side);
            let mut capsule = Vec::new();
            let found = run(&snapshot, &live, &["audit".into()], &mut capsule).remove(0);
            let is_about = |doubt: &Doubt| matches!(doubt, Doubt::Unreadable { side: about, .. } if *about == side);
            let is_decided_at_once = shape.starts_with("id INTEGER");
            match &found.certainty {
                Certainty::LowerBound(doubt) => assert!(is_about(doubt) && (side == Side::Live || is_decided_at_once), "{shape} {found:?}"),
                Certainty::Unknown(doubt) => {
                    assert!(is_about(doubt) && side == Side::Snapshot && !is_decided_at_once, "{shape} {found:?}");
                    assert_eq!(found.lost, 0, "without the snapshot nothing is called lost");
                }
                Certainty::Exact => panic!("{shape} {side}: {found:?}"),
            }
            let expected = if matches!(found.certainty, Certainty::Unknown(_)) { 0 } else { 50 };
            assert_eq!((found.lost, found.altered, found.resurrected), (expected, 0, 0), "{shape} {side}: the rows in front of the damage");
            assert_eq!(lines(&capsule).len() as u64, expected);
        }
    }
}

#[test]
fn a_file_that_is_no_database_is_unknown() {
    let folder = tempfile::tempdir().expect("folder");
    let [snapshot, live] = damaged(folder.path(), SHAPES[0], Side::Live);
    for content in
        [&b"no database, no database, no database, no database, no database, no database, no database, no database"[..], &[0; 4096]]
    {
        std::fs::write(&live, content).expect("write");
        let found = run(&snapshot, &live, &["audit".into()], &mut Vec::new()).remove(0);
        assert!(matches!(found.certainty, Certainty::Unknown(Doubt::Unreadable { side: Side::Live, .. })), "{found:?}");
    }
}

/// What the oracle writes of a value; reals as bits, so that both sides round for themselves.
fn as_oracle(value: &Value) -> Value {
    match value.get("real").and_then(Value::as_str) {
        Some(text) => serde_json::json!({"real": format!("{:016x}", text.parse::<f64>().expect("real").to_bits())}),
        None => value.clone(),
    }
}

fn row_as_oracle(row: &Value) -> Value {
    Value::Object(row.as_object().expect("row").iter().map(|(name, value)| (name.clone(), as_oracle(value))).collect())
}

fn sorted(mut values: Vec<String>) -> Vec<String> {
    values.sort();
    values
}

fn assert_as_expected(seed: &str, expected: &Value, found: &GapTable, capsule: &[Value]) {
    let at = format!("history {seed}, table {}: {found:?}", expected["name"]);
    let presence = match &found.presence {
        Presence::Both => "both",
        Presence::Renamed { .. } => "renamed",
        Presence::LiveOnly => "live_only",
        Presence::SnapshotOnly => "snapshot_only",
        Presence::Neither => "neither",
    };
    assert_eq!(presence, expected["presence"], "{at}");
    if presence == "neither" {
        return;
    }
    for (word, count) in [("lost", found.lost), ("resurrected", found.resurrected), ("altered", found.altered), ("common", found.common)] {
        assert_eq!(count, expected[word], "{word}: {at}");
    }
    let certainty = match &found.certainty {
        Certainty::Exact => "exact",
        Certainty::LowerBound(Doubt::PerhapsRenamed { .. }) => "lower_bound",
        other => panic!("{other:?}: {at}"),
    };
    assert_eq!(certainty, expected["certainty"], "{at}");
    assert_eq!(serde_json::json!(found.key), expected["key"], "{at}");
    assert_eq!(serde_json::json!(found.reused_ids), expected["reused"], "{at}");
    if !expected["id_range"].is_null() {
        assert_eq!(serde_json::json!(found.lost_range), expected["id_range"], "{at}");
    }
    assert_lines(&at, expected, found, capsule);
}

fn assert_lines(at: &str, expected: &Value, found: &GapTable, capsule: &[Value]) {
    let own: Vec<&Value> = capsule.iter().filter(|line| line["table"] == found.name.as_str()).collect();
    let is_loose = |line: &Value| line["what"] == "lost" && line["key"].as_object().is_none_or(|key| key.values().any(Value::is_null));
    let loose = own.iter().filter(|line| is_loose(line)).count();
    assert_eq!(loose as u64, expected["loose_count"], "{at}");
    let told = |line: &&&Value| {
        let mut told = serde_json::json!({"what": line["what"], "row": row_as_oracle(&line["row"])});
        if line["what"] == "altered" {
            told["was"] = row_as_oracle(&line["was"]);
        }
        told.to_string()
    };
    let keyed = sorted(own.iter().filter(|line| !is_loose(line)).map(|line| told(&line)).collect());
    let wanted = sorted(expected["lines"].as_array().expect("lines").iter().map(Value::to_string).collect());
    assert_eq!(keyed, wanted, "{at}");
    if let (Some(contents), Some(columns)) = (expected["loose"].as_array(), expected["common_columns"].as_array()) {
        let content = |line: &Value| columns.iter().map(|name| exact(&line["row"][name.as_str().expect("name")])).collect::<Vec<_>>();
        let found = sorted(own.iter().filter(|line| is_loose(line)).map(|line| serde_json::json!(content(line)).to_string()).collect());
        let parse = |text: &Value| serde_json::from_str::<Value>(text.as_str().expect("text")).expect("json").to_string();
        assert_eq!(found, sorted(contents.iter().map(parse).collect()), "{at}");
    }
}

/// Type and value as the oracle compares them.
fn exact(value: &Value) -> Value {
    let tagged = |word: &str| value.get(word).and_then(Value::as_str);
    match value {
        Value::Null => serde_json::json!(["NoneType", null]),
        Value::String(text) => serde_json::json!(["str", text]),
        Value::Number(number) => serde_json::json!(["int", number]),
        _ if tagged("real").is_some() => serde_json::json!(["real", as_oracle(value)["real"]]),
        _ if tagged("integer").is_some() => serde_json::json!(["int", tagged("integer").and_then(|text| text.parse::<i64>().ok())]),
        _ => serde_json::json!(["bytes", tagged("blob_hex")]),
    }
}

#[test]
fn random_histories_agree_with_the_oracle() {
    let histories = if std::env::var_os("AIRKEEP_PROVE").is_some_and(|value| value != "0") { 500 } else { 50 };
    let folder = tempfile::tempdir().expect("folder");
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/gap_oracle.py");
    let made = Command::new("python3").arg(oracle).arg(folder.path()).args(["0", &histories.to_string()]).status();
    if made.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        eprintln!("skipped: no python3");
        return;
    }
    assert!(made.expect("oracle").success());
    let (mut tables, mut rows) = (0, 0);
    for seed in 0..histories {
        let place = folder.path().join(seed.to_string());
        let expected = json(&place.join("expected.json"));
        let expected = expected.as_array().expect("tables");
        let mut names: Vec<String> = expected.iter().map(|table| table["name"].as_str().expect("name").to_owned()).collect();
        names.sort();
        let mut capsule = Vec::new();
        let found = run(&place.join("snapshot.db"), &place.join("live.db"), &names, &mut capsule);
        assert_eq!(found.len(), expected.len(), "history {seed}");
        let capsule = lines(&capsule);
        for (expected, found) in expected.iter().zip(&found) {
            assert_as_expected(&seed.to_string(), expected, found, &capsule);
            tables += 1;
            rows += found.lost + found.altered + found.resurrected;
        }
    }
    eprintln!("{histories} histories, {tables} tables, {rows} rows lost, altered or resurrected: no difference");
    assert!(rows > 1000, "the histories have gaps");
}

#[test]
fn rows_that_an_index_lacks_are_counted_all_the_same() {
    let folder = tempfile::tempdir().expect("folder");
    let paths = ["snapshot.db", "live.db"].map(|name| folder.path().join(name));
    for path in &paths {
        let connection = Connection::open(path).expect("open");
        let sql = "CREATE TABLE audit(id TEXT PRIMARY KEY, w) WITHOUT ROWID; CREATE INDEX i ON audit(w); INSERT INTO audit VALUES('k1', 1), ('k2', 2)";
        connection.execute_batch(sql).expect("table");
    }
    // Rows that came while the schema did not know of the index.
    let hide = "PRAGMA writable_schema=ON; CREATE TABLE hidden AS SELECT * FROM sqlite_schema WHERE name = 'i'; DELETE FROM sqlite_schema WHERE name = 'i'";
    let show = "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema SELECT * FROM hidden; DROP TABLE hidden";
    for sql in [hide, "INSERT INTO audit VALUES('k3', 3), ('k4', 4)", show] {
        Connection::open(&paths[1]).expect("open").execute_batch(sql).expect(sql);
    }
    let found = run(&paths[0], &paths[1], &["audit".into()], &mut std::io::sink());
    assert_eq!((found[0].lost, found[0].common), (2, 2));
}

#[test]
fn rows_that_went_into_a_copy_without_a_key_leave_a_doubt() {
    let folder = tempfile::tempdir().expect("folder");
    let paths = ["snapshot.db", "live.db"].map(|name| folder.path().join(name));
    for path in &paths {
        let connection = Connection::open(path).expect("open");
        connection
            .execute_batch("CREATE TABLE audit(id INTEGER PRIMARY KEY, w); INSERT INTO audit VALUES(1, 'a'), (2, 'b')")
            .expect("table");
    }
    let live = Connection::open(&paths[1]).expect("open");
    live.execute_batch("INSERT INTO audit VALUES(3, 'c'); CREATE TABLE audit_2025 AS SELECT * FROM audit; DELETE FROM audit")
        .expect("rotation");
    let found = run(&paths[0], &paths[1], &["audit".into()], &mut std::io::sink());
    assert!(matches!(&found[0].certainty, Certainty::LowerBound(doubt) if doubt.to_string().contains("audit_2025")), "{:?}", found[0]);
}
