//! What a backup is of: databases that are named, or what the configuration names.

use std::ffi::OsString;
use std::path::Path;

use airkeep::config::{Config, SourceConfig};
use airkeep::ops::AppendOnly;
use airkeep::plain::label_fits;
use airkeep::{Backup, Failure};

use super::backup::source;
use super::exit::Exit;
use super::explain::Explained;

/// Puts the chosen sources into a backup: each word is one of the configuration, or a file. Tells what else there is to say.
pub fn choose(backup: &mut Backup, named: &[OsString], config: Option<&Config>) -> Result<Vec<String>, Explained> {
    let config = config.filter(|config| !config.sources.is_empty());
    let (configured, files): (Vec<_>, Vec<_>) = named.iter().partition(|text| config.is_some_and(|config| is_of_config(text, config)));
    for text in files {
        let source = source(text)?;
        if config.is_some() && source.path.as_os_str() == text && source.path.symlink_metadata().is_err() {
            return Err(neither(text));
        }
        backup.sources.push(source);
    }
    match config {
        Some(config) if named.is_empty() || !configured.is_empty() => {
            let configured: Vec<String> = configured.iter().map(|text| text.to_string_lossy().into_owned()).collect();
            Ok(backup.add_configured(config, &configured)?)
        }
        _ => Ok(Vec::new()),
    }
}

fn neither(text: &OsString) -> Explained {
    let message = format!("'{}' is neither a source of airkeep.toml nor a file", text.display());
    Explained::new(Exit::NotFound, message, Some("'airkeep config show' lists the sources"))
}

/// A label or a pattern of the configuration, and not the name of a file.
fn is_of_config(text: &OsString, config: &Config) -> bool {
    let Some(text) = text.to_str() else { return false };
    !Path::new(text).is_file() && config.sources.iter().any(|one| fits(text, one))
}

fn fits(text: &str, source: &SourceConfig) -> bool {
    text == source.name || source.labels().iter().any(|label| label_fits(label.as_str(), text))
}

/// Reads what follows `--append-only`.
pub fn append_only(text: &str) -> Result<Vec<AppendOnly>, Explained> {
    Ok(AppendOnly::read(text).map_err(|source| Failure::AppendOnly { source })?)
}
