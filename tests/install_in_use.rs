//! Installing into databases that others write and read all the time: no committed row is unaccounted for, and nobody sees a mixture.
//!
//! The others are processes of their own (this test binary, started anew), as they are in life.

mod common;
mod placing;
mod support;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use airkeep::database::{Comparison, DatabaseError, Image, InstallError, InstallOptions, Installation, Others, Way};
use common::{Role, number};
use placing::{Filler, Place, fill, image_of, patient, ready, say};
use rusqlite::{Connection, ErrorCode};
use support::{integrity, is_proving, note};

const ROWS: i64 = 300;
const ROWS_BETWEEN: i64 = 100;

/// Two states to go to and fro between, so that each installation changes every row.
fn images(place: &Place) -> [Image; 2] {
    ["new", "newer"].map(|mark| {
        let path = place.folder.path().join(format!("{mark}.db"));
        fill(&path, mark, "delete", 4096, ROWS as u32);
        image_of(&path)
    })
}

fn written(connection: &Connection) -> BTreeSet<i64> {
    let mut statement = connection.prepare("SELECT id FROM t WHERE mark='written'").expect("prepare");
    statement.query_map([], |row| row.get(0)).expect("rows").collect::<rusqlite::Result<_>>().expect("rows")
}

fn counts() -> usize {
    if is_proving() { 100 } else { 10 }
}

/// Installs again and again beside a writer and a reader, and accounts for every row that the writer was told is committed.
fn account(mode: &str, writer: &str, reader: &str, way: Way) {
    let place = Place::in_memory();
    let images = images(&place);
    fill(&place.target, "new", mode, 4096, ROWS as u32);
    let (writer, reader) = (Role::start(writer, &place.target), Role::start(reader, &place.target));
    let (mut seen, mut equal, started) = (BTreeSet::new(), 0, Instant::now());
    for round in 0..counts() {
        let options = options_for(way);
        wait_for_rows(&place.target);
        let installation = Installation::lock(&place.target, &images[(round + 1) % 2], &options, &mut Filler).expect("lock");
        assert_eq!(installation.way(), way);
        seen.extend(written(installation.present().expect("present")));
        let report = installation.install(&options, &mut Filler).expect("install").release().expect("release");
        equal += usize::from(report.comparison == Comparison::Equal);
    }
    let taken = started.elapsed();
    let (wrote, read) = (writer.end(), reader.end());
    let last = Connection::open(&place.target).expect("open");
    seen.extend(written(&last));
    let committed: BTreeSet<i64> = wrote
        .lines()
        .find_map(|line| line.strip_prefix("COMMITTED "))
        .expect("list")
        .split(' ')
        .map(|id| id.parse().expect("id"))
        .collect();
    let lost: Vec<_> = committed.difference(&seen).collect();
    let (count, rate) = (committed.len(), committed.len() as f64 / taken.as_secs_f64());
    note(&format!("{mode}, {way:?}: {} installations, {equal} compared, {count} rows committed, {rate:.0} a second, {read}", counts()));
    assert!(count >= ROWS_BETWEEN as usize * counts(), "the writer was not writing");
    assert!(lost.is_empty(), "{} rows unaccounted for: {lost:?}", lost.len());
    assert!(seen.is_subset(&committed), "rows that nobody was told are committed");
    assert!(read.contains(" 0 mixtures"), "{read}");
    assert_eq!(integrity(&last), ["ok"]);
}

fn options_for(way: Way) -> InstallOptions<'static> {
    InstallOptions { others: if way == Way::Online { Others::Keep } else { Others::Refuse }, ..patient() }
}

