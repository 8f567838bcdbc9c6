//! Out of the archive of a set of files: each file complete and as the manifest says, or the restore fails.
//!
//! Names come out of a bundle, which anybody can have made who can open it: none leads out of the folder of its set, no link is followed, and no
//! file is ever replaced.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::target::{FILES, Target};
use crate::bundle::{ArchivedFile, FileSet, read_archive};
use crate::crypto::{Digest, Entropy, Sha256};
use crate::files::{FileError, NewFile};
use crate::ops::progress::{Phase, go_on};
use crate::ops::{Environment, Failure, age_seconds};

/// Unpacks an archive that was verified.
pub(super) fn unpack(archive: &File, set: &FileSet, target: &mut Target, environment: &mut Environment) -> Result<(), Failure> {
    let progress = environment.progress.clone();
    let _phase = Phase::begin(&progress, "unpacking", Some(set.files.iter().map(|file| file.size_bytes).sum()));
    let failed = |source| Failure::Archive { label: set.label.clone(), source };
    let mut archive = archive;
    archive.rewind().map_err(failed)?;
    // A set without files still has its folder.
    target.make_folders([FILES, set.label.as_str()].into_iter())?;
    let mut take = |file: &ArchivedFile, content: &mut dyn Read| {
        go_on(&progress).map_err(UnpackError::Stopped)?;
        put(set, file, content, target, &mut *environment.entropy)?;
        progress.advance(file.size_bytes);
        Ok(())
    };
    read_archive::<UnpackError>(archive, &set.files, &mut take).map_err(|error| match error {
        UnpackError::Archive(source) => failed(source),
        UnpackError::File(error) => error.into(),
        UnpackError::Stopped(failure) => failure,
    })
}

enum UnpackError {
    Archive(io::Error),
    File(FileError),
    Stopped(Failure),
}

impl From<io::Error> for UnpackError {
    fn from(error: io::Error) -> UnpackError {
        UnpackError::Archive(error)
    }
}

impl From<FileError> for UnpackError {
    fn from(error: FileError) -> UnpackError {
        UnpackError::File(error)
    }
}

fn put(
    set: &FileSet,
    file: &ArchivedFile,
    content: &mut dyn Read,
    target: &mut Target,
    entropy: &mut dyn Entropy,
) -> Result<(), UnpackError> {
    let invalid = |what: &str| UnpackError::Archive(io::Error::new(io::ErrorKind::InvalidData, format!("'{}': {what}", file.path)));
    let parts: Vec<&str> = file.path.split('/').collect();
    let [folders @ .., name] = &parts[..] else { return Err(invalid("no name")) };
    if parts.iter().any(|part| matches!(*part, "" | "." | "..") || part.contains('\0')) {
        return Err(invalid("it would lead out of its folder"));
    }
    let folder = target.make_folders([FILES, set.label.as_str()].into_iter().chain(folders.iter().copied()))?;
    let new = folder.new_file(entropy)?;
    let path = folder.path().join(name);
    let (size_bytes, sha256) = copy(content, &new).map_err(FileError::io("write", &path))?;
    if (size_bytes, sha256) != (file.size_bytes, file.sha256) {
        return Err(invalid("its content is not what the manifest says"));
    }
    let mode = u32::from_str_radix(&file.mode, 8).map_err(|_| invalid("its mode is no number"))? & 0o777;
    let dressed = new.file().set_permissions(Permissions::from_mode(mode)).and_then(|()| new.file().set_modified(modified(file)));
    dressed.map_err(FileError::io("set time and mode of", &path))?;
    new.sync()?;
    new.publish_unsynced(name)?;
    target.remember(format!("{FILES}/{}/{}", set.label, file.path));
    Ok(())
}

fn copy(content: &mut dyn Read, new: &NewFile) -> io::Result<(u64, Digest)> {
    let (mut hash, mut size_bytes, mut buffer) = (Sha256::new(), 0, vec![0; 256 << 10]);
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok((size_bytes, hash.finish())),
            Ok(count) => {
                hash.update(&buffer[..count]);
                new.file().write_all(&buffer[..count])?;
                size_bytes += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The moment that the manifest names; the first of the calendar for one that no calendar has.
fn modified(file: &ArchivedFile) -> SystemTime {
    let since = age_seconds(&file.modified_at, SystemTime::UNIX_EPOCH).map_or(0, |seconds| -seconds);
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(since).unwrap_or(0))
}
