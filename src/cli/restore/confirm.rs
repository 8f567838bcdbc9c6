//! The question before something is replaced.

use std::io::{BufRead, IsTerminal, stdin};

use crate::cli::exit::Exit;
use crate::cli::explain::Explained;
use crate::cli::{screen, signals};

/// Where there is nobody to ask, somebody has to have said so before.
pub fn require_somebody() -> Result<(), Explained> {
    let hint = "look at the plan with --dry-run, then add --force";
    match stdin().is_terminal() {
        true => Ok(()),
        false => Err(Explained::new(Exit::Usage, "there is nobody to ask, and nothing was replaced", Some(hint))),
    }
}

/// Asks the person at the terminal.
pub fn ask(question: &str) -> Result<(), Explained> {
    screen::print_error(&format!("{question} [y/N] "));
    let stopped = || Explained::new(signalled(), "interrupted, nothing was replaced", None);
    signals::wait_for_input(stdin()).map_err(|_| {
        screen::print_error("\n");
        stopped()
    })?;
    let mut answer = String::new();
    let read = stdin().lock().read_line(&mut answer);
    match read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        true => Ok(()),
        false => Err(Explained::new(Exit::Failed, "not agreed to, nothing was replaced", None)),
    }
}

fn signalled() -> Exit {
    Exit::SIGNALS.into_iter().find(|exit| signals::caught() == Some(exit.code())).unwrap_or(Exit::Interrupted)
}
