//! Whether what lies at the target is what was to be installed: page by page under the lock, by content once others are let in.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rusqlite::Connection;

use super::{Comparison, InstallError};
use crate::database::facts::{Schema, list_tables, read_schema};
use crate::database::logical::{TableHash, table_hash};
use crate::database::pages::{PageError, stream};
use crate::database::source::{Source, unreadable};
use crate::database::{DatabaseError, Image, open};

/// Schema and tables of a database.
pub(super) struct Content {
    schema: Schema,
    /// Nothing where a table cannot be hashed.
    tables: BTreeMap<String, Option<TableHash>>,
}

impl Content {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let schema = read_schema(connection)?;
        let tables = list_tables(connection)?.into_iter().map(|table| (table_hash(connection, &table).ok(), table));
        Ok(Self { schema, tables: tables.map(|(hash, table)| (table, hash)).collect() })
    }

    /// The tables that could not be hashed.
    pub(super) fn unhashed(&self) -> Vec<String> {
        self.tables.iter().filter(|(_, hash)| hash.is_none()).map(|(table, _)| table.clone()).collect()
    }

    fn first_difference(&self, found: &Content) -> Option<String> {
        if self.schema != found.schema {
            return Some("its schema is another one".to_owned());
        }
        let mut names = self.tables.keys().chain(found.tables.keys());
        names.find(|name| self.tables.get(*name) != found.tables.get(*name)).map(|name| format!("table '{name}' has another content"))
    }
}

/// Compares every page with the image's, but for bytes that bear no content.
pub(super) fn pages(source: &Source, connection: &Connection, image: &Image) -> Result<(), InstallError> {
    if image.is_empty() {
        return Ok(()); // becomes a database of one empty page
    }
    let different = |what: String| InstallError::Different { path: source.path.clone(), what };
    let (mut offset, mut expected) = (0, Vec::new());
    let outcome = stream(connection, &mut |page| {
        expected.resize(page.len(), 0);
        let count = image.read_at(offset, &mut expected)?;
        let mut page = page.to_vec();
        if offset == 0 && count == page.len() {
            BYTES_WITHOUT_CONTENT.iter().for_each(|bytes| page[bytes.clone()].copy_from_slice(&expected[bytes.clone()]));
        }
        // SQLite never uses the page with the lock byte, and shows zeros for it.
        let is_lock_page = (offset..offset + page.len() as u64).contains(&LOCK_BYTE_OFFSET);
        if page != expected && !is_lock_page || count != page.len() {
            return Err(different(format!("the page at byte {offset} is another one")));
        }
        offset += page.len() as u64;
        Ok(())
    });
    match outcome {
        Ok(()) if offset == image.len() => Ok(()),
        Ok(()) => Err(different(format!("{offset} bytes of pages, not {}", image.len()))),
        Err(PageError::Sink(error)) => Err(error),
        Err(PageError::Scratch(error)) => Err(error.into()),
        Err(PageError::Sqlite(error)) => Err(DatabaseError::Sqlite { path: source.path.clone(), action: "compare", source: error }.into()),
    }
}

/// Compares by content on a fresh connection. Once that has its snapshot it is asked whether the snapshot is what was installed.
pub(super) fn compare(
    source: &Source,
    expected: &Content,
    is_last: impl FnOnce() -> Result<bool, DatabaseError>,
) -> Result<Comparison, InstallError> {
    match read(source, is_last) {
        Ok(None) => Ok(Comparison::Overtaken),
        Ok(Some(found)) => match expected.first_difference(&found) {
            None => Ok(Comparison::Equal),
            Some(what) => Err(InstallError::Different { path: source.path.clone(), what }),
        },
        Err(ReadError::Sqlite(error)) if open::is_busy(&error) => Ok(Comparison::Overtaken),
        Err(ReadError::Sqlite(error)) => Err(source.explain("compare", Duration::ZERO, error).into()),
        Err(ReadError::Look(error)) => Err(error.into()),
    }
}

enum ReadError {
    Sqlite(rusqlite::Error),
    Look(DatabaseError),
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Nothing if somebody else has written.
fn read(source: &Source, is_last: impl FnOnce() -> Result<bool, DatabaseError>) -> Result<Option<Content>, ReadError> {
    // Writable, so that SQLite takes an empty WAL away with the last connection; `query_only` forbids statements to write.
    let connection = open::writable(source, FRESH_TIMEOUT)?;
    connection.execute_batch("PRAGMA query_only=ON; BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    if is_last().map_err(ReadError::Look)? { Ok(Some(Content::of(&connection)?)) } else { Ok(None) }
}

/// What tells whether a database was written to: its file's inode, length and times, and the length of its WAL.
#[derive(PartialEq, Eq)]
pub(super) struct Witness {
    inode: u64,
    size_bytes: u64,
    times: [i64; 2],
    wal_bytes: u64,
}

impl Witness {
    pub(super) fn of(source: &Source) -> Result<Self, DatabaseError> {
        let wal = match std::fs::symlink_metadata(source.sidecar("-wal")) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(unreadable(&source.path, error)),
        };
        let found = source.metadata()?;
        Ok(Self { inode: found.ino(), size_bytes: found.len(), times: [found.mtime(), found.mtime_nsec()], wal_bytes: wal })
    }
}

/// Rollback or WAL, change counter, schema cookie, the counter's repetition and SQLite's version.
pub(super) const BYTES_WITHOUT_CONTENT: [std::ops::Range<usize>; 4] = [18..20, 24..28, 40..44, 92..100];
const LOCK_BYTE_OFFSET: u64 = 1 << 30;
const FRESH_TIMEOUT: Duration = Duration::from_secs(2);
pub(super) const LONGER_THAN_A_TICK: Duration = Duration::from_millis(20);
