//! Recognising a database later: whether it is what was installed, or what was there before, after a run that could not say.
//!
//! The schema cookie of a database grows by one with each change of the schema, with VACUUM, and when the backup interface replaces its
//! content; rows do not change it. So an installation makes it jump by a million afterwards: the same cookie is the old content, one
//! behind the jump the new one, whatever was written since. Anything between may be either (the old one after VACUUM, the new one
//! before the jump), and only the pages tell.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::compare::BYTES_WITHOUT_CONTENT;
use crate::crypto::{Digest, Sha256};
use crate::database::pages::{PageError, stream};
use crate::database::source::Source;
use crate::database::{DatabaseError, Image, live, open};

/// What is remembered of the content of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Changes with the schema, and when the content is replaced as a whole.
    pub schema_cookie: i32,
    /// SHA-256 of all pages, without the bytes of page 1 that bear no content.
    pub pages_sha256: Digest,
}

impl Standing {
    /// Reads it from a connection; within one transaction if one is open.
    ///
    /// # Errors
    /// Whatever SQLite says.
    pub fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let mut hasher = Sha256::new();
        let mut is_first = true;
        let outcome = stream::<std::convert::Infallible>(connection, &mut |page| {
            match std::mem::take(&mut is_first) {
                true => hasher.update(&without_bytes_that_bear_no_content(page)),
                false => hasher.update(page),
            }
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(PageError::Sqlite(error)) => return Err(error),
            Err(PageError::Sink(never)) => match never {},
            // Nothing here reads scratch but through SQLite.
            Err(PageError::Scratch(_)) => return Err(rusqlite::Error::InvalidQuery),
        }
        Ok(Self { schema_cookie: live::schema_version(connection)?, pages_sha256: hasher.finish() })
    }

    /// Reads it from an image.
    ///
    /// # Errors
    /// SQLite or scratch fails.
    pub fn of_image(image: &Image) -> rusqlite::Result<Self> {
        Self::of(&image.open(crate::database::Access::ReadOnly)?)
    }
}

/// Reads it from a database file, as anyone would who opens it: a hot journal is rolled back.
///
/// # Errors
/// Any [`DatabaseError`].
pub fn standing_of(path: &Path, busy_timeout: Duration) -> Result<Standing, DatabaseError> {
    let source = Source::resolve(path)?;
    source.require_plain_sidecars()?;
    let read = || {
        let connection = open::writable(&source, busy_timeout)?;
        connection.execute_batch("PRAGMA query_only=ON; BEGIN")?;
        Standing::of(&connection)
    };
    read().map_err(|error| source.explain("read", busy_timeout, error))
}

/// The cookie that the new content of a database will have.
pub(super) fn cookie_of_new(connection: &Connection) -> rusqlite::Result<i32> {
    live::schema_version(connection).map(|cookie| cookie.wrapping_add(JUMP))
}

/// Gives the new content its cookie. Others read the schema again, which they must do in any case.
pub(super) fn mark_as_new(connection: &Connection, cookie: i32) -> rusqlite::Result<()> {
    use rusqlite::config::DbConfig;
    // Defensive mode forbids it, which nothing else of this connection should be rid of.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    let marked = connection.execute_batch(&format!("PRAGMA schema_version={cookie}"));
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    marked
}

/// Whether a cookie is that of the new content; nothing if it is of neither.
#[must_use]
pub fn is_new_cookie(before: i32, now: i32) -> Option<bool> {
    match now.wrapping_sub(before) {
        0 => Some(false),
        behind if (JUMP..JUMP + CHANGES_MAX).contains(&behind) => Some(true),
        _ => None,
    }
}

/// Puts a database into WAL mode that was in it before an installation; tells whether that was necessary.
///
/// # Errors
/// It is in use, or SQLite refuses for another reason.
pub fn keep_journal_mode(path: &Path, busy_timeout: Duration) -> Result<bool, DatabaseError> {
    let source = Source::resolve(path)?;
    let change = || {
        let connection = open::writable(&source, busy_timeout)?;
        connection.execute_batch("PRAGMA synchronous=EXTRA")?;
        let before: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
        connection.query_row("PRAGMA journal_mode=wal", [], |row| row.get::<_, String>(0)).map(|after| before != after)
    };
    change().map_err(|error| source.explain("change the journal mode of", busy_timeout, error))
}

fn without_bytes_that_bear_no_content(page: &[u8]) -> Vec<u8> {
    let mut page = page.to_vec();
    for bytes in BYTES_WITHOUT_CONTENT {
        page[bytes].fill(0); // a page has 512 bytes at least
    }
    page
}

/// How far the cookie of new content is from the old one.
const JUMP: i32 = 1 << 20;
/// So many changes of the schema are followed.
const CHANGES_MAX: i32 = 1 << 19;
