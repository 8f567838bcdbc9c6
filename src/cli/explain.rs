//! From a failure to the words a person needs: what failed, on what, why, and what to do.

use std::error::Error;
use std::io::ErrorKind;

use airkeep::Failure;
use airkeep::bundle::{BundleError, Check, Finding, Source};
use airkeep::database::{DatabaseError, DumpError, InstallError};
use airkeep::files::FileError;
use airkeep::journal::JournalError;
use airkeep::ops::{AppendOnlyFault, FilesFault, ImportFault};
use airkeep::plain::PlainFileError;
use airkeep::vault::VaultError;
use clap::error::{ContextKind, ContextValue};

use super::exit::Exit;
use super::settings;

/// A failure as it is shown.
#[derive(Debug)]
pub struct Explained {
    /// The exit code.
    pub exit: Exit,
    /// What failed, on what.
    pub message: String,
    /// Why, from the outside in.
    pub causes: Vec<String>,
    /// What to do, where that is known.
    pub hint: Option<String>,
}

impl Explained {
    /// A failure without a chain behind it.
    pub fn new(exit: Exit, message: impl Into<String>, hint: Option<&str>) -> Explained {
        Explained { exit, message: message.into(), causes: Vec::new(), hint: hint.map(str::to_owned) }
    }
}

impl From<Failure> for Explained {
    fn from(failure: Failure) -> Explained {
        let causes = causes_of(&failure).split_off(1);
        Explained { exit: Exit::of(&failure), message: failure.to_string(), causes, hint: hint(&failure).map(str::to_owned) }
    }
}

