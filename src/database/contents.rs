//! Comparing two databases in full: every table of either, whatever the pages look like.
//!
//! A table that has the same logical hash on both sides is the same; the others are walked, and their rows told apart by declared primary
//! key, else as multisets of contents, as for the gap. The order in which rows without a key lie is no difference.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rusqlite::Connection;

use super::bounds::{self, Bounds, Cancelled};
use super::facts::{count, list_tables};
use super::gap::{AppendOnlyTable, Certainty, Declaration, Doubt, GapError, GapTable, gap, size_bytes};
use super::logical::{TableHash, table_hash};
use super::objects::{ObjectChange, object_changes, schema_objects};
use super::{Ledger, ledger};
use crate::files::ScratchSpace;

/// One of the two databases.
pub struct Compared<'c> {
    /// It, at one moment.
    pub connection: &'c Connection,
    /// Logical hashes that are known to be right, by the name of the table.
    pub known: BTreeMap<String, TableHash>,
}

/// In what two databases differ.
#[derive(Debug, Clone, Default)]
pub struct ContentChanges {
    /// Objects of the schema: tables, indexes, triggers, views.
    pub objects: Vec<ObjectChange>,
    /// Tables whose schema or rows differ, by name.
    pub tables: Vec<TableChange>,
    /// Tables that are the same.
    pub same_tables: u64,
    /// `application_id` of both.
    pub application_id: (i32, i32),
    /// `user_version` of both.
    pub user_version: (i32, i32),
    /// What a migration tool noted in each.
    pub migrations: (Option<Ledger>, Option<Ledger>),
}

/// A table that is not the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableChange {
    /// Its name.
    pub name: String,
    /// Which side has it.
    pub sides: Sides,
    /// Whether the statement that makes it is another one.
    pub is_schema_changed: bool,
    /// Rows on the first side.
    pub first_rows: Option<u64>,
    /// Rows on the second.
    pub second_rows: Option<u64>,
    /// Which rows; nothing if they cannot be told apart, or only one side has the table.
    pub rows: Option<RowChanges>,
    /// Columns that only the first side has; they were not compared.
    pub only_first_columns: Vec<String>,
    /// Columns that only the second side has; they were not compared.
    pub only_second_columns: Vec<String>,
    /// Why the counts are lower bounds, or missing.
    pub doubt: Option<String>,
}

/// Which sides have a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    /// Both.
    Both,
    /// The first.
    First,
    /// The second.
    Second,
}

/// The rows of a table that both sides have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowChanges {
    /// The primary key by which they were told apart; empty where contents were.
    pub key: Vec<String>,
    /// Only on the second side.
    pub added: u64,
    /// Only on the first side.
    pub removed: u64,
    /// With the same key and other content.
    pub changed: u64,
    /// On both.
    pub common: u64,
}

impl ContentChanges {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
            && self.tables.is_empty()
            && self.application_id.0 == self.application_id.1
            && self.user_version.0 == self.user_version.1
    }
}

/// Compares two databases. Nothing is written to either.
///
/// # Errors
/// What the comparison of rows says; a table that cannot be read is part of the result, and so is not the same.
pub fn content_changes(
    first: &Compared<'_>,
    second: &Compared<'_>,
    scratch: &ScratchSpace,
    cancelled: Cancelled<'_>,
) -> Result<ContentChanges, ContentError> {
    let bytes = size_bytes(first.connection).saturating_add(size_bytes(second.connection));
    let mut changes = bounds::within(first.connection, Bounds::of_live(bytes), cancelled, |_| {
        bounds::within(second.connection, Bounds::of_live(bytes), cancelled, |_| quick_changes(first, second))
    })?;
    if cancelled() {
        return Err(ContentError::Gap(GapError::Cancelled));
    }
    let ledger_of = |side: &Compared<'_>| ledger(side.connection, bytes, cancelled);
    changes.migrations = (ledger_of(first), ledger_of(second));
    let suspects: Vec<AppendOnlyTable> = (changes.tables.iter().filter(|table| table.sides == Sides::Both))
        .map(|table| AppendOnlyTable { name: table.name.clone(), declaration: Declaration::Declared })
        .collect();
    for found in gap(first.connection, second.connection, &suspects, scratch, &mut io::sink(), cancelled)? {
        if let Some(table) = changes.tables.iter_mut().find(|table| table.name.eq_ignore_ascii_case(&found.name)) {
            table.take(found);
        }
    }
    // Hashes differ where rows without a key lie in another order, too.
    let (tables, same): (Vec<_>, Vec<_>) = changes.tables.into_iter().partition(TableChange::is_one);
    changes.tables = tables;
    changes.same_tables += same.len() as u64;
    Ok(changes)
}

