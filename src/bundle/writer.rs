//! Sealing: entries go in one after the other, a complete bundle comes out, written once from front to back.
//!
//! Frames are packed and sealed by worker threads; this thread cuts, hashes and writes. Id, root key and IVs are fresh for every writer, and
//! a writer that was dropped half-way cannot be resumed.

use std::io::{self, Write};
use std::sync::Arc;

use super::codec::{Compression, Packer};
use super::core::PublicCore;
use super::frame::Place;
use super::hint::{Hint, sums_line};
use super::index::{Entry, Index};
use super::label::EntryPath;
use super::limits::{FRAMES_MAX, INDEX_MAX, MANIFEST_MAX};
use super::outer::{BLOCK, END_OF_ARCHIVE, header, member, padding, stored_len};
use super::pipeline::Pipeline;
use super::slots::{Keyring, SlotTable};
use super::values::{FrameSize, Id};
use super::{BundleError, RECOVER_TEXT};
use crate::crypto::{
    BundleKeys, Context, Digest, Entropy, IV_LEN, Namespace, RootKey, Sha256, SignedMessage, SigningKey, Tag, encode_hex, random,
};

/// A bundle that is being written.
pub struct BundleWriter<'e, W: Write> {
    out: Hashing<W>,
    entropy: &'e mut dyn Entropy,
    sealer: FrameSealer,
    pipeline: Pipeline<Task>,
    spare: Vec<Task>,
    filling: Task,
    frames_submitted: u64,
    frames_start: u64,
    sums: Vec<Digest>,
    offsets: Vec<u64>,
    tags: Sha256,
    core_sum: Digest,
    entries: Vec<Entry>,
    open: Option<OpenEntry>,
    signer: Option<&'e SigningKey>,
}

/// Who can open a new bundle, who signs it, and how it is packed.
#[derive(Debug, Clone, Copy)]
pub struct Sealing<'k> {
    /// Keys, each of which becomes a slot.
    pub ring: &'k Keyring,
    /// The key of the signer that the core names.
    pub signer: Option<&'k SigningKey>,
    /// Must be of the codec that the core names.
    pub compression: Compression,
    /// Threads that pack and seal, at least 1.
    pub workers: usize,
}

/// What is known of a finished bundle.
#[derive(Debug)]
pub struct Sealed<W> {
    /// Where it was written to.
    pub out: W,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// SHA-256 of `SHA256SUMS`.
    pub seal_sha256: Digest,
    /// Frames.
    pub frames: u64,
}

impl<W> Sealed<W> {
    /// Takes apart what was written to and what is known.
    pub fn split(self) -> (W, Sealed<()>) {
        let Sealed { out, size_bytes, sha256, seal_sha256, frames } = self;
        (out, Sealed { out: (), size_bytes, sha256, seal_sha256, frames })
    }
}

/// All that a thread needs to seal a frame.
#[derive(Clone)]
struct FrameSealer {
    keys: Arc<BundleKeys>,
    id: Id,
    compression: Compression,
    frame_size: FrameSize,
}

/// A frame on its way: the plaintext goes in, the sealed member comes out.
struct Task {
    place: Place,
    iv: [u8; IV_LEN],
    plain: Vec<u8>,
    member: Vec<u8>,
    tag: Tag,
    sum: Digest,
}

struct OpenEntry {
    path: EntryPath,
    size: u64,
    written: u64,
    hash: Sha256,
    first_frame: u64,
}

