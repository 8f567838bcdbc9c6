//! Scratch: temporary storage that never holds plaintext on a disk and dies with the process.
//!
//! A scratch file is a growing random-access file. Small ones stay in memory; larger ones lie in a file without a name, in
//! chunks of 64 KiB, each encrypted under a key that exists only here. What a kill or a power cut leaves behind is
//! ciphertext that nobody can read. Two rules keep the cipher safe: a chunk is always written whole, and each write of a
//! chunk takes a number that this file never used before. No format document knows scratch; it never leaves the machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use crate::crypto::ScratchCipher;

/// How large a scratch file may be before it goes to disk, unless told otherwise.
pub const DEFAULT_MEMORY_LIMIT_BYTES: u64 = 8 << 20;

/// Fills a buffer with random bytes.
pub type Entropy = dyn Fn(&mut [u8]) + Send + Sync;

/// The folder in which scratch files are put, and what they may use of the memory.
#[derive(Clone)]
pub struct ScratchSpace {
    folder: PathBuf,
    memory_limit_bytes: u64,
    entropy: Arc<Entropy>,
}

impl ScratchSpace {
    /// Names the folder and the source of randomness for keys.
    pub fn new(folder: impl Into<PathBuf>, entropy: impl Fn(&mut [u8]) + Send + Sync + 'static) -> Self {
        Self { folder: folder.into(), memory_limit_bytes: DEFAULT_MEMORY_LIMIT_BYTES, entropy: Arc::new(entropy) }
    }

    /// Sets the size up to which a scratch file stays in memory.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit_bytes = bytes;
        self
    }

    /// The folder in which scratch files are put.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes an empty scratch file for content of about the announced size; it may grow beyond it.
    ///
    /// # Errors
    /// [`ScratchError::NoSpace`] if the folder has less free space than announced, [`ScratchError::Io`] if no file can be made.
    pub fn create(&self, announced_bytes: u64) -> Result<Scratch, ScratchError> {
        let storage = if announced_bytes <= self.memory_limit_bytes {
            Storage::Memory(Vec::new())
        } else {
            self.require_free(announced_bytes)?;
            Storage::Disk(Box::new(ChunkedFile::create(self)?))
        };
        Ok(Scratch { space: self.clone(), storage, len_bytes: 0 })
    }

    fn require_free(&self, needed_bytes: u64) -> Result<(), ScratchError> {
        let stat = rustix::fs::statvfs(&self.folder).map_err(|errno| self.failed("ask for the free space of", errno.into()))?;
        let available_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        if available_bytes < needed_bytes {
            return Err(ScratchError::NoSpace { folder: self.folder.clone(), needed_bytes, available_bytes });
        }
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> ScratchError {
        let folder = self.folder.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ScratchError::Full { folder, action, source }
            }
            _ => ScratchError::Io { folder, action, source },
        }
    }
}

impl std::fmt::Debug for ScratchSpace {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ScratchSpace").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// One growing random-access file in scratch; bytes never written read as zero.
#[derive(Debug)]
pub struct Scratch {
    space: ScratchSpace,
    storage: Storage,
    len_bytes: u64,
}

#[derive(Debug)]
enum Storage {
    Memory(Vec<u8>),
    Disk(Box<ChunkedFile>),
}

impl Scratch {
    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len_bytes
    }

    /// The space that it belongs to.
    #[must_use]
    pub fn space(&self) -> &ScratchSpace {
        &self.space
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len_bytes == 0
    }

