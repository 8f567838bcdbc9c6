//! The bundle's side of a restore: chosen entries go into files that have no name.

use std::io::Write;
use std::path::PathBuf;

use super::MANIFEST;
use super::target::{Target, split};
use crate::bundle::{BundleError, Entry, EntryPath, EntrySink, FileSet, Label, Source};
use crate::crypto::Entropy;
use crate::files::{FileError, Folder, NewFile, Writeback};

/// What is taken out of a bundle.
pub(super) struct Chosen {
    pub(super) sources: Vec<Source>,
    pub(super) files: Vec<FileSet>,
}

impl Chosen {
    pub(super) fn labels(&self) -> impl Iterator<Item = &Label> {
        self.sources.iter().map(|source| &source.label).chain(self.files.iter().map(|set| &set.label))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sources.is_empty() && self.files.is_empty()
    }

    /// Those that are whole, and those that are not.
    pub(super) fn divide(&self, is_whole: &dyn Fn(&Content) -> bool) -> (Chosen, Chosen) {
        let is_source = |source: &Source| is_whole(&Content::Database(source.label.clone()));
        let is_set = |set: &FileSet| is_whole(&Content::Files(set.label.clone()));
        let (sources, hurt) = self.sources.iter().cloned().partition(is_source);
        let (files, hurt_files) = self.files.iter().cloned().partition(is_set);
        (Chosen { sources, files }, Chosen { sources: hurt, files: hurt_files })
    }
}

/// What a file without a name holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Content {
    Database(Label),
    /// The archive of a set of files.
    Files(Label),
    Manifest,
}

/// A file that waits for its name.
pub(super) struct Staged {
    pub(super) content: Content,
    pub(super) folder: Folder,
    /// An archive gets no name.
    pub(super) name: String,
    pub(super) new: NewFile,
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

/// Takes chosen entries and the manifest into files without names.
pub(super) struct Staging<'s> {
    target: &'s Target,
    entropy: &'s mut dyn Entropy,
    chosen: &'s Chosen,
    current: Option<Growing>,
    pub(super) staged: Vec<Staged>,
}

pub(super) enum StagingError {
    File(FileError),
    Bundle(BundleError),
}

impl From<BundleError> for StagingError {
    fn from(error: BundleError) -> StagingError {
        StagingError::Bundle(error)
    }
}

impl<'s> Staging<'s> {
    pub(super) fn new(target: &'s Target, chosen: &'s Chosen, entropy: &'s mut dyn Entropy) -> Staging<'s> {
        Staging { target, entropy, chosen, current: None, staged: Vec::new() }
    }

    /// What becomes of an entry: its folder and its name there.
    fn place(&self, path: &EntryPath) -> Option<(Content, Folder, String)> {
        match path {
            EntryPath::Database(label) if self.chosen.sources.iter().any(|source| source.label == *label) => {
                Some((Content::Database(label.clone()), self.target.folder_of(label).clone(), format!("{}.db", split(label).1)))
            }
            EntryPath::Files(label) if self.chosen.files.iter().any(|set| set.label == *label) => {
                Some((Content::Files(label.clone()), self.target.folder().clone(), format!("{label}.tar")))
            }
            EntryPath::Manifest => Some((Content::Manifest, self.target.folder().clone(), MANIFEST.to_owned())),
            _ => None,
        }
    }
}

impl EntrySink for Staging<'_> {
    type Error = StagingError;

    fn begin(&mut self, entry: &Entry) -> Result<(), StagingError> {
        self.current = match self.place(&entry.path) {
            Some((content, folder, name)) => Some(grow(content, folder, name, self.entropy).map_err(StagingError::File)?),
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

fn grow(content: Content, folder: Folder, name: String, entropy: &mut dyn Entropy) -> Result<Growing, FileError> {
    let new = folder.new_file(entropy)?;
    let file = new.file().try_clone().map_err(FileError::io("write", &folder.path().join(&name)))?;
    Ok(Growing { staged: Staged { content, folder, name, new }, writer: Writeback::new(file) })
}
