//! The manifest: what was captured, when, where, with which counts (docs/format.md section 8).
//!
//! It travels twice, in the payload for stock tools and in the index for this reader, and is authenticated before it is parsed.
//! Unknown keys are allowed, so that later releases can say more.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::gap::SourceGap;
use super::index::Entry;
use super::label::{EntryPath, Label};
use super::values::{Id, UtcTime, present};
use crate::crypto::Digest;

/// The format that this code writes.
pub const FORMAT: &str = "airkeep-manifest/1";

/// Everything that is recorded of one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `airkeep-manifest/1`.
    pub format: String,
    /// The bundle that it describes.
    pub bundle: Id,
    /// Where it was made.
    pub host: Host,
    /// With what.
    pub tool: Tool,
    /// When capture began.
    pub started_at: UtcTime,
    /// From then to the writing of the manifest.
    pub duration_ms: u64,
    /// A word from the operator.
    #[serde(deserialize_with = "present")]
    pub tag: Option<String>,
    /// A sentence from the operator.
    #[serde(deserialize_with = "present")]
    pub note: Option<String>,
    /// The databases in payload order.
    pub sources: Vec<Source>,
    /// Sets of plain files, behind them. The key is missing where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSet>,
}

/// The machine and account that made a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// User name, or the number where there is none.
    pub user: String,
    /// User id.
    pub uid: u32,
}

/// The program that made a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Program.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Version of the SQLite library in it.
    pub sqlite: String,
}

/// One captured source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Its label.
    pub label: Label,
    /// What it is: `sqlite`.
    pub kind: String,
    /// The file, symbolic links resolved.
    pub path: String,
    /// Device of the file.
    pub device: u64,
    /// Inode of the file.
    pub inode: u64,
    /// When the snapshot was fixed.
    pub captured_at: UtcTime,
    /// `independent`: a cut of its own; `group:NAME`: one cut for all sources of that group.
    pub consistency: String,
    /// How the pages were read.
    pub capture: CaptureMethod,
    /// Bytes of the stored image.
    pub size_bytes: u64,
    /// SHA-256 of the stored image.
    pub sha256: Digest,
    /// The source's journal mode.
    pub journal_mode: String,
    /// Bytes of a page.
    pub page_size: u32,
    /// Pages.
    pub page_count: u64,
    /// Text encoding.
    pub encoding: String,
    /// `none`, `full` or `incremental`.
    pub auto_vacuum: String,
    /// The application's own number.
    pub application_id: i32,
    /// The application's schema version.
    pub user_version: i32,
    /// What a migration tool noted in it. The key is missing where no ledger was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrations: Option<Migrations>,
    /// The schema, unless it could not be read.
    #[serde(deserialize_with = "present")]
    pub schema: Option<SchemaRef>,
    /// Tables and their rows, by name.
    pub tables: Vec<Table>,
    /// Names of the tables that are append-only, as the operator said.
    pub append_only: Vec<String>,
    /// What was checked.
    pub check: Check,
    /// What the site demanded of its content. The key is missing where it demanded nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<AssertionRecord>,
    /// The work tree that holds the file.
    #[serde(deserialize_with = "present")]
    pub git: Option<Git>,
    /// In a bundle that was made before a restore: which rows that restore takes away. The key is missing elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<SourceGap>,
    /// In a bundle of old backups: what this one came from. The key is missing elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// The old backup that a source was adopted from, and what it proved of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The file's name.
    pub file: String,
    /// The name in the archive, where it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// `sqlite`, `gzip`, `tar-gzip` or `icdev-enc`.
    pub form: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// What its bytes were compared with: `sha256-sidecar`, `gzip-crc` or `none`.
    pub integrity: String,
    /// Whether a key proved who made it; no form of today can.
    pub authenticated: bool,
    /// When the file was last changed, as the file system tells.
    pub modified_at: UtcTime,
}

/// Plain files that were captured as one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSet {
    /// Its label.
    pub label: Label,
    /// `files`, or `env` for files whose secrets were left out.
    pub kind: String,
    /// The folder that they lay below.
    pub folder: String,
    /// When the first of them was read.
    pub captured_at: UtcTime,
    /// Bytes of the stored archive.
    pub size_bytes: u64,
    /// SHA-256 of the stored archive.
    pub sha256: Digest,
    /// The files, in the order of the archive.
    pub files: Vec<ArchivedFile>,
    /// The work tree that holds the folder.
    #[serde(deserialize_with = "present")]
    pub git: Option<Git>,
}

/// One file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedFile {
    /// Its path from the folder of the set on.
    pub path: String,
    /// Bytes.
    pub size_bytes: u64,
    /// SHA-256 of its content, as it is stored.
    pub sha256: Digest,
    /// When it was changed last.
    pub modified_at: UtcTime,
    /// Its permission bits, four octal digits.
    pub mode: String,
    /// Whether it was written to while it was read, each time that was tried. The key is missing where it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub changed: bool,
    /// In an env file: values and lines that were left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redacted: Option<u64>,
}

/// How a source was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaptureMethod {
    /// `sqlite_dbpage` or `backup_api`.
    pub pages: String,
    /// `stream` or `scratch`.
    pub route: String,
    /// Whether a journal or WAL was recovered on a copy.
    pub recovered: bool,
}

/// The ledger of a migration tool, as it was when the source was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migrations {
    /// Its table.
    pub table: String,
    /// Entries.
    pub count: u64,
    /// The newest entry in words, unless there is none.
    #[serde(deserialize_with = "present")]
    pub last: Option<String>,
}

