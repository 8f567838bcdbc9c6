//! Backup: live databases → one sealed, read-back, published bundle.
//!
//! The bundle has no name until it was synced, dropped from the page cache and verified at L3 from the medium; so a file called `.akb` in a
//! vault is a bundle that once opened, and a kill at any moment leaves none. One source after the other is captured and
//! sealed: each is a cut of its own.

use std::io::BufWriter;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::continuity::{AppendOnly, TableHistory, TableRecord, breaks, records_of, table_histories, watched_in};
use super::progress::{Phase, Progress, Watched, go_on, heed};
use super::record::{Captured, backup_details, source_record, tool};
use super::recorder::{Note, chain, record, resolve_pending, subject};
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::{
    BundleError, BundleWriter, Compression, CoreFacts, EntryPath, Examination, FrameSize, Id, Keyring, Kind, Label, Level, MANIFEST_FORMAT,
    Manifest, Medium as _, Nowhere, Predecessor, PublicCore, RECOVER_TEXT, Sealed, Sealing, read_front, unlock,
};
use crate::crypto::{Digest, Entropy, SigningKey, random};
use crate::database::{Capture, CaptureOptions, CheckKind, Continuity, DatabaseError, PagePreference, SourceFacts};
use crate::files::{NewFile, ScratchSpace, Writeback};
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