/// Each installation takes the rows away; the writer must have had its turn before the next.
fn wait_for_rows(path: &Path) {
    let connection = connect(path);
    let is_there = || connection.query_row("SELECT count(*) >= ?1 FROM t WHERE mark='written'", [ROWS_BETWEEN], |row| row.get(0));
    while !is_there().unwrap_or(false) {
        // Asking all the time would take from the writer what it needs.
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_writer_and_a_reader_that_reconnect_to_a_wal_database() {
    account("wal", "reconnecting writer", "reconnecting reader", Way::Exclusive);
}

#[test]
fn a_writer_and_a_reader_that_reconnect_to_a_rollback_database() {
    account("delete", "reconnecting writer", "reconnecting reader", Way::Exclusive);
}

#[test]
fn a_writer_and_a_reader_that_stay_connected_to_a_rollback_database() {
    account("delete", "writer", "reader", Way::Exclusive);
}

#[test]
fn a_writer_and_a_reader_that_stay_connected_to_a_wal_database() {
    account("wal", "writer", "reader", Way::Online);
}

#[test]
fn the_online_way_keeps_writers_out_between_lock_and_installation_and_compares_where_nobody_writes() {
    let place = Place::new();
    let [_, image] = images(&place);
    fill(&place.target, "new", "wal", 4096, ROWS as u32);
    let connected = connect(&place.target);
    assert_eq!(number(&connected, "SELECT count(*) FROM t"), ROWS);
    connected.busy_timeout(Duration::ZERO).expect("timeout");
    let options = options_for(Way::Online);
    let lock = || Installation::lock(&place.target, &image, &options, &mut Filler).expect("lock");
    let insert = "INSERT INTO t VALUES (7000, 'written', 'x')";
    let dropped = lock();
    assert!(is_busy(&connected.execute(insert, []).expect_err("a writer was let in")));
    drop(dropped);
    assert_eq!(connected.execute(insert, []), Ok(1), "the lock outlived its owner");
    let installation = lock();
    assert_eq!(written(installation.present().expect("present")), BTreeSet::from([7000]));
    assert!(is_busy(&connected.execute("DELETE FROM t", []).expect_err("a writer was let in")));
    let report = installation.install(&options, &mut Filler).expect("install").release().expect("release");
    assert_eq!((report.way, report.comparison), (Way::Online, Comparison::Equal));
    assert_eq!(number(&connected, "SELECT count(*) FROM t WHERE mark='newer'"), ROWS);
    let installed = lock().install(&options, &mut Filler).expect("install");
    assert_eq!(connected.execute(insert, []), Ok(1));
    assert_eq!(installed.release().expect("release").comparison, Comparison::Overtaken);
    assert_eq!(number(&connected, "SELECT count(*) FROM t"), ROWS + 1);
}

#[test]
fn the_online_way_is_refused_where_sqlite_cannot_go_it() {
    let place = Place::new();
    let [image, _] = images(&place);
    let options = InstallOptions { busy_timeout: Duration::from_millis(50), ..options_for(Way::Online) };
    let refused = || Installation::lock(&place.target, &image, &options, &mut Filler).map(drop).expect_err("refused");
    fill(&place.target, "old", "wal", 1024, 20);
    let connected = connect(&place.target);
    connected.execute_batch("BEGIN; SELECT * FROM t").expect("read");
    assert!(matches!(refused(), InstallError::NotOnline { reason: "has another page size", .. }));
    drop(connected);
    std::fs::remove_file(&place.target).expect("remove");
    fill(&place.target, "old", "delete", 4096, 20);
    let connected = connect(&place.target);
    connected.execute_batch("BEGIN; SELECT * FROM t").expect("read");
    assert!(matches!(refused(), InstallError::NotOnline { reason: "not in WAL mode", .. }));
    connected.execute_batch("ROLLBACK; BEGIN EXCLUSIVE").expect("lock");
    assert!(matches!(refused(), InstallError::Database(DatabaseError::Locked { .. })));
}

/// Nothing here is a test of its own; another test of this file starts it as a process.
#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role_for_another_test() {
    let Ok(role) = std::env::var("AIRKEEP_TEST_ROLE") else { return };
    let path = PathBuf::from(std::env::var_os("AIRKEEP_TEST_PATH").expect("path"));
    let (sender, end) = channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        sender.send(())
    });
    let is_reconnecting = role.starts_with("reconnecting");
    match role.ends_with("writer") {
        true => write_until(&path, is_reconnecting, &end),
        false => read_until(&path, is_reconnecting, &end),
    }
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("open");
    connection.busy_timeout(Duration::from_secs(30)).expect("timeout");
    connection
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Waits for the next thousandth of a second; the pause tells when it is over.
fn goes_on(end: &Receiver<()>, due: &mut Instant) -> bool {
    *due += Duration::from_millis(1);
    end.recv_timeout(due.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout)
}

fn write_until(path: &Path, is_reconnecting: bool, end: &Receiver<()>) {
    let (mut committed, mut next) = (Vec::new(), 1_000_000_i64);
    let (mut kept, mut due) = (None, Instant::now());
    loop {
        let connection = kept.take().unwrap_or_else(|| connect(path));
        match connection.execute("INSERT INTO t VALUES (?1, 'written', 'x')", [next]) {
            Ok(_) => {
                committed.push(next.to_string());
                next += 1;
            }
            Err(error) => assert!(is_busy(&error), "the writer met {error}"),
        }
        kept = (!is_reconnecting).then_some(connection);
        if committed.len() == 1 {
            ready();
        }
        if !goes_on(end, &mut due) {
            break;
        }
    }
    say(&format!("COMMITTED {}", committed.join(" ")));
}

/// In one transaction: all rows of one state, or all of the other.
fn read_until(path: &Path, is_reconnecting: bool, end: &Receiver<()>) {
    let (mut reads, mut mixtures) = (0, 0);
    let (mut kept, mut due) = (None, Instant::now());
    let count = "SELECT sum(mark='new'), sum(mark='newer') FROM t";
    loop {
        let connection = kept.take().unwrap_or_else(|| connect(path));
        match connection.query_row(count, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))) {
            Ok(found) => {
                reads += 1;
                mixtures += i32::from(found != (ROWS, 0) && found != (0, ROWS));
            }
            Err(error) => assert!(is_busy(&error), "the reader met {error}"),
        }
        kept = (!is_reconnecting).then_some(connection);
        if reads == 1 {
            ready();
        }
        if !goes_on(end, &mut due) {
            break;
        }
    }
    say(&format!("{reads} reads, {mixtures} mixtures"));
}
