//! Verify at L4: each database of a bundle, examined in encrypted scratch while the bundle is examined at L3.
//!
//! One database at a time lies in scratch, and it is opened only after its hash was found right: damage elsewhere in the
//! bundle keeps no sound database from being examined, and no damaged one ever is.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::verify_files::FilesProof;
use super::{Failure, OsEntropy, Progress, VerifyRequest};
use crate::bundle::{BundleError, Entry, EntryPath, EntrySink, FileSet, Label, Level, Manifest, Source};
use crate::crypto::Entropy;
use crate::database::{
    CheckKind, Difference, Examined, Expected, ExpectedSchema, ExpectedTable, Image, TableHash, Verdict, examine, sqlite_version,
};
use crate::files::{Scratch, ScratchError, ScratchSpace};

/// What was found in one database.
#[derive(Debug, Clone)]
pub struct DatabaseProof {
    /// Its label.
    pub label: Label,
    /// The worst that was found by SQLite's check, apart from differences.
    pub verdict: Verdict,
    /// Whether it was corrupt when captured, and labelled so.
    pub was_corrupt: bool,
    /// Rows that break rules of the schema.
    pub violations: Vec<Violation>,
    /// What could not be examined, and why: the database is proven to L3 only.
    pub unchecked: Vec<String>,
    /// In which way it contradicts itself.
    pub corruption: Vec<String>,
    /// Where it is not what the manifest says.
    pub differences: Vec<Difference>,
    /// Tables that it has.
    pub tables: u64,
    /// Rows that were counted.
    pub rows: u64,
    /// Logical hashes that were compared.
    pub hashes: u64,
}

/// Rows that break a rule of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// In SQLite's words.
    pub message: String,
    /// True if it was recorded at capture; false if it was not, although the check at capture looked for it; nothing if it did not
    /// look (`quick` passes over foreign keys) or would have put it in other words.
    pub inherited: Option<bool>,
}

impl DatabaseProof {
    /// True if nothing was found that the source did not have when it was captured.
    pub fn is_sound(&self) -> bool {
        let is_corrupt = self.verdict == Verdict::Corrupt && !self.was_corrupt;
        self.differences.is_empty() && !is_corrupt && self.violations.iter().all(|violation| violation.inherited != Some(false))
    }

    /// The level to which it is proven.
    pub fn proven(&self) -> Level {
        if self.unchecked.is_empty() { Level::Database } else { Level::Content }
    }

    pub(super) fn of(source: &Source, sqlite: &str, found: Examined) -> DatabaseProof {
        let texts = |verdict| found.check.messages_of(verdict).map(str::to_owned).collect();
        // Counted only in part, orphans are fewer than were recorded.
        let is_whole = found.check.messages_of(Verdict::Unchecked).next().is_none();
        let violation = |message: String| Violation { inherited: is_inherited(source, sqlite, &message, is_whole), message };
        let violations: Vec<String> = texts(Verdict::Violations);
        DatabaseProof {
            label: source.label.clone(),
            verdict: found.check.verdict,
            was_corrupt: is_recorded(source, Verdict::Corrupt),
            violations: violations.into_iter().map(violation).collect(),
            unchecked: texts(Verdict::Unchecked),
            corruption: texts(Verdict::Corrupt),
            differences: found.differences,
            tables: found.tables,
            rows: found.rows,
            hashes: found.hashes,
        }
    }

    /// A database for which scratch had no room.
    fn unexamined(source: &Source, error: &ScratchError) -> DatabaseProof {
        DatabaseProof {
            label: source.label.clone(),
            verdict: Verdict::Unchecked,
            was_corrupt: is_recorded(source, Verdict::Corrupt),
            violations: Vec::new(),
            unchecked: vec![error.to_string()],
            corruption: Vec::new(),
            differences: Vec::new(),
            tables: 0,
            rows: 0,
            hashes: 0,
        }
    }
}

/// Takes databases and schemas out of a bundle; at lower levels it takes nothing.
pub(super) struct Examiner {
    sources: Vec<Source>,
    /// The release of SQLite that captured them.
    sqlite: String,
    space: ScratchSpace,
    /// Whether a lack of scratch ends the run.
    is_insisting: bool,
    progress: Arc<dyn Progress>,
    current: Current,
    proofs: Vec<DatabaseProof>,
    files: Vec<FileSet>,
    file_proofs: Vec<FilesProof>,
    /// The last database, until the text of its schema has come by.
    last: Option<(usize, Examined)>,
}

