//! Installing an image in the place of a database: every kind of target, what lies beside it, who uses it, and kills at each step.

mod common;
mod placing;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airkeep::database::{Comparison, DatabaseError, Image, InstallError, InstallOptions, InstallReport, Installation, Links, Way};
use airkeep::files::ScratchSpace;
use common::{Role, bytes, entropy, number, snapshot};
use placing::{Filler, Place, fill, image_of, ready, refusing, say, wait_for_end};
use rusqlite::Connection;
use support::{content, integrity, is_proving, note, skip};

const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

fn install(path: &Path, image: &Image) -> Result<InstallReport, InstallError> {
    Installation::lock(path, image, &refusing(), &mut Filler)?.install(&refusing(), &mut Filler)?.release()
}

fn mode_of(path: &Path) -> String {
    support::open(path).query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("mode")
}

/// The target holds what the source holds, and is sound.
fn assert_installed(target: &Path, source: &Path, what: &str) {
    assert!(content(target) == content(source), "{what}");
    assert_eq!(integrity(&support::open(target)), ["ok"], "{what}");
}

#[test]
fn every_page_size_and_journal_mode_takes_every_image_larger_and_smaller() {
    let images: &[u32] = if is_proving() { &PAGE_SIZES } else { &[512, 4096, 65536] };
    let mut count = 0;
    for image_size in images {
        for rows in [40, 900] {
            let place = Place::new();
            fill(&place.source, "new", "delete", *image_size, rows);
            let image = image_of(&place.source);
            for target_size in PAGE_SIZES {
                for mode in ["wal", "delete"] {
                    let what = format!("{target_size} {mode} <- {image_size}, {rows} rows");
                    fill(&place.target, "old", mode, target_size, 300);
                    fs::set_permissions(&place.target, fs::Permissions::from_mode(0o640)).expect("mode");
                    let inode = fs::metadata(&place.target).expect("stat").ino();
                    let report = install(&place.target, &image).unwrap_or_else(|error| panic!("{what}: {}", support::causes(&error)));
                    assert_eq!((report.way, report.comparison), (Way::Exclusive, Comparison::Equal), "{what}");
                    assert_eq!(place.names(), ["app.db"], "{what}");
                    assert_installed(&place.target, &place.source, &what);
                    assert_eq!(mode_of(&place.target), mode, "{what}");
                    let found = fs::metadata(&place.target).expect("stat");
                    assert_eq!((found.mode() & 0o777, found.ino()), (0o640, inode), "{what}");
                    fs::remove_dir_all(place.live()).and_then(|()| fs::create_dir(place.live())).expect("anew");
                    count += 1;
                }
            }
        }
    }
    note(&format!("{count} combinations"));
}

#[test]
fn the_present_state_is_shown_under_the_lock_and_nobody_writes_meanwhile() {
    for mode in ["wal", "delete"] {
        let (place, image) = Place::with_image();
        fill(&place.target, "old", mode, 4096, 50);
        let installation = Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock");
        assert_eq!(installation.is_wal(), mode == "wal");
        assert_eq!(number(installation.present().expect("present"), "SELECT count(*) FROM t WHERE mark='old'"), 50);
        let role = Role::start("try-to-write", &place.target);
        assert!(role.end().contains("refused"), "{mode}: somebody wrote under the lock");
        let installed = installation.install(&refusing(), &mut Filler).expect("install");
        let role = Role::start("try-to-write", &place.target);
        assert!(role.end().contains("refused"), "{mode}: somebody wrote before the release");
        assert_eq!(installed.release().expect("release").comparison, Comparison::Equal);
        assert_installed(&place.target, &place.source, mode);
    }
}

