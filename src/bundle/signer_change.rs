//! The step from one signing key to the next: a statement that the old key signs (docs/format.md section 3.7).
//!
//! Whoever wrote down a fingerprint can follow it to the key that signs today. It does not help against a stolen key, whose thief can sign a
//! step, too: then a new fingerprint must be written down.

use super::values::{Id, UtcTime};
use crate::crypto::{Namespace, PublicKey, SignedMessage, SigningKey};

/// A verified statement of the old key for the new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerChange {
    /// The set whose bundles they sign.
    pub set: Id,
    /// The key that signed until then, and signed this.
    pub from: PublicKey,
    /// The key that signs from then on.
    pub to: PublicKey,
    /// When.
    pub at: UtcTime,
    /// Statement and signature.
    text: String,
}

/// A list of changes is damaged, or a signature in it does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("change {number} of signers is damaged or not signed by the key that it replaces")]
pub struct SignerChangeError {
    /// Counted from 1.
    pub number: usize,
}

impl SignerChange {
    /// Makes and signs the statement.
    pub fn sign(set: Id, from: &SigningKey, to: PublicKey, at: UtcTime) -> SignerChange {
        let statement = statement(&set, &from.public(), &to, &at);
        let signature = from.sign(Namespace::Signer, SignedMessage::of(statement.as_bytes()));
        SignerChange { set, from: from.public(), to, at, text: statement + &signature }
    }

    /// Statement and signature, to be put behind those of earlier changes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reads a list of changes and verifies each.
    ///
    /// # Errors
    /// [`SignerChangeError`] for the first one that is not as it was signed.
    pub fn parse_all(text: &str) -> Result<Vec<SignerChange>, SignerChangeError> {
        let parts = text.split_inclusive(END);
        (1..).zip(parts).map(|(number, part)| SignerChange::parse(part).ok_or(SignerChangeError { number })).collect()
    }

    fn parse(part: &str) -> Option<SignerChange> {
        let at_signature = part.find(BEGIN)?;
        let (written, armored) = part.split_at(at_signature);
        let mut lines = written.strip_prefix(FIRST_LINE)?.lines();
        let mut field = |name: &str| lines.next()?.strip_prefix(name);
        let set = Id::try_from(field("set ")?.to_owned()).ok()?;
        let (from, to) = (PublicKey::parse(field("from ")?)?, PublicKey::parse(field("to ")?)?);
        let at = UtcTime::parse(field("at ")?)?;
        let message = statement(&set, &from, &to, &at);
        let is_signed = message == written && from.verify(Namespace::Signer, SignedMessage::of(message.as_bytes()), armored.as_bytes());
        is_signed.then(|| SignerChange { set, from, to, at, text: part.to_owned() })
    }
}

fn statement(set: &Id, from: &PublicKey, to: &PublicKey, at: &UtcTime) -> String {
    format!("{FIRST_LINE}set {set}\nfrom {from}\nto {to}\nat {at}\n")
}

const FIRST_LINE: &str = "airkeep-signer-change 1\n";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "-----END SSH SIGNATURE-----\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Entropy;

    struct All(u8);
    impl Entropy for All {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn every_flipped_bit_of_a_list_is_found() {
        let keys = [1, 2, 3].map(|byte| SigningKey::generate(&mut All(byte)));
        let change = |at: usize| {
            let time = UtcTime::parse("2026-11-21T02:00:00Z").unwrap();
            SignerChange::sign(Id([9; 16]), &keys[at], keys[at + 1].public(), time)
        };
        let changes = [change(0), change(1)];
        let text: String = changes.iter().map(SignerChange::text).collect();
        assert_eq!(SignerChange::parse_all(&text).unwrap(), changes);
        for bit in (0..text.len() * 8).step_by(3) {
            let mut changed = text.clone().into_bytes();
            changed[bit / 8] ^= 1 << (bit % 8);
            let Ok(changed) = String::from_utf8(changed) else { continue };
            assert!(SignerChange::parse_all(&changed).is_err(), "bit {bit}");
        }
        assert!(SignerChange::parse_all(&text[..text.len() - 1]).is_err());
    }
}
