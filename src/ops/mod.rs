//! The operations: backup, verify, restore, info. Each takes a request and gives a report or a [`Failure`]; none prints, asks or exits.

mod append_only;
mod audit;
mod backup;
mod backup_plan;
mod command;
mod compare;
mod configured;
mod continuity;
mod cut;
mod environment;
mod extract;
mod failure;
mod gap;
mod git;
mod guard;
mod hook;
mod import;
mod in_place;
mod info;
mod keys;
mod list;
mod plain;
mod progress;
mod rebuild;
mod record;
mod recorder;
mod reference;
mod restore;
mod seal;
mod signing;
mod size;
mod surroundings;
mod verify;
mod verify_database;
mod verify_files;

pub use append_only::AppendOnlyFault;
pub use audit::{Audit, AuditReport, journal_of};
pub use backup::{Backup, BackupReport, SourceGroup, SourceSpec};
pub use backup_plan::{BackupPlan, PlannedSource};
pub use command::{CommandFailure, Service, SiteCommand};
pub use compare::{Against, Compare, CompareReport, ComparedFiles, ComparedSource};
pub use continuity::{AppendOnly, TableHistory, TableRecord, table_histories};
pub use environment::{Environment, OsEntropy, age_seconds, utc};
pub use extract::{Extract, ExtractFormat, ExtractReport};
pub use failure::Failure;
pub use gap::{
    CapsuleFault, ExportReport, ExportRows, GapSource, RecordedGap, RowCounts, RowFormat, RowTarget, recorded_gap, recorded_gaps,
};
pub use guard::{Guard, GuardReport, Work};
pub use hook::{Hook, HookEvent, HookFailure, HookOutput, HookSyntaxError};
pub use import::{Import, ImportFault, OldBackup};
pub use in_place::{
    Closing, InPlace, InPlaceReport, Incarnation, OpenRestore, PlannedTarget, Prepared, Present, Resolution, Resolve, ResolvedTarget,
    RestorePlan, TargetOutcome, TargetResult, TargetState, Totals, gap_sentences, open_restores, totals,
};
pub use info::{Facts, inspect};
pub use keys::{Rekey, SlotReport, list_slots, make_key_file};
pub use list::{LastVerified, Listed, Listing, Recorded, list};
pub use plain::{FileSource, FilesFault};
pub use progress::{Progress, Unwatched};
pub use rebuild::{Rebuild, RebuildReport};
pub use reference::{FoundBundle, Reference};
pub use restore::{Restore, RestoreReport, Restored};
pub use signing::{Init, SignerReport, SigningKeyFault, SigningKeyPlace, rotate_signer, show_signer};
pub use size::{LabelSize, SizeReport, measure, measure_vault, sizes, source_bytes};
pub use surroundings::{keep_secret, without_secrets};
pub use verify::{SealSignature, Verification, VerifyRequest, bundles_of};
pub use verify_database::{DatabaseProof, Violation};
pub use verify_files::FilesProof;
