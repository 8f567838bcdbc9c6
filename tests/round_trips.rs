//! What goes in comes out: every shape of database, equal by logical hash and byte for byte.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use airkeep::database::PagePreference;
use airkeep::{Backup, Compression, Environment};
use rusqlite::Connection;
use support::{back_up, content, differences, integrity, listing, open, place, restore, ring, skip, spec};

/// A table of every kind that SQLite knows, values of every type at their limits, and pages on the freelist.
const EVERYTHING: &str = r#"
CREATE TABLE plain(id INTEGER PRIMARY KEY AUTOINCREMENT, a, b TEXT, c REAL, d BLOB);
CREATE TABLE keyed(k TEXT PRIMARY KEY COLLATE NOCASE, v INT, w) WITHOUT ROWID;
CREATE TABLE exact(id INTEGER PRIMARY KEY, i INT, r REAL, t TEXT, b BLOB, x ANY) STRICT;
CREATE TABLE derived(a INT, v INT AS (a * 2) VIRTUAL, s TEXT AS ('n' || a) STORED);
CREATE TABLE child(id INTEGER PRIMARY KEY, parent INT REFERENCES plain(id) ON DELETE CASCADE);
CREATE TABLE "o""dd '🔑' name
with a line"("co""l", "select", "ünï ✓" TEXT, rowid);
CREATE TABLE "" ("" TEXT);
CREATE INDEX partial ON plain(b) WHERE a IS NOT NULL;
CREATE UNIQUE INDEX expression ON keyed(v * 3 + 1, lower(k));
CREATE INDEX "descending 🔑" ON plain(c DESC, d);
CREATE VIEW seen AS SELECT k, v FROM keyed WHERE v > 3;
CREATE TRIGGER grows AFTER INSERT ON keyed BEGIN UPDATE plain SET c = c + 1 WHERE id = new.v; END;
CREATE VIRTUAL TABLE docs USING fts5(title, body, tokenize = 'porter unicode61');
CREATE TABLE dropped(x);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
  INSERT INTO plain(a, b, c, d) SELECT CASE WHEN i % 3 THEN i END, printf('%.*c', i % 90, 'x') || i, i / 7.0, randomblob(i % 60) FROM n;
INSERT INTO plain(a, b, c, d) VALUES (9223372036854775807, '', 9e999, x''), (-9223372036854775808, NULL, -0.0, zeroblob(300)),
  (1.5e-308, 'nul' || char(0) || 'inside', -9e999, NULL), (CAST(x'ff80fe' AS TEXT), 'Grüße 🔑 ' || char(8232), 0.1, randomblob(70000));
INSERT INTO keyed SELECT 'key ' || id, id, d FROM plain WHERE id < 200;
INSERT INTO exact SELECT id, id, c, b, d, a FROM plain WHERE id < 100 AND c IS NOT NULL;
INSERT INTO derived(a) SELECT id FROM plain WHERE id < 50;
INSERT INTO child SELECT id, id FROM plain WHERE id < 20;
INSERT INTO "o""dd '🔑' name
with a line" VALUES (1, 2, 'three ✓', 4), (NULL, x'00', '', 'rowid');
INSERT INTO "" VALUES ('empty names are names');
INSERT INTO docs SELECT 'title ' || id, 'the zebra ran ' || b FROM plain WHERE id % 5 = 0;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300) INSERT INTO dropped SELECT randomblob(900) FROM n;
DROP TABLE dropped;
DELETE FROM plain WHERE id BETWEEN 100 AND 140;
ANALYZE;
PRAGMA application_id = -559038737;
PRAGMA user_version = -42;
"#;

struct Shape {
    page_size: u32,
    journal: &'static str,
    encoding: &'static str,
    auto_vacuum: &'static str,
}

const USUAL: Shape = Shape { page_size: 4096, journal: "wal", encoding: "UTF-8", auto_vacuum: "none" };

