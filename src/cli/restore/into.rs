//! `airkeep restore --to`: into a folder.

use std::fmt::Write as _;
use std::path::Path;

use airkeep::{Keyring, Restore, RestoreReport};
use serde_json::json;

use crate::cli::exit::Exit;
use crate::cli::explain::Explained;
use crate::cli::record::RecordArguments;
use crate::cli::{Report, explain, json, screen};

/// Restores, and says what came of it.
pub fn run(restore: &Restore, bundle: &Path, ring: &Keyring, record: &RecordArguments) -> Result<Report, Explained> {
    let mut environment = record.environment();
    let report = restore.run(ring, &mut environment)?;
    let size_bytes = bundle.metadata().map_or(0, |metadata| metadata.len());
    let sources: Vec<_> = report
        .restored
        .iter()
        .map(|restored| {
            let mut source = json::source(&restored.source);
            source["restored_to"] = json!(restored.path.to_string_lossy());
            source
        })
        .collect();
    let files: Vec<_> = report
        .files
        .iter()
        .map(|(set, path)| {
            let mut set = json::file_set(set);
            set["restored_to"] = json!(path.to_string_lossy());
            set
        })
        .collect();
    let json = json!({
        "bundle": json::bundle(bundle, size_bytes, &report.core),
        "level": "L3",
        "sources": sources,
        "files": files,
        "manifest_path": report.manifest_path.as_ref().map(|path| path.to_string_lossy()),
        "findings": report.findings.iter().map(|finding| json::finding(bundle, finding)).collect::<Vec<_>>(),
        "hurt": report.hurt,
    });
    Ok(Report {
        text: text(&report),
        json: json.as_object().cloned().unwrap_or_default(),
        warnings: warnings(&report),
        error: accepted(&report),
    }
    .with_shortfalls(environment))
}

fn text(report: &RestoreReport) -> String {
    let mut text =
        String::from(if report.findings.is_empty() { "verified  L3\n" } else { "DAMAGED   L3, only whole databases were restored\n" });
    for label in &report.hurt {
        let _ = writeln!(text, "hurt      {label}: not restored");
    }
    for restored in &report.restored {
        let size = screen::size(restored.source.size_bytes);
        let _ = writeln!(
            text,
            "restored  {} ({size}, {})",
            screen::escape(&restored.path.to_string_lossy()),
            explain::moment(&restored.source)
        );
    }
    for (set, path) in &report.files {
        let count = screen::count(set.files.len() as u64, "file");
        let _ = writeln!(text, "restored  {} ({count}, as of {})", screen::escape(&path.to_string_lossy()), set.captured_at);
    }
    if let Some(path) = &report.manifest_path {
        let _ = writeln!(text, "manifest  {}", screen::escape(&path.to_string_lossy()));
    }
    text
}

/// Damage that was accepted is still damage.
fn accepted(report: &RestoreReport) -> Option<Explained> {
    let message = "the bundle is damaged; only databases that are whole were restored";
    (!report.findings.is_empty()).then(|| Explained::new(Exit::Integrity, message, Some("get the others from another copy")))
}

fn warnings(report: &RestoreReport) -> Vec<String> {
    let damages = report.findings.iter().map(explain::finding);
    let redacted = report.files.iter().filter(|(set, _)| set.kind == "env");
    let redacted = redacted
        .map(|(set, _)| format!("{}: secrets were left out when it was captured, the application cannot use it as it is", set.label));
    damages.chain(redacted).chain(report.restored.iter().filter_map(|restored| explain::trouble(&restored.source))).collect()
}
