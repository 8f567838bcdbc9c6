//! Backup: live databases and plain files → one sealed, read-back, published bundle.
//!
//! The bundle has no name until it was synced, dropped from the page cache and verified at L3 from the medium; so a file called `.akb` in a
//! vault is a bundle that once opened, and a kill at any moment leaves none. One source after the other is captured and
//! sealed, each a cut of its own; those of a group ([`SourceGroup`]) are captured in one cut. Plain files come behind the databases, each read
//! beside its writers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::continuity::{AppendOnly, TableHistory, TableRecord, breaks, records_of, table_histories};
use super::progress::{go_on, heed};
use super::record::backup_details;
use super::recorder::{Note, chain, record, resolve_pending, subject};
use super::seal::{LiveFiles, Origin, SealedBundle, Sealer};
use super::{Environment, Failure, FileSource, SigningKeyPlace};
use crate::bundle::{
    Compression, CoreFacts, FrameSize, Id, Keyring, Kind, Label, Level, Manifest, Marking, Predecessor, PublicCore, RECOVER_TEXT, SetName,
    read_front,
};
use crate::crypto::{Digest, SigningKey, random};
use crate::database::{Assertion, CheckKind, DatabaseError, PagePreference};
use crate::journal::{Event, Journal, Outcome, records_in};
use crate::vault::{Pending, Vault, bundle_name, write_sidecar};

/// A database and the name it gets in the bundle.
#[derive(Debug, Clone)]
pub struct SourceSpec {
    /// Its label.
    pub label: Label,
    /// Its path.
    pub path: PathBuf,
}

/// Sources whose snapshots fit each other: what was committed to several of them at once is in all of them or in none.
#[derive(Debug, Clone)]
pub struct SourceGroup {
    /// Its name, for the manifest.
    pub name: String,
    /// Its members.
    pub labels: Vec<Label>,
}

/// A request for one bundle. Everything but sources and vault has a sensible default.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Databases to capture, in this order.
    pub sources: Vec<SourceSpec>,
    /// Sets of plain files to capture behind them.
    pub files: Vec<FileSource>,
    /// Files that no set takes, though its patterns may fit them, and folders with all that is in them: keys.
    pub private: Vec<PathBuf>,
    /// Sources without which the others are sealed all the same, and the bundle is told to be incomplete.
    pub optional: Vec<Label>,
    /// Sources that are captured in one cut.
    pub groups: Vec<SourceGroup>,
    /// Where the bundle goes.
    pub vault: PathBuf,
    /// The set's name: a new vault gets it, and no other vault is taken.
    pub set: Option<SetName>,
    /// How it is packed.
    pub compression: Compression,
    /// How each source is checked.
    pub check: CheckKind,
    /// Whether the logical hash of every table goes into the manifest; costs a pass over all rows.
    pub hash_tables: bool,
    /// How its pages are read.
    pub pages: PagePreference,
    /// Why it is made.
    pub kind: Kind,
    /// How the bundle must be handled, for its public core.
    pub marking: Option<Marking>,
    /// A word for the manifest.
    pub tag: Option<String>,
    /// A sentence for the manifest.
    pub note: Option<String>,
    /// How long to wait for a locked source.
    pub busy_timeout: Duration,
    /// Where scratch goes, else the vault.
    pub scratch: Option<PathBuf>,
    /// Whether the finished bundle is read back.
    pub read_back: bool,
    /// Whether a corrupt source is sealed, and labelled so.
    pub accept_corrupt: bool,
    /// Whether keys that do not open the vault's newest bundle are meant.
    pub new_keys: bool,
    /// Tables that only grow; those that were watched at the last backup are watched in any case.
    pub append_only: Vec<AppendOnly>,
    /// What is demanded of the content of a source. One that does not meet it is sealed all the same, and told.
    pub assertions: Vec<(Label, Assertion)>,
    /// Where the signing key is, for a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
}

