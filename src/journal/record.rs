//! One record of the journal and its one line of JSON (docs/journal.md).
//!
//! `{"record":{…},"signature":…}`: the signature covers the bytes of the record as they stand, the chain covers the whole line; nothing is ever
//! serialised anew to be checked.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::bundle::{Id, UtcTime};
use crate::crypto::{Digest, Namespace, PublicKey, SignedMessage, SigningKey};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A vault was made, or got a signing key.
    Init,
    /// A bundle was sealed, or was to be.
    Backup,
    /// A bundle was verified.
    Verify,
    /// Databases were taken out of a bundle.
    Restore,
    /// A restore took rows away.
    Gap,
    /// Work on databases was guarded.
    Guard,
    /// The key slots of a bundle were changed.
    Keys,
    /// The vault got another signing key.
    Signer,
    /// A bundle was removed by a rule.
    Prune,
    /// A bundle was put under a hold, or released.
    Hold,
    /// Rows that a restore took away were handed out.
    ExportRows,
    /// A hook failed.
    Hook,
    /// The append-only rows of a table are no longer what they were.
    Continuity,
    /// Something about this journal itself: it was cut, torn, or made anew.
    Journal,
}

impl Event {
    /// All of them.
    pub const ALL: [Event; 14] = [
        Event::Init,
        Event::Backup,
        Event::Verify,
        Event::Restore,
        Event::Gap,
        Event::Guard,
        Event::Keys,
        Event::Signer,
        Event::Prune,
        Event::Hold,
        Event::ExportRows,
        Event::Hook,
        Event::Continuity,
        Event::Journal,
    ];

    /// The word in the record.
    pub fn name(self) -> &'static str {
        match self {
            Event::Init => "init",
            Event::Backup => "backup",
            Event::Verify => "verify",
            Event::Restore => "restore",
            Event::Gap => "gap",
            Event::Guard => "guard",
            Event::Keys => "keys",
            Event::Signer => "signer",
            Event::Prune => "prune",
            Event::Hold => "hold",
            Event::ExportRows => "export-rows",
            Event::Hook => "hook",
            Event::Continuity => "continuity",
            Event::Journal => "journal",
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is about to be done; a later record says how it ended.
    Intent,
    /// Done.
    Success,
    /// Not done, or found wanting.
    Failure,
    /// A run was killed before it could say; what is known stands in the details.
    Unknown,
}

impl Outcome {
    /// The word in the record.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Intent => "intent",
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unknown => "unknown",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// Account name.
    pub user: String,
    /// Account number.
    pub uid: u32,
    /// Who became this account by sudo, as sudo says.
    pub sudo_user: Option<String>,
    /// Who it was in their own words: an assertion, not a proof.
    pub operator: Option<String>,
}

/// The bundle that it was done to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// Its id.
    pub bundle: Id,
    /// Its place in the set.
    pub sequence: u64,
    /// Its file name.
    pub file: String,
}

/// What a caller has to say; place, time and chain are added by the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What happened.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// Now, by this machine's clock.
    pub time: UtcTime,
    /// Who did it.
    pub actor: Actor,
    /// On which machine.
    pub host: String,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// To which bundle.
    pub subject: Option<Subject>,
    /// What belongs to this event.
    pub details: Map<String, Value>,
}

/// A record (NIST SP 800-53 AU-3: what, when, where, source, outcome, identity).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its place, from 1: the order of events is this and not the time.
    pub sequence: u64,
    /// Sixteen random bytes, so that equal events have different records.
    pub nonce: Id,
    /// When, by the clock of the machine.
    pub time: UtcTime,
    /// Whether that clock was behind the record before.
    pub clock_regressed: bool,
    /// What happened.
    pub event: Event,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it.
    pub actor: Actor,
    /// On which machine.
    pub host: String,
    /// Why.
    pub reason: Option<String>,
    /// To which bundle.
    pub subject: Option<Subject>,
    /// What belongs to this event.
    pub details: Map<String, Value>,
    /// Whose signature follows, if the vault has a signer.
    pub signer: Option<PublicKey>,
    /// SHA-256 of the line before, without its line end; of the first record all zeros.
    pub previous: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'l> {
    #[serde(borrow)]
    record: &'l RawValue,
    signature: Option<String>,
}

/// A line that was read.
pub struct Parsed {
    /// The record.
    pub record: Record,
    /// Whether the signer that it names signed it; false also if it names none.
    pub is_signed: bool,
}

impl Record {
    /// The line to store, without its end.
    pub fn to_line(&self, signer: Option<&SigningKey>) -> String {
        debug_assert_eq!(self.signer, signer.map(SigningKey::public));
        let body = serde_json::to_string(self).expect("a record has text, numbers and objects");
        let signature = signer.map(|key| key.sign(Namespace::Journal, SignedMessage::of(body.as_bytes())));
        let signature = serde_json::to_string(&signature).expect("text or null");
        format!("{{\"record\":{body},\"signature\":{signature}}}")
    }

    /// Reads a stored line; `None` unless it is a record, and signed exactly if it names a signer.
    pub fn parse(line: &str) -> Option<Parsed> {
        let Line { record: body, signature } = serde_json::from_str(line).ok()?;
        let record: Record = serde_json::from_str(body.get()).ok()?;
        let is_signed = match (&record.signer, &signature) {
            (None, None) => false,
            (Some(signer), Some(text)) => signer.verify(Namespace::Journal, SignedMessage::of(body.get().as_bytes()), text.as_bytes()),
            _ => return None,
        };
        Some(Parsed { record, is_signed })
    }
}

/// The link to a line.
pub fn digest_of(line: &str) -> Digest {
    Digest::of(line.as_bytes())
}

/// Reads a record for showing, without verifying its signature, which costs more than all the rest.
pub(super) fn parse_unverified(line: &str) -> Option<Record> {
    let Line { record, .. } = serde_json::from_str(line).ok()?;
    serde_json::from_str(record.get()).ok()
}