/// The entry under way.
enum Current {
    Nothing,
    Database {
        source: usize,
        image: Image,
        offset: u64,
    },
    Schema {
        text: Vec<u8>,
    },
    /// The archive of a set of files.
    Files {
        set: usize,
        archive: Scratch,
    },
}

/// Why a pass ended.
pub(super) enum ExaminerError {
    Bundle(BundleError),
    Scratch(ScratchError),
}

impl From<BundleError> for ExaminerError {
    fn from(error: BundleError) -> ExaminerError {
        ExaminerError::Bundle(error)
    }
}

impl ExaminerError {
    pub(super) fn into_failure(self, path: &Path) -> Failure {
        match self {
            ExaminerError::Bundle(source) => Failure::Bundle { path: path.to_owned(), source },
            ExaminerError::Scratch(source) => Failure::Scratch { source },
        }
    }
}

impl Examiner {
    /// Makes sure that the largest database has room in scratch. Where it has not, L4 is given up with the reason, or the run
    /// fails if L4 was asked for.
    pub(super) fn prepare(
        level: Level,
        request: &VerifyRequest,
        manifest: Option<&Manifest>,
        progress: &Arc<dyn Progress>,
    ) -> Result<(Examiner, Option<ScratchError>), Failure> {
        let folder = request.scratch.clone().unwrap_or_else(|| PathBuf::from(SCRATCH));
        let mut examiner = Examiner {
            sources: Vec::new(),
            sqlite: String::new(),
            space: ScratchSpace::new(folder, |bytes: &mut [u8]| OsEntropy.fill(bytes)),
            is_insisting: request.level.is_some(),
            progress: Arc::clone(progress),
            current: Current::Nothing,
            proofs: Vec::new(),
            files: Vec::new(),
            file_proofs: Vec::new(),
            last: None,
        };
        let Some(manifest) = manifest.filter(|_| level == Level::Database) else { return Ok((examiner, None)) };
        let largest_bytes = manifest.sources.iter().map(|source| source.size_bytes).max().unwrap_or(0);
        if let Err(source) = examiner.space.create(largest_bytes) {
            return if examiner.is_insisting { Err(Failure::Scratch { source }) } else { Ok((examiner, Some(source))) };
        }
        examiner.sources.clone_from(&manifest.sources);
        examiner.files.clone_from(&manifest.files);
        examiner.sqlite.clone_from(&manifest.tool.sqlite);
        Ok((examiner, None))
    }

    /// What was found, in payload order.
    pub(super) fn into_proofs(mut self) -> (Vec<DatabaseProof>, Vec<FilesProof>) {
        self.settle(None);
        (self.proofs, self.file_proofs)
    }

    /// Finishes the last database, with the recorded text of its schema if that has come.
    fn settle(&mut self, schema: Option<&[u8]>) {
        let Some((source, mut found)) = self.last.take() else { return };
        if let Some(text) = schema {
            found.locate_schema_difference(&String::from_utf8_lossy(text));
        }
        self.proofs.push(DatabaseProof::of(&self.sources[source], &self.sqlite, found));
    }

    fn give_up_files(&mut self, set: usize, error: ScratchError) -> Result<(), ExaminerError> {
        self.current = Current::Nothing;
        if self.is_insisting {
            return Err(ExaminerError::Scratch(error));
        }
        self.file_proofs.push(FilesProof::unexamined(&self.files[set], &error));
        Ok(())
    }

    /// A lack of scratch ends the run, or only this database's examination.
    fn give_up(&mut self, source: usize, error: ScratchError) -> Result<(), ExaminerError> {
        self.current = Current::Nothing;
        if self.is_insisting {
            return Err(ExaminerError::Scratch(error));
        }
        self.proofs.push(DatabaseProof::unexamined(&self.sources[source], &error));
        Ok(())
    }
}

impl EntrySink for Examiner {
    type Error = ExaminerError;

