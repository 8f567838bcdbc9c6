//! Ed25519 signatures in the form that `ssh-keygen -Y verify` reads (docs/format.md section 3.4).
//!
//! `message → SSHSIG(key, namespace, SHA-512(message)) → armored text`. For a key and a namespace everything in that text but the 64 bytes of the
//! signature is fixed, so the text is built anew around those bytes and compared: no second spelling of a signature is taken, where
//! ssh-keygen takes several.
//!
//! # Source
//! FIPS 186-5 and RFC 8032 (Ed25519), RFC 8709 (its keys in SSH), OpenSSH's PROTOCOL.sshsig and PROTOCOL.key.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Base64Unpadded, Encoding};
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest as _, Sha512};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use super::{Digest, Entropy};

/// What a signature is for; one made for something else does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Namespace {
    /// `SHA256SUMS` of a bundle.
    Bundle,
    /// `slots.sha256` of a bundle.
    Slots,
    /// A record of the journal.
    Journal,
    /// The step from one signing key to the next.
    Signer,
}

impl Namespace {
    /// All of them.
    pub const ALL: [Namespace; 4] = [Namespace::Bundle, Namespace::Slots, Namespace::Journal, Namespace::Signer];

    /// The name, as `ssh-keygen -n` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Namespace::Bundle => "bundle@airkeep",
            Namespace::Slots => "slots@airkeep",
            Namespace::Journal => "journal@airkeep",
            Namespace::Signer => "signer@airkeep",
        }
    }
}

/// A message of any length on its way to be signed or verified.
#[derive(Clone, Default)]
pub struct SignedMessage(Sha512);

impl SignedMessage {
    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// A message that is there as a whole.
    pub fn of(bytes: &[u8]) -> SignedMessage {
        SignedMessage(Sha512::new_with_prefix(bytes))
    }
}

/// A public key that signs: an Ed25519 point that is none of the weak ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Reads `ssh-ed25519 AAAA…` in its one spelling; `None` for anything else.
    pub fn parse(text: &str) -> Option<PublicKey> {
        let mut buffer = [0; KEY_BLOB_LEN];
        let blob = Base64::decode(text.strip_prefix(KEY_TYPE)?.strip_prefix(' ')?, &mut buffer).ok()?;
        let point = blob.strip_prefix(&KEY_PREFIX)?.try_into().ok()?;
        let key = VerifyingKey::from_bytes(point).ok().filter(|key| !key.is_weak())?;
        // Some points have a second encoding, and base64 another spelling of the same bytes.
        let key = PublicKey(key);
        (key.to_string() == text).then_some(key)
    }

    /// Whether `armored` is this key's signature over the message, in its one spelling.
    pub fn verify(&self, namespace: Namespace, message: SignedMessage, armored: &[u8]) -> bool {
        let Some(signature) = dearmor(armored) else { return false };
        armor(self, namespace, &signature).as_bytes() == armored
            && self.0.verify_strict(&signed_data(namespace, message), &Signature::from_bytes(&signature)).is_ok()
    }

    /// What people write down and compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(Digest::of(&self.blob()))
    }

    /// The key as SSH puts it on the wire: type and point, each with its length.
    fn blob(&self) -> Vec<u8> {
        [&KEY_PREFIX[..], self.0.as_bytes()].concat()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{KEY_TYPE} {}", Base64::encode_string(&self.blob()))
    }
}

/// The digest of a public key, written as OpenSSH does: `SHA256:` and base64 without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(Digest);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", Base64Unpadded::encode_string(&self.0.0))
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let mut bytes = [0; 32];
        let base64 = text.strip_prefix("SHA256:").ok_or(FingerprintError)?;
        Base64Unpadded::decode(base64, &mut bytes).ok().filter(|bytes| bytes.len() == 32).ok_or(FingerprintError)?;
        Ok(Fingerprint(Digest(bytes)))
    }
}

/// Text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 'SHA256:' and 43 characters of base64")]
pub struct FingerprintError;

