//! Exit codes: one table for the program, its help and its documentation.

use std::fmt::Write as _;
use std::process::ExitCode;

use airkeep::Failure;
use airkeep::bundle::BundleError;
use airkeep::database::DatabaseError;
use airkeep::files::FileError;
use airkeep::vault::VaultError;

use super::signals;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success,
    /// Failed, nothing finer.
    Failed,
    /// Usage or configuration.
    Usage,
    /// Not found.
    NotFound,
    /// Locked or busy.
    Locked,
    /// Key rejected or missing.
    Key,
    /// Integrity failure.
    Integrity,
    /// Not supported.
    Unsupported,
    /// A bug.
    Bug,
    /// SIGHUP.
    HungUp,
    /// SIGINT, Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// All of them, by code.
    pub const ALL: [Exit; 12] = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::NotFound,
        Exit::Locked,
        Exit::Key,
        Exit::Integrity,
        Exit::Unsupported,
        Exit::Bug,
        Exit::HungUp,
        Exit::Interrupted,
        Exit::Terminated,
    ];
    /// Those that a signal gives, as a shell counts them: 128 and its number. Every command can end so.
    pub const SIGNALS: [Exit; 3] = [Exit::HungUp, Exit::Interrupted, Exit::Terminated];

    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 10,
            Exit::Locked => 11,
            Exit::Key => 12,
            Exit::Integrity => 13,
            Exit::Unsupported => 14,
            Exit::Bug => 70,
            Exit::HungUp => 129,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// The number in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Success => "success",
            Exit::Failed => "failed, for a reason without a code of its own",
            Exit::Usage => "usage: an argument, a folder or a target is not acceptable",
            Exit::NotFound => "a source, bundle or label was not found",
            Exit::Locked => "a database or the vault is locked or busy",
            Exit::Key => "passphrase or key rejected or missing",
            Exit::Integrity => "integrity failure: a bundle or source is damaged or was changed",
            Exit::Unsupported => "not a database, or a format or limit that is not supported",
            Exit::Bug => "a bug in airkeep",
            Exit::HungUp => "stopped by SIGHUP, nothing left behind",
            Exit::Interrupted => "stopped by SIGINT (Ctrl-C), nothing left behind",
            Exit::Terminated => "stopped by SIGTERM, nothing left behind",
        }
    }

    /// The word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Exit::Success => "success",
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::NotFound => "not-found",
            Exit::Locked => "locked",
            Exit::Key => "key",
            Exit::Integrity => "integrity",
            Exit::Unsupported => "unsupported",
            Exit::Bug => "bug",
            Exit::HungUp => "hung-up",
            Exit::Interrupted => "interrupted",
            Exit::Terminated => "terminated",
        }
    }

    /// The code for a failed operation.
    pub fn of(failure: &Failure) -> Exit {
        match failure {
            Failure::Source { source, .. } => Exit::of_database(source),
            Failure::DoubleLabel { .. } | Failure::TargetExists { .. } => Exit::Usage,
            Failure::Vault(error) => Exit::of_vault(error),
            Failure::OtherKeys { .. } | Failure::NoKey { .. } => Exit::Key,
            Failure::Seal { source, .. } | Failure::Bundle { source, .. } => Exit::of_bundle(source),
            Failure::ReadBack { .. } | Failure::Damaged { .. } => Exit::Integrity,
            Failure::NoBundle { .. } | Failure::EmptyVault { .. } | Failure::NoLabel { .. } => Exit::NotFound,
            Failure::NoSpace { .. } => Exit::Failed,
            Failure::Cancelled => signals::caught().unwrap_or(Exit::Interrupted),
            Failure::File(error) => Exit::of_file(error),
        }
    }

    fn of_database(error: &DatabaseError) -> Exit {
        match error {
            DatabaseError::Missing { .. } => Exit::NotFound,
            DatabaseError::NotAFile { .. } | DatabaseError::NotADatabase { .. } => Exit::Unsupported,
            DatabaseError::Locked { .. } => Exit::Locked,
            DatabaseError::Truncated { .. } | DatabaseError::Corrupt { .. } => Exit::Integrity,
            _ => Exit::Failed,
        }
    }

    fn of_vault(error: &VaultError) -> Exit {
        match error {
            VaultError::File(error) => Exit::of_file(error),
            VaultError::Identity { .. } => Exit::Integrity,
            VaultError::Format { .. } | VaultError::Exhausted { .. } => Exit::Unsupported,
            VaultError::SeveralSets { .. } => Exit::Usage,
        }
    }

    fn of_bundle(error: &BundleError) -> Exit {
        match error {
            BundleError::Write { .. } | BundleError::Read { .. } | BundleError::Cancelled => Exit::Failed,
            BundleError::KeyCount { .. } | BundleError::LastSlot => Exit::Usage,
            BundleError::KeyRejected => Exit::Key,
            BundleError::NotABundle | BundleError::Damaged(_) => Exit::Integrity,
            BundleError::Unsupported { .. } | BundleError::Limit { .. } | BundleError::Iterations { .. } => Exit::Unsupported,
            BundleError::WorkerLost => Exit::Bug,
        }
    }

    fn of_file(error: &FileError) -> Exit {
        match error {
            FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
            FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => Exit::Usage,
            FileError::Locked { .. } => Exit::Locked,
            FileError::Exists { .. } | FileError::IsFolder { .. } | FileError::Folder { .. } | FileError::NotRegular { .. } => Exit::Usage,
            FileError::Exposed { .. } | FileError::TooLong { .. } => Exit::Key,
            FileError::Io { .. } => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// The section of a help text. What signals give is added where it is not listed.
pub fn table(exits: &[Exit]) -> String {
    let mut text = String::from("Exit codes:");
    for exit in exits.iter().chain(Exit::SIGNALS.iter().filter(|exit| !exits.contains(exit))) {
        let _ = write!(text, "\n  {:>3}  {}", exit.code(), exit.meaning());
    }
    text
}