impl<'e, W: Write> BundleWriter<'e, W> {
    /// Writes the public members in front of the frames.
    ///
    /// # Errors
    /// Too few or too many keys, or `out` fails.
    ///
    /// # Panics
    /// If the core names another signer or codec than the sealing.
    pub fn start(
        out: W,
        core: &PublicCore,
        sealing: Sealing<'e>,
        entropy: &'e mut dyn Entropy,
    ) -> Result<BundleWriter<'e, W>, BundleError> {
        let Sealing { ring, signer, compression, workers } = sealing;
        assert_eq!(signer.map(SigningKey::public), core.signer, "the core names who signs");
        assert_eq!(compression.codec(), core.codec, "the core names the codec");
        let core_bytes = core.encode();
        let core_sum = Digest::of(&core_bytes);
        let root = RootKey::generate(entropy);
        let keys = Arc::new(root.derive(&Context::new(&core.id.0, &core_sum)));
        let slots = SlotTable::seal(ring, &root, core.id, core_sum, entropy)?.encode();
        let mut out = Hashing::new(out);
        let front = write_front(&mut out, &core_bytes, &slots, &keys, signer);
        let front = front.and_then(|()| write_member(&mut out, member::RECOVER, RECOVER_TEXT.as_bytes()));
        front.map_err(|source| BundleError::Write { source })?;
        let sealer = FrameSealer { keys, id: core.id, compression, frame_size: core.frame_size };
        Ok(BundleWriter {
            frames_start: out.written,
            out,
            entropy,
            pipeline: Pipeline::new(workers, || sealer.clone().worker()),
            spare: Vec::new(),
            filling: Task::new(),
            sealer,
            frames_submitted: 0,
            sums: Vec::new(),
            offsets: Vec::new(),
            tags: Sha256::new(),
            core_sum,
            entries: Vec::new(),
            open: None,
            signer,
        })
    }

    /// Begins an entry of exactly `size` bytes.
    ///
    /// # Errors
    /// The bundle would have too many frames, or writing fails.
    ///
    /// # Panics
    /// If another entry is open.
    pub fn begin(&mut self, path: EntryPath, size: u64) -> Result<(), BundleError> {
        assert!(self.open.is_none(), "one entry at a time");
        let first_frame = self.frames_submitted;
        let last_frame = first_frame + 1 + size.div_ceil(self.sealer.frame_size.bytes());
        if last_frame >= FRAMES_MAX {
            return Err(BundleError::Limit { what: "frames", found: last_frame + 1, max: FRAMES_MAX });
        }
        self.filling.plain.extend_from_slice(&header(&path.to_string(), size));
        self.submit(false)?;
        self.open = Some(OpenEntry { path, size, written: 0, hash: Sha256::new(), first_frame });
        Ok(())
    }

    /// Adds content to the open entry.
    ///
    /// # Errors
    /// Writing fails.
    ///
    /// # Panics
    /// If no entry is open.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), BundleError> {
        let frame_size = self.sealer.frame_size.bytes() as usize;
        let open = self.open.as_mut().expect("an entry is open");
        open.hash.update(bytes);
        open.written += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = frame_size - self.filling.plain.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.filling.plain.extend_from_slice(now);
            if self.filling.plain.len() == frame_size {
                self.submit(false)?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Ends the open entry and gives its digest.
    ///
    /// # Errors
    /// Writing fails.
    ///
    /// # Panics
    /// If no entry is open, or fewer or more bytes were written than announced: the tar would be unreadable.
    pub fn end(&mut self) -> Result<Digest, BundleError> {
        let open = self.open.take().expect("an entry is open");
        assert_eq!(open.written, open.size, "an entry has the size that its header announced");
        if !self.filling.plain.is_empty() {
            let padded = self.filling.plain.len() + padding(open.size) as usize;
            self.filling.plain.resize(padded, 0);
            self.submit(false)?;
        }
        let sha256 = open.hash.finish();
        self.entries.push(Entry { path: open.path, size: open.size, sha256, first_frame: open.first_frame });
        Ok(sha256)
    }

    /// Adds a small entry at once.
    ///
    /// # Errors
    /// As [`BundleWriter::begin`].
    pub fn add(&mut self, path: EntryPath, content: &[u8]) -> Result<Digest, BundleError> {
        self.begin(path, content.len() as u64)?;
        self.write(content)?;
        self.end()
    }

    /// Adds manifest and sums, ends the payload and writes everything behind the frames.
    ///
    /// # Errors
    /// The manifest is too long, or writing fails.
    pub fn seal(mut self, manifest: Vec<u8>) -> Result<Sealed<W>, BundleError> {
        if manifest.len() as u64 > MANIFEST_MAX {
            return Err(BundleError::Limit { what: "manifest, bytes", found: manifest.len() as u64, max: MANIFEST_MAX });
        }
        self.add(EntryPath::Manifest, &manifest)?;
        let sums = Index::sums(&self.entries);
        self.add(EntryPath::Sums, &sums)?;
        self.filling.plain.resize(END_OF_ARCHIVE as usize, 0);
        self.submit(true)?;
        while let Some(task) = self.pipeline.oldest() {
            self.store(task?)?;
        }
        self.write_tail(manifest)
    }

    fn write_tail(mut self, manifest: Vec<u8>) -> Result<Sealed<W>, BundleError> {
        let frames = self.frames_submitted;
        let index_sum = self.write_index(manifest)?;
        let sums_offset = self.out.written - self.frames_start;
        let mut sums = sums_line(&self.core_sum, member::CORE) + &sums_line(&Digest::of(RECOVER_TEXT.as_bytes()), member::RECOVER);
        for (number, sum) in (0..).zip(&self.sums) {
            sums += &sums_line(sum, &member::frame(number));
        }
        sums += &sums_line(&index_sum.0, member::INDEX);
        let hint = Hint { frames, index: index_sum.1, sums: sums_offset };
        let write = |source| BundleError::Write { source };
        write_member(&mut self.out, member::SUMS, sums.as_bytes()).map_err(write)?;
        if let Some(signer) = self.signer {
            let signature = signer.sign(Namespace::Bundle, SignedMessage::of(sums.as_bytes()));
            write_member(&mut self.out, member::SUMS_SIGNATURE, signature.as_bytes()).map_err(write)?;
        }
        write_member(&mut self.out, member::END, &hint.encode()).map_err(write)?;
        self.out.write_all(&[0; END_OF_ARCHIVE as usize]).map_err(write)?;
        self.out.flush().map_err(write)?;
        let (size_bytes, seal_sha256) = (self.out.written, Digest::of(sums.as_bytes()));
        Ok(Sealed { out: self.out.inner, size_bytes, sha256: self.out.hash.finish(), seal_sha256, frames })
    }

    /// Seals and writes the index; gives its digest and its offset.
    fn write_index(&mut self, manifest: Vec<u8>) -> Result<(Digest, u64), BundleError> {
        let tags = std::mem::take(&mut self.tags).finish();
        let index = Index { entries: std::mem::take(&mut self.entries), tags, offsets: std::mem::take(&mut self.offsets), manifest };
        let plain = index.encode();
        if plain.len() as u64 > INDEX_MAX {
            return Err(BundleError::Limit { what: "index, bytes", found: plain.len() as u64, max: INDEX_MAX });
        }
        let mut sealed = vec![0; IV_LEN];
        Packer::new(self.sealer.compression).pack(&plain, &mut sealed);
        let place = Place::Index { frames: self.frames_submitted };
        place.seal(&self.sealer.keys, &self.sealer.id, random(self.entropy), &mut sealed);
        let offset = self.out.written - self.frames_start;
        write_member(&mut self.out, member::INDEX, &sealed).map_err(|source| BundleError::Write { source })?;
        Ok((Digest::of(&sealed), offset))
    }

    /// Hands the filled frame to the workers; writes the oldest finished one if they have enough.
    fn submit(&mut self, is_last: bool) -> Result<(), BundleError> {
        if self.pipeline.is_full()
            && let Some(task) = self.pipeline.oldest()
        {
            self.store(task?)?;
        }
        let next = self.spare.pop().unwrap_or_else(Task::new);
        let mut task = std::mem::replace(&mut self.filling, next);
        task.place = Place::Frame { number: self.frames_submitted, is_last };
        task.iv = random(self.entropy);
        self.frames_submitted += 1;
        self.pipeline.submit(task)
    }

    /// Writes a sealed frame and keeps its buffers for another.
    fn store(&mut self, mut task: Task) -> Result<(), BundleError> {
        self.offsets.push(self.out.written - self.frames_start);
        let name = member::frame(self.sums.len() as u64);
        write_member(&mut self.out, &name, &task.member).map_err(|source| BundleError::Write { source })?;
        self.sums.push(task.sum);
        self.tags.update(&task.tag);
        task.plain.clear();
        self.spare.push(task);
        Ok(())
    }
}

