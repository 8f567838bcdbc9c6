//! Moving a file aside together with the files that belong to it, and giving a new file the attributes of an old one.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, Mode, RenameFlags, XattrFlags};
use rustix::io::Errno;

use super::{Folder, NewFile};
use crate::files::FileError;

impl Folder {
    /// Gives a file a second name, and moves the files called like it plus a suffix along; tells which suffixes there were.
    ///
    /// The file itself keeps its name too, so that there is no moment without it; nothing is replaced. If it fails, everything is
    /// as it was.
    ///
    /// # Errors
    /// [`FileError::Exists`] if the second name is taken, else what the system says.
    pub fn move_aside(&self, name: &str, suffixes: &[&'static str], aside: &str) -> Result<Vec<&'static str>, FileError> {
        match rustix::fs::linkat(self.descriptor(), name, self.descriptor(), aside, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            // A run that was killed got this far.
            Err(Errno::EXIST) if self.is_same_file(name, aside) => {}
            Err(Errno::EXIST) => return Err(FileError::Exists { path: self.path().join(aside) }),
            Err(errno) => return Err(FileError::on("move aside", &self.path().join(name))(errno)),
        }
        let mut moved = Vec::new();
        for suffix in suffixes {
            let (from, to) = (format!("{name}{suffix}"), format!("{aside}{suffix}"));
            match rustix::fs::renameat_with(self.descriptor(), &from, self.descriptor(), &to, RenameFlags::NOREPLACE) {
                Ok(()) => moved.push(*suffix),
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    let _ = self.put_back(name, &moved, aside);
                    return Err(FileError::on("move aside", &self.path().join(from))(errno));
                }
            }
        }
        if let Err(error) = self.sync() {
            let _ = self.put_back(name, &moved, aside);
            return Err(error);
        }
        Ok(moved)
    }

    /// Undoes [`Folder::move_aside`] as long as nothing else got the name.
    ///
    /// # Errors
    /// What the system says.
    pub fn put_back(&self, name: &str, suffixes: &[&'static str], aside: &str) -> Result<(), FileError> {
        // Once another file has the name, what belongs to the old one must never come beside it.
        if !self.is_same_file(name, aside) && self.has(name)? {
            return Ok(());
        }
        for suffix in suffixes {
            self.rename(&format!("{aside}{suffix}"), &format!("{name}{suffix}"))?;
        }
        if self.is_same_file(name, aside) { self.remove(aside) } else { Ok(()) }
    }

    /// Finds a second name that [`Folder::move_aside`] gave a file before its run was killed.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn find_aside(&self, name: &str, prefix: &str) -> Result<Option<String>, FileError> {
        for entry in std::fs::read_dir(self.path()).map_err(FileError::io("list folder", self.path()))? {
            let other = entry.map_err(FileError::io("list folder", self.path()))?.file_name();
            if let Some(other) = other.to_str().filter(|other| other.starts_with(prefix) && self.is_same_file(name, other)) {
                return Ok(Some(other.to_owned()));
            }
        }
        Ok(None)
    }

    fn is_same_file(&self, one: &str, other: &str) -> bool {
        let look = |name: &str| rustix::fs::statat(self.descriptor(), name, AtFlags::SYMLINK_NOFOLLOW);
        matches!((look(one), look(other)), (Ok(one), Ok(other)) if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
    }
}

impl NewFile {
    /// Gives the file the owner, group, mode and extended attributes (access lists, security labels) of another of the same folder.
    ///
    /// # Errors
    /// This account may not give files away, or not set an attribute.
    pub fn take_attributes(&self, name: &str, of: &Metadata) -> Result<(), FileError> {
        let own = self.file.metadata().map_err(FileError::io("look at a new file in", self.folder.path()))?;
        if (own.uid(), own.gid()) != (of.uid(), of.gid()) {
            let changed = std::os::unix::fs::fchown(&self.file, Some(of.uid()), Some(of.gid()));
            changed.map_err(FileError::io("keep the owner in", self.folder.path()))?;
        }
        let mode = Mode::from_raw_mode(of.mode() & 0o7777);
        rustix::fs::fchmod(&self.file, mode).map_err(FileError::on("keep the mode in", self.folder.path()))?;
        // After the mode, which would change an access list.
        let path = self.folder.path().join(name);
        self.take_extended(&path).map_err(FileError::on("keep the extended attributes of", &path))
    }

    /// Gives the file the owner of its folder, where this account may: what root puts back belongs to whose folder it is in.
    ///
    /// # Errors
    /// What the system says.
    pub fn belong_to_folder(&self) -> Result<(), FileError> {
        let folder = rustix::fs::fstat(self.folder.descriptor()).map_err(FileError::on("look at", self.folder.path()))?;
        if !rustix::process::geteuid().is_root() || folder.st_uid == 0 {
            return Ok(());
        }
        let changed = std::os::unix::fs::fchown(&self.file, Some(folder.st_uid), Some(folder.st_gid));
        changed.map_err(FileError::io("give a file to the owner of", self.folder.path()))
    }

    /// By path: opening a database beside SQLite would cost this process its locks.
    fn take_extended(&self, of: &Path) -> rustix::io::Result<()> {
        let mut names = Vec::with_capacity(LONGEST_LIST_BYTES);
        match rustix::fs::llistxattr(of, rustix::buffer::spare_capacity(&mut names)) {
            Ok(_) => {}
            Err(Errno::OPNOTSUPP) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        for name in names.split(|byte| *byte == 0).filter(|name| !name.is_empty() && !is_of_the_content(name)) {
            let (mut wanted, mut found) = (Vec::with_capacity(LONGEST_VALUE_BYTES), Vec::with_capacity(LONGEST_VALUE_BYTES));
            rustix::fs::lgetxattr(of, name, rustix::buffer::spare_capacity(&mut wanted))?;
            let has = rustix::fs::fgetxattr(&self.file, name, rustix::buffer::spare_capacity(&mut found)).is_ok();
            // A label that the system has given already may be one that this account could not set.
            if !has || found != wanted {
                rustix::fs::fsetxattr(&self.file, name, &wanted, XattrFlags::empty())?;
            }
        }
        Ok(())
    }
}

/// What the kernel says of the old content (measurements, capabilities), or of the old inode (`trusted`), is not true of the new one.
fn is_of_the_content(name: &[u8]) -> bool {
    [b"trusted.".as_slice(), b"security.ima", b"security.evm", b"security.capability"].iter().any(|start| name.starts_with(start))
}

/// `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` of Linux.
const LONGEST_LIST_BYTES: usize = 64 << 10;
const LONGEST_VALUE_BYTES: usize = 64 << 10;
