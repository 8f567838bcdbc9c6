//! Which table of the snapshot belongs to which live one.

use std::io::{self, Write};

use rusqlite::Connection;

use super::super::bounds::Cancelled;
use super::super::facts::list_tables;
use super::compare::{Place, Tally, compare, plan};
use super::table::{Found, Table};
use super::{AppendOnlyTable, Certainty, Doubt, GapError, GapTable, Presence, Side};
use crate::files::ScratchSpace;

/// Finds partners and compares them.
pub(super) struct Partners<'a> {
    pub(super) snapshot: &'a Connection,
    pub(super) live: &'a Connection,
    pub(super) scratch: &'a ScratchSpace,
    pub(super) cancelled: Cancelled<'a>,
    /// Names in lower case.
    pub(super) asked: Vec<String>,
    /// Pairs that were compared, in lower case: live, snapshot.
    pub(super) done: Vec<(String, String)>,
}

/// What each side has under a name.
struct Pair {
    live: Option<Table>,
    snapshot: Option<Table>,
    doubt: Option<Doubt>,
}

impl<'a> Partners<'a> {
    /// The gap of a table; nothing if it was told already, under its other name.
    pub(super) fn gap_of(&mut self, asked: &AppendOnlyTable, capsule: &mut dyn Write) -> Result<Option<GapTable>, GapError> {
        let name = asked.name.to_ascii_lowercase();
        if self.asked.contains(&name) {
            return Ok(None);
        }
        self.asked.push(name);
        let mut pair = match self.find(&asked.name) {
            Ok(pair) => pair,
            Err(doubt) => return self.report(asked, &Pair { live: None, snapshot: None, doubt: None }, Tally::unknown(doubt)).map(Some),
        };
        let is_one_sided = pair.live.is_some() != pair.snapshot.is_some();
        if is_one_sided && let Err(doubt) = self.find_renamed(&mut pair)? {
            pair.doubt.get_or_insert(doubt);
        }
        let names = [&pair.live, &pair.snapshot].map(|table| table.as_ref().map(|table| table.name.to_ascii_lowercase()));
        if let [Some(live), Some(snapshot)] = names {
            if self.done.contains(&(live.clone(), snapshot.clone())) {
                return Ok(None);
            }
            self.done.push((live, snapshot));
        }
        let mut tally = self.compare(pair.live.as_ref(), pair.snapshot.as_ref(), capsule)?;
        if let (false, Some(_), Some(snapshot)) = (is_one_sided, &pair.live, &pair.snapshot)
            && tally.resurrected > 0
        {
            self.suspect_rotation(snapshot, &mut tally);
        }
        if let Some(doubt) = pair.doubt.take() {
            match doubt {
                Doubt::PerhapsRenamed { .. } => tally.weaken(doubt),
                doubt => tally.certainty = Certainty::Unknown(doubt),
            }
        }
        self.report(asked, &pair, tally).map(Some)
    }

    fn find(&self, name: &str) -> Result<Pair, Doubt> {
        let mut pair = Pair { live: None, snapshot: None, doubt: None };
        for (side, connection) in [(Side::Live, self.live), (Side::Snapshot, self.snapshot)] {
            let found = Table::find(connection, name).map_err(|error| Doubt::unreadable(side, &error))?;
            let place = if side == Side::Live { &mut pair.live } else { &mut pair.snapshot };
            match found {
                Found::Table(table) => *place = Some(table),
                Found::Nothing => {}
                Found::Other(what) => pair.doubt = Some(Doubt::NotATable { side, what }),
                Found::Hidden => return Err(Doubt::HiddenRowid { side }),
            }
        }
        Ok(pair)
    }

    /// Looks for the missing one of a pair under another name.
    fn find_renamed(&self, pair: &mut Pair) -> Result<Result<(), Doubt>, GapError> {
        let side = if pair.live.is_some() { Side::Snapshot } else { Side::Live };
        let Some(present) = pair.live.as_ref().or(pair.snapshot.as_ref()).cloned() else { return Ok(Ok(())) };
        let candidates = match self.candidates(&present, side) {
            Ok(candidates) => candidates,
            Err(error) => return Ok(Err(Doubt::unreadable(side, &error))),
        };
        let names: Vec<String> = candidates.iter().map(|table| table.name.clone()).collect();
        let mut likely = Vec::new();
        for candidate in candidates {
            let (live, snapshot) = if side == Side::Live { (&candidate, &present) } else { (&present, &candidate) };
            let tally = self.compare(Some(live), Some(snapshot), &mut io::sink())?;
            let smaller = (tally.lost + tally.altered).min(tally.resurrected + tally.altered) + tally.common;
            if tally.certainty == Certainty::Exact && tally.common > 0 && tally.common * 2 >= smaller {
                likely.push(candidate);
            }
        }
        if likely.len() != 1 {
            return Ok(if names.is_empty() { Ok(()) } else { Err(Doubt::PerhapsRenamed { candidates: names }) });
        }
        // The name itself may belong to a view now, as after a migration; that is no doubt any more.
        pair.doubt = None;
        *(if side == Side::Live { &mut pair.live } else { &mut pair.snapshot }) = likely.pop();
        Ok(Ok(()))
    }

