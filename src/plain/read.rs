//! Reading a file that others may write to meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::FoundFile;
use crate::crypto::{Digest, Sha256};
use crate::files::{FileError, Folder, Scratch, ScratchError, ScratchSpace};

/// The content of a file at one moment, as far as there is one.
#[derive(Debug)]
pub struct PlainFile {
    /// What it has in it.
    pub content: Scratch,
    /// SHA-256 of that.
    pub sha256: Digest,
    /// When it was changed last.
    pub modified: SystemTime,
    /// Its permission bits.
    pub mode: u32,
    /// Whether somebody wrote to it while it was read, each time that was tried.
    pub was_changed: bool,
}

/// Why a file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum PlainFileError {
    /// It cannot be opened or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// Its content cannot be kept.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// It has another size than it says, as those of the kernel.
    #[error("'{}' says that it is empty, and is not", path.display())]
    NotEmpty {
        /// The file.
        path: PathBuf,
    },
    /// Copied byte by byte it would not be consistent.
    #[error("'{}' is an SQLite database; name it as a source of its own", path.display())]
    Database {
        /// The file.
        path: PathBuf,
    },
}

/// Whether a regular file begins as an SQLite database does. Not for databases that this process has open through SQLite.
#[must_use]
pub fn is_database(path: &Path) -> bool {
    let mut start = [0; SQLITE_MAGIC.len()];
    let is_file = path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    is_file && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *SQLITE_MAGIC
}

/// Reads a file that was found below this folder, without following links on the way to it. One that is written to meanwhile is read
/// again, at most three times in all.
///
/// # Errors
/// [`PlainFileError`].
pub fn content_of(folder: &Path, found: &FoundFile, space: &ScratchSpace) -> Result<PlainFile, PlainFileError> {
    let failed = |source| FileError::io("read", &found.path)(source);
    let mut file = open(folder, &found.name)?;
    for is_last in [false, false, true] {
        let before = file.metadata().map_err(failed)?;
        let (content, sha256, is_database) = copy(&mut file, before.size(), space, &found.path)?;
        if is_database {
            return Err(PlainFileError::Database { path: found.path.clone() });
        }
        let after = file.metadata().map_err(failed)?;
        if before.size() == 0 && after.size() == 0 && file.read(&mut [0]).map_err(failed)? > 0 {
            return Err(PlainFileError::NotEmpty { path: found.path.clone() });
        }
        let stamp = |metadata: &std::fs::Metadata| (metadata.size(), metadata.mtime(), metadata.mtime_nsec());
        let was_changed = stamp(&before) != stamp(&after) || content.len() != before.size();
        if is_last || !was_changed {
            let modified = before.modified().map_err(failed)?;
            return Ok(PlainFile { content, sha256, modified, mode: before.mode() & 0o777, was_changed });
        }
        file.rewind().map_err(failed)?;
    }
    unreachable!("the last attempt returns")
}

/// Goes from folder to folder, so that no part of the name is a link.
fn open(folder: &Path, name: &str) -> Result<File, FileError> {
    let root = folder.canonicalize().map_err(FileError::io("open folder", folder))?;
    let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
    let mut parts = folders.split('/').filter(|part| !part.is_empty());
    parts.try_fold(Folder::open(&root)?, |folder, part| folder.open_folder(part))?.open_file(file)
}

/// As many bytes as it had when that was asked: what is appended meanwhile belongs to the next backup.
fn copy(file: &mut File, size_bytes: u64, space: &ScratchSpace, path: &Path) -> Result<(Scratch, Digest, bool), PlainFileError> {
    let mut content = space.create(size_bytes)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; PIECE_BYTES]);
    let mut rest = file.take(size_bytes);
    loop {
        let count = match rest.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(FileError::io("read", path)(error).into()),
        };
        if content.is_empty() && buffer[..count].starts_with(SQLITE_MAGIC.as_slice()) {
            return Ok((content, hash.finish(), true));
        }
        hash.update(&buffer[..count]);
        content.write_at(content.len(), &buffer[..count])?;
    }
    Ok((content, hash.finish(), false))
}

const PIECE_BYTES: usize = 256 << 10;
/// sqlite.org/fileformat2.html section 1.3.
const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
