//! The voice towards the site's own audit system: a command that is told every event.
//!
//! The event stands in the journal before the command hears of it, and nothing that the command does can undo it: a command that
//! fails, hangs or talks without end costs its time limit and gives a [`HookFailure`], which the journal records. No shell is between
//! us and the command, and a value fills a placeholder only after the words have been divided, so that no reason, actor or file name
//! becomes another argument. Who calls this asks [`Hook::is_inside_one`] first: a hook that runs this program must not set off hooks
//! without end.

mod child;
mod failure;
mod template;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub use failure::{HookFailure, HookOutput};
pub use template::HookSyntaxError;
pub(super) use template::{rooted, words};

use super::surroundings::without_secrets;
use child::Ending;
use template::Template;

/// A command that hears of every event.
#[derive(Debug, Clone)]
pub struct Hook {
    program: String,
    arguments: Vec<Template>,
    time_limit: Duration,
}

/// What a hook is told: `json` goes to standard input as one line; the others fill the placeholders.
#[derive(Debug, Clone, Copy)]
pub struct HookEvent<'e> {
    /// The journal's record, one JSON object.
    pub json: &'e str,
    /// The event's name, such as `backup`.
    pub event: &'e str,
    /// Who caused it.
    pub actor: &'e str,
    /// What was done, in words.
    pub action: &'e str,
    /// Why, in the words of who did it; empty where nobody said.
    pub reason: &'e str,
    /// The bundle that it is about; empty where there is none.
    pub bundle: &'e str,
    /// How it ended.
    pub outcome: &'e str,
    /// When, UTC.
    pub time: &'e str,
    /// The machine's name.
    pub host: &'e str,
    /// The vault's folder.
    pub vault: &'e str,
}

impl Hook {
    /// Parses a command line: words divided by blanks, quotes and backslashes as in sh, and nothing is expanded but `{placeholders}`.
    ///
    /// Within single quotes everything stands for itself; within double quotes a backslash protects `"`, `\`, `$`, a back quote and a line
    /// end; elsewhere it protects the next character. Braces have their meaning everywhere, also in quotes; `{{` and `}}` are braces.
    ///
    /// # Security
    ///
    /// The program itself has no placeholder: no event chooses what runs. A value that begins with `-` is passed as it is; whether the
    /// command takes it for an option of its own is decided by the template: with `--reason={reason}` no command can.
    ///
    /// # Errors
    ///
    /// Nothing to run, a quote or a backslash without its end, a placeholder that does not exist, a single closing brace.
    pub fn parse(text: &str) -> Result<Hook, HookSyntaxError> {
        let mut words = template::words(text)?.into_iter();
        let program = words.next().filter(|word| !word.is_empty()).ok_or(HookSyntaxError::Empty)?;
        let program = Template::parse(&program)?.into_fixed().ok_or(HookSyntaxError::ProgramNotFixed { program })?;
        let arguments = words.map(|word| Template::parse(&word)).collect::<Result<_, _>>()?;
        Ok(Hook { program, arguments, time_limit: DEFAULT_TIME_LIMIT })
    }

    /// The command line with its program looked for in a folder, where it is named by a relative path with a `/` in it.
    ///
    /// # Errors
    /// As [`Hook::parse`].
    pub fn rooted(text: &str, folder: &Path) -> Result<String, HookSyntaxError> {
        let rooted = template::rooted(text, &folder.to_string_lossy(), &['{', '}'])?;
        Hook::parse(&rooted).map(|_| rooted)
    }

    /// What is run.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The same with another time limit; 10 seconds unless told.
    pub fn with_time_limit(self, limit: Duration) -> Hook {
        Hook { time_limit: limit, ..self }
    }

    /// Whether this process was started by a hook, directly or further up; then it must call none itself.
    pub fn is_inside_one() -> bool {
        std::env::var_os(IN_HOOK).is_some()
    }

    /// Tells the command one event, and waits until it ends or its time is up.
    ///
    /// It comes back at the latest about two seconds after the time limit, whatever the command and its children do. When it comes back,
    /// nothing is left of the command's process group; what left the group (`setsid`) is no longer looked after.
    ///
    /// # Errors
    ///
    /// The command could not be started, ended with something else than 0, or did not end in time. That it did not read what it was
    /// told is no error.
    pub fn tell(&self, event: &HookEvent<'_>) -> Result<(), HookFailure> {
        // A line end outside of the strings of a JSON object means as much as a blank; within them it cannot be.
        let line = event.json.replace(['\n', '\r'], " ") + "\n";
        let program = || self.program.clone();
        let child = self.command(event).spawn().map_err(|source| HookFailure::NotStarted { program: program(), source })?;
        match child::converse(child, line.as_bytes(), self.time_limit) {
            Ok((Ending::Ended(status), _)) if status.success() => Ok(()),
            Ok((Ending::Ended(status), output)) => Err(HookFailure::Failed { program: program(), status, output }),
            Ok((Ending::TimedOut, output)) => Err(HookFailure::TimedOut { program: program(), limit: self.time_limit, output }),
            Err(source) => Err(HookFailure::Lost { program: program(), source }),
        }
    }

    /// The command for one event. What this process has opened is closed on exec (the standard library and SQLite see to that); what it
    /// was started with is the program's business, which marks all of it at its start.
    fn command(&self, event: &HookEvent<'_>) -> Command {
        let mut command = child::piped(&self.program);
        without_secrets(&mut command)
            .args(self.arguments.iter().map(|argument| argument.fill(event)))
            .env("AIRKEEP_EVENT", template::single_line(event.event))
            .env(IN_HOOK, "1");
        command
    }
}

/// Stands in the environment of every hook.
const IN_HOOK: &str = "AIRKEEP_IN_HOOK";

const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(10);
