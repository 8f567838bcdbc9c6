//! What people and files bring in: passphrases and key files.
//!
//! The rules of docs/format.md section 5 are enforced at construction, so a `Passphrase` that exists is a legal one.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Fewest bytes (after normalisation) of a passphrase that seals. Source: SP 800-132 guidance as FIPS modules enforce it.
pub const PASSPHRASE_MIN: usize = 14;
/// Most bytes of a passphrase.
pub const PASSPHRASE_MAX: usize = 1024;

/// A passphrase: UTF-8 in NFC, 1 to 1024 bytes, no zero byte.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Passphrase(String);

impl Passphrase {
    /// Normalises and checks text that somebody typed or an environment variable held.
    ///
    /// # Errors
    /// Empty, too long, with a zero byte, not UTF-8.
    pub fn parse(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        let text = std::str::from_utf8(bytes).map_err(|_| PassphraseError::NotUtf8)?;
        // The iterator may grow the string and leave copies behind; room for the worst growth of NFC avoids that.
        let mut normal = String::with_capacity(text.len() * 3);
        normal.extend(text.nfc());
        let passphrase = Passphrase(normal);
        match passphrase.0.len() {
            0 => Err(PassphraseError::Empty),
            n if n > PASSPHRASE_MAX => Err(PassphraseError::TooLong { bytes: n }),
            _ if passphrase.0.contains('\0') => Err(PassphraseError::ZeroByte),
            _ => Ok(passphrase),
        }
    }

    /// Like [`Passphrase::parse`], for the content of a file: exactly one final LF or CR LF is dropped.
    ///
    /// # Errors
    /// As [`Passphrase::parse`].
    pub fn parse_file_content(bytes: &[u8]) -> Result<Passphrase, PassphraseError> {
        let line = bytes.strip_suffix(b"\n").map_or(bytes, |rest| rest.strip_suffix(b"\r").unwrap_or(rest));
        Passphrase::parse(line)
    }

    /// Refuses a passphrase that is too short to seal with. Opening has no such limit: what was sealed must open.
    ///
    /// # Errors
    /// Fewer than [`PASSPHRASE_MIN`] bytes.
    pub fn check_for_sealing(&self) -> Result<(), PassphraseError> {
        match self.0.len() {
            n if n < PASSPHRASE_MIN => Err(PassphraseError::TooShort { bytes: n }),
            _ => Ok(()),
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Compares in constant time, as for what was typed twice.
    pub fn is_same(&self, other: &Passphrase) -> bool {
        use subtle::ConstantTimeEq;
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(redacted)")
    }
}

/// Why text cannot serve as a passphrase. None of the variants carries any of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassphraseError {
    /// No byte at all.
    #[error("the passphrase is empty")]
    Empty,
    /// Invalid UTF-8.
    #[error("the passphrase is not UTF-8 text")]
    NotUtf8,
    /// A zero byte, which stock tools cannot pass on.
    #[error("the passphrase contains a zero byte")]
    ZeroByte,
    /// Too short to seal with.
    #[error("the passphrase has {bytes} bytes, sealing needs at least {PASSPHRASE_MIN}")]
    TooShort {
        /// Length after normalisation.
        bytes: usize,
    },
    /// Over the limit.
    #[error("the passphrase has {bytes} bytes, at most {PASSPHRASE_MAX} are allowed")]
    TooLong {
        /// Length after normalisation.
        bytes: usize,
    },
}

/// The 32 bytes of a key file, which wrap a root key directly.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct KeyFileKey(pub(super) [u8; 32]);

impl KeyFileKey {
    /// Takes the file's content, which must be 32 bytes exactly.
    pub fn parse(content: &[u8]) -> Option<KeyFileKey> {
        let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(content.try_into().ok()?);
        Some(KeyFileKey(*bytes))
    }

    /// Compares in constant time.
    pub fn is_same(&self, other: &KeyFileKey) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for KeyFileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFileKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_exactly_one_line_end_of_a_file() {
        for (content, left) in
            [("secret\n", "secret"), ("secret\r\n", "secret"), ("secret\n\n", "secret\n"), ("s\r", "s\r"), (" s ", " s ")]
        {
            assert_eq!(Passphrase::parse_file_content(content.as_bytes()).unwrap().as_bytes(), left.as_bytes());
        }
    }

    #[test]
    fn refuses_what_stock_tools_could_not_pass_on() {
        assert_eq!(Passphrase::parse(b"").unwrap_err(), PassphraseError::Empty);
        assert_eq!(Passphrase::parse_file_content(b"\n").unwrap_err(), PassphraseError::Empty);
        assert_eq!(Passphrase::parse(b"a\0b").unwrap_err(), PassphraseError::ZeroByte);
        assert_eq!(Passphrase::parse(&[0xff]).unwrap_err(), PassphraseError::NotUtf8);
        assert!(matches!(Passphrase::parse(&[b'a'; 1025]), Err(PassphraseError::TooLong { bytes: 1025 })));
        assert!(Passphrase::parse(&[b'a'; 1024]).is_ok());
    }

    #[test]
    fn sealing_wants_fourteen_bytes() {
        assert!(Passphrase::parse(&[b'a'; 13]).unwrap().check_for_sealing().is_err());
        assert!(Passphrase::parse(&[b'a'; 14]).unwrap().check_for_sealing().is_ok());
    }

    #[test]
    fn debug_output_shows_nothing() {
        assert!(!format!("{:?}", Passphrase::parse(b"canary").unwrap()).contains("canary"));
    }
}
