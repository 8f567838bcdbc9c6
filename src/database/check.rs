//! Whether the content of a database is sound, and in which way it is not.
//!
//! SQLite's own check answers in sentences. They are sorted by how they begin, which names of tables cannot forge since these
//! come later: rows that break a rule of the schema (*violations*) are the operator's business and travel with the data; anything else
//! is *corrupt*. What could not be examined is *unchecked*, never *ok*.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use super::bounds::{self, Bounds, Cancelled};
use super::sql::quoted;

/// How thoroughly a database is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckKind {
    /// `integrity_check` and `foreign_key_check`.
    Full,
    /// `quick_check`: pages and rows, but not whether indexes match them.
    Quick,
    /// Nothing.
    None,
}

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing wrong, as far as this kind of check looks.
    Ok,
    /// Whole, but rows break rules of the schema.
    Violations,
    /// Not or not completely examined.
    Unchecked,
    /// The file contradicts itself.
    Corrupt,
}

/// A check, its verdict, and SQLite's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// What was asked for.
    pub kind: CheckKind,
    /// The worst of what was found.
    pub verdict: Verdict,
    /// At most about twenty.
    pub messages: Vec<String>,
    /// What each of the messages is.
    pub(super) verdicts: Vec<Verdict>,
}

/// Checks a database within a time that grows with its size.
///
/// Through a connection opened read-only SQLite passes CHECK constraints over; where the schema has some, that makes the
/// verdict *unchecked* at best.
///
/// # Errors
/// Only what keeps SQLite from reading at all, such as a failing disk; damage is a verdict.
pub fn check(connection: &Connection, kind: CheckKind, size_bytes: u64) -> rusqlite::Result<CheckReport> {
    check_until(connection, kind, size_bytes, &|| false)
}

/// As [`check`], for as long as nobody cancels it; then the verdict is *unchecked*.
///
/// # Errors
/// As [`check`].
pub fn check_until(connection: &Connection, kind: CheckKind, size_bytes: u64, cancelled: Cancelled<'_>) -> rusqlite::Result<CheckReport> {
    let mut report = CheckReport::new(kind);
    bounds::within(connection, Bounds::of_live(size_bytes), cancelled, |_: &AtomicBool| report.run(connection))?;
    Ok(report)
}

impl CheckReport {
    /// Runs the check of its kind; the bounds are the caller's.
    pub(super) fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let pragma = match self.kind {
            CheckKind::None => {
                self.add(Verdict::Unchecked, "not requested".to_owned());
                return Ok(());
            }
            CheckKind::Quick => "quick_check",
            CheckKind::Full => "integrity_check",
        };
        let outcome = examine(connection, &format!("{pragma}({MAX_MESSAGES})"), self);
        if let Err(error) = &outcome
            && error.sqlite_error_code() == Some(ErrorCode::Unknown)
        {
            let outcome = self.run_by_table(connection, pragma);
            self.judge(outcome)?;
        }
        self.judge(outcome)?;
        if self.kind == CheckKind::Full && self.verdict <= Verdict::Unchecked {
            let outcome = examine_foreign_keys(connection, self);
            self.judge(outcome)?;
        }
        if connection.is_readonly("main").unwrap_or(true) && has_check_constraints(connection) {
            self.add(Verdict::Unchecked, "CHECK constraints were not examined: the database can only be opened for reading".to_owned());
        }
        Ok(())
    }

    /// Checks table by table where one of them (a missing function, collation or tokenizer) keeps the whole from being checked: so
    /// it is known which one, and the others are examined.
    fn run_by_table(&mut self, connection: &Connection, pragma: &str) -> rusqlite::Result<()> {
        for name in table_names(connection)? {
            match examine(connection, &format!("{pragma}({})", quoted(&name)), self) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                    self.add(Verdict::Unchecked, format!("table '{name}' cannot be checked: {error}"));
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Takes in a finding; the worst decides the verdict.
    pub(super) fn add(&mut self, verdict: Verdict, message: String) {
        self.verdict = self.verdict.max(verdict);
        if self.messages.len() < MAX_MESSAGES && !self.messages.contains(&message) {
            self.messages.push(message);
            self.verdicts.push(verdict);
        }
    }

    /// A report on nothing so far.
    pub(super) fn new(kind: CheckKind) -> CheckReport {
        CheckReport { kind, verdict: Verdict::Ok, messages: Vec::new(), verdicts: Vec::new() }
    }

    /// Takes in another report.
    pub(super) fn merge(&mut self, other: CheckReport) {
        self.verdict = self.verdict.max(other.verdict);
        for (verdict, message) in other.verdicts.into_iter().zip(other.messages) {
            self.add(verdict, message);
        }
    }

    /// The messages of one verdict.
    pub fn messages_of(&self, verdict: Verdict) -> impl Iterator<Item = &str> {
        self.messages.iter().zip(&self.verdicts).filter(move |(_, own)| **own == verdict).map(|(message, _)| message.as_str())
    }

    /// Says what an error of the checking statement means.
    pub(super) fn judge(&mut self, outcome: rusqlite::Result<()>) -> rusqlite::Result<()> {
        let Err(error) = outcome else { return Ok(()) };
        let (verdict, why) = match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (Verdict::Corrupt, ""),
            Some(ErrorCode::OperationInterrupted) => (Verdict::Unchecked, "the time limit was reached: "),
            Some(ErrorCode::TooBig | ErrorCode::OutOfMemory) => (Verdict::Unchecked, "a limit was reached: "),
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull) => {
                return Err(error);
            }
            _ => (Verdict::Unchecked, ""),
        };
        self.add(verdict, format!("{why}{error}"));
        Ok(())
    }
}

