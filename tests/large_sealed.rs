//! Databases beyond the limits where formats break: 1 GiB (SQLite's lock-byte page) and 8 GiB (sizes in tar).
//!
//! Only with `AIRKEEP_PROVE=1`: they need room and time. The program runs under GNU time, which tells its peak of memory.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rusqlite::Connection;
use support::{differences, hermetic, integrity, is_proving, key_file, note, open, place, skip, text_of};

const GIB: u64 = 1 << 30;
/// With two workers; each further one has its own frames under way.
const PEAK_MIB: u64 = 32;
const MIB_PER_WORKER: u64 = 8;

/// Grows a database to a size: a part that does not compress, zeros, and text.
fn make(path: &Path, journal: &str, size_bytes: u64) {
    let connection = Connection::open(path).expect("create");
    connection
        .execute_batch("PRAGMA page_size=4096; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; CREATE TABLE t(id INTEGER PRIMARY KEY, head TEXT, body BLOB); BEGIN")
        .expect("schema");
    let mut insert = connection
        .prepare(
            "INSERT INTO t(head, body) VALUES (hex(randomblob(500)), CASE ?1 WHEN 0 THEN randomblob(2000000) ELSE zeroblob(4000000) END)",
        )
        .expect("prepare");
    let mut count = 0;
    while connection.query_row("PRAGMA page_count", [], |row| row.get::<_, i64>(0)).expect("count") as u64 * 4096 < size_bytes {
        insert.execute([count % 20]).expect("insert");
        count += 1;
    }
    drop(insert);
    connection.execute_batch("COMMIT; PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t").expect("commit");
    let now: String = connection.query_row(&format!("PRAGMA journal_mode={journal}"), [], |row| row.get(0)).expect("journal mode");
    assert_eq!(now, journal);
    connection.close().expect("close");
}

/// Runs the program and gives the peak of its resident memory in MiB.
fn run(home: &Path, arguments: &[&str]) -> u64 {
    let mut command = hermetic("/usr/bin/time", home);
    command.args(["-f", "PEAK %M", env!("CARGO_BIN_EXE_airkeep")]).args(arguments);
    let begun = Instant::now();
    let output = command.output().expect("run");
    let text = text_of(&output);
    assert!(output.status.success(), "{arguments:?}: {text}");
    let peak = text.lines().find_map(|line| line.strip_prefix("PEAK ")?.parse::<u64>().ok()).expect("peak") / 1024;
    note(&format!("{:?} took {:.1} s, at most {peak} MiB", arguments[0], begun.elapsed().as_secs_f64()));
    peak
}

fn free_bytes(folder: &Path) -> u64 {
    let space = rustix::fs::statvfs(folder).expect("free space");
    space.f_bavail * space.f_frsize
}

fn comes_back(journal: &str, size_bytes: u64) {
    if !is_proving() {
        return skip("needs AIRKEEP_PROVE=1, room and time");
    }
    if !Command::new("/usr/bin/time").arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return skip("needs GNU time");
    }
    let folder = place();
    let home = folder.path();
    let (needed, free) = (size_bytes * 7 / 2 + GIB, free_bytes(home));
    if free < needed {
        return skip(&format!("needs {needed} bytes free, there are {free}"));
    }
    let [source, vault, to] = ["big.db", "vault", "restored"].map(|name| home.join(name).to_string_lossy().into_owned());
    let key = key_file(home).to_string_lossy().into_owned();
    make(Path::new(&source), journal, size_bytes);
    note(&format!("{journal}, {:.2} GiB", Path::new(&source).metadata().expect("source").len() as f64 / GIB as f64));
    let mut peaks =
        vec![run(home, &["backup", &source, "--vault", &vault, "--key-file", &key, "--compression", "gzip:1", "--check", "quick"])];
    let bundle = support::bundles_in(Path::new(&vault)).into_iter().next().expect("bundle");
    let bundle = Path::new(&vault).join(bundle).to_string_lossy().into_owned();
    peaks.push(run(home, &["verify", &bundle, "--key-file", &key, "--level", "3"]));
    let at_level_4 = run(home, &["verify", &bundle, "--key-file", &key, "--level", "4"]);
    assert!(at_level_4 <= 2 * PEAK_MIB, "level 4: {at_level_4} MiB");
    peaks.push(run(home, &["restore", &bundle, "--to", &to, "--key-file", &key]));
    let restored = Path::new(&to).join("big.db");
    let differing = differences(Path::new(&source), &restored);
    assert!(differing.iter().all(|offset| (18..=19).contains(offset)), "{differing:?}");
    let connection = open(&restored);
    if size_bytes < 2 * GIB {
        assert_eq!(integrity(&connection), ["ok"]);
    }
    let rows = |connection: &Connection| {
        connection
            .query_row("SELECT count(*), max(id) FROM t", [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            .expect("count")
    };
    assert_eq!(rows(&connection), rows(&open(Path::new(&source))));
    let workers = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8)) as u64;
    let limit = PEAK_MIB + MIB_PER_WORKER * (workers - 2);
    assert!(peaks.iter().all(|&peak| peak <= limit), "backup, verify, restore: {peaks:?} MiB, allowed {limit}");
}

#[test]
fn a_rollback_database_beyond_the_lock_byte_page_comes_back() {
    comes_back("delete", GIB + 64 * 4096 * 40);
}

#[test]
fn a_wal_database_beyond_the_lock_byte_page_comes_back() {
    comes_back("wal", GIB + 64 * 4096 * 40);
}

#[test]
fn a_database_beyond_eight_gib_comes_back() {
    comes_back("wal", 8 * GIB + GIB / 8);
}
