//! Compare: what differs between a bundle and another one, or the live databases. Nothing is written but scratch, and nothing recorded.
//!
//! The quick way is the manifests alone: what has the same schema and the same logical hashes is the same. Only sources for which that is not
//! known are taken out of the bundles, verified as for a restore in place.

mod files;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::in_place::{scratch_in, snapshots};
use super::progress::{go_on, heed};
use super::{Environment, Facts, Failure, inspect};
use crate::bundle::{BundleError, Keyring, Label, Manifest, Source};
use crate::config::{Config, SourceConfig};
use crate::database::{
    Access, Capture, CaptureOptions, CheckKind, Compared, Connection, ContentChanges, ContentError, DatabaseError, Image, PagePreference,
    Sides, TableHash, content_changes,
};

pub use files::ComparedFiles;

/// A request to compare.
#[derive(Debug, Clone)]
pub struct Compare {
    /// The bundle that is the first side.
    pub first: PathBuf,
    /// The second side.
    pub second: Against,
    /// Which sources, all if empty.
    pub labels: Vec<Label>,
    /// The vault, whose files are in no set, else the one of the configuration.
    pub vault: Option<PathBuf>,
    /// Where encrypted scratch goes, else `/var/tmp`.
    pub scratch: Option<PathBuf>,
    /// How long to wait for a lock.
    pub busy_timeout: Duration,
}

/// What a bundle is compared with.
#[derive(Debug, Clone)]
pub enum Against {
    /// Another bundle.
    Bundle(PathBuf),
    /// What is there now: databases where the configuration says, else where each was captured; plain files where it says.
    Live(Option<Arc<Config>>),
}

/// In what the two sides differ.
#[derive(Debug)]
pub struct CompareReport {
    /// The first bundle.
    pub first: Facts,
    /// The second; nothing for live databases.
    pub second: Option<Facts>,
    /// The databases of either side, by label.
    pub sources: Vec<ComparedSource>,
    /// The sets of plain files of either side, by label.
    pub files: Vec<ComparedFiles>,
    /// What somebody should know.
    pub warnings: Vec<String>,
}

/// A source of either side.
#[derive(Debug, Clone)]
pub struct ComparedSource {
    /// Its label.
    pub label: Label,
    /// The live database.
    pub path: Option<PathBuf>,
    /// Which side has it.
    pub sides: Sides,
    /// In what it differs; nothing where only one side has it.
    pub changes: ContentChanges,
}

impl ComparedSource {
    /// Whether both sides have it, and nothing in it differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.sides == Sides::Both && self.changes.is_empty()
    }
}

impl CompareReport {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.sources.iter().all(ComparedSource::is_same) && self.files.iter().all(ComparedFiles::is_same)
    }
}

impl Compare {
    /// A request with the defaults: all sources.
    pub fn new(first: impl Into<PathBuf>, second: Against) -> Compare {
        Compare { first: first.into(), second, labels: Vec::new(), vault: None, scratch: None, busy_timeout: Duration::from_secs(5) }
    }

