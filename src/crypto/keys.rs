//! Key slots and key derivation: passphrase → KEK → root key → the three keys of a bundle.
//!
//! `KEK = PBKDF2-HMAC-SHA-256(passphrase, salt, iterations)` or a key file's bytes (SP 800-132), `wrapped = AES-256-KW(KEK, root)`
//! (SP 800-38F), `K_label = HMAC(root, 00000001 ‖ label ‖ 00 ‖ ctx ‖ 00000100)` (SP 800-108r1, counter mode).
//! docs/format.md section 5.

use std::fmt;

use aes::Aes256;
use aes_kw::{AesKw, KeyInit};
use hmac::{Hmac, Mac};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::{Digest, Entropy, KeyFileKey, Passphrase, random};

/// Bytes of a wrapped root key: the key and 8 bytes of integrity check.
pub const WRAPPED_LEN: usize = 40;

/// A PBKDF2 iteration count that somebody checked against the limits of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iterations(u32);

impl Iterations {
    /// Fewest: below this a bundle would be a downgrade.
    pub const MIN: u32 = 600_000;
    /// Most: above this a hostile bundle would hold up its reader.
    pub const MAX: u32 = 10_000_000;
    /// What sealing uses.
    pub const DEFAULT: Iterations = Iterations(600_000);

    /// Accepts a count within the limits.
    pub fn new(count: u32) -> Option<Iterations> {
        (Iterations::MIN..=Iterations::MAX).contains(&count).then_some(Iterations(count))
    }

    /// Reads a count as people write it.
    ///
    /// # Errors
    /// The limits, in words.
    pub fn parse(text: &str) -> Result<Iterations, String> {
        let legal = text.parse().ok().and_then(Iterations::new);
        legal.ok_or_else(|| format!("expected {} to {} iterations", Iterations::MIN, Iterations::MAX))
    }

    /// The count.
    pub fn count(self) -> u32 {
        self.0
    }
}

impl Default for Iterations {
    fn default() -> Iterations {
        Iterations::DEFAULT
    }
}

/// A key-encryption key: it wraps root keys and does nothing else.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Kek([u8; 32]);

impl Kek {
    /// Derives from a passphrase. Takes 0.1 s or more on purpose.
    pub fn from_passphrase(passphrase: &Passphrase, salt: &[u8], iterations: Iterations) -> Kek {
        Kek::stretch(passphrase, salt, iterations.0)
    }

    /// Takes the bytes of a key file, which are uniformly random by contract.
    pub fn from_key_file(key: &KeyFileKey) -> Kek {
        Kek(key.0)
    }

    fn stretch(passphrase: &Passphrase, salt: &[u8], iterations: u32) -> Kek {
        let mut kek = Kek([0; 32]);
        pbkdf2::pbkdf2_hmac::<sha2::Sha256>(passphrase.as_bytes(), salt, iterations, &mut kek.0);
        kek
    }

    /// Wraps a root key.
    pub fn wrap(&self, root: &RootKey) -> [u8; WRAPPED_LEN] {
        let mut wrapped = [0; WRAPPED_LEN];
        let cipher = AesKw::<Aes256>::new(&self.0.into());
        cipher.wrap_key(&root.0, &mut wrapped).expect("32 bytes are whole semiblocks and the buffer has 8 more");
        wrapped
    }

    /// Unwraps a root key; `None` says that this KEK did not wrap it, or that the bytes were changed.
    pub fn unwrap(&self, wrapped: &[u8; WRAPPED_LEN]) -> Option<RootKey> {
        let mut root = RootKey([0; 32]);
        AesKw::<Aes256>::new(&self.0.into()).unwrap_key(wrapped, &mut root.0).ok()?;
        Some(root)
    }
}

/// What the derived keys are bound to: `id ‖ SHA-256(bundle.json)`, 48 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context([u8; 48]);

impl Context {
    /// Binds to one bundle's id and to its public core as stored.
    pub fn new(id: &[u8; 16], core: &Digest) -> Context {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(id);
        bytes[16..].copy_from_slice(&core.0);
        Context(bytes)
    }
}

/// A bundle's root key: fresh for every attempt to seal, known only to those who can open a slot.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct RootKey([u8; 32]);

impl RootKey {
    /// Draws a new one.
    pub fn generate(entropy: &mut dyn Entropy) -> RootKey {
        RootKey(random(entropy))
    }

    /// Derives the keys of the bundle that `context` describes.
    pub fn derive(&self, context: &Context) -> BundleKeys {
        BundleKeys {
            encryption: EncryptionKey(self.derive_one(b"airkeep/1/enc", context)),
            mac: MacKey(self.derive_one(b"airkeep/1/mac", context)),
            header: HeaderKey(self.derive_one(b"airkeep/1/header", context)),
        }
    }

    /// SP 800-108r1 section 4.1 with a 32-bit counter before and a 32-bit length behind the fixed input: one block.
    fn derive_one(&self, label: &[u8], context: &Context) -> [u8; 32] {
        let mut mac = hmac(&self.0);
        mac.update(&1u32.to_be_bytes());
        mac.update(label);
        mac.update(&[0]);
        mac.update(&context.0);
        mac.update(&256u32.to_be_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for RootKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootKey(redacted)")
    }
}

/// The three keys of one bundle.
pub struct BundleKeys {
    /// Encrypts frames and index.
    pub encryption: EncryptionKey,
    /// Authenticates frames and index.
    pub mac: MacKey,
    /// Authenticates the key slots.
    pub header: HeaderKey,
}

impl fmt::Debug for BundleKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BundleKeys(redacted)")
    }
}

