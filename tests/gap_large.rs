//! The gap of an audit trail of ten million rows: how fast, and in how much memory. The ordinary run takes two hundred thousand.
#![allow(clippy::print_stderr)] // figures are for whoever reads the output

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use airkeep::database::{AppendOnlyTable, Certainty, Declaration, gap, harden};
use airkeep::files::ScratchSpace;
use rusqlite::Connection;

/// Counts lines and keeps none.
#[derive(Default)]
struct Lines(u64);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn make(path: &Path, columns: &str, rows: u64, key: &str) {
    let connection = Connection::open(path).expect("open");
    let sql = format!(
        "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; CREATE TABLE audit({columns}, at TEXT, actor TEXT, what TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO audit SELECT {key}, '2026-11-20 21:55:04', 'actor ' || (i % 97), 'the quick brown fox ' || i FROM n"
    );
    connection.execute_batch(&sql).expect("rows");
}

/// The most memory that this process had resident since it was last asked to forget.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}

fn measure(name: &str, folder: &Path, rows: u64, slowest: f64) -> (airkeep::database::GapTable, u64) {
    let open = |name: &str| {
        let connection = Connection::open(folder.join(name)).expect("open");
        harden(&connection, 1 << 20).expect("harden");
        connection
    };
    let (snapshot, live) = (open("snapshot.db"), open("live.db"));
    let scratch = ScratchSpace::new(folder, |key: &mut [u8]| key.fill(3));
    let table = AppendOnlyTable { name: "audit".into(), declaration: Declaration::Declared };
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (mut lines, begun) = (Lines::default(), Instant::now());
    let found = gap(&snapshot, &live, &[table], &scratch, &mut lines, &|| false).expect("gap").remove(0);
    let (rate, peak) = (rows as f64 / begun.elapsed().as_secs_f64(), peak_bytes());
    eprintln!("{name}: {rows} rows, {rate:.0} rows/s, peak {} KiB, {} lines", peak.unwrap_or(0) >> 10, lines.0);
    assert_eq!(found.certainty, Certainty::Exact);
    assert!(peak.is_none_or(|peak| peak < 64 << 20), "memory is bounded");
    assert!(rate >= slowest, "{rate} rows/s");
    (found, lines.0)
}

#[test]
fn ten_million_rows_are_compared_in_bounded_memory() {
    let is_proving = std::env::var_os("AIRKEEP_PROVE").is_some_and(|value| value != "0");
    let (rows, slowest) = if is_proving { (10_000_000, 200_000.0) } else { (200_000, 0.0) };
    let folder = tempfile::Builder::new().prefix("airkeep-test-").tempdir().expect("folder");
    let path = |name: &str| folder.path().join(name);
    make(&path("snapshot.db"), "id INTEGER PRIMARY KEY AUTOINCREMENT", rows, "i");
    std::fs::copy(path("snapshot.db"), path("live.db")).expect("copy");
    let live = Connection::open(path("live.db")).expect("live");
    let fifth = rows / 5;
    live.execute_batch(&format!(
        "INSERT INTO audit(at, actor, what) SELECT at, actor, what FROM audit LIMIT {fifth};
         UPDATE audit SET what = '' WHERE id % 1000 = 7 AND id <= {rows}; DELETE FROM audit WHERE id % 1000 = 8 AND id <= {rows}"
    ))
    .expect("change");
    drop(live);
    let (found, lines) = measure("key is the rowid", folder.path(), rows + fifth, slowest);
    let thousandth = rows / 1000;
    assert_eq!([found.lost, found.altered, found.resurrected, lines], [fifth, thousandth, thousandth, fifth + thousandth]);

    // Without a key, and every row at another place: nothing can be matched on the way.
    for name in ["snapshot.db", "live.db"] {
        std::fs::remove_file(path(name)).expect("remove");
    }
    make(&path("snapshot.db"), "token TEXT", rows, "i");
    std::fs::copy(path("snapshot.db"), path("live.db")).expect("copy");
    let live = Connection::open(path("live.db")).expect("live");
    let lost = rows / 100;
    live.execute_batch(&format!("PRAGMA synchronous=OFF; INSERT INTO audit SELECT token || 'x', at, actor, what FROM audit LIMIT {lost}; DELETE FROM audit WHERE rowid = 1; VACUUM"))
        .expect("change");
    drop(live);
    let (found, lines) = measure("no key, rowids renumbered", folder.path(), rows * 2, 0.0);
    assert_eq!([found.lost, found.altered, found.resurrected, lines], [lost, 0, 1, lost]);
    assert_eq!(found.common, rows - 1);
}
