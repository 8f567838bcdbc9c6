//! What a backup is of: databases that are named, or what the configuration names.

use std::ffi::OsString;
use std::path::Path;

use airkeep::config::{Config, SourceConfig};
use airkeep::ops::AppendOnly;
use airkeep::{Backup, Failure};

use super::backup::source;
use super::explain::Explained;

/// Puts the chosen sources into a backup; tells what else there is to say.
pub fn choose(backup: &mut Backup, named: &[OsString], config: Option<&Config>) -> Result<Vec<String>, Explained> {
    match config.filter(|config| !config.sources.is_empty()) {
        Some(config) if named.iter().all(|text| is_of_config(text, config)) => {
            let named: Vec<String> = named.iter().map(|text| text.to_string_lossy().into_owned()).collect();
            Ok(backup.add_configured(config, &named)?)
        }
        _ => {
            for text in named {
                backup.sources.push(source(text)?);
            }
            Ok(Vec::new())
        }
    }
}

/// A label or a pattern of the configuration, and not the name of a file.
fn is_of_config(text: &OsString, config: &Config) -> bool {
    let Some(text) = text.to_str() else { return false };
    !Path::new(text).is_file() && config.sources.iter().any(|one| fits(text, one))
}

fn fits(text: &str, source: &SourceConfig) -> bool {
    text == source.name || source.expand().found.iter().any(|(label, _)| label.as_str() == text)
}

/// Reads what follows `--append-only`.
pub fn append_only(text: &str) -> Result<Vec<AppendOnly>, Explained> {
    Ok(AppendOnly::read(text).map_err(|source| Failure::AppendOnly { source })?)
}
