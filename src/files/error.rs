//! One error for all of this room: the action, the path, and what the system said.

use std::io;
use std::path::{Path, PathBuf};

use super::private::FolderFault;

/// Why something with a file failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refused.
    #[error("cannot {action} '{}'", shown(path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The name is taken.
    #[error("'{}' exists already", shown(path))]
    Exists {
        /// The name.
        path: PathBuf,
    },
    /// A device, pipe or socket where a file must be.
    #[error("'{}' is not a regular file", shown(path))]
    NotRegular {
        /// Its path.
        path: PathBuf,
    },
    /// A folder where a file must be.
    #[error("'{}' is a folder", shown(path))]
    IsFolder {
        /// Its path.
        path: PathBuf,
    },
    /// A folder that others could tamper with.
    #[error("folder '{}' {fault}", shown(path))]
    Folder {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        fault: FolderFault,
    },
    /// A file that is believed, and that others could have written.
    #[error("'{}' could have been written by others: {why}", shown(path))]
    Untrusted {
        /// Its path.
        path: PathBuf,
        /// In which way.
        why: String,
    },
    /// A secret that others could read.
    #[error("key material in '{}' can be read by others (mode {mode:03o})", shown(path))]
    Exposed {
        /// Its path.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A secret file beyond any reasonable size.
    #[error("'{}' is too long for key material", shown(path))]
    TooLong {
        /// Its path.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("another run is using '{}'", shown(path))]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
}

impl FileError {
    /// Prepares an error for a call that may fail with an `Errno`.
    pub fn on<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(rustix::io::Errno) -> FileError + use<'p> {
        move |errno| FileError::Io { action, path: path.to_owned(), source: errno.into() }
    }

    /// Prepares an error for a call that may fail with an `io::Error`.
    pub fn io<'p>(action: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> FileError + use<'p> {
        move |source| FileError::Io { action, path: path.to_owned(), source }
    }
}

/// A path as text that cannot move a terminal's cursor.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}
