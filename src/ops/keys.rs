//! Keys: other slots for bundles that exist, one file or a whole vault.
//!
//! Each bundle is written anew beside itself, synced, examined at L0, opened with a key that must fit now, and only then put in place of the old
//! one by a rename: at every moment the name leads to a bundle that opens with the old keys or with the new ones. A run
//! that was stopped is finished by running it again: bundles that are done already are recognised.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::progress::{Phase, Watched, go_on, heed};
use super::verify::open_bundle;
use super::{Environment, Failure};
use crate::bundle::{BundleError, Examination, KeyChange, Keyring, Level, Medium as _, Nowhere, SlotFacts, read_front, rekey, unlock};
use crate::crypto::{Digest, Entropy, Sha256};
use crate::files::{FileError, Folder, NewFile, Writeback, lock_folder};

/// A change of keys for one bundle.
#[derive(Debug)]
pub struct Rekey<'k> {
    /// Keys that open it now.
    pub ring: &'k Keyring,
    /// What is to become of the slots.
    pub change: KeyChange<'k>,
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
}

impl Rekey<'_> {
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
        let (folder, name) = place_of(path)?;
        let _lock = lock_folder(&folder)?;
        // Only in a vault is the lock held by everybody who makes hidden files.
        if folder.has(crate::vault::IDENTITY)? {
            folder.remove_hidden()?;
        }
        let file = open_bundle(path)?;
        let medium = Watched::new(&file, &progress);
        let front = read_front(&medium).map_err(failure)?;
        if self.change.is_done(&front).map_err(failure)? {
            refresh_sidecar(&folder, &name, file_digest(&file, path)?, &mut *environment.entropy)?;
            return Ok(SlotReport {
                path: path.to_owned(),
                generation: front.slots.generation,
                slots: front.slots.facts(),
                is_changed: false,
            });
        }
        let phase = Phase::begin(&progress, "changing keys", medium.length().ok());
        let new = folder.new_file(&mut *environment.entropy)?;
        let file = new.file().try_clone().map_err(FileError::io("write", path))?;
        let mut out = BufWriter::with_capacity(64 << 10, Writeback::new(file));
        let rekeyed = rekey(&medium, &front, self.ring, self.change, &mut *environment.entropy, &mut out).map_err(failure)?;
        let flushed = out.into_inner().map_err(std::io::IntoInnerError::into_error).and_then(Writeback::finish);
        flushed.map_err(FileError::io("write", path))?;
        new.sync()?;
        drop(phase);
        let slots = self.check(&new, environment).map_err(failure)?;
        go_on(&progress)?;
        new.replace(&name, &mut *environment.entropy)?;
        progress.note(&format!("changed the keys of '{}'", path.display()));
        refresh_sidecar(&folder, &name, rekeyed.sha256, &mut *environment.entropy)?;
        Ok(SlotReport { path: path.to_owned(), generation: rekeyed.generation, slots, is_changed: true })
    }

    /// The new file must be whole, and open with a key that somebody holds.
    fn check(&self, new: &NewFile, environment: &Environment) -> Result<Vec<SlotFacts>, BundleError> {
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
        Ok(front.slots.facts())
    }
}

/// The slots of one bundle, without a key.
///
/// # Errors
/// [`Failure::NoBundle`], [`Failure::Bundle`] for a damaged front.
pub fn list_slots(path: &Path) -> Result<SlotReport, Failure> {
    let medium = open_bundle(path)?;
    let front = read_front(&medium).map_err(|source| Failure::Bundle { path: path.to_owned(), source })?;
    Ok(SlotReport { path: path.to_owned(), generation: front.slots.generation, slots: front.slots.facts(), is_changed: false })
}

/// Makes a key file: 32 random bytes, mode 0600, never in place of anything.
///
/// # Errors
/// [`FileError::Exists`], or what the system says.
pub fn make_key_file(path: &Path, environment: &mut Environment) -> Result<(), Failure> {
    let (folder, name) = place_of(path)?;
    let new = folder.new_file(&mut *environment.entropy)?;
    let mut key = Zeroizing::new([0; 32]);
    environment.entropy.fill(&mut *key);
    new.file().write_all(&*key).map_err(FileError::io("write", path))?;
    new.sync()?;
    Ok(new.publish(&name)?)
}

/// The folder that a file is in, links resolved once, and its name there.
fn place_of(path: &Path) -> Result<(Folder, String), Failure> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = Folder::open(&parent.canonicalize().map_err(FileError::io("open folder", parent))?)?;
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok((folder, name.to_owned())),
        None => Err(Failure::NoBundle { path: path.to_owned() }),
    }
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

/// Puts the right sum into the file for couriers, where there is one.
fn refresh_sidecar(folder: &Folder, name: &str, sha256: Digest, entropy: &mut dyn Entropy) -> Result<(), FileError> {
    let sidecar = format!("{name}.sha256");
    let line = format!("{sha256}  {name}\n");
    if !folder.has(&sidecar)? {
        return Ok(());
    }
    let path = folder.path().join(&sidecar);
    let mut stored = String::new();
    let read = folder.open_file(&sidecar)?.take(4096).read_to_string(&mut stored);
    if read.is_ok() && stored == line {
        return Ok(());
    }
    let new = folder.new_file(entropy)?;
    new.file().write_all(line.as_bytes()).map_err(FileError::io("write", &path))?;
    new.sync()?;
    new.replace(&sidecar, entropy)
}
