//! `bundle.json`, the public core: what anybody may know of a bundle (docs/format.md section 3.1).
//!
//! Parsed strictly: each key exactly once, nothing unknown. Its bytes are bound into the keys and into `SHA256SUMS`, and are never
//! written again.

use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::label::SetName;
use super::limits::{CORE_MAX, SEQUENCE_MAX};
use super::marking::{MARKING_MAX, Marking};
use super::values::{FrameSize, Id, UtcTime, present};
use super::{BundleError, Damage};
use crate::crypto::{Digest, PublicKey};

/// The format that this code writes.
pub const FORMAT: &str = "airkeep-bundle/1";

/// The public core of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicCore {
    format: String,
    /// The bundle's id.
    pub id: Id,
    /// The series it belongs to.
    pub set: SetRef,
    /// Its place in the set, from 1.
    pub sequence: u64,
    /// Why it was made.
    pub kind: Kind,
    /// When sealing began.
    pub created_at: UtcTime,
    /// The marking of the data, as people gave it; of other writers in any form.
    #[serde(deserialize_with = "present")]
    pub marking: Option<String>,
    suite: u32,
    /// How frames are compressed.
    pub codec: Codec,
    /// How the payload is cut.
    pub frame_size: FrameSize,
    /// The bundle before it in the set.
    #[serde(deserialize_with = "present")]
    pub predecessor: Option<Predecessor>,
    /// The journal's head at sealing.
    #[serde(deserialize_with = "present")]
    pub journal_head: Option<JournalHead>,
    /// The public key that signs.
    #[serde(deserialize_with = "present")]
    pub signer: Option<PublicKey>,
    /// SHA-256 of `RECOVER.txt`.
    pub recover_sha256: Digest,
}

/// What the caller decides of a new core; the rest is fixed by the format.
#[derive(Debug, Clone)]
pub struct CoreFacts {
    /// The bundle's id, random.
    pub id: Id,
    /// The set.
    pub set: SetRef,
    /// Place in the set.
    pub sequence: u64,
    /// Why it is made.
    pub kind: Kind,
    /// Now.
    pub created_at: UtcTime,
    /// How it must be handled.
    pub marking: Option<Marking>,
    /// Compression.
    pub codec: Codec,
    /// Cut.
    pub frame_size: FrameSize,
    /// The bundle before.
    pub predecessor: Option<Predecessor>,
    /// Who signs, if anybody does.
    pub signer: Option<PublicKey>,
    /// The last record of the journal.
    pub journal_head: Option<JournalHead>,
}

impl PublicCore {
    /// Makes the core of a new bundle that carries `recover_text`.
    pub fn new(facts: CoreFacts, recover_text: &[u8]) -> PublicCore {
        PublicCore {
            format: FORMAT.to_owned(),
            id: facts.id,
            set: facts.set,
            sequence: facts.sequence,
            kind: facts.kind,
            created_at: facts.created_at,
            marking: facts.marking.map(|marking| marking.as_str().to_owned()),
            suite: 1,
            codec: facts.codec,
            frame_size: facts.frame_size,
            predecessor: facts.predecessor,
            journal_head: facts.journal_head,
            signer: facts.signer,
            recover_sha256: Digest::of(recover_text),
        }
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("the core has only text, numbers and objects");
        bytes.push(b'\n');
        bytes
    }

    /// Reads stored bytes.
    ///
    /// # Errors
    /// [`BundleError::Unsupported`] for another format or suite, [`BundleError::Damaged`] for anything that breaks the rules.
    pub fn decode(bytes: &[u8]) -> Result<PublicCore, BundleError> {
        #[derive(Deserialize)]
        struct Version {
            format: String,
            suite: u64,
        }
        let damaged = |source| Damage::Json { member: "bundle.json", source };
        if bytes.len() as u64 > CORE_MAX {
            return Err(BundleError::Limit { what: "bundle.json, bytes", found: bytes.len() as u64, max: CORE_MAX });
        }
        let version: Version = serde_json::from_slice(bytes).map_err(damaged)?;
        if version.format != FORMAT {
            return Err(BundleError::Unsupported { what: "bundle format", found: version.format });
        }
        if version.suite != 1 {
            return Err(BundleError::Unsupported { what: "cipher suite", found: version.suite.to_string() });
        }
        let core: PublicCore = serde_json::from_slice(bytes).map_err(damaged)?;
        // serde takes an array for a structure, the format does not.
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(damaged)?;
        for field in ["set", "predecessor", "journal_head"] {
            if value[field].is_array() {
                return Err(Damage::Field { member: "bundle.json", field }.into());
            }
        }
        core.check()?;
        Ok(core)
    }

