//! The gap: which rows of append-only tables a restore of a snapshot over a live database would take away, bring back or change.
//!
//! Rows are compared by their declared primary key, exactly (type and bytes); where there is none, or it holds a NULL, as multisets of
//! contents. Rowids that no column shows identify nothing, since VACUUM renumbers them. Where the columns differ, those that both sides have are
//! compared; what only the live side has is named, and is in the capsule with the rows that are. What cannot be read makes a
//! count a lower bound or unknown, never a zero. Nothing is written to either database; memory stays bounded by scratch.

mod capsule;
mod compare;
mod partner;
mod resolve;
mod sorter;
pub(super) mod table;
mod times;
pub(super) mod value;
mod walk;
pub(super) mod words;

use std::io::Write;

use rusqlite::Connection;

pub use times::{TimeFormat, TimeRange};
pub use words::infer_append_only;

use super::bounds::{self, Bounds, Cancelled};
use crate::files::{ScratchError, ScratchSpace};
use partner::Partners;

/// A table that only grows, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendOnlyTable {
    /// Its name, in any case.
    pub name: String,
    /// Who said so.
    pub declaration: Declaration,
}

/// How it is known that a table only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declaration {
    /// The operator says so now.
    Declared,
    /// It was said at backup.
    Recorded,
    /// Its triggers say so ([`infer_append_only`]).
    Inferred,
}

/// Chooses the tables: those declared, else those recorded, else those that triggers of either side protect.
#[must_use]
pub fn choose_append_only(declared: &[String], recorded: &[String], snapshot: &Connection, live: &Connection) -> Vec<AppendOnlyTable> {
    let (names, declaration) = if !declared.is_empty() {
        (declared.to_vec(), Declaration::Declared)
    } else if !recorded.is_empty() {
        (recorded.to_vec(), Declaration::Recorded)
    } else {
        // A schema that cannot be read leaves the other side's word; the comparison itself then tells what is unreadable.
        (([live, snapshot].iter().flat_map(|side| infer_append_only(side).unwrap_or_default())).collect(), Declaration::Inferred)
    };
    let mut tables: Vec<AppendOnlyTable> = Vec::new();
    for name in names {
        if !tables.iter().any(|table| table.name.eq_ignore_ascii_case(&name)) {
            tables.push(AppendOnlyTable { name, declaration });
        }
    }
    tables
}

/// The gap of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapTable {
    /// As the live side spells it, else the snapshot, else as it was asked for.
    pub name: String,
    /// Who said that it only grows.
    pub declaration: Declaration,
    /// Where it was found.
    pub presence: Presence,
    /// The declared primary key by which rows were compared; empty where contents were.
    pub key: Vec<String>,
    /// Rows that only the live side has: a restore takes them away.
    pub lost: u64,
    /// Rows that only the snapshot has: a restore brings them back.
    pub resurrected: u64,
    /// Rows of the same key with other content.
    pub altered: u64,
    /// Rows that both have.
    pub common: u64,
    /// The lowest and the highest lost key, for people.
    pub lost_range: Option<(String, String)>,
    /// The first and the last time of lost rows.
    pub times: Option<TimeRange>,
    /// Ids that were given out and would be given out again, the first and the last.
    ///
    /// Only where the key is SQLite's rowid. After a restore the next id follows on the snapshot's highest, and with AUTOINCREMENT on its
    /// `sqlite_sequence`, which a restore sets back: so AUTOINCREMENT is no protection. Ids that live rows had and lost again count
    /// as far as `sqlite_sequence` knows them.
    pub reused_ids: Option<(i64, i64)>,
    /// Columns that were not compared, because the snapshot does not have them. Their values in common rows are lost, too.
    pub only_live_columns: Vec<String>,
    /// Columns that were not compared, because the live side does not have them.
    pub only_snapshot_columns: Vec<String>,
    /// How far the counts can be trusted.
    pub certainty: Certainty,
}

/// On which sides a table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    /// On both.
    Both,
    /// On both, under another name in the snapshot.
    Renamed {
        /// Its name there.
        in_snapshot: String,
    },
    /// Only on the live side: all its rows are lost.
    LiveOnly,
    /// Only in the snapshot: all its rows come back.
    SnapshotOnly,
    /// On neither: nothing to lose under this name, or the name is wrong.
    Neither,
}

/// How far counts can be trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certainty {
    /// They are right.
    Exact,
    /// There are at least as many lost and altered rows.
    LowerBound(Doubt),
    /// Nothing is known.
    Unknown(Doubt),
}

