//! Why a configuration is not used: where, and what was expected.

use std::fmt;
use std::path::PathBuf;

use crate::files::FileError;

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read, or others could have written it.
    #[error("cannot use configuration '{}'", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: FileError,
    },
    /// It is not understood.
    #[error("{}:{line}:{column}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// What is wrong there.
        problem: Problem,
    },
}

/// What is wrong at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It is no TOML.
    Toml(String),
    /// A key that means nothing.
    UnknownKey {
        /// The key.
        key: String,
        /// The known one that is most like it.
        nearest: Option<String>,
        /// All that are known here.
        known: Vec<&'static str>,
    },
    /// A key that has to be there.
    MissingKey {
        /// The key.
        key: &'static str,
        /// In this table.
        table: String,
    },
    /// Another type of value.
    WrongType {
        /// The key.
        key: String,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// A value that is not allowed.
    Illegal {
        /// The key.
        key: String,
        /// Why.
        why: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Toml(text) => f.write_str(text),
            Problem::UnknownKey { key, nearest: Some(nearest), .. } => write!(f, "unknown key '{key}', did you mean '{nearest}'?"),
            Problem::UnknownKey { key, nearest: None, known } if known.is_empty() => write!(f, "unknown key '{key}'"),
            Problem::UnknownKey { key, nearest: None, known } => write!(f, "unknown key '{key}', known are: {}", known.join(", ")),
            Problem::MissingKey { key, table } => write!(f, "'{table}' has no key '{key}'"),
            Problem::WrongType { key, expected, found } => write!(f, "'{key}' is {found}, expected {expected}"),
            Problem::Illegal { key, why } => write!(f, "'{key}': {why}"),
        }
    }
}