fn make(path: &Path, shape: &Shape) {
    let connection = Connection::open(path).expect("create");
    let Shape { page_size, journal, encoding, auto_vacuum } = shape;
    connection
        .execute_batch(&format!(
            "PRAGMA page_size={page_size}; PRAGMA encoding='{encoding}'; PRAGMA auto_vacuum={auto_vacuum}; PRAGMA synchronous=OFF"
        ))
        .expect("shape");
    let now: String = connection.query_row(&format!("PRAGMA journal_mode={journal}"), [], |row| row.get(0)).expect("journal mode");
    assert_eq!(now, *journal);
    connection.execute_batch("BEGIN").expect("begin");
    connection.execute_batch(EVERYTHING).expect("content");
    connection.execute_batch("COMMIT").expect("commit");
    // The counter of changes is to be another one than a fresh copy would have.
    (0..5).for_each(|_| connection.execute_batch("UPDATE exact SET i = i + 1").expect("commit"));
    connection.close().expect("close");
}

/// Backs an idle database up and restores it; gives the offsets of the bytes that differ, and insists on everything else.
fn round_trip(source: &Path, adjust: impl FnOnce(&mut Backup)) -> Vec<u64> {
    let folder = place();
    let (original, beside) = (fs::read(source).expect("source"), listing(source.parent().expect("parent")));
    let report = back_up(source, &folder.path().join("vault"), adjust);
    assert!(fs::read(source).expect("source") == original, "the source was written to");
    assert_eq!(listing(source.parent().expect("parent")), beside, "something was left beside the source");
    let restored = folder.path().join("restored/main.db");
    let recorded = restore(&report.path, &folder.path().join("restored")).restored.remove(0).source;
    assert_eq!(restored.metadata().expect("restored").permissions().mode() & 0o7777, 0o600);
    let expected = content(source);
    assert_eq!(content(&restored), expected);
    assert_eq!(recorded.check.verdict, "ok", "{:?}", recorded.check.messages);
    let rows: Vec<_> = recorded.tables.iter().map(|table| (table.name.clone(), table.rows)).collect();
    assert_eq!(rows, expected.iter().map(|(name, hash)| (name.clone(), Some(hash.rows))).collect::<Vec<_>>());
    assert_eq!(recorded.size_bytes, original.len() as u64);
    let image = fs::read(&restored).expect("restored");
    assert!(image.is_empty() || image[18..20] == [1, 1], "the restored database says that it is in WAL mode");
    differences(source, &restored)
}

/// The bytes that database/pages.rs names for the backup interface in WAL mode, and those that every image has changed.
fn may_differ(offset: u64, shape: &Shape, pages: PagePreference) -> bool {
    let is_wal = shape.journal == "wal";
    match offset {
        18..=19 => is_wal,
        24..=27 | 92..=99 => is_wal && pages == PagePreference::BackupApi,
        _ => false,
    }
}

fn assert_comes_back(shape: &Shape, pages: PagePreference) {
    let folder = place();
    let source = folder.path().join("source.db");
    make(&source, shape);
    let differing = round_trip(&source, |backup| backup.pages = pages);
    let Shape { page_size, journal, .. } = shape;
    assert!(
        differing.iter().all(|&offset| may_differ(offset, shape, pages)),
        "{page_size} {journal} {pages:?}: bytes {differing:?} differ"
    );
}

#[test]
fn every_page_size_comes_back_in_wal_mode_streamed() {
    for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        assert_comes_back(&Shape { page_size, ..USUAL }, PagePreference::Auto);
    }
}

#[test]
fn every_page_size_comes_back_in_wal_mode_by_the_backup_interface() {
    for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        assert_comes_back(&Shape { page_size, ..USUAL }, PagePreference::BackupApi);
    }
}

#[test]
fn every_page_size_comes_back_in_rollback_mode_by_both_readers() {
    for page_size in [512, 1024, 2048, 4096, 8192, 16384, 32768, 65536] {
        for pages in [PagePreference::Auto, PagePreference::BackupApi] {
            assert_comes_back(&Shape { page_size, journal: "delete", ..USUAL }, pages);
        }
    }
}

