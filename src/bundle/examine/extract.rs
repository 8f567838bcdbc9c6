//! One entry out of a bundle: its own frames are read, and of the rest of the payload nothing.
//!
//! The index is authentic and says where each frame is and what it must open to; the tag of a frame binds it to its bundle and its place. So
//! an entry can be proven by itself, with the checks of a whole pass. What a part cannot tell is whether the others are whole.

use super::{Cursor, Damage, Examination, Medium, Outcome, Tail};
use crate::bundle::BundleError;
use crate::bundle::index::Index;
use crate::bundle::label::EntryPath;
use crate::bundle::level::Level;
use crate::bundle::limits::sealed_max;
use crate::bundle::outer::{member, stored_len};
use crate::bundle::sink::EntrySink;
use crate::bundle::walk::is_sealed;

/// Whether somebody wants to know who sealed the bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealCheck {
    /// `SHA256SUMS` and its signature are checked, with the sums of the frames that were read.
    Wanted,
    /// They are not read.
    Unwanted,
}

impl<M: Medium + ?Sized, S: EntrySink> Examination<'_, M, S> {
    /// Goes over the frames of one entry. The outcome's findings are about them, and about the sums where these are wanted.
    ///
    /// # Errors
    /// As [`Examination::run`]; [`BundleError::Damaged`] without an index, or if it has no such entry.
    pub fn run_entry(mut self, path: &EntryPath, seal: SealCheck) -> Result<Outcome, S::Error> {
        // What was found so far hurts the index, which everything depends on, or members that this entry does not need.
        let earlier = std::mem::take(&mut self.outcome.findings);
        let Some(index) = self.index else {
            let damage = earlier.into_iter().next().map_or(Damage::Index { field: "content" }, |finding| finding.damage);
            return Err(BundleError::from(damage).into());
        };
        let Some(entry) = index.entries.iter().find(|entry| entry.path == *path) else {
            return Err(BundleError::from(Damage::Index { field: "entries" }).into());
        };
        self.tags = None;
        self.outcome.frames = index.offsets.len() as u64;
        for number in entry.first_frame..entry.first_frame + entry.frame_count(self.front.core.frame_size) {
            if self.medium.is_cancelled() {
                return Err(BundleError::Cancelled.into());
            }
            // One bad frame is enough: nothing of the entry will be published.
            if !self.outcome.findings.is_empty() {
                break;
            }
            match self.locate(index, number) {
                // The last frame of a bundle ends the archive and is no entry's.
                Ok((offset, size)) => self.submit(number, offset, size, false)?,
                Err(damage) => {
                    self.drain()?;
                    self.lose(number, number, damage);
                }
            }
        }
        self.drain()?;
        if seal == SealCheck::Wanted && self.outcome.findings.is_empty() {
            self.check_seal(index);
        }
        Ok(self.outcome)
    }

    /// Where a frame is, and the size of its member.
    fn locate(&self, index: &Index, number: u64) -> Result<(u64, u64), Damage> {
        let offset = index.offsets.get(number as usize).and_then(|offset| self.front.frames_start.checked_add(*offset));
        let offset = offset.ok_or(Damage::Index { field: "offsets" })?;
        let name = member::frame(number);
        let size = (Cursor { medium: self.medium, offset }).header(&name, sealed_max(self.front.core.frame_size.bytes()))?;
        match is_sealed(size) {
            true => Ok((offset, size)),
            false => Err(Damage::Header { member: name, offset }),
        }
    }

    /// Compares what was read with the sums, and the sums with their signature.
    fn check_seal(&mut self, index: &Index) {
        let last = index.offsets.len() as u64 - 1;
        let behind = self.locate(index, last).and_then(|(offset, size)| {
            let offset = offset + stored_len(size);
            Ok((offset, (Cursor { medium: self.medium, offset }).header(member::INDEX, u64::MAX)?))
        });
        let (offset, size) = match behind {
            Ok(place) => place,
            Err(damage) => return self.find(Level::Sums, damage, None),
        };
        let frames = self.outcome.frames;
        let mut tail = Tail { medium: self.medium, front: self.front, frames, sums: &self.sums, damages: Vec::new(), is_signed: false };
        self.outcome.seal_sha256 = tail.check(offset, size);
        self.outcome.is_signed = tail.is_signed;
        for (damage, frame) in tail.damages {
            self.find(Level::Sums, damage, frame.map(|frame| (frame, frame)));
        }
    }
}
