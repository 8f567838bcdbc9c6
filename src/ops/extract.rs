//! One database or one table out of a bundle: only the frames of its entry are read, and each is proven as in a whole pass.
//!
//! A database goes straight into a file without a name, which gets it once all of it was proven. For rows, SQL text and streams, which take nothing
//! back, it goes into encrypted scratch first, and is opened there once its digest was found right. That other parts of the bundle
//! are whole is not claimed. Data leaves the bundle, so the journal is told, as of a restore.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::gap::{RowTarget, Sheet};
use super::progress::{Phase, Watched, go_on, heed};
use super::recorder::{Note, record, subject};
use super::verify::{open_bundle, require_signer, unlock_with_manifest};
use super::verify_database::SCRATCH;
use super::{Environment, Failure, OsEntropy, SigningKeyPlace};
use crate::bundle::{
    BundleError, Entry, EntryPath, EntrySink, Examination, Front, Keyring, Label, Level, Manifest, PublicCore, SealCheck, Source,
    TrustedSigners, Unlocked, read_front,
};
use crate::crypto::Entropy as _;
use crate::database::{DumpError, Dumped, Image, RowTaker, SIDECARS, dump_rows, dump_sql, only_table};
use crate::files::{FileError, Folder, ScratchSpace, Writeback};
use crate::journal::{Event, Outcome};

/// In which form a database is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtractFormat {
    /// The database file.
    Sqlite,
    /// SQL text that makes it anew.
    Sql,
    /// Comma-separated values, of one table.
    Csv,
    /// A JSON object for each row.
    Jsonl,
}

/// A request to take one database or table out of a bundle.
#[derive(Debug, Clone)]
pub struct Extract {
    /// The bundle.
    pub bundle: PathBuf,
    /// Which source.
    pub label: Label,
    /// Only this table; not for [`ExtractFormat::Sqlite`], which takes no notice of it.
    pub table: Option<String>,
    /// The form.
    pub format: ExtractFormat,
    /// Where it goes.
    pub to: RowTarget,
    /// The vault that takes the record, else the folder that the bundle is in.
    pub vault: Option<PathBuf>,
    /// The folder for encrypted scratch.
    pub scratch: Option<PathBuf>,
    /// Who may have sealed the bundle.
    pub signers: TrustedSigners,
    /// Where the signing key is, for the record in a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
}

/// What was handed out.
#[derive(Debug)]
pub struct ExtractReport {
    /// The bundle's public core.
    pub core: PublicCore,
    /// What the manifest says of the database.
    pub source: Source,
    /// Rows by table, and what was passed over; nothing of both where the file itself was handed out.
    pub dumped: Dumped,
}

/// A bundle that was opened.
struct Opened<'m> {
    medium: Watched<'m>,
    front: Front,
    unlocked: Unlocked,
    source: Source,
}

impl ExtractFormat {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ExtractFormat::Sqlite => "sqlite",
            ExtractFormat::Sql => "sql",
            ExtractFormat::Csv => "csv",
            ExtractFormat::Jsonl => "jsonl",
        }
    }
}

impl Extract {
    /// A request for the file of a database, with the defaults.
    pub fn new(bundle: impl Into<PathBuf>, label: Label, to: RowTarget) -> Extract {
        Extract {
            bundle: bundle.into(),
            label,
            table: None,
            format: ExtractFormat::Sqlite,
            to,
            vault: None,
            scratch: None,
            signers: TrustedSigners::default(),
            signing_key: None,
        }
    }

    /// Hands it out; `stream` is written to only where [`RowTarget::Stream`] says so.
    ///
    /// # Errors
    /// [`Failure`]; no file is left behind then. A stream may have got a part only if the database itself cannot be read to its end.
    pub fn run(&self, ring: &Keyring, stream: &mut dyn Write, environment: &mut Environment) -> Result<ExtractReport, Failure> {
        let result = heed(&environment.progress.clone(), self.extract(ring, stream, environment));
        let note = match &result {
            Ok(report) => self.note(&report.core, Outcome::Success),
            // There is nothing to be told of a bundle that is not there.
            Err(Failure::NoBundle { .. }) => return result,
            Err(failure) => Note::failure(Event::Restore, None, failure),
        };
        self.record(note, environment);
        result
    }

    fn record(&self, note: Note, environment: &mut Environment) {
        let named = self.vault.as_ref().and_then(|vault| Folder::open(&vault.canonicalize().ok()?).ok());
        let folder = named.or_else(|| Folder::above(&self.bundle).ok());
        record(folder.as_ref(), self.signing_key.as_ref(), note, environment);
    }

