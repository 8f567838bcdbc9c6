//! Keys that the configuration names: files, a variable, a service credential. All of them together, as all flags together.

use std::path::PathBuf;

use airkeep::config::KeyConfig;
use airkeep::{Keyring, Passphrase};
use zeroize::Zeroizing;

use super::exit::Exit;
use super::explain::Explained;
use super::keys::{self, Purpose};

/// Collects them. To seal, each has to be there, else a bundle would lack a slot without anybody noticing. To open, one key suffices, and what
/// belongs to the surroundings of a process (variable, credential) may be in those of a service and not in those of an operator.
pub fn ring(config: &KeyConfig, purpose: Purpose) -> Result<Keyring, Explained> {
    let mut ring = keys::named(&config.key_files, &config.passphrase_files, &[])?;
    let missing = |why: String| match purpose {
        Purpose::Seal => Err(Explained::new(Exit::Key, why, Some("give a key by a flag to seal without the configured ones"))),
        _ => Ok(()),
    };
    if let Some(name) = &config.passphrase_env {
        match std::env::var_os(name) {
            Some(text) => {
                let bytes = Zeroizing::new(text.into_encoded_bytes());
                ring.passphrases.push(keys::parse(&format!("the environment variable {name}"), Passphrase::parse(&bytes))?);
            }
            None => missing(unset(name))?,
        }
    }
    if let Some(name) = &config.credential {
        match credential_path(name) {
            Ok(path) => ring.passphrases.push(keys::read_passphrase_file(&path)?),
            Err(why) => missing(why)?,
        }
    }
    ring.dedup();
    Ok(ring)
}

/// Where they come from, in words.
pub fn places(config: &KeyConfig) -> Vec<String> {
    let of = |role: &'static str, paths: &[PathBuf]| -> Vec<String> {
        paths.iter().map(|path| format!("{role} '{}'", path.display())).collect()
    };
    let mut places = of("key file", &config.key_files);
    places.extend(of("passphrase file", &config.passphrase_files));
    places.extend(config.passphrase_env.iter().map(|name| format!("environment variable {name}")));
    places.extend(config.credential.iter().map(|name| format!("service credential {name}")));
    places
}

/// What is not there of it, without a look at any secret.
pub fn problems(config: &KeyConfig) -> Vec<String> {
    let missing = |path: &&PathBuf| !path.is_file();
    let files = |role: &'static str, paths: &[PathBuf]| -> Vec<String> {
        paths.iter().filter(missing).map(|path| format!("{role} '{}' does not exist", path.display())).collect()
    };
    let mut problems = files("key file", &config.key_files);
    problems.extend(files("passphrase file", &config.passphrase_files));
    problems.extend(config.passphrase_env.iter().filter(|name| std::env::var_os(name).is_none()).map(|name| unset(name)));
    problems.extend(config.credential.iter().filter_map(|name| credential_path(name).err()));
    problems
}

/// What is there of it and is of no use, to seal with all of it: others can read it, it is no key, it is too short. Secrets are read, and not
/// shown.
pub fn faults(config: &KeyConfig) -> Vec<String> {
    let is_there = |path: &&PathBuf| path.is_file();
    let long_enough = |passphrase: Result<Passphrase, Explained>, place: String| -> Option<Explained> {
        let unfit = |passphrase: Passphrase| passphrase.check_for_sealing().err().map(|error| format!("{place}: {error}"));
        passphrase.map_or_else(Some, |passphrase| unfit(passphrase).map(|message| Explained::new(Exit::Key, message, None)))
    };
    let from_file = |path: &PathBuf| long_enough(keys::read_passphrase_file(path), format!("passphrase file '{}'", path.display()));
    let from_variable = |name: &String| {
        let bytes = Zeroizing::new(std::env::var_os(name)?.into_encoded_bytes());
        let place = format!("the environment variable {name}");
        long_enough(keys::parse(&place, Passphrase::parse(&bytes)), place)
    };
    let key_files = config.key_files.iter().filter(is_there).filter_map(|path| keys::read_key_file(path).err());
    let credential = config.credential.iter().filter_map(|name| credential_path(name).ok());
    let files: Vec<PathBuf> = config.passphrase_files.iter().filter(is_there).cloned().chain(credential).collect();
    let faults = key_files.chain(files.iter().filter_map(from_file)).chain(config.passphrase_env.iter().filter_map(from_variable));
    faults.map(|fault| [vec![fault.message], fault.causes].concat().join(": ")).collect()
}

fn unset(name: &str) -> String {
    format!("the environment variable {name}, which keys.passphrase-env names, is not set")
}

fn credential_path(name: &str) -> Result<PathBuf, String> {
    let named = format!("the service credential '{name}', which keys.credential names,");
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(format!("{named} is not here: CREDENTIALS_DIRECTORY is not set"));
    };
    let path = PathBuf::from(folder).join(name);
    match path.exists() {
        true => Ok(path),
        false => Err(format!("{named} is not here: '{}' does not exist", path.display())),
    }
}
