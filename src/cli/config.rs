//! `airkeep config`.

use std::fmt::Write as _;
use std::path::PathBuf;

use airkeep::config::{Config, Expanded, FilesConfig, KeyConfig, SourceConfig, SourceKind};
use airkeep::plain::Found;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::{Report, configured_keys, screen, settings};

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
        let sources: Vec<(&SourceConfig, Expanded)> = config.sources.iter().map(|source| (source, source.expand())).collect();
        let of_sources = sources.iter().flat_map(|(source, expanded)| problems(source, expanded));
        let problems: Vec<String> = configured_keys::problems(&config.keys).into_iter().chain(of_sources).collect();
        let json = json!({ "config": object(config, &sources) });
        let json = json.as_object().cloned().unwrap_or_default();
        match self.action {
            Action::Show(_) => Ok(Report { text: shown(config, &sources), json, warnings: problems, error: None }),
            Action::Check(_) => Ok(Report {
                text: if problems.is_empty() {
                    format!("ok        {}\n", screen::escape(&config.path.to_string_lossy()))
                } else {
                    String::new()
                },
                json,
                error: problems.first().map(|first| Explained::new(Exit::NotFound, first.clone(), None)),
                warnings: problems.into_iter().skip(1).collect(),
            }),
        }
    }
}

/// What is not there.
fn problems(source: &SourceConfig, expanded: &Expanded) -> Vec<String> {
    let missing = expanded.found.iter().filter(|(_, path)| !path.is_file());
    let missing = missing.map(|(label, path)| format!("source '{label}': '{}' does not exist", path.display()));
    if let SourceKind::Files(files) = &source.kind {
        return plain_problems(&source.name, files);
    }
    let empty = expanded.found.is_empty() && expanded.refused.is_empty();
    let empty = empty.then(|| format!("source '{}': no file fits its pattern", source.name));
    missing.chain(expanded.refused.iter().map(|text| format!("source '{}': {text}", source.name))).chain(empty).collect()
}

fn plain_problems(name: &str, files: &FilesConfig) -> Vec<String> {
    let found = find(files);
    let empty = !found.has_any && found.refused.is_empty();
    let empty = empty.then(|| format!("source '{name}': no file fits its patterns"));
    found.missing.iter().chain(&found.refused).map(|text| format!("source '{name}': {text}")).chain(empty).collect()
}

/// What patterns stand for now. What a backup leaves out silently (databases that are sources, the vault, keys) is in it.
fn find(files: &FilesConfig) -> Found {
    files.selection.find(std::time::SystemTime::now(), &|_, _| false)
}

fn shown(config: &Config, sources: &[(&SourceConfig, Expanded)]) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{}", screen::escape(value));
    };
    row("config", &config.path.to_string_lossy());
    if let Some(set) = &config.set {
        row("set", set.as_str());
    }
    if let Some(vault) = &config.vault {
        row("vault", &vault.to_string_lossy());
    }
    if let Some(marking) = &config.marking {
        row("marking", marking.as_str());
    }
    configured_keys::places(&config.keys).iter().for_each(|place| row("key", place));
    for (source, expanded) in sources {
        for (label, path) in &expanded.found {
            let required = if source.required { ", required" } else { "" };
            row("source", &format!("{label}: {}{required}", path.display()));
        }
        if let SourceKind::Files(files) = &source.kind {
            let (found, required) = (find(files), if source.required { ", required" } else { "" });
            let count = screen::count(found.files.len() as u64, "file");
            let folder = files.selection.patterns.folder().display();
            row("source", &format!("{}: {count} in {folder}, {}{required}", source.name, screen::size(found.size_bytes())));
        }
    }
    text
}

fn object(config: &Config, sources: &[(&SourceConfig, Expanded)]) -> Value {
    let source = |(source, expanded): &(&SourceConfig, Expanded)| {
        let databases: Vec<Value> =
            expanded.found.iter().map(|(label, path)| json!({ "label": label, "path": path.to_string_lossy() })).collect();
        let append_only = source.sqlite().map_or(&[][..], |sqlite| &sqlite.append_only);
        let mut object = json!({ "name": source.name, "required": source.required, "append_only": append_only, "databases": databases });
        if let SourceKind::Files(files) = &source.kind {
            object["files"] = find(files).files.iter().map(|file| file.path.to_string_lossy()).collect();
        }
        object
    };
    json!({
        "path": config.path.to_string_lossy(),
        "set": config.set,
        "vault": config.vault.as_ref().map(|path| path.to_string_lossy()),
        "marking": config.marking.as_ref().map(ToString::to_string),
        "keys": keys(&config.keys),
        "sources": sources.iter().map(source).collect::<Vec<_>>(),
    })
}

/// Where keys come from, and none of them.
fn keys(config: &KeyConfig) -> Value {
    let texts = |paths: &[PathBuf]| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>();
    json!({
        "key_files": texts(&config.key_files),
        "passphrase_files": texts(&config.passphrase_files),
        "passphrase_env": config.passphrase_env,
        "credential": config.credential,
        "signing_key": config.signing_key.as_ref().map(|path| path.to_string_lossy()),
    })
}

fn after_help(examples: &str) -> String {
    format!("Examples:\n  {examples}\n\n{}", exit::table(&[Exit::Success, Exit::Usage, Exit::NotFound, Exit::Bug]))
}
