//! Folders that were opened once, and files that appear in them complete or not at all.
//!
//! A new file has no name until it is published (`O_TMPFILE`, then `linkat`), so a kill leaves nothing behind. Where the file system cannot do
//! that, it has a hidden name ending in `.partial` that dies with the value. Publishing never replaces anything, and everything goes through
//! the folder's descriptor, so that a path swapped for a symbolic link in the meantime changes nothing.

mod aside;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, Advice, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::FileError;

const PRIVATE_FILE: Mode = Mode::from_raw_mode(0o600);

/// An open folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    descriptor: Arc<OwnedFd>,
}

impl Folder {
    /// Opens an existing folder; its last component must not be a symbolic link.
    ///
    /// # Errors
    /// Missing, not a folder, a link, no permission.
    pub fn open(path: &Path) -> Result<Folder, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(FileError::on("open folder", path))?;
        Ok(Folder { path: path.to_owned(), descriptor: Arc::new(descriptor) })
    }

    /// Opens the folder that a file is in, links resolved once, and gives the file's name there.
    ///
    /// # Errors
    /// No such folder; [`FileError::NotRegular`] for a path without a name, or with one that is not UTF-8.
    pub fn of(path: &Path) -> Result<(Folder, String), FileError> {
        match path.file_name().and_then(|name| name.to_str()) {
            Some(name) => Ok((Folder::above(path)?, name.to_owned())),
            None => Err(FileError::NotRegular { path: path.to_owned() }),
        }
    }

    /// Opens the folder that a file is in, links resolved once.
    ///
    /// # Errors
    /// No such folder, no permission.
    pub fn above(path: &Path) -> Result<Folder, FileError> {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Folder::open(&parent.canonicalize().map_err(FileError::io("open folder", parent))?)
    }

    /// Its path as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its descriptor.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.descriptor
    }

    /// Opens a folder in this one, making it with mode 0700 if it is missing; tells whether it was made. Links are not followed.
    ///
    /// # Errors
    /// A link or another thing of that name, no permission.
    pub fn open_or_make_folder(&self, name: &str) -> Result<(Folder, bool), FileError> {
        let path = self.path.join(name);
        let is_new = match rustix::fs::mkdirat(&*self.descriptor, name, Mode::RWXU) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(source) => return Err(FileError::on("make folder", &path)(source)),
        };
        let folder = self.open_folder(name)?;
        if is_new {
            rustix::fs::fchmod(&*folder.descriptor, Mode::RWXU).map_err(FileError::on("set the mode of", &path))?;
        }
        Ok((folder, is_new))
    }

    /// Opens a folder in this one. Links are not followed.
    ///
    /// # Errors
    /// Missing, a link or another thing of that name, no permission.
    pub fn open_folder(&self, name: &str) -> Result<Folder, FileError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&*self.descriptor, name, flags, Mode::empty()).map_err(FileError::on("open folder", &path))?;
        Ok(Folder { path, descriptor: Arc::new(opened) })
    }

    /// Whether the folder has an entry of this name, of any kind.
    ///
    /// # Errors
    /// Anything but "no such file".
    pub fn has(&self, name: &str) -> Result<bool, FileError> {
        match rustix::fs::statat(&*self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(source) => Err(FileError::on("look at", &self.path.join(name))(source)),
        }
    }

    /// Opens a file of the folder for reading; the file must be a regular one and not a link.
    ///
    /// # Errors
    /// Missing, not a regular file, no permission.
    pub fn open_file(&self, name: &str) -> Result<File, FileError> {
        let path = self.path.join(name);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = rustix::fs::openat(&*self.descriptor, name, flags, Mode::empty()).map_err(FileError::on("open", &path))?;
        require_regular(File::from(descriptor), &path)
    }

    /// Opens a file of the folder for reading and writing, making it with mode 0600 if it is missing; tells whether it was made.
    ///
    /// # Errors
    /// A link or another thing of that name, no permission.
    pub fn open_or_make_file(&self, name: &str) -> Result<(File, bool), FileError> {
        let path = self.path.join(name);
        let is_new = !self.has(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let descriptor = rustix::fs::openat(&*self.descriptor, name, flags, PRIVATE_FILE).map_err(FileError::on("open", &path))?;
        if is_new {
            rustix::fs::fchmod(&descriptor, PRIVATE_FILE).map_err(FileError::on("set the mode of", &path))?;
        }
        Ok((require_regular(File::from(descriptor), &path)?, is_new))
    }

    /// Begins a new file, mode 0600 whatever the umask.
    ///
    /// # Errors
    /// No permission, no space for an inode, a read-only file system.
    pub fn new_file(&self, entropy: &mut dyn crate::crypto::Entropy) -> Result<NewFile, FileError> {
        let action = FileError::on("create a file in", &self.path);
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        // Publishing goes through /proc; where that is missing the hidden name serves.
        let unnamed = match Path::new("/proc/self/fd").exists() {
            true => match rustix::fs::openat(&*self.descriptor, ".", flags | OFlags::TMPFILE, PRIVATE_FILE) {
                Ok(descriptor) => Some(descriptor),
                // open(2): what a kernel or file system without such files says. Any other error would meet a named file as well.
                Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => None,
                Err(error) => return Err(action(error)),
            },
            false => None,
        };
        let (descriptor, hidden) = match unnamed {
            Some(descriptor) => (descriptor, None),
            None => {
                let name = hidden_name(entropy);
                let flags = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
                (rustix::fs::openat(&*self.descriptor, name.as_str(), flags, PRIVATE_FILE).map_err(action)?, Some(name))
            }
        };
        let new = NewFile { folder: self.clone(), file: File::from(descriptor), hidden };
        rustix::fs::fchmod(&new.file, PRIVATE_FILE).map_err(FileError::on("set the mode of a file in", &self.path))?;
        Ok(new)
    }

    /// Makes a small file that appears complete and durable, or not at all. Nothing is ever replaced.
    ///
    /// # Errors
    /// [`FileError::Exists`], or what the system says.
    pub fn write_new(&self, name: &str, content: &[u8], entropy: &mut dyn crate::crypto::Entropy) -> Result<(), FileError> {
        self.write_unnamed(name, content, entropy)?.publish(name)
    }

    /// Puts a small file in place of what has the name, at one moment, durably.
    ///
    /// # Errors
    /// What the system says; what had the name keeps it then.
    pub fn write_over(&self, name: &str, content: &[u8], entropy: &mut dyn crate::crypto::Entropy) -> Result<(), FileError> {
        self.write_unnamed(name, content, entropy)?.replace(name, entropy)
    }

    /// As [`Folder::write_over`], by way of a file of this name, which the caller's own lock keeps others from.
    ///
    /// # Errors
    /// What the system says; what had the name keeps it then.
    pub fn write_over_by(&self, name: &str, way: &str, content: &[u8]) -> Result<(), FileError> {
        let (mut file, _) = self.open_or_make_file(way)?;
        let path = self.path.join(way);
        let written = file.set_len(0).and_then(|()| file.write_all(content)).and_then(|()| file.sync_all());
        let renamed = written.map_err(FileError::io("write", &path)).and_then(|()| {
            let renamed = rustix::fs::renameat(&*self.descriptor, way, &*self.descriptor, name);
            renamed.map_err(FileError::on("replace", &self.path.join(name)))
        });
        // What is left of the way is in the way of nobody, but looks like a fault.
        renamed.inspect_err(|_| drop(self.remove(way)))?;
        self.sync()
    }

    fn write_unnamed(&self, name: &str, content: &[u8], entropy: &mut dyn crate::crypto::Entropy) -> Result<NewFile, FileError> {
        let new = self.new_file(entropy)?;
        (&new.file).write_all(content).map_err(FileError::io("write", &self.path.join(name)))?;
        new.sync()?;
        Ok(new)
    }

    /// Reads a small file of the folder; of a longer one the first `max` bytes.
    ///
    /// # Errors
    /// As [`Folder::open_file`].
    pub fn read_file(&self, name: &str, max: u64) -> Result<Vec<u8>, FileError> {
        let mut content = Vec::new();
        let read = self.open_file(name)?.take(max).read_to_end(&mut content);
        read.map_err(FileError::io("read", &self.path.join(name)))?;
        Ok(content)
    }

    /// Makes entries of the folder durable.
    ///
    /// # Errors
    /// What the system says; a failure means that a power cut may undo what was published.
    pub fn sync(&self) -> Result<(), FileError> {
        rustix::fs::fsync(&*self.descriptor).map_err(FileError::on("sync folder", &self.path))
    }

    /// Removes a file that this program published a moment ago.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove(&self, name: &str) -> Result<(), FileError> {
        rustix::fs::unlinkat(&*self.descriptor, name, AtFlags::empty()).map_err(FileError::on("remove", &self.path.join(name)))
    }

    /// Gives a file of the folder another name, durably; what has that name is replaced.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let renamed = rustix::fs::renameat(&*self.descriptor, from, &*self.descriptor, to);
        renamed.map_err(FileError::on("rename", &self.path.join(from)))?;
        self.sync()
    }

    /// Removes hidden files that a killed run left. Only for who holds the folder's lock: then nobody is using one.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_hidden(&self) -> Result<(), FileError> {
        let listing = std::fs::read_dir(&self.path).map_err(FileError::io("list folder", &self.path))?;
        for item in listing {
            let name = item.map_err(FileError::io("list folder", &self.path))?.file_name();
            if let Some(name) = name.to_str().filter(|name| name.starts_with(".airkeep-") && name.ends_with(".partial")) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Whether this account can make files here.
    pub fn is_writable(&self) -> bool {
        rustix::fs::accessat(&*self.descriptor, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    }

    /// Bytes that an ordinary user can still write here.
    ///
    /// # Errors
    /// What the system says.
    pub fn free_bytes(&self) -> Result<u64, FileError> {
        let space = rustix::fs::fstatvfs(&*self.descriptor).map_err(FileError::on("ask for free space in", &self.path))?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// A file without its final name.
#[derive(Debug)]
pub struct NewFile {
    folder: Folder,
    file: File,
    hidden: Option<String>,
}

impl NewFile {
    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Makes the content durable.
    ///
    /// # Errors
    /// What `fsync` says. A failed sync is final: the kernel may have dropped the dirty pages, so trying again proves nothing.
    pub fn sync(&self) -> Result<(), FileError> {
        self.file.sync_all().map_err(FileError::io("sync a new file in", self.folder.path()))
    }

    /// Drops the synced content from the page cache, so that what is read next comes from the medium.
    pub fn evict(&self) {
        // Advice only: on a file system that ignores it the read-back is served from memory.
        let _ = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
    }

    /// Gives the synced file a name in place of what had it, at one moment, and makes that durable.
    ///
    /// # Errors
    /// What the system says; what had the name keeps it then.
    pub fn replace(mut self, name: &str, entropy: &mut dyn crate::crypto::Entropy) -> Result<(), FileError> {
        let folder = self.folder.clone();
        let path = folder.path.join(name);
        let hidden = match self.hidden.take() {
            Some(hidden) => hidden,
            // Only a rename replaces, and only a name can be renamed.
            None => {
                let hidden = hidden_name(entropy);
                self.link(&hidden).map_err(FileError::on("replace", &path))?;
                hidden
            }
        };
        let renamed = rustix::fs::renameat(folder.descriptor(), &hidden, folder.descriptor(), name);
        self.hidden = renamed.is_err().then_some(hidden);
        renamed.map_err(FileError::on("replace", &path))?;
        folder.sync()
    }

    fn link(&self, name: &str) -> rustix::io::Result<()> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        rustix::fs::linkat(rustix::fs::CWD, own, self.folder.descriptor(), name, AtFlags::SYMLINK_FOLLOW)
    }

    /// Gives the synced file its name and makes the name durable. Nothing is ever replaced.
    ///
    /// # Errors
    /// [`FileError::Exists`] if the name is taken, else what the system says; the file is gone then.
    pub fn publish(self, name: &str) -> Result<(), FileError> {
        let folder = self.folder.clone();
        self.publish_unsynced(name)?;
        // A name that may not outlive a power cut is taken back: an error means that nothing is there.
        folder.sync().inspect_err(|_| drop(folder.remove(name)))
    }

    /// As [`NewFile::publish`], for one of many: the caller syncs the folder once all of them have their names.
    ///
    /// # Errors
    /// [`FileError::Exists`] if the name is taken, else what the system says; the file is gone then.
    pub fn publish_unsynced(mut self, name: &str) -> Result<(), FileError> {
        let folder = self.folder.clone();
        let done = match self.hidden.take() {
            None => self.link(name),
            Some(hidden) => {
                let renamed = rustix::fs::renameat_with(folder.descriptor(), &hidden, folder.descriptor(), name, RenameFlags::NOREPLACE);
                // NFS and many FUSE file systems know no such flag; a hard link replaces nothing either.
                let named = match renamed {
                    Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
                        rustix::fs::linkat(folder.descriptor(), &hidden, folder.descriptor(), name, AtFlags::empty())
                            .and_then(|()| rustix::fs::unlinkat(folder.descriptor(), &hidden, AtFlags::empty()))
                    }
                    other => other,
                };
                self.hidden = named.is_err().then_some(hidden);
                named
            }
        };
        match done {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(FileError::Exists { path: folder.path.join(name) }),
            Err(source) => Err(FileError::on("publish", &folder.path.join(name))(source)),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // On the way out of an error; there is nobody left to tell.
            let _ = self.folder.remove(hidden);
        }
    }
}

fn hidden_name(entropy: &mut dyn crate::crypto::Entropy) -> String {
    format!(".airkeep-{}.partial", crate::crypto::encode_hex(&crate::crypto::random::<8>(entropy)))
}

/// Opens a file that a person named: links are followed, anything but a regular file is refused without blocking on it.
///
/// # Errors
/// Missing, not a regular file, no permission.
pub fn open_regular(path: &Path) -> Result<File, FileError> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(FileError::on("open", path))?;
    require_regular(File::from(descriptor), path)
}

fn require_regular(file: File, path: &Path) -> Result<File, FileError> {
    let metadata = file.metadata().map_err(FileError::io("look at", path))?;
    if metadata.is_dir() {
        return Err(FileError::IsFolder { path: path.to_owned() });
    }
    match metadata.is_file() {
        true => Ok(file),
        false => Err(FileError::NotRegular { path: path.to_owned() }),
    }
}
