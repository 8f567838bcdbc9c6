//! The folder of one set's bundles: its identity, its order, its lock.
//!
//! A vault cannot be written by others, holds the bundles of one set, and numbers them without reuse, also after they were carried away:
//! `vault.json` says which set it is, who signs its bundles and which one was sealed last. Bundles of another set may lie in it (somebody copied one there to
//! restore it); they are passed over. A vault whose `vault.json` is missing is the set of the bundles in it.

mod identity;
mod outlook;
mod shelf;
mod sidecar;
mod signers;

use std::path::{Path, PathBuf};

use crate::bundle::limits::SEQUENCE_MAX;
use crate::bundle::{Id, Predecessor, PublicCore, SetName, SetRef, SignerChange, SignerChangeError, UtcTime};
use crate::crypto::{Entropy, PublicKey, encode_hex, random};
use crate::files::{FileError, Folder, FolderLock, check_private_folder, lock_folder, make_private_folder};

use identity::Identity;
pub use identity::{IDENTITY, Pending, identity_in, known_generation, note_generation};
pub use outlook::Outlook;
pub use shelf::{Shelved, ShelvedState, bundles_in};
pub use sidecar::{refresh_sidecar, write_sidecar};
pub use signers::{ALLOWED_SIGNERS, SIGNER_CHANGES, signer_changes_in};

/// An open, locked vault.
#[derive(Debug)]
pub struct Vault {
    folder: Folder,
    _lock: FolderLock,
    identity: Identity,
    bundles: Vec<Shelved>,
    /// Whether this run made the folder.
    pub is_new: bool,
}

