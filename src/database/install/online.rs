//! The online way: the content changes in one transaction while others stay connected.
//!
//! `sqlite3_backup_step(0)` takes the write lock of a WAL database and commits nothing, so a second connection then sees exactly the state
//! that will be replaced: no writer is cut off in between, and none is unaccounted for. Readers keep their snapshot and see the new content at
//! their next transaction. The backup borrows both its connections for as long as the lock is held, so it lives on a thread of its own;
//! when the installation is dropped, the thread ends and takes the lock with it.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::exclusive::{PAGES_PER_STEP, busy, journal_mode, page_size};
use super::{InstallError, InstallOptions, standing};
use crate::database::source::Source;
use crate::database::{Access, Cancelled, DatabaseError, Image, live, open};

/// A WAL database whose write lock is held.
pub(super) struct Online {
    pub(super) source: Source,
    /// Reads the state that will be replaced.
    pub(super) connection: Connection,
    /// The version of the content at the lock, as the thread's connection counts it; nothing if it is not sure.
    version: Option<i64>,
    worker: Worker,
}

/// The thread on which the backup lives; it has ended, and the lock with it, when this is gone.
struct Worker {
    /// Asks for the next thing; closing it gives up.
    orders: Option<Sender<()>>,
    answers: Receiver<rusqlite::Result<Answer>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.orders = None;
        // A panic there was an answer that never came.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// What the thread has done.
enum Answer {
    Busy,
    /// The version just before the lock was taken.
    Locked(i64),
    Copying,
    Installed,
    /// The version now, once installed: another number if others have committed since.
    Version(i64),
}

impl Online {
    pub(super) fn lock(source: &Source, image: &Image, options: &InstallOptions<'_>) -> Result<Self, InstallError> {
        let started = Instant::now();
        let explain = |error| InstallError::from(source.explain("lock", started.elapsed(), error));
        let connection = connect(source, options.busy_timeout).map_err(explain)?;
        let target = connect(source, Duration::ZERO).map_err(explain)?;
        let content = image.open(Access::ReadOnly).map_err(explain)?;
        let refused = |reason| InstallError::NotOnline { path: source.path.clone(), reason };
        if journal_mode(&connection).map_err(explain)? != "wal" {
            return Err(refused("not in WAL mode"));
        }
        if page_size(&connection).map_err(explain)? != page_size(&content).map_err(explain)? {
            return Err(refused("has another page size"));
        }
        let (orders, received) = channel();
        let (sender, answers) = channel();
        let thread = std::thread::Builder::new().spawn(move || serve(&content, target, &received, &sender));
        let thread = thread.map_err(|error| DatabaseError::Unreadable { path: source.path.clone(), source: error })?;
        let worker = Worker { orders: Some(orders), answers, thread: Some(thread) };
        let mut online = Self { source: source.clone(), connection, version: None, worker };
        loop {
            let before = version(&online.connection).map_err(explain)?;
            match online.next().map_err(explain)? {
                Answer::Locked(version_at_lock) => {
                    // What somebody committed between version and lock is seen by the other connection.
                    let is_sure = version(&online.connection).map_err(explain)? == before;
                    online.version = is_sure.then_some(version_at_lock);
                    break;
                }
                _ if (options.cancelled)() => return Err(InstallError::Cancelled { path: source.path.clone() }),
                _ if started.elapsed() < options.busy_timeout => std::thread::sleep(open::RETRY_AFTER),
                _ => return Err(source.locked(started.elapsed()).into()),
            }
        }
        source.metadata()?;
        Ok(online)
    }

    pub(super) fn install(&mut self, image: &Image, cancelled: Cancelled<'_>) -> Result<(), InstallError> {
        let path = self.source.path.clone();
        let failed = |error| DatabaseError::Sqlite { path: path.clone(), action: "install into", source: error };
        self.source.metadata()?;
        // An open snapshot of our own would keep the checkpoint from its work.
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(failed)?;
        }
        loop {
            match self.next() {
                Ok(Answer::Installed) => return Ok(()),
                Ok(Answer::Copying) if cancelled() => return Err(InstallError::Cancelled { path }),
                Ok(Answer::Copying) => {}
                Ok(_) => return Err(failed(busy()).into()),
                Err(error) => return Err(image.take_failure().map_or_else(|| failed(error), DatabaseError::Scratch).into()),
            }
        }
    }

    /// Whether nobody else has committed since the installation.
    pub(super) fn is_last(&self) -> bool {
        matches!((self.version, self.next()), (Some(before), Ok(Answer::Version(now))) if now == before)
    }

    /// Ends the backup, and moves out of the WAL what no reader needs there; waits for nobody.
    pub(super) fn release(self) -> Result<(), InstallError> {
        let Self { source, connection, worker, .. } = self;
        drop(worker);
        let checkpointed = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        checkpointed.map_err(|error| source.explain("checkpoint", Duration::ZERO, error).into())
    }

    fn next(&self) -> rusqlite::Result<Answer> {
        let asked = self.worker.orders.as_ref().and_then(|orders| orders.send(()).ok()).and_then(|()| self.worker.answers.recv().ok());
        asked.unwrap_or_else(|| Err(busy()))
    }
}

/// Does one thing for each order until there are no more: takes the lock, copies, then tells the version.
fn serve(content: &Connection, mut target: Connection, orders: &Receiver<()>, answers: &Sender<rusqlite::Result<Answer>>) {
    while orders.recv().is_ok() {
        match take_lock_and_copy(content, &mut target, orders, answers) {
            Ok(true) => break,
            Ok(false) => drop(answers.send(Ok(Answer::Busy))),
            Err(error) => drop(answers.send(Err(error))),
        }
    }
    while orders.recv().is_ok() {
        let _ = answers.send(version(&target).map(Answer::Version));
    }
}

/// Tells whether the content was installed; false means that there was no lock.
fn take_lock_and_copy(
    content: &Connection,
    target: &mut Connection,
    orders: &Receiver<()>,
    answers: &Sender<rusqlite::Result<Answer>>,
) -> rusqlite::Result<bool> {
    let version = version(target)?;
    let cookie = standing::cookie_of_new(target)?;
    let backup = Backup::new(content, target)?;
    match backup.step(0)? {
        StepResult::More => drop(answers.send(Ok(Answer::Locked(version)))),
        _ => return Ok(false),
    }
    while orders.recv().is_ok() {
        let answer = match backup.step(PAGES_PER_STEP)? {
            StepResult::Done => {
                drop(backup);
                // Where it fails the pages still tell, as long as nobody else has written.
                let _ = standing::mark_as_new(target, cookie);
                drop(answers.send(Ok(Answer::Installed)));
                return Ok(true);
            }
            StepResult::More => Answer::Copying,
            _ => Answer::Busy,
        };
        drop(answers.send(Ok(answer)));
    }
    Ok(true)
}

/// Counts the commits of others that a connection has seen.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

fn connect(source: &Source, busy_timeout: Duration) -> rusqlite::Result<Connection> {
    let connection = open::writable(source, busy_timeout)?;
    live::schema_version(&connection)?;
    connection.execute_batch("PRAGMA synchronous=EXTRA")?;
    Ok(connection)
}
