//! Whether the content of a database is sound, and in which way it is not.
//!
//! SQLite's own check answers in sentences. They are sorted by how they begin, which names of tables cannot forge since these
//! come later: rows that break a rule of the schema (*violations*) are the operator's business and travel with the data; anything else
//! is *corrupt*. What could not be examined is *unchecked*, never *ok*.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use super::deadline::{self, Cancelled};

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
    let mut report = CheckReport { kind, verdict: Verdict::Ok, messages: Vec::new() };
    let pragma = match kind {
        CheckKind::None => {
            report.add(Verdict::Unchecked, "not requested".to_owned());
            return Ok(report);
        }
        CheckKind::Quick => "quick_check",
        CheckKind::Full => "integrity_check",
    };
    deadline::within(connection, deadline::for_size(size_bytes), cancelled, |_: &AtomicBool| {
        let outcome = examine(connection, pragma, &mut report);
        report.judge(outcome)?;
        if kind == CheckKind::Full && report.verdict <= Verdict::Violations {
            let outcome = examine_foreign_keys(connection, &mut report);
            report.judge(outcome)?;
        }
        if connection.is_readonly("main").unwrap_or(true) && has_check_constraints(connection) {
            report.add(Verdict::Unchecked, "CHECK constraints were not examined: the database can only be opened for reading".to_owned());
        }
        Ok(report)
    })
}

impl CheckReport {
    /// Takes in a finding; the worst decides the verdict.
    pub(super) fn add(&mut self, verdict: Verdict, message: String) {
        self.verdict = self.verdict.max(verdict);
        if self.messages.len() < MAX_MESSAGES && !self.messages.contains(&message) {
            self.messages.push(message);
        }
    }

    /// Says what an error of the checking statement means.
    fn judge(&mut self, outcome: rusqlite::Result<()>) -> rusqlite::Result<()> {
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
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}({MAX_MESSAGES})"))?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let message = text(row.get_ref(0)?);
        if message != "ok" {
            report.add(classify(&message), message);
        }
    }
    Ok(())
}

/// Counts the rows without a parent, per table.
fn examine_foreign_keys(connection: &Connection, report: &mut CheckReport) -> rusqlite::Result<()> {
    let mut orphans: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let mut rows = statement.query([])?;
    let outcome = loop {
        match rows.next() {
            Ok(Some(row)) => *orphans.entry((text(row.get_ref(0)?), text(row.get_ref(2)?))).or_default() += 1,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    for ((table, parent), count) in orphans {
        report.add(Verdict::Violations, format!("{count} rows of table '{table}' have no parent in '{parent}'"));
    }
    outcome
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
