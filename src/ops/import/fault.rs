//! Why an old backup could not be adopted.

use std::path::PathBuf;

use crate::bundle::Label;
use crate::crypto::Digest;
use crate::database::DatabaseError;
use crate::files::{FileError, Process, ScratchError};

/// What is wrong with an old backup, or missing to open it.
#[derive(Debug, thiserror::Error)]
pub enum ImportFault {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// It was written while it was read.
    #[error("it changed while it was read")]
    Changed,
    /// It is no old backup but a database at work.
    #[error("it is open in {}", .holders.iter().map(|process| format!("{} ({})", process.pid, process.name)).collect::<Vec<_>>().join(", "))]
    InUse {
        /// Who has it open.
        holders: Vec<Process>,
    },
    /// It is not what the sum beside it says.
    #[error("its SHA-256 is {actual}, '{}' says {expected}", sidecar.display())]
    Sum {
        /// The file with the sum.
        sidecar: PathBuf,
        /// Its word.
        expected: Digest,
        /// What was read.
        actual: Digest,
    },
    /// The file beside it holds no sum.
    #[error("'{}' holds no SHA-256 of it", sidecar.display())]
    NoSum {
        /// The file that should hold it.
        sidecar: PathBuf,
    },
    /// Nothing in it begins as a database does.
    #[error("there is no SQLite database in it")]
    NotADatabase,
    /// It is encrypted, and no passphrase was given.
    #[error("it is encrypted, and no old passphrase was given")]
    NoOldPassphrase,
    /// No passphrase makes sense of it.
    #[error("no old passphrase opens it, or it is damaged")]
    PassphraseRejected,
    /// The padding fits, and there is no database behind it: other programs would restore it.
    #[error("with the old passphrase it has a valid padding but holds no database: the passphrase is wrong, or it is damaged")]
    NoDatabaseBehindPadding,
    /// It has not the length of anything that was encrypted.
    #[error("it is cut: {size_bytes} bytes are not salt, IV and whole blocks")]
    Cut {
        /// Its size.
        size_bytes: u64,
    },
    /// The old passphrase is right, and something else is not.
    #[error("the old passphrase fits, but {what}")]
    Damaged {
        /// What is not.
        what: &'static str,
    },
    /// A database that says it is one, and is none.
    #[error("the database in it has a damaged header")]
    Header,
    /// It cannot be unpacked.
    #[error("it cannot be unpacked: it is damaged or cut")]
    Packed {
        /// What the unpacker said.
        source: std::io::Error,
    },
    /// It grows and grows.
    #[error("it unpacks to more than {limit_bytes} bytes")]
    TooLarge {
        /// What is allowed.
        limit_bytes: u64,
    },
    /// One label for several databases.
    #[error("it holds {count} databases, and one label was given")]
    SeveralForLabel {
        /// How many.
        count: usize,
    },
    /// Two databases would have one label.
    #[error("its label would be '{label}', which another has")]
    DoubleLabel {
        /// The label.
        label: Label,
    },
    /// The name has nothing that a label may have.
    #[error("no label can be made from '{name}'")]
    NoLabel {
        /// Of the file, or of the entry in it.
        name: String,
    },
    /// Somebody cancelled it.
    #[error("unpacking it was cancelled")]
    Cancelled,
    /// Scratch failed.
    #[error("no scratch to unpack it in")]
    Scratch(#[from] ScratchError),
    /// The database in it is not accepted.
    #[error(transparent)]
    Database(DatabaseError),
}
