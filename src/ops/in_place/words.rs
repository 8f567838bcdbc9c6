//! What a restore takes away, in sentences: on the screen, in the journal, in a marker.

use crate::bundle::{SourceGap, TableGap};

/// Sentences about the gap of one source, each with the table that it is about; none if nothing is lost and all is certain.
pub fn gap_sentences(gap: &SourceGap) -> Vec<(Option<String>, String)> {
    let general = match gap.live.as_str() {
        "missing" => Some("unknown: there was no live database"),
        "unreadable" => Some("unknown: the live database could not be opened"),
        _ if gap.tables.is_empty() => Some("not known: no table is known to be append-only, so nothing was compared"),
        _ => None,
    };
    let mut sentences: Vec<(Option<String>, String)> = general.map(|text| (None, text.to_owned())).into_iter().collect();
    for table in &gap.tables {
        sentences.extend(of_table(table, general.is_some()).into_iter().map(|sentence| (Some(table.table.clone()), sentence)));
    }
    sentences
}

fn of_table(table: &TableGap, is_unknown_anyway: bool) -> Vec<String> {
    let mut sentences = Vec::new();
    let at_least = if table.certainty == "lower-bound" { "at least " } else { "" };
    if table.lost > 0 {
        let grafted = if table.grafted > 0 { format!("; {} of them put back", table.grafted) } else { String::new() };
        sentences.push(format!("{at_least}{}{}{}{grafted}", rows(table.lost), range(table), times(table)));
    }
    if table.altered > 0 {
        sentences.push(format!("{} with another content than in the snapshot", rows(table.altered)));
    }
    if table.resurrected > 0 {
        sentences.push(format!("{} that had been deleted, back again", rows(table.resurrected)));
    }
    if let Some([first, last]) = table.reused_ids.filter(|_| table.grafted == 0) {
        sentences.push(match first == last {
            true => format!("id {first} will be given out again"),
            false => format!("ids {first} to {last} will be given out again"),
        });
    }
    if !table.only_live_columns.is_empty() {
        sentences.push(format!("columns that the snapshot lacks: {}", table.only_live_columns.join(", ")));
    }
    if let Some(count) = table.at_least.filter(|count| *count > 0) {
        sentences.push(format!("a later bundle had {count} more"));
    }
    if let Some(doubt) = table.doubt.as_ref().filter(|_| !is_unknown_anyway) {
        sentences.push(format!("{}: {doubt}", if table.certainty == "unknown" { "unknown" } else { "not certain" }));
    }
    sentences
}

fn rows(count: u64) -> String {
    format!("{count} row{}", if count == 1 { "" } else { "s" })
}

fn range(table: &TableGap) -> String {
    table.lost_range.as_ref().map_or_else(String::new, |[first, last]| from_to(&table.key.join(", "), first, last))
}

fn times(table: &TableGap) -> String {
    table.times.as_ref().map_or_else(String::new, |times| from_to(&times.column, &times.first, &times.last))
}

fn from_to(name: &str, first: &str, last: &str) -> String {
    if first == last { format!(", {name} {first}") } else { format!(", {name} {first} to {last}") }
}
