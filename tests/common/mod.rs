//! What the tests of the database room share: options, a captured image, and children that hold or write databases.
#![allow(dead_code)] // each test binary uses its part

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use airkeep::database::{Capture, CaptureOptions, CheckKind, DatabaseError, PagePreference, SourceFacts};
use airkeep::files::ScratchSpace;
use rusqlite::Connection;

/// Scratch in the system's folder for temporary files, on disk from the first byte.
pub fn scratch() -> ScratchSpace {
    ScratchSpace::new(std::env::temp_dir(), entropy).with_memory_limit(0)
}

/// Keys that differ, which is all that tests need.
pub fn entropy(buffer: &mut [u8]) {
    static COUNTER: AtomicU64 = AtomicU64::new(1);
    for piece in buffer.chunks_mut(8) {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        piece.copy_from_slice(&number.to_le_bytes()[..piece.len()]);
    }
}

pub fn options(scratch: &ScratchSpace) -> CaptureOptions<'_> {
    CaptureOptions {
        check: CheckKind::Full,
        busy_timeout: Duration::from_millis(300),
        accept_corrupt: false,
        scratch,
        hash_tables: false,
        watched: &[],
        pages: PagePreference::Auto,
        clock: &|| SystemTime::UNIX_EPOCH,
        cancelled: &|| false,
    }
}

/// Begins, reads everything and finishes.
pub fn capture_with(path: &Path, change: impl FnOnce(&mut CaptureOptions<'_>)) -> Result<(SourceFacts, Vec<u8>), DatabaseError> {
    let scratch = scratch();
    let mut options = options(&scratch);
    change(&mut options);
    let mut capture = Capture::begin(path, &options)?;
    let facts = capture.facts().clone();
    let mut image = Vec::new();
    capture.write_image(&mut |piece| {
        image.extend_from_slice(piece);
        Ok::<(), DatabaseError>(())
    })?;
    capture.finish()?;
    assert_eq!(image.len() as u64, facts.size_bytes);
    assert_eq!(facts.size_bytes, facts.page_count * u64::from(facts.page_size));
    Ok((facts, image))
}

pub fn capture(path: &Path) -> (SourceFacts, Vec<u8>) {
    capture_with(path, |_| {}).expect("capture")
}

/// Puts an image into a file and opens it.
pub fn open_image(folder: &Path, image: &[u8]) -> Connection {
    let path = folder.join(format!("image-{}.db", image.len()));
    std::fs::write(&path, image).expect("write image");
    Connection::open(path).expect("open image")
}

pub fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).expect(sql)
}

pub fn make(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("open");
    connection.execute_batch(sql).expect("sql");
    connection.close().expect("close");
}

/// Reads a database file; only for databases that nobody has open.
pub fn bytes(path: &Path) -> Vec<u8> {
    std::fs::read(path).expect("read")
}

/// All files of a folder with their content.
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("list").flatten().map(|entry| (entry.path(), bytes(&entry.path()))).collect();
    files.sort();
    files
}

/// This test program, run again in a role; it has said `ready` when this returns.
pub struct Role {
    child: Child,
    _output: Box<dyn Read>,
}

impl Role {
    pub fn start(role: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("exe"))
            .args(["plays_a_role_for_another_test", "--exact", "--ignored", "--nocapture"])
            .env("AIRKEEP_TEST_ROLE", role)
            .env("AIRKEEP_TEST_PATH", path)
            .stdout(Stdio::piped())
            .stdin(Stdio::piped())
            .spawn()
            .expect("child");
        let mut output = BufReader::new(child.stdout.take().expect("stdout"));
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(output.read_line(&mut line).expect("read") > 0, "role {role} ended early");
        }
        Self { child, _output: Box::new(output) }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Closes the child's input, which tells it to end, and gives what it said since.
    pub fn end(mut self) -> String {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self._output.read_to_string(&mut rest).expect("read");
        assert!(self.child.wait().expect("wait").success(), "{rest}");
        rest
    }
}
