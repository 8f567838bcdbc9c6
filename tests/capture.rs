//! Capture as others see it: whole images of live, idle, crashed, damaged and odd databases.

mod common;

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use airkeep::database::{Capture, CheckKind, DatabaseError, PagePreference, PageReader, Route, Verdict};
use common::{Role, bytes, capture, capture_with, make, number, open_image, options, scratch, snapshot};
use rusqlite::Connection;

const ROWS: &str = "CREATE TABLE t(id INTEGER PRIMARY KEY, v); CREATE INDEX i ON t(v);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<800) INSERT INTO t SELECT i, hex(randomblob(60)) FROM n;
    DELETE FROM t WHERE id%7=0;";

fn without_versions(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    if image.len() > 20 {
        image[18..20].fill(0);
    }
    image
}

#[test]
fn is_byte_identical_to_an_idle_source_in_all_page_sizes_and_both_journal_modes() {
    let folder = tempfile::tempdir().expect("folder");
    for size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        for mode in ["wal", "delete"] {
            let path = folder.path().join(format!("{size}-{mode}.db"));
            make(&path, &format!("PRAGMA page_size={size}; PRAGMA journal_mode={mode}; {ROWS}"));
            let (facts, image) = capture(&path);
            assert!(without_versions(&image) == without_versions(&bytes(&path)), "{size} {mode}");
            assert_eq!(image[18..20], [1, 1]);
            assert_eq!((facts.page_size, facts.journal_mode.as_str()), (size, mode));
            assert_eq!(facts.pages, PageReader::SqliteDbpage);
            assert_eq!(facts.route, if mode == "wal" { Route::Stream } else { Route::Scratch });
            assert_eq!((facts.check.verdict, facts.check.messages.as_slice()), (Verdict::Ok, [].as_slice()));
            assert_eq!(facts.tables[0].rows, Some(686));
            assert!(!facts.recovered);
        }
    }
}

#[test]
fn differs_with_the_backup_interface_only_in_bytes_that_bear_no_content() {
    let folder = tempfile::tempdir().expect("folder");
    for size in [512, 4096, 65536] {
        for mode in ["wal", "delete"] {
            let path = folder.path().join(format!("{size}-{mode}.db"));
            make(&path, &format!("PRAGMA page_size={size}; PRAGMA journal_mode={mode}; {ROWS} PRAGMA user_version=7;"));
            make(&path, "CREATE TABLE later(x); INSERT INTO later VALUES(1)");
            let (facts, image) = capture_with(&path, |options| options.pages = PagePreference::BackupApi).expect("capture");
            let original = bytes(&path);
            let differing: Vec<usize> = (0..original.len()).filter(|i| original[*i] != image[*i]).collect();
            let may_differ = |i: &usize| (18..20).contains(i) || mode == "wal" && ((24..28).contains(i) || (92..100).contains(i));
            assert!(differing.iter().all(may_differ), "{size} {mode} {differing:?}");
            assert_eq!(image.len(), original.len());
            assert_eq!((facts.pages, facts.route), (PageReader::BackupApi, Route::Scratch));
            assert_eq!(facts.user_version, 7);
        }
    }
}

#[test]
fn leaves_an_idle_wal_database_as_it_was() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(&path, &format!("PRAGMA journal_mode=wal; {ROWS}"));
    let before = (snapshot(folder.path()), std::fs::metadata(&path).expect("stat").modified().expect("mtime"));
    capture(&path);
    let after = (snapshot(folder.path()), std::fs::metadata(&path).expect("stat").modified().expect("mtime"));
    assert!(before == after, "{:?}", after.0.iter().map(|(path, bytes)| (path, bytes.len())).collect::<Vec<_>>());
}

#[test]
fn has_a_row_that_is_committed_only_in_the_wal() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    let writer = Connection::open(&path).expect("open");
    writer.execute_batch("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(v); INSERT INTO t VALUES(42)").expect("sql");
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let (facts, image) = capture_with(&path, |options| options.pages = pages).expect("capture");
        assert_eq!(facts.tables[0].rows, Some(1));
        assert_eq!(number(&open_image(folder.path(), &image), "SELECT v FROM t"), 42);
    }
    assert_eq!(number(&writer, "SELECT count(*) FROM t"), 1);
}

