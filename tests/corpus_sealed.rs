//! Databases that others made: Chinook, ICDEV with 255 tables, a crash image, and 560 malformed files.
//!
//! They are not part of the repository; `AIRKEEP_CORPUS` names the folder that holds them.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airkeep::bundle::Source;
use airkeep::database::{PagePreference, Verdict};
use airkeep::{Backup, Environment, Level, Verification, VerifyRequest};
use support::{
    back_up, content, differences, fast_place, integrity, key_file, open, output_within, place, program, restore, ring, spec, text_of,
};

const IMAGES: usize = 560;
const LIMIT: Duration = Duration::from_secs(20);

fn corpus() -> Option<PathBuf> {
    let folder = std::env::var_os("AIRKEEP_CORPUS").map(PathBuf::from);
    if folder.is_none() {
        support::skip("AIRKEEP_CORPUS names no folder with databases");
    }
    folder
}

#[test]
fn chinook_comes_back_by_both_readers() {
    let Some(corpus) = corpus() else { return };
    let folder = place();
    let source = folder.path().join("chinook.db");
    fs::copy(corpus.join("chinook.db"), &source).expect("copy");
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let to = folder.path().join(format!("{pages:?}"));
        let report = back_up(&source, &folder.path().join("vault"), |backup| backup.pages = pages);
        let recorded = restore(&report.path, &to).restored.remove(0).source;
        assert_eq!(recorded.check.verdict, "ok");
        assert_eq!(content(&to.join("main.db")), content(&source));
        let differing = differences(&source, &to.join("main.db"));
        assert!(differing.iter().all(|offset| (18..=19).contains(offset)), "{pages:?}: {differing:?}");
    }
}

#[test]
fn all_databases_of_icdev_lie_in_one_bundle() {
    let Some(corpus) = corpus() else { return };
    let folder = place();
    let names = ["icdev", "platform", "activity", "memory", "tenants/acme", "tenants/bravo"];
    let path = |label: &str| folder.path().join("live").join(format!("{label}.db"));
    fs::create_dir_all(folder.path().join("live/tenants")).expect("folder");
    for label in names {
        fs::copy(corpus.join("icdev/live-before").join(format!("{label}.db")), path(label)).expect("copy");
    }
    let specs = names.iter().map(|label| spec(label, &path(label))).collect();
    let report = Backup::new(specs, folder.path().join("vault")).run(&ring(), &mut Environment::system()).expect("backup");
    let to = folder.path().join("restored");
    restore(&report.path, &to);
    for (label, recorded) in names.iter().zip(&report.manifest.sources) {
        let restored = to.join(format!("{label}.db"));
        let expected = content(&path(label));
        assert_eq!(content(&restored), expected, "{label}");
        assert_eq!(recorded.tables.len(), expected.len(), "{label}");
        assert!(differences(&path(label), &restored).iter().all(|offset| (18..=19).contains(offset)), "{label}");
        assert_eq!(integrity(&open(&restored)), ["ok"], "{label}");
    }
    let own = report.manifest.sources[0].tables.iter().filter(|table| !table.name.starts_with("sqlite_")).count();
    assert_eq!(own, 255, "tables of icdev.db");
}

#[test]
fn a_crash_image_gives_back_every_committed_row_and_stays_as_it_was() {
    let Some(corpus) = corpus() else { return };
    let files = ["icdev.db", "icdev.db-wal", "icdev.db-shm"];
    for with_shared_memory in [true, false] {
        let folder = place();
        let live = folder.path().join("live");
        fs::create_dir(&live).expect("folder");
        for name in files.iter().filter(|name| with_shared_memory || !name.ends_with("-shm")) {
            fs::copy(corpus.join("icdev/wal").join(name), live.join(name)).expect("copy");
        }
        let report = back_up(&live.join(files[0]), &folder.path().join("vault"), |_| {});
        for name in &files[..2] {
            let same = fs::read(live.join(name)).expect("read") == fs::read(corpus.join("icdev/wal").join(name)).expect("read");
            assert!(same, "the backup changed {name}");
        }
        restore(&report.path, &folder.path().join("restored"));
        let restored = open(&folder.path().join("restored/main.db"));
        assert_eq!(restored.query_row("SELECT count(*) FROM audit_trail", [], |row| row.get::<_, i64>(0)), Ok(261));
        assert_eq!(integrity(&restored), ["ok"]);
        let recorded = report.manifest.sources[0].tables.iter().find(|table| table.name == "audit_trail").expect("table");
        assert_eq!(recorded.rows, Some(261));
    }
}

