//! Installing an image in the place of a database: every kind of database, and who uses it.

mod common;
mod placing;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use airkeep::database::{Comparison, DatabaseError, Image, InstallError, InstallOptions, Installation, Way};
use airkeep::files::ScratchSpace;
use common::{Role, bytes, entropy, make, number};
use placing::{Filler, Place, assert_installed, fill, image_of, install, mode_of, ready, refusing, say, wait_for_end};
use rusqlite::Connection;
use support::{has_program, integrity, is_proving, note, skip};

const PAGE_SIZES: [u32; 8] = [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536];

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

/// S14: everything that a header or a page can say.
#[test]
fn properties_of_a_database_survive_byte_for_byte() {
    let has_shell = has_program("sqlite3");
    if !has_shell {
        skip("reserved bytes: needs the sqlite3 shell");
    }
    let properties = [
        "PRAGMA auto_vacuum=FULL",
        "PRAGMA auto_vacuum=INCREMENTAL",
        "PRAGMA encoding='UTF-16le'",
        "PRAGMA encoding='UTF-16be'",
        "PRAGMA application_id=0x41524b50; PRAGMA user_version=-7",
        "CREATE TABLE \"odd 'name' ☃\"(k TEXT PRIMARY KEY) WITHOUT ROWID; CREATE TABLE s(a INT, b INT AS (a+1)) STRICT; CREATE INDEX p ON s(b) WHERE a>1",
        "reserved",
    ];
    for property in properties.iter().filter(|property| has_shell || **property != "reserved") {
        for (mode, page_size) in [("wal", 4096), ("delete", 4096), ("wal", 1024), ("delete", 8192)] {
            let place = Place::new();
            match *property {
                "reserved" => reserve(&place.source),
                property => make(&place.source, property),
            }
            make(&place.source, "CREATE TABLE x(y); INSERT INTO x VALUES (zeroblob(90000)), ('kept'); DELETE FROM x WHERE y<>'kept'");
            let image = image_of(&place.source);
            fill(&place.target, "old", mode, page_size, 300);
            let what = format!("{property} into {page_size} {mode}");
            install(&place.target, &image).unwrap_or_else(|error| panic!("{what}: {}", support::causes(&error)));
            let (mut expected, mut found) = (bytes(&place.source), bytes(&place.target));
            for without_content in [18..20, 24..28, 40..44, 92..100] {
                expected[without_content.clone()].fill(0);
                found[without_content].fill(0);
            }
            assert!(expected == found, "{what}");
            assert_installed(&place.target, &place.source, &what);
        }
    }
}

/// Thirty-two bytes at the end of each page, as extensions for encryption and checksums have them.
fn reserve(path: &Path) {
    let script = [".filectrl reserve_bytes 32", "CREATE TABLE r(x); INSERT INTO r VALUES (1); VACUUM;"];
    let done = std::process::Command::new("sqlite3").arg(path).args(script).output().expect("sqlite3");
    assert!(done.status.success(), "{}", support::text_of(&done));
    assert_eq!(bytes(path)[20], 32, "the shell reserved nothing");
}

#[test]
fn an_image_that_is_no_database_is_refused() {
    let (place, _) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 50);
    let image = Image::create(&ScratchSpace::new(std::env::temp_dir(), entropy), 0).expect("scratch");
    image.write_at(0, &[7; 8192]).expect("write");
    assert!(matches!(install(&place.target, &image), Err(InstallError::NotAnImage { .. })));
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
