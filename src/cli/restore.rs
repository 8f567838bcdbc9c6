//! `airkeep restore`.

use std::fmt::Write as _;
use std::path::PathBuf;

use airkeep::{Environment, Label, Restore, RestoreReport};
use clap::Args;
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{KeyArguments, Purpose};
use super::{Report, json, screen};

/// Get databases back out of a bundle, into a folder
///
/// The whole bundle is verified (level 3) while the databases are written into files that have no name yet. They get their
/// names, DIR/<label>.db, only if everything is in order, and never replace anything. Files that SQLite would replay
/// (-wal, -journal) under those names are refused, too.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The bundle
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Which sources to restore (default: all)
    #[arg(value_name = "LABEL", value_parser = Label::parse)]
    labels: Vec<Label>,
    /// The folder to restore into; made if it is missing
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    keys: KeyArguments,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let ring = self.keys.ring(Purpose::Open)?;
        let restore = Restore { bundle: self.bundle.clone(), labels: self.labels, to: self.to };
        let report = restore.run(&ring, &mut Environment::system())?;
        let size_bytes = self.bundle.metadata().map_or(0, |metadata| metadata.len());
        let sources: Vec<_> = report
            .restored
            .iter()
            .map(|restored| {
                let mut source = json::source(&restored.source);
                source["restored_to"] = json!(restored.path.to_string_lossy());
                source
            })
            .collect();
        let json = json!({
            "bundle": json::bundle(&self.bundle, size_bytes, &report.core),
            "level": "L3",
            "sources": sources,
            "manifest_path": report.manifest_path.to_string_lossy(),
        });
        Ok(Report {
            text: text(&report),
            json: json.as_object().cloned().unwrap_or_default(),
            warnings: warnings(&report),
            exit: Exit::Success,
        })
    }
}

fn text(report: &RestoreReport) -> String {
    let mut text = String::from("verified  L3\n");
    for restored in &report.restored {
        let size = screen::size(restored.source.size_bytes);
        let _ = writeln!(
            text,
            "restored  {} ({size}, as of {})",
            screen::escape(&restored.path.to_string_lossy()),
            restored.source.captured_at
        );
    }
    let _ = writeln!(text, "manifest  {}", screen::escape(&report.manifest_path.to_string_lossy()));
    text
}

fn warnings(report: &RestoreReport) -> Vec<String> {
    let sources = report.restored.iter().map(|restored| &restored.source);
    let troubled = sources.filter(|source| matches!(source.check.verdict.as_str(), "violations" | "corrupt"));
    troubled
        .map(|source| format!("{}: the {} check at capture found: {}", source.label, source.check.kind, source.check.messages.join("; ")))
        .collect()
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep restore BUNDLE.akb --to restored\n  airkeep restore BUNDLE.akb main tenants/acme --to restored --key-file backup.key\n\n{}",
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Key, Exit::Integrity, Exit::Unsupported])
    )
}
