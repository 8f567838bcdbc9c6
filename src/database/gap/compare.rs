//! Comparing two tables that belong together, or one with nothing.

use std::io::Write;

use rusqlite::Connection;

use super::capsule::{Capsule, Fetch, Range};
use super::resolve::{KeyShelf, Mismatches, Verdict};
use super::table::{Identity, Table};
use super::times::TimeRange;
use super::walk::{Step, Walker, merge, prepare};
use super::{Certainty, Doubt, GapError, Plan, Side, Stop};
use crate::files::ScratchSpace;

/// A database and the table in it, if it is there.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) connection: &'a Connection,
    pub(super) table: Option<&'a Table>,
}

/// What came of a comparison.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) key: Vec<String>,
    pub(super) lost: u64,
    pub(super) resurrected: u64,
    pub(super) altered: u64,
    pub(super) common: u64,
    pub(super) lost_range: Option<(String, String)>,
    pub(super) times: Option<TimeRange>,
    pub(super) reused_ids: Option<(i64, i64)>,
    pub(super) certainty: Certainty,
}

impl Tally {
    /// Of what could not be compared.
    pub(super) fn unknown(doubt: Doubt) -> Self {
        Self { certainty: Certainty::Unknown(doubt), ..Self::nothing() }
    }

    /// Takes away certainty.
    pub(super) fn weaken(&mut self, doubt: Doubt) {
        if self.certainty == Certainty::Exact {
            self.certainty = Certainty::LowerBound(doubt);
        }
    }

    /// Of nothing.
    pub(super) fn nothing() -> Self {
        Self {
            key: Vec::new(),
            lost: 0,
            resurrected: 0,
            altered: 0,
            common: 0,
            lost_range: None,
            times: None,
            reused_ids: None,
            certainty: Certainty::Exact,
        }
    }
}

/// Decides what is compared.
pub(super) fn plan(live: Option<&Table>, snapshot: Option<&Table>) -> Plan {
    let (Some(one), Some(other)) = (live.or(snapshot), snapshot.or(live)) else {
        return Plan { common: Vec::new(), key_columns: 0, is_decided_at_once: true };
    };
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    let is_same_key = one.key.len() == other.key.len() && one.key.iter().all(|name| other.key.iter().any(|found| same(found, name)));
    let key: &[String] = if is_same_key { &one.key } else { &[] };
    let rest = one.columns.iter().map(|column| &column.name).filter(|name| !key.contains(name));
    let partner =
        |name: &String| other.columns.iter().find(|column| same(&column.name, name)).map(|column| (name.clone(), column.name.clone()));
    let common: Vec<(String, String)> = key.iter().chain(rest).filter_map(partner).collect();
    let is_alias = |table: &Table| matches!(table.identity, Identity::Alias(_));
    let is_alone = live.is_none() || snapshot.is_none();
    Plan { common, key_columns: key.len(), is_decided_at_once: is_alone || (is_same_key && is_alias(one) && is_alias(other)) }
}

/// Compares, and writes lines.
pub(super) fn compare(live: Place<'_>, snapshot: Place<'_>, scratch: &ScratchSpace, out: &mut dyn Write) -> Result<Tally, GapError> {
    match compare_rows(live, snapshot, scratch, out) {
        Ok(tally) => Ok(tally),
        Err(Stop::Doubt(doubt)) => Ok(Tally::unknown(doubt)),
        Err(Stop::Failed(error)) => Err(error),
    }
}

fn compare_rows(live: Place<'_>, snapshot: Place<'_>, scratch: &ScratchSpace, out: &mut dyn Write) -> Result<Tally, Stop> {
    let plan = plan(live.table, snapshot.table);
    let (live_names, snapshot_names): (Vec<String>, Vec<String>) = plan.common.iter().cloned().unzip();
    let mut statement = live.prepare(&live_names, Side::Live)?;
    let mut live_rows = Walker::new(statement.as_mut(), live.table, Side::Live, &plan).map_err(doubt(Side::Live))?;
    let mut statement = snapshot.prepare(&snapshot_names, Side::Snapshot)?;
    let mut snapshot_rows = Walker::new(statement.as_mut(), snapshot.table, Side::Snapshot, &plan).map_err(doubt(Side::Snapshot))?;
    let key = &live_names[..plan.key_columns];
    let capsule = match live.table {
        Some(table) => {
            let snapshot = snapshot.fetch(Side::Snapshot, scratch)?;
            live.fetch(Side::Live, scratch)?.map(|live| Capsule::new(table, key, live, snapshot, out))
        }
        None => None,
    };
    let mut walk =
        Walk { capsule, mismatches: Mismatches::new(scratch), is_decided_at_once: plan.is_decided_at_once, common: 0, resurrected: 0 };
    let ended = merge(&mut live_rows, &mut snapshot_rows, &mut |step, live, snapshot| walk.take(step, live, snapshot));
    let live_doubt = live_rows.doubt().cloned();
    let ended = match snapshot_rows.doubt() {
        Some(doubt) if !plan.is_decided_at_once => return Err(Stop::Doubt(doubt.clone())),
        Some(doubt) => ended.and(Err(Stop::Doubt(doubt.clone()))),
        None => ended,
    };
    walk.finish(ended, live_doubt, scratch)?.tally(live, snapshot, key)
}

