//! Recovery on a copy: for databases that SQLite cannot read without writing to them.
//!
//! A hot journal must be rolled back, and a WAL where no shared memory can be had must be replayed, before there is a state to
//! capture. Both would change the operator's files, so file and sidecars are copied into scratch and SQLite recovers there.
//! This is the only place that opens database files by other means than SQLite. It does so only while no connection
//! of ours is open, since closing them drops this process's locks, and it believes the copy only if size, times and inode of
//! all files are the same afterwards. Whether a journal that names a super-journal is hot, SQLite decides by asking the
//! VFS for that file, which looks at the real one.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::fs::{Mode, OFlags};

use super::header::{HEADER_BYTES, Header};
use super::live::{Reading, schema_version};
use super::options::CaptureOptions;
use super::pages::mark_as_rollback;
use super::source::{Source, unreadable};
use super::{Access, DatabaseError, Image};
use crate::files::Scratch;

/// Copies the database with its sidecars, recovers the copy, and begins to read it.
pub(super) fn begin(source: &Source, options: &CaptureOptions<'_>, cause: rusqlite::Error) -> Result<Reading, DatabaseError> {
    let started = Instant::now();
    let explain = |error| source.explain("recover a copy of", started.elapsed(), error);
    let copied = copy_unchanged(source, options, cause)?;
    let failed = |error| copied.image.take_failure().map_or_else(|| explain(error), DatabaseError::Scratch);
    replay(&copied.image).map_err(failed)?;
    read(source, copied, options)
}

/// Begins to read an image that nobody else has, with what lies beside it: that is rolled back or replayed first.
pub(super) fn begin_image(source: &Source, image: Image, options: &CaptureOptions<'_>) -> Result<Reading, DatabaseError> {
    let had_content_to_recover = image.has_sidecars();
    if had_content_to_recover {
        let explain = |error| source.explain("recover a copy of", Duration::ZERO, error);
        replay(&image).map_err(|error| image.take_failure().map_or_else(|| explain(error), DatabaseError::Scratch))?;
    }
    read(source, Copied { image, had_content_to_recover }, options)
}

fn read(source: &Source, copied: Copied, options: &CaptureOptions<'_>) -> Result<Reading, DatabaseError> {
    let explain = |error| source.explain("read", Duration::ZERO, error);
    let failed = |error| copied.image.take_failure().map_or_else(|| explain(error), DatabaseError::Scratch);
    copied.image.remove_sidecars();
    let mut bytes = [0; HEADER_BYTES];
    let count = copied.image.read_at(0, &mut bytes)?;
    mark_as_rollback(&copied.image)?;
    let mut reading = Reading {
        connection: copied.image.open(Access::ReadOnly).map_err(failed)?,
        tidy: None,
        header: Header::of(&bytes[..count]),
        is_recovered: copied.had_content_to_recover,
        is_tolerant: false,
        warnings: Vec::new(),
        problems: Vec::new(),
        image: None,
    };
    reading.note_length(source, options, copied.image.len())?;
    match reading.start() {
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseCorrupt) => {
            reading.tolerate(source, options, &error)?;
            reading.start().map_err(failed)?;
        }
        other => other.map_err(failed)?,
    }
    reading.probe_schema(source, options)?;
    reading.image = Some(copied.image);
    Ok(reading)
}

struct Copied {
    image: Image,
    had_content_to_recover: bool,
}

/// Copies until nothing changed meanwhile, for as long as the caller is willing to wait.
fn copy_unchanged(source: &Source, options: &CaptureOptions<'_>, cause: rusqlite::Error) -> Result<Copied, DatabaseError> {
    let started = Instant::now();
    loop {
        source.go_on(options.cancelled)?;
        // A file system counts time in ticks. Seen twice the same, further apart than a tick, the times are old enough for any
        // write from now on to change them.
        let earlier = Witness::of(source)?;
        std::thread::sleep(LONGER_THAN_A_TICK);
        let before = Witness::of(source)?;
        if earlier == before {
            let copied = copy(source, options)?;
            source.metadata()?;
            if Witness::of(source)? == before {
                return copied.ok_or_else(|| source.explain("open", started.elapsed(), cause));
            }
        }
        if started.elapsed() >= options.busy_timeout {
            return Err(source.locked(started.elapsed()));
        }
    }
}

/// Nothing if there is nothing that would need recovery, so that the first refusal stands.
fn copy(source: &Source, options: &CaptureOptions<'_>) -> Result<Option<Copied>, DatabaseError> {
    let Some(main) = copy_file(source, &source.path, options)? else {
        return Err(DatabaseError::Replaced { path: source.path.clone() });
    };
    let mut start = [0; HEADER_BYTES];
    let count = main.read_at(0, &mut start)?;
    let is_wal = Header::of(&start[..count]).is_wal();
    let image = Image::from_scratch(main);
    let mut had_content_to_recover = false;
    for suffix in ["-journal", "-wal"] {
        if let Some(content) = copy_file(source, &source.sidecar(suffix), options)?.filter(|content| !content.is_empty()) {
            let mut first = [0];
            content.read_at(0, &mut first)?;
            had_content_to_recover |= first != [0];
            image.add_sidecar(suffix, content);
        }
    }
    Ok((is_wal || had_content_to_recover).then_some(Copied { image, had_content_to_recover }))
}

fn copy_file(source: &Source, path: &Path, options: &CaptureOptions<'_>) -> Result<Option<Scratch>, DatabaseError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(unreadable(path, errno.into())),
    };
    let metadata = file.metadata().map_err(|source| unreadable(path, source))?;
    if !metadata.is_file() {
        return Err(DatabaseError::NotAFile { path: path.to_owned(), found: "no regular file" });
    }
    let mut scratch = options.scratch.create(metadata.len())?;
    let mut buffer = vec![0; PIECE_BYTES];
    loop {
        source.go_on(options.cancelled)?;
        match file.read(&mut buffer) {
            Ok(0) => return Ok(Some(scratch)),
            Ok(count) => scratch.write_at(scratch.len(), &buffer[..count])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(source) => return Err(unreadable(path, source)),
        }
    }
}

/// Lets SQLite roll back or replay; with the exclusive locking mode the WAL's index needs no shared memory.
fn replay(image: &Image) -> rusqlite::Result<()> {
    let connection: Connection = image.open(Access::ReadWrite)?;
    connection.execute_batch("PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=OFF")?;
    schema_version(&connection)?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    connection.close().map_err(|(_, error)| error)
}

/// What tells whether files were touched: size, times and inode of the database and its sidecars.
#[derive(PartialEq, Eq)]
struct Witness([Option<(u64, u64, [i64; 4])>; 3]);

impl Witness {
    fn of(source: &Source) -> Result<Self, DatabaseError> {
        let look = |suffix: &str| {
            let path = source.sidecar(suffix);
            match std::fs::symlink_metadata(&path) {
                Ok(found) => {
                    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
                    Ok(Some((found.ino(), found.len(), times)))
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(unreadable(&path, error)),
            }
        };
        Ok(Self([look("")?, look("-journal")?, look("-wal")?]))
    }
}

const PIECE_BYTES: usize = 1 << 20;
const LONGER_THAN_A_TICK: Duration = Duration::from_millis(20);
