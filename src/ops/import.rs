//! Import: backups that other programs made → one sealed, read-back, published bundle of the kind `imported`.
//!
//! Nothing that an old backup says of itself is believed further than it proves: the manifest tells the form, what the bytes were
//! compared with, and that nobody's key vouches for them. All of it is unpacked in encrypted scratch, within bounds, and examined there as
//! a live database is. Of names in archives only labels are made, and no path.

mod fault;
mod icdev;
mod labels;
mod taken;
mod unpack;

pub use fault::ImportFault;

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::environment::utc;
use super::progress::Phase;
use super::seal::Origin;
use super::{Backup, BackupReport, Environment, Failure, SourceSpec};
use crate::bundle::{Imported, Keyring, Kind, Label};
use crate::crypto::{Entropy as _, OldPassphrase};
use crate::database::{Capture, CaptureOptions, DatabaseError, Image, Moment};
use crate::files::{FileError, ScratchSpace};
use taken::Bench;
use unpack::unpack;

/// An old backup, and the label that its database gets.
#[derive(Debug, Clone)]
pub struct OldBackup {
    /// The file.
    pub path: PathBuf,
    /// The label; without one it is made from the file's name, or from the names in the archive.
    pub label: Option<Label>,
}

/// A request to adopt old backups.
#[derive(Debug, Clone)]
pub struct Import {
    /// What to adopt, in this order.
    pub files: Vec<OldBackup>,
    /// How the bundle is made; what is captured, and what is known of it, is not looked at: kind, sources, files, groups, append-only tables and
    /// demands are those of live databases.
    pub backup: Backup,
    /// What one file may unpack to, in place of the limit that follows from its size.
    pub max_size_bytes: Option<u64>,
}

impl Import {
    /// An import with the defaults.
    pub fn new(files: Vec<OldBackup>, vault: impl Into<PathBuf>) -> Import {
        Import { files, backup: Backup { kind: Kind::Imported, ..Backup::new(Vec::new(), vault) }, max_size_bytes: None }
    }

    /// Makes the bundle.
    ///
    /// # Errors
    /// [`Failure`]; nothing is left behind then. What is wrong with an old backup is [`Failure::Import`].
    pub fn run(&self, ring: &Keyring, old: &[OldPassphrase], environment: &mut Environment) -> Result<BackupReport, Failure> {
        self.check_files()?;
        self.backup.in_vault(environment, |vault, environment| {
            let adopted = self.prepare(old, environment)?;
            let sources = adopted.databases.iter().map(|database| database.spec.clone()).collect();
            let backup = Backup {
                sources,
                kind: Kind::Imported,
                files: Vec::new(),
                optional: Vec::new(),
                groups: Vec::new(),
                append_only: Vec::new(),
                assertions: Vec::new(),
                ..self.backup.clone()
            };
            let mut report = backup.seal_into(vault, ring, &adopted, environment).map_err(|failure| adopted.explain(failure))?;
            report.warnings.extend(adopted.notes);
            Ok(report)
        })
    }

    /// Finds out whether all files are there, before anything is made or asked. [`Import::run`] begins with it.
    ///
    /// # Errors
    /// [`Failure::Import`].
    pub fn check_files(&self) -> Result<(), Failure> {
        for file in &self.files {
            let look = file.path.metadata().map_err(FileError::io("look at", &file.path));
            look.map_err(|error| failure(&file.path)(error.into()))?;
        }
        Ok(())
    }

    /// Unpacks all files.
    fn prepare(&self, old: &[OldPassphrase], environment: &Environment) -> Result<Adopted, Failure> {
        let folder = self.backup.scratch.as_deref().unwrap_or(&self.backup.vault);
        let space = ScratchSpace::new(folder, |bytes: &mut [u8]| super::OsEntropy.fill(bytes)).with_memory_limit(MEMORY_BYTES);
        let bench = Bench { space: &space, progress: &environment.progress, max_size_bytes: self.max_size_bytes };
        let mut adopted = Adopted::default();
        for file in &self.files {
            let _phase = Phase::begin(&environment.progress, &format!("unpacking '{}'", file.path.display()), None);
            adopted.add(file, old, &bench).map_err(failure(&file.path))?;
        }
        Ok(adopted)
    }
}

