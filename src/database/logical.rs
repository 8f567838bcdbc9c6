//! The logical hash: what a table contains, whatever its pages look like.
//!
//! Two tables with the same rows in the same order have the same hash, before and after VACUUM, in any text encoding and
//! page size. Rowids that no column shows are not hashed. The hash has the prefix property: hashing only the first *n* rows of a
//! later state gives the hash recorded when there were *n*, which proves that an append-only table only grew. Sums
//! and XORs of row hashes were rejected: they can be forged.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::DatabaseError;
use super::sql::quoted;
use crate::crypto::Sha256;

/// The logical hash of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableHash {
    /// The stored columns, in the order of their declaration.
    pub columns: Vec<String>,
    /// How many rows were hashed.
    pub rows: u64,
    /// The digest.
    pub sha256: [u8; 32],
}

/// Hashes all rows of a table in storage order (by rowid; by primary key for tables without rowid).
///
/// # Layout
/// ```text
/// table  = SHA-256(01 ‖ u32be(columns) ‖ text(name of column) … ‖ leaf … ‖ u64be(rows))
/// leaf   = SHA-256(00 ‖ row)
/// row    = u32be(columns) ‖ value …
/// value  = 00                                     NULL
///        | 01 ‖ i64be(integer)
///        | 02 ‖ u64be(bits of the IEEE 754 double)      (never a NaN: SQLite stores it as NULL)
///        | 03 ‖ text(UTF-8, whatever the database's encoding; bytes that are no UTF-8 as SQLite hands them out)
///        | 04 ‖ text(blob)
/// text   = u64be(length in bytes) ‖ bytes
/// ```
/// Columns are those that are stored: ordinary ones and `STORED` generated ones, not `VIRTUAL` ones, which follow from the
/// others. Values have the types in which SQLite gives them out.
///
/// # Errors
/// [`DatabaseError::NotATable`] for views, virtual tables and unknown names, [`DatabaseError::Table`] if a row cannot be read.
///
/// # Source
/// Hidden columns: <https://sqlite.org/pragma.html#pragma_table_xinfo>. The bytes 00 and 01 in front keep leaves and tables apart,
/// as in RFC 9162, section 2.1.1.
pub fn table_hash(connection: &Connection, table: &str) -> Result<TableHash, DatabaseError> {
    table_hash_of_first(connection, table, u64::MAX)
}

/// Hashes the first rows of a table, or all if there are fewer.
///
/// # Errors
/// As [`table_hash`].
pub fn table_hash_of_first(connection: &Connection, table: &str, rows: u64) -> Result<TableHash, DatabaseError> {
    let failed = |source| DatabaseError::Table { table: table.to_owned(), source };
    if !is_table(connection, table).map_err(failed)? {
        return Err(DatabaseError::NotATable { table: table.to_owned() });
    }
    let columns = stored_columns(connection, table).map_err(failed)?;
    hash_rows(connection, table, columns, rows).map_err(failed)
}

/// Hashes the first rows of a table as if it had only some of its columns.
pub(super) fn table_hash_of(connection: &Connection, table: &str, columns: &[String], rows: u64) -> Result<TableHash, DatabaseError> {
    let failed = |source| DatabaseError::Table { table: table.to_owned(), source };
    hash_rows(connection, table, columns.to_vec(), rows).map_err(failed)
}

fn is_table(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM sqlite_schema WHERE type='table' AND rootpage>0 AND name=?1";
    connection.query_row(sql, [table], |_| Ok(())).optional().map(|found| found.is_some())
}

fn hash_rows(connection: &Connection, table: &str, columns: Vec<String>, limit: u64) -> rusqlite::Result<TableHash> {
    let mut hash = Sha256::new();
    hash.update(&[TABLE_PREFIX]);
    hash.update(&count_of(&columns).to_be_bytes());
    let mut encoded = Vec::new();
    columns.iter().for_each(|column| push_text(&mut encoded, column.as_bytes()));
    hash.update(&encoded);
    let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    // NOT INDEXED makes SQLite walk the table itself: a covering index would give the rows in another order.
    let sql = format!("SELECT {} FROM main.{} NOT INDEXED", names.join(","), quoted(table));
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut count = 0;
    while count < limit
        && let Some(row) = rows.next()?
    {
        encoded.clear();
        encoded.push(LEAF_PREFIX);
        encoded.extend_from_slice(&count_of(&columns).to_be_bytes());
        for index in 0..columns.len() {
            push_value(&mut encoded, row.get_ref(index)?);
        }
        let mut leaf = Sha256::new();
        leaf.update(&encoded);
        hash.update(&leaf.finish().0);
        count += 1;
    }
    hash.update(&count.to_be_bytes());
    Ok(TableHash { columns, rows: count, sha256: hash.finish().0 })
}

pub(super) fn stored_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA main.table_xinfo({})", quoted(table)))?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>("name")?, row.get::<_, i64>("hidden")?)))?;
    let columns: Vec<(String, i64)> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(columns.into_iter().filter(|(_, hidden)| matches!(*hidden, ORDINARY | STORED_GENERATED)).map(|(name, _)| name).collect())
}

/// SQLite allows 32 767 columns at most.
fn count_of(columns: &[String]) -> u32 {
    u32::try_from(columns.len()).unwrap_or(u32::MAX)
}

pub(super) fn push_value(row: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => row.push(0),
        ValueRef::Integer(number) => {
            row.push(1);
            row.extend_from_slice(&number.to_be_bytes());
        }
        ValueRef::Real(number) => {
            row.push(2);
            row.extend_from_slice(&number.to_bits().to_be_bytes());
        }
        ValueRef::Text(bytes) => {
            row.push(3);
            push_text(row, bytes);
        }
        ValueRef::Blob(bytes) => {
            row.push(4);
            push_text(row, bytes);
        }
    }
}

fn push_text(row: &mut Vec<u8>, bytes: &[u8]) {
    row.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    row.extend_from_slice(bytes);
}

const LEAF_PREFIX: u8 = 0;
const TABLE_PREFIX: u8 = 1;
const ORDINARY: i64 = 0;
const STORED_GENERATED: i64 = 3;

#[cfg(test)]
mod tests;