#[test]
fn encodings_and_kinds_of_auto_vacuum_come_back() {
    for (encoding, auto_vacuum) in [("UTF-16le", "none"), ("UTF-16be", "full"), ("UTF-8", "incremental"), ("UTF-16le", "incremental")] {
        for (journal, pages) in [("wal", PagePreference::Auto), ("delete", PagePreference::Auto), ("wal", PagePreference::BackupApi)] {
            assert_comes_back(&Shape { encoding, auto_vacuum, journal, page_size: 1024 }, pages);
        }
    }
}

#[test]
fn the_manifest_says_what_the_pragmas_say() {
    let folder = place();
    let source = folder.path().join("source.db");
    make(&source, &Shape { page_size: 2048, journal: "wal", encoding: "UTF-16be", auto_vacuum: "incremental" });
    let recorded = back_up(&source, &folder.path().join("vault"), |_| {}).manifest.sources.remove(0);
    let connection = open(&source);
    let number = |pragma: &str| connection.query_row(&format!("PRAGMA {pragma}"), [], |row| row.get::<_, i64>(0)).expect("pragma");
    assert_eq!((i64::from(recorded.page_size), recorded.page_count as i64), (number("page_size"), number("page_count")));
    assert_eq!((i64::from(recorded.application_id), i64::from(recorded.user_version)), (-559_038_737, -42));
    assert_eq!((i64::from(recorded.application_id), i64::from(recorded.user_version)), (number("application_id"), number("user_version")));
    assert_eq!(
        (recorded.encoding.as_str(), recorded.auto_vacuum.as_str(), recorded.journal_mode.as_str()),
        ("UTF-16be", "incremental", "wal")
    );
    assert!(number("freelist_count") > 0, "the example has free pages");
    let objects = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0)).expect("count");
    assert_eq!(recorded.schema.expect("schema").objects as i64, objects);
    assert!(recorded.tables.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted by name");
}

#[test]
fn every_codec_gives_the_same_bytes() {
    let folder = place();
    let source = folder.path().join("source.db");
    make(&source, &USUAL);
    for codec in ["none", "gzip:1", "gzip:9", "zstd:1", "zstd:19"] {
        let compression: Compression = codec.parse().expect("codec");
        let differing = round_trip(&source, |backup| backup.compression = compression);
        assert!(differing.iter().all(|offset| (18..=19).contains(offset)), "{codec}: {differing:?}");
    }
}

#[test]
fn a_restored_full_text_index_answers_and_is_sound() {
    let folder = place();
    let source = folder.path().join("source.db");
    make(&source, &USUAL);
    let report = back_up(&source, &folder.path().join("vault"), |_| {});
    restore(&report.path, &folder.path().join("restored"));
    let connection = Connection::open(folder.path().join("restored/main.db")).expect("open");
    assert_eq!(integrity(&connection), ["ok"]);
    let hits: i64 = connection.query_row("SELECT count(*) FROM docs('zebras')", [], |row| row.get(0)).expect("search");
    assert!(hits > 50);
    connection
        .execute_batch("INSERT INTO docs(docs) VALUES ('integrity-check'); INSERT INTO keyed VALUES ('new', 1000000, 1)")
        .expect("works on");
}

#[test]
fn odd_file_names_come_back() {
    let names: [&[u8]; 8] = [
        b"it's \"quoted\".db",
        "ключ 🔑.db".as_bytes(),
        b" spaces  and\ttabs ",
        b"a\nline.db",
        b"a%20b?mode=memory&cache=shared#c.db",
        b"not utf-8 \xff\xfe.db",
        b"-dash.db",
        b"file:name.db",
    ];
    for name in names {
        let folder = place();
        let source = folder.path().join(OsStr::from_bytes(name));
        for journal in ["wal", "delete"] {
            let _ = fs::remove_file(&source);
            make(&source, &Shape { journal, ..USUAL });
            let differing = round_trip(&source, |_| {});
            assert!(differing.iter().all(|offset| (18..=19).contains(offset)), "{name:?}: {differing:?}");
        }
    }
}

