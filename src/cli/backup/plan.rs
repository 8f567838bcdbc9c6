//! `airkeep backup --dry-run`: what would be done, and what is missing for it.

use std::fmt::Write as _;

use airkeep::database::DatabaseError;
use airkeep::ops::{BackupPlan, FileSource, FilesFault, PlannedSource};
use airkeep::plain::Found;
use airkeep::{Backup, Failure};
use serde_json::{Value, json};

use crate::cli::exit::Exit;
use crate::cli::explain::{self, Explained};
use crate::cli::keys::KeyPlaces;
use crate::cli::sqlite_file::{self, Mode};
use crate::cli::{Report, screen};

/// Tells the plan. What would stop the backup is its error, what would be left out makes it partial, as in a real run.
pub fn tell(backup: &Backup, keys: &KeyPlaces, notes: Vec<String>) -> Result<Report, Explained> {
    let mut plan = backup.plan(std::time::SystemTime::now())?;
    plan.sources.iter_mut().for_each(look_inside);
    let text = text(backup, &plan, keys);
    let json = object(backup, &plan, keys).as_object().cloned().unwrap_or_default();
    let mut warnings = notes;
    let mut stops: Vec<Explained> = Vec::new();
    let is_nothing = plan.sources.iter().all(|source| source.state.is_err()) && plan.files.iter().all(|(_, found)| found.is_err());
    for PlannedSource { spec, is_required, state, .. } in plan.sources {
        let Err(source) = state else { continue };
        match is_required {
            true => stops.push(Failure::Source { label: spec.label, source }.into()),
            false => warnings.push(format!("source '{}' would not be in the bundle: {source}", spec.label)),
        }
    }
    for (FileSource { label, is_required, .. }, found) in plan.files {
        match found {
            Err(source) if is_required => stops.push(Failure::Files { label, source }.into()),
            Err(fault) => warnings.push(format!("source '{label}' would not be in the bundle: {fault}")),
            Ok(found) => warnings
                .extend(found.missing.iter().chain(&found.refused).map(|what| format!("source '{label}' would not be whole: {what}"))),
        }
    }
    if is_nothing && stops.is_empty() {
        stops.push(Failure::NothingCaptured.into());
    }
    stops.extend(plan.unsigned.map(Explained::from));
    stops.extend(keys.missing.iter().map(|why| Explained::new(Exit::Key, why.clone(), None)));
    if stops.is_empty() && !warnings.is_empty() {
        stops.push(Explained::new(Exit::Partial, warnings.remove(0), None));
    }
    let mut stops = stops.into_iter();
    let error = stops.next();
    warnings.splice(..0, stops.map(|stop| [vec![stop.message], stop.causes].concat().join(": ")));
    Ok(Report { text, json, warnings, error })
}

/// Whether it is a database shows only its beginning; an empty file is one.
fn look_inside(source: &mut PlannedSource) {
    let path = &source.spec.path;
    if source.state.as_ref().is_ok_and(|glance| glance.size_bytes > 0) && !sqlite_file::is_database(path) {
        source.state = Err(DatabaseError::NotADatabase { path: path.clone() });
    }
}

fn journal_mode(source: &PlannedSource) -> Option<&'static str> {
    Some(match sqlite_file::mode(&source.spec.path)? {
        Mode::Wal => "wal",
        Mode::Rollback => "delete",
    })
}

fn text(backup: &Backup, plan: &BackupPlan, keys: &KeyPlaces) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {}", screen::escape(value));
    };
    row("dry run", "nothing is made or changed, and no key is read");
    for source in &plan.sources {
        row(if source.state.is_ok() { "source" } else { "missing" }, &source_text(source));
    }
    for (source, found) in &plan.files {
        row(if found.is_ok() { "source" } else { "missing" }, &files_text(source, found));
    }
    for group in &backup.groups {
        let labels: Vec<&str> = group.labels.iter().map(airkeep::Label::as_str).collect();
        row("group", &format!("{}: {}, captured in one cut", group.name, labels.join(", ")));
    }
    let vault = backup.vault.to_string_lossy();
    let (set, number) = place_in_set(backup, plan);
    match &plan.outlook {
        Some(_) => row("vault", &vault),
        None => row("vault", &format!("{vault}, which would be made")),
    }
    let set = set.map_or_else(|| "of a new set".to_owned(), |set| format!("of {set}"));
    row("bundle", &format!("number {number} {set}, {}, {} check", backup.compression, backup.check));
    if let Some(marking) = &backup.marking {
        row("marked", marking.as_str());
    }
    if let Some(signer) = plan.outlook.as_ref().and_then(|outlook| outlook.signer) {
        row("signed", &signer.fingerprint().to_string());
    }
    keys.places.iter().for_each(|place| row("key", place));
    text
}

