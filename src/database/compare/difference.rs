//! One way in which a database is not what was recorded of it.

use std::fmt;

use super::super::logical::TableHash;
use super::ExpectedSchema;
use crate::crypto::Digest;

/// What was recorded, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A field of the header.
    Property {
        /// Which.
        name: &'static str,
        /// As recorded.
        expected: String,
        /// As found.
        found: String,
    },
    /// Tables, indexes, views or triggers.
    Schema {
        /// As recorded.
        expected: ExpectedSchema,
        /// As found.
        found: ExpectedSchema,
        /// The first line that differs, as recorded and as found; empty behind the end.
        at: Option<(String, String)>,
    },
    /// A recorded table is not there.
    TableMissing {
        /// Its name.
        table: String,
        /// The rows that it had, if they were counted.
        expected_rows: Option<u64>,
    },
    /// A table is there that was not recorded.
    TableUnexpected {
        /// Its name.
        table: String,
    },
    /// A table has another number of rows.
    Rows {
        /// Its name.
        table: String,
        /// As recorded.
        expected: u64,
        /// As found.
        found: u64,
    },
    /// A table has another logical hash.
    Content {
        /// Its name.
        table: String,
        /// As recorded.
        expected: TableHash,
        /// As found.
        found: TableHash,
    },
}

impl Difference {
    pub(super) fn property(name: &'static str, expected: &str, found: &str) -> Difference {
        Difference::Property { name, expected: expected.to_owned(), found: found.to_owned() }
    }

    /// A short name that stays the same between releases.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Difference::Property { .. } => "property-differs",
            Difference::Schema { .. } => "schema-differs",
            Difference::TableMissing { .. } => "table-missing",
            Difference::TableUnexpected { .. } => "table-unexpected",
            Difference::Rows { .. } => "rows-differ",
            Difference::Content { .. } => "content-differs",
        }
    }

    /// The table concerned, if it is one.
    #[must_use]
    pub fn table(&self) -> Option<&str> {
        match self {
            Difference::Property { .. } | Difference::Schema { .. } => None,
            Difference::TableMissing { table, .. }
            | Difference::TableUnexpected { table }
            | Difference::Rows { table, .. }
            | Difference::Content { table, .. } => Some(table),
        }
    }

    /// What was recorded and what was found, as short texts; nothing where it was not there.
    #[must_use]
    pub fn sides(&self) -> (Option<String>, Option<String>) {
        let hash = |hash: &TableHash| Some(Digest(hash.sha256).to_string());
        match self {
            Difference::Property { expected, found, .. } => (Some(expected.clone()), Some(found.clone())),
            Difference::Schema { expected, found, .. } => (Some(expected.sha256.to_string()), Some(found.sha256.to_string())),
            Difference::TableMissing { expected_rows, .. } => (expected_rows.map(|rows| rows.to_string()), None),
            Difference::TableUnexpected { .. } => (None, None),
            Difference::Rows { expected, found, .. } => (Some(expected.to_string()), Some(found.to_string())),
            Difference::Content { expected, found, .. } => (hash(expected), hash(found)),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Property { name, expected, found } => write!(f, "{name}: recorded {expected}, found {found}"),
            Difference::Schema { expected, found, at } => {
                write!(f, "the schema is not the recorded one: recorded {} objects, found {}", expected.objects, found.objects)?;
                match at {
                    Some((expected, found)) => write!(f, "; first difference: recorded '{expected}', found '{found}'"),
                    None => write!(f, "; recorded SHA-256 {}, found {}", expected.sha256, found.sha256),
                }
            }
            Difference::TableMissing { table, expected_rows: Some(rows) } => write!(f, "table '{table}' with {rows} rows is missing"),
            Difference::TableMissing { table, .. } => write!(f, "table '{table}' is missing"),
            Difference::TableUnexpected { table } => write!(f, "table '{table}' was not recorded"),
            Difference::Rows { table, expected, found } => write!(f, "table '{table}': recorded {expected} rows, found {found}"),
            Difference::Content { table, expected, found } if expected.columns != found.columns => {
                write!(f, "table '{table}': recorded columns {}, found {}", expected.columns.join(", "), found.columns.join(", "))
            }
            Difference::Content { table, expected, found } => {
                write!(
                    f,
                    "table '{table}' has other content: recorded logical hash {}, found {}",
                    Digest(expected.sha256),
                    Digest(found.sha256)
                )
            }
        }
    }
}

/// The first lines in which two texts differ, shortened.
pub(super) fn first_difference(expected: &str, found: &str) -> Option<(String, String)> {
    let (mut left, mut right) = (expected.lines(), found.lines());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return None,
            (left, right) if left == right => {}
            (left, right) => return Some((shortened(left), shortened(right))),
        }
    }
}

fn shortened(line: Option<&str>) -> String {
    line.unwrap_or_default().chars().take(LINE_CHARS).collect()
}

const LINE_CHARS: usize = 120;
