//! Handing out rows that a restore took away: out of a safety bundle that was verified as a whole, or not at all.
//!
//! Into a file, one pass does both: the rows go into a file without a name, which gets it only if the pass ended without a finding. A stream takes
//! nothing back, so there a first pass verifies, and a second one, over the same open file, writes. Who got which rows is a
//! matter for the journal: the intent is recorded before the first row leaves, the counts after the last.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::capsule::{RowCounts, Rows, RowsError};
use crate::bundle::{
    BundleError, Entry, EntryPath, EntrySink, Examination, Front, Keyring, Label, Level, Manifest, Medium as _, PublicCore, SourceGap,
    TableGap, TrustedSigners, Unlocked, read_front,
};
use crate::files::{FileError, Folder, Writeback};
use crate::journal::{Event, Outcome};
use crate::ops::progress::{Phase, Watched, go_on, heed};
use crate::ops::recorder::{Note, Recorded, record, subject};
use crate::ops::verify::{open_bundle, require_signer, unlock_with_manifest};
use crate::ops::{Environment, Failure, SigningKeyPlace};

/// The form of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFormat {
    /// The lines of the capsule as they are, with every type.
    Jsonl,
    /// Comma-separated values, of one table.
    Csv,
}

/// Where rows go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowTarget {
    /// A new file, mode 0600.
    File(PathBuf),
    /// What the caller gives to write to.
    Stream,
}

/// A request to hand rows out.
#[derive(Debug, Clone)]
pub struct ExportRows {
    /// The safety bundle.
    pub bundle: PathBuf,
    /// Which source; may be left out where only one has a gap.
    pub label: Option<Label>,
    /// Only rows of this table.
    pub table: Option<String>,
    /// Their form.
    pub format: RowFormat,
    /// Where they go.
    pub to: RowTarget,
    /// Who may have sealed the bundle.
    pub signers: TrustedSigners,
    /// Where the signing key is, for the record in a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
}

/// What was handed out.
#[derive(Debug)]
pub struct ExportReport {
    /// The bundle's public core.
    pub core: PublicCore,
    /// The source.
    pub label: Label,
    /// What the bundle says of its gap.
    pub gap: SourceGap,
    /// The rows, by table.
    pub tables: Vec<RowCounts>,
    /// Whether these are as many as the bundle says, where it is certain.
    pub is_as_recorded: bool,
}

/// What was chosen of a bundle.
struct Chosen {
    label: Label,
    gap: SourceGap,
    table: Option<String>,
}

/// A bundle that was opened.
struct Opened<'m> {
    medium: Watched<'m>,
    front: Front,
    unlocked: Unlocked,
}

impl ExportRows {
    /// A request for all rows of the only source that has a gap, with the defaults.
    pub fn new(bundle: impl Into<PathBuf>, to: RowTarget) -> ExportRows {
        ExportRows {
            bundle: bundle.into(),
            label: None,
            table: None,
            format: RowFormat::Jsonl,
            to,
            signers: TrustedSigners::default(),
            signing_key: None,
        }
    }

    /// Hands them out; `stream` is written to only where [`RowTarget::Stream`] says so.
    ///
    /// # Errors
    /// [`Failure`]; no file is left behind then. A stream may have got rows only if the bundle was whole a moment before.
    pub fn run(&self, ring: &Keyring, stream: &mut dyn Write, environment: &mut Environment) -> Result<ExportReport, Failure> {
        let result = heed(&environment.progress.clone(), self.export(ring, stream, environment));
        let note = match &result {
            Ok(report) => self.note(&report.core, Outcome::Success, &report.label, &json!({ "tables": report.tables })),
            // There is nothing to be told of a bundle that is not there.
            Err(Failure::NoBundle { .. }) => return result,
            Err(failure) => Note::failure(Event::ExportRows, None, failure),
        };
        self.record(note, environment);
        result
    }

    fn record(&self, note: Note, environment: &mut Environment) -> Recorded {
        record(Folder::above(&self.bundle).ok().as_ref(), self.signing_key.as_ref(), note, environment)
    }

