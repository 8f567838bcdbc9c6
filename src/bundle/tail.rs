//! What stands behind the frames, and how to find it from the end: `SHA256SUMS` and `end` (docs/format.md sections 3.3 and 3.6).

use super::cursor::Cursor;
use super::front::Front;
use super::hint::{Hint, sums_line};
use super::limits::{END_LEN, INDEX_MAX, SUMS_MAX, TEXT_MAX, sealed_max};
use super::medium::Medium;
use super::outer::{BLOCK, END_OF_ARCHIVE, is_zero, member, padding, stored_len};
use super::{BundleError, Damage};
use crate::crypto::{Digest, Namespace, PublicKey, Sha256, SignedMessage};

/// Checks everything from the index to the end of the file against what was hashed on the way there.
pub(super) struct Tail<'t, M: Medium + ?Sized> {
    /// The bundle.
    pub(super) medium: &'t M,
    /// Its front.
    pub(super) front: &'t Front,
    /// How many frames the walk found.
    pub(super) frames: u64,
    /// Their digests; none for a frame that could not be read.
    pub(super) sums: &'t [Option<Digest>],
    /// What is wrong, with the frame that it concerns.
    pub(super) damages: Vec<(Damage, Option<u64>)>,
    /// Whether the bundle's signer signed the sums.
    pub(super) is_signed: bool,
}

impl<M: Medium + ?Sized> Tail<'_, M> {
    /// Checks index, sums and end, and that nothing follows; gives the seal digest if `SHA256SUMS` could be read.
    pub(super) fn check(&mut self, index_offset: u64, index_size: u64) -> Option<Digest> {
        let mut cursor = Cursor { medium: self.medium, offset: index_offset };
        let index_sum = match cursor.member(member::INDEX, sealed_max(INDEX_MAX)) {
            Ok(stored) => Some(Digest::of(&stored)),
            Err(damage) => {
                self.damages.push((damage, None));
                cursor.offset = index_offset + stored_len(index_size);
                None
            }
        };
        let hint =
            Hint { frames: self.frames, index: index_offset - self.front.frames_start, sums: cursor.offset - self.front.frames_start };
        let seal = self.check_sums(&mut cursor, index_sum);
        let (seal, message) = seal.map_err(|damage| self.damages.push((damage, None))).ok()?;
        if let Some(signer) = self.front.core.signer {
            match has_seal_signature(&mut cursor, signer, message) {
                Ok(()) => self.is_signed = true,
                Err(damage) => self.damages.push((damage, None)),
            }
        }
        match cursor.member(member::END, END_LEN) {
            Ok(end) if end == hint.encode() => self.check_end(&cursor),
            Ok(_) => self.damages.push((Damage::Differs { member: member::END.to_owned() }, None)),
            Err(damage) => self.damages.push((damage, None)),
        }
        Some(seal)
    }

    fn check_end(&mut self, cursor: &Cursor<'_, M>) {
        let mut zeros = [0; END_OF_ARCHIVE as usize];
        match cursor.read("the end of the archive", cursor.offset, &mut zeros) {
            Ok(()) if is_zero(&zeros) => {}
            Ok(()) => self.damages.push((Damage::Padding { member: member::END.to_owned() }, None)),
            Err(damage) => self.damages.push((damage, None)),
        }
        let bytes = self.medium.length().unwrap_or(0).saturating_sub(cursor.offset + END_OF_ARCHIVE);
        if bytes > 0 {
            self.damages.push((Damage::Trailing { bytes }, None));
        }
    }

    /// Compares `SHA256SUMS` line by line, so that a list of any length needs no memory, and each wrong line names its member.
    fn check_sums(&mut self, cursor: &mut Cursor<'_, M>, index_sum: Option<Digest>) -> Result<(Digest, SignedMessage), Damage> {
        let offset = cursor.offset;
        let size = cursor.header(member::SUMS, SUMS_MAX)?;
        let mut list =
            StoredList { cursor, at: offset + BLOCK, end: offset + BLOCK + size, hash: Sha256::new(), message: SignedMessage::default() };
        let mut expect = |sum: Option<Digest>, name: String, frame: Option<u64>| {
            let line = list.line(sums_line(&Digest([0; 32]), &name).len())?;
            // A member without a sum could not be read, which was reported; only the length of its line counts.
            if line.is_none_or(|line| sum.is_some_and(|sum| line != sums_line(&sum, &name).as_bytes())) {
                self.damages.push((Damage::Sum { member: name }, frame));
            }
            Ok(())
        };
        expect(Some(self.front.core_sum), member::CORE.to_owned(), None)?;
        expect(Some(self.front.core.recover_sha256), member::RECOVER.to_owned(), None)?;
        for number in 0..self.frames {
            let sum = self.sums.get(number as usize).copied().flatten();
            expect(sum, member::frame(number), Some(number))?;
        }
        expect(index_sum, member::INDEX.to_owned(), None)?;
        let is_longer = list.at != list.end;
        list.hash_rest()?;
        let seal = (list.hash.finish(), list.message);
        let mut zeros = vec![0; padding(size) as usize];
        cursor.read(member::SUMS, offset + BLOCK + size, &mut zeros)?;
        cursor.offset = offset + stored_len(size);
        if is_longer || !is_zero(&zeros) {
            self.damages.push((Damage::Differs { member: member::SUMS.to_owned() }, None));
        }
        Ok(seal)
    }
}

