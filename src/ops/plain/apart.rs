//! What no set of files takes, though its patterns may fit it.

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::database::SIDECARS;
use crate::ops::Backup;

/// What no set of files takes: the vault, and databases that are captured by themselves.
pub(in crate::ops) struct Apart {
    vault: PathBuf,
    files: BTreeSet<(u64, u64)>,
}

impl Apart {
    /// Finds out which files that are.
    pub(in crate::ops) fn of(backup: &Backup) -> Apart {
        let paths = backup.sources.iter().map(|source| &source.path).chain(&backup.private);
        let with_sidecars = paths.flat_map(|path| {
            let beside = |suffix| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                name
            };
            ["", SIDECARS[0], SIDECARS[1], SIDECARS[2]].map(beside)
        });
        let files =
            with_sidecars.filter_map(|path| std::fs::metadata(path).ok()).map(|metadata| (metadata.dev(), metadata.ino())).collect();
        Apart { vault: backup.vault.canonicalize().unwrap_or_else(|_| backup.vault.clone()), files }
    }

    pub(super) fn has(&self, path: &Path, metadata: &Metadata) -> bool {
        let is_in_vault =
            || path.parent().and_then(|folder| folder.canonicalize().ok()).is_some_and(|folder| folder.starts_with(&self.vault));
        self.files.contains(&(metadata.dev(), metadata.ino())) || is_sidecar(path) || is_in_vault()
    }
}

/// Of a database, which is told by itself.
fn is_sidecar(path: &Path) -> bool {
    let name = path.to_string_lossy();
    SIDECARS.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|database| Path::new(database).is_file()))
}
