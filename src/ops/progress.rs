//! How an operation tells what it is doing, and how it is asked to stop.
//!
//! Whoever runs an operation may give it a [`Progress`]: to draw a bar, to write a protocol, or to cancel. The rooms below know nothing of it: they
//! are read through a [`Watched`] medium, or get a question to ask. Cancelling is a question too, and not an exception from
//! another thread, so that an operation that stops goes through the same clean-up as one that fails.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Failure;
use crate::bundle::Medium;

/// Who is told how an operation goes, and asked whether it is to go on. Called from the thread of the operation, often; all but
/// [`Progress::is_cancelled`], which other threads ask as well.
pub trait Progress: Send + Sync {
    /// A phase begins, which will handle this many bytes if that is known.
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        let _ = (phase, total_bytes);
    }

    /// So many more bytes of the phase are done.
    fn advance(&self, bytes: u64) {
        let _ = bytes;
    }

    /// The phase ended, well or not.
    fn end(&self) {}

    /// A step was done. For people; the wording may change.
    fn note(&self, step: &str) {
        let _ = step;
    }

    /// Whether the operation is to stop: it then ends with [`Failure::Cancelled`] and leaves nothing behind. Once an operation has
    /// published its result it no longer asks.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Tells nobody, and never stops.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Progress for Unwatched {}

/// A phase, until it is dropped.
pub(super) struct Phase(Arc<dyn Progress>);

impl Phase {
    pub(super) fn begin(progress: &Arc<dyn Progress>, name: &str, total_bytes: Option<u64>) -> Phase {
        progress.begin(name, total_bytes);
        Phase(Arc::clone(progress))
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A file whose reader is watched.
pub(super) struct Watched<'f> {
    file: &'f File,
    progress: Arc<dyn Progress>,
}

impl<'f> Watched<'f> {
    pub(super) fn new(file: &'f File, progress: &Arc<dyn Progress>) -> Watched<'f> {
        Watched { file, progress: Arc::clone(progress) }
    }
}

impl Medium for Watched<'_> {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, buffer)?;
        self.progress.advance(buffer.len() as u64);
        Ok(())
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

/// Refuses to go on once somebody cancelled.
pub(super) fn go_on(progress: &Arc<dyn Progress>) -> Result<(), Failure> {
    if progress.is_cancelled() { Err(Failure::Cancelled) } else { Ok(()) }
}

/// Says of an operation that stopped because it was cancelled that this was why; the rooms below say so in words of their own.
pub(super) fn heed<T>(progress: &Arc<dyn Progress>, result: Result<T, Failure>) -> Result<T, Failure> {
    result.map_err(|failure| match failure {
        Failure::Source { .. }
        | Failure::Seal { .. }
        | Failure::ReadBack { .. }
        | Failure::Bundle { .. }
        | Failure::Target { .. }
        | Failure::Install { .. }
        | Failure::Gap { .. }
        | Failure::Graft { .. }
        | Failure::Marker { .. }
        | Failure::NoSafety { .. }
        | Failure::Import { .. }
        | Failure::NotLive { .. }
        | Failure::NotCompared { .. }
        | Failure::Dump { .. }
            if progress.is_cancelled() =>
        {
            Failure::Cancelled
        }
        other => other,
    })
}
