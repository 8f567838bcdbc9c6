//! Keys: other slots for bundles that exist, one file or a whole vault.
//!
//! Each bundle is written anew beside itself, synced, examined at L0, opened with a key that must fit now, and only then put in place of the old
//! one by a rename: at every moment the name leads to a bundle that opens with the old keys or with the new ones. A run
//! that was stopped is finished by running it again: bundles that are done already are recognised.

use std::io::{BufWriter, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::progress::{Phase, Watched, go_on, heed};
use super::recorder::{Note, record, subject};
use super::verify::open_bundle;
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::{
    BundleError, Examination, Front, KeyChange, Keyring, Level, Medium as _, Nowhere, SlotFacts, read_front, rekey, unlock,
};
use crate::crypto::{Digest, PublicKey, Sha256, SigningKey};
use crate::files::{FileError, Folder, NewFile, Writeback, lock_folder};
use crate::journal::{Event, Outcome};
use crate::vault::{known_generation, note_generation, refresh_sidecar};

/// A change of keys for one bundle.
#[derive(Debug)]
pub struct Rekey<'k> {
    /// Keys that open it now.
    pub ring: &'k Keyring,
    /// What is to become of the slots.
    pub change: KeyChange<'k>,
    /// Where the key of the bundle's signer may be; without it the new slots are not signed.
    pub signing_key: Option<SigningKeyPlace>,
}

/// What became of a bundle's slots.
#[derive(Debug)]
pub struct SlotReport {
    /// The bundle.
    pub path: PathBuf,
    /// How often its keys were changed, from 1.
    pub generation: u64,
    /// Its slots now.
    pub slots: Vec<SlotFacts>,
    /// Whether this run changed them.
    pub is_changed: bool,
    /// Who seals the bundle, if it is signed.
    pub signer: Option<PublicKey>,
    /// Whether that signer signed these slots.
    pub is_signed: bool,
    /// The newest generation that the vault remembers, where that is a later one: somebody put old slots back.
    pub newer_generation: Option<u64>,
}

