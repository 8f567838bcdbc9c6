//! Restores in place that were begun, and of which no record says how they ended.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::record::in_place_details;
use crate::bundle::UtcTime;
use crate::files::{FileError, Folder};
use crate::journal::{Outcome, Record, records_in};

/// One of them.
#[derive(Debug, Clone)]
pub struct OpenRestore {
    /// Stands in each of its records.
    pub id: String,
    /// When it was begun.
    pub begun: UtcTime,
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
    match vault.canonicalize() {
        Ok(path) => Ok(open_in(&records_in(&Folder::open(&path)?)?)),
        Err(_) => Ok(Vec::new()),
    }
}

pub(super) fn open_in(records: &[Record]) -> Vec<OpenRestore> {
    let mut open: Vec<OpenRestore> = Vec::new();
    for record in records {
        let Some((id, details)) = in_place_details(record) else { continue };
        if record.outcome != Outcome::Intent {
            open.retain(|restore| restore.id != id);
            continue;
        }
        let sources = details.get("sources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let targets = sources.iter().filter_map(|source| source["to"].as_str()).map(PathBuf::from).collect();
        let is_ready = details.get("stage").and_then(Value::as_str) == Some("ready");
        match open.iter_mut().find(|restore| restore.id == id) {
            Some(restore) => {
                restore.is_ready |= is_ready;
                restore.targets = targets;
                restore.record = record.clone();
            }
            None => open.push(OpenRestore { id: id.to_owned(), begun: record.time.clone(), targets, is_ready, record: record.clone() }),
        }
    }
    open
}