#[test]
fn does_not_see_what_is_written_after_it_began() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    let writer = Connection::open(&path).expect("open");
    writer.execute_batch(&format!("PRAGMA journal_mode=wal; {ROWS}")).expect("sql");
    let scratch = scratch();
    let mut begun = Capture::begin(&path, &options(&scratch)).expect("begin");
    writer.execute_batch("DELETE FROM t; CREATE TABLE u(x); INSERT INTO u VALUES(1)").expect("write meanwhile");
    let mut image = Vec::new();
    begun
        .write_image(&mut |piece| {
            image.extend_from_slice(piece);
            Ok::<(), DatabaseError>(())
        })
        .expect("image");
    assert_eq!(number(&open_image(folder.path(), &image), "SELECT count(*) FROM t"), 686);
    begun.finish().expect("finish");
}

#[test]
fn lets_writers_go_on_in_rollback_mode_once_it_has_begun() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(&path, ROWS);
    let scratch = scratch();
    let mut begun = Capture::begin(&path, &options(&scratch)).expect("begin");
    let writer = Connection::open(&path).expect("open");
    writer.busy_timeout(Duration::ZERO).expect("timeout");
    writer.execute_batch("DELETE FROM t; VACUUM").expect("nobody holds a lock");
    let mut image = Vec::new();
    begun
        .write_image(&mut |piece| {
            image.extend_from_slice(piece);
            Ok::<(), DatabaseError>(())
        })
        .expect("image");
    assert_eq!(number(&open_image(folder.path(), &image), "SELECT count(*) FROM t"), 686);
    begun.finish().expect("finish");
}

#[test]
fn tells_encoding_vacuum_ids_schema_and_tables() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(
        &path,
        "PRAGMA encoding='UTF-16be'; PRAGMA auto_vacuum=incremental; PRAGMA application_id=-5; PRAGMA user_version=12;
         CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, x TEXT NOT NULL); INSERT INTO a(x) VALUES('ä'),('b');
         CREATE TABLE w(k PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO w VALUES(1,2);
         CREATE TABLE s(i INT, r REAL) STRICT; CREATE TABLE g(a, v AS (a+1), s AS (a*2) STORED); INSERT INTO g VALUES(3);
         CREATE TABLE \"o'd\"\"d; 🔑\"(x); CREATE INDEX e ON a(length(x)) WHERE x<>'b'; CREATE VIEW v AS SELECT * FROM a;
         CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('hello');
         CREATE TRIGGER no_delete BEFORE DELETE ON a BEGIN SELECT raise(ABORT, 'no'); END;",
    );
    let (facts, image) = capture(&path);
    assert_eq!((facts.encoding.as_str(), facts.auto_vacuum.as_str()), ("UTF-16be", "incremental"));
    assert_eq!((facts.application_id, facts.user_version), (-5, 12));
    assert_eq!(facts.check.verdict, Verdict::Ok, "{:?}", facts.check);
    let names: Vec<&str> = facts.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["a", "f_config", "f_content", "f_data", "f_docsize", "f_idx", "g", "o'd\"d; 🔑", "s", "sqlite_sequence", "w"]);
    assert!(facts.tables.iter().all(|table| table.rows.is_some()));
    let schema = facts.schema.expect("schema");
    assert!(schema.sql.contains("CREATE TABLE \"o'd\"\"d; 🔑\"(x);\n") && schema.sql.contains("no_delete"));
    let reopened = open_image(folder.path(), &image);
    assert_eq!(number(&reopened, "SELECT count(*) FROM sqlite_schema"), schema.objects as i64);
    assert_eq!(number(&reopened, "SELECT s FROM g"), 6);
}