    /// Reads from an offset and tells how many bytes there were; fewer than asked for only at the end.
    ///
    /// # Errors
    /// [`ScratchError::Io`] if the disk fails.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ScratchError> {
        let available = self.len_bytes.saturating_sub(offset);
        let count = usize::try_from(available).map_or(buffer.len(), |available| available.min(buffer.len()));
        let buffer = &mut buffer[..count];
        match &self.storage {
            Storage::Memory(bytes) if count > 0 => buffer.copy_from_slice(&bytes[offset as usize..][..count]),
            Storage::Memory(_) => {}
            Storage::Disk(file) => file.read_at(offset, buffer).map_err(|source| self.space.failed("read scratch in", source))?,
        }
        Ok(count)
    }

    /// Writes all bytes at an offset, growing the file where needed.
    ///
    /// # Errors
    /// [`ScratchError::Full`] or [`ScratchError::Io`] if the disk fails.
    pub fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), ScratchError> {
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= MAX_LEN_BYTES);
        let end = end.ok_or_else(|| self.space.failed("write scratch in", io::ErrorKind::FileTooLarge.into()))?;
        self.leave_memory_above(end)?;
        match &mut self.storage {
            Storage::Memory(bytes) => {
                if bytes.len() < end as usize {
                    bytes.resize(end as usize, 0);
                }
                bytes[offset as usize..end as usize].copy_from_slice(data);
            }
            Storage::Disk(file) => file.write_at(offset, data).map_err(|source| self.space.failed("write scratch in", source))?,
        }
        self.len_bytes = self.len_bytes.max(end);
        Ok(())
    }

    /// Cuts the file, or extends it with zeros.
    ///
    /// # Errors
    /// [`ScratchError::Full`] or [`ScratchError::Io`] if the disk fails.
    pub fn set_len(&mut self, len_bytes: u64) -> Result<(), ScratchError> {
        if len_bytes > MAX_LEN_BYTES {
            return Err(self.space.failed("extend scratch in", io::ErrorKind::FileTooLarge.into()));
        }
        self.leave_memory_above(len_bytes)?;
        match &mut self.storage {
            Storage::Memory(bytes) => bytes.resize(len_bytes as usize, 0),
            Storage::Disk(file) if len_bytes < self.len_bytes => {
                file.cut(len_bytes).map_err(|source| self.space.failed("shorten scratch in", source))?;
            }
            Storage::Disk(_) => {}
        }
        self.len_bytes = len_bytes;
        Ok(())
    }

    fn leave_memory_above(&mut self, len_bytes: u64) -> Result<(), ScratchError> {
        let Storage::Memory(bytes) = &self.storage else { return Ok(()) };
        if len_bytes <= self.space.memory_limit_bytes {
            return Ok(());
        }
        let mut file = ChunkedFile::create(&self.space)?;
        file.write_at(0, bytes).map_err(|source| self.space.failed("write scratch in", source))?;
        self.storage = Storage::Disk(Box::new(file));
        Ok(())
    }
}

