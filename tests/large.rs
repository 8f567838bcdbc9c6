//! Capture of databases above one gigabyte, with the page that SQLite never uses, and how fast it is. Run with `--ignored --nocapture`.

mod common;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use airkeep::database::{Access, Capture, CheckKind, DatabaseError, Image, PagePreference, Verdict, table_hash};
use common::{make, options, scratch};

/// Compares what comes out with a file, without keeping either in memory; the bytes that may differ are left out.
fn assert_same(capture: &mut Capture, original: &Path, ignore: &[std::ops::Range<u64>]) {
    let mut original = File::open(original).expect("original");
    let mut offset = 0_u64;
    let mut expected = Vec::new();
    let sink = &mut |piece: &[u8]| {
        expected.resize(piece.len(), 0);
        original.read_exact(&mut expected).expect("read");
        if piece != expected {
            let at = (0..piece.len()).map(|i| (offset + i as u64, piece[i] == expected[i]));
            let differing: Vec<u64> =
                at.filter(|(at, same)| !same && !ignore.iter().any(|range| range.contains(at))).map(|(at, _)| at).collect();
            assert!(differing.is_empty(), "{:?}", &differing[..differing.len().min(20)]);
        }
        offset += piece.len() as u64;
        Ok::<(), DatabaseError>(())
    };
    capture.write_image(sink).expect("image");
    assert_eq!(original.read(&mut [0]).expect("read"), 0);
}

#[test]
#[ignore = "writes several gigabytes"]
fn is_identical_across_the_lock_byte_page() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, twin) = (folder.path().join("a.db"), folder.path().join("twin.db"));
    make(
        &path,
        "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(600000000)); INSERT INTO t VALUES(zeroblob(600000000)); INSERT INTO t VALUES('end')",
    );
    for mode in ["delete", "wal"] {
        make(&path, &format!("PRAGMA journal_mode={mode}"));
        std::fs::copy(&path, &twin).expect("copy");
        for pages in [PagePreference::Auto, PagePreference::BackupApi] {
            let scratch = scratch();
            let mut options = options(&scratch);
            options.pages = pages;
            let mut capture = Capture::begin(&path, &options).expect("begin");
            assert_eq!(capture.facts().check.verdict, Verdict::Ok, "{:?}", capture.facts().check);
            assert!(capture.facts().size_bytes > 1_200_000_000);
            assert_same(&mut capture, &twin, &[18..20, 24..28, 92..100]);
            capture.finish().expect("finish");
        }
    }
}

/// Measures each stage on the database that `AIRKEEP_LARGE` names, or on one made here.
#[test]
#[ignore = "measures speed"]
fn tells_how_fast_it_is() {
    let folder = tempfile::tempdir().expect("folder");
    let path = std::env::var_os("AIRKEEP_LARGE").map_or_else(|| made(folder.path()), PathBuf::from);
    for mode in ["delete", "wal"] {
        make(&path, &format!("PRAGMA journal_mode={mode}"));
        for (pages, check) in [
            (PagePreference::Auto, CheckKind::None),
            (PagePreference::Auto, CheckKind::Quick),
            (PagePreference::Auto, CheckKind::Full),
            (PagePreference::BackupApi, CheckKind::None),
        ] {
            let scratch = scratch();
            let mut options = options(&scratch);
            (options.pages, options.check) = (pages, check);
            let started = Instant::now();
            let mut capture = Capture::begin(&path, &options).expect("begin");
            let begun = started.elapsed();
            let mut bytes = 0_u64;
            capture
                .write_image(&mut |piece| {
                    bytes += piece.len() as u64;
                    Ok::<(), DatabaseError>(())
                })
                .expect("image");
            let written = started.elapsed() - begun;
            capture.finish().expect("finish");
            let rate = |time: Duration| (bytes as f64 / time.as_secs_f64() / 1e6) as u64;
            eprintln!("{mode} {pages:?} {check:?}: begin {begun:?} ({} MB/s), image {written:?} ({} MB/s)", rate(begun), rate(written));
        }
    }
    measure_image(&path);
    eprintln!(
        "peak memory: {}",
        std::fs::read_to_string("/proc/self/status").unwrap_or_default().lines().find(|line| line.starts_with("VmHWM")).unwrap_or("?")
    );
}

fn measure_image(path: &Path) {
    let scratch = scratch();
    let mut content = File::open(path).expect("open");
    let image = Image::create(&scratch, content.metadata().expect("stat").len()).expect("image");
    let mut buffer = vec![0; 1 << 20];
    let mut offset = 0;
    while let Some(count) = content.read(&mut buffer).ok().filter(|count| *count > 0) {
        image.write_at(offset, &buffer[..count]).expect("write");
        offset += count as u64;
    }
    image.write_at(18, &[1, 1]).expect("write");
    let connection = image.open(Access::ReadOnly).expect("open");
    for table in airkeep::database::list_tables(&connection).expect("tables") {
        let started = Instant::now();
        let hash = table_hash(&connection, &table).expect("hash");
        eprintln!("hash of {table}: {} rows in {:?}", hash.rows, started.elapsed());
    }
}

fn made(folder: &Path) -> PathBuf {
    let path = folder.join("large.db");
    make(
        &path,
        "PRAGMA journal_mode=off; PRAGMA synchronous=off; CREATE TABLE t(id INTEGER PRIMARY KEY, kind TEXT, amount REAL, note TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<5000000)
         INSERT INTO t SELECT i, 'kind-'||(i%97), i*1.5, hex(randomblob(70)) FROM n; CREATE INDEX k ON t(kind, id);",
    );
    path
}
