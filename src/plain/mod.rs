//! Plain files as a source: which they are, how they are read, and env files without their secrets.
//!
//! Knows nothing of bundles. Files are found by patterns from a folder on; nothing is followed out of it, and what is no regular file is told
//! and not taken.

mod find;
mod patterns;
mod read;
mod redact;
mod walk;

pub use find::{Found, FoundFile, Selection};
pub use patterns::{Patterns, label_fits};
pub use read::{PlainFile, PlainFileError, content_of, is_database};
pub use redact::{REDACTED, Redacted, Redaction};