/// What can go wrong with scratch.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The folder has not enough room for what was announced.
    #[error("scratch folder '{}' has {available_bytes} bytes free, {needed_bytes} are needed", folder.display())]
    NoSpace {
        /// Where scratch is put.
        folder: PathBuf,
        /// What was announced.
        needed_bytes: u64,
        /// What an unprivileged process may still write there.
        available_bytes: u64,
    },
    /// The disk, a quota or a size limit was reached while working.
    #[error("cannot {action} '{}': no room is left", folder.display())]
    Full {
        /// Where scratch is put.
        folder: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused or failed.
    #[error("cannot {action} '{}'", folder.display())]
    Io {
        /// Where scratch is put.
        folder: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A file without a name, with ciphertext in chunks; one plaintext chunk is kept back so that small writes in a row cost one.
#[derive(Debug)]
struct ChunkedFile {
    file: File,
    cipher: ScratchCipher,
    versions: Versions,
    last_version: u32,
    held: Option<HeldChunk>,
    ciphertext: Box<[u8]>,
}

#[derive(Debug)]
struct HeldChunk {
    number: u32,
    is_dirty: bool,
    plaintext: Box<[u8]>,
}

impl ChunkedFile {
    fn create(space: &ScratchSpace) -> Result<Self, ScratchError> {
        let file = create_nameless(space).map_err(|source| space.failed("make a scratch file in", source))?;
        let mut key = [0; 32];
        (space.entropy)(&mut key);
        Ok(Self {
            file,
            cipher: ScratchCipher::new(key),
            versions: Versions::default(),
            last_version: 0,
            held: None,
            ciphertext: vec![0; CHUNK_BYTES].into_boxed_slice(),
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        for (number, within, range) in pieces(offset, buffer.len()) {
            let piece = &mut buffer[range];
            match &self.held {
                Some(held) if held.number == number => piece.copy_from_slice(&held.plaintext[within..][..piece.len()]),
                _ => self.read_stored(number, within, piece)?,
            }
        }
        Ok(())
    }

    fn read_stored(&self, number: u32, within: usize, piece: &mut [u8]) -> io::Result<()> {
        let version = self.versions.of(number);
        if version == NEVER_WRITTEN {
            piece.fill(0);
            return Ok(());
        }
        self.file.read_exact_at(piece, position(number) + within as u64)?;
        self.cipher.apply(number, version, within, piece);
        Ok(())
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        for (number, within, range) in pieces(offset, data.len()) {
            let piece = &data[range];
            let is_held = self.held.as_ref().is_some_and(|held| held.number == number);
            if piece.len() == CHUNK_BYTES && !is_held {
                self.ciphertext.copy_from_slice(piece);
                self.store(number)?;
            } else {
                let held = self.hold(number)?;
                held.plaintext[within..][..piece.len()].copy_from_slice(piece);
                held.is_dirty = true;
            }
        }
        Ok(())
    }

    /// Brings a chunk into memory, storing the one that was there.
    fn hold(&mut self, number: u32) -> io::Result<&mut HeldChunk> {
        if self.held.as_ref().is_none_or(|held| held.number != number) {
            self.store_held()?;
            let mut plaintext = match self.held.take() {
                Some(held) => held.plaintext,
                None => vec![0; CHUNK_BYTES].into_boxed_slice(),
            };
            self.read_stored(number, 0, &mut plaintext)?;
            self.held = Some(HeldChunk { number, is_dirty: false, plaintext });
        }
        self.held.as_mut().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn store_held(&mut self) -> io::Result<()> {
        let Some(held) = self.held.as_ref().filter(|held| held.is_dirty) else { return Ok(()) };
        let number = held.number;
        self.ciphertext.copy_from_slice(&held.plaintext);
        self.store(number)?;
        if let Some(held) = &mut self.held {
            held.is_dirty = false;
        }
        Ok(())
    }

    /// Encrypts the chunk that stands in `ciphertext` under a version never used before, and writes it.
    fn store(&mut self, number: u32) -> io::Result<()> {
        let version = self.last_version.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        self.last_version = version;
        self.cipher.apply(number, version, 0, &mut self.ciphertext);
        self.file.write_all_at(&self.ciphertext, position(number))?;
        self.versions.set(number, version);
        Ok(())
    }

    /// Forgets everything behind a length; what is left of its last chunk is zeroed, so that growing again shows zeros.
    fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
        let within = (len_bytes % CHUNK_BYTES as u64) as usize;
        let first_unwanted = len_bytes.div_ceil(CHUNK_BYTES as u64);
        if within > 0 {
            let held = self.hold((first_unwanted - 1) as u32)?;
            held.plaintext[within..].fill(0);
            held.is_dirty = true;
        }
        self.held = self.held.take().filter(|held| u64::from(held.number) < first_unwanted);
        self.versions.forget_from(first_unwanted);
        self.file.set_len(first_unwanted * CHUNK_BYTES as u64)
    }
}

/// The number under which each chunk was last written, in leaves, so that a hole costs nothing.
#[derive(Debug, Default)]
struct Versions {
    leaves: Vec<Option<Box<[u32; LEAF_CHUNKS]>>>,
}

impl Versions {
    fn of(&self, number: u32) -> u32 {
        let leaf = self.leaves.get(number as usize / LEAF_CHUNKS).and_then(Option::as_ref);
        leaf.map_or(NEVER_WRITTEN, |leaf| leaf[number as usize % LEAF_CHUNKS])
    }

    fn set(&mut self, number: u32, version: u32) {
        let index = number as usize / LEAF_CHUNKS;
        if self.leaves.len() <= index {
            self.leaves.resize(index + 1, None);
        }
        let leaf = self.leaves[index].get_or_insert_with(|| Box::new([NEVER_WRITTEN; LEAF_CHUNKS]));
        leaf[number as usize % LEAF_CHUNKS] = version;
    }

    fn forget_from(&mut self, first: u64) {
        let index = (first / LEAF_CHUNKS as u64) as usize;
        self.leaves.truncate(index + 1);
        if let Some(Some(leaf)) = self.leaves.get_mut(index) {
            leaf[(first % LEAF_CHUNKS as u64) as usize..].fill(NEVER_WRITTEN);
        }
    }
}

/// Cuts a range of the file at chunk borders: chunk number, offset in the chunk, range of the caller's buffer.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u32, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let place = offset + done as u64;
        let within = (place % CHUNK_BYTES as u64) as usize;
        let count = (CHUNK_BYTES - within).min(len - done);
        let piece = ((place / CHUNK_BYTES as u64) as u32, within, done..done + count);
        done += count;
        (count > 0).then_some(piece)
    })
}

fn position(number: u32) -> u64 {
    u64::from(number) * CHUNK_BYTES as u64
}

#[cfg(target_os = "linux")]
fn create_nameless(space: &ScratchSpace) -> io::Result<File> {
    // With O_TMPFILE, O_EXCL means that nobody can ever give the file a name.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(&space.folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => create_and_unlink(space),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn create_nameless(space: &ScratchSpace) -> io::Result<File> {
    create_and_unlink(space)
}

fn create_and_unlink(space: &ScratchSpace) -> io::Result<File> {
    let mut random = [0; 16];
    (space.entropy)(&mut random);
    let path = space.folder.join(format!(".airkeep-scratch-{:032x}", u128::from_be_bytes(random)));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
    std::fs::remove_file(&path)?;
    Ok(file)
}

const CHUNK_BYTES: usize = 64 << 10;
const LEAF_CHUNKS: usize = 1024;
const NEVER_WRITTEN: u32 = 0;
/// Chunk numbers are 32 bits.
const MAX_LEN_BYTES: u64 = (CHUNK_BYTES as u64) << 32;

#[cfg(test)]
#[path = "scratch_tests.rs"]
mod tests;
