//! Verify at L4: the archive of each set of plain files against what the manifest says of it.

use std::io;

use crate::bundle::{FileSet, Label, read_archive};
use crate::crypto::Sha256;
use crate::files::{Scratch, ScratchError};

/// What was found in the archive of a set of files whose bytes are as sealed.
#[derive(Debug, Clone)]
pub struct FilesProof {
    /// The set.
    pub label: Label,
    /// Files of it, by the manifest.
    pub files: u64,
    /// In what the archive is not what the manifest says.
    pub problem: Option<String>,
    /// Why it was not looked into.
    pub unchecked: Option<String>,
}

impl FilesProof {
    pub(super) fn unexamined(set: &FileSet, error: &ScratchError) -> FilesProof {
        let unchecked = Some(error.to_string());
        FilesProof { label: set.label.clone(), files: set.files.len() as u64, problem: None, unchecked }
    }

    /// Whether the archive is what the manifest says, as far as it was looked into.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problem.is_none()
    }

    pub(super) fn of(set: &FileSet, archive: &Scratch) -> FilesProof {
        let compared = read_archive::<io::Error>(archive.reader(), &set.files, &mut |file, content| {
            let (mut hash, mut size_bytes, mut buffer) = (Sha256::new(), 0, vec![0; 64 << 10]);
            loop {
                match content.read(&mut buffer)? {
                    0 => break,
                    count => {
                        hash.update(&buffer[..count]);
                        size_bytes += count as u64;
                    }
                }
            }
            let other = || io::Error::new(io::ErrorKind::InvalidData, format!("'{}' is not what the manifest says", file.path));
            if (size_bytes, hash.finish()) == (file.size_bytes, file.sha256) { Ok(()) } else { Err(other()) }
        });
        let problem = compared.err().map(|error| error.to_string());
        FilesProof { label: set.label.clone(), files: set.files.len() as u64, problem, unchecked: None }
    }
}
