//! Making the image complete before it is installed: lost rows that go back (graft), the row that says so (marker), and a check of both.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::Arc;

use super::gap::FoundGap;
use super::held::HeldTarget;
use super::report::totals;
use super::words::gap_sentences;
use super::{Prepared, ReadyImage};
use crate::bundle::SourceGap;
use crate::database::{
    Access, CheckKind, DatabaseError, GraftError, MarkerError, MarkerFacts, Verdict, can_graft, check_until, graft, mark, sequences_of,
    try_marker,
};
use crate::ops::{Environment, Failure};

impl Prepared {
    /// Refuses what can be seen to be impossible before anything is locked.
    pub(super) fn require_completable(&self, ready: &ReadyImage, gap: &FoundGap, environment: &Environment) -> Result<(), Failure> {
        let label = || ready.source.label.clone();
        if self.request.graft {
            require_read(&gap.record).and_then(|()| can_graft(&gap.tables)).map_err(|source| Failure::Graft { label: label(), source })?;
        }
        if let Some(marker) = self.marker_for(ready)? {
            let progress = Arc::clone(&environment.progress);
            let facts = self.facts(ready, &gap.record, environment);
            let tried = try_marker(&ready.image, marker, &facts, &kept(&gap.record), &|| progress.is_cancelled());
            tried.map_err(|source| Failure::Marker { label: label(), source })?;
        }
        Ok(())
    }

    /// The marker has to have a place at least in one target.
    pub(super) fn require_marker_place(&self) -> Result<(), Failure> {
        let Some(marker) = &self.request.marker else { return Ok(()) };
        for ready in &self.images {
            if self.marker_for(ready)?.is_some() {
                return Ok(());
            }
        }
        match self.images.first() {
            Some(ready) => {
                let source = MarkerError::NoTable { table: marker.table().to_owned() };
                Err(Failure::Marker { label: ready.source.label.clone(), source })
            }
            None => Ok(()),
        }
    }

    fn marker_for(&self, ready: &ReadyImage) -> Result<Option<&crate::database::Marker>, Failure> {
        let Some(marker) = &self.request.marker else { return Ok(None) };
        let failed = |source| Failure::Target {
            label: ready.source.label.clone(),
            source: DatabaseError::Sqlite { path: ready.target.clone(), action: "read the snapshot for", source },
        };
        Ok(marker.fits(&ready.image).map_err(failed)?.then_some(marker))
    }

    /// Completes the images of all targets.
    pub(super) fn complete(&self, held: &mut [HeldTarget<'_>], environment: &mut Environment) -> Result<(), Failure> {
        let progress = Arc::clone(&environment.progress);
        let cancelled = || progress.is_cancelled();
        for target in held {
            let label = || target.ready.source.label.clone();
            let refused = |source| Failure::Graft { label: label(), source };
            if self.request.graft {
                require_read(&target.gap.record).map_err(refused)?;
                let sequences =
                    target.installation.present().map_or(Ok(Vec::new()), sequences_of).map_err(|error| refused(error.into()))?;
                let mut capsule = BufReader::with_capacity(256 << 10, target.gap.capsule.reader());
                let grafted = graft(&target.ready.image, &target.gap.tables, &mut capsule, &sequences, &cancelled).map_err(refused)?;
                for table in &mut target.gap.record.tables {
                    let found = grafted.iter().find(|grafted| grafted.table == table.table);
                    table.grafted = found.map_or(0, |grafted| grafted.rows);
                }
            }
            let marker = self.marker_for(target.ready)?;
            if let Some(marker) = marker {
                let facts = self.facts(target.ready, &target.gap.record, environment);
                mark(&target.ready.image, marker, &facts, &kept(&target.gap.record), &cancelled)
                    .map_err(|source| Failure::Marker { label: label(), source })?;
            }
            if self.request.graft || marker.is_some() {
                self.check(target.ready, &cancelled)?;
            }
        }
        Ok(())
    }

    /// What was made complete has to be as sound as the snapshot was.
    fn check(&self, ready: &ReadyImage, cancelled: crate::database::Cancelled<'_>) -> Result<(), Failure> {
        let label = || ready.source.label.clone();
        let failed = |source| Failure::Target {
            label: label(),
            source: DatabaseError::Sqlite { path: ready.target.clone(), action: "check the completed image for", source },
        };
        let connection = ready.image.open(Access::ReadOnly).map_err(failed)?;
        let found = check_until(&connection, CheckKind::Full, ready.image.len(), cancelled).map_err(failed)?;
        match found.verdict == Verdict::Corrupt && !self.request.accept_corrupt {
            true => Err(Failure::Unsound { label: label(), what: found.messages.first().cloned().unwrap_or_default() }),
            false => Ok(()),
        }
    }

    fn facts(&self, ready: &ReadyImage, gap: &SourceGap, environment: &Environment) -> MarkerFacts {
        let totals = totals(gap);
        let with_loss = gap.tables.iter().filter(|table| table.lost > 0);
        let names: Vec<String> = with_loss.map(|table| table.table.clone()).collect();
        // The marked table's own times, if it lost rows.
        let own = gap
            .tables
            .iter()
            .find(|table| self.request.marker.as_ref().is_some_and(|marker| marker.table().eq_ignore_ascii_case(&table.table)));
        let times = own.into_iter().chain(&gap.tables).find_map(|table| table.times.clone());
        let sentences: Vec<String> =
            gap_sentences(gap).into_iter().map(|(table, text)| table.map_or(text.clone(), |table| format!("{table}: {text}"))).collect();
        let actor = &environment.actor;
        MarkerFacts(BTreeMap::from([
            ("lost", totals.lost.to_string()),
            ("altered", totals.altered.to_string()),
            ("resurrected", gap.tables.iter().map(|table| table.resurrected).sum::<u64>().to_string()),
            ("tables", names.join(", ")),
            ("first", times.as_ref().map(|times| times.first.clone()).unwrap_or_default()),
            ("last", times.map(|times| times.last).unwrap_or_default()),
            ("bundle", self.request.bundle.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()),
            ("snapshot", ready.source.captured_at.as_str().to_owned()),
            ("time", environment.now().as_str().to_owned()),
            ("operator", actor.operator.clone().unwrap_or_else(|| actor.user.clone())),
            ("reason", environment.reason.clone().unwrap_or_default()),
            ("gap", if sentences.is_empty() { "none".to_owned() } else { sentences.join("; ") }),
        ]))
    }
}

/// The append-only tables, as the snapshot calls them.
fn kept(gap: &SourceGap) -> Vec<String> {
    gap.tables.iter().map(|table| table.in_snapshot.clone().unwrap_or_else(|| table.table.clone())).collect()
}

/// What is not known cannot be put back.
fn require_read(gap: &SourceGap) -> Result<(), GraftError> {
    let why = match gap.live.as_str() {
        "read" => return Ok(()),
        "missing" => "there is no live database",
        _ => "the live database cannot be opened",
    };
    let table = gap.tables.first().map_or_else(|| "?".to_owned(), |table| table.table.clone());
    Err(GraftError::Refused { table, why: why.to_owned() })
}
