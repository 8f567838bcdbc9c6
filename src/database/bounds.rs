//! Limits in time and memory for work on content that was made by somebody else.
//!
//! SQLite's progress handler is not asked in every loop (counting rows is one that it misses), so a second thread interrupts
//! the connection, again and again until the work has ended. Memory is bounded by SQLite's own heap limit, which the whole process
//! shares: each piece of work under way adds its allowance, and when none is left the limit is what it was before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::vfs;

/// Says whether the work is to stop.
pub type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// What a piece of work may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    time: Duration,
    heap_bytes: i64,
}

impl Bounds {
    /// For the operator's own live database: a minute, and as long again as two megabytes a second would take.
    pub(super) fn of_live(size_bytes: u64) -> Self {
        let heap_bytes = i64::from(longest_value(size_bytes)).saturating_mul(4).max(LIVE_HEAP_BYTES);
        Self { time: Duration::from_secs(60 + size_bytes / 2_000_000), heap_bytes }
    }

    /// For copying the operator's own database, which takes as long as it takes.
    pub(super) fn of_copy(size_bytes: u64) -> Self {
        Self { time: Duration::MAX, ..Self::of_live(size_bytes) }
    }

    /// For walking over the tables of a database out of a bundle, which waits for whoever takes the rows: what it shows is counted instead.
    pub(super) fn of_reading(size_bytes: u64) -> Self {
        Self { time: Duration::MAX, ..Self::of_image(size_bytes) }
    }

    /// For a database out of a bundle, whoever made it: one second, and as long again as one megabyte a second would take.
    ///
    /// Wall time, and not the number of SQLite's operations: one operation can be a function call over megabytes, and what a
    /// hostile schema costs is a person's time. An honest check runs at 100 to 250 MB/s, so a machine a hundred times slower still
    /// finishes; and a few kilobytes, for which an honest check takes milliseconds, cannot hold anybody up for longer than
    /// two seconds, expressions or not.
    pub(super) fn of_image(size_bytes: u64) -> Self {
        let heap_bytes = IMAGE_HEAP_BYTES + 2 * i64::from(longest_value_of_image(size_bytes));
        Self { time: Duration::from_millis(1000 + size_bytes / 1000), heap_bytes }
    }
}

