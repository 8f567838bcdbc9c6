//! One gap in full, for somebody who has to account for it.

use std::fmt::Write as _;

use airkeep::bundle::{SourceGap, TableGap};
use airkeep::journal::{Outcome, Subject};
use airkeep::ops::{GapSource, RecordedGap, gap_sentences};

use super::super::screen;
use super::certainty;

/// The whole text.
pub(super) fn text(gap: &RecordedGap) -> String {
    let mut sheet = Sheet(String::new());
    let late = if gap.recorded_late { ", found out by a later run" } else { "" };
    sheet.row("record", &format!("{} of the journal, {}{late}", gap.record, gap.time));
    sheet.row("signed", &gap.signer.map_or("no".to_owned(), |signer| format!("by {}, by its own word", signer.fingerprint())));
    sheet.row(
        "restore",
        &format!("{}{}", or_unknown(gap.restore.as_deref()), gap.begun.as_ref().map_or(String::new(), |time| format!(", begun {time}"))),
    );
    sheet.row("outcome", &outcome(gap));
    who(&mut sheet, gap);
    sheet.row("why", &gap.reason.as_ref().map_or("no reason was given".to_owned(), |reason| format!("\"{reason}\"")));
    sheet.row("ticket", gap.ticket.as_deref().unwrap_or("none"));
    sheet.row("from", &gap.bundle.as_ref().map_or("not recorded".to_owned(), bundle));
    match &gap.safety {
        Some(safety) => sheet.row("kept", &format!("the state before, in safety bundle {}", bundle(safety))),
        None => sheet.row("kept", "nothing: there was no state before, or no safety bundle was made"),
    }
    let totals = gap.totals();
    let counts = [(totals.lost, "lost"), (totals.altered, "altered"), (totals.grafted, "put back")];
    let counts: Vec<String> = counts.iter().map(|(count, word)| format!("{} {word}", screen::grouped(*count))).collect();
    sheet.row("rows", &format!("{}; {}", counts.join(", "), certainty(totals.certainty)));
    for source in &gap.sources {
        of_source(&mut sheet, source, gap.safety.as_ref());
    }
    sheet.0
}

/// Lines of a word and what it says; what comes from the journal cannot move the cursor.
struct Sheet(String);

impl Sheet {
    fn row(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name:<15}{}", screen::escape(value));
    }
}

fn who(sheet: &mut Sheet, gap: &RecordedGap) {
    let actor = &gap.actor;
    let mut text = format!("{}, uid {}", actor.user, actor.uid);
    if let Some(name) = &actor.sudo_user {
        let _ = write!(text, ", by sudo from {name}");
    }
    sheet.row("who", &text);
    sheet.row("operator", &actor.operator.as_ref().map_or("not given".to_owned(), |name| format!("{name}, by their own word")));
    sheet.row("host", &gap.host);
}

fn outcome(gap: &RecordedGap) -> String {
    let words = match gap.outcome {
        Some(Outcome::Success) => "success: all databases were replaced",
        Some(Outcome::Failure) => "failure: not all databases were replaced",
        Some(Outcome::Unknown | Outcome::Intent) => "unknown: it was closed as it was",
        None => return "not recorded: 'airkeep restore resolve' finds out".to_owned(),
    };
    gap.outcome_record.map_or(words.to_owned(), |record| format!("{words} (record {record})"))
}

fn bundle(subject: &Subject) -> String {
    format!("{} (number {}, id {})", subject.file, subject.sequence, subject.bundle)
}

fn of_source(sheet: &mut Sheet, source: &GapSource, safety: Option<&Subject>) {
    sheet.0.push('\n');
    sheet.row("database", &source.label);
    sheet.row("  path", &source.to);
    sheet.row("  snapshot", &source.captured_at.as_ref().map_or("time not recorded".to_owned(), |time| format!("of {time}")));
    sheet.row("  way", way(source.way.as_deref()));
    let compared = match source.comparison.as_deref() {
        Some("equal") => "read back, equal to what was to be there",
        Some("overtaken") => "others wrote to it before it could be compared",
        _ => "not recorded",
    };
    sheet.row("  compared", compared);
    if let Some(life) = source.incarnation {
        let parent = life.parent.map_or("unknown".to_owned(), |parent| parent.to_string());
        let lives = format!("{} began, {} was replaced; the snapshot was taken in {parent}", life.number, life.replaced);
        sheet.row("  incarnation", &lives);
    }
    let Some(gap) = &source.gap else {
        sheet.row("  rows", "what was recorded cannot be read by this release");
        return;
    };
    match gap.live.as_str() {
        "read" => {}
        "missing" => sheet.row("  live", "there was no database, so nothing could be compared"),
        other => sheet.row("  live", &format!("{other}: the database could not be opened, so nothing could be compared")),
    }
    if gap.tables.is_empty() {
        sheet.row("  tables", "none is known to be append-only");
    }
    gap.tables.iter().for_each(|table| of_table(sheet, gap, table));
    match (&gap.capsule, safety) {
        (Some(capsule), Some(safety)) => sheet
            .row("  capsule", &format!("the rows are in {}: {}, sha256 {}", safety.file, screen::size(capsule.size_bytes), capsule.sha256)),
        (None, _) => sheet.row("  capsule", "none: there is no row in it"),
        (Some(_), None) => sheet.row("  capsule", "not recorded in which bundle"),
    }
}

fn of_table(sheet: &mut Sheet, gap: &SourceGap, table: &TableGap) {
    let renamed = table.in_snapshot.as_ref().map_or(String::new(), |name| format!(", '{name}' in the snapshot"));
    let presence = match table.presence.as_str() {
        "live-only" => ", not in the snapshot",
        "snapshot-only" => ", only in the snapshot",
        "neither" => ", on neither side",
        _ => "",
    };
    sheet.row("  table", &format!("{} ({}{presence}{renamed})", table.table, table.declaration));
    let counts = [(table.lost, "lost"), (table.altered, "altered"), (table.resurrected, "resurrected"), (table.common, "unchanged")];
    let counts: Vec<String> = counts.iter().map(|(count, word)| format!("{} {word}", screen::grouped(*count))).collect();
    let key = if table.key.is_empty() { "by content".to_owned() } else { format!("by {}", table.key.join(", ")) };
    sheet.row("", &format!("{}; {}; compared {key}", counts.join(", "), certainty(&table.certainty)));
    let own = gap_sentences(gap).into_iter().filter(|(name, _)| name.as_ref() == Some(&table.table));
    own.for_each(|(_, sentence)| sheet.row("", &sentence));
    if let Some(times) = table.times.as_ref().filter(|times| times.without_time > 0) {
        sheet.row("", &format!("{} of the lost without a time", screen::count(times.without_time, "row")));
    }
    if !table.only_snapshot_columns.is_empty() {
        sheet.row("", &format!("columns that only the snapshot has: {}", table.only_snapshot_columns.join(", ")));
    }
}

fn way(name: Option<&str>) -> &str {
    match name {
        Some("exclusive") => "exclusive: nobody else could use it meanwhile",
        Some("online") => "online: others stayed connected",
        Some("replace") => "replace: by a new file, what was there was moved aside",
        Some(other) => other,
        None => "not recorded",
    }
}

fn or_unknown(text: Option<&str>) -> &str {
    text.unwrap_or("of unknown id")
}
