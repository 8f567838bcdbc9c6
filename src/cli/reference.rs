//! The argument that names a bundle: a path, `latest`, or a number.

use std::path::{Path, PathBuf};

use airkeep::Label;
use airkeep::bundle::UtcTime;
use airkeep::ops::{FoundBundle, Reference};

use super::explain::Explained;
use super::{audit, settings};

/// Finds the bundle; numbers and `latest` are looked up in this vault, else in the one of the configuration, else in ./airkeep-vault.
pub fn find(text: &str, vault: Option<&Path>) -> Result<PathBuf, Explained> {
    Ok(find_with(text, &[], vault)?.path)
}

/// As [`find`]; `latest` is the newest that holds these labels.
pub fn find_with(text: &str, labels: &[Label], vault: Option<&Path>) -> Result<FoundBundle, Explained> {
    Ok(Reference::parse(text).find(&vault_or_default(vault), labels)?)
}

/// Finds the newest bundle before a moment that holds these labels.
pub fn find_before(moment: &UtcTime, labels: &[Label], vault: Option<&Path>) -> Result<FoundBundle, Explained> {
    Ok(Reference::Before(moment.clone()).find(&vault_or_default(vault), labels)?)
}

/// What the newest bundle lacks that earlier ones have: it was made of a part of the system.
pub fn lacking(found: &FoundBundle) -> Vec<String> {
    let Some(sequence) = found.sequence else { return Vec::new() };
    let lack = |(older, labels): &(u64, Vec<String>)| {
        let them = if labels.len() == 1 { "it" } else { "them" };
        format!("number {sequence} has not: {}; the newest with {them} is {older}", labels.join(", "))
    };
    found.elsewhere.iter().map(lack).collect()
}

/// Reads a moment: `YYYY-MM-DDTHH:MM:SSZ`, or a day.
pub fn moment(text: &str) -> Result<UtcTime, String> {
    audit::time(text)
}

fn vault_or_default(vault: Option<&Path>) -> PathBuf {
    let configured = || settings::config().and_then(settings::vault_of);
    let from_environment = || std::env::var_os("AIRKEEP_VAULT").filter(|value| !value.is_empty()).map(PathBuf::from);
    vault.map(Path::to_owned).or_else(from_environment).or_else(configured).unwrap_or_else(|| "airkeep-vault".into())
}
