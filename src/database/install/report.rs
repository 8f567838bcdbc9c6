//! What there is to say of a target: the way that its content goes, what it was before, and what became of it.

use std::path::PathBuf;

/// The way an installation takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Under an exclusive lock, through SQLite.
    Exclusive,
    /// Under the write lock, others being connected.
    Online,
    /// By a new file in the place of one that is missing or cannot be opened.
    Replace,
}

impl Way {
    /// The word for it in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Way::Exclusive => "exclusive",
            Way::Online => "online",
            Way::Replace => "replace",
        }
    }
}

/// A target as it was before.
#[derive(Debug, Clone)]
pub struct Before {
    /// Of the file.
    pub device: u64,
    /// Of the file.
    pub inode: u64,
    /// Of the main file.
    pub size_bytes: u64,
    /// Whether it was in WAL mode.
    pub is_wal: bool,
    /// Its schema cookie, if SQLite could open it.
    pub schema_cookie: Option<i32>,
    /// Its page size in bytes, if SQLite could open it.
    pub page_size: Option<u32>,
    /// Whose format it is, if SQLite could open it.
    pub application_id: Option<i32>,
}

/// Whether the content was compared after others were let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Schema and every table, on a fresh connection: equal.
    Equal,
    /// Others were writing before it could be compared. Under an exclusive lock the pages had been compared by then; in the online way
    /// SQLite's word for the commit is all there is.
    Overtaken,
}

impl Comparison {
    /// The word for it in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Comparison::Equal => "equal",
            Comparison::Overtaken => "overtaken",
        }
    }
}

/// What became of an installation.
#[derive(Debug, Clone)]
pub struct InstallReport {
    /// The way it took.
    pub way: Way,
    /// Resolved.
    pub path: PathBuf,
    /// Whether it is what the image holds.
    pub comparison: Comparison,
    /// Tables of the image that could not be hashed (a missing collation or module), and so were not compared by content.
    pub uncompared: Vec<String>,
    /// Where the file that could not be opened lies now, with its sidecars beside it.
    pub aside: Option<PathBuf>,
}
