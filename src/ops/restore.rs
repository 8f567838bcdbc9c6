//! Restore into a folder: every chosen snapshot complete and verified, or no file at all.
//!
//! One pass does both: while the whole bundle is examined at L3, the chosen databases are written into files that have no name. Only when
//! the pass ended without a finding, and every file was synced, do they get their names; nothing is ever replaced. The
//! manifest comes last, so its presence says that the restore was completed.

mod staging;
mod target;
mod unpack;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::command::check;
use super::progress::{Phase, Watched, go_on, heed};
use super::recorder::{Note, record, subject};
use super::verify::{open_bundle, require_signer, unlock_with_manifest};
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::{
    Examination, FileSet, Finding, Keyring, Label, Level, Manifest, Medium as _, Outcome, PublicCore, Source, TrustedSigners, read_front,
};
use crate::config::Config;
use crate::files::Folder;
use crate::journal::{self, Event};
use staging::{Chosen, Content, Staging, StagingError};
use target::Target;

const MANIFEST: &str = "manifest.json";

/// A request to restore into a folder.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The bundle.
    pub bundle: PathBuf,
    /// Which sources, all if empty.
    pub labels: Vec<Label>,
    /// The folder; made if it is missing.
    pub to: PathBuf,
    /// The vault that takes the record, else the folder that the bundle is in.
    pub vault: Option<PathBuf>,
    /// Who may have sealed it; with somebody pinned, nothing is restored from a bundle that nobody of them signed.
    pub signers: TrustedSigners,
    /// Where the signing key is, for the record in a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
    /// What the configuration says: how the application checks what was restored.
    pub config: Option<Arc<Config>>,
    /// Whether databases that are whole are restored although other parts of the bundle are damaged.
    pub accept_damage: bool,
}

/// A restored database.
#[derive(Debug)]
pub struct Restored {
    /// What the manifest says of it.
    pub source: Source,
    /// Where it is now.
    pub path: PathBuf,
}

/// What became of a restore.
#[derive(Debug)]
pub struct RestoreReport {
    /// The bundle's public core.
    pub core: PublicCore,
    /// The bundle's manifest.
    pub manifest: Manifest,
    /// Where the manifest is now, unless its entry was damaged.
    pub manifest_path: Option<PathBuf>,
    /// The databases.
    pub restored: Vec<Restored>,
    /// Sets of files, and the folder that each is in now.
    pub files: Vec<(FileSet, PathBuf)>,
    /// What is wrong with the bundle; empty unless damage was accepted.
    pub findings: Vec<Finding>,
    /// Chosen databases that are hurt and were not restored.
    pub hurt: Vec<Label>,
}

impl Restore {
    /// A request with the defaults: everything in the bundle, whoever signed it.
    pub fn new(bundle: impl Into<PathBuf>, to: impl Into<PathBuf>) -> Restore {
        Restore {
            bundle: bundle.into(),
            labels: Vec::new(),
            to: to.into(),
            vault: None,
            signers: TrustedSigners::default(),
            signing_key: None,
            config: None,
            accept_damage: false,
        }
    }

    /// Restores.
    ///
    /// # Errors
    /// [`Failure`]; nothing is left behind then.
    pub fn run(&self, ring: &Keyring, environment: &mut Environment) -> Result<RestoreReport, Failure> {
        let result = heed(&environment.progress.clone(), self.restore(ring, environment));
        self.record(&result, environment);
        for one in result.iter().flat_map(|report| &report.restored) {
            check(self.config.as_deref(), &one.source.label, &one.path, environment);
        }
        result
    }

    fn record(&self, result: &Result<RestoreReport, Failure>, environment: &mut Environment) {
        let note = match result {
            Ok(report) => {
                let restored: Vec<Value> =
                    report.restored.iter().map(|one| json!({ "label": one.source.label, "to": one.path.to_string_lossy() })).collect();
                let sets = report.files.iter().map(|(set, path)| json!({ "label": set.label, "to": path.to_string_lossy() }));
                let restored: Vec<Value> = restored.into_iter().chain(sets).collect();
                let details = json!({ "restored": restored, "hurt": report.hurt, "findings": report.findings.len() });
                Note::new(Event::Restore, journal::Outcome::Success, Some(subject(&report.core, &self.bundle)), details)
            }
            // There is nothing to be told of a bundle that is not there.
            Err(Failure::NoBundle { .. }) => return,
            Err(failure) => Note::failure(Event::Restore, None, failure),
        };
        record(self.recording_folder().as_ref(), self.signing_key.as_ref(), note, environment);
    }