/// Why a count is not exact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// SQLite could not read on, or was not given the time.
    #[error("the {side} side cannot be read: {message}")]
    Unreadable {
        /// Which one.
        side: Side,
        /// What SQLite said.
        message: String,
    },
    /// The name belongs to something else there.
    #[error("on the {side} side the name belongs to {what}")]
    NotATable {
        /// Which one.
        side: Side,
        /// "a view", "a virtual table".
        what: &'static str,
    },
    /// Three columns are called `rowid`, `_rowid_` and `oid`, so that rows cannot be named.
    #[error("on the {side} side columns hide the rowid")]
    HiddenRowid {
        /// Which one.
        side: Side,
    },
    /// It, or rows of it, may be in tables that only that side has: under another name.
    #[error("it may have been renamed to, or its rows moved to: {}", candidates.join(", "))]
    PerhapsRenamed {
        /// They.
        candidates: Vec<String>,
    },
    /// A key stands for very many rows.
    #[error("its primary key is not unique")]
    KeyRepeats,
}

/// One of the two databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is to be restored.
    Snapshot,
    /// What would be replaced.
    Live,
}

/// Why there is no gap at all.
#[derive(Debug, thiserror::Error)]
pub enum GapError {
    /// The capsule cannot be written.
    #[error("cannot write rows of table '{table}' into the capsule")]
    Capsule {
        /// The table.
        table: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Scratch failed.
    #[error("no scratch for the comparison")]
    Scratch(#[from] ScratchError),
    /// Somebody cancelled it.
    #[error("the comparison was cancelled")]
    Cancelled,
}

/// Compares append-only tables of two databases, and writes each lost and altered row to the capsule as a line of JSON.
///
/// Each connection reads one moment: in the transaction that it has open, else in one of this call. A table that is missing on one side
/// is looked for under another name among the tables that only that side has: one that has the same primary key and all columns
/// of the smaller, and exactly one of them shares at least half of the rows of the smaller. Otherwise such candidates are named in a doubt,
/// and so they are where rows of the snapshot are gone from a table that kept its name: log rotation moves rows to another one.
///
/// # Errors
/// The capsule or scratch fails, or it was cancelled; what SQLite cannot read is part of the result.
///
/// # Security
/// Only names and columns of real tables are used, quoted; no view, trigger, default or generated column is computed. Time
/// grows with the sizes of both files.
pub fn gap(
    snapshot: &Connection,
    live: &Connection,
    tables: &[AppendOnlyTable],
    scratch: &ScratchSpace,
    capsule: &mut dyn Write,
    cancelled: Cancelled<'_>,
) -> Result<Vec<GapTable>, GapError> {
    let _moments = [Moment::hold(snapshot), Moment::hold(live)];
    let bounds = Bounds::of_live(size_bytes(snapshot).saturating_add(size_bytes(live)));
    bounds::within(snapshot, bounds, cancelled, |_| {
        bounds::within(live, bounds, cancelled, |_| {
            let mut partners = Partners { snapshot, live, scratch, cancelled, asked: Vec::new(), done: Vec::new() };
            let mut found = Vec::new();
            for table in tables {
                found.extend(partners.gap_of(table, capsule)?);
            }
            Ok(found)
        })
    })
}

/// A transaction of ours, where there was none.
struct Moment<'c>(Option<&'c Connection>);

impl<'c> Moment<'c> {
    /// Where it cannot begin, nothing can be read, and each table says so.
    fn hold(connection: &'c Connection) -> Self {
        Self((connection.is_autocommit() && connection.execute_batch("BEGIN").is_ok()).then_some(connection))
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.0 {
            // It wrote nothing; a failing end leaves nothing undone.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}

pub(super) fn size_bytes(connection: &Connection) -> u64 {
    let pragma = |name| connection.query_row(&format!("PRAGMA main.{name}"), [], |row| row.get::<_, i64>(0)).unwrap_or(0).unsigned_abs();
    pragma("page_count").saturating_mul(pragma("page_size"))
}

/// What rows of two tables are compared by.
struct Plan {
    /// Columns that both have, the key first: live names, snapshot names.
    common: Vec<(String, String)>,
    key_columns: usize,
    /// Whether the walk decides: the key is the rowid on both sides, so that each key is seen on both at once, or one side has nothing.
    is_decided_at_once: bool,
}

/// Why work on a table ended.
enum Stop {
    Failed(GapError),
    Doubt(Doubt),
}

impl From<ScratchError> for Stop {
    fn from(error: ScratchError) -> Self {
        Stop::Failed(GapError::Scratch(error))
    }
}

impl Doubt {
    fn unreadable(side: Side, error: &rusqlite::Error) -> Self {
        Doubt::Unreadable { side, message: error.to_string() }
    }
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Side::Snapshot => "snapshot",
            Side::Live => "live",
        })
    }
}

#[cfg(test)]
mod tests;
