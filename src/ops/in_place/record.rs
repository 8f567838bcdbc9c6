//! What the journal says of a restore in place (docs/journal.md): that it begins, that all is ready, what it took away, how it ended.

use serde_json::{Map, Value, json};

use super::Prepared;
use super::held::HeldTarget;
use super::report::{TargetOutcome, TargetResult};
use super::words::gap_sentences;
use crate::bundle::{Id, Label, SourceGap};
use crate::crypto::Digest;
use crate::database::{Access, table_hash};
use crate::journal::{Event, Outcome, Record};
use crate::ops::continuity::RESTORED;
use crate::ops::recorder::{Note, chain, subject};
use crate::ops::{BackupReport, Failure, TableHistory, TableRecord};

/// The word that tells these records from those of a restore into a folder.
pub(super) const IN_PLACE: &str = "in-place";

/// Which life of a database this is: each restore in place begins another one, whose parent is the one that the snapshot was taken of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Incarnation {
    /// The one that begins.
    pub number: u64,
    /// The one that the snapshot was taken of, if its backup is on record.
    pub parent: Option<u64>,
    /// The one that is replaced.
    pub replaced: u64,
}

impl Incarnation {
    /// Counts it from the journal.
    pub(super) fn of(label: &Label, bundle: Id, records: &[Record]) -> Incarnation {
        let mut current = 1;
        let mut parent = None;
        for record in records.iter().filter(|record| record.outcome != Outcome::Intent) {
            match record.event {
                Event::Restore if restores(record, label) => current += 1,
                Event::Backup
                    if record.outcome == Outcome::Success && record.subject.as_ref().is_some_and(|subject| subject.bundle == bundle) =>
                {
                    parent = Some(current);
                }
                _ => {}
            }
        }
        Incarnation { number: current + 1, parent, replaced: current }
    }
}

/// Whether a restore in place, however it ended, has replaced the database of this label.
pub(in crate::ops) fn restores(record: &Record, label: &Label) -> bool {
    let sources = record.details.get("sources").and_then(Value::as_array);
    record.details.get("mode").and_then(Value::as_str) == Some(IN_PLACE)
        && sources.is_some_and(|sources| sources.iter().any(|source| source["label"] == label.as_str() && source["replaced"] == true))
}

/// What the journal needs to know of a safety bundle.
pub(super) fn safety_record(safety: Option<&BackupReport>) -> Value {
    safety.map_or(Value::Null, |safety| {
        let subject = subject(&safety.core, &safety.path);
        json!({ "bundle": subject.bundle, "sequence": subject.sequence, "file": subject.file })
    })
}

impl Prepared {
    fn note(&self, event: Event, outcome: Outcome, more: &Value) -> Note {
        let mut details = json!({
            "mode": IN_PLACE,
            "restore": self.id,
            "ticket": self.request.ticket,
            "resolves": self.request.resolves,
        });
        let object = details.as_object_mut().expect("an object");
        object.extend(more.as_object().cloned().unwrap_or_default());
        Note::new(event, outcome, Some(subject(&self.core, &self.request.bundle)), details)
    }

    /// That it begins: nothing is locked yet.
    pub(super) fn begun(&self) -> Note {
        let sources: Vec<Value> = self
            .plan
            .targets
            .iter()
            .map(|target| json!({ "label": target.source.label, "to": target.path.to_string_lossy(), "captured_at": target.source.captured_at }))
            .collect();
        let without_safety = self.request.omit_safety;
        self.note(Event::Restore, Outcome::Intent, &json!({ "stage": "begun", "sources": sources, "without_safety": without_safety }))
    }

