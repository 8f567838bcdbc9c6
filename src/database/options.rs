//! What a caller decides of a capture.

use std::time::{Duration, SystemTime};

use super::bounds::Cancelled;
use super::check::CheckKind;
use super::continuity::Watched;
use crate::files::ScratchSpace;

/// How a database is to be captured.
pub struct CaptureOptions<'a> {
    /// How thoroughly the captured state is checked.
    pub check: CheckKind,
    /// How long to wait for a lock.
    pub busy_timeout: Duration,
    /// Whether a damaged database is captured, and labelled so, instead of refused.
    pub accept_corrupt: bool,
    /// Where images may be put.
    pub scratch: &'a ScratchSpace,
    /// Which reader of pages to take.
    pub pages: PagePreference,
    /// Whether the logical hash of every table is computed from the captured state.
    pub hash_tables: bool,
    /// Append-only tables, which are hashed and compared with what they were.
    pub watched: &'a [Watched],
    /// Tells the time at which the snapshot is fixed.
    pub clock: &'a dyn Fn() -> SystemTime,
    /// Whether somebody wants it to stop; asked many times a second, also by another thread.
    pub cancelled: Cancelled<'a>,
}

/// Which reader of pages to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PagePreference {
    /// `sqlite_dbpage` if SQLite has it.
    Auto,
    /// The backup interface.
    BackupApi,
}
