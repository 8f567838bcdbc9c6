//! What no set of files takes, though its patterns may fit it.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::database::SIDECARS;
use crate::ops::Backup;
use crate::plain::is_database;

/// What no set of files takes: the vault, and databases that are captured by themselves.
pub(in crate::ops) struct Apart {
    folders: Vec<PathBuf>,
    files: BTreeSet<(u64, u64)>,
}

impl Apart {
    /// Finds out which files that are.
    pub(in crate::ops) fn of(backup: &Backup) -> Apart {
        Apart::from(backup.sources.iter().map(|source| &source.path).chain(&backup.private), &backup.vault)
    }

    pub(in crate::ops) fn from<'p>(paths: impl Iterator<Item = &'p PathBuf>, vault: &Path) -> Apart {
        let paths: Vec<&PathBuf> = paths.collect();
        let folders = paths.iter().map(|path| path.as_path()).filter(|path| path.is_dir()).chain([vault]);
        let folders = folders.map(|folder| folder.canonicalize().unwrap_or_else(|_| folder.to_owned())).collect();
        let with_sidecars = paths.into_iter().flat_map(|path| {
            let beside = |suffix| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                name
            };
            ["", SIDECARS[0], SIDECARS[1], SIDECARS[2]].map(beside)
        });
        let files =
            with_sidecars.filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| (metadata.dev(), metadata.ino())).collect();
        Apart { folders, files }
    }

    pub(in crate::ops) fn has(&self, path: &Path, metadata: &Metadata) -> bool {
        let above = || path.parent().and_then(|folder| folder.canonicalize().ok());
        let is_in_vault = || above().is_some_and(|folder| self.folders.iter().any(|apart| folder.starts_with(apart)));
        self.is_known(metadata) || self.is_sidecar(path) || is_in_vault()
    }

    fn is_known(&self, metadata: &Metadata) -> bool {
        self.files.contains(&(metadata.dev(), metadata.ino()))
    }

    /// Of a database that is told by itself. Its beginning is only read where it is no source: opening one would cost SQLite its locks.
    fn is_sidecar(&self, path: &Path) -> bool {
        let name = path.to_string_lossy();
        let is_of = |database: &Path| database.metadata().is_ok_and(|metadata| self.is_known(&metadata)) || is_database(database);
        SIDECARS.iter().filter_map(|suffix| name.strip_suffix(suffix)).any(|database| is_of(Path::new(database)))
    }
}
