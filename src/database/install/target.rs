//! The place where an image is to go: resolved once, and examined before anything is touched.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{InstallError, Links};
use crate::database::source::{Source, unreadable};
use crate::files::Folder;

/// A target, and the file that is there.
pub(super) struct Target {
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) folder: Folder,
    /// Its name in the folder.
    pub(super) name: String,
    /// Nothing if there is no file.
    pub(super) source: Option<Source>,
    /// But for the next.
    pub(super) names: u64,
    /// A name that an installation gave the file before it was killed.
    pub(super) aside: Option<String>,
}

impl Target {
    pub(super) fn resolve(path: &Path, links: Links) -> Result<Self, InstallError> {
        let found = match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_symlink() && links == Links::Refuse => return Err(InstallError::Link { path: path.to_owned() }),
            Ok(_) => Some(Source::resolve(path)?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(path, error).into()),
        };
        let (folder, name) = Folder::of(found.as_ref().map_or(path, |source| &source.path))?;
        let path = folder.path().join(&name);
        let mut names = match &found {
            Some(source) => source.metadata()?.nlink(),
            None => 1,
        };
        let aside = if names > 1 { folder.find_aside(&name, &format!("{name}{ASIDE}"))? } else { None };
        names -= u64::from(aside.is_some());
        if names > 1 && links == Links::Refuse {
            return Err(InstallError::HardLinks { path, names });
        }
        // Named as the folder was opened, so that what is locked and what is replaced are in the same one.
        let source = found.map(|found| Source { path: path.clone(), ..found });
        if let Some(source) = &source {
            source.require_plain_sidecars()?;
        }
        Ok(Self { path, folder, name, source, names, aside })
    }

    /// SQLite writes a journal beside the database, so the folder matters as much as the file.
    pub(super) fn require_writable(&self) -> Result<(), InstallError> {
        let is_file_writable = self.source.is_none()
            || rustix::fs::accessat(rustix::fs::CWD, &self.path, rustix::fs::Access::WRITE_OK, rustix::fs::AtFlags::EACCESS).is_ok();
        match (self.folder.is_writable(), is_file_writable) {
            (true, true) => Ok(()),
            (false, _) => Err(InstallError::NotWritable { path: self.folder.path().to_owned() }),
            (_, false) => Err(InstallError::NotWritable { path: self.path.clone() }),
        }
    }

    /// The most that is needed at one time: the new pages (in the WAL, or where the file grows) and the old ones (in the journal).
    pub(super) fn require_space(&self, image_bytes: u64) -> Result<(), InstallError> {
        let old_bytes = self.source.as_ref().map_or(0, |source| source.size_bytes);
        let pages_bytes = image_bytes.saturating_mul(2).saturating_add(old_bytes);
        // 24 bytes a frame: a twentieth at the smallest page size.
        let needed_bytes = pages_bytes.saturating_add(pages_bytes / 20).saturating_add(SMALL_THINGS_BYTES);
        let free_bytes = self.folder.free_bytes()?;
        match free_bytes < needed_bytes {
            true => Err(InstallError::NoSpace { path: self.path.clone(), needed_bytes, free_bytes }),
            false => Ok(()),
        }
    }
}

/// Stands between the name of a file and a random number in its name aside.
pub(super) const ASIDE: &str = ".airkeep-";
/// Headers, the shared memory, the folder itself.
const SMALL_THINGS_BYTES: u64 = 256 << 10;
