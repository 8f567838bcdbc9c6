//! Folders and secrets that belong to one account: what is refused, and how they are made.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FlockOperation, Mode, OFlags};
use zeroize::Zeroizing;

use super::{FileError, Folder, open_regular};

/// More than any passphrase or key has.
const SECRET_MAX: u64 = 4096;

/// Why a folder is not safe to keep bundles in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderFault {
    /// Its path ends in a symbolic link.
    SymbolicLink,
    /// It is something else.
    NotAFolder,
    /// Anybody may put files into it.
    WorldWritable,
    /// It belongs to another account.
    ForeignOwner {
        /// That account's number.
        uid: u32,
    },
}

impl fmt::Display for FolderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FolderFault::SymbolicLink => f.write_str("is a symbolic link"),
            FolderFault::NotAFolder => f.write_str("is not a folder"),
            FolderFault::WorldWritable => f.write_str("can be written by everybody"),
            FolderFault::ForeignOwner { uid } => write!(f, "belongs to another account (uid {uid})"),
        }
    }
}

/// Refuses a folder through which somebody else could tamper.
///
/// # Errors
/// [`FileError::Folder`] with the fault, [`FileError::Io`] if it cannot be looked at.
pub fn check_private_folder(path: &Path) -> Result<(), FileError> {
    let metadata = path.symlink_metadata().map_err(FileError::io("look at", path))?;
    let own = rustix::process::geteuid().as_raw();
    let fault = match metadata {
        ref m if m.is_symlink() => FolderFault::SymbolicLink,
        ref m if !m.is_dir() => FolderFault::NotAFolder,
        ref m if m.mode() & 0o002 != 0 => FolderFault::WorldWritable,
        ref m if m.uid() != own && m.uid() != 0 && own != 0 => FolderFault::ForeignOwner { uid: m.uid() },
        _ => return Ok(()),
    };
    Err(FileError::Folder { path: path.to_owned(), fault })
}

/// Reads a small text that nobody else could have written or replaced: the file and all folders above it must belong to this account, to root, or
/// to who became root by sudo; no other may write to the file; and to a folder only with a sticky bit, or as a group that is the account's
/// own. What is read is what was looked at, whatever the name leads to by then.
///
/// # Errors
/// [`FileError::Untrusted`] with the reason, [`FileError::NotRegular`], [`FileError::Io`] if it cannot be read.
pub fn read_trusted_file(path: &Path) -> Result<String, FileError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(FileError::on("read", path))?;
    let file = File::from(opened);
    let metadata = file.metadata().map_err(FileError::io("look at", path))?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    let trust = Trust::of_process();
    let untrusted = |why: String| Err(FileError::Untrusted { path: path.to_owned(), why });
    match metadata.mode() & 0o777 {
        _ if !trust.has_account(metadata.uid()) => return untrusted(format!("it belongs to account {}", metadata.uid())),
        mode if mode & 0o022 != 0 => return untrusted(format!("its mode is {mode:03o}")),
        _ => {}
    }
    for folder in path.ancestors().skip(1) {
        if let Some(why) = trust.why_not(folder)? {
            return untrusted(why);
        }
    }
    let mut text = String::new();
    file.take(TEXT_MAX_BYTES + 1).read_to_string(&mut text).map_err(FileError::io("read", path))?;
    match text.len() as u64 > TEXT_MAX_BYTES {
        true => Err(FileError::io("read", path)(std::io::ErrorKind::FileTooLarge.into())),
        false => Ok(text),
    }
}

/// Of a text that people write.
const TEXT_MAX_BYTES: u64 = 1 << 20;

/// Whom this process may believe: itself, root, and who became root by sudo.
struct Trust {
    accounts: [Option<u32>; 3],
    groups: [Option<u32>; 2],
}

impl Trust {
    fn of_process() -> Trust {
        let own = rustix::process::geteuid().as_raw();
        let by_sudo = |name: &str| std::env::var_os(name).and_then(|id| id.to_str()?.parse().ok()).filter(|_| own == 0);
        Trust {
            accounts: [Some(own), Some(0), by_sudo("SUDO_UID")],
            groups: [Some(rustix::process::getegid().as_raw()), by_sudo("SUDO_GID")],
        }
    }

    /// Why others could put something else into a folder, if they could.
    fn why_not(&self, path: &Path) -> Result<Option<String>, FileError> {
        let folder = path.metadata().map_err(FileError::io("look at", path))?;
        Ok(match folder.mode() {
            _ if !self.has_account(folder.uid()) => Some(format!("'{}' belongs to account {}", path.display(), folder.uid())),
            // In a folder like /tmp others may make files, but not take ours away.
            mode if mode & 0o1000 != 0 => None,
            mode if mode & 0o002 != 0 => Some(format!("everybody can write to '{}'", path.display())),
            mode if mode & 0o020 != 0 && !self.has_group(folder.gid()) => {
                Some(format!("group {} can write to '{}'", folder.gid(), path.display()))
            }
            _ => None,
        })
    }

