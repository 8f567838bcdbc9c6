//! The primitives of suite 1 behind one seam: no I/O, no paths, no policy.
//!
//! Everything else in the program sees keys, digests and sealed buffers as the types of this room, so that a
//! validated module can take the place of the RustCrypto crates without touching a caller. Keys that must not be
//! mixed up are different types; secrets cannot be cloned, printed or serialised, and wipe themselves.

mod digest;
mod icdev;
mod keys;
mod member;
mod scratch_cipher;
mod secret;
mod signature;

pub use digest::{Digest, HexError, Sha256, decode_hex, encode_hex};
pub use icdev::{BLOCK_LEN as ICDEV_BLOCK_LEN, IcdevDecryptor, IcdevKey, OldPassphrase, padding_len};
pub use keys::{BundleKeys, Context, EncryptionKey, HeaderKey, Iterations, Kek, MacKey, RootKey, WRAPPED_LEN};
pub use member::{IV_LEN, OVERHEAD, TAG_LEN, Tag, authenticate, open_in_place, seal_in_place};
pub use scratch_cipher::ScratchCipher;
pub use secret::{KeyFileKey, PASSPHRASE_MAX, PASSPHRASE_MIN, Passphrase, PassphraseError};
pub use signature::{Fingerprint, FingerprintError, Namespace, PublicKey, SignedMessage, SigningKey, SigningKeyError};

/// Gives random bytes: the operating system's in the program, fixed ones in tests with vectors.
pub trait Entropy {
    /// Fills `bytes` completely.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<T: Entropy + ?Sized> Entropy for &mut T {
    fn fill(&mut self, bytes: &mut [u8]) {
        (**self).fill(bytes);
    }
}

/// Draws an array of random bytes.
pub fn random<const N: usize>(entropy: &mut (impl Entropy + ?Sized)) -> [u8; N] {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes);
    bytes
}
