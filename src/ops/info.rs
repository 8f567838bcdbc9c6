//! Info: what a bundle says of itself, without the key and with it. Reads front, index and manifest, not the frames.

use std::path::{Path, PathBuf};

use super::Failure;
use super::verify::open_bundle;
use crate::bundle::{Hint, Keyring, Manifest, PublicCore, SlotFacts, read_front, read_seal_digest, unlock};
use crate::crypto::Digest;
use crate::files::FileError;

/// Facts of one bundle. Nothing here is verified beyond front and index.
#[derive(Debug)]
pub struct Facts {
    /// Its path.
    pub path: PathBuf,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// The public core.
    pub core: PublicCore,
    /// How often the keys were changed, from 1.
    pub generation: u64,
    /// The key slots.
    pub slots: Vec<SlotFacts>,
    /// Frames, as the hint at the end says.
    pub frames: Option<u64>,
    /// The seal digest, if the end of the file can be read.
    pub seal_sha256: Option<Digest>,
    /// The manifest, with a key.
    pub manifest: Option<Manifest>,
}

/// Reads the facts of a bundle; the manifest too if there is a key.
///
/// # Errors
/// [`Failure::NoBundle`], [`Failure::Bundle`] for a damaged front, a rejected key, or an index that does not open.
pub fn inspect(path: &Path, ring: &Keyring) -> Result<Facts, Failure> {
    let medium = open_bundle(path)?;
    let failure = |source| Failure::Bundle { path: path.to_owned(), source };
    let front = read_front(&medium).map_err(failure)?;
    let manifest = match ring.is_empty() {
        true => None,
        false => Some(unlock(&medium, &front, ring).and_then(|unlocked| unlocked.into_manifest()).map_err(failure)?),
    };
    Ok(Facts {
        path: path.to_owned(),
        size_bytes: medium.metadata().map_err(FileError::io("look at", path))?.len(),
        generation: front.slots.generation,
        slots: front.slots.facts(),
        frames: Hint::read(&medium).map(|hint| hint.frames),
        seal_sha256: read_seal_digest(&medium, &front).ok(),
        core: front.core,
        manifest,
    })
}
