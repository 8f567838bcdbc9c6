//! What a configuration means, for people and as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use airkeep::config::{KeyConfig, SealingConfig, SourceKind, SqliteConfig};
use airkeep::database::Assertion;
use serde_json::{Value, json};

use super::{Looked, LookedSource};
use crate::cli::{configured_keys, screen};

pub(super) fn text(looked: &Looked<'_>) -> String {
    let config = looked.config;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{}", screen::escape(value));
    };
    row("config", &config.path.to_string_lossy());
    let named = [
        ("set", config.set.as_ref().map(ToString::to_string)),
        ("vault", config.vault.as_ref().map(|path| path.to_string_lossy().into_owned())),
        ("marking", config.marking.as_ref().map(ToString::to_string)),
        ("hook", config.hook.clone()),
        ("stop", config.stop.clone()),
        ("start", config.start.clone()),
    ];
    named.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).for_each(|(name, value)| row(name, value));
    sealing_words(&config.sealing).iter().for_each(|words| row("sealing", words));
    configured_keys::places(&config.keys).iter().for_each(|place| row("key", place));
    if let Some(path) = &config.keys.signing_key {
        row("signing", &format!("key '{}'", path.display()));
    }
    for looked in &looked.sources {
        source_rows(looked, &mut row);
    }
    text
}

fn source_rows(looked: &LookedSource<'_>, row: &mut impl FnMut(&str, &str)) {
    let LookedSource { source, expanded, found } = looked;
    let required = if source.required { ", required" } else { "" };
    match (&source.kind, found) {
        (SourceKind::Sqlite(sqlite), _) => {
            let group = sqlite.group.as_ref().map(|name| format!(", group {name}")).unwrap_or_default();
            expanded.found.iter().for_each(|(label, path)| row("source", &format!("{label}: {}{required}{group}", path.display())));
            demands(sqlite).iter().for_each(|words| row("", words));
        }
        (SourceKind::Files(files), found) => {
            let (count, bytes) = found.as_ref().map_or((0, 0), |found| (found.files.len() as u64, found.size_bytes()));
            let (count, size) = (screen::count(count, "file"), screen::size(bytes));
            row("source", &format!("{}: {count} in {}, {size}{required}", source.name, files.selection.patterns.folder().display()));
        }
    }
}

/// What is asked of a database, one line each.
fn demands(sqlite: &SqliteConfig) -> Vec<String> {
    let append_only = (!sqlite.append_only.is_empty()).then(|| format!("append-only: {}", sqlite.append_only.join(", ")));
    let demands = sqlite.assertions.iter().map(|assertion| format!("assert: {}", assertion.text()));
    let check = sqlite.check.as_ref().map(|words| format!("check: {}", words.join(" ")));
    append_only.into_iter().chain(demands).chain(check).collect()
}

fn sealing_words(sealing: &SealingConfig) -> Vec<String> {
    let words = [
        sealing.compression.map(|compression| format!("compression {compression}")),
        sealing.check.as_ref().map(|check| format!("check {check}")),
        sealing.hash_tables.then(|| "hashes of all tables".to_owned()),
        sealing.iterations.map(|iterations| format!("{} iterations", iterations.count())),
        sealing.busy_timeout.map(|timeout| format!("waits {} s for a lock", timeout.as_secs_f64())),
        sealing.scratch.as_ref().map(|path| format!("scratch in '{}'", path.display())),
    ];
    words.into_iter().flatten().collect()
}

pub(super) fn object(looked: &Looked<'_>) -> Value {
    let config = looked.config;
    json!({
        "path": config.path.to_string_lossy(),
        "set": config.set,
        "vault": config.vault.as_ref().map(|path| path.to_string_lossy()),
        "marking": config.marking.as_ref().map(ToString::to_string),
        "hook": config.hook,
        "stop": config.stop,
        "start": config.start,
        "keys": keys(&config.keys),
        "sealing": sealing(&config.sealing),
        "sources": looked.sources.iter().map(source).collect::<Vec<_>>(),
    })
}

fn source(looked: &LookedSource<'_>) -> Value {
    let LookedSource { source, expanded, found } = looked;
    let databases: Vec<Value> =
        expanded.found.iter().map(|(label, path)| json!({ "label": label, "path": path.to_string_lossy() })).collect();
    let sqlite = source.sqlite();
    let mut object = json!({
        "name": source.name,
        "required": source.required,
        "group": sqlite.and_then(|sqlite| sqlite.group.as_ref()),
        "append_only": sqlite.map_or(&[][..], |sqlite| &sqlite.append_only),
        "demands": sqlite.map_or_else(Vec::new, |sqlite| sqlite.assertions.iter().map(Assertion::text).collect()),
        "check": sqlite.and_then(|sqlite| sqlite.check.as_ref()),
        "databases": databases,
    });
    if let Some(found) = found {
        object["files"] = found.files.iter().map(|file| file.path.to_string_lossy()).collect();
    }
    object
}

fn sealing(config: &SealingConfig) -> Value {
    json!({
        "compression": config.compression.map(|compression| compression.to_string()),
        "check": config.check,
        "hash_tables": config.hash_tables,
        "iterations": config.iterations.map(|iterations| iterations.count()),
        "busy_timeout_seconds": config.busy_timeout.map(|timeout| timeout.as_secs_f64()),
        "scratch": config.scratch.as_ref().map(|path| path.to_string_lossy()),
    })
}

/// Where keys come from, and none of them.
fn keys(config: &KeyConfig) -> Value {
    let texts = |paths: &[PathBuf]| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>();
    json!({
        "key_files": texts(&config.key_files),
        "passphrase_files": texts(&config.passphrase_files),
        "passphrase_env": config.passphrase_env,
        "credential": config.credential,
        "signing_key": config.signing_key.as_ref().map(|path| path.to_string_lossy()),
    })
}