#[test]
fn malformed_databases_are_refused_or_sealed_with_the_truth_about_them() {
    let Some(corpus) = corpus() else { return };
    let images = malformed(&corpus.join("sqlite-malformed"));
    assert_eq!(images.len(), IMAGES);
    let (next, faults, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(image) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for accept_corrupt in [false, true] {
                        match examine(image, accept_corrupt) {
                            Ok(outcome) => *outcomes.lock().expect("lock").entry((accept_corrupt, outcome)).or_insert(0) += 1,
                            Err(fault) => faults.lock().expect("lock").push(format!("{image:?}, accept {accept_corrupt}: {fault}")),
                        }
                    }
                }
            });
        }
    });
    let (faults, outcomes) = (faults.into_inner().expect("lock"), outcomes.into_inner().expect("lock"));
    support::note(&format!("malformed images by (accepted, outcome): {outcomes:?}"));
    assert!(faults.is_empty(), "{} faults:\n{}\noutcomes: {outcomes:#?}", faults.len(), faults.join("\n"));
    let sum = |accepted: bool, outcome: &str| {
        outcomes.iter().filter(|((a, o), _)| *a == accepted && o.contains(outcome)).map(|(_, n)| n).sum::<usize>()
    };
    assert!(sum(false, "exit 13") > 100 && sum(true, "corrupt") > 100, "the corpus is not what it was: {outcomes:#?}");
}

fn malformed(folder: &Path) -> Vec<PathBuf> {
    let mut images: Vec<PathBuf> =
        support::listing(folder).into_iter().map(|path| folder.join(path)).filter(|path| path.is_file()).collect();
    images.sort();
    images
}

/// Backs an image up with the program, restores it, and holds what was recorded against what a fresh connection sees.
fn examine(image: &Path, accept_corrupt: bool) -> Result<String, String> {
    let folder = fast_place();
    let home = folder.path();
    let (source, vault, key) = (home.join("source.db"), home.join("vault"), key_file(home));
    let content = fs::read(image).map_err(|error| error.to_string())?;
    fs::write(&source, &content).map_err(|error| error.to_string())?;
    let before = support::listing(home);
    let mut command = program(home);
    command.args(["backup", "--json", "--busy-timeout", "0"]).arg(format!("main={}", source.display()));
    command.arg("--vault").arg(&vault).arg("--key-file").arg(&key).args(accept_corrupt.then_some("--accept-corrupt"));
    let output = output_within(command, LIMIT).ok_or("takes more than 20 s")?;
    if let Some(signal) = output.status.signal() {
        return Err(format!("died of signal {signal}"));
    }
    if fs::read(&source).map_err(|error| error.to_string())? != content {
        return Err("the source was changed".to_owned());
    }
    let code = output.status.code().unwrap_or(-1);
    if code != 0 {
        let is_clean = support::listing(home) == before;
        let is_expected = if accept_corrupt { [14].as_slice() } else { &[13, 14] }.contains(&code);
        return if is_clean && is_expected {
            Ok(format!("exit {code}"))
        } else {
            Err(format!("exit {code}, nothing left: {is_clean}: {}", text_of(&output)))
        };
    }
    let bundle = support::bundles_in(&vault).into_iter().next().ok_or("success without a bundle")?;
    let recorded = restore(&vault.join(bundle), &home.join("restored")).restored.remove(0).source;
    let image = fs::read(home.join("restored/main.db")).map_err(|error| error.to_string())?;
    let is_copy = recorded.capture.pages == "backup_api";
    let may_differ = |offset: usize| matches!(offset, 18..=19) || is_copy && matches!(offset, 24..=31 | 92..=99);
    let differing = image.iter().zip(&content).enumerate().filter(|(offset, (a, b))| a != b && !may_differ(*offset)).count();
    if differing > 0 || image.len() as u64 != u64::from(recorded.page_size) * recorded.page_count {
        return Err(format!("{differing} bytes of {} differ, {} were captured", content.len(), image.len()));
    }
    judge(&recorded, &home.join("restored/main.db"), accept_corrupt)
}

