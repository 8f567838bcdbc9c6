//! The one JSON object that `--json` prints (docs/json.md). Names only ever get added.

use std::path::Path;

use airkeep::bundle::{FileSet, Finding, Manifest, PublicCore, Source};
use serde_json::{Map, Value, json};

use super::explain::{self, Explained};
use super::{Report, screen};

/// The object of a command that ran to its end.
pub fn report(command: &str, report: &Report) -> String {
    let mut object = Map::new();
    object.insert("command".into(), command.into());
    object.insert("ok".into(), report.error.is_none().into());
    object.extend(report.error.as_ref().map(|explained| ("error".to_owned(), error(explained))));
    object.extend(report.json.clone());
    object.insert("warnings".into(), report.warnings.clone().into());
    text(&Value::Object(object))
}

/// The object of a command that failed.
pub fn failure(command: Option<&str>, explained: &Explained) -> String {
    text(&json!({ "command": command, "ok": false, "error": error(explained) }))
}

/// JSON lets DEL, C1 controls and marks that reorder text stand as they are; a terminal obeys them. Outside of strings there is only ASCII.
fn text(value: &Value) -> String {
    let escaped = |c: char| match c != '\n' && screen::is_harmful(c) {
        true => format!("\\u{:04x}", u32::from(c)),
        false => c.to_string(),
    };
    format!("{value:#}\n").chars().map(escaped).collect()
}

/// The member `error`.
pub fn error(explained: &Explained) -> Value {
    json!({
        "code": explained.exit.code(),
        "name": explained.exit.name(),
        "message": explained.message,
        "causes": explained.causes,
        "hint": explained.hint,
    })
}

/// The member `bundle`.
pub fn bundle(path: &Path, size_bytes: u64, core: &PublicCore) -> Value {
    json!({
        "path": path.to_string_lossy(),
        "size_bytes": size_bytes,
        "id": core.id,
        "set": core.set,
        "sequence": core.sequence,
        "kind": core.kind,
        "created_at": core.created_at,
        "marking": core.marking,
        "codec": core.codec,
        "frame_size_bytes": core.frame_size,
        "predecessor": core.predecessor,
        "signer": core.signer,
    })
}

/// The member `sources`: the manifest's, with tables as an object of name → rows.
pub fn sources(manifest: &Manifest) -> Value {
    manifest.sources.iter().map(source).collect()
}

/// One source.
pub fn source(source: &Source) -> Value {
    let mut value = json!(source);
    value["tables"] = source.tables.iter().map(|table| (table.name.clone(), json!(table.rows))).collect::<Map<_, _>>().into();
    value
}

/// The member `files`: the manifest's sets of plain files.
pub fn file_sets(manifest: &Manifest) -> Value {
    manifest.files.iter().map(file_set).collect()
}

/// One set of plain files.
pub fn file_set(set: &FileSet) -> Value {
    json!(set)
}

/// One member of `findings`.
pub fn finding(path: &Path, finding: &Finding) -> Value {
    json!({
        "bundle": path.to_string_lossy(),
        "level": finding.level,
        "code": finding.damage.code(),
        "message": explain::finding(finding),
        "frames": finding.frames.map(|(first, last)| json!({ "first": first, "last": last })),
        "entries": finding.entries,
    })
}