fn failure(path: &Path) -> impl Fn(ImportFault) -> Failure {
    move |source| Failure::Import { path: path.to_owned(), source }
}

/// Databases out of old backups, as the sources of a bundle.
#[derive(Default)]
struct Adopted {
    databases: Vec<Database>,
    notes: Vec<String>,
}

struct Database {
    spec: SourceSpec,
    /// Until it is captured.
    image: RefCell<Option<Image>>,
    imported: Imported,
}

impl Adopted {
    fn add(&mut self, file: &OldBackup, old: &[OldPassphrase], bench: &Bench<'_>) -> Result<(), ImportFault> {
        let taken = bench.take(&file.path)?;
        let (name, sha256, modified_at) = (taken.name.clone(), taken.sha256, utc(taken.modified_at));
        let unpacked = unpack(taken, old, bench)?;
        let entries: Vec<Option<&str>> = unpacked.found.iter().map(|found| found.entry.as_deref()).collect();
        let labels = labels::choose(file.label.as_ref(), &name, &entries)?;
        self.tell(&name, &unpacked.skipped, "is no database, and was left out");
        self.tell(&name, &unpacked.taken_in, "lay beside its database, and was taken in");
        for (found, label) in unpacked.found.into_iter().zip(labels) {
            let imported = Imported {
                file: name.clone(),
                entry: found.entry,
                form: unpacked.form.to_owned(),
                sha256,
                integrity: unpacked.integrity.to_owned(),
                authenticated: false,
                modified_at: modified_at.clone(),
            };
            if self.database(&label).is_some() {
                return Err(ImportFault::DoubleLabel { label });
            }
            let spec = SourceSpec { label, path: file.path.clone() };
            self.databases.push(Database { spec, image: RefCell::new(Some(found.image)), imported });
        }
        Ok(())
    }

    /// Names what an archive holds, up to a number that a person reads.
    fn tell(&mut self, file: &str, names: &[String], what: &str) {
        self.notes.extend(names.iter().take(NAMED_MAX).map(|name| format!("{file}: '{name}' {what}")));
        if names.len() > NAMED_MAX {
            self.notes.push(format!("{file}: and {} more", names.len() - NAMED_MAX));
        }
    }

    fn database(&self, label: &Label) -> Option<&Database> {
        self.databases.iter().find(|database| database.spec.label == *label)
    }

    /// What capturing an image says, said of the old backup.
    fn explain(&self, error: Failure) -> Failure {
        let Failure::Source { label, source } = error else { return error };
        let Some(database) = self.database(&label) else { return Failure::Source { label, source } };
        let fault = match source {
            // It begins as one; otherwise it would not have come so far.
            DatabaseError::NotADatabase { .. } => ImportFault::Header,
            source => ImportFault::Database(source),
        };
        failure(&database.spec.path)(fault)
    }
}

impl Origin for Adopted {
    fn capture<'c>(&'c self, spec: &SourceSpec, options: &CaptureOptions<'_>) -> Result<Capture<'c>, DatabaseError> {
        let image = self.database(&spec.label).and_then(|database| database.image.take());
        let image = image.ok_or_else(|| DatabaseError::Missing { path: spec.path.clone() })?;
        Moment::of_image(&spec.path, image, options)?.examine(options)
    }

    fn imported(&self, label: &Label) -> Option<Imported> {
        self.database(label).map(|database| database.imported.clone())
    }
}

const NAMED_MAX: usize = 20;
/// Of one image; an archive holds many, and all of them are there at once.
const MEMORY_BYTES: u64 = 1 << 20;
