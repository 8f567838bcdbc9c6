//! What `airkeep verify` says of each database at level 4.

use std::fmt::Write as _;
use std::path::Path;

use airkeep::database::Verdict;
use airkeep::ops::{DatabaseProof, FilesProof};
use airkeep::{Level, Verification};
use serde_json::{Value, json};

use super::screen;

/// One line for each database, then one for each thing that is wrong with it.
pub fn text(verification: &Verification) -> String {
    let mut text = String::new();
    for database in &verification.databases {
        let _ = writeln!(text, "             {}", screen::escape(&line(database)));
        for message in messages(database) {
            let _ = writeln!(text, "               {}", screen::escape(&message));
        }
    }
    for set in &verification.files {
        let verdict = match (&set.problem, &set.unchecked) {
            (Some(problem), _) => problem.clone(),
            (None, Some(why)) => format!("unchecked, proven to L3 only: {why}"),
            (None, None) => "ok".to_owned(),
        };
        let count = screen::count(set.files, "file");
        let _ = writeln!(text, "             {}", screen::escape(&format!("{}: {verdict}; {count}", set.label)));
    }
    text
}

/// An object of `files`.
pub fn files_object(set: &FilesProof) -> Value {
    json!({ "label": set.label, "ok": set.is_sound(), "files": set.files, "problem": set.problem, "unchecked": set.unchecked })
}

fn line(database: &DatabaseProof) -> String {
    let compared = format!(
        "{}, {}, {}",
        screen::count(database.tables, "table"),
        screen::count(database.rows, "row"),
        match database.hashes {
            0 => "no logical hashes recorded".to_owned(),
            count => format!("{} logical hash{}", screen::grouped(count), if count == 1 { "" } else { "es" }),
        }
    );
    let verdict = match (database.verdict, database.differences.is_empty()) {
        (_, false) => "is not what the manifest says".to_owned(),
        (Verdict::Ok, true) => "ok".to_owned(),
        (Verdict::Violations, true) => "rows break rules of the schema".to_owned(),
        (Verdict::Unchecked, true) => "unchecked, proven to L3 only".to_owned(),
        (Verdict::Corrupt, true) if database.was_corrupt => "corrupt, as recorded at capture".to_owned(),
        (Verdict::Corrupt, true) => "corrupt".to_owned(),
    };
    format!("{}: {verdict}; {compared}", database.label)
}

fn messages(database: &DatabaseProof) -> Vec<String> {
    let violation = |inherited: Option<bool>| match inherited {
        Some(true) => "recorded at capture",
        Some(false) => "not there at capture",
        None => "not looked for at capture",
    };
    let mut messages: Vec<String> = database.differences.iter().map(ToString::to_string).collect();
    messages.extend(database.corruption.iter().map(|message| format!("corrupt: {message}")));
    messages.extend(database.violations.iter().map(|found| format!("violation, {}: {}", violation(found.inherited), found.message)));
    messages.extend(database.unchecked.iter().map(|message| format!("unchecked: {message}")));
    messages
}

/// What does not make a bundle unsound, and yet somebody should know.
pub fn warnings(verification: &Verification) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(error) = &verification.no_scratch {
        warnings.push(format!("verified to {} only: {error}; another folder can be named with --scratch", Level::Content));
    }
    for database in &verification.databases {
        if let Some(first) = database.unchecked.first() {
            warnings.push(format!("{}: not examined completely, proven to {} only: {first}", database.label, Level::Content));
        }
        // Those that were recorded are told as the source's trouble.
        let unlooked = database.violations.iter().filter(|violation| violation.inherited.is_none());
        warnings.extend(unlooked.map(|violation| format!("{}: {} (not looked for at capture)", database.label, violation.message)));
    }
    warnings
}

/// An object of `databases`.
pub fn object(database: &DatabaseProof) -> Value {
    let violations: Vec<Value> =
        database.violations.iter().map(|violation| json!({ "message": violation.message, "inherited": violation.inherited })).collect();
    let differences: Vec<Value> = database
        .differences
        .iter()
        .map(|difference| {
            let (expected, found) = difference.sides();
            json!({ "code": difference.code(), "table": difference.table(), "expected": expected, "found": found, "message": difference.to_string() })
        })
        .collect();
    json!({
        "label": database.label,
        "ok": database.is_sound(),
        "proven": database.proven(),
        "verdict": database.verdict.to_string(),
        "was_corrupt": database.was_corrupt,
        "violations": violations,
        "unchecked": database.unchecked,
        "corruption": database.corruption,
        "differences": differences,
        "tables": database.tables,
        "rows": database.rows,
        "hashes": database.hashes,
    })
}

/// What makes a bundle unsound, as members of `findings`.
pub fn findings(path: &Path, verification: &Verification) -> Vec<Value> {
    let mut findings = Vec::new();
    for database in &verification.databases {
        let mut find = |code: &str, message: &str| {
            let entries = [format!("databases/{}.db", database.label)];
            findings.push(json!({
                "bundle": path.to_string_lossy(), "level": Level::Database, "code": code,
                "message": format!("{}: {message}", database.label), "frames": null, "entries": entries,
            }));
        };
        database.differences.iter().for_each(|difference| find(difference.code(), &difference.to_string()));
        let is_new = |violation: &&airkeep::ops::Violation| violation.inherited == Some(false);
        database.violations.iter().filter(is_new).for_each(|violation| find("violation", &violation.message));
        database.corruption.iter().filter(|_| !database.was_corrupt).for_each(|message| find("corrupt", message));
    }
    for set in &verification.files {
        let Some(problem) = &set.problem else { continue };
        findings.push(json!({
            "bundle": path.to_string_lossy(), "level": Level::Database, "code": "archive",
            "message": format!("{}: {problem}", set.label), "frames": null, "entries": [format!("files/{}.tar", set.label)],
        }));
    }
    findings
}
