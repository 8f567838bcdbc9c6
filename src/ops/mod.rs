//! The operations: backup, verify, restore, info. Each takes a request and gives a report or a [`Failure`]; none prints, asks or exits.

mod backup;
mod environment;
mod failure;
mod git;
mod info;
mod keys;
mod progress;
mod record;
mod restore;
mod verify;

pub use backup::{Backup, BackupReport, SourceSpec};
pub use environment::{Environment, OsEntropy, utc};
pub use failure::Failure;
pub use info::{Facts, inspect};
pub use keys::{Rekey, SlotReport, list_slots, make_key_file};
pub use progress::{Progress, Unwatched};
pub use restore::{Restore, RestoreReport, Restored};
pub use verify::{Verification, VerifyRequest, bundles_of};
