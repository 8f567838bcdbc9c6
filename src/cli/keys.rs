//! Where keys come from: flags, environment, service credentials, terminal. Never an argument's value, which every process list shows.

mod places;

use std::path::{Path, PathBuf};

use airkeep::crypto::{Iterations, OldPassphrase};
use airkeep::files::{FileError, read_secret_file};
use airkeep::{KeyFileKey, Keyring, Passphrase};
use clap::Args;
use zeroize::Zeroizing;

use super::configured_keys;
use super::exit::Exit;
use super::explain::Explained;
use super::proposal;
use super::settings;
use super::signals;
use super::terminal::Terminal;
pub use places::KeyPlaces;

const VARIABLE: &str = "AIRKEEP_PASSPHRASE";
const CREDENTIAL: &str = "airkeep.passphrase";

/// The flags that name keys.
#[derive(Args)]
#[command(next_help_heading = "Keys")]
pub struct KeyArguments {
    /// Read a passphrase from a file that others cannot read; one final line end is dropped
    #[arg(long, value_name = "FILE")]
    passphrase_file: Vec<PathBuf>,
    /// Read a passphrase from an open file descriptor
    #[arg(long, value_name = "N")]
    passphrase_fd: Vec<u32>,
    /// Use a key file: 32 random bytes that others cannot read
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,
}

/// The flags that name keys to come.
#[derive(Args)]
#[command(next_help_heading = "New keys")]
pub struct NewKeyArguments {
    /// Read a new passphrase from a file that others cannot read
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Vec<PathBuf>,
    /// Read a new passphrase from an open file descriptor
    #[arg(long, value_name = "N")]
    new_passphrase_fd: Vec<u32>,
    /// Use a new key file
    #[arg(long, value_name = "FILE")]
    new_key_file: Vec<PathBuf>,
    /// What it costs to try a new passphrase, in PBKDF2 iterations: 600000 to 10000000
    #[arg(long, value_name = "N", default_value = "600000", value_parser = Iterations::parse)]
    iterations: Iterations,
}

impl NewKeyArguments {
    /// Collects the new keys: all that flags name, else a passphrase that is typed twice.
    pub fn ring(&self) -> Result<Keyring, Explained> {
        let mut ring = named(&self.new_key_file, &self.new_passphrase_file, &self.new_passphrase_fd)?;
        if ring.is_empty() {
            let Some(mut terminal) = Terminal::open().map_err(|error| no_answer(&error))? else {
                let hint = "give --new-passphrase-file, --new-passphrase-fd or --new-key-file";
                return Err(Explained::new(Exit::Key, "no new key was given, and there is no terminal to ask on", Some(hint)));
            };
            ring.passphrases.push(ask_twice(&mut terminal, "New passphrase (at least 14 bytes; empty for a proposal): ")?);
        }
        check_for_sealing(&ring)?;
        ring.iterations = self.iterations;
        Ok(ring)
    }
}

/// The flags that name passphrases of other programs' backups.
#[derive(Args)]
#[command(next_help_heading = "Old passphrase")]
pub struct OldPassphraseArguments {
    /// Read a passphrase that an old backup was encrypted with from a file that others cannot read; each that is given is tried
    #[arg(long, value_name = "FILE")]
    old_passphrase_file: Vec<PathBuf>,
    /// Read such a passphrase from an open file descriptor
    #[arg(long, value_name = "N")]
    old_passphrase_fd: Vec<u32>,
}

impl OldPassphraseArguments {
    /// Collects them; nothing is asked.
    pub fn passphrases(&self) -> Result<Vec<OldPassphrase>, Explained> {
        let mut passphrases = Vec::new();
        for path in &self.old_passphrase_file {
            let bytes = read_secret_file(path).map_err(|error| key_error("passphrase file", path, error))?;
            passphrases.push(parse(&format!("'{}'", path.display()), OldPassphrase::parse_file_content(&bytes))?);
        }
        for number in &self.old_passphrase_fd {
            let bytes = read_descriptor_bytes(*number)?;
            passphrases.push(parse(&format!("descriptor {number}"), OldPassphrase::parse_file_content(&bytes))?);
        }
        Ok(passphrases)
    }
}

/// The section of a help text.
pub const HELP: &str =
    "Keys come from all of --passphrase-file, --passphrase-fd and --key-file that are given; else from the first of AIRKEEP_PASSPHRASE, all of [keys] in the configuration, the service credential 'airkeep.passphrase' (systemd), the terminal; never from an argument's value. Make a key file by:
  (umask 077; head -c 32 /dev/urandom > backup.key)";

/// What the keys are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Each key becomes a slot; a passphrase is asked for twice.
    Seal,
    /// One key must fit.
    Open,
    /// Keys are used if there are any; an empty answer at the prompt means none.
    OpenIfGiven,
    /// Only keys that were named; nothing is asked.
    OnlyNamed,
}

