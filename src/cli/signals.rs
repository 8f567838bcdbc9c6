//! Ctrl-C, SIGTERM and SIGHUP: the first one asks the operation to stop and to clean up behind itself, the second one ends the process at once.
//!
//! A handler does nothing but set a flag, which operations ask for (`Progress::is_cancelled`). Once there is nothing to clean up any more, as
//! while a report is written into a pipe that nobody reads, the first signal ends the process. What was ignored when the program began
//! (`nohup`) stays ignored.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// What handlers write and the rest reads.
#[derive(Default)]
struct Flags {
    /// The exit code of the first signal, 0 before.
    code: Arc<AtomicUsize>,
    ends_at_once: Arc<AtomicBool>,
}

static FLAGS: OnceLock<Flags> = OnceLock::new();
/// What shells add to a signal's number to make an exit code of it.
const BASE: i32 = 128;
/// How long a wait for input may overlook a signal.
const ATTENTION: Duration = Duration::from_millis(50);

/// Begins to listen.
pub fn listen() {
    let flags = FLAGS.get_or_init(Flags::default);
    let ignored = ignored();
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        if ignored >> (signal - 1) & 1 == 1 {
            continue;
        }
        let code = BASE + signal;
        // In this order: the second signal finds what the first one set. Where no handler can be had the system's own action remains.
        let _ = flag::register_conditional_shutdown(signal, code, Arc::clone(&flags.ends_at_once));
        let _ = flag::register(signal, Arc::clone(&flags.ends_at_once));
        let _ = flag::register_usize(signal, Arc::clone(&flags.code), code as usize);
    }
}

/// The exit code of the signal that came, if one came.
pub fn caught() -> Option<u8> {
    let code = FLAGS.get()?.code.load(Ordering::Relaxed);
    u8::try_from(code).ok().filter(|&code| code != 0)
}

/// From here on the next signal is a first one again.
pub fn listen_anew() {
    if let Some(flags) = FLAGS.get() {
        flags.ends_at_once.store(false, Ordering::Relaxed);
    }
}

/// From here on there is nothing to clean up: a signal ends the process at once.
pub fn end_at_once() {
    if let Some(flags) = FLAGS.get() {
        flags.ends_at_once.store(true, Ordering::Relaxed);
    }
}

/// Waits until something can be read.
///
/// # Errors
/// `Interrupted` if a signal came first.
pub fn wait_for_input(source: impl AsFd) -> io::Result<()> {
    let timeout = Timespec { tv_sec: 0, tv_nsec: ATTENTION.as_nanos() as _ };
    loop {
        if caught().is_some() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&timeout)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The signals that were ignored when the program began, one bit each. Only Linux tells without unsafe code.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0)
}