fn source_text(source: &PlannedSource) -> String {
    let PlannedSource { spec, is_required, state, .. } = source;
    let required = if *is_required { ", required" } else { "" };
    match state {
        Err(error) => format!("{}: {}{required}", spec.label, explain::causes_of(error).join(": ")),
        Ok(glance) => {
            let wal = if glance.wal_bytes > 0 { format!(" and {} of WAL", screen::size(glance.wal_bytes)) } else { String::new() };
            let mode = match journal_mode(source) {
                Some("wal") => ", WAL mode",
                Some(_) => ", rollback mode",
                None => ", empty",
            };
            format!("{}: '{}', {}{wal}{mode}{required}", spec.label, spec.path.display(), screen::size(glance.size_bytes))
        }
    }
}

fn files_text(source: &FileSource, found: &Result<Found, FilesFault>) -> String {
    let required = if source.is_required { ", required" } else { "" };
    let kind = if source.selection.redaction.is_some() { ", secrets left out" } else { "" };
    match found {
        Err(fault) => format!("{}: {}{required}", source.label, explain::causes_of(fault).join(": ")),
        Ok(found) => {
            let (count, size) = (screen::count(found.files.len() as u64, "file"), screen::size(found.size_bytes()));
            format!("{}: {count} in '{}', {size}{kind}{required}", source.label, source.selection.patterns.folder().display())
        }
    }
}

/// The set's name, where it is known, and the number of the bundle.
fn place_in_set(backup: &Backup, plan: &BackupPlan) -> (Option<String>, u64) {
    match &plan.outlook {
        Some(outlook) => (Some(outlook.set.name.to_string()), outlook.next_sequence),
        None => (backup.set.as_ref().map(ToString::to_string), 1),
    }
}

fn object(backup: &Backup, plan: &BackupPlan, keys: &KeyPlaces) -> Value {
    let (set, number) = place_in_set(backup, plan);
    let signer = plan.outlook.as_ref().and_then(|outlook| outlook.signer);
    json!({
        "dry_run": true,
        "sources": plan.sources.iter().map(source_object).collect::<Vec<_>>(),
        "files": plan.files.iter().map(files_object).collect::<Vec<_>>(),
        "vault": backup.vault.to_string_lossy(),
        "new_vault": plan.outlook.is_none(),
        "set": set,
        "sequence": number,
        "marking": backup.marking.as_ref().map(ToString::to_string),
        "compression": backup.compression.to_string(),
        "signer": signer.map(|signer| signer.fingerprint().to_string()),
        "keys": keys.places,
    })
}

fn source_object(source: &PlannedSource) -> Value {
    let glance = source.state.as_ref().ok();
    json!({
        "label": source.spec.label,
        "path": source.spec.path.to_string_lossy(),
        "required": source.is_required,
        "group": source.group,
        "size_bytes": glance.map(|glance| glance.size_bytes),
        "wal_bytes": glance.map(|glance| glance.wal_bytes),
        "journal_mode": glance.and_then(|_| journal_mode(source)),
        "problem": source.state.as_ref().err().map(|error| explain::causes_of(error).join(": ")),
    })
}

fn files_object((source, found): &(FileSource, Result<Found, FilesFault>)) -> Value {
    let found_paths = |found: &Found| found.files.iter().map(|file| file.path.to_string_lossy().into_owned()).collect::<Vec<_>>();
    json!({
        "label": source.label,
        "required": source.is_required,
        "paths": found.as_ref().map_or_else(|_| Vec::new(), found_paths),
        "size_bytes": found.as_ref().ok().map(Found::size_bytes),
        "problem": found.as_ref().err().map(|fault| explain::causes_of(fault).join(": ")),
    })
}
