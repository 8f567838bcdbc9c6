//! Output to a person: results on standard output, everything else on standard error, and nothing that moves the cursor.

use std::io::{IsTerminal, Write};

use super::exit::Exit;
use super::explain::Explained;

/// Writes to standard output; false if that failed. A reader that went away has what it wanted, and is no failure.
pub fn print(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => true,
        Err(error) => {
            error_line(&format!("cannot write to standard output: {error}"));
            false
        }
    }
}

/// Writes to standard error.
pub fn print_error(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// One error line.
pub fn error_line(text: &str) {
    print_error(&format!("airkeep: {} {}\n", marked("error:", RED), escape(text)));
}

/// One warning line.
pub fn warning_line(text: &str) {
    print_error(&format!("airkeep: {} {}\n", marked("warning:", YELLOW), escape(text)));
}

/// An error with its causes and its hint. Who interrupts a program is told how things stand, and has made no error.
pub fn error(explained: &Explained) {
    match Exit::SIGNALS.contains(&explained.exit) {
        true => print_error(&format!("airkeep: {}\n", escape(&explained.message))),
        false => error_line(&explained.message),
    }
    for cause in &explained.causes {
        print_error(&format!("caused by: {}\n", escape(cause)));
    }
    if let Some(hint) = &explained.hint {
        print_error(&format!("{} {}\n", marked("hint:", CYAN), escape(hint)));
    }
}

/// A word in bold and colour where standard error shows them.
fn marked(word: &str, colour: &str) -> String {
    if is_coloured(&std::io::stderr()) { format!("\u{1b}[1;{colour}m{word}\u{1b}[0m") } else { word.to_owned() }
}

/// Whether a stream is a terminal on which more can be done than write lines.
pub fn is_terminal(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

/// Whether a stream shows colours, and nobody said that they are not wanted (<https://no-color.org>).
pub fn is_coloured(stream: &impl IsTerminal) -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && is_terminal(stream)
}

const RED: &str = "31";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// Makes text harmless for a terminal: names, notes and messages come from files that others wrote.
///
/// Control characters, line and paragraph separators and the marks that reorder text (Unicode UAX #9) are shown by their numbers.
pub fn escape(text: &str) -> String {
    text.chars().flat_map(|c| if is_harmful(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Whether a terminal obeys the character instead of showing it.
pub fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A size as people read it, in binary units.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A count with its noun.
pub fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with its digits in groups.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(escape("a\u{1b}[2Jb\r\u{7}\u{202e}c\u{2028}"), "a\\u{1b}[2Jb\\u{d}\\u{7}\\u{202e}c\\u{2028}");
        assert_eq!(escape("Größe 日本 🔑"), "Größe 日本 🔑");
    }

    #[test]
    fn sizes_and_counts_read_well() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_048_575, "1.0 MiB"), (1 << 30, "1.0 GiB")] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!((count(1, "row"), count(1_234_567, "row")), ("1 row".into(), "1,234,567 rows".into()));
    }
}
