//! Why an operation ended without its result. The command line maps each to an exit code and a hint.

use std::path::PathBuf;

use crate::bundle::{BundleError, Damage, Label};
use crate::database::DatabaseError;
use crate::files::FileError;
use crate::vault::VaultError;

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A source could not be captured.
    #[error("cannot back up '{label}'")]
    Source {
        /// Its label.
        label: Label,
        /// Why.
        source: DatabaseError,
    },
    /// Two sources claim one label.
    #[error("two sources have the label '{label}'")]
    DoubleLabel {
        /// The label.
        label: Label,
    },
    /// The vault cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The keys are not those of the vault.
    #[error("the given keys do not open the newest bundle of the vault, '{bundle}'")]
    OtherKeys {
        /// Its file name.
        bundle: String,
    },
    /// A bundle cannot be written.
    #[error("cannot write a bundle into '{}'", vault.display())]
    Seal {
        /// The vault.
        vault: PathBuf,
        /// Why.
        source: BundleError,
    },
    /// The bundle that was just written does not verify: the medium cannot be trusted.
    #[error("the bundle written into '{}' does not read back as it was written, and was discarded", vault.display())]
    ReadBack {
        /// The vault.
        vault: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// A bundle cannot be opened or read.
    #[error("cannot open bundle '{}'", path.display())]
    Bundle {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
    /// A bundle is damaged, and nothing was restored from it.
    #[error("bundle '{}' is damaged or was changed, nothing was restored", path.display())]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// The first thing that is wrong.
        source: Damage,
        /// Chosen databases that are whole all the same.
        whole: Vec<Label>,
        /// Whether the bundle holds more than one.
        has_several: bool,
    },
    /// There is no such file.
    #[error("bundle '{}' does not exist", path.display())]
    NoBundle {
        /// Its path.
        path: PathBuf,
    },
    /// The folder holds no bundle.
    #[error("there is no bundle in '{}'", path.display())]
    EmptyVault {
        /// Its path.
        path: PathBuf,
    },
    /// A level that needs a key was asked for without one.
    #[error("level {level} needs a key")]
    NoKey {
        /// The level.
        level: crate::bundle::Level,
    },
    /// The bundle holds no such source.
    #[error("the bundle has no source '{label}', it has: {}", has.join(", "))]
    NoLabel {
        /// The label asked for.
        label: Label,
        /// Those that it holds.
        has: Vec<String>,
    },
    /// Something is where the restored files would go.
    #[error("'{}' exists already, nothing was restored", path.display())]
    TargetExists {
        /// What is in the way.
        path: PathBuf,
    },
    /// The restored files would not fit.
    #[error("'{}' has not enough free space: {available_bytes} bytes, the restored files need {needed_bytes}", folder.display())]
    NoSpace {
        /// The target folder.
        folder: PathBuf,
        /// Bytes needed.
        needed_bytes: u64,
        /// Bytes free.
        available_bytes: u64,
    },
    /// [`Progress::is_cancelled`](super::Progress::is_cancelled) said so, before anything was published.
    #[error("interrupted, nothing was written")]
    Cancelled,
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}
