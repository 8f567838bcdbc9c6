//! Databases in use: writers that never pause lose nothing and see no error, and every snapshot is one moment.
//!
//! The writers are processes of their own (this test binary, started anew), as they are in life.

mod support;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use airkeep::database::{CheckKind, PagePreference};
use airkeep::{Backup, Environment};
use rusqlite::{Connection, TransactionBehavior};
use support::{back_up, integrity, is_proving, note, open, place, restore, ring, spec};

const WRITERS: u64 = 4;
const ACCOUNTS: i64 = 2000;
const BALANCE: i64 = 1000;
const MOVES: i64 = 40;
const JOB: &str = "AIRKEEP_TEST_WRITER";

fn make_bank(path: &Path, journal: &str, ballast_bytes: u64) {
    let connection = Connection::open(path).expect("create");
    connection.execute_batch(&format!("PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; BEGIN")).expect("mode");
    connection
        .execute_batch(&format!(
            "CREATE TABLE accounts(id INTEGER PRIMARY KEY, balance INT NOT NULL, pad TEXT);
             CREATE TABLE transfers(id INTEGER PRIMARY KEY AUTOINCREMENT, writer INT, number INT, amount INT, UNIQUE(writer, number));
             CREATE TABLE totals(moved INT, made INT); INSERT INTO totals VALUES (0, 0);
             CREATE TABLE ballast(id INTEGER PRIMARY KEY, content BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS})
               INSERT INTO accounts SELECT i, {BALANCE}, printf('%.*c', 1500, 'p') FROM n;"
        ))
        .expect("schema");
    let mut insert = connection.prepare("INSERT INTO ballast(content) VALUES (randomblob(1000000))").expect("prepare");
    (0..ballast_bytes / 1_000_000).for_each(|_| assert_eq!(insert.execute([]), Ok(1)));
    drop(insert);
    connection.execute_batch("COMMIT").expect("commit");
    connection.close().expect("close");
}

/// What a writer reports when it is told to stop.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Tally {
    commits: i64,
    longest_wait_ms: u128,
}

struct Writer(Child);

impl Writer {
    fn start(database: &Path, number: u64, busy_timeout: Duration) -> Writer {
        let job = format!("{number} {} {}", busy_timeout.as_millis(), database.display());
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "a_writer_works_until_it_is_told_to_stop", "--nocapture"]).env(JOB, job);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("writer");
        let mut ready = [0];
        let output = child.stdout.as_mut().expect("pipe");
        while ready != *b"!" {
            output.read_exact(&mut ready).expect("the writer works");
        }
        Writer(child)
    }

    fn stop(mut self) -> Tally {
        drop(self.0.stdin.take());
        let mut text = String::new();
        self.0.stdout.take().expect("pipe").read_to_string(&mut text).expect("output");
        assert!(self.0.wait().expect("wait").success(), "a writer met an error: {text}");
        let line = text.lines().find_map(|line| line.strip_prefix("TALLY ")).unwrap_or_else(|| panic!("no tally: {text}"));
        serde_json::from_str(line).expect("tally")
    }
}

/// Does nothing unless another test of this file started it.
#[test]
fn a_writer_works_until_it_is_told_to_stop() {
    let Ok(job) = std::env::var(JOB) else { return };
    let mut fields = job.splitn(3, ' ');
    let mut number = || fields.next().and_then(|field| field.parse::<u64>().ok()).expect("number");
    let (writer, busy_timeout) = (number(), Duration::from_millis(number()));
    let path = PathBuf::from(fields.next().expect("path"));
    let stop = std::thread::spawn(|| drop(std::io::stdin().read_to_end(&mut Vec::new())));
    let mut connection = Connection::open(path).expect("open");
    connection.busy_timeout(busy_timeout).expect("timeout");
    connection.execute_batch("PRAGMA synchronous=OFF").expect("pragma");
    let mut tally = Tally { commits: 0, longest_wait_ms: 0 };
    let mut out = std::io::stdout();
    while !stop.is_finished() {
        let begun = Instant::now();
        transfer(&mut connection, writer as i64, tally.commits).expect("no writer sees an error");
        tally.longest_wait_ms = tally.longest_wait_ms.max(begun.elapsed().as_millis());
        tally.commits += 1;
        if tally.commits == 1 {
            out.write_all(b"!").and_then(|()| out.flush()).expect("output");
        }
    }
    writeln!(out, "\nTALLY {}", serde_json::to_string(&tally).expect("json")).expect("output");
}

