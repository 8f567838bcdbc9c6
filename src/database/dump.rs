//! Dumping: the rows of an image, or SQL text that makes the database anew, on the supposition that its maker is not to be trusted.
//!
//! Tables are walked and nothing else: no view, no trigger, no index, and no column that is computed when it is read. Virtual tables have no
//! content of their own and are named, not read; what they keep in shadow tables comes along as these. A damaged tree can show the same
//! pages over and over: rows and bytes are counted against what a file of this size can hold.

mod sql;
mod statement;

use std::io::{self, Write};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::bounds::{self, Bounds, Cancelled};
use super::gap::table::{Found, Identity, Table};
use super::gap::value::{push_json, push_json_text};
use super::sql::quoted;
use super::{Access, Image, hardened, list_tables};
use crate::files::ScratchError;

/// What was dumped.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Dumped {
    /// Tables and how many rows of each were written, in the order in which they were.
    pub tables: Vec<(String, u64)>,
    /// Virtual tables, and statistics that follow from the rest, which were not written.
    pub skipped: Vec<String>,
}

/// Why a database cannot be dumped.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// There is no such table, or it is a view or a virtual table.
    #[error("there is no table '{table}' with rows of its own, but: {}", has.join(", "))]
    NoTable {
        /// The name asked for.
        table: String,
        /// Those that there are.
        has: Vec<String>,
    },
    /// One table was to be named, and there are several, or none.
    #[error("a table of values holds rows of one table, and there are: {}", has.join(", "))]
    OneTable {
        /// They.
        has: Vec<String>,
    },
    /// SQLite cannot read it.
    #[error("SQLite cannot read it")]
    Sqlite(#[from] rusqlite::Error),
    /// There is more than a file of this size can hold.
    #[error("table '{table}' shows more than the file can hold: it is damaged")]
    Endless {
        /// The table.
        table: String,
    },
    /// Text of the schema would do something else than make the object.
    #[error("the schema's text for {kind} '{name}' is not one statement that makes it")]
    Statement {
        /// "table", "index", …
        kind: String,
        /// Its name.
        name: String,
    },
    /// Somebody said stop.
    #[error("cancelled")]
    Cancelled,
    /// Scratch failed.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The text cannot be written.
    #[error("cannot write")]
    Write(#[source] io::Error),
}

/// Takes rows as JSON.
pub trait RowTaker {
    /// A table begins, with these columns.
    ///
    /// # Errors
    /// The taker's own.
    fn table(&mut self, name: &str, columns: &[String]) -> io::Result<()>;

    /// A row of it: an object with a member for each column, values as docs/gap.md says.
    ///
    /// # Errors
    /// The taker's own.
    fn row(&mut self, json: &str) -> io::Result<()>;
}

/// Hands out the rows of one table, or of all that have rows of their own.
///
/// # Errors
/// [`DumpError`].
pub fn dump_rows(image: &Image, table: Option<&str>, taker: &mut dyn RowTaker, cancelled: Cancelled<'_>) -> Result<Dumped, DumpError> {
    reading(image, cancelled, |reader| {
        let mut dumped = Dumped { skipped: virtual_tables(reader.connection, table)?, ..Dumped::default() };
        for name in chosen(reader.connection, table)? {
            let count = reader.hand_out(&name, taker)?;
            dumped.tables.push((name, count));
        }
        Ok(dumped)
    })
}

/// Writes SQL text that makes the database anew, or one table with its indexes and triggers.
///
/// # Errors
/// [`DumpError`].
pub fn dump_sql(image: &Image, table: Option<&str>, out: &mut dyn Write, cancelled: Cancelled<'_>) -> Result<Dumped, DumpError> {
    reading(image, cancelled, |reader| {
        let table = table.map(|_| chosen(reader.connection, table)).transpose()?.and_then(|names| names.into_iter().next());
        sql::write(reader, table.as_deref(), out)
    })
}

/// The only table that is not SQLite's own.
///
/// # Errors
/// [`DumpError`].
pub fn only_table(image: &Image, cancelled: Cancelled<'_>) -> Result<String, DumpError> {
    reading(image, cancelled, |reader| {
        let mut has = list_tables(reader.connection)?;
        has.retain(|name| !name.starts_with("sqlite_"));
        match <[String; 1]>::try_from(has) {
            Ok([only]) => Ok(only),
            Err(has) => Err(DumpError::OneTable { has }),
        }
    })
}

/// Opens the image, and reads it under its bounds.
fn reading<T>(image: &Image, cancelled: Cancelled<'_>, work: impl FnOnce(&mut Reader<'_>) -> Result<T, DumpError>) -> Result<T, DumpError> {
    let outcome = image.open(Access::ReadOnly).map_err(DumpError::from).and_then(|connection| {
        hardened::harden_further(&connection, image.len())?;
        bounds::within(&connection, Bounds::of_reading(image.len()), cancelled, |_| {
            let sql = "SELECT coalesce(sum(length(sql)), 0) FROM main.sqlite_schema";
            let schema_bytes: i64 = connection.query_row(sql, [], |row| row.get(0))?;
            work(&mut Reader {
                connection: &connection,
                cancelled,
                rows_left: image.len() / SMALLEST_CELL_BYTES,
                bytes_left: image.len().saturating_mul(2),
                schema_bytes: schema_bytes.unsigned_abs().saturating_mul(2),
            })
        })
    });
    // SQLite only tells that reading failed, the image knows why.
    match image.take_failure() {
        Some(failure) => Err(failure.into()),
        None => outcome,
    }
}

