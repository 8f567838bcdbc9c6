//! Comparing an image with what was recorded of it at capture, on the supposition that whoever made both is not to be trusted.
//!
//! What needs none of the schema's expressions comes first (header, schema, tables, counts, hashes), SQLite's check last: so an
//! expression that eats up the time costs no other evidence. What could not be examined is *unchecked*, and never a difference.

mod difference;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::{Connection, ErrorCode, OptionalExtension};

pub use difference::Difference;

use super::bounds::{self, Bounds, Cancelled};
use super::check::{CheckKind, CheckReport, Verdict};
use super::facts::{count, list_tables, read_schema};
use super::header::{HEADER_BYTES, Header};
use super::logical::{TableHash, table_hash};
use super::sql::quoted;
use super::{Access, DatabaseError, Image, hardened};
use crate::crypto::Digest;
use crate::files::ScratchError;

/// What was recorded of a database at capture.
#[derive(Debug, Clone)]
pub struct Expected {
    /// In bytes.
    pub page_size: u32,
    /// Of the image.
    pub page_count: u64,
    /// `UTF-8`, `UTF-16le` or `UTF-16be`.
    pub encoding: String,
    /// `none`, `full` or `incremental`.
    pub auto_vacuum: String,
    /// The pragma of this name.
    pub application_id: i32,
    /// The pragma of this name.
    pub user_version: i32,
    /// Nothing if it could not be read.
    pub schema: Option<ExpectedSchema>,
    /// All tables that have content of their own.
    pub tables: Vec<ExpectedTable>,
    /// Whether the source was corrupt and captured as such: then it is read as tolerantly as at capture.
    pub is_corrupt: bool,
}

/// What was recorded of the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedSchema {
    /// SHA-256 of its text ([`super::Schema::sql`]).
    pub sha256: Digest,
    /// Rows of `sqlite_schema`.
    pub objects: u64,
}

/// What was recorded of a table.
#[derive(Debug, Clone)]
pub struct ExpectedTable {
    /// Its name.
    pub name: String,
    /// Nothing if they could not be counted.
    pub rows: Option<u64>,
    /// Nothing if it was not hashed.
    pub hash: Option<TableHash>,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Examined {
    /// SQLite's full check, and what could not be examined.
    pub check: CheckReport,
    /// Where the image is not what was recorded; the first thousand.
    pub differences: Vec<Difference>,
    /// Tables that it has.
    pub tables: u64,
    /// Rows that were counted.
    pub rows: u64,
    /// Logical hashes that were compared.
    pub hashes: u64,
    /// The text of the schema if it differs: with the recorded text it tells where.
    pub schema: Option<String>,
}

/// Examines an image within time and memory that grow with its size from a small base.
///
/// # Errors
/// Scratch fails; everything else is part of the result.
///
/// # Security
/// A single call of one of SQLite's functions is not interrupted; the length of values keeps it short.
pub fn examine(image: &Image, expected: &Expected, cancelled: Cancelled<'_>) -> Result<Examined, ScratchError> {
    let mut found =
        Examined { check: CheckReport::new(CheckKind::Full), differences: Vec::new(), tables: 0, rows: 0, hashes: 0, schema: None };
    found.compare_header(image, expected)?;
    let outcome = image.open(Access::ReadOnly).and_then(|connection| {
        hardened::harden_further(&connection, image.len())?;
        if expected.is_corrupt {
            hardened::tolerate_damage(&connection)?;
        }
        let bounds = Bounds::of_image(image.len());
        bounds::within(&connection, bounds, cancelled, |is_expired: &AtomicBool| {
            found.examine(&connection, image.len(), expected, is_expired)
        })
    });
    // SQLite only tells that reading failed, the image knows why.
    match (image.take_failure(), outcome) {
        (Some(failure), _) => return Err(failure),
        (None, Err(error)) => found.check.add(Verdict::Unchecked, error.to_string()),
        (None, Ok(())) => {}
    }
    Ok(found)
}

impl Examined {
    fn compare_header(&mut self, image: &Image, expected: &Expected) -> Result<(), ScratchError> {
        let mut bytes = [0; HEADER_BYTES];
        let count = image.read_at(0, &mut bytes)?;
        let header = Header::of(&bytes[..count]);
        if header.is_wal() {
            self.differ(Difference::property("journal mode in the header", "delete", header.journal_mode()));
        }
        // A header that no database has was captured as damage, or is found by the check.
        let Some(page_size) = header.page_size() else { return Ok(()) };
        self.property("page size", &expected.page_size, &page_size);
        self.property("page count", &expected.page_count, &(image.len() / u64::from(page_size)));
        self.property("encoding", expected.encoding.as_str(), header.encoding());
        self.property("auto_vacuum", expected.auto_vacuum.as_str(), header.auto_vacuum());
        self.property("application_id", &expected.application_id, &header.application_id());
        self.property("user_version", &expected.user_version, &header.user_version());
        Ok(())
    }

