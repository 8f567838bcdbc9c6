//! `airkeep info`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::bundle::{FileSet, Manifest, Source};
use airkeep::inspect;
use airkeep::ops::Facts;
use clap::Args;
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::{Report, gap_text, import, json, screen, verify};

/// Show what a bundle says of itself: public facts without a key, the manifest with one
///
/// Reads a few kilobytes and proves nothing of the data; that is what 'airkeep verify' does. Without a key that was named
/// (nothing is asked for) only the public facts are shown.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The bundle: a path, or 'latest' or a number in the vault
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// The vault in which 'latest' and numbers are looked up (default: ./airkeep-vault)
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(verify::place_of(&self.bundle, self.vault.as_deref()))
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let bundle = verify::bundle_at(&self.bundle, self.vault.as_deref())?;
        let ring = self.keys.ring(Purpose::OnlyNamed)?;
        let facts = inspect(&bundle, &ring)?;
        let mut json = json!({
            "sources": null,
            "files": null,
            "bundle": json::bundle(&facts.path, facts.size_bytes, &facts.core),
            "generation": facts.generation,
            "slots": facts.slots,
            "frames": facts.frames,
            "seal_sha256": facts.seal_sha256,
        });
        if let Some(manifest) = &facts.manifest {
            json["sources"] = json::sources(manifest);
            json["files"] = json::file_sets(manifest);
            json["host"] = json!(manifest.host);
            json["tool"] = json!(manifest.tool);
            json["started_at"] = json!(manifest.started_at);
            json["duration_ms"] = json!(manifest.duration_ms);
            json["tag"] = json!(manifest.tag);
            json["note"] = json!(manifest.note);
        }
        let json = json.as_object().cloned().unwrap_or_default();
        Ok(Report { text: text(&facts), json, warnings: Vec::new(), error: None })
    }
}

fn text(facts: &Facts) -> String {
    let core = &facts.core;
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {}", screen::escape(&value));
    };
    row("bundle", core.id.to_string());
    row("set", format!("{}, number {}", core.set.name, core.sequence));
    row("kind", json!(core.kind).as_str().unwrap_or_default().to_owned());
    row("created", core.created_at.to_string());
    row("predecessor", core.predecessor.as_ref().map_or("none".into(), |p| format!("number {}, {}", p.sequence, p.id)));
    row("marking", core.marking.clone().unwrap_or_else(|| "none".into()));
    let signer = core.signer.map_or("none".to_owned(), |signer| format!("{}, by its own word", signer.fingerprint()));
    row("signer", signer);
    row(
        "size",
        format!(
            "{}, {}",
            screen::size(facts.size_bytes),
            facts.frames.map_or("frames unknown".into(), |frames| screen::count(frames, "frame"))
        ),
    );
    row("codec", core.codec.to_string());
    row("keys", format!("generation {}", facts.generation));
    for slot in &facts.slots {
        let effort = slot.iterations.map_or(String::new(), |count| format!(", {} iterations", screen::grouped(count)));
        row("key slot", format!("{} {}{effort}", slot.id, slot.kind));
    }
    row("seal sha256", facts.seal_sha256.map_or("unknown: the end of the file is damaged".into(), |digest| digest.to_string()));
    match &facts.manifest {
        Some(manifest) => manifest_text(&mut text, manifest),
        None => text.push_str("\nThe manifest needs a key: --passphrase-file, --key-file or AIRKEEP_PASSPHRASE.\n"),
    }
    text
}

fn manifest_text(text: &mut String, manifest: &Manifest) {
    let host = &manifest.host;
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12} {}", screen::escape(value));
    };
    row("host", &format!("{} ({} {}), user {} ({})", host.name, host.os, host.arch, host.user, host.uid));
    row("tool", &format!("{} {}, SQLite {}", manifest.tool.name, manifest.tool.version, manifest.tool.sqlite));
    for (name, value) in [("tag", &manifest.tag), ("note", &manifest.note)] {
        if let Some(value) = value {
            row(name, value);
        }
    }
    for source in &manifest.sources {
        source_text(text, source);
    }
    for set in &manifest.files {
        files_text(text, set);
    }
}

fn files_text(text: &mut String, set: &FileSet) {
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<12} {}", screen::escape(&value));
    };
    row("\nsource", set.label.to_string());
    row("  path", set.folder.clone());
    row("  captured", format!("{}, {}", set.captured_at, if set.kind == "env" { "env files, secrets left out" } else { "plain files" }));
    for file in &set.files {
        let redacted = file.redacted.map_or(String::new(), |count| format!(", {} left out", screen::count(count, "secret")));
        let changed = if file.changed { ", written to while it was read" } else { "" };
        row("  file", format!("{}: {}, changed {}{redacted}{changed}", file.path, screen::size(file.size_bytes), file.modified_at));
    }
}

fn source_text(text: &mut String, source: &Source) {
    let mut row = |name: &str, value: String| {
        let _ = writeln!(
            text,
            "{:<12} {}",
            if name == "source" { String::from("\nsource") } else { format!("  {name}") },
            screen::escape(&value)
        );
    };
    row("source", String::from(source.label.as_str()));
    row("path", source.path.clone());
    if let Some(imported) = &source.imported {
        row("imported", format!("from {}", import::origin(imported)));
        row("", format!("sha256 of the file {}", imported.sha256));
    }
    row("captured", format!("{}, {}, by {}, {}", source.captured_at, source.consistency, source.capture.pages, source.capture.route));
    row(
        "database",
        format!(
            "{}, {} pages of {} bytes, journal mode {}",
            screen::size(source.size_bytes),
            source.page_count,
            source.page_size,
            source.journal_mode
        ),
    );
    row("check", format!("{}: {}", source.check.kind, source.check.verdict));
    for message in &source.check.messages {
        row("", message.clone());
    }
    for asserted in &source.assertions {
        let word = match asserted.holds {
            Some(true) => "holds",
            Some(false) => "does not hold",
            None => "could not be asked",
        };
        row("demand", format!("{} {word}: {}", asserted.assertion, asserted.found));
    }
    if let Some(git) = &source.git {
        let state = match git.dirty {
            Some(true) => ", changed since",
            Some(false) => "",
            None => ", changes unknown",
        };
        row("git", format!("{} on {}{state}", git.commit, git.branch.as_deref().unwrap_or("no branch")));
    }
    if let Some(migrations) = &source.migrations {
        row("migrations", migrations.to_string());
    }
    row("sha256", source.sha256.to_string());
    for table in &source.tables {
        row("table", format!("{}: {}", table.name, table.rows.map_or("not counted".into(), |rows| screen::count(rows, "row"))));
    }
    if let Some(gap) = &source.gap {
        row("restored", format!("by bundle {} ({}), which took away:", gap.sequence, gap.restored));
        let lines = gap_text::lines(&source.label, gap, "lost");
        lines.lines().for_each(|line| text.extend(["  ", line, "\n"]));
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep info latest\n  airkeep info 17 --vault /srv/vault\n  airkeep info BUNDLE.akb --key-file backup.key --json\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug])
    )
}
