//! The file system, used so that nothing is lost or left behind: durable publication, scratch, permissions, locks, who holds a file.
//!
//! Knows nothing of bundles or databases. No error leaves without the path and the action.

mod error;
mod folder;
mod holders;
mod private;
mod scratch;
mod writeback;

pub use error::FileError;
pub use folder::{Folder, NewFile, open_regular};
pub use holders::{Process, holders};
pub use private::{
    FolderFault, FolderLock, check_private_folder, lock_file, lock_folder, make_private_folder, make_private_folders, read_secret_file,
    read_trusted_file,
};
pub use scratch::{DEFAULT_MEMORY_LIMIT_BYTES, Scratch, ScratchError, ScratchReader, ScratchSpace};
pub use writeback::Writeback;
