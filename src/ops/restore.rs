//! Restore into a folder: every chosen snapshot complete and verified, or no file at all.
//!
//! One pass does both: while the whole bundle is examined at L3, the chosen databases are written into files that have no name. Only when
//! the pass ended without a finding, and every file was synced, do they get their names; nothing is ever replaced. The
//! manifest comes last, so its presence says that the restore was completed.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::progress::{Phase, Watched, go_on, heed};
use super::recorder::{Note, record, subject};
use super::verify::open_bundle;
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::{
    BundleError, Entry, EntryPath, EntrySink, Examination, Finding, Keyring, Label, Level, Manifest, Medium as _, Outcome, PublicCore,
    Source, TrustedSigners, read_front, unlock,
};
use crate::crypto::Entropy;
use crate::files::{FileError, Folder, NewFile, Writeback, make_private_folder};
use crate::journal::{self, Event};

const MANIFEST: &str = "manifest.json";
const TENANTS: &str = "tenants";
/// Files that SQLite would replay into a database of the same name.
pub(super) const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A request to restore into a folder.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The bundle.
    pub bundle: PathBuf,
    /// Which sources, all if empty.
    pub labels: Vec<Label>,
    /// The folder; made if it is missing.
    pub to: PathBuf,
    /// The vault that takes the record, else the folder that the bundle is in.
    pub vault: Option<PathBuf>,
    /// Who may have sealed it; with somebody pinned, nothing is restored from a bundle that nobody of them signed.
    pub signers: TrustedSigners,
    /// Where the signing key is, for the record in a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
    /// Whether databases that are whole are restored although other parts of the bundle are damaged.
    pub accept_damage: bool,
}

/// A restored database.
#[derive(Debug)]
pub struct Restored {
    /// What the manifest says of it.
    pub source: Source,
    /// Where it is now.
    pub path: PathBuf,
}

/// What became of a restore.
#[derive(Debug)]
pub struct RestoreReport {
    /// The bundle's public core.
    pub core: PublicCore,
    /// The bundle's manifest.
    pub manifest: Manifest,
    /// Where the manifest is now, unless its entry was damaged.
    pub manifest_path: Option<PathBuf>,
    /// The databases.
    pub restored: Vec<Restored>,
    /// What is wrong with the bundle; empty unless damage was accepted.
    pub findings: Vec<Finding>,
    /// Chosen databases that are hurt and were not restored.
    pub hurt: Vec<Label>,
}

impl Restore {
    /// Restores.
    ///
    /// # Errors
    /// [`Failure`]; nothing is left behind then.
    pub fn run(&self, ring: &Keyring, environment: &mut Environment) -> Result<RestoreReport, Failure> {
        let result = heed(&environment.progress.clone(), self.restore(ring, environment));
        self.record(&result, environment);
        result
    }

    fn record(&self, result: &Result<RestoreReport, Failure>, environment: &mut Environment) {
        let note = match result {
            Ok(report) => {
                let restored: Vec<Value> =
                    report.restored.iter().map(|one| json!({ "label": one.source.label, "to": one.path.to_string_lossy() })).collect();
                let details = json!({ "restored": restored, "hurt": report.hurt, "findings": report.findings.len() });
                Note::new(Event::Restore, journal::Outcome::Success, Some(subject(&report.core, &self.bundle)), details)
            }
            // There is nothing to be told of a bundle that is not there.
            Err(Failure::NoBundle { .. }) => return,
            Err(failure) => Note::failure(Event::Restore, None, failure),
        };
        record(self.recording_folder().as_ref(), self.signing_key.as_ref(), note, environment);
    }

    fn recording_folder(&self) -> Option<Folder> {
        let named = self.vault.as_ref().and_then(|vault| Folder::open(&vault.canonicalize().ok()?).ok());
        named.or_else(|| Folder::above(&self.bundle).ok())
    }

    /// Records what is about to be done: a run that is killed has said so.
    fn intend(&self, core: &PublicCore, chosen: &[Source], environment: &mut Environment) {
        let labels: Vec<&Label> = chosen.iter().map(|source| &source.label).collect();
        let details = json!({ "labels": labels, "to": self.to.to_string_lossy() });
        let note = Note::new(Event::Restore, journal::Outcome::Intent, Some(subject(core, &self.bundle)), details);
        record(self.recording_folder().as_ref(), self.signing_key.as_ref(), note, environment);
    }