/// A private key that signs. It wipes itself.
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// Draws a new key.
    pub fn generate(entropy: &mut (impl Entropy + ?Sized)) -> SigningKey {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(&mut *seed);
        SigningKey(ed25519_dalek::SigningKey::from_bytes(&seed))
    }

    /// Reads a private key as `ssh-keygen -t ed25519 -N ''` writes it.
    ///
    /// # Errors
    /// [`SigningKeyError`].
    pub fn parse_openssh(text: &[u8]) -> Result<SigningKey, SigningKeyError> {
        let key = PrivateKey::from_openssh(text).map_err(|_| SigningKeyError::NotAKey)?;
        if key.is_encrypted() {
            return Err(SigningKeyError::Encrypted);
        }
        let pair = key.key_data().ed25519().ok_or(SigningKeyError::NotEd25519)?;
        let bytes = Zeroizing::new(pair.to_bytes());
        ed25519_dalek::SigningKey::from_keypair_bytes(&bytes).map(SigningKey).map_err(|_| SigningKeyError::NotAKey)
    }

    /// The text of a private key file.
    pub fn to_openssh(&self, comment: &str) -> Zeroizing<String> {
        let bytes = Zeroizing::new(self.0.to_keypair_bytes());
        let pair = Ed25519Keypair::from_bytes(&bytes).expect("a key pair has 64 bytes");
        let key = PrivateKey::new(KeypairData::Ed25519(pair), comment).expect("the key is not encrypted");
        key.to_openssh(LineEnding::LF).expect("a private key has a text form")
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs and gives the armored text.
    pub fn sign(&self, namespace: Namespace, message: SignedMessage) -> String {
        armor(&self.public(), namespace, &self.0.sign(&signed_data(namespace, message)).to_bytes())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public().fingerprint())
    }
}

/// Why a file cannot sign. None of the variants carries any of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// Another kind of file, or a damaged one.
    #[error("this is not an OpenSSH private key")]
    NotAKey,
    /// Only ssh-keygen can open it.
    #[error("the private key has a passphrase of its own, which is not supported")]
    Encrypted,
    /// RSA, ECDSA, a hardware key.
    #[error("this is a private key of another kind than Ed25519")]
    NotEd25519,
}

/// What Ed25519 signs: the domain, and the message by its hash.
fn signed_data(namespace: Namespace, message: SignedMessage) -> Vec<u8> {
    let mut data = MAGIC.to_vec();
    for field in [namespace.name().as_bytes(), b"", HASH.as_bytes(), &message.0.finalize()] {
        put(&mut data, field);
    }
    data
}

/// The text around 64 bytes of signature.
fn armor(key: &PublicKey, namespace: Namespace, signature: &[u8; SIGNATURE_LEN]) -> String {
    let mut blob = MAGIC.to_vec();
    blob.extend(VERSION.to_be_bytes());
    let mut inner = Vec::new();
    put(&mut inner, KEY_TYPE.as_bytes());
    put(&mut inner, signature);
    for field in [&key.blob()[..], namespace.name().as_bytes(), b"", HASH.as_bytes(), &inner] {
        put(&mut blob, field);
    }
    let base64 = Base64::encode_string(&blob);
    let lines = base64.as_bytes().chunks(LINE_LEN).map(|line| std::str::from_utf8(line).expect("base64 is ASCII"));
    let mut text = format!("{BEGIN}\n");
    for line in lines {
        text += line;
        text.push('\n');
    }
    text + END + "\n"
}

/// The signature at the end of an armored text, whatever stands around it.
fn dearmor(armored: &[u8]) -> Option<[u8; SIGNATURE_LEN]> {
    let text = std::str::from_utf8(armored).ok()?.strip_prefix(BEGIN)?.strip_suffix('\n')?.strip_suffix(END)?;
    let blob = Base64::decode_vec(&text.replace('\n', "")).ok()?;
    blob.last_chunk().copied()
}

/// Adds a field with its length (RFC 4251 section 5, `string`).
fn put(out: &mut Vec<u8>, field: &[u8]) {
    out.extend((field.len() as u32).to_be_bytes());
    out.extend(field);
}

