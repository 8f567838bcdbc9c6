//! The bundle format: docs/format.md in code.
//!
//! Each file of this room mirrors a section of that document. Nothing here knows paths, clocks or terminals: a writer gets something to
//! write to, a reader a [`Medium`], both get keys and randomness handed in.

mod archive;
mod codec;
mod core;
mod cursor;
mod error;
mod examine;
mod foreign;
mod frame;
mod frame_check;
mod front;
mod gap;
mod hint;
mod index;
mod label;
mod level;
pub mod limits;
mod manifest;
mod marking;
mod medium;
mod outer;
mod pipeline;
mod rekey;
mod signer_change;
mod sink;
mod slots;
mod tail;
mod trust;
mod values;
mod walk;
mod writer;

pub use archive::{ArchiveWriter, read_archive};
pub use codec::{Codec, CodecError, Compression, CompressionError};
pub use core::{CoreFacts, JournalHead, Kind, Predecessor, PublicCore, SetRef};
pub use error::{BundleError, Damage, Finding};
pub use examine::{Examination, Outcome, SealCheck};
pub use foreign::{ForeignEntry, gunzip, is_tar, read_tar};
pub use front::{Front, Unlocked, read_core, read_front, unlock};
pub use gap::{CapsuleRef, SourceGap, TableGap, TimesGap};
pub use hint::Hint;
pub use index::Entry;
pub use label::{EntryPath, Label, NameError, SetName};
pub use level::Level;
pub use manifest::{
    ArchivedFile, AssertionRecord, CaptureMethod, Check, FORMAT as MANIFEST_FORMAT, FileSet, Git, Host, Imported, LogicalHash, Manifest,
    Migrations, SchemaRef, Source, Table, Tool,
};
pub use marking::{Designation, Marking, MarkingError};
pub use medium::Medium;
pub use rekey::{KeyChange, Rekeyed, rekey};
pub use signer_change::{SignerChange, SignerChangeError};
pub use sink::{EntrySink, Nowhere};
pub use slots::{Keyring, SlotFacts, SlotTable};
pub use tail::read_seal_digest;
pub use trust::{AllowedSignersError, AllowedSignersFault, SignatureVerdict, TrustedSigners};
pub use values::{FrameSize, Id, UtcTime};
pub use writer::{BundleWriter, Sealed, Sealing};

pub use crate::crypto::Iterations;

/// The text that goes into every bundle of format 1: how to check and open it with stock tools.
pub const RECOVER_TEXT: &str = include_str!("RECOVER.txt");

#[cfg(test)]
mod tests;
