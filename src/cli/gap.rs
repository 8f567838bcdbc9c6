//! `airkeep gap`: which rows restores in place took away, and the rows themselves.

pub mod export;
mod show;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::ops::{RecordedGap, recorded_gap, recorded_gaps};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::{Report, keys, screen};

/// Account for the rows that restores in place took away
///
/// Before a restore in place replaces anything, the append-only rows that only the live database has are counted, and sealed with the
/// state before into a safety bundle. The journal tells how many there were, from when to when, and why: for that no key is needed. The
/// rows come out of the safety bundle, with its key.
#[derive(Args)]
#[command(after_long_help = after_help("airkeep gap list\n  airkeep gap show\n  airkeep gap export SAFETY.akb --to rows.jsonl"))]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List what each restore in place took away, oldest first
    ///
    /// Every restore in place that replaced something is there, also those that took no row away. The numbers are those of the journal.
    #[command(after_long_help = after_help("airkeep gap list\n  airkeep gap list --vault /srv/vault --json"))]
    List(List),
    /// Show one restore in full: who, when, why, from which bundle, and what became of each append-only table
    ///
    /// As the journal tells it, which is not judged here: 'airkeep audit verify' says whether it can be believed.
    #[command(after_long_help = after_help("airkeep gap show\n  airkeep gap show 17 --vault /srv/vault"))]
    Show(Show),
    Export(Box<export::Arguments>),
}

#[derive(Args)]
struct Vault {
    /// The folder of bundles
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    vault: Vault,
}

#[derive(Args)]
struct Show {
    /// Its number, as 'airkeep gap list' shows it
    #[arg(value_name = "N|latest", default_value = "latest", value_parser = number)]
    number: Number,
    #[command(flatten)]
    vault: Vault,
}

/// A number of the journal.
#[derive(Clone, Copy)]
enum Number {
    Latest,
    Of(u64),
}

fn number(text: &str) -> Result<Number, String> {
    match text {
        "latest" => Ok(Number::Latest),
        _ => text.parse().map(Number::Of).map_err(|_| "expected a number or 'latest'".to_owned()),
    }
}

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::List(list) => list.vault.json,
            Action::Show(show) => show.vault.json,
            Action::Export(export) => export.json,
        }
    }

    /// Whether the output is an answer, and not only news.
    pub fn is_asked_for_text(&self) -> bool {
        !matches!(self.action, Action::Export(_))
    }

    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        match &self.action {
            Action::List(list) => Some(&list.vault.vault),
            Action::Show(show) => Some(&show.vault.vault),
            Action::Export(export) => Some(export.place()),
        }
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        match self.action {
            Action::List(list) => Ok(listed(&recorded_gaps(&list.vault.vault)?)),
            Action::Show(show) => {
                let number = match show.number {
                    Number::Latest => None,
                    Number::Of(number) => Some(number),
                };
                let gap = recorded_gap(&show.vault.vault, number)?;
                Ok(report(show::text(&gap), &json!({ "gap": object(&gap) })))
            }
            Action::Export(export) => export.run(),
        }
    }
}

/// A gap for programs.
fn object(gap: &RecordedGap) -> Value {
    let mut value = json!(gap);
    value["totals"] = json!(gap.totals());
    value
}

fn report(text: String, json: &Value) -> Report {
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: Vec::new(), error: None }
}

fn listed(gaps: &[RecordedGap]) -> Report {
    let mut text: String = gaps.iter().map(line).collect();
    let all = gaps.len() as u64;
    let none = gaps.iter().filter(|gap| gap.is_none()).count() as u64;
    let _ = match (all, none) {
        (0, _) => writeln!(text, "no restore took rows away: none in place is recorded"),
        (_, none) if none == all => writeln!(text, "no restore took rows away ({} in place)", screen::count(all, "restore")),
        _ => writeln!(text, "{} in place, {} of them took no row away", screen::count(all, "restore"), screen::grouped(none)),
    };
    report(text, &json!({ "gaps": gaps.iter().map(object).collect::<Vec<_>>(), "without_gap": none }))
}

/// A gap in one line for people.
fn line(gap: &RecordedGap) -> String {
    let labels: Vec<&str> = gap.sources.iter().map(|source| source.label.as_str()).collect();
    let operator = gap.actor.operator.as_ref().or(gap.actor.sudo_user.as_ref()).map_or(String::new(), |name| format!(" ({name})"));
    let mut text =
        format!("{:>6}  {}  {}{operator}@{}  {}: {}", gap.record, gap.time, gap.actor.user, gap.host, labels.join(", "), amounts(gap));
    if let Some(reason) = &gap.reason {
        let _ = write!(text, "  \"{reason}\"");
    }
    screen::escape(&text) + "\n"
}

fn amounts(gap: &RecordedGap) -> String {
    let totals = gap.totals();
    if gap.is_none() {
        return "none".to_owned();
    }
    let mut text = format!("{} lost", screen::grouped(totals.lost));
    for (count, word) in [(totals.altered, "altered"), (totals.grafted, "put back")] {
        if count > 0 {
            let _ = write!(text, ", {} {word}", screen::grouped(count));
        }
    }
    text + ", " + certainty(totals.certainty)
}

/// How far counts can be trusted, in words.
fn certainty(word: &str) -> &str {
    match word {
        "lower-bound" => "at least",
        "unknown" => "not certain",
        "not-compared" => "no table known to be append-only",
        other => other,
    }
}

fn after_help(example: &str) -> String {
    let exits = [Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Bug];
    format!("Examples:\n  {example}\n\n{}", exit::table(&exits))
}

/// The same for the command that opens a bundle.
fn after_export_help(example: &str) -> String {
    let exits =
        [Exit::Success, Exit::Failed, Exit::Usage, Exit::Partial, Exit::NotFound, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!("Examples:\n  {example}\n\n{}\n\n{}", keys::HELP, exit::table(&exits))
}
