//! One cut through several databases: while the write locks of all of them are held, nobody can be between two commits that belong
//! together, so snapshots that begin then fit each other.
//!
//! Taking the lock opens a database as any application does: a hot journal is rolled back, a WAL comes into use.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::live::Tidy;
use super::source::Source;
use super::{CaptureOptions, DatabaseError, open};

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
        let locked = open::patiently(options, || lock(&source));
        self.held.push(locked.map_err(|error| source.explain("lock", started.elapsed(), error))?);
        Ok(())
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
    let connection = open::writable(source, Duration::ZERO)?;
    // Closing the connection takes the transaction back, which has written nothing.
    connection.execute_batch("BEGIN IMMEDIATE")?;
    Ok(connection)
}
