//! The command line: arguments in, one operation of the library, text or one JSON object out, an exit code.
//!
//! The only room that prints, asks, knows flags, or ends the process.

mod audit;
mod backup;
mod compare;
mod completions;
mod config;
mod configured_keys;
mod databases;
mod demo;
mod exit;
mod explain;
mod export;
mod extract;
mod gap;
mod gap_text;
mod guard;
mod import;
mod info;
mod init;
mod json;
mod key;
mod keys;
mod list;
mod man;
mod progress;
mod proposal;
mod record;
mod recover_text;
mod reference;
mod restore;
mod screen;
mod selection;
mod settings;
mod signals;
mod signer;
mod signers;
mod size;
mod sqlite_file;
mod terminal;
mod vault;
mod verify;

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use airkeep::Environment;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use exit::Exit;
use explain::Explained;
use progress::{Display, Verbosity};

#[derive(Parser)]
#[command(name = "airkeep", version, about = ABOUT, after_long_help = after_help(), max_term_width = 100)]
struct Arguments {
    /// Print no progress, and nothing on success but what was asked for; warnings and errors stay
    #[arg(short, long, global = true, display_order = 900)]
    quiet: bool,
    /// Tell each step and its time on standard error
    #[arg(short, long, global = true, display_order = 900)]
    verbose: bool,
    /// The configuration (default: the next airkeep.toml from the working folder upward)
    #[arg(long, global = true, display_order = 901, value_name = "FILE", env = "AIRKEEP_CONFIG")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Arguments),
    Backup(backup::Arguments),
    Verify(verify::Arguments),
    Restore(Box<restore::Arguments>),
    Extract(Box<extract::Arguments>),
    Gap(gap::Arguments),
    Guard(Box<guard::Arguments>),
    Import(Box<import::Arguments>),
    Config(config::Arguments),
    List(list::Arguments),
    Info(info::Arguments),
    Compare(compare::Arguments),
    Size(size::Arguments),
    Key(key::Arguments),
    Signer(signer::Arguments),
    Audit(audit::Arguments),
    Vault(vault::Arguments),
    RecoverText(recover_text::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
    Demo(demo::Arguments),
}

const ABOUT: &str = "Encrypted, verifiable backups of live SQLite databases that open with stock tools";

/// What a command has to say: text for people, an object for programs, and how it ended.
pub struct Report {
    /// Lines for standard output.
    pub text: String,
    /// The members of the JSON object besides `command` and `ok`.
    pub json: serde_json::Map<String, serde_json::Value>,
    /// Lines for standard error, each after `airkeep: warning: `.
    pub warnings: Vec<String>,
    /// Why it is no success, where it is none.
    pub error: Option<Explained>,
}

impl Report {
    /// Adds what was done all right but could not be recorded or told: the command has finished, and its exit code says that something is missing.
    /// Where it has failed for another reason, that one keeps its exit code.
    pub fn with_shortfalls(mut self, environment: Environment) -> Report {
        let mut shortfalls = environment.shortfalls.into_iter();
        if self.error.is_none() {
            self.error = shortfalls.next().map(|first| Explained::new(Exit::Partial, first, None));
        }
        self.warnings.extend(shortfalls);
        self
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    protect_memory();
    // A passphrase that came by a descriptor is not for git, and not for a hook.
    close_fds::set_fds_cloexec(3, &[]);
    signals::listen();
    std::panic::set_hook(Box::new(|panic| screen::error_line(&format!("this is a bug in airkeep: {panic}"))));
    // The hook has said what happened; the code says that it was not the user's fault.
    catch_unwind(run).unwrap_or(Exit::Bug).into()
}

/// No core dump and no debugger of the same account may show a passphrase; and as many open files as the system grants, since every
/// database of a restore stays open until all are verified. What the system refuses changes nothing else.
fn protect_memory() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
}

fn run() -> Exit {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let arguments = match parse() {
        Ok(arguments) => arguments,
        Err(Refused::Usage(error)) => return refuse(&error, wants_json),
        Err(Refused::Config(explained)) => return fail(None, &explained, wants_json),
    };
    let verbosity = match (arguments.quiet, arguments.verbose) {
        (true, true) => return fail(None, &contradiction(), wants_json),
        (true, false) => Verbosity::Quiet,
        (false, true) => Verbosity::Verbose,
        (false, false) => Verbosity::Normal,
    };
    let _ = DISPLAY.set(Display::start(verbosity));
    let is_silent = verbosity == Verbosity::Quiet && !arguments.command.is_asked_for_text();
    let place = arguments.command.place().map(Path::to_owned);
    let (name, wants_json, result) = match arguments.command {
        Command::Init(arguments) => ("init", arguments.json, arguments.run()),
        Command::Backup(arguments) => ("backup", arguments.json, arguments.run()),
        Command::Verify(arguments) => ("verify", arguments.json, arguments.run()),
        Command::Restore(arguments) => ("restore", arguments.json(), arguments.run()),
        Command::Extract(arguments) => ("extract", arguments.json, arguments.run()),
        Command::Gap(arguments) => ("gap", arguments.json(), arguments.run()),
        Command::Guard(arguments) => ("guard", arguments.json, arguments.run()),
        Command::Import(arguments) => ("import", arguments.json, arguments.run()),
        Command::Config(arguments) => ("config", arguments.json(), arguments.run()),
        Command::List(arguments) => ("list", arguments.json, arguments.run()),
        Command::Info(arguments) => ("info", arguments.json, arguments.run()),
        Command::Compare(arguments) => ("compare", arguments.json, arguments.run()),
        Command::Size(arguments) => ("size", arguments.json, arguments.run()),
        Command::Key(arguments) => ("key", arguments.json(), arguments.run()),
        Command::Signer(arguments) => ("signer", arguments.json(), arguments.run()),
        Command::Vault(arguments) => ("vault", arguments.json(), arguments.run()),
        Command::Audit(arguments) => ("audit", arguments.json(), arguments.run()),
        Command::RecoverText(arguments) => ("recover-text", arguments.json, arguments.run()),
        Command::Completions(arguments) => ("completions", arguments.json, arguments.run()),
        Command::Man(arguments) => ("man", arguments.json, arguments.run()),
        Command::Demo(arguments) => ("demo", arguments.json, arguments.run()),
    };
    signals::end_at_once();
    let open = place.map_or_else(Vec::new, |place| open_restores(&place));
    match result {
        Ok(mut report) => {
            report.warnings.extend(open);
            for warning in &report.warnings {
                screen::warning_line(warning);
            }
            if let Some(error) = &report.error {
                screen::error(error);
            }
            let is_printed = match wants_json {
                true => screen::print(&json::report(name, &report)),
                false if is_silent && report.error.is_none() => true,
                false => screen::print(&report.text),
            };
            match report.error {
                Some(error) => error.exit,
                None if is_printed => Exit::Success,
                None => Exit::Failed,
            }
        }
        Err(explained) => {
            open.iter().for_each(|warning| screen::warning_line(warning));
            fail(Some(name), &explained, wants_json)
        }
    }
}

/// Restores in place that did not say how they ended: every command tells of them, since what they left needs looking at.
fn open_restores(place: &Path) -> Vec<String> {
    let above = || place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let vault = if place.is_dir() { place } else { above() };
    let open = airkeep::ops::open_restores(vault).unwrap_or_default();
    let words = |open: airkeep::ops::OpenRestore| {
        let advice = format!("unless it is still running: airkeep restore resolve --vault '{}'", vault.display());
        if open.is_guard {
            let bundle = open.record.subject.as_ref().map_or("", |subject| subject.file.as_str());
            return format!("guarded work, begun {}, has not said how it ended; the state before is in '{bundle}'; {advice}", open.begun);
        }
        let targets: Vec<String> = open.targets.iter().map(|target| format!("'{}'", target.display())).collect();
        format!("the restore into {}, begun {}, has not said how it ended; {advice}", targets.join(", "), open.begun)
    };
    open.into_iter().map(words).collect()
}

/// Why the arguments cannot be taken.
enum Refused {
    Usage(clap::Error),
    Config(Explained),
}

/// Reads the arguments twice: the first time for the configuration that they name, the second time with the defaults that it has.
fn parse() -> Result<Arguments, Refused> {
    let first = Arguments::command().ignore_errors(true).try_get_matches();
    let named = first.as_ref().ok().and_then(|matches| matches.get_one::<PathBuf>("config").cloned());
    // Help, and what is there when nothing works any more, depend on no file.
    let is_alone = first
        .as_ref()
        .map_or(true, |matches| matches!(matches.subcommand_name(), None | Some("help" | "recover-text" | "completions" | "man" | "demo")));
    let config = if is_alone { None } else { settings::load(named).map_err(Refused::Config)? };
    let command = Arguments::command();
    let command = config.map_or(command.clone(), |config| settings::apply(command, config));
    let matches = command.try_get_matches().map_err(Refused::Usage)?;
    Arguments::from_arg_matches(&matches).map_err(Refused::Usage)
}

/// What every command works in: the system, watched by this program's display and stopped by its signals.
fn environment() -> Environment {
    let mut environment = Environment::system();
    if let Some(display) = DISPLAY.get() {
        environment.progress = Arc::clone(display) as _;
    }
    environment
}

static DISPLAY: OnceLock<Arc<Display>> = OnceLock::new();

impl Command {
    /// Where it works: a vault, or a bundle in one.
    fn place(&self) -> Option<&Path> {
        match self {
            Command::Init(arguments) => arguments.place(),
            Command::Backup(arguments) => arguments.place(),
            Command::Verify(arguments) => arguments.place(),
            Command::Restore(arguments) => arguments.place(),
            Command::Extract(arguments) => arguments.place(),
            Command::Gap(arguments) => arguments.place(),
            Command::List(arguments) => arguments.place(),
            Command::Guard(arguments) => arguments.place(),
            Command::Import(arguments) => arguments.place(),
            Command::Info(arguments) => arguments.place(),
            Command::Compare(arguments) => arguments.place(),
            Command::Size(arguments) => arguments.place(),
            Command::Key(arguments) => arguments.place(),
            Command::Signer(arguments) => arguments.place(),
            Command::Audit(arguments) => arguments.place(),
            Command::Vault(arguments) => arguments.place(),
            Command::Config(_) | Command::RecoverText(_) | Command::Completions(_) | Command::Man(_) | Command::Demo(_) => None,
        }
    }