    /// Compares.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(&self, ring: &Keyring, environment: &mut Environment) -> Result<CompareReport, Failure> {
        let progress = Arc::clone(&environment.progress);
        heed(&progress, self.compare(ring, environment))
    }

    fn compare(&self, ring: &Keyring, environment: &mut Environment) -> Result<CompareReport, Failure> {
        let first = inspect(&self.first, ring)?;
        let known = manifest_of(&first)?.clone();
        let (sources, files, warnings, second) = match &self.second {
            Against::Bundle(path) => {
                let second = inspect(path, ring)?;
                let others = manifest_of(&second)?.clone();
                self.require_labels(known.labels().chain(others.labels()))?;
                let sources = self.bundles(&known.sources, path, &others.sources, ring, environment)?;
                (sources, files::compare(files::sealed(&known.files), files::sealed(&others.files), &self.labels), Vec::new(), Some(second))
            }
            Against::Live(config) => {
                let (config, mut now, mut warnings) = (config.as_deref(), Vec::new(), Vec::new());
                let there: Vec<Label> = config.iter().flat_map(|config| &config.sources).flat_map(SourceConfig::labels).collect();
                self.require_labels(known.labels().chain(&there))?;
                let (sources, elsewhere) = self.live(&known, config, ring, environment)?;
                if let Some(config) = config {
                    let vault = self.vault.clone().unwrap_or_else(|| config.vault_or_default());
                    (now, warnings) = files::live(config, &vault, &self.labels, self.scratch.as_deref(), environment)?;
                }
                warnings.extend(elsewhere);
                (sources, files::compare(files::sealed(&known.files), now, &self.labels), warnings, None)
            }
        };
        go_on(&environment.progress)?;
        Ok(CompareReport { first, second, sources, files, warnings })
    }

    /// A label that neither side knows is a typing error.
    fn require_labels<'l>(&self, known: impl Iterator<Item = &'l Label>) -> Result<(), Failure> {
        let known: BTreeSet<&Label> = known.collect();
        match self.labels.iter().find(|label| !known.contains(label)) {
            Some(unknown) => Err(Failure::NoLabel { label: unknown.clone(), has: known.iter().map(ToString::to_string).collect() }),
            None => Ok(()),
        }
    }

    /// The labels that are compared, of those that there are.
    fn chosen(&self, there: BTreeSet<Label>) -> Vec<Label> {
        there.into_iter().filter(|label| self.labels.is_empty() || self.labels.contains(label)).collect()
    }

    fn bundles(
        &self,
        firsts: &[Source],
        path: &Path,
        seconds: &[Source],
        ring: &Keyring,
        environment: &mut Environment,
    ) -> Result<Vec<ComparedSource>, Failure> {
        let chosen = self.chosen(firsts.iter().chain(seconds).map(|source| source.label.clone()).collect());
        let pair = |label: &Label| (of(firsts, label), of(seconds, label));
        let is_open = |label: &&Label| matches!(pair(label), (Some(one), Some(other)) if !is_known_to_be_same(one, other));
        let open: Vec<Label> = chosen.iter().filter(is_open).cloned().collect();
        let ours = self.take(&self.first, &open, ring, environment)?;
        let theirs = self.take(path, &open, ring, environment)?;
        let compare = |label: Label| {
            let (sides, changes) = match pair(&label) {
                (Some(_), None) => (Sides::First, ContentChanges::default()),
                (None, _) => (Sides::Second, ContentChanges::default()),
                (Some(one), Some(_)) => match (image_of(&ours, &label), image_of(&theirs, &label)) {
                    (Some(first), Some(second)) => {
                        let (first, second) = (open_image(&label, first)?, open_image(&label, second)?);
                        (Sides::Both, self.changes(&label, &compared(first.0, &first.1), &compared(second.0, &second.1), environment)?)
                    }
                    _ => (Sides::Both, ContentChanges { same_tables: one.tables.len() as u64, ..ContentChanges::default() }),
                },
            };
            Ok(ComparedSource { label, path: None, sides, changes })
        };
        chosen.into_iter().map(compare).collect()
    }

    fn live(
        &self,
        manifest: &Manifest,
        config: Option<&Config>,
        ring: &Keyring,
        environment: &mut Environment,
    ) -> Result<(Vec<ComparedSource>, Vec<String>), Failure> {
        let sources = &manifest.sources;
        let places: BTreeMap<Label, PathBuf> =
            config.iter().flat_map(|config| &config.sources).flat_map(|source| source.expand().found).collect();
        let there = places.iter().filter(|(_, path)| path.exists()).map(|(label, _)| label.clone());
        let chosen = self.chosen(sources.iter().map(|source| source.label.clone()).chain(there).collect());
        let configured = |source: &Source| config?.place_of(&source.label);
        // An old backup that was adopted tells where that file was, and not where a database is.
        let captured = |source: &Source| source.imported.is_none().then(|| PathBuf::from(&source.path));
        let place = |source: &Source| configured(source).or_else(|| captured(source));
        // What cannot be looked at is not gone: reading it tells why.
        let is_here = |label: &&Label| of(sources, label).and_then(place).is_some_and(|path| !matches!(path.try_exists(), Ok(false)));
        let here: Vec<Label> = chosen.iter().filter(is_here).cloned().collect();
        let images = self.take(&self.first, &here, ring, environment)?;
        let mut compared = Vec::new();
        for label in chosen {
            let Some(source) = of(sources, &label) else {
                let path = places.get(&label).cloned();
                compared.push(ComparedSource { label, path, sides: Sides::Second, changes: ContentChanges::default() });
                continue;
            };
            let path = place(source);
            let changes = match (image_of(&images, &label), &path) {
                (Some(image), Some(path)) => self.live_changes(image, path, environment)?,
                _ => None,
            };
            let sides = if changes.is_some() { Sides::Both } else { Sides::First };
            compared.push(ComparedSource { label, path, sides, changes: changes.unwrap_or_default() });
        }
        let (there, here) = (&manifest.host.name, &environment.host.name);
        let elsewhere = compared
            .iter()
            .filter(|source| source.sides != Sides::Second && config.is_none_or(|config| config.place_of(&source.label).is_none()));
        let warn = |source: &ComparedSource| format!("{} was captured on '{there}', and this is '{here}'", source.label);
        let warnings = if there == here { Vec::new() } else { elsewhere.map(warn).collect() };
        Ok((compared, warnings))
    }

    /// Compares a snapshot with a live database; nothing if that is not there.
    fn live_changes(&self, taken: &Taken, path: &Path, environment: &Environment) -> Result<Option<ContentChanges>, Failure> {
        let label = &taken.0.label;
        let refused = |source| Failure::NotLive { label: label.clone(), source };
        let (clock, progress) = (environment.clock, Arc::clone(&environment.progress));
        let space = scratch_in(self.scratch.as_deref());
        let options = CaptureOptions {
            check: CheckKind::None,
            busy_timeout: self.busy_timeout,
            accept_corrupt: true,
            scratch: &space,
            pages: PagePreference::Auto,
            hash_tables: false,
            watched: &[],
            clock: &clock,
            cancelled: &|| progress.is_cancelled(),
        };
        let capture = match Capture::begin(path, &options) {
            Err(DatabaseError::Missing { .. }) => return Ok(None),
            other => other.map_err(refused)?,
        };
        let snapshot = open_image(label, taken)?;
        let live = Compared { connection: capture.connection(), known: BTreeMap::new() };
        let changes = self.changes(label, &compared(snapshot.0, &snapshot.1), &live, environment)?;
        capture.finish().map_err(refused)?;
        Ok(Some(changes))
    }

    fn changes(
        &self,
        label: &Label,
        first: &Compared<'_>,
        second: &Compared<'_>,
        environment: &Environment,
    ) -> Result<ContentChanges, Failure> {
        let progress = Arc::clone(&environment.progress);
        let changes = content_changes(first, second, &scratch_in(self.scratch.as_deref()), &|| progress.is_cancelled());
        let changes = changes.map_err(|source| Failure::NotCompared { label: label.clone(), source })?;
        progress.note(&format!("compared {label}"));
        Ok(changes)
    }

    fn take(&self, bundle: &Path, labels: &[Label], ring: &Keyring, environment: &mut Environment) -> Result<Vec<Taken>, Failure> {
        if labels.is_empty() {
            return Ok(Vec::new());
        }
        snapshots(bundle, labels, self.scratch.clone(), ring, environment).map_err(|failure| match failure {
            Failure::Damaged { path, source, .. } => Failure::ComparedDamaged { path, source },
            other => other,
        })
    }
}

