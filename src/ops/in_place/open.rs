//! Restores in place, and guarded work, that were begun and of which no record says how they ended.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::record::in_place_details;
use crate::bundle::UtcTime;
use crate::files::{FileError, Folder};
use crate::journal::{Event, Outcome, Record, each_record};

/// One of them.
#[derive(Debug, Clone)]
pub struct OpenRestore {
    /// Stands in each of its records.
    pub id: String,
    /// When it was begun.
    pub begun: UtcTime,
    /// Whether it is guarded work, which has no targets of its own.
    pub is_guard: bool,
    /// Its targets.
    pub targets: Vec<PathBuf>,
    /// Whether something may have been replaced.
    pub is_ready: bool,
    /// The last thing that it recorded.
    pub record: Record,
}

/// Those in the journal of a vault; none where there is no vault.
///
/// # Errors
/// The journal cannot be read.
pub fn open_restores(vault: &Path) -> Result<Vec<OpenRestore>, FileError> {
    let mut open = Vec::new();
    if let Ok(path) = vault.canonicalize() {
        each_record(&Folder::open(&path)?, |record| take(&mut open, &record))?;
    }
    Ok(open)
}

pub(super) fn open_in(records: &[Record]) -> Vec<OpenRestore> {
    let mut open = Vec::new();
    records.iter().for_each(|record| take(&mut open, record));
    open
}

/// The id of what a record is about, and whether it is guarded work.
fn id_of(record: &Record) -> Option<(&str, bool)> {
    match record.event {
        Event::Guard => record.details.get("guard").and_then(Value::as_str).map(|id| (id, true)),
        _ => in_place_details(record).map(|(id, _)| (id, false)),
    }
}

/// Adds a restore that begins, and drops one that ends.
fn take(open: &mut Vec<OpenRestore>, record: &Record) {
    let is_id = |id: &str| id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some((id, is_guard)) = id_of(record).filter(|(id, _)| is_id(id)) else { return };
    let details = &record.details;
    let known = open.iter().position(|restore| restore.id == id);
    if record.outcome != Outcome::Intent {
        known.map(|place| open.remove(place));
        // One that came after it and went through has put things in order.
        let resolved = details.get("resolves").and_then(Value::as_str).filter(|_| record.outcome == Outcome::Success);
        open.retain(|restore| Some(restore.id.as_str()) != resolved);
        return;
    }
    let sources = details.get("sources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let targets = sources.iter().filter_map(|source| source["to"].as_str()).map(PathBuf::from).collect();
    let is_ready = details.get("stage").and_then(Value::as_str) == Some("ready");
    match known {
        Some(place) => {
            let restore = &mut open[place];
            restore.is_ready |= is_ready;
            restore.targets = targets;
            restore.record = record.clone();
        }
        // Somebody else's journal must not fill the memory.
        None if open.len() < OPEN_MAX => {
            open.push(OpenRestore { id: id.to_owned(), begun: record.time.clone(), is_guard, targets, is_ready, record: record.clone() });
        }
        None => {}
    }
}

const OPEN_MAX: usize = 100;
const ID_DIGITS: usize = 16;
