//! `airkeep restore`: into a folder, or in the place of live databases.

mod confirm;
mod in_place;
mod into;
mod resolve;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use airkeep::bundle::UtcTime;
use airkeep::ops::{FoundBundle, InPlaceReport};
use airkeep::{Keyring, Label, Restore, inspect};
use clap::{ArgGroup, Args, Subcommand};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::signers::{SignerArguments, SigningKeyArguments};
use super::{Report, reference, settings};

pub use in_place::{failed as failed_target, warnings_of};

/// What became of a restore in place: lines, and members of the JSON object.
pub fn outcome_of(report: &InPlaceReport) -> (String, serde_json::Map<String, serde_json::Value>) {
    (in_place::outcome_text(report), in_place::outcome_json(report))
}

/// Get databases back out of a bundle, into a folder or in the place of live ones
///
/// --to DIR: the whole bundle is verified (level 3) while the databases are written into files that have no name yet. They get
/// their names, DIR/<label>.db, only if everything is in order, and never replace anything. Files that SQLite would replay
/// (-wal, -journal) under those names are refused, too.
///
/// --in-place, --onto FILE: each snapshot takes the place of the database that airkeep.toml names, else of the one that it was captured from,
/// or of FILE. Nothing changes
/// before the plan was shown and agreed to, the targets are locked, the append-only rows that the restore takes away are counted, and
/// the present state is sealed with those rows into a safety bundle that was read back. Each installation is one transaction: a
/// kill leaves the old database or the new one, and 'airkeep restore resolve' finds out which.
#[derive(Args)]
#[command(after_long_help = after_help(), args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(group = ArgGroup::new("place").args(["in_place", "onto"]))]
#[command(group = ArgGroup::new("where").args(["to", "in_place", "onto"]).required(true))]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The bundle: a path, or 'latest' (the newest that holds the labels) or a number in the vault
    #[arg(value_name = "BUNDLE", required_unless_present = "before")]
    bundle: Option<String>,
    /// Which sources to restore (default: all)
    #[arg(value_name = "LABEL", value_parser = Label::parse)]
    labels: Vec<Label>,
    /// Restore the newest bundle that was sealed before this time (UTC, YYYY-MM-DDTHH:MM:SSZ or YYYY-MM-DD); then every word is a label
    #[arg(long, value_name = "TIME", value_parser = reference::moment)]
    before: Option<UtcTime>,
    /// The vault: 'latest' and numbers are looked up in it, and it takes the record and the safety bundle (default: the folder that the
    /// bundle is in)
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// The folder to restore into; made if it is missing
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Put each database back where airkeep.toml says, else where it was captured
    #[arg(long)]
    in_place: bool,
    /// Put the one database that is restored in the place of this file, which may be missing
    #[arg(long, value_name = "FILE")]
    onto: Option<PathBuf>,
    /// Restore the databases that are whole although other parts of the bundle are damaged (the exit code stays 13)
    #[arg(long, requires = "to")]
    accept_damage: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: in_place::PlaceArguments,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signers: SignerArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

#[derive(Subcommand)]
enum Command {
    Resolve(resolve::Arguments),
}

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        self.command.as_ref().map_or(self.json, |Command::Resolve(arguments)| arguments.json)
    }

    /// Whether the output is an answer, and not only news.
    pub fn is_asked_for_text(&self) -> bool {
        self.command.is_some() || self.place.is_dry_run()
    }

    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        match &self.command {
            Some(Command::Resolve(_)) => None, // it tells by itself
            None => self.vault.as_deref().or(self.bundle.as_deref().map(Path::new)),
        }
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        if let Some(Command::Resolve(arguments)) = self.command {
            return arguments.run();
        }
        let (found, labels) = self.chosen()?;
        let notes = reference::lacking(&found);
        let bundle = found.path;
        // Nobody should type a passphrase to learn that this is no bundle.
        inspect(&bundle, &Keyring::default())?;
        let signers = self.signers.trusted()?;
        let signing_key = self.signing.place();
        let Some(to) = self.to else {
            let mut request = self.place.request(bundle, labels, self.onto, signers, signing_key)?;
            request.vault = self.vault;
            request.config = settings::config().cloned().map(Arc::new);
            let ring = self.keys.ring(Purpose::Open)?;
            return self.place.run(request, ring, &self.record, notes);
        };
        let ring = self.keys.ring(Purpose::Open)?;
        let config = settings::config().cloned().map(Arc::new);
        let accept_damage = self.accept_damage;
        let restore = Restore { bundle: bundle.clone(), labels, to, vault: self.vault, signers, signing_key, config, accept_damage };
        let mut report = into::run(&restore, &bundle, &ring, &self.record)?;
        report.warnings.splice(..0, notes);
        Ok(report)
    }
}

impl Arguments {
    /// The bundle, and the labels.
    fn chosen(&self) -> Result<(FoundBundle, Vec<Label>), Explained> {
        let vault = self.vault.as_deref();
        let Some(moment) = &self.before else {
            let Some(text) = &self.bundle else { return Err(Explained::new(Exit::Usage, "missing: <BUNDLE>", Some("see --help"))) };
            return Ok((reference::find_with(text, &self.labels, vault)?, self.labels.clone()));
        };
        let first = self.bundle.as_deref().map(Label::parse).transpose();
        let first = first.map_err(|error| Explained::new(Exit::Usage, error.to_string(), Some("with --before every word is a label")))?;
        let labels: Vec<Label> = first.into_iter().chain(self.labels.clone()).collect();
        Ok((reference::find_before(moment, &labels, vault)?, labels))
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep restore BUNDLE.akb --to restored\n  airkeep restore BUNDLE.akb main tenants/acme --to restored --key-file backup.key\n  \
         airkeep restore BUNDLE.akb --in-place --dry-run\n  airkeep restore BUNDLE.akb main --in-place --reason 'bad import' --ticket OPS-17\n  \
         airkeep restore BUNDLE.akb main --onto copy.db --force\n  airkeep restore latest main --in-place\n  airkeep restore --before 2026-11-01 --to old\n  airkeep restore resolve\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&[
            Exit::Success,
            Exit::Failed,
            Exit::Usage,
            Exit::Partial,
            Exit::NotFound,
            Exit::Locked,
            Exit::Key,
            Exit::Integrity,
            Exit::Unsupported,
            Exit::Policy,
            Exit::Bug
        ])
    )
}
