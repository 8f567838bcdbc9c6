//! Where the keys of a run would come from, without a look at any of them.

use std::path::Path;

use super::{CREDENTIAL, KeyArguments, VARIABLE, is_in_environment};
use crate::cli::{configured_keys, settings};

/// Places of keys, in words.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct KeyPlaces {
    /// All that would be used.
    pub places: Vec<String>,
    /// What is not there of them.
    pub missing: Vec<String>,
}

impl KeyArguments {
    /// The places, in the order in which [`KeyArguments::ring`] looks for keys.
    pub fn places(&self) -> KeyPlaces {
        let mut flags = Vec::new();
        flags.extend(self.key_file.iter().map(|path| format!("key file '{}'", path.display())));
        flags.extend(self.passphrase_file.iter().map(|path| format!("passphrase file '{}'", path.display())));
        flags.extend(self.passphrase_fd.iter().map(|number| format!("descriptor {number}")));
        if !flags.is_empty() {
            let files = self.key_file.iter().chain(&self.passphrase_file).filter(|path| !path.exists());
            let missing = files.map(|path| format!("'{}', which is to hold a key, does not exist", path.display())).collect();
            return KeyPlaces { places: flags, missing };
        }
        let only = |place: String| KeyPlaces { places: vec![place], missing: Vec::new() };
        if is_in_environment() {
            return only(format!("environment variable {VARIABLE}"));
        }
        if let Some(config) = settings::config() {
            let places = configured_keys::places(&config.keys);
            if !places.is_empty() {
                return KeyPlaces { places, missing: configured_keys::problems(&config.keys) };
            }
        }
        match std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| Path::new(&folder).join(CREDENTIAL).exists()) {
            true => only(format!("service credential {CREDENTIAL}")),
            false => only("the terminal, where a passphrase is asked for".to_owned()),
        }
    }
}
