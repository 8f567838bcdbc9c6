//! The marker: one row in the application's own audit table that says what a restore took away, so that whoever reads that table
//! alone finds the gap.
//!
//! It is written into the image before anything is installed, as the application itself would write it: triggers fire, foreign keys are
//! enforced, CHECK and NOT NULL too. What the schema refuses ends the restore before a target is touched.

mod text;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OptionalExtension, ffi, params_from_iter};

use super::bounds::{self, Bounds, Cancelled};
use super::continuity::{Continuity, Watched, continuity};
use super::logical::table_hash;
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
    /// It was not done in the time that a database out of a bundle gets.
    #[error("table '{table}' does not take the marker in the time that it has")]
    OutOfTime {
        /// The table.
        table: String,
    },
    /// Something that the schema does with the row needs the application.
    #[error("table '{table}' does not take the marker: its schema calls a function that only the application has")]
    Function {
        /// The table.
        table: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A trigger ends the insertion without an error.
    #[error("table '{table}' does not take the marker: a trigger ignores it")]
    Ignored {
        /// The table.
        table: String,
    },
    /// Somebody cancelled it.
    #[error("writing the marker was cancelled")]
    Cancelled,
    /// A row that it, or a trigger's row, would refer to does not exist.
    #[error("table '{table}' does not take the marker: a foreign key would point to nothing")]
    ForeignKey {
        /// The table.
        table: String,
    },
    /// Triggers took rows of an append-only table away, or changed them.
    #[error("writing the marker changes or removes rows of the append-only table '{table}'")]
    Meddles {
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

/// Writes the row, and gives its rowid if the table has rowids.
///
/// # Errors
/// [`MarkerError`]; the image is as it was then.
pub fn mark(
    image: &Image,
    marker: &Marker,
    facts: &MarkerFacts,
    kept: &[String],
    cancelled: Cancelled<'_>,
) -> Result<Option<i64>, MarkerError> {
    write(image, marker, facts, kept, cancelled, Purpose::Keep)
}

/// Tries whether the row can be written, and leaves the image as it was.
///
/// # Errors
/// As [`mark`].
pub fn try_marker(
    image: &Image,
    marker: &Marker,
    facts: &MarkerFacts,
    kept: &[String],
    cancelled: Cancelled<'_>,
) -> Result<(), MarkerError> {
    write(image, marker, facts, kept, cancelled, Purpose::Try).map(drop)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Keep,
    Try,
}

fn write(
    image: &Image,
    marker: &Marker,
    facts: &MarkerFacts,
    kept: &[String],
    cancelled: Cancelled<'_>,
    purpose: Purpose,
) -> Result<Option<i64>, MarkerError> {
    let refused = |source| refusal(&marker.table, source, cancelled);
    let mut connection = image.open(Access::ReadWrite).map_err(refused)?;
    if purpose == Purpose::Try {
        // The hook is asked after all foreign keys were checked, deferred ones and those of triggers' rows among them. So a trial goes
        // as far as the real thing, and a ROLLBACK would not.
        connection.commit_hook(Some(|| true)).map_err(refused)?;
    }
    let written = bounds::within(&connection, Bounds::of_image(image.len()), cancelled, |_| {
        let table = find(&connection, &marker.table).map_err(refused)?;
        let table = table.ok_or_else(|| MarkerError::NoTable { table: marker.table.clone() })?;
        require_new(&connection, &table, marker, facts).map_err(refused)?;
        let before = rows_of(&connection, kept);
        behave_as_an_application(&connection).and_then(|()| connection.execute_batch("BEGIN IMMEDIATE")).map_err(refused)?;
        if insert(&connection, "INSERT", &table, marker, facts).map_err(refused)? != 1 {
            return Err(MarkerError::Ignored { table });
        }
        require_kept(&connection, before)?;
        let rowid = has_rowid(&connection, &table).map_err(refused)?.then(|| connection.last_insert_rowid());
        match connection.execute_batch("COMMIT") {
            Err(error) if is_extended(&error, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Err(MarkerError::ForeignKey { table }),
            Err(error) if purpose == Purpose::Try && is_extended(&error, ffi::SQLITE_CONSTRAINT_COMMITHOOK) => Ok(rowid),
            ended => ended.map_err(refused).map(|()| rowid),
        }
    });
    // Dropping the connection takes back what was not committed.
    written.map_err(|error| image.take_failure().map_or(error, MarkerError::Scratch))
}

fn refusal(table: &str, source: rusqlite::Error, cancelled: Cancelled<'_>) -> MarkerError {
    let table = table.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) if cancelled() => MarkerError::Cancelled,
        Some(ErrorCode::OperationInterrupted) => MarkerError::OutOfTime { table },
        _ if source.to_string().contains("no such function") => MarkerError::Function { table, source },
        _ => MarkerError::Refused { table, source },
    }
}

fn is_extended(error: &rusqlite::Error, code: i32) -> bool {
    error.sqlite_error().is_some_and(|error| error.extended_code == code)
}

/// Insists that the row takes no other one away, which a declared ON CONFLICT REPLACE would.
///
/// It is tried apart from the insertion itself, without triggers: an OR ABORT there would be imposed on what triggers write, too.
fn require_new(connection: &Connection, table: &str, marker: &Marker, facts: &MarkerFacts) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    insert(connection, "INSERT OR ABORT", table, marker, facts)?;
    connection.execute_batch("ROLLBACK")
}