/// Moves money between many accounts, half of it before and half of it after that is written down, all in one transaction.
fn transfer(connection: &mut Connection, writer: i64, number: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let amount = number % 50 + 1;
    {
        let mut add = transaction.prepare("UPDATE accounts SET balance = balance + ?1 WHERE id = ?2")?;
        let account = |place: i64| (number * 7919 + writer * 31 + place * 613) % ACCOUNTS + 1;
        (0..MOVES).try_for_each(|place| add.execute([-amount, account(place)]).map(drop))?;
        transaction.execute("INSERT INTO transfers(writer, number, amount) VALUES (?1, ?2, ?3)", [writer, number, amount])?;
        transaction.execute("UPDATE totals SET moved = moved + ?1, made = made + 1", [amount])?;
        (0..MOVES).try_for_each(|place| add.execute([amount, account(place + MOVES)]).map(drop))?;
    }
    transaction.commit()
}

/// Holds a restored bank against what every committed state of it satisfies; gives the number of transfers.
fn audit(path: &Path, recorded: &airkeep::bundle::Source) -> i64 {
    let connection = open(path);
    assert_eq!(integrity(&connection), ["ok"]);
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).expect(sql);
    assert_eq!(number("SELECT sum(balance) FROM accounts"), ACCOUNTS * BALANCE, "money was made or lost");
    let made = number("SELECT count(*) FROM transfers");
    assert_eq!(
        (made, number("SELECT coalesce(sum(amount), 0) FROM transfers")),
        (number("SELECT made FROM totals"), number("SELECT moved FROM totals"))
    );
    let gaps = "SELECT count(*) FROM (SELECT 1 FROM transfers GROUP BY writer HAVING count(*) <> max(number) + 1 OR min(number) <> 0)";
    assert_eq!(number(gaps), 0, "a commit is missing before a later one");
    for table in &recorded.tables {
        let rows = number(&format!("SELECT count(*) FROM {}", table.name));
        assert_eq!(table.rows, Some(rows as u64), "the manifest tells of another moment than the pages: {}", table.name);
    }
    assert_eq!(recorded.check.verdict, "ok", "{:?}", recorded.check.messages);
    made
}

/// Bytes that this thread has read by system calls: a capture that begins anew reads its pages again.
fn bytes_read() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").expect("Linux");
    text.lines().find_map(|line| line.strip_prefix("rchar: ")).and_then(|number| number.parse().ok()).expect("rchar")
}

static CINGS: AtomicU64 = AtomicU64::new(0);

fn counting_clock() -> SystemTime {
    CINGS.fetch_add(1, Ordering::Relaxed);
    SystemTime::now()
}

