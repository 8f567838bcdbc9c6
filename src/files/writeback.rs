//! Writing a large file so that its sync at the end is short.
//!
//! The kernel keeps written pages in memory until it must write them, which would leave the disk idle while frames are packed, and then make
//! everything wait for one long `fsync`. A thread syncs every 32 MiB while the next ones are being made. Each of its syncs counts: the kernel reports a
//! lost page once, and if that once went unheard the last sync would succeed over a hole.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

const STEP_BYTES: u64 = 32 << 20;

/// A file that is brought to the disk while it grows.
#[derive(Debug)]
pub struct Writeback {
    file: File,
    unsynced_bytes: u64,
    syncer: Option<Syncer>,
}

#[derive(Debug)]
struct Syncer {
    wake: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Writeback {
    /// Takes a file to write.
    pub fn new(file: File) -> Writeback {
        Writeback { file, unsynced_bytes: 0, syncer: None }
    }

    /// Waits for the syncs that were begun. The caller syncs the file itself once more.
    ///
    /// # Errors
    /// Any of them failed: then part of the file may be missing, and no later sync would say so.
    pub fn finish(self) -> io::Result<()> {
        let Some(Syncer { wake, thread }) = self.syncer else { return Ok(()) };
        drop(wake);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the sync thread stopped")))
    }

    fn advance(&mut self) -> io::Result<()> {
        self.unsynced_bytes = 0;
        let syncer = match self.syncer.take() {
            Some(syncer) => syncer,
            None => Syncer::start(self.file.try_clone()?),
        };
        // A full channel means that a sync is waiting to begin, which will take this part along.
        let _ = syncer.wake.try_send(());
        self.syncer = Some(syncer);
        Ok(())
    }
}

impl Syncer {
    fn start(file: File) -> Syncer {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::spawn(move || woken.iter().try_for_each(|()| file.sync_data()));
        Syncer { wake, thread }
    }
}

impl Write for Writeback {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.file.write(bytes)?;
        self.unsynced_bytes += len as u64;
        if self.unsynced_bytes >= STEP_BYTES {
            self.advance()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_and_every_sync_is_waited_for() {
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = Writeback::new(file.try_clone().unwrap());
        let piece = vec![7; 1 << 20];
        (0..100).for_each(|_| writer.write_all(&piece).unwrap());
        writer.finish().unwrap();
        use std::io::{Read, Seek};
        file.rewind().unwrap();
        let mut all = Vec::new();
        file.read_to_end(&mut all).unwrap();
        assert!(all.len() == 100 << 20 && all.iter().all(|&byte| byte == 7));
    }

    #[test]
    fn a_sync_that_fails_fails_the_whole() {
        // A pipe cannot be synced.
        let (_reader, writer) = io::pipe().unwrap();
        let mut writer = Writeback::new(File::from(std::os::fd::OwnedFd::from(writer)));
        writer.advance().unwrap();
        assert!(writer.finish().is_err());
    }
}