#[test]
fn takes_a_file_of_zero_bytes_as_an_empty_database() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    std::fs::write(&path, b"").expect("write");
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let (facts, image) = capture_with(&path, |options| options.pages = pages).expect("capture");
        assert_eq!((facts.size_bytes, facts.page_count, image.len(), facts.tables.len()), (0, 0, 0, 0), "{pages:?}");
        assert_eq!(facts.check.verdict, Verdict::Ok);
    }
    assert_eq!(snapshot(folder.path()).len(), 1);
}

#[test]
fn names_what_is_no_database() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    let random: Vec<u8> = (0..8192_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for content in [b"0123456789".as_slice(), &b"just some text\n".repeat(500), &random, &[0; 4096], &[b'S'; 100]] {
        std::fs::write(&path, content).expect("write");
        let error = capture_with(&path, |options| options.accept_corrupt = true).map(drop).expect_err("no database");
        assert!(matches!(error, DatabaseError::NotADatabase { .. }), "{error:?}");
        assert!(error.to_string().ends_with("or it is encrypted"));
    }
}

#[test]
fn names_what_is_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let refused = |path: &Path| capture_with(path, |_| {}).map(drop).expect_err("refused");
    assert!(matches!(refused(&folder.path().join("missing.db")), DatabaseError::Missing { .. }));
    assert!(matches!(refused(folder.path()), DatabaseError::NotAFile { found: "a folder", .. }));
    assert!(matches!(refused(Path::new("/dev/null")), DatabaseError::NotAFile { found: "a device", .. }));
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("fifo");
    assert!(matches!(refused(&pipe), DatabaseError::NotAFile { found: "a named pipe", .. }));
}

#[test]
fn follows_a_link_once_and_tells_where_the_file_lies() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, link) = (folder.path().join("a.db"), folder.path().join("link.db"));
    make(&path, ROWS);
    std::os::unix::fs::symlink(&path, &link).expect("link");
    assert_eq!(capture(&link).0.path, std::fs::canonicalize(&path).expect("path"));
}

#[test]
fn refuses_a_source_cut_by_one_byte_and_warns_of_trailing_bytes() {
    let folder = tempfile::tempdir().expect("folder");
    for mode in ["wal", "delete"] {
        let path = folder.path().join(format!("{mode}.db"));
        make(&path, &format!("PRAGMA journal_mode={mode}; {ROWS}"));
        let whole = bytes(&path);
        for cut in [1, 511, 4096, 5000] {
            std::fs::write(&path, &whole[..whole.len() - cut]).expect("write");
            let error = capture_with(&path, |_| {}).map(drop).expect_err("truncated");
            let expected = whole.len() as u64;
            assert!(
                matches!(error, DatabaseError::Truncated { expected_bytes, actual_bytes, .. } if expected_bytes == expected && actual_bytes == expected - cut as u64),
                "{mode} {cut} {error:?}"
            );
            let (facts, _) = capture_with(&path, |options| options.accept_corrupt = true).expect("accepted");
            assert_eq!(facts.check.verdict, Verdict::Corrupt);
            assert!(facts.check.messages[0].contains("truncated") || facts.check.messages[1].contains("truncated"), "{:?}", facts.check);
        }
        std::fs::write(&path, [whole.as_slice(), b"trailing"].concat()).expect("write");
        let (facts, image) = capture(&path);
        assert_eq!(image.len(), whole.len());
        assert!(facts.warnings[0].starts_with("8 bytes"), "{:?}", facts.warnings);
        std::fs::write(&path, &whole).expect("write");
        assert!(capture(&path).0.warnings.is_empty());
    }
}

#[test]
fn refuses_a_corrupt_source_and_labels_it_where_accepted() {
    let folder = tempfile::tempdir().expect("folder");
    for (offset, what) in [(4096, "a table page"), (100, "the schema page")] {
        let path = folder.path().join("a.db");
        let _ = std::fs::remove_file(&path);
        make(&path, ROWS);
        let mut content = bytes(&path);
        content[offset..offset + 10].fill(0xa5);
        std::fs::write(&path, &content).expect("write");
        for pages in [PagePreference::Auto, PagePreference::BackupApi] {
            let error = capture_with(&path, |options| options.pages = pages).map(drop).expect_err(what);
            assert!(matches!(error, DatabaseError::Corrupt { .. }), "{what} {error:?}");
            let accept = |options: &mut airkeep::database::CaptureOptions<'_>| {
                options.accept_corrupt = true;
                options.pages = pages;
            };
            let (facts, image) = capture_with(&path, accept).expect("accepted");
            assert_eq!(facts.check.verdict, Verdict::Corrupt, "{what}");
            assert!(!facts.check.messages.is_empty());
            assert!(image == content, "{what} {pages:?}");
        }
    }
}

