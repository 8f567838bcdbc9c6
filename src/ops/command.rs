//! Commands of the site that are run around a restore: what stops an application, what checks its databases, what starts it again.
//!
//! No shell is between us and the command, and it has no time limit: how long an application needs to stop is its operator's
//! knowledge. It reads nothing, and what it prints goes to standard error, so that our own output stays whole.

use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::Environment;
use super::hook::{HookSyntaxError, rooted, words};
use super::recorder::chain;
use super::surroundings::without_secrets;
use crate::bundle::Label;
use crate::config::Config;

/// What stops an application, and what starts it.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// Run before anything is locked; if it fails, nothing is done.
    pub stop: Option<SiteCommand>,
    /// Run at the end, however it went, once the other was run.
    pub start: Option<SiteCommand>,
}

/// A program and its arguments.
#[derive(Debug, Clone)]
pub struct SiteCommand {
    words: Vec<String>,
}

/// Why a command was of no use.
#[derive(Debug, thiserror::Error)]
pub enum CommandFailure {
    /// The system could not start it.
    #[error("'{program}' cannot be started")]
    NotStarted {
        /// The program.
        program: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended with something else than success.
    #[error("'{program}' failed: {status}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
}

impl SiteCommand {
    /// Divides a command line into words, as a hook's is: quotes and backslashes as in a shell, and nothing else.
    ///
    /// # Errors
    /// Nothing to run, a quote or a backslash without its end.
    pub fn parse(text: &str) -> Result<SiteCommand, HookSyntaxError> {
        let words = words(text)?;
        match words.first().is_some_and(|program| !program.is_empty()) {
            true => Ok(SiteCommand { words }),
            false => Err(HookSyntaxError::Empty),
        }
    }

    /// The command line with its program looked for in a folder, where it is named by a relative path with a `/` in it.
    ///
    /// # Errors
    /// As [`SiteCommand::parse`].
    pub fn rooted(text: &str, folder: &Path) -> Result<String, HookSyntaxError> {
        let rooted = rooted(text, &folder.to_string_lossy(), &[])?;
        SiteCommand::parse(&rooted).map(|_| rooted)
    }

    /// What is run.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.words[0]
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn run(&self) -> Result<(), CommandFailure> {
        finish(Command::new(&self.words[0]).args(&self.words[1..]))
    }
}

impl std::fmt::Display for SiteCommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// Runs the application's own check of a restored database, where the configuration has one; what it finds is a shortfall, since the
/// database is restored.
pub(super) fn check(config: Option<&Config>, label: &Label, path: &Path, environment: &mut Environment) {
    let Some((config, words)) = config.and_then(|config| Some((config, config.database_of(label)?.check.as_ref()?))) else { return };
    // The check is run in another folder.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let text = path.to_string_lossy();
    let words: Vec<String> = words.iter().map(|word| word.replace("{path}", &text)).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(config.folder()).env("AIRKEEP_DATABASE", &path).env("AIRKEEP_LABEL", label.as_str());
    match finish(&mut command) {
        Ok(()) => environment.progress.note(&format!("checked {label}")),
        Err(failure) => environment.shortfalls.push(format!("'{label}' is restored, and its check says no: {}", chain(&failure))),
    }
}

fn finish(command: &mut Command) -> Result<(), CommandFailure> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::from(std::io::stderr()));
    match without_secrets(command).status() {
        Err(source) => Err(CommandFailure::NotStarted { program, source }),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandFailure::Failed { program, status }),
    }
}
