//! What a configuration says, as a backup.

use std::path::{Path, PathBuf};

use super::{AppendOnly, Backup, Failure, FileSource, SigningKeyPlace, SourceGroup, SourceSpec};
use crate::bundle::Label;
use crate::config::{Config, Expanded, FilesConfig, Location, SourceConfig, SourceKind, SqliteConfig};
use crate::database::CheckKind;
use crate::plain::label_fits;

impl Backup {
    /// All that a configuration names, sealed as it says; with what is missing of sources that are not required. Collecting keys, running
    /// hooks and commands is left to the caller.
    ///
    /// # Errors
    /// As [`Backup::add_configured`].
    pub fn of_config(config: &Config) -> Result<(Backup, Vec<String>), Failure> {
        let mut backup = Backup::new(Vec::new(), config.vault_or_default());
        let sealing = &config.sealing;
        backup.set.clone_from(&config.set);
        backup.marking.clone_from(&config.marking);
        backup.compression = sealing.compression.unwrap_or(backup.compression);
        backup.check = match sealing.check.as_deref() {
            Some("full") => CheckKind::Full,
            Some("none") => CheckKind::None,
            _ => CheckKind::Quick,
        };
        backup.hash_tables = sealing.hash_tables;
        backup.busy_timeout = sealing.busy_timeout.unwrap_or(backup.busy_timeout);
        backup.scratch.clone_from(&sealing.scratch);
        backup.signing_key = config.keys.signing_key.clone().map(SigningKeyPlace::File);
        let missing = backup.add_configured(config, &[])?;
        Ok((backup, missing))
    }

    /// Adds the sources of a configuration: all, or those of these labels and patterns (`tenants/acme`, `tenants/*`, `ma*`). Gives what is missing of
    /// sources that are not required.
    ///
    /// # Errors
    /// [`Failure::NoSource`] if a source is missing that is required, [`Failure::AppendOnly`].
    pub fn add_configured(&mut self, config: &Config, named: &[String]) -> Result<Vec<String>, Failure> {
        let is_named = |source: &SourceConfig, label: &Label| {
            named.is_empty() || named.iter().any(|text| *text == source.name || label_fits(label.as_str(), text))
        };
        self.private.extend(private_of(config));
        let mut missing = Vec::new();
        if let Some(unknown) = named.iter().find(|text| !config.sources.iter().any(|source| is_of(source, text))) {
            return Err(Failure::NoSource { name: unknown.clone(), why: "the configuration has no such source".to_owned() });
        }
        for one in &config.sources {
            match &one.kind {
                SourceKind::Sqlite(sqlite) => {
                    let Expanded { found, refused } = one.expand();
                    let is_empty = found.is_empty();
                    // What has a table of its own is not what a pattern stands for.
                    let own = |label: &Label, path: &Path| is_named_apart(config, one, label, path);
                    let chosen: Vec<_> = found.into_iter().filter(|(label, path)| is_named(one, label) && !own(label, path)).collect();
                    let is_meant = named.is_empty() || named.contains(&one.name);
                    if is_meant && (!refused.is_empty() || is_empty) {
                        missing.extend(not_there(one, &refused)?);
                    }
                    chosen.iter().try_for_each(|(label, path)| self.add_database(one.required, sqlite, label, path))?;
                }
                SourceKind::Files(FilesConfig { label, selection }) if is_named(one, label) => {
                    let (label, selection) = (label.clone(), selection.clone());
                    self.files.push(FileSource { label, selection, is_required: one.required });
                }
                SourceKind::Files(_) => {}
            }
        }
        Ok(missing)
    }

    fn add_database(&mut self, is_required: bool, sqlite: &SqliteConfig, label: &Label, path: &Path) -> Result<(), Failure> {
        self.sources.push(SourceSpec { label: label.clone(), path: path.to_owned() });
        if !is_required {
            self.optional.push(label.clone());
        }
        if let Some(name) = &sqlite.group {
            match self.groups.iter_mut().find(|group| group.name == *name) {
                Some(group) => group.labels.push(label.clone()),
                None => self.groups.push(SourceGroup { name: name.clone(), labels: vec![label.clone()] }),
            }
        }
        for text in &sqlite.append_only {
            // Its source is known here, so that a colon belongs to the name of the table; a file may be about several sources.
            let tables = match text.ends_with(".json") {
                true => AppendOnly::read(text).map_err(|source| Failure::AppendOnly { source })?,
                false => vec![AppendOnly { label: None, table: text.clone() }],
            };
            let own = tables.into_iter().filter(|table| table.label.as_ref().is_none_or(|of| of == label));
            self.append_only.extend(own.map(|table| AppendOnly { label: Some(label.clone()), ..table }));
        }
        self.assertions.extend(sqlite.assertions.iter().map(|assertion| (label.clone(), assertion.clone())));
        Ok(())
    }
}

/// What no set of files takes: keys, since a bundle that holds the key that opens it would only lead somebody to keep it there; and databases,
/// whether they are captured this time or not.
pub(super) fn private_of(config: &Config) -> Vec<PathBuf> {
    let keys = &config.keys;
    let keys = keys.key_files.iter().chain(&keys.passphrase_files).chain(&keys.signing_key).cloned();
    keys.chain(config.sources.iter().flat_map(|source| source.expand().found).map(|(_, path)| path)).collect()
}

/// Whether a word names something of a source.
fn is_of(source: &SourceConfig, text: &str) -> bool {
    text == source.name || source.labels().iter().any(|label| label_fits(label.as_str(), text))
}

/// Whether a tenant's database is also a source by its own name, or under another one.
fn is_named_apart(config: &Config, pattern: &SourceConfig, label: &Label, path: &Path) -> bool {
    let others = config.sources.iter().filter(|other| other.name != pattern.name).filter_map(SourceConfig::sqlite);
    let mut singles = others.filter_map(|other| match &other.location {
        Location::Path { label, path } => Some((label, path)),
        Location::Pattern { .. } => None,
    });
    matches!(pattern.sqlite().map(|sqlite| &sqlite.location), Some(Location::Pattern { .. }))
        && singles.any(|(other, place)| other == label || place == path)
}

/// What to say of files that cannot become labels, or of a pattern that none fits.
fn not_there(source: &SourceConfig, refused: &[String]) -> Result<Vec<String>, Failure> {
    let none = ["no file fits its pattern".to_owned()];
    let why = if refused.is_empty() { &none[..] } else { refused };
    match source.required {
        true => Err(Failure::NoSource { name: source.name.clone(), why: why[0].clone() }),
        false => Ok(why.iter().map(|why| format!("source '{}': {why}", source.name)).collect()),
    }
}
