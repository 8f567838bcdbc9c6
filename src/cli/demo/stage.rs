//! What the spectator of the demo sees, and that nothing goes on before it was as expected.

use std::fmt::Write as _;
use std::io;

use serde_json::{Value, json};

use super::super::exit::Exit;
use super::super::explain::Explained;
use super::super::{screen, signals};
use super::place::{Place, Run};

/// Tells, runs, and checks.
pub(super) struct Stage {
    pub(super) place: Place,
    /// Nobody looks on where one JSON object is wanted.
    is_shown: bool,
    pauses: bool,
    steps: Vec<Value>,
}

impl Stage {
    pub(super) fn new(place: Place, is_shown: bool, pauses: bool) -> Stage {
        Stage { place, is_shown, pauses, steps: Vec::new() }
    }

    /// The commands that were run, for programs.
    pub(super) fn into_parts(self) -> (Place, Vec<Value>) {
        (self.place, self.steps)
    }

    /// A sentence to the spectator, in front of what is about to happen.
    pub(super) fn tell(&self, sentence: &str) -> Result<(), Explained> {
        if self.pauses && !self.steps.is_empty() {
            wait_for_enter()?;
        }
        self.show(&format!("\n{sentence}\n"));
        Ok(())
    }

    /// Runs a command of this program and shows it with its output, which is not to be longer than so many lines.
    pub(super) fn run(&mut self, sentence: &str, arguments: &[&str], expected: Exit, lines_max: usize) -> Result<Run, Explained> {
        self.tell(sentence)?;
        let command = arguments.iter().map(|word| shown(word)).collect::<Vec<_>>().join(" ");
        self.show(&format!("$ airkeep {command}\n"));
        let run = self.place.airkeep(arguments)?;
        self.steps.push(json!({ "command": arguments, "exit": run.code, "expected": expected.code() }));
        self.show(&output(&run, lines_max));
        if run.code == i32::from(expected.code()) {
            return Ok(run);
        }
        let message = format!("'airkeep {command}' ended with {}, and not with {}", run.code, expected.code());
        Err(Explained { causes: run.stderr.lines().map(str::to_owned).collect(), ..Explained::new(Exit::Failed, message, None) })
    }

    fn show(&self, text: &str) {
        if self.is_shown {
            // A reader that went away does not keep the demo from its end.
            screen::print(text);
        }
    }
}

fn output(run: &Run, lines_max: usize) -> String {
    let mut text = String::new();
    let count = run.stdout.lines().count();
    for line in run.stdout.lines().take(lines_max).chain(run.stderr.lines()) {
        let _ = writeln!(text, "{}", screen::escape(line));
    }
    if count > lines_max {
        let _ = writeln!(text, "… and {} more", screen::count((count - lines_max) as u64, "line"));
    }
    text
}

/// A word as it would be typed.
fn shown(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{word}'") }
}

/// Waits for Enter, or for the end of the input. Read byte by byte: what a buffer holds, nobody can wait for.
fn wait_for_enter() -> Result<(), Explained> {
    screen::print_error("[Enter]");
    let stdin = io::stdin();
    let mut byte = [0];
    loop {
        signals::wait_for_input(&stdin).map_err(|_| Explained::from(airkeep::Failure::Cancelled))?;
        match rustix::io::read(&stdin, &mut byte) {
            Ok(1) if byte[0] == b'\n' => return Ok(()),
            Ok(1) => {}
            _ => {
                screen::print_error("\n");
                return Ok(());
            }
        }
    }
}
