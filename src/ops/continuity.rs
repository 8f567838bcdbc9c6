//! Continuity: what the journal remembers of append-only tables, and what each backup finds when it compares.
//!
//! A backup records count and hash of every watched table. The next one hashes as many rows again: if they are not the same, somebody
//! changed rows that were never to change, past all triggers. So backups find tampering with the application's own audit trail.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::SourceSpec;
use super::in_place::restores;
use crate::bundle::{Label, Manifest, Source};
use crate::crypto::Digest;
use crate::database::{Continuity, TableHash, Watched};
use crate::journal::{Event, Outcome, Record};

/// A table that only grows, as the operator says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendOnly {
    /// In this source, else in each that has it.
    pub label: Option<Label>,
    /// Its name, in any case.
    pub table: String,
}

/// What a backup recorded of a watched table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// The source.
    pub label: Label,
    /// The table.
    pub table: String,
    /// Its columns.
    pub columns: Vec<String>,
    /// How many rows it had; null if it was gone or could not be hashed.
    pub rows: Option<u64>,
    /// The logical hash over them.
    pub sha256: Option<Digest>,
    /// What had become of the rows that were recorded before: `first`, `kept`, `unordered`,
    /// `restored` (a restore in place put the table back), or in which way they are not what they were.
    pub continuity: String,
}

/// A watched table over the whole history.
#[derive(Debug, Clone)]
pub struct TableHistory {
    /// The source.
    pub label: Label,
    /// The table.
    pub table: String,
    /// For each backup, and each restore in place, the bundle's number and what was recorded, oldest first.
    pub states: Vec<(u64, TableRecord)>,
}

impl TableHistory {
    /// Numbers of the backups that found the history rewritten.
    pub fn breaks(&self) -> impl Iterator<Item = (u64, &str)> {
        self.states.iter().filter(|(_, state)| is_broken(&state.continuity)).map(|(number, state)| (*number, state.continuity.as_str()))
    }
}

/// What the journal says of every watched table: what backups found, and what restores in place made of it.
pub fn table_histories(records: &[Record]) -> Vec<TableHistory> {
    let mut histories: BTreeMap<(String, String), TableHistory> = BTreeMap::new();
    let tells = |record: &&Record| match record.event {
        Event::Backup => record.outcome == Outcome::Success,
        // Of several databases some may have been replaced although the whole failed.
        Event::Restore => record.outcome != Outcome::Intent,
        _ => false,
    };
    for record in records.iter().filter(tells) {
        let Some(subject) = &record.subject else { continue };
        let tables = record.details.get("append_only").and_then(|tables| serde_json::from_value::<Vec<TableRecord>>(tables.clone()).ok());
        let is_told = |table: &TableRecord| record.event == Event::Backup || restores(record, &table.label);
        for table in tables.unwrap_or_default().into_iter().filter(is_told) {
            let key = (table.label.to_string(), table.table.to_ascii_lowercase());
            let new = || TableHistory { label: table.label.clone(), table: table.table.clone(), states: Vec::new() };
            histories.entry(key).or_insert_with(new).states.push((subject.sequence, table.clone()));
        }
    }
    histories.into_values().collect()
}

/// Which tables of a source are to be watched: those that are declared, and those that were watched when it was captured last.
pub(super) fn watched_in(spec: &SourceSpec, declared: &[AppendOnly], histories: &[TableHistory]) -> Vec<Watched> {
    let mut watched: Vec<Watched> = Vec::new();
    for history in histories.iter().filter(|history| history.label == spec.label) {
        // A table that was gone is not missed again.
        let before = history.states.last().and_then(|(_, state)| {
            let (rows, sha256) = state.rows.zip(state.sha256)?;
            Some(TableHash { columns: state.columns.clone(), rows, sha256: sha256.0 })
        });
        if before.is_some() {
            watched.push(Watched { table: history.table.clone(), before });
        }
    }
    for table in declared.iter().filter(|declared| declared.label.as_ref().is_none_or(|label| *label == spec.label)) {
        if !watched.iter().any(|known| known.table.eq_ignore_ascii_case(&table.table)) {
            watched.push(Watched { table: table.table.clone(), before: None });
        }
    }
    watched
}

/// What the journal will say of the watched tables of a bundle.
pub(super) fn records_of(manifest: &Manifest, found: &[(Label, String, Continuity)]) -> Vec<TableRecord> {
    let record = |(label, table, continuity): &(Label, String, Continuity)| {
        let source = manifest.sources.iter().find(|source| source.label == *label)?;
        let facts = source.tables.iter().find(|facts| facts.name.eq_ignore_ascii_case(table));
        // Declared for every source, and this one has no such table.
        if facts.is_none() && *continuity == Continuity::First {
            return None;
        }
        let logical = facts.and_then(|facts| facts.logical.as_ref());
        Some(TableRecord {
            label: label.clone(),
            table: facts.map_or_else(|| table.clone(), |facts| facts.name.clone()),
            columns: logical.map_or_else(Vec::new, |logical| logical.columns.clone()),
            rows: logical.map(|logical| logical.rows),
            sha256: logical.map(|logical| logical.sha256),
            continuity: continuity.name().to_owned(),
        })
    };
    found.iter().filter_map(record).collect()
}

/// What a bundle alone tells of its watched tables: what they were, and not whether that was kept.
pub(super) fn recorded_tables(manifest: &Manifest) -> Vec<TableRecord> {
    let of_source = |source: &Source| {
        let watched = source.tables.iter().filter(|table| source.append_only.contains(&table.name));
        let found = watched.map(|table| (source.label.clone(), table.name.clone(), Continuity::First));
        records_of(manifest, &found.collect::<Vec<_>>())
    };
    manifest.sources.iter().flat_map(of_source).collect()
}

/// What was rewritten since which backup: the words, and the details of a record.
pub(super) fn breaks(records: &[TableRecord], histories: &[TableHistory]) -> Vec<(String, Map<String, Value>)> {
    let describe = |record: &TableRecord| {
        let history = histories.iter().find(|history| history.label == record.label && history.table.eq_ignore_ascii_case(&record.table));
        let (since, rows) = history.and_then(|history| history.states.last()).map_or((0, None), |(number, state)| (*number, state.rows));
        let known = rows.unwrap_or(0);
        let what = match record.continuity.as_str() {
            "rewritten" => format!("some of the {known} rows that backup {since} sealed are not what they were"),
            "shrunk" => format!("{} rows are left of the {known} that backup {since} sealed", record.rows.unwrap_or(0)),
            "column-gone" => format!("a column that backup {since} sealed is gone"),
            _ => format!("the table with the {known} rows that backup {since} sealed is gone"),
        };
        let words = format!("history rewritten in table {}.{}: {what}", record.label, record.table);
        let details = json!({
            "label": record.label,
            "table": record.table,
            "problem": record.continuity,
            "since": since,
            "rows": known,
            "rows_now": record.rows,
        });
        (words, details.as_object().cloned().unwrap_or_default())
    };
    records.iter().filter(|record| is_broken(&record.continuity)).map(describe).collect()
}

/// Whether a word of [`TableRecord::continuity`] accuses somebody. A recorded restore accounts for itself.
fn is_broken(continuity: &str) -> bool {
    !matches!(continuity, "first" | "kept" | "unordered" | RESTORED)
}

/// The word for a table that a restore in place has put back.
pub(super) const RESTORED: &str = "restored";
