//! The application of the demo: a thread that commits entries, and does not stop while its database is replaced under it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use airkeep::database::DatabaseError;
use airkeep::database::sample::SampleApplication;

use super::super::exit::Exit;
use super::super::explain::Explained;
use super::super::signals;

/// The running application; it has ended when this is gone.
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<(), DatabaseError>>>,
}

#[derive(Default)]
struct Shared {
    /// Entries 1 to this one were committed.
    committed: AtomicU64,
    is_over: AtomicBool,
}

impl Writer {
    /// Makes the database and begins to write.
    pub(super) fn start(path: &Path) -> Result<Writer, Explained> {
        let mut application = SampleApplication::make(path).map_err(|error| failed(&error))?;
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let work = move || {
            while !own.is_over.load(Ordering::Relaxed) {
                let next = own.committed.load(Ordering::Relaxed) + 1;
                application.commit(next)?;
                own.committed.store(next, Ordering::Relaxed);
                std::thread::sleep(PACE);
            }
            Ok(())
        };
        let thread = std::thread::Builder::new().spawn(work);
        let thread = thread.map_err(|error| Explained::new(Exit::Failed, format!("cannot start the demo's application: {error}"), None))?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    /// How many entries were committed.
    pub(super) fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Relaxed)
    }

    /// Waits until so many more entries were committed.
    pub(super) fn wait_for_more(&self, count: u64) -> Result<(), Explained> {
        let (begun, goal) = (Instant::now(), self.committed() + count);
        while self.committed() < goal {
            if signals::caught().is_some() {
                return Err(airkeep::Failure::Cancelled.into());
            }
            if begun.elapsed() > PATIENCE || self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
                return Err(Explained::new(Exit::Failed, "the demo's application does not write any more", None));
            }
            std::thread::sleep(PACE);
        }
        Ok(())
    }

    /// Ends it; gives how many entries were committed.
    pub(super) fn stop(mut self) -> Result<u64, Explained> {
        match self.end() {
            Some(Err(error)) => Err(failed(&error)),
            _ => Ok(self.committed()),
        }
    }

    fn end(&mut self) -> Option<Result<(), DatabaseError>> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever wants to know how it ended stops it.
        let _ = self.end();
    }
}

/// What a database of the demo said.
pub(super) fn failed(error: &DatabaseError) -> Explained {
    let causes = std::error::Error::source(error).map(|cause| cause.to_string());
    Explained { causes: causes.into_iter().collect(), ..Explained::new(Exit::Failed, error.to_string(), None) }
}

/// Some hundred entries a second.
const PACE: Duration = Duration::from_millis(3);
const PATIENCE: Duration = Duration::from_secs(60);
