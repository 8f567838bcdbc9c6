//! `airkeep init`.

mod survey;

use std::path::{Path, PathBuf};

use airkeep::bundle::SetName;
use airkeep::config::{CONFIG, Config, starter};
use airkeep::files::Folder;
use airkeep::ops::{SignerReport, SigningKeyPlace, show_signer};
use airkeep::{Environment, Failure, Init};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::record::RecordArguments;
use super::signer::{lines, object};
use super::signers::SigningKeyArguments;
use super::{Report, explain, screen, settings};
use survey::survey;

/// Make a vault whose bundles are signed
///
/// Makes an Ed25519 key outside the vault; from then on every bundle of the vault is signed with it, and can be checked by anybody with
/// 'airkeep verify --signer' or ssh-keygen. The key's fingerprint is printed: write it down, it is what others compare with.
///
/// A vault that 'airkeep backup' made gets a signing key in the same way. One that has a signer stays as it is, and is refused unless an
/// airkeep.toml is to be begun for it.
///
/// Where no configuration is in effect an airkeep.toml is begun in the working folder, with the vault and all SQLite databases that are
/// found below: four folders deep, without hidden folders, node_modules, target and vaults. Look it through; it is only a start.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The folder of bundles; made if it is missing
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// The name of the set, public in every bundle and its file name (default: 'set-' and 8 hex digits)
    #[arg(long, value_name = "SET", value_parser = SetName::parse)]
    name: Option<SetName>,
    /// Write no airkeep.toml
    #[arg(long)]
    no_config: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let init = Init { vault: self.vault, name: self.name, place: self.signing.required_place()? };
        let mut environment = self.record.environment();
        let report = match init.run(&mut environment) {
            // The configuration alone can still be begun.
            Err(Failure::Signed { .. }) if !self.no_config && settings::config().is_none() => return begin_config_only(&init, environment),
            made => made?,
        };
        let config = if self.no_config { Begun::default() } else { begin_config(&report, &init.place, &mut environment) };
        let made = if report.is_new_vault { "made    " } else { "vault   " };
        let text = format!("{made}  {}\n{}{ADVICE}{}", screen::escape(&report.vault.to_string_lossy()), lines(&report), config.text);
        let mut object = object(&report);
        object.insert("config".to_owned(), config.json);
        Ok(Report { text, json: object, warnings: config.warnings, error: None }.with_shortfalls(environment))
    }
}

/// Writes the configuration of a vault that has a signer already.
fn begin_config_only(init: &Init, mut environment: Environment) -> Result<Report, Explained> {
    let report = show_signer(&init.vault, &init.place, &mut environment)?;
    let mut config = begin_config(&report, &init.place, &mut environment);
    if config.json.is_null() {
        // Nothing at all was done then.
        let why = config.warnings.pop().unwrap_or_default();
        return Err(Explained::new(Exit::Failed, why, Some("the vault has a signer already, and stays as it is")));
    }
    let vault = screen::escape(&report.vault.to_string_lossy());
    let text = format!("vault     {vault} (kept as it is, and its signer)\n{}{}", lines(&report), config.text);
    let mut object = object(&report);
    object.insert("config".to_owned(), config.json);
    Ok(Report { text, json: object, warnings: config.warnings, error: None }.with_shortfalls(environment))
}

/// What is to be said of the configuration.
#[derive(Default)]
struct Begun {
    text: String,
    json: Value,
    warnings: Vec<String>,
}

/// Writes a configuration, unless there is one. The vault is made by then, so that what fails here is told and nothing more.
fn begin_config(report: &SignerReport, place: &SigningKeyPlace, environment: &mut Environment) -> Begun {
    if let Some(config) = settings::config() {
        let path = config.path.to_string_lossy();
        let text = format!("config    {} (kept as it is)\n", screen::escape(&path));
        return Begun { text, json: json!({ "path": path, "is_new": false, "databases": null }), warnings: Vec::new() };
    }
    let mut survey = survey(Path::new("."));
    // The next backup would look for it in its usual place.
    survey.found.signing_key = match place {
        SigningKeyPlace::File(path) if report.key_file.is_ok() => Some(path.clone()),
        _ => None,
    };
    let content = starter(report.set.name.as_str(), &report.vault, &survey.found);
    let mut warnings = survey.notes;
    match write(&content, environment) {
        Ok(()) => {
            let found = screen::count(survey.count as u64, "database");
            let text = format!("config    {CONFIG} (new, with {found} found below this folder: look it through)\n");
            Begun { text, json: json!({ "path": CONFIG, "is_new": true, "databases": survey.count }), warnings }
        }
        Err(why) => {
            warnings.push(format!("no {CONFIG} was written: {}", why.join(": ")));
            Begun { warnings, ..Begun::default() }
        }
    }
}

/// Gives it its name, complete and durable, or not at all; and takes it back where it would not be believed, since every command would be
/// refused then.
fn write(content: &str, environment: &mut Environment) -> Result<(), Vec<String>> {
    let failed = |error: Failure| explain::causes_of(&error);
    let (folder, name) = Folder::of(Path::new(CONFIG)).map_err(|error| failed(error.into()))?;
    folder.write_new(&name, content.as_bytes(), &mut *environment.entropy).map_err(|error| failed(error.into()))?;
    Config::load(Path::new(CONFIG)).map(drop).map_err(|error| {
        // Nobody but this run knows of it yet.
        let _ = folder.remove(&name);
        explain::causes_of(&error)
    })
}

const ADVICE: &str = "          write the fingerprint down: whoever verifies must have it from you, not from the medium
          keep a copy of the key file in a safe place; it is not in the vault
";

fn after_help() -> String {
    let exits = [Exit::Success, Exit::Failed, Exit::Usage, Exit::Locked, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!("Examples:\n  airkeep init\n  airkeep init --vault /srv/vault --name plant-7\n\n{}", exit::table(&exits))
}