/// What became of a backup.
#[derive(Debug)]
pub struct BackupReport {
    /// The bundle's file.
    pub path: PathBuf,
    /// Its public core.
    pub core: PublicCore,
    /// Its manifest.
    pub manifest: Manifest,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// SHA-256 of its `SHA256SUMS`.
    pub seal_sha256: Digest,
    /// The level it was verified to.
    pub level: Option<Level>,
    /// Whether the vault was made by this run.
    pub is_new_vault: bool,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Backup {
    /// A backup with the defaults.
    pub fn new(sources: Vec<SourceSpec>, vault: impl Into<PathBuf>) -> Backup {
        Backup {
            sources,
            files: Vec::new(),
            private: Vec::new(),
            optional: Vec::new(),
            groups: Vec::new(),
            vault: vault.into(),
            set: None,
            compression: Compression::DEFAULT,
            check: CheckKind::Quick,
            hash_tables: false,
            pages: PagePreference::Auto,
            kind: Kind::Manual,
            marking: None,
            tag: None,
            note: None,
            busy_timeout: Duration::from_secs(5),
            scratch: None,
            read_back: true,
            accept_corrupt: false,
            new_keys: false,
            append_only: Vec::new(),
            assertions: Vec::new(),
            signing_key: None,
        }
    }

    /// Makes the bundle.
    ///
    /// # Errors
    /// [`Failure`]; nothing is left behind then.
    pub fn run(&self, ring: &Keyring, environment: &mut Environment) -> Result<BackupReport, Failure> {
        self.check_sources()?;
        self.in_vault(environment, |vault, environment| self.seal_into(vault, ring, &LiveFiles, environment))
    }

    /// Opens the vault, has a bundle made in it, and records it if that fails.
    pub(super) fn in_vault(
        &self,
        environment: &mut Environment,
        make: impl FnOnce(&mut Vault, &mut Environment) -> Result<BackupReport, Failure>,
    ) -> Result<BackupReport, Failure> {
        let mut vault = Vault::open_named(&self.vault, self.set.clone(), &mut *environment.entropy)?;
        environment.progress.note(&format!("opened vault '{}' of {}", self.vault.display(), vault.set().name.as_str()));
        let place = self.signing_key.as_ref();
        let result = resolve_pending(&mut vault, place, environment).and_then(|()| make(&mut vault, environment));
        let result = heed(&environment.progress.clone(), result);
        match &result {
            // A vault that has nothing in it has nothing to remember either.
            Err(_) if vault.is_new => vault.discard_if_unused(),
            Err(failure) => {
                record(Some(vault.folder()), place, Note::failure(Event::Backup, None, failure), environment);
            }
            Ok(_) => {}
        }
        result
    }

    /// Finds what can be found in a moment, before anything is made, asked or waited for. [`Backup::run`] begins with it.
    ///
    /// # Errors
    /// [`Failure::DoubleLabel`], or [`Failure::Source`] for a missing file.
    pub fn check_sources(&self) -> Result<(), Failure> {
        self.check_labels()?;
        for source in &self.sources {
            if let Err(error) = source.path.metadata()
                && error.kind() == std::io::ErrorKind::NotFound
                && !self.optional.contains(&source.label)
            {
                let missing = DatabaseError::Missing { path: source.path.clone() };
                return Err(Failure::Source { label: source.label.clone(), source: missing });
            }
        }
        Ok(())
    }

    pub(super) fn check_labels(&self) -> Result<(), Failure> {
        let labels = || self.sources.iter().map(|source| &source.label).chain(self.files.iter().map(|set| &set.label));
        let is_double = |(place, label): &(usize, &Label)| labels().take(*place).any(|other| other == *label);
        match labels().enumerate().find(is_double) {
            Some((_, label)) => Err(Failure::DoubleLabel { label: label.clone() }),
            None => Ok(()),
        }
    }

    /// Makes the bundle in a vault that is open already, out of sources wherever they come from.
    pub(super) fn seal_into(
        &self,
        vault: &mut Vault,
        ring: &Keyring,
        origin: &dyn Origin,
        environment: &mut Environment,
    ) -> Result<BackupReport, Failure> {
        let progress = Arc::clone(&environment.progress);
        let mut warnings = self.check_vault(vault, ring)?;
        let signer = self.signer(vault)?;
        go_on(&progress)?;
        let started_at = environment.now();
        let (predecessor, damaged) = vault.predecessor();
        warnings.extend(damaged.iter().map(|bundle| format!("'{}' is damaged at its end: this bundle cannot name it", bundle.name)));
        let journal_head = Journal::of(vault.folder()).head().unwrap_or_else(|error| {
            warnings.push(format!("this bundle does not name the journal's last record: {}", chain(&error)));
            None
        });
        let core = PublicCore::new(
            CoreFacts {
                id: Id(random(&mut *environment.entropy)),
                set: vault.set().clone(),
                sequence: vault.next_sequence()?,
                kind: self.kind,
                created_at: started_at,
                marking: self.marking.clone(),
                codec: self.compression.codec(),
                frame_size: FrameSize::Normal,
                predecessor,
                journal_head,
                signer: signer.as_ref().map(SigningKey::public),
            },
            RECOVER_TEXT.as_bytes(),
        );
        let new = vault.folder().new_file(&mut *environment.entropy)?;
        // An old state has fewer rows than were seen since; that is no rewritten history.
        let histories = match self.kind {
            Kind::Imported => Vec::new(),
            _ => table_histories(&records_in(vault.folder())?),
        };
        let sealer = Sealer { backup: self, core: &core, ring, signer: signer.as_ref(), histories: &histories, origin };
        let SealedBundle { sealed, manifest, found, warnings: of_sources } = sealer.seal(&new, environment)?;
        warnings.extend(of_sources);
        let watched = records_of(&manifest, &found);
        self.check_append_only(&manifest, &watched, &histories)?;
        progress.note(&format!("sealed {} bytes in {} frames", sealed.size_bytes, sealed.frames));
        new.sync()?;
        progress.note("synced");
        let level = self.read_back.then(|| sealer.read_back(&new, environment)).transpose()?;
        let name = bundle_name(&core.set.name, core.sequence, &core.created_at);
        go_on(&progress)?;
        let report = BackupReport {
            path: vault.folder().path().join(&name),
            core,
            manifest,
            size_bytes: sealed.size_bytes,
            sha256: sealed.sha256,
            seal_sha256: sealed.seal_sha256,
            level,
            is_new_vault: vault.is_new,
            warnings,
        };
        let subject = subject(&report.core, &report.path);
        let pending = Pending { subject, seal_sha256: report.seal_sha256, details: backup_details(&report, &watched) };
        let announced = vault.announce(pending.clone(), &mut *environment.entropy);
        if let Err(error) = announced.and_then(|()| new.publish(&name)) {
            // What is left of the announcement is only a number that is not used again.
            let _ = vault.withdraw(&mut *environment.entropy);
            return Err(error.into());
        }
        progress.note(&format!("published as '{name}'"));
        self.conclude(vault, pending, &report, environment);
        self.tell_breaks(vault, &report, breaks(&watched, &histories), environment);
        Ok(report)
    }

    /// A typing error in the name of a table must not leave it unwatched. A table that was watched before and is gone is no such error, and neither
    /// is one of a source that is not in this bundle: both are told as what they are.
    fn check_append_only(&self, manifest: &Manifest, watched: &[TableRecord], histories: &[TableHistory]) -> Result<(), Failure> {
        let is_known = |declared: &&AppendOnly| {
            let fits = |label: &Label, table: &str| {
                declared.label.as_ref().is_none_or(|of| of == label) && table.eq_ignore_ascii_case(&declared.table)
            };
            watched.iter().any(|record| fits(&record.label, &record.table))
                || histories.iter().any(|history| fits(&history.label, &history.table))
        };
        let is_here = |declared: &&AppendOnly| {
            let is_missing = |label: &Label| self.optional.contains(label) && !manifest.labels().any(|sealed| sealed == label);
            !declared.label.as_ref().is_some_and(is_missing)
        };
        match self.append_only.iter().filter(is_here).find(|declared| !is_known(declared)) {
            Some(declared) => Err(Failure::NoTable { label: declared.label.clone(), table: declared.table.clone() }),
            None => Ok(()),
        }
    }

    /// Records that the history of a table was rewritten. The bundle is sealed all the same: it is the evidence.
    fn tell_breaks(
        &self,
        vault: &Vault,
        report: &BackupReport,
        breaks: Vec<(String, serde_json::Map<String, serde_json::Value>)>,
        environment: &mut Environment,
    ) {
        for (words, details) in breaks {
            environment.shortfalls.push(words);
            let subject = Some(subject(&report.core, &report.path));
            let note = Note { event: Event::Continuity, outcome: Outcome::Failure, subject, details };
            record(Some(vault.folder()), self.signing_key.as_ref(), note, environment);
        }
    }

    /// The bundle is complete and durable: what fails now is a shortfall and not the loss of the backup.
    fn conclude(&self, vault: &mut Vault, pending: Pending, report: &BackupReport, environment: &mut Environment) {
        let Pending { subject, seal_sha256, details } = pending;
        let name = subject.file.clone();
        let note = Note { event: Event::Backup, outcome: Outcome::Success, subject: Some(subject), details };
        record(Some(vault.folder()), self.signing_key.as_ref(), note, environment);
        let reference = Predecessor { id: report.core.id, sequence: report.core.sequence, seal_sha256 };
        if let Err(error) = vault.record(reference, &mut *environment.entropy) {
            environment.shortfalls.push(format!("the bundle is sealed, but the vault does not record it: {}", chain(&error)));
        }
        if let Err(error) = write_sidecar(vault.folder(), &name, &report.sha256, &mut *environment.entropy) {
            environment.shortfalls.push(format!("the bundle is sealed, but its .sha256 file is not written: {}", chain(&error)));
        }
    }

    /// The key that signs, where the vault has a signer. A vault whose bundles are signed gets none that is not.
    fn signer(&self, vault: &Vault) -> Result<Option<SigningKey>, Failure> {
        let Some(signer) = vault.signer() else { return Ok(None) };
        let place = self.signing_key.as_ref().ok_or_else(|| Failure::NoSigningKey { vault: self.vault.clone() })?;
        Ok(Some(place.load(&vault.set().id, &signer)?.0))
    }

    /// A typo in a passphrase must not seal months of backups: each key has to open the newest bundle, unless told otherwise.
    fn check_vault(&self, vault: &Vault, ring: &Keyring) -> Result<Vec<String>, Failure> {
        let mut warnings: Vec<String> = vault.strangers().map(|bundle| stranger_warning(bundle, vault.set().name.as_str())).collect();
        let Some(newest) = vault.newest().filter(|_| !self.new_keys) else { return Ok(warnings) };
        let medium = vault.folder().open_file(&newest.name)?;
        match read_front(&medium).and_then(|front| front.opens_with_each(ring)) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::OtherKeys { bundle: newest.name.clone() }),
            Err(error) => warnings.push(format!("the newest bundle '{}' is not sound: {error}", newest.name)),
        }
        Ok(warnings)
    }
}

fn stranger_warning(bundle: &crate::vault::Shelved, set: &str) -> String {
    use crate::vault::ShelvedState::{Closed, Readable, Unreadable};
    match &bundle.state {
        Readable(core) => format!("'{}' belongs to another set ('{}', this vault is '{set}')", bundle.name, core.set.name),
        Unreadable(error) => format!("'{}' cannot be read: {error}", bundle.name),
        Closed(error) => error.to_string(),
    }
}
