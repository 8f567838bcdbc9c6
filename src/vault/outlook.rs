//! What a vault has for the next bundle, found without a lock and without a trace.

use std::path::Path;

use super::identity::Identity;
use super::{VaultError, bundles_in, next_sequence, set_of, signer};
use crate::bundle::{SetName, SetRef};
use crate::crypto::PublicKey;
use crate::files::{Folder, check_private_folder};

/// What the next bundle will be, unless another run is faster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// Its set.
    pub set: SetRef,
    /// Its place in it.
    pub next_sequence: u64,
    /// Who will sign it.
    pub signer: Option<PublicKey>,
}

impl Outlook {
    /// Looks at a vault; nothing if there is none, which a backup would make.
    ///
    /// # Errors
    /// As [`Vault::open_named`](super::Vault::open_named), but for the lock.
    pub fn of(path: &Path, name: Option<&SetName>) -> Result<Option<Outlook>, VaultError> {
        if path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
            Folder::above(path)?;
            return Ok(None);
        }
        check_private_folder(path)?;
        let folder = Folder::open(path)?;
        let bundles = bundles_in(&folder)?;
        let identity = match Identity::read(&folder)? {
            Some(identity) => identity,
            None => match set_of(&bundles, path)? {
                Some(set) => Identity::of(set),
                None => return Ok(None),
            },
        };
        if let Some(name) = name
            && identity.set.name != *name
        {
            return Err(VaultError::Named { name: identity.set.name });
        }
        // An announced bundle is here, and counts, or its number is given up.
        let announced = identity.pending.as_ref().map_or(0, |pending| pending.subject.sequence);
        let next_sequence = next_sequence(&identity, &bundles, path)?.max(announced + 1);
        Ok(Some(Outlook { next_sequence, signer: signer(&identity, &bundles), set: identity.set }))
    }
}
