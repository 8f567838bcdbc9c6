//! Capturing one database: a consistent image of one moment, and what is known about it.
//!
//! WAL databases are streamed out of the read transaction, beside which others read and write on. In rollback mode a reader keeps
//! writers waiting, and a waiting writer keeps new readers waiting: so the pages go into scratch first, the lock is given up, and
//! all the rest is done there. Both ways pages, schema, counts and check tell of the same moment.

use std::ops::Deref;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::bounds::{self, Bounds, Cancelled};
use super::check::{Verdict, check_until};
use super::continuity::continuity;
use super::facts::{PageReader, Route, SourceFacts, TableFacts, count_until, read_schema};
use super::header::Header;
use super::live::{self, Begun, Reading, Tidy};
use super::logical::table_hash;
use super::migrations::ledger;
use super::options::CaptureOptions;
use super::pages::{self, PageError};
use super::source::Source;
use super::{Access, DatabaseError, Image, hardened, recover};
use crate::files::ScratchError;

/// A database held at one moment.
pub struct Capture<'c> {
    source: Source,
    facts: SourceFacts,
    content: Content<'c>,
    /// Of the file when the moment was fixed: as long as somebody reads, SQLite never makes it shorter.
    least_bytes: u64,
}

/// Where the pages come from; the connection ends before what lies under it.
struct Content<'c> {
    connection: Handle<'c>,
    _tidy: Option<Tidy>,
    image: Option<Image>,
    are_pages_in_image: bool,
}

/// A database whose moment is fixed, and which has not been examined.
pub struct Moment<'c> {
    source: Source,
    facts: SourceFacts,
    content: Content<'c>,
    /// What is known to be damaged.
    problems: Vec<String>,
    least_bytes: u64,
}

/// A connection of our own, or one that somebody else holds under a lock.
enum Handle<'c> {
    Own(Connection),
    Lent(&'c Connection),
}

impl Deref for Handle<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Own(connection) => connection,
            Self::Lent(connection) => connection,
        }
    }
}

impl Drop for Handle<'_> {
    fn drop(&mut self) {
        if let Self::Lent(connection) = self {
            // It is given back without a transaction; one that SQLite has ended by itself is gone already.
            let _ = connection.execute_batch("ROLLBACK");
        }
    }
}

impl<'c> Moment<'c> {
    /// Fixes the moment of a database.
    ///
    /// # Errors
    /// As [`Capture::begin`].
    pub fn fix(path: &Path, options: &CaptureOptions<'_>) -> Result<Self, DatabaseError> {
        let source = Source::resolve(path)?;
        let reading = match live::begin(&source, options)? {
            Begun::Reading(reading) => *reading,
            Begun::NeedsRecovery(cause) => recover::begin(&source, options, cause)?,
        };
        Self::of_reading(source, reading, options)
    }

    /// Takes an image that was made out of the file under the path, and that nobody else has; sidecars beside it are taken in first.
    ///
    /// # Errors
    /// As [`Capture::begin`].
    pub fn of_image(path: &Path, image: Image, options: &CaptureOptions<'_>) -> Result<Self, DatabaseError> {
        let source = Source::resolve(path)?;
        let reading = recover::begin_image(&source, image, options)?;
        Self::of_reading(source, reading, options)
    }

    fn of_reading(source: Source, mut reading: Reading, options: &CaptureOptions<'_>) -> Result<Self, DatabaseError> {
        let captured_at = (options.clock)();
        let least_bytes = source.metadata()?.len();
        let pages = pages::choose_reader(&reading.connection, options.pages);
        let mut facts = SourceFacts {
            recovered: reading.is_recovered,
            journal_mode: reading.header.journal_mode().to_owned(),
            warnings: std::mem::take(&mut reading.warnings),
            ..SourceFacts::unknown(&source, captured_at, pages, options.check)
        };
        let problems = std::mem::take(&mut reading.problems);
        let content = Content::hold(&source, reading, pages, options);
        source.go_on(options.cancelled)?;
        let content = content?;
        source.require_length(least_bytes)?;
        if !content.are_pages_in_image && content.image.is_none() {
            facts.route = Route::Stream;
        }
        Ok(Self { source, facts, content, problems, least_bytes })
    }

    /// Examines what was there at that moment.
    ///
    /// # Errors
    /// As [`Capture::begin`].
    pub fn examine(self, options: &CaptureOptions<'_>) -> Result<Capture<'c>, DatabaseError> {
        let Self { source, mut facts, content, problems, least_bytes } = self;
        let examined = content.examine(&mut facts, problems, options);
        source.go_on(options.cancelled)?;
        examined.map_err(|error| content.explain(&source, error))?;
        if facts.check.verdict == Verdict::Corrupt && !options.accept_corrupt {
            return Err(source.corrupt(facts.check.messages));
        }
        Ok(Capture { source, facts, content, least_bytes })
    }
}

impl<'c> Capture<'c> {
    /// Fixes the moment and examines the database.
    ///
    /// # Errors
    /// Any [`DatabaseError`]; [`DatabaseError::Corrupt`] and [`DatabaseError::Truncated`] only if damage is not accepted.
    pub fn begin(path: &Path, options: &CaptureOptions<'_>) -> Result<Self, DatabaseError> {
        Moment::fix(path, options)?.examine(options)
    }