#[test]
fn tells_violations_from_damage() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(
        &path,
        "PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON;
         CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p(id), n CHECK(n>0));
         INSERT INTO c VALUES(1,1),(2,1),(3,-1);",
    );
    for mode in ["delete", "wal"] {
        make(&path, &format!("PRAGMA journal_mode={mode}"));
        let before = snapshot(folder.path());
        let (facts, _) = capture(&path);
        assert_eq!(facts.check.verdict, Verdict::Violations);
        assert_eq!(facts.check.messages, ["CHECK constraint failed in c", "3 rows of table 'c' have no parent in 'p'"], "{mode}");
        assert!(snapshot(folder.path()) == before, "{mode}");
    }
}

#[test]
fn says_what_it_did_not_check() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(&path, ROWS);
    let (facts, _) = capture_with(&path, |options| options.check = CheckKind::None).expect("capture");
    assert_eq!((facts.check.verdict, facts.check.messages), (Verdict::Unchecked, vec!["not requested".to_owned()]));

    make(&path, "CREATE TABLE k(x COLLATE nocase PRIMARY KEY) WITHOUT ROWID; INSERT INTO k VALUES('a')");
    replace_in_file(&path, b"nocase", b"theirs");
    let (facts, image) = capture(&path);
    assert_eq!(facts.check.verdict, Verdict::Unchecked, "{:?}", facts.check);
    assert!(facts.check.messages[0].contains("theirs"), "{:?}", facts.check);
    assert!(image == bytes(&path));
}

fn replace_in_file<const N: usize>(path: &Path, from: &[u8; N], to: &[u8; N]) {
    let mut content = bytes(path);
    for start in 0..=content.len() - N {
        if &content[start..start + N] == from {
            content[start..start + N].copy_from_slice(to);
        }
    }
    std::fs::write(path, &content).expect("write");
}

#[test]
fn survives_names_and_text_that_are_no_utf8() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(&path, "CREATE TABLE qqqq(x CHECK(x<>'rrrr')); INSERT INTO qqqq VALUES(CAST(x'ff80' AS TEXT));");
    replace_in_file(&path, b"qqqq", b"\xff\xfe\xc0q");
    let content = bytes(&path);
    let (facts, image) = capture_with(&path, |options| options.accept_corrupt = true).expect("capture");
    assert!(image == content);
    assert_eq!(facts.tables.len(), 1);
}

#[test]
fn gives_up_within_the_timeout_and_names_who_holds_the_lock() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    for mode in ["delete", "wal"] {
        make(&path, &format!("PRAGMA journal_mode={mode}; CREATE TABLE IF NOT EXISTS t(x)"));
        let holder = Role::start("hold", &path);
        let started = Instant::now();
        let error = capture_with(&path, |_| {}).map(drop).expect_err("locked");
        assert!(started.elapsed() < Duration::from_secs(3));
        let DatabaseError::Locked { waited, holders, .. } = &error else { panic!("{mode} {error:?}") };
        assert!(*waited >= Duration::from_millis(200), "{waited:?}");
        assert!(holders.iter().any(|process| process.pid == holder.pid()), "{holders:?}");
        assert!(error.to_string().contains(&holder.pid().to_string()));
        holder.kill();
    }
}

