//! `airkeep backup`.

mod plan;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airkeep::bundle::Marking;
use airkeep::crypto::Iterations;
use airkeep::database::CheckKind;
use airkeep::{Backup, BackupReport, Compression, Keyring};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::selection::append_only;
use super::signers::SigningKeyArguments;
use super::{Report, explain, json, screen, selection, settings};

/// Seal live databases into one encrypted, verified bundle
///
/// Each database is captured in one read transaction while others go on using it: a database in WAL mode is streamed, one in
/// rollback mode is first copied into encrypted scratch so that its writers wait no longer than the copy takes. The bundle is written
/// without a name, synced, read back from the medium and verified (level 3); only then does it appear in the vault.
///
/// Several keys may be given: each opens the bundle by itself.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// A database, with the label it gets in the bundle (default: the file's name in lower case, without its ending); or a label or a
    /// pattern of airkeep.toml, such as 'tenants/*'. Without any all sources of airkeep.toml are meant
    #[arg(required = true, value_name = "[LABEL=]DATABASE")]
    databases: Vec<OsString>,
    /// The folder of bundles; made if it is missing
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// How frames are compressed: gzip[:1-9], zstd[:1-19] or none; stock gzip opens the first, the zstd program the second
    #[arg(long, value_name = "CODEC", default_value_t = Compression::DEFAULT)]
    compression: Compression,
    /// What it costs to try a passphrase of the bundle, in PBKDF2 iterations: 600000 to 10000000
    #[arg(long, value_name = "N", default_value = "600000", value_parser = Iterations::parse)]
    iterations: Iterations,
    /// Which of SQLite's checks runs on the snapshot; the manifest records what it found
    #[arg(long, value_enum, default_value_t = Check::Quick)]
    check: Check,
    /// Record the logical hash of every table, so that verify (level 4) can compare content row by row; costs a pass over all rows
    #[arg(long)]
    hash_tables: bool,
    /// How the bundle must be handled, public in it: a CUI banner as CUI//SP-CTI//NOFORN. Its form is checked, and nothing else
    #[arg(long, value_name = "TEXT", value_parser = Marking::parse)]
    marking: Option<Marking>,
    /// A word to find the bundle by, kept in the encrypted manifest
    #[arg(long, value_name = "TEXT")]
    tag: Option<String>,
    /// A sentence to remember it by, kept in the encrypted manifest
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// How long to wait for a locked database
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds, allow_negative_numbers = true)]
    busy_timeout: Duration,
    /// Where encrypted scratch goes (default: the vault)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Do not read the finished bundle back
    #[arg(long)]
    no_verify: bool,
    /// Seal a corrupt database all the same; the manifest says that it is
    #[arg(long)]
    accept_corrupt: bool,
    /// The keys were changed on purpose: do not insist that they open the vault's newest bundle
    #[arg(long)]
    new_keys: bool,
    /// A table that only grows: its rows are compared with those of the backup before, and a rewritten history is reported. A file
    /// that ends in .json holds a list of names, or of objects with "table" and perhaps "label". Once watched, a table stays watched
    #[arg(long, value_name = "[LABEL:]TABLE|FILE.json")]
    append_only: Vec<String>,
    /// Only tell what would be done and what is missing for it; nothing is made or changed, and no key is needed
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

/// SQLite's checks by name.
#[derive(Clone, Copy, ValueEnum)]
enum Check {
    /// integrity_check and foreign_key_check: also indexes against tables
    Full,
    /// quick_check: structure, without comparing indexes
    Quick,
    /// no check
    None,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Whether only the plan is wanted.
    pub fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let mut backup = Backup::new(Vec::new(), self.vault);
        let notes = selection::choose(&mut backup, &self.databases, settings::config())?;
        backup.set = settings::config().and_then(|config| config.set.clone());
        backup.compression = self.compression;
        backup.check = match self.check {
            Check::Full => CheckKind::Full,
            Check::Quick => CheckKind::Quick,
            Check::None => CheckKind::None,
        };
        backup.hash_tables = self.hash_tables || settings::config().is_some_and(|config| config.sealing.hash_tables);
        backup.marking = self.marking;
        backup.tag = self.tag;
        backup.note = self.note;
        backup.busy_timeout = self.busy_timeout;
        backup.scratch = self.scratch;
        backup.read_back = !self.no_verify;
        backup.accept_corrupt = self.accept_corrupt;
        backup.new_keys = self.new_keys;
        backup.signing_key = self.signing.place();
        backup.private.extend(self.keys.files().cloned());
        backup.private.extend(backup.signing_key.iter().map(|place| place.path().to_owned()));
        for text in &self.append_only {
            backup.append_only.extend(append_only(text)?);
        }
        if self.dry_run {
            return plan::tell(&backup, &self.keys.places(), notes);
        }
        backup.check_sources()?;
        let ring = Keyring { iterations: self.iterations, ..self.keys.ring(Purpose::Seal)? };
        let mut environment = self.record.environment();
        environment.shortfalls.extend(notes);
        let report = backup.run(&ring, &mut environment)?;
        Ok(render(report, self.compression).with_shortfalls(environment))
    }
}

