//! Capture of databases that nobody on this project wrote. They are looked for in the folder that `AIRKEEP_CORPUS` names.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use airkeep::database::{DatabaseError, PagePreference, Route, Verdict};
use common::{bytes, capture, capture_with, number, open_image};

fn corpus(part: &str) -> Option<PathBuf> {
    let found = std::env::var_os("AIRKEEP_CORPUS").map(|folder| Path::new(&folder).join(part)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: AIRKEEP_CORPUS names no folder with {part}");
    }
    found
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("list").flatten() {
        if entry.path().is_dir() {
            files.extend(files_under(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}

fn copy_into(folder: &Path, file: &Path) -> PathBuf {
    let copy = folder.join(file.file_name().expect("name"));
    std::fs::copy(file, &copy).expect("copy");
    copy
}

#[test]
fn neither_crashes_nor_hangs_on_malformed_images() {
    let Some(folder) = corpus("sqlite-malformed") else { return };
    let mut tally = std::collections::BTreeMap::new();
    let mut slowest = (Duration::ZERO, PathBuf::new());
    for file in files_under(&folder) {
        let work = tempfile::tempdir().expect("folder");
        let path = copy_into(work.path(), &file);
        let original = bytes(&path);
        for (accept_corrupt, pages) in [(false, PagePreference::Auto), (true, PagePreference::Auto), (true, PagePreference::BackupApi)] {
            let started = Instant::now();
            let outcome = capture_with(&path, |options| {
                options.accept_corrupt = accept_corrupt;
                options.pages = pages;
            });
            if started.elapsed() > slowest.0 {
                slowest = (started.elapsed(), file.clone());
            }
            assert!(started.elapsed() < Duration::from_secs(10), "{} took {:?}", file.display(), started.elapsed());
            assert!(bytes(&path) == original, "{} was changed", file.display());
            let word = describe(&file, outcome, accept_corrupt);
            *tally.entry((accept_corrupt, format!("{pages:?}"), word)).or_insert(0) += 1;
        }
    }
    eprintln!("{tally:#?}\nslowest: {slowest:?}");
}

fn describe(file: &Path, outcome: Result<(airkeep::database::SourceFacts, Vec<u8>), DatabaseError>, accept_corrupt: bool) -> String {
    match outcome {
        Ok((facts, _)) => {
            assert!(accept_corrupt || facts.check.verdict != Verdict::Corrupt, "{}", file.display());
            assert_eq!(facts.check.verdict == Verdict::Ok, facts.check.messages.is_empty(), "{}", file.display());
            format!("{:?}", facts.check.verdict)
        }
        Err(DatabaseError::Corrupt { messages, .. }) => {
            assert!(!messages.is_empty());
            if accept_corrupt {
                eprintln!("refused although damage is accepted: {} {messages:?}", file.display());
            }
            "refused as corrupt".to_owned()
        }
        Err(DatabaseError::Truncated { .. }) => "refused as truncated".to_owned(),
        Err(DatabaseError::NotADatabase { .. }) => "not a database".to_owned(),
        Err(other) => {
            eprintln!("{}: {other:?}", file.display());
            format!("other: {other}").split('\'').next().unwrap_or_default().to_owned()
        }
    }
}

#[test]
fn replays_the_wal_of_a_crash_image() {
    let Some(folder) = corpus("icdev/wal") else { return };
    for keep_shm in [true, false] {
        let work = tempfile::tempdir().expect("folder");
        for file in files_under(&folder) {
            if keep_shm || !file.to_string_lossy().ends_with("-shm") {
                copy_into(work.path(), &file);
            }
        }
        let path = work.path().join("icdev.db");
        let files = |suffix: &str| bytes(&work.path().join(format!("icdev.db{suffix}")));
        let before = (files(""), files("-wal"));
        let (facts, image) = capture(&path);
        assert_eq!(facts.tables.iter().find(|table| table.name == "audit_trail").and_then(|table| table.rows), Some(261));
        assert!(before == (files(""), files("-wal")), "source files changed");
        let elsewhere = tempfile::tempdir().expect("folder");
        assert_eq!(number(&open_image(elsewhere.path(), &image), "SELECT count(*) FROM audit_trail"), 261);
    }
}

#[test]
fn recovers_the_crash_image_on_a_copy_where_nothing_can_be_written() {
    let Some(folder) = corpus("icdev/wal") else { return };
    let (work, mount) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    for file in files_under(&folder).iter().filter(|file| !file.to_string_lossy().ends_with("-shm")) {
        copy_into(work.path(), file);
    }
    let Some(_mounted) = ReadOnlyMount::new(work.path(), mount.path()) else {
        eprintln!("skipped: a read-only mount cannot be made here");
        return;
    };
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let (facts, _) = capture_with(&mount.path().join("icdev.db"), |options| options.pages = pages).expect("capture");
        assert_eq!(facts.tables.iter().find(|table| table.name == "audit_trail").and_then(|table| table.rows), Some(261));
        assert_eq!((facts.recovered, facts.route, facts.journal_mode.as_str()), (true, Route::Scratch, "wal"));
    }
}

#[test]
fn reads_a_closed_wal_database_on_read_only_media() {
    let (work, mount) = (tempfile::tempdir().expect("folder"), tempfile::tempdir().expect("folder"));
    common::make(&work.path().join("a.db"), "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1),(2)");
    let Some(_mounted) = ReadOnlyMount::new(work.path(), mount.path()) else {
        eprintln!("skipped: a read-only mount cannot be made here");
        return;
    };
    let (facts, image) = capture(&mount.path().join("a.db"));
    assert_eq!((facts.recovered, facts.tables[0].rows, facts.check.verdict), (false, Some(2), Verdict::Ok));
    let mut original = bytes(&work.path().join("a.db"));
    original[18..20].fill(1);
    assert!(image == original);
}

#[test]
fn captures_a_real_platform_byte_for_byte() {
    let Some(folder) = corpus("icdev/live-after") else { return };
    for file in files_under(&folder).into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "db")) {
        let work = tempfile::tempdir().expect("folder");
        let path = copy_into(work.path(), &file);
        let mut original = bytes(&path);
        let (facts, image) = capture(&path);
        original[18..20].fill(1);
        assert!(image == original, "{}", file.display());
        assert!(facts.check.verdict <= Verdict::Violations, "{} {:?}", file.display(), facts.check);
        assert!(facts.tables.iter().all(|table| table.rows.is_some()));
    }
}

/// A folder shown a second time, unwritable even for root; undone when dropped.
struct ReadOnlyMount<'a>(&'a Path);

impl<'a> ReadOnlyMount<'a> {
    fn new(folder: &Path, mount: &'a Path) -> Option<Self> {
        let run = |arguments: &[&str]| {
            let output = std::process::Command::new("mount").args(arguments).arg(folder).arg(mount).output();
            output.is_ok_and(|output| output.status.success())
        };
        run(&["--bind"]).then_some(())?;
        let mounted = Self(mount);
        run(&["-o", "remount,bind,ro"]).then_some(mounted)
    }
}

impl Drop for ReadOnlyMount<'_> {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(self.0).status();
    }
}
