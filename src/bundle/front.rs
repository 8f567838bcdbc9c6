//! The members in front of the frames, and the step from them to keys, index and manifest (docs/format.md section 9, steps 1 to 5).
//!
//! Sums come first: a flipped bit must read as damage and not as a wrong passphrase or an unknown format.

use std::sync::Arc;

use super::codec::Opener;
use super::core::PublicCore;
use super::cursor::Cursor;
use super::frame::Place;
use super::hint::{Hint, sums_line};
use super::index::Index;
use super::limits::{CORE_MAX, INDEX_MAX, SLOTS_LEN, TEXT_MAX, sealed_max};
use super::manifest::Manifest;
use super::medium::Medium;
use super::outer::{BLOCK, member, stored_len};
use super::slots::{Keyring, SlotTable};
use super::walk::{Step, Walk};
use super::{BundleError, Damage};
use crate::crypto::{BundleKeys, Digest, Namespace, PublicKey, RootKey, SignedMessage, decode_hex};

/// What a bundle says of itself to anybody.
#[derive(Debug)]
pub struct Front {
    /// The public core.
    pub core: PublicCore,
    /// The key slots.
    pub slots: SlotTable,
    /// Offset of the header of frame 0.
    pub frames_start: u64,
    /// Whether the slots carry the signer's signature; a change of keys by somebody else leaves none.
    pub is_slots_signed: bool,
    /// Damage that hurts nothing else (`RECOVER.txt`, `slots.sha256.sig`), until an examination takes it into its findings.
    pub(super) damages: Vec<Damage>,
    pub(super) core_sum: Digest,
    pub(super) core_stored: Vec<u8>,
    /// Offset of the header of `RECOVER.txt`: from here on a change of keys copies.
    pub(super) recover_start: u64,
    slots_stored: Vec<u8>,
    slots_mac: [u8; 32],
}

impl Front {
    /// The root key and the keys derived from it.
    pub(super) fn root(&self, ring: &Keyring) -> Result<(RootKey, BundleKeys), BundleError> {
        self.slots.root(ring, &self.slots_stored, &self.slots_mac)
    }

    /// Whether every key of a ring opens a slot, not just one of them.
    ///
    /// # Errors
    /// [`BundleError::Damaged`] if the slots are not authentic.
    pub fn opens_with_each(&self, ring: &Keyring) -> Result<bool, BundleError> {
        self.slots.opens_with_each(ring, &self.slots_stored, &self.slots_mac)
    }

    /// Drops the keys that open no slot; tells whether any is left.
    ///
    /// # Errors
    /// As [`Front::opens_with_each`].
    pub fn retain_opening(&self, ring: &mut Keyring) -> Result<bool, BundleError> {
        let passphrases =
            std::mem::take(&mut ring.passphrases).into_iter().map(|key| Keyring { passphrases: vec![key], ..Keyring::default() });
        let key_files = std::mem::take(&mut ring.key_files).into_iter().map(|key| Keyring { key_files: vec![key], ..Keyring::default() });
        for single in passphrases.chain(key_files) {
            if self.opens_with_each(&single)? {
                ring.passphrases.extend(single.passphrases);
                ring.key_files.extend(single.key_files);
            }
        }
        Ok(!ring.is_empty())
    }
}

/// What a key opens of a bundle before its frames are read.
#[derive(Debug)]
pub struct Unlocked {
    /// The bundle's keys.
    pub(super) keys: Arc<BundleKeys>,
    /// The index, authenticated and checked, and the manifest.
    pub(super) content: Option<(Index, Manifest)>,
    /// Why there is no content, until an examination takes it into its findings.
    pub(super) damage: Option<Damage>,
}

impl Unlocked {
    /// The manifest, unless index or manifest are damaged.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.content.as_ref().map(|(_, manifest)| manifest)
    }

    /// Takes the manifest out, or the reason why there is none.
    ///
    /// # Errors
    /// [`BundleError::Damaged`].
    pub fn into_manifest(self) -> Result<Manifest, BundleError> {
        match (self.content, self.damage) {
            (Some((_, manifest)), _) => Ok(manifest),
            (None, Some(damage)) => Err(damage.into()),
            (None, None) => Err(Damage::Index { field: "content" }.into()),
        }
    }
}

