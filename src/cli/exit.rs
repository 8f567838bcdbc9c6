//! Exit codes: one table for the program, its help and its documentation.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::process::ExitCode;

use airkeep::Failure;
use airkeep::bundle::BundleError;
use airkeep::database::{DatabaseError, DumpError, InstallError};
use airkeep::files::FileError;
use airkeep::journal::JournalError;
use airkeep::ops::{AppendOnlyFault, FilesFault, ImportFault};
use airkeep::plain::PlainFileError;
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
    /// Finished, with something left undone.
    Partial,
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
    /// What the site demands does not hold.
    Policy,
    /// The journal's chain is broken.
    Chain,
    /// A bug.
    Bug,
    /// Guard itself failed.
    Guard,
    /// The guarded command cannot be executed.
    NotExecutable,
    /// There is no such command to be guarded.
    NoCommand,
    /// SIGHUP.
    HungUp,
    /// SIGINT, Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// What the guarded command ended with.
    Command(u8),
}

impl Exit {
    /// All of them, by code.
    pub const ALL: [Exit; 18] = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::Partial,
        Exit::NotFound,
        Exit::Locked,
        Exit::Key,
        Exit::Integrity,
        Exit::Unsupported,
        Exit::Policy,
        Exit::Chain,
        Exit::Bug,
        Exit::Guard,
        Exit::NotExecutable,
        Exit::NoCommand,
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
            Exit::Partial => 3,
            Exit::NotFound => 10,
            Exit::Locked => 11,
            Exit::Key => 12,
            Exit::Integrity => 13,
            Exit::Unsupported => 14,
            Exit::Policy => 15,
            Exit::Chain => 16,
            Exit::Bug => 70,
            Exit::Guard => 125,
            Exit::NotExecutable => 126,
            Exit::NoCommand => 127,
            Exit::Command(code) => code,
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
            Exit::Partial => "finished, but a source, a demand, a record or a hook fell short, or a history was rewritten",
            Exit::NotFound => "a source, bundle or label was not found",
            Exit::Locked => "a database or the vault is locked or busy",
            Exit::Key => "passphrase or key rejected or missing",
            Exit::Integrity => "integrity failure: a bundle or source is damaged or was changed",
            Exit::Unsupported => "not a database, or a format or limit that is not supported",
            Exit::Policy => "what the configuration demands of a database does not hold",
            Exit::Chain => "the journal is not to be believed: records were changed, removed or added",
            Exit::Bug => "a bug in airkeep",
            Exit::Guard => "guard itself failed: the backup before, or putting databases back",
            Exit::NotExecutable => "the guarded command cannot be executed",
            Exit::NoCommand => "the guarded command was not found",
            Exit::Command(_) => "what the guarded command ended with",
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
            Exit::Partial => "partial",
            Exit::NotFound => "not-found",
            Exit::Locked => "locked",
            Exit::Key => "key",
            Exit::Integrity => "integrity",
            Exit::Unsupported => "unsupported",
            Exit::Policy => "policy",
            Exit::Chain => "chain",
            Exit::Bug => "bug",
            Exit::Guard => "guard",
            Exit::NotExecutable => "not-executable",
            Exit::NoCommand => "no-command",
            Exit::Command(_) => "command",
            Exit::HungUp => "hung-up",
            Exit::Interrupted => "interrupted",
            Exit::Terminated => "terminated",
        }
    }

    /// The code for a failed operation.
    pub fn of(failure: &Failure) -> Exit {
        match failure {
            Failure::Source { source, .. } => Exit::of_database(source),
            Failure::Import { source, .. } => Exit::of_import(source),
            Failure::DoubleLabel { .. }
            | Failure::TargetExists { .. }
            | Failure::Signed { .. }
            | Failure::Unsigned { .. }
            | Failure::OtherSet { .. }
            | Failure::OtherDatabase { .. }
            | Failure::SeveralOntoOne { .. }
            | Failure::TargetInVault { .. }
            | Failure::SameTarget { .. }
            | Failure::OpenRestore { .. }
            | Failure::SeveralGaps { .. }
            | Failure::OneTable { .. }
            | Failure::NoReason => Exit::Usage,
            Failure::Target { source, .. } | Failure::NotLive { source, .. } => Exit::of_database(source),
            Failure::Install { source, .. } => Exit::of_install(source),
            Failure::NotCompared { .. }
            | Failure::Gap { .. }
            | Failure::Graft { .. }
            | Failure::Marker { .. }
            | Failure::NotAnnounced
            | Failure::NotStopped { .. } => Exit::Failed,
            Failure::Unsound { .. } | Failure::CorruptSnapshot { .. } | Failure::OtherBundle { .. } => Exit::Integrity,
            Failure::NoSafety { source } => Exit::of(source),
            Failure::Vault(error) => Exit::of_vault(error),
            Failure::OtherKeys { .. }
            | Failure::NoKey { .. }
            | Failure::NoPinnedSigner
            | Failure::SigningKey { .. }
            | Failure::NoSigningKey { .. } => Exit::Key,
            Failure::Seal { source, .. } | Failure::Bundle { source, .. } => Exit::of_bundle(source),
            Failure::ReadBack { .. }
            | Failure::Damaged { .. }
            | Failure::WrongSigner { .. }
            | Failure::RowsDamaged { .. }
            | Failure::ComparedDamaged { .. }
            | Failure::Capsule { .. } => Exit::Integrity,
            Failure::NoTable { .. }
            | Failure::NoBundle { .. }
            | Failure::NoVault { .. }
            | Failure::EmptyVault { .. }
            | Failure::NotAVault { .. }
            | Failure::NothingCaptured
            | Failure::NoSource { .. }
            | Failure::Files { source: FilesFault::NoneFits { .. } | FilesFault::Missing { .. }, .. }
            | Failure::NoSuchBundle { .. }
            | Failure::NoGap { .. }
            | Failure::NotSafety { .. }
            | Failure::NoGapTable { .. }
            | Failure::NoLabel { .. } => Exit::NotFound,
            Failure::Files { source: FilesFault::File(PlainFileError::File(error)), .. } => Exit::of_file(error),
            Failure::AppendOnly { source: AppendOnlyFault::Unreadable { source, .. } } if source.kind() == ErrorKind::NotFound => {
                Exit::NotFound
            }
            Failure::AppendOnly { .. } => Exit::Usage,
            Failure::Archive { .. } => Exit::Integrity,
            Failure::Unmet { .. } => Exit::Policy,
            Failure::OnlyInto { .. } | Failure::NoPlace { .. } | Failure::UnclearPlace { .. } | Failure::UnclearName { .. } => Exit::Usage,
            Failure::Files { .. } | Failure::NoSpace { .. } | Failure::Scratch { .. } | Failure::RowsUnwritten { .. } => Exit::Failed,
            Failure::Dump { source, .. } => Exit::of_dump(source),
            Failure::Journal(JournalError::File(error)) => Exit::of_file(error),
            Failure::Journal(JournalError::Damaged { .. }) => Exit::Chain,
            Failure::Journal(_) => Exit::Failed,
            Failure::Cancelled => {
                Exit::SIGNALS.into_iter().find(|exit| signals::caught() == Some(exit.code())).unwrap_or(Exit::Interrupted)
            }
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

    fn of_import(fault: &ImportFault) -> Exit {
        match fault {
            ImportFault::File(error) => Exit::of_file(error),
            ImportFault::InUse { .. } => Exit::Locked,
            ImportFault::NoOldPassphrase | ImportFault::PassphraseRejected | ImportFault::NoDatabaseBehindPadding => Exit::Key,
            ImportFault::Sum { .. }
            | ImportFault::NoSum { .. }
            | ImportFault::Cut { .. }
            | ImportFault::Damaged { .. }
            | ImportFault::Header
            | ImportFault::Packed { .. } => Exit::Integrity,
            ImportFault::NotADatabase | ImportFault::TooLarge { .. } => Exit::Unsupported,
            ImportFault::SeveralForLabel { .. } | ImportFault::DoubleLabel { .. } | ImportFault::NoLabel { .. } => Exit::Usage,
            ImportFault::Changed | ImportFault::Cancelled | ImportFault::Scratch(_) => Exit::Failed,
            ImportFault::Database(error) => Exit::of_database(error),
        }
    }

    /// The code for a target that was not replaced.
    pub fn of_install(error: &InstallError) -> Exit {
        match error {
            InstallError::Database(error) => Exit::of_database(error),
            InstallError::File(error) => Exit::of_file(error),
            InstallError::Link { .. } | InstallError::HardLinks { .. } => Exit::Usage,
            InstallError::NotOnline { .. } => Exit::Locked,
            InstallError::NotAnImage { .. } => Exit::Unsupported,
            InstallError::Different { .. } => Exit::Integrity,
            InstallError::Unconfirmed { source, .. } => Exit::of_install(source),
            InstallError::NotWritable { .. } | InstallError::NoSpace { .. } | InstallError::Cancelled { .. } => Exit::Failed,
        }
    }

    fn of_dump(error: &DumpError) -> Exit {
        match error {
            DumpError::NoTable { .. } => Exit::NotFound,
            DumpError::OneTable { .. } => Exit::Usage,
            DumpError::Sqlite(_) | DumpError::Endless { .. } | DumpError::Statement { .. } => Exit::Integrity,
            DumpError::Cancelled | DumpError::Scratch(_) | DumpError::Write(_) => Exit::Failed,
        }
    }

    fn of_vault(error: &VaultError) -> Exit {
        match error {
            VaultError::File(error) => Exit::of_file(error),
            VaultError::Identity { .. } | VaultError::SignerChanges { .. } => Exit::Integrity,
            VaultError::Format { .. } | VaultError::Exhausted { .. } => Exit::Unsupported,
            VaultError::SeveralSets { .. } | VaultError::Named { .. } => Exit::Usage,
        }
    }

    fn of_bundle(error: &BundleError) -> Exit {
        match error {
            BundleError::Write { .. } | BundleError::Read { .. } | BundleError::Cancelled => Exit::Failed,
            BundleError::KeyCount { .. } | BundleError::IterationsSum { .. } | BundleError::LastSlot => Exit::Usage,
            BundleError::KeyRejected => Exit::Key,
            BundleError::NotABundle | BundleError::Damaged(_) => Exit::Integrity,
            BundleError::Unsupported { .. } | BundleError::Limit { .. } | BundleError::Iterations { .. } => Exit::Unsupported,
            BundleError::WorkerLost => Exit::Bug,
        }
    }

    /// The code for a file that cannot be used.
    pub fn of_file(error: &FileError) -> Exit {
        match error {
            FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Exit::NotFound,
            FileError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => Exit::Usage,
            FileError::Locked { .. } => Exit::Locked,
            FileError::Untrusted { .. } => Exit::Usage,
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
