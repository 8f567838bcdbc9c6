//! Encrypted air-gap backups of live databases.
//!
//! A *bundle* is one file: consistent snapshots, a manifest, checksums, sealed with AES-256 under keys that passphrases or key files unwrap. It
//! opens with this crate, and with sh, openssl, tar and gzip alone.
//!
//! | to | use |
//! |---|---|
//! | make a bundle | [`Backup`] |
//! | prove one | [`Verification`] |
//! | get databases back | [`Restore`] |
//! | make a vault that signs | [`Init`] |
//! | look at one | [`inspect`] |
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

pub use bundle::{Compression, Keyring, Label, Level, TrustedSigners};
pub use crypto::{Fingerprint, KeyFileKey, Passphrase, PassphraseError};
pub use ops::{
    Backup, BackupReport, Environment, Failure, Init, Progress, Restore, RestoreReport, SigningKeyPlace, SourceSpec, Verification,
    VerifyRequest, inspect,
};

/// The code in the README is compiled as a test of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