/// What append-only tables hold; those that cannot be hashed are not compared.
fn rows_of(connection: &Connection, tables: &[String]) -> Vec<Watched> {
    let watched = |table: &String| Some(Watched { table: table.clone(), before: Some(table_hash(connection, table).ok()?) });
    tables.iter().filter_map(watched).collect()
}

/// The application's triggers may tidy up when a row comes, and take away what this restore has promised to keep.
fn require_kept(connection: &Connection, before: Vec<Watched>) -> Result<(), MarkerError> {
    for watched in before {
        let rows = watched.before.as_ref().map_or(0, |before| before.rows);
        let is_kept = match continuity(connection, &watched) {
            Ok(Continuity::Kept) => true,
            Ok(Continuity::Unordered) => table_hash(connection, &watched.table).is_ok_and(|now| now.rows >= rows),
            _ => false,
        };
        if !is_kept {
            return Err(MarkerError::Meddles { table: watched.table });
        }
    }
    Ok(())
}

/// Triggers and foreign keys work as in the application. What a schema may call stays limited, and so do time and memory.
fn behave_as_an_application(connection: &Connection) -> rusqlite::Result<()> {
    for setting in [DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY]
    {
        connection.set_db_config(setting, true)?;
    }
    Ok(())
}

fn insert(connection: &Connection, verb: &str, table: &str, marker: &Marker, facts: &MarkerFacts) -> rusqlite::Result<usize> {
    let names: Vec<String> = marker.columns.iter().map(|(name, _)| quoted(name)).collect();
    let places: Vec<String> = (1..=names.len()).map(|place| format!("?{place}")).collect();
    let values = marker.columns.iter().map(|(_, text)| text.as_ref().map(|text| text.fill(facts)));
    let sql = format!("{verb} INTO main.{}({}) VALUES({})", quoted(table), names.join(","), places.join(","));
    connection.execute(&sql, params_from_iter(values))
}

/// The table's name as the schema spells it; SQLite's own tables take no markers.
fn find(connection: &Connection, table: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT name FROM main.sqlite_schema
        WHERE type = 'table' AND rootpage > 0 AND name = ?1 COLLATE NOCASE AND lower(substr(name, 1, 7)) <> 'sqlite_'";
    connection.query_row(sql, [table], |row| row.get(0)).optional()
}

fn has_rowid(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT wr FROM pragma_table_list(?1) WHERE schema = 'main'", [table], |row| row.get(0))
}
