//! Restore in place: snapshots take the place of live databases, and every append-only row that this takes away is on the record.
//!
//! The order is the safety: the bundle is verified while its databases go into encrypted scratch; the plan is shown; the intent is
//! recorded; all targets are locked; under the locks the gap is computed, and the present state is sealed with the lost rows into a safety
//! bundle and read back; only then the first target changes. What each step leaves when it is killed: nothing but records, up to
//! the first installation, and from then on what [`resolve`](super::Resolve) finds out from the record before.

mod complete;
mod gap;
mod held;
mod images;
mod later;
mod open;
mod plan;
mod record;
mod report;
mod resolve;
mod run;
mod warnings;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(super) use images::{scratch_in, snapshots};
pub use open::{OpenRestore, open_restores};
pub use plan::{PlannedTarget, Present, RestorePlan};
pub use record::Incarnation;
pub(super) use record::restores;
pub use report::{InPlaceReport, TargetOutcome, TargetResult, Totals, totals};
pub use resolve::{Closing, Resolution, Resolve, ResolvedTarget, TargetState};
pub use words::gap_sentences;

use super::command::Service;
use super::{AppendOnly, Environment, Failure, SigningKeyPlace};
use crate::bundle::{Compression, Front, Id, Keyring, Label, Manifest, Marking, PublicCore, Source, TrustedSigners};
use crate::config::Config;
use crate::crypto::{encode_hex, random};
use crate::database::{Access, Image, Links, Marker, Others};
use crate::files::Folder;
use crate::vault::identity_in;

/// A request to put snapshots in the place of live databases. Everything but the bundle has a sensible default.
#[derive(Debug, Clone)]
pub struct InPlace {
    /// The bundle.
    pub bundle: PathBuf,
    /// The bundle's id, where it is known: another bundle under that path is refused.
    pub expected: Option<Id>,
    /// Which sources, all if empty.
    pub labels: Vec<Label>,
    /// The target, for a single source; else each goes where it was captured.
    pub onto: Option<PathBuf>,
    /// Where databases belong, where that is known: before what the configuration and the bundle say. A manifest is text, and a path need not be.
    pub places: Vec<(Label, PathBuf)>,
    /// What the configuration says: where databases belong (else each goes where it was captured), what is demanded of them, how the
    /// application checks them.
    pub config: Option<Arc<Config>>,
    /// The vault that takes safety bundle and record, else the folder that the bundle is in.
    pub vault: Option<PathBuf>,
    /// What becomes of others who have a target open.
    pub others: Others,
    /// Whether links are followed.
    pub links: Links,
    /// Whether it is done without a safety bundle; the environment must have a reason then.
    pub omit_safety: bool,
    /// Tables that only grow, else those on record, else those that protect themselves by triggers.
    pub append_only: Vec<AppendOnly>,
    /// Whether lost rows go back into the restored database.
    pub graft: bool,
    /// A row of the application's own that says what was lost.
    pub marker: Option<Marker>,
    /// A number under which others know of this.
    pub ticket: Option<String>,
    /// Who else is to be stopped and started.
    pub service: Service,
    /// Who may have sealed the bundle.
    pub signers: TrustedSigners,
    /// Where the signing key is, for a vault that has a signer.
    pub signing_key: Option<SigningKeyPlace>,
    /// Whether a snapshot is put back that was corrupt when it was captured.
    pub accept_corrupt: bool,
    /// Whether a target may be another application's, or lose everything to an empty snapshot.
    pub accept_other: bool,
    /// Whether a snapshot is put back that does not meet the demands of the configuration.
    pub accept_unmet: bool,
    /// How long to wait for a lock.
    pub busy_timeout: Duration,
    /// Where encrypted scratch goes, else `/var/tmp`.
    pub scratch: Option<PathBuf>,
    /// How the safety bundle is packed.
    pub compression: Compression,
    /// How the safety bundle must be handled, else as the bundle that is restored.
    pub marking: Option<Marking>,
    /// The open restore that this one finishes or undoes; others may not be open.
    pub resolves: Option<String>,
}

/// A restore in place of which everything is ready but the targets.
pub struct Prepared {
    request: InPlace,
    /// Stands in every record of this restore.
    id: String,
    core: PublicCore,
    manifest: Manifest,
    images: Vec<ReadyImage>,
    plan: RestorePlan,
}

/// A verified snapshot in scratch, and where it goes.
struct ReadyImage {
    source: Source,
    image: Image,
    target: PathBuf,
}

