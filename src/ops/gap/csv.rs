//! Rows of one table as comma-separated values (RFC 4180).
//!
//! Columns stand in the order of the table. What CSV cannot tell: the type (a number and the same digits as text, a BLOB and its hexadecimal
//! digits), and which text began with an apostrophe: text that a spreadsheet would take for a formula gets one in front, since audit
//! rows hold what outsiders typed. NULL is an empty cell, empty text a pair of quotation marks. JSON lines tell all of it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A sheet that grows line by line.
#[derive(Default)]
pub(in crate::ops) struct Sheet {
    columns: Option<Vec<String>>,
}

impl Sheet {
    /// The text of a row, after the one line of names; in front perhaps what the row is. `None` if it is not like those before.
    pub(in crate::ops) fn line(&mut self, what: Option<&str>, row: &str) -> Option<String> {
        let Object(members) = serde_json::from_str(row).ok()?;
        let (names, values): (Vec<String>, Vec<Value>) = members.into_iter().unzip();
        let mut text = String::new();
        match &self.columns {
            Some(columns) if *columns != names => return None,
            Some(_) => {}
            None => text = self.head(names, what.map(|_| "what")),
        }
        let cells = what.map(|what| Some(what.to_owned())).into_iter().chain(values.iter().map(cell));
        text.push_str(&joined(&cells.collect::<Option<Vec<String>>>()?));
        Some(text)
    }

    /// The line of names, where it is wanted before there is a row.
    pub(in crate::ops) fn head(&mut self, columns: Vec<String>, what: Option<&str>) -> String {
        let cells = what.map(str::to_owned).into_iter().chain(columns.iter().map(|name| text_cell(name)));
        let text = joined(&cells.collect::<Vec<String>>());
        self.columns = Some(columns);
        text
    }
}

fn joined(cells: &[String]) -> String {
    // An empty line would be no row: one cell with nothing in it is written as such.
    match cells {
        [only] if only.is_empty() => "\"\"\r\n".to_owned(),
        _ => cells.join(",") + "\r\n",
    }
}

/// The members of an object in their order, which is that of the columns.
struct Object(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A value as docs/gap.md writes it.
fn cell(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text_cell(text)),
        Value::Object(object) => {
            let text = |kind: &str| object.get(kind).and_then(Value::as_str).filter(|_| object.len() == 1);
            // A capsule is foreign content: what calls itself a number is one, or the row is refused.
            let integer = text("integer").filter(|text| text.parse::<i64>().is_ok());
            let real = text("real").filter(|text| text.parse::<f64>().is_ok());
            let hex = text("text_hex").or(text("blob_hex")).filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
            integer.or(real).or(hex).map(str::to_owned)
        }
        Value::Bool(_) | Value::Array(_) => None,
    }
}

fn text_cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { "'" } else { "" };
    match text.is_empty() || text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{guard}{}\"", text.replace('"', "\"\"")),
        false => format!("{guard}{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_become_two_or_a_formula_and_numbers_stay_numbers() {
        let row = r#"{"a,b":"say \"x\"","n":-5,"t":"-5","empty":"","null":null,"big":{"integer":"-9223372036854775808"},"blob":{"blob_hex":"00ff"}}"#;
        let text = Sheet::default().line(Some("lost"), row).unwrap();
        assert_eq!(text, "what,\"a,b\",n,t,empty,null,big,blob\r\nlost,\"say \"\"x\"\"\",-5,'-5,\"\",,-9223372036854775808,00ff\r\n");
    }
}
