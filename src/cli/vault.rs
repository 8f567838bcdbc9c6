//! `airkeep vault`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::ops::{Rebuild, RebuildReport};
use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::signers::SigningKeyArguments;
use super::{Report, screen};

/// Look after a vault
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Begin a lost or damaged journal anew, with a record for each bundle that the keys open
    ///
    /// What else the old journal said is not in the new one, which says so in its first record. The old file is kept beside it.
    #[command(after_long_help = after_help())]
    Rebuild(Target),
}

#[derive(Args)]
struct Target {
    /// The folder of bundles
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        let Action::Rebuild(target) = &self.action;
        target.json
    }

    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        let Action::Rebuild(target) = &self.action;
        Some(&target.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let Action::Rebuild(target) = self.action;
        if !target.vault.exists() {
            return Err(airkeep::Failure::NoVault { path: target.vault }.into());
        }
        let ring = target.keys.ring(Purpose::Open)?;
        let mut environment = target.record.environment();
        let report = Rebuild { vault: target.vault, signing_key: target.signing.place() }.run(&ring, &mut environment)?;
        Ok(render(&report).with_shortfalls(environment))
    }
}

fn render(report: &RebuildReport) -> Report {
    let mut text = format!("recorded  {}\n", screen::count(report.recorded.len() as u64, "bundle"));
    if let Some(kept) = &report.kept_as {
        let _ = writeln!(text, "kept      the old journal as '{kept}'");
    }
    let warning = |(name, why): &(String, String)| format!("'{name}' has no record in the new journal: {why}");
    let json = json!({
        "recorded": report.recorded,
        "unrecorded": report.unrecorded.iter().map(|(name, why)| json!({ "file": name, "reason": why })).collect::<Vec<_>>(),
        "kept_as": report.kept_as,
    });
    let error = (!report.unrecorded.is_empty()).then(|| {
        let message = format!("{} without a record", screen::count(report.unrecorded.len() as u64, "bundle"));
        Explained::new(Exit::Partial, message, Some("give the keys that open them, too, and run it again"))
    });
    let warnings = report.unrecorded.iter().map(warning).collect();
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings, error }
}

fn after_help() -> String {
    let exits = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::Partial,
        Exit::NotFound,
        Exit::Locked,
        Exit::Key,
        Exit::Integrity,
        Exit::Unsupported,
        Exit::Bug,
    ];
    format!("Examples:\n  airkeep vault rebuild --key-file backup.key\n\n{}\n\n{}", keys::HELP, exit::table(&exits))
}
