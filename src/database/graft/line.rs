//! Lines of a capsule, read back: the inverse of what the gap writes (docs/gap.md).

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde_json::Value as Json;

use crate::crypto::decode_hex;

/// One line.
pub(super) struct Line {
    pub(super) table: String,
    /// Else the row was altered.
    pub(super) is_lost: bool,
    /// The live row: column and value.
    pub(super) row: Vec<(String, Cell)>,
    key: Json,
}

impl Line {
    /// A column's value; names are compared as SQLite does.
    pub(super) fn value(&self, name: &str) -> Option<&Cell> {
        self.row.iter().find(|(column, _)| column.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The key for people: columns with values, cut if long.
    pub(super) fn key_words(&self) -> Option<String> {
        let word = |(name, value): (&String, &Json)| format!("{name} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let words = self.key.as_object()?.iter().map(word).collect::<Vec<_>>().join(", ");
        Some(match words.char_indices().nth(LONGEST_KEY) {
            Some((end, _)) => format!("{}…", &words[..end]),
            None => words,
        })
    }
}

/// A value as it is stored; text may be any bytes.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    pub(super) fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(number) => ValueRef::Integer(*number),
            Cell::Real(number) => ValueRef::Real(*number),
            Cell::Text(bytes) => ValueRef::Text(bytes),
            Cell::Blob(bytes) => ValueRef::Blob(bytes),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(self.as_ref()))
    }
}

/// Nothing if it is no line of a capsule.
pub(super) fn read_line(text: &[u8]) -> Option<Line> {
    let mut line: Json = serde_json::from_slice(text).ok()?;
    let key = line["key"].take();
    let row = line["row"].as_object()?.iter().map(|(name, value)| Some((name.clone(), read_value(value)?)));
    Some(Line { table: line["table"].as_str()?.to_owned(), is_lost: line["what"] == "lost", row: row.collect::<Option<_>>()?, key })
}

fn read_value(value: &Json) -> Option<Cell> {
    match value {
        Json::Null => Some(Cell::Null),
        Json::Number(number) => number.as_i64().map(Cell::Integer),
        Json::String(text) => Some(Cell::Text(text.clone().into_bytes())),
        Json::Object(object) => {
            let (kind, text) = object.iter().next().filter(|_| object.len() == 1)?;
            let text = text.as_str()?;
            match kind.as_str() {
                "integer" => text.parse().ok().map(Cell::Integer),
                "real" => text.parse().ok().map(Cell::Real),
                "text_hex" => bytes(text).map(Cell::Text),
                "blob_hex" => bytes(text).map(Cell::Blob),
                _ => None,
            }
        }
        _ => None,
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; hex.len() / 2];
    decode_hex(hex, &mut bytes).ok().map(|()| bytes)
}

/// More than any UUID or path that serves as a key.
const LONGEST_KEY: usize = 200;