    fn check(&self) -> Result<(), BundleError> {
        let illegal = |what| Err(Damage::Field { member: "bundle.json", field: what }.into());
        let is_place = |n: u64| (1..=SEQUENCE_MAX).contains(&n);
        if !is_place(self.sequence) || self.predecessor.as_ref().is_some_and(|p| !is_place(p.sequence)) {
            return illegal("sequence");
        }
        if self.predecessor.as_ref().is_some_and(|p| p.sequence >= self.sequence) {
            return illegal("predecessor");
        }
        if self.journal_head.as_ref().is_some_and(|head| !is_place(head.sequence)) {
            return illegal("journal_head");
        }
        if self.marking.as_ref().is_some_and(|m| m.is_empty() || m.len() > MARKING_MAX || m.chars().any(char::is_control)) {
            return illegal("marking");
        }
        Ok(())
    }
}

/// The set a bundle belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetRef {
    /// Random identity.
    pub id: Id,
    /// Name chosen by people.
    pub name: SetName,
}

/// A reference to a sealed bundle, such as the one before this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predecessor {
    /// Its id.
    pub id: Id,
    /// Its place.
    pub sequence: u64,
    /// Its seal digest.
    pub seal_sha256: Digest,
}

/// A position in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalHead {
    /// Number of the last record.
    pub sequence: u64,
    /// Its hash.
    pub sha256: Digest,
}

/// Why a bundle was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Somebody asked.
    Manual,
    /// A timer asked.
    Scheduled,
    /// Made before a restore.
    Safety,
    /// Made before a migration.
    PreMigration,
    /// Adopted from another program's backup.
    Imported,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn sample() -> PublicCore {
        let facts = CoreFacts {
            id: Id([0x40; 16]),
            set: SetRef { id: Id([1; 16]), name: SetName::parse("set-00000001").unwrap() },
            sequence: 7,
            kind: Kind::Manual,
            created_at: UtcTime::parse("2026-11-20T23:18:20Z").unwrap(),
            marking: None,
            codec: Codec::Gzip,
            frame_size: FrameSize::Small,
            predecessor: None,
            signer: None,
            journal_head: None,
        };
        PublicCore::new(facts, b"recover")
    }

    #[test]
    fn decodes_what_it_encodes() {
        let core = sample();
        assert_eq!(PublicCore::decode(&core.encode()).unwrap(), core);
    }

    #[test]
    fn refuses_missing_unknown_repeated_and_illegal_keys() {
        let text = String::from_utf8(sample().encode()).unwrap();
        let swaps = [
            ("\"marking\": null,", ""),
            ("\"marking\": null,", "\"marking\": null, \"marking\": null,"),
            ("\"marking\": null,", "\"marking\": null, \"extra\": 1,"),
            ("\"marking\": null,", "\"marking\": \"\\u0007\","),
            ("\"marking\": null,", "\"marking\": \"\\ud800\","),
            ("\"sequence\": 7", "\"sequence\": 0"),
            ("\"sequence\": 7", "\"sequence\": 9007199254740992"),
            ("\"sequence\": 7", "\"sequence\": 7.0"),
            ("262144", "262145"),
            ("20T23", "20 23"),
            (
                "{\n    \"id\": \"01010101010101010101010101010101\",\n    \"name\": \"set-00000001\"\n  }",
                "[\"01010101010101010101010101010101\", \"set-00000001\"]",
            ),
            ("\"manual\"", "\"Manual\""),
            ("40404040", "4040404A"),
            ("\"signer\": null", "\"signer\": \"ssh-rsa AAAA\""),
        ];
        for (from, to) in swaps {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(matches!(PublicCore::decode(changed.as_bytes()), Err(BundleError::Damaged(_))), "{from} → {to}");
        }
        assert!(PublicCore::decode(format!("{text}x").as_bytes()).is_err());
        assert!(PublicCore::decode("[".repeat(16_000).as_bytes()).is_err());
    }

    #[test]
    fn another_format_or_suite_is_unsupported_not_damaged() {
        let text = String::from_utf8(sample().encode()).unwrap();
        for (from, to) in [("airkeep-bundle/1", "airkeep-bundle/2"), ("\"suite\": 1", "\"suite\": 2")] {
            assert!(matches!(PublicCore::decode(text.replace(from, to).as_bytes()), Err(BundleError::Unsupported { .. })));
        }
    }
}