impl InPlace {
    /// A request with the defaults.
    pub fn new(bundle: impl Into<PathBuf>) -> InPlace {
        InPlace {
            bundle: bundle.into(),
            expected: None,
            labels: Vec::new(),
            onto: None,
            places: Vec::new(),
            config: None,
            vault: None,
            others: Others::Refuse,
            links: Links::Refuse,
            omit_safety: false,
            append_only: Vec::new(),
            graft: false,
            marker: None,
            ticket: None,
            service: Service::default(),
            signers: TrustedSigners::default(),
            signing_key: None,
            accept_corrupt: false,
            accept_other: false,
            accept_unmet: false,
            busy_timeout: Duration::from_secs(5),
            scratch: None,
            compression: Compression::DEFAULT,
            marking: None,
            resolves: None,
        }
    }

    /// Verifies the bundle, takes the snapshots into scratch, and looks at the targets. No byte changes but in scratch.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn prepare(self, ring: &Keyring, environment: &mut Environment) -> Result<Prepared, Failure> {
        let progress = environment.progress.clone();
        super::progress::heed(&progress, self.prepare_all(ring, environment))
    }

    fn prepare_all(self, ring: &Keyring, environment: &mut Environment) -> Result<Prepared, Failure> {
        if self.omit_safety && environment.reason.as_ref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(Failure::NoReason);
        }
        self.require_vault()?;
        let taken = images::take(&self, ring, environment)?;
        let images::Taken { front: Front { core, .. }, manifest, images, .. } = taken;
        let id = encode_hex(&random::<8>(&mut *environment.entropy));
        let mut prepared = Prepared { plan: RestorePlan::begin(taken.seconds), request: self, id, core, manifest, images };
        let unmet = prepared.require_demands(environment)?;
        prepared.look_at_targets(ring, environment)?;
        prepared.plan.warnings.extend(unmet);
        prepared.plan.warnings.extend(prepared.left_in_bundle());
        Ok(prepared)
    }

    /// A medium that only carries a bundle is not where the present state belongs.
    fn require_vault(&self) -> Result<(), Failure> {
        let path = self.vault_path();
        let is_vault = |path: &PathBuf| Some(identity_in(&Folder::open(&path.canonicalize().ok()?).ok()?));
        match is_vault(&path) {
            Some(Ok(None)) | None => Err(Failure::NotAVault { path }),
            Some(_) => Ok(()),
        }
    }

    fn vault_path(&self) -> PathBuf {
        let above = || self.bundle.parent().filter(|folder| !folder.as_os_str().is_empty()).map_or_else(|| ".".into(), PathBuf::from);
        self.vault.clone().unwrap_or_else(above)
    }
}

impl Prepared {
    /// Settings and logs of today are not replaced by those of a backup.
    fn left_in_bundle(&self) -> Option<String> {
        let sets: Vec<&str> = self.manifest.files.iter().map(|set| set.label.as_str()).collect();
        let is_everything_meant = self.request.labels.is_empty() && !sets.is_empty();
        is_everything_meant.then(|| format!("plain files are in the bundle, too, and are not put in place: {}", sets.join(", ")))
    }

    /// Asks the snapshots for what the configuration demands; gives what they do not meet, if that is accepted.
    fn require_demands(&self, environment: &Environment) -> Result<Vec<String>, Failure> {
        let progress = environment.progress.clone();
        let mut unmet = Vec::new();
        for ready in &self.images {
            let label = &ready.source.label;
            let Some(known) = self.request.config.as_ref().and_then(|config| config.database_of(label)) else { continue };
            for assertion in &known.assertions {
                let opened = ready.image.open(Access::ReadOnly);
                let connection = opened.map_err(|source| Failure::Unsound { label: label.clone(), what: source.to_string() })?;
                let asserted = assertion.ask(&connection, ready.source.size_bytes, &|| progress.is_cancelled());
                match asserted.holds == Some(true) {
                    true => {}
                    false if self.request.accept_unmet => unmet.push(format!("{label}: {asserted}")),
                    false => return Err(Failure::Unmet { label: label.clone(), what: asserted.to_string() }),
                }
            }
        }
        super::progress::go_on(&progress)?;
        Ok(unmet)
    }

    /// What will be done.
    pub fn plan(&self) -> &RestorePlan {
        &self.plan
    }

    /// The bundle's public core.
    pub fn core(&self) -> &PublicCore {
        &self.core
    }
}
