//! `airkeep audit`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::Environment;
use airkeep::bundle::UtcTime;
use airkeep::journal::{Event, Record};
use airkeep::ops::{Audit, AuditReport, TableHistory, journal_of, table_histories};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::export::{self, Format};
use super::signers::SignerArguments;
use super::{Report, screen};

/// Read and prove the journal: what was done to a vault, when, by whom
///
/// Each event is a record that names the one before it by its hash, signed where the vault has a signer. Every bundle carries the
/// position that the journal had when it was sealed: a bundle that left the building is a witness against a rewritten past.
#[derive(Args)]
#[command(after_long_help = after_help("airkeep audit verify --against /media/disc/*.akb\n  airkeep audit show --since 2026-11-01T00:00:00Z --event restore\n  airkeep audit export --format csv"))]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Show what was done, oldest first
    #[command(after_long_help = after_help("airkeep audit show\n  airkeep audit show --event backup --event restore"))]
    Show(Show),
    /// Prove that no record was changed, removed, added or swapped
    ///
    /// Without --against only the chain, the signatures and the bundles in the vault can be asked. Somebody who can write to the vault and
    /// sign can rewrite all of that: keep bundles, or their positions, where they cannot reach.
    #[command(after_long_help = after_help("airkeep audit verify --signer SHA256:…\n  airkeep audit verify --against /media/disc/BUNDLE.akb"))]
    Verify(Verify),
    /// Show how append-only tables grew from backup to backup, and where their history was rewritten
    #[command(after_long_help = after_help("airkeep audit continuity"))]
    Continuity(Watched),
    /// Write the journal out for other programs: as it stands, as a table, or for a log collector
    #[command(after_long_help = after_help("airkeep audit export --format syslog"))]
    Export(Export),
}

#[derive(Args)]
struct Vault {
    /// The folder of bundles
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
}

#[derive(Args)]
struct Selection {
    /// Only records from this time on (UTC, YYYY-MM-DDTHH:MM:SSZ or YYYY-MM-DD)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<UtcTime>,
    /// Only this kind of event (several may be given)
    #[arg(long, value_name = "EVENT", value_parser = event)]
    event: Vec<Event>,
}

#[derive(Args)]
struct Show {
    #[command(flatten)]
    vault: Vault,
    #[command(flatten)]
    selection: Selection,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Verify {
    #[command(flatten)]
    vault: Vault,
    /// Bundles that were kept elsewhere
    #[arg(long, value_name = "BUNDLE", num_args = 1..)]
    against: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    signers: SignerArguments,
}

#[derive(Args)]
struct Watched {
    #[command(flatten)]
    vault: Vault,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Export {
    #[command(flatten)]
    vault: Vault,
    #[command(flatten)]
    selection: Selection,
    /// The form
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    format: Form,
    /// Print one JSON object with the text in it
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Form {
    /// One JSON object per line (the records, without signatures)
    Jsonl,
    /// A table with a header line (RFC 4180)
    Csv,
    /// Messages for a log collector (RFC 5424)
    Syslog,
}

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Show(show) => show.json,
            Action::Verify(verify) => verify.json,
            Action::Continuity(watched) => watched.json,
            Action::Export(export) => export.json,
        }
    }

    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(match &self.action {
            Action::Show(show) => &show.vault.vault,
            Action::Verify(verify) => &verify.vault.vault,
            Action::Continuity(watched) => &watched.vault.vault,
            Action::Export(export) => &export.vault.vault,
        })
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        match self.action {
            Action::Show(show) => {
                let records = show.selection.of(journal_of(&show.vault.vault)?);
                let json = json!({ "records": records });
                Ok(report(records.iter().map(line).collect(), &json))
            }
            Action::Export(export) => {
                let records = export.selection.of(journal_of(&export.vault.vault)?);
                let format = match export.format {
                    Form::Jsonl => Format::Jsonl,
                    Form::Csv => Format::Csv,
                    Form::Syslog => Format::Syslog,
                };
                let text = export::text(&records, format);
                let json = json!({ "text": text });
                Ok(report(text, &json))
            }
            Action::Continuity(watched) => Ok(continuity(&table_histories(&journal_of(&watched.vault.vault)?))),
            Action::Verify(verify) => {
                let audit = Audit { vault: verify.vault.vault, against: verify.against, signers: verify.signers.trusted()? };
                Ok(judged(&audit.run(&Environment::system())?))
            }
        }
    }
}

impl Selection {
    fn of(&self, mut records: Vec<Record>) -> Vec<Record> {
        records.retain(|record| {
            self.since.as_ref().is_none_or(|since| record.time >= *since) && (self.event.is_empty() || self.event.contains(&record.event))
        });
        records
    }
}

fn report(text: String, json: &Value) -> Report {
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: Vec::new(), error: None }
}

