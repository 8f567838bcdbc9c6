//! The edge: clock, randomness, host, processors. Everything below gets them handed in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;

use super::hook::Hook;
use super::progress::{Progress, Unwatched};
use crate::bundle::{Host, UtcTime};
use crate::crypto::Entropy;
use crate::journal::Actor;

/// What the operations need to know of the outside.
pub struct Environment {
    /// Gives the time.
    pub clock: fn() -> SystemTime,
    /// Gives randomness.
    pub entropy: Box<dyn Entropy + Send>,
    /// The machine and account.
    pub host: Host,
    /// Who is doing this.
    pub actor: Actor,
    /// Why, in the operator's words.
    pub reason: Option<String>,
    /// Who hears of every event.
    pub hook: Option<Hook>,
    /// The folder whose journal takes what belongs to no vault.
    pub state_folder: Option<PathBuf>,
    /// What was done all right and could not be recorded, or of which a hook could not be told.
    pub shortfalls: Vec<String>,
    /// Threads that pack, open and check frames, at least 1.
    pub workers: usize,
    /// Is told how operations go, and may stop them.
    pub progress: Arc<dyn Progress>,
}

impl Environment {
    /// The real one, watched by nobody.
    pub fn system() -> Environment {
        let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let uid = rustix::process::getuid().as_raw();
        let host = Host { name, os: std::env::consts::OS.to_owned(), arch: std::env::consts::ARCH.to_owned(), user: user_name(uid), uid };
        let actor = Actor { user: host.user.clone(), uid, sudo_user: variable("SUDO_USER"), operator: variable("AIRKEEP_OPERATOR") };
        // More than eight threads cost memory and gain nothing against a single reader.
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        Environment {
            clock: SystemTime::now,
            entropy: Box::new(OsEntropy),
            host,
            actor,
            reason: None,
            hook: None,
            state_folder: state_folder(uid),
            shortfalls: Vec::new(),
            workers,
            progress: Arc::new(Unwatched),
        }
    }

    pub(super) fn now(&self) -> UtcTime {
        utc((self.clock)())
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("host", &self.host).field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// The operating system's random numbers.
#[derive(Debug, Clone, Copy)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&mut self, bytes: &mut [u8]) {
        use rand::TryRng;
        // A system without randomness cannot seal anything; going on with less would be worse than stopping.
        rand::rngs::SysRng.try_fill_bytes(bytes).expect("the operating system gives random bytes");
    }
}

/// Writes a moment as the format wants it. Moments beyond the calendar become its first one.
pub fn utc(time: SystemTime) -> UtcTime {
    let stamp = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = stamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    UtcTime::parse(&text).unwrap_or_else(|| utc(SystemTime::UNIX_EPOCH))
}

/// Seconds from a moment to another; negative if it lies ahead. `None` for a day that no calendar has.
pub fn age_seconds(moment: &UtcTime, now: SystemTime) -> Option<i64> {
    let then: Timestamp = moment.as_str().parse().ok()?;
    let now = Timestamp::try_from(now).ok()?;
    Some(now.as_second() - then.as_second())
}

/// A variable that is set to text.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// XDG Base Directory Specification; root's is the system's.
fn state_folder(uid: u32) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    match (absolute("XDG_STATE_HOME"), uid) {
        (Some(folder), _) => Some(folder.join("airkeep")),
        (None, 0) => Some(PathBuf::from("/var/lib/airkeep")),
        (None, _) => Some(absolute("HOME")?.join(".local/state/airkeep")),
    }
}

/// The name in the account database, which outlives `su` and cron; the environment's word is only a guess.
fn user_name(uid: u32) -> String {
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
    };
    accounts.lines().find_map(own).unwrap_or_else(|| uid.to_string())
}