    fn restore(&self, ring: &Keyring, environment: &mut Environment) -> Result<RestoreReport, Failure> {
        let progress = environment.progress.clone();
        let failure = |source| Failure::Bundle { path: self.bundle.clone(), source };
        let file = open_bundle(&self.bundle)?;
        let medium = Watched::new(&file, &progress);
        let phase = Phase::begin(&progress, "restoring", medium.length().ok());
        let mut front = read_front(&medium).map_err(failure)?;
        let mut unlocked = unlock(&medium, &front, ring).map_err(failure)?;
        let Some(manifest) = unlocked.manifest().cloned() else {
            return Err(failure(unlocked.into_manifest().map_or_else(|error| error, |_| BundleError::WorkerLost)));
        };
        progress.note(&format!("opened '{}'", self.bundle.display()));
        let chosen = self.choose(&manifest)?;
        self.intend(&front.core, &chosen, environment);
        let mut target = Target::prepare(&self.to, &chosen)?;
        let mut sink =
            Staging { target: &mut target, entropy: &mut *environment.entropy, chosen: &chosen, current: None, staged: Vec::new() };
        let examination = Examination::new(&medium, &mut front, Some(&mut unlocked), Level::Content, environment.workers, &mut sink);
        let outcome = examination.run().map_err(|error| match error {
            StagingError::File(error) => Failure::File(error),
            StagingError::Bundle(source) => failure(source),
        })?;
        let Staging { staged, .. } = sink;
        let verdict = self.signers.judge(&front.core, outcome.is_signed);
        if !self.signers.is_empty() && !self.signers.accepts(verdict) {
            return Err(Failure::WrongSigner { path: self.bundle.clone(), signer: front.core.signer });
        }
        let is_whole = |source: &Source| staged.iter().any(|file| file.label.as_ref() == Some(&source.label));
        let (whole, hurt): (Vec<Source>, Vec<Source>) = chosen.iter().cloned().partition(is_whole);
        if !outcome.findings.is_empty() && (!self.accept_damage || whole.is_empty()) {
            return Err(self.damaged(outcome, &manifest, &whole));
        }
        drop(phase);
        progress.note(&format!("verified, L3: {} findings", outcome.findings.len()));
        go_on(&progress)?;
        let has_manifest = staged.iter().any(|file| file.label.is_none());
        target.publish(staged)?;
        progress.note(&format!("published into '{}'", self.to.display()));
        let place = |source: Source| Restored { path: self.to.join(format!("{}.db", source.label)), source };
        let restored = whole.into_iter().map(place).collect();
        Ok(RestoreReport {
            core: front.core,
            manifest,
            manifest_path: has_manifest.then(|| self.to.join(MANIFEST)),
            restored,
            findings: outcome.findings,
            hurt: hurt.into_iter().map(|source| source.label).collect(),
        })
    }

    /// What was found, and which of the chosen databases could be had all the same.
    fn damaged(&self, mut outcome: Outcome, manifest: &Manifest, whole: &[Source]) -> Failure {
        let first = outcome.findings.swap_remove(0).damage;
        let whole = whole.iter().map(|source| source.label.clone()).collect();
        Failure::Damaged { path: self.bundle.clone(), source: first, whole, has_several: manifest.sources.len() > 1 }
    }

    fn choose(&self, manifest: &Manifest) -> Result<Vec<Source>, Failure> {
        for label in &self.labels {
            if !manifest.sources.iter().any(|source| source.label == *label) {
                let has = manifest.sources.iter().map(|source| source.label.to_string()).collect();
                return Err(Failure::NoLabel { label: label.clone(), has });
            }
        }
        let is_chosen = |source: &&Source| self.labels.is_empty() || self.labels.contains(&source.label);
        Ok(manifest.sources.iter().filter(is_chosen).cloned().collect())
    }
}

/// The folder, and what was made in it so far; takes back everything if it is dropped before the end.
struct Target {
    folder: Folder,
    tenants: Option<Folder>,
    made_folders: Vec<PathBuf>,
    published: Vec<(Folder, String)>,
    is_complete: bool,
}

