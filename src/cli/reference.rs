//! The argument that names a bundle: a path, `latest`, or a number.

use std::path::{Path, PathBuf};

use airkeep::bundle::UtcTime;
use airkeep::ops::Reference;

use super::explain::Explained;
use super::{audit, settings};

/// Finds the bundle; numbers and `latest` are looked up in this vault, else in the one of the configuration, else in ./airkeep-vault.
pub fn find(text: &str, vault: Option<&Path>) -> Result<PathBuf, Explained> {
    Ok(Reference::parse(text).find(&vault_or_default(vault))?)
}

/// Finds the newest bundle before a moment.
pub fn find_before(moment: &UtcTime, vault: Option<&Path>) -> Result<PathBuf, Explained> {
    Ok(Reference::Before(moment.clone()).find(&vault_or_default(vault))?)
}

/// Reads a moment: `YYYY-MM-DDTHH:MM:SSZ`, or a day.
pub fn moment(text: &str) -> Result<UtcTime, String> {
    audit::time(text)
}

fn vault_or_default(vault: Option<&Path>) -> PathBuf {
    let configured = || settings::config().and_then(|config| config.vault.clone());
    let from_environment = || std::env::var_os("AIRKEEP_VAULT").filter(|value| !value.is_empty()).map(PathBuf::from);
    vault.map(Path::to_owned).or_else(from_environment).or_else(configured).unwrap_or_else(|| "airkeep-vault".into())
}
