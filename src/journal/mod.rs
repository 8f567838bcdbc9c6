//! The journal: what was done to a vault, in the order in which it was done, so that no record can be changed, removed or slipped in unnoticed.
//!
//! One line of JSON for each event, each with the hash of the line before it, signed where the vault has a signer. A chain alone cannot show
//! that its end was cut, or that somebody with the key wrote all of it anew: for the first there is a second file with the position of the
//! last record, for both the heads that travel in bundles. A torn last line is what a killed run leaves; it was never
//! acknowledged, and is cleared by the next append. Nothing else in the file is ever changed.

mod chain;
mod record;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::bundle::{Id, JournalHead};
use crate::crypto::{Digest, Entropy, Namespace, PublicKey, SignedMessage, SigningKey, random};
use crate::files::{FileError, Folder, lock_file};

pub use chain::{Check, Fault, FaultKind, Verified};
pub use record::{Actor, Entry, Event, Outcome, Record, Subject};

/// The journal's file.
pub const JOURNAL: &str = "journal.jsonl";
/// Where its end was when the last record was acknowledged.
pub const HEAD: &str = "journal.head";
/// Most bytes of a line: a line without an end must not fill the memory.
const LINE_MAX: u64 = 4 << 20;

/// The journal of a folder. Every append takes a lock of its own, for no longer than that: a verification can be recorded while a backup has
/// the vault.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: Folder,
}

/// What the end of the files tells.
struct End {
    last: Option<Last>,
    /// Bytes of complete lines; what follows is torn.
    length: u64,
    /// What is wrong with the end, if anything is.
    problem: Option<EndProblem>,
}

/// Why an end is not the one that was acknowledged.
enum EndProblem {
    /// The file ends before it.
    Cut(JournalHead),
    /// Nothing says any more where it was.
    Missing,
}

/// The last record.
#[derive(Debug, Clone)]
struct Last {
    head: JournalHead,
    record: Record,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system refused.
    #[error("cannot use the journal")]
    File(#[from] FileError),
    /// The last line is complete and no record.
    #[error("the last record of '{}' is damaged", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
    },
    /// One event has more to say than a line may hold.
    #[error("the record would have {bytes} bytes, a line of the journal has at most {LINE_MAX}")]
    TooLong {
        /// Bytes of the line.
        bytes: u64,
    },
}

/// The content of `journal.head`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Acknowledged {
    sequence: u64,
    sha256: Digest,
    /// By the signer of that record, so that who cuts the journal cannot acknowledge the cut.
    #[serde(default)]
    signature: Option<String>,
}

impl Acknowledged {
    fn of(head: &JournalHead, signer: Option<&SigningKey>) -> Acknowledged {
        let signature = signer.map(|key| key.sign(Namespace::Journal, Acknowledged::message(head)));
        Acknowledged { sequence: head.sequence, sha256: head.sha256, signature }
    }

    fn head(&self) -> JournalHead {
        JournalHead { sequence: self.sequence, sha256: self.sha256 }
    }

    fn is_signed_by(&self, signer: &PublicKey) -> bool {
        let message = Acknowledged::message(&self.head());
        self.signature.as_ref().is_some_and(|text| signer.verify(Namespace::Journal, message, text.as_bytes()))
    }

    fn message(head: &JournalHead) -> SignedMessage {
        SignedMessage::of(format!("airkeep-journal-head 1\n{} {}\n", head.sequence, head.sha256).as_bytes())
    }
}

impl Journal {
    /// The journal of a folder; one that does not exist begins with the first record.
    pub fn of(folder: &Folder) -> Journal {
        Journal { folder: folder.clone() }
    }