impl KeyArguments {
    /// The files that flags name.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        self.key_file.iter().chain(&self.passphrase_file)
    }

    /// Collects the keys: all that flags name, else the first of environment, configuration, service credentials, terminal.
    pub fn ring(&self, purpose: Purpose) -> Result<Keyring, Explained> {
        let mut ring = named(&self.key_file, &self.passphrase_file, &self.passphrase_fd)?;
        if ring.is_empty()
            && !is_in_environment()
            && let Some(config) = settings::config()
        {
            ring = configured_keys::ring(&config.keys, purpose)?;
        }
        if ring.is_empty() {
            ring.passphrases.extend(unnamed(purpose)?);
        }
        if purpose == Purpose::Seal {
            check_for_sealing(&ring)?;
        }
        // Also where nothing is sealed by name: a restore in place makes a safety bundle.
        ring.iterations = settings::config().and_then(|config| config.sealing.iterations).unwrap_or_default();
        Ok(ring)
    }
}

/// What was set for this run counts more than what stands in a file.
fn is_in_environment() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// All keys of these files and descriptors.
pub fn named(key_files: &[PathBuf], passphrase_files: &[PathBuf], descriptors: &[u32]) -> Result<Keyring, Explained> {
    let mut ring = Keyring::default();
    for path in key_files {
        ring.key_files.push(read_key_file(path)?);
    }
    for path in passphrase_files {
        ring.passphrases.push(read_passphrase_file(path)?);
    }
    for number in descriptors {
        ring.passphrases.push(read_descriptor(*number)?);
    }
    ring.dedup();
    Ok(ring)
}

fn check_for_sealing(ring: &Keyring) -> Result<(), Explained> {
    let too_short =
        |error: airkeep::PassphraseError| Explained::new(Exit::Key, error.to_string(), Some("use a longer passphrase, or a key file"));
    ring.passphrases.iter().try_for_each(|passphrase| passphrase.check_for_sealing().map_err(too_short))
}

fn unnamed(purpose: Purpose) -> Result<Option<Passphrase>, Explained> {
    if let Some(text) = std::env::var_os(VARIABLE) {
        let bytes = Zeroizing::new(text.into_encoded_bytes());
        return parse(&format!("the environment variable {VARIABLE}"), Passphrase::parse(&bytes)).map(Some);
    }
    if let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&folder).join(CREDENTIAL);
        if path.exists() {
            return read_passphrase_file(&path).map(Some);
        }
    }
    if purpose == Purpose::OnlyNamed {
        return Ok(None);
    }
    let Some(mut terminal) = Terminal::open().map_err(|error| no_answer(&error))? else {
        return if purpose == Purpose::OpenIfGiven { Ok(None) } else { Err(no_key()) };
    };
    match purpose {
        Purpose::Seal => ask_twice(&mut terminal, "Passphrase (at least 14 bytes; empty for a proposal): ").map(Some),
        Purpose::OpenIfGiven => {
            let answer = ask(&mut terminal, "Passphrase (empty to verify without a key): ")?;
            if answer.is_empty() { Ok(None) } else { typed(&answer).map(Some) }
        }
        Purpose::Open | Purpose::OnlyNamed => typed(&ask(&mut terminal, "Passphrase: ")?).map(Some),
    }
}

fn ask_twice(terminal: &mut Terminal, prompt: &str) -> Result<Passphrase, Explained> {
    let answer = ask(terminal, prompt)?;
    if answer.is_empty() {
        return ask_for_proposed(terminal);
    }
    let first = typed(&answer)?;
    first
        .check_for_sealing()
        .map_err(|error| Explained::new(Exit::Key, error.to_string(), Some("several words are easy to remember and hard to guess")))?;
    let second = typed(&ask(terminal, "The same again: ")?)?;
    match first.is_same(&second) {
        true => Ok(first),
        false => Err(Explained::new(Exit::Key, "the two passphrases differ", Some("nothing was sealed; start again"))),
    }
}

const REMINDER: &str = "\n\nWrite it down now and keep it apart from the backups. It is shown this once, and without it nobody\n\
     can open them.\n\n";

