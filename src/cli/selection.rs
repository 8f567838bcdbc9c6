//! What a backup is of: databases that are named, or what the configuration names.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use airkeep::config::{Config, SourceConfig};
use airkeep::ops::AppendOnly;
use airkeep::plain::label_fits;
use airkeep::{Backup, Failure, Label, SourceSpec};

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

/// Reads `LABEL=PATH` or `PATH`. What stands before the first `=` is meant as a label unless it has a dot or slash in front, as `./a=b.db`, or
/// the whole is the name of a file.
pub fn source(text: &OsStr) -> Result<SourceSpec, Explained> {
    let illegal = |message: String| {
        Explained::new(Exit::Usage, message, Some("labels are NAME or tenants/NAME; to name a file with '=' in it, write ./FILE"))
    };
    let Some(place) = text.as_bytes().iter().position(|&byte| byte == b'=') else { return unlabelled(text) };
    let (label, path) = (String::from_utf8_lossy(&text.as_bytes()[..place]), OsStr::from_bytes(&text.as_bytes()[place + 1..]));
    if label.starts_with(['.', '/']) || Path::new(text).exists() {
        return unlabelled(text);
    }
    match Label::parse(&label) {
        Ok(label) if !path.is_empty() => Ok(SourceSpec { label, path: path.into() }),
        Ok(label) => Err(illegal(format!("no database is named behind '{label}='"))),
        Err(error) => Err(illegal(error.to_string())),
    }
}

fn unlabelled(text: &OsStr) -> Result<SourceSpec, Explained> {
    let path = PathBuf::from(text);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    match Label::from_stem(&stem) {
        Some(label) => Ok(SourceSpec { label, path }),
        None => Err(Explained::new(
            Exit::Usage,
            format!("no label can be made from '{}'", text.display()),
            Some("give one: LABEL=PATH, with a-z, 0-9, '.', '_', '-'"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_may_be_one() {
        for (text, label, path) in [
            ("app.db", "app", "app.db"),
            ("data/My App.sqlite", "my-app", "data/My App.sqlite"),
            ("main=data/app.db", "main", "data/app.db"),
            ("tenants/acme=x.db", "tenants/acme", "x.db"),
            ("./a=b.db", "a-b", "./a=b.db"),
            ("main=a=b.db", "main", "a=b.db"),
        ] {
            let source = source(text.as_ref()).unwrap();
            assert_eq!((source.label.as_str(), source.path.as_path()), (label, Path::new(path)), "{text}");
        }
        for wrong in ["---.db", "", "Main=my.db", "tenants/=my.db", "tenants/Beta=my.db", "=app.db", "a="] {
            assert!(source(wrong.as_ref()).is_err(), "{wrong}");
        }
    }
}