impl Target {
    /// Checks that nothing is in the way and that there is space, then makes the folders.
    fn prepare(to: &Path, chosen: &[Source]) -> Result<Target, Failure> {
        let names = chosen.iter().map(|source| format!("{}.db", source.label));
        let sidecars = names.clone().flat_map(|name| SIDECARS.map(|suffix| format!("{name}{suffix}")));
        for name in names.clone().chain(sidecars).chain([MANIFEST.to_owned()]) {
            let path = to.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(Failure::TargetExists { path });
            }
        }
        let mut made_folders = Vec::new();
        let opened = open_or_make(to, &mut made_folders);
        let mut target = match opened {
            Ok(folder) => Target { folder, tenants: None, made_folders, published: Vec::new(), is_complete: false },
            Err(error) => {
                remove_folders(&made_folders);
                return Err(error.into());
            }
        };
        if chosen.iter().any(|source| split(&source.label).0) {
            let (tenants, is_new) = target.folder.open_or_make_folder(TENANTS)?;
            if is_new {
                target.made_folders.push(to.join(TENANTS));
            }
            target.tenants = Some(tenants);
        }
        let needed_bytes = chosen.iter().map(|source| source.size_bytes).sum();
        let available_bytes = target.folder.free_bytes()?;
        match available_bytes < needed_bytes {
            true => Err(Failure::NoSpace { folder: to.to_owned(), needed_bytes, available_bytes }),
            false => Ok(target),
        }
    }

    fn folder_of(&self, label: &Label) -> &Folder {
        match (&self.tenants, split(label).0) {
            (Some(tenants), true) => tenants,
            _ => &self.folder,
        }
    }

    /// Syncs all files, then gives them their names, the manifest last.
    fn publish(mut self, staged: Vec<Staged>) -> Result<(), Failure> {
        for file in &staged {
            file.new.sync()?;
        }
        for Staged { folder, name, new, .. } in staged {
            new.publish(&name)?;
            self.published.push((folder.clone(), name.clone()));
            // Once more: what SQLite would replay may have come since the first look.
            for sidecar in SIDECARS.map(|suffix| format!("{name}{suffix}")) {
                if folder.has(&sidecar)? {
                    return Err(Failure::TargetExists { path: folder.path().join(sidecar) });
                }
            }
        }
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_complete {
            for (folder, name) in &self.published {
                // On the way out of an error that is reported; what cannot be removed is complete and verified.
                let _ = folder.remove(name);
            }
            remove_folders(&self.made_folders);
        }
    }
}

struct Staged {
    /// The database, or none for the manifest.
    label: Option<Label>,
    folder: Folder,
    name: String,
    new: NewFile,
}

/// A file that still grows.
struct Growing {
    staged: Staged,
    writer: Writeback,
}

impl Staged {
    fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }
}

/// Takes chosen databases and the manifest into files without names.
struct Staging<'s> {
    target: &'s mut Target,
    entropy: &'s mut dyn Entropy,
    chosen: &'s [Source],
    current: Option<Growing>,
    staged: Vec<Staged>,
}

enum StagingError {
    File(FileError),
    Bundle(BundleError),
}

impl From<BundleError> for StagingError {
    fn from(error: BundleError) -> StagingError {
        StagingError::Bundle(error)
    }
}

impl EntrySink for Staging<'_> {
    type Error = StagingError;

    fn begin(&mut self, entry: &Entry) -> Result<(), StagingError> {
        let place = match &entry.path {
            EntryPath::Database(label) if self.chosen.iter().any(|source| source.label == *label) => {
                Some((Some(label.clone()), self.target.folder_of(label).clone(), format!("{}.db", split(label).1)))
            }
            EntryPath::Manifest => Some((None, self.target.folder.clone(), MANIFEST.to_owned())),
            _ => None,
        };
        self.current = match place {
            Some((label, folder, name)) => Some(grow(label, folder, name, self.entropy).map_err(StagingError::File)?),
            None => None,
        };
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), StagingError> {
        let Some(Growing { staged, writer }) = &mut self.current else { return Ok(()) };
        writer.write_all(bytes).map_err(FileError::io("write", &staged.path())).map_err(StagingError::File)
    }

    fn end(&mut self) -> Result<(), StagingError> {
        let Some(Growing { staged, writer }) = self.current.take() else { return Ok(()) };
        writer.finish().map_err(FileError::io("write", &staged.path())).map_err(StagingError::File)?;
        self.staged.push(staged);
        Ok(())
    }
}

fn grow(label: Option<Label>, folder: Folder, name: String, entropy: &mut dyn Entropy) -> Result<Growing, FileError> {
    let new = folder.new_file(entropy)?;
    let file = new.file().try_clone().map_err(FileError::io("write", &folder.path().join(&name)))?;
    Ok(Growing { staged: Staged { label, folder, name, new }, writer: Writeback::new(file) })
}

/// Whether a label names a tenant, and its last part.
fn split(label: &Label) -> (bool, &str) {
    match label.as_str().strip_prefix("tenants/") {
        Some(name) => (true, name),
        None => (false, label.as_str()),
    }
}

fn open_or_make(path: &Path, made: &mut Vec<PathBuf>) -> Result<Folder, FileError> {
    if path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        make_private_folder(path)?;
        made.push(path.to_owned());
        return Folder::open(path); // just made: a link here was put by somebody else
    }
    // A link that a person gave is followed once, here; everything below goes through the descriptor.
    Folder::open(&path.canonicalize().map_err(FileError::io("open folder", path))?)
}

fn remove_folders(made: &[PathBuf]) {
    for path in made.iter().rev() {
        // Only ever removes an empty folder that this run made.
        let _ = std::fs::remove_dir(path);
    }
}
