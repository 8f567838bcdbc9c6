//! Scratch: temporary storage that never holds plaintext on a disk and dies with the process.
//!
//! A scratch file is a growing random-access file. Small ones stay in memory; larger ones lie in a file without a name, in
//! chunks of 64 KiB, each encrypted under a key that exists only here. What a kill or a power cut leaves behind is
//! ciphertext that nobody can read. Two rules keep the cipher safe: a chunk is always written whole, and each write of a
//! chunk takes a number that this file never used before. No format document knows scratch; it never leaves the machine.

mod chunked;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunked::{CHUNK_BYTES, ChunkedFile};

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

    /// Insists on free space in the folder.
    ///
    /// # Errors
    /// [`ScratchError::NoSpace`] if it has less, [`ScratchError::Io`] if that cannot be found out.
    pub fn require_free(&self, needed_bytes: u64) -> Result<(), ScratchError> {
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

    /// Reads it from its beginning.
    #[must_use]
    pub fn reader(&self) -> ScratchReader<'_> {
        ScratchReader { scratch: self, offset: 0 }
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

/// A scratch file that is read from its beginning.
#[derive(Debug)]
pub struct ScratchReader<'s> {
    scratch: &'s Scratch,
    offset: u64,
}

impl io::Read for ScratchReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.scratch.read_at(self.offset, buffer).map_err(io::Error::other)?;
        self.offset += count as u64;
        Ok(count)
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

/// Chunk numbers are 32 bits.
const MAX_LEN_BYTES: u64 = (CHUNK_BYTES as u64) << 32;

#[cfg(test)]
mod tests;
