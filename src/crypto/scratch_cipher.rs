//! The cipher of scratch files: AES-256-CTR under a key that lives only in this process.
//!
//! It answers one threat: a scratch file that outlives the process (a kill, a power cut, a stolen disk) must tell nothing.
//! It gives no integrity, because nobody but this process ever holds the file, and no format document knows it.
//! The initial counter block is chunk number ‖ write version ‖ block counter: as long as the caller never repeats a pair of
//! chunk and version, no keystream is used twice under a key. Nothing here does I/O.

use aes::Aes256Enc;
use ctr::cipher::{InnerIvInit, KeyInit, StreamCipher, StreamCipherCoreWrapper, StreamCipherSeek};
use ctr::{CtrCore, flavors};
use zeroize::Zeroize;

/// Encrypts and decrypts pieces of the chunks of one scratch file.
///
/// # Security
/// The key must be random and belong to one file only. The key schedule is wiped when the cipher is dropped.
pub struct ScratchCipher {
    block_cipher: Aes256Enc,
}

impl ScratchCipher {
    /// Takes over a throw-away key and wipes the copy it was handed.
    #[must_use]
    pub fn new(mut key: [u8; 32]) -> Self {
        let block_cipher = Aes256Enc::new((&key).into());
        key.zeroize();
        Self { block_cipher }
    }

    /// Encrypts or decrypts, in place, the bytes that stand at an offset of a chunk.
    ///
    /// # Layout
    /// | offset | size | field of the initial counter block |
    /// |---|---|---|
    /// | 0 | 4 | chunk number, big endian |
    /// | 4 | 4 | write version, big endian |
    /// | 8 | 8 | number of the 16-byte block in the chunk, big endian |
    ///
    /// # Source
    /// NIST SP 800-38A, section 6.5.
    pub fn apply(&self, chunk: u32, version: u32, offset_in_chunk: usize, data: &mut [u8]) {
        let mut counter_block = [0_u8; 16];
        counter_block[..4].copy_from_slice(&chunk.to_be_bytes());
        counter_block[4..8].copy_from_slice(&version.to_be_bytes());
        let mut keystream = self.keystream(&counter_block);
        keystream.seek(offset_in_chunk as u64);
        keystream.apply_keystream(data);
    }

    fn keystream(&self, counter_block: &[u8; 16]) -> Keystream<'_> {
        StreamCipherCoreWrapper::from_core(CtrCore::inner_iv_init(&self.block_cipher, counter_block.into()))
    }
}

type Keystream<'a> = StreamCipherCoreWrapper<CtrCore<&'a Aes256Enc, flavors::Ctr64BE>>;

impl std::fmt::Debug for ScratchCipher {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("ScratchCipher(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// F.5.5 of SP 800-38A has a counter block that this layout can express only for its first block.
    #[test]
    fn gives_the_first_block_of_the_published_vector() {
        let key = [
            0x60, 0x3d, 0xeb, 0x10, 0x15, 0xca, 0x71, 0xbe, 0x2b, 0x73, 0xae, 0xf0, 0x85, 0x7d, 0x77, 0x81, 0x1f, 0x35, 0x2c, 0x07, 0x3b,
            0x61, 0x08, 0xd7, 0x2d, 0x98, 0x10, 0xa3, 0x09, 0x14, 0xdf, 0xf4,
        ];
        let mut data = [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
        // The vector's counter block f0f1…ff: its low half counts 16-byte blocks, so it cannot be reached by an offset;
        // the same cipher is therefore run with its block counter set by hand.
        let cipher = ScratchCipher::new(key);
        let counter_block: [u8; 16] = std::array::from_fn(|i| 0xf0 + i as u8);
        cipher.keystream(&counter_block).apply_keystream(&mut data);
        assert_eq!(data, [0x60, 0x1e, 0xc3, 0x13, 0x77, 0x57, 0x89, 0xa5, 0xb7, 0xa7, 0xf5, 0x04, 0xbb, 0xf3, 0xd2, 0x28]);
    }

    #[test]
    fn undoes_itself_from_any_offset() {
        let cipher = ScratchCipher::new([7; 32]);
        let mut whole = vec![0x5a; 1000];
        cipher.apply(3, 9, 0, &mut whole);
        for offset in [0, 1, 15, 16, 17, 512, 999] {
            let mut piece = whole[offset..].to_vec();
            cipher.apply(3, 9, offset, &mut piece);
            assert!(piece.iter().all(|byte| *byte == 0x5a), "offset {offset}");
        }
    }

    #[test]
    fn never_shares_keystream_between_chunks_versions_or_keys() {
        let keystream = |key: u8, chunk, version| {
            let mut zeros = [0_u8; 64];
            ScratchCipher::new([key; 32]).apply(chunk, version, 0, &mut zeros);
            zeros
        };
        let all = [keystream(1, 0, 1), keystream(1, 0, 2), keystream(1, 1, 1), keystream(2, 0, 1)];
        for (i, left) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|right| left != right));
        }
    }

    #[test]
    fn shows_no_key_in_debug_output() {
        assert_eq!(format!("{:?}", ScratchCipher::new([0xab; 32])), "ScratchCipher(redacted)");
    }
}
