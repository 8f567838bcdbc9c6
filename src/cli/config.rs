//! `airkeep config`.

mod check;
mod show;

use airkeep::config::{Config, Expanded, SourceConfig, SourceKind};
use airkeep::ops::{BackupPlan, SigningKeyPlace};
use airkeep::plain::Found;
use airkeep::{Backup, Failure};
use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::{Report, screen, settings, signers};

/// Look at the configuration
///
/// airkeep.toml is looked for from the working folder upward, or named with --config or AIRKEEP_CONFIG (docs/configuration.md). What
/// it says are defaults of flags.
#[derive(Args)]
#[command(after_long_help = after_help("airkeep config check\n  airkeep config show --config /etc/airkeep/airkeep.toml"))]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Prove that the configuration is understood, and that all that it names is there
    #[command(after_long_help = after_help("airkeep config check"))]
    Check(Output),
    /// Show what the configuration means, with the databases that patterns stand for
    #[command(after_long_help = after_help("airkeep config show"))]
    Show(Output),
}

#[derive(Args)]
struct Output {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        let (Action::Check(output) | Action::Show(output)) = &self.action;
        output.json
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let Some(config) = settings::config() else {
            let hint = "'airkeep init' writes one, or name it with --config";
            return Err(Explained::new(Exit::NotFound, "there is no airkeep.toml here or in a folder above", Some(hint)));
        };
        let looked = Looked::at(config);
        let mut problems = check::problems(&looked);
        // Nothing is wrong with it: whoever names databases in arguments may want it so.
        let empty = config.sources.is_empty().then(|| "it names no sources: 'airkeep backup' needs them as arguments".to_owned());
        let json = json!({ "config": show::object(&looked) }).as_object().cloned().unwrap_or_default();
        let (text, error) = match self.action {
            Action::Show(_) => (show::text(&looked), None),
            Action::Check(_) if problems.is_empty() => (format!("ok        {}\n", screen::escape(&config.path.to_string_lossy())), None),
            Action::Check(_) => (String::new(), Some(Explained::new(Exit::NotFound, problems.remove(0), None))),
        };
        problems.extend(empty);
        Ok(Report { text, json, warnings: problems, error })
    }
}

/// A configuration, and what stands behind it at this moment; looked up once.
struct Looked<'c> {
    config: &'c Config,
    sources: Vec<LookedSource<'c>>,
    /// What a backup says of it all, or why there would be none.
    plan: Result<BackupPlan, Failure>,
    /// Why not all sources can be planned for.
    unplanned: Option<Failure>,
}

struct LookedSource<'c> {
    source: &'c SourceConfig,
    expanded: Expanded,
    /// Of plain files.
    found: Option<Found>,
}

impl<'c> Looked<'c> {
    fn at(config: &'c Config) -> Looked<'c> {
        let (mut backup, unplanned) = match Backup::of_config(config) {
            Ok((backup, _)) => (backup, None),
            // Then at least what the vault has to say.
            Err(failure) => {
                let vault = config.vault.clone().unwrap_or_else(|| config.folder().join("airkeep-vault"));
                let mut backup = Backup::new(Vec::new(), vault);
                backup.set.clone_from(&config.set);
                (backup, Some(failure))
            }
        };
        backup.signing_key = config.keys.signing_key.clone().map(SigningKeyPlace::File).or_else(signers::default_place);
        let now = std::time::SystemTime::now();
        let mut plan = backup.plan(now);
        let mut planned = plan.as_mut().map(|plan| std::mem::take(&mut plan.files)).unwrap_or_default();
        let mut take = |source: &SourceConfig| {
            let SourceKind::Files(files) = &source.kind else { return None };
            let at = planned.iter().position(|(known, found)| known.label == files.label && found.is_ok());
            let found = at.and_then(|at| planned.swap_remove(at).1.ok());
            // What a backup refuses as a whole is shown all the same.
            Some(found.unwrap_or_else(|| files.selection.find(now, &|_, _| false)))
        };
        let sources = config.sources.iter().map(|source| LookedSource { source, expanded: source.expand(), found: take(source) }).collect();
        if let Ok(plan) = &mut plan {
            plan.files = planned;
        }
        Looked { config, sources, plan, unplanned }
    }
}

fn after_help(examples: &str) -> String {
    format!("Examples:\n  {examples}\n\n{}", exit::table(&[Exit::Success, Exit::Usage, Exit::NotFound, Exit::Bug]))
}