/// Shows a new passphrase, and wants it back: who can type it has it somewhere.
fn ask_for_proposed(terminal: &mut Terminal) -> Result<Passphrase, Explained> {
    let text = proposal::propose(&mut *super::environment().entropy);
    let proposed = typed(&text)?;
    let head = format!("\nA new passphrase, drawn at random ({} bits):\n\n    ", proposal::BITS);
    // Piece by piece: a text put together would leave copies behind while it grows.
    for piece in [&head, &*text, REMINDER] {
        terminal.show(piece).map_err(|error| no_answer(&error))?;
    }
    for prompt in ["Type it back, as you wrote it down: ", "That is not it. Type it back: ", "Nor is that. Once more: "] {
        let answer = ask(terminal, prompt)?;
        if !answer.is_empty() && typed(&answer)?.is_same(&proposed) {
            return Ok(proposed);
        }
    }
    Err(Explained::new(Exit::Key, "the proposed passphrase was not typed back", Some("nothing was sealed; start again")))
}

fn ask(terminal: &mut Terminal, prompt: &str) -> Result<Zeroizing<String>, Explained> {
    terminal.ask(prompt).map_err(|error| no_answer(&error))
}

fn typed(text: &str) -> Result<Passphrase, Explained> {
    parse("the terminal", Passphrase::parse(text.as_bytes()))
}

fn no_answer(error: &std::io::Error) -> Explained {
    if error.kind() == std::io::ErrorKind::Interrupted {
        return airkeep::Failure::Cancelled.into();
    }
    Explained::new(Exit::Key, format!("no passphrase from the terminal: {error}"), None)
}

fn no_key() -> Explained {
    let hint = format!("give --passphrase-file, --passphrase-fd, --key-file or {VARIABLE}");
    Explained::new(Exit::Key, "no passphrase or key was given, and there is no terminal to ask on", Some(&hint))
}

pub fn read_key_file(path: &Path) -> Result<KeyFileKey, Explained> {
    let bytes = read_secret_file(path).map_err(|error| key_error("key file", path, error))?;
    KeyFileKey::parse(&bytes).ok_or_else(|| {
        let message = format!("key file '{}' has {} bytes, a key has exactly 32", path.display(), bytes.len());
        Explained::new(Exit::Key, message, Some("make one with: (umask 077; head -c 32 /dev/urandom > FILE)"))
    })
}

pub fn read_passphrase_file(path: &Path) -> Result<Passphrase, Explained> {
    let bytes = read_secret_file(path).map_err(|error| key_error("passphrase file", path, error))?;
    parse(&format!("'{}'", path.display()), Passphrase::parse_file_content(&bytes))
}

fn read_descriptor(number: u32) -> Result<Passphrase, Explained> {
    parse(&format!("descriptor {number}"), Passphrase::parse_file_content(&read_descriptor_bytes(number)?))
}

/// Reads a descriptor that the caller opened, by its name under /proc or /dev, which needs no unsafe code.
fn read_descriptor_bytes(number: u32) -> Result<Zeroizing<Vec<u8>>, Explained> {
    use std::io::Read;
    let place = if Path::new("/proc/self/fd").exists() { "/proc/self/fd" } else { "/dev/fd" };
    let failed =
        |error: std::io::Error| Explained::new(Exit::Key, format!("cannot read a passphrase from descriptor {number}: {error}"), None);
    let by_name = || {
        std::fs::File::open(format!("{place}/{number}")).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Explained::new(Exit::Key, format!("file descriptor {number} is not open"), None),
            _ => failed(error),
        })
    };
    let mut file = duplicate(number).map_or_else(by_name, Ok)?;
    let mut bytes = Zeroizing::new([0; 4097]);
    let mut len = 0;
    loop {
        signals::wait_for_input(&file).map_err(|error| no_answer(&error))?;
        match file.read(&mut bytes[len..]).map_err(failed)? {
            0 => return Ok(Zeroizing::new(bytes[..len].to_vec())),
            count => len += count,
        }
    }
}

/// The descriptor itself, with its place in the file and whatever rights it was opened with; opening it anew by name would begin at the
/// start of the file again, and needs a permission that the caller may have given up.
#[cfg(target_os = "linux")]
fn duplicate(number: u32) -> Option<std::fs::File> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty()).ok()?;
    pidfd_getfd(own, number.try_into().ok()?, PidfdGetfdFlags::empty()).ok().map(Into::into)
}

#[cfg(not(target_os = "linux"))]
fn duplicate(_: u32) -> Option<std::fs::File> {
    None
}

/// Names the place that a passphrase came from if it is none.
pub fn parse<P>(place: &str, result: Result<P, impl std::error::Error>) -> Result<P, Explained> {
    result.map_err(|error| Explained {
        exit: Exit::Key,
        message: format!("cannot use the passphrase from {place}"),
        causes: vec![error.to_string()],
        hint: None,
    })
}

fn key_error(role: &str, path: &Path, error: FileError) -> Explained {
    let explained = Explained::from(airkeep::Failure::from(error));
    let causes = [vec![explained.message], explained.causes].concat();
    Explained { exit: Exit::Key, message: format!("cannot use {role} '{}'", path.display()), causes, hint: explained.hint }
}
