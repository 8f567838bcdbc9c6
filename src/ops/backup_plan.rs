//! What a backup would do: looked up and told, with nothing opened, made or changed, and without a key.

use std::time::SystemTime;

use super::plain::Apart;
use super::{Backup, Failure, FileSource, FilesFault, SourceSpec};
use crate::database::{DatabaseError, Glance};
use crate::plain::Found;
use crate::vault::Outlook;

/// What a backup would do.
#[derive(Debug)]
pub struct BackupPlan {
    /// Its sources, in the order of the bundle.
    pub sources: Vec<PlannedSource>,
    /// Its sets of plain files, and what stands behind their patterns, or why there is nothing.
    pub files: Vec<(FileSource, Result<Found, FilesFault>)>,
    /// What the vault has for it; nothing of a vault that would be made.
    pub outlook: Option<Outlook>,
    /// Why it could not be signed.
    pub unsigned: Option<Failure>,
}

/// A source as it lies there.
#[derive(Debug)]
pub struct PlannedSource {
    /// Label and path.
    pub spec: SourceSpec,
    /// Whether a backup without it fails.
    pub is_required: bool,
    /// The group that it is captured with.
    pub group: Option<String>,
    /// What there is, or why it could not be captured.
    pub state: Result<Glance, DatabaseError>,
}

impl Backup {
    /// Finds out what [`Backup::run`] would do, by the time that it is.
    ///
    /// # Errors
    /// [`Failure::DoubleLabel`], [`Failure::Vault`]. A source that is missing is part of the plan.
    pub fn plan(&self, now: SystemTime) -> Result<BackupPlan, Failure> {
        self.check_labels()?;
        let planned = |spec: &SourceSpec| PlannedSource {
            spec: spec.clone(),
            is_required: !self.optional.contains(&spec.label),
            group: self.groups.iter().find(|group| group.labels.contains(&spec.label)).map(|group| group.name.clone()),
            state: Glance::at(&spec.path),
        };
        let apart = Apart::of(self);
        let files = self.files.iter().map(|source| (source.clone(), source.find(&apart, now))).collect();
        let outlook = Outlook::of(&self.vault, self.set.as_ref())?;
        let unsigned = outlook.as_ref().and_then(|outlook| self.why_unsigned(outlook));
        Ok(BackupPlan { sources: self.sources.iter().map(planned).collect(), files, outlook, unsigned })
    }

    fn why_unsigned(&self, outlook: &Outlook) -> Option<Failure> {
        let signer = outlook.signer?;
        match &self.signing_key {
            Some(place) => place.load(&outlook.set.id, &signer).err(),
            None => Some(Failure::NoSigningKey { vault: self.vault.clone() }),
        }
    }
}
