//! Restores in place beside a writer and a reader, through the program: each committed row is in the database or in a capsule, and nobody
//! sees a mixture.
//!
//! The ordinary run restores eight times each way, `AIRKEEP_PROVE=1` a hundred times.

mod cli;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cli::Home;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use serde_json::Value;

const SCHEMA: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, n INTEGER); CREATE TABLE a(v); CREATE TABLE b(v);
    INSERT INTO a VALUES(0); INSERT INTO b VALUES(0);
    CREATE TRIGGER keep BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, ''); END;
    CREATE TRIGGER hold BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, ''); END;";

fn count() -> usize {
    if std::env::var_os("AIRKEEP_PROVE").is_some() { 100 } else { 8 }
}

/// Starts a role of this test binary, which ends when the file `end` appears.
fn start(home: &Home, role: &str) -> Child {
    let test = std::env::current_exe().unwrap();
    let mut command = Command::new(test);
    command.args(["--exact", "plays_a_role", "--ignored", "--nocapture", role]).current_dir(home.path(""));
    command.stdout(Stdio::null()).spawn().unwrap()
}

#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role() {
    let role = std::env::args().next_back().unwrap();
    match role.as_str() {
        "writer-connected" => write_until(false),
        "writer-reconnecting" => write_until(true),
        "reader-connected" => read_until(false),
        "reader-reconnecting" => read_until(true),
        _ => {}
    }
}

fn connect() -> Connection {
    let connection = Connection::open("app.db").unwrap();
    connection.busy_timeout(Duration::ZERO).unwrap();
    connection
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Writes about a thousand rows a second, each with a number of its own, and notes those that were committed.
fn write_until(is_reconnecting: bool) {
    let mut committed = std::fs::File::create("committed").unwrap();
    let mut connection = connect();
    let mut next: i64 = 1;
    while !Path::new("end").exists() {
        let begun = Instant::now();
        if is_reconnecting {
            drop(std::mem::replace(&mut connection, connect()));
        }
        match write(&mut connection, next) {
            Ok(()) => {
                writeln!(committed, "{next}").unwrap();
                next += 1;
            }
            Err(error) if is_busy(&error) => {}
            Err(error) => panic!("row {next}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1).saturating_sub(begun.elapsed()));
    }
}

fn write(connection: &mut Connection, n: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute("INSERT INTO audit(n) VALUES(?1)", [n])?;
    transaction.execute("UPDATE a SET v = ?1", [n])?;
    transaction.execute("UPDATE b SET v = ?1", [n])?;
    transaction.commit()
}

fn read_until(is_reconnecting: bool) {
    let mut connection = connect();
    let mut reads: u64 = 0;
    while !Path::new("end").exists() {
        if is_reconnecting {
            drop(std::mem::replace(&mut connection, connect()));
        }
        let sql = "SELECT a.v, b.v, (SELECT coalesce(max(n), 0) FROM audit) FROM a, b";
        match connection.query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))) {
            Ok((a, b, n)) => {
                assert!(a == b && b == n, "a mixture: {a}, {b}, {n}");
                reads += 1;
            }
            Err(error) if is_busy(&error) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert!(reads > 0);
}

fn account(mode: &str, role: &str, more: &[&str]) {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
    database.execute_batch(SCHEMA).unwrap();
    drop(database);
    let report = home.json(&["backup", "app.db", "--key-file", "key", "--json"]);
    let bundle = report["bundle"]["path"].as_str().unwrap();
    let mut others = [start(&home, &format!("writer-{role}")), start(&home, &format!("reader-{role}"))];
    let mut kept: BTreeSet<i64> = BTreeSet::new();
    for number in 0..count() {
        std::thread::sleep(Duration::from_millis(30));
        let restore = ["restore", bundle, "--in-place", "--force", "--key-file", "key", "--busy-timeout", "60", "--json"];
        let report = home.json(&[&restore[..], more].concat());
        let target = &report["targets"][0];
        let table = &target["gap"]["tables"][0];
        assert_eq!((&table["certainty"], &table["altered"], &table["resurrected"]), (&"exact".into(), &0.into(), &0.into()), "{number}");
        let rows = home.succeeds(&["gap", "export", report["safety"]["path"].as_str().unwrap(), "--to", "-", "--key-file", "key"]);
        let numbers = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["row"]["n"].as_i64().unwrap());
        let before = kept.len();
        kept.extend(numbers);
        assert_eq!((kept.len() - before) as u64, table["lost"].as_u64().unwrap(), "no row is lost twice");
    }
    home.write("end", "", 0o600);
    for other in &mut others {
        assert!(other.wait().unwrap().success(), "the writer or the reader met an error or a mixture");
    }
    let database = Connection::open(home.path("app.db")).unwrap();
    let mut statement = database.prepare("SELECT n FROM audit").unwrap();
    let here: Vec<i64> = statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    let both = here.iter().filter(|n| kept.contains(n)).count();
    kept.extend(here);
    let committed: BTreeSet<i64> = String::from_utf8(home.read("committed")).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    let unaccounted: Vec<&i64> = committed.difference(&kept).collect();
    eprintln!(
        "{mode}, {role}: {} restores, {} rows committed, {} unaccounted, {both} in both",
        count(),
        committed.len(),
        unaccounted.len()
    );
    assert!(committed.len() > 20 * count(), "the writer hardly wrote: {}", committed.len());
    assert_eq!(unaccounted, Vec::<&i64>::new());
    home.succeeds(&["audit", "verify"]);
}

#[test]
fn online_beside_those_who_stay_connected() {
    account("wal", "connected", &["--online"]);
}

#[test]
fn exclusively_between_those_who_reconnect() {
    account("wal", "reconnecting", &[]);
    account("delete", "reconnecting", &[]);
}