/// Why a vault cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file system refused, or the folder is not private, or another run is using it.
    #[error("cannot use the vault")]
    File(#[from] FileError),
    /// `vault.json` is not what it should be.
    #[error("'{}' is damaged", path.display())]
    Identity {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Another release made this vault.
    #[error("vault format '{}' is not supported", found.escape_debug())]
    Format {
        /// The format it names.
        found: String,
    },
    /// `signer-changes` is not what it should be.
    #[error("'{}' is damaged", path.display())]
    SignerChanges {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: SignerChangeError,
    },
    /// A vault keeps the name that it was made with.
    #[error("this vault has the name '{name}' already")]
    Named {
        /// That name.
        name: SetName,
    },
    /// No further number can be given.
    #[error("'{}' has a bundle with the highest number that the format allows", path.display())]
    Exhausted {
        /// The vault.
        path: PathBuf,
    },
    /// There is no `vault.json`, and bundles of several sets.
    #[error("'{}' holds bundles of several sets and no {IDENTITY} that tells which one it belongs to", path.display())]
    SeveralSets {
        /// The vault.
        path: PathBuf,
    },
}

impl Vault {
    /// Opens a vault for writing, making it if it is missing, and takes its lock until the value is dropped.
    ///
    /// # Errors
    /// [`VaultError`]; [`FileError::Locked`] if another run has the lock.
    pub fn open(path: &Path, entropy: &mut dyn Entropy) -> Result<Vault, VaultError> {
        Vault::open_named(path, None, entropy)
    }

    /// Opens a vault as [`Vault::open`] does; a new one gets this name.
    ///
    /// # Errors
    /// As [`Vault::open`], and [`VaultError::Named`] if there is one with another name.
    pub fn open_named(path: &Path, name: Option<SetName>, entropy: &mut dyn Entropy) -> Result<Vault, VaultError> {
        // Without a slash at its end, behind which the system would follow a symbolic link.
        let path: &Path = &path.components().collect::<PathBuf>();
        let is_new = match make_private_folder(path) {
            Ok(()) => true,
            Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error.into()),
        };
        let opened = Vault::open_existing(path, is_new, name, entropy);
        if opened.is_err() && is_new {
            // Only ever removes an empty folder that this run made.
            let _ = std::fs::remove_dir(path);
        }
        opened
    }

    fn open_existing(path: &Path, is_new: bool, name: Option<SetName>, entropy: &mut dyn Entropy) -> Result<Vault, VaultError> {
        check_private_folder(path)?;
        let folder = Folder::open(path)?;
        let lock = lock_folder(&folder)?;
        folder.remove_hidden()?;
        let bundles = bundles_in(&folder)?;
        let known = match Identity::read(&folder)? {
            Some(identity) => Some(identity),
            None => set_of(&bundles, path)?.map(Identity::of),
        };
        match (&known, &name) {
            (Some(Identity { set, .. }), Some(name)) if set.name != *name => return Err(VaultError::Named { name: set.name.clone() }),
            _ => {}
        }
        let identity = known.unwrap_or_else(|| Identity::of(new_set(name, entropy)));
        Ok(Vault { folder, _lock: lock, identity, bundles, is_new })
    }

    /// The folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The set.
    pub fn set(&self) -> &SetRef {
        &self.identity.set
    }

    /// The next place in the set: behind the last one sealed, and behind every bundle of it that lies here, readable or not.
    ///
    /// # Errors
    /// [`VaultError::Exhausted`].
    pub fn next_sequence(&self) -> Result<u64, VaultError> {
        next_sequence(&self.identity, &self.bundles, self.folder.path())
    }

    /// The newest bundle of the set that can be read.
    pub fn newest(&self) -> Option<&Shelved> {
        newest(&self.identity, &self.bundles)
    }

    /// What a new bundle names as its predecessor: the newest bundle that lies here, else the one on record, which may have been carried away.
    /// Bundles that are too damaged to be named are passed over and listed.
    pub fn predecessor(&self) -> (Option<Predecessor>, Vec<&Shelved>) {
        let sealed = self.identity.last.as_ref().map_or(0, |last| last.sequence);
        let mut newer: Vec<&Shelved> = self.own().filter(|bundle| bundle.core().is_some() && bundle.sequence > sealed).collect();
        newer.sort_by_key(|bundle| std::cmp::Reverse(bundle.sequence));
        let mut damaged = Vec::new();
        for bundle in newer {
            match self.reference(bundle) {
                Some(reference) => return (Some(reference), damaged),
                None => damaged.push(bundle),
            }
        }
        (self.identity.last.clone(), damaged)
    }

    fn reference(&self, bundle: &Shelved) -> Option<Predecessor> {
        let medium = self.folder.open_file(&bundle.name).ok()?;
        let front = crate::bundle::read_front(&medium).ok()?;
        let seal_sha256 = crate::bundle::read_seal_digest(&medium, &front).ok()?;
        Some(Predecessor { id: front.core.id, sequence: front.core.sequence, seal_sha256 })
    }

    /// Bundles that lie here and cannot be read or belong to another set: worth a word to the operator.
    pub fn strangers(&self) -> impl Iterator<Item = &Shelved> {
        self.bundles.iter().filter(|bundle| bundle.core().is_none_or(|core| core.set.id != self.identity.set.id))
    }

    /// Writes down which set this is and which bundle was sealed last.
    ///
    /// # Errors
    /// What the file system says; the record that was there stays.
    pub fn record(&mut self, sealed: Predecessor, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        let mut identity = self.identity.clone();
        identity.last = Some(sealed);
        identity.pending = None;
        self.write(identity, entropy)
    }

    /// Writes down that a bundle is about to get its name.
    ///
    /// # Errors
    /// What the file system says; the bundle must not get its name then.
    pub fn announce(&mut self, pending: Pending, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        let mut identity = self.identity.clone();
        identity.pending = Some(pending);
        self.write(identity, entropy)
    }

    /// The bundle that an earlier run announced and did not live to record, and whether it is here.
    pub fn pending(&self) -> Option<(&Pending, bool)> {
        let pending = self.identity.pending.as_ref()?;
        let is_here = self.bundles.iter().any(|bundle| bundle.core().is_some_and(|core| core.id == pending.subject.bundle));
        Some((pending, is_here))
    }

    /// Takes an announcement back: the bundle did not get its name, and its number is free.
    ///
    /// # Errors
    /// What the file system says; the next run finds the announcement, and no bundle.
    pub fn withdraw(&mut self, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        let mut identity = self.identity.clone();
        identity.pending = None;
        match self.is_new {
            true => self.folder.remove(IDENTITY),
            false => self.write(identity, entropy),
        }
    }

    /// Gives a bundle up that an earlier run announced and that is not here. Its number is not given to another: it may have been carried away.
    ///
    /// # Errors
    /// What the file system says.
    pub fn give_up_pending(&mut self, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        let mut identity = self.identity.clone();
        identity.spent = identity.pending.take().map_or(0, |pending| pending.subject.sequence).max(identity.spent);
        self.write(identity, entropy)
    }

    /// Who signs the bundles of this vault: by its record, else as the newest bundle has it, so that a lost record does not end in bundles
    /// that nobody signs.
    pub fn signer(&self) -> Option<PublicKey> {
        signer(&self.identity, &self.bundles)
    }

    /// Writes down that bundles are signed from now on, and by whom. `allowed_signers` is there before.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_signer(&mut self, signer: PublicKey, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        signers::allow(&self.folder, &self.identity.set, &signer, entropy)?;
        let mut identity = self.identity.clone();
        identity.signer = Some(signer);
        self.write(identity, entropy)
    }

    /// Writes down the identity as it is, so that a new set outlives a kill.
    ///
    /// # Errors
    /// What the file system says.
    pub fn settle(&mut self, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        self.write(self.identity.clone(), entropy)
    }

    /// The changes of signers, each verified, from the first to the last.
    ///
    /// # Errors
    /// [`VaultError::SignerChanges`], or what the file system says.
    pub fn signer_changes(&self) -> Result<Vec<SignerChange>, VaultError> {
        signer_changes_in(&self.folder)
    }

    /// Adds a change of signers to the list.
    ///
    /// # Errors
    /// As [`Vault::signer_changes`].
    pub fn add_signer_change(&self, change: &SignerChange, entropy: &mut dyn Entropy) -> Result<(), VaultError> {
        signers::add_change(&self.folder, change, entropy)
    }

    fn write(&mut self, identity: Identity, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        identity.write(&self.folder, entropy)?;
        self.identity = identity;
        Ok(())
    }

    /// Removes the folder again if this run made it and nothing came into it.
    pub fn discard_if_unused(self) {
        if self.is_new {
            // Fails, as it must, when there is something in it.
            let _ = std::fs::remove_dir(self.folder.path());
        }
    }

    /// Names and places of the bundles of this set that lie here, by place.
    pub fn own_bundles(&self) -> Vec<(String, u64)> {
        self.own().map(|bundle| (bundle.name.clone(), bundle.sequence)).collect()
    }

    fn own(&self) -> impl Iterator<Item = &Shelved> {
        own(&self.identity, &self.bundles)
    }
}