    /// The last record's place and hash.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub fn head(&self) -> Result<Option<JournalHead>, JournalError> {
        if !self.folder.has(JOURNAL)? {
            return Ok(None);
        }
        let end = self.end_of(&self.folder.open_file(JOURNAL)?)?;
        Ok(end.last.map(|last| last.head))
    }

    /// Adds a record durably, signed by the key that `signer` gives under the journal's lock. If the end of the journal was cut, a record of that comes before it, so that going on hides nothing.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if nothing can follow the last line: `airkeep audit verify` tells more. What the file system says; the
    /// journal is as it was then.
    pub fn append<E: From<JournalError>>(
        &self,
        entry: &Entry,
        signer: impl FnOnce() -> Result<Option<SigningKey>, E>,
        entropy: &mut dyn Entropy,
    ) -> Result<Record, E> {
        let (file, is_new) = self.folder.open_or_make_file(JOURNAL).map_err(JournalError::from)?;
        let _lock = lock_file(&file, &self.folder.path().join(JOURNAL)).map_err(JournalError::from)?;
        // Only now: who signs may have changed while another run had the lock.
        let signer = signer().inspect_err(|_| self.discard_empty(is_new))?;
        let record = self.append_locked(&file, entry, signer.as_ref(), entropy).inspect_err(|_| self.discard_empty(is_new))?;
        if is_new {
            self.folder.sync().map_err(JournalError::from)?;
        }
        Ok(record)
    }

    /// Removes the file that this run made, if nothing came into it.
    fn discard_empty(&self, is_new: bool) {
        if is_new {
            // On the way out of an error; an empty file is a journal without records, too.
            let _ = self.folder.remove(JOURNAL);
        }
    }

    fn append_locked(
        &self,
        file: &File,
        entry: &Entry,
        signer: Option<&SigningKey>,
        entropy: &mut dyn Entropy,
    ) -> Result<Record, JournalError> {
        let mut end = self.end_of(file)?;
        if let Some(problem) = end.problem.take() {
            self.write(file, &mut end, &note_of(&problem, entry), signer, entropy)?;
        }
        self.write(file, &mut end, entry, signer, entropy)
    }

    fn end_of(&self, file: &File) -> Result<End, JournalError> {
        let path = self.folder.path().join(JOURNAL);
        let Ending { line, length } = Ending::read(file).map_err(FileError::io("read", &path))?;
        let last = line.map(|line| Last::of(&line).ok_or(JournalError::Damaged { path })).transpose()?;
        let acknowledged = read_head(&self.folder)?.map(|acknowledged| acknowledged.head());
        let problem = match (acknowledged, &last) {
            (Some(head), last) => (!last.as_ref().is_some_and(|last| last.follows(&head))).then_some(EndProblem::Cut(head)),
            // The first record may be there without: a run was killed between the two.
            (None, Some(last)) if last.head.sequence > 1 => Some(EndProblem::Missing),
            (None, _) => None,
        };
        Ok(End { last, length, problem })
    }

    fn write(
        &self,
        file: &File,
        end: &mut End,
        entry: &Entry,
        signer: Option<&SigningKey>,
        entropy: &mut dyn Entropy,
    ) -> Result<Record, JournalError> {
        let record = end.record_of(entry, signer, entropy);
        let line = record.to_line(signer);
        if line.len() as u64 >= LINE_MAX {
            return Err(JournalError::TooLong { bytes: line.len() as u64 });
        }
        let added = format!("{line}\n");
        // What a killed run left behind the last line was never acknowledged.
        let written = file.set_len(end.length).and_then(|()| write_at_end(file, added.as_bytes())).and_then(|()| file.sync_data());
        if let Err(error) = written {
            // Half a line would be cleared by the next append, too.
            let _ = file.set_len(end.length);
            return Err(FileError::io("write", &self.folder.path().join(JOURNAL))(error).into());
        }
        end.length += added.len() as u64;
        let head = JournalHead { sequence: record.sequence, sha256: record::digest_of(&line) };
        write_head(&self.folder, &Acknowledged::of(&head, signer))?;
        end.last = Some(Last { head, record: record.clone() });
        Ok(record)
    }
}

fn write_at_end(mut file: &File, bytes: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::End(0))?;
    file.write_all(bytes)
}