    /// Whether its output is what a person wants, and not only the news that all went well.
    fn is_asked_for_text(&self) -> bool {
        match self {
            // A fingerprint is there to be written down.
            Command::Init(_)
            | Command::Signer(_)
            | Command::Config(_)
            | Command::List(_)
            | Command::Audit(_)
            | Command::Info(_)
            | Command::Compare(_)
            | Command::Size(_)
            | Command::RecoverText(_)
            | Command::Demo(_)
            | Command::Completions(_) => true,
            Command::Man(arguments) => arguments.is_printed(),
            Command::Gap(arguments) => arguments.is_asked_for_text(),
            Command::Key(arguments) => arguments.is_list(),
            Command::Restore(arguments) => arguments.is_asked_for_text(),
            Command::Backup(arguments) => arguments.is_dry_run(),
            Command::Extract(_) | Command::Guard(_) | Command::Import(_) | Command::Verify(_) | Command::Vault(_) => false,
        }
    }
}

/// Said here and not by clap, which does not see it when one stands in front of the command and one behind it.
fn contradiction() -> Explained {
    Explained::new(Exit::Usage, "the argument '--quiet' cannot be used with '--verbose'", Some("see --help"))
}

fn fail(command: Option<&str>, explained: &Explained, wants_json: bool) -> Exit {
    screen::error(explained);
    if wants_json {
        screen::print(&json::failure(command, explained));
    }
    explained.exit
}

/// Help and version are answers, everything else that clap says is a usage error.
fn refuse(error: &clap::Error, wants_json: bool) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            let is_coloured = screen::is_coloured(&std::io::stdout());
            match screen::print(&if is_coloured { text.ansi().to_string() } else { text.to_string() }) {
                true => Exit::Success,
                false => Exit::Failed,
            }
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let text = error.render();
            let is_coloured = screen::is_coloured(&std::io::stderr());
            screen::print_error(&if is_coloured { text.ansi().to_string() } else { text.to_string() });
            Exit::Usage
        }
        _ => fail(None, &explain::usage(error), wants_json),
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep backup app.db                      seal app.db into ./airkeep-vault, passphrase asked for\n  \
         airkeep verify airkeep-vault               prove all bundles of a vault\n  \
         airkeep restore BUNDLE.akb --to restored   get the databases back\n\n{}",
        exit::table(&Exit::ALL)
    )
}