/// A request for one bundle. Everything but sources and vault has a sensible default.
#[derive(Debug, Clone)]
pub struct Backup {
    /// What to capture, in this order.
    pub sources: Vec<SourceSpec>,
    /// Where the bundle goes.
    pub vault: PathBuf,
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
            vault: vault.into(),
            compression: Compression::DEFAULT,
            check: CheckKind::Quick,
            hash_tables: false,
            pages: PagePreference::Auto,
            kind: Kind::Manual,
            tag: None,
            note: None,
            busy_timeout: Duration::from_secs(5),
            scratch: None,
            read_back: true,
            accept_corrupt: false,
            new_keys: false,
            append_only: Vec::new(),
            signing_key: None,
        }
    }

    /// Makes the bundle.
    ///
    /// # Errors
    /// [`Failure`]; nothing is left behind then.
    pub fn run(&self, ring: &Keyring, environment: &mut Environment) -> Result<BackupReport, Failure> {
        self.check_sources()?;
        let mut vault = Vault::open(&self.vault, &mut *environment.entropy)?;
        environment.progress.note(&format!("opened vault '{}' of {}", self.vault.display(), vault.set().name.as_str()));
        let place = self.signing_key.as_ref();
        let result = resolve_pending(&mut vault, place, environment).and_then(|()| self.seal_into(&mut vault, ring, environment));
        let result = heed(&environment.progress.clone(), result);
        match &result {
            // A vault that has nothing in it has nothing to remember either.
            Err(_) if vault.is_new => vault.discard_if_unused(),
            Err(failure) => record(Some(vault.folder()), place, Note::failure(Event::Backup, None, failure), environment),
            Ok(_) => {}
        }
        result
    }

    /// Finds what can be found in a moment, before anything is made, asked or waited for. [`Backup::run`] begins with it.
    ///
    /// # Errors
    /// [`Failure::DoubleLabel`], or [`Failure::Source`] for a missing file.
    pub fn check_sources(&self) -> Result<(), Failure> {
        for (place, source) in self.sources.iter().enumerate() {
            if self.sources[..place].iter().any(|other| other.label == source.label) {
                return Err(Failure::DoubleLabel { label: source.label.clone() });
            }
            if let Err(error) = source.path.metadata()
                && error.kind() == std::io::ErrorKind::NotFound
            {
                let missing = DatabaseError::Missing { path: source.path.clone() };
                return Err(Failure::Source { label: source.label.clone(), source: missing });
            }
        }
        Ok(())
    }

    fn seal_into(&self, vault: &mut Vault, ring: &Keyring, environment: &mut Environment) -> Result<BackupReport, Failure> {
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
                codec: self.compression.codec(),
                frame_size: FrameSize::Normal,
                predecessor,
                journal_head,
                signer: signer.as_ref().map(SigningKey::public),
            },
            RECOVER_TEXT.as_bytes(),
        );
        let new = vault.folder().new_file(&mut *environment.entropy)?;
        let histories = table_histories(&records_in(vault.folder())?);
        let (sealed, manifest, found) = self.seal(&core, ring, signer.as_ref(), &histories, &new, environment, &mut warnings)?;
        let watched = records_of(&manifest, &found);
        self.check_append_only(&watched)?;
        progress.note(&format!("sealed {} bytes in {} frames", sealed.size_bytes, sealed.frames));
        new.sync()?;
        progress.note("synced");
        let level = self.read_back.then(|| self.verify(&new, ring, environment)).transpose()?;
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

    /// A typing error in the name of a table must not leave it unwatched.
    fn check_append_only(&self, watched: &[TableRecord]) -> Result<(), Failure> {
        let is_there = |declared: &&AppendOnly| {
            let is_label = |record: &TableRecord| declared.label.as_ref().is_none_or(|label| *label == record.label);
            watched.iter().any(|record| is_label(record) && record.table.eq_ignore_ascii_case(&declared.table))
        };
        match self.append_only.iter().find(|declared| !is_there(declared)) {
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

    fn seal(
        &self,
        core: &PublicCore,
        ring: &Keyring,
        signer: Option<&SigningKey>,
        histories: &[TableHistory],
        new: &NewFile,
        environment: &mut Environment,
        warnings: &mut Vec<String>,
    ) -> Result<(Sealed<()>, Manifest, Vec<(Label, String, Continuity)>), Failure> {
        let begun = std::time::Instant::now();
        let file = new.file().try_clone().map_err(|source| self.seal_failure(BundleError::Write { source }))?;
        let (clock, progress) = (environment.clock, Arc::clone(&environment.progress));
        let scratch = self.scratch_space();
        let options = CaptureOptions {
            check: self.check,
            busy_timeout: self.busy_timeout,
            accept_corrupt: self.accept_corrupt,
            scratch: &scratch,
            pages: self.pages,
            hash_tables: self.hash_tables,
            watched: &[],
            clock: &clock,
            cancelled: &|| progress.is_cancelled(),
        };
        // Frames are large; the buffer gathers their headers and padding.
        let out = BufWriter::with_capacity(64 << 10, Writeback::new(file));
        let sealing = Sealing { ring, signer, compression: self.compression, workers: environment.workers };
        let writer = BundleWriter::start(out, core, sealing, &mut *environment.entropy);
        let mut writer = writer.map_err(|source| self.seal_failure(source))?;
        let (mut sources, mut found) = (Vec::new(), Vec::new());
        for spec in &self.sources {
            let watched = watched_in(spec, &self.append_only, histories);
            let options = CaptureOptions { watched: &watched, ..options };
            let captured = self.capture(spec, &options, &progress, &mut writer)?;
            found.extend(captured.facts.continuity.iter().map(|(table, found)| (spec.label.clone(), table.clone(), found.clone())));
            warnings.extend(captured.facts.warnings.iter().map(|warning| format!("{}: {warning}", spec.label)));
            sources.push(source_record(&spec.label, captured));
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT.to_owned(),
            bundle: core.id,
            host: environment.host.clone(),
            tool: tool(),
            started_at: core.created_at.clone(),
            duration_ms: begun.elapsed().as_millis() as u64,
            tag: self.tag.clone(),
            note: self.note.clone(),
            sources,
        };
        let (out, sealed) = writer.seal(manifest.encode()).map_err(|source| self.seal_failure(source))?.split();
        let flushed = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(Writeback::finish);
        flushed.map_err(|source| self.seal_failure(BundleError::Write { source }))?;
        Ok((sealed, manifest, found))
    }

    fn capture<W: std::io::Write>(
        &self,
        spec: &SourceSpec,
        options: &CaptureOptions<'_>,
        progress: &Arc<dyn Progress>,
        writer: &mut BundleWriter<'_, W>,
    ) -> Result<Captured, Failure> {
        let of_source = |source| Failure::Source { label: spec.label.clone(), source };
        let examining = Phase::begin(progress, &format!("examining {}", spec.label), None);
        let mut capture = Capture::begin(&spec.path, options).map_err(of_source)?;
        drop(examining);
        let facts = capture.facts().clone();
        progress.note(&captured_note(&spec.label, &facts));
        let sealing = Phase::begin(progress, &format!("sealing {}", spec.label), Some(facts.size_bytes));
        writer.begin(EntryPath::Database(spec.label.clone()), facts.size_bytes).map_err(|source| self.seal_failure(source))?;
        let copied = capture.write_image::<CopyError>(&mut |pages| {
            if progress.is_cancelled() {
                return Err(CopyError::Seal(BundleError::Cancelled));
            }
            progress.advance(pages.len() as u64);
            writer.write(pages).map_err(CopyError::Seal)
        });
        copied.map_err(|error| match error {
            CopyError::Seal(source) => self.seal_failure(source),
            CopyError::Capture(source) => of_source(source),
        })?;
        let sha256 = writer.end().map_err(|source| self.seal_failure(source))?;
        capture.finish().map_err(of_source)?;
        drop(sealing);
        let schema_sha256 = match &facts.schema {
            Some(schema) => {
                Some(writer.add(EntryPath::Schema(spec.label.clone()), schema.sql.as_bytes()).map_err(|source| self.seal_failure(source))?)
            }
            None => None,
        };
        Ok(Captured { facts, sha256, schema_sha256 })
    }

    fn verify(&self, new: &NewFile, ring: &Keyring, environment: &Environment) -> Result<Level, Failure> {
        let failure = |source| Failure::ReadBack { vault: self.vault.clone(), source };
        new.evict();
        let progress = &environment.progress;
        let medium = Watched::new(new.file(), progress);
        let _phase = Phase::begin(progress, "reading back", medium.length().ok());
        let mut front = read_front(&medium).map_err(failure)?;
        let mut unlocked = unlock(&medium, &front, ring).map_err(failure)?;
        let mut sink = Nowhere;
        let examination = Examination::new(&medium, &mut front, Some(&mut unlocked), Level::Content, environment.workers, &mut sink);
        examination.run().and_then(|outcome| outcome.into_result()).map_err(failure)?;
        progress.note("read back and verified, L3");
        Ok(Level::Content)
    }

    fn scratch_space(&self) -> ScratchSpace {
        let folder = self.scratch.as_deref().unwrap_or(&self.vault);
        ScratchSpace::new(folder, |bytes: &mut [u8]| super::OsEntropy.fill(bytes))
    }

    fn seal_failure(&self, source: BundleError) -> Failure {
        Failure::Seal { vault: self.vault.clone(), source }
    }
}

/// Which side of the copy failed.
enum CopyError {
    Capture(DatabaseError),
    Seal(BundleError),
}

impl From<DatabaseError> for CopyError {
    fn from(error: DatabaseError) -> CopyError {
        CopyError::Capture(error)
    }
}

fn captured_note(label: &Label, facts: &SourceFacts) -> String {
    format!(
        "captured {label}: {} bytes, by {} from {}, {} check: {}",
        facts.size_bytes, facts.pages, facts.route, facts.check.kind, facts.check.verdict
    )
}

fn stranger_warning(bundle: &crate::vault::Shelved, set: &str) -> String {
    use crate::vault::ShelvedState::{Closed, Readable, Unreadable};
    match &bundle.state {
        Readable(core) => format!("'{}' belongs to another set ('{}', this vault is '{set}')", bundle.name, core.set.name),
        Unreadable(error) => format!("'{}' cannot be read: {error}", bundle.name),
        Closed(error) => error.to_string(),
    }
}
