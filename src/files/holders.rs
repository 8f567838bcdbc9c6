//! Which processes hold a file: for the words of a refusal, never for a decision.
//!
//! Two sources, joined: the kernel's table of locks, and the open descriptors of every process that we may look at. Both can miss
//! a process (another user's, another container's), so an empty answer proves nothing. Files are never opened here, only
//! asked for device and inode: opening and closing a database file would drop this process's own locks on it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A process that has a file open or locked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// Its command name as the kernel tells it, or an empty text.
    pub name: String,
}

/// Lists the other processes that hold any of the files; nothing where the system has no `/proc`.
///
/// # Source
/// `proc_locks(5)`, `proc_pid_fd(5)`.
#[must_use]
pub fn holders(files: &[PathBuf]) -> Vec<Process> {
    let wanted: BTreeSet<FileId> = files.iter().filter_map(|file| FileId::of(file)).collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let table = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut pids: BTreeSet<u32> = table.lines().filter_map(parse_lock).filter(|(_, id)| wanted.contains(id)).map(|(pid, _)| pid).collect();
    pids.extend(processes().filter(|pid| has_open(*pid, &wanted)));
    pids.remove(&std::process::id());
    pids.into_iter().map(|pid| Process { pid, name: name_of(pid) }).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Reads `1: POSIX ADVISORY WRITE 4711 fd:01:1234 0 EOF`; a waiting process (`->`) holds nothing.
fn parse_lock(line: &str) -> Option<(u32, FileId)> {
    let mut fields = line.split_ascii_whitespace();
    let pid = fields.nth(4)?.parse().ok()?;
    let mut place = fields.next()?.split(':');
    let major = u32::from_str_radix(place.next()?, 16).ok()?;
    let minor = u32::from_str_radix(place.next()?, 16).ok()?;
    let inode = place.next()?.parse().ok()?;
    (pid > 0).then_some((pid, FileId { device: rustix::fs::makedev(major, minor), inode }))
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn has_open(pid: u32, wanted: &BTreeSet<FileId>) -> bool {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| FileId::of(&entry.path()).is_some_and(|id| wanted.contains(&id)))
}

fn name_of(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn reads_a_held_lock_and_skips_a_waiting_one() {
        let (pid, id) = parse_lock("1: POSIX  ADVISORY  WRITE 4711 fd:01:1234567 0 EOF").expect("a lock");
        assert_eq!((pid, id.inode), (4711, 1_234_567));
        assert_eq!(id.device, rustix::fs::makedev(0xfd, 1));
        for line in ["1: -> POSIX  ADVISORY  WRITE 4711 fd:01:1234567 0 EOF", "", "1: OFDLCK ADVISORY READ -1 00:06:4 0 EOF"] {
            assert_eq!(parse_lock(line), None, "{line}");
        }
    }

    #[test]
    fn names_a_child_that_has_the_file_open_and_never_ourselves() {
        if !Path::new("/proc/self/fd").exists() {
            eprintln!("skipped: this system has no /proc");
            return;
        }
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        let opened = fs::File::open(file.path()).expect("open");
        assert_eq!(holders(&[file.path().to_owned()]), []);
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(opened_for_write(file.path())).spawn().expect("cat");
        let found = holders(&[file.path().to_owned()]);
        child.kill().expect("kill");
        child.wait().expect("wait");
        drop(opened);
        assert!(found.iter().any(|process| process.pid == child.id()), "{found:?}");
        assert!(found.iter().all(|process| process.pid != std::process::id()));
    }

    #[test]
    fn finds_nobody_for_a_missing_file() {
        assert_eq!(holders(&[PathBuf::from("/nonexistent/file")]), []);
    }

    fn opened_for_write(path: &Path) -> fs::File {
        fs::OpenOptions::new().write(true).open(path).expect("open for writing")
    }
}
