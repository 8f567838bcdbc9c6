//! The run: announce, stop, lock, compare, keep, replace, tell, start.

use std::sync::Arc;

use super::held::{HeldTarget, LockedStates, install_options};
use super::later::LaterRows;
use super::open::open_in;
use super::record::{Incarnation, watched_tables};
use super::report::{InPlaceReport, TargetOutcome, TargetResult};
use super::{Prepared, ReadyImage};
use crate::bundle::{Keyring, Kind, Marking, read_front};
use crate::database::{Comparison, DatabaseError, InstallReport, Standing};
use crate::journal::{Record, records_in};
use crate::ops::command::check;
use crate::ops::progress::{Phase, go_on, heed};
use crate::ops::recorder::{Note, Recorded, chain, record, resolve_pending};
use crate::ops::{Backup, BackupReport, Environment, Failure, TableHistory, TableRecord, table_histories};
use crate::vault::Vault;

/// What the records of a vault tell, read once.
struct Past<'p> {
    records: Vec<Record>,
    histories: Vec<TableHistory>,
    later: LaterRows<'p>,
}

impl Prepared {
    /// Restores.
    ///
    /// # Errors
    /// [`Failure`]: nothing was replaced. That one of several targets was not is part of the report.
    pub fn run(mut self, mut ring: Keyring, environment: &mut Environment) -> Result<InPlaceReport, Failure> {
        let mut vault = self.open_vault(&mut ring, environment)?;
        let images = std::mem::take(&mut self.images);
        let past = self.past(&vault, &ring)?;
        self.require_none_open(&past.records)?;
        self.announce(&vault, environment)?;
        let result = self.stop().and_then(|()| self.replace(&images, &past, &mut vault, &ring, environment));
        let result = heed(&Arc::clone(&environment.progress), result);
        let is_cancelled = result.as_ref().is_ok_and(|(report, _)| report.is_cancelled());
        match &result {
            Ok((report, watched)) => self.tell(report, watched, &vault, environment),
            Err(failure) => {
                record(Some(vault.folder()), self.request.signing_key.as_ref(), self.failed(failure), environment);
            }
        }
        for outcome in result.iter().flat_map(|(report, _)| &report.outcomes).filter(|outcome| outcome.is_replaced()) {
            check(self.request.config.as_deref(), &outcome.label, &outcome.path, environment);
        }
        // Last, so that what it does, or a person who stops it, changes nothing of the record; and also where the other failed half-way.
        self.start(environment);
        let (report, _) = result?;
        if is_cancelled { Err(Failure::Cancelled) } else { Ok(report) }
    }

    /// Opens the vault that takes the safety bundle, and keeps of the keys those that open its newest bundle.
    fn open_vault(&self, ring: &mut Keyring, environment: &mut Environment) -> Result<Vault, Failure> {
        let kept = |failure: Failure| Failure::NoSafety { source: Box::new(failure) };
        let mut vault = Vault::open(&self.plan.vault, &mut *environment.entropy).map_err(|error| kept(error.into()))?;
        resolve_pending(&mut vault, self.request.signing_key.as_ref(), environment)?;
        if let Some(newest) = vault.newest() {
            let medium = vault.folder().open_file(&newest.name)?;
            let opened = read_front(&medium).and_then(|front| front.retain_opening(ring));
            if !self.request.omit_safety && !opened.unwrap_or(true) {
                return Err(kept(Failure::OtherKeys { bundle: newest.name.clone() }));
            }
        }
        Ok(vault)
    }

    fn past<'p>(&'p self, vault: &Vault, ring: &'p Keyring) -> Result<Past<'p>, Failure> {
        let records = records_in(vault.folder())?;
        let histories = table_histories(&records);
        let later = LaterRows::of(vault.folder().path(), &self.core, &self.manifest, ring);
        Ok(Past { records, histories, later })
    }

    /// An open restore may have left journal mode or content half-way; whoever goes on over it loses the trace.
    fn require_none_open(&self, records: &[Record]) -> Result<(), Failure> {
        let is_in_the_way = |open: &&super::OpenRestore| {
            let shares = self.plan.targets.iter().any(|target| open.targets.contains(&target.path));
            !open.is_guard && open.is_ready && shares && self.request.resolves.as_ref() != Some(&open.id)
        };
        match open_in(records).iter().find(is_in_the_way) {
            None => Ok(()),
            Some(open) => {
                let path = open.targets.first().cloned().unwrap_or_default();
                Err(Failure::OpenRestore { restore: open.id.clone(), path, begun: open.begun.clone() })
            }
        }
    }

    fn announce(&self, vault: &Vault, environment: &mut Environment) -> Result<(), Failure> {
        self.record_in_vault(self.begun(), vault, environment)
    }

    /// Nothing goes on of which the vault's own journal does not know.
    fn record_in_vault(&self, note: Note, vault: &Vault, environment: &mut Environment) -> Result<(), Failure> {
        match record(Some(vault.folder()), self.request.signing_key.as_ref(), note, environment) {
            Recorded::InVault => Ok(()),
            Recorded::InAccount | Recorded::Nowhere => Err(Failure::NotAnnounced),
        }
    }

    fn stop(&self) -> Result<(), Failure> {
        let stopped = self.request.service.stop.as_ref().map_or(Ok(()), |stop| stop.run());
        stopped.map_err(|source| Failure::NotStopped { source })
    }

    fn start(&self, environment: &mut Environment) {
        if let Some(start) = &self.request.service.start
            && let Err(error) = start.run()
        {
            environment.shortfalls.push(format!("the application was not started: {}", chain(&error)));
        }
    }