/// Bundles of this set; one that cannot be read counts by its file name.
fn own<'b>(identity: &'b Identity, bundles: &'b [Shelved]) -> impl Iterator<Item = &'b Shelved> {
    bundles.iter().filter(|bundle| match bundle.core() {
        Some(core) => core.set.id == identity.set.id,
        None => shelf::set_in(&bundle.name) == Some(identity.set.name.as_str()),
    })
}

fn next_sequence(identity: &Identity, bundles: &[Shelved], path: &Path) -> Result<u64, VaultError> {
    let sealed = identity.last.as_ref().map_or(0, |last| last.sequence);
    let highest = own(identity, bundles).map(|bundle| bundle.sequence).max().unwrap_or(0).max(sealed).max(identity.spent);
    match highest < SEQUENCE_MAX {
        true => Ok(highest + 1),
        false => Err(VaultError::Exhausted { path: path.to_owned() }),
    }
}

fn newest<'b>(identity: &'b Identity, bundles: &'b [Shelved]) -> Option<&'b Shelved> {
    own(identity, bundles).filter(|bundle| bundle.core().is_some()).max_by_key(|bundle| bundle.sequence)
}

fn signer(identity: &Identity, bundles: &[Shelved]) -> Option<PublicKey> {
    identity.signer.or_else(|| newest(identity, bundles)?.core()?.signer)
}

/// The name of a bundle's file: `<set>-<sequence>-<UTC>.akb`.
pub fn bundle_name(set: &SetName, sequence: u64, created_at: &UtcTime) -> String {
    format!("{set}-{sequence:06}-{}.akb", created_at.compact())
}

fn set_of(bundles: &[Shelved], path: &Path) -> Result<Option<SetRef>, VaultError> {
    let mut sets = bundles.iter().filter_map(Shelved::core).map(|core: &PublicCore| &core.set);
    let Some(first) = sets.next() else { return Ok(None) };
    match sets.all(|set| set.id == first.id) {
        true => Ok(Some(first.clone())),
        false => Err(VaultError::SeveralSets { path: path.to_owned() }),
    }
}

fn new_set(name: Option<SetName>, entropy: &mut dyn Entropy) -> SetRef {
    let id = Id(random(entropy));
    let default = || SetName::parse(&format!("set-{}", encode_hex(&id.0[..4]))).expect("hex digits are allowed in names");
    SetRef { id, name: name.unwrap_or_else(default) }
}
