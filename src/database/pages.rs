//! Getting the pages out of an open read transaction: by SQLite's `sqlite_dbpage` table, or by its backup interface.
//!
//! `sqlite_dbpage` gives every page as it is stored. It must be compiled into SQLite, so it is looked for at run time. The
//! backup interface is always there, but writes the copy as its own transaction and so changes a few bytes of page 1:
//!
//! | bytes | field | in the copy |
//! |---|---|---|
//! | 18–19 | rollback or WAL | 1, as in every captured image |
//! | 40–43 | schema cookie | put back |
//! | 24–31, 92–99 | change counter, page count, writer's version | put back if the source is in rollback mode; in WAL mode 24–27 and 92–99 remain the copy's own |
//!
//! In WAL mode page 1 may stand in the WAL, and no interface shows it as it is; none of these bytes bears content.

use rusqlite::backup::{Backup, StepResult};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, ffi};

use super::header::{FORMAT_VERSIONS_OFFSET, HEADER_BYTES};
use super::live::{Reading, schema_version};
use super::options::{CaptureOptions, PagePreference};
use super::{Access, Cancelled, DatabaseError, Image, PageReader};
use crate::files::{ScratchError, ScratchSpace};

/// What went wrong while pages were copied: SQLite, scratch, or whoever takes the pages.
pub(super) enum PageError<E> {
    Sqlite(rusqlite::Error),
    Scratch(ScratchError),
    Sink(E),
}

impl<E> From<rusqlite::Error> for PageError<E> {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// Chooses the reader: `sqlite_dbpage` if it is wanted and there.
pub(super) fn choose_reader(connection: &Connection, preference: PagePreference) -> PageReader {
    let is_there = || connection.prepare("SELECT data FROM sqlite_dbpage").is_ok();
    if preference == PagePreference::Auto && is_there() { PageReader::SqliteDbpage } else { PageReader::BackupApi }
}

/// Pushes all pages in order.
pub(super) fn stream<E>(connection: &Connection, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), PageError<E>> {
    let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let page = row.get_ref(0)?.as_blob().map_err(|_| rusqlite::Error::InvalidQuery)?;
        sink(page).map_err(PageError::Sink)?;
    }
    Ok(())
}

/// Reads page 1 as it stands in the transaction; empty for an empty database.
pub(super) fn first_page(connection: &Connection) -> rusqlite::Result<Vec<u8>> {
    match connection.query_row("SELECT data FROM sqlite_dbpage WHERE pgno=1", [], |row| row.get(0)) {
        Err(rusqlite::Error::QueryReturnedNoRows) => Ok(Vec::new()),
        other => other,
    }
}

/// Copies all pages into an image as fast as scratch takes them.
pub(super) fn spool(connection: &Connection, space: &ScratchSpace, announced_bytes: u64) -> Result<Image, PageError<ScratchError>> {
    let image = Image::create(space, announced_bytes).map_err(PageError::Scratch)?;
    let mut offset = 0;
    stream(connection, &mut |page| {
        image.write_at(offset, page)?;
        offset += page.len() as u64;
        Ok(())
    })?;
    mark_as_rollback(&image).map_err(PageError::Scratch)?;
    Ok(image)
}

/// Copies the database into an image by the backup interface.
///
/// The source's read transaction is open, so nothing that others write makes the copy begin anew.
pub(super) fn back_up(reading: &Reading, options: &CaptureOptions<'_>, announced_bytes: u64) -> Result<Image, PageError<ScratchError>> {
    let image = Image::create(options.scratch, announced_bytes).map_err(PageError::Scratch)?;
    if reading.header.is_empty() {
        return Ok(image); // the backup interface would make a database of one page out of none
    }
    copy_into(&reading.connection, &image, options.cancelled)
        .map_err(|error| image.take_failure().map_or(PageError::Sqlite(error), PageError::Scratch))?;
    let cookie = schema_version(&reading.connection)?;
    restore_header(reading, cookie, &image).map_err(PageError::Scratch)?;
    Ok(image)
}

fn copy_into(source: &Connection, image: &Image, cancelled: Cancelled<'_>) -> rusqlite::Result<()> {
    let mut target = image.open(Access::ReadWrite)?;
    // Defensive mode forbids to go without a journal. Nothing is parsed here, and a copy that fails is thrown away.
    target.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    target.execute_batch("PRAGMA journal_mode=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA synchronous=OFF")?;
    let backup = Backup::new(source, &mut target)?;
    loop {
        match backup.step(PAGES_PER_STEP)? {
            StepResult::Done => return Ok(()),
            StepResult::More if cancelled() => return Err(failure(ErrorCode::OperationInterrupted, ffi::SQLITE_INTERRUPT)),
            StepResult::More => {}
            _ => return Err(failure(ErrorCode::DatabaseBusy, ffi::SQLITE_BUSY)),
        }
    }
}

fn failure(code: ErrorCode, extended_code: i32) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error { code, extended_code }, None)
}

fn restore_header(reading: &Reading, schema_cookie: i32, image: &Image) -> Result<(), ScratchError> {
    image.write_at(40, &schema_cookie.to_be_bytes())?;
    if !reading.header.is_wal() {
        let original: &[u8; HEADER_BYTES] = reading.header.bytes();
        image.write_at(24, &original[24..32])?;
        image.write_at(92, &original[92..100])?;
    }
    mark_as_rollback(image)
}

/// Makes the image say that it is no WAL database, so that it opens without a WAL and without shared memory.
pub(super) fn mark_as_rollback(image: &Image) -> Result<(), ScratchError> {
    if image.len() >= HEADER_BYTES as u64 { image.write_at(FORMAT_VERSIONS_OFFSET, &FORMAT_VERSIONS) } else { Ok(()) }
}

/// Pushes an image in pieces.
pub(super) fn read_out<E>(image: &Image, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), PageError<E>> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut offset = 0;
    loop {
        let count = image.read_at(offset, &mut buffer).map_err(PageError::Scratch)?;
        if count == 0 {
            return Ok(());
        }
        sink(&buffer[..count]).map_err(PageError::Sink)?;
        offset += count as u64;
    }
}

/// Rewrites a piece of a stream that begins at an offset so that the image says it is no WAL database.
pub(super) fn patch_format_versions(offset: u64, piece: &mut [u8]) {
    let start = FORMAT_VERSIONS_OFFSET as usize;
    if offset == 0 && piece.len() >= HEADER_BYTES {
        piece[start..start + 2].copy_from_slice(&FORMAT_VERSIONS);
    }
}

impl PageError<ScratchError> {
    /// Joins the two ways in which scratch can appear here.
    pub(super) fn explain(self, explain: impl FnOnce(rusqlite::Error) -> DatabaseError) -> DatabaseError {
        match self {
            Self::Sqlite(error) => explain(error),
            Self::Scratch(error) | Self::Sink(error) => DatabaseError::Scratch(error),
        }
    }
}

const FORMAT_VERSIONS: [u8; 2] = [1, 1];
/// Between two steps somebody may cancel.
const PAGES_PER_STEP: i32 = 1 << 14;
const PIECE_BYTES: usize = 256 << 10;