    /// Takes the state that a connection shows on which a lock is held, so that nobody changes it before the lock is given up. Its pages
    /// are read from there; the connection is given back without a transaction.
    ///
    /// # Errors
    /// As [`Capture::begin`].
    pub fn of_locked(path: &Path, connection: &'c Connection, options: &CaptureOptions<'_>) -> Result<Self, DatabaseError> {
        let source = Source::resolve(path)?;
        let explain = |error| source.explain("read", Duration::ZERO, error);
        connection.execute_batch("BEGIN").map_err(explain)?;
        // From here on the connection is given back without a transaction, whatever happens.
        let content = Content { connection: Handle::Lent(connection), _tidy: None, image: None, are_pages_in_image: false };
        live::schema_version(connection).map_err(explain)?;
        let mut facts = SourceFacts::unknown(&source, (options.clock)(), PageReader::SqliteDbpage, options.check);
        facts.journal_mode = Header::of(&pages::first_page(connection).map_err(explain)?).journal_mode().to_owned();
        facts.route = Route::Stream;
        Moment { source, facts, content, problems: Vec::new(), least_bytes: 0 }.examine(options)
    }

    /// Reads the captured state; it must be left in the transaction that is open.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.content.connection
    }

    /// What is known about the captured state.
    #[must_use]
    pub fn facts(&self) -> &SourceFacts {
        &self.facts
    }

    /// Pushes the image in order, in pieces of any size; bytes 18 and 19 say that it is no WAL database.
    ///
    /// # Errors
    /// What the sink says, and [`DatabaseError`] if reading fails or gives another number of bytes than announced.
    pub fn write_image<E: From<DatabaseError>>(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut offset = 0;
        let mut first = Vec::new();
        let mut counting_sink = |piece: &[u8]| {
            let at = offset;
            offset += piece.len() as u64;
            if at > 0 {
                return sink(piece);
            }
            first.extend_from_slice(piece);
            pages::patch_format_versions(at, &mut first);
            sink(&first)
        };
        let outcome = match &self.content.image {
            Some(image) if self.content.are_pages_in_image => pages::read_out(image, &mut counting_sink),
            _ => self.content.require_transaction().and_then(|()| pages::stream(&self.content.connection, &mut counting_sink)),
        };
        outcome.map_err(|error| match error {
            PageError::Sqlite(error) => E::from(self.content.explain(&self.source, error)),
            PageError::Scratch(error) => E::from(DatabaseError::Scratch(error)),
            PageError::Sink(error) => error,
        })?;
        if offset != self.facts.size_bytes {
            let message = format!("{offset} bytes came out of a database of {}", self.facts.size_bytes);
            return Err(E::from(self.source.corrupt(vec![message])));
        }
        Ok(())
    }

    /// Gives the database free, and insists that the path still leads to the file that was captured.
    ///
    /// # Errors
    /// [`DatabaseError::Replaced`] if another file took its place or it was removed.
    pub fn finish(self) -> Result<(), DatabaseError> {
        if !self.content.are_pages_in_image && self.content.image.is_none() {
            self.source.require_length(self.least_bytes)?;
        }
        drop(self.content);
        self.source.metadata().map(drop)
    }
}

impl<'c> Content<'c> {
    /// Keeps the transaction where that hinders nobody, and copies the pages into scratch where it would.
    fn hold(source: &Source, reading: Reading, pages: PageReader, options: &CaptureOptions<'_>) -> Result<Self, DatabaseError> {
        let started = Instant::now();
        let hinders_nobody = reading.image.is_some() || reading.header.is_wal();
        let announced_bytes = source.metadata()?.len().max(source.size_bytes) + source.sidecar_bytes("-wal").unwrap_or(0);
        let image = match pages {
            PageReader::SqliteDbpage if hinders_nobody => return Ok(Self::of(reading)),
            PageReader::SqliteDbpage => {
                bounds::within(&reading.connection, Bounds::of_copy(announced_bytes), options.cancelled, |_: &AtomicBool| {
                    pages::spool(&reading.connection, options.scratch, announced_bytes)
                })
            }
            PageReader::BackupApi => pages::back_up(&reading, options, announced_bytes),
        };
        let explain = |error| source.explain("copy", started.elapsed(), error);
        let image = image.map_err(|error: PageError<ScratchError>| error.explain(explain))?;
        let is_tolerant = reading.is_tolerant;
        drop(reading);
        let connection = image.open(Access::ReadOnly).map_err(explain)?;
        if is_tolerant {
            hardened::tolerate_damage(&connection).map_err(explain)?;
        }
        Ok(Self { connection: Handle::Own(connection), _tidy: None, image: Some(image), are_pages_in_image: true })
    }

