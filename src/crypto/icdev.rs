//! Opening what ICDEV's backup tool encrypted, so that it can be adopted; nothing is ever sealed in this way.
//!
//! `salt(16) ‖ IV(16) ‖ C`: AES-256-CBC with PKCS#7 under `PBKDF2-HMAC-SHA-256(passphrase, salt, 600 000)`. There is no magic
//! and no MAC: what comes out is not authenticated, and who calls this has to look at the content before believing any of it.
//! A padding oracle has nobody to ask it: file and passphrase are both the operator's own.

use std::fmt;

use aes::Aes256;
use aes::cipher::{Array, BlockModeDecrypt, KeyIvInit};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{PASSPHRASE_MAX, PassphraseError};

/// Bytes of salt and of IV, each, and of a block.
pub const BLOCK_LEN: usize = 16;
const ITERATIONS: u32 = 600_000;

/// A passphrase of another tool: its bytes as they are. That tool did not normalise text, so neither does this.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct OldPassphrase(Vec<u8>);

impl OldPassphrase {
    /// Takes the content of a file: exactly one final LF or CR LF is dropped.
    ///
    /// # Errors
    /// Empty or too long.
    pub fn parse_file_content(bytes: &[u8]) -> Result<OldPassphrase, PassphraseError> {
        let line = bytes.strip_suffix(b"\n").map_or(bytes, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
        match line.len() {
            0 => Err(PassphraseError::Empty),
            bytes if bytes > PASSPHRASE_MAX => Err(PassphraseError::TooLong { bytes }),
            _ => Ok(OldPassphrase(line.to_vec())),
        }
    }
}

impl fmt::Debug for OldPassphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OldPassphrase(redacted)")
    }
}

/// The key of one file.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct IcdevKey([u8; 32]);

impl IcdevKey {
    /// Derives it. Takes 0.1 s or more.
    pub fn derive(passphrase: &OldPassphrase, salt: &[u8; BLOCK_LEN]) -> IcdevKey {
        let mut key = IcdevKey([0; 32]);
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(&passphrase.0, salt, ITERATIONS, &mut key.0);
        key
    }

    /// Begins to decrypt behind a block: the IV, or any block of ciphertext.
    pub fn decryptor(&self, behind: &[u8; BLOCK_LEN]) -> IcdevDecryptor {
        IcdevDecryptor(cbc::Decryptor::<Aes256>::new((&self.0).into(), behind.into()))
    }

    /// Decrypts one block.
    pub fn decrypt_block(&self, behind: &[u8; BLOCK_LEN], mut block: [u8; BLOCK_LEN]) -> [u8; BLOCK_LEN] {
        self.decryptor(behind).decrypt(&mut block);
        block
    }
}

/// A decryption under way.
pub struct IcdevDecryptor(cbc::Decryptor<Aes256>);

impl IcdevDecryptor {
    /// Decrypts the next whole blocks in place; bytes behind the last whole block are left as they are.
    pub fn decrypt(&mut self, bytes: &mut [u8]) {
        let (blocks, _) = Array::slice_as_chunks_mut(bytes);
        self.0.decrypt_blocks(blocks);
    }
}

/// How many bytes of the last block are padding; `None` unless all of them say so (RFC 5652 section 6.3).
pub fn padding_len(last: &[u8; BLOCK_LEN]) -> Option<usize> {
    let len = usize::from(last[BLOCK_LEN - 1]);
    let is_whole = (1..=BLOCK_LEN).contains(&len) && last[BLOCK_LEN - len..].iter().all(|&byte| usize::from(byte) == len);
    is_whole.then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_looked_at_byte_by_byte() {
        let block = |tail: &[u8]| {
            let mut block = [0xaa; BLOCK_LEN];
            block[BLOCK_LEN - tail.len()..].copy_from_slice(tail);
            block
        };
        assert_eq!(padding_len(&block(&[1])), Some(1));
        assert_eq!(padding_len(&block(&[3, 3, 3])), Some(3));
        assert_eq!(padding_len(&[16; BLOCK_LEN]), Some(16));
        for wrong in [&[0][..], &[2], &[3, 2, 3], &[17], &[0xff]] {
            assert_eq!(padding_len(&block(wrong)), None, "{wrong:?}");
        }
    }

    #[test]
    fn an_old_passphrase_is_taken_as_it_is() {
        assert_eq!(OldPassphrase::parse_file_content("u\u{308}\n".as_bytes()).unwrap().0, "u\u{308}".as_bytes());
        assert_eq!(OldPassphrase::parse_file_content(b"\r\n").unwrap_err(), PassphraseError::Empty);
        assert!(!format!("{:?}", OldPassphrase::parse_file_content(b"canary").unwrap()).contains("canary"));
    }
}