/// An open image, and how much it can still hold.
struct Reader<'c> {
    connection: &'c Connection,
    /// SQLite's statements are interrupted; what is done between them asks.
    cancelled: Cancelled<'c>,
    rows_left: u64,
    bytes_left: u64,
    /// What each row may have besides: values that stand in the schema alone, as defaults of columns that were added later.
    schema_bytes: u64,
}

impl Reader<'_> {
    /// Hands out all rows of a table as JSON.
    fn hand_out(&mut self, name: &str, taker: &mut dyn RowTaker) -> Result<u64, DumpError> {
        let columns = super::logical::stored_columns(self.connection, name)?;
        taker.table(name, &columns).map_err(DumpError::Write)?;
        let keys: Vec<String> = columns.iter().map(|column| json_key(column)).collect();
        let mut json = String::new();
        self.each_row(name, &selected(&columns), columns.len(), &mut |row| {
            json.clear();
            for (index, key) in keys.iter().enumerate() {
                json.push_str(if index == 0 { "{" } else { "," });
                json.push_str(key);
                push_json(&mut json, row.get_ref(index)?);
            }
            json.push('}');
            taker.row(&json).map_err(DumpError::Write)
        })
    }

    /// Walks over a table; gives the number of its rows.
    fn each_row(
        &mut self,
        table: &str,
        columns: &str,
        width: usize,
        each: &mut dyn FnMut(&Row<'_>) -> Result<(), DumpError>,
    ) -> Result<u64, DumpError> {
        let endless = || DumpError::Endless { table: table.to_owned() };
        // As the logical hash walks it: a covering index would give the rows in another order.
        let mut statement = self.connection.prepare(&format!("SELECT {columns} FROM main.{} NOT INDEXED", quoted(table)))?;
        let mut rows = statement.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            let mut bytes = 0;
            for index in 0..width {
                if let ValueRef::Text(value) | ValueRef::Blob(value) = row.get_ref(index)? {
                    bytes += value.len() as u64;
                }
            }
            self.rows_left = self.rows_left.checked_sub(1).ok_or_else(endless)?;
            self.bytes_left = self.bytes_left.saturating_add(self.schema_bytes).checked_sub(bytes).ok_or_else(endless)?;
            each(row)?;
            count += 1;
        }
        Ok(count)
    }
}

/// The table that is asked for, as the schema spells it; else all.
fn chosen(connection: &Connection, table: Option<&str>) -> Result<Vec<String>, DumpError> {
    let has = list_tables(connection)?;
    let Some(asked) = table else { return Ok(has) };
    // As SQLite compares names.
    match has.iter().find(|name| name.eq_ignore_ascii_case(asked)) {
        Some(name) => Ok(vec![name.clone()]),
        None => Err(DumpError::NoTable { table: asked.to_owned(), has }),
    }
}

/// The virtual tables, unless one table was asked for.
fn virtual_tables(connection: &Connection, table: Option<&str>) -> rusqlite::Result<Vec<String>> {
    if table.is_some() {
        return Ok(Vec::new());
    }
    let sql = "SELECT name FROM main.sqlite_schema WHERE type='table' AND coalesce(rootpage, 0) <= 0 ORDER BY rowid";
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// The SQL name of a rowid that no column shows, where there is one.
fn hidden_rowid(connection: &Connection, table: &str) -> rusqlite::Result<Option<&'static str>> {
    match Table::find(connection, table)? {
        Found::Table(Table { identity: Identity::Rowid(name), .. }) => Ok(Some(name)),
        _ => Ok(None),
    }
}

fn selected(columns: &[String]) -> String {
    columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(",")
}

fn json_key(column: &str) -> String {
    let mut key = String::new();
    push_json_text(&mut key, column);
    key.push(':');
    key
}

/// A pointer of two bytes and a cell of two at least.
const SMALLEST_CELL_BYTES: u64 = 4;

#[cfg(test)]
mod tests;
