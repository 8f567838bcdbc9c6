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
use crate::plain::{Found, FoundFile, PlainFileError, Selection};
pub(super) use apart::Apart;
use gathering::{GatheredFiles, Gathering};
pub(super) use gathering::{Trouble, digest_of};

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
    /// A file that is named is not there.
    #[error("{what}")]
    Missing {
        /// Which.
        what: String,
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
    #[error("it has {count} files, and a bundle takes at most {FILES_MAX} of one source (fewer where paths are long)")]
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
        gathering.missing.extend(found.missing.iter().chain(&found.refused).cloned());
        for file in &found.files {
            go_on(progress)?;
            match gathering.take(file, progress.as_ref()) {
                Ok(()) => {}
                Err(Trouble::File(fault)) if !self.is_required => gathering.missing.push(fault.to_string()),
                Err(Trouble::File(fault)) => return Err(failed(fault)),
                Err(Trouble::Scratch(source)) => return Err(Failure::Scratch { source }),
            }
        }
        if let Some(first) = gathering.missing.first().filter(|_| gathering.files.is_empty()) {
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
        if let Some(what) = found.missing.first().filter(|_| self.is_required) {
            return Err(FilesFault::Missing { what: what.clone() });
        }
        if !found.has_any && found.refused.is_empty() {
            return Err(FilesFault::NoneFits { first: selection.patterns.texts().first().cloned().unwrap_or_default() });
        }
        if found.files.len() > FILES_MAX || record_bytes(&found.files) > RECORDS_MAX_BYTES {
            return Err(FilesFault::TooMany { count: found.files.len() });
        }
        let size_bytes = found.size_bytes();
        match selection.max_bytes.filter(|max_bytes| size_bytes > *max_bytes) {
            Some(max_bytes) => Err(FilesFault::TooLarge { size_bytes, max_bytes }),
            None => Ok(found),
        }
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
        let (mut sets, mut records_bytes) = (Vec::new(), 0);
        for source in &self.backup.files {
            let gathered = source.gather(&apart, &space, clock, progress).and_then(|gathered| {
                records_bytes += gathered.set.files.iter().map(|file| RECORD_BYTES + file.path.len()).sum::<usize>();
                match records_bytes > RECORDS_MAX_BYTES {
                    false => Ok(gathered),
                    true => {
                        let source_fault = FilesFault::TooMany { count: gathered.set.files.len() };
                        Err(Failure::Files { label: source.label.clone(), source: source_fault })
                    }
                }
            });
            match gathered {
                Ok(mut gathered) => {
                    gathered.set.sha256 = self.add_scratch(EntryPath::Files(source.label.clone()), &gathered.archive, writer)?;
                    progress.note(&format!(
                        "captured {}: {} files, {} bytes",
                        source.label,
                        gathered.set.files.len(),
                        gathered.set.size_bytes
                    ));
                    told.warnings.extend(gathered.warnings);
                    let incomplete = format!("source '{}' is not whole in this bundle: ", source.label);
                    told.missing.extend(first_of(&gathered.missing, &incomplete));
                    sets.push(gathered.set);
                }
                Err(Failure::Files { label, source: fault }) if !source.is_required => {
                    told.missing.push(format!("source '{label}' is not in this bundle: {fault}"));
                }
                // Without room for its files the databases are sealed all the same.
                Err(Failure::Scratch { source: fault }) if !source.is_required => {
                    told.missing.push(format!("source '{}' is not in this bundle: {fault}", source.label));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(sets)
    }
}

/// About what the manifest says of them.
fn record_bytes(files: &[FoundFile]) -> usize {
    files.iter().map(|file| RECORD_BYTES + file.name.len()).sum()
}

/// As many as a person reads, each behind the same words.
pub(super) fn first_of(what: &[String], words: &str) -> Vec<String> {
    let more = what.len().saturating_sub(NAMED_MAX);
    let more = (more > 0).then(|| format!("{words}and {more} more"));
    what.iter().take(NAMED_MAX).map(|what| format!("{words}{what}")).chain(more).collect()
}

const NAMED_MAX: usize = 20;
/// Their records take about 300 bytes each, and a manifest has at most 16 MiB.
const FILES_MAX: usize = 20_000;
/// Of what the manifest says of a file, but for its path.
const RECORD_BYTES: usize = 320;
/// Half of a manifest, for all sets of a bundle; the other half is for everything else.
const RECORDS_MAX_BYTES: usize = 8 << 20;
