//! Sets of plain files: found, read into encrypted scratch as one archive, and put into the bundle behind the databases.
//!
//! The archive goes through scratch because its size must be known before its first byte is sealed, and files grow while they are read. What
//! belongs to the databases of the same backup, or to the vault, is in no set: a database that is opened by anything but SQLite loses its
//! locks.

mod apart;
mod gathering;

use std::io::Write;
use std::sync::Arc;
use std::time::SystemTime;

use super::Failure;
use super::environment::utc;
use super::progress::{Phase, Progress, go_on};
use super::seal::{Sealer, Told};
use crate::bundle::{BundleWriter, EntryPath, FileSet, Label};
use crate::files::ScratchSpace;
use crate::plain::{Found, PlainFileError, Selection};
pub(super) use apart::Apart;
use gathering::{GatheredFiles, Gathering, Trouble};

/// Plain files and the name that they get in the bundle.
#[derive(Debug, Clone)]
pub struct FileSource {
    /// Their label.
    pub label: Label,
    /// Which they are.
    pub selection: Selection,
    /// Whether the backup fails if one of them cannot be had; else the rest is sealed, and the bundle is told to be incomplete.
    pub is_required: bool,
}

/// Why a set of files, or one of it, is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FilesFault {
    /// There is no such file.
    #[error("no file fits its patterns, the first is '{first}'")]
    NoneFits {
        /// The first of the patterns.
        first: String,
    },
    /// Together they are larger than allowed.
    #[error("its files have {size_bytes} bytes, and at most {max_bytes} are allowed")]
    TooLarge {
        /// Bytes of all files.
        size_bytes: u64,
        /// What was allowed.
        max_bytes: u64,
    },
    /// The manifest could not hold them all.
    #[error("it has {count} files, and a bundle takes at most {FILES_MAX} of one source")]
    TooMany {
        /// Files.
        count: usize,
    },
    /// A file is of a kind that is not taken, or a folder cannot be listed.
    #[error("{what}")]
    Refused {
        /// What and why.
        what: String,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] PlainFileError),
    /// What should be an env file is none.
    #[error("'{name}' is no env file: it is {why}")]
    NotEnv {
        /// The file.
        name: String,
        /// Why.
        why: &'static str,
    },
}

impl FileSource {
    /// Finds and reads the files.
    pub(super) fn gather(
        &self,
        apart: &Apart,
        space: &ScratchSpace,
        clock: fn() -> SystemTime,
        progress: &Arc<dyn Progress>,
    ) -> Result<GatheredFiles, Failure> {
        let captured_at = clock();
        let failed = |source| Failure::Files { label: self.label.clone(), source };
        let found = self.find(apart, captured_at).map_err(failed)?;
        let _phase = Phase::begin(progress, &format!("reading {}", self.label), Some(found.size_bytes()));
        let mut gathering = Gathering::begin(self, &found, space)?;
        gathering.shortfalls.extend(found.refused.iter().map(|what| self.incomplete(what)));
        for file in &found.files {
            go_on(progress)?;
            match gathering.take(file, progress.as_ref()) {
                Ok(()) => {}
                Err(Trouble::File(fault)) if !self.is_required => gathering.shortfalls.push(self.incomplete(&fault)),
                Err(Trouble::File(fault)) => return Err(failed(fault)),
                Err(Trouble::Scratch(source)) => return Err(Failure::Scratch { source }),
            }
        }
        let is_empty = gathering.files.is_empty() && !gathering.shortfalls.is_empty();
        if let Some(first) = gathering.shortfalls.first().filter(|_| is_empty) {
            return Err(failed(FilesFault::Refused { what: first.clone() }));
        }
        gathering.finish(utc(captured_at))
    }

    /// What stands behind the patterns now; what cannot be taken at all is an error.
    pub(super) fn find(&self, apart: &Apart, now: SystemTime) -> Result<Found, FilesFault> {
        let selection = &self.selection;
        let found = selection.find(now, &|path, metadata| apart.has(path, metadata));
        let first_refused = found.refused.first().filter(|_| self.is_required);
        if let Some(what) = first_refused {
            return Err(FilesFault::Refused { what: what.clone() });
        }
        if !found.has_any && found.refused.is_empty() {
            return Err(FilesFault::NoneFits { first: selection.patterns.texts().first().cloned().unwrap_or_default() });
        }
        if found.files.len() > FILES_MAX {
            return Err(FilesFault::TooMany { count: found.files.len() });
        }
        let size_bytes = found.size_bytes();
        match selection.max_bytes.filter(|max_bytes| size_bytes > *max_bytes) {
            Some(max_bytes) => Err(FilesFault::TooLarge { size_bytes, max_bytes }),
            None => Ok(found),
        }
    }

    fn incomplete(&self, what: &impl ToString) -> String {
        format!("source '{}' is not whole in this bundle: {}", self.label, what.to_string())
    }
}

impl Sealer<'_> {
    /// Puts all sets of files into the bundle. One that cannot be had is told, unless it is required.
    pub(super) fn add_files<W: Write>(
        &self,
        writer: &mut BundleWriter<'_, W>,
        clock: fn() -> SystemTime,
        progress: &Arc<dyn Progress>,
        told: &mut Told,
    ) -> Result<Vec<FileSet>, Failure> {
        let (apart, space) = (Apart::of(self.backup), self.scratch_space());
        let mut sets = Vec::new();
        for source in &self.backup.files {
            match source.gather(&apart, &space, clock, progress) {
                Ok(mut gathered) => {
                    gathered.set.sha256 = self.add_scratch(EntryPath::Files(source.label.clone()), &gathered.archive, writer)?;
                    progress.note(&format!(
                        "captured {}: {} files, {} bytes",
                        source.label,
                        gathered.set.files.len(),
                        gathered.set.size_bytes
                    ));
                    told.warnings.extend(gathered.warnings);
                    told.missing.extend(gathered.shortfalls);
                    sets.push(gathered.set);
                }
                Err(Failure::Files { label, source: fault }) if !source.is_required => {
                    told.missing.push(format!("source '{label}' is not in this bundle: {fault}"));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(sets)
    }
}

/// Their records take about 300 bytes each, and a manifest has at most 16 MiB.
const FILES_MAX: usize = 20_000;
