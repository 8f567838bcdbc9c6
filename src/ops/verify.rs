//! Verify: how much can be proven of a bundle, and what is hurt if it is not whole.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::progress::{Phase, Watched, heed};
use super::recorder::{Note, record, subject};
use super::verify_database::{DatabaseProof, Examiner};
use super::verify_files::FilesProof;
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::{
    BundleError, Damage, EntryPath, Examination, Finding, Front, Keyring, Label, Level, Manifest, Medium as _, PublicCore,
    SignatureVerdict, SlotFacts, TrustedSigners, Unlocked, read_front, unlock,
};
use crate::crypto::{Digest, PublicKey};
use crate::files::{FileError, Folder, ScratchError, open_regular};
use crate::journal::{Event, Outcome};
use crate::vault::{bundles_in, known_generation};

/// How a bundle is to be verified.
#[derive(Debug, Clone, Default)]
pub struct VerifyRequest {
    /// The level, else the highest that the given keys and the space for scratch reach.
    pub level: Option<Level>,
    /// Who may have sealed it; with somebody pinned, a bundle that nobody of them signed is not sound.
    pub signers: TrustedSigners,
    /// Where encrypted scratch goes, else `/var/tmp`; L4 needs room for the largest database in it.
    pub scratch: Option<PathBuf>,
}

/// Who sealed a bundle, as far as that is known. Reported apart from the level.
#[derive(Debug, Clone, Copy)]
pub struct SealSignature {
    /// What to think of it.
    pub verdict: SignatureVerdict,
    /// The signer that the bundle names.
    pub signer: Option<PublicKey>,
    /// Whether that signer signed the key slots, too; after a change of keys by somebody else they are not signed.
    pub has_signed_slots: bool,
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
    /// Who sealed it.
    pub signature: SealSignature,
    /// False if somebody was pinned and did not seal it.
    pub has_right_signer: bool,
    /// The manifest, with a key and an intact index.
    pub manifest: Option<Manifest>,
    /// At L4: what was found in each database whose bytes are as sealed, in payload order.
    pub databases: Vec<DatabaseProof>,
    /// At L4: what was found in each archive of plain files whose bytes are as sealed.
    pub files: Vec<FilesProof>,
    /// Why L4 was not tried although no lower level was asked for.
    pub no_scratch: Option<ScratchError>,
}

impl Verification {
    /// Verifies one bundle.
    ///
    /// # Errors
    /// [`Failure::Bundle`] if it cannot be examined at all (front damaged, key rejected, unsupported), [`Failure::NoKey`],
    /// [`Failure::NoPinnedSigner`], [`Failure::Scratch`] if L4 was asked for and scratch lacks the room.
    pub fn run(path: &Path, request: &VerifyRequest, ring: &Keyring, environment: &Environment) -> Result<Verification, Failure> {
        heed(&environment.progress, Verification::examine(path, request, ring, environment))
    }

