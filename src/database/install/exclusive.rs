//! The exclusive way: one connection that gets the lock and keeps it until the new content is durable.
//!
//! The lock is taken by `BEGIN EXCLUSIVE; ROLLBACK` in exclusive locking mode: a COMMIT would grow an empty file. Whoever is connected to
//! a WAL database makes it fail, idle or not; an idle connection to a database in rollback mode holds no lock, and sees at its next
//! statement that the content has changed.

use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, ffi};

use super::{InstallError, InstallOptions, Others, standing};
use crate::database::header::{HEADER_BYTES, Header};
use crate::database::source::Source;
use crate::database::{Cancelled, DatabaseError, Image, open, vfs};

/// A database that nobody else can read or write.
pub(super) struct Exclusive {
    pub(super) source: Source,
    pub(super) connection: Connection,
    /// What the target is, and is to stay.
    pub(super) is_wal: bool,
    /// The schema cookie by which the new content is recognised, once it is there.
    cookie: Option<i32>,
}

/// Why there is no lock.
pub(super) enum Refusal {
    /// SQLite finds no database in the file.
    Unopenable,
    /// Others are connected.
    InUse,
    Other(InstallError),
}

impl Exclusive {
    /// Waits for the lock, unless there is another way for databases that are in use.
    pub(super) fn lock(source: &Source, options: &InstallOptions<'_>) -> Result<Self, Refusal> {
        let started = Instant::now();
        loop {
            let error = match attempt(source) {
                Ok(exclusive) => {
                    source.metadata().map_err(|error| Refusal::Other(error.into()))?;
                    return Ok(exclusive);
                }
                Err(error) => error,
            };
            let is_busy = open::is_busy(&error);
            match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => return Err(Refusal::Unopenable),
                _ if is_busy && (options.cancelled)() => {
                    return Err(Refusal::Other(InstallError::Cancelled { path: source.path.clone() }));
                }
                _ if is_busy && options.others == Others::Keep => return Err(Refusal::InUse),
                _ if is_busy && started.elapsed() < options.busy_timeout => std::thread::sleep(open::RETRY_AFTER),
                _ => return Err(Refusal::Other(source.explain("lock", started.elapsed(), error).into())),
            }
        }
    }

    /// Copies the pages in one transaction; the journal mode is the old one afterwards.
    pub(super) fn install(&mut self, content: &Connection, image: &Image, cancelled: Cancelled<'_>) -> Result<(), InstallError> {
        self.source.metadata()?;
        if let Err(error) = self.change_pages(content, image, cancelled) {
            // The old content is there, and keeps its journal mode; where that fails, the failure before it says more.
            let _ = if self.is_wal { self.set_journal_mode("wal") } else { Ok(()) };
            return Err(error);
        }
        let finished = self.finish().and_then(|()| super::compare::pages(&self.source, &self.connection, image));
        finished.map_err(|error| error.after_commit(&self.source.path))
    }

    fn change_pages(&mut self, content: &Connection, image: &Image, cancelled: Cancelled<'_>) -> Result<(), InstallError> {
        let path = self.source.path.clone();
        let failed = |error| DatabaseError::Sqlite { path: path.clone(), action: "install into", source: error };
        let is_page_size_kept = page_size(&self.connection).map_err(failed)? == page_size(content).map_err(failed)?;
        // A stale WAL beside a database in rollback mode has been taken in, too; both are one state, and both are replaced.
        let has_wal = journal_mode(&self.connection).map_err(failed)? == "wal";
        if has_wal && !(self.is_wal && is_page_size_kept) {
            self.set_journal_mode("delete")?;
        }
        let cookie = standing::cookie_of_new(&self.connection).map_err(failed)?;
        let backup = Backup::new(content, &mut self.connection).map_err(failed)?;
        loop {
            match backup.step(PAGES_PER_STEP) {
                Ok(StepResult::Done) => break,
                Ok(StepResult::More) if cancelled() => return Err(InstallError::Cancelled { path }),
                Ok(StepResult::More) => {}
                Ok(_) => return Err(failed(busy()).into()),
                Err(error) => return Err(image.take_failure().map_or_else(|| failed(error), DatabaseError::Scratch).into()),
            }
        }
        drop(backup);
        self.cookie = Some(cookie);
        Ok(())
    }

    /// Marks the new content, and gives the database its journal mode back.
    fn finish(&mut self) -> Result<(), InstallError> {
        let path = self.source.path.clone();
        let failed = |error| DatabaseError::Sqlite { path: path.clone(), action: "install into", source: error };
        if let Some(cookie) = self.cookie {
            standing::mark_as_new(&self.connection, cookie).map_err(failed)?;
        }
        if self.is_wal {
            self.set_journal_mode("wal")?;
            // Where sqlite_dbpage was read on this connection before, the change of mode leaves SQLite's tree (3.54) in a read transaction that
            // no statement owns, and the checkpoint says "locked". A transaction of our own ends it.
            self.connection.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema; COMMIT").map_err(failed)?;
            // Not left to others: a WAL of the size of the database would be theirs to carry, and to misplace.
            let blocked: i64 = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
            if blocked != 0 {
                return Err(failed(busy()).into());
            }
        }
        Ok(())
    }

    fn set_journal_mode(&self, mode: &str) -> Result<(), InstallError> {
        let action = "change the journal mode of";
        let explain = |source| DatabaseError::Sqlite { path: self.source.path.clone(), action, source };
        let now: String = self.connection.query_row(&format!("PRAGMA journal_mode={mode}"), [], |row| row.get(0)).map_err(explain)?;
        if now == mode { Ok(()) } else { Err(explain(busy()).into()) }
    }

    /// Gives the lock up.
    pub(super) fn release(self) -> Result<(), InstallError> {
        let Self { source, connection, .. } = self;
        let closed = connection.close();
        closed.map_err(|(_, error)| DatabaseError::Sqlite { path: source.path.clone(), action: "close", source: error }.into())
    }
}

/// Tries once.
fn attempt(source: &Source) -> rusqlite::Result<Exclusive> {
    let connection = open::writable(source, Duration::ZERO)?;
    // If we are killed or fail, closing must not write into a database that was not to be changed.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; ROLLBACK")?;
    // This reads the schema, and so finds out whether it can be read. EXTRA syncs the folder when a journal ends.
    connection.execute_batch("PRAGMA synchronous=EXTRA")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let mut bytes = [0; HEADER_BYTES];
    vfs::read_through_handle(&connection, &mut bytes);
    Ok(Exclusive { source: source.clone(), is_wal: Header::of(&bytes).is_wal(), connection, cookie: None })
}

pub(super) fn page_size(connection: &Connection) -> rusqlite::Result<u32> {
    connection.query_row("PRAGMA page_size", [], |row| row.get(0))
}

pub(super) fn journal_mode(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))
}

pub(super) fn busy() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error { code: ErrorCode::DatabaseBusy, extended_code: ffi::SQLITE_BUSY }, None)
}

pub(super) const PAGES_PER_STEP: i32 = 1000;
