//! What a vault tells of its signers: `allowed_signers`, as ssh-keygen reads it, and `signer-changes`, each signed by the key before.
//!
//! Both are for carrying to whoever verifies; a reader trusts them only when told so. The private keys are elsewhere.

use super::VaultError;
use crate::bundle::{SetRef, SignerChange};
use crate::crypto::{Entropy, Namespace, PublicKey};
use crate::files::{FileError, Folder};

/// Keys that sign, for `ssh-keygen -Y verify -f`; the principal is the name of the set.
pub const ALLOWED_SIGNERS: &str = "allowed_signers";
/// The list of changes from one signing key to the next.
pub const SIGNER_CHANGES: &str = "signer-changes";
const LEN_MAX: u64 = 1 << 20;

/// Adds a key to the allowed signers, unless it stands there.
pub(super) fn allow(folder: &Folder, set: &SetRef, signer: &PublicKey, entropy: &mut dyn Entropy) -> Result<(), FileError> {
    let namespaces: Vec<&str> = Namespace::ALL.iter().map(|namespace| namespace.name()).collect();
    let line = format!("{} namespaces=\"{}\" {signer}\n", set.name, namespaces.join(","));
    let mut text = read(folder, ALLOWED_SIGNERS)?;
    if !text.ends_with('\n') && !text.is_empty() {
        text.push('\n');
    }
    match text.contains(&line) {
        true => Ok(()),
        false => folder.write_over(ALLOWED_SIGNERS, (text + &line).as_bytes(), entropy),
    }
}

/// The changes of signers that a vault's folder lists, each verified.
///
/// # Errors
/// [`VaultError::SignerChanges`], or what the file system says.
pub fn signer_changes_in(folder: &Folder) -> Result<Vec<SignerChange>, VaultError> {
    let damaged = |source| VaultError::SignerChanges { path: folder.path().join(SIGNER_CHANGES), source };
    SignerChange::parse_all(&read(folder, SIGNER_CHANGES)?).map_err(damaged)
}

/// Adds a change.
pub(super) fn add_change(folder: &Folder, change: &SignerChange, entropy: &mut dyn Entropy) -> Result<(), VaultError> {
    let mut text: String = signer_changes_in(folder)?.iter().map(SignerChange::text).collect();
    text += change.text();
    Ok(folder.write_over(SIGNER_CHANGES, text.as_bytes(), entropy)?)
}

/// A file's text, empty if there is none. Bytes that are no text become such as no signature covers.
fn read(folder: &Folder, name: &str) -> Result<String, FileError> {
    match folder.has(name)? {
        true => Ok(String::from_utf8_lossy(&folder.read_file(name, LEN_MAX)?).into_owned()),
        false => Ok(String::new()),
    }
}
