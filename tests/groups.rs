//! Groups: snapshots of several databases that fit each other, beside a writer that changes them in one transaction.
//!
//! The ordinary run takes 20 cuts for each journal mode, `AIRKEEP_PROVE=1` two hundred.

mod cli;
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use airkeep::ops::SourceGroup;
use airkeep::{Backup, Environment, Label};
use cli::Home;
use rusqlite::Connection;
use support::{environment, restore, ring, spec};

fn make(home: &Home, mode: &str) {
    for name in ["a.db", "b.db"] {
        let database = Connection::open(home.path(name)).unwrap();
        database.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
        database.execute_batch("CREATE TABLE t(v INTEGER, pad BLOB); INSERT INTO t VALUES(0, randomblob(200000))").unwrap();
    }
}

fn start(home: &Home) -> Child {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(test);
    command.args(["--exact", "writes_both", "--ignored", "--nocapture"]).env("AIRKEEP_TEST_GROUP", "1").current_dir(home.path(""));
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
#[ignore = "a role that other tests start"]
fn writes_both() {
    if std::env::var_os("AIRKEEP_TEST_GROUP").is_none() {
        return;
    }
    let database = Connection::open("a.db").unwrap();
    database.busy_timeout(Duration::from_secs(10)).unwrap();
    database.execute_batch("ATTACH 'b.db' AS b; PRAGMA synchronous=OFF; PRAGMA b.synchronous=OFF").unwrap();
    let mut n = 0;
    while !Path::new("end").exists() {
        n += 1;
        database.execute_batch(&format!("BEGIN IMMEDIATE; UPDATE main.t SET v={n}; UPDATE b.t SET v={n}; COMMIT")).unwrap();
        if n == 1 {
            std::fs::write("writing", "").unwrap();
        }
    }
    std::fs::write("written", n.to_string()).unwrap();
}

fn value(path: &Path) -> i64 {
    Connection::open(path).unwrap().query_row("SELECT v FROM t", [], |row| row.get(0)).unwrap()
}

/// Cuts beside the writer; gives how many had different values, and how many different cuts there were.
fn cuts(mode: &str, is_grouped: bool, count: usize) -> (usize, usize) {
    let home = Home::new();
    make(&home, mode);
    let mut writer = start(&home);
    let begun = Instant::now();
    while !home.path("writing").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the writer does not write");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (mut different, mut seen) = (0, std::collections::BTreeSet::new());
    for number in 0..count {
        let mut backup = Backup::new(vec![spec("a", &home.path("a.db")), spec("b", &home.path("b.db"))], home.path("vault"));
        backup.busy_timeout = Duration::from_secs(30);
        backup.read_back = false;
        backup.compression = "none".parse().unwrap();
        if is_grouped {
            let labels = ["a", "b"].map(|label| Label::parse(label).unwrap()).to_vec();
            backup.groups = vec![SourceGroup { name: "core".to_owned(), labels }];
        }
        let report = backup.run(&ring(), &mut Environment { progress: environment().progress, ..environment() }).unwrap();
        let expected = if is_grouped { "group:core" } else { "independent" };
        assert!(report.manifest.sources.iter().all(|source| source.consistency == expected));
        let to = home.path(format!("out-{number}"));
        restore(&report.path, &to);
        let [a, b] = ["a.db", "b.db"].map(|name| value(&to.join(name)));
        different += usize::from(a != b);
        seen.insert(a);
        std::fs::remove_dir_all(to).unwrap();
        std::fs::remove_file(report.path).unwrap();
    }
    home.write("end", "", 0o600);
    assert!(writer.wait().unwrap().success());
    (different, seen.len())
}

fn count() -> usize {
    if support::is_proving() { 200 } else { 20 }
}

#[test]
fn no_cut_of_a_group_is_inconsistent() {
    for mode in ["wal", "delete"] {
        let (different, seen) = cuts(mode, true, count());
        support::note(&format!("{mode}: {} cuts at {seen} moments, {different} inconsistent", count()));
        assert_eq!(different, 0, "{mode}");
        assert!(seen > count() / 2, "{mode}: the writer hardly wrote");
    }
}

#[test]
fn without_a_group_the_writer_is_seen_in_between() {
    let (different, _) = cuts("wal", false, count());
    assert!(different > 0, "the test above proves nothing");
}

#[test]
fn databases_at_rest_are_left_as_they_were() {
    let home = Home::new();
    make(&home, "wal");
    home.key("key");
    let config = "vault='vault'\n[keys]\nkey-files='key'\n[sources.a]\nsqlite='a.db'\ngroup='core'\n[sources.b]\nsqlite='b.db'\ngroup='core'\nrequired=true\n";
    home.write("airkeep.toml", config, 0o600);
    let before = home.tree();
    let report = home.json(&["backup", "--json"]);
    assert_eq!(report["sources"][1]["consistency"], "group:core");
    std::fs::remove_dir_all(home.path("vault")).unwrap();
    let _ = std::fs::remove_dir_all(home.path("state"));
    cli::assert_same_tree(&before, &home.tree());
    let lock = Connection::open(home.path("b.db")).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // Not compared with what was there before: reading the files in this process would drop the lock.
    let run = home.run(["backup", "--busy-timeout", "0.1"]);
    assert_eq!(run.code, 11, "{}", run.stderr);
    assert!(run.stderr.contains("cannot back up 'b'"), "{}", run.stderr);
}
