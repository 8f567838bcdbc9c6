//! What is wrong with a configuration, or not there of what it names.

use std::collections::HashMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use airkeep::Label;
use airkeep::config::{Config, SqliteConfig};
use airkeep::ops::{AppendOnly, Hook, SiteCommand};
use airkeep::{Failure, config::SourceKind};

use super::{Looked, LookedSource};
use crate::cli::{configured_keys, sqlite_file};

pub(super) fn problems(looked: &Looked<'_>) -> Vec<String> {
    let config = looked.config;
    let mut problems = configured_keys::problems(&config.keys);
    problems.extend(configured_keys::faults(&config.keys));
    problems.extend(of_signing_key(looked));
    let scratch = config.sealing.scratch.iter().filter(|path| !path.is_dir());
    problems.extend(scratch.map(|path| format!("scratch folder '{}' does not exist", path.display())));
    problems.extend(of_commands(config));
    looked.sources.iter().for_each(|source| problems.extend(of_source(source, config)));
    problems.extend(doubles(looked));
    problems.extend(of_plan(looked));
    // Where sources are at fault, that was told with more words.
    if let Some(failure) = looked.unplanned.as_ref().filter(|_| problems.is_empty()) {
        problems.push(chain(failure));
    }
    problems
}

fn of_signing_key(looked: &Looked<'_>) -> Option<String> {
    if let Some(failure) = looked.plan.as_ref().ok().and_then(|plan| plan.unsigned.as_ref()) {
        return Some(chain(failure));
    }
    let path = looked.config.keys.signing_key.as_ref().filter(|path| !path.is_file())?;
    Some(format!("signing key '{}' does not exist", path.display()))
}

/// What a backup would say of the vault, and of sets of files as a whole.
fn of_plan(looked: &Looked<'_>) -> Vec<String> {
    match &looked.plan {
        Err(failure) => vec![chain(failure)],
        Ok(plan) => {
            plan.files.iter().filter_map(|(source, found)| Some(format!("source '{}': {}", source.label, found.as_ref().err()?))).collect()
        }
    }
}

fn of_commands(config: &Config) -> Vec<String> {
    let site = |text: &String| SiteCommand::parse(text).map(|command| command.program().to_owned());
    let commands = [
        ("hook", config.hook.as_ref().map(|text| Hook::parse(text).map(|hook| hook.program().to_owned()))),
        ("stop", config.stop.as_ref().map(site)),
        ("start", config.start.as_ref().map(site)),
    ];
    let fault = |(key, program): (&str, Option<Result<String, _>>)| match program? {
        Ok(program) => Some(format!("'{key}': {}", unrunnable(&program, config.folder())?)),
        Err(error) => Some(format!("'{key}': {error}")),
    };
    commands.into_iter().filter_map(fault).collect()
}

/// Why a program cannot be started: it is looked for as the system will, from this folder or on PATH.
fn unrunnable(program: &str, folder: &Path) -> Option<String> {
    let can_run = |path: &PathBuf| path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        let path = folder.join(program);
        return match (path.is_file(), can_run(&path)) {
            (_, true) => None,
            (true, _) => Some(format!("program '{}' may not be run: its mode has no x", path.display())),
            (false, _) => Some(format!("program '{}' does not exist", path.display())),
        };
    }
    let places = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&places).any(|place| can_run(&place.join(program)));
    (!is_there).then(|| format!("program '{program}' is not on PATH"))
}

fn of_source(looked: &LookedSource<'_>, config: &Config) -> Vec<String> {
    let name = &looked.source.name;
    let faults = match (&looked.source.kind, &looked.found) {
        (SourceKind::Sqlite(sqlite), _) => of_databases(looked, sqlite, config),
        (SourceKind::Files(_), Some(found)) => found.missing.iter().chain(&found.refused).cloned().collect(),
        (SourceKind::Files(_), None) => Vec::new(),
    };
    faults.iter().map(|fault| format!("source '{name}': {fault}")).collect()
}

fn of_databases(looked: &LookedSource<'_>, sqlite: &SqliteConfig, config: &Config) -> Vec<String> {
    let expanded = &looked.expanded;
    let mut faults: Vec<String> = expanded.found.iter().filter_map(|(_, path)| of_database(path)).collect();
    faults.extend(expanded.refused.iter().cloned());
    if expanded.found.is_empty() && expanded.refused.is_empty() {
        faults.push("no file fits its pattern".to_owned());
    }
    let unread = sqlite.append_only.iter().filter_map(|text| AppendOnly::read(text).err());
    faults.extend(unread.map(|source| chain(&Failure::AppendOnly { source })));
    let program = sqlite.check.as_ref().and_then(|words| words.first());
    faults.extend(program.and_then(|program| unrunnable(program, config.folder())).map(|fault| format!("'check': {fault}")));
    faults
}

/// An empty file is a database of SQLite's, too.
fn of_database(path: &Path) -> Option<String> {
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(format!("'{}' does not exist", path.display())),
        Err(error) => Some(format!("cannot look at '{}': {error}", path.display())),
        Ok(found) if !found.is_file() => Some(format!("'{}' is not a regular file", path.display())),
        Ok(found) if found.len() > 0 && !sqlite_file::is_database(path) => Some(match std::fs::File::open(path) {
            Ok(_) => format!("'{}' is not a SQLite database", path.display()),
            Err(error) => format!("cannot open '{}': {error}", path.display()),
        }),
        Ok(_) => None,
    }
}

/// Files that two labels stand for.
fn doubles(looked: &Looked<'_>) -> Vec<String> {
    let mut known: HashMap<(u64, u64), &Label> = HashMap::new();
    let mut doubles = Vec::new();
    for (label, path) in looked.sources.iter().flat_map(|source| &source.expanded.found) {
        let Ok(metadata) = path.metadata() else { continue };
        let first = *known.entry((metadata.dev(), metadata.ino())).or_insert(label);
        if first != label {
            doubles.push(format!("sources '{first}' and '{label}' are the same file, '{}'", path.display()));
        }
    }
    doubles
}

fn chain(failure: &Failure) -> String {
    crate::cli::explain::causes_of(failure).join(": ")
}