/// An error and all its causes, from the outside in.
pub fn causes_of(error: &dyn Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

fn hint(failure: &Failure) -> Option<&'static str> {
    match failure {
        Failure::Source { source, .. } => source_hint(source),
        Failure::Import { source, .. } => import_hint(source),
        Failure::DoubleLabel { .. } => Some("give each source a label of its own: LABEL=PATH"),
        Failure::Vault(error) => vault_hint(error),
        Failure::OtherKeys { .. } => Some("check for a typing error; if the keys were changed on purpose: 'airkeep backup --new-keys'"),
        Failure::Seal { source, .. } | Failure::ReadBack { source, .. } => bundle_hint(source, true),
        Failure::Bundle { source, .. } => bundle_hint(source, false),
        Failure::Files { source, .. } => files_hint(source),
        Failure::NoSource { .. } => Some("'airkeep config check' tells more"),
        Failure::AppendOnly { source: AppendOnlyFault::NoTable { .. } } => Some("expected [LABEL:]TABLE or FILE.json"),
        Failure::AppendOnly { .. } => Some("it holds a JSON array of names, or of objects with \"table\""),
        Failure::OnlyInto { .. } => Some("restore it into a folder: --to DIR"),
        Failure::NoPlace { .. } => Some("name the file: --onto FILE, or name its source in airkeep.toml"),
        Failure::UnclearPlace { .. } => Some("name the file: --onto FILE"),
        Failure::UnclearName { .. } => Some("give the file a name in UTF-8, or go without: --no-restore"),
        Failure::Unmet { .. } => Some("try another bundle; if it is the right one, add --accept-unmet"),
        Failure::Archive { .. } => {
            Some("whoever sealed it did not use airkeep, or meant harm: look at who signed it; naming other labels restores those")
        }
        Failure::Damaged { whole, .. } if whole.is_empty() => Some("'airkeep verify BUNDLE' lists what is hurt; try another copy"),
        Failure::Damaged { has_several: true, .. } => {
            Some("try another copy; --accept-damage restores those databases that are whole all the same")
        }
        Failure::Damaged { .. } => Some("try another copy; the database itself is whole, and --accept-damage restores it all the same"),
        Failure::NoTable { .. } => Some("check the name given with --append-only ([LABEL:]TABLE), or 'append-only' in airkeep.toml"),
        Failure::NoBundle { .. } | Failure::NoLabel { .. } | Failure::Cancelled => None,
        Failure::EmptyVault { .. } => Some("make a bundle with 'airkeep backup'"),
        Failure::NoKey { .. } => Some("give --passphrase-file, --key-file or AIRKEEP_PASSPHRASE; level 0 needs no key"),
        Failure::TargetExists { .. } => Some("restore into a new or empty folder: --to DIR"),
        Failure::NoPinnedSigner => Some("give --signer SHA256:… or --allowed-signers FILE"),
        Failure::WrongSigner { .. } => Some("'airkeep verify BUNDLE' tells who signed it; try another copy"),
        Failure::SigningKey { .. } => Some("name the file that holds the vault's private key: --signing-key FILE"),
        Failure::NoSigningKey { .. } => Some("name it with --signing-key FILE"),
        Failure::Signed { .. } => Some("'airkeep signer rotate' gives it another signing key"),
        Failure::Unsigned { .. } => Some("'airkeep init' gives the vault a signing key"),
        Failure::OtherSet { .. } => Some("name bundles that this vault sealed"),
        Failure::NoVault { .. } => Some("check --vault; 'airkeep backup' makes one, and 'airkeep init' one that signs"),
        Failure::NoSpace { .. } => Some("choose a folder with more space, or fewer labels"),
        Failure::Scratch { .. } => Some("name a folder with room for the largest database: --scratch DIR, or verify with --level 3"),
        Failure::Target { source: DatabaseError::Locked { .. }, .. } => Some(IN_USE),
        Failure::Target { source, .. } | Failure::NotLive { source, .. } => source_hint(source),
        Failure::Install { source, .. } => install_hint(source),
        Failure::Unsound { .. } => Some("try another bundle; 'airkeep verify BUNDLE' lists all that is wrong"),
        Failure::CorruptSnapshot { .. } => Some("try another bundle, or put it back as it is with --accept-corrupt"),
        Failure::OtherDatabase { .. } => Some("check the target; if it is the right one, add --accept-other"),
        Failure::OtherBundle { .. } => Some("somebody changed the vault meanwhile"),
        Failure::TargetInVault { .. } => Some("name the database that is to be replaced"),
        Failure::SeveralOntoOne { .. } => Some("name the source as well: BUNDLE LABEL --onto FILE"),
        Failure::SameTarget { .. } => Some("restore one of them, or give it another place with --onto FILE"),
        Failure::NoSafety { source } => {
            hint(source).or(Some("name another vault with --vault DIR, or go without: --no-safety-bundle --reason TEXT"))
        }
        Failure::NotAVault { .. } => Some("name the vault: --vault DIR; 'airkeep init' makes one"),
        Failure::NoSuchBundle { .. } => Some("'airkeep list' shows what is there"),
        Failure::NothingCaptured => Some("'airkeep config check' tells which sources are missing"),
        Failure::NoReason => Some("say why: --reason TEXT"),
        Failure::OpenRestore { .. } => Some("'airkeep restore resolve --vault DIR' finds out how it ended"),
        Failure::NotStopped { .. } => Some("see what the command printed; nothing was locked or changed"),
        Failure::Graft { .. } => Some("restore without --graft: the rows are in the safety bundle, 'airkeep gap export' hands them out"),
        Failure::Marker { .. } => Some("look at the table's schema, and give it all that it insists on"),
        Failure::NotCompared { .. } | Failure::Gap { .. } | Failure::NotAnnounced | Failure::RowsUnwritten { .. } => None,
        Failure::NoGap { known, .. } if known.is_empty() => {
            Some("each restore in place is recorded in the journal of a vault: --vault DIR")
        }
        Failure::NoGap { .. } => Some("'airkeep gap list' lists those that there are"),
        Failure::NotSafety { .. } => Some("'airkeep gap show' names the safety bundle of a restore in place"),
        Failure::SeveralGaps { .. } => Some("name one of them: BUNDLE LABEL"),
        Failure::NoGapTable { .. } => Some("check the name given with --table"),
        Failure::OneTable { .. } => Some("name one of them with --table, or use --format jsonl"),
        Failure::Dump { source: DumpError::NoTable { .. }, .. } => Some("check the name given with --table"),
        Failure::Dump { source: DumpError::OneTable { .. }, .. } => Some("name one of them with --table, or use --format jsonl"),
        Failure::Dump { .. } => Some("--format sqlite hands out the file as it was captured"),
        Failure::RowsDamaged { .. } | Failure::ComparedDamaged { .. } => {
            Some("'airkeep verify BUNDLE' lists what is hurt; try another copy")
        }
        Failure::Capsule { .. } => Some("--format jsonl hands out the lines as they are; a newer release of airkeep may read them"),
        Failure::Journal(JournalError::Damaged { .. }) => {
            Some("'airkeep audit verify' tells more; 'airkeep vault rebuild' makes the journal anew")
        }
        Failure::Journal(JournalError::File(error)) | Failure::File(error) => file_hint(error),
        Failure::Journal(_) => None,
    }
}

fn source_hint(error: &DatabaseError) -> Option<&'static str> {
    match error {
        DatabaseError::Locked { .. } => Some("wait for the other program, or give it more time with --busy-timeout"),
        DatabaseError::Corrupt { .. } => Some("'airkeep backup --accept-corrupt' seals it all the same, labelled as corrupt"),
        DatabaseError::Truncated { .. } => Some("the file was cut: look for an intact copy or an older bundle"),
        DatabaseError::NotADatabase { .. } => Some("if it is encrypted (SQLCipher), its own program must export it in plain form first"),
        DatabaseError::Replaced { .. } => Some("see who replaces the file, then run it again"),
        DatabaseError::Scratch(_) => Some("name a folder with enough space: --scratch DIR"),
        _ => None,
    }
}

