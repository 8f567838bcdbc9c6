//! Changing keys: the four `slots.*` members are made anew, every other byte is copied (docs/format.md section 1).
//!
//! The root key stays, so neither seal digest nor MACs change, and a bundle of any size is re-keyed without opening a frame. What this
//! cannot do is take a key back: copies made before still open with it.

use std::io::Write;

use super::front::Front;
use super::medium::Medium;
use super::slots::{Keyring, Slot};
use super::writer::{Hashing, write_front};
use super::{BundleError, Damage};
use crate::crypto::{Digest, Entropy, RootKey, SigningKey};

/// What is to become of the slots.
#[derive(Debug, Clone, Copy)]
pub enum KeyChange<'k> {
    /// A slot more for each key that does not open one already.
    Add(&'k Keyring),
    /// The slots with these ids go.
    Remove(&'k [String]),
    /// These keys and no others.
    Rotate(&'k Keyring),
}

/// A bundle that was written with other slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekeyed {
    /// Its generation of slots.
    pub generation: u64,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
}

impl KeyChange<'_> {
    /// Whether a bundle is already as the change would make it, as after a run that was stopped half-way over a vault.
    ///
    /// # Errors
    /// [`BundleError::Damaged`] if the slots are not authentic.
    pub fn is_done(&self, front: &Front) -> Result<bool, BundleError> {
        match self {
            KeyChange::Add(ring) => front.opens_with_each(ring),
            KeyChange::Rotate(ring) => Ok(front.slots.len() == ring.len() && front.slots.costs(ring) && front.opens_with_each(ring)?),
            KeyChange::Remove(ids) => Ok(!ids.iter().any(|id| front.slots.has(id))),
        }
    }

    fn apply(&self, slots: &[Slot], root: &RootKey, entropy: &mut dyn Entropy) -> Result<Vec<Slot>, BundleError> {
        let mut changed: Vec<Slot> = match self {
            KeyChange::Rotate(_) => Vec::new(),
            KeyChange::Add(_) => slots.to_vec(),
            KeyChange::Remove(ids) => slots.iter().filter(|slot| !ids.iter().any(|id| slot.id() == id)).cloned().collect(),
        };
        if let KeyChange::Add(ring) | KeyChange::Rotate(ring) = self {
            Slot::wrap_each(ring, root, &mut changed, entropy)?;
        }
        Ok(changed)
    }
}

/// Writes a copy of a bundle with changed slots; the next generation. The slots are signed if the key of the bundle's signer is given;
/// whoever changes keys without it leaves slots that nobody signed, and readers say so.
///
/// # Errors
/// [`BundleError::KeyRejected`] if `ring` opens no slot, [`BundleError::LastSlot`], [`BundleError::KeyCount`], [`BundleError::IterationsSum`], [`BundleError::Damaged`] if the
/// slots are not authentic or the medium fails, [`BundleError::Write`].
///
/// # Panics
/// If the signer is not the bundle's.
pub fn rekey(
    medium: &(impl Medium + ?Sized),
    front: &Front,
    ring: &Keyring,
    change: KeyChange<'_>,
    signer: Option<&SigningKey>,
    entropy: &mut dyn Entropy,
    out: &mut impl Write,
) -> Result<Rekeyed, BundleError> {
    assert!(signer.is_none_or(|signer| Some(signer.public()) == front.core.signer), "slots are signed by the bundle's own signer");
    let (root, keys) = front.root(ring)?;
    let slots = change.apply(&front.slots.slots, &root, entropy)?;
    let table = front.slots.successor(slots)?;
    let mut out = Hashing::new(out);
    let write = |source| BundleError::Write { source };
    write_front(&mut out, &front.core_stored, &table.encode(), &keys, signer).map_err(write)?;
    copy(medium, front.recover_start, &mut out)?;
    out.flush().map_err(write)?;
    Ok(Rekeyed { generation: table.generation, sha256: out.digest() })
}

/// Copies everything from `RECOVER.txt` to the end.
fn copy(medium: &(impl Medium + ?Sized), mut offset: u64, out: &mut impl Write) -> Result<(), BundleError> {
    let unreadable = |offset| move |source| BundleError::from(Damage::Unreadable { member: "the bundle".to_owned(), offset, source });
    let end = medium.length().map_err(|source| BundleError::Read { source })?;
    let mut buffer = vec![0; 1 << 20];
    while offset < end {
        if medium.is_cancelled() {
            return Err(BundleError::Cancelled);
        }
        let part = &mut buffer[..(end - offset).min(1 << 20) as usize];
        medium.read_at(offset, part).map_err(unreadable(offset))?;
        out.write_all(part).map_err(|source| BundleError::Write { source })?;
        offset += part.len() as u64;
    }
    Ok(())
}
