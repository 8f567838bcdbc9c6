//! Lines of a capsule, read back: the inverse of what the gap writes (docs/gap.md).

use rusqlite::types::Value;
use serde_json::Value as Json;

use crate::crypto::decode_hex_vec;

/// One line.
pub(super) struct Line {
    pub(super) table: String,
    /// Else the row was altered.
    pub(super) is_lost: bool,
    /// The live row: column and value.
    pub(super) row: Vec<(String, Value)>,
}

/// Nothing if it is no line of a capsule.
pub(super) fn read_line(text: &[u8]) -> Option<Line> {
    let line: Json = serde_json::from_slice(text).ok()?;
    let row = line["row"].as_object()?.iter().map(|(name, value)| Some((name.clone(), read_value(value)?)));
    Some(Line { table: line["table"].as_str()?.to_owned(), is_lost: line["what"] == "lost", row: row.collect::<Option<_>>()? })
}

fn read_value(value: &Json) -> Option<Value> {
    match value {
        Json::Null => Some(Value::Null),
        Json::Number(number) => number.as_i64().map(Value::Integer),
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Object(object) => {
            let (kind, text) = object.iter().next().filter(|_| object.len() == 1)?;
            let text = text.as_str()?;
            match kind.as_str() {
                "integer" => text.parse().ok().map(Value::Integer),
                "real" => text.parse().ok().map(Value::Real),
                "blob_hex" => decode_hex_vec(text).map(Value::Blob),
                // Text that is no text: rusqlite binds only what is. Such a row is refused rather than changed.
                _ => None,
            }
        }
        _ => None,
    }
}
