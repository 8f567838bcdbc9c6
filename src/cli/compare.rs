//! `airkeep compare`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use airkeep::database::{Ledger, ObjectChange, RowChanges, Sides, TableChange};
use airkeep::ops::{Against, Compare, CompareReport, ComparedFiles, ComparedSource, Facts};
use airkeep::{Keyring, Label, inspect};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::{Report, backup, environment, json as objects, reference, screen, settings};

/// Tell what differs between a bundle and the live databases, or another bundle
///
/// By source and table: which are new or gone, whose schema differs, how many rows were added, removed and changed on the way from the
/// first side to the second. Tables with the same logical hash are the same; the rows of others are told apart by their primary key, else
/// by their contents. Two bundles from 'backup --hash-tables' of which the manifests say that all is the same are not read any further.
///
/// Live databases are looked for where airkeep.toml says, else where they were captured; plain files where it says. Nothing is written but
/// encrypted scratch.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The first bundle: a path, or 'latest' or a number in the vault
    #[arg(value_name = "BUNDLE")]
    first: String,
    /// The second: another bundle, or 'live' for the live databases
    #[arg(value_name = "BUNDLE|live", default_value = LIVE)]
    second: String,
    /// Compare only this source; may be given more than once
    #[arg(long = "label", value_name = "LABEL", value_parser = Label::parse)]
    labels: Vec<Label>,
    /// The vault in which 'latest' and numbers are looked up (default: ./airkeep-vault)
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// End with code 1 if anything differs
    #[arg(long)]
    exit_code: bool,
    /// How long to wait for a locked database
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = backup::seconds, allow_negative_numbers = true)]
    busy_timeout: Duration,
    /// Where encrypted scratch goes (default: /var/tmp)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(self.vault.as_deref().unwrap_or(Path::new(&self.first)))
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let vault = self.vault.as_deref();
        // What no bundle holds is told as such: it may be new.
        let find = |text: &str| match reference::find_with(text, &self.labels, vault) {
            Ok(found) => Ok(found.path),
            Err(_) => reference::find(text, vault),
        };
        let first = find(&self.first)?;
        let second = match self.second.as_str() {
            LIVE => Against::Live(settings::config().cloned().map(Arc::new)),
            text => Against::Bundle(find(text)?),
        };
        // Nobody should type a passphrase to learn that this is no bundle.
        inspect(&first, &Keyring::default())?;
        if let Against::Bundle(path) = &second {
            inspect(path, &Keyring::default())?;
        }
        let ring = self.keys.ring(Purpose::Open)?;
        let compare =
            Compare { first, second, labels: self.labels, vault: self.vault, scratch: self.scratch, busy_timeout: self.busy_timeout };
        let report = compare.run(&ring, &mut environment())?;
        let differs = || Explained::new(Exit::Failed, "the two sides differ", None);
        let error = (self.exit_code && !report.is_same()).then(differs);
        let object = json!({
            "first": side(&report.first),
            "second": report.second.as_ref().map(side),
            "same": report.is_same(),
            "sources": report.sources.iter().map(source_object).collect::<Vec<_>>(),
            "files": report.files.iter().map(files_object).collect::<Vec<_>>(),
        });
        Ok(Report { text: text(&report), json: object.as_object().cloned().unwrap_or_default(), warnings: report.warnings, error })
    }
}

fn side(facts: &Facts) -> Value {
    objects::bundle(&facts.path, facts.size_bytes, &facts.core)
}

fn source_object(source: &ComparedSource) -> Value {
    let changes = &source.changes;
    let pair = |(first, second): (i32, i32)| (first != second).then(|| json!({ "first": first, "second": second }));
    let (first, second) = &changes.migrations;
    json!({
        "label": source.label,
        "path": source.path.as_ref().map(|path| path.to_string_lossy()),
        "sides": sides(source.sides),
        "same": source.is_same(),
        "same_tables": changes.same_tables,
        "application_id": pair(changes.application_id),
        "user_version": pair(changes.user_version),
        "migrations": (first != second).then(|| json!({ "first": ledger_object(first.as_ref()), "second": ledger_object(second.as_ref()) })),
        "objects": changes.objects.iter().map(object_change).collect::<Vec<_>>(),
        "tables": changes.tables.iter().map(table_change).collect::<Vec<_>>(),
    })
}

fn files_object(files: &ComparedFiles) -> Value {
    json!({
        "label": files.label,
        "sides": sides(files.sides),
        "same": files.is_same(),
        "same_files": files.same,
        "added": files.added,
        "removed": files.removed,
        "changed": files.changed,
    })
}

fn ledger_object(ledger: Option<&Ledger>) -> Value {
    ledger.map_or(Value::Null, |ledger| json!({ "table": ledger.table, "count": ledger.count, "last": ledger.last }))
}

fn object_change(object: &ObjectChange) -> Value {
    let sql = |object: &Option<airkeep::database::SchemaObject>| object.as_ref().and_then(|object| object.sql.clone());
    json!({ "kind": object.kind, "name": object.name, "change": change(object), "first": sql(&object.first), "second": sql(&object.second) })
}

fn table_change(table: &TableChange) -> Value {
    let rows = table.rows.as_ref();
    let count = |of: fn(&RowChanges) -> u64| rows.map(of);
    json!({
        "table": table.name,
        "sides": sides(table.sides),
        "schema_changed": table.is_schema_changed,
        "first_rows": table.first_rows,
        "second_rows": table.second_rows,
        "key": rows.map(|rows| rows.key.clone()).unwrap_or_default(),
        "added": count(|rows| rows.added),
        "removed": count(|rows| rows.removed),
        "changed": count(|rows| rows.changed),
        "common": count(|rows| rows.common),
        "only_first_columns": table.only_first_columns,
        "only_second_columns": table.only_second_columns,
        "doubt": table.doubt,
    })
}

