//! Seal: from live sources to the bytes of one bundle in a file without a name, and back again to see that they are there.

use std::io::BufWriter;
use std::sync::Arc;

use super::continuity::{TableHistory, watched_in};
use super::cut::Cut;
use super::progress::{Phase, Progress, Watched};
use super::record::{Captured, source_record, tool};
use super::{Backup, Environment, Failure, SourceSpec};
use crate::bundle::{
    BundleError, BundleWriter, CapsuleRef, EntryPath, Examination, Imported, Keyring, Label, Level, MANIFEST_FORMAT, Manifest, Medium as _,
    Nowhere, PublicCore, Sealed, Sealing, SourceGap, read_front, unlock,
};
use crate::crypto::{Digest, Entropy, SigningKey};
use crate::database::{Capture, CaptureOptions, Continuity, DatabaseError, Moment, SourceFacts};
use crate::files::{NewFile, Scratch, ScratchSpace, Writeback};

/// All that is decided before the first source is captured.
pub(super) struct Sealer<'s> {
    /// What was asked for.
    pub(super) backup: &'s Backup,
    /// The bundle's public core.
    pub(super) core: &'s PublicCore,
    /// Keys, each of which becomes a slot.
    pub(super) ring: &'s Keyring,
    /// The key of the signer that the core names.
    pub(super) signer: Option<&'s SigningKey>,
    /// What is known of append-only tables.
    pub(super) histories: &'s [TableHistory],
    /// Where sources come from.
    pub(super) origin: &'s dyn Origin,
}

/// What the operator will be told of the sources.
#[derive(Default)]
pub(super) struct Told {
    pub(super) warnings: Vec<String>,
    /// What is not in the bundle, or not as it should be.
    pub(super) missing: Vec<String>,
}

/// Where the sources of a bundle come from.
pub(super) trait Origin {
    /// Fixes the moment of a source.
    fn capture<'c>(&'c self, spec: &SourceSpec, options: &CaptureOptions<'_>) -> Result<Capture<'c>, DatabaseError>;

    /// What a restore takes away from it, with the rows.
    fn gap(&self, _label: &Label) -> Option<(&SourceGap, &Scratch)> {
        None
    }

    /// The old backup that it was adopted from.
    fn imported(&self, _label: &Label) -> Option<Imported> {
        None
    }
}

/// Databases that others use meanwhile.
pub(super) struct LiveFiles;

impl Origin for LiveFiles {
    fn capture<'c>(&'c self, spec: &SourceSpec, options: &CaptureOptions<'_>) -> Result<Capture<'c>, DatabaseError> {
        Capture::begin(&spec.path, options)
    }
}

/// A bundle that was written and has no name yet.
pub(super) struct SealedBundle {
    pub(super) sealed: Sealed<()>,
    pub(super) manifest: Manifest,
    /// What became of the append-only tables, by source.
    pub(super) found: Vec<(Label, String, Continuity)>,
    /// What the operator should know of the sources.
    pub(super) warnings: Vec<String>,
}