    fn begin(&mut self, entry: &Entry) -> Result<(), ExaminerError> {
        self.current = Current::Nothing;
        match &entry.path {
            EntryPath::Database(label) => {
                self.settle(None);
                let Some(source) = self.sources.iter().position(|source| source.label == *label) else { return Ok(()) };
                match Image::create(&self.space, entry.size) {
                    Ok(image) => self.current = Current::Database { source, image, offset: 0 },
                    Err(error) => return self.give_up(source, error),
                }
            }
            EntryPath::Files(label) => {
                let Some(set) = self.files.iter().position(|set| set.label == *label) else { return Ok(()) };
                match self.space.create(entry.size) {
                    Ok(archive) => self.current = Current::Files { set, archive },
                    Err(error) => return self.give_up_files(set, error),
                }
            }
            EntryPath::Schema(label) if self.last.as_ref().is_some_and(|(source, _)| self.sources[*source].label == *label) => {
                self.current = Current::Schema { text: Vec::new() };
            }
            _ => {}
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ExaminerError> {
        match &mut self.current {
            Current::Nothing => {}
            Current::Schema { text } if text.len() + bytes.len() > SCHEMA_KEPT_BYTES => self.current = Current::Nothing,
            Current::Schema { text } => text.extend_from_slice(bytes),
            Current::Files { set, archive } => {
                let (set, written) = (*set, archive.write_at(archive.len(), bytes));
                if let Err(error) = written {
                    return self.give_up_files(set, error);
                }
            }
            Current::Database { source, image, offset } => {
                let (source, written) = (*source, image.write_at(*offset, bytes));
                *offset += bytes.len() as u64;
                if let Err(error) = written {
                    return self.give_up(source, error);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), ExaminerError> {
        match std::mem::replace(&mut self.current, Current::Nothing) {
            Current::Nothing => {}
            Current::Schema { text } => self.settle(Some(&text)),
            Current::Files { set, archive } => self.file_proofs.push(FilesProof::of(&self.files[set], &archive)),
            Current::Database { source, image, .. } => {
                match examine(&image, &expected(&self.sources[source]), &|| self.progress.is_cancelled()) {
                    Ok(found) => self.last = Some((source, found)),
                    Err(error) => return self.give_up(source, error),
                }
            }
        }
        Ok(())
    }
}

/// What the manifest says of a database, in the words of the database room.
pub(super) fn expected(source: &Source) -> Expected {
    Expected {
        page_size: source.page_size,
        page_count: source.page_count,
        encoding: source.encoding.clone(),
        auto_vacuum: source.auto_vacuum.clone(),
        application_id: source.application_id,
        user_version: source.user_version,
        schema: source.schema.as_ref().map(|schema| ExpectedSchema { sha256: schema.sha256, objects: schema.objects }),
        tables: source.tables.iter().map(expected_table).collect(),
        is_corrupt: is_recorded(source, Verdict::Corrupt),
    }
}

fn expected_table(table: &crate::bundle::Table) -> ExpectedTable {
    let hash = |hash: &crate::bundle::LogicalHash| TableHash { columns: hash.columns.clone(), rows: hash.rows, sha256: hash.sha256.0 };
    ExpectedTable { name: table.name.clone(), rows: table.rows, hash: table.logical.as_ref().map(hash) }
}

fn is_recorded(source: &Source, verdict: Verdict) -> bool {
    source.check.verdict == verdict.to_string()
}

/// See [`Violation::inherited`]. A list of messages that is full, and a check that left something out, leave it open.
fn is_inherited(source: &Source, sqlite: &str, message: &str, is_whole: bool) -> Option<bool> {
    let check = &source.check;
    if check.messages.iter().any(|recorded| recorded == message) {
        return Some(true);
    }
    let is_foreign_key = message.starts_with(|c: char| c.is_ascii_digit());
    let has_looked = check.kind == CheckKind::Full.to_string() && (is_whole || !is_foreign_key)
        || check.kind == CheckKind::Quick.to_string() && !is_foreign_key;
    let is_complete = check.messages.len() < MESSAGES_FULL && matches!(check.verdict.as_str(), "ok" | "violations");
    (has_looked && is_complete && sqlite == sqlite_version()).then_some(false)
}

/// Where scratch goes unless told otherwise: on a disk, and outlives no reboot.
pub(super) const SCRATCH: &str = "/var/tmp";
/// The text of a longer schema is not kept to say where it differs.
const SCHEMA_KEPT_BYTES: usize = 4 << 20;
/// So many messages a check records at most.
const MESSAGES_FULL: usize = 20;