    /// Rows that are gone may be in a table that took the old rows under a new name while a new one took the name.
    fn suspect_rotation(&self, snapshot: &Table, tally: &mut Tally) {
        // A copy made by CREATE TABLE AS has lost its key.
        match self.alike(snapshot, Side::Live) {
            Ok(tables) if tables.is_empty() => {}
            Ok(tables) => tally.weaken(Doubt::PerhapsRenamed { candidates: tables.into_iter().map(|table| table.name).collect() }),
            Err(error) => tally.weaken(Doubt::unreadable(Side::Live, &error)),
        }
    }

    /// Tables that only one side has, with the same key and all columns of the smaller.
    fn candidates(&self, present: &Table, side: Side) -> rusqlite::Result<Vec<Table>> {
        let has_its_key =
            |table: &Table| table.key.len() == present.key.len() && plan(Some(table), Some(present)).key_columns == present.key.len();
        Ok(self.alike(present, side)?.into_iter().filter(has_its_key).collect())
    }

    /// Tables that only one side has, with all columns of the smaller.
    fn alike(&self, present: &Table, side: Side) -> rusqlite::Result<Vec<Table>> {
        let (here, there) = if side == Side::Live { (self.live, self.snapshot) } else { (self.snapshot, self.live) };
        let others = list_tables(there)?;
        let is_new = |name: &String| !others.iter().any(|other| other.eq_ignore_ascii_case(name)) && !name.starts_with("sqlite_");
        let mut candidates = Vec::new();
        for name in list_tables(here)?.into_iter().filter(is_new) {
            let Found::Table(table) = Table::find(here, &name)? else { continue };
            let shared = table.columns.iter().filter(|column| present.has_column(&column.name)).count();
            let is_part = shared == table.columns.len().min(present.columns.len());
            if is_part && shared > 0 {
                candidates.push(table);
            }
        }
        Ok(candidates)
    }

    fn compare(&self, live: Option<&Table>, snapshot: Option<&Table>, out: &mut dyn Write) -> Result<Tally, GapError> {
        let live = Place { connection: self.live, table: live };
        let tally = compare(live, Place { connection: self.snapshot, table: snapshot }, self.scratch, out);
        if (self.cancelled)() { Err(GapError::Cancelled) } else { tally }
    }

    fn report(&self, asked: &AppendOnlyTable, pair: &Pair, tally: Tally) -> Result<GapTable, GapError> {
        if (self.cancelled)() {
            return Err(GapError::Cancelled);
        }
        let presence = match (&pair.live, &pair.snapshot) {
            (Some(live), Some(snapshot)) if !live.name.eq_ignore_ascii_case(&snapshot.name) => {
                Presence::Renamed { in_snapshot: snapshot.name.clone() }
            }
            (Some(_), Some(_)) => Presence::Both,
            (Some(_), None) => Presence::LiveOnly,
            (None, Some(_)) => Presence::SnapshotOnly,
            (None, None) => Presence::Neither,
        };
        let name = pair.live.as_ref().or(pair.snapshot.as_ref()).map_or(&asked.name, |table| &table.name).clone();
        Ok(GapTable {
            name,
            declaration: asked.declaration,
            presence,
            key: tally.key,
            lost: tally.lost,
            resurrected: tally.resurrected,
            altered: tally.altered,
            common: tally.common,
            lost_range: tally.lost_range,
            times: tally.times,
            reused_ids: tally.reused_ids,
            only_live_columns: only(pair.live.as_ref(), pair.snapshot.as_ref()),
            only_snapshot_columns: only(pair.snapshot.as_ref(), pair.live.as_ref()),
            certainty: tally.certainty,
        })
    }
}

/// Columns that only the first of two tables has.
fn only(one: Option<&Table>, other: Option<&Table>) -> Vec<String> {
    let (Some(one), Some(other)) = (one, other) else { return Vec::new() };
    one.columns.iter().map(|column| column.name.clone()).filter(|name| !other.has_column(name)).collect()
}
