//! The signing key of a vault: where it lies, and how it is found, made and handed on.
//!
//! It is never in the vault, so that whoever carries the vault away, or writes to it, cannot sign. A key that took the place of another has the
//! beginning of its fingerprint in its file's name; older ones stay where they are, since slots of older bundles are signed by them.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::recorder::{Note, record};
use super::{Environment, Failure};
use crate::bundle::{Id, SetName, SetRef, SignerChange};
use crate::crypto::{Digest, PublicKey, SigningKey, SigningKeyError};
use crate::files::{FileError, Folder, check_private_folder, make_private_folders, read_secret_file};
use crate::journal::{Event, Outcome};
use crate::vault::Vault;

/// Where the signing key of a vault lies.
#[derive(Debug, Clone)]
pub enum SigningKeyPlace {
    /// In this folder, under the set's id.
    Folder(PathBuf),
    /// In this file.
    File(PathBuf),
}

impl SigningKeyPlace {
    /// The file, or the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            SigningKeyPlace::Folder(path) | SigningKeyPlace::File(path) => path,
        }
    }
}

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyFault {
    /// There is no such file.
    #[error("there is no such file")]
    Missing,
    /// It cannot be read, or others can read it.
    #[error(transparent)]
    File(FileError),
    /// It is no key that can sign.
    #[error(transparent)]
    Key(SigningKeyError),
    /// It is a key, but not this signer's.
    #[error("it is the key {found}, the signer is {expected}")]
    Other {
        /// Fingerprint of the key in the file.
        found: String,
        /// Fingerprint of the signer.
        expected: String,
    },
}

impl SigningKeyPlace {
    /// The file of a set's first key.
    fn first(&self, set: &Id) -> PathBuf {
        match self {
            SigningKeyPlace::Folder(folder) => folder.join(set.to_string()),
            SigningKeyPlace::File(file) => file.clone(),
        }
    }

    /// The file of a key that took another's place.
    fn later(&self, set: &Id, key: &PublicKey) -> PathBuf {
        let mark = Digest::of(key.to_string().as_bytes()).to_string();
        let mut path = self.first(set).into_os_string();
        path.push(format!(".{}", &mark[..8]));
        path.into()
    }

    /// Reads the private key of a signer.
    ///
    /// # Errors
    /// [`Failure::SigningKey`] with the file that was expected.
    pub fn load(&self, set: &Id, signer: &PublicKey) -> Result<(SigningKey, PathBuf), Failure> {
        let (later, first) = (self.later(set, signer), self.first(set));
        let path = if later.exists() { later } else { first };
        let fault = |fault| Failure::SigningKey { path: path.clone(), fault };
        let key = read_key(&path).map_err(fault)?;
        if key.public() == *signer {
            return Ok((key, path));
        }
        let (found, expected) = (key.public().fingerprint().to_string(), signer.fingerprint().to_string());
        Err(fault(SigningKeyFault::Other { found, expected }))
    }

    /// Makes the folder that is to hold keys, unless it is there, and looks whether others could write to it.
    fn prepare(&self) -> Result<(), Failure> {
        let SigningKeyPlace::Folder(folder) = self else { return Ok(()) };
        make_private_folders(folder)?;
        Ok(check_private_folder(folder)?)
    }
}

/// A vault whose bundles are to be signed from now on.
#[derive(Debug, Clone)]
pub struct Init {
    /// The vault, made if it is missing.
    pub vault: PathBuf,
    /// The name of a new set.
    pub name: Option<SetName>,
    /// Where the signing key goes.
    pub place: SigningKeyPlace,
}

/// A vault and who signs in it.
#[derive(Debug)]
pub struct SignerReport {
    /// The vault.
    pub vault: PathBuf,
    /// Its set.
    pub set: SetRef,
    /// Who signs, if anybody does.
    pub signer: Option<PublicKey>,
    /// The file of the private key, or why there is none here.
    pub key_file: Result<PathBuf, Failure>,
    /// Who signed before, each signed over to the next.
    pub changes: Vec<SignerChange>,
    /// Whether this run made the vault.
    pub is_new_vault: bool,
}

impl Init {
    /// A request with the defaults.
    pub fn new(vault: impl Into<PathBuf>, place: SigningKeyPlace) -> Init {
        Init { vault: vault.into(), name: None, place }
    }

