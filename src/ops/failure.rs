//! Why an operation ended without its result. The command line maps each to an exit code and a hint.

use std::path::PathBuf;

use crate::bundle::{BundleError, Damage, Label, SetName, UtcTime};
use crate::crypto::PublicKey;
use crate::database::{ContentError, DatabaseError, DumpError, GapError, GraftError, InstallError, MarkerError};
use crate::files::{FileError, ScratchError};
use crate::journal::JournalError;
use crate::vault::VaultError;

use super::{AppendOnlyFault, CapsuleFault, CommandFailure, FilesFault, ImportFault, SigningKeyFault};

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
    /// A set of files could not be captured.
    #[error("cannot back up '{label}'")]
    Files {
        /// Its label.
        label: Label,
        /// Why.
        source: FilesFault,
    },
    /// The archive of a set of files, which is as it was sealed, is not what the manifest says.
    #[error("cannot unpack '{label}'")]
    Archive {
        /// Its label.
        label: Label,
        /// Why.
        source: std::io::Error,
    },
    /// Plain files are not put in the place of those that are there.
    #[error("'{label}' is a set of plain files, which is not a database")]
    OnlyInto {
        /// Its label.
        label: Label,
    },
    /// An old backup that was adopted does not tell where its database belongs.
    #[error("'{label}' was adopted from '{file}', and where it belongs is not known")]
    NoPlace {
        /// Its label.
        label: Label,
        /// The name of the old backup.
        file: String,
    },
    /// The manifest does not have the path of a database as it was: it is text, and that was not.
    #[error("the path of '{label}' was not UTF-8, and the bundle has it as '{path}' only")]
    UnclearPlace {
        /// Its label.
        label: Label,
        /// What the manifest has, with U+FFFD for what it could not say.
        path: String,
    },
    /// A database could not be put back, since files are only made under names that are UTF-8.
    #[error("the name of '{}' is not UTF-8, and it could not be put back", path.display())]
    UnclearName {
        /// The database.
        path: PathBuf,
    },
    /// A snapshot is not what the configuration demands.
    #[error("the snapshot of '{label}' is not what airkeep.toml demands: {what}")]
    Unmet {
        /// Its label.
        label: Label,
        /// The demand, and what was found.
        what: String,
    },
    /// An old backup could not be adopted.
    #[error("cannot import '{}'", path.display())]
    Import {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: ImportFault,
    },
    /// Two sources claim one label.
    #[error("two sources have the label '{label}'")]
    DoubleLabel {
        /// The label.
        label: Label,
    },
    /// A table that was declared append-only is in no source.
    #[error("no source{} has a table '{table}'", label.as_ref().map_or(String::new(), |label| format!(" '{label}'")))]
    NoTable {
        /// Of this source, if one was named.
        label: Option<Label>,
        /// The table.
        table: String,
    },
    /// Words name no append-only table.
    #[error(transparent)]
    AppendOnly {
        /// Why.
        source: AppendOnlyFault,
    },
    /// A source of the configuration that is required is not there.
    #[error("source '{name}': {why}")]
    NoSource {
        /// Its name in the configuration.
        name: String,
        /// Why.
        why: String,
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
    /// Nobody who was pinned sealed the bundle; nothing was restored from it.
    #[error("bundle '{}' {}, nothing was restored", path.display(), signer.map_or_else(|| "is not signed".to_owned(), |signer| format!("is not signed by a pinned signer but names {}", signer.fingerprint())))]
    WrongSigner {
        /// Its path.
        path: PathBuf,
        /// The signer that it names.
        signer: Option<PublicKey>,
    },
    /// The key that signs is not here.
    #[error("cannot use the signing key '{}'", path.display())]
    SigningKey {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        fault: SigningKeyFault,
    },
    /// The vault signs its bundles, and nobody said where the key is.
    #[error("the bundles of '{}' are signed, and no signing key was given", vault.display())]
    NoSigningKey {
        /// The vault.
        vault: PathBuf,
    },
    /// The vault has a signer already.
    #[error("'{}' is a vault already, its bundles are signed by {signer}", vault.display())]
    Signed {
        /// The vault.
        vault: PathBuf,
        /// The signer's fingerprint.
        signer: String,
    },
    /// The vault has no signer.
    #[error("the bundles of '{}' are not signed", vault.display())]
    Unsigned {
        /// The vault.
        vault: PathBuf,
    },
    /// A bundle of another set was to bear witness.
    #[error("bundle '{}' belongs to another set, '{set}'", path.display())]
    OtherSet {
        /// Its path.
        path: PathBuf,
        /// That set's name.
        set: SetName,
    },
    /// A pinned signer was asked for and none is given.
    #[error("level L1 needs a pinned signer")]
    NoPinnedSigner,
    /// There is no vault.
    #[error("there is no vault '{}'", path.display())]
    NoVault {
        /// Its path.
        path: PathBuf,
    },
    /// The vault has no bundle that is meant.
    #[error("there is no {what} in '{}'", vault.display())]
    NoSuchBundle {
        /// The vault.
        vault: PathBuf,
        /// In words.
        what: String,
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
    /// Databases cannot be examined for want of scratch.
    #[error("no scratch to examine databases in")]
    Scratch {
        /// Why.
        source: ScratchError,
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
    /// A target of a restore in place cannot be looked at.
    #[error("cannot restore '{label}' in place")]
    Target {
        /// The source.
        label: Label,
        /// Why.
        source: DatabaseError,
    },
    /// A snapshot cannot be put in the place of its target.
    #[error("cannot restore '{label}' in place")]
    Install {
        /// The source.
        label: Label,
        /// Why.
        source: InstallError,
    },
    /// What a restore would take away cannot be found out.
    #[error("cannot find out which rows restoring '{label}' would take away")]
    Gap {
        /// The source.
        label: Label,
        /// Why.
        source: GapError,
    },
    /// Lost rows cannot go back.
    #[error("the rows that restoring '{label}' takes away cannot be put back, and nothing was replaced")]
    Graft {
        /// The source.
        label: Label,
        /// Why.
        source: GraftError,
    },
    /// The marker cannot be written.
    #[error("the marker cannot be written into '{label}', and nothing was replaced")]
    Marker {
        /// The source.
        label: Label,
        /// Why.
        source: MarkerError,
    },
    /// A snapshot is not what its manifest says.
    #[error("the snapshot of '{label}' is not what the bundle says of it: {what}")]
    Unsound {
        /// The source.
        label: Label,
        /// The first thing that is wrong.
        what: String,
    },
    /// A snapshot was corrupt when it was captured.
    #[error("'{label}' was corrupt when it was captured")]
    CorruptSnapshot {
        /// The source.
        label: Label,
    },
    /// The target is not what the snapshot was taken of.
    #[error("'{}' is another database than the snapshot of '{label}': {what}", path.display())]
    OtherDatabase {
        /// The source.
        label: Label,
        /// The target.
        path: PathBuf,
        /// In which way.
        what: String,
    },
    /// Another bundle has taken the path.
    #[error("'{}' is not the bundle that was made a moment ago", path.display())]
    OtherBundle {
        /// Its path.
        path: PathBuf,
    },
    /// The target is part of a vault.
    #[error("'{}' lies in a vault, and nothing there is a target", path.display())]
    TargetInVault {
        /// The target.
        path: PathBuf,
    },
    /// One target for several sources.
    #[error("one target was named for {} sources: {}", labels.len(), labels.join(", "))]
    SeveralOntoOne {
        /// They.
        labels: Vec<String>,
    },
    /// Two sources go to the same file.
    #[error("'{}' is the target of both '{first}' and '{second}'", path.display())]
    SameTarget {
        /// It.
        path: PathBuf,
        /// One.
        first: Label,
        /// The other.
        second: Label,
    },
    /// The state before a restore cannot be sealed, so nothing is replaced.
    #[error("the present state cannot be kept, and nothing was replaced")]
    NoSafety {
        /// Why.
        source: Box<Failure>,
    },
    /// The folder that the bundle is in is no vault, and no other was named.
    #[error("'{}' is no vault, and nowhere else can the present state and the record go", path.display())]
    NotAVault {
        /// The folder.
        path: PathBuf,
    },
    /// Each source failed, and none of them was required.
    #[error("no source could be captured")]
    NothingCaptured,
    /// To go without a safety bundle needs a reason.
    #[error("a restore without a safety bundle needs a reason")]
    NoReason,
    /// An earlier restore did not say how it ended.
    #[error("the restore {restore} into '{}', begun {begun}, has not been resolved", path.display())]
    OpenRestore {
        /// Its id.
        restore: String,
        /// Its first target.
        path: PathBuf,
        /// When.
        begun: UtcTime,
    },
    /// The intent stands in no journal.
    #[error("it could not be announced in any journal, and nothing was done")]
    NotAnnounced,
    /// What was to stop an application did not.
    #[error("the application was not stopped, and nothing was replaced")]
    NotStopped {
        /// Why.
        source: CommandFailure,
    },
    /// The journal tells of no such gap.
    #[error("the journal tells of no restore in place{}", number.map_or(String::new(), |number| format!(" under number {number}")))]
    NoGap {
        /// The number asked for.
        number: Option<u64>,
        /// Those that it tells of.
        known: Vec<u64>,
    },
    /// No restore was recorded in the bundle.
    #[error("bundle '{}' holds no rows that a restore took away", path.display())]
    NotSafety {
        /// Its path.
        path: PathBuf,
    },
    /// Several sources of a safety bundle have rows, and none was chosen.
    #[error("the bundle tells of rows of {} sources: {}", labels.len(), labels.join(", "))]
    SeveralGaps {
        /// They.
        labels: Vec<String>,
    },
    /// The table was not compared.
    #[error("the bundle tells of no table '{table}' of '{label}', but of: {}", has.join(", "))]
    NoGapTable {
        /// The source.
        label: Label,
        /// The table asked for.
        table: String,
        /// Those that were compared.
        has: Vec<String>,
    },
    /// The format holds one table, and there are several.
    #[error("a table of values holds rows of one table, and there are: {}", has.join(", "))]
    OneTable {
        /// They.
        has: Vec<String>,
    },
    /// A bundle is damaged, and no row was handed out.
    #[error("bundle '{}' is damaged or was changed, no row was handed out", path.display())]
    RowsDamaged {
        /// Its path.
        path: PathBuf,
        /// The first thing that is wrong.
        source: Damage,
    },
    /// A capsule is authentic, and yet no capsule.
    #[error("the rows of '{label}' cannot be read")]
    Capsule {
        /// The source.
        label: Label,
        /// Why.
        source: CapsuleFault,
    },
    /// Rows could not be handed out.
    #[error("cannot write rows")]
    RowsUnwritten {
        /// What the system said.
        source: std::io::Error,
    },
    /// A database that came out of a bundle as it was sealed cannot be read as rows.
    #[error("cannot hand out '{label}'")]
    Dump {
        /// The source.
        label: Label,
        /// Why.
        source: DumpError,
    },
    /// A live database cannot be read for a comparison.
    #[error("cannot compare '{label}'")]
    NotLive {
        /// The source.
        label: Label,
        /// Why.
        source: DatabaseError,
    },
    /// Two databases cannot be compared.
    #[error("cannot compare '{label}'")]
    NotCompared {
        /// The source.
        label: Label,
        /// Why.
        source: ContentError,
    },
    /// A bundle is damaged, and was not compared.
    #[error("bundle '{}' is damaged or was changed, nothing was compared", path.display())]
    ComparedDamaged {
        /// Its path.
        path: PathBuf,
        /// The first thing that is wrong.
        source: Damage,
    },
    /// The journal refused.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// [`Progress::is_cancelled`](super::Progress::is_cancelled) said so, before anything was published.
    #[error("interrupted, nothing was written")]
    Cancelled,
    /// The file system refused.
    #[error(transparent)]
    File(#[from] FileError),
}
