//! Guarded work of a program that uses the library.

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use airkeep::ops::TargetResult;
use airkeep::{Backup, Failure, Guard, InPlace};
use rusqlite::Connection;
use support::{environment, place, program, ring, spec};

fn database(path: &Path) {
    Connection::open(path).unwrap().execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
}

fn spoil(path: &Path) {
    Connection::open(path).unwrap().execute_batch("DELETE FROM t").unwrap();
}

fn rows(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
}

fn guard(database: &Path, vault: &Path) -> Guard {
    Guard::new(Backup::new(vec![spec("main", database)], vault), "work")
}

#[test]
fn work_that_panics_is_undone_before_the_panic_goes_on() {
    let home = place();
    let (path, vault) = (home.path().join("app.db"), home.path().join("vault"));
    database(&path);
    let mut environment = environment();
    let panic = catch_unwind(AssertUnwindSafe(|| {
        guard(&path, &vault).run(ring(), &mut environment, || {
            spoil(&path);
            panic!("no owner in sight")
        })
    }));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>().unwrap(), &"no owner in sight", "as it was");
    assert_eq!(rows(&path), 1);
    assert_eq!((environment.shortfalls.len(), &environment.reason), (0, &None));
    let journal = std::fs::read_to_string(vault.join("journal.jsonl")).unwrap();
    let last = journal.lines().last().unwrap();
    assert!(last.contains("it panicked: no owner in sight") && last.contains("\"put_back\":true"), "{last}");
}

#[test]
fn what_was_replaced_in_part_only_is_not_called_put_back() {
    let home = place();
    let (path, vault) = (home.path().join("app.db"), home.path().join("vault"));
    database(&path);
    let run = |work: Result<(), &str>| {
        guard(&path, &vault).run(ring(), &mut environment(), || work.map_err(str::to_owned)).unwrap_or_else(|failure| panic!("{failure}"))
    };
    assert!(!run(Ok(())).is_put_back(), "it did not have to be");
    let mut report = run(Err("failed"));
    assert!(report.is_put_back());
    report.restored.as_mut().unwrap().as_mut().unwrap().outcomes[0].result = TargetResult::NotTried;
    assert!(!report.is_put_back());
    let example = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/guard_migration.rs")).unwrap();
    assert!(example.contains("Err(why) if is_put_back =>"), "the example asks for it");
}

#[test]
fn a_database_whose_path_is_no_text_is_put_back_there_and_nowhere_else() {
    let home = place();
    let (folder, vault) = (home.path().join(OsStr::from_bytes(b"b\xfcro")), home.path().join("vault"));
    std::fs::create_dir(&folder).unwrap();
    std::fs::create_dir(home.path().join("b\u{fffd}ro")).unwrap();
    let (path, other) = (folder.join("app.db"), home.path().join("b\u{fffd}ro/app.db"));
    database(&path);
    database(&other);
    spoil(&other);
    let report = guard(&path, &vault).run(ring(), &mut environment(), || {
        spoil(&path);
        Err("failed".to_owned())
    });
    let report = report.unwrap();
    assert!(report.is_put_back(), "{:?}", report.restored);
    assert_eq!(rows(&path), 1);
    assert_eq!(rows(&other), 0, "another file's, although the bundle names it");

    spoil(&path);
    let bundle = report.backup.path;
    let refused = InPlace::new(&bundle).prepare(&ring(), &mut environment()).err();
    assert!(matches!(refused, Some(Failure::UnclearPlace { .. })), "{refused:?}");
    let key = support::key_file(home.path());
    let restore = |more: &[&OsStr]| {
        let mut command = program(home.path());
        command.args(["restore".as_ref(), bundle.as_os_str(), "--force".as_ref(), "--key-file".as_ref()]);
        command.arg(&key).args(more).output().unwrap()
    };
    let output = restore(&["--in-place".as_ref()]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("the path of 'main' was not UTF-8") && told.contains("hint: name the file: --onto FILE"), "{told}");
    let output = restore(&["--onto".as_ref(), path.as_os_str()]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(rows(&path), 1);
}

#[test]
fn a_database_that_could_not_be_put_back_is_refused_before_the_work() {
    let home = place();
    let (path, vault) = (home.path().join(OsStr::from_bytes(b"b\xfcro.db")), home.path().join("vault"));
    database(&path);
    let refused = guard(&path, &vault).run(ring(), &mut environment(), || panic!("this is not begun"));
    assert!(matches!(refused, Err(Failure::UnclearName { .. })), "{refused:?}");
    assert!(!vault.exists());
}