    /// Makes the vault and its signing key. A run that was killed is finished by running it again.
    ///
    /// # Errors
    /// [`Failure::Signed`] if the vault has a signer, [`Failure::SigningKey`], [`Failure::Vault`].
    pub fn run(&self, environment: &mut Environment) -> Result<SignerReport, Failure> {
        self.place.prepare()?;
        let entropy = &mut *environment.entropy;
        let mut vault = Vault::open_named(&self.vault, self.name.clone(), entropy)?;
        if let Some(signer) = vault.signer() {
            return Err(Failure::Signed { vault: self.vault.clone(), signer: signer.fingerprint().to_string() });
        }
        // The set's id names the key file, so it is written down before there is one.
        vault.settle(entropy)?;
        let path = self.place.first(&vault.set().id);
        let key = match read_key(&path) {
            Err(SigningKeyFault::Missing) => make_key(&path, SigningKey::generate(entropy), &vault.set().name, environment)?,
            Ok(key) => key,
            Err(fault) => return Err(Failure::SigningKey { path, fault }),
        };
        vault.set_signer(key.public(), &mut *environment.entropy)?;
        let details = json!({ "set": vault.set(), "signer": key.public(), "new_vault": vault.is_new });
        record(Some(vault.folder()), Some(&self.place), Note::new(Event::Init, Outcome::Success, None, details), environment);
        report(&vault, Ok(path))
    }
}

/// Who signs in a vault, and whether the private key is here.
///
/// # Errors
/// [`Failure::Vault`].
pub fn show_signer(vault: &Path, place: &SigningKeyPlace, environment: &mut Environment) -> Result<SignerReport, Failure> {
    let vault = open_made(vault, environment)?;
    let key_file = match vault.signer() {
        Some(signer) => place.load(&vault.set().id, &signer).map(|(_, path)| path),
        None => Err(Failure::Unsigned { vault: vault.folder().path().to_owned() }),
    };
    report(&vault, key_file)
}

/// Gives a vault a new signing key, for which the old one signs.
///
/// # Errors
/// [`Failure::Unsigned`], [`Failure::SigningKey`] if the old key is not here, [`Failure::Vault`]. Before the last step the old key signs on, and
/// a run that was killed is finished by running it again.
pub fn rotate_signer(vault: &Path, place: &SigningKeyPlace, environment: &mut Environment) -> Result<SignerReport, Failure> {
    let mut vault = open_made(vault, environment)?;
    let Some(signer) = vault.signer() else { return Err(Failure::Unsigned { vault: vault.folder().path().to_owned() }) };
    let set = vault.set().clone();
    let (old, _) = place.load(&set.id, &signer)?;
    let begun = vault.signer_changes()?.pop().filter(|change| change.from == signer);
    let (new, path) = match begun.and_then(|change| place.load(&set.id, &change.to).ok()) {
        Some(found) => found,
        None => {
            let new = SigningKey::generate(&mut *environment.entropy);
            let path = place.later(&set.id, &new.public());
            let new = make_key(&path, new, &set.name, environment)?;
            let change = SignerChange::sign(set.id, &old, new.public(), environment.now());
            vault.add_signer_change(&change, &mut *environment.entropy)?;
            (new, path)
        }
    };
    vault.set_signer(new.public(), &mut *environment.entropy)?;
    let details = json!({ "from": signer, "to": new.public() });
    record(Some(vault.folder()), Some(place), Note::new(Event::Signer, Outcome::Success, None, details), environment);
    report(&vault, Ok(path))
}

/// Opens a vault that must be there.
fn open_made(path: &Path, environment: &mut Environment) -> Result<Vault, Failure> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::NoVault { path: path.to_owned() }),
        _ => Ok(Vault::open(path, &mut *environment.entropy)?),
    }
}

fn report(vault: &Vault, key_file: Result<PathBuf, Failure>) -> Result<SignerReport, Failure> {
    Ok(SignerReport {
        vault: vault.folder().path().to_owned(),
        set: vault.set().clone(),
        signer: vault.signer(),
        key_file,
        changes: vault.signer_changes()?,
        is_new_vault: vault.is_new,
    })
}

fn read_key(path: &Path) -> Result<SigningKey, SigningKeyFault> {
    let text = match read_secret_file(path) {
        Ok(text) => text,
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Err(SigningKeyFault::Missing),
        Err(error) => return Err(SigningKeyFault::File(error)),
    };
    SigningKey::parse_openssh(&text).map_err(SigningKeyFault::Key)
}

fn make_key(path: &Path, key: SigningKey, set: &SetName, environment: &mut Environment) -> Result<SigningKey, Failure> {
    let (folder, name) = Folder::of(path)?;
    folder.write_new(&name, key.to_openssh(set.as_str()).as_bytes(), &mut *environment.entropy)?;
    Ok(key)
}
