//! The way for targets that are missing or that SQLite cannot open: a new file, complete before it gets the name.
//!
//! The old file gets a second name aside, its sidecars move there with it, and only then the new file takes the name over. So at each
//! moment the name leads to the old content or to the new one, never to nothing, and no journal of the old file ever lies beside the
//! new one. Nothing is deleted.

use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::target::{ASIDE, Target};
use super::{InstallError, InstallOptions};
use crate::crypto::{Entropy, encode_hex, random};
use crate::database::source::{SIDECARS, Source, holders_of};
use crate::database::{DatabaseError, Image};
use crate::files::{FileError, NewFile};

/// A place for a new file, which is complete before it gets its name.
pub(super) struct Replace {
    target: Target,
    new: Option<NewFile>,
    aside: String,
}

impl Replace {
    pub(super) fn prepare(target: Target, entropy: &mut dyn Entropy) -> Result<Self, InstallError> {
        if target.names > 1 {
            return Err(InstallError::HardLinks { path: target.path, names: target.names });
        }
        require_unused(&target)?;
        let fresh = || format!("{}{ASIDE}{}", target.name, encode_hex(&random::<8>(entropy)));
        let aside = target.aside.clone().unwrap_or_else(fresh);
        Ok(Self { target, new: None, aside })
    }

    /// Writes the new file, syncs it and reads it back; once.
    pub(super) fn stage(&mut self, image: &Image, options: &InstallOptions<'_>, entropy: &mut dyn Entropy) -> Result<(), InstallError> {
        if self.new.is_some() {
            return Ok(());
        }
        let new = self.target.folder.new_file(entropy)?;
        match &self.target.source {
            Some(source) => new.take_attributes(&self.target.name, &source.metadata()?)?,
            None => new.belong_to_folder()?,
        }
        write(&new, &self.target, image, options)?;
        new.sync()?;
        new.evict();
        read_back(&new, &self.target, image, options)?;
        self.new = Some(new);
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.target.path
    }

    pub(super) fn source(&self) -> Option<&Source> {
        self.target.source.as_ref()
    }

    /// Where the old file goes, if there is one.
    pub(super) fn aside_path(&self) -> Option<PathBuf> {
        self.target.source.as_ref().map(|_| self.target.folder.path().join(&self.aside))
    }

    pub(super) fn install(&mut self, entropy: &mut dyn Entropy) -> Result<(), InstallError> {
        require_unused(&self.target)?;
        let Target { folder, name, source, .. } = &self.target;
        if let Some(source) = source {
            source.metadata()?;
        }
        let Some(new) = self.new.take() else { return Ok(()) };
        let inode = new.file().metadata().map_err(FileError::io("look at", &self.target.path))?.ino();
        let moved = folder.move_aside(name, &SIDECARS, &self.aside)?;
        let named = match source {
            Some(_) => new.replace(name, entropy),
            None => new.publish(name),
        };
        named.map_err(|error| {
            // The failure is what counts; what cannot be put back lies aside, whole.
            let _ = folder.put_back(name, &moved, &self.aside);
            // The name may lead to the new file although that could not be made durable.
            let is_there = folder.open_file(name).and_then(|file| file.metadata().map_err(FileError::io("look at", &self.target.path)));
            match is_there.is_ok_and(|found| found.ino() == inode) {
                true => InstallError::from(error).after_commit(&self.target.path),
                false => error.into(),
            }
        })
    }
}

fn require_unused(target: &Target) -> Result<(), InstallError> {
    let holders = holders_of(&target.path);
    match holders.is_empty() {
        true => Ok(()),
        false => Err(DatabaseError::Locked { path: target.path.clone(), waited: Duration::ZERO, holders }.into()),
    }
}

fn write(new: &NewFile, target: &Target, image: &Image, options: &InstallOptions<'_>) -> Result<(), InstallError> {
    each_piece(image, target, options, |offset, piece| {
        new.file().write_all_at(piece, offset).map_err(FileError::io("write", &target.path)).map_err(InstallError::from)
    })
}

fn read_back(new: &NewFile, target: &Target, image: &Image, options: &InstallOptions<'_>) -> Result<(), InstallError> {
    let mut found = Vec::new();
    each_piece(image, target, options, |offset, piece| {
        found.resize(piece.len(), 0);
        new.file().read_exact_at(&mut found, offset).map_err(FileError::io("read back", &target.path))?;
        match found == piece {
            true => Ok(()),
            false => Err(InstallError::Different { path: target.path.clone(), what: format!("the medium gave other bytes at {offset}") }),
        }
    })
}

fn each_piece(
    image: &Image,
    target: &Target,
    options: &InstallOptions<'_>,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), InstallError>,
) -> Result<(), InstallError> {
    let (mut buffer, mut offset) = (vec![0; PIECE_BYTES], 0);
    loop {
        if (options.cancelled)() {
            return Err(InstallError::Cancelled { path: target.path.clone() });
        }
        let count = image.read_at(offset, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        take(offset, &buffer[..count])?;
        offset += count as u64;
    }
}

const PIECE_BYTES: usize = 256 << 10;
