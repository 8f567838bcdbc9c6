//! The configuration as defaults of flags: what `airkeep.toml` says counts where no flag says otherwise.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use airkeep::config::Config;
use airkeep::ops::{Hook, HookSyntaxError, SiteCommand, keep_secret};
use clap::Command;

use super::exit::Exit;
use super::explain::Explained;

static CONFIG: OnceLock<Config> = OnceLock::new();

/// The configuration of this run, if there is one.
pub fn config() -> Option<&'static Config> {
    CONFIG.get()
}

/// Finds and reads the configuration: the file that was named, else the next `airkeep.toml` from the working folder upward.
pub fn load(named: Option<PathBuf>) -> Result<Option<&'static Config>, Explained> {
    let found = named.or_else(|| Config::find(&std::env::current_dir().ok()?));
    let Some(path) = found else { return Ok(None) };
    let mut config = Config::load(&path)?;
    root_commands(&mut config)?;
    config.keys.passphrase_env.iter().for_each(keep_secret);
    Ok(Some(CONFIG.get_or_init(|| config)))
}

/// Looks for the programs that it names by relative paths in its folder, as for all that it names.
fn root_commands(config: &mut Config) -> Result<(), Explained> {
    let (folder, path) = (config.folder().to_owned(), config.path.clone());
    let root = |key: &str, command: &mut Option<String>, root: fn(&str, &Path) -> Result<String, HookSyntaxError>| {
        let Some(text) = command else { return Ok(()) };
        let rooted = root(text, &folder);
        *text = rooted.map_err(|error| Explained::new(Exit::Usage, format!("{}: '{key}': {error}", path.display()), None))?;
        Ok(())
    };
    root("hook", &mut config.hook, Hook::rooted)?;
    root("stop", &mut config.stop, SiteCommand::rooted)?;
    root("start", &mut config.start, SiteCommand::rooted)
}

/// The vault that the configuration names, else the usual one beside it; nothing where that is the flag's own default, which reads better.
pub fn vault_of(config: &Config) -> Option<PathBuf> {
    let is_here = || std::env::current_dir().and_then(|here| here.canonicalize()).is_ok_and(|here| here == config.folder());
    (config.vault.is_some() || !is_here()).then(|| config.vault_or_default())
}

/// Gives flags the defaults that the configuration has for them, in every command that knows them.
pub fn apply(command: Command, config: &Config) -> Command {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let sealing = &config.sealing;
    let defaults = [
        ("vault", vault_of(config).as_ref().map(text)),
        ("signing_key", config.keys.signing_key.as_ref().map(text)),
        ("hook", config.hook.clone()),
        ("stop_with", config.stop.clone()),
        ("start_with", config.start.clone()),
        ("marking", config.marking.as_ref().map(ToString::to_string)),
        ("compression", sealing.compression.map(|compression| compression.to_string())),
        ("iterations", sealing.iterations.map(|iterations| iterations.count().to_string())),
        ("check", sealing.check.clone()),
        ("busy_timeout", sealing.busy_timeout.map(|timeout| timeout.as_secs_f64().to_string())),
        ("scratch", sealing.scratch.as_ref().map(text)),
        ("name", config.set.as_ref().map(ToString::to_string)),
    ];
    let known = defaults.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let command = known.fold(command, |command, (name, value)| with_default(command, name, &value));
    match config.sources.is_empty() {
        true => command,
        // Without a database named, all of the configuration is meant.
        false => command
            .mut_subcommand("backup", |backup| backup.mut_arg("databases", |argument| argument.required(false)))
            .mut_subcommand("guard", |guard| guard.mut_arg("db", |argument| argument.required(false))),
    }
}

fn with_default(command: Command, name: &'static str, value: &str) -> Command {
    let has = command.get_arguments().any(|argument| argument.get_id() == name);
    let command = if has { command.mut_arg(name, |argument| argument.default_value(value.to_owned())) } else { command };
    let parts: Vec<String> = command.get_subcommands().map(|part| part.get_name().to_owned()).collect();
    parts.into_iter().fold(command, |command, part| command.mut_subcommand(part, |part| with_default(part, name, value)))
}

impl From<airkeep::config::ConfigError> for Explained {
    fn from(error: airkeep::config::ConfigError) -> Explained {
        let causes = super::explain::causes_of(&error).split_off(1);
        let exit = match &error {
            airkeep::config::ConfigError::File { source, .. } => Exit::of_file(source),
            airkeep::config::ConfigError::Syntax { .. } => Exit::Usage,
        };
        let hint = super::explain::config_hint(&error).map(str::to_owned);
        Explained { exit, message: error.to_string(), causes, hint }
    }
}