/// Reads a stored list in exact pieces, hashing all of it.
struct StoredList<'c, 'm, M: Medium + ?Sized> {
    cursor: &'c Cursor<'m, M>,
    at: u64,
    end: u64,
    hash: Sha256,
    message: SignedMessage,
}

impl<M: Medium + ?Sized> StoredList<'_, '_, M> {
    /// The next `len` bytes, or `None` if the list is shorter.
    fn line(&mut self, len: usize) -> Result<Option<Vec<u8>>, Damage> {
        let mut line = vec![0; len.min((self.end - self.at) as usize)];
        self.cursor.read(member::SUMS, self.at, &mut line)?;
        self.hash.update(&line);
        self.message.update(&line);
        self.at += line.len() as u64;
        Ok((line.len() == len).then_some(line))
    }

    fn hash_rest(&mut self) -> Result<(), Damage> {
        while self.line(1 << 16)?.is_some() {}
        Ok(())
    }
}

/// Checks the signature over the sums and moves behind it, also when it does not verify.
fn has_seal_signature(cursor: &mut Cursor<'_, impl Medium + ?Sized>, signer: PublicKey, message: SignedMessage) -> Result<(), Damage> {
    let behind = cursor.offset + stored_len(cursor.header(member::SUMS_SIGNATURE, TEXT_MAX)?);
    let armored = cursor.member(member::SUMS_SIGNATURE, TEXT_MAX);
    cursor.offset = behind;
    match signer.verify(Namespace::Bundle, message, &armored?) {
        true => Ok(()),
        false => Err(Damage::Signature { member: member::SUMS_SIGNATURE }),
    }
}

/// Reads `SHA256SUMS` by the hint and gives the bundle's seal digest, without verifying the bundle.
///
/// # Errors
/// [`BundleError::Damaged`] if the hint is missing or does not lead to `SHA256SUMS`, or the medium fails.
pub fn read_seal_digest(medium: &(impl Medium + ?Sized), front: &Front) -> Result<Digest, BundleError> {
    let lost = || Damage::Differs { member: member::END.to_owned() };
    let hint = Hint::read(medium).ok_or_else(lost)?;
    let offset = front.frames_start.checked_add(hint.sums).ok_or_else(lost)?;
    let cursor = Cursor { medium, offset };
    let size = cursor.header(member::SUMS, SUMS_MAX)?;
    let mut list = StoredList {
        cursor: &cursor,
        at: offset + BLOCK,
        end: offset + BLOCK + size,
        hash: Sha256::new(),
        message: SignedMessage::default(),
    };
    list.hash_rest()?;
    Ok(list.hash.finish())
}