#[test]
fn gives_nothing_uncommitted_out_of_a_hot_journal_and_changes_no_file() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(&path, ROWS);
    Role::start("write-and-hang", &path).kill();
    let before = snapshot(folder.path());
    assert!(before.iter().any(|(path, bytes)| path.ends_with("a.db-journal") && bytes.len() > 4096), "no hot journal was made");
    let dirty = folder.path().join("other").join("dirty.db");
    std::fs::create_dir(dirty.parent().expect("parent")).expect("folder");
    std::fs::copy(&path, &dirty).expect("copy");
    std::fs::remove_dir_all(dirty.parent().expect("parent")).expect("remove");
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let (facts, image) = capture_with(&path, |options| options.pages = pages).expect("capture");
        assert!(facts.recovered);
        assert_eq!((facts.route, facts.check.verdict), (Route::Scratch, Verdict::Ok));
        assert!(snapshot(folder.path()) == before, "source files changed");
        let elsewhere = tempfile::tempdir().expect("folder");
        let image = open_image(elsewhere.path(), &image);
        assert_eq!(number(&image, "SELECT count(*) FROM t"), 686);
        assert_eq!(number(&image, "SELECT count(*) FROM t WHERE v='uncommitted'"), 0);
    }
}

#[test]
fn believes_a_journal_whose_super_journal_is_gone_to_be_committed() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(&path, ROWS);
    Role::start("write-and-hang", &path).kill();
    let journal_path = folder.path().join("a.db-journal");
    let super_journal = folder.path().join("a.db-mj0123459AB");
    let plain = bytes(&journal_path);
    let uncommitted = |expected: bool| {
        let (facts, image) = capture_with(&path, |options| options.accept_corrupt = true).expect("capture");
        let elsewhere = tempfile::tempdir().expect("folder");
        let image = open_image(elsewhere.path(), &image);
        let found = number(&image, "SELECT count(*) FROM t WHERE v='uncommitted'") > 0;
        assert_eq!((found, facts.recovered), (expected, true));
    };
    std::fs::write(&journal_path, with_super_journal(&plain, &super_journal)).expect("write");
    std::fs::write(&super_journal, b"not read, only looked for").expect("write");
    let before = snapshot(folder.path());
    uncommitted(false);
    assert!(snapshot(folder.path()) == before, "source files or super-journal changed");
    std::fs::remove_file(&super_journal).expect("remove");
    uncommitted(true);
}

/// Appends the record that names a super-journal, as SQLite's `writeSuperJournal` lays it out.
fn with_super_journal(journal: &[u8], name: &Path) -> Vec<u8> {
    let name = name.as_os_str().as_encoded_bytes();
    let sum = name.iter().fold(0_u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    let lock_page = (0x4000_0000_u32 / 4096) + 1;
    let mut out = journal.to_vec();
    out.resize(out.len().next_multiple_of(512), 0);
    out.extend_from_slice(&lock_page.to_be_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(&u32::try_from(name.len()).expect("length").to_be_bytes());
    out.extend_from_slice(&sum.to_be_bytes());
    out.extend_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    out
}

#[test]
fn refuses_when_the_source_is_replaced_or_removed_meanwhile() {
    let folder = tempfile::tempdir().expect("folder");
    for mode in ["wal", "delete"] {
        let (path, other) = (folder.path().join("a.db"), folder.path().join("b.db"));
        let scratch = scratch();
        for replace in [true, false] {
            let _ = std::fs::remove_file(&path);
            make(&path, &format!("PRAGMA journal_mode={mode}; {ROWS}"));
            make(&other, ROWS.split(';').next().expect("first"));
            let begun = Capture::begin(&path, &options(&scratch)).expect("begin");
            if replace { std::fs::rename(&other, &path) } else { std::fs::remove_file(&path) }.expect("replace");
            let error = begun.finish().expect_err("replaced");
            assert!(matches!(error, DatabaseError::Replaced { .. }), "{error:?}");
            let _ = std::fs::remove_file(&other);
        }
    }
}

#[test]
fn keeps_a_conserved_sum_beside_four_writers() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(
        &path,
        "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, filler);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO t SELECT i, 100, hex(randomblob(200)) FROM n;",
    );
    let writers: Vec<Role> = (0..4).map(|_| Role::start("transfer-beside-others", &path)).collect();
    let elsewhere = tempfile::tempdir().expect("folder");
    for round in 0..12 {
        let change = |options: &mut airkeep::database::CaptureOptions<'_>| {
            options.busy_timeout = Duration::from_secs(10);
            options.pages = if round % 2 == 0 { PagePreference::Auto } else { PagePreference::BackupApi };
        };
        let (facts, image) = capture_with(&path, change).expect("capture");
        assert_eq!(facts.check.verdict, Verdict::Ok);
        assert_eq!(number(&open_image(elsewhere.path(), &image), "SELECT sum(v) FROM t"), 200_000);
    }
    let transfers: Vec<String> = writers.into_iter().map(Role::end).collect();
    assert!(transfers.iter().all(|said| said.contains("transfers")), "{transfers:?}");
}

