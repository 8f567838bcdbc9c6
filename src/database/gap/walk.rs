//! Walking both sides at once, in storage order, so that rows which both have cost no memory.
//!
//! Only tables whose key is the rowid are decided here. For the others the order is no more than a hint: every row is found
//! equal to its partner, or handed on, and what was handed on is matched by key and content later.

use std::cmp::Ordering;

use rusqlite::{Connection, Statement};

use super::super::logical::push_value;
use super::super::sql::quoted;
use super::resolve::KeyShelf;
use super::table::Table;
use super::value::{Values, compare};
use super::{Doubt, Plan, Side, Stop};

/// One side's rows, one at a time.
pub(super) struct Walker<'s> {
    rows: Option<rusqlite::Rows<'s>>,
    side: Side,
    plan: &'s Plan,
    has_rowid: bool,
    own_key: usize,
    state: State,
    pub(super) rowid: i64,
    /// The columns that both sides have, as the logical hash takes them in, the key first.
    pub(super) row: Vec<u8>,
    /// How much of that is the key.
    pub(super) key_bytes: usize,
    /// Whether the key identifies a row: there is one, and no part of it is NULL.
    pub(super) has_key: bool,
    /// The primary key by which a table without rowid finds the row again.
    locator: Vec<u8>,
}

enum State {
    Before,
    OnRow,
    Ended,
    Failed(Doubt),
}

/// Prepares the walk over a table.
pub(super) fn prepare<'c>(connection: &'c Connection, table: &Table, common: &[String]) -> rusqlite::Result<Statement<'c>> {
    let rowid = table.rowid();
    let mut columns = vec![rowid.clone().unwrap_or_else(|| "NULL".to_owned())];
    columns.extend(common.iter().map(|name| quoted(name)));
    // Storage order is the order of the rowid; of tables without one only the key is read, in the order in which it lies.
    let order = match rowid {
        Some(rowid) => format!(" NOT INDEXED ORDER BY {rowid}"),
        None => {
            columns.extend(table.key.iter().map(|name| quoted(name)));
            by_primary_key(connection, &table.name)?
        }
    };
    connection.prepare(&format!("SELECT {} FROM main.{}{order}", columns.join(","), quoted(&table.name)))
}

/// The rows themselves of a table without rowid: another index that covers the columns may lack some of them, and here SQLite does not
/// take NOT INDEXED for a reason to leave it alone.
fn by_primary_key(connection: &Connection, table: &str) -> rusqlite::Result<String> {
    let sql = "SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'";
    let name: String = connection.query_row(sql, [table], |row| row.get(0))?;
    Ok(format!(" INDEXED BY {}", quoted(&name)))
}

impl<'s> Walker<'s> {
    /// A side without the table has no rows.
    pub(super) fn new(
        statement: Option<&'s mut Statement<'_>>,
        table: Option<&Table>,
        side: Side,
        plan: &'s Plan,
    ) -> rusqlite::Result<Self> {
        let rows = statement.map(|statement| statement.query([])).transpose()?;
        let has_rowid = table.is_none_or(|table| table.rowid().is_some());
        let own_key = table.map_or(0, |table| table.key.len());
        let (row, locator) = (Vec::new(), Vec::new());
        Ok(Self { rows, side, plan, has_rowid, own_key, state: State::Before, rowid: 0, row, key_bytes: 0, has_key: false, locator })
    }

    /// Goes to the next row; what cannot be read ends the walk.
    pub(super) fn advance(&mut self) {
        self.state = match self.step() {
            Ok(true) => State::OnRow,
            Ok(false) => State::Ended,
            Err(error) => State::Failed(Doubt::unreadable(self.side, &error)),
        };
    }

    fn step(&mut self) -> rusqlite::Result<bool> {
        let Some(row) = self.rows.as_mut().map(rusqlite::Rows::next).transpose()?.flatten() else { return Ok(false) };
        if self.has_rowid {
            let rowid = row.get(0)?;
            // A damaged tree can show the same pages over and over.
            if rowid <= self.rowid && matches!(self.state, State::OnRow) {
                return Err(corrupt());
            }
            self.rowid = rowid;
        }
        self.row.clear();
        self.has_key = self.plan.key_columns > 0;
        for index in 0..self.plan.common.len() {
            let value = row.get_ref(index + 1)?;
            push_value(&mut self.row, value);
            if index < self.plan.key_columns {
                self.key_bytes = self.row.len();
                self.has_key &= value != rusqlite::types::ValueRef::Null;
            }
        }
        // Rows that have no column in common are never the same.
        if self.plan.common.is_empty() {
            self.row.push(self.side as u8);
        }
        self.locator.clear();
        if !self.has_rowid {
            (0..self.own_key).try_for_each(|index| {
                push_value(&mut self.locator, row.get_ref(1 + self.plan.common.len() + index)?);
                Ok::<(), rusqlite::Error>(())
            })?;
        }
        Ok(true)
    }

    /// What finds the row again: its rowid, or a place on the shelf of keys.
    pub(super) fn locate(&self, shelf: &mut KeyShelf) -> Result<i64, Stop> {
        if self.has_rowid { Ok(self.rowid) } else { shelf.put(&self.locator) }
    }

    pub(super) fn is_on_row(&self) -> bool {
        matches!(self.state, State::OnRow)
    }

    pub(super) fn doubt(&self) -> Option<&Doubt> {
        if let State::Failed(doubt) = &self.state { Some(doubt) } else { None }
    }

    fn order(&self, other: &Self) -> Ordering {
        if self.has_rowid && other.has_rowid {
            return self.rowid.cmp(&other.rowid);
        }
        let keys = |walker: &Self| Values(&walker.row[..walker.key_bytes]).count();
        let pairs = Values(&self.row[..self.key_bytes]).zip(Values(&other.row[..other.key_bytes]));
        pairs.map(|(one, other)| compare(one, other)).find(|order| order.is_ne()).unwrap_or_else(|| keys(self).cmp(&keys(other)))
    }
}

/// What the walk came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Both are on the same row.
    Common,
    /// Both are on rows that stand in the same place and differ.
    Differing,
    LiveOnly,
    SnapshotOnly,
}

/// Walks to the end of both, or to where one cannot be read.
///
/// A failing live side ends a walk that decides at once; otherwise the snapshot is read to its end, so that no live row is taken for
/// lost that the snapshot has. A failing snapshot always ends it.
pub(super) fn merge(
    live: &mut Walker<'_>,
    snapshot: &mut Walker<'_>,
    each: &mut dyn FnMut(Step, &Walker<'_>, &Walker<'_>) -> Result<(), Stop>,
) -> Result<(), Stop> {
    live.advance();
    snapshot.advance();
    loop {
        if snapshot.doubt().is_some() || (live.doubt().is_some() && live.plan.is_decided_at_once) {
            return Ok(());
        }
        let step = match (live.is_on_row(), snapshot.is_on_row()) {
            (false, false) => return Ok(()),
            (true, false) => Step::LiveOnly,
            (false, true) => Step::SnapshotOnly,
            (true, true) if live.row == snapshot.row => Step::Common,
            (true, true) => match live.order(snapshot) {
                Ordering::Less => Step::LiveOnly,
                Ordering::Greater => Step::SnapshotOnly,
                Ordering::Equal => Step::Differing,
            },
        };
        each(step, live, snapshot)?;
        if step != Step::SnapshotOnly {
            live.advance();
        }
        if step != Step::LiveOnly {
            snapshot.advance();
        }
    }
}

fn corrupt() -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT), Some("rowids out of order".to_owned()))
}