    fn replace(
        &self,
        images: &[ReadyImage],
        past: &Past<'_>,
        vault: &mut Vault,
        ring: &Keyring,
        environment: &mut Environment,
    ) -> Result<(InPlaceReport, Vec<TableRecord>), Failure> {
        let progress = Arc::clone(&environment.progress);
        let mut held = self.hold(images, &past.histories, &past.later, environment)?;
        self.complete(&mut held, environment)?;
        self.stage(&mut held, environment)?;
        let safety = self.keep(&held, vault, ring, environment)?;
        let watched = watched_tables(&held, &past.histories);
        go_on(&progress)?;
        let ready = self.ready(&held, safety.as_ref(), &watched, &past.records);
        self.record_in_vault(ready, vault, environment)?;
        let outcomes = self.install_all(held, &past.records, safety.as_ref(), environment);
        Ok((InPlaceReport { id: self.id.clone(), core: self.core.clone(), safety, outcomes }, watched))
    }

    /// Does all that can be done before the first target changes.
    fn stage(&self, held: &mut [HeldTarget<'_>], environment: &mut Environment) -> Result<(), Failure> {
        let progress = Arc::clone(&environment.progress);
        let cancelled = || progress.is_cancelled();
        let options = install_options(&self.request, &cancelled);
        for target in held {
            let label = || target.ready.source.label.clone();
            let staged = target.installation.stage(&options, &mut *environment.entropy);
            staged.map_err(|source| Failure::Install { label: label(), source })?;
            let of_image = |source| DatabaseError::Sqlite { path: target.ready.target.clone(), action: "read the snapshot for", source };
            let after = Standing::of_image(&target.ready.image);
            target.after = Some(after.map_err(|source| Failure::Target { label: label(), source: of_image(source) })?);
        }
        Ok(())
    }

    /// Seals the present state with the rows that are about to be lost, and reads it back.
    fn keep(
        &self,
        held: &[HeldTarget<'_>],
        vault: &mut Vault,
        ring: &Keyring,
        environment: &mut Environment,
    ) -> Result<Option<BackupReport>, Failure> {
        let states = LockedStates(held);
        let sources = states.sources();
        if self.request.omit_safety || sources.is_empty() {
            return Ok(None);
        }
        let mut backup = Backup::new(sources, vault.folder().path());
        backup.kind = Kind::Safety;
        // The present state is of the same system as the snapshot that replaces it.
        backup.marking = self.request.marking.clone().or_else(|| Marking::of(&self.core));
        backup.compression = self.request.compression;
        backup.accept_corrupt = true;
        backup.new_keys = true; // which keys open the vault was found out when it was opened
        backup.scratch = Some(super::images::scratch_space(&self.request).folder().to_owned());
        backup.signing_key.clone_from(&self.request.signing_key);
        backup.note = Some(format!("before the restore of bundle {} ({})", self.core.sequence, self.core.id));
        let sealed = backup.seal_into(vault, ring, &states, environment);
        sealed.map(Some).map_err(|failure| match failure {
            Failure::Cancelled => Failure::Cancelled,
            failure => Failure::NoSafety { source: Box::new(failure) },
        })
    }

    fn install_all(
        &self,
        held: Vec<HeldTarget<'_>>,
        records: &[Record],
        safety: Option<&BackupReport>,
        environment: &mut Environment,
    ) -> Vec<TargetOutcome> {
        let progress = Arc::clone(&environment.progress);
        let _phase = Phase::begin(&progress, "replacing", None);
        let mut outcomes: Vec<TargetOutcome> = Vec::new();
        for target in held {
            let source = &target.ready.source;
            let (way, path) = (target.installation.way(), target.installation.path().to_owned());
            let mut gap = target.gap.record;
            // The capsule's digest is known since it was sealed.
            let sealed = safety.and_then(|safety| safety.manifest.sources.iter().find(|sealed| sealed.label == source.label)?.gap.clone());
            gap.capsule = sealed.and_then(|sealed| sealed.capsule);
            let is_first = outcomes.is_empty();
            let result = match outcomes.iter().all(TargetOutcome::is_confirmed) {
                // Once one is replaced, stopping would leave a mixture.
                true => install(target.installation, &|| is_first && progress.is_cancelled(), self, environment),
                false => TargetResult::NotTried,
            };
            let incarnation = Incarnation::of(&source.label, self.core.id, records);
            outcomes.push(TargetOutcome {
                label: source.label.clone(),
                path,
                way,
                captured_at: source.captured_at.clone(),
                gap,
                incarnation,
                result,
            });
        }
        outcomes
    }

    fn tell(&self, report: &InPlaceReport, watched: &[TableRecord], vault: &Vault, environment: &mut Environment) {
        let place = self.request.signing_key.as_ref();
        if report.outcomes.iter().any(TargetOutcome::is_replaced) {
            record(Some(vault.folder()), place, self.gap_note(&report.outcomes, report.safety.as_ref()), environment);
        }
        record(Some(vault.folder()), place, self.ended(&report.outcomes, report.safety.as_ref(), watched), environment);
        for outcome in &report.outcomes {
            if let TargetResult::Replaced(InstallReport { comparison: Comparison::Overtaken, .. }) = &outcome.result {
                environment.progress.note(&format!("others wrote to '{}' before it could be compared", outcome.path.display()));
            }
        }
    }
}

fn install(
    installation: crate::database::Installation<'_>,
    cancelled: crate::database::Cancelled<'_>,
    prepared: &Prepared,
    environment: &mut Environment,
) -> TargetResult {
    let options = install_options(&prepared.request, cancelled);
    let installed = installation.install(&options, &mut *environment.entropy).and_then(|installed| installed.release());
    match installed {
        Ok(report) => TargetResult::Replaced(report),
        Err(error) if error.is_after_commit() => TargetResult::Unconfirmed(error),
        Err(error) => TargetResult::Failed(error),
    }
}