    fn examine(path: &Path, request: &VerifyRequest, ring: &Keyring, environment: &Environment) -> Result<Verification, Failure> {
        let mut level = request.level_with(ring)?;
        let file = open_bundle(path)?;
        let medium = Watched::new(&file, &environment.progress);
        let _phase = Phase::begin(&environment.progress, "verifying", medium.length().ok());
        let failure = |source| Failure::Bundle { path: path.to_owned(), source };
        let mut front = read_front(&medium).map_err(failure)?;
        let unlocked = level.needs_key().then(|| unlock(&medium, &front, ring)).transpose();
        let mut unlocked = unlocked.map_err(failure)?;
        let manifest = unlocked.as_ref().and_then(|unlocked| unlocked.manifest().cloned());
        let (mut sink, no_scratch) = Examiner::prepare(level, request, manifest.as_ref(), &environment.progress)?;
        if no_scratch.is_some() {
            level = Level::Content;
        }
        let examination = Examination::new(&medium, &mut front, unlocked.as_mut(), level, environment.workers, &mut sink);
        let mut outcome = examination.run().map_err(|error| error.into_failure(path))?;
        outcome.findings.extend(old_slots(path, &front));
        let size_bytes = medium.length().map_err(FileError::io("look at", path))?;
        let verdict = request.signers.judge(&front.core, outcome.is_signed);
        let signature = SealSignature { verdict, signer: front.core.signer, has_signed_slots: front.is_slots_signed };
        let (databases, files) = sink.into_proofs();
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
            has_right_signer: request.signers.accepts(verdict),
            signature,
            manifest,
            databases,
            files,
            no_scratch,
        })
    }

    /// Records it in the journal of the vault that the bundle lies in, if it lies in one.
    pub fn record(&self, place: Option<&SigningKeyPlace>, environment: &mut Environment) {
        let outcome = if self.is_sound() { Outcome::Success } else { Outcome::Failure };
        let first = self.findings.first().map(|finding| finding.damage.to_string());
        let details = json!({
            "level": self.level,
            "signature": self.signature.verdict.name(),
            "findings": self.findings.len(),
            "first": first,
        });
        let note = Note::new(Event::Verify, outcome, Some(subject(&self.core, &self.path)), details);
        record(Folder::above(&self.path).ok().as_ref(), place, note, environment);
    }

    /// True if the bundle is proven to its level, and sealed by who was pinned, if anybody was.
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
            && self.has_right_signer
            && self.databases.iter().all(DatabaseProof::is_sound)
            && self.files.iter().all(FilesProof::is_sound)
    }

    /// The level to which all of it is proven: below L4 where a database could not be examined completely.
    pub fn proven(&self) -> Level {
        let databases = self.databases.iter().map(DatabaseProof::proven);
        let files = self.files.iter().filter(|set| set.unchecked.is_some()).map(|_| Level::Content);
        databases.chain(files).min().unwrap_or(self.level).min(self.level)
    }

    /// Labels of the databases that findings hurt.
    pub fn hurt_databases(&self) -> Vec<Label> {
        let is_unsound = |database: &&DatabaseProof| !database.is_sound();
        let mut labels: Vec<Label> = self.databases.iter().filter(is_unsound).map(|database| database.label.clone()).collect();
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

/// Unlocks a bundle for somebody who can do nothing without its manifest.
pub(super) fn unlock_with_manifest(
    path: &Path,
    medium: &Watched<'_>,
    front: &Front,
    ring: &Keyring,
) -> Result<(Unlocked, Manifest), Failure> {
    let failure = |source| Failure::Bundle { path: path.to_owned(), source };
    let unlocked = unlock(medium, front, ring).map_err(failure)?;
    match unlocked.manifest().cloned() {
        Some(manifest) => Ok((unlocked, manifest)),
        None => Err(failure(unlocked.into_manifest().map_or_else(|error| error, |_| BundleError::WorkerLost))),
    }
}

/// Refuses a bundle that none of the pinned signers sealed.
///
/// With nobody pinned nobody asks: whether a signature is wrong is for the examination to find, and one that reads a single entry may not
/// have looked ([`TrustedSigners::accepts`] would take that for a forgery).
pub(super) fn require_signer(path: &Path, signers: &TrustedSigners, core: &PublicCore, is_signed: bool) -> Result<(), Failure> {
    match signers.is_empty() || signers.accepts(signers.judge(core, is_signed)) {
        true => Ok(()),
        false => Err(Failure::WrongSigner { path: path.to_owned(), signer: core.signer }),
    }
}

impl VerifyRequest {
    fn level_with(&self, ring: &Keyring) -> Result<Level, Failure> {
        match self.level {
            Some(level) if level.needs_key() && ring.is_empty() => Err(Failure::NoKey { level }),
            Some(Level::Signature) if self.signers.is_empty() => Err(Failure::NoPinnedSigner),
            Some(level) => Ok(level),
            None if !ring.is_empty() => Ok(Level::Database),
            None if !self.signers.is_empty() => Ok(Level::Signature),
            None => Ok(Level::Sums),
        }
    }
}

/// Slots that the vault around the bundle knows to be out of date. Where there is none, or none that can be read, nothing is known.
fn old_slots(path: &Path, front: &Front) -> Option<Finding> {
    let found = front.slots.generation;
    let known = known_generation(&Folder::above(path).ok()?, front.core.id).ok()??;
    let damage = Damage::OldSlots { found, known };
    (known > found).then(|| Finding { level: Level::Sums, damage, frames: None, entries: Vec::new() })
}