/// Why two databases could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The schema of one cannot be read.
    #[error("the schema cannot be read")]
    Schema(#[from] rusqlite::Error),
    /// Scratch failed, or it was cancelled.
    #[error(transparent)]
    Gap(#[from] GapError),
}

/// All that can be told without looking at rows one by one; tables of both sides whose hashes differ are suspects.
fn quick_changes(first: &Compared<'_>, second: &Compared<'_>) -> Result<ContentChanges, ContentError> {
    let pragma = |side: &Compared<'_>, name| side.connection.query_row(&format!("PRAGMA main.{name}"), [], |row| row.get::<_, i32>(0));
    let both = |name| Ok::<_, rusqlite::Error>((pragma(first, name)?, pragma(second, name)?));
    let mut changes = ContentChanges {
        objects: object_changes(schema_objects(first.connection)?, schema_objects(second.connection)?),
        application_id: both("application_id")?,
        user_version: both("user_version")?,
        ..ContentChanges::default()
    };
    let by_name =
        |side: &Compared<'_>| Ok::<_, rusqlite::Error>(list_tables(side.connection)?.into_iter().map(|name| (folded(&name), name)));
    let (names, mut others): (Vec<_>, BTreeMap<_, _>) = (by_name(first)?.collect(), by_name(second)?.collect());
    let schemas: BTreeSet<String> =
        changes.objects.iter().filter(|object| object.kind == "table").map(|object| folded(&object.name)).collect();
    for (key, name) in names {
        let Some(other) = others.remove(&key) else {
            changes.tables.push(TableChange::of_one(&name, Sides::First, first));
            continue;
        };
        let is_schema_changed = schemas.contains(&key);
        let (one, two) = (first.hash(&name), second.hash(&other));
        if !is_schema_changed && one.is_some() && one == two {
            changes.same_tables += 1;
        } else {
            let second_rows = second.rows(&other);
            let one = TableChange { name: other, ..TableChange::of_one(&name, Sides::Both, first) };
            changes.tables.push(TableChange { is_schema_changed, second_rows, ..one });
        }
    }
    changes.tables.extend(others.values().map(|name| TableChange::of_one(name, Sides::Second, second)));
    changes.tables.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(changes)
}

/// SQLite's names are the same in any case of ASCII letters.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase()
}

impl Compared<'_> {
    fn hash(&self, table: &str) -> Option<TableHash> {
        self.known.get(table).cloned().or_else(|| table_hash(self.connection, table).ok())
    }

    fn rows(&self, table: &str) -> Option<u64> {
        count(self.connection, table).ok()
    }
}

impl TableChange {
    fn of_one(name: &str, sides: Sides, side: &Compared<'_>) -> TableChange {
        let rows = side.rows(name);
        let (first_rows, second_rows) = if sides == Sides::Second { (None, rows) } else { (rows, None) };
        TableChange {
            name: name.to_owned(),
            sides,
            is_schema_changed: false,
            first_rows,
            second_rows,
            rows: None,
            only_first_columns: Vec::new(),
            only_second_columns: Vec::new(),
            doubt: None,
        }
    }

    fn take(&mut self, found: GapTable) {
        self.only_first_columns = found.only_snapshot_columns;
        self.only_second_columns = found.only_live_columns;
        let rows =
            RowChanges { key: found.key, added: found.lost, removed: found.resurrected, changed: found.altered, common: found.common };
        (self.rows, self.doubt) = match found.certainty {
            // Where rows went is not asked here.
            Certainty::Exact | Certainty::LowerBound(Doubt::PerhapsRenamed { .. }) => (Some(rows), None),
            Certainty::LowerBound(doubt) => (Some(rows), Some(words(doubt))),
            Certainty::Unknown(doubt) => (None, Some(words(doubt))),
        };
    }

    /// Whether anything differs, or might.
    fn is_one(&self) -> bool {
        let is_same = |rows: &RowChanges| rows.added == 0 && rows.removed == 0 && rows.changed == 0;
        let has_columns = !self.only_first_columns.is_empty() || !self.only_second_columns.is_empty();
        self.is_schema_changed || has_columns || self.doubt.is_some() || !self.rows.as_ref().is_some_and(is_same)
    }
}

/// The gap's words of its sides are not the words here.
fn words(doubt: Doubt) -> String {
    let side = |side| if side == super::Side::Snapshot { "first" } else { "second" };
    match doubt {
        Doubt::Unreadable { side: of, message } => format!("the {} side cannot be read: {message}", side(of)),
        Doubt::NotATable { side: of, what } => format!("on the {} side the name belongs to {what}", side(of)),
        Doubt::HiddenRowid { side: of } => format!("on the {} side columns hide the rowid", side(of)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
