//! `airkeep restore`.

use std::fmt::Write as _;
use std::path::PathBuf;

use airkeep::{Keyring, Label, Restore, RestoreReport, inspect};
use clap::Args;
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::signers::{SignerArguments, SigningKeyArguments};
use super::{Report, explain, json, screen};

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
    /// Restore the databases that are whole although other parts of the bundle are damaged (the exit code stays 13)
    #[arg(long)]
    accept_damage: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signers: SignerArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        // Nobody should type a passphrase to learn that this is no bundle.
        inspect(&self.bundle, &Keyring::default())?;
        let signers = self.signers.trusted()?;
        let ring = self.keys.ring(Purpose::Open)?;
        let restore = Restore {
            bundle: self.bundle.clone(),
            labels: self.labels,
            to: self.to,
            signers,
            signing_key: self.signing.place(),
            accept_damage: self.accept_damage,
        };
        let mut environment = self.record.environment();
        let report = restore.run(&ring, &mut environment)?;
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
            "manifest_path": report.manifest_path.as_ref().map(|path| path.to_string_lossy()),
            "findings": report.findings.iter().map(|finding| json::finding(&self.bundle, finding)).collect::<Vec<_>>(),
            "hurt": report.hurt,
        });
        Ok(Report {
            text: text(&report),
            json: json.as_object().cloned().unwrap_or_default(),
            warnings: warnings(&report),
            error: accepted(&report),
        }
        .with_shortfalls(environment))
    }
}

fn text(report: &RestoreReport) -> String {
    let mut text =
        String::from(if report.findings.is_empty() { "verified  L3\n" } else { "DAMAGED   L3, only whole databases were restored\n" });
    for label in &report.hurt {
        let _ = writeln!(text, "hurt      {label}: not restored");
    }
    for restored in &report.restored {
        let size = screen::size(restored.source.size_bytes);
        let _ = writeln!(
            text,
            "restored  {} ({size}, as of {})",
            screen::escape(&restored.path.to_string_lossy()),
            restored.source.captured_at
        );
    }
    if let Some(path) = &report.manifest_path {
        let _ = writeln!(text, "manifest  {}", screen::escape(&path.to_string_lossy()));
    }
    text
}

/// Damage that was accepted is still damage.
fn accepted(report: &RestoreReport) -> Option<Explained> {
    let message = "the bundle is damaged; only databases that are whole were restored";
    (!report.findings.is_empty()).then(|| Explained::new(Exit::Integrity, message, Some("get the others from another copy")))
}

fn warnings(report: &RestoreReport) -> Vec<String> {
    let damages = report.findings.iter().map(explain::finding);
    damages.chain(report.restored.iter().filter_map(|restored| explain::trouble(&restored.source))).collect()
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep restore BUNDLE.akb --to restored\n  airkeep restore BUNDLE.akb main tenants/acme --to restored --key-file backup.key\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug])
    )
}
