//! The guarded command: found before anything is sealed, run with this terminal, and waited for whatever signals come.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal as _};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use airkeep::ops::without_secrets;
use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::process::{Pid, Signal, kill_process};

use crate::cli::exit::Exit;
use crate::cli::explain::Explained;
use crate::cli::signals;

/// How it ended.
pub enum Ended {
    /// By itself, or by a signal.
    With(ExitStatus),
    /// It could not be started.
    NotStarted(io::Error),
    /// Nobody can tell.
    Lost,
}

/// Finds the program as a shell would.
pub fn find(name: &OsStr) -> Result<PathBuf, Explained> {
    let refuse = |exit, what: &str| Err(Explained::new(exit, format!("'{}' {what}, nothing was done", name.display()), None));
    let candidates: Vec<PathBuf> = match name.to_string_lossy().contains('/') {
        true => vec![PathBuf::from(name)],
        false => std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|folder| folder.join(name)).collect(),
    };
    let files: Vec<&PathBuf> = candidates.iter().filter(|path| path.is_file()).collect();
    match files.iter().find(|path| is_executable(path)) {
        Some(path) => Ok((*path).clone()),
        None if files.is_empty() => refuse(Exit::NoCommand, "was not found"),
        None => refuse(Exit::NotExecutable, "cannot be executed"),
    }
}

fn is_executable(path: &Path) -> bool {
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Runs it to its end.
pub fn run(program: &Path, arguments: &[OsString], is_stdout_taken: bool) -> Ended {
    let mut command = Command::new(program);
    without_secrets(command.args(arguments));
    if is_stdout_taken {
        command.stdout(Stdio::from(io::stderr()));
    }
    match command.spawn() {
        Ok(child) => wait(child),
        Err(error) => Ended::NotStarted(error),
    }
}

/// Waits. Ctrl-C at a terminal comes to the command by itself, since it is of our process group; what was sent to us alone is passed on.
fn wait(mut child: Child) -> Ended {
    let mut passed_on = None;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                signals::listen_anew();
                return Ended::With(status);
            }
            Ok(None) => {}
            Err(_) => return Ended::Lost,
        }
        let caught = signals::caught();
        if caught != passed_on {
            let signal = caught.and_then(|code| Signal::from_named_raw(i32::from(code) - 128));
            if let Some(signal) = signal.filter(|signal| *signal != Signal::INT || !io::stdin().is_terminal()) {
                // One that has ended meanwhile is found by the next look.
                let _ = kill_process(Pid::from_child(&child), signal);
            }
            passed_on = caught;
        }
        // However often it is asked to end: as long as the command runs, its databases may have to be put back.
        signals::listen_anew();
        std::thread::sleep(ATTENTION);
    }
}

impl Ended {
    /// In the words of the journal.
    pub fn work(&self) -> Result<(), String> {
        match self {
            Ended::With(status) if status.success() => Ok(()),
            Ended::With(status) => match status.signal() {
                Some(signal) => Err(format!("the command was ended by signal {signal}")),
                None => Err(format!("the command ended with exit code {}", status.code().unwrap_or(-1))),
            },
            Ended::NotStarted(error) => Err(format!("the command could not be started: {error}")),
            Ended::Lost => Err("the command's end is not known".to_owned()),
        }
    }

    /// As a shell tells it.
    pub fn code(&self) -> u8 {
        let code = match self {
            Ended::With(status) => status.code().or_else(|| status.signal().map(|signal| 128 + signal)),
            Ended::NotStarted(_) => Some(126),
            Ended::Lost => None,
        };
        code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Guard.code())
    }

    /// The same as this program's end.
    pub fn exit(&self) -> Exit {
        Exit::Command(self.code())
    }
}

const ATTENTION: Duration = Duration::from_millis(20);