/// A verified snapshot in scratch.
type Taken = (Source, Image);

fn manifest_of(facts: &Facts) -> Result<&Manifest, Failure> {
    let no_key = || Failure::Bundle { path: facts.path.clone(), source: BundleError::KeyRejected };
    facts.manifest.as_ref().ok_or_else(no_key)
}

fn of<'s>(sources: &'s [Source], label: &Label) -> Option<&'s Source> {
    sources.iter().find(|source| source.label == *label)
}

fn image_of<'t>(taken: &'t [Taken], label: &Label) -> Option<&'t Taken> {
    taken.iter().find(|(source, _)| source.label == *label)
}

fn open_image<'t>(label: &Label, taken: &'t Taken) -> Result<(&'t Source, Connection), Failure> {
    let opened = taken.1.open(Access::ReadOnly).map_err(ContentError::from);
    let failed = |source| Failure::NotCompared { label: label.clone(), source };
    Ok((&taken.0, opened.map_err(failed)?))
}

fn compared<'c>(source: &Source, connection: &'c Connection) -> Compared<'c> {
    let known = source.tables.iter().filter_map(|table| {
        let logical = table.logical.as_ref()?;
        Some((table.name.clone(), TableHash { columns: logical.columns.clone(), rows: logical.rows, sha256: logical.sha256.0 }))
    });
    Compared { connection, known: known.collect() }
}

/// Whether the manifests alone say that the content is the same.
fn is_known_to_be_same(one: &Source, other: &Source) -> bool {
    let is_same_file = one.sha256 == other.sha256;
    let has_hashes = one.schema.is_some() && one.tables.iter().all(|table| table.logical.is_some());
    let is_same_content = one.schema == other.schema
        && one.tables == other.tables
        && one.application_id == other.application_id
        && one.user_version == other.user_version;
    is_same_file || (has_hashes && is_same_content)
}
