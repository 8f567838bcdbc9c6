//! `airkeep gap export`.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use airkeep::Label;
use airkeep::ops::{ExportReport, ExportRows, RowFormat, RowTarget};
use clap::{Args, ValueEnum};
use serde_json::json;

use super::super::exit::Exit;
use super::super::explain::Explained;
use super::super::keys::{KeyArguments, Purpose};
use super::super::record::RecordArguments;
use super::super::signers::{SignerArguments, SigningKeyArguments};
use super::super::{Report, json, screen, verify};

/// Get the rows out of a safety bundle, each in full
///
/// The whole bundle is verified (level 3) while the rows are written into a file that has no name yet. It gets its name, with mode 0600, only
/// if everything is in order, and never replaces anything. To standard output nothing is written before the whole bundle was
/// verified. That rows were handed out, how many and where to, is recorded in the journal.
#[derive(Args)]
#[command(after_long_help = super::after_export_help(EXAMPLES))]
pub(super) struct Arguments {
    /// The safety bundle, as 'airkeep gap show' names it: a path, or its number in the vault
    #[arg(value_name = "SAFETY-BUNDLE")]
    bundle: PathBuf,
    /// Which database (default: the only one that the bundle tells of)
    #[arg(value_name = "LABEL", value_parser = Label::parse)]
    label: Option<Label>,
    /// The file to make; - is standard output
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Only rows of this table
    #[arg(long, value_name = "TABLE")]
    table: Option<String>,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
    /// The vault in which numbers are looked up (default: ./airkeep-vault)
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// Print one JSON object (the rows need a file then)
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signers: SignerArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

const EXAMPLES: &str = "airkeep gap export 17 --to rows.jsonl --reason 'for the auditors'\n  \
     airkeep gap export SAFETY.akb main --table audit --format csv --to audit.csv --key-file backup.key\n  \
     airkeep gap export SAFETY.akb --to - | head";

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// One JSON object per line with every value and its type: the live row, and of an altered row also what the snapshot has
    Jsonl,
    /// One table with a header line (RFC 4180): the live rows only. It cannot tell types: digits may be a number, text or a BLOB; NULL is an
    /// empty cell, empty text a pair of quotation marks; text like a formula gets an apostrophe in front
    Csv,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub(super) fn place(&self) -> &Path {
        verify::place_of(&self.bundle, self.vault.as_deref())
    }

    pub(super) fn run(self) -> Result<Report, Explained> {
        let is_stream = self.to == Path::new("-");
        if is_stream && self.json {
            let hint = Some("name a file: --to FILE");
            return Err(Explained::new(Exit::Usage, "with --json, rows cannot go to standard output", hint));
        }
        // Nobody should type a passphrase to learn that this is no bundle.
        let bundle = verify::bundle_at(&self.bundle, self.vault.as_deref())?;
        let facts = airkeep::inspect(&bundle, &airkeep::Keyring::default())?;
        let export = ExportRows {
            bundle,
            label: self.label,
            table: self.table,
            format: match self.format {
                Form::Jsonl => RowFormat::Jsonl,
                Form::Csv => RowFormat::Csv,
            },
            to: if is_stream { RowTarget::Stream } else { RowTarget::File(self.to) },
            signers: self.signers.trusted()?,
            signing_key: self.signing.place(),
        };
        let ring = self.keys.ring(Purpose::Open)?;
        let mut environment = self.record.environment();
        let mut stream = Screen::new(export.format);
        let report = export.run(&ring, &mut stream, &mut environment)?;
        Ok(told(&export, &report, facts.size_bytes).with_shortfalls(environment))
    }
}

fn told(export: &ExportRows, report: &ExportReport, size_bytes: u64) -> Report {
    let mut text = String::new();
    let (lost, altered) = report.tables.iter().fold((0, 0), |(lost, altered), table| (lost + table.lost, altered + table.altered));
    let to = match &export.to {
        RowTarget::File(path) => Some(path.to_string_lossy()),
        RowTarget::Stream => None,
    };
    if let Some(to) = &to {
        let rows = format!(
            "{} of '{}', {} lost and {} altered",
            screen::count(lost + altered, "row"),
            report.label,
            screen::grouped(lost),
            screen::grouped(altered)
        );
        text = format!("exported  {} ({rows})\n", screen::escape(to));
    }
    let json = json!({
        "bundle": json::bundle(&export.bundle, size_bytes, &report.core),
        "label": report.label,
        "to": to,
        "lost": lost,
        "altered": altered,
        "tables": report.tables,
        "gap": report.gap,
    });
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: warnings(report), error: None }
}

fn warnings(report: &ExportReport) -> Vec<String> {
    let mut warnings = Vec::new();
    if report.gap.live != "read" {
        warnings.push(format!("the live database of '{}' could not be read then: the bundle cannot have its rows", report.label));
    }
    for table in report.gap.tables.iter().filter(|table| table.certainty == "lower-bound") {
        warnings.push(format!("'{}' could not be compared to its end: there may have been more rows", table.table));
    }
    if !report.is_as_recorded {
        warnings.push("there are other numbers of rows than the bundle says".to_owned());
    }
    warnings
}

/// Standard output, to which whole lines come. A terminal gets nothing that it would obey, and a reader that went away has what it wanted.
pub struct Screen {
    format: RowFormat,
    is_terminal: bool,
    is_open: bool,
}

impl Screen {
    /// For rows in this form.
    pub fn new(format: RowFormat) -> Screen {
        Screen { format, is_terminal: io::stdout().is_terminal(), is_open: true }
    }

    /// JSON means the same with its escapes; cells of a table only look like what they hold.
    fn harmless(&self, line: &str) -> String {
        let escaped = |c: char| match (c, screen::is_harmful(c), self.format) {
            ('\n', ..) | (_, false, _) => c.to_string(),
            ('\r', _, RowFormat::Csv) => String::new(),
            (_, _, RowFormat::Jsonl) => format!("\\u{:04x}", u32::from(c)),
            (_, _, RowFormat::Csv) => c.escape_unicode().to_string(),
        };
        line.chars().map(escaped).collect()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let shown = self.is_terminal.then(|| self.harmless(&String::from_utf8_lossy(bytes)));
        let shown = shown.as_ref().map_or(bytes, |text| text.as_bytes());
        if self.is_open {
            match io::stdout().lock().write_all(shown) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.is_open = false,
                other => other?,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match io::stdout().lock().flush() {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nothing_of_a_row() {
        let screen = |format| Screen { format, is_terminal: true, is_open: true };
        let line = "a\u{9b}2J\u{202e}é🔑\n";
        assert_eq!(screen(RowFormat::Jsonl).harmless(line), "a\\u009b2J\\u202eé🔑\n");
        assert_eq!(screen(RowFormat::Csv).harmless("a\u{1b}[2J\r\n"), "a\\u{1b}[2J\n");
    }
}
