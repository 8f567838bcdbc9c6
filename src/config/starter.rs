//! The configuration that `init` begins with: what it found, and in comments what else there is.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::bundle::Label;

/// What a new configuration names. Paths are relative to its folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Databases, each with a label of its own.
    pub databases: Vec<(Label, String)>,
    /// The pattern of the tenants' databases.
    pub tenants: Option<String>,
    /// The private key that signs, where it is not in its usual place.
    pub signing_key: Option<PathBuf>,
}

/// Writes a commented configuration.
#[must_use]
pub fn starter(set: &str, vault: &Path, found: &Found) -> String {
    let mut text = format!("{HEAD}set = {}\nvault = {}\n{COMMENTS}", quoted(set), quoted(&vault.to_string_lossy()));
    if let Some(path) = &found.signing_key {
        text = text.replace("# [keys]\n", &format!("[keys]\nsigning-key = {}\n", quoted(&path.to_string_lossy())));
    }
    for (label, path) in &found.databases {
        let _ = write!(
            text,
            "\n[sources.{}]\nsqlite = {}\nrequired = true\n# append-only = [\"audit_trail\"]\n",
            quoted(label.as_str()),
            quoted(&unmistakable(path))
        );
    }
    if found.databases.is_empty() {
        text.push_str("\n# [sources.main]\n# sqlite = \"data/app.db\"\n# required = true\n# append-only = [\"audit_trail\"]\n");
    }
    let _ = match &found.tenants {
        Some(pattern) => write!(text, "\n[sources.\"tenants/*\"]\nsqlite = {}\n", quoted(&unmistakable(pattern))),
        None => write!(text, "\n# [sources.\"tenants/*\"]\n# sqlite = \"data/tenants/*.db\"   # tenants/acme, tenants/beta, …\n"),
    };
    text
}

/// A path that is not taken for a URL.
fn unmistakable(path: &str) -> String {
    match path.contains(':') && !path.starts_with('/') {
        true => format!("./{path}"),
        false => path.to_owned(),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

const HEAD: &str = "# airkeep's configuration (docs/configuration.md). Paths are relative to this file.\n\
    # 'airkeep config check' proves that all of it is there, 'airkeep backup' takes it.\n";

const COMMENTS: &str = r#"
# How bundles must be handled, public in each of them.
# marking = "CUI//SP-CTI"

# Where keys come from; no key stands here.
# [keys]
# key-files = ["/etc/airkeep/backup.key"]
# passphrase-files = ["/etc/airkeep/passphrase"]
# credential = "airkeep"     # a service credential (systemd)

# [sealing]
# compression = "gzip:5"    # or "zstd:3", "none"
# check = "quick"           # or "full", "none"
# hash-tables = true        # content is compared row by row at level 4
# iterations = 1000000      # what it costs to try a passphrase
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Location};

    fn label(text: &str) -> Label {
        Label::parse(text).unwrap()
    }

    #[test]
    fn what_it_writes_is_understood_whatever_the_names() {
        let names =
            ["a.db", "it's \"quoted\".db", "back\\slash.db", "tab\there.db", "file:x.db", "sqlite:y.db?z#", "ünï\u{7f}.db", "/abs.db"];
        let labels = ["plain", "with.dot", "tenants/acme", "0", "a-b_c", "required", "true", "x"].map(label);
        let databases: Vec<_> = labels.iter().cloned().zip(names.map(str::to_owned)).collect();
        let found = Found { databases, tenants: Some("odd: \"place\"/tenants/*.db".to_owned()), signing_key: Some("my \"key\"".into()) };
        let text = starter("plant", Path::new("a \"vault\"\\"), &found);
        let config = Config::parse(Path::new("/here/airkeep.toml"), &text).unwrap();
        assert_eq!(config.vault.as_deref(), Some(Path::new("/here/a \"vault\"\\")));
        assert_eq!(config.keys.signing_key.as_deref(), Some(Path::new("/here/my \"key\"")));
        assert_eq!(config.sources.len(), 9, "{text}");
        for (source, (label, name)) in config.sources.iter().zip(&found.databases) {
            let path = Path::new("/here").join(name);
            assert_eq!(
                source.sqlite().unwrap().location,
                Location::Path { label: label.clone(), path: path.components().collect() },
                "{name}"
            );
            assert!(source.required);
        }
        assert!(matches!(&config.sources[8].sqlite().unwrap().location, Location::Pattern { suffix, .. } if suffix == ".db"));
    }

    #[test]
    fn its_comments_are_right_once_they_are_none() {
        let text = starter("plant", Path::new("vault"), &Found::default());
        let config = Config::parse(Path::new("/airkeep.toml"), &text).unwrap();
        assert!(config.sources.is_empty() && config.marking.is_none());
        let shown: String = text.lines().filter(|line| !line.contains('\'') && !line.contains("; ")).fold(String::new(), |text, line| {
            let bare = line.strip_prefix("# ").filter(|rest| rest.starts_with('[') || rest.contains(" = ")).unwrap_or(line);
            text + bare + "\n"
        });
        let config = Config::parse(Path::new("/airkeep.toml"), &shown).unwrap_or_else(|error| panic!("{error}\n{shown}"));
        assert_eq!((config.sources.len(), config.keys.key_files.len(), config.marking.is_some()), (2, 1, true), "{shown}");
        assert!(config.sealing.hash_tables && config.sealing.iterations.is_some());
    }
}
