//! What a configuration says, as a backup.

use std::path::Path;

use super::{AppendOnly, Backup, Failure, FileSource, SigningKeyPlace, SourceGroup, SourceSpec};
use crate::bundle::Label;
use crate::config::{Config, Expanded, FilesConfig, SourceConfig, SourceKind, SqliteConfig};
use crate::database::CheckKind;
use crate::plain::label_fits;

impl Backup {
    /// All that a configuration names, sealed as it says; with what is missing of sources that are not required. Collecting keys, running
    /// hooks and commands is left to the caller.
    ///
    /// # Errors
    /// As [`Backup::add_configured`].
    pub fn of_config(config: &Config) -> Result<(Backup, Vec<String>), Failure> {
        let vault = config.vault.clone().unwrap_or_else(|| config.folder().join("airkeep-vault"));
        let mut backup = Backup::new(Vec::new(), vault);
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
        let keys = &config.keys;
        // A bundle that holds the key that opens it would only lead somebody to keep it there.
        self.private.extend(keys.key_files.iter().chain(&keys.passphrase_files).chain(&keys.signing_key).cloned());
        let mut missing = Vec::new();
        for one in &config.sources {
            match &one.kind {
                SourceKind::Sqlite(sqlite) => {
                    let Expanded { found, refused } = one.expand();
                    let chosen: Vec<_> = found.into_iter().filter(|(label, _)| is_named(one, label)).collect();
                    let is_meant = named.is_empty() || named.contains(&one.name);
                    if is_meant && (!refused.is_empty() || chosen.is_empty()) {
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
            let tables = AppendOnly::read(text).map_err(|source| Failure::AppendOnly { source })?;
            self.append_only.extend(tables.into_iter().map(|table| AppendOnly { label: Some(label.clone()), ..table }));
        }
        self.assertions.extend(sqlite.assertions.iter().map(|assertion| (label.clone(), assertion.clone())));
        Ok(())
    }
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
