//! A file taken into scratch: what was hashed is what is unpacked, whatever becomes of the file meanwhile.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::ImportFault;
use crate::crypto::{Digest, Sha256};
use crate::files::{FileError, Scratch, ScratchSpace, open_regular};
use crate::ops::Progress;

/// Where unpacking is done, and how far it may go.
pub(super) struct Bench<'b> {
    pub(super) space: &'b ScratchSpace,
    pub(super) progress: &'b Arc<dyn Progress>,
    pub(super) max_size_bytes: Option<u64>,
}

/// What is left of what a file may unpack to.
pub(super) struct Budget {
    left_bytes: u64,
    limit_bytes: u64,
}

impl Budget {
    /// For what does not grow.
    pub(super) fn unlimited() -> Budget {
        Budget { left_bytes: u64::MAX, limit_bytes: u64::MAX }
    }

    fn spend(&mut self, bytes: u64) -> Result<(), ImportFault> {
        let over = ImportFault::TooLarge { limit_bytes: self.limit_bytes };
        self.left_bytes = self.left_bytes.checked_sub(bytes).ok_or(over)?;
        Ok(())
    }
}

/// Bytes in scratch, and their digest.
pub(super) struct Poured {
    pub(super) content: Scratch,
    pub(super) sha256: Digest,
}

impl Bench<'_> {
    /// What content of this size may unpack to.
    pub(super) fn budget(&self, packed_bytes: u64) -> Budget {
        let limit_bytes = self.max_size_bytes.unwrap_or_else(|| packed_bytes.saturating_mul(RATIO_MAX).max(ALWAYS_ALLOWED_BYTES));
        Budget { left_bytes: limit_bytes, limit_bytes }
    }

    /// Reads to the end, into scratch.
    pub(super) fn pour(
        &self,
        from: &mut dyn Read,
        announced_bytes: u64,
        budget: &mut Budget,
        explain: impl Fn(io::Error) -> ImportFault,
    ) -> Result<Poured, ImportFault> {
        let mut content = self.space.create(announced_bytes)?;
        let (mut hash, mut buffer, mut checked_bytes) = (Sha256::new(), vec![0; PIECE_BYTES], 0);
        loop {
            if self.progress.is_cancelled() {
                return Err(ImportFault::Cancelled);
            }
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(Poured { content, sha256: hash.finish() }),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(explain(error)),
            };
            budget.spend(count as u64)?;
            hash.update(&buffer[..count]);
            // What unpacks without end must not fill the disk on which others work.
            if content.len() >= checked_bytes {
                self.space.require_free(RESERVE_BYTES)?;
                checked_bytes = content.len() + RESERVE_BYTES / 2;
            }
            content.write_at(content.len(), &buffer[..count])?;
        }
    }

    /// Takes a file.
    pub(super) fn take(&self, path: &Path) -> Result<Taken, ImportFault> {
        let failed = FileError::io("read", path);
        let mut file = open_regular(path)?;
        let before = file.metadata().map_err(FileError::io("look at", path))?;
        let modified_at = before.modified().map_err(FileError::io("look at", path))?;
        let Poured { content, sha256 } =
            self.pour(&mut file, before.len(), &mut Budget::unlimited(), |error| ImportFault::File(FileError::io("read", path)(error)))?;
        let after = file.metadata().map_err(failed)?;
        if after.modified().ok() != Some(modified_at) || content.len() != before.len() {
            return Err(ImportFault::Changed);
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let taken = Taken { path: path.to_owned(), name, content, sha256, modified_at };
        Ok(taken)
    }
}

/// An old backup in scratch.
pub(super) struct Taken {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) content: Scratch,
    pub(super) sha256: Digest,
    pub(super) modified_at: SystemTime,
}

impl Taken {
    /// Compares a digest with what the file `PATH.sha256` says, if there is one; tells whether there is.
    pub(super) fn check_sum(path: &Path, actual: Digest) -> Result<bool, ImportFault> {
        let mut sidecar = path.to_owned().into_os_string();
        sidecar.push(".sha256");
        let sidecar = PathBuf::from(sidecar);
        if sidecar.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Ok(false);
        }
        let mut text = Vec::new();
        open_regular(&sidecar)?.take(SIDECAR_MAX).read_to_end(&mut text).map_err(FileError::io("read", &sidecar))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match sum_in(&String::from_utf8_lossy(&text), &name) {
            Some(expected) if expected == actual => Ok(true),
            Some(expected) => Err(ImportFault::Sum { sidecar, expected, actual }),
            None => Err(ImportFault::NoSum { sidecar }),
        }
    }
}

/// The sum of a file: on the line that names it, or on the only line there is, since files get renamed.
fn sum_in(text: &str, name: &str) -> Option<Digest> {
    let lines: Vec<(Digest, &str)> = text.lines().filter(|line| !line.trim().is_empty()).map(parse_line).collect::<Option<_>>()?;
    let named = lines.iter().find(|(_, of)| *of == name);
    named.or(lines.first().filter(|_| lines.len() == 1)).map(|(digest, _)| *digest)
}

/// Reads `HEX`, `HEX  NAME` and `HEX *NAME`, as sha256sum writes them.
fn parse_line(line: &str) -> Option<(Digest, &str)> {
    let (hex, rest) = line.trim_end().split_at_checked(64)?;
    let name = rest.trim_start_matches([' ', '*']);
    let name = name.rsplit('/').next().unwrap_or(name);
    Some((Digest::parse(&hex.to_ascii_lowercase()).ok()?, name))
}

const PIECE_BYTES: usize = 256 << 10;
const SIDECAR_MAX: u64 = 64 << 10;
/// Databases that are mostly empty pages pack well beyond this; those below [`ALWAYS_ALLOWED_BYTES`] are taken all the same.
const RATIO_MAX: u64 = 100;
const ALWAYS_ALLOWED_BYTES: u64 = 1 << 30;
/// Room that is left to others.
const RESERVE_BYTES: u64 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_the_file() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let digest = |hex: &str| Digest::parse(hex).ok();
        for (text, expected) in [
            (format!("{a}  app.db.gz\n"), digest(&a)),
            (format!("{a} *app.db.gz\r\n"), digest(&a)),
            (a.clone(), digest(&a)),
            (a.to_uppercase(), digest(&a)),
            (format!("{a}  renamed.gz\n"), digest(&a)),
            (format!("{a}  other.gz\n{b}  /srv/app.db.gz\n"), digest(&b)),
            (format!("{a}  one.gz\n{b}  two.gz\n"), None),
            (String::new(), None),
            ("no sum".to_owned(), None),
        ] {
            assert_eq!(sum_in(&text, "app.db.gz"), expected, "{text}");
        }
    }
}
