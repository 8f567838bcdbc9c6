//! The part of scratch that lies on a disk: chunks of ciphertext in a file without a name.
//!
//! Each write of a chunk takes a number that this file never used before, also after it was cut, so that no keystream
//! is used twice.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{Mode, OFlags};

use super::{ScratchError, ScratchSpace};
use crate::crypto::ScratchCipher;

/// A file without a name, with ciphertext in chunks; one plaintext chunk is kept back so that small writes in a row cost one.
#[derive(Debug)]
pub(super) struct ChunkedFile {
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
    pub(super) fn create(space: &ScratchSpace) -> Result<Self, ScratchError> {
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

    #[cfg(test)]
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
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

    pub(super) fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
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

    pub(super) fn store_held(&mut self) -> io::Result<()> {
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
    pub(super) fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
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
pub(super) fn create_nameless(space: &ScratchSpace) -> io::Result<File> {
    // With O_TMPFILE, O_EXCL means that nobody can ever give the file a name.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(&space.folder, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(File::from(descriptor)),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR | rustix::io::Errno::INVAL) => create_and_unlink(space),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn create_nameless(space: &ScratchSpace) -> io::Result<File> {
    create_and_unlink(space)
}

pub(super) fn create_and_unlink(space: &ScratchSpace) -> io::Result<File> {
    let mut random = [0; 16];
    (space.entropy)(&mut random);
    let path = space.folder.join(format!(".airkeep-scratch-{:032x}", u128::from_be_bytes(random)));
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let file = File::from(rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)?);
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// Size of a chunk.
pub(super) const CHUNK_BYTES: usize = 64 << 10;
const LEAF_CHUNKS: usize = 1024;
const NEVER_WRITTEN: u32 = 0;
