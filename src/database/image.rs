//! Images: databases that lie in scratch and are opened by SQLite through the scratch VFS.
//!
//! An image is a main file and the sidecars that SQLite makes beside it, all under a number of this process; no path on any
//! disk leads to it. What the VFS asks about names that are no image's (super-journals that a hot journal mentions) is answered
//! by looking at the real file system, and nothing there is ever opened, written or deleted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::{Connection, OpenFlags};

use super::{hardened, vfs};
use crate::files::{Scratch, ScratchError, ScratchSpace};

/// How an image is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// By any number of connections, none of which can write.
    ReadOnly,
    /// By this one connection and no other at that time.
    ReadWrite,
}

/// A database in scratch.
#[derive(Debug)]
pub struct Image {
    store: Arc<Store>,
}

impl Image {
    /// Makes an empty image for content of about the announced size.
    ///
    /// # Errors
    /// As [`ScratchSpace::create`].
    pub fn create(space: &ScratchSpace, announced_bytes: u64) -> Result<Self, ScratchError> {
        space.create(announced_bytes).map(Self::from_scratch)
    }

    /// Takes a scratch file as the main file of an image.
    #[must_use]
    pub fn from_scratch(main: Scratch) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let space = main.space().clone();
        let files = Mutex::new(BTreeMap::from([(Vec::new(), Arc::new(Mutex::new(main)))]));
        let store = Arc::new(Store { number, space, files, failure: Mutex::new(None) });
        locked(&STORES).insert(number, Arc::downgrade(&store));
        Self { store }
    }

    /// Opens the image with a hardened connection.
    ///
    /// # Errors
    /// Whatever SQLite says; [`Image::take_failure`] tells whether scratch was the reason.
    pub fn open(&self, access: Access) -> rusqlite::Result<Connection> {
        if !vfs::register() {
            return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_INTERNAL), None));
        }
        // SQLite does not look at CHECK constraints of a database that was opened read-only, so it is forbidden to write otherwise.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let name = format!("{NAME_PREFIX}{}", self.store.number);
        let connection = Connection::open_with_flags_and_vfs(name, flags, vfs::VFS_NAME)?;
        hardened::harden(&connection, self.len())?;
        if access == Access::ReadOnly {
            connection.execute_batch("PRAGMA query_only=ON")?;
        }
        Ok(connection)
    }

    /// The length of the main file in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.store.file(b"", false).map_or(0, |file| locked(&file).len())
    }

    /// Whether the main file has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from the main file and tells how many bytes there were.
    ///
    /// # Errors
    /// As [`Scratch::read_at`].
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ScratchError> {
        self.store.file(b"", false).map_or(Ok(0), |file| locked(&file).read_at(offset, buffer))
    }

    /// Writes into the main file.
    ///
    /// # Errors
    /// As [`Scratch::write_at`].
    pub fn write_at(&self, offset: u64, data: &[u8]) -> Result<(), ScratchError> {
        self.store.file(b"", false).map_or(Ok(()), |file| locked(&file).write_at(offset, data))
    }

    /// Puts a sidecar (`-journal`, `-wal`) beside the main file, before anything has the image open.
    pub fn add_sidecar(&self, suffix: &str, content: Scratch) {
        locked(&self.store.files).insert(suffix.as_bytes().to_vec(), Arc::new(Mutex::new(content)));
    }

    /// Whether something lies beside the main file.
    pub(super) fn has_sidecars(&self) -> bool {
        locked(&self.store.files).len() > 1
    }

    /// Removes what is left of sidecars, once nothing has the image open.
    pub(super) fn remove_sidecars(&self) {
        locked(&self.store.files).retain(|suffix, _| suffix.is_empty());
    }

    /// Gives the first failure of scratch that SQLite could only report as a code.
    #[must_use]
    pub fn take_failure(&self) -> Option<ScratchError> {
        locked(&self.store.failure).take()
    }
}

/// The files of one image, by suffix; alive as long as the image or a connection to it.
#[derive(Debug)]
struct Store {
    number: u64,
    space: ScratchSpace,
    files: Mutex<BTreeMap<Vec<u8>, Arc<Mutex<Scratch>>>>,
    failure: Mutex<Option<ScratchError>>,
}

impl Store {
    fn file(&self, suffix: &[u8], is_to_be_created: bool) -> Option<Arc<Mutex<Scratch>>> {
        let mut files = locked(&self.files);
        if !files.contains_key(suffix) && is_to_be_created {
            let scratch = self.keep_failure(self.space.create(0))?;
            files.insert(suffix.to_vec(), Arc::new(Mutex::new(scratch)));
        }
        files.get(suffix).cloned()
    }

    fn keep_failure<T>(&self, result: Result<T, ScratchError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                locked(&self.failure).get_or_insert(error);
                None
            }
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        locked(&STORES).remove(&self.number);
    }
}

/// A file as SQLite holds it open.
pub(super) struct ImageFile {
    content: Option<(Arc<Store>, Arc<Mutex<Scratch>>)>,
}

impl ImageFile {
    /// A file that is empty and stays so: stands in for a super-journal outside of scratch, which is not ours to read.
    pub(super) fn nothing() -> Self {
        Self { content: None }
    }

    pub(super) fn len(&self) -> u64 {
        self.content.as_ref().map_or(0, |(_, file)| locked(file).len())
    }

    /// The number of bytes read, or nothing if scratch failed.
    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Option<usize> {
        let Some((store, file)) = &self.content else { return Some(0) };
        store.keep_failure(locked(file).read_at(offset, buffer))
    }

    pub(super) fn write_at(&self, offset: u64, data: &[u8]) -> bool {
        let Some((store, file)) = &self.content else { return false };
        store.keep_failure(locked(file).write_at(offset, data)).is_some()
    }

    pub(super) fn set_len(&self, len_bytes: u64) -> bool {
        let Some((store, file)) = &self.content else { return false };
        store.keep_failure(locked(file).set_len(len_bytes)).is_some()
    }
}

/// Opens a file of an image by SQLite's name for it.
pub(super) fn open_file(name: &[u8], is_to_be_created: bool) -> Option<ImageFile> {
    let (store, suffix) = parse(name)?;
    let file = store.file(suffix, is_to_be_created && !suffix.is_empty())?;
    Some(ImageFile { content: Some((store, file)) })
}

/// Removes a sidecar; the main file, and whatever is not in scratch, stays.
pub(super) fn delete_file(name: &[u8]) {
    if let Some((store, suffix)) = parse(name).filter(|(_, suffix)| !suffix.is_empty()) {
        locked(&store.files).remove(suffix);
    }
}

/// Whether SQLite would find the file; names outside of scratch are looked up as SQLite's own VFS does (empty files do not count).
pub(super) fn file_exists(name: &[u8]) -> bool {
    match parse(name) {
        Some((store, suffix)) => store.file(suffix, false).is_some(),
        None if name.starts_with(NAME_PREFIX.as_bytes()) => false,
        None => std::fs::metadata(Path::new(OsStr::from_bytes(name))).is_ok_and(|found| !found.is_file() || found.len() > 0),
    }
}

fn parse(name: &[u8]) -> Option<(Arc<Store>, &[u8])> {
    let rest = name.strip_prefix(NAME_PREFIX.as_bytes())?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let store = locked(&STORES).get(&number)?.upgrade()?;
    Some((store, &rest[digits..]))
}

/// A panic elsewhere leaves these structures whole: every change to them is one insertion, removal or write.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

static STORES: Mutex<BTreeMap<u64, Weak<Store>>> = Mutex::new(BTreeMap::new());
const NAME_PREFIX: &str = "airkeep-scratch/";
