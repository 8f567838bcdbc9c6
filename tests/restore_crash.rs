//! `kill -9` at each call of a restore in place that changes something: old or new, success said means new, and `restore resolve` tells which.
//!
//! The ordinary run takes every n-th call, `AIRKEEP_PROVE=1` takes all.

mod cli;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use cli::{Home, has};
use rusqlite::Connection;
use serde_json::Value;

const CALLS: [&str; 11] =
    ["openat", "write", "pwrite64", "fsync", "fdatasync", "linkat", "renameat", "renameat2", "unlinkat", "ftruncate", "unlink"];
const SCHEMA: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
    CREATE TRIGGER keep BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, ''); END;
    CREATE TRIGGER hold BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, ''); END;";
const OLD: i64 = 140;
const NEW: i64 = 100;

/// A vault with one bundle of 100 rows, and a target.
fn site(make_target: impl FnOnce(&Path)) -> (Home, String) {
    let home = Home::new();
    home.key("key");
    let source = Connection::open(home.path("app.db")).unwrap();
    source.execute_batch(SCHEMA).unwrap();
    add(&source, 1, NEW);
    drop(source);
    let bundle = home.json(&["backup", "app.db", "--key-file", "key", "--json"])["bundle"]["path"].as_str().unwrap().to_owned();
    std::fs::remove_file(home.path("app.db")).unwrap();
    make_target(&home.path("app.db"));
    (home, bundle)
}

fn add(database: &Connection, from: i64, to: i64) {
    let sql = "WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i+1 FROM n WHERE i < ?2) INSERT INTO audit(what) SELECT hex(zeroblob(200)) FROM n";
    database.execute(sql, [from, to]).unwrap();
}

fn database(path: &Path, settings: &str) {
    let target = Connection::open(path).unwrap();
    target.execute_batch(settings).unwrap();
    target.execute_batch(SCHEMA).unwrap();
    add(&target, 1, OLD);
}

/// How many rows it has, -1 if there is no database.
fn rows(path: &Path) -> i64 {
    let count = |connection: Connection| connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0));
    if !path.exists() {
        return -1;
    }
    Connection::open(path).and_then(count).unwrap_or(-1)
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(format!("{}/.", from.display())).arg(to).status().unwrap();
    assert!(status.success());
}

fn put_back(home: &Home, kept: &Path) {
    for entry in std::fs::read_dir(home.path("")).unwrap() {
        let path = entry.unwrap().path();
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.unwrap();
    }
    copy(kept, &home.path(""));
}

fn sweep(mode: &str, before: i64, more: &[&str], hold: bool, make_target: impl FnOnce(&Path)) {
    if !has("strace") {
        return eprintln!("skipped: strace is not installed");
    }
    let (home, bundle) = site(make_target);
    let kept = tempfile::tempdir().unwrap();
    copy(&home.path(""), kept.path());
    let step = if std::env::var_os("AIRKEEP_PROVE").is_some() { 1 } else { 9 };
    let (mut kills, mut news) = (0, 0);
    for (place, call) in CALLS.iter().enumerate() {
        for number in (1 + place % step..).step_by(step) {
            let holder = hold.then(|| Connection::open(home.path("app.db")).unwrap());
            holder.iter().for_each(|holder| holder.query_row("SELECT count(*) FROM audit", [], |_| Ok(())).unwrap());
            let mut strace = home.program("strace");
            strace.args(["-f", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={number}"), cli::AIRKEEP]);
            strace.args(["restore", &bundle, "--in-place", "--force", "--key-file", "key"]).args(more);
            let output = strace.stdout(Stdio::null()).output().unwrap();
            let is_over = output.status.success();
            assert!(is_over || output.status.signal() == Some(9), "{call} {number}: {}", String::from_utf8_lossy(&output.stderr));
            drop(holder);
            kills += usize::from(!is_over);
            news += usize::from(after_kill(&home, before, mode, is_over, &format!("{call} {number}")) && !is_over);
            put_back(&home, kept.path());
            if is_over {
                break;
            }
        }
    }
    assert!(kills > 8 && news > 0, "{kills} kills, {news} of them after the installation");
}

/// What must be true whenever it was killed; tells whether the new content is there.
fn after_kill(home: &Home, before: i64, mode: &str, is_success: bool, place: &str) -> bool {
    let told = home.run(["list"]);
    let is_open = told.stderr.contains("has not said how it ended");
    let resolved = home.run(["restore", "resolve", "--json"]);
    assert_eq!(resolved.code, 0, "{place}: {}{}", resolved.stderr, resolved.stdout);
    let object: Value = serde_json::from_str(&resolved.stdout).unwrap();
    let resolutions = object["resolutions"].as_array().unwrap();
    assert_eq!(resolutions.len(), usize::from(is_open), "{place}: what is open is told by every command: {}", told.stderr);
    let found = rows(&home.path("app.db"));
    assert!(found == before || found == NEW, "{place}: {found} rows");
    assert!(!is_success || found == NEW && !is_open, "{place}: success was said");
    for resolution in resolutions {
        let is_new = resolution["targets"][0]["state"] == "new";
        assert_eq!(is_new, found == NEW, "{place}: {resolution:#}");
        assert_eq!(resolution["recorded"], if is_new { "success" } else { "failure" }, "{place}");
    }
    if found > 0 {
        let target = Connection::open(home.path("app.db")).unwrap();
        let ask = |pragma: &str| target.query_row(pragma, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(ask("PRAGMA integrity_check"), "ok", "{place}");
        let is_made = before < 0; // then nobody had a mode that could be kept
        assert!(is_made || ask("PRAGMA journal_mode") == mode, "{place}: {}", ask("PRAGMA journal_mode"));
    }
    if found == NEW && before > 0 {
        let gaps = home.run(["gap", "show", "--json"]);
        let gap: Value = serde_json::from_str(&gaps.stdout).unwrap();
        assert_eq!(gap["gap"]["totals"]["lost"], OLD - NEW, "{place}: {}", gaps.stderr);
        let safety = home.bundles().into_iter().find(|path| path.contains("-000002-")).unwrap();
        home.succeeds(&["restore", &safety, "--to", "before", "--key-file", "key"]);
        assert_eq!(rows(&home.path("before/app.db")), OLD, "{place}: the state before is kept");
    }
    let audit = home.run(["audit", "verify"]);
    assert_eq!(audit.code, 0, "{place}: {}{}", audit.stdout, audit.stderr);
    let again = home.run(["backup", "app.db", "--key-file", "key"]);
    assert!(again.code == 0 || found < 0, "{place}: {}", again.stderr);
    assert!(!again.stderr.contains("has not said how it ended"), "{place}: resolved is resolved");
    found == NEW
}

#[test]
fn into_a_rollback_database() {
    sweep("delete", OLD, &[], false, |path| database(path, ""));
}

#[test]
fn into_a_wal_database() {
    sweep("wal", OLD, &[], false, |path| database(path, "PRAGMA journal_mode=wal"));
}

#[test]
fn into_a_wal_database_of_another_page_size() {
    sweep("wal", OLD, &[], false, |path| database(path, "PRAGMA page_size=1024; PRAGMA journal_mode=wal"));
}

#[test]
fn into_a_wal_database_that_somebody_uses() {
    sweep("wal", OLD, &["--online"], true, |path| database(path, "PRAGMA journal_mode=wal"));
}

#[test]
fn where_nothing_is() {
    sweep("delete", -1, &[], false, |_| {});
}

#[test]
fn where_no_database_is() {
    sweep("delete", -1, &["--accept-other"], false, |path| std::fs::write(path, "no database").unwrap());
}