/// `K_enc`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct EncryptionKey(pub(super) [u8; 32]);

/// `K_mac`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MacKey(pub(super) [u8; 32]);

/// `K_header`.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct HeaderKey([u8; 32]);

impl HeaderKey {
    /// The MAC of `slots.json` as stored, under its own domain.
    pub fn slots_mac(&self, slots: &[u8]) -> [u8; 32] {
        self.slots(slots).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    pub fn is_slots_mac(&self, slots: &[u8], mac: &[u8; 32]) -> bool {
        self.slots(slots).verify_slice(mac).is_ok()
    }

    fn slots(&self, slots: &[u8]) -> Hmac<sha2::Sha256> {
        let mut mac = hmac(&self.0);
        mac.update(b"airkeep/1/slots\0");
        mac.update(slots);
        mac
    }
}

pub(super) fn hmac(key: &[u8; 32]) -> Hmac<sha2::Sha256> {
    use hmac::KeyInit as _;
    Hmac::<sha2::Sha256>::new(&block(key))
}

/// HMAC's own padding of a short key to its block (FIPS 198-1 section 4, step 3); the type then needs no length check.
fn block(key: &[u8; 32]) -> hmac::digest::Key<Hmac<sha2::Sha256>> {
    let mut block = hmac::digest::Key::<Hmac<sha2::Sha256>>::default();
    block[..32].copy_from_slice(key);
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{decode_hex, encode_hex};

    fn salt() -> Vec<u8> {
        (0x20..=0x2f).collect()
    }

    fn root() -> RootKey {
        RootKey(std::array::from_fn(|i| i as u8))
    }

    fn stretched(passphrase: &str, iterations: u32) -> String {
        encode_hex(&Kek::stretch(&Passphrase::parse(passphrase.as_bytes()).unwrap(), &salt(), iterations).0)
    }

    #[test]
    fn pbkdf2_matches_the_vectors() {
        assert_eq!(stretched("correct horse battery staple", 1), "252d449431d810c1c9fc4b84493d3d77471249a0fcb1f281f1405a842c903aa6");
        let koeln = "a664e89803d0a3ad518dccf60991c705710b17fa8322c0cafff784b2a3287991";
        assert_eq!(stretched("Gr\u{fc}\u{df}e aus K\u{f6}ln!", 1), koeln);
        assert_eq!(stretched("Gru\u{308}\u{df}e aus Ko\u{308}ln!", 1), koeln);
        assert_eq!(stretched(&"a".repeat(65), 1), "9748221e6674aca8ff9efd6941c0c18b80b757f5e278dd9eeed58077b8eade46");
    }

    #[test]
    fn slot_matches_the_vector_and_opens_only_unchanged() {
        let passphrase = Passphrase::parse(b"correct horse battery staple").unwrap();
        let kek = Kek::from_passphrase(&passphrase, &salt(), Iterations::DEFAULT);
        assert_eq!(encode_hex(&kek.0), "7e5a418e0ee349197a01a04c3021259037906f00bfe3694a3ae1c3b850846fe1");
        let wrapped = kek.wrap(&root());
        assert_eq!(encode_hex(&wrapped), "e0ca52091c289561de30447e7352a74a59f252a355ab515592ff92699e3da537cdfc5e1ded2e9a58");
        assert_eq!(kek.unwrap(&wrapped).unwrap().0, root().0);
        for bit in 0..WRAPPED_LEN * 8 {
            let mut changed = wrapped;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(kek.unwrap(&changed).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn derived_keys_match_the_vectors() {
        let mut id = [0; 16];
        decode_hex("404142434445464748494a4b4c4d4e4f", &mut id).unwrap();
        let keys = root().derive(&Context::new(&id, &Digest::of(b"{}\n")));
        assert_eq!(encode_hex(&keys.encryption.0), "b878f3879802cfe0cc7a3cf87fd037a477622ffd0a5c5967be399ddb7889677e");
        assert_eq!(encode_hex(&keys.mac.0), "4e7b5416a3b2f9acc2afa5de8ce955bb56b3e389c389ad2d5bf6ceb6b70b4812");
        assert_eq!(encode_hex(&keys.header.0), "b98d08163bf8d546403c4c6ef81e641c57259313001679bd265401de05c28623");
        let mac = keys.header.slots_mac(b"{}\n");
        assert_eq!(encode_hex(&mac), "6a1285e4284d47685f8d9f4328ee90ac5410bdc89a733580bc28625c976566ab");
        assert!(keys.header.is_slots_mac(b"{}\n", &mac) && !keys.header.is_slots_mac(b"{} ", &mac));
    }

    #[test]
    fn iterations_have_a_floor_and_a_cap() {
        for (count, legal) in
            [(0, false), (1, false), (599_999, false), (600_000, true), (10_000_000, true), (10_000_001, false), (u32::MAX, false)]
        {
            assert_eq!(Iterations::new(count).is_some(), legal, "{count}");
        }
    }
}