/// A record in one line for people.
fn line(record: &Record) -> String {
    let operator = record.actor.operator.as_ref().or(record.actor.sudo_user.as_ref()).map_or(String::new(), |name| format!(" ({name})"));
    let mut text = format!(
        "{:>6}  {}  {:<11} {:<8} {}{operator}@{}",
        record.sequence,
        record.time,
        record.event.name(),
        record.outcome.name(),
        record.actor.user,
        record.host
    );
    if let Some(subject) = &record.subject {
        let _ = write!(text, "  {}", subject.file);
    }
    if let Some(reason) = &record.reason {
        let _ = write!(text, "  \"{reason}\"");
    }
    if let Some(error) = record.details.get("error").and_then(Value::as_str) {
        let _ = write!(text, "  {error}");
    }
    if record.clock_regressed {
        text += "  [the clock was set back]";
    }
    screen::escape(&text) + "\n"
}

/// Each table in one line, and a line more for each break; 3 if there is one.
fn continuity(histories: &[TableHistory]) -> Report {
    let mut text = String::new();
    let mut tables = Vec::new();
    for history in histories {
        let rows = history.states.iter().filter_map(|(_, state)| state.rows).next_back().unwrap_or(0);
        let breaks: Vec<(u64, &str)> = history.breaks().collect();
        let word = if breaks.is_empty() { "ok     " } else { "BROKEN " };
        let name = screen::escape(&format!("{}.{}", history.label, history.table));
        let backups = screen::count(history.states.len() as u64, "backup");
        let _ = writeln!(text, "{word}   {name}: {backups}, {} now", screen::count(rows, "row"));
        for (number, what) in &breaks {
            let _ = writeln!(text, "          {what} when backup {number} was made");
        }
        let states =
            history.states.iter().map(|(number, state)| json!({ "sequence": number, "rows": state.rows, "continuity": state.continuity }));
        tables
            .push(json!({ "label": history.label, "table": history.table, "ok": breaks.is_empty(), "states": states.collect::<Vec<_>>() }));
    }
    let broken = histories.iter().filter(|history| history.breaks().next().is_some()).count();
    let error = (broken > 0).then(|| {
        let message = format!("the history of {} was rewritten", screen::count(broken as u64, "table"));
        Explained::new(Exit::Partial, message, Some("compare the bundles before and after: they hold the rows"))
    });
    if histories.is_empty() {
        text.push_str("no table is watched: declare some with 'airkeep backup --append-only TABLE'\n");
    }
    Report { error, ..report(text, &json!({ "tables": tables })) }
}

fn judged(report: &AuditReport) -> Report {
    let verified = &report.verified;
    let records = screen::count(verified.records, "record");
    let mut warnings: Vec<String> =
        report.silent.iter().map(|bundle| format!("bundle '{bundle}' cannot be read, and was not asked")).collect();
    if verified.clock_regressions > 0 {
        warnings.push(format!("the clock was set back before {}", screen::count(verified.clock_regressions, "record")));
    }
    if verified.torn_bytes > 0 {
        warnings.push("the last line is incomplete: a run was killed while it wrote it; the next record clears it".to_owned());
    }
    if let Some(sequence) = verified.rebuilt_after {
        warnings.push(format!("the journal was begun anew behind bundle {sequence}: what happened before is not in it"));
    }
    let json = json!({
        "vault": report.vault.to_string_lossy(),
        "set": report.set,
        "records": verified.records,
        "signed": verified.signed,
        "witnesses": report.witnesses,
        "clock_regressions": verified.clock_regressions,
        "rebuilt_after": verified.rebuilt_after,
        "head": verified.head,
        "faults": verified.faults.iter().map(|fault| json!({ "record": fault.record, "message": fault.kind.to_string() })).collect::<Vec<_>>(),
    });
    let mut text = String::new();
    for fault in &verified.faults {
        let _ = writeln!(text, "BROKEN    record {} {}", fault.record, screen::escape(&fault.kind.to_string()));
    }
    let error = verified.faults.first().map(|fault| {
        let message = format!("the journal is not to be believed from record {} on: it {}", fault.record, fault.kind);
        Explained::new(
            Exit::Chain,
            message,
            Some("compare with copies that were carried out; 'airkeep audit show' still shows what is there"),
        )
    });
    if error.is_none() {
        let _ = writeln!(
            text,
            "ok        {records}, {} signed, {} asked",
            screen::grouped(verified.signed),
            screen::count(report.witnesses as u64, "bundle")
        );
        if let Some(head) = &verified.head {
            let _ = writeln!(text, "head      {} {}", head.sequence, head.sha256);
        }
    }
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings, error }
}

fn event(text: &str) -> Result<Event, String> {
    let known = || Event::ALL.iter().map(|event| event.name()).collect::<Vec<_>>().join(", ");
    Event::ALL.into_iter().find(|event| event.name() == text).ok_or_else(|| format!("expected {}", known()))
}

pub fn time(text: &str) -> Result<UtcTime, String> {
    UtcTime::parse(text)
        .or_else(|| UtcTime::parse(&format!("{text}T00:00:00Z")))
        .ok_or_else(|| "expected YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ".to_owned())
}

fn after_help(example: &str) -> String {
    let exits = [
        Exit::Success,
        Exit::Failed,
        Exit::Usage,
        Exit::Partial,
        Exit::NotFound,
        Exit::Integrity,
        Exit::Unsupported,
        Exit::Chain,
        Exit::Bug,
    ];
    format!("Examples:\n  {example}\n\n{}", exit::table(&exits))
}
