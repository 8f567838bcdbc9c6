//! What a restore takes away, in sentences.

use std::fmt::Write as _;

use airkeep::Label;
use airkeep::bundle::{SourceGap, TableGap};

use super::screen;

/// Lines about the gap of one source; the first word says whether it will be so or was so.
pub fn lines(label: &Label, gap: &SourceGap, verb: &str) -> String {
    let mut text = String::new();
    let compared = gap.tables.len() as u64;
    match gap.live.as_str() {
        "missing" => {
            push(&mut text, verb, &format!("{label}: unknown: there {} no live database", if verb == "lost" { "was" } else { "is" }))
        }
        "unreadable" => push(&mut text, verb, &format!("{label}: unknown: the live database cannot be opened")),
        _ if compared == 0 => push(&mut text, verb, &format!("{label}: no table is known to be append-only, so nothing was compared")),
        _ => {}
    }
    for table in gap.tables.iter().filter(|table| says_something(table)) {
        sentences(table)
            .into_iter()
            .for_each(|sentence| push(&mut text, verb, &format!("{label}.{}: {sentence}", screen::escape(&table.table))));
    }
    if text.is_empty() {
        push(&mut text, verb, &format!("{label}: no append-only row ({} compared)", screen::count(compared, "table")));
    }
    text
}

fn push(text: &mut String, verb: &str, sentence: &str) {
    let _ = writeln!(text, "{verb:<10}{sentence}");
}

fn says_something(table: &TableGap) -> bool {
    let counts = table.lost + table.resurrected + table.altered;
    counts > 0
        || table.certainty == "lower-bound"
        || table.at_least.is_some()
        || !table.only_live_columns.is_empty()
        || table.certainty == "unknown" && table.doubt.is_some() && table.presence != "snapshot-only"
}

/// What is to be said of one table.
pub fn sentences(table: &TableGap) -> Vec<String> {
    let mut sentences = Vec::new();
    let at_least = if table.certainty == "lower-bound" { "at least " } else { "" };
    if table.lost > 0 {
        sentences.push(format!("{at_least}{}{}{}", screen::count(table.lost, "row"), range(table), times(table)));
    }
    if table.grafted > 0 {
        sentences.push(format!("{} put back", screen::count(table.grafted, "row")));
    }
    if table.altered > 0 {
        sentences.push(format!("{} with another content than in the snapshot", screen::count(table.altered, "row")));
    }
    if table.resurrected > 0 {
        sentences.push(format!("{} that was deleted comes back", screen::count(table.resurrected, "row")));
    }
    if let Some([first, last]) = table.reused_ids.filter(|_| table.grafted < table.lost) {
        sentences.push(format!("ids {first} to {last} will be given out again"));
    }
    if !table.only_live_columns.is_empty() {
        let names: Vec<String> = table.only_live_columns.iter().map(|name| screen::escape(name)).collect();
        sentences.push(format!("columns that the snapshot lacks: {}", names.join(", ")));
    }
    if let Some(count) = table.at_least {
        sentences.push(format!("a later bundle had {} more", screen::count(count, "row")));
    }
    if let Some(doubt) = &table.doubt {
        sentences.push(format!("not certain: {}", screen::escape(doubt)));
    }
    sentences
}

fn range(table: &TableGap) -> String {
    let Some([first, last]) = &table.lost_range else { return String::new() };
    let key = screen::escape(&table.key.join(", "));
    match first == last {
        true => format!(", {key} {}", screen::escape(first)),
        false => format!(", {key} {} to {}", screen::escape(first), screen::escape(last)),
    }
}

fn times(table: &TableGap) -> String {
    let Some(times) = &table.times else { return String::new() };
    let (column, first, last) = (screen::escape(&times.column), screen::escape(&times.first), screen::escape(&times.last));
    match first == last {
        true => format!(", {column} {first}"),
        false => format!(", {column} {first} to {last}"),
    }
}
