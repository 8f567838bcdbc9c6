//! The marker: one row in the application's own audit table that says what a restore took away, so that whoever reads that table
//! alone finds the gap.
//!
//! It is written into the image before anything is installed, as the application itself would write it: triggers fire, foreign keys are
//! enforced, CHECK and NOT NULL too. What the schema refuses ends the restore before a target is touched.

mod text;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::bounds::{self, Bounds, Cancelled};
use super::sql::quoted;
use super::{Access, Image};
use crate::files::ScratchError;
use text::Text;
pub use text::{MarkerFacts, MarkerSyntaxError};

/// A row to be written: table, and a text for each column.
#[derive(Debug, Clone)]
pub struct Marker {
    table: String,
    /// No text is NULL.
    columns: Vec<(String, Option<Text>)>,
}

/// Why the row cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum MarkerError {
    /// There is no such table, or it is a view or a virtual one.
    #[error("the snapshot has no table '{table}' that could take a marker")]
    NoTable {
        /// Its name.
        table: String,
    },
    /// The schema does not take the row.
    #[error("table '{table}' does not take the marker")]
    Refused {
        /// The table.
        table: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A row that it would refer to does not exist.
    #[error("table '{table}' does not take the marker: a foreign key would point to nothing")]
    ForeignKey {
        /// The table.
        table: String,
    },
    /// Scratch failed.
    #[error("no scratch for the restored image")]
    Scratch(#[from] ScratchError),
}

impl Marker {
    /// Reads `TABLE:COLUMN=VALUE,COLUMN=VALUE…`.
    ///
    /// A backslash takes the meaning from the character behind it; `NULL` alone is no text. In values, names in braces stand for what
    /// [`MarkerFacts`] tells, `{{` and `}}` for a brace.
    ///
    /// # Errors
    /// No table, no column, no value, an unknown name in braces.
    pub fn parse(text: &str) -> Result<Marker, MarkerSyntaxError> {
        let (table, columns) = text::split(text)?;
        Ok(Marker { table, columns })
    }

    /// The table's name as it was given.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Whether an image has the table.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn fits(&self, image: &Image) -> rusqlite::Result<bool> {
        find(&image.open(Access::ReadOnly)?, &self.table).map(|found| found.is_some())
    }
}

/// Writes the row.
///
/// # Errors
/// [`MarkerError`]; the image is as it was then.
pub fn mark(image: &Image, marker: &Marker, facts: &MarkerFacts, cancelled: Cancelled<'_>) -> Result<(), MarkerError> {
    write(image, marker, facts, cancelled, "COMMIT")
}

/// Tries whether the row can be written, and leaves the image as it was.
///
/// # Errors
/// As [`mark`].
pub fn try_marker(image: &Image, marker: &Marker, facts: &MarkerFacts, cancelled: Cancelled<'_>) -> Result<(), MarkerError> {
    write(image, marker, facts, cancelled, "ROLLBACK")
}

fn write(image: &Image, marker: &Marker, facts: &MarkerFacts, cancelled: Cancelled<'_>, end: &str) -> Result<(), MarkerError> {
    let refused = |source| MarkerError::Refused { table: marker.table.clone(), source };
    let connection = open_as_an_application(image).map_err(refused)?;
    let written = bounds::within(&connection, Bounds::of_image(image.len()), cancelled, |_| {
        let table = find(&connection, &marker.table).map_err(refused)?;
        let table = table.ok_or_else(|| MarkerError::NoTable { table: marker.table.clone() })?;
        connection.execute_batch("BEGIN IMMEDIATE").map_err(refused)?;
        let before = orphans(&connection, &table).map_err(refused)?;
        insert(&connection, &table, marker, facts).map_err(refused)?;
        // A deferred foreign key speaks at COMMIT only, which a trial does not reach.
        if orphans(&connection, &table).map_err(refused)? > before {
            return Err(MarkerError::ForeignKey { table: marker.table.clone() });
        }
        connection.execute_batch(end).map_err(refused)
    });
    written.map_err(|error| image.take_failure().map_or(error, MarkerError::Scratch))
}

/// Triggers and foreign keys work as in the application. What a schema may call stays limited, and so do time and memory.
fn open_as_an_application(image: &Image) -> rusqlite::Result<Connection> {
    let connection = image.open(Access::ReadWrite)?;
    for setting in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY]
    {
        connection.set_db_config(setting, true)?;
    }
    Ok(connection)
}

fn insert(connection: &Connection, table: &str, marker: &Marker, facts: &MarkerFacts) -> rusqlite::Result<()> {
    let names: Vec<String> = marker.columns.iter().map(|(name, _)| quoted(name)).collect();
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let values = marker.columns.iter().map(|(_, text)| text.as_ref().map(|text| text.fill(facts)));
    let sql = format!("INSERT OR ABORT INTO main.{}({}) VALUES({})", quoted(table), names.join(","), places.join(","));
    connection.execute(&sql, params_from_iter(values)).map(drop)
}

/// The table's name as the schema spells it.
fn find(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name = ?1 COLLATE NOCASE";
    connection.query_row(sql, [table], |row| row.get(0)).optional()
}

/// Rows of the table that refer to nothing.
fn orphans(connection: &Connection, table: &str) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare("SELECT count(*) FROM pragma_foreign_key_check(?1)")?;
    statement.query_row([table], |row| row.get(0))
}