#[test]
fn makes_no_rollback_mode_writer_fail_that_waits_five_seconds() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("a.db");
    make(
        &path,
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, filler);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<2000) INSERT INTO t SELECT i, 100, hex(randomblob(200)) FROM n;",
    );
    let writer = Role::start("transfer", &path);
    let elsewhere = tempfile::tempdir().expect("folder");
    for _ in 0..10 {
        let (_, image) = capture_with(&path, |options| options.busy_timeout = Duration::from_secs(10)).expect("capture");
        assert_eq!(number(&open_image(elsewhere.path(), &image), "SELECT sum(v) FROM t"), 200_000);
    }
    assert!(writer.end().contains("transfers"));
}

#[test]
fn can_be_handed_to_another_thread() {
    fn is_send<T: Send>() {}
    is_send::<airkeep::database::Image>();
    is_send::<DatabaseError>();
}

#[test]
fn passes_on_what_the_sink_says() {
    let folder = tempfile::tempdir().expect("folder");
    for mode in ["wal", "delete"] {
        let path = folder.path().join(format!("{mode}.db"));
        make(&path, &format!("PRAGMA journal_mode={mode}; {ROWS}"));
        let scratch = scratch();
        let mut begun = Capture::begin(&path, &options(&scratch)).expect("begin");
        let refuse = &mut |_: &[u8]| Err(DatabaseError::Missing { path: "sink".into() });
        assert!(matches!(begun.write_image(refuse), Err(DatabaseError::Missing { .. })));
        let mut count = 0;
        begun
            .write_image(&mut |piece| {
                count += piece.len();
                Ok::<(), DatabaseError>(())
            })
            .expect("a second time");
        assert_eq!(count as u64, begun.facts().size_bytes);
    }
}

#[test]
#[ignore = "plays a part in other tests, in a process of its own"]
fn plays_a_role_for_another_test() {
    let (Ok(role), Ok(path)) = (std::env::var("AIRKEEP_TEST_ROLE"), std::env::var("AIRKEEP_TEST_PATH")) else { return };
    let connection = Connection::open(path).expect("open");
    let patience = if role == "transfer-beside-others" { 60 } else { 5 };
    connection.busy_timeout(Duration::from_secs(patience)).expect("timeout");
    match role.as_str() {
        "hold" => connection.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE h(x);").expect("lock"),
        "write-and-hang" => connection
            .execute_batch(
                "PRAGMA cache_size=5; BEGIN; UPDATE t SET v='uncommitted' WHERE id%3=0; INSERT INTO t SELECT NULL, 'uncommitted' FROM t;",
            )
            .expect("write"),
        "transfer" | "transfer-beside-others" => return transfer(&connection),
        other => panic!("role {other}"),
    }
    println!("ready");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// Moves amounts between rows until the input ends; no transfer may fail.
fn transfer(connection: &Connection) {
    println!("\nready");
    let (ended, has_ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    let mut count = 0;
    while has_ended.try_recv().is_err() {
        let (from, to) = (count * 7 % 2000 + 1, count * 13 % 1999 + 1);
        connection
            .execute_batch(&format!(
                "BEGIN IMMEDIATE; UPDATE t SET v=v-1, filler=hex(randomblob(200)) WHERE id={from}; UPDATE t SET v=v+1 WHERE id={to}; COMMIT"
            ))
            .expect("transfer");
        count += 1;
    }
    println!("{count} transfers");
}
