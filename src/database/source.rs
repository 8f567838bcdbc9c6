//! The file that is to be captured: where it really lies, what it is, and whether it is still the same one.
//!
//! Nothing here opens the file: opening and closing a database beside SQLite would drop the locks that this process holds on it.

use std::fs::{FileType, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;

use super::{Cancelled, DatabaseError, open};
use crate::files::{Process, holders};

/// What can be told of a source by its names in the folder alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Bytes of the write-ahead log beside it.
    pub wal_bytes: u64,
}

impl Glance {
    /// Looks at a source without opening it.
    ///
    /// # Errors
    /// [`DatabaseError::Missing`], [`DatabaseError::Unreadable`], [`DatabaseError::NotAFile`].
    pub fn at(path: &Path) -> Result<Glance, DatabaseError> {
        let source = Source::resolve(path)?;
        source.require_plain_sidecars()?;
        Ok(Glance { size_bytes: source.size_bytes, wal_bytes: source.sidecar_bytes("-wal").unwrap_or(0) })
    }
}

/// A database file, resolved once.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Without links.
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// When it was resolved.
    pub(super) size_bytes: u64,
}

impl Source {
    /// Resolves a path and checks that a readable regular file lies there.
    pub(super) fn resolve(path: &Path) -> Result<Self, DatabaseError> {
        let path = std::fs::canonicalize(path).map_err(|source| unreadable(path, source))?;
        let metadata = std::fs::metadata(&path).map_err(|source| unreadable(&path, source))?;
        if !metadata.is_file() {
            return Err(DatabaseError::NotAFile { found: kind_of(metadata.file_type()), path });
        }
        rustix::fs::accessat(rustix::fs::CWD, &path, rustix::fs::Access::READ_OK, rustix::fs::AtFlags::EACCESS)
            .map_err(|errno| unreadable(&path, errno.into()))?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), size_bytes: metadata.len(), path })
    }

    /// Asks the system for the file again, and insists that it is the same one.
    pub(super) fn metadata(&self) -> Result<Metadata, DatabaseError> {
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == (self.device, self.inode) => Ok(found),
            Ok(_) => Err(DatabaseError::Replaced { path: self.path.clone() }),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(DatabaseError::Replaced { path: self.path.clone() }),
            Err(source) => Err(unreadable(&self.path, source)),
        }
    }

    /// Insists that nobody cut the file while it was read: SQLite would take what is missing for zeros.
    pub(super) fn require_length(&self, least_bytes: u64) -> Result<(), DatabaseError> {
        match self.metadata()?.len() < least_bytes {
            true => Err(DatabaseError::Replaced { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    /// The path of a file that SQLite keeps beside the database.
    pub(super) fn sidecar(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    /// Refuses sidecars that are no regular files: SQLite opens them without asking, and would wait for ever for a named pipe.
    pub(super) fn require_plain_sidecars(&self) -> Result<(), DatabaseError> {
        for path in SIDECARS.map(|suffix| self.sidecar(suffix)) {
            match std::fs::symlink_metadata(&path) {
                Ok(found) if !found.is_file() => return Err(DatabaseError::NotAFile { found: kind_of(found.file_type()), path }),
                _ => {}
            }
        }
        Ok(())
    }

    /// The length of a sidecar, or nothing if there is none.
    pub(super) fn sidecar_bytes(&self, suffix: &str) -> Option<u64> {
        std::fs::symlink_metadata(self.sidecar(suffix)).ok().map(|found| found.len())
    }

    /// Says in this room's words what SQLite said while reading the database.
    pub(super) fn explain(&self, action: &'static str, waited: Duration, error: rusqlite::Error) -> DatabaseError {
        match error.sqlite_error_code() {
            _ if open::is_busy(&error) => self.locked(waited),
            Some(ErrorCode::NotADatabase) => DatabaseError::NotADatabase { path: self.path.clone() },
            Some(ErrorCode::DatabaseCorrupt) => self.corrupt(vec![error.to_string()]),
            _ => DatabaseError::Sqlite { path: self.path.clone(), action, source: error },
        }
    }

    pub(super) fn corrupt(&self, messages: Vec<String>) -> DatabaseError {
        DatabaseError::Corrupt { path: self.path.clone(), messages }
    }

    /// Refuses to go on once somebody cancelled.
    pub(super) fn go_on(&self, cancelled: Cancelled<'_>) -> Result<(), DatabaseError> {
        if cancelled() { Err(DatabaseError::Cancelled { path: self.path.clone() }) } else { Ok(()) }
    }

    pub(super) fn locked(&self, waited: Duration) -> DatabaseError {
        DatabaseError::Locked { path: self.path.clone(), waited, holders: holders_of(&self.path) }
    }
}

/// The processes that have a database open, or a file that SQLite keeps beside it, as far as they can be seen.
#[must_use]
pub fn holders_of(path: &Path) -> Vec<Process> {
    let [journal, wal, shared] = SIDECARS.map(|suffix| beside(path, suffix));
    holders(&[path.to_owned(), journal, wal, shared])
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

pub(super) fn unreadable(path: &Path, source: std::io::Error) -> DatabaseError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound => DatabaseError::Missing { path },
        _ => DatabaseError::Unreadable { path, source },
    }
}

fn kind_of(found: FileType) -> &'static str {
    if found.is_dir() {
        "a folder"
    } else if found.is_fifo() {
        "a named pipe"
    } else if found.is_socket() {
        "a socket"
    } else if found.is_block_device() || found.is_char_device() {
        "a device"
    } else {
        "no regular file"
    }
}

/// What SQLite adds to the name of a database for the files that it keeps beside it.
pub const SIDECARS: [&str; 3] = ["-journal", "-wal", "-shm"];