/// The schema entry of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaRef {
    /// SHA-256 of `schema/<label>.sql`.
    pub sha256: Digest,
    /// Rows of `sqlite_schema`.
    pub objects: u64,
}

/// A table and its size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Rows, unless they could not be counted.
    #[serde(deserialize_with = "present")]
    pub rows: Option<u64>,
    /// Its logical hash, where it was asked for and could be computed.
    #[serde(deserialize_with = "present")]
    pub logical: Option<LogicalHash>,
}

/// What a table contains, whatever its pages look like (docs/format.md section 8.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogicalHash {
    /// The stored columns in the order of their declaration.
    pub columns: Vec<String>,
    /// Rows that were hashed.
    pub rows: u64,
    /// The digest.
    pub sha256: Digest,
}

/// Which check ran at capture and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `full`, `quick` or `none`.
    pub kind: String,
    /// `ok`, `violations`, `corrupt` or `unchecked`.
    pub verdict: String,
    /// What was found, or why nothing was checked.
    pub messages: Vec<String>,
}

/// A demand of the site, and whether the content met it when it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionRecord {
    /// The demand, as it was written.
    pub assertion: String,
    /// Whether it held; unknown if it could not be asked.
    #[serde(deserialize_with = "present")]
    pub holds: Option<bool>,
    /// What was found, or why nothing was.
    pub found: String,
}

/// State of a git work tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// Commit that is checked out.
    pub commit: String,
    /// Branch, unless detached.
    #[serde(deserialize_with = "present")]
    pub branch: Option<String>,
    /// Whether tracked files differ from the commit; unknown where asking would run the repository's own filters.
    #[serde(deserialize_with = "present")]
    pub dirty: Option<bool>,
}

impl FileSet {
    /// Whether its files can be in its archive, and each path stays below a folder.
    fn is_legal(&self) -> bool {
        let sum = self.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.size_bytes));
        sum.is_some_and(|sum| sum <= self.size_bytes) && self.files.iter().all(ArchivedFile::is_legal)
    }
}

impl ArchivedFile {
    fn is_legal(&self) -> bool {
        let parts = || self.path.split('/');
        let is_mode = self.mode.len() == 4 && self.mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        is_mode
            && self.path.len() <= PATH_MAX_BYTES
            && parts().count() <= PATH_MAX_PARTS
            && parts().all(|part| !matches!(part, "" | "." | "..") && !part.contains('\0'))
    }
}

/// Of Linux, with its final NUL.
const PATH_MAX_BYTES: usize = 4095;
/// Deeper than people nest folders, and shallow enough that a bundle of a few kilobytes does not make thousands of them.
const PATH_MAX_PARTS: usize = 128;

impl std::fmt::Display for Migrations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in '{}'", self.count, self.table)?;
        self.last.as_ref().map_or(Ok(()), |last| write!(f, ", the newest '{last}'"))
    }
}

impl Manifest {
    /// The labels of all that is in the bundle.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.sources.iter().map(|source| &source.label).chain(self.files.iter().map(|set| &set.label))
    }

    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("the manifest has only text, numbers, arrays and objects");
        bytes.push(b'\n');
        bytes
    }

    /// Reads authenticated bytes and compares them with the entries of the index.
    ///
    /// # Errors
    /// A word on what does not fit.
    pub fn decode(bytes: &[u8], bundle: Id, entries: &[Entry]) -> Result<Manifest, &'static str> {
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|_| "JSON")?;
        if manifest.format != FORMAT {
            return Err("format");
        }
        if manifest.bundle != bundle {
            return Err("bundle");
        }
        manifest.check_entries(entries)?;
        Ok(manifest)
    }

    /// For each source in turn its database, its schema and its capsule, if it has them; for each set of files its archive; then manifest and
    /// sums, and nothing else.
    fn check_entries(&self, entries: &[Entry]) -> Result<(), &'static str> {
        let mut labels = HashSet::new();
        let mut rest = entries.iter();
        for source in &self.sources {
            let database = rest.next().ok_or("sources")?;
            let is_its_own = database.path == EntryPath::Database(source.label.clone())
                && database.sha256 == source.sha256
                && database.size == source.size_bytes;
            if !is_its_own || !labels.insert(&source.label) {
                return Err("sources");
            }
            if let Some(schema) = &source.schema {
                let entry = rest.next().ok_or("sources")?;
                if entry.path != EntryPath::Schema(source.label.clone()) || entry.sha256 != schema.sha256 {
                    return Err("sources");
                }
            }
            if let Some(SourceGap { capsule: Some(capsule), .. }) = &source.gap {
                let entry = rest.next().ok_or("sources")?;
                let is_its_own = entry.path == EntryPath::Capsule(source.label.clone())
                    && entry.sha256 == capsule.sha256
                    && entry.size == capsule.size_bytes;
                if !is_its_own {
                    return Err("sources");
                }
            }
        }
        for set in &self.files {
            let entry = rest.next().ok_or("files")?;
            let is_its_own =
                entry.path == EntryPath::Files(set.label.clone()) && entry.sha256 == set.sha256 && entry.size == set.size_bytes;
            if !is_its_own || !labels.insert(&set.label) || !set.is_legal() {
                return Err("files");
            }
        }
        let has_ended = rest.all(|entry| matches!(entry.path, EntryPath::Manifest | EntryPath::Sums));
        if has_ended { Ok(()) } else { Err("sources") }
    }
}
