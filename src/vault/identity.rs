//! `vault.json`: what a vault knows of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::VaultError;
use crate::bundle::{Id, Predecessor, SetRef};
use crate::crypto::{Digest, Entropy, PublicKey};
use crate::files::{FileError, Folder};
use crate::journal::Subject;

/// The file that makes a folder a vault.
pub const IDENTITY: &str = "vault.json";
const FORMAT: &str = "airkeep-vault/1";
/// Room for the generations of some hundred thousand bundles.
const LEN_MAX: u64 = 32 << 20;

/// The content of `vault.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    format: String,
    /// The set.
    pub(super) set: SetRef,
    /// The bundle that was sealed last.
    pub(super) last: Option<Predecessor>,
    /// Who signs, if anybody does.
    #[serde(default)]
    pub(super) signer: Option<PublicKey>,
    /// A bundle that was about to get its name when this was written; of a finished run there is none.
    #[serde(default)]
    pub(super) pending: Option<Pending>,
    /// The highest number that was given away by a run that did not live to say whether its bundle got its name.
    #[serde(default)]
    pub(super) spent: u64,
    /// The newest generation of slots of each bundle whose keys were changed here: what a bundle alone cannot show.
    #[serde(default)]
    generations: BTreeMap<Id, u64>,
}

/// What is written down before a bundle gets its name, so that a run that is killed then leaves no doubt about what it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// The bundle.
    pub subject: Subject,
    /// Its seal digest.
    pub seal_sha256: Digest,
    /// What its record in the journal will say.
    pub details: Map<String, Value>,
}

impl Identity {
    /// That of a vault without a history.
    pub(super) fn of(set: SetRef) -> Identity {
        Identity { format: FORMAT.to_owned(), set, last: None, signer: None, pending: None, spent: 0, generations: BTreeMap::new() }
    }

    /// Reads it; `None` if the folder has none.
    pub(super) fn read(folder: &Folder) -> Result<Option<Identity>, VaultError> {
        if !folder.has(IDENTITY)? {
            return Ok(None);
        }
        let text = folder.read_file(IDENTITY, LEN_MAX)?;
        let damaged = |source| VaultError::Identity { path: folder.path().join(IDENTITY), source };
        let identity: Identity = serde_json::from_slice(&text).map_err(damaged)?;
        match identity.format == FORMAT {
            true => Ok(Some(identity)),
            false => Err(VaultError::Format { found: identity.format }),
        }
    }

    /// Puts it in place of what was there.
    pub(super) fn write(&self, folder: &Folder, entropy: &mut dyn Entropy) -> Result<(), FileError> {
        let mut text = serde_json::to_vec_pretty(self).expect("text and numbers and nothing else");
        text.push(b'\n');
        folder.write_over(IDENTITY, &text, entropy)
    }
}

/// The newest generation of a bundle's slots that the vault in this folder has seen, if it is one and keys were changed there.
///
/// # Errors
/// As opening the vault.
pub fn known_generation(folder: &Folder, bundle: Id) -> Result<Option<u64>, VaultError> {
    Ok(Identity::read(folder)?.and_then(|identity| identity.generations.get(&bundle).copied()))
}

/// The set of the vault in this folder and who signs there, if it is one.
///
/// # Errors
/// As opening the vault.
pub fn identity_in(folder: &Folder) -> Result<Option<(SetRef, Option<PublicKey>)>, VaultError> {
    Ok(Identity::read(folder)?.map(|identity| (identity.set, identity.signer)))
}

/// Writes down the generation of a bundle's slots, if the folder is a vault. Only for who holds the folder's lock.
///
/// # Errors
/// As opening the vault.
pub fn note_generation(folder: &Folder, bundle: Id, generation: u64, entropy: &mut dyn Entropy) -> Result<(), VaultError> {
    let Some(mut identity) = Identity::read(folder)? else { return Ok(()) };
    // Slots of the first generation are those that the bundle was sealed with: nothing older can take their place.
    if generation == 1 || identity.generations.get(&bundle).is_some_and(|known| *known >= generation) {
        return Ok(());
    }
    identity.generations.insert(bundle, generation);
    Ok(identity.write(folder, entropy)?)
}
