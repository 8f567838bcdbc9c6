//! What the manifest tells about a captured database, read from the captured state and nowhere else.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};

use super::check::{CheckKind, CheckReport};
use super::continuity::Continuity;
use super::logical::TableHash;
use super::migrations::Ledger;
use super::source::Source;
use super::sql::quoted;

/// By which of SQLite's interfaces the pages were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageReader {
    /// The `sqlite_dbpage` table: pages as they are stored.
    SqliteDbpage,
    /// The backup interface: the same content, some bytes of the header differ in WAL mode.
    BackupApi,
}

/// Which way the pages take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Straight out of the read transaction, which stays open meanwhile.
    Stream,
    /// Through an encrypted image in scratch.
    Scratch,
}

/// The schema of a database as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The statements that make the objects, in storage order, each followed by `;` and a line feed.
    pub sql: String,
    /// Number of rows in `sqlite_schema`.
    pub objects: u64,
}

/// A table and how many rows it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFacts {
    /// As the schema spells it.
    pub name: String,
    /// Nothing if they could not be counted.
    pub rows: Option<u64>,
    /// Its logical hash, where it was asked for and could be computed.
    pub hash: Option<TableHash>,
}

/// What is known about a captured database.
#[derive(Debug, Clone)]
pub struct SourceFacts {
    /// Resolved, without links.
    pub path: PathBuf,
    /// Of the file when it was captured.
    pub device: u64,
    /// Of the file when it was captured.
    pub inode: u64,
    /// When the snapshot was fixed.
    pub captured_at: SystemTime,
    /// How the pages were read.
    pub pages: PageReader,
    /// Which way they took.
    pub route: Route,
    /// Whether a journal was rolled back or a WAL replayed, on a copy.
    pub recovered: bool,
    /// Of the image.
    pub size_bytes: u64,
    /// In bytes.
    pub page_size: u32,
    /// Of the image.
    pub page_count: u64,
    /// `UTF-8`, `UTF-16le` or `UTF-16be`.
    pub encoding: String,
    /// Of the source: `wal`, or `delete` for every kind of rollback journal (the file does not tell which).
    pub journal_mode: String,
    /// `none`, `full` or `incremental`.
    pub auto_vacuum: String,
    /// Which program's format this is, as that program says.
    pub application_id: i32,
    /// Which version of it.
    pub user_version: i32,
    /// What a migration tool noted, where it is known.
    pub migrations: Option<Ledger>,
    /// Nothing if it cannot be read.
    pub schema: Option<Schema>,
    /// Sorted by name.
    pub tables: Vec<TableFacts>,
    /// Watched tables, and what became of their earlier rows.
    pub continuity: Vec<(String, Continuity)>,
    /// Whether the content is sound.
    pub check: CheckReport,
    /// What an operator should know.
    pub warnings: Vec<String>,
}

impl SourceFacts {
    /// What stands before anything was read.
    pub(super) fn unknown(source: &Source, captured_at: SystemTime, pages: PageReader, kind: CheckKind) -> Self {
        Self {
            path: source.path.clone(),
            device: source.device,
            inode: source.inode,
            captured_at,
            pages,
            route: Route::Scratch,
            recovered: false,
            size_bytes: 0,
            page_size: 0,
            page_count: 0,
            encoding: String::new(),
            journal_mode: String::new(),
            auto_vacuum: String::new(),
            application_id: 0,
            user_version: 0,
            migrations: None,
            schema: None,
            tables: Vec::new(),
            continuity: Vec::new(),
            check: CheckReport::new(kind),
            warnings: Vec::new(),
        }
    }
}

/// Reads the schema as text; bytes that are no UTF-8 become replacement characters.
///
/// # Errors
/// Whatever SQLite says.
pub fn read_schema(connection: &Connection) -> rusqlite::Result<Schema> {
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema ORDER BY rowid")?;
    let mut rows = statement.query([])?;
    let mut schema = Schema { sql: String::new(), objects: 0 };
    while let Some(row) = rows.next()? {
        schema.objects += 1;
        if let ValueRef::Text(sql) = row.get_ref(0)? {
            schema.sql.push_str(&String::from_utf8_lossy(sql));
            schema.sql.push_str(";\n");
        }
    }
    Ok(schema)
}

/// Lists the tables that have content of their own, sorted by the bytes of their names.
///
/// Views and virtual tables have none; the shadow tables in which virtual tables keep their content do, and so have SQLite's
/// internal tables: `sqlite_sequence` (the highest keys ever given out) and `sqlite_stat1` are part of what a restore brings back. `sqlite_schema`
/// itself is not listed. The schema table is asked and not `PRAGMA table_list`, which would look into every view.
///
/// # Errors
/// Whatever SQLite says.
pub fn list_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type='table' AND rootpage>0")?;
    let mut rows = statement.query([])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        if let ValueRef::Text(name) = row.get_ref(0)? {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Counts the rows of all tables; a table that cannot be counted is listed all the same, with the reason among the second result.
///
/// # Errors
/// Whatever SQLite says while listing the tables.
pub fn count_tables(connection: &Connection) -> rusqlite::Result<(Vec<TableFacts>, Vec<CountFailure>)> {
    count_until(connection, &AtomicBool::new(false))
}

/// A table whose rows could not be counted.
#[derive(Debug)]
pub struct CountFailure {
    /// Its name.
    pub table: String,
    /// What SQLite said.
    pub error: rusqlite::Error,
}

impl CountFailure {
    pub(super) fn is_corruption(&self) -> bool {
        self.error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt)
    }
}

impl std::fmt::Display for CountFailure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "rows of table '{}' cannot be counted: {}", self.table, self.error)
    }
}

pub(super) fn count_until(connection: &Connection, is_expired: &AtomicBool) -> rusqlite::Result<(Vec<TableFacts>, Vec<CountFailure>)> {
    let mut failures = Vec::new();
    let mut tables = Vec::new();
    for name in list_tables(connection)? {
        let counted = if is_expired.load(Ordering::Relaxed) { Err(interrupted()) } else { count(connection, &name) };
        let rows = match counted {
            Ok(rows) => Some(rows),
            Err(error) => {
                failures.push(CountFailure { table: name.clone(), error });
                None
            }
        };
        tables.push(TableFacts { name, rows, hash: None });
    }
    Ok((tables, failures))
}

pub(super) fn count(connection: &Connection, table: &str) -> rusqlite::Result<u64> {
    let sql = format!("SELECT count(*) FROM main.{}", quoted(table));
    connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

fn interrupted() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERRUPT), None)
}

impl std::fmt::Display for PageReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PageReader::SqliteDbpage => "sqlite_dbpage",
            PageReader::BackupApi => "backup_api",
        })
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Route::Stream => "stream",
            Route::Scratch => "scratch",
        })
    }
}
