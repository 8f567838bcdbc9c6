//! One sealed buffer: `IV(16) ‖ C ‖ T(32)`, AES-256-CBC with PKCS#7, then HMAC over `AAD ‖ IV ‖ C`.
//!
//! Encrypt-then-MAC: nothing is decrypted before its tag was compared in constant time, so a padding oracle has
//! nothing to ask. What the AAD says (domain, bundle, number, last, length) is the business of `bundle/frame.rs`.
//! docs/format.md section 5. Sources: SP 800-38A, FIPS 198-1, RFC 5652 section 6.3 (padding).

use aes::Aes256;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use hmac::Mac;

use super::keys::hmac;
use super::{EncryptionKey, MacKey};

/// Bytes of the initialisation vector.
pub const IV_LEN: usize = 16;
/// Bytes of the authentication tag.
pub const TAG_LEN: usize = 32;
/// Bytes that sealing adds besides the padding.
pub const OVERHEAD: usize = IV_LEN + TAG_LEN;

const BLOCK: usize = 16;

/// The authentication tag of a sealed member.
pub type Tag = [u8; TAG_LEN];

/// Seals in place: `buffer` holds 16 free bytes and then the plaintext; afterwards it is a sealed member.
///
/// `aad` is called with the length of C, which the AAD contains. The IV must be random and never used before with this key.
///
/// # Panics
/// If `buffer` is shorter than 16 bytes.
pub fn seal_in_place(
    encryption: &EncryptionKey,
    mac: &MacKey,
    iv: [u8; IV_LEN],
    aad: impl FnOnce(usize) -> Vec<u8>,
    buffer: &mut Vec<u8>,
) -> Tag {
    let plain_len = buffer.len() - IV_LEN;
    let sealed_len = (plain_len / BLOCK + 1) * BLOCK;
    buffer[..IV_LEN].copy_from_slice(&iv);
    buffer.resize(IV_LEN + sealed_len, 0);
    let encryptor = cbc::Encryptor::<Aes256>::new(&encryption.0.into(), &iv.into());
    encryptor.encrypt_padded::<Pkcs7>(&mut buffer[IV_LEN..], plain_len).expect("the buffer was sized for the padding");
    let tag = tag_of(mac, &aad(sealed_len), buffer);
    buffer.extend_from_slice(&tag);
    tag
}

/// Checks the tag of a sealed member without decrypting; gives the tag, or `None` if anything does not fit.
pub fn authenticate(mac: &MacKey, aad: impl FnOnce(usize) -> Vec<u8>, member: &[u8]) -> Option<Tag> {
    let sealed_len = member.len().checked_sub(OVERHEAD)?;
    if sealed_len == 0 || !sealed_len.is_multiple_of(BLOCK) {
        return None;
    }
    let (body, tag) = member.split_at(IV_LEN + sealed_len);
    let mut expected = hmac(&mac.0);
    expected.update(&aad(sealed_len));
    expected.update(body);
    expected.verify_slice(tag).ok()?;
    tag.try_into().ok()
}

/// Decrypts a member whose tag [`authenticate`] accepted; `None` if the padding is not PKCS#7.
pub fn open_in_place<'m>(encryption: &EncryptionKey, member: &'m mut [u8]) -> Option<&'m [u8]> {
    let sealed_len = member.len().checked_sub(OVERHEAD)?;
    let (iv, rest) = member.split_at_mut(IV_LEN);
    let iv: [u8; IV_LEN] = (*iv).try_into().ok()?;
    cbc::Decryptor::<Aes256>::new(&encryption.0.into(), &iv.into()).decrypt_padded::<Pkcs7>(&mut rest[..sealed_len]).ok()
}

fn tag_of(mac: &MacKey, aad: &[u8], body: &[u8]) -> Tag {
    let mut tag = hmac(&mac.0);
    tag.update(aad);
    tag.update(body);
    tag.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (EncryptionKey, MacKey) {
        (EncryptionKey([1; 32]), MacKey([2; 32]))
    }

    fn aad(len: usize) -> Vec<u8> {
        (len as u64).to_be_bytes().to_vec()
    }

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let (encryption, mac) = keys();
        let mut buffer = vec![0; IV_LEN];
        buffer.extend_from_slice(plain);
        seal_in_place(&encryption, &mac, [7; 16], aad, &mut buffer);
        buffer
    }

    #[test]
    fn opens_what_it_sealed_at_every_length_around_a_block() {
        let (encryption, mac) = keys();
        for len in [0, 1, 15, 16, 17, 31, 32, 33, 4096] {
            let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut member = sealed(&plain);
            assert!(authenticate(&mac, aad, &member).is_some());
            assert_eq!(open_in_place(&encryption, &mut member).unwrap(), plain, "length {len}");
        }
    }

    #[test]
    fn every_flipped_bit_and_every_other_length_is_refused() {
        let (_, mac) = keys();
        let member = sealed(b"twenty bytes of text");
        for bit in 0..member.len() * 8 {
            let mut changed = member.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(authenticate(&mac, aad, &changed).is_none(), "bit {bit}");
        }
        for len in 0..member.len() {
            assert!(authenticate(&mac, aad, &member[..len]).is_none(), "length {len}");
        }
        assert!(authenticate(&mac, |len| aad(len + 16), &member).is_none());
    }
}