impl FrameSealer {
    fn worker(self) -> impl FnMut(&mut Task) + Send + 'static {
        let mut packer = Packer::new(self.compression);
        move |task| {
            task.member.clear();
            task.member.resize(IV_LEN, 0);
            packer.pack(&task.plain, &mut task.member);
            task.tag = task.place.seal(&self.keys, &self.id, task.iv, &mut task.member);
            task.sum = Digest::of(&task.member);
        }
    }
}

impl Task {
    fn new() -> Task {
        let place = Place::Frame { number: 0, is_last: false };
        Task { place, iv: [0; IV_LEN], plain: Vec::new(), member: Vec::new(), tag: [0; 32], sum: Digest([0; 32]) }
    }
}

/// Counts and hashes what goes through.
pub(super) struct Hashing<W> {
    inner: W,
    written: u64,
    hash: Sha256,
}

impl<W> Hashing<W> {
    pub(super) fn new(inner: W) -> Hashing<W> {
        Hashing { inner, written: 0, hash: Sha256::new() }
    }

    pub(super) fn digest(self) -> Digest {
        self.hash.finish()
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.inner.write(bytes)?;
        self.hash.update(&bytes[..len]);
        self.written += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes the public members up to `RECOVER.txt`: those that a change of keys makes anew.
pub(super) fn write_front(
    out: &mut impl Write,
    core: &[u8],
    slots: &[u8],
    keys: &BundleKeys,
    signer: Option<&SigningKey>,
) -> io::Result<()> {
    let mac = format!("{}\n", encode_hex(&keys.header.slots_mac(slots)));
    let sums = sums_line(&Digest::of(core), member::CORE)
        + &sums_line(&Digest::of(slots), member::SLOTS)
        + &sums_line(&Digest::of(mac.as_bytes()), member::SLOTS_MAC);
    write_member(out, member::CORE, core)?;
    write_member(out, member::SLOTS, slots)?;
    write_member(out, member::SLOTS_MAC, mac.as_bytes())?;
    write_member(out, member::SLOTS_SUMS, sums.as_bytes())?;
    let Some(signer) = signer else { return Ok(()) };
    let signature = signer.sign(Namespace::Slots, SignedMessage::of(sums.as_bytes()));
    write_member(out, member::SLOTS_SIGNATURE, signature.as_bytes())
}

fn write_member(out: &mut impl Write, name: &str, content: &[u8]) -> io::Result<()> {
    let size = content.len() as u64;
    out.write_all(&header(name, size))?;
    out.write_all(content)?;
    out.write_all(&[0; BLOCK as usize][..(stored_len(size) - BLOCK - size) as usize])
}
