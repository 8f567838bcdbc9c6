//! What a backup is of: databases that are named, or what the configuration names.

use std::ffi::OsString;
use std::path::Path;

use airkeep::config::{Config, FilesConfig, SourceConfig, SourceKind, SqliteConfig};
use airkeep::ops::{FileSource, SourceGroup};
use airkeep::{Backup, Label, SourceSpec};

use super::append_only;
use super::backup::source;
use super::exit::Exit;
use super::explain::Explained;

/// Puts the chosen sources into a backup; tells what else there is to say.
pub fn choose(backup: &mut Backup, named: &[OsString], config: Option<&Config>) -> Result<Vec<String>, Explained> {
    match config.filter(|config| !config.sources.is_empty()) {
        Some(config) if named.is_empty() || named.iter().all(|text| is_of_config(text, config)) => configured(backup, named, config),
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

fn configured(backup: &mut Backup, named: &[OsString], config: &Config) -> Result<Vec<String>, Explained> {
    let is_named = |source: &SourceConfig, label: &Label| {
        named.is_empty() || named.iter().filter_map(|text| text.to_str()).any(|text| text == source.name || text == label.as_str())
    };
    let mut notes = Vec::new();
    // A bundle that holds the key that opens it would only lead somebody to keep it there.
    backup.private = config.keys.key_files.iter().chain(&config.keys.passphrase_files).chain(&config.keys.signing_key).cloned().collect();
    for one in &config.sources {
        let sqlite = match &one.kind {
            SourceKind::Sqlite(sqlite) => sqlite,
            SourceKind::Files(FilesConfig { label, selection }) => {
                if is_named(one, label) {
                    let (label, selection) = (label.clone(), selection.clone());
                    backup.files.push(FileSource { label, selection, is_required: one.required });
                }
                continue;
            }
        };
        let expanded = one.expand();
        let chosen: Vec<_> = expanded.found.iter().filter(|(label, _)| is_named(one, label)).collect();
        let is_meant = named.is_empty() || named.iter().any(|text| text.to_str() == Some(&one.name));
        if is_meant && (!expanded.refused.is_empty() || chosen.is_empty()) {
            let why = expanded.refused.first().cloned().unwrap_or_else(|| "no file fits its pattern".to_owned());
            let message = format!("source '{}': {why}", one.name);
            if one.required {
                return Err(Explained::new(Exit::NotFound, message, Some("'airkeep config check' tells more")));
            }
            notes.push(message);
        }
        for (label, path) in chosen {
            add(backup, one.required, sqlite, label, path)?;
        }
    }
    Ok(notes)
}

fn add(backup: &mut Backup, is_required: bool, sqlite: &SqliteConfig, label: &Label, path: &Path) -> Result<(), Explained> {
    backup.sources.push(SourceSpec { label: label.clone(), path: path.to_owned() });
    if !is_required {
        backup.optional.push(label.clone());
    }
    if let Some(name) = &sqlite.group {
        match backup.groups.iter_mut().find(|group| group.name == *name) {
            Some(group) => group.labels.push(label.clone()),
            None => backup.groups.push(SourceGroup { name: name.clone(), labels: vec![label.clone()] }),
        }
    }
    for text in &sqlite.append_only {
        let tables = append_only::parse(text)?.into_iter();
        backup.append_only.extend(tables.map(|table| airkeep::ops::AppendOnly { label: Some(label.clone()), ..table }));
    }
    backup.assertions.extend(sqlite.assertions.iter().map(|assertion| (label.clone(), assertion.clone())));
    Ok(())
}
