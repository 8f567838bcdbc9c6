//! Which tables only grow, in the words of an operator: `[LABEL:]TABLE`, or a file with a list of them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::AppendOnly;
use crate::bundle::Label;

/// Why words name no table.
#[derive(Debug, thiserror::Error)]
pub enum AppendOnlyFault {
    /// There is nothing where the table's name should be.
    #[error("'{text}' names no table")]
    NoTable {
        /// The words.
        text: String,
    },
    /// A file with a list cannot be read.
    #[error("cannot use '{}' as a list of append-only tables", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a list of tables.
    #[error("cannot use '{}' as a list of append-only tables: {why}", path.display())]
    NotAList {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl AppendOnly {
    /// Reads `TABLE`, `LABEL:TABLE`, or the name of a file that ends in `.json`: an array of names, or of objects with `table` and perhaps
    /// `label`.
    ///
    /// # Errors
    /// [`AppendOnlyFault`].
    pub fn read(text: &str) -> Result<Vec<AppendOnly>, AppendOnlyFault> {
        if text.ends_with(".json") {
            return from_file(Path::new(text));
        }
        // Names of tables may have colons; what stands before one is a label only if it can be one.
        let (label, table) = match text.split_once(':').map(|(label, table)| (Label::parse(label), table)) {
            Some((Ok(label), table)) => (Some(label), table),
            _ => (None, text),
        };
        match table.is_empty() {
            true => Err(AppendOnlyFault::NoTable { text: text.to_owned() }),
            false => Ok(vec![AppendOnly { label, table: table.to_owned() }]),
        }
    }
}

fn from_file(path: &Path) -> Result<Vec<AppendOnly>, AppendOnlyFault> {
    let not_a_list = |why: String| AppendOnlyFault::NotAList { path: path.to_owned(), why };
    let text = std::fs::read(path).map_err(|source| AppendOnlyFault::Unreadable { path: path.to_owned(), source })?;
    let list: Vec<Value> = serde_json::from_slice(&text).map_err(|error| not_a_list(error.to_string()))?;
    let table = |(place, item): (usize, &Value)| {
        let name = item.as_str().or_else(|| item.get("table")?.as_str()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| not_a_list(format!("item {} names no table", place + 1)))?;
        let label = item.get("label").and_then(Value::as_str).map(Label::parse).transpose();
        let label = label.map_err(|error| not_a_list(format!("item {}: {error}", place + 1)))?;
        Ok(AppendOnly { label, table: name.to_owned() })
    };
    list.iter().enumerate().map(table).collect()
}
