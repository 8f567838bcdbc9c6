//! What became of a restore in place, and of each of its targets.

use std::path::PathBuf;

use super::record::Incarnation;
use crate::bundle::{Label, PublicCore, SourceGap, TableGap, UtcTime};
use crate::database::{InstallError, InstallReport, Way};
use crate::ops::BackupReport;

/// What became of a restore in place.
#[derive(Debug)]
pub struct InPlaceReport {
    /// Stands in each of its records.
    pub id: String,
    /// The bundle's public core.
    pub core: PublicCore,
    /// The state before, unless there was none or it was not wanted.
    pub safety: Option<BackupReport>,
    /// The targets, in the order in which they were replaced.
    pub outcomes: Vec<TargetOutcome>,
}

/// What became of one target.
#[derive(Debug)]
pub struct TargetOutcome {
    /// The source.
    pub label: Label,
    /// The target.
    pub path: PathBuf,
    /// By which way.
    pub way: Way,
    /// The moment that it shows now.
    pub captured_at: UtcTime,
    /// What that took away, or would have.
    pub gap: SourceGap,
    /// Which life of the database this is.
    pub incarnation: Incarnation,
    /// Whether it was replaced.
    pub result: TargetResult,
}

/// Whether a target was replaced.
#[derive(Debug)]
pub enum TargetResult {
    /// It was.
    Replaced(InstallReport),
    /// It was, and what had to follow failed: it is another content than it was to be, or could not be compared.
    Unconfirmed(InstallError),
    /// It was not: the old content is there.
    Failed(InstallError),
    /// One before it failed.
    NotTried,
}

/// Sums over the tables of a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Totals {
    /// Rows that only the live side had.
    pub lost: u64,
    /// Rows of the same key with other content.
    pub altered: u64,
    /// Rows that were put back.
    pub grafted: u64,
    /// The least certain of the tables: `exact`, `lower-bound` or `unknown`; `not-compared` if no table is known to be append-only.
    pub certainty: &'static str,
}

impl TargetOutcome {
    /// Whether the new content is there.
    pub fn is_replaced(&self) -> bool {
        matches!(self.result, TargetResult::Replaced(_) | TargetResult::Unconfirmed(_))
    }

    /// Whether it is what it was to be, as far as that could be compared.
    pub fn is_confirmed(&self) -> bool {
        matches!(self.result, TargetResult::Replaced(_))
    }

    /// Sums over its tables.
    pub fn totals(&self) -> Totals {
        totals(&self.gap)
    }
}

/// Sums over the tables of a gap. Where the live side was not read, nothing is certain.
pub fn totals(gap: &SourceGap) -> Totals {
    let sum = |count: fn(&TableGap) -> u64| gap.tables.iter().map(count).sum();
    let has = |certainty: &str| gap.tables.iter().any(|table| table.certainty == certainty);
    let certainty = match () {
        () if gap.live != "read" || has("unknown") => "unknown",
        () if gap.tables.is_empty() => "not-compared",
        () if has("lower-bound") => "lower-bound",
        () => "exact",
    };
    Totals { lost: sum(|table| table.lost), altered: sum(|table| table.altered), grafted: sum(|table| table.grafted), certainty }
}

impl InPlaceReport {
    /// Whether somebody cancelled it before anything was replaced.
    pub(super) fn is_cancelled(&self) -> bool {
        let first = self.outcomes.first().map(|outcome| &outcome.result);
        matches!(first, Some(TargetResult::Failed(InstallError::Cancelled { .. })))
    }

    /// Whether all targets were replaced.
    pub fn is_complete(&self) -> bool {
        self.outcomes.iter().all(TargetOutcome::is_confirmed)
    }
}