const KEY_TYPE: &str = "ssh-ed25519";
/// The type and the length of what follows.
const KEY_PREFIX: [u8; 19] = *b"\0\0\0\x0bssh-ed25519\0\0\0\x20";
const KEY_BLOB_LEN: usize = KEY_PREFIX.len() + 32;
const SIGNATURE_LEN: usize = 64;
const MAGIC: &[u8; 6] = b"SSHSIG";
const VERSION: u32 = 1;
const HASH: &str = "sha512";
const LINE_LEN: usize = 70;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey(ed25519_dalek::SigningKey::from_bytes(&[7; 32]))
    }

    #[test]
    fn verifies_what_it_signs_and_nothing_else() {
        let armored = key().sign(Namespace::Bundle, SignedMessage::of(b"message"));
        let public = key().public();
        assert!(public.verify(Namespace::Bundle, SignedMessage::of(b"message"), armored.as_bytes()));
        assert!(!public.verify(Namespace::Slots, SignedMessage::of(b"message"), armored.as_bytes()));
        assert!(!public.verify(Namespace::Bundle, SignedMessage::of(b"massage"), armored.as_bytes()));
        let other = SigningKey(ed25519_dalek::SigningKey::from_bytes(&[8; 32]));
        assert!(!other.public().verify(Namespace::Bundle, SignedMessage::of(b"message"), armored.as_bytes()));
    }

    /// ssh-keygen takes twelve of these (tests/signatures.rs asks it).
    #[test]
    fn no_flipped_bit_verifies() {
        let armored = key().sign(Namespace::Bundle, SignedMessage::of(b"message")).into_bytes();
        for bit in 0..armored.len() * 8 {
            let mut changed = armored.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!key().public().verify(Namespace::Bundle, SignedMessage::of(b"message"), &changed), "bit {bit}");
        }
    }

    #[test]
    fn other_spellings_do_not_verify() {
        let armored = key().sign(Namespace::Bundle, SignedMessage::of(b"message"));
        let spellings = [
            armored.replace('\n', "\r\n"),
            armored.trim_end().to_owned(),
            format!("{armored}\n"),
            format!("\n{armored}"),
            armored.replacen("\n", "\n\n", 1),
            armored.replacen('=', "", 1),
        ];
        for spelling in spellings {
            assert_ne!(spelling, armored);
            assert!(!key().public().verify(Namespace::Bundle, SignedMessage::of(b"message"), spelling.as_bytes()), "{spelling}");
        }
    }

    #[test]
    fn key_files_and_public_keys_read_back() {
        let text = key().to_openssh("set-1");
        assert_eq!(SigningKey::parse_openssh(text.as_bytes()).unwrap().public(), key().public());
        let public = key().public().to_string();
        assert_eq!(PublicKey::parse(&public), Some(key().public()));
        let fingerprint = key().public().fingerprint();
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        assert_eq!(SigningKey::parse_openssh(b"nonsense").unwrap_err(), SigningKeyError::NotAKey);
    }

    #[test]
    fn a_public_key_has_one_spelling_and_is_a_strong_point() {
        let text = key().public().to_string();
        for wrong in
            [format!(" {text}"), format!("{text} "), format!("{text} me"), text.replace(' ', "  "), text[..text.len() - 1].to_owned()]
        {
            assert_eq!(PublicKey::parse(&wrong), None, "{wrong}");
        }
        // The neutral element signs everything; 2^255 - 18 is a second encoding of it.
        for point in [[1; 1].as_slice(), &[0; 1]] {
            let mut encoded = [0; 32];
            encoded[..1].copy_from_slice(point);
            let weak = format!("{KEY_TYPE} {}", Base64::encode_string(&[&KEY_PREFIX[..], &encoded].concat()));
            assert_eq!(PublicKey::parse(&weak), None);
        }
        assert!("SHA256:AAAA".parse::<Fingerprint>().is_err());
    }
}