fn judge(recorded: &Source, restored: &Path, accept_corrupt: bool) -> Result<String, String> {
    let seen = quick_check(restored);
    let told = recorded.check.verdict.as_str();
    if recorded.check.kind != "quick" || !["ok", "violations", "unchecked", "corrupt"].contains(&told) {
        return Err(format!("recorded {:?}", recorded.check));
    }
    if told == "corrupt" && !accept_corrupt {
        return Err("corrupt and not refused".to_owned());
    }
    // Damage that the check does not look at (a table that cannot be counted, a file that is too short) may add to what it found.
    let is_beyond_the_check =
        recorded.check.messages.iter().any(|message| message.contains("truncated") || message.contains("cannot be counted"));
    match (told == "ok", seen == ["ok"]) {
        (true, true) | (false, false) => Ok(format!("sealed as {told}")),
        (false, true) if is_beyond_the_check && told == "corrupt" => Ok("sealed as corrupt, though the check finds nothing".to_owned()),
        _ => Err(format!("recorded {told} {:?}, seen {seen:?}", recorded.check.messages)),
    }
}

/// What a connection that airkeep did not make says, errors included.
fn quick_check(path: &Path) -> Vec<String> {
    let connection = open(path);
    let interrupt = connection.get_interrupt_handle();
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if waiting.recv_timeout(LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            interrupt.interrupt();
        }
    });
    let mut messages = Vec::new();
    let outcome = connection.prepare("PRAGMA quick_check").and_then(|mut statement| {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            messages.push(
                row.get_ref(0)?
                    .as_bytes_or_null()
                    .map(|bytes| String::from_utf8_lossy(bytes.unwrap_or(b"NULL")).into_owned())
                    .unwrap_or_default(),
            );
        }
        Ok(())
    });
    messages.extend(outcome.err().map(|error| format!("error: {error}")));
    drop(done);
    watch.join().expect("watch");
    messages
}

#[test]
fn honest_databases_are_ok_at_level_4() {
    let Some(corpus) = corpus() else { return };
    let folder = fast_place();
    let names = ["icdev", "platform", "activity", "memory", "tenants/acme", "tenants/bravo", "chinook"];
    let from = |label: &str| match label {
        "chinook" => corpus.join("chinook.db"),
        _ => corpus.join("icdev/live-before").join(format!("{label}.db")),
    };
    fs::create_dir_all(folder.path().join("live/tenants")).expect("folder");
    let path = |label: &str| folder.path().join("live").join(format!("{label}.db"));
    for label in names {
        fs::copy(from(label), path(label)).expect("copy");
    }
    let specs = names.iter().map(|label| spec(label, &path(label))).collect();
    let mut backup = Backup::new(specs, folder.path().join("vault"));
    backup.hash_tables = true;
    let report = backup.run(&ring(), &mut Environment::system()).expect("backup");
    let request = VerifyRequest { level: Some(Level::Database), scratch: Some(folder.path().to_owned()), ..VerifyRequest::default() };
    let verification = Verification::run(&report.path, &request, &ring(), &Environment::system()).expect("verify");
    assert!(verification.is_sound());
    assert_eq!(verification.databases.len(), names.len());
    for proof in &verification.databases {
        assert_eq!((proof.verdict, proof.proven(), proof.hashes), (Verdict::Ok, Level::Database, proof.tables), "{proof:?}");
    }
}

#[test]
fn malformed_images_that_were_recorded_as_corrupt_are_examined_in_time() {
    let Some(corpus) = corpus() else { return };
    let folder = fast_place();
    let mut slowest = (Duration::ZERO, PathBuf::new());
    for (number, image) in
        malformed(&corpus.join("sqlite-malformed")).into_iter().enumerate().filter(|(number, _)| support::is_proving() || number % 8 == 0)
    {
        let vault = folder.path().join(format!("vault{number}"));
        let mut backup = Backup::new(vec![spec("main", &image)], &vault);
        backup.accept_corrupt = true;
        let Ok(report) = backup.run(&ring(), &mut Environment::system()) else { continue };
        let begun = std::time::Instant::now();
        let request = VerifyRequest { level: Some(Level::Database), scratch: Some(folder.path().to_owned()), ..VerifyRequest::default() };
        let verification = Verification::run(&report.path, &request, &ring(), &Environment::system()).expect("verify");
        slowest = slowest.max((begun.elapsed(), image.clone()));
        let (recorded, proof) = (&report.manifest.sources[0].check, &verification.databases[0]);
        assert!(proof.differences.is_empty(), "{}: {:?}", image.display(), proof.differences);
        // The full check may see more than the quick one did.
        assert!(verification.is_sound() || recorded.verdict != "corrupt", "{}: {proof:?}", image.display());
    }
    support::note(&format!("slowest: {slowest:?}"));
    assert!(slowest.0 < Duration::from_secs(6));
}