/// A stored value cannot be longer than its file, though twice that when UTF-16 becomes UTF-8; small files get some room.
pub(super) fn longest_value(size_bytes: u64) -> i32 {
    let bytes = size_bytes.saturating_mul(2).clamp(SMALLEST_LIMIT_BYTES, LARGEST_LIMIT_BYTES);
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// The longest value that a database out of a bundle may show.
///
/// A stored value is not longer than the file, or twice that when UTF-16 becomes UTF-8.
pub(super) fn longest_value_of_image(size_bytes: u64) -> i32 {
    longest_value(size_bytes).min(i32::try_from(size_bytes.saturating_mul(2)).unwrap_or(i32::MAX)).max(SMALLEST_VALUE_BYTES)
}

/// The longest value where expressions of the schema call functions that take quadratic time, such as `instr`.
///
/// No interrupt reaches into a call. At some 20 GB/s of comparing, one call over values of this length takes at most about as long
/// as the whole work may.
pub(super) fn longest_value_for_slow_functions(size_bytes: u64) -> i32 {
    longest_value_of_image(size_bytes).min(SMALLEST_VALUE_BYTES.saturating_add(i32::try_from(size_bytes / 128).unwrap_or(i32::MAX)))
}

/// Does the work under the bounds: every statement of the connection is interrupted once the time is over or the work is cancelled, and
/// SQLite gets no more memory than allowed.
///
/// The work is given a flag that tells whether its time is over.
pub(super) fn within<T>(connection: &Connection, bounds: Bounds, cancelled: Cancelled<'_>, work: impl FnOnce(&AtomicBool) -> T) -> T {
    let _allowance = Allowance::take(bounds.heap_bytes);
    let handle = connection.get_interrupt_handle();
    let is_expired = AtomicBool::new(false);
    let (is_working, has_ended) = mpsc::channel::<()>();
    let flag = &is_expired;
    let watch = move || {
        let started = Instant::now();
        while has_ended.recv_timeout(bounds.time.min(REPEAT)) == Err(RecvTimeoutError::Timeout) {
            if started.elapsed() >= bounds.time || cancelled() {
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

/// A share of the process's SQLite heap.
struct Allowance(i64);

/// The allowances in force, and the limit without them.
struct Heap {
    allowed_bytes: i64,
    /// In use when the first allowance was taken: not ours to count.
    base_bytes: i64,
    /// The limit that the program around us had set; 0 means none.
    before_bytes: i64,
}

static HEAP: Mutex<Heap> = Mutex::new(Heap { allowed_bytes: 0, base_bytes: 0, before_bytes: 0 });

impl Allowance {
    fn take(bytes: i64) -> Self {
        let mut heap = HEAP.lock().unwrap_or_else(PoisonError::into_inner);
        if heap.allowed_bytes == 0 {
            heap.base_bytes = vfs::heap_used_bytes();
            heap.before_bytes = vfs::heap_limit_bytes(None);
        }
        heap.allowed_bytes += bytes;
        heap.apply();
        Self(bytes)
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        let mut heap = HEAP.lock().unwrap_or_else(PoisonError::into_inner);
        heap.allowed_bytes -= self.0;
        heap.apply();
    }
}

impl Heap {
    fn apply(&self) {
        let limit_bytes = match (self.allowed_bytes, self.before_bytes) {
            (0, before) => before,
            (allowed, 0) => self.base_bytes + allowed,
            (allowed, before) => before.min(self.base_bytes + allowed),
        };
        vfs::heap_limit_bytes(Some(limit_bytes));
    }
}

const SMALLEST_LIMIT_BYTES: u64 = 32 << 20;
/// SQLite's own default.
const LARGEST_LIMIT_BYTES: u64 = 1_000_000_000;
const REPEAT: Duration = Duration::from_millis(50);
const LIVE_HEAP_BYTES: i64 = 512 << 20;
/// Page cache, page bitmap and statements need a small part of it.
const IMAGE_HEAP_BYTES: i64 = 48 << 20;
const SMALLEST_VALUE_BYTES: i32 = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    const ENDLESS: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n";

    fn brief() -> Bounds {
        Bounds { time: Duration::from_millis(20), ..Bounds::of_live(0) }
    }

    #[test]
    fn stops_an_endless_query_and_every_later_one() {
        let connection = Connection::open_in_memory().expect("memory");
        let (first, second, is_expired) = within(&connection, brief(), &|| false, |expired| {
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
        let endless = |_: &AtomicBool| connection.query_row(ENDLESS, [], |_| Ok(()));
        let stopped = within(&connection, Bounds::of_copy(0), &|| begun.elapsed() > REPEAT, endless);
        assert_eq!(stopped.expect_err("endless").sqlite_error_code(), Some(rusqlite::ErrorCode::OperationInterrupted));
    }

    #[test]
    fn returns_at_once_when_the_work_is_done() {
        let connection = Connection::open_in_memory().expect("memory");
        assert!(!within(&connection, Bounds::of_live(0), &|| false, |expired| expired.load(Ordering::Relaxed)));
    }

    #[test]
    fn memory_is_bounded_during_the_work() {
        let connection = Connection::open_in_memory().expect("memory");
        let during = within(&connection, Bounds::of_live(0), &|| false, |_| vfs::heap_limit_bytes(None));
        assert!(during >= LIVE_HEAP_BYTES);
    }

    #[test]
    fn small_images_get_little_and_large_ones_what_they_need() {
        assert_eq!(longest_value_of_image(8192), 256 << 10);
        assert_eq!(longest_value_of_image(3 << 20), 6 << 20);
        assert_eq!(longest_value_of_image(1 << 40), 1_000_000_000);
        assert!(Bounds::of_image(1 << 20).heap_bytes < 64 << 20);
        assert!(Bounds::of_image(1 << 20).time < Duration::from_secs(3));
    }
}