#[test]
fn a_lock_that_is_dropped_leaves_the_database_as_it_was() {
    for mode in ["wal", "delete"] {
        let (place, image) = Place::with_image();
        fill(&place.target, "old", mode, 4096, 50);
        let before = bytes(&place.target);
        drop(Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock"));
        assert!(bytes(&place.target) == before, "{mode}");
        assert_eq!(number(&support::open(&place.target), "SELECT count(*) FROM t WHERE mark='old'"), 50);
    }
}

#[test]
fn cancelling_in_the_middle_leaves_the_old_content() {
    for mode in ["wal", "delete"] {
        let place = Place::new();
        fill(&place.source, "new", "delete", 512, 9000);
        let image = image_of(&place.source);
        fill(&place.target, "old", mode, 512, 50);
        let installation = Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock");
        let cancelled = || true;
        let error =
            installation.install(&InstallOptions { cancelled: &cancelled, ..refusing() }, &mut Filler).map(drop).expect_err("cancelled");
        assert!(matches!(error, InstallError::Cancelled { .. }), "{error}");
        assert_eq!(number(&support::open(&place.target), "SELECT count(*) FROM t WHERE mark='old'"), 50);
        assert_eq!(integrity(&support::open(&place.target)), ["ok"]);
    }
}

#[test]
fn a_wal_database_that_somebody_has_open_is_refused_with_the_holder_named() {
    let (place, image) = Place::with_image();
    fill(&place.target, "old", "wal", 4096, 50);
    let role = Role::start("idle", &place.target);
    let before = bytes(&place.target);
    let error = install(&place.target, &image).expect_err("in use");
    let InstallError::Database(DatabaseError::Locked { holders, .. }) = &error else { panic!("{error:?}") };
    assert!(holders.iter().any(|process| process.pid == role.pid()), "{holders:?}");
    role.end();
    assert!(bytes(&place.target) == before);
    install(&place.target, &image).expect("now it is free");
    assert_installed(&place.target, &place.source, "free");
}

#[test]
fn an_idle_connection_in_rollback_mode_sees_the_new_content_at_its_next_statement() {
    let (place, image) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 50);
    let role = Role::start("idle", &place.target);
    install(&place.target, &image).expect("install");
    assert!(role.end().contains("rows new 300"), "an old page cache answered");
}

#[test]
fn a_reader_in_rollback_mode_keeps_its_snapshot_and_the_installation_waits_or_is_refused() {
    let (place, image) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 50);
    let role = Role::start("reading", &place.target);
    assert!(matches!(install(&place.target, &image), Err(InstallError::Database(DatabaseError::Locked { .. }))));
    assert!(role.end().contains("rows old 50"));
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
        fs::remove_dir_all(place.live()).and_then(|()| fs::create_dir(place.live())).expect("anew");
    }
}

/// S2: a journal that was hot is rolled back before, and never into what is installed.
#[test]
fn a_hot_journal_is_rolled_back_first() {
    let (place, image) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 2000);
    let role = Role::start("crash", &place.target);
    role.kill();
    assert!(fs::metadata(place.beside("-journal")).is_ok_and(|found| found.len() > 512), "no hot journal");
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
        fs::remove_dir_all(place.live()).and_then(|()| fs::create_dir(place.live())).expect("anew");
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

#[test]
fn links_are_refused_unless_told_otherwise() {
    let (place, image) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 50);
    let (link, hard) = (place.beside(".link"), place.beside(".hard"));
    symlink(&place.target, &link).expect("link");
    assert!(matches!(install(&link, &image), Err(InstallError::Link { .. })));
    fs::hard_link(&place.target, &hard).expect("hard link");
    assert!(matches!(install(&place.target, &image), Err(InstallError::HardLinks { names: 2, .. })));
    assert_eq!(number(&support::open(&place.target), "SELECT count(*) FROM t WHERE mark='old'"), 50);
    let following = InstallOptions { links: Links::Follow, ..refusing() };
    let installation = Installation::lock(&link, &image, &following, &mut Filler).expect("lock");
    assert_eq!(installation.path(), place.target.canonicalize().expect("path"));
    installation.install(&following, &mut Filler).expect("install").release().expect("release");
    assert_installed(&hard, &place.source, "both names");
    assert!(fs::symlink_metadata(&link).expect("stat").is_symlink());
    fs::write(&place.target, b"no database").expect("write");
    let refused = Installation::lock(&link, &image, &following, &mut Filler).map(drop);
    assert!(matches!(refused, Err(InstallError::HardLinks { .. })), "a file with two names cannot be replaced");
}

