//! A conversation with a child that cannot be trusted to take part in it.
//!
//! One thread does it all, over pipes that never block: it feeds what the child reads, takes what the child writes, and looks at the
//! clock. So no wait is without an end, and no thread is left behind when a grandchild keeps a pipe open for ever. The child leads a
//! process group of its own, and is not reaped until the group has been killed: as long as it is a zombie, its number can mean nobody
//! else.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::HookOutput;

/// How a conversation ended.
pub(super) enum Ending {
    /// The child ended by itself.
    Ended(ExitStatus),
    /// It was ended.
    TimedOut,
}

/// A command in a process group of its own, with pipes for [`converse`].
pub(super) fn piped(program: &str) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Gives the child its input, takes its output, and ends it and its group when the time is up.
///
/// A child that ended leaves others of its group a moment to say what they have to say; then they are ended too.
pub(super) fn converse(child: Child, input: &[u8], limit: Duration) -> io::Result<(Ending, HookOutput)> {
    let mut talk = Conversation::begin(child, input);
    let is_in_time = talk.goes_on(limit, Conversation::has_ended);
    if is_in_time {
        talk.goes_on(LAST_WORDS, Conversation::is_silent);
    } else {
        talk.signal(Signal::TERM);
        talk.goes_on(GRACE, Conversation::has_ended);
    }
    talk.signal(Signal::KILL);
    // What hangs in the kernel (a dead network drive) does not die now; it is left to itself.
    talk.goes_on(GRACE, Conversation::has_ended);
    talk.exchange();
    let ending = match talk.child.try_wait() {
        _ if !is_in_time => Ending::TimedOut,
        Ok(Some(status)) => Ending::Ended(status),
        Ok(None) => return Err(ErrorKind::TimedOut.into()),
        Err(error) => return Err(error),
    };
    Ok((ending, HookOutput { stdout: talk.stdout.kept, stderr: talk.stderr.kept }))
}

struct Conversation<'i> {
    child: Child,
    group: Pid,
    stdin: Option<ChildStdin>,
    unread: &'i [u8],
    stdout: Outlet<ChildStdout>,
    stderr: Outlet<ChildStderr>,
}

impl<'i> Conversation<'i> {
    fn begin(mut child: Child, input: &'i [u8]) -> Conversation<'i> {
        let stdin = child.stdin.take().filter(is_made_nonblocking);
        let stdout = Outlet { pipe: child.stdout.take().filter(is_made_nonblocking), kept: Vec::new() };
        let stderr = Outlet { pipe: child.stderr.take().filter(is_made_nonblocking), kept: Vec::new() };
        Conversation { group: Pid::from_child(&child), child, stdin, unread: input, stdout, stderr }
    }

    /// Talks until something has come about, at most for a time; false if it has not.
    fn goes_on(&mut self, patience: Duration, has_come: fn(&Self) -> bool) -> bool {
        let begun = Instant::now();
        loop {
            self.exchange();
            if has_come(self) {
                return true;
            }
            if begun.elapsed() >= patience {
                return false;
            }
            self.rest();
        }
    }

    /// Writes and reads as much as goes at once.
    fn exchange(&mut self) {
        if let Some(stdin) = &mut self.stdin {
            match stdin.write(self.unread) {
                Ok(count) => self.unread = &self.unread[count..],
                Err(error) if is_for_later(&error) => {}
                // It does not want to read on, as it may: an audit logger with arguments has no need to.
                Err(_) => self.unread = &[],
            }
        }
        if self.unread.is_empty() {
            self.stdin = None;
        }
        self.stdout.take_some();
        self.stderr.take_some();
    }

    /// Waits for the child to read or write, a moment at most: its end makes no pipe ready where a grandchild holds it.
    fn rest(&self) {
        let stdin = self.stdin.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT));
        let outlets = [self.stdout.descriptor(), self.stderr.descriptor()].into_iter().flatten();
        let outlets = outlets.map(|pipe| PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        let mut pipes: Vec<PollFd<'_>> = stdin.into_iter().chain(outlets).collect();
        // Interrupted or not, the caller looks at the clock.
        let _ = poll(&mut pipes, Some(&TICK));
    }

    /// Whether the child has ended. It is not reaped: its number stays its own.
    fn has_ended(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(self.group), options) {
            Ok(status) => status.is_some(),
            Err(Errno::INTR) => false,
            // Where the process ignores SIGCHLD there is no child to wait for.
            Err(_) => true,
        }
    }

    /// Whether nobody is left who could write to us.
    fn is_silent(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Sends a signal to the group. Nobody there, or nobody whom we may signal (a hook behind sudo): then the waits have their ends.
    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.group, signal);
    }
}

/// One output of the child: the first of it is kept, the rest is dropped, so that the child can go on.
struct Outlet<P> {
    pipe: Option<P>,
    kept: Vec<u8>,
}

impl<P: Read + AsFd> Outlet<P> {
    fn take_some(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let mut chunk = [0; KEPT_BYTES];
        match pipe.read(&mut chunk) {
            Ok(count) if count > 0 => self.kept.extend(&chunk[..count.min(KEPT_BYTES - self.kept.len())]),
            Err(error) if is_for_later(&error) => {}
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }
}

/// A pipe that could block is given up: to lose words is better than to hang. Only our end changes; the child's end has flags of its own.
fn is_made_nonblocking(pipe: &impl AsFd) -> bool {
    fcntl_getfl(pipe).and_then(|flags| fcntl_setfl(pipe, flags | OFlags::NONBLOCK)).is_ok()
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// Between the request to end and the end, and again until a killed child is seen to be dead.
const GRACE: Duration = Duration::from_secs(1);

/// For what the child has left behind with its outputs in hand.
const LAST_WORDS: Duration = Duration::from_millis(500);

const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// Of each output. As much as a pipe holds, so one read empties it.
const KEPT_BYTES: usize = 64 << 10;
