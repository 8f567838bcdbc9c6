//! Installing where something is wrong: with the files beside the target, or with what is in it.

mod common;
mod placing;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use airkeep::database::{Comparison, DatabaseError, InstallError, Installation, Way};
use common::{Role, bytes, number};
use placing::{Filler, Place, assert_installed, fill, image_of, install, mode_of, ready, refusing, wait_for_end};
use rusqlite::Connection;
use support::{content, note};

impl Place {
    fn clear(&self) {
        fs::remove_dir_all(self.live()).and_then(|()| fs::create_dir(self.live())).expect("anew");
    }
}

/// Leaves a journal that is hot at a new database.
fn leave_a_hot_journal(path: &Path, mark: &str, rows: u32) {
    fill(path, mark, "delete", 4096, rows);
    Role::start("crash", path).kill();
    let journal = PathBuf::from(format!("{}-journal", path.display()));
    assert!(fs::metadata(journal).is_ok_and(|found| found.len() > 512), "no hot journal");
}

/// S1: what a naive copy does not survive.
#[test]
fn a_wal_that_holds_later_rows_or_comes_from_elsewhere_does_not_come_back() {
    let (place, image) = Place::with_image();
    let other = place.folder.path().join("other.db");
    fill(&other, "foreign", "wal", 4096, 20);
    for (name, is_foreign, target_mode) in [("own", false, "wal"), ("foreign", true, "wal"), ("foreign", true, "delete")] {
        fill(&place.target, "old", target_mode, 4096, 50);
        let origin = if is_foreign { &other } else { &place.target };
        let writer = Connection::open(origin).expect("open");
        writer.execute_batch("PRAGMA wal_autocheckpoint=0; INSERT INTO t(mark, v) SELECT 'later', v FROM t").expect("rows");
        let beside = |suffix: &str| PathBuf::from(format!("{}{suffix}", origin.display()));
        let (wal, shm, main) = (bytes(&beside("-wal")), bytes(&beside("-shm")), bytes(origin));
        writer.close().expect("close");
        if !is_foreign {
            fs::write(&place.target, main).expect("as it was");
        }
        fs::write(place.beside("-wal"), wal).expect("wal");
        fs::write(place.beside("-shm"), shm).expect("shm");
        let what = format!("{name} WAL at {target_mode}");
        let report = install(&place.target, &image).unwrap_or_else(|error| panic!("{what}: {}", support::causes(&error)));
        // Shared memory beside a database in rollback mode means nothing to anybody.
        let is_clean = !place.names().iter().any(|name| name == "app.db-wal" || name == "app.db-journal");
        assert!(report.aside.is_some() || is_clean, "{what}: {:?}", place.names());
        assert_installed(&place.target, &place.source, &what);
        assert_eq!(mode_of(&place.target), target_mode, "{what}");
        place.clear();
    }
}

/// S2: a journal that was hot is rolled back before, and never into what is installed.
#[test]
fn a_hot_journal_is_rolled_back_first() {
    let (place, image) = Place::with_image();
    leave_a_hot_journal(&place.target, "old", 2000);
    let installation = Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock");
    assert_eq!(number(installation.present().expect("present"), "SELECT count(*) FROM t WHERE mark='old'"), 2000);
    assert_eq!(number(installation.present().expect("present"), "SELECT count(*) FROM t WHERE mark='uncommitted'"), 0);
    installation.install(&refusing(), &mut Filler).expect("install").release().expect("release");
    assert_installed(&place.target, &place.source, "hot journal");
}

#[test]
fn a_missing_target_is_made_and_orphaned_sidecars_are_moved_aside() {
    let (place, image) = Place::with_image();
    let report = install(&place.target, &image).expect("install");
    assert_eq!((report.way, report.comparison, report.aside), (Way::Replace, Comparison::Equal, None));
    assert_installed(&place.target, &place.source, "missing");
    assert_eq!(fs::metadata(&place.target).expect("stat").mode() & 0o777, 0o600);
    assert_eq!(place.names(), ["app.db"]);
    fs::remove_file(&place.target).expect("remove");
    let other = place.folder.path().join("other.db");
    fill(&other, "foreign", "wal", 4096, 20);
    let writer = Connection::open(&other).expect("open");
    writer.execute_batch("PRAGMA wal_autocheckpoint=0; INSERT INTO t(mark, v) SELECT 'later', v FROM t").expect("rows");
    fs::copy(place.folder.path().join("other.db-wal"), place.beside("-wal")).expect("wal");
    install(&place.target, &image).expect("install");
    assert_installed(&place.target, &place.source, "orphaned WAL");
    assert!(place.names().iter().any(|name| name.starts_with("app.db.airkeep-") && name.ends_with("-wal")), "{:?}", place.names());
}