    fn has_account(&self, uid: u32) -> bool {
        self.accounts.contains(&Some(uid))
    }

    /// Whether a group is an account's own, which most systems give each account, with nobody else in it.
    fn has_group(&self, gid: u32) -> bool {
        self.groups.contains(&Some(gid))
    }
}

/// Makes a folder with mode 0700 whatever the umask, and makes its name durable. Its parent must exist.
///
/// # Errors
/// What the system says.
pub fn make_private_folder(path: &Path) -> Result<(), FileError> {
    std::fs::DirBuilder::new().mode(0o700).create(path).map_err(FileError::io("make folder", path))?;
    let finished = own(path).map_err(FileError::on("set the mode of", path));
    finished.and_then(|()| sync_parent(path)).inspect_err(|_| {
        // Empty, and made a moment ago; on the way out of an error there is nobody left to tell.
        let _ = std::fs::remove_dir(path);
    })
}

/// Makes a folder as [`make_private_folder`] does, and those above it that are missing.
///
/// # Errors
/// What the system says; folders that were made stay.
pub fn make_private_folders(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_private_folders(parent)?;
    }
    make_private_folder(path)
}

/// Gives a folder mode 0700 through a descriptor, so that a link put in its place meanwhile changes nothing elsewhere.
fn own(path: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{Mode, OFlags};
    // O_PATH needs no permission on the folder itself, which a umask may have taken.
    let folder = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    match rustix::fs::fstat(&folder)?.st_mode & 0o777 {
        0o700 => Ok(()),
        _ => rustix::fs::chmod(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&folder)), Mode::RWXU),
    }
}

fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize().map_err(FileError::io("open folder", parent))?;
    Folder::open(&parent)?.sync()
}

/// The one lock of a folder, until it is dropped.
#[derive(Debug)]
pub struct FolderLock(Folder);

/// Takes the one lock of a folder, on the folder itself: no lock file that could be left behind. It dies with the process.
///
/// # Errors
/// [`FileError::Locked`] if another process has it.
pub fn lock_folder(folder: &Folder) -> Result<FolderLock, FileError> {
    match rustix::fs::flock(folder.descriptor(), FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(FolderLock(folder.clone())),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(FileError::Locked { path: folder.path().to_owned() }),
        Err(source) => Err(FileError::on("lock", folder.path())(source)),
    }
}

/// A lock of a file, until it is dropped.
#[derive(Debug)]
pub struct FileLock<'f>(&'f std::fs::File);

/// Takes the lock of a file that is held for moments only, waiting for it as long as such a moment may last.
///
/// # Errors
/// [`FileError::Locked`] after ten seconds.
pub fn lock_file<'f>(file: &'f std::fs::File, path: &Path) -> Result<FileLock<'f>, FileError> {
    for _ in 0..LOCK_ATTEMPTS {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(FileLock(file)),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => std::thread::sleep(LOCK_PAUSE),
            Err(source) => return Err(FileError::on("lock", path)(source)),
        }
    }
    Err(FileError::Locked { path: path.to_owned() })
}

const LOCK_PAUSE: std::time::Duration = std::time::Duration::from_millis(10);
const LOCK_ATTEMPTS: u32 = 1000;

impl Drop for FileLock<'_> {
    fn drop(&mut self) {
        // Said aloud, as for a folder.
        let _ = rustix::fs::flock(self.0, FlockOperation::Unlock);
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // Said aloud: a child that was forked at this moment still holds a copy of the descriptor, and with it the lock.
        let _ = rustix::fs::flock(self.0.descriptor(), FlockOperation::Unlock);
    }
}

/// Reads a passphrase or key file: a regular file of bounded size that nobody else can read.
///
/// # Errors
/// [`FileError::Exposed`], [`FileError::NotRegular`], [`FileError::TooLong`], [`FileError::Io`].
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = open_regular(path)?;
    let metadata = file.metadata().map_err(FileError::io("look at", path))?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(FileError::Exposed { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(SECRET_MAX as usize + 1));
    file.take(SECRET_MAX + 1).read_to_end(&mut bytes).map_err(FileError::io("read", path))?;
    match bytes.len() as u64 > SECRET_MAX {
        true => Err(FileError::TooLong { path: path.to_owned() }),
        false => Ok(bytes),
    }
}
