//! Verify: how much can be proven of a bundle, and what is hurt if it is not whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::progress::{Phase, Watched, heed};
use super::{Environment, Failure};
use crate::bundle::{
    BundleError, EntryPath, Examination, Finding, Front, Keyring, Label, Level, Manifest, Medium as _, Nowhere, PublicCore, SlotFacts,
    read_front, unlock,
};
use crate::crypto::Digest;
use crate::files::{FileError, Folder, open_regular};
use crate::vault::bundles_in;

/// How a bundle is to be verified.
#[derive(Debug, Clone, Copy, Default)]
pub struct VerifyRequest {
    /// The level, else the highest that the given keys reach.
    pub level: Option<Level>,
}

/// What verifying one bundle gave.
#[derive(Debug)]
pub struct Verification {
    /// Its path.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Its public core.
    pub core: PublicCore,
    /// Its key slots.
    pub slots: Vec<SlotFacts>,
    /// The level that was examined.
    pub level: Level,
    /// What is wrong; empty means proven to that level.
    pub findings: Vec<Finding>,
    /// Frames that were found.
    pub frames: u64,
    /// The seal digest, if it could be read.
    pub seal_sha256: Option<Digest>,
    /// The manifest, with a key and an intact index.
    pub manifest: Option<Manifest>,
}

impl Verification {
    /// Verifies one bundle.
    ///
    /// # Errors
    /// [`Failure::Bundle`] if it cannot be examined at all (front damaged, key rejected, unsupported), [`Failure::NoKey`].
    pub fn run(path: &Path, request: VerifyRequest, ring: &Keyring, environment: &Environment) -> Result<Verification, Failure> {
        heed(&environment.progress, Verification::examine(path, request, ring, environment))
    }

    fn examine(path: &Path, request: VerifyRequest, ring: &Keyring, environment: &Environment) -> Result<Verification, Failure> {
        let level = level_of(request.level, ring)?;
        let file = open_bundle(path)?;
        let medium = Watched::new(&file, &environment.progress);
        let _phase = Phase::begin(&environment.progress, "verifying", medium.length().ok());
        let failure = |source| Failure::Bundle { path: path.to_owned(), source };
        let mut front = read_front(&medium).map_err(failure)?;
        let unlocked = level.needs_key().then(|| unlock(&medium, &front, ring)).transpose();
        let mut unlocked = unlocked.map_err(failure)?;
        let mut sink = Nowhere;
        let examination = Examination::new(&medium, &mut front, unlocked.as_mut(), level, environment.workers, &mut sink);
        let outcome = examination.run().map_err(failure)?;
        let size_bytes = medium.length().map_err(FileError::io("look at", path))?;
        let manifest = unlocked.and_then(|unlocked| unlocked.manifest().cloned());
        environment.progress.note(&format!("verified '{}', {level}: {} findings", path.display(), outcome.findings.len()));
        let Front { core, slots, .. } = front;
        Ok(Verification {
            path: path.to_owned(),
            size_bytes,
            core,
            slots: slots.facts(),
            level,
            findings: outcome.findings,
            frames: outcome.frames,
            seal_sha256: outcome.seal_sha256,
            manifest,
        })
    }

    /// True if the bundle is proven to its level.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }

    /// Labels of the databases that findings hurt.
    pub fn hurt_databases(&self) -> Vec<Label> {
        let mut labels = Vec::new();
        for path in self.findings.iter().flat_map(|finding| &finding.entries) {
            if let Some(EntryPath::Database(label)) = EntryPath::parse(path)
                && !labels.contains(&label)
            {
                labels.push(label);
            }
        }
        labels
    }
}

/// The bundles that a path stands for: itself, or all of a folder by sequence.
///
/// # Errors
/// Nothing there, or no bundle in it.
pub fn bundles_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(Failure::NoBundle { path: path.to_owned() }),
        Ok(metadata) if metadata.is_dir() => {}
        _ => return Ok(vec![path.to_owned()]),
    }
    let resolved = path.canonicalize().map_err(FileError::io("open folder", path))?;
    let bundles: Vec<PathBuf> = bundles_in(&Folder::open(&resolved)?)?.into_iter().map(|bundle| path.join(bundle.name)).collect();
    match bundles.is_empty() {
        true => Err(Failure::EmptyVault { path: path.to_owned() }),
        false => Ok(bundles),
    }
}

pub(super) fn open_bundle(path: &Path) -> Result<File, Failure> {
    match open_regular(path) {
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            Err(Failure::NoBundle { path: path.to_owned() })
        }
        Err(FileError::NotRegular { path }) => Err(Failure::Bundle { path, source: BundleError::NotABundle }),
        other => Ok(other?),
    }
}

fn level_of(asked: Option<Level>, ring: &Keyring) -> Result<Level, Failure> {
    match asked {
        Some(level) if level.needs_key() && ring.is_empty() => Err(Failure::NoKey { level }),
        Some(level) => Ok(level),
        None if ring.is_empty() => Ok(Level::Sums),
        None => Ok(Level::Content),
    }
}
