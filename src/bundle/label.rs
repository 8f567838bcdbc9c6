//! Names that travel inside bundles: labels of sources, names of sets, paths in the payload.
//!
//! A parsed name is safe to join to a folder: no `..`, no leading dot, no absolute path, one spelling (lower case).

use std::fmt;

use serde::{Deserialize, Serialize};

const NAME_MAX: usize = 64;
const TENANTS: &str = "tenants/";

/// A source's name: `name` or `tenants/name`, 64 bytes at most (docs/format.md section 4).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    /// Checks a label.
    ///
    /// # Errors
    /// Anything but the allowed form.
    pub fn parse(text: &str) -> Result<Label, NameError> {
        let name = text.strip_prefix(TENANTS).unwrap_or(text);
        match is_name(name) && text.len() <= NAME_MAX {
            true => Ok(Label(text.to_owned())),
            false => Err(NameError { kind: "label", text: text.to_owned() }),
        }
    }

    /// Makes a label out of a file's stem: lower case, other characters become `-`.
    pub fn from_stem(stem: &str) -> Option<Label> {
        let mapped: String = stem.to_lowercase().chars().map(|c| if is_name_char(c) { c } else { '-' }).collect();
        let trimmed = mapped.trim_start_matches(['.', '_', '-']);
        Label::parse(&trimmed[..trimmed.len().min(NAME_MAX)]).ok()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a set of bundles, which also begins their file names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SetName(String);

impl SetName {
    /// Checks a set's name.
    ///
    /// # Errors
    /// Anything but the allowed form.
    pub fn parse(text: &str) -> Result<SetName, NameError> {
        match is_name(text) {
            true => Ok(SetName(text.to_owned())),
            false => Err(NameError { kind: "set name", text: text.to_owned() }),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The path of an entry in the payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EntryPath {
    /// `databases/<label>.db`
    Database(Label),
    /// `schema/<label>.sql`
    Schema(Label),
    /// `capsule/<label>.jsonl`
    Capsule(Label),
    /// `files/<label>.tar`
    Files(Label),
    /// `manifest.json`
    Manifest,
    /// `SHA256SUMS`
    Sums,
}

impl EntryPath {
    /// Reads one of the six forms.
    pub fn parse(text: &str) -> Option<EntryPath> {
        let inner = |prefix, suffix| text.strip_prefix(prefix)?.strip_suffix(suffix).and_then(|l| Label::parse(l).ok());
        match text {
            "manifest.json" => Some(EntryPath::Manifest),
            "SHA256SUMS" => Some(EntryPath::Sums),
            _ => inner("databases/", ".db")
                .map(EntryPath::Database)
                .or_else(|| inner("schema/", ".sql").map(EntryPath::Schema))
                .or_else(|| inner("capsule/", ".jsonl").map(EntryPath::Capsule))
                .or_else(|| inner("files/", ".tar").map(EntryPath::Files)),
        }
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EntryPath::Database(label) => write!(f, "databases/{label}.db"),
            EntryPath::Schema(label) => write!(f, "schema/{label}.sql"),
            EntryPath::Capsule(label) => write!(f, "capsule/{label}.jsonl"),
            EntryPath::Files(label) => write!(f, "files/{label}.tar"),
            EntryPath::Manifest => f.write_str("manifest.json"),
            EntryPath::Sums => f.write_str("SHA256SUMS"),
        }
    }
}

/// A name that breaks its rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} '{}' is not allowed: it may have a-z, 0-9, '.', '_', '-', begins with a letter or digit, and has at most 64 bytes", text.escape_debug())]
pub struct NameError {
    /// What kind of name.
    pub kind: &'static str,
    /// The text as given.
    pub text: String,
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-')
}

fn is_name(text: &str) -> bool {
    text.len() <= NAME_MAX && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && text.chars().all(is_name_char)
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<$name, NameError> {
                $name::parse(&text)
            }
        }
    )*};
}
text_conversions!(Label, SetName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_cannot_leave_their_folder() {
        for legal in ["main", "0", "a.b_c-d", "tenants/acme", "tenants", "tenants.x"] {
            assert!(Label::parse(legal).is_ok(), "{legal}");
        }
        for illegal in
            ["", ".", "..", "../x", "/x", "a/b", "tenants/", "tenants/../x", "tenants/a/b", "A", "a b", "a\0", "é", ".hidden", "-x"]
        {
            assert!(Label::parse(illegal).is_err(), "{illegal}");
        }
        assert!(Label::parse(&"a".repeat(64)).is_ok() && Label::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn a_stem_becomes_a_label() {
        for (stem, label) in [("Chinook", "chinook"), ("My Data (1)", "my-data--1-"), (".hidden", "hidden"), ("Größe", "gr--e")] {
            assert_eq!(Label::from_stem(stem).unwrap().as_str(), label);
        }
        assert_eq!(Label::from_stem("---"), None);
    }

    #[test]
    fn entry_paths_have_one_form() {
        for path in ["databases/main.db", "schema/tenants/acme.sql", "capsule/main.jsonl", "manifest.json", "SHA256SUMS"] {
            assert_eq!(EntryPath::parse(path).unwrap().to_string(), path);
        }
        for other in ["databases/../x.db", "databases/.db", "x", "databases/main.sql", "/manifest.json"] {
            assert_eq!(EntryPath::parse(other), None, "{other}");
        }
    }
}
