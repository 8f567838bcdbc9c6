//! The folder that is restored into: everything appears in it complete, or nothing of it stays.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::MANIFEST;
use super::staging::{Chosen, Content, Staged};
use super::unpack::unpack;
use crate::bundle::{FileSet, Label};
use crate::database::SIDECARS;
use crate::files::{FileError, Folder, make_private_folder};
use crate::ops::{Environment, Failure};

/// The folder, and what was made in it so far; takes back everything if it is dropped before the end.
pub(super) struct Target {
    folder: Folder,
    tenants: Option<Folder>,
    made_folders: Vec<PathBuf>,
    published: Vec<(Folder, String)>,
    /// Files of sets, by their paths in the folder: an open folder for each would be more than a process may have.
    unpacked: Vec<String>,
    /// The folders that lead to the one that is unpacked into.
    way: Vec<Folder>,
    is_complete: bool,
}

impl Target {
    /// Checks that nothing is in the way and that there is space, then makes the folders.
    pub(super) fn prepare(to: &Path, chosen: &Chosen) -> Result<Target, Failure> {
        let names = chosen.sources.iter().map(|source| format!("{}.db", source.label));
        let sets = chosen.files.iter().map(|set| format!("{FILES}/{}", set.label));
        let sidecars = names.clone().flat_map(|name| SIDECARS.map(|suffix| format!("{name}{suffix}")));
        for name in names.clone().chain(sidecars).chain(sets).chain([MANIFEST.to_owned()]) {
            let path = to.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(Failure::TargetExists { path });
            }
        }
        let mut made_folders = Vec::new();
        let opened = open_or_make(to, &mut made_folders);
        let mut target = match opened {
            Ok(folder) => Target {
                folder,
                tenants: None,
                made_folders,
                published: Vec::new(),
                unpacked: Vec::new(),
                way: Vec::new(),
                is_complete: false,
            },
            Err(error) => {
                remove_folders(&made_folders);
                return Err(error.into());
            }
        };
        if chosen.sources.iter().any(|source| split(&source.label).0) {
            let (tenants, is_new) = target.folder.open_or_make_folder(TENANTS)?;
            if is_new {
                target.made_folders.push(to.join(TENANTS));
            }
            target.tenants = Some(tenants);
        }
        let databases: u64 = chosen.sources.iter().map(|source| source.size_bytes).sum();
        // Each archive lies beside what is unpacked out of it for a moment.
        let needed_bytes = databases + chosen.files.iter().map(|set| 2 * set.size_bytes).sum::<u64>();
        let available_bytes = target.folder.free_bytes()?;
        match available_bytes < needed_bytes {
            true => Err(Failure::NoSpace { folder: to.to_owned(), needed_bytes, available_bytes }),
            false => Ok(target),
        }
    }

    pub(super) fn folder_of(&self, label: &Label) -> &Folder {
        match (&self.tenants, split(label).0) {
            (Some(tenants), true) => tenants,
            _ => &self.folder,
        }
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Syncs all files, then gives them their names, the manifest last. Sets of files are unpacked before that.
    pub(super) fn publish(mut self, staged: Vec<Staged>, sets: &[FileSet], environment: &mut Environment) -> Result<(), Failure> {
        let (archives, staged): (Vec<_>, Vec<_>) = staged.into_iter().partition(|file| matches!(file.content, Content::Files(_)));
        for file in &staged {
            file.new.sync()?;
        }
        for archive in &archives {
            for set in sets.iter().filter(|set| archive.content == Content::Files(set.label.clone())) {
                unpack(archive.new.file(), set, &mut self, environment)?;
            }
        }
        if !archives.is_empty() {
            self.leave(0)?;
            self.folder.sync()?;
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

impl Target {
    /// Opens a folder below that of the restore, and makes what is missing of it. Those on the way to it stay open until another way is taken;
    /// then each is synced, once for all its files where they come in order.
    pub(super) fn make_folders<'p>(&mut self, parts: impl Iterator<Item = &'p str>) -> Result<Folder, FileError> {
        let mut depth = 0;
        for part in parts {
            if self.way.get(depth).and_then(|folder| folder.path().file_name()) != Some(OsStr::new(part)) {
                self.leave(depth)?;
                let (next, is_new) = self.way.last().unwrap_or(&self.folder).open_or_make_folder(part)?;
                if is_new {
                    self.made_folders.push(next.path().to_owned());
                }
                self.way.push(next);
            }
            depth += 1;
        }
        self.leave(depth)?;
        Ok(self.way.last().unwrap_or(&self.folder).clone())
    }

    /// Syncs the folders on the way behind this one, and closes them.
    fn leave(&mut self, depth: usize) -> Result<(), FileError> {
        while self.way.len() > depth {
            self.way.pop().map_or(Ok(()), |folder| folder.sync())?;
        }
        Ok(())
    }

    /// Remembers a file of a set that got its name, by its path in the folder.
    pub(super) fn remember(&mut self, path: String) {
        self.unpacked.push(path);
    }

    fn remove_unpacked(&self) {
        let mut last: Option<(&str, Folder)> = None;
        for path in &self.unpacked {
            let Some((parent, name)) = path.rsplit_once('/') else { continue };
            if last.as_ref().is_none_or(|(known, _)| *known != parent) {
                let folder = parent.split('/').try_fold(self.folder.clone(), |folder, part| folder.open_folder(part));
                last = folder.ok().map(|folder| (parent, folder));
            }
            // As for databases: what cannot be removed is complete and verified.
            let _ = last.as_ref().map(|(_, folder)| folder.remove(name));
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_complete {
            for (folder, name) in &self.published {
                // On the way out of an error that is reported; what cannot be removed is complete and verified.
                let _ = folder.remove(name);
            }
            self.remove_unpacked();
            remove_folders(&self.made_folders);
        }
    }
}

/// Whether a label names a tenant, and its last part.
pub(super) fn split(label: &Label) -> (bool, &str) {
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

const TENANTS: &str = "tenants";
/// Where sets of files go, each into a folder of its own.
pub(super) const FILES: &str = "files";
