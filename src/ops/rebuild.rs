//! Rebuild: a journal that is lost or damaged is begun anew, and its records of backups are made from the bundles themselves.
//!
//! What else it said is gone, and the new journal says so in its first record. The old file is kept beside it: it may still tell an
//! auditor something, and nothing here destroys evidence.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::continuity::recorded_tables;
use super::record::manifest_details;
use super::recorder::{Note, record};
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::{Keyring, read_front, read_seal_digest, unlock};
use crate::files::{FileError, Folder};
use crate::journal::{Check, Event, HEAD, JOURNAL, Outcome, Subject};
use crate::vault::Vault;

/// A journal that is to be made anew.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// The vault.
    pub vault: PathBuf,
    /// Where the signing key is, for a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
}

/// What became of it.
#[derive(Debug)]
pub struct RebuildReport {
    /// Bundles that have a record now.
    pub recorded: Vec<String>,
    /// Bundles that have none, and why.
    pub unrecorded: Vec<(String, String)>,
    /// Where the old journal is now, if there was one.
    pub kept_as: Option<String>,
}

impl Rebuild {
    /// A request with the defaults.
    pub fn new(vault: impl Into<PathBuf>) -> Rebuild {
        Rebuild { vault: vault.into(), signing_key: None }
    }

    /// Makes the journal anew.
    ///
    /// # Errors
    /// [`Failure::NoVault`], [`Failure::SigningKey`], [`Failure::Vault`]; the journal is as it was then.
    pub fn run(&self, ring: &Keyring, environment: &mut Environment) -> Result<RebuildReport, Failure> {
        if !self.vault.exists() {
            return Err(Failure::NoVault { path: self.vault.clone() });
        }
        let mut vault = Vault::open(&self.vault, &mut *environment.entropy)?;
        // A vault that signs gets no unsigned journal; this is found out before the old one is moved.
        if let Some(signer) = vault.signer() {
            let place = self.signing_key.as_ref().ok_or_else(|| Failure::NoSigningKey { vault: self.vault.clone() })?;
            place.load(&vault.set().id, &signer)?;
        }
        let before = Check::default().run(vault.folder())?;
        let (mut notes, mut unrecorded) = (Vec::new(), Vec::new());
        let mut last_sequence = 0;
        for (name, sequence) in vault.own_bundles() {
            last_sequence = last_sequence.max(sequence);
            match note_of(vault.folder(), &name, ring) {
                Ok(note) => notes.push((name, note)),
                Err(why) => unrecorded.push((name, why)),
            }
        }
        // Without its record the folder is no vault, and has no journal.
        vault.settle(&mut *environment.entropy)?;
        let kept_as = set_aside(vault.folder(), &environment.now().compact())?;
        let details = json!({
            "problem": "rebuilt",
            "last_sequence": last_sequence,
            "records_before": before.records,
            "head_before": before.head,
            "kept_as": kept_as,
        });
        let first = Note::new(Event::Journal, Outcome::Success, None, details);
        record(Some(vault.folder()), self.signing_key.as_ref(), first, environment);
        let mut recorded = Vec::new();
        for (name, note) in notes {
            record(Some(vault.folder()), self.signing_key.as_ref(), note, environment);
            recorded.push(name);
        }
        Ok(RebuildReport { recorded, unrecorded, kept_as })
    }
}

/// What a bundle says of itself, as its backup would have recorded it.
fn note_of(folder: &Folder, name: &str, ring: &Keyring) -> Result<Note, String> {
    let failed = |error: &dyn std::error::Error| super::recorder::chain(error);
    let medium = folder.open_file(name).map_err(|error| failed(&error))?;
    let front = read_front(&medium).map_err(|error| failed(&error))?;
    let seal = read_seal_digest(&medium, &front).map_err(|error| failed(&error))?;
    let manifest = unlock(&medium, &front, ring).and_then(crate::bundle::Unlocked::into_manifest).map_err(|error| failed(&error))?;
    let mut details: Map<String, Value> = manifest_details(&front.core, &manifest);
    let size_bytes = medium.metadata().map_or(0, |metadata| metadata.len());
    details.insert("size_bytes".to_owned(), size_bytes.into());
    details.insert("seal_sha256".to_owned(), json!(seal));
    details.insert("append_only".to_owned(), json!(recorded_tables(&manifest)));
    details.insert("rebuilt".to_owned(), true.into());
    let subject = Subject { bundle: front.core.id, sequence: front.core.sequence, file: name.to_owned() };
    Ok(Note { event: Event::Backup, outcome: Outcome::Success, subject: Some(subject), details })
}

/// Moves the old journal out of the way. A run that is killed between the two is finished by running it again.
fn set_aside(folder: &Folder, time: &str) -> Result<Option<String>, FileError> {
    let mut kept = None;
    for name in [JOURNAL, HEAD] {
        if folder.has(name)? {
            let old = format!("{name}.{time}.old");
            folder.rename(name, &old)?;
            kept = kept.or_else(|| (name == JOURNAL).then_some(old));
        }
    }
    Ok(kept)
}