/// Reads the public core and nothing else: enough to tell which bundle a file claims to be, for a list of thousands. Its sum is not checked.
///
/// # Errors
/// As [`read_front`].
pub fn read_core(medium: &(impl Medium + ?Sized)) -> Result<PublicCore, BundleError> {
    PublicCore::decode(&read_stored_core(&mut Cursor { medium, offset: 0 })?)
}

fn read_stored_core(cursor: &mut Cursor<'_, impl Medium + ?Sized>) -> Result<Vec<u8>, BundleError> {
    match cursor.member(member::CORE, CORE_MAX) {
        // Shorter than one header, or something else where the first header must be.
        Err(Damage::Header { .. }) => Err(BundleError::NotABundle),
        Err(Damage::Cut { .. }) if cursor.medium.length().is_ok_and(|length| length < BLOCK) => Err(BundleError::NotABundle),
        other => Ok(other?),
    }
}

/// Reads and checks the public members in front of the frames.
///
/// # Errors
/// [`BundleError::NotABundle`], [`BundleError::Damaged`], [`BundleError::Unsupported`], [`BundleError::Limit`].
pub fn read_front(medium: &(impl Medium + ?Sized)) -> Result<Front, BundleError> {
    let mut cursor = Cursor { medium, offset: 0 };
    let core_stored = read_stored_core(&mut cursor)?;
    let slots_stored = cursor.member(member::SLOTS, SLOTS_LEN)?;
    let mac_stored = cursor.member(member::SLOTS_MAC, 65)?;
    let sums_stored = cursor.member(member::SLOTS_SUMS, TEXT_MAX)?;
    let core_sum = Digest::of(&core_stored);
    check_slots_sums(&sums_stored, [&core_sum, &Digest::of(&slots_stored), &Digest::of(&mac_stored)])?;
    let core = PublicCore::decode(&core_stored)?;
    let mut damages = Vec::new();
    let is_slots_signed = match core.signer {
        None => false,
        Some(signer) => has_slots_signature(&mut cursor, signer, &sums_stored).unwrap_or_else(|damage| {
            damages.push(damage);
            false
        }),
    };
    let recover_start = cursor.offset;
    damages.extend(check_recover(&mut cursor, &core.recover_sha256)?);
    let slots = SlotTable::decode(&slots_stored, core.id, core_sum)?;
    let slots_mac = decode_mac(&mac_stored).ok_or(Damage::Field { member: "slots.mac", field: "text" })?;
    let frames_start = cursor.offset;
    Ok(Front { core, slots, frames_start, is_slots_signed, damages, core_sum, core_stored, recover_start, slots_stored, slots_mac })
}

/// Opens a slot with one of the keys, then index and manifest.
///
/// A damaged index is part of the result and not an error, so that the frames can still be examined.
///
/// # Errors
/// [`BundleError::KeyRejected`] if no slot opens, [`BundleError::Damaged`] if the slots are not authentic.
pub fn unlock(medium: &(impl Medium + ?Sized), front: &Front, ring: &Keyring) -> Result<Unlocked, BundleError> {
    let keys = Arc::new(front.slots.unlock(ring, &front.slots_stored, &front.slots_mac)?);
    Ok(match read_content(medium, front, &keys) {
        Ok(content) => Unlocked { keys, content: Some(content), damage: None },
        Err(damage) => Unlocked { keys, content: None, damage: Some(damage) },
    })
}

fn read_content(medium: &(impl Medium + ?Sized), front: &Front, keys: &BundleKeys) -> Result<(Index, Manifest), Damage> {
    let (frames, sealed) = read_index(medium, front)?;
    let index = open_index(sealed, frames, front, keys)?;
    let manifest = Manifest::decode(&index.manifest, front.core.id, &index.entries).map_err(|field| Damage::Manifest { field })?;
    Ok((index, manifest))
}