#[test]
fn what_cannot_be_opened_is_kept_aside_with_its_sidecars() {
    let (place, image) = Place::with_image();
    let mut corrupt = bytes(&place.source);
    corrupt[100..200].fill(0xff);
    let half = bytes(&place.source)[..8192].to_vec();
    for content in [b"0123456789".to_vec(), b"just some text\n".repeat(500), corrupt, half, vec![0; 4096]] {
        fs::write(&place.target, &content).expect("write");
        fs::set_permissions(&place.target, fs::Permissions::from_mode(0o644)).expect("mode");
        fs::write(place.beside("-wal"), b"stale").expect("wal");
        let installation = Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock");
        assert!(installation.present().is_none());
        let aside = installation.aside().expect("aside");
        let report = installation.install(&refusing(), &mut Filler).expect("install").release().expect("release");
        assert_eq!((report.way, report.aside.as_ref()), (Way::Replace, Some(&aside)));
        assert_installed(&place.target, &place.source, "unopenable");
        assert!(bytes(&aside) == content);
        assert_eq!(bytes(&PathBuf::from(format!("{}-wal", aside.display()))), b"stale");
        assert_eq!(fs::metadata(&place.target).expect("stat").mode() & 0o777, 0o644);
        place.clear();
    }
}

#[test]
fn an_unopenable_file_that_somebody_has_open_is_refused() {
    let (place, image) = Place::with_image();
    fs::write(&place.target, b"no database").expect("write");
    let role = Role::start("hold-file", &place.target);
    let error = install(&place.target, &image).expect_err("in use");
    assert!(matches!(&error, InstallError::Database(DatabaseError::Locked { holders, .. }) if holders[0].pid == role.pid()), "{error:?}");
    role.end();
    assert_eq!(bytes(&place.target), b"no database");
    assert_eq!(place.names(), ["app.db"]);
}

#[test]
fn an_empty_file_becomes_the_database_and_an_empty_image_an_empty_database() {
    let (place, image) = Place::with_image();
    fs::write(&place.target, b"").expect("write");
    assert_eq!(install(&place.target, &image).expect("install").way, Way::Exclusive);
    assert_installed(&place.target, &place.source, "zero bytes");
    fs::write(&place.source, b"").expect("write");
    install(&place.target, &image_of(&place.source)).expect("install");
    assert!(content(&place.target).is_empty());
}

/// S1 and S2: whatever these do to the old content, nothing of them comes into the new one.
#[test]
fn sidecars_of_another_database_do_not_come_into_the_new_content() {
    let (place, image) = Place::with_image();
    let (hot, busy) = (place.folder.path().join("hot.db"), place.folder.path().join("busy.db"));
    leave_a_hot_journal(&hot, "foreign", 2000);
    fill(&busy, "foreign", "wal", 4096, 20);
    let writer = Connection::open(&busy).expect("open");
    writer.execute_batch("PRAGMA wal_autocheckpoint=0; INSERT INTO t(mark, v) SELECT 'later', v FROM t").expect("rows");
    let foreign: Vec<_> = [(&hot, "-journal"), (&busy, "-wal"), (&busy, "-shm")]
        .map(|(path, suffix)| (suffix, bytes(&PathBuf::from(format!("{}{suffix}", path.display())))))
        .to_vec();
    let mut ways = Vec::new();
    for mode in ["wal", "delete"] {
        for which in 1..8_usize {
            fill(&place.target, "old", mode, 4096, 500);
            let chosen: Vec<_> = foreign.iter().enumerate().filter(|(place, _)| which >> place & 1 == 1).map(|(_, found)| found).collect();
            for (suffix, bytes) in &chosen {
                fs::write(place.beside(suffix), bytes).expect("sidecar");
            }
            let what = format!("{mode}, {:?}", chosen.iter().map(|(suffix, _)| suffix).collect::<Vec<_>>());
            let report = install(&place.target, &image).unwrap_or_else(|error| panic!("{what}: {}", support::causes(&error)));
            let is_clean = !place.names().iter().any(|name| name == "app.db-wal" || name == "app.db-journal");
            assert!(is_clean, "{what}: {:?}", place.names());
            assert_eq!(report.aside.is_some(), report.way == Way::Replace, "{what}");
            assert_installed(&place.target, &place.source, &what);
            ways.push(report.way);
            place.clear();
        }
    }
    note(&format!("{} mixtures of foreign sidecars: {ways:?}", ways.len()));
}