    fn note(&self, core: &PublicCore, outcome: Outcome) -> Note {
        let to = match &self.to {
            RowTarget::File(path) => path.to_string_lossy().into_owned(),
            RowTarget::Stream => "-".to_owned(),
        };
        let details: Value = json!({ "mode": "extract", "label": self.label, "table": self.table, "format": self.format.name(), "to": to });
        Note::new(Event::Restore, outcome, Some(subject(core, &self.bundle)), details)
    }

    fn extract(&self, ring: &Keyring, stream: &mut dyn Write, environment: &mut Environment) -> Result<ExtractReport, Failure> {
        let progress = environment.progress.clone();
        let file = open_bundle(&self.bundle)?;
        let medium = Watched::new(&file, &progress);
        let front = read_front(&medium).map_err(|source| Failure::Bundle { path: self.bundle.clone(), source })?;
        let (unlocked, manifest) = unlock_with_manifest(&self.bundle, &medium, &front, ring)?;
        let source = self.choose(&manifest)?;
        let mut opened = Opened { medium, front, unlocked, source };
        self.record(self.note(&opened.front.core, Outcome::Intent), environment);
        let dumped = match &self.to {
            RowTarget::File(path) => self.write_file(path, &mut opened, environment)?,
            RowTarget::Stream => {
                let image = self.image(&mut opened, environment)?;
                self.convert(&image, stream, environment).map_err(|error| self.of_dump(error, None))?
            }
        };
        Ok(ExtractReport { core: opened.front.core, source: opened.source, dumped })
    }

    fn choose(&self, manifest: &Manifest) -> Result<Source, Failure> {
        if manifest.files.iter().any(|set| set.label == self.label) {
            return Err(Failure::OnlyInto { label: self.label.clone() });
        }
        manifest.sources.iter().find(|source| source.label == self.label).cloned().ok_or_else(|| Failure::NoLabel {
            label: self.label.clone(),
            has: manifest.sources.iter().map(|source| source.label.to_string()).collect(),
        })
    }

    fn write_file(&self, path: &Path, opened: &mut Opened<'_>, environment: &mut Environment) -> Result<Dumped, Failure> {
        let (folder, name) = Folder::of(path)?;
        self.require_free(&folder, path, &name)?;
        let new = folder.new_file(&mut *environment.entropy)?;
        let action = || FileError::io("write", path);
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, Writeback::new(new.file().try_clone().map_err(action())?));
        let dumped = if self.format == ExtractFormat::Sqlite {
            let (available_bytes, needed_bytes) = (folder.free_bytes()?, opened.source.size_bytes);
            if available_bytes < needed_bytes {
                return Err(Failure::NoSpace { folder: folder.path().to_owned(), needed_bytes, available_bytes });
            }
            self.pull(opened, environment, &mut |_, bytes| out.write_all(bytes).map_err(|error| action()(error).into()))?;
            Dumped::default()
        } else {
            let image = self.image(opened, environment)?;
            self.convert(&image, &mut out, environment).map_err(|error| self.of_dump(error, Some(path)))?
        };
        let writeback = out.into_inner().map_err(|error| action()(error.into_error()))?;
        writeback.finish().map_err(action())?;
        new.sync()?;
        go_on(&environment.progress)?;
        // Once more: what SQLite would replay may have come since the first look.
        self.require_free(&folder, path, &name)?;
        new.publish(&name)?;
        Ok(dumped)
    }

    /// Refuses a name that is taken, and for a database names beside it that SQLite would replay.
    fn require_free(&self, folder: &Folder, path: &Path, name: &str) -> Result<(), Failure> {
        if folder.has(name)? {
            return Err(FileError::Exists { path: path.to_owned() }.into());
        }
        for sidecar in SIDECARS.iter().filter(|_| self.format == ExtractFormat::Sqlite).map(|suffix| format!("{name}{suffix}")) {
            if folder.has(&sidecar)? {
                return Err(Failure::TargetExists { path: folder.path().join(sidecar) });
            }
        }
        Ok(())
    }

    /// The database in encrypted scratch, its digest checked.
    fn image(&self, opened: &mut Opened<'_>, environment: &Environment) -> Result<Image, Failure> {
        let folder = self.scratch.clone().unwrap_or_else(|| SCRATCH.into());
        let space = ScratchSpace::new(folder, |bytes: &mut [u8]| OsEntropy.fill(bytes));
        let failed = |source| Failure::Scratch { source };
        let image = Image::create(&space, opened.source.size_bytes).map_err(failed)?;
        self.pull(opened, environment, &mut |offset, bytes| image.write_at(offset, bytes).map_err(failed))?;
        Ok(image)
    }

    /// Reads the entry, proves it, and gives it away meanwhile.
    fn pull(&self, opened: &mut Opened<'_>, environment: &Environment, take: Take<'_>) -> Result<(), Failure> {
        let _phase = Phase::begin(&environment.progress, "extracting", None);
        let Opened { medium, front, unlocked, .. } = opened;
        let seal = if self.signers.is_empty() { SealCheck::Unwanted } else { SealCheck::Wanted };
        let mut sink = Taker { take, offset: 0, is_complete: false };
        let examination = Examination::new(&*medium, front, Some(unlocked), Level::Content, environment.workers, &mut sink);
        let outcome = examination.run_entry(&EntryPath::Database(self.label.clone()), seal).map_err(|error| match error {
            TakerError::Bundle(source) => Failure::Bundle { path: self.bundle.clone(), source },
            TakerError::Taker(failure) => failure,
        })?;
        if let Some(first) = outcome.findings.into_iter().next() {
            return Err(Failure::Damaged { path: self.bundle.clone(), source: first.damage, whole: Vec::new(), has_several: false });
        }
        assert!(sink.is_complete, "an entry without a finding is complete");
        require_signer(&self.bundle, &self.signers, &front.core, outcome.is_signed)?;
        environment.progress.note(&format!("'{}' is as it was sealed", self.label));
        Ok(())
    }

    /// Writes what is in the image in the form that was asked for.
    fn convert(&self, image: &Image, out: &mut dyn Write, environment: &Environment) -> Result<Dumped, DumpError> {
        let progress = &environment.progress;
        let cancelled = || progress.is_cancelled();
        let _phase = Phase::begin(progress, "writing rows", None);
        let table = self.table.as_deref();
        let dumped = match self.format {
            ExtractFormat::Sqlite => copy(image, out).map(|()| Dumped::default()),
            ExtractFormat::Sql => dump_sql(image, table, out, &cancelled),
            ExtractFormat::Jsonl => dump_rows(image, table, &mut Lines { out, begin: String::new() }, &cancelled),
            ExtractFormat::Csv => {
                let only = table.map_or_else(|| only_table(image, &cancelled), |table| Ok(table.to_owned()))?;
                dump_rows(image, Some(&only), &mut Cells { out, sheet: Sheet::default() }, &cancelled)
            }
        }?;
        out.flush().map_err(DumpError::Write)?;
        Ok(dumped)
    }

    fn of_dump(&self, error: DumpError, path: Option<&Path>) -> Failure {
        match (error, path) {
            (DumpError::Write(source), Some(path)) => FileError::io("write", path)(source).into(),
            (DumpError::Write(source), None) => Failure::RowsUnwritten { source },
            (DumpError::Scratch(source), _) => Failure::Scratch { source },
            (source, _) => Failure::Dump { label: self.label.clone(), source },
        }
    }
}

