//! `airkeep list`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use airkeep::ops::{Listed, Listing, age_seconds, list};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::{Report, screen};

/// List the bundles of a vault, newest first, without a key
///
/// What was sealed comes from the journal, what is here from the folder. A bundle that was carried away is listed as such; one that
/// is missing, doubled, out of order or of another set is pointed out. Nothing is proven: that is what 'airkeep verify' does.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The folder of bundles
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let listing = list(&self.vault)?;
        let now = SystemTime::now();
        let json = json!({
            "vault": listing.vault.to_string_lossy(),
            "set": listing.set,
            "bundles": listing.bundles.iter().map(|listed| object(listed, now)).collect::<Vec<_>>(),
            "problems": listing.problems,
        });
        let text = text(&listing, now);
        Ok(Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: listing.problems, error: None })
    }
}

fn object(listed: &Listed, now: SystemTime) -> Value {
    json!({
        "id": listed.id,
        "sequence": listed.sequence,
        "created_at": listed.created_at,
        "age_seconds": age_seconds(&listed.created_at, now),
        "kind": listed.kind,
        "marking": listed.marking,
        "file": listed.file,
        "is_here": listed.file.is_some(),
        "size_bytes": listed.size_bytes,
        "tag": listed.recorded.as_ref().and_then(|recorded| recorded.tag.clone()),
        "labels": listed.recorded.as_ref().map(|recorded| recorded.labels.clone()),
        "check": listed.recorded.as_ref().map(|recorded| recorded.verdict.clone()),
        "verified": listed.last_verified.as_ref().map(|last| json!({ "time": last.time, "level": last.level, "ok": last.is_sound })),
    })
}

const HEADINGS: [&str; 10] = ["number", "sealed", "age", "kind", "tag", "labels", "size", "check", "verified", "marking"];

fn text(listing: &Listing, now: SystemTime) -> String {
    if listing.bundles.is_empty() {
        return "no bundles\n".to_owned();
    }
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(listing.bundles.iter().map(|listed| row(listed, now)));
    if listing.bundles.iter().all(|listed| listed.marking.is_none()) {
        // A column of nothing says nothing.
        rows.iter_mut().for_each(|row| row[9].clear());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
    let line = |row: &[String; 10]| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 | 2 | 6 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

fn row(listed: &Listed, now: SystemTime) -> [String; 10] {
    let unknown = || "-".to_owned();
    let recorded = listed.recorded.as_ref();
    let kind = json!(listed.kind).as_str().unwrap_or_default().to_owned();
    let verified = listed.last_verified.as_ref();
    let size = match (&listed.file, listed.size_bytes) {
        (None, _) => "not here".to_owned(),
        (Some(_), Some(bytes)) => screen::size(bytes),
        (Some(_), None) => unknown(),
    };
    [
        listed.sequence.to_string(),
        listed.created_at.to_string(),
        age_seconds(&listed.created_at, now).map_or_else(unknown, age),
        kind,
        recorded.and_then(|recorded| recorded.tag.as_ref()).map_or_else(unknown, |tag| screen::escape(tag)),
        recorded.map_or_else(unknown, |recorded| labels(&recorded.labels)),
        size,
        recorded.map_or_else(unknown, |recorded| recorded.verdict.clone()),
        verified.map_or_else(unknown, |last| format!("{} {}{}", last.level, last.time, if last.is_sound { "" } else { " DAMAGED" })),
        listed.marking.as_deref().map_or_else(unknown, banner),
    ]
}

/// What stands before a designation indicator, which is longer than a line: 'airkeep info' shows that.
fn banner(marking: &str) -> String {
    screen::escape(marking.split(';').next().unwrap_or_default().trim_end())
}

/// A few labels, and how many more.
fn labels(labels: &[String]) -> String {
    match labels {
        [first, second, third, rest @ ..] if !rest.is_empty() => format!("{first} {second} {third} +{}", rest.len()),
        few => few.join(" "),
    }
}

/// The largest unit that fits.
fn age(seconds: i64) -> String {
    match seconds {
        ..0 => "in the future".to_owned(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn after_help() -> String {
    let exits = [Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!("Examples:\n  airkeep list\n  airkeep list --vault /srv/vault --json\n\n{}", exit::table(&exits))
}
