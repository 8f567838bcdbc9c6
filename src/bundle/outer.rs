//! The canonical tar of docs/format.md section 2: a header is a function of name and size, so readers rebuild it.
//!
//! The same header serves the outer file and the payload inside. Nothing is ever unpacked by a tar library: names come
//! from this crate's own list, and a block that differs by one bit from the one we would write is not a header.

use tar::{EntryType, Header};

/// Bytes of a tar block.
pub const BLOCK: u64 = 512;
/// Zero bytes that end an archive.
pub const END_OF_ARCHIVE: u64 = 2 * BLOCK;

/// The names of the public members, in the order of the file.
pub mod member {
    /// The public core.
    pub const CORE: &str = "bundle.json";
    /// The key slots.
    pub const SLOTS: &str = "slots.json";
    /// Their MAC.
    pub const SLOTS_MAC: &str = "slots.mac";
    /// Sums of the three members above.
    pub const SLOTS_SUMS: &str = "slots.sha256";
    /// Signature over those sums.
    pub const SLOTS_SIGNATURE: &str = "slots.sha256.sig";
    /// How to open the bundle with stock tools.
    pub const RECOVER: &str = "RECOVER.txt";
    /// The sealed index.
    pub const INDEX: &str = "index";
    /// Sums of everything that is never rewritten.
    pub const SUMS: &str = "SHA256SUMS";
    /// Signature over those sums.
    pub const SUMS_SIGNATURE: &str = "SHA256SUMS.sig";
    /// Where index and sums are.
    pub const END: &str = "end";

    /// The name of a frame.
    pub fn frame(number: u64) -> String {
        format!("frames/{number:08}")
    }
}

/// The header block of a member.
///
/// # Panics
/// If the name is longer than 100 bytes; all names of the format are shorter.
pub fn header(name: &str, size: u64) -> [u8; BLOCK as usize] {
    let mut header = Header::new_ustar();
    header.set_path(name).expect("names of the format are short and relative");
    header.set_mode(0o600);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_entry_type(EntryType::Regular);
    header.set_device_major(0).expect("a ustar header has device numbers");
    header.set_device_minor(0).expect("a ustar header has device numbers");
    header.set_cksum();
    let mut block = *header.as_bytes();
    // The crate spells the checksum with seven digits; POSIX's own archives, and every tar in use, with six, NUL, space.
    let sum = header.cksum().expect("the checksum was just written");
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// Reads the size out of a header block of the outer file; `None` unless the block is exactly `header(name, size)`.
pub fn size_in(block: &[u8; BLOCK as usize], name: &str) -> Option<u64> {
    let digits = std::str::from_utf8(&block[124..135]).ok()?;
    let size = u64::from_str_radix(digits, 8).ok()?;
    (header(name, size) == *block).then_some(size)
}

/// Zero bytes behind a content of `size` bytes.
pub fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK
}

/// Whether bytes are padding.
pub fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Bytes that a member takes in the file: header, content, padding.
pub fn stored_len(size: u64) -> u64 {
    BLOCK + size + padding(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Digest;

    #[test]
    fn header_matches_the_vector() {
        let block = header("frames/00000000", 96);
        assert_eq!(&block[148..156], b"011247\0 ");
        assert_eq!(Digest::of(&block).to_string(), "7108128766c635c64847389714136640ecb97d4cb7b496ba21907a61a9c28d33");
        assert_eq!(size_in(&block, "frames/00000000"), Some(96));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_found() {
        let block = header("index", 1_234_567);
        for bit in 0..block.len() * 8 {
            let mut changed = block;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(size_in(&changed, "index"), None, "bit {bit}");
        }
    }

    #[test]
    fn sizes_from_eight_gib_are_base_256() {
        let block = header("databases/x.db", 8 << 30);
        assert_eq!(&block[124..136], &[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]);
        assert_eq!(&header("databases/x.db", (8 << 30) - 1)[124..136], b"77777777777\0");
    }

    #[test]
    fn padding_fills_blocks() {
        for (size, zeros) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)] {
            assert_eq!(padding(size), zeros);
        }
    }
}