/// Is given pieces of the database, each with its offset.
type Take<'t> = &'t mut dyn FnMut(u64, &[u8]) -> Result<(), Failure>;

/// Takes the one entry that is read.
struct Taker<'t> {
    take: Take<'t>,
    offset: u64,
    is_complete: bool,
}

enum TakerError {
    Bundle(BundleError),
    Taker(Failure),
}

impl From<BundleError> for TakerError {
    fn from(error: BundleError) -> TakerError {
        TakerError::Bundle(error)
    }
}

impl EntrySink for Taker<'_> {
    type Error = TakerError;

    fn begin(&mut self, _: &Entry) -> Result<(), TakerError> {
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TakerError> {
        (self.take)(self.offset, bytes).map_err(TakerError::Taker)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<(), TakerError> {
        self.is_complete = true;
        Ok(())
    }
}

fn copy(image: &Image, out: &mut dyn Write) -> Result<(), DumpError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut offset = 0;
    loop {
        let count = image.read_at(offset, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        out.write_all(&buffer[..count]).map_err(DumpError::Write)?;
        offset += count as u64;
    }
}

/// Rows as lines of JSON.
struct Lines<'o> {
    out: &'o mut dyn Write,
    begin: String,
}

impl RowTaker for Lines<'_> {
    fn table(&mut self, name: &str, _: &[String]) -> io::Result<()> {
        self.begin = format!("{{\"table\":{},\"row\":", Value::from(name));
        Ok(())
    }

    fn row(&mut self, json: &str) -> io::Result<()> {
        self.out.write_all(format!("{}{json}}}\n", self.begin).as_bytes())
    }
}

/// Rows as lines of cells.
struct Cells<'o> {
    out: &'o mut dyn Write,
    sheet: Sheet,
}

impl RowTaker for Cells<'_> {
    fn table(&mut self, _: &str, columns: &[String]) -> io::Result<()> {
        let head = self.sheet.head(columns.to_vec(), None);
        self.out.write_all(head.as_bytes())
    }

    fn row(&mut self, json: &str) -> io::Result<()> {
        let line = self.sheet.line(None, json).ok_or_else(|| io::Error::other("a row has other columns than its table"))?;
        self.out.write_all(line.as_bytes())
    }
}

const BUFFER_BYTES: usize = 256 << 10;
