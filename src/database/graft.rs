//! Graft: the rows that a restore would take away go back into the restored image, with their keys and values, so that an audit trail
//! outlives the restore of the data that it is about.
//!
//! It is done in the image, before that is installed, and all or nothing. No trigger fires and no foreign key is looked at: these rows
//! were accepted once. CHECK, NOT NULL and UNIQUE are insisted on, and each value must be stored as it was, type and bytes. No row
//! of the image is replaced. Where keys were given out twice, or the schema moved on, it is refused: which of two rows is the right one
//! is not for a program to say.

mod line;

use std::io::BufRead;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Statement, params_from_iter};

use super::bounds::{self, Bounds, Cancelled};
use super::gap::{Certainty, GapTable, Presence};
use super::sql::quoted;
use super::{Access, Image};
use crate::files::ScratchError;
use line::{Cell, Line, read_line};

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
    #[error("row {row} of table '{table}' cannot be put back")]
    Row {
        /// The table.
        table: String,
        /// Its place among the rows that are put back, from 1.
        row: u64,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A value would be stored as another one.
    #[error("row {row} of table '{table}' cannot be put back: column '{column}' would store another value")]
    Value {
        /// The table.
        table: String,
        /// Its place among the rows that are put back, from 1.
        row: u64,
        /// The column.
        column: String,
    },
    /// The capsule is not what this program writes.
    #[error("line {line} of the capsule cannot be read")]
    Line {
        /// From 1.
        line: u64,
    },
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
    let exists = "SELECT 1 FROM main.sqlite_schema WHERE name = 'sqlite_sequence' AND rootpage > 0";
    if live.query_row(exists, [], |_| Ok(())).optional()?.is_none() {
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
    let done = bounds::within(&connection, Bounds::of_copy(image.len()), cancelled, |_| {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let grafted = put_back(&connection, capsule)?;
        keep_sequences(&connection, tables, sequences)?;
        connection.execute_batch("COMMIT")?;
        Ok(grafted)
    });
    // Dropping the connection takes back what was not committed.
    done.map_err(|error: GraftError| image.take_failure().map_or(error, GraftError::Scratch))
}

fn put_back(connection: &Connection, capsule: &mut dyn BufRead) -> Result<Vec<Grafted>, GraftError> {
    let mut grafted: Vec<Grafted> = Vec::new();
    let mut insert: Option<Insert<'_>> = None;
    let (mut text, mut number) = (Vec::new(), 0);
    loop {
        text.clear();
        number += 1;
        if capsule.read_until(b'\n', &mut text)? == 0 {
            return Ok(grafted);
        }
        let Line { table, is_lost, row } = read_line(&text).ok_or(GraftError::Line { line: number })?;
        if !is_lost {
            continue;
        }
        if insert.as_ref().is_none_or(|insert| insert.table != table) {
            insert = Some(Insert::prepare(connection, &table)?);
            grafted.push(Grafted { table, rows: 0 });
        }
        if let (Some(insert), Some(count)) = (&mut insert, grafted.last_mut()) {
            count.rows += 1;
            insert.run(&row, count.rows)?;
        }
    }
}

/// The statement for the rows of one table.
struct Insert<'c> {
    table: String,
    columns: Vec<String>,
    statement: Statement<'c>,
}

impl<'c> Insert<'c> {
    fn prepare(connection: &'c Connection, table: &str) -> Result<Self, GraftError> {
        // Generated columns (hidden 2 and 3) are computed and cannot be given.
        let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0 ORDER BY cid";
        let columns: Vec<String> = connection.prepare(sql)?.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let names = columns.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",");
        let places = (1..=columns.len()).map(|place| format!("?{place}")).collect::<Vec<_>>().join(",");
        // ABORT, whatever the schema says of conflicts: a declared REPLACE would take a row of the snapshot away.
        let sql = format!("INSERT OR ABORT INTO main.{}({names}) VALUES({places}) RETURNING {names}", quoted(table));
        Ok(Self { table: table.to_owned(), columns, statement: connection.prepare(&sql)? })
    }

    fn run(&mut self, row: &[(String, Cell)], number: u64) -> Result<(), GraftError> {
        let value = |name: &String| row.iter().find(|(column, _)| column == name).map(|(_, value)| value);
        let values: Option<Vec<&Cell>> = self.columns.iter().map(value).collect();
        let values = values.ok_or_else(|| GraftError::Refused { table: self.table.clone(), why: "the schema moved on".to_owned() })?;
        let refused = |source| GraftError::Row { table: self.table.clone(), row: number, source };
        let mut stored = self.statement.query(params_from_iter(&values)).map_err(refused)?;
        let found = stored.next().map_err(refused)?.ok_or_else(|| refused(rusqlite::Error::QueryReturnedNoRows))?;
        for (place, value) in values.iter().enumerate() {
            if !is_same(value.as_ref(), found.get_ref(place).map_err(refused)?) {
                return Err(GraftError::Value { table: self.table.clone(), row: number, column: self.columns[place].clone() });
            }
        }
        drop(stored);
        Ok(())
    }
}

/// The same type and the same bytes.
fn is_same(one: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (one, other) {
        (ValueRef::Real(one), ValueRef::Real(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}

/// Ids of rows that were deleted before are not given out again either.
fn keep_sequences(connection: &Connection, tables: &[GapTable], sequences: &[Sequence]) -> rusqlite::Result<()> {
    if sequences_of(connection)?.is_empty() {
        return Ok(());
    }
    for sequence in sequences.iter().filter(|sequence| tables.iter().any(|table| table.name.eq_ignore_ascii_case(&sequence.table))) {
        let sql = "UPDATE main.sqlite_sequence SET seq = ?2 WHERE name = ?1 COLLATE NOCASE AND seq < ?2";
        connection.execute(sql, (&sequence.table, sequence.value))?;
    }
    Ok(())
}