fn sides(sides: Sides) -> &'static str {
    match sides {
        Sides::Both => "both",
        Sides::First => "first",
        Sides::Second => "second",
    }
}

fn change(object: &ObjectChange) -> &'static str {
    match (&object.first, &object.second) {
        (None, _) => "added",
        (_, None) => "dropped",
        _ => "changed",
    }
}

fn text(report: &CompareReport) -> String {
    let name = |facts: &Facts| format!("number {} of {}, {}", facts.core.sequence, facts.core.created_at, facts.path.display());
    let mut text = format!("first    {}\n", screen::escape(&name(&report.first)));
    let second = report.second.as_ref().map_or("what is there now".to_owned(), name);
    let _ = writeln!(text, "second   {}", screen::escape(&second));
    for source in &report.sources {
        source_text(&mut text, source);
    }
    for files in &report.files {
        files_text(&mut text, files);
    }
    text
}

fn files_text(text: &mut String, files: &ComparedFiles) {
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{}", screen::escape(&format!("{name:<8} {value}")));
    };
    let different = files.added.len() + files.removed.len() + files.changed.len();
    let verdict = match files.sides {
        Sides::First => "only on the first side".to_owned(),
        Sides::Second => "only on the second side".to_owned(),
        Sides::Both if files.is_same() => format!("the same, {}", screen::count(files.same, "file")),
        Sides::Both => {
            let verb = if different == 1 { "differs" } else { "differ" };
            format!("{} {verb}, {} the same", screen::count(different as u64, "file"), screen::grouped(files.same))
        }
    };
    line("source", format!("{}: {verdict}", files.label));
    for (paths, what) in [(&files.added, "added"), (&files.removed, "removed"), (&files.changed, "changed")] {
        paths.iter().for_each(|path| line("", format!("file {path}: {what}")));
    }
}

fn source_text(text: &mut String, source: &ComparedSource) {
    let changes = &source.changes;
    let missing = |side| format!("only on the {side} side");
    let verdict = match source.sides {
        Sides::First => match &source.path {
            Some(path) => format!("{}; there is no '{}'", missing("first"), path.display()),
            None => missing("first"),
        },
        Sides::Second => missing("second"),
        Sides::Both if source.is_same() => format!("the same, {}", screen::count(changes.same_tables, "table")),
        Sides::Both => {
            format!(
                "{}, {} the same",
                screen::count(changes.tables.len() as u64, "table") + if changes.tables.len() == 1 { " differs" } else { " differ" },
                screen::grouped(changes.same_tables)
            )
        }
    };
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{}", screen::escape(&format!("{name:<8} {value}")));
    };
    line("source", format!("{}: {verdict}", source.label));
    for (name, (first, second)) in [("application_id", changes.application_id), ("user_version", changes.user_version)] {
        if first != second {
            line("", format!("{name}: {first}, then {second}"));
        }
    }
    let (first, second) = &changes.migrations;
    if first != second {
        line("", format!("migrations: {}, then {}", ledger_words(first.as_ref()), ledger_words(second.as_ref())));
    }
    for object in changes.objects.iter().filter(|object| !is_told_with_rows(object, &changes.tables)) {
        line("", format!("{} {}: {}", object.kind, object.name, change(object)));
    }
    for table in &changes.tables {
        line("", format!("table {}: {}", table.name, table_words(table)));
    }
}

/// Whether the line of a table says it.
fn is_told_with_rows(object: &ObjectChange, tables: &[TableChange]) -> bool {
    object.kind == "table" && tables.iter().any(|table| table.name.eq_ignore_ascii_case(&object.name))
}

fn ledger_words(ledger: Option<&Ledger>) -> String {
    ledger.map_or("none".to_owned(), ToString::to_string)
}

fn table_words(table: &TableChange) -> String {
    let rows = |rows: Option<u64>| rows.map_or("rows not counted".to_owned(), |rows| screen::count(rows, "row"));
    match table.sides {
        Sides::First => return format!("dropped, {}", rows(table.first_rows)),
        Sides::Second => return format!("added, {}", rows(table.second_rows)),
        Sides::Both => {}
    }
    let mut words = Vec::new();
    if table.is_schema_changed {
        words.push("schema changed".to_owned());
    }
    match &table.rows {
        Some(found) => {
            let told = [(found.added, "added"), (found.removed, "removed"), (found.changed, "changed")];
            words.extend(
                told.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{} {what}", screen::count(*count, "row"))),
            );
        }
        None => words.push("rows cannot be compared".to_owned()),
    }
    for (columns, side) in [(&table.only_first_columns, "first"), (&table.only_second_columns, "second")] {
        if !columns.is_empty() {
            words.push(format!("columns only on the {side} side: {}", columns.join(" ")));
        }
    }
    // Of what cannot be compared it is the reason; of counts, that they are lower bounds.
    let caution = if table.rows.is_some() { "at least that, since " } else { "" };
    words.extend(table.doubt.iter().map(|doubt| format!("{caution}{doubt}")));
    words.join("; ")
}

fn after_help() -> String {
    let exits =
        [Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Locked, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!(
        "Examples:\n  airkeep compare latest\n  airkeep compare 41 42 --label main\n  airkeep compare BUNDLE.akb live --key-file backup.key --exit-code\n\n\
         With --exit-code, 1 also means that something differs, as JSON tells by the member 'same'.\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&exits)
    )
}

const LIVE: &str = "live";