fn files_hint(fault: &FilesFault) -> Option<&'static str> {
    match fault {
        FilesFault::NoneFits { .. } | FilesFault::Missing { .. } => Some("'airkeep config show' tells what patterns stand for"),
        FilesFault::TooLarge { .. } => Some("allow more with 'max-size', or leave some out with 'exclude', 'newer-than', 'max-file-size'"),
        FilesFault::TooMany { .. } => Some("divide it into several sources"),
        FilesFault::Refused { .. }
        | FilesFault::NotEnv { .. }
        | FilesFault::File(PlainFileError::Database { .. } | PlainFileError::NotEmpty { .. }) => {
            Some("leave it out with 'exclude'; without 'required' the rest is sealed")
        }
        FilesFault::File(PlainFileError::File(error)) => file_hint(error),
        FilesFault::File(PlainFileError::Scratch(_)) => None,
    }
}

fn import_hint(fault: &ImportFault) -> Option<&'static str> {
    match fault {
        ImportFault::File(error) => file_hint(error),
        ImportFault::InUse { .. } => Some("seal a database at work with 'airkeep backup'"),
        ImportFault::Changed => Some("wait until nobody writes it any more"),
        ImportFault::NoOldPassphrase => Some("give the one it was made with: --old-passphrase-file or --old-passphrase-fd"),
        ImportFault::PassphraseRejected | ImportFault::NoDatabaseBehindPadding => Some("check the old passphrase, or try another copy"),
        ImportFault::Sum { .. }
        | ImportFault::Cut { .. }
        | ImportFault::Damaged { .. }
        | ImportFault::Header
        | ImportFault::Packed { .. } => Some("try another copy; this one cannot be trusted"),
        ImportFault::NoSum { .. } => Some("correct that file or move it away; without one the file is taken as it is, and labelled so"),
        ImportFault::NotADatabase => Some(
            "databases, gzip, tar and gzip, and ICDEV's .enc can be adopted; one encrypted otherwise must be opened by its own program",
        ),
        ImportFault::TooLarge { .. } => Some("if it really is that large, allow it: --max-size SIZE"),
        ImportFault::SeveralForLabel { .. } => Some("import it without --as: each database gets its label from its name"),
        ImportFault::NoLabel { .. } => Some("give one: --as LABEL=FILE"),
        ImportFault::DoubleLabel { .. } => Some("give each a label of its own: --as LABEL=FILE"),
        ImportFault::Cancelled => None,
        ImportFault::Scratch(_) => Some("name a folder with enough space: --scratch DIR"),
        ImportFault::Database(error) => source_hint(error),
    }
}

/// What to do about a configuration.
pub fn config_hint(error: &airkeep::config::ConfigError) -> Option<&'static str> {
    match error {
        airkeep::config::ConfigError::File { source: FileError::NotRegular { .. }, .. } => None,
        airkeep::config::ConfigError::File { source, .. } => file_hint(source),
        airkeep::config::ConfigError::Syntax { .. } => Some("see docs/configuration.md"),
    }
}

/// What to do where a target was not replaced.
pub fn install_hint(error: &InstallError) -> Option<&'static str> {
    match error {
        InstallError::Database(DatabaseError::Locked { .. }) => Some(IN_USE),
        InstallError::Database(error) => source_hint(error),
        InstallError::File(error) => file_hint(error),
        InstallError::Link { .. } => Some("name the file itself, or add --follow-links"),
        InstallError::HardLinks { .. } => {
            Some("its other names would lead to the same or to the old content; if that is meant, add --follow-links")
        }
        InstallError::NotWritable { .. } => Some("this account must be able to write to the database, and to make files in its folder"),
        InstallError::NoSpace { .. } => Some("make space beside the database, nothing was changed"),
        InstallError::NotOnline { .. } => Some("stop the processes that use it, or have it done: --stop-with COMMAND --start-with COMMAND"),
        InstallError::Different { .. } | InstallError::Unconfirmed { .. } => {
            Some("look at the database; where a safety bundle was made, 'airkeep restore' brings the state before back")
        }
        InstallError::NotAnImage { .. } | InstallError::Cancelled { .. } => None,
    }
}

const IN_USE: &str = "stop the processes that use it (--stop-with, --start-with), or add --online where it is in WAL mode";