/// A journal of a transaction over several databases counts only as long as the file exists that it names.
#[test]
fn a_hot_journal_that_names_a_super_journal() {
    let (place, image) = Place::with_image();
    for is_there in [true, false] {
        leave_a_hot_journal(&place.target, "old", 2000);
        let leader = place.live().join("leader-mj0123");
        let (name, journal) = (leader.to_string_lossy().into_owned(), place.beside("-journal"));
        let mut content = bytes(&journal);
        let sum = name.bytes().fold(0_u32, |sum, byte| sum.wrapping_add(byte.into()));
        content.extend((LOCK_BYTE_OFFSET / 4096 + 1).to_be_bytes());
        content.extend(name.as_bytes());
        content.extend((name.len() as u32).to_be_bytes());
        content.extend(sum.to_be_bytes());
        content.extend(JOURNAL_MAGIC);
        fs::write(&journal, content).expect("journal");
        if is_there {
            fs::write(&leader, format!("{}\0", journal.display())).expect("super-journal");
            let installation = Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock");
            let rolled_back = number(installation.present().expect("present"), "SELECT count(*) FROM t WHERE mark='old'");
            assert_eq!(rolled_back, 2000, "the journal was not played back");
        }
        let what = format!("super-journal there: {is_there}");
        install(&place.target, &image).unwrap_or_else(|error| panic!("{what}: {}", support::causes(&error)));
        assert!(!journal.exists(), "{what}");
        assert_installed(&place.target, &place.source, &what);
        place.clear();
    }
}

#[test]
fn pages_of_garbage_behind_a_schema_that_can_be_read() {
    for mode in ["wal", "delete"] {
        let (place, image) = Place::with_image();
        fill(&place.target, "old", mode, 4096, 500);
        let mut garbage = bytes(&place.target);
        garbage[4096..].iter_mut().for_each(|byte| *byte ^= 0xa5);
        fs::write(&place.target, garbage).expect("write");
        let report = install(&place.target, &image).unwrap_or_else(|error| panic!("{mode}: {}", support::causes(&error)));
        assert_eq!((report.way, report.comparison, report.aside), (Way::Exclusive, Comparison::Equal, None));
        assert_installed(&place.target, &place.source, mode);
        assert_eq!(mode_of(&place.target), mode);
    }
}

/// S10, S12: either SQLite takes it for a database, and it is replaced in place, or it lies aside, whole.
#[test]
fn a_target_that_was_cut_at_any_place() {
    for mode in ["wal", "delete"] {
        let (place, image) = Place::with_image();
        fill(&place.target, "old", mode, 4096, 500);
        let whole = bytes(&place.target);
        for length in [1, 10, 99, 100, 511, 512, 4095, 4096, 4097, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
            let (what, cut) = (format!("{mode}, {length} bytes of {}", whole.len()), &whole[..length]);
            fs::write(&place.target, cut).expect("write");
            let report = install(&place.target, &image).unwrap_or_else(|error| panic!("{what}: {}", support::causes(&error)));
            assert_installed(&place.target, &place.source, &what);
            assert_eq!(report.aside.as_deref().map(bytes), (report.way == Way::Replace).then(|| cut.to_vec()), "{what}");
            place.clear();
        }
    }
}

/// Nothing here is a test of its own; another test of this file starts it as a process.
#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role_for_another_test() {
    let Ok(role) = std::env::var("AIRKEEP_TEST_ROLE") else { return };
    let path = PathBuf::from(std::env::var_os("AIRKEEP_TEST_PATH").expect("path"));
    match role.as_str() {
        "crash" => {
            let connection = Connection::open(&path).expect("open");
            connection.execute_batch("PRAGMA cache_size=5; BEGIN; UPDATE t SET mark='uncommitted', v=hex(randomblob(90))").expect("write");
            ready();
            wait_for_end();
        }
        "hold-file" => {
            let _held = fs::File::open(&path).expect("open");
            ready();
            wait_for_end();
        }
        other => panic!("no role {other}"),
    }
}

const LOCK_BYTE_OFFSET: u32 = 1 << 30;
const JOURNAL_MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
