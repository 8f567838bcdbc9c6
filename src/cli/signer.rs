//! `airkeep signer`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::ops::{SignerReport, rotate_signer, show_signer};
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::record::RecordArguments;
use super::signers::SigningKeyArguments;
use super::{Report, screen};

/// Show or change who signs the bundles of a vault
#[derive(Args)]
#[command(after_long_help = after_help("airkeep signer show\n  airkeep signer rotate --vault /srv/vault"))]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show the signer, whether its private key is here, and who signed before
    #[command(after_long_help = after_help("airkeep signer show"))]
    Show(Signer),
    /// Make a new signing key, for which the old one signs
    ///
    /// Bundles that are sealed from now on carry the new signature. Whoever pinned the old fingerprint follows it with the vault's file
    /// 'signer-changes'. The old private key stays where it is: it signs the key slots of older bundles. If it was stolen, that file proves
    /// nothing: write the new fingerprint down and pin that.
    #[command(after_long_help = after_help("airkeep signer rotate --vault /srv/vault"))]
    Rotate(Signer),
}

#[derive(Args)]
struct Signer {
    /// The folder of bundles
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Show(signer) | Action::Rotate(signer) => signer.json,
        }
    }

    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        let (Action::Show(signer) | Action::Rotate(signer)) = &self.action;
        Some(&signer.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let (Action::Show(signer) | Action::Rotate(signer)) = &self.action;
        let mut environment = signer.record.environment();
        let report = match &self.action {
            Action::Show(signer) => show_signer(&signer.vault, &signer.signing.required_place()?, &mut environment)?,
            Action::Rotate(signer) => rotate_signer(&signer.vault, &signer.signing.required_place()?, &mut environment)?,
        };
        let text = format!("vault     {}\n{}", screen::escape(&report.vault.to_string_lossy()), lines(&report));
        Ok(Report { text, json: object(&report), warnings: Vec::new(), error: None }.with_shortfalls(environment))
    }
}

/// What is to be said of a vault's signer.
pub fn lines(report: &SignerReport) -> String {
    let mut text = format!("set       {}\n", report.set.name);
    let Some(signer) = &report.signer else { return text + "signer    none: the bundles are not signed ('airkeep init' changes that)\n" };
    let _ = writeln!(text, "signer    {}", signer.fingerprint());
    let _ = match &report.key_file {
        Ok(path) => writeln!(text, "key file  {}", screen::escape(&path.to_string_lossy())),
        Err(failure) => {
            let cause = std::error::Error::source(failure).map_or(String::new(), |cause| format!(": {cause}"));
            writeln!(text, "key file  none: {}", screen::escape(&format!("{failure}{cause}")))
        }
    };
    for change in &report.changes {
        let _ = writeln!(text, "before    {} until {}", change.from.fingerprint(), change.at);
    }
    text
}

/// The same for programs.
pub fn object(report: &SignerReport) -> Map<String, Value> {
    let change = |change: &airkeep::bundle::SignerChange| {
        json!({
            "from": change.from.fingerprint().to_string(),
            "to": change.to.fingerprint().to_string(),
            "at": change.at,
        })
    };
    let object = json!({
        "vault": report.vault.to_string_lossy(),
        "set": report.set,
        "new_vault": report.is_new_vault,
        "signer": report.signer,
        "fingerprint": report.signer.map(|signer| signer.fingerprint().to_string()),
        "key_file": report.key_file.as_ref().ok().map(|path| path.to_string_lossy()),
        "changes": report.changes.iter().map(change).collect::<Vec<_>>(),
    });
    object.as_object().cloned().unwrap_or_default()
}

fn after_help(example: &str) -> String {
    let exits =
        [Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Locked, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!("Examples:\n  {example}\n\n{}", exit::table(&exits))
}