fn vault_hint(error: &VaultError) -> Option<&'static str> {
    match error {
        VaultError::File(error) => file_hint(error),
        VaultError::SeveralSets { .. } => Some("keep the bundles of each set in a folder of their own"),
        VaultError::Identity { .. } => Some("move the damaged file aside: it is made anew from the bundles of the vault"),
        VaultError::Named { .. } => Some("a set keeps its name: leave --name out, or correct 'set' in airkeep.toml"),
        VaultError::SignerChanges { .. } => Some("get the file back from a copy that was carried out"),
        VaultError::Format { .. } | VaultError::Exhausted { .. } => None,
    }
}

fn file_hint(error: &FileError) -> Option<&'static str> {
    match error {
        FileError::Folder { .. } => {
            Some("a vault must be a real folder that only you can write to: chmod 700 DIR, or name another with --vault")
        }
        FileError::Locked { .. } => Some("wait until the other run has finished"),
        FileError::Untrusted { .. } => Some("it names commands and keys: chown it to yourself, chmod go-w it"),
        FileError::Exposed { .. } => Some("take the others' permissions away: chmod 600 FILE"),
        FileError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => Some("make space, nothing was left behind"),
        FileError::Io { action: "make folder", source, .. } if source.kind() == ErrorKind::NotFound => {
            Some("the folder above it must exist")
        }
        FileError::IsFolder { .. } => Some("name one of the bundles in it"),
        FileError::NotRegular { .. } => Some("a passphrase from a pipe is read with --passphrase-fd N"),
        _ => None,
    }
}

fn bundle_hint(error: &BundleError, is_new: bool) -> Option<&'static str> {
    match error {
        BundleError::KeyRejected => Some("check passphrase and keyboard layout, or try --passphrase-file or --key-file"),
        BundleError::Damaged(_) if is_new => Some("check the medium; no bundle was left behind"),
        BundleError::Damaged(_) => Some("'airkeep verify BUNDLE' tells which frames and databases are hurt; try another copy"),
        BundleError::NotABundle => Some("the names of bundles end in .akb; if this is one, try another copy"),
        BundleError::Unsupported { .. } => Some("a newer release of airkeep may open it"),
        BundleError::Iterations { .. } => Some("no airkeep seals with such a number: the key slots were tampered with"),
        BundleError::IterationsSum { .. } => Some("fewer iterations, or a key file in place of a passphrase"),
        BundleError::Write { source } if source.kind() == ErrorKind::StorageFull => Some("make space, nothing was left behind"),
        _ => None,
    }
}

/// A finding in words, with its cause where there is one.
pub fn finding(finding: &Finding) -> String {
    match finding.damage.source() {
        Some(source) => format!("{}: {source}", finding.damage),
        None => finding.damage.to_string(),
    }
}

/// Which moment a snapshot shows: of an old backup that was adopted the file's own time is what is known.
pub fn moment(source: &Source) -> String {
    match &source.imported {
        Some(imported) => format!("out of a file of {}", imported.modified_at),
        None => format!("as of {}", source.captured_at),
    }
}

/// What was wrong with a source when it was captured, if anything was; only the first message, `info` has them all.
pub fn trouble(source: &Source) -> Option<String> {
    let Check { kind, verdict, messages } = &source.check;
    let first = messages.first().map_or("", String::as_str);
    let more = match messages.len() {
        0 | 1 => String::new(),
        count => format!(" (and {} more: airkeep info)", count - 1),
    };
    matches!(verdict.as_str(), "violations" | "corrupt")
        .then(|| format!("{}: {verdict} when captured, {kind} check: {first}{more}", source.label))
}

/// What was wrong with the arguments, without the layout that clap gives it for a screen of its own.
pub fn usage(error: &clap::Error) -> Explained {
    let words = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let message = match error.kind() {
        clap::error::ErrorKind::MissingRequiredArgument => format!("missing: {}", words(ContextKind::InvalidArg).join(", ")),
        clap::error::ErrorKind::InvalidValue if !words(ContextKind::ValidValue).is_empty() => {
            format!("{first}: expected {}", words(ContextKind::ValidValue).join(", "))
        }
        _ => first.trim_end_matches(':').to_owned(),
    };
    let suggestion = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| words(kind).pop());
    let is_source_missing = message.starts_with("missing: ") && message.contains("[LABEL=]DATABASE");
    let hint = match suggestion {
        Some(suggestion) => format!("did you mean '{suggestion}'? see --help"),
        None if is_source_missing && settings::config().is_some() => "name a database, or give airkeep.toml sources".to_owned(),
        None if is_source_missing => "name a database, or begin an airkeep.toml with 'airkeep init'".to_owned(),
        None => "see --help".to_owned(),
    };
    Explained::new(Exit::Usage, message, Some(&hint))
}