#[test]
fn what_is_no_file_is_refused() {
    let (place, image) = Place::with_image();
    assert!(matches!(install(&place.live(), &image), Err(InstallError::Database(DatabaseError::NotAFile { .. }))));
    fill(&place.target, "old", "delete", 4096, 50);
    rustix::fs::mknodat(rustix::fs::CWD, place.beside("-wal"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("fifo");
    assert!(matches!(install(&place.target, &image), Err(InstallError::Database(DatabaseError::NotAFile { .. }))));
}

#[test]
fn an_image_that_is_no_database_is_refused() {
    let (place, _) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 50);
    let image = Image::create(&ScratchSpace::new(std::env::temp_dir(), entropy), 0).expect("scratch");
    image.write_at(0, &[7; 8192]).expect("write");
    assert!(matches!(install(&place.target, &image), Err(InstallError::NotAnImage { .. })));
}

/// Other owners, folders that may not be written: as an account without rights.
#[test]
fn without_the_right_to_write_nothing_is_touched() {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root, to become somebody else");
    }
    let place = Place::new();
    fill(&place.target, "old", "delete", 4096, 50);
    fs::copy(&place.target, &place.source).expect("copy");
    for path in [place.folder.path(), &place.live(), &place.source] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let before = snapshot(&place.live());
    for (folder_mode, file_mode, expected) in [(0o755, 0o666, "live"), (0o777, 0o644, "app.db")] {
        fs::set_permissions(place.live(), fs::Permissions::from_mode(folder_mode)).expect("mode");
        fs::set_permissions(&place.target, fs::Permissions::from_mode(file_mode)).expect("mode");
        let said = as_nobody("install", &place.target);
        assert!(said.contains(&format!("NotWritable {expected}")), "{said}");
        assert!(snapshot(&place.live()) == before);
    }
}

/// Runs a role as an account that owns nothing.
fn as_nobody(role: &str, path: &Path) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().expect("exe"));
    command.args(["plays_a_role_for_another_test", "--exact", "--ignored", "--nocapture"]);
    command.env("AIRKEEP_TEST_ROLE", role).env("AIRKEEP_TEST_PATH", path).current_dir("/");
    support::text_of(&command.uid(65534).gid(65534).output().expect("child"))
}

/// Nothing here is a test of its own; another test of this file starts it as a process.
#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role_for_another_test() {
    let Ok(role) = std::env::var("AIRKEEP_TEST_ROLE") else { return };
    let path = PathBuf::from(std::env::var_os("AIRKEEP_TEST_PATH").expect("path"));
    match role.as_str() {
        "try-to-write" => {
            ready();
            let refused = Connection::open(&path).and_then(|connection| {
                connection.busy_timeout(Duration::ZERO)?;
                connection.execute_batch("CREATE TABLE intruder(x)")
            });
            say(if refused.is_err() { "refused" } else { "wrote" });
        }
        "idle" | "reading" => {
            let connection = Connection::open(&path).expect("open");
            connection.execute_batch(if role == "idle" { "" } else { "BEGIN" }).expect("begin");
            number(&connection, "SELECT count(*) FROM t");
            ready();
            wait_for_end();
            let rows = |mark: &str| number(&connection, &format!("SELECT count(*) FROM t WHERE mark='{mark}'"));
            let (new, old) = (rows("new"), rows("old"));
            say(&format!("rows new {new} rows old {old}"));
        }
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
        "install" => {
            let source = path.parent().and_then(Path::parent).expect("folder").join("source.db");
            let image = image_of(&source);
            let error = install(&path, &image).expect_err("refused");
            let InstallError::NotWritable { path } = &error else { panic!("{error:?}") };
            say(&format!("NotWritable {}", path.file_name().expect("name").display()));
        }
        other => panic!("no role {other}"),
    }
}

#[test]
fn what_was_read_under_the_lock_does_not_hinder_the_installation() {
    for (name, sql) in [
        ("nothing", ""),
        ("transaction", "BEGIN; PRAGMA schema_version; ROLLBACK"),
        ("rows", "BEGIN; SELECT count(*) FROM t; ROLLBACK"),
        ("dbpage", "BEGIN; SELECT sum(length(data)) FROM sqlite_dbpage; ROLLBACK"),
        ("check", "BEGIN; PRAGMA quick_check; ROLLBACK"),
        ("sorted", "BEGIN; SELECT count(*) FROM (SELECT v FROM t ORDER BY v, mark); ROLLBACK"),
    ] {
        for page_size in [1024, 4096] {
            let (place, image) = Place::with_image();
            fill(&place.target, "old", "wal", page_size, 300);
            let installation = Installation::lock(&place.target, &image, &refusing(), &mut Filler).expect("lock");
            installation.present().expect("present").execute_batch(sql).expect("read");
            let installed = installation.install(&refusing(), &mut Filler);
            let installed = installed.unwrap_or_else(|error| panic!("{name}, {page_size}: {}", support::causes(&error)));
            assert_eq!(installed.release().expect("release").comparison, Comparison::Equal, "{name}, {page_size}");
        }
    }
}