/// What is told of a new bundle.
pub fn render(report: BackupReport, compression: Compression) -> Report {
    let mut bundle = json::bundle(&report.path, report.size_bytes, &report.core);
    bundle["sha256"] = json!(report.sha256);
    bundle["seal_sha256"] = json!(report.seal_sha256);
    let json = json!({
        "bundle": bundle,
        "sources": json::sources(&report.manifest),
        "files": json::file_sets(&report.manifest),
        "level": report.level,
        "compression": compression.to_string(),
        "new_vault": report.is_new_vault,
    });
    let text = text(&report, compression);
    let mut warnings = report.warnings;
    warnings.extend(report.manifest.sources.iter().filter_map(explain::trouble));
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings, error: None }
}

fn text(report: &BackupReport, compression: Compression) -> String {
    let mut text = String::new();
    if report.is_new_vault {
        let _ =
            writeln!(text, "made      {} (a new vault)", screen::escape(&report.path.parent().unwrap_or(Path::new(".")).to_string_lossy()));
    }
    for source in &report.manifest.sources {
        let rows = screen::count(source.tables.iter().filter_map(|table| table.rows).sum(), "row");
        let tables = screen::count(source.tables.len() as u64, "table");
        let uncounted = match source.tables.iter().filter(|table| table.rows.is_none()).count() {
            0 => String::new(),
            count => format!(" ({} not counted)", screen::count(count as u64, "table")),
        };
        let check = match source.check.kind.as_str() {
            "none" => "not checked".to_owned(),
            kind => format!("{kind} check: {}", source.check.verdict),
        };
        let _ = writeln!(text, "captured  {}: {}, {tables}, {rows}{uncounted}, {check}", source.label, screen::size(source.size_bytes));
    }
    for set in &report.manifest.files {
        let count = screen::count(set.files.len() as u64, "file");
        let redacted: u64 = set.files.iter().filter_map(|file| file.redacted).sum();
        let redacted = if set.kind == "env" { format!(", {} left out", screen::count(redacted, "secret")) } else { String::new() };
        let _ = writeln!(text, "captured  {}: {}, {count}{redacted}", set.label, screen::size(set.size_bytes));
    }
    let _ = writeln!(text, "sealed    {}", screen::escape(&report.path.to_string_lossy()));
    let _ = writeln!(text, "          {}, {compression}, sha256 {}", screen::size(report.size_bytes), report.sha256);
    if let Some(marking) = &report.core.marking {
        let _ = writeln!(text, "marked    {}", screen::escape(marking));
    }
    if let Some(signer) = &report.core.signer {
        let _ = writeln!(text, "signed    {}", signer.fingerprint());
    }
    let _ = match report.level {
        Some(level) => writeln!(text, "verified  {level}, read back after sync"),
        None => writeln!(text, "verified  no (--no-verify)"),
    };
    text
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    match (0.0..=86_400.0).contains(&number) {
        true => Ok(Duration::from_secs_f64(number)),
        false => Err("expected 0 to 86400 seconds".to_owned()),
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep backup app.db\n  airkeep backup main=app.db audit=audit.db --vault /srv/vault --key-file backup.key\n  \
         airkeep backup app.db --compression zstd:3 --check full --tag nightly --json\n  airkeep backup\n  airkeep backup main 'tenants/*' --dry-run\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&Exit::ALL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_have_bounds() {
        assert_eq!(seconds("2.5"), Ok(Duration::from_millis(2500)));
        assert!(["-1", "nan", "inf", "86401", "x"].iter().all(|text| seconds(text).is_err()));
    }
}