fn examine(connection: &Connection, pragma: &str, report: &mut CheckReport) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let message = text(row.get_ref(0)?);
        if message != "ok" {
            report.add(classify(&message), message);
        }
    }
    Ok(())
}

/// Rows without a parent, by table and parent.
type Orphans = BTreeMap<(String, String), u64>;

/// Counts the rows without a parent; table by table where the declaration of one keeps the whole from being checked.
fn examine_foreign_keys(connection: &Connection, report: &mut CheckReport) -> rusqlite::Result<()> {
    let mut orphans = Orphans::new();
    let mut outcome = count_orphans(connection, "foreign_key_check", &mut orphans);
    if outcome.as_ref().is_err_and(|error| error.sqlite_error_code() == Some(ErrorCode::Unknown)) {
        orphans.clear();
        outcome = Ok(());
        for name in table_names(connection)? {
            match count_orphans(connection, &format!("foreign_key_check({})", quoted(&name)), &mut orphans) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
                    report.add(Verdict::Unchecked, format!("foreign keys of table '{name}' cannot be checked: {error}"));
                }
                Err(error) => outcome = Err(error),
                Ok(()) => {}
            }
        }
    }
    for ((table, parent), count) in orphans {
        report.add(Verdict::Violations, format!("{count} rows of table '{table}' have no parent in '{parent}'"));
    }
    outcome
}

fn count_orphans(connection: &Connection, pragma: &str, orphans: &mut Orphans) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *orphans.entry((text(row.get_ref(0)?), text(row.get_ref(2)?))).or_default() += 1;
    }
    Ok(())
}

fn table_names(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type='table'")?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    names.collect()
}

/// Whether the word stands in the SQL of a table; a comment that has it costs nothing but a message.
pub(super) fn has_check_constraints(connection: &Connection) -> bool {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type='table' AND sql LIKE '%check%' LIMIT 1";
    connection.query_row(sql, [], |_| Ok(())).is_ok()
}

fn classify(message: &str) -> Verdict {
    let is_violation = VIOLATION_BEGINNINGS.iter().any(|beginning| message.starts_with(beginning));
    if is_violation {
        Verdict::Violations
    } else if message.starts_with("unable to validate the inverted index") {
        Verdict::Unchecked
    } else {
        Verdict::Corrupt
    }
}

fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

const MAX_MESSAGES: usize = 20;

/// How SQLite begins its sentences about rows that break a rule.
///
/// # Source
/// `PRAGMA integrity_check` in SQLite's `pragma.c`.
const VIOLATION_BEGINNINGS: [&str; 10] = [
    "NULL value in ",
    "CHECK constraint failed in ",
    "TEXT value in ",
    "NUMERIC value in ",
    "non-INT value in ",
    "non-INTEGER value in ",
    "non-REAL value in ",
    "non-TEXT value in ",
    "non-BLOB value in ",
    "non-ANY value in ",
];

impl std::fmt::Display for CheckKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CheckKind::Full => "full",
            CheckKind::Quick => "quick",
            CheckKind::None => "none",
        })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Verdict::Ok => "ok",
            Verdict::Violations => "violations",
            Verdict::Corrupt => "corrupt",
            Verdict::Unchecked => "unchecked",
        })
    }
}
