//! The bundle's side: one pass at L3, in which the chosen databases go into encrypted scratch and are examined there (L4).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::{InPlace, ReadyImage};
use crate::bundle::{
    BundleError, Entry, EntryPath, EntrySink, Examination, Front, Keyring, Label, Level, Manifest, Medium as _, Source, read_front,
};
use crate::crypto::Entropy as _;
use crate::database::{Image, examine};
use crate::files::{ScratchError, ScratchSpace};
use crate::ops::progress::{Phase, Progress, Watched, go_on};
use crate::ops::verify::{open_bundle, require_signer, unlock_with_manifest};
use crate::ops::verify_database::{DatabaseProof, SCRATCH, expected};
use crate::ops::{Environment, Failure, OsEntropy};

/// What came out of the bundle.
pub(super) struct Taken {
    pub(super) front: Front,
    pub(super) manifest: Manifest,
    pub(super) images: Vec<ReadyImage>,
    /// How long that took.
    pub(super) seconds: f64,
}

/// Where encrypted scratch goes.
pub(super) fn scratch_space(request: &InPlace) -> ScratchSpace {
    scratch_in(request.scratch.as_deref())
}

/// Where encrypted scratch of somebody who only reads goes.
pub(in crate::ops) fn scratch_in(folder: Option<&Path>) -> ScratchSpace {
    ScratchSpace::new(folder.unwrap_or(Path::new(SCRATCH)), |bytes: &mut [u8]| OsEntropy.fill(bytes))
}

/// Takes snapshots out of a bundle for somebody who only reads them, those too that were corrupt when they were captured.
pub(in crate::ops) fn snapshots(
    bundle: &Path,
    labels: &[Label],
    scratch: Option<PathBuf>,
    ring: &Keyring,
    environment: &mut Environment,
) -> Result<Vec<(Source, Image)>, Failure> {
    let request = InPlace { labels: labels.to_vec(), scratch, accept_corrupt: true, ..InPlace::new(bundle) };
    Ok(take_to(&request, |_| Ok(PathBuf::new()), ring, environment)?.images.into_iter().map(|ready| (ready.source, ready.image)).collect())
}

/// Takes the chosen databases out of the bundle, all of it verified.
pub(super) fn take(request: &InPlace, ring: &Keyring, environment: &mut Environment) -> Result<Taken, Failure> {
    take_to(request, |source| place_of(request, source), ring, environment)
}

fn take_to(
    request: &InPlace,
    place_of: impl Fn(&Source) -> Result<PathBuf, Failure>,
    ring: &Keyring,
    environment: &mut Environment,
) -> Result<Taken, Failure> {
    let progress = Arc::clone(&environment.progress);
    let failure = |source| Failure::Bundle { path: request.bundle.clone(), source };
    let file = open_bundle(&request.bundle)?;
    let medium = Watched::new(&file, &progress);
    let phase = Phase::begin(&progress, "verifying", medium.length().ok());
    let mut front = read_front(&medium).map_err(failure)?;
    if request.expected.is_some_and(|expected| expected != front.core.id) {
        return Err(Failure::OtherBundle { path: request.bundle.clone() });
    }
    let (mut unlocked, manifest) = unlock_with_manifest(&request.bundle, &medium, &front, ring)?;
    let begun = Instant::now(); // deriving keys says nothing about how fast bytes go
    let mut sink = Images {
        sources: choose(request, &manifest)?
            .into_iter()
            .map(|source| Ok((source.clone(), place_of(source)?)))
            .collect::<Result<_, Failure>>()?,
        sqlite: &manifest.tool.sqlite,
        space: scratch_space(request),
        progress: &progress,
        current: None,
        done: Vec::new(),
    };
    let examination = Examination::new(&medium, &mut front, Some(&mut unlocked), Level::Content, environment.workers, &mut sink);
    let outcome = examination.run().map_err(|error| match error {
        ImagesError::Bundle(source) => failure(source),
        ImagesError::Scratch(source) => Failure::Scratch { source },
    })?;
    let Images { done, .. } = sink;
    drop(phase);
    go_on(&progress)?;
    require_signer(&request.bundle, &request.signers, &front.core, outcome.is_signed)?;
    if let Some(first) = outcome.findings.into_iter().next() {
        let whole = done.iter().map(|(ready, _)| ready.source.label.clone()).collect();
        return Err(Failure::Damaged {
            path: request.bundle.clone(),
            source: first.damage,
            whole,
            has_several: manifest.sources.len() > 1,
        });
    }
    for (ready, proof) in &done {
        require_sound(request, ready, proof)?;
    }
    progress.note("verified, L4");
    let images = done.into_iter().map(|(ready, _)| ready).collect();
    Ok(Taken { front, manifest, images, seconds: begun.elapsed().as_secs_f64() })
}

