//! What commands of the site get of our environment: all of it but what opens bundles.
//!
//! Taking a variable out of our own environment would be unsafe while threads run; so each command is started without it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// More variables that hold a passphrase, by the configuration of this process.
static SECRET: Mutex<BTreeSet<OsString>> = Mutex::new(BTreeSet::new());

const ALWAYS: [&str; 2] = ["AIRKEEP_PASSPHRASE", "CREDENTIALS_DIRECTORY"];

/// Keeps a variable of this process from every command that is started from now on: hooks, what stops and starts an application, and
/// guarded work.
pub fn keep_secret(variable: impl Into<OsString>) {
    SECRET.lock().unwrap_or_else(PoisonError::into_inner).insert(variable.into());
}

/// Takes everything that opens bundles out of the environment of a command.
pub fn without_secrets(command: &mut Command) -> &mut Command {
    let secret = SECRET.lock().unwrap_or_else(PoisonError::into_inner);
    let command = ALWAYS.iter().fold(command, |command, name| command.env_remove(name));
    secret.iter().fold(command, |command, name| command.env_remove(name))
}
