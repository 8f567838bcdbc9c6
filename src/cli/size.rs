//! `airkeep size`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::Label;
use airkeep::ops::{Facts, SizeReport, measure, measure_vault, sizes, source_bytes};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::{Report, reference, screen};

/// Show how large bundles are, and with a key what is in them
///
/// Of all bundles of the vault, or of one. Without a key that was named (nothing is asked for) only what is public is shown: the
/// sizes of the files. With one also the sizes of the databases, by label and in all.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// One bundle: a path, or 'latest' or a number in the vault (default: all of the vault)
    #[arg(value_name = "BUNDLE")]
    bundle: Option<String>,
    /// The folder of bundles
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let ring = self.keys.ring(Purpose::OnlyNamed)?;
        let report = match &self.bundle {
            Some(text) => measure(&reference::find(text, Some(&self.vault))?, &ring)?,
            None => measure_vault(&self.vault, &ring)?,
        };
        let labels = report.labels().into_iter().map(|(label, size)| {
            json!({ "label": label, "bundles": size.bundles, "source_bytes": size.source_bytes, "newest_bytes": size.newest_bytes })
        });
        let json = json!({
            "bundles": report.bundles.iter().map(object).collect::<Vec<_>>(),
            "labels": labels.collect::<Vec<_>>(),
            "size_bytes": report.size_bytes(),
            "source_bytes": report.source_bytes(),
            "percent": percent(report.size_bytes(), report.source_bytes()),
        });
        let warning = |(path, why): &(PathBuf, String)| format!("'{}': {why}", path.display());
        let warnings = report.unread.iter().map(warning).collect();
        Ok(Report { text: text(&report), json: json.as_object().cloned().unwrap_or_default(), warnings, error: None })
    }
}

fn object(facts: &Facts) -> Value {
    let source = |(label, size_bytes): (&Label, u64)| json!({ "label": label, "size_bytes": size_bytes });
    json!({
        "path": facts.path.to_string_lossy(),
        "id": facts.core.id,
        "sequence": facts.core.sequence,
        "kind": facts.core.kind,
        "created_at": facts.core.created_at,
        "codec": facts.core.codec,
        "size_bytes": facts.size_bytes,
        "source_bytes": source_bytes(facts),
        "percent": percent(facts.size_bytes, source_bytes(facts)),
        "sources": facts.manifest.as_ref().map(|manifest| sizes(manifest).map(source).collect::<Vec<_>>()),
    })
}

/// How many hundredths of the sources the bundle takes, rounded; nothing where that is unknown or there is nothing in it.
fn percent(size_bytes: u64, source_bytes: Option<u64>) -> Option<u64> {
    let source_bytes = source_bytes.filter(|bytes| *bytes > 0)?;
    Some((size_bytes.saturating_mul(100).saturating_add(source_bytes / 2)) / source_bytes)
}

fn text(report: &SizeReport) -> String {
    if report.bundles.is_empty() {
        return "no bundles\n".to_owned();
    }
    let mut text = String::new();
    let mut line = |name: &str, size: u64, sources: Option<u64>| {
        let held = sources.map_or(String::new(), |bytes| {
            let share = percent(size, Some(bytes)).map_or(String::new(), |percent| format!(" ({percent} %)"));
            format!(" of {}{share}", screen::size(bytes))
        });
        let _ = writeln!(text, "{name:<12} {:>10}{held}", screen::size(size));
    };
    for facts in &report.bundles {
        line(&format!("number {}", facts.core.sequence), facts.size_bytes, source_bytes(facts));
    }
    if report.bundles.len() > 1 {
        line("in all", report.size_bytes(), report.source_bytes());
    }
    for (label, size) in report.labels() {
        let (all, newest) = (screen::size(size.source_bytes), screen::size(size.newest_bytes));
        let _ = writeln!(text, "source       {label}: {newest}; {all} in {}", screen::count(size.bundles, "bundle"));
    }
    text
}

fn after_help() -> String {
    let exits = [Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!(
        "Examples:\n  airkeep size\n  airkeep size latest --key-file backup.key\n  airkeep size --vault /srv/vault --json\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&exits)
    )
}
