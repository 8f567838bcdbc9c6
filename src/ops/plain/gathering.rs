//! An archive that grows file by file in scratch, and what the manifest will say of it.

use std::io::{self, Write};
use std::time::UNIX_EPOCH;

use super::{FileSource, FilesFault, first_of};
use crate::bundle::{ArchiveWriter, ArchivedFile, FileSet, UtcTime};
use crate::crypto::Digest;
use crate::files::{Scratch, ScratchError, ScratchSpace};
use crate::ops::environment::utc;
use crate::ops::progress::Progress;
use crate::ops::{Failure, git};
use crate::plain::{Found, FoundFile, PlainFile, PlainFileError, content_of};

/// An archive that waits to be sealed, and what the manifest will say of it but for its digest.
pub(in crate::ops) struct GatheredFiles {
    pub(super) archive: Scratch,
    pub(in crate::ops) set: FileSet,
    pub(super) warnings: Vec<String>,
    pub(in crate::ops) missing: Vec<String>,
}

/// An archive that grows.
pub(super) struct Gathering<'s> {
    source: &'s FileSource,
    space: &'s ScratchSpace,
    archive: ArchiveWriter<Growing>,
    pub(super) files: Vec<ArchivedFile>,
    warnings: Vec<String>,
    pub(super) missing: Vec<String>,
}

pub(in crate::ops) enum Trouble {
    File(FilesFault),
    Scratch(ScratchError),
}

impl From<PlainFileError> for Trouble {
    fn from(error: PlainFileError) -> Trouble {
        match error {
            PlainFileError::Scratch(error) => Trouble::Scratch(error),
            error => Trouble::File(error.into()),
        }
    }
}

impl<'s> Gathering<'s> {
    pub(super) fn begin(source: &'s FileSource, found: &Found, space: &'s ScratchSpace) -> Result<Gathering<'s>, Failure> {
        let announced = found.size_bytes() + found.files.len() as u64 * TAR_OVERHEAD_BYTES;
        let scratch = space.create(announced).map_err(|source| Failure::Scratch { source })?;
        let archive = ArchiveWriter::new(Growing { scratch, failed: None });
        let mut warnings = first_of(&found.large, &format!("{}: ", source.label));
        warnings.extend(found.unmatched.iter().map(|pattern| format!("{}: no file fits '{pattern}'", source.label)));
        Ok(Gathering { source, space, archive, files: Vec::new(), warnings, missing: Vec::new() })
    }

    pub(super) fn take(&mut self, found: &FoundFile, progress: &dyn Progress) -> Result<(), Trouble> {
        if self.source.selection.redaction.is_some() && found.size_bytes > ENV_MAX_BYTES {
            return Err(not_env(found, TOO_LARGE));
        }
        let file = content_of(self.source.selection.patterns.folder(), found, self.space)?;
        progress.advance(file.content.len());
        if file.was_changed {
            self.warnings.push(format!("{}: '{}' was written to while it was read", self.source.label, found.path.display()));
        }
        let modified = file.modified.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (mut record, redacted) = self.record(found, &file)?;
        let added = match redacted {
            None => self.archive.add(&record.path, file.content.len(), file.mode, modified, file.content.reader()),
            Some(text) => {
                record.size_bytes = text.len() as u64;
                record.sha256 = Digest::of(text.as_bytes());
                self.archive.add(&record.path, record.size_bytes, file.mode, modified, text.as_bytes())
            }
        };
        added.map_err(|error| Trouble::Scratch(self.scratch_error(error)))?;
        self.files.push(record);
        Ok(())
    }

    /// What the manifest says of a file, and its text where secrets are left out of it.
    fn record(&mut self, found: &FoundFile, file: &PlainFile) -> Result<(ArchivedFile, Option<String>), Trouble> {
        let mut record = ArchivedFile {
            path: found.name.clone(),
            size_bytes: file.content.len(),
            sha256: file.sha256,
            modified_at: utc(file.modified),
            mode: format!("{:04o}", file.mode),
            changed: file.was_changed,
            redacted: None,
        };
        let Some(redaction) = &self.source.selection.redaction else {
            if is_env(&found.name) {
                self.warnings.push(format!(
                    "{}: '{}' is sealed with its secrets; 'env' instead of 'files' leaves them out",
                    self.source.label,
                    found.path.display()
                ));
            }
            return Ok((record, None));
        };
        let redacted = redaction.apply(&text_of(found, &file.content)?);
        record.redacted = Some(redacted.count);
        Ok((record, Some(redacted.text)))
    }

    /// Only scratch can fail while an archive grows; the error went through a library that knows none.
    fn scratch_error(&mut self, source: io::Error) -> ScratchError {
        let unknown = || ScratchError::Io { folder: self.space.folder().to_owned(), action: "write scratch in", source };
        self.archive.out().failed.take().unwrap_or_else(unknown)
    }

    pub(super) fn finish(mut self, captured_at: UtcTime) -> Result<GatheredFiles, Failure> {
        if let Err(error) = self.archive.end() {
            return Err(Failure::Scratch { source: self.scratch_error(error) });
        }
        let folder = self.source.selection.patterns.folder();
        let archive = self.archive.into_out().expect("its end was written").scratch;
        let set = FileSet {
            label: self.source.label.clone(),
            kind: if self.source.selection.redaction.is_some() { "env" } else { "files" }.to_owned(),
            folder: folder.to_string_lossy().into_owned(),
            captured_at,
            size_bytes: archive.len(),
            sha256: Digest([0; 32]),
            files: self.files,
            git: git::describe(folder),
        };
        Ok(GatheredFiles { archive, set, warnings: self.warnings, missing: self.missing })
    }
}

/// SHA-256 of a file as it would be stored.
pub(in crate::ops) fn digest_of(source: &FileSource, found: &FoundFile, space: &ScratchSpace) -> Result<Digest, Trouble> {
    let file = content_of(source.selection.patterns.folder(), found, space)?;
    match &source.selection.redaction {
        None => Ok(file.sha256),
        Some(redaction) => Ok(Digest::of(redaction.apply(&text_of(found, &file.content)?).text.as_bytes())),
    }
}

fn text_of(found: &FoundFile, content: &Scratch) -> Result<String, Trouble> {
    if content.len() > ENV_MAX_BYTES {
        return Err(not_env(found, TOO_LARGE));
    }
    let mut bytes = vec![0; content.len() as usize];
    content.read_at(0, &mut bytes).map_err(Trouble::Scratch)?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| not_env(found, "not text"))
}

fn not_env(found: &FoundFile, why: &'static str) -> Trouble {
    Trouble::File(FilesFault::NotEnv { name: found.path.display().to_string(), why })
}

fn is_env(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    file == ".env" || file.starts_with(".env.") || file.ends_with(".env")
}

/// Writes at the end of scratch, and keeps its error for who can tell it.
struct Growing {
    scratch: Scratch,
    failed: Option<ScratchError>,
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.scratch.write_at(self.scratch.len(), bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::ErrorKind::Other.into())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Header, padding, and a name that is too long for the header.
const TAR_OVERHEAD_BYTES: u64 = 2560;
/// So small that the text with its secrets stays in memory.
const ENV_MAX_BYTES: u64 = 1 << 20;
const TOO_LARGE: &str = "larger than 1 MiB";
