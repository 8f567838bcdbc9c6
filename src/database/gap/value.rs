//! Values of rows: read back from their canonical bytes, compared, and written so that each can be restored exactly.

use std::cmp::Ordering;

use rusqlite::types::ValueRef;

use crate::crypto::encode_hex;

/// Reads values from the bytes that the logical hash takes in (see [`crate::database::table_hash`]).
pub(super) struct Values<'b>(pub(super) &'b [u8]);

impl<'b> Values<'b> {
    fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn eight(&mut self) -> Option<[u8; 8]> {
        self.take(8)?.try_into().ok()
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u64::from_be_bytes(self.eight()?);
        self.take(usize::try_from(length).ok()?)
    }
}

impl<'b> Iterator for Values<'b> {
    type Item = ValueRef<'b>;

    fn next(&mut self) -> Option<ValueRef<'b>> {
        match self.take(1)?[0] {
            1 => self.eight().map(|bytes| ValueRef::Integer(i64::from_be_bytes(bytes))),
            2 => self.eight().map(|bytes| ValueRef::Real(f64::from_bits(u64::from_be_bytes(bytes)))),
            3 => self.bytes().map(ValueRef::Text),
            4 => self.bytes().map(ValueRef::Blob),
            _ => Some(ValueRef::Null),
        }
    }
}

/// SQLite's order of values under the collation `BINARY`; integers beyond 2^53 and reals compare as reals.
pub(super) fn compare(one: ValueRef<'_>, other: ValueRef<'_>) -> Ordering {
    use ValueRef::{Blob, Integer, Real, Text};
    match (one, other) {
        (Integer(one), Integer(other)) => one.cmp(&other),
        (Integer(one), Real(other)) => (one as f64).total_cmp(&other),
        (Real(one), Integer(other)) => one.total_cmp(&(other as f64)),
        (Real(one), Real(other)) => one.total_cmp(&other),
        (Text(one), Text(other)) | (Blob(one), Blob(other)) => one.cmp(other),
        _ => class(one).cmp(&class(other)),
    }
}

fn class(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Null => 0,
        ValueRef::Integer(_) | ValueRef::Real(_) => 1,
        ValueRef::Text(_) => 2,
        ValueRef::Blob(_) => 3,
    }
}

/// Writes a value as JSON, exactly.
///
/// # Layout
/// ```text
/// NULL     null
/// INTEGER  a JSON integer; {"integer": "9007199254740993"} beyond ±(2^53 - 1), where readers with doubles would round
/// REAL     {"real": "-0.0"}: the shortest decimal that reads back as the same double; "inf", "-inf"
/// TEXT     a JSON string; {"text_hex": "ff"} for bytes that are not UTF-8
/// BLOB     {"blob_hex": "00ff"}
/// ```
pub(in crate::database) fn push_json(line: &mut String, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => line.push_str("null"),
        ValueRef::Integer(number) if number.unsigned_abs() < 1 << 53 => line.push_str(&number.to_string()),
        ValueRef::Integer(number) => line.push_str(&format!("{{\"integer\":\"{number}\"}}")),
        ValueRef::Real(number) => line.push_str(&format!("{{\"real\":\"{number:?}\"}}")),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => push_json_text(line, text),
            Err(_) => line.push_str(&format!("{{\"text_hex\":\"{}\"}}", encode_hex(bytes))),
        },
        ValueRef::Blob(bytes) => line.push_str(&format!("{{\"blob_hex\":\"{}\"}}", encode_hex(bytes))),
    }
}

pub(in crate::database) fn push_json_text(line: &mut String, text: &str) {
    line.push_str(&serde_json::Value::from(text).to_string());
}

/// A value for people; long ones are cut.
pub(super) fn display(value: ValueRef<'_>) -> String {
    let text = match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Blob(bytes) => format!("x'{}'", encode_hex(&bytes[..bytes.len().min(LONGEST_DISPLAY)])),
    };
    match text.char_indices().nth(LONGEST_DISPLAY) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// More than any UUID or path that serves as a key.
const LONGEST_DISPLAY: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::logical::push_value;

    #[test]
    fn values_come_back_from_their_bytes() {
        let values = [
            ValueRef::Null,
            ValueRef::Integer(i64::MIN),
            ValueRef::Real(-0.0),
            ValueRef::Text(b"a\0b"),
            ValueRef::Blob(b""),
            ValueRef::Integer(7),
        ];
        let mut bytes = Vec::new();
        values.iter().for_each(|value| push_value(&mut bytes, *value));
        assert_eq!(Values(&bytes).collect::<Vec<_>>(), values);
    }

    #[test]
    fn json_keeps_type_and_value() {
        for (value, expected) in [
            (ValueRef::Null, "null"),
            (ValueRef::Integer(-9_007_199_254_740_991), "-9007199254740991"),
            (ValueRef::Integer(9_007_199_254_740_992), r#"{"integer":"9007199254740992"}"#),
            (ValueRef::Integer(i64::MIN), r#"{"integer":"-9223372036854775808"}"#),
            (ValueRef::Real(-0.0), r#"{"real":"-0.0"}"#),
            (ValueRef::Real(1.0), r#"{"real":"1.0"}"#),
            (ValueRef::Real(f64::INFINITY), r#"{"real":"inf"}"#),
            (ValueRef::Real(5e-324), r#"{"real":"5e-324"}"#),
            (ValueRef::Text("a\"\0\n\u{2028}".as_bytes()), "\"a\\\"\\u0000\\n\u{2028}\""),
            (ValueRef::Text(b"\xff"), r#"{"text_hex":"ff"}"#),
            (ValueRef::Blob(b"\0\xff"), r#"{"blob_hex":"00ff"}"#),
        ] {
            let mut line = String::new();
            push_json(&mut line, value);
            assert_eq!(line, expected);
        }
    }
}
