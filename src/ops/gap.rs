//! What restores in place took away, as the journal tells it: no key is needed, and no bundle is read.
//!
//! Each restore that replaced something has one `gap` event, also where no row was lost (docs/journal.md). What came before and after it under the
//! same restore id tells the rest: when it was begun, by which way, how it ended. Nothing is judged here; that the journal is to be
//! believed is [`Audit`](super::Audit)'s to say. The rows themselves are in the safety bundle ([`ExportRows`]).

mod capsule;
mod csv;
mod export;

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use super::in_place::{Incarnation, Totals, totals};
use super::{Failure, journal_of};
use crate::bundle::{SourceGap, UtcTime};
use crate::crypto::PublicKey;
use crate::journal::{Actor, Event, Outcome, Record, Subject};

pub use capsule::{CapsuleFault, RowCounts};
pub(super) use csv::Sheet;
pub use export::{ExportReport, ExportRows, RowFormat, RowTarget};

/// One restore in place, and what it took away.
#[derive(Debug, Clone, Serialize)]
pub struct RecordedGap {
    /// Number of the event in the journal.
    pub record: u64,
    /// When it was recorded.
    pub time: UtcTime,
    /// The public key that signs the event, if it names one.
    pub signer: Option<PublicKey>,
    /// The id in each record of the restore.
    pub restore: Option<String>,
    /// When the restore was begun.
    pub begun: Option<UtcTime>,
    /// How it ended; nothing if no record says so.
    pub outcome: Option<Outcome>,
    /// The record that says how it ended.
    pub outcome_record: Option<u64>,
    /// Whether the run was killed, and a later one found out what had become of it.
    pub recorded_late: bool,
    /// Who restored.
    pub actor: Actor,
    /// On which machine.
    pub host: String,
    /// Why.
    pub reason: Option<String>,
    /// A number under which others know of it.
    pub ticket: Option<String>,
    /// The bundle that was restored.
    pub bundle: Option<Subject>,
    /// The bundle that holds the state before, and the rows.
    pub safety: Option<Subject>,
    /// The databases that were replaced.
    pub sources: Vec<GapSource>,
}

/// What one database lost.
#[derive(Debug, Clone, Serialize)]
pub struct GapSource {
    /// Its label.
    pub label: String,
    /// The file that was replaced.
    pub to: String,
    /// `exclusive`, `online` or `replace`.
    pub way: Option<String>,
    /// The moment of the snapshot.
    pub captured_at: Option<UtcTime>,
    /// `equal`, or `overtaken` if others wrote before it could be compared.
    pub comparison: Option<String>,
    /// Which life of the database began.
    pub incarnation: Option<Incarnation>,
    /// What is gone; nothing if this release cannot read what was recorded.
    pub gap: Option<SourceGap>,
    /// Sums over its tables.
    pub totals: Option<Totals>,
}

/// All gaps that the journal of a vault tells of, oldest first.
///
/// # Errors
/// [`Failure::NoVault`], what the file system says.
pub fn recorded_gaps(vault: &Path) -> Result<Vec<RecordedGap>, Failure> {
    let records = journal_of(vault)?;
    Ok(records.iter().filter(|record| record.event == Event::Gap).map(|record| RecordedGap::of(record, &records)).collect())
}

/// One of them: by the number of its event, else the newest.
///
/// # Errors
/// [`Failure::NoGap`], and those of [`recorded_gaps`].
pub fn recorded_gap(vault: &Path, number: Option<u64>) -> Result<RecordedGap, Failure> {
    let mut gaps = recorded_gaps(vault)?;
    let known = gaps.iter().map(|gap| gap.record).collect();
    let place = gaps.iter().rposition(|gap| number.is_none_or(|number| gap.record == number));
    place.map(|place| gaps.swap_remove(place)).ok_or(Failure::NoGap { number, known })
}

