//! The first bytes of database files.
//!
//! Reading them is right only in a process that has not opened the file by SQLite: closing a file drops all POSIX locks that the process has
//! on it. So this is of the command line, which knows what else it does, and only for commands that open no database.

use std::io::Read;
use std::path::Path;

use airkeep::files::open_regular;

/// How a database keeps its transactions, by what its header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Wal,
    Rollback,
}

/// Whether a file is a database that is not empty.
pub fn is_database(path: &Path) -> bool {
    mode(path).is_some()
}

/// Its journal mode; nothing of a file that is no database, or cannot be read.
pub fn mode(path: &Path) -> Option<Mode> {
    let mut head = [0; 20];
    open_regular(path).ok()?.read_exact(&mut head).ok()?;
    match (head.starts_with(MAGIC), head[18], head[19]) {
        (false, ..) => None,
        (true, 2, _) | (true, _, 2) => Some(Mode::Wal),
        _ => Some(Mode::Rollback),
    }
}

/// <https://sqlite.org/fileformat2.html>, section 1.3.
const MAGIC: &[u8] = b"SQLite format 3\0";