impl<'k> Rekey<'k> {
    /// A request with the defaults.
    pub fn new(ring: &'k Keyring, change: KeyChange<'k>) -> Rekey<'k> {
        Rekey { ring, change, signing_key: None }
    }

    /// Changes the slots of one bundle.
    ///
    /// # Errors
    /// [`Failure::Bundle`] with [`BundleError::KeyRejected`], [`BundleError::LastSlot`] or damage; [`FileError::Locked`] if another run is
    /// using the folder. The bundle is as it was then.
    pub fn run(&self, path: &Path, environment: &mut Environment) -> Result<SlotReport, Failure> {
        go_on(&environment.progress)?;
        heed(&environment.progress.clone(), self.apply(path, environment))
    }

    fn apply(&self, path: &Path, environment: &mut Environment) -> Result<SlotReport, Failure> {
        let progress = environment.progress.clone();
        let failure = |source| Failure::Bundle { path: path.to_owned(), source };
        let (folder, name) = Folder::of(path)?;
        let _lock = lock_folder(&folder)?;
        // Only in a vault is the lock held by everybody who makes hidden files.
        if folder.has(crate::vault::IDENTITY)? {
            folder.remove_hidden()?;
        }
        let file = open_bundle(path)?;
        let medium = Watched::new(&file, &progress);
        let front = read_front(&medium).map_err(failure)?;
        if self.change.is_done(&front).map_err(failure)? {
            refresh_sidecar(&folder, &name, &file_digest(&file, path)?, &mut *environment.entropy)?;
            note_generation(&folder, front.core.id, front.slots.generation, &mut *environment.entropy)?;
            return Ok(slot_report(path, &front));
        }
        let phase = Phase::begin(&progress, "changing keys", medium.length().ok());
        let new = folder.new_file(&mut *environment.entropy)?;
        let file = new.file().try_clone().map_err(FileError::io("write", path))?;
        let mut out = BufWriter::with_capacity(64 << 10, Writeback::new(file));
        let signer = self.signer(&front);
        let rekeyed = rekey(&medium, &front, self.ring, self.change, signer.as_ref(), &mut *environment.entropy, &mut out);
        let rekeyed = rekeyed.map_err(failure)?;
        let flushed = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(Writeback::finish);
        flushed.map_err(FileError::io("write", path))?;
        new.sync()?;
        drop(phase);
        let front = self.check(&new, environment).map_err(failure)?;
        go_on(&progress)?;
        new.replace(&name, &mut *environment.entropy)?;
        progress.note(&format!("changed the keys of '{}'", path.display()));
        refresh_sidecar(&folder, &name, &rekeyed.sha256, &mut *environment.entropy)?;
        // Behind the rename: a vault that remembers too little is mended by the next run, one that remembers too much would accuse an honest bundle.
        note_generation(&folder, front.core.id, rekeyed.generation, &mut *environment.entropy)?;
        let report = SlotReport { is_changed: true, ..slot_report(path, &front) };
        let note = Note::new(Event::Keys, Outcome::Success, Some(subject(&front.core, path)), self.details(&report));
        record(Some(&folder), self.signing_key.as_ref(), note, environment);
        Ok(report)
    }

    /// Which change it was, and what the slots are now; no key, and nothing that was made from one.
    fn details(&self, report: &SlotReport) -> serde_json::Value {
        let change = match self.change {
            KeyChange::Add(_) => "add",
            KeyChange::Remove(_) => "remove",
            KeyChange::Rotate(_) => "rotate",
        };
        serde_json::json!({ "change": change, "generation": report.generation, "slots": report.slots, "slots_signed": report.is_signed })
    }

    /// The key of the bundle's signer, where it is here.
    fn signer(&self, front: &Front) -> Option<SigningKey> {
        let signer = front.core.signer?;
        self.signing_key.as_ref()?.load(&front.core.set.id, &signer).ok().map(|(key, _)| key)
    }

    /// The new file must be whole, and open with a key that somebody holds.
    fn check(&self, new: &NewFile, environment: &Environment) -> Result<Front, BundleError> {
        new.evict();
        let medium = Watched::new(new.file(), &environment.progress);
        let _phase = Phase::begin(&environment.progress, "reading back", medium.length().ok());
        let mut front = read_front(&medium)?;
        let ring = match self.change {
            KeyChange::Add(ring) | KeyChange::Rotate(ring) => ring,
            KeyChange::Remove(_) => self.ring,
        };
        match unlock(&medium, &front, ring) {
            // Whoever removes the slot that their own key opens has another one; the MAC of the slots was made with the root key all the same.
            Err(BundleError::KeyRejected) if matches!(self.change, KeyChange::Remove(_)) => {}
            other => drop(other?),
        }
        let mut sink = Nowhere;
        let examination = Examination::new(&medium, &mut front, None, Level::Sums, environment.workers, &mut sink);
        examination.run()?.into_result()?;
        Ok(front)
    }
}

/// The slots of one bundle, without a key.
///
/// # Errors
/// [`Failure::NoBundle`], [`Failure::Bundle`] for a damaged front.
pub fn list_slots(path: &Path) -> Result<SlotReport, Failure> {
    let medium = open_bundle(path)?;
    let front = read_front(&medium).map_err(|source| Failure::Bundle { path: path.to_owned(), source })?;
    Ok(slot_report(path, &front))
}

fn slot_report(path: &Path, front: &Front) -> SlotReport {
    let generation = front.slots.generation;
    let known = Folder::above(path).ok().and_then(|folder| known_generation(&folder, front.core.id).ok()?);
    SlotReport {
        path: path.to_owned(),
        generation,
        slots: front.slots.facts(),
        is_changed: false,
        signer: front.core.signer,
        is_signed: front.is_slots_signed,
        newer_generation: known.filter(|known| *known > generation),
    }
}

/// Makes a key file: 32 random bytes, mode 0600, never in place of anything.
///
/// # Errors
/// [`FileError::Exists`], or what the system says.
pub fn make_key_file(path: &Path, environment: &mut Environment) -> Result<(), Failure> {
    let (folder, name) = Folder::of(path)?;
    let mut key = Zeroizing::new([0; 32]);
    environment.entropy.fill(&mut *key);
    Ok(folder.write_new(&name, &*key, &mut *environment.entropy)?)
}

fn file_digest(mut file: &std::fs::File, path: &Path) -> Result<Digest, FileError> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(FileError::io("read", path))? {
            0 => return Ok(hash.finish()),
            len => hash.update(&buffer[..len]),
        }
    }
}
