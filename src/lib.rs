//! Encrypted air-gap backups of live databases.
//!
//! A *bundle* is one file: consistent snapshots, a manifest, checksums, sealed with AES-256 under keys that passphrases or key files unwrap. It
//! opens with this crate, and with sh, openssl, tar and gzip alone.
//!
//! | to | use |
//! |---|---|
//! | make a bundle | [`Backup`], also [of a configuration](Backup::of_config) |
//! | see what that would do | [`BackupPlan`] |
//! | prove one | [`Verification`] |
//! | get databases and files out of one | [`Restore`], [`Extract`] |
//! | get rows out of one that a restore in place took away | [`ExportRows`] |
//! | put databases back where they belong | [`InPlace`], [`RestorePlan`], [`Prepared`]; [`Resolve`] after a kill |
//! | guard work on databases, such as a migration | [`Guard`] |
//! | tell what differs | [`Compare`] |
//! | adopt backups of other programs | [`Import`] |
//! | look into a bundle, a vault, its journal | [`inspect`], [`list`], [`Vault`], [`Audit`] |
//! | see what takes room | [`measure`], [`measure_vault`] |
//! | make a vault that signs, change keys | [`Init`], [`Rekey`] |
//! | read `airkeep.toml` | [`Config`] |
//!
//! What does something is a request with public fields, and nearly each has a constructor that fills in defaults. What those fields take is here
//! where it is needed often, else in the room that it is of: [`ops`], [`bundle`], [`database`], [`plain`]. A request is run with a [`Keyring`] and an [`Environment`] (clock,
//! randomness, host, progress), and gives a report or a [`Failure`]. What was done all right but could not be recorded or told stands in
//! [`Environment::shortfalls`].
//!
//! The rooms and what may import what are described in ARCHITECTURE.md, the bytes in docs/format.md.

pub mod bundle;
pub mod config;
pub mod crypto;
pub mod database;
pub mod files;
pub mod journal;
pub mod ops;
pub mod plain;
pub mod vault;

pub use bundle::{Compression, KeyChange, Keyring, Kind, Label, Level, Manifest, Marking, TrustedSigners};
pub use config::Config;
pub use crypto::{Fingerprint, KeyFileKey, Passphrase, PassphraseError};
pub use database::{CheckKind, Links, Others};
pub use ops::{
    Against, AppendOnly, Audit, Backup, BackupPlan, BackupReport, Compare, CompareReport, Environment, ExportReport, ExportRows, Extract,
    ExtractFormat, ExtractReport, Failure, FileSource, Guard, GuardReport, Import, InPlace, InPlaceReport, Init, OldBackup, Prepared,
    Progress, Rekey, Resolve, Restore, RestorePlan, RestoreReport, RowFormat, RowTarget, Service, SigningKeyPlace, SizeReport, SourceGroup,
    SourceSpec, Verification, VerifyRequest, inspect, list, measure, measure_vault,
};
pub use vault::Vault;

/// The code in the README is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
