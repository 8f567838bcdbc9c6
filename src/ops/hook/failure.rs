//! Why a hook did not hear an event, and what it said about that.

use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a hook did not take an event as it should. What the event tells of has happened all the same.
#[derive(Debug, thiserror::Error)]
pub enum HookFailure {
    /// The program could not be started.
    #[error("cannot start the hook '{program}'")]
    NotStarted {
        /// As the command line names it.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It ended with another status than 0, or by a signal.
    #[error("the hook '{program}' failed ({status}){output}")]
    Failed {
        /// As the command line names it.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        output: HookOutput,
    },
    /// It did not end in time, and was ended.
    #[error("the hook '{program}' did not end within {} s and was ended{output}", limit.as_secs_f32())]
    TimedOut {
        /// As the command line names it.
        program: String,
        /// The time that it had.
        limit: Duration,
        /// What it said until then.
        output: HookOutput,
    },
    /// The system does not tell how it ended: somebody else has waited for it, or it cannot be killed.
    #[error("cannot learn how the hook '{program}' ended")]
    Lost {
        /// As the command line names it.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// The first 64 KiB of what a hook wrote to each of its outputs, as it wrote them.
///
/// `Display` gives an excerpt in one line that is harmless for a terminal, from standard error, else from standard output, with the words
/// that introduce it; nothing where it said nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct HookOutput {
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl fmt::Display for HookOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [&self.stderr, &self.stdout].into_iter().map(|bytes| excerpt(bytes)).find(|text| !text.is_empty());
        said.map_or(Ok(()), |said| write!(f, ", it said: {said}"))
    }
}

impl fmt::Debug for HookOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookOutput").field("stdout", &excerpt(&self.stdout)).field("stderr", &excerpt(&self.stderr)).finish()
    }
}

/// Beginning and end, since a Python traceback has its news in the last line; lines are joined by a bar.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join(" | ");
    let count = text.chars().count();
    let shown = if count <= 2 * EXCERPT_CHARACTERS {
        text
    } else {
        let head = text.chars().take(EXCERPT_CHARACTERS);
        head.chain(" … ".chars()).chain(text.chars().skip(count - EXCERPT_CHARACTERS)).collect()
    };
    shown.chars().flat_map(|c| if is_harmful(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Whether a terminal obeys the character, or reorders text by it (Unicode UAX #9), instead of showing it.
fn is_harmful(c: char) -> bool {
    c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

const EXCERPT_CHARACTERS: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_standard_error_before_standard_output_and_nothing_for_nothing() {
        let said = |stdout: &str, stderr: &str| HookOutput { stdout: stdout.into(), stderr: stderr.into() }.to_string();
        assert_eq!(said("out", "err\n"), ", it said: err");
        assert_eq!(said("out\n", " \n"), ", it said: out");
        assert_eq!(said("", "\n"), "");
    }

    #[test]
    fn an_excerpt_is_one_harmless_line_with_beginning_and_end() {
        assert_eq!(
            excerpt(b"Traceback:\n  \x1b[2Jx\xff\r\n\nError: \xe2\x80\xaeno"),
            "Traceback: | \\u{1b}[2Jx\u{fffd} | Error: \\u{202e}no"
        );
        let long = excerpt(format!("first{}last", "ö".repeat(10_000)).as_bytes());
        assert!(long.starts_with("first") && long.contains(" … ") && long.ends_with("last"));
        assert_eq!(long.chars().count(), 2 * EXCERPT_CHARACTERS + 3);
    }
}