    fn note(&self, core: &PublicCore, outcome: Outcome, label: &Label, more: &Value) -> Note {
        let to = match &self.to {
            RowTarget::File(path) => path.to_string_lossy().into_owned(),
            RowTarget::Stream => "-".to_owned(),
        };
        let mut details = json!({ "label": label, "to": to, "table": self.table, "format": self.format.name() });
        details.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        Note::new(Event::ExportRows, outcome, Some(subject(core, &self.bundle)), details)
    }

    fn export(&self, ring: &Keyring, stream: &mut dyn Write, environment: &mut Environment) -> Result<ExportReport, Failure> {
        let progress = environment.progress.clone();
        let file = open_bundle(&self.bundle)?;
        let medium = Watched::new(&file, &progress);
        let front = read_front(&medium).map_err(|source| Failure::Bundle { path: self.bundle.clone(), source })?;
        let (unlocked, manifest) = unlock_with_manifest(&self.bundle, &medium, &front, ring)?;
        let chosen = self.choose(&manifest)?;
        let mut opened = Opened { medium, front, unlocked };
        let intent = self.note(&opened.front.core, Outcome::Intent, &chosen.label, &json!({}));
        if !self.record(intent, environment).is_somewhere() {
            return Err(Failure::NotAnnounced);
        }
        let all = match &self.to {
            RowTarget::File(path) => self.write_file(path, &chosen, &mut opened, environment)?,
            RowTarget::Stream => {
                self.pass(&chosen, &mut std::io::sink(), &mut opened, environment)?;
                go_on(&progress)?;
                self.pass(&chosen, stream, &mut opened, environment).map_err(changed_meanwhile)?
            }
        };
        let is_as_recorded = chosen.gap.tables.iter().all(|table| is_as_recorded(table, &all));
        let is_chosen = |counts: &RowCounts| chosen.table.as_ref().is_none_or(|table| *table == counts.table);
        let tables = all.into_iter().filter(is_chosen).collect();
        Ok(ExportReport { core: opened.front.core, label: chosen.label, gap: chosen.gap, tables, is_as_recorded })
    }

    fn choose(&self, manifest: &Manifest) -> Result<Chosen, Failure> {
        let none = || Failure::NotSafety { path: self.bundle.clone() };
        if let Some(label) = self.label.clone().filter(|label| !manifest.sources.iter().any(|source| source.label == *label)) {
            return Err(Failure::NoLabel { label, has: manifest.sources.iter().map(|source| source.label.to_string()).collect() });
        }
        let is_asked = |label: &Label| self.label.as_ref().is_none_or(|asked| asked == label);
        let with_gap: Vec<(&Label, &SourceGap)> = manifest
            .sources
            .iter()
            .filter(|source| is_asked(&source.label))
            .filter_map(|source| Some((&source.label, source.gap.as_ref()?)))
            .collect();
        let (label, gap) = match with_gap[..] {
            [] => return Err(none()),
            [one] => one,
            _ => return Err(Failure::SeveralGaps { labels: with_gap.iter().map(|(label, _)| label.to_string()).collect() }),
        };
        let table = self.choose_table(label, gap)?;
        Ok(Chosen { label: label.clone(), gap: gap.clone(), table })
    }

    fn choose_table(&self, label: &Label, gap: &SourceGap) -> Result<Option<String>, Failure> {
        let names = |tables: &mut dyn Iterator<Item = &TableGap>| tables.map(|table| table.table.clone()).collect::<Vec<String>>();
        let Some(asked) = &self.table else {
            let has = names(&mut gap.tables.iter().filter(|table| table.lost + table.altered > 0));
            return if self.format == RowFormat::Csv && has.len() > 1 { Err(Failure::OneTable { has }) } else { Ok(None) };
        };
        // As SQLite compares names.
        match gap.tables.iter().find(|table| table.table.eq_ignore_ascii_case(asked)) {
            Some(table) => Ok(Some(table.table.clone())),
            None => Err(Failure::NoGapTable { label: label.clone(), table: asked.clone(), has: names(&mut gap.tables.iter()) }),
        }
    }

