//! A limit in time for work on content that was made by somebody else.
//!
//! SQLite's progress handler is not asked in every loop (counting rows is one that it misses), so a second thread interrupts
//! the connection, again and again until the work has ended. The same thread stops what somebody cancelled.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Says whether the work is to stop.
pub type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// Does the work, and interrupts every statement of the connection once the limit is reached or the work is cancelled.
///
/// The work is given a flag that tells whether it was.
pub(super) fn within<T>(connection: &Connection, limit: Duration, cancelled: Cancelled<'_>, work: impl FnOnce(&AtomicBool) -> T) -> T {
    let handle = connection.get_interrupt_handle();
    let is_expired = AtomicBool::new(false);
    let (is_working, has_ended) = mpsc::channel::<()>();
    let flag = &is_expired;
    let watch = move || {
        let started = Instant::now();
        while has_ended.recv_timeout(limit.min(REPEAT)) == Err(RecvTimeoutError::Timeout) {
            if started.elapsed() >= limit || cancelled() {
                flag.store(true, Ordering::Relaxed);
                handle.interrupt();
            }
        }
    };
    std::thread::scope(|scope| {
        // Where no thread can be had the work is done without a limit.
        let _watcher = std::thread::Builder::new().spawn_scoped(scope, watch);
        let result = work(&is_expired);
        drop(is_working);
        result
    })
}

/// A minute, and as long again as two megabytes a second would take.
pub(super) fn for_size(size_bytes: u64) -> Duration {
    Duration::from_secs(60 + size_bytes / 2_000_000)
}

const REPEAT: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n";

    #[test]
    fn stops_an_endless_query_and_every_later_one() {
        let connection = Connection::open_in_memory().expect("memory");
        let (first, second, is_expired) = within(&connection, Duration::from_millis(20), &|| false, |expired| {
            let run = || connection.query_row(ENDLESS, [], |_| Ok(()));
            (run(), run(), expired.load(Ordering::Relaxed))
        });
        for result in [first, second] {
            assert_eq!(result.expect_err("endless").sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
        }
        assert!(is_expired);
        assert_eq!(connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)), Ok(1));
    }

    #[test]
    fn stops_what_is_cancelled_long_before_the_limit() {
        let connection = Connection::open_in_memory().expect("memory");
        let begun = Instant::now();
        let stopped =
            within(&connection, Duration::from_secs(3600), &|| begun.elapsed() > REPEAT, |_| connection.query_row(ENDLESS, [], |_| Ok(())));
        assert_eq!(stopped.expect_err("endless").sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
    }

    #[test]
    fn returns_at_once_when_the_work_is_done() {
        let connection = Connection::open_in_memory().expect("memory");
        assert!(!within(&connection, Duration::from_secs(3600), &|| false, |expired| expired.load(Ordering::Relaxed)));
    }
}
