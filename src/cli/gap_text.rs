//! What a restore takes away, on the screen.

use std::fmt::Write as _;

use airkeep::Label;
use airkeep::bundle::SourceGap;
use airkeep::ops::gap_sentences;

use super::screen;

/// Lines about the gap of one source, each behind this word.
pub fn lines(label: &Label, gap: &SourceGap, word: &str) -> String {
    let mut text = String::new();
    for (table, sentence) in gap_sentences(gap) {
        let name = table.map_or_else(|| label.to_string(), |table| format!("{label}.{table}"));
        let _ = writeln!(text, "{word:<10}{}: {}", screen::escape(&name), screen::escape(&sentence));
    }
    if text.is_empty() {
        let _ = writeln!(text, "{word:<10}{label}: no append-only row ({} compared)", screen::count(gap.tables.len() as u64, "table"));
    }
    text
}