impl RecordedGap {
    /// Sums over all databases; a database whose record cannot be read makes everything unknown.
    pub fn totals(&self) -> Totals {
        // Where no database is told of, nothing was compared.
        let certainty = if self.sources.is_empty() { "not-compared" } else { "exact" };
        let mut all = Totals { lost: 0, altered: 0, grafted: 0, certainty };
        for source in &self.sources {
            let totals = source.totals.unwrap_or(Totals { lost: 0, altered: 0, grafted: 0, certainty: "unknown" });
            all.lost += totals.lost;
            all.altered += totals.altered;
            all.grafted += totals.grafted;
            all.certainty = match (all.certainty, totals.certainty) {
                ("unknown", _) | (_, "unknown") => "unknown",
                ("lower-bound", _) | (_, "lower-bound") => "lower-bound",
                ("not-compared", _) | (_, "not-compared") => "not-compared",
                _ => "exact",
            };
        }
        all
    }

    /// Whether it is certain that no row was lost or altered.
    pub fn is_none(&self) -> bool {
        let Totals { lost, altered, certainty, .. } = self.totals();
        lost == 0 && altered == 0 && certainty == "exact"
    }

    fn of(record: &Record, records: &[Record]) -> RecordedGap {
        let restore = record.details.get("restore").and_then(text);
        let family: Vec<&Record> = records.iter().filter(|other| restore.is_some() && is_of(other, restore.as_deref())).collect();
        let begun = family.iter().find(|other| other.outcome == Outcome::Intent);
        let ended = family.iter().rfind(|other| other.outcome != Outcome::Intent);
        let sources = record.details.get("sources").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let ticket = || family.iter().find_map(|other| text(other.details.get("ticket")?));
        RecordedGap {
            record: record.sequence,
            time: record.time.clone(),
            signer: record.signer,
            begun: begun.map(|begun| begun.time.clone()),
            outcome: ended.map(|ended| ended.outcome),
            outcome_record: ended.map(|ended| ended.sequence),
            recorded_late: record.details.get("recorded_late") == Some(&Value::Bool(true)),
            // Who finds out later how a killed run ended is not who began it.
            actor: begun.map_or(&record.actor, |begun| &begun.actor).clone(),
            host: begun.map_or(&record.host, |begun| &begun.host).clone(),
            reason: begun.map_or(&record.reason, |begun| &begun.reason).clone(),
            ticket: record.details.get("ticket").and_then(text).or_else(ticket),
            bundle: begun.and_then(|begun| begun.subject.clone()),
            safety: record.details.get("safety").and_then(|safety| serde_json::from_value(safety.clone()).ok()),
            sources: sources.iter().map(|source| GapSource::of(source, &family)).collect(),
            restore,
        }
    }
}

impl GapSource {
    fn of(source: &Value, family: &[&Record]) -> GapSource {
        let label = text(&source["label"]).unwrap_or_default();
        // The event itself, else the last record of the restore that says it: releases differ in what they say where.
        let places = || std::iter::once(source).chain(family.iter().rev().filter_map(|record| source_in(record, &label)));
        let said = |member: &str| places().find_map(|place| place.get(member).filter(|value| !value.is_null()));
        let gap: Option<SourceGap> = serde_json::from_value(source["gap"].clone()).ok();
        GapSource {
            to: text(&source["to"]).unwrap_or_default(),
            way: said("way").and_then(text),
            captured_at: said("captured_at").and_then(text).and_then(|time| UtcTime::parse(&time)),
            comparison: said("comparison").and_then(text),
            incarnation: said("incarnation").and_then(|value| serde_json::from_value(value.clone()).ok()),
            totals: gap.as_ref().map(totals),
            gap,
            label,
        }
    }
}

fn is_of(record: &Record, restore: Option<&str>) -> bool {
    record.event == Event::Restore && record.details.get("restore").and_then(Value::as_str) == restore
}

/// What a record says of one source.
fn source_in<'r>(record: &'r Record, label: &str) -> Option<&'r Value> {
    let sources = record.details.get("sources")?.as_array()?;
    sources.iter().find(|source| source["label"] == label)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
