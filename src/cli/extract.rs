//! `airkeep extract`: one database or table out of a bundle.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use airkeep::ops::{Extract, ExtractFormat, ExtractReport, RowFormat, RowTarget};
use airkeep::{Keyring, Label, inspect};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::{self, Explained};
use super::gap::export::Screen;
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::signers::{SignerArguments, SigningKeyArguments};
use super::{Report, json, reference, screen};

/// Get one database or one table out of a bundle, as a file, as SQL text or as rows
///
/// Only the frames that hold this database are read, and each is authenticated; what comes out is compared with its SHA-256 before it gets a
/// name or reaches standard output. So this is quick with a large bundle, and works where other parts of it are damaged; whether they
/// are, 'airkeep verify' tells. For anything but the database file itself the database goes into encrypted scratch, and is read there. The
/// file is new, with mode 0600, and never replaces anything. That data was handed out is recorded in the journal.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The bundle: a path, or 'latest' (the newest that holds the label) or a number in the vault
    #[arg(value_name = "BUNDLE")]
    bundle: String,
    /// Which database
    #[arg(value_name = "LABEL", value_parser = Label::parse)]
    label: Label,
    /// Only this table (not with --format sqlite)
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Sqlite)]
    format: Form,
    /// The file to make; - is standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// The vault: 'latest' and numbers are looked up in it, and it takes the record (default: the folder that the bundle is in)
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// Where encrypted scratch goes (default: /var/tmp)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print one JSON object (the data needs a file then)
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signers: SignerArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// The database file, byte for byte
    Sqlite,
    /// SQL text that makes the database anew, or one table with its indexes and triggers; virtual tables are left out
    Sql,
    /// One table with a header line (RFC 4180). It cannot tell types: digits may be a number, text or a BLOB; NULL is an empty cell, empty
    /// text a pair of quotation marks; text like a formula gets an apostrophe in front
    Csv,
    /// One JSON object per line, {"table":…,"row":{…}}, with every value and its type (docs/gap.md); without --table all tables
    Jsonl,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        self.vault.as_deref().or(Some(Path::new(&self.bundle)))
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        self.refuse_contradictions()?;
        let bundle = reference::find_with(&self.bundle, std::slice::from_ref(&self.label), self.vault.as_deref())?.path;
        // Nobody should type a passphrase to learn that this is no bundle.
        let facts = inspect(&bundle, &Keyring::default())?;
        let extract = Extract {
            bundle,
            label: self.label,
            table: self.table,
            format: self.format.format(),
            to: if self.to == Path::new("-") { RowTarget::Stream } else { RowTarget::File(self.to) },
            vault: self.vault,
            scratch: self.scratch,
            signers: self.signers.trusted()?,
            signing_key: self.signing.place(),
        };
        let ring = self.keys.ring(Purpose::Open)?;
        let mut environment = self.record.environment();
        // On a terminal lines of SQL are shown as cells are: they only look like what they hold.
        let mut stream = Screen::new(if extract.format == ExtractFormat::Jsonl { RowFormat::Jsonl } else { RowFormat::Csv });
        let report = extract.run(&ring, &mut stream, &mut environment)?;
        Ok(told(&extract, &report, facts.size_bytes).with_shortfalls(environment))
    }

    fn refuse_contradictions(&self) -> Result<(), Explained> {
        let usage = |message: &str, hint| Err(Explained::new(Exit::Usage, message, Some(hint)));
        let (is_stream, is_file) = (self.to == Path::new("-"), matches!(self.format, Form::Sqlite));
        if is_file && self.table.is_some() {
            return usage("a database file has all its tables, not one", "add --format sql, csv or jsonl");
        }
        if is_stream && self.json {
            return usage("with --json, data cannot go to standard output", "name a file: --to FILE");
        }
        if is_stream && is_file && io::stdout().is_terminal() {
            return usage("a database file cannot go to a terminal", "name a file: --to FILE");
        }
        Ok(())
    }
}

impl Form {
    fn format(self) -> ExtractFormat {
        match self {
            Form::Sqlite => ExtractFormat::Sqlite,
            Form::Sql => ExtractFormat::Sql,
            Form::Csv => ExtractFormat::Csv,
            Form::Jsonl => ExtractFormat::Jsonl,
        }
    }
}

fn told(extract: &Extract, report: &ExtractReport, size_bytes: u64) -> Report {
    let to = match &extract.to {
        RowTarget::File(path) => Some(path.to_string_lossy()),
        RowTarget::Stream => None,
    };
    let (tables, is_file) = (&report.dumped.tables, extract.format == ExtractFormat::Sqlite);
    let mut text = String::new();
    if let Some(to) = &to {
        let rows: u64 = tables.iter().map(|(_, rows)| rows).sum();
        let amount = match is_file {
            true => screen::size(report.source.size_bytes),
            false => format!("{} of {}", screen::count(rows, "row"), screen::count(tables.len() as u64, "table")),
        };
        let _ =
            writeln!(text, "extracted  {} ('{}', {amount}, as of {})", screen::escape(to), report.source.label, report.source.captured_at);
    }
    let written: Vec<Value> = tables.iter().map(|(table, rows)| json!({ "table": table, "rows": rows })).collect();
    let json = json!({
        "bundle": json::bundle(&extract.bundle, size_bytes, &report.core),
        "source": json::source(&report.source),
        "format": extract.format.name(),
        "table": extract.table,
        "to": to,
        "tables": (!is_file).then_some(written),
        "skipped": report.dumped.skipped,
    });
    let skipped = report
        .dumped
        .skipped
        .iter()
        .map(|name| format!("'{}' was not written: it is virtual, or follows from the rest", screen::escape(name)));
    let warnings = skipped.chain(explain::trouble(&report.source)).collect();
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings, error: None }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep extract latest main --to main.db\n  airkeep extract BUNDLE.akb main --format sql --to main.sql --key-file backup.key\n  \
         airkeep extract 17 main --table audit --format csv --to audit.csv\n  airkeep extract latest main --format jsonl --to - | head\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&[
            Exit::Success,
            Exit::Failed,
            Exit::Usage,
            Exit::Partial,
            Exit::NotFound,
            Exit::Key,
            Exit::Integrity,
            Exit::Unsupported,
            Exit::Bug
        ])
    )
}