#[test]
fn databases_without_content_come_back() {
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let folder = place();
        let [zero, bare, emptied] = ["zero.db", "bare.db", "emptied.db"].map(|name| folder.path().join(name));
        fs::write(&zero, b"").expect("write");
        Connection::open(&bare).expect("open").execute_batch("PRAGMA user_version = 1").expect("one page");
        let sql = "CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(100000)); DROP TABLE t";
        Connection::open(&emptied).expect("open").execute_batch(sql).expect("only free pages");
        for source in [&zero, &bare, &emptied] {
            let differing = round_trip(source, |backup| backup.pages = pages);
            assert!(differing.is_empty(), "{source:?} {pages:?}: {differing:?}");
        }
    }
}

#[test]
fn bytes_reserved_on_each_page_come_back() {
    let folder = place();
    let source = folder.path().join("reserved.db");
    let made = std::process::Command::new("sqlite3")
        .arg(&source)
        .args([
            ".filectrl reserve_bytes 32",
            "PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES (randomblob(50000)), ('x'); VACUUM;",
        ])
        .output();
    if made.is_err() || !source.exists() || fs::read(&source).expect("read").get(20) != Some(&32) {
        return skip("no sqlite3 program that can reserve bytes");
    }
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let differing = round_trip(&source, |backup| backup.pages = pages);
        assert!(differing.iter().all(|&offset| may_differ(offset, &USUAL, pages)), "{pages:?}: {differing:?}");
    }
}

#[test]
fn a_row_that_is_only_in_the_wal_is_in_the_bundle() {
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let folder = place();
        let source = folder.path().join("source.db");
        make(&source, &USUAL);
        let before = fs::read(&source).expect("read");
        let writer = Connection::open(&source).expect("open");
        writer.execute_batch("PRAGMA wal_autocheckpoint=0; INSERT INTO plain(b) VALUES ('only in the wal')").expect("insert");
        let reader = open(&source);
        reader.execute_batch("BEGIN; SELECT * FROM plain").expect("another reader stays");
        let report = back_up(&source, &folder.path().join("vault"), |backup| backup.pages = pages);
        writer.execute_batch("INSERT INTO plain(b) VALUES ('too late')").expect("insert");
        restore(&report.path, &folder.path().join("restored"));
        let restored = open(&folder.path().join("restored/main.db"));
        let found: Vec<String> = restored
            .prepare("SELECT b FROM plain WHERE b IN ('only in the wal', 'too late')")
            .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
            .expect("query");
        assert_eq!(found, ["only in the wal"]);
        assert!(fs::read(&source).expect("read") == before, "the backup made a checkpoint");
    }
}

#[test]
fn many_sources_and_tenants_lie_in_one_bundle() {
    let folder = place();
    let shapes = [
        ("main", Shape { page_size: 512, journal: "delete", encoding: "UTF-16le", auto_vacuum: "full" }),
        ("tenants/acme", USUAL),
        ("tenants/bravo.co", Shape { page_size: 65536, ..USUAL }),
        ("z_last-1", Shape { journal: "delete", ..USUAL }),
    ];
    let path = |label: &str| folder.path().join(label.replace('/', "+"));
    shapes.iter().for_each(|(label, shape)| make(&path(label), shape));
    fs::write(path("empty"), b"").expect("write");
    let labels: Vec<&str> = shapes.iter().map(|(label, _)| *label).chain(["empty"]).collect();
    let specs = labels.iter().map(|label| spec(label, &path(label))).collect();
    let report = Backup::new(specs, folder.path().join("vault")).run(&ring(), &mut Environment::system()).expect("backup");
    assert_eq!(report.manifest.sources.iter().map(|source| source.label.as_str()).collect::<Vec<_>>(), labels);
    let to = folder.path().join("restored");
    restore(&report.path, &to);
    for label in &labels {
        let restored = to.join(format!("{label}.db"));
        assert_eq!(content(&restored), content(&path(label)), "{label}");
        assert!(differences(&path(label), &restored).iter().all(|offset| (18..=19).contains(offset)), "{label}");
    }
    let names: Vec<_> = listing(&to).into_iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["empty.db", "main.db", "manifest.json", "tenants", "tenants/acme.db", "tenants/bravo.co.db", "z_last-1.db"]);
}
