//! Graft: the rows that a restore would take away go back into the restored image, with their keys and values, so that an audit trail
//! outlives the restore of the data that it is about.
//!
//! It is done in the image, before that is installed, and all or nothing. No trigger fires and no foreign key is looked at: these rows
//! were accepted once. CHECK, NOT NULL and UNIQUE are insisted on, and each value must be stored as it was, type and bytes. No row
//! of the image is replaced. Where keys were given out twice, or the schema moved on, it is refused: which of two rows is the right one
//! is not for a program to say.

mod insert;
mod line;

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::bounds::{self, Bounds, Cancelled};
use super::gap::{Certainty, GapTable, Presence};
use super::{Access, Image};
use crate::files::ScratchError;
use insert::Insert;
use line::read_line;

/// Rows that went back into a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grafted {
    /// The table.
    pub table: String,
    /// How many.
    pub rows: u64,
}

/// The highest id that SQLite has given out in a table with AUTOINCREMENT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// The table.
    pub table: String,
    /// The id.
    pub value: i64,
}

/// Why rows cannot go back.
#[derive(Debug, thiserror::Error)]
pub enum GraftError {
    /// The table's gap does not allow it.
    #[error("rows of table '{table}' cannot be put back: {why}")]
    Refused {
        /// The table.
        table: String,
        /// In words.
        why: String,
    },
    /// SQLite does not take a row.
    #[error("row {row} of table '{table}'{} cannot be put back", in_brackets(key))]
    Row {
        /// The table.
        table: String,
        /// Its place among the rows that are put back, from 1.
        row: u64,
        /// Its key, for people, if one is declared.
        key: Option<String>,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A value would be stored as another one.
    #[error("row {row} of table '{table}'{} cannot be put back: column '{column}' would store another value", in_brackets(key))]
    Value {
        /// The table.
        table: String,
        /// Its place among the rows that are put back, from 1.
        row: u64,
        /// Its key, for people, if one is declared.
        key: Option<String>,
        /// The column.
        column: String,
    },
    /// The capsule is not what this program writes.
    #[error("line {line} of the capsule cannot be read")]
    Line {
        /// From 1.
        line: u64,
    },
    /// The capsule does not have the rows that are lost.
    #[error("the capsule has {found} lost rows of table '{table}', not {expected}")]
    Incomplete {
        /// The table.
        table: String,
        /// As the gap says.
        expected: u64,
        /// As the capsule has.
        found: u64,
    },
    /// Somebody cancelled it.
    #[error("putting rows back was cancelled")]
    Cancelled,
    /// The capsule cannot be read.
    #[error("the capsule cannot be read")]
    Capsule(#[from] std::io::Error),
    /// SQLite refused for another reason.
    #[error("cannot put rows back")]
    Sqlite(#[from] rusqlite::Error),
    /// Scratch failed.
    #[error("no scratch for the restored image")]
    Scratch(#[from] ScratchError),
}

fn in_brackets(key: &Option<String>) -> String {
    key.as_ref().map(|key| format!(" ({key})")).unwrap_or_default()
}

/// Whether the lost rows of all tables can go back, as far as their gaps tell.
///
/// # Errors
/// [`GraftError::Refused`].
pub fn can_graft(tables: &[GapTable]) -> Result<(), GraftError> {
    tables.iter().try_for_each(|table| match refusal(table) {
        Some(why) => Err(GraftError::Refused { table: table.name.clone(), why }),
        None => Ok(()),
    })
}

fn refusal(table: &GapTable) -> Option<String> {
    match &table.certainty {
        Certainty::Exact => {}
        Certainty::LowerBound(doubt) | Certainty::Unknown(doubt) => return Some(doubt.to_string()),
    }
    if table.altered > 0 {
        return Some(format!("{} of them have the key of a row in the snapshot, with another content", table.altered));
    }
    if table.lost == 0 {
        return None;
    }
    match &table.presence {
        Presence::Both if table.only_live_columns.is_empty() && table.only_snapshot_columns.is_empty() => None,
        Presence::Both => {
            let columns = [&table.only_live_columns[..], &table.only_snapshot_columns[..]].concat();
            Some(format!("the schema moved on: {}", columns.join(", ")))
        }
        Presence::Renamed { in_snapshot } => Some(format!("the schema moved on: in the snapshot it is called '{in_snapshot}'")),
        _ => Some("the snapshot has no such table".to_owned()),
    }
}

/// What the live side has given out.
///
/// # Errors
/// Whatever SQLite says.
pub fn sequences_of(live: &Connection) -> rusqlite::Result<Vec<Sequence>> {
    if !has_sequences(live)? {
        return Ok(Vec::new());
    }
    let mut statement =
        live.prepare("SELECT name, seq FROM main.sqlite_sequence WHERE typeof(name) = 'text' AND typeof(seq) = 'integer'")?;
    let rows = statement.query_map([], |row| Ok(Sequence { table: row.get(0)?, value: row.get(1)? }))?;
    rows.collect()
}

/// Puts the capsule's lost rows into the image, in one transaction. Afterwards no id is given out again that the live side had given out.
///
/// # Errors
/// [`GraftError`]; the image is as it was then.
pub fn graft(
    image: &Image,
    tables: &[GapTable],
    capsule: &mut dyn BufRead,
    sequences: &[Sequence],
    cancelled: Cancelled<'_>,
) -> Result<Vec<Grafted>, GraftError> {
    can_graft(tables)?;
    let connection = image.open(Access::ReadWrite)?;
    // How large the snapshot is says nothing about how long the live side's values may be.
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::MAX)?;
    let done = bounds::within(&connection, Bounds::of_copy(image.len()), cancelled, |is_cancelled| {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let grafted = put_back(&connection, capsule, is_cancelled)?;
        require_all(tables, &grafted)?;
        keep_sequences(&connection, tables, sequences)?;
        connection.execute_batch("COMMIT")?;
        Ok(grafted)
    });
    // Dropping the connection takes back what was not committed.
    done.map_err(|error: GraftError| match image.take_failure() {
        Some(failure) => GraftError::Scratch(failure),
        None if error.is_interruption() && cancelled() => GraftError::Cancelled,
        None => error,
    })
}

impl GraftError {
    fn is_interruption(&self) -> bool {
        let (Self::Row { source, .. } | Self::Sqlite(source)) = self else { return false };
        source.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
    }
}

fn put_back(connection: &Connection, capsule: &mut dyn BufRead, is_cancelled: &AtomicBool) -> Result<Vec<Grafted>, GraftError> {
    let mut grafted: Vec<Grafted> = Vec::new();
    let mut insert: Option<Insert<'_>> = None;
    let (mut text, mut number) = (Vec::new(), 0);
    loop {
        // An interrupt between two statements stops neither.
        if is_cancelled.load(Ordering::Relaxed) {
            return Err(GraftError::Cancelled);
        }
        text.clear();
        number += 1;
        if capsule.read_until(b'\n', &mut text)? == 0 {
            return Ok(grafted);
        }
        let line = read_line(&text).ok_or(GraftError::Line { line: number })?;
        if !line.is_lost {
            continue;
        }
        if insert.as_ref().is_none_or(|insert| insert.table != line.table) {
            insert = Some(Insert::prepare(connection, &line)?);
            grafted.push(Grafted { table: line.table.clone(), rows: 0 });
        }
        if let (Some(insert), Some(count)) = (&mut insert, grafted.last_mut()) {
            count.rows += 1;
            insert.run(&line, count.rows)?;
        }
    }
}

/// A capsule that ends early, or is another one's, is not all.
fn require_all(tables: &[GapTable], grafted: &[Grafted]) -> Result<(), GraftError> {
    let found = |name: &str| grafted.iter().filter(|grafted| grafted.table == name).map(|grafted| grafted.rows).sum::<u64>();
    let expected = |name: &str| tables.iter().find(|table| table.name == name).map_or(0, |table| table.lost);
    let names = tables.iter().map(|table| &table.name).chain(grafted.iter().map(|grafted| &grafted.table));
    for name in names {
        let (expected, found) = (expected(name), found(name));
        if expected != found {
            return Err(GraftError::Incomplete { table: name.clone(), expected, found });
        }
    }
    Ok(())
}

/// Ids of rows that were deleted before are not given out again either.
fn keep_sequences(connection: &Connection, tables: &[GapTable], sequences: &[Sequence]) -> rusqlite::Result<()> {
    if !has_sequences(connection)? {
        return Ok(());
    }
    for sequence in sequences.iter().filter(|sequence| tables.iter().any(|table| table.name.eq_ignore_ascii_case(&sequence.table))) {
        let sql = "UPDATE main.sqlite_sequence SET seq = ?2 WHERE name = ?1 COLLATE NOCASE AND seq < ?2";
        connection.execute(sql, (&sequence.table, sequence.value))?;
        // A table that the snapshot knows without any row has no sequence yet. SQLite looks for the name as the schema spells it.
        let sql = "INSERT INTO main.sqlite_sequence(name, seq) SELECT name, ?2 FROM main.sqlite_schema
            WHERE type = 'table' AND name = ?1 COLLATE NOCASE AND sql LIKE '%AUTOINCREMENT%'
            AND NOT EXISTS (SELECT 1 FROM main.sqlite_sequence WHERE name = ?1 COLLATE NOCASE)";
        connection.execute(sql, (&sequence.table, sequence.value))?;
    }
    Ok(())
}

fn has_sequences(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence' AND rootpage > 0";
    connection.query_row(sql, [], |_| Ok(())).optional().map(|found| found.is_some())
}