/// Refuses snapshots that are not what the manifest says, or that were corrupt when they were captured.
fn require_sound(request: &InPlace, ready: &ReadyImage, proof: &DatabaseProof) -> Result<(), Failure> {
    let label = ready.source.label.clone();
    if !proof.is_sound() {
        let first = proof.corruption.first().cloned().or_else(|| proof.differences.first().map(ToString::to_string));
        return Err(Failure::Unsound { label, what: first.unwrap_or_else(|| "rows break rules of its schema".to_owned()) });
    }
    match proof.was_corrupt && !request.accept_corrupt {
        true => Err(Failure::CorruptSnapshot { label }),
        false => Ok(()),
    }
}

fn choose<'m>(request: &InPlace, manifest: &'m Manifest) -> Result<Vec<&'m Source>, Failure> {
    for label in &request.labels {
        if manifest.files.iter().any(|set| set.label == *label) {
            return Err(Failure::OnlyInto { label: label.clone() });
        }
        if !manifest.sources.iter().any(|source| source.label == *label) {
            let has = manifest.labels().map(ToString::to_string).collect();
            return Err(Failure::NoLabel { label: label.clone(), has });
        }
    }
    let is_chosen = |source: &&Source| request.labels.is_empty() || request.labels.contains(&source.label);
    let chosen: Vec<&Source> = manifest.sources.iter().filter(is_chosen).collect();
    if request.onto.is_some() && chosen.len() != 1 {
        return Err(Failure::SeveralOntoOne { labels: chosen.iter().map(|source| source.label.to_string()).collect() });
    }
    Ok(chosen)
}

/// Where a snapshot goes. An old backup that was adopted tells where that file was, which is no place for a live database; and of a path that was
/// not UTF-8 the manifest has something that looks like it, where another file may be.
fn place_of(request: &InPlace, source: &Source) -> Result<PathBuf, Failure> {
    let known = || request.places.iter().find(|(label, _)| *label == source.label).map(|(_, place)| place.clone());
    let configured = || request.config.as_ref()?.place_of(&source.label);
    match (request.onto.clone().or_else(known).or_else(configured), &source.imported) {
        (Some(place), _) => Ok(place),
        (None, None) if source.path.contains(char::REPLACEMENT_CHARACTER) => {
            Err(Failure::UnclearPlace { label: source.label.clone(), path: source.path.clone() })
        }
        (None, None) => Ok(source.path.clone().into()),
        (None, Some(imported)) => Err(Failure::NoPlace { label: source.label.clone(), file: imported.file.clone() }),
    }
}

/// Takes chosen databases into scratch, one after the other.
struct Images<'i> {
    sources: Vec<(Source, PathBuf)>,
    sqlite: &'i str,
    space: ScratchSpace,
    progress: &'i Arc<dyn Progress>,
    current: Option<(ReadyImage, u64)>,
    done: Vec<(ReadyImage, DatabaseProof)>,
}

enum ImagesError {
    Bundle(BundleError),
    Scratch(ScratchError),
}

impl From<BundleError> for ImagesError {
    fn from(error: BundleError) -> ImagesError {
        ImagesError::Bundle(error)
    }
}

impl EntrySink for Images<'_> {
    type Error = ImagesError;

    fn begin(&mut self, entry: &Entry) -> Result<(), ImagesError> {
        self.current = None;
        let EntryPath::Database(label) = &entry.path else { return Ok(()) };
        let Some((source, target)) = self.sources.iter().find(|(source, _)| source.label == *label) else { return Ok(()) };
        let image = Image::create(&self.space, entry.size).map_err(ImagesError::Scratch)?;
        self.current = Some((ReadyImage { source: source.clone(), image, target: target.clone() }, 0));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ImagesError> {
        let Some((ready, offset)) = &mut self.current else { return Ok(()) };
        ready.image.write_at(*offset, bytes).map_err(ImagesError::Scratch)?;
        *offset += bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self) -> Result<(), ImagesError> {
        let Some((ready, _)) = self.current.take() else { return Ok(()) };
        let found = examine(&ready.image, &expected(&ready.source), &|| self.progress.is_cancelled()).map_err(ImagesError::Scratch)?;
        let proof = DatabaseProof::of(&ready.source, self.sqlite, found);
        self.done.push((ready, proof));
        Ok(())
    }
}
