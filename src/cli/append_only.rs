//! Which tables only grow: `[LABEL:]TABLE`, or a file with a list of them.

use std::path::Path;

use airkeep::Label;
use airkeep::ops::AppendOnly;
use serde_json::Value;

use super::exit::Exit;
use super::explain::Explained;

/// Reads one argument.
pub fn parse(text: &str) -> Result<Vec<AppendOnly>, Explained> {
    if text.ends_with(".json") {
        return from_file(Path::new(text));
    }
    // Names of tables may have colons; what stands before one is a label only if it can be one.
    let (label, table) = match text.split_once(':').map(|(label, table)| (Label::parse(label), table)) {
        Some((Ok(label), table)) => (Some(label), table),
        _ => (None, text),
    };
    match table.is_empty() {
        true => Err(Explained::new(Exit::Usage, format!("'{text}' names no table"), Some("expected [LABEL:]TABLE or FILE.json"))),
        false => Ok(vec![AppendOnly { label, table: table.to_owned() }]),
    }
}

fn from_file(path: &Path) -> Result<Vec<AppendOnly>, Explained> {
    let refused = |exit, cause: String| Explained {
        exit,
        message: format!("cannot use '{}' as a list of append-only tables", path.display()),
        causes: vec![cause],
        hint: Some("it holds a JSON array of names, or of objects with \"table\"".to_owned()),
    };
    let text = std::fs::read(path).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Usage };
        refused(exit, error.to_string())
    })?;
    let list: Vec<Value> = serde_json::from_slice(&text).map_err(|error| refused(Exit::Usage, error.to_string()))?;
    let table = |(place, item): (usize, &Value)| {
        let name = item.as_str().or_else(|| item.get("table")?.as_str()).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| refused(Exit::Usage, format!("item {} names no table", place + 1)))?;
        let label = item.get("label").and_then(Value::as_str).map(Label::parse).transpose();
        let label = label.map_err(|error| refused(Exit::Usage, format!("item {}: {error}", place + 1)))?;
        Ok(AppendOnly { label, table: name.to_owned() })
    };
    list.iter().enumerate().map(table).collect()
}