/// Finds the index by the hint at the end or, where that is damaged, by walking over the frames.
fn read_index(medium: &(impl Medium + ?Sized), front: &Front) -> Result<(u64, Vec<u8>), Damage> {
    let read = |frames, offset| Ok((frames, Cursor { medium, offset }.member(member::INDEX, sealed_max(INDEX_MAX))?));
    if let Some(hint) = Hint::read(medium)
        && let Some(offset) = front.frames_start.checked_add(hint.index)
        && let Ok(found) = read(hint.frames, offset)
    {
        return Ok(found);
    }
    let mut walk = Walk::new(medium, front.frames_start, front.core.frame_size);
    loop {
        match walk.step() {
            Step::Index { offset, .. } => return read(walk.frames(), offset),
            Step::Lost { damage } => return Err(damage),
            Step::Frame { .. } | Step::Gap { .. } => {}
        }
    }
}

fn open_index(mut sealed: Vec<u8>, frames: u64, front: &Front, keys: &BundleKeys) -> Result<Index, Damage> {
    let place = Place::Index { frames };
    let name = || member::INDEX.to_owned();
    place.authenticate(keys, &front.core.id, &sealed).ok_or_else(|| Damage::NotAuthentic { member: name() })?;
    let packed = place.open(keys, &mut sealed).ok_or_else(|| Damage::Unopenable { member: name() })?;
    let mut plain = Vec::new();
    let opened = Opener::new(front.core.codec).open(packed, INDEX_MAX as usize, &mut plain);
    opened.map_err(|_| Damage::Unopenable { member: name() })?;
    let index = Index::decode(&plain, front.core.frame_size).map_err(|field| Damage::Index { field })?;
    if index.offsets.len() as u64 != frames {
        return Err(Damage::Index { field: "frames" });
    }
    Ok(index)
}

/// Whether the optional signature over the slots' sums stands here; if so it must verify.
fn has_slots_signature(cursor: &mut Cursor<'_, impl Medium + ?Sized>, signer: PublicKey, sums: &[u8]) -> Result<bool, Damage> {
    // Without its header the member is absent, or `RECOVER.txt` will be missed.
    let Ok(size) = cursor.header(member::SLOTS_SIGNATURE, TEXT_MAX) else { return Ok(false) };
    let behind = cursor.offset + stored_len(size);
    let armored = cursor.member(member::SLOTS_SIGNATURE, TEXT_MAX);
    cursor.offset = behind;
    match signer.verify(Namespace::Slots, SignedMessage::of(sums), &armored?) {
        true => Ok(true),
        false => Err(Damage::Signature { member: member::SLOTS_SIGNATURE }),
    }
}

/// Checks `RECOVER.txt`. Only a damaged header stops the reader, who cannot know then where the frames begin.
fn check_recover(cursor: &mut Cursor<'_, impl Medium + ?Sized>, expected: &Digest) -> Result<Option<Damage>, Damage> {
    match cursor.member(member::RECOVER, TEXT_MAX) {
        Ok(text) if Digest::of(&text) == *expected => Ok(None),
        Ok(_) => Ok(Some(Damage::Sum { member: member::RECOVER.to_owned() })),
        Err(damage @ (Damage::Padding { .. } | Damage::Unreadable { .. })) => {
            cursor.offset += stored_len(cursor.header(member::RECOVER, TEXT_MAX)?);
            Ok(Some(damage))
        }
        Err(damage) => Err(damage),
    }
}

fn check_slots_sums(stored: &[u8], sums: [&Digest; 3]) -> Result<(), Damage> {
    let names = [member::CORE, member::SLOTS, member::SLOTS_MAC];
    let lines: String = sums.iter().zip(names).map(|(sum, name)| sums_line(sum, name)).collect();
    if stored == lines.as_bytes() {
        return Ok(());
    }
    let hurt = sums.iter().zip(names).find(|(sum, name)| !contains(stored, sums_line(sum, name).as_bytes()));
    Err(Damage::Sum { member: hurt.map_or(member::SLOTS_SUMS, |(_, name)| name).to_owned() })
}

fn contains(text: &[u8], line: &[u8]) -> bool {
    text.windows(line.len()).any(|window| window == line)
}

fn decode_mac(stored: &[u8]) -> Option<[u8; 32]> {
    let mut mac = [0; 32];
    let digits = std::str::from_utf8(stored).ok()?.strip_suffix('\n')?;
    decode_hex(digits, &mut mac).ok().map(|()| mac)
}
