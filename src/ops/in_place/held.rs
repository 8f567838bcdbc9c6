//! Targets under their locks: nobody else changes them any more, and nothing of them has changed yet.

use std::sync::Arc;

use super::gap::{FoundGap, LiveSide};
use super::later::LaterRows;
use super::{InPlace, Prepared, Present, ReadyImage};
use crate::bundle::{Label, SourceGap};
use crate::database::{Before, Cancelled, Capture, CaptureOptions, DatabaseError, InstallOptions, Installation, Standing};
use crate::files::Scratch;
use crate::ops::progress::Phase;
use crate::ops::seal::Origin;
use crate::ops::{Environment, Failure, SourceSpec, TableHistory};

/// One of them.
pub(super) struct HeldTarget<'i> {
    pub(super) ready: &'i ReadyImage,
    pub(super) installation: Installation<'i>,
    pub(super) before: Option<Before>,
    pub(super) gap: FoundGap,
    /// How to recognise the new content later.
    pub(super) after: Option<Standing>,
}

/// How installations are done.
pub(super) fn install_options<'c>(request: &InPlace, cancelled: Cancelled<'c>) -> InstallOptions<'c> {
    InstallOptions { links: request.links, others: request.others, busy_timeout: request.busy_timeout, cancelled }
}

impl Prepared {
    /// Locks all targets, and finds out what replacing them would take away.
    pub(super) fn hold<'i>(
        &self,
        images: &'i [ReadyImage],
        histories: &[TableHistory],
        later: &LaterRows<'_>,
        environment: &mut Environment,
    ) -> Result<Vec<HeldTarget<'i>>, Failure> {
        let progress = Arc::clone(&environment.progress);
        let cancelled = || progress.is_cancelled();
        let options = install_options(&self.request, &cancelled);
        let mut locked = Vec::new();
        for ready in images {
            let refused = |source| Failure::Install { label: ready.source.label.clone(), source };
            let lock = Installation::lock(&ready.target, &ready.image, &options, &mut *environment.entropy).map_err(refused)?;
            progress.note(&format!("locked '{}'", lock.path().display()));
            locked.push((ready, lock));
        }
        let _phase = Phase::begin(&progress, "comparing append-only rows", None);
        let mut held = Vec::new();
        for (ready, installation) in locked {
            let refused = |source| Failure::Install { label: ready.source.label.clone(), source };
            let before = installation.before().map_err(refused)?;
            self.require_as_planned(ready, &installation, before.as_ref())?;
            let live = match (installation.present(), &before) {
                (Some(_), Some(before)) if before.size_bytes == 0 && !before.is_wal => LiveSide::Missing,
                (Some(connection), _) => LiveSide::Read(connection),
                (None, Some(_)) => LiveSide::Unreadable,
                (None, None) => LiveSide::Missing,
            };
            if let Some(before) = &before {
                let theirs = before.application_id.filter(|_| before.size_bytes > 0);
                self.require_same(ready, installation.path(), theirs, before.size_bytes)?;
            }
            let gap = self.gap_of(ready, &live, histories, later, environment)?;
            held.push(HeldTarget { ready, installation, before, gap, after: None });
        }
        let gaps: Vec<_> = held.iter().map(|target| (&target.ready.source.label, Some(&target.gap.record))).collect();
        self.require_known_tables(&gaps)?;
        Ok(held)
    }
}

impl Prepared {
    /// What is locked has to be what the plan showed; where the plan could not look, only that it is a database.
    fn require_as_planned(&self, ready: &ReadyImage, installation: &Installation<'_>, before: Option<&Before>) -> Result<(), Failure> {
        let planned = self.plan.targets.iter().find(|target| target.source.label == ready.source.label).map(|target| &target.present);
        let is_as_planned = match (planned, before) {
            (Some(Present::Live(facts)), Some(before)) => (facts.device, facts.inode) == (before.device, before.inode),
            (Some(Present::Missing), None) | (Some(Present::Unopenable(_) | Present::Locked), Some(_)) | (None, _) => true,
            _ => false,
        };
        if !is_as_planned {
            let what = "it is not what was there when the plan was made".to_owned();
            return Err(Failure::OtherDatabase { label: ready.source.label.clone(), path: installation.path().to_owned(), what });
        }
        match (installation.present(), before) {
            (None, Some(_)) => self.require_wanted(ready, installation.path()),
            _ => Ok(()),
        }
    }
}

/// The locked state of targets, as sources of the safety bundle.
pub(super) struct LockedStates<'h, 'i>(pub(super) &'h [HeldTarget<'i>]);

impl LockedStates<'_, '_> {
    /// Those that can be read.
    pub(super) fn sources(&self) -> Vec<SourceSpec> {
        let readable = self.0.iter().filter(|target| target.installation.present().is_some());
        readable
            .map(|target| SourceSpec { label: target.ready.source.label.clone(), path: target.installation.path().to_owned() })
            .collect()
    }

    fn target(&self, label: &Label) -> Option<&HeldTarget<'_>> {
        self.0.iter().find(|target| target.ready.source.label == *label)
    }
}

impl Origin for LockedStates<'_, '_> {
    fn capture<'c>(&'c self, spec: &SourceSpec, options: &CaptureOptions<'_>) -> Result<Capture<'c>, DatabaseError> {
        let present = self.target(&spec.label).and_then(|target| target.installation.present());
        let present = present.ok_or_else(|| DatabaseError::Missing { path: spec.path.clone() })?;
        Capture::of_locked(&spec.path, present, options)
    }

    fn gap(&self, label: &Label) -> Option<(&SourceGap, &Scratch)> {
        self.target(label).map(|target| (&target.gap.record, &target.gap.capsule))
    }
}
