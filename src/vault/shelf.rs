//! Which bundles lie in a folder, by their public members alone.

use crate::bundle::limits::SEQUENCE_MAX;
use crate::bundle::{BundleError, PublicCore, read_core};
use crate::files::{FileError, Folder};

/// A file that claims by its name to be a bundle.
#[derive(Debug)]
pub struct Shelved {
    /// File name.
    pub name: String,
    /// Bytes of the file.
    pub size_bytes: u64,
    /// Place in its set: from the core, else from the name, else 0.
    pub sequence: u64,
    /// What could be read of it.
    pub state: ShelvedState,
}

/// What could be read of a bundle's core.
#[derive(Debug)]
pub enum ShelvedState {
    /// The public core.
    Readable(Box<PublicCore>),
    /// Damaged, cut, or from another release.
    Unreadable(BundleError),
    /// The file does not even open.
    Closed(FileError),
}

impl Shelved {
    /// The public core, if it could be read.
    pub fn core(&self) -> Option<&PublicCore> {
        match &self.state {
            ShelvedState::Readable(core) => Some(core),
            ShelvedState::Unreadable(_) | ShelvedState::Closed(_) => None,
        }
    }
}

/// Lists the bundles of a folder by sequence.
///
/// # Errors
/// The folder cannot be read; a bundle that cannot is listed as such.
pub fn bundles_in(folder: &Folder) -> Result<Vec<Shelved>, FileError> {
    let listing = std::fs::read_dir(folder.path()).map_err(FileError::io("list folder", folder.path()))?;
    let mut bundles = Vec::new();
    for item in listing {
        let item = item.map_err(FileError::io("list folder", folder.path()))?;
        if let Ok(name) = item.file_name().into_string()
            && name.ends_with(".akb")
        {
            bundles.push(look_at(folder, name));
        }
    }
    bundles.sort_by(|a, b| (a.sequence, &a.name).cmp(&(b.sequence, &b.name)));
    Ok(bundles)
}

fn look_at(folder: &Folder, name: String) -> Shelved {
    let (state, size_bytes) = match folder.open_file(&name) {
        Err(error) => (ShelvedState::Closed(error), 0),
        Ok(file) => {
            let core = read_core(&file);
            (
                core.map_or_else(ShelvedState::Unreadable, |core| ShelvedState::Readable(Box::new(core))),
                file.metadata().map_or(0, |m| m.len()),
            )
        }
    };
    let sequence = match &state {
        ShelvedState::Readable(core) => core.sequence,
        // A damaged bundle keeps its number: it must not be given to another.
        _ => sequence_in(&name).unwrap_or(0),
    };
    Shelved { name, size_bytes, sequence, state }
}

/// Takes apart `<set>-<sequence>-<UTC>.akb`; anything else is a name that a person gave.
fn parts(name: &str) -> Option<(&str, u64)> {
    let (front, time) = name.strip_suffix(".akb")?.rsplit_once('-')?;
    let (set, digits) = front.rsplit_once('-')?;
    let is_time =
        time.len() == 16 && time.bytes().zip(b"ddddddddTddddddZ").all(|(c, &form)| c == form || form == b'd' && c.is_ascii_digit());
    let is_number = digits.len() >= 6 && digits.bytes().all(|c| c.is_ascii_digit());
    let sequence = digits.parse().ok().filter(|sequence| (1..=SEQUENCE_MAX).contains(sequence))?;
    (is_time && is_number).then_some((set, sequence))
}

fn sequence_in(name: &str) -> Option<u64> {
    parts(name).map(|(_, sequence)| sequence)
}

/// The set that a file's name claims.
pub(super) fn set_in(name: &str) -> Option<&str> {
    parts(name).map(|(set, _)| set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_this_program_gives_claim_a_number() {
        assert_eq!(parts("my-set-000012-20261120T231820Z.akb"), Some(("my-set", 12)));
        for other in [
            "other.akb",
            "my-set-backup-of-2025-11.akb",
            "my-set-12-20261120T231820Z.akb",
            "my-set-000000-20261120T231820Z.akb",
            "my-set-18446744073709551615-20261120T231820Z.akb",
            "my-set-+00012-20261120T231820Z.akb",
            "my-set-000012-x.akb",
        ] {
            assert_eq!(parts(other), None, "{other}");
        }
    }
}
