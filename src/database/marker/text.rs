//! The text of a marker: divided into table, columns and values before any value is filled in, so that no fact becomes a column.

use std::collections::BTreeMap;

/// What the names in braces stand for; a name without a fact becomes an empty text.
#[derive(Debug, Clone, Default)]
pub struct MarkerFacts(pub BTreeMap<&'static str, String>);

/// The names that may stand in braces.
pub const NAMES: [&str; 12] =
    ["lost", "altered", "resurrected", "tables", "first", "last", "bundle", "snapshot", "time", "operator", "reason", "gap"];

/// Why a text is no marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerSyntaxError {
    /// There is no table in front of a colon.
    #[error("it names no table: expected TABLE:COLUMN=VALUE,…")]
    NoTable,
    /// A part has no column in front of an equals sign.
    #[error("'{part}' names no column: expected COLUMN=VALUE")]
    NoColumn {
        /// The part.
        part: String,
    },
    /// A column stands twice.
    #[error("column '{column}' stands twice")]
    Twice {
        /// It.
        column: String,
    },
    /// A name in braces means nothing.
    #[error("'{{{name}}}' means nothing, known are: {}", NAMES.map(|name| format!("{{{name}}}")).join(" "))]
    Unknown {
        /// The name.
        name: String,
    },
    /// A brace without the other one.
    #[error("a brace stands alone; write {{{{ or }}}} for one that is meant as such")]
    LoneBrace,
    /// A backslash at the end.
    #[error("a backslash stands at the end")]
    LoneBackslash,
}

/// A value with places for facts.
#[derive(Debug, Clone)]
pub(super) struct Text(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Fact(&'static str),
}

impl Text {
    pub(super) fn fill(&self, facts: &MarkerFacts) -> String {
        let part = |part: &Part| match part {
            Part::Literal(text) => text.clone(),
            Part::Fact(name) => facts.0.get(name).cloned().unwrap_or_default(),
        };
        self.0.iter().map(part).collect()
    }
}

/// A character, and whether a backslash stood before it.
type Escaped = (char, bool);

/// Table, and column with value.
type Parts = (String, Vec<(String, Option<Text>)>);

pub(super) fn split(text: &str) -> Result<Parts, MarkerSyntaxError> {
    let characters = unescape(text)?;
    let colon = characters.iter().position(|&c| c == (':', false)).ok_or(MarkerSyntaxError::NoTable)?;
    let table = plain(&characters[..colon]);
    if table.is_empty() {
        return Err(MarkerSyntaxError::NoTable);
    }
    let mut columns: Vec<(String, Option<Text>)> = Vec::new();
    for part in characters[colon + 1..].split(|&c| c == (',', false)) {
        let equals = part.iter().position(|&c| c == ('=', false)).filter(|&place| place > 0);
        let equals = equals.ok_or_else(|| MarkerSyntaxError::NoColumn { part: plain(part) })?;
        let column = plain(&part[..equals]);
        if columns.iter().any(|(other, _)| other.eq_ignore_ascii_case(&column)) {
            return Err(MarkerSyntaxError::Twice { column });
        }
        let value = &part[equals + 1..];
        let is_null = plain(value) == "NULL" && value.iter().all(|(_, is_escaped)| !is_escaped);
        columns.push((column, if is_null { None } else { Some(parse(value)?) }));
    }
    Ok((table, columns))
}

fn unescape(text: &str) -> Result<Vec<Escaped>, MarkerSyntaxError> {
    let mut found = Vec::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        found.push(match c {
            '\\' => (rest.next().ok_or(MarkerSyntaxError::LoneBackslash)?, true),
            c => (c, false),
        });
    }
    Ok(found)
}

fn plain(characters: &[Escaped]) -> String {
    characters.iter().map(|(c, _)| c).collect()
}

fn parse(value: &[Escaped]) -> Result<Text, MarkerSyntaxError> {
    let (mut parts, mut literal) = (Vec::new(), String::new());
    let mut rest = value;
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        match first {
            ('{', false) if rest.first() == Some(&('{', false)) => literal.push('{'),
            ('}', false) if rest.first() == Some(&('}', false)) => literal.push('}'),
            ('}', false) => return Err(MarkerSyntaxError::LoneBrace),
            ('{', false) => {
                let end = rest.iter().position(|&c| c == ('}', false)).ok_or(MarkerSyntaxError::LoneBrace)?;
                let name = plain(&rest[..end]);
                let known = NAMES.into_iter().find(|known| *known == name).ok_or(MarkerSyntaxError::Unknown { name })?;
                parts.extend([Part::Literal(std::mem::take(&mut literal)), Part::Fact(known)]);
                rest = &rest[end + 1..];
                continue;
            }
            (c, _) => {
                literal.push(c);
                continue;
            }
        }
        rest = &rest[1..]; // the second of two braces
    }
    parts.push(Part::Literal(literal));
    Ok(Text(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Vec<(String, Option<String>)> {
        let facts = MarkerFacts(BTreeMap::from([("lost", "40".to_owned()), ("reason", "a,b=c:{lost}".to_owned())]));
        let (table, columns) = split(text).unwrap();
        assert_eq!(table, "audit");
        columns.into_iter().map(|(name, text)| (name, text.map(|text| text.fill(&facts)))).collect()
    }

    #[test]
    fn values_are_filled_after_they_were_divided() {
        let expected = |pairs: &[(&str, Option<&str>)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect::<Vec<_>>()
        };
        assert_eq!(filled("audit:what={reason},n={lost}"), expected(&[("what", Some("a,b=c:{lost}")), ("n", Some("40"))]));
        assert_eq!(
            filled(r"audit:a=x\,y\=z,b=NULL,c=\NULL,d="),
            expected(&[("a", Some("x,y=z")), ("b", None), ("c", Some("NULL")), ("d", Some(""))])
        );
        assert_eq!(filled("audit:a={{{lost}}},b=x=y:z"), expected(&[("a", Some("{40}")), ("b", Some("x=y:z"))]));
    }

    #[test]
    fn what_is_no_marker_is_refused() {
        use MarkerSyntaxError::{LoneBackslash, LoneBrace, NoColumn, NoTable, Twice, Unknown};
        for (text, error) in [
            ("audit", NoTable),
            (":a=b", NoTable),
            ("audit:", NoColumn { part: String::new() }),
            ("audit:a", NoColumn { part: "a".into() }),
            ("audit:=b", NoColumn { part: "=b".into() }),
            ("audit:a=b,", NoColumn { part: String::new() }),
            ("audit:a=1,A=2", Twice { column: "A".into() }),
            ("audit:a={rows}", Unknown { name: "rows".into() }),
            ("audit:a={lost", LoneBrace),
            ("audit:a=lost}", LoneBrace),
            ("audit:a=b\\", LoneBackslash),
        ] {
            assert_eq!(split(text).unwrap_err(), error, "{text}");
        }
    }
}
