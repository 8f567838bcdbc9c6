//! SHA-256 and its lower-case hexadecimal form, the only one the format knows.

use std::fmt;

use sha2::Digest as _;

/// A SHA-256 value (FIPS 180-4): 32 bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes one buffer.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut hash = Sha256::new();
        hash.update(bytes);
        hash.finish()
    }

    /// Reads 64 lower-case hex digits.
    ///
    /// # Errors
    /// Any other text.
    pub fn parse(text: &str) -> Result<Digest, HexError> {
        let mut bytes = [0; 32];
        decode_hex(text, &mut bytes)?;
        Ok(Digest(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A running SHA-256.
#[derive(Clone, Default)]
pub struct Sha256(sha2::Sha256);

impl Sha256 {
    /// Starts with no input.
    pub fn new() -> Sha256 {
        Sha256::default()
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Gives the digest of all input.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// Text that is not the lower-case hex form of the expected number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected_digits} lower-case hex digits")]
pub struct HexError {
    /// Digits that the value has.
    pub expected_digits: usize,
}

/// Writes bytes as lower-case hex digits.
pub fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Reads exactly `out.len()` bytes from lower-case hex digits. Upper case is refused: each value has one spelling.
///
/// # Errors
/// Another length, another character.
pub fn decode_hex(text: &str, out: &mut [u8]) -> Result<(), HexError> {
    let error = HexError { expected_digits: out.len() * 2 };
    let digits = text.as_bytes();
    if digits.len() != out.len() * 2 {
        return Err(error);
    }
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0]).ok_or(error)? << 4 | nibble(pair[1]).ok_or(error)?;
    }
    Ok(())
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_has_one_spelling() {
        let mut out = [0; 2];
        assert!(decode_hex("0aff", &mut out).is_ok());
        assert_eq!(out, [0x0a, 0xff]);
        for wrong in ["0AFF", "0af", "0afff", "0ag0", "é00"] {
            assert!(decode_hex(wrong, &mut out).is_err(), "{wrong}");
        }
    }
}
