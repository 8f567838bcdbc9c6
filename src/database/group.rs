//! One cut through several databases: while the write locks of all of them are held, nobody can be between two commits that belong
//! together, so snapshots that begin then fit each other.
//!
//! Taking the lock opens a database as any application does: a hot journal is rolled back, a WAL comes into use.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::live::Tidy;
use super::source::Source;
use super::{CaptureOptions, DatabaseError, hardened};

/// The write locks of several databases.
pub struct WriteLocks {
    held: Vec<Connection>,
    leftovers: Leftovers,
}

/// Empty files that opening idle WAL databases has made; they go away with this, once nothing reads the databases any more.
pub struct Leftovers {
    _tidy: Vec<Tidy>,
}

impl WriteLocks {
    /// Takes them all, in one order for everybody, waiting for each as long as for any lock.
    ///
    /// # Errors
    /// Any [`DatabaseError`], with the place of the database among those that were named; no lock is held then.
    pub fn take(paths: &[PathBuf], options: &CaptureOptions<'_>) -> Result<Self, (usize, DatabaseError)> {
        let mut order: Vec<usize> = (0..paths.len()).collect();
        order.sort_by_key(|&place| &paths[place]);
        let mut locks = Self { held: Vec::new(), leftovers: Leftovers { _tidy: Vec::new() } };
        for place in order {
            locks.take_one(&paths[place], options).map_err(|error| (place, error))?;
        }
        Ok(locks)
    }

    fn take_one(&mut self, path: &std::path::Path, options: &CaptureOptions<'_>) -> Result<(), DatabaseError> {
        let source = Source::resolve(path)?;
        source.require_plain_sidecars()?;
        self.leftovers._tidy.push(Tidy::new(&source));
        let started = Instant::now();
        loop {
            match lock(&source) {
                Ok(connection) => {
                    self.held.push(connection);
                    return Ok(());
                }
                Err(error) if is_busy(&error) && started.elapsed() < options.busy_timeout && !(options.cancelled)() => {
                    std::thread::sleep(RETRY_AFTER);
                }
                Err(error) => return Err(source.explain("lock", started.elapsed(), error)),
            }
        }
    }

    /// Gives the locks up.
    #[must_use]
    pub fn release(self) -> Leftovers {
        let Self { held, leftovers } = self;
        drop(held);
        leftovers
    }
}

fn lock(source: &Source) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&source.path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    hardened::harden(&connection, source.size_bytes)?;
    // Closing the connection takes the transaction back, which has written nothing.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

const RETRY_AFTER: Duration = Duration::from_millis(2);
