//! Cancelled at every moment: whatever the operation was doing, it ends with the one answer and every file is as it was.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use airkeep::bundle::KeyChange;
use airkeep::ops::{ExtractFormat, Rekey, RowTarget};
use airkeep::{Backup, Environment, Extract, Failure, KeyFileKey, Keyring, Label, Progress, Restore, Verification, VerifyRequest};
use rusqlite::Connection;
use support::{back_up, fast_place, is_proving, listing, note, ring, spec};

/// Says stop from its n-th question on, and counts what it is told.
#[derive(Default)]
struct Stopper {
    stops_at: u64,
    questions: AtomicU64,
    phases: AtomicU64,
    ended: AtomicU64,
    bytes: AtomicU64,
}

impl Progress for Stopper {
    fn begin(&self, _: &str, _: Option<u64>) {
        self.phases.fetch_add(1, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.questions.fetch_add(1, Ordering::Relaxed) + 1 >= self.stops_at
    }
}

/// Runs with a stop at each question, or at a sample of them, until the operation gets through; says how many there were.
fn sweep(name: &str, home: &Path, mut run: impl FnMut(&mut Environment) -> Result<(), Failure>) {
    let before = listing(home);
    let content = contents(home);
    let mut stops_at = 1;
    loop {
        let stopper = Arc::new(Stopper { stops_at, ..Stopper::default() });
        let mut environment = Environment::system();
        environment.progress = stopper.clone();
        let result = run(&mut environment);
        assert_eq!(stopper.phases.load(Ordering::Relaxed), stopper.ended.load(Ordering::Relaxed), "{name}: every phase ends");
        match result {
            Err(Failure::Cancelled) => {
                assert_eq!(listing(home), before, "{name}, question {stops_at}: something was left");
                assert!(contents(home) == content, "{name}, question {stops_at}: something was changed");
            }
            Err(other) => panic!("{name}, question {stops_at}: {}", support::causes(&other)),
            Ok(()) => break,
        }
        // One question after the other where they differ in kind, then wider steps through the long passes.
        stops_at += if is_proving() || stops_at < 40 { 1 } else { stops_at / 8 };
    }
    note(&format!("{name}: asked fewer than {stops_at} times"));
    assert!(stops_at > 5, "{name} hardly ever asks whether to go on");
}

fn contents(home: &Path) -> Vec<Option<Vec<u8>>> {
    // SQLite's shared memory is scratch of its own.
    let names = listing(home);
    // The journal remembers that something was begun and stopped.
    let names = names.iter().filter(|name| !name.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal.")));
    names.map(|name| std::fs::read(home.join(name)).ok()).collect()
}

fn database(path: &Path, journal: &str) {
    let connection = Connection::open(path).expect("create");
    connection
        .execute_batch(&format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE t(id INTEGER PRIMARY KEY, a);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT INTO t SELECT i, randomblob(900) FROM n"
        ))
        .expect("content");
    connection.close().expect("close");
}

#[test]
fn a_backup_that_is_cancelled_leaves_nothing() {
    for journal in ["wal", "delete"] {
        let home = fast_place();
        let source = home.path().join("source.db");
        database(&source, journal);
        let backup = Backup::new(vec![spec("main", &source)], home.path().join("vault"));
        sweep(&format!("backup, {journal}"), home.path(), |environment| backup.run(&ring(), environment).map(drop));
    }
}

#[test]
fn a_restore_that_is_cancelled_leaves_nothing() {
    let home = fast_place();
    let source = home.path().join("source.db");
    database(&source, "wal");
    let bundle = back_up(&source, &home.path().join("vault"), |_| {}).path;
    let restore = Restore::new(bundle, home.path().join("out"));
    sweep("restore", home.path(), |environment| restore.run(&ring(), environment).map(drop));
}

#[test]
fn an_extract_that_is_cancelled_leaves_nothing() {
    let home = fast_place();
    let source = home.path().join("source.db");
    database(&source, "wal");
    Connection::open(&source).unwrap().execute_batch("CREATE VIEW v AS SELECT 1; CREATE VIEW w AS SELECT 2").unwrap();
    let bundle = back_up(&source, &home.path().join("vault"), |_| {}).path;
    let to = RowTarget::File(home.path().join("out.sql"));
    let extract = Extract { format: ExtractFormat::Sql, ..Extract::new(bundle, Label::parse("main").unwrap(), to) };
    sweep("extract", home.path(), |environment| extract.run(&ring(), &mut Vec::new(), environment).map(drop));
}

#[test]
fn a_change_of_keys_that_is_cancelled_changes_nothing() {
    let home = fast_place();
    let source = home.path().join("source.db");
    database(&source, "wal");
    let bundle = back_up(&source, &home.path().join("vault"), |_| {}).path;
    let new = Keyring { key_files: vec![KeyFileKey::parse(&[9; 32]).expect("32 bytes")], ..Keyring::default() };
    let (old, change) = (ring(), KeyChange::Rotate(&new));
    sweep("key change", home.path(), |environment| Rekey::new(&old, change).run(&bundle, environment).map(drop));
}

#[test]
fn a_verification_can_be_cancelled_and_tells_how_far_it_is() {
    let home = fast_place();
    let source = home.path().join("source.db");
    database(&source, "wal");
    let bundle = back_up(&source, &home.path().join("vault"), |_| {}).path;
    let request = VerifyRequest::default();
    sweep("verify", home.path(), |environment| Verification::run(&bundle, &request, &ring(), environment).map(drop));
    let watcher = Arc::new(Stopper { stops_at: u64::MAX, ..Stopper::default() });
    let mut environment = Environment::system();
    environment.progress = watcher.clone();
    let size = Verification::run(&bundle, &request, &ring(), &environment).expect("sound").size_bytes;
    let bytes = watcher.bytes.load(Ordering::Relaxed);
    assert!((size..size + size / 10 + 100_000).contains(&bytes), "{bytes} bytes were told of a file of {size}");
}

#[test]
fn damage_is_passed_quickly_once_cancelled() {
    let home = fast_place();
    let bundle = home.path().join("zeros.akb");
    let source = home.path().join("source.db");
    database(&source, "wal");
    let sealed = back_up(&source, &home.path().join("vault"), |_| {}).path;
    let mut bytes = std::fs::read(sealed).expect("bundle");
    let len = bytes.len();
    bytes[60_000..len - 60_000].fill(0);
    std::fs::write(&bundle, bytes).expect("write");
    sweep("verify damage", home.path(), |environment| {
        Verification::run(&bundle, &VerifyRequest::default(), &ring(), environment).map(drop)
    });
}
