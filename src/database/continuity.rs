//! Whether an append-only table only grew: are the rows that it had then still its first rows?
//!
//! The recorded hash covers the first rows in storage order, under the columns that the table had then; columns that were added since
//! change nothing. Rowids that no column shows are not hashed, so VACUUM changes nothing either. In a table without rowid new
//! rows come between old ones, and this proves nothing.

use rusqlite::{Connection, OptionalExtension};

use super::DatabaseError;
use super::logical::{TableHash, stored_columns, table_hash_of};

/// A table that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// Its name, in any case.
    pub table: String,
    /// What it was when it was captured before, if it was.
    pub before: Option<TableHash>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Continuity {
    /// It was not watched before.
    First,
    /// Its earlier rows are still its first rows.
    Kept,
    /// Some of its earlier rows are not what they were.
    Rewritten,
    /// It has fewer rows than before.
    Shrunk {
        /// How many there are now.
        rows: u64,
    },
    /// A column that was recorded is gone.
    ColumnGone {
        /// Its name.
        column: String,
    },
    /// The table is gone.
    Gone,
    /// It has no rowid: its rows have no order of insertion.
    Unordered,
}

impl Continuity {
    /// Whether its history was rewritten.
    pub fn is_broken(&self) -> bool {
        !matches!(self, Continuity::First | Continuity::Kept | Continuity::Unordered)
    }

    /// The word in records.
    pub fn name(&self) -> &'static str {
        match self {
            Continuity::First => "first",
            Continuity::Kept => "kept",
            Continuity::Rewritten => "rewritten",
            Continuity::Shrunk { .. } => "shrunk",
            Continuity::ColumnGone { .. } => "column-gone",
            Continuity::Gone => "gone",
            Continuity::Unordered => "unordered",
        }
    }
}

/// Compares a table with what it was.
///
/// # Errors
/// [`DatabaseError::Table`] if a row cannot be read.
pub(super) fn continuity(connection: &Connection, watched: &Watched) -> Result<Continuity, DatabaseError> {
    let failed = |source| DatabaseError::Table { table: watched.table.clone(), source };
    match has_rowid(connection, &watched.table).map_err(failed)? {
        None if watched.before.is_some() => return Ok(Continuity::Gone),
        None => return Ok(Continuity::First),
        Some(false) => return Ok(Continuity::Unordered),
        Some(true) => {}
    }
    let Some(before) = &watched.before else { return Ok(Continuity::First) };
    let columns = stored_columns(connection, &watched.table).map_err(failed)?;
    if let Some(column) = before.columns.iter().find(|column| !columns.contains(column)) {
        return Ok(Continuity::ColumnGone { column: column.clone() });
    }
    let now = table_hash_of(connection, &watched.table, &before.columns, before.rows)?;
    Ok(match now {
        now if now == *before => Continuity::Kept,
        now if now.rows < before.rows => Continuity::Shrunk { rows: now.rows },
        _ => Continuity::Rewritten,
    })
}

/// Whether a table has rowids; `None` if there is no such table.
fn has_rowid(connection: &Connection, table: &str) -> rusqlite::Result<Option<bool>> {
    let sql = "SELECT wr = 0 FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name = ?1 COLLATE NOCASE";
    connection.query_row(sql, [table], |row| row.get(0)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::table_hash;

    const ROWS: &str = "INSERT INTO audit(at, what) VALUES (1, 'a'), (2, 'b'), (3, 'c');";

    fn after(schema: &str, change: &str) -> Continuity {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(schema).unwrap();
        connection.execute_batch(ROWS).unwrap();
        let before = Some(table_hash(&connection, "audit").unwrap());
        connection.execute_batch(change).unwrap();
        continuity(&connection, &Watched { table: "AUDIT".into(), before }).unwrap()
    }

    #[test]
    fn only_what_was_there_counts() {
        let schema = "CREATE TABLE audit(at, what)";
        for (change, expected) in [
            ("", Continuity::Kept),
            ("INSERT INTO audit VALUES (4, 'd')", Continuity::Kept),
            ("VACUUM", Continuity::Kept),
            ("ALTER TABLE audit ADD COLUMN who", Continuity::Kept),
            ("CREATE INDEX i ON audit(what, at)", Continuity::Kept),
            ("UPDATE audit SET what = 'x' WHERE at = 2", Continuity::Rewritten),
            ("DELETE FROM audit WHERE at = 2", Continuity::Shrunk { rows: 2 }),
            ("DELETE FROM audit WHERE at = 2; INSERT INTO audit VALUES (4, 'd')", Continuity::Rewritten),
            ("DROP TABLE audit", Continuity::Gone),
            ("DROP TABLE audit; CREATE TABLE audit(at, what)", Continuity::Shrunk { rows: 0 }),
            ("ALTER TABLE audit DROP COLUMN what", Continuity::ColumnGone { column: "what".into() }),
        ] {
            assert_eq!(after(schema, change), expected, "{change}");
        }
        assert_eq!(after("CREATE TABLE audit(at PRIMARY KEY, what) WITHOUT ROWID", ""), Continuity::Unordered);
    }
}
