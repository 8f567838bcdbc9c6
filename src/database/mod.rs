//! SQLite: capturing a consistent image of a live database, checking it, comparing it with its record, opening images in scratch.
//!
//! The only room that knows `rusqlite`. A live database is read by SQLite's own interface and nothing else, read-only, within
//! one read transaction, so that pages, counts, schema and check tell of the same moment. A database that cannot be read in
//! this way (a hot journal, a WAL on read-only media) is copied into scratch and recovered there.
//!
//! What happens beside a live database: reading a WAL database makes SQLite create `-wal` and `-shm` where they are missing;
//! both are taken away again if nobody else came meanwhile. Where somebody else was there and left while we read, their WAL stays,
//! as after a crash, and the next program that opens the database takes it in. The database file itself is never written.

mod assertion;
mod bounds;
mod capture;
mod check;
mod compare;
mod contents;
mod continuity;
mod dump;
mod facts;
mod gap;
mod graft;
mod group;
mod hardened;
mod header;
mod image;
mod install;
mod live;
mod logical;
mod marker;
mod migrations;
mod objects;
mod open;
mod options;
mod pages;
mod recover;
pub mod sample;
mod source;
mod sql;
mod vfs;

pub use assertion::{Asserted, Assertion};
pub use bounds::Cancelled;
pub use capture::{Capture, Moment};
pub use check::{CheckKind, CheckReport, Verdict, check, check_until};
pub use compare::{Difference, Examined, Expected, ExpectedSchema, ExpectedTable, examine};
pub use contents::{Compared, ContentChanges, ContentError, RowChanges, Sides, TableChange, content_changes};
pub use continuity::{Continuity, Watched};
pub use dump::{DumpError, Dumped, RowTaker, dump_rows, dump_sql, only_table};
pub use facts::{PageReader, Route, Schema, SourceFacts, TableFacts, count_tables, list_tables, read_schema};
pub use gap::{
    AppendOnlyTable, Certainty, Declaration, Doubt, GapError, GapTable, Presence, Side, TimeFormat, TimeRange, choose_append_only, gap,
    infer_append_only,
};
pub use graft::{GraftError, Grafted, Sequence, can_graft, graft, sequences_of};
pub use group::{Leftovers, WriteLocks};
pub use hardened::harden;
pub use image::{Access, Image};
pub use install::{
    Before, Comparison, InstallError, InstallOptions, InstallReport, Installation, Installed, Links, Others, Standing, Way, foresee,
    is_new_cookie, keep_journal_mode, standing_of,
};
pub use logical::{TableHash, table_hash, table_hash_of_first};
pub use marker::{Marker, MarkerError, MarkerFacts, MarkerSyntaxError, mark, try_marker};
pub use migrations::{Ledger, ledger};
pub use objects::{ObjectChange, SchemaObject};
pub use options::{CaptureOptions, PagePreference};

use std::path::PathBuf;
use std::time::Duration;

pub use rusqlite::Connection;
pub use source::{Glance, SIDECARS, holders_of};

use crate::files::{Process, ScratchError};

/// The release of SQLite that is compiled in.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// What can go wrong with a database.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// There is nothing under the path.
    #[error("database '{}' does not exist", path.display())]
    Missing {
        /// As it was given.
        path: PathBuf,
    },
    /// What is there is no regular file.
    #[error("'{}' is {found}, not a database file", path.display())]
    NotAFile {
        /// Resolved.
        path: PathBuf,
        /// "a folder", "a named pipe", …
        found: &'static str,
    },
    /// The system does not let us read it.
    #[error("cannot read database '{}'", path.display())]
    Unreadable {
        /// Resolved as far as possible.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The content does not begin as an SQLite database does.
    #[error("'{}' is not an SQLite database, or it is encrypted", path.display())]
    NotADatabase {
        /// Resolved.
        path: PathBuf,
    },
    /// Somebody else kept the database locked, or kept changing it, for as long as we were willing to wait.
    #[error("database '{}' is locked (waited {:.1} s){}", path.display(), waited.as_secs_f64(), named(holders))]
    Locked {
        /// Resolved.
        path: PathBuf,
        /// How long it was tried.
        waited: Duration,
        /// Who has the file open, as far as it can be seen.
        holders: Vec<Process>,
    },
    /// The file ends before its last page does.
    #[error("database '{}' is truncated: {actual_bytes} bytes of {expected_bytes}", path.display())]
    Truncated {
        /// Resolved.
        path: PathBuf,
        /// Pages times page size.
        expected_bytes: u64,
        /// As the system tells.
        actual_bytes: u64,
    },
    /// The content contradicts itself.
    #[error("database '{}' is corrupt{}", path.display(), messages.first().map(|first| format!(": {first}")).unwrap_or_default())]
    Corrupt {
        /// Resolved.
        path: PathBuf,
        /// SQLite's words.
        messages: Vec<String>,
    },
    /// Another file took the path while we read, or it was removed.
    #[error("database '{}' was replaced or removed while it was read", path.display())]
    Replaced {
        /// Resolved.
        path: PathBuf,
    },
    /// Scratch failed.
    #[error("no scratch for a database image")]
    Scratch(#[from] ScratchError),
    /// SQLite refused for another reason.
    #[error("cannot {action} database '{}'", path.display())]
    Sqlite {
        /// Resolved.
        path: PathBuf,
        /// What was being done.
        action: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A table could not be hashed.
    #[error("cannot hash table '{table}'")]
    Table {
        /// Its name.
        table: String,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Somebody cancelled it.
    #[error("reading database '{}' was cancelled", path.display())]
    Cancelled {
        /// Resolved.
        path: PathBuf,
    },
    /// There is no such table, or it is a view or a virtual table.
    #[error("'{table}' is not a table with content of its own")]
    NotATable {
        /// The name asked for.
        table: String,
    },
}

fn named(holders: &[Process]) -> String {
    let names: Vec<String> = holders.iter().map(|process| format!("{} ({})", process.pid, process.name)).collect();
    if names.is_empty() { String::new() } else { format!("; open in {}", names.join(", ")) }
}