    fn recording_folder(&self) -> Option<Folder> {
        let named = self.vault.as_ref().and_then(|vault| Folder::open(&vault.canonicalize().ok()?).ok());
        named.or_else(|| Folder::above(&self.bundle).ok())
    }

    /// Records what is about to be done: a run that is killed has said so.
    fn intend(&self, core: &PublicCore, chosen: &Chosen, environment: &mut Environment) {
        let labels: Vec<&Label> = chosen.labels().collect();
        let details = json!({ "labels": labels, "to": self.to.to_string_lossy() });
        let note = Note::new(Event::Restore, journal::Outcome::Intent, Some(subject(core, &self.bundle)), details);
        record(self.recording_folder().as_ref(), self.signing_key.as_ref(), note, environment);
    }

    fn restore(&self, ring: &Keyring, environment: &mut Environment) -> Result<RestoreReport, Failure> {
        let progress = environment.progress.clone();
        let failure = |source| Failure::Bundle { path: self.bundle.clone(), source };
        let file = open_bundle(&self.bundle)?;
        let medium = Watched::new(&file, &progress);
        let phase = Phase::begin(&progress, "restoring", medium.length().ok());
        let mut front = read_front(&medium).map_err(failure)?;
        let (mut unlocked, manifest) = unlock_with_manifest(&self.bundle, &medium, &front, ring)?;
        progress.note(&format!("opened '{}'", self.bundle.display()));
        let chosen = self.choose(&manifest)?;
        self.intend(&front.core, &chosen, environment);
        let target = Target::prepare(&self.to, &chosen)?;
        let mut sink = Staging::new(&target, &chosen, &mut *environment.entropy);
        let examination = Examination::new(&medium, &mut front, Some(&mut unlocked), Level::Content, environment.workers, &mut sink);
        let outcome = examination.run().map_err(|error| match error {
            StagingError::File(error) => Failure::File(error),
            StagingError::Bundle(source) => failure(source),
        })?;
        let staged = sink.staged;
        require_signer(&self.bundle, &self.signers, &front.core, outcome.is_signed)?;
        let is_whole = |content: &Content| staged.iter().any(|file| file.content == *content);
        let (whole, hurt) = chosen.divide(&is_whole);
        if !outcome.findings.is_empty() && (!self.accept_damage || whole.is_empty()) {
            return Err(self.damaged(outcome, &manifest, whole.labels().cloned().collect()));
        }
        drop(phase);
        progress.note(&format!("verified, L3: {} findings", outcome.findings.len()));
        go_on(&progress)?;
        let has_manifest = is_whole(&Content::Manifest);
        target.publish(staged, &whole.files, environment)?;
        progress.note(&format!("published into '{}'", self.to.display()));
        let place = |source: Source| Restored { path: self.to.join(format!("{}.db", source.label)), source };
        let files_place = |set: FileSet| (self.to.join(target::FILES).join(set.label.as_str()), set);
        Ok(RestoreReport {
            core: front.core,
            manifest,
            manifest_path: has_manifest.then(|| self.to.join(MANIFEST)),
            restored: whole.sources.into_iter().map(place).collect(),
            files: whole.files.into_iter().map(files_place).map(|(path, set)| (set, path)).collect(),
            findings: outcome.findings,
            hurt: hurt.labels().cloned().collect(),
        })
    }

    /// What was found, and which of the chosen databases could be had all the same.
    fn damaged(&self, mut outcome: Outcome, manifest: &Manifest, whole: Vec<Label>) -> Failure {
        let first = outcome.findings.swap_remove(0).damage;
        Failure::Damaged { path: self.bundle.clone(), source: first, whole, has_several: manifest.labels().count() > 1 }
    }

    fn choose(&self, manifest: &Manifest) -> Result<Chosen, Failure> {
        if let Some(label) = self.labels.iter().find(|label| !manifest.labels().any(|known| known == *label)) {
            return Err(Failure::NoLabel { label: label.clone(), has: manifest.labels().map(ToString::to_string).collect() });
        }
        let is_chosen = |label: &Label| self.labels.is_empty() || self.labels.contains(label);
        let sources = manifest.sources.iter().filter(|source| is_chosen(&source.label)).cloned().collect();
        let files = manifest.files.iter().filter(|set| is_chosen(&set.label)).cloned().collect();
        Ok(Chosen { sources, files })
    }
}