    /// That the next thing is to replace: what it takes to find out later how far it came.
    pub(super) fn ready(
        &self,
        held: &[HeldTarget<'_>],
        safety: Option<&BackupReport>,
        watched: &[TableRecord],
        records: &[Record],
    ) -> Note {
        let incarnation = |target: &HeldTarget<'_>| Incarnation::of(&target.ready.source.label, self.core.id, records);
        let sources: Vec<Value> = held.iter().map(|target| ready_source(target, incarnation(target))).collect();
        let more = json!({ "stage": "ready", "sources": sources, "safety": safety_record(safety), "append_only": watched });
        self.note(Event::Restore, Outcome::Intent, &more)
    }

    /// What it took away, or would have.
    pub(super) fn gap_note(&self, outcomes: &[TargetOutcome], safety: Option<&BackupReport>) -> Note {
        let replaced = outcomes.iter().filter(|outcome| outcome.is_replaced());
        let sources: Vec<Value> = replaced.map(gap_source).collect();
        let mut note = self.note(Event::Gap, Outcome::Success, &json!({ "sources": sources, "safety": safety_record(safety) }));
        if let Some(safety) = safety {
            note.subject = Some(subject(&safety.core, &safety.path));
        }
        note
    }

    /// How it ended, with what became of each target.
    pub(super) fn ended(&self, outcomes: &[TargetOutcome], safety: Option<&BackupReport>, watched: &[TableRecord]) -> Note {
        let is_complete = outcomes.iter().all(TargetOutcome::is_confirmed);
        let outcome = if is_complete { Outcome::Success } else { Outcome::Failure };
        let sources: Vec<Value> = outcomes.iter().map(ended_source).collect();
        let more = json!({ "sources": sources, "safety": safety_record(safety), "append_only": watched });
        self.note(Event::Restore, outcome, &more)
    }

    /// That it ended before anything was replaced.
    pub(super) fn failed(&self, failure: &Failure) -> Note {
        self.note(Event::Restore, Outcome::Failure, &json!({ "error": chain(failure), "replaced": 0 }))
    }
}

fn ready_source(target: &HeldTarget<'_>, incarnation: Incarnation) -> Value {
    let before = target.before.as_ref().map(|before| {
        json!({
            "device": before.device,
            "inode": before.inode,
            "size_bytes": before.size_bytes,
            "journal_mode": if before.is_wal { "wal" } else { "delete" },
            "page_size": before.page_size,
            "application_id": before.application_id,
            "schema_cookie": before.schema_cookie,
        })
    });
    let after = target.after.as_ref().map(|after| json!({ "pages_sha256": after.pages_sha256, "schema_cookie": after.schema_cookie }));
    json!({
        "label": target.ready.source.label,
        "to": target.installation.path().to_string_lossy(),
        "way": target.installation.way().name(),
        "before": before,
        "after": after,
        "aside": target.installation.aside().map(|path| path.to_string_lossy().into_owned()),
        "captured_at": target.ready.source.captured_at,
        "incarnation": incarnation,
        "words": words(&target.gap.record),
        "gap": target.gap.record,
    })
}

/// The gap as people say it.
pub(super) fn words(gap: &SourceGap) -> Vec<String> {
    gap_sentences(gap).into_iter().map(|(table, text)| table.map_or_else(|| text.clone(), |table| format!("{table}: {text}"))).collect()
}

fn gap_source(outcome: &TargetOutcome) -> Value {
    json!({
        "label": outcome.label,
        "to": outcome.path.to_string_lossy(),
        "way": outcome.way.name(),
        "captured_at": outcome.captured_at,
        "incarnation": outcome.incarnation,
        "words": words(&outcome.gap),
        "gap": outcome.gap,
    })
}

fn ended_source(outcome: &TargetOutcome) -> Value {
    let (is_replaced, comparison, error) = match &outcome.result {
        TargetResult::Replaced(report) => (true, Some(report.comparison.name()), None),
        TargetResult::Unconfirmed(error) => (true, None, Some(chain(error))),
        TargetResult::Failed(error) => (false, None, Some(chain(error))),
        TargetResult::NotTried => (false, None, None),
    };
    let totals = outcome.totals();
    json!({
        "label": outcome.label,
        "to": outcome.path.to_string_lossy(),
        "way": outcome.way.name(),
        "captured_at": outcome.captured_at,
        "replaced": is_replaced,
        "comparison": comparison,
        "error": error,
        "incarnation": outcome.incarnation,
        "lost": totals.lost,
        "altered": totals.altered,
        "grafted": totals.grafted,
        "certainty": totals.certainty,
    })
}

/// What watched tables are in the image that is about to be installed, so that the next backup accuses nobody of what this restore did.
pub(super) fn watched_tables(held: &[HeldTarget<'_>], histories: &[TableHistory]) -> Vec<TableRecord> {
    let mut records = Vec::new();
    for target in held {
        let label = &target.ready.source.label;
        let Ok(connection) = target.ready.image.open(Access::ReadOnly) else { continue };
        for history in histories.iter().filter(|history| history.label == *label) {
            let hash = table_hash(&connection, &history.table).ok();
            records.push(TableRecord {
                label: label.clone(),
                table: history.table.clone(),
                columns: hash.as_ref().map_or_else(Vec::new, |hash| hash.columns.clone()),
                rows: hash.as_ref().map(|hash| hash.rows),
                sha256: hash.as_ref().map(|hash| Digest(hash.sha256)),
                continuity: RESTORED.to_owned(),
            });
        }
    }
    records
}

/// The details of a record, as far as they are about a restore in place.
pub(super) fn in_place_details(record: &Record) -> Option<(&str, &Map<String, Value>)> {
    let details = &record.details;
    let is_in_place = record.event == Event::Restore && details.get("mode").and_then(Value::as_str) == Some(IN_PLACE);
    details.get("restore").and_then(Value::as_str).filter(|_| is_in_place).map(|id| (id, details))
}