impl<'a> Place<'a> {
    fn prepare(&self, names: &[String], side: Side) -> Result<Option<rusqlite::Statement<'a>>, Stop> {
        self.table.map(|table| prepare(self.connection, table, names)).transpose().map_err(doubt(side))
    }

    fn fetch(&self, side: Side, scratch: &ScratchSpace) -> Result<Option<Fetch<'a>>, Stop> {
        let fetch = |table| Fetch::new(self.connection, table, side, KeyShelf::new(scratch));
        self.table.map(fetch).transpose().map_err(doubt(side))
    }

    /// The highest id known; nothing where SQLite does not give out the table's keys.
    fn highest_id(&self) -> rusqlite::Result<Option<i64>> {
        match self.table {
            Some(Table { identity: Identity::Alias(_), .. }) => self.table.map(|table| table.highest_id(self.connection)).transpose(),
            Some(_) => Ok(None),
            None => Ok(Some(0)),
        }
    }
}

fn doubt(side: Side) -> impl Fn(rusqlite::Error) -> Stop {
    move |error| Stop::Doubt(Doubt::unreadable(side, &error))
}

/// What the walk leaves to be done, and what it has counted.
struct Walk<'c> {
    /// Nothing where there is no live table, so that nothing can be lost.
    capsule: Option<Capsule<'c>>,
    mismatches: Mismatches,
    is_decided_at_once: bool,
    common: u64,
    resurrected: u64,
}

impl<'c> Walk<'c> {
    fn take(&mut self, step: Step, live: &Walker<'_>, snapshot: &Walker<'_>) -> Result<(), Stop> {
        if step == Step::Common {
            self.common += 1;
            return Ok(());
        }
        let Some(capsule) = self.capsule.as_mut().filter(|_| !(self.is_decided_at_once && step == Step::SnapshotOnly)) else {
            self.resurrected += 1;
            return Ok(());
        };
        let live_at = if step == Step::SnapshotOnly { 0 } else { live.locate(&mut capsule.live.shelf)? };
        let snapshot_at = match &mut capsule.snapshot {
            Some(fetch) if step != Step::LiveOnly => snapshot.locate(&mut fetch.shelf)?,
            _ => 0,
        };
        match step {
            Step::LiveOnly if self.is_decided_at_once => return capsule.lost(live_at),
            Step::Differing if self.is_decided_at_once => return capsule.altered(live_at, snapshot_at),
            _ => {}
        }
        if step != Step::SnapshotOnly {
            self.mismatches.add(live, Side::Live, live_at)?;
        }
        if step != Step::LiveOnly {
            self.mismatches.add(snapshot, Side::Snapshot, snapshot_at)?;
        }
        Ok(())
    }

    /// Decides the rest, and writes it. Rows that could not be read may have been partners of the snapshot's, so then those do not count.
    fn finish(self, ended: Result<(), Stop>, live_doubt: Option<Doubt>, scratch: &ScratchSpace) -> Result<Finished<'c>, Stop> {
        let Self { mut capsule, mismatches, is_decided_at_once, mut common, mut resurrected } = self;
        let mut ended = ended;
        if ended.is_ok() && !is_decided_at_once {
            let mut resolved = mismatches.resolve(scratch)?;
            common += resolved.common;
            resurrected += if live_doubt.is_some() { 0 } else { resolved.resurrected };
            while let (Ok(()), Some(capsule)) = (&ended, &mut capsule) {
                ended = match resolved.next()? {
                    None => break,
                    Some(Verdict::Lost(live)) => capsule.lost(live),
                    Some(Verdict::Altered { live, was }) => capsule.altered(live, was),
                };
            }
        }
        let certainty = match (ended, live_doubt) {
            (Err(Stop::Failed(error)), _) => return Err(Stop::Failed(error)),
            (Err(Stop::Doubt(doubt)), _) | (Ok(()), Some(doubt)) => Certainty::LowerBound(doubt),
            (Ok(()), None) => Certainty::Exact,
        };
        Ok(Finished { capsule, common, resurrected, certainty })
    }
}

/// All rows are decided.
struct Finished<'c> {
    capsule: Option<Capsule<'c>>,
    common: u64,
    resurrected: u64,
    certainty: Certainty,
}

impl Finished<'_> {
    fn tally(self, live: Place<'_>, snapshot: Place<'_>, key: &[String]) -> Result<Tally, Stop> {
        let (common, resurrected) = (self.common, self.resurrected);
        let mut tally = Tally { key: key.to_vec(), common, resurrected, certainty: self.certainty, ..Tally::nothing() };
        let Some(capsule) = self.capsule else { return Ok(tally) };
        (tally.lost, tally.altered) = (capsule.lost, capsule.altered);
        let lost_id = capsule.range.as_ref().and_then(Range::highest_id);
        tally.lost_range = capsule.range.as_ref().map(Range::text);
        tally.times = capsule.times.range();
        match (live.highest_id(), snapshot.highest_id()) {
            (Ok(Some(issued)), Ok(Some(floor))) => {
                let issued = issued.max(lost_id.unwrap_or(issued));
                tally.reused_ids = (issued > floor).then(|| (floor + 1, issued));
            }
            (Err(error), _) => tally.weaken(Doubt::unreadable(Side::Live, &error)),
            (_, Err(error)) => tally.weaken(Doubt::unreadable(Side::Snapshot, &error)),
            _ => {}
        }
        Ok(tally)
    }
}