impl Sealer<'_> {
    /// Captures all sources and writes the whole bundle.
    pub(super) fn seal(&self, new: &NewFile, environment: &mut Environment) -> Result<SealedBundle, Failure> {
        let begun = std::time::Instant::now();
        let file = new.file().try_clone().map_err(|source| self.seal_failure(BundleError::Write { source }))?;
        let (clock, progress) = (environment.clock, Arc::clone(&environment.progress));
        let scratch = self.scratch_space();
        let options = CaptureOptions {
            check: self.backup.check,
            busy_timeout: self.backup.busy_timeout,
            accept_corrupt: self.backup.accept_corrupt,
            scratch: &scratch,
            pages: self.backup.pages,
            hash_tables: self.backup.hash_tables,
            watched: &[],
            clock: &clock,
            cancelled: &|| progress.is_cancelled(),
        };
        // Frames are large; the buffer gathers their headers and padding.
        let out = BufWriter::with_capacity(64 << 10, Writeback::new(file));
        let sealing = Sealing { ring: self.ring, signer: self.signer, compression: self.backup.compression, workers: environment.workers };
        let writer = BundleWriter::start(out, self.core, sealing, &mut *environment.entropy);
        let mut writer = writer.map_err(|source| self.seal_failure(source))?;
        let (mut sources, mut found, mut told) = (Vec::new(), Vec::new(), Told::default());
        let mut cut = Cut::default();
        for spec in &self.backup.sources {
            self.cut_group(spec, &options, &mut cut, &mut told)?;
            if cut.is_without(spec) {
                continue;
            }
            let watched = watched_in(spec, &self.backup.append_only, self.histories);
            let options = CaptureOptions { watched: &watched, ..options };
            let Some(captured) = self.capture(spec, &options, &progress, &mut writer, &mut told.missing, cut.take(spec))? else {
                continue;
            };
            found.extend(captured.facts.continuity.iter().map(|(table, found)| (spec.label.clone(), table.clone(), found.clone())));
            told.warnings.extend(captured.facts.warnings.iter().map(|warning| format!("{}: {warning}", spec.label)));
            let unmet = captured.asserted.iter().filter(|asserted| asserted.holds != Some(true));
            told.missing.extend(unmet.map(|asserted| format!("{}: {asserted}", spec.label)));
            let consistency = self.group_of(&spec.label).map_or_else(|| "independent".to_owned(), |group| format!("group:{}", group.name));
            sources.push(source_record(&spec.label, consistency, captured));
        }
        let files = self.add_files(&mut writer, clock, &progress, &mut told)?;
        let is_anything_wanted = !self.backup.sources.is_empty() || !self.backup.files.is_empty();
        if sources.is_empty() && files.is_empty() && is_anything_wanted {
            return Err(Failure::NothingCaptured);
        }
        let manifest = Manifest {
            format: MANIFEST_FORMAT.to_owned(),
            bundle: self.core.id,
            host: environment.host.clone(),
            tool: tool(),
            started_at: self.core.created_at.clone(),
            duration_ms: begun.elapsed().as_millis() as u64,
            tag: self.backup.tag.clone(),
            note: self.backup.note.clone(),
            sources,
            files,
        };
        let (out, sealed) = writer.seal(manifest.encode()).map_err(|source| self.seal_failure(source))?.split();
        let flushed = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(Writeback::finish);
        flushed.map_err(|source| self.seal_failure(BundleError::Write { source }))?;
        environment.shortfalls.extend(told.missing);
        Ok(SealedBundle { sealed, manifest, found, warnings: told.warnings })
    }

    fn capture<W: std::io::Write>(
        &self,
        spec: &SourceSpec,
        options: &CaptureOptions<'_>,
        progress: &Arc<dyn Progress>,
        writer: &mut BundleWriter<'_, W>,
        missing: &mut Vec<String>,
        moment: Option<Moment<'_>>,
    ) -> Result<Option<Captured>, Failure> {
        let of_source = |source| Failure::Source { label: spec.label.clone(), source };
        let examining = Phase::begin(progress, &format!("examining {}", spec.label), None);
        let begun = moment.map_or_else(|| self.origin.capture(spec, options), |moment| moment.examine(options));
        let mut capture = match begun {
            // Nothing of it was written yet; what fails later fails the bundle.
            Err(error) if self.backup.optional.contains(&spec.label) && !progress.is_cancelled() => {
                missing.push(format!("source '{}' is not in this bundle: {error}", spec.label));
                return Ok(None);
            }
            captured => captured.map_err(of_source)?,
        };
        drop(examining);
        let facts = capture.facts().clone();
        let demanded = self.backup.assertions.iter().filter(|(label, _)| *label == spec.label);
        let asserted = demanded.map(|(_, assertion)| assertion.ask(capture.connection(), facts.size_bytes, options.cancelled)).collect();
        progress.note(&captured_note(&spec.label, &facts));
        let sealing = Phase::begin(progress, &format!("sealing {}", spec.label), Some(facts.size_bytes));
        writer.begin(EntryPath::Database(spec.label.clone()), facts.size_bytes).map_err(|source| self.seal_failure(source))?;
        let copied = capture.write_image::<CopyError>(&mut |pages| {
            if progress.is_cancelled() {
                return Err(CopyError::Seal(BundleError::Cancelled));
            }
            progress.advance(pages.len() as u64);
            writer.write(pages).map_err(CopyError::Seal)
        });
        copied.map_err(|error| match error {
            CopyError::Seal(source) => self.seal_failure(source),
            CopyError::Capture(source) => of_source(source),
        })?;
        let sha256 = writer.end().map_err(|source| self.seal_failure(source))?;
        capture.finish().map_err(of_source)?;
        drop(sealing);
        let schema_sha256 = match &facts.schema {
            Some(schema) => {
                Some(writer.add(EntryPath::Schema(spec.label.clone()), schema.sql.as_bytes()).map_err(|source| self.seal_failure(source))?)
            }
            None => None,
        };
        let gap = self.origin.gap(&spec.label).map(|(gap, rows)| self.add_capsule(&spec.label, gap, rows, writer)).transpose()?;
        Ok(Some(Captured { facts, sha256, schema_sha256, gap, imported: self.origin.imported(&spec.label), asserted }))
    }

    /// Adds the rows that a restore takes away, if there are any.
    fn add_capsule<W: std::io::Write>(
        &self,
        label: &Label,
        gap: &SourceGap,
        rows: &Scratch,
        writer: &mut BundleWriter<'_, W>,
    ) -> Result<SourceGap, Failure> {
        let mut gap = gap.clone();
        if rows.is_empty() {
            return Ok(gap);
        }
        let sha256 = self.add_scratch(EntryPath::Capsule(label.clone()), rows, writer)?;
        gap.capsule = Some(CapsuleRef { sha256, size_bytes: rows.len() });
        Ok(gap)
    }

    /// Adds an entry whose content stands in scratch; gives its digest.
    pub(super) fn add_scratch<W: std::io::Write>(
        &self,
        path: EntryPath,
        content: &Scratch,
        writer: &mut BundleWriter<'_, W>,
    ) -> Result<Digest, Failure> {
        let seal_failure = |source| self.seal_failure(source);
        writer.begin(path, content.len()).map_err(seal_failure)?;
        let (mut buffer, mut offset) = (vec![0; PIECE_BYTES], 0);
        while offset < content.len() {
            let count = content.read_at(offset, &mut buffer).map_err(|source| Failure::Scratch { source })?;
            writer.write(&buffer[..count]).map_err(seal_failure)?;
            offset += count as u64;
        }
        writer.end().map_err(seal_failure)
    }

    /// Reads the bundle back from the medium, and verifies it.
    pub(super) fn read_back(&self, new: &NewFile, environment: &Environment) -> Result<Level, Failure> {
        let failure = |source| Failure::ReadBack { vault: self.backup.vault.clone(), source };
        new.evict();
        let progress = &environment.progress;
        let medium = Watched::new(new.file(), progress);
        let _phase = Phase::begin(progress, "reading back", medium.length().ok());
        let mut front = read_front(&medium).map_err(failure)?;
        let mut unlocked = unlock(&medium, &front, self.ring).map_err(failure)?;
        let mut sink = Nowhere;
        let examination = Examination::new(&medium, &mut front, Some(&mut unlocked), Level::Content, environment.workers, &mut sink);
        examination.run().and_then(|outcome| outcome.into_result()).map_err(failure)?;
        progress.note("read back and verified, L3");
        Ok(Level::Content)
    }

    pub(super) fn scratch_space(&self) -> ScratchSpace {
        let folder = self.backup.scratch.as_deref().unwrap_or(&self.backup.vault);
        ScratchSpace::new(folder, |bytes: &mut [u8]| super::OsEntropy.fill(bytes))
    }

    fn seal_failure(&self, source: BundleError) -> Failure {
        Failure::Seal { vault: self.backup.vault.clone(), source }
    }
}

const PIECE_BYTES: usize = 256 << 10;

/// Which side of the copy failed.
enum CopyError {
    Capture(DatabaseError),
    Seal(BundleError),
}

impl From<DatabaseError> for CopyError {
    fn from(error: DatabaseError) -> CopyError {
        CopyError::Capture(error)
    }
}

fn captured_note(label: &Label, facts: &SourceFacts) -> String {
    format!(
        "captured {label}: {} bytes, by {} from {}, {} check: {}",
        facts.size_bytes, facts.pages, facts.route, facts.check.kind, facts.check.verdict
    )
}
