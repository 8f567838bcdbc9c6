//! Why an image was not put in place.

use std::path::PathBuf;

use crate::database::DatabaseError;
use crate::files::{FileError, ScratchError};

/// What can go wrong while an image is put in the place of a database.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The database that is there, or what SQLite said of it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// The path is a symbolic link, and following was not allowed.
    #[error("'{}' is a symbolic link", path.display())]
    Link {
        /// As it was given.
        path: PathBuf,
    },
    /// The file has other names, whose users would keep their own journals, or would keep the old content.
    #[error("'{}' has {names} names (hard links)", path.display())]
    HardLinks {
        /// Resolved.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// This account may not write the file, or not make files beside it.
    #[error("cannot write '{}'", path.display())]
    NotWritable {
        /// The file or its folder.
        path: PathBuf,
    },
    /// There is no room for the new content and what is needed to be able to go back.
    #[error("not enough space beside '{}': {needed_bytes} bytes are needed, {free_bytes} are free", path.display())]
    NoSpace {
        /// Resolved.
        path: PathBuf,
        /// At most so many.
        needed_bytes: u64,
        /// As the system tells.
        free_bytes: u64,
    },
    /// The database is in use, and cannot be changed under those who use it.
    #[error("database '{}' is in use and {reason}", path.display())]
    NotOnline {
        /// Resolved.
        path: PathBuf,
        /// What keeps it from being changed meanwhile.
        reason: &'static str,
    },
    /// What is to be installed is no database.
    #[error("the image for '{}' is not an SQLite database", path.display())]
    NotAnImage {
        /// Of the target.
        path: PathBuf,
    },
    /// After installing, the content is not that of the image.
    #[error("database '{}' is not what was installed: {what}", path.display())]
    Different {
        /// Resolved.
        path: PathBuf,
        /// The first page, table or property that differs.
        what: String,
    },
    /// The new content is there, durably, and what had to come after it failed.
    #[error("database '{}' has the new content, and what follows failed", path.display())]
    Unconfirmed {
        /// Resolved.
        path: PathBuf,
        /// What failed.
        source: Box<InstallError>,
    },
    /// Somebody cancelled it; the target is as it was.
    #[error("installing into '{}' was cancelled", path.display())]
    Cancelled {
        /// Resolved.
        path: PathBuf,
    },
}

impl InstallError {
    /// The same, after the content was replaced.
    pub(super) fn after_commit(self, path: &std::path::Path) -> Self {
        match self {
            Self::Unconfirmed { .. } => self,
            source => Self::Unconfirmed { path: path.to_owned(), source: Box::new(source) },
        }
    }

    /// Whether the new content is there all the same.
    #[must_use]
    pub fn is_after_commit(&self) -> bool {
        matches!(self, Self::Unconfirmed { .. })
    }
}

impl From<ScratchError> for InstallError {
    fn from(error: ScratchError) -> Self {
        Self::Database(DatabaseError::Scratch(error))
    }
}