    fn examine(&mut self, connection: &Connection, size_bytes: u64, expected: &Expected, is_expired: &AtomicBool) -> rusqlite::Result<()> {
        if let Some(schema) = &expected.schema {
            let outcome = self.compare_schema(connection, *schema);
            self.check.judge(outcome)?;
            let outcome = self.compare_tables(connection, expected, is_expired);
            self.check.judge(outcome)?;
        }
        let outcome = self.probe_virtual_tables(connection);
        self.check.judge(outcome)?;
        let outcome = hardened::harden_for_expressions(connection, size_bytes);
        self.check.judge(outcome)?;
        // A report of its own: what was passed over above keeps no part of the check from running.
        let mut check = CheckReport::new(CheckKind::Full);
        let outcome = check.run(connection);
        self.check.merge(check);
        outcome
    }

    fn compare_schema(&mut self, connection: &Connection, expected: ExpectedSchema) -> rusqlite::Result<()> {
        let schema = read_schema(connection)?;
        let found = ExpectedSchema { sha256: Digest::of(schema.sql.as_bytes()), objects: schema.objects };
        if found != expected {
            self.differ(Difference::Schema { expected, found, at: None });
            self.schema = (schema.sql.len() <= SCHEMA_KEPT_BYTES).then_some(schema.sql);
        }
        Ok(())
    }

    fn compare_tables(&mut self, connection: &Connection, expected: &Expected, is_expired: &AtomicBool) -> rusqlite::Result<()> {
        let names = list_tables(connection)?;
        self.tables = names.len() as u64;
        let recorded: BTreeMap<&str, &ExpectedTable> = expected.tables.iter().map(|table| (table.name.as_str(), table)).collect();
        for (name, table) in &recorded {
            if names.binary_search_by(|other| other.as_str().cmp(name)).is_err() {
                self.differ(Difference::TableMissing { table: (*name).to_owned(), expected_rows: table.rows });
            }
        }
        for name in &names {
            if is_expired.load(Ordering::Relaxed) {
                self.check.add(Verdict::Unchecked, "the time limit was reached while tables were compared".to_owned());
                return Ok(());
            }
            match recorded.get(name.as_str()) {
                Some(table) => self.compare_table(connection, table)?,
                None => self.differ(Difference::TableUnexpected { table: name.clone() }),
            }
        }
        Ok(())
    }

    /// One table that cannot be read keeps no other from being compared.
    fn compare_table(&mut self, connection: &Connection, expected: &ExpectedTable) -> rusqlite::Result<()> {
        // What could not be counted or hashed at capture has nothing to be compared with.
        if let Some(rows) = expected.rows {
            match count(connection, &expected.name) {
                Ok(found) => {
                    self.rows += found;
                    if found != rows {
                        self.differ(Difference::Rows { table: expected.name.clone(), expected: rows, found });
                    }
                }
                Err(error) => self.pass_over(&expected.name, error)?,
            }
        }
        let Some(hash) = &expected.hash else { return Ok(()) };
        match table_hash(connection, &expected.name) {
            Ok(found) => {
                self.hashes += 1;
                if found != *hash {
                    self.differ(Difference::Content { table: expected.name.clone(), expected: hash.clone(), found });
                }
            }
            Err(DatabaseError::Table { source, .. }) => self.pass_over(&expected.name, source)?,
            Err(error) => self.check.add(Verdict::Unchecked, error.to_string()),
        }
        Ok(())
    }

    fn pass_over(&mut self, table: &str, error: rusqlite::Error) -> rusqlite::Result<()> {
        let code = error.sqlite_error_code();
        if matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure | ErrorCode::OperationInterrupted)) {
            return self.check.judge(Err(error));
        }
        self.check.add(Verdict::Unchecked, format!("table '{table}' was not compared: {error}"));
        Ok(())
    }

    /// Finds virtual tables whose module, or part of it, is not there: SQLite's check passes over them without a word.
    fn probe_virtual_tables(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare("SELECT name FROM sqlite_schema WHERE type='table' AND rootpage=0")?;
        let names = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
        for name in names {
            let probe = format!("SELECT 1 FROM main.{} LIMIT 0", quoted(&name));
            if let Err(error) = connection.query_row(&probe, [], |_| Ok(())).optional() {
                self.check.add(Verdict::Unchecked, format!("virtual table '{name}' was not examined: {error}"));
            }
        }
        Ok(())
    }

    fn property<T: PartialEq + ToString + ?Sized>(&mut self, name: &'static str, expected: &T, found: &T) {
        if expected != found {
            self.differ(Difference::property(name, &expected.to_string(), &found.to_string()));
        }
    }

    fn differ(&mut self, difference: Difference) {
        if self.differences.len() < DIFFERENCES_MAX {
            self.differences.push(difference);
        }
    }

    /// Says where the schema differs, once its recorded text is known.
    pub fn locate_schema_difference(&mut self, recorded: &str) {
        let Some(found) = self.schema.take() else { return };
        for difference in &mut self.differences {
            if let Difference::Schema { at, .. } = difference {
                *at = difference::first_difference(recorded, &found);
            }
        }
    }
}

/// A longer schema is compared by its hash alone.
const SCHEMA_KEPT_BYTES: usize = 4 << 20;
const DIFFERENCES_MAX: usize = 1000;
