//! `airkeep restore resolve`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use airkeep::journal::Outcome;
use airkeep::ops::{Closing, Resolution, Resolve, ResolvedTarget, TargetState};
use clap::Args;
use serde_json::{Value, json};

use crate::cli::exit::{self, Exit};
use crate::cli::explain::Explained;
use crate::cli::record::RecordArguments;
use crate::cli::signers::SigningKeyArguments;
use crate::cli::{Report, backup, screen};

/// Find out how restores ended that could not say so, and record it
///
/// A restore in place records its intent before it changes anything. If it is killed, each of its targets has the old content or the new:
/// this opens each target (SQLite then takes back what was half done), tells which content it has, puts WAL mode back where it was
/// lost on the way, and closes the record. No key is needed. Where several targets of one restore have different states, or a schema was
/// changed since, somebody has to decide: restore again with --resolves, or close it with --as-it-is.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The vault whose journal has the record
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Close the record as it is, although the targets are at different states or it cannot be told
    #[arg(long)]
    as_it_is: bool,
    /// How long to wait for a locked database
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = backup::seconds, allow_negative_numbers = true)]
    busy_timeout: Duration,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let mut environment = self.record.environment();
        let resolve =
            Resolve { vault: self.vault, signing_key: self.signing.place(), busy_timeout: self.busy_timeout, as_it_is: self.as_it_is };
        let resolutions = resolve.run(&mut environment)?;
        let text = match resolutions.is_empty() {
            true => "no restore is open\n".to_owned(),
            false => resolutions.iter().map(text).collect(),
        };
        let error = resolutions.iter().find_map(still_open);
        let json = json!({ "resolutions": resolutions.iter().map(object).collect::<Vec<_>>() });
        Ok(Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: Vec::new(), error }.with_shortfalls(environment))
    }
}

/// Why one is not closed.
fn still_open(resolution: &Resolution) -> Option<Explained> {
    let (what, id) = (what(resolution), &resolution.open.id);
    match resolution.closing {
        Closing::Recorded(_) => None,
        Closing::Unrecorded => {
            let message = format!("the {what} {id} is still open: the vault's journal did not take the record of its end");
            Some(Explained::new(Exit::Failed, message, None))
        }
        Closing::Undecided => {
            let hint = "restore its targets again with --resolves ID, or close the record with --as-it-is";
            Some(Explained::new(Exit::Failed, format!("the restore {id} is still open"), Some(hint)))
        }
        Closing::Running => Some(Explained::new(Exit::Locked, format!("the guarded work {id} is still running"), None)),
    }
}

fn what(resolution: &Resolution) -> &'static str {
    if resolution.open.is_guard { "guard" } else { "restore" }
}

fn text(resolution: &Resolution) -> String {
    let recorded = match resolution.recorded() {
        None => "still open",
        Some(Outcome::Success) => "it was done, and is recorded so",
        Some(Outcome::Failure) => "it was not done, and is recorded so",
        Some(_) => "recorded as unknown",
    };
    let open = &resolution.open;
    let mut text = format!("{:<10}{}, begun {}: {recorded}\n", what(resolution), open.id, open.begun);
    if let Some(subject) = open.record.subject.as_ref().filter(|_| open.is_guard) {
        let _ = writeln!(text, "before    {}", screen::escape(&subject.file));
    }
    for target in &resolution.targets {
        let path = screen::escape(&target.path.to_string_lossy());
        let state = match &target.state {
            TargetState::Old => "has the old content".to_owned(),
            TargetState::New => "has the restored content".to_owned(),
            TargetState::Unclear(why) => format!("cannot be told: {}", screen::escape(why)),
        };
        let _ = writeln!(text, "target    {path} {state}");
        if target.is_mode_mended {
            let _ = writeln!(text, "          WAL mode was put back");
        }
        if let Some(aside) = &target.aside {
            let _ = writeln!(text, "aside     {}", screen::escape(&aside.to_string_lossy()));
        }
    }
    text
}

fn object(resolution: &Resolution) -> Value {
    json!({
        "kind": what(resolution),
        "restore": resolution.open.id,
        "bundle": resolution.open.record.subject.as_ref().map(|subject| &subject.file),
        "begun": resolution.open.begun,
        "recorded": resolution.recorded().map(|outcome| outcome.name()),
        "targets": resolution.targets.iter().map(target).collect::<Vec<_>>(),
    })
}

fn target(target: &ResolvedTarget) -> Value {
    let why = if let TargetState::Unclear(why) = &target.state { Some(why) } else { None };
    json!({
        "label": target.label,
        "path": target.path.to_string_lossy(),
        "state": target.state.name(),
        "why": why,
        "wal_mode_put_back": target.is_mode_mended,
        "aside": target.aside.as_ref().map(|path| path.to_string_lossy()),
    })
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep restore resolve\n  airkeep restore resolve --vault /srv/vault --json\n\n{}",
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage, Exit::Partial, Exit::NotFound, Exit::Locked, Exit::Bug])
    )
}
