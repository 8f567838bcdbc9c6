//! The read transaction on a live database, from which everything else comes.

use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use super::check::{CheckKind, has_check_constraints};
use super::header::{HEADER_BYTES, Header, Length};
use super::options::CaptureOptions;
use super::source::Source;
use super::{DatabaseError, Image, hardened, open, vfs};

/// A database that is being read at one fixed moment.
///
/// The order of the fields is the order of their end: first the connection, then what it may have left behind.
pub(super) struct Reading {
    pub(super) connection: Connection,
    pub(super) tidy: Option<Tidy>,
    /// The recovered copy behind the connection; none if it is the live file.
    pub(super) image: Option<Image>,
    /// Of the main file, which in WAL mode may be older than page 1.
    pub(super) header: Header,
    pub(super) is_recovered: bool,
    /// Whether damage is tolerated from here on.
    pub(super) is_tolerant: bool,
    pub(super) warnings: Vec<String>,
    /// What is known to be damaged.
    pub(super) problems: Vec<String>,
}

/// What came of the attempt to read the live file.
pub(super) enum Begun {
    Reading(Box<Reading>),
    /// SQLite will not read this without writing: a hot journal, or a WAL where no shared memory can be had.
    NeedsRecovery(rusqlite::Error),
}

/// Opens the live file read-only and fixes the moment.
pub(super) fn begin(source: &Source, options: &CaptureOptions<'_>) -> Result<Begun, DatabaseError> {
    let started = Instant::now();
    source.require_plain_sidecars()?;
    let tidy = Tidy::new(source);
    let explain = |error| source.explain("read", started.elapsed(), error);
    let connection = match open::read_only(source) {
        Ok(connection) => connection,
        Err(error) if needs_recovery(&error) => return Ok(Begun::NeedsRecovery(error)),
        Err(error) => return Err(explain(error)),
    };
    let mut reading = Reading {
        connection,
        tidy: Some(tidy),
        image: None,
        header: Header::of(&[]),
        is_recovered: false,
        is_tolerant: false,
        warnings: Vec::new(),
        problems: Vec::new(),
    };
    let begun = open::patiently(options, || start(&reading.connection));
    source.go_on(options.cancelled)?;
    match begun {
        Ok(()) => {}
        Err(error) if needs_recovery(&error) => return Ok(Begun::NeedsRecovery(error)),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => {
            reading.judge_length(source, options)?;
            reading.tolerate(source, options, &error)?;
            reading.start().map_err(explain)?;
        }
        Err(error) => return Err(explain(error)),
    }
    reading.judge_length(source, options)?;
    reading.probe_schema(source, options)?;
    reading.see_check_constraints(source, options);
    Ok(Begun::Reading(Box::new(reading)))
}

impl Reading {
    pub(super) fn start(&self) -> rusqlite::Result<()> {
        start(&self.connection)
    }

    /// Goes over to a connection that SQLite takes for a writing one, because through a read-only one it does not look at CHECK
    /// constraints.
    ///
    /// Only for WAL databases, where such a reader does nothing to the file that a read-only one would not do: no journal can
    /// be hot, since the first connection keeps the database in WAL mode until the second reads; `query_only` forbids
    /// statements to write, and closing does not checkpoint. Where it fails the check says what it left out.
    fn see_check_constraints(&mut self, source: &Source, options: &CaptureOptions<'_>) {
        let is_needed = self.header.is_wal() && !self.is_tolerant && options.check != CheckKind::None;
        if !is_needed || !has_check_constraints(&self.connection) {
            return;
        }
        let reopened = open::writable(source, Duration::ZERO).and_then(|connection| {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
            connection.execute_batch("PRAGMA query_only=ON")?;
            open::patiently(options, || start(&connection))?;
            Ok(connection)
        });
        if let Ok(connection) = reopened {
            self.connection = connection;
        }
    }

    /// Whether the schema can be read; damage there is an error, or noted and tolerated.
    pub(super) fn probe_schema(&mut self, source: &Source, options: &CaptureOptions<'_>) -> Result<(), DatabaseError> {
        match self.connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseCorrupt) => self.tolerate(source, options, &error),
            // Anything else (a format that is too new) does not keep pages from being copied; the check will tell.
            _ => Ok(()),
        }
    }

    pub(super) fn tolerate(&mut self, source: &Source, options: &CaptureOptions<'_>, error: &rusqlite::Error) -> Result<(), DatabaseError> {
        let message = error.to_string();
        if !options.accept_corrupt {
            return Err(source.corrupt(vec![message]));
        }
        if !self.problems.contains(&message) {
            self.problems.push(message);
        }
        self.is_tolerant = true;
        hardened::tolerate_damage(&self.connection).map_err(|error| source.explain("read", Duration::ZERO, error))
    }

    /// Compares the file's length with its header. A WAL with content may hold pages that the file still lacks: then nothing
    /// can be said.
    fn judge_length(&mut self, source: &Source, options: &CaptureOptions<'_>) -> Result<(), DatabaseError> {
        let mut bytes = [0; HEADER_BYTES];
        vfs::read_through_handle(&self.connection, &mut bytes);
        self.header = Header::of(&bytes);
        if self.header.is_wal() && source.sidecar_bytes("-wal").unwrap_or(0) > 0 {
            return Ok(());
        }
        let actual_bytes = source.metadata()?.len();
        self.note_length(source, options, actual_bytes)
    }

    pub(super) fn note_length(&mut self, source: &Source, options: &CaptureOptions<'_>, actual_bytes: u64) -> Result<(), DatabaseError> {
        match self.header.judge(actual_bytes) {
            Length::Exact => Ok(()),
            Length::Trailing { bytes } => {
                self.warnings.push(format!("{bytes} bytes stand behind the last page of the file; they are not captured"));
                Ok(())
            }
            Length::Short { expected_bytes } if options.accept_corrupt => {
                let message = format!("the file is truncated: {actual_bytes} bytes of {expected_bytes}");
                if !self.problems.contains(&message) {
                    self.problems.push(message);
                }
                Ok(())
            }
            Length::Short { expected_bytes } => Err(DatabaseError::Truncated { path: source.path.clone(), expected_bytes, actual_bytes }),
        }
    }
}

/// Takes the read lock; this reads page 1 and nothing of the schema.
fn start(connection: &Connection) -> rusqlite::Result<()> {
    if connection.is_autocommit() {
        connection.execute_batch("BEGIN")?;
    }
    schema_version(connection).map(drop)
}

/// Reads the schema cookie, which takes the read lock without reading the schema.
pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA schema_version", [], |row| row.get(0))
}

fn needs_recovery(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen))
}

/// Takes away the empty `-wal` and `-shm` that reading an idle WAL database leaves behind.
///
/// A read-only connection cannot remove them. A connection that may write can, and SQLite itself then decides under its own
/// locks whether it was the last one. It is only tried if there was no WAL before and an empty one now.
pub(super) struct Tidy {
    source: Source,
    had_wal: bool,
}

impl Tidy {
    pub(super) fn new(source: &Source) -> Self {
        Self { had_wal: source.sidecar_bytes("-wal").is_some(), source: source.clone() }
    }

    fn remove_leftovers(&self) -> rusqlite::Result<()> {
        schema_version(&open::writable(&self.source, Duration::ZERO)?).map(drop)
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        let is_left_behind = !self.had_wal && self.source.sidecar_bytes("-wal") == Some(0) && self.source.metadata().is_ok();
        if is_left_behind {
            // Where it cannot be done (no permission, somebody came) the empty files stay, which harms nobody.
            let _ = self.remove_leftovers();
        }
    }
}
