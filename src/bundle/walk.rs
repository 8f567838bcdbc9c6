//! Walking over the frames by their headers, past whatever is unreadable or damaged.
//!
//! A medium that has aged gives errors for whole blocks; a reader that stops at the first says nothing of the rest. Headers are functions of
//! name and size, so after a hole the next one can be recognised by itself: every 512 bytes is tried.

use std::io;

use super::Damage;
use super::limits::{FRAMES_MAX, INDEX_MAX, sealed_max};
use super::medium::Medium;
use super::outer::{BLOCK, member, size_in, stored_len};
use super::values::FrameSize;

/// IV, at least one block, tag: what every sealed member has.
pub(super) fn is_sealed(size: u64) -> bool {
    size >= 64 && size.is_multiple_of(16)
}

const SEARCH: usize = 128 * BLOCK as usize;

/// Where the walk is: between two members behind the public front.
pub struct Walk<'m, M: Medium + ?Sized> {
    medium: &'m M,
    offset: u64,
    end: u64,
    next: u64,
    frame_max: u64,
}

/// What stands at the present place.
pub enum Step {
    /// The next frame; its content begins 512 bytes behind the offset.
    Frame { number: u64, offset: u64, size: u64 },
    /// Frames that are not where they must be; the walk goes on behind them.
    Gap { first: u64, last: u64, damage: Damage },
    /// The index: the frames end here.
    Index { offset: u64, size: u64 },
    /// Neither frame nor index from here to the end of the file.
    Lost { damage: Damage },
}

enum Found {
    Frame { number: u64, offset: u64 },
    Index { offset: u64 },
}

impl<'m, M: Medium + ?Sized> Walk<'m, M> {
    /// Begins at frame 0.
    pub fn new(medium: &'m M, frames_start: u64, frame_size: FrameSize) -> Walk<'m, M> {
        let frame_max = sealed_max(frame_size.bytes());
        Walk { medium, offset: frames_start, end: medium.length().unwrap_or(u64::MAX), next: 0, frame_max }
    }

    /// How many frames the bundle has, as far as the walk came.
    pub fn frames(&self) -> u64 {
        self.next
    }

    /// Takes one step. Behind `Index` and `Lost` there is no further step.
    pub fn step(&mut self) -> Step {
        let (offset, number) = (self.offset, self.next);
        let damage = match self.block(offset) {
            Ok(block) => match self.recognise(&block, number) {
                Some(size) => return self.pass(number, offset, size),
                None => match size_in(&block, member::INDEX).filter(|&size| size <= sealed_max(INDEX_MAX) && is_sealed(size)) {
                    Some(size) => return Step::Index { offset, size },
                    None => Damage::Header { member: member::frame(number), offset },
                },
            },
            Err(source) if source.kind() == io::ErrorKind::UnexpectedEof => Damage::Cut { member: member::frame(number) },
            Err(source) => Damage::Unreadable { member: member::frame(number), offset, source },
        };
        self.resume(number, damage)
    }

    fn pass(&mut self, number: u64, offset: u64, size: u64) -> Step {
        self.next += 1;
        self.offset = offset + stored_len(size);
        Step::Frame { number, offset, size }
    }

    fn recognise(&self, block: &[u8; BLOCK as usize], number: u64) -> Option<u64> {
        (number < FRAMES_MAX).then(|| size_in(block, &member::frame(number)))?.filter(|&size| size <= self.frame_max && is_sealed(size))
    }

    /// Looks for the next header behind a place where none is.
    fn resume(&mut self, first: u64, damage: Damage) -> Step {
        match self.search() {
            // The search for a header of this very number found it further on: bytes were inserted before it.
            Some(Found::Frame { number, offset }) => {
                (self.offset, self.next) = (offset, number);
                Step::Gap { first, last: number.max(first + 1) - 1, damage }
            }
            Some(Found::Index { offset }) => {
                self.offset = offset;
                Step::Gap { first, last: first, damage }
            }
            None => Step::Lost { damage },
        }
    }

    fn search(&self) -> Option<Found> {
        let mut buffer = vec![0; SEARCH];
        let mut offset = self.offset + BLOCK;
        while offset + BLOCK <= self.end && !self.medium.is_cancelled() {
            let len = (self.end - offset).min(SEARCH as u64) / BLOCK * BLOCK;
            let part = &mut buffer[..len as usize];
            if self.medium.read_at(offset, part).is_err() {
                self.read_blocks(offset, part);
            }
            let found =
                (offset..).step_by(BLOCK as usize).zip(part.chunks_exact(BLOCK as usize)).find_map(|(at, block)| self.header_at(at, block));
            if found.is_some() {
                return found;
            }
            offset += len;
        }
        None
    }

    /// Reads block by block where a larger read failed; what cannot be read counts as zeros, which are no header.
    fn read_blocks(&self, offset: u64, part: &mut [u8]) {
        for (at, block) in (offset..).step_by(BLOCK as usize).zip(part.chunks_exact_mut(BLOCK as usize)) {
            // A failing disc takes seconds for each block: nobody is to wait for a hundred of them.
            if self.medium.is_cancelled() || self.medium.read_at(at, block).is_err() {
                block.fill(0);
            }
        }
    }

    fn header_at(&self, offset: u64, block: &[u8]) -> Option<Found> {
        let block: &[u8; BLOCK as usize] = block.try_into().ok()?;
        if block.starts_with(b"frames/") {
            let number = std::str::from_utf8(&block[7..15]).ok()?.parse().ok()?;
            return self.recognise(block, number).filter(|_| number >= self.next).map(|_| Found::Frame { number, offset });
        }
        // Only what `step` will take for the index, or every such block would be a gap of its own.
        let size = block.starts_with(b"index\0").then(|| size_in(block, member::INDEX)).flatten();
        size.filter(|&size| size <= sealed_max(INDEX_MAX) && is_sealed(size)).map(|_| Found::Index { offset })
    }

    fn block(&self, offset: u64) -> io::Result<[u8; BLOCK as usize]> {
        let mut block = [0; BLOCK as usize];
        self.medium.read_at(offset, &mut block)?;
        Ok(block)
    }
}
