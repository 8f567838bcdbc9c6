//! The sum of a whole bundle in a file beside it, for couriers: `sha256sum -c` reads it.
//!
//! It proves nothing that the bundle does not prove by itself; it is there for people who have only coreutils.

use crate::crypto::{Digest, Entropy};
use crate::files::{FileError, Folder};

/// Writes the file for a new bundle.
///
/// # Errors
/// What the file system says.
pub fn write_sidecar(folder: &Folder, bundle: &str, sha256: &Digest, entropy: &mut dyn Entropy) -> Result<(), FileError> {
    folder.write_new(&name_of(bundle), &line(bundle, sha256), entropy)
}

/// Puts the right sum into the file, where there is one.
///
/// # Errors
/// What the file system says.
pub fn refresh_sidecar(folder: &Folder, bundle: &str, sha256: &Digest, entropy: &mut dyn Entropy) -> Result<(), FileError> {
    let (name, line) = (name_of(bundle), line(bundle, sha256));
    if !folder.has(&name)? || folder.read_file(&name, line.len() as u64 + 1).is_ok_and(|stored| stored == line) {
        return Ok(());
    }
    folder.write_over(&name, &line, entropy)
}

fn name_of(bundle: &str) -> String {
    format!("{bundle}.sha256")
}

fn line(bundle: &str, sha256: &Digest) -> Vec<u8> {
    format!("{sha256}  {bundle}\n").into_bytes()
}