impl End {
    fn record_of(&self, entry: &Entry, signer: Option<&SigningKey>, entropy: &mut dyn Entropy) -> Record {
        let Entry { event, outcome, time, actor, host, reason, subject, details } = entry.clone();
        let last = self.last.as_ref();
        Record {
            sequence: last.map_or(1, |last| last.head.sequence + 1),
            nonce: Id(random(entropy)),
            clock_regressed: last.is_some_and(|last| time < last.record.time),
            time,
            event,
            outcome,
            actor,
            host,
            reason,
            subject,
            details,
            signer: signer.map(SigningKey::public),
            previous: last.map_or(Digest([0; 32]), |last| last.head.sha256),
        }
    }
}

impl Last {
    fn of(line: &str) -> Option<Last> {
        let record = Record::parse(line)?.record;
        Some(Last { head: JournalHead { sequence: record.sequence, sha256: record::digest_of(line) }, record })
    }

    /// Whether an acknowledged end is this record, or the one before it: a run may be killed between record and acknowledgement.
    fn follows(&self, acknowledged: &JournalHead) -> bool {
        self.head == *acknowledged || (self.head.sequence == acknowledged.sequence + 1 && self.record.previous == acknowledged.sha256)
    }
}

/// The end of the file.
struct Ending {
    line: Option<String>,
    length: u64,
}

impl Ending {
    /// Reads from the end backwards as far as the last complete line goes.
    fn read(mut file: &File) -> std::io::Result<Ending> {
        let length = file.seek(SeekFrom::End(0))?;
        let mut window = 8 << 10;
        loop {
            let start = length.saturating_sub(window);
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.take(window).read_to_end(&mut bytes)?;
            let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            let begin = bytes[..end.saturating_sub(1)].iter().rposition(|&byte| byte == b'\n').map(|at| at + 1);
            if begin.is_some() || start == 0 || window > 2 * LINE_MAX {
                let line = &bytes[begin.unwrap_or(0).min(end)..end];
                let line = (!line.is_empty()).then(|| String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line)).into_owned());
                return Ok(Ending { line, length: start + end as u64 });
            }
            window *= 4;
        }
    }
}

/// Reads the position that was acknowledged last. One that cannot be read is as good as none, and `audit verify` says so.
fn read_head(folder: &Folder) -> Result<Option<Acknowledged>, FileError> {
    match folder.has(HEAD)? {
        true => Ok(serde_json::from_slice(&folder.read_file(HEAD, 4096)?).ok()),
        false => Ok(None),
    }
}

/// Not by a hidden file of a random name: who holds the vault's lock clears those, and this is written without that lock.
fn write_head(folder: &Folder, acknowledged: &Acknowledged) -> Result<(), FileError> {
    let mut text = serde_json::to_vec(acknowledged).expect("numbers and text");
    text.push(b'\n');
    folder.write_over_by(HEAD, "journal.head.new", &text)
}

fn note_of(problem: &EndProblem, entry: &Entry) -> Entry {
    let details = match problem {
        EndProblem::Cut(lost) => {
            serde_json::json!({ "problem": "cut", "acknowledged_sequence": lost.sequence, "acknowledged_sha256": lost.sha256 })
        }
        EndProblem::Missing => serde_json::json!({ "problem": "end-missing" }),
    };
    Entry {
        event: Event::Journal,
        outcome: Outcome::Failure,
        reason: None,
        subject: None,
        details: details.as_object().cloned().unwrap_or_default(),
        ..entry.clone()
    }
}

/// Reads all records of a folder's journal, oldest first, without judging the chain; lines that are no records are passed over, a torn last
/// line too. For showing; what is to be relied on is checked with [`Check`].
///
/// # Errors
/// What the file system says.
pub fn records_in(folder: &Folder) -> Result<Vec<Record>, FileError> {
    let mut records = Vec::new();
    each_record(folder, |record| records.push(record))?;
    Ok(records)
}

/// As [`records_in`], one after the other: for who needs few of many.
///
/// # Errors
/// What the file system says.
pub fn each_record(folder: &Folder, mut take: impl FnMut(Record)) -> Result<(), FileError> {
    if folder.has(JOURNAL)? {
        chain::each_line(folder, |_, line| line.and_then(record::parse_unverified).into_iter().for_each(&mut take))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