    fn of(reading: Reading) -> Self {
        let Reading { connection, tidy, image, .. } = reading;
        Self { connection: Handle::Own(connection), _tidy: tidy, image, are_pages_in_image: false }
    }

    fn examine(&self, facts: &mut SourceFacts, problems: Vec<String>, options: &CaptureOptions<'_>) -> rusqlite::Result<()> {
        self.measure(facts)?;
        for problem in problems {
            facts.check.add(Verdict::Corrupt, problem);
        }
        match read_schema(&self.connection) {
            Ok(schema) => facts.schema = Some(schema),
            Err(error) => facts.check.add(verdict_of_unreadable(&error), format!("the schema cannot be read: {error}")),
        }
        facts.migrations = ledger(&self.connection, facts.size_bytes, options.cancelled);
        facts.tables = self.count(facts, options.cancelled);
        self.hash(facts, options);
        let found = check_until(&self.connection, facts.check.kind, facts.size_bytes, options.cancelled)?;
        facts.check.merge(found);
        Ok(())
    }

    /// Reads sizes, and from page 1 what SQLite's pragmas would tell.
    fn measure(&self, facts: &mut SourceFacts) -> rusqlite::Result<()> {
        facts.page_size = self.connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let page_1 = match &self.image {
            Some(image) if self.are_pages_in_image => {
                facts.page_count = image.len() / u64::from(facts.page_size.max(1));
                let mut page = vec![0; super::header::HEADER_BYTES];
                let count = image.read_at(0, &mut page).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
                page.truncate(count);
                page
            }
            _ => {
                facts.page_count = u64::from(self.connection.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0))?);
                pages::first_page(&self.connection)?
            }
        };
        let header = Header::of(&page_1);
        facts.size_bytes = facts.page_count * u64::from(facts.page_size);
        facts.encoding = header.encoding().to_owned();
        facts.auto_vacuum = header.auto_vacuum().to_owned();
        facts.application_id = header.application_id();
        facts.user_version = header.user_version();
        Ok(())
    }

    fn count(&self, facts: &mut SourceFacts, cancelled: Cancelled<'_>) -> Vec<TableFacts> {
        let bounds = Bounds::of_live(facts.size_bytes);
        let counted =
            bounds::within(&self.connection, bounds, cancelled, |is_expired: &AtomicBool| count_until(&self.connection, is_expired));
        let Ok((tables, failures)) = counted else { return Vec::new() };
        for failure in failures {
            if failure.is_corruption() {
                facts.check.add(Verdict::Corrupt, failure.to_string());
            } else {
                facts.warnings.push(failure.to_string());
            }
        }
        tables
    }

    /// Hashes all tables, or those that are watched; one that cannot be hashed is left without, and said so.
    fn hash(&self, facts: &mut SourceFacts, options: &CaptureOptions<'_>) {
        let connection: &Connection = &self.connection;
        let is_wanted = |name: &str| options.hash_tables || options.watched.iter().any(|watched| watched.table.eq_ignore_ascii_case(name));
        bounds::within(connection, Bounds::of_live(facts.size_bytes), options.cancelled, |is_expired: &AtomicBool| {
            for watched in options.watched {
                match continuity(connection, watched) {
                    Ok(found) => facts.continuity.push((watched.table.clone(), found)),
                    Err(error) => facts.warnings.push(format!("table '{}' was not compared with what it was: {error}", watched.table)),
                }
            }
            for table in facts.tables.iter_mut().filter(|table| is_wanted(&table.name)) {
                if is_expired.load(Ordering::Relaxed) {
                    facts.warnings.push(format!("table '{}' has no logical hash: the time limit was reached", table.name));
                    continue;
                }
                match table_hash(connection, &table.name) {
                    Ok(hash) => table.hash = Some(hash),
                    Err(DatabaseError::Table { table, source }) => {
                        facts.warnings.push(format!("table '{table}' has no logical hash: {source}"));
                    }
                    Err(error) => facts.warnings.push(format!("table '{}' has no logical hash: {error}", table.name)),
                }
            }
        });
    }

    /// An I/O error during the examination ends SQLite's transaction; pages read after it would be of another moment.
    fn require_transaction<E>(&self) -> Result<(), PageError<E>> {
        if self.image.is_none() && self.connection.is_autocommit() {
            return Err(PageError::Sqlite(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT), None)));
        }
        Ok(())
    }

    fn explain(&self, source: &Source, error: rusqlite::Error) -> DatabaseError {
        match self.image.as_ref().and_then(Image::take_failure) {
            Some(failure) => DatabaseError::Scratch(failure),
            None => source.explain("read", Duration::ZERO, error),
        }
    }
}

fn verdict_of_unreadable(error: &rusqlite::Error) -> Verdict {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => Verdict::Corrupt,
        _ => Verdict::Unchecked,
    }
}
