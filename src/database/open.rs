//! Opening a database file that belongs to others, and waiting for them.
//!
//! Links are not followed: the path was resolved before, and what has become a link since is another file. Every connection is hardened
//! before it reads a byte.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::hardened;
use super::options::CaptureOptions;
use super::source::Source;

/// Opens it so that SQLite writes nothing, not even what recovery would take; waits for nobody.
pub(super) fn read_only(source: &Source) -> rusqlite::Result<Connection> {
    open(source, OpenFlags::SQLITE_OPEN_READ_ONLY, Duration::ZERO)
}

/// Opens it as any application does, for which SQLite rolls a hot journal back and takes a WAL in.
pub(super) fn writable(source: &Source, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    open(source, OpenFlags::SQLITE_OPEN_READ_WRITE, busy_timeout)
}

fn open(source: &Source, mode: OpenFlags, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let flags = mode | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&source.path, flags)?;
    connection.busy_timeout(busy_timeout)?;
    hardened::harden(&connection, source.size_bytes + source.sidecar_bytes("-wal").unwrap_or(0))?;
    Ok(connection)
}

/// Whether somebody else has a lock; a protocol error is many of them at once.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed))
}

/// Tries for a lock often: SQLite's own waiting sleeps up to 100 ms between attempts, and so can miss every gap that a busy writer
/// leaves.
pub(super) fn patiently<T>(options: &CaptureOptions<'_>, mut attempt: impl FnMut() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let started = Instant::now();
    loop {
        match attempt() {
            Err(error) if is_busy(&error) && started.elapsed() < options.busy_timeout && !(options.cancelled)() => {
                std::thread::sleep(RETRY_AFTER);
            }
            other => return other,
        }
    }
}

/// Between two attempts.
pub(super) const RETRY_AFTER: Duration = Duration::from_millis(2);
