//! `end`: where `index` and `SHA256SUMS` are, for finding them without walking (docs/format.md section 3.6); and the lines of the lists of sums.

use super::limits::END_LEN;
use super::medium::Medium;
use super::outer::{BLOCK, END_OF_ARCHIVE, header, member};
use crate::crypto::Digest;

/// The content of `end`: offsets count from the header of frame 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// N.
    pub frames: u64,
    /// Header of `index`.
    pub index: u64,
    /// Header of `SHA256SUMS`.
    pub sums: u64,
}

impl Hint {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("airkeep-end 1\nframes {}\nindex {}\nsums {}\n", self.frames, self.index, self.sums);
        text.push_str(&" ".repeat(END_LEN as usize - 1 - text.len()));
        text.push('\n');
        text.into_bytes()
    }

    fn decode(bytes: &[u8]) -> Option<Hint> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.strip_prefix("airkeep-end 1\n")?.lines();
        let mut number = |name: &str| lines.next()?.strip_prefix(name)?.parse().ok();
        let hint = Hint { frames: number("frames ")?, index: number("index ")?, sums: number("sums ")? };
        (hint.encode() == bytes).then_some(hint)
    }

    /// Reads the hint from the last bytes of a file; `None` if it is not there in its exact form.
    pub fn read(medium: &(impl Medium + ?Sized)) -> Option<Hint> {
        let tail = BLOCK + END_LEN + END_OF_ARCHIVE;
        let start = medium.length().ok()?.checked_sub(tail)?;
        let mut block = [0; (BLOCK + END_LEN) as usize];
        medium.read_at(start, &mut block).ok()?;
        block.strip_prefix(&header(member::END, END_LEN)).and_then(Hint::decode)
    }
}

/// A line as `sha256sum` writes it.
pub(super) fn sums_line(sum: &Digest, name: &str) -> String {
    format!("{sum}  {name}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_has_one_form() {
        let hint = Hint { frames: 12, index: 1024, sums: 4096 };
        let bytes = hint.encode();
        assert_eq!(bytes.len(), 512);
        assert_eq!(Hint::decode(&bytes), Some(hint));
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Hint::decode(&changed), Some(hint), "bit {bit}");
        }
    }
}
