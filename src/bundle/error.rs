//! What can be wrong with a bundle, sorted by what the reader of the message has to do about it.

use std::io;

use super::level::Level;
use super::limits::{ITERATIONS_SUM_MAX, SLOT_COUNT_MAX};
use crate::crypto::Iterations;

/// Why a bundle cannot be written, read or opened.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Writing it failed.
    #[error("cannot write the bundle")]
    Write {
        /// What the system said.
        source: io::Error,
    },
    /// The medium does not even tell its length.
    #[error("cannot read the bundle")]
    Read {
        /// What the system said.
        source: io::Error,
    },
    /// The file does not begin like a bundle.
    #[error("this is not an airkeep bundle, or its first bytes are damaged")]
    NotABundle,
    /// Made by a release that this one does not know.
    #[error("{what} '{}' is not supported", found.escape_debug())]
    Unsupported {
        /// Which property.
        what: &'static str,
        /// Its value.
        found: String,
    },
    /// A number from the file is beyond its bound.
    #[error("{what}: {found} is outside the limit of {max}")]
    Limit {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u64,
        /// The bound.
        max: u64,
    },
    /// A slot's iteration count is a downgrade or a trap.
    #[error("a key slot asks for {found} PBKDF2 iterations, allowed are {} to {}", Iterations::MIN, Iterations::MAX)]
    Iterations {
        /// Its value.
        found: u64,
    },
    /// The slots of a new table would cost more than a reader accepts.
    #[error("the passphrases would cost {found} PBKDF2 iterations together, a bundle may ask for {ITERATIONS_SUM_MAX} at most")]
    IterationsSum {
        /// The sum.
        found: u64,
    },
    /// Not between 1 and 16 keys were given to seal with.
    #[error("{found} keys given, a bundle has 1 to {SLOT_COUNT_MAX} key slots")]
    KeyCount {
        /// How many.
        found: usize,
    },
    /// The only slots that are left would go.
    #[error("the last key slot cannot be removed: nobody could open the bundle again")]
    LastSlot,
    /// No slot opens.
    #[error("no key slot opens with the given keys")]
    KeyRejected,
    /// The bundle is not what was sealed.
    #[error("the bundle is damaged or was changed")]
    Damaged(#[source] Box<Damage>),
    /// Whoever reads the medium wants no more.
    #[error("the pass was cancelled")]
    Cancelled,
    /// A worker thread ended early: a bug.
    #[error("a worker thread stopped unexpectedly")]
    WorkerLost,
}

impl From<Damage> for BundleError {
    fn from(damage: Damage) -> BundleError {
        BundleError::Damaged(Box::new(damage))
    }
}

/// One way in which a bundle differs from what was sealed.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// A public JSON member does not parse.
    #[error("{member} breaks the rules of its format")]
    Json {
        /// The member.
        member: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A field has an illegal value.
    #[error("{member}: illegal {field}")]
    Field {
        /// The member.
        member: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A tag does not fit.
    #[error("{member} is not authentic")]
    NotAuthentic {
        /// The member.
        member: String,
    },
    /// No header where one must be.
    #[error("no header of {member} at offset {offset}")]
    Header {
        /// The expected member.
        member: String,
        /// Bytes from the start of the file.
        offset: u64,
    },
    /// The file ends too early.
    #[error("the file ends inside {member}")]
    Cut {
        /// The member.
        member: String,
    },
    /// Something follows the end.
    #[error("{bytes} bytes follow the end of the bundle")]
    Trailing {
        /// How many.
        bytes: u64,
    },
    /// Padding or end blocks are not zero.
    #[error("the padding behind {member} is not zero")]
    Padding {
        /// The member.
        member: String,
    },
    /// A hash differs from the recorded one.
    #[error("{member} does not match its recorded SHA-256")]
    Sum {
        /// The member.
        member: String,
    },
    /// A signature that does not verify, or is not in its one form.
    #[error("{member} is not a signature by the signer that bundle.json names")]
    Signature {
        /// The member.
        member: &'static str,
    },
    /// Slots of an earlier generation than one that was seen: keys that were taken away since open the bundle again.
    #[error("the key slots are of generation {found}, the vault has seen generation {known}")]
    OldSlots {
        /// Generation of the slots.
        found: u64,
        /// The newest one on record.
        known: u64,
    },
    /// A list or hint differs from what it must be.
    #[error("{member} is not what the bundle's other members make it")]
    Differs {
        /// The member.
        member: String,
    },
    /// The medium gives an error.
    #[error("cannot read {member} at offset {offset}")]
    Unreadable {
        /// The member.
        member: String,
        /// Bytes from the start of the file.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Frames that should be there are not.
    #[error("frames {first} to {last} are missing or cannot be found")]
    Missing {
        /// First number.
        first: u64,
        /// Last number.
        last: u64,
    },
    /// Padding or codec of an authentic member.
    #[error("{member} is authentic but does not open")]
    Unopenable {
        /// The member.
        member: String,
    },
    /// An authentic frame holds something else than the index says.
    #[error("{member} does not hold what the index says")]
    Content {
        /// The member.
        member: String,
    },
    /// An entry's content differs from the recorded digest.
    #[error("the content of {entry} does not match its recorded SHA-256")]
    Entry {
        /// The payload path.
        entry: String,
    },
    /// The index breaks a rule.
    #[error("index: illegal {field}")]
    Index {
        /// The field.
        field: &'static str,
    },
    /// The manifest breaks a rule.
    #[error("manifest: illegal {field}")]
    Manifest {
        /// The field.
        field: &'static str,
    },
}

impl Damage {
    /// A short name that stays the same between releases.
    pub fn code(&self) -> &'static str {
        match self {
            Damage::Json { .. } | Damage::Field { .. } | Damage::Index { .. } | Damage::Manifest { .. } => "malformed",
            Damage::NotAuthentic { .. } => "not-authentic",
            Damage::Header { .. } => "header",
            Damage::Cut { .. } => "cut",
            Damage::Trailing { .. } => "trailing",
            Damage::Padding { .. } => "padding",
            Damage::Sum { .. } => "sum",
            Damage::Signature { .. } => "signature",
            Damage::OldSlots { .. } => "old-slots",
            Damage::Differs { .. } => "differs",
            Damage::Unreadable { .. } => "unreadable",
            Damage::Missing { .. } => "missing",
            Damage::Unopenable { .. } => "unopenable",
            Damage::Content { .. } | Damage::Entry { .. } => "content",
        }
    }
}

/// A damage, the level at which it was found, and what it hurts.
#[derive(Debug)]
pub struct Finding {
    /// The level that found it.
    pub level: Level,
    /// What is wrong.
    pub damage: Damage,
    /// First and last frame concerned.
    pub frames: Option<(u64, u64)>,
    /// Payload paths concerned, as far as the index could be read.
    pub entries: Vec<String>,
}