#[test]
fn fifty_snapshots_beside_four_writers_are_each_one_moment_and_none_begins_anew() {
    let folder = place();
    let database = folder.path().join("bank.db");
    make_bank(&database, "wal", 0);
    let writers: Vec<Writer> = (0..WRITERS).map(|number| Writer::start(&database, number, Duration::from_secs(10))).collect();
    let (mut last, mut most_passes, mut slowest) = (-1, [0.0_f64; 2], Duration::ZERO);
    for round in 0..50 {
        let pages = [PagePreference::Auto, PagePreference::BackupApi][round % 2];
        let vault = folder.path().join(format!("vault{round}"));
        let mut backup = Backup::new(vec![spec("bank", &database)], &vault);
        (backup.pages, backup.read_back) = (pages, false);
        // Only pages and counts are read in the rounds that are measured.
        let is_measured = round % 4 < 2;
        backup.check = if is_measured { CheckKind::None } else { CheckKind::Full };
        let (begun, read_before, clock_before) = (Instant::now(), bytes_read(), CINGS.load(Ordering::Relaxed));
        let report = backup.run(&ring(), &mut Environment { clock: counting_clock, ..Environment::system() }).expect("backup");
        let read = bytes_read() - read_before;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(CINGS.load(Ordering::Relaxed) - clock_before, 3, "one moment of the bundle, one of the snapshot, one of the record");
        let size_bytes = report.manifest.sources[0].size_bytes;
        if is_measured {
            let passes = read.saturating_sub(SLACK_BYTES) as f64 / size_bytes as f64;
            most_passes[round % 2] = most_passes[round % 2].max(passes);
        }
        let to = folder.path().join(format!("restored{round}"));
        let mut recorded = restore(&report.path, &to).restored.remove(0).source;
        if is_measured {
            assert_eq!((recorded.check.verdict.as_str(), recorded.check.kind.as_str()), ("unchecked", "none"));
            recorded.check.verdict = "ok".to_owned();
        }
        let made = audit(&to.join("bank.db"), &recorded);
        assert!(made > last, "snapshot {round} is not later than the one before");
        last = made;
        std::fs::remove_dir_all(to).and_then(|()| std::fs::remove_dir_all(vault)).expect("tidy");
    }
    let tallies: Vec<Tally> = writers.into_iter().map(Writer::stop).collect();
    note(&format!("passes over the pages {most_passes:?}, slowest backup {slowest:?}, {tallies:?}"));
    assert!(tallies.iter().all(|tally| tally.commits > 50), "{tallies:?}");
    // Pages of tables are read once to be counted and all pages once to be sealed; the backup interface reads scratch for that, and before
    // it the database once.
    assert!(most_passes[0] < 2.0 && most_passes[1] < 3.0, "a capture began anew: {most_passes:?} passes over the pages");
    assert_eq!(audit_source(&database), tallies.iter().map(|tally| tally.commits).sum::<i64>(), "a commit was lost");
}

/// Page 1 again and again, the index of the vault, the git work tree.
const SLACK_BYTES: u64 = 512 << 10;

fn audit_source(path: &Path) -> i64 {
    let connection = open(path);
    assert_eq!(integrity(&connection), ["ok"]);
    connection.query_row("SELECT count(*) FROM transfers", [], |row| row.get(0)).expect("count")
}

#[test]
fn a_writer_of_a_rollback_database_waits_but_sees_no_error() {
    let bytes = if is_proving() { 1_000_000_000 } else { 150_000_000 };
    let folder = place();
    let database = folder.path().join("bank.db");
    make_bank(&database, "delete", bytes);
    for pages in [PagePreference::Auto, PagePreference::BackupApi] {
        let writer = Writer::start(&database, pages as u64, Duration::from_secs(5));
        let begun = Instant::now();
        let vault = folder.path().join(format!("{pages:?}"));
        let report = back_up(&database, &vault, |backup| {
            (backup.pages, backup.busy_timeout, backup.compression) = (pages, Duration::from_secs(30), "none".parse().expect("codec"));
        });
        let (elapsed, tally) = (begun.elapsed(), writer.stop());
        note(&format!("{} MB in rollback mode, {pages:?}: backup {elapsed:?}, {tally:?}", bytes / 1_000_000));
        assert_eq!(report.manifest.sources[0].capture.route, "scratch");
        assert!(tally.longest_wait_ms < 5000 && tally.commits > 10, "{tally:?}");
        let to = folder.path().join(format!("{pages:?}-restored"));
        let recorded = restore(&report.path, &to).restored.remove(0).source;
        audit(&to.join("main.db"), &recorded);
        std::fs::remove_dir_all(to).and_then(|()| std::fs::remove_dir_all(vault)).expect("tidy");
    }
}