    fn write_file(
        &self,
        path: &Path,
        chosen: &Chosen,
        opened: &mut Opened<'_>,
        environment: &mut Environment,
    ) -> Result<Vec<RowCounts>, Failure> {
        let (folder, name) = Folder::of(path)?;
        if folder.has(&name)? {
            return Err(FileError::Exists { path: path.to_owned() }.into());
        }
        let new = folder.new_file(&mut *environment.entropy)?;
        let action = || FileError::io("write", path);
        let mut out = Writeback::new(new.file().try_clone().map_err(action())?);
        let counts = self.pass(chosen, &mut out, opened, environment).map_err(|failure| match failure {
            Failure::RowsUnwritten { source } => action()(source).into(),
            other => other,
        })?;
        out.finish().map_err(action())?;
        new.sync()?;
        go_on(&environment.progress)?;
        new.publish(&name)?;
        Ok(counts)
    }

    /// Verifies the whole bundle, and writes the chosen rows meanwhile.
    fn pass(
        &self,
        chosen: &Chosen,
        out: &mut dyn Write,
        opened: &mut Opened<'_>,
        environment: &Environment,
    ) -> Result<Vec<RowCounts>, Failure> {
        let Opened { medium, front, unlocked } = opened;
        let _phase = Phase::begin(&environment.progress, "reading rows", medium.length().ok());
        let rows = Rows::new(self.format, chosen.table.clone(), out);
        let mut sink = CapsuleSink { path: EntryPath::Capsule(chosen.label.clone()), is_open: false, rows };
        let examination = Examination::new(medium, front, Some(unlocked), Level::Content, environment.workers, &mut sink);
        let of_rows = |error| match error {
            RowsError::Write(source) => Failure::RowsUnwritten { source },
            RowsError::Fault(source) => Failure::Capsule { label: chosen.label.clone(), source },
        };
        let mut outcome = examination.run().map_err(|error| match error {
            SinkError::Bundle(source) => Failure::Bundle { path: self.bundle.clone(), source },
            SinkError::Rows(error) => of_rows(error),
        })?;
        require_signer(&self.bundle, &self.signers, &front.core, outcome.is_signed)?;
        if !outcome.findings.is_empty() {
            return Err(Failure::RowsDamaged { path: self.bundle.clone(), source: outcome.findings.swap_remove(0).damage });
        }
        sink.rows.finish().map_err(of_rows)
    }
}

impl RowFormat {
    fn name(self) -> &'static str {
        match self {
            RowFormat::Jsonl => "jsonl",
            RowFormat::Csv => "csv",
        }
    }
}

/// It was whole a moment ago, and rows may have left already.
fn changed_meanwhile(failure: Failure) -> Failure {
    match failure {
        Failure::RowsDamaged { path, source } => {
            Failure::RowsUnwritten { source: std::io::Error::other(format!("bundle '{}' was changed meanwhile: {source}", path.display())) }
        }
        other => other,
    }
}

fn is_as_recorded(table: &TableGap, all: &[RowCounts]) -> bool {
    let found = all.iter().find(|counts| counts.table == table.table).map_or((0, 0), |counts| (counts.lost, counts.altered));
    table.certainty != "exact" || found == (table.lost, table.altered)
}

/// Takes the capsule, and nothing else.
struct CapsuleSink<'o> {
    path: EntryPath,
    is_open: bool,
    rows: Rows<'o>,
}

enum SinkError {
    Bundle(BundleError),
    Rows(RowsError),
}

impl From<BundleError> for SinkError {
    fn from(error: BundleError) -> SinkError {
        SinkError::Bundle(error)
    }
}

impl EntrySink for CapsuleSink<'_> {
    type Error = SinkError;

    fn begin(&mut self, entry: &Entry) -> Result<(), SinkError> {
        self.is_open = entry.path == self.path;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        if self.is_open { self.rows.write(bytes).map_err(SinkError::Rows) } else { Ok(()) }
    }

    fn end(&mut self) -> Result<(), SinkError> {
        self.is_open = false;
        Ok(())
    }
}
