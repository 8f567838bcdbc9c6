//! The capsule: the rows that a restore would take away, in full, as lines of JSON.
//!
//! # Layout
//! ```text
//! {"table": …, "what": "lost",    "key": {column: value, …} | null, "row": {column: value, …}}
//! {"table": …, "what": "altered", "key": {…},                       "row": {…}, "was": {…}}
//! ```
//! `row` is the live row with all its stored columns, `was` the snapshot's; `key` is null where there is no declared key. Values are
//! written as [`super::value::push_json`] says, so that they can be put back with the same type and the same bytes.

use std::cmp::Ordering;
use std::io::Write;

use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row, Statement};

use super::super::sql::quoted;
use super::resolve::KeyShelf;
use super::table::{Identity, Table};
use super::times::Times;
use super::value::{Values, compare, display, push_json, push_json_text};
use super::{Doubt, GapError, Side, Stop};

/// Gets single rows in full.
pub(super) struct Fetch<'c> {
    statement: Statement<'c>,
    side: Side,
    columns: Vec<String>,
    has_rowid: bool,
    pub(super) shelf: KeyShelf,
}

impl<'c> Fetch<'c> {
    pub(super) fn new(connection: &'c Connection, table: &Table, side: Side, shelf: KeyShelf) -> rusqlite::Result<Self> {
        let columns: Vec<String> = table.columns.iter().map(|column| column.name.clone()).collect();
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let place = match &table.rowid() {
            Some(rowid) => format!("NOT INDEXED WHERE {rowid} = ?1"),
            None => {
                let terms: Vec<String> = table.key.iter().enumerate().map(|(i, name)| format!("{} = ?{}", quoted(name), i + 1)).collect();
                format!("WHERE {}", terms.join(" AND "))
            }
        };
        let sql = format!("SELECT {} FROM main.{} {place}", names.join(","), quoted(&table.name));
        let has_rowid = table.identity != Identity::Key;
        Ok(Self { statement: connection.prepare(&sql)?, side, columns, has_rowid, shelf })
    }

    /// Uses a row; one that was seen and cannot be found again is an unreadable one.
    fn with<T>(&mut self, locator: i64, work: impl FnOnce(&[String], &Row<'_>) -> rusqlite::Result<T>) -> Result<T, Stop> {
        let unreadable = |error: &rusqlite::Error| Stop::Doubt(Doubt::unreadable(self.side, error));
        let parameters = match self.has_rowid {
            true => vec![Value::Integer(locator)],
            false => Values(&self.shelf.at(locator)?)
                .map(Value::try_from)
                .collect::<Result<_, _>>()
                .map_err(|_| unreadable(&rusqlite::Error::InvalidQuery))?,
        };
        let (columns, statement) = (&self.columns, &mut self.statement);
        let result = statement.query_row(rusqlite::params_from_iter(parameters), |row| work(columns, row));
        result.map_err(|error| unreadable(&error))
    }
}

/// Writes lines, and keeps what is told of the rows in them.
pub(super) struct Capsule<'c> {
    pub(super) live: Fetch<'c>,
    pub(super) snapshot: Option<Fetch<'c>>,
    out: &'c mut dyn Write,
    table: String,
    key: Vec<String>,
    pub(super) times: Times,
    pub(super) range: Option<Range>,
    pub(super) lost: u64,
    pub(super) altered: u64,
}

/// The lowest and the highest lost key.
pub(super) struct Range {
    first: Vec<Value>,
    last: Vec<Value>,
}

impl<'c> Capsule<'c> {
    pub(super) fn new(table: &Table, key: &[String], live: Fetch<'c>, snapshot: Option<Fetch<'c>>, out: &'c mut dyn Write) -> Self {
        let times = Times::of(&table.columns);
        Self { live, snapshot, out, table: table.name.clone(), key: key.to_vec(), times, range: None, lost: 0, altered: 0 }
    }

    pub(super) fn lost(&mut self, live: i64) -> Result<(), Stop> {
        let mut line = begin(&self.table, "lost");
        let (key, times, range) = (&self.key, &mut self.times, &mut self.range);
        self.live.with(live, |columns, row| {
            push_identified(&mut line, key, columns, row)?;
            let values: Vec<ValueRef<'_>> = (0..columns.len()).map(|index| row.get_ref(index)).collect::<Result<_, _>>()?;
            times.see(|index| values[index]);
            let own = key.iter().filter_map(|name| columns.iter().position(|column| column == name)).map(|index| values[index]);
            let own: Vec<ValueRef<'_>> = own.collect();
            if !own.is_empty() && !own.contains(&ValueRef::Null) {
                widen(range, &own);
            }
            Ok(())
        })?;
        self.write(line)?;
        self.lost += 1;
        Ok(())
    }

    pub(super) fn altered(&mut self, live: i64, was: i64) -> Result<(), Stop> {
        let mut line = begin(&self.table, "altered");
        let key = &self.key;
        self.live.with(live, |columns, row| push_identified(&mut line, key, columns, row))?;
        line.push_str(",\"was\":");
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.with(was, |columns, row| push_object(&mut line, columns, row, |_| true))?;
        }
        self.write(line)?;
        self.altered += 1;
        Ok(())
    }

    fn write(&mut self, mut line: String) -> Result<(), Stop> {
        line.push_str("}\n");
        let written = self.out.write_all(line.as_bytes());
        written.map_err(|source| Stop::Failed(GapError::Capsule { table: self.table.clone(), source }))
    }
}

impl Range {
    pub(super) fn text(&self) -> (String, String) {
        let side = |values: &[Value]| match values {
            [value] => display(value.into()),
            values => format!("({})", values.iter().map(|value| display(value.into())).collect::<Vec<_>>().join(", ")),
        };
        (side(&self.first), side(&self.last))
    }

    /// The highest key, where it is one number.
    pub(super) fn highest_id(&self) -> Option<i64> {
        if let [Value::Integer(id)] = self.last[..] { Some(id) } else { None }
    }
}

fn widen(range: &mut Option<Range>, key: &[ValueRef<'_>]) {
    let order = |known: &[Value]| {
        let pairs = key.iter().zip(known).map(|(one, other)| compare(*one, other.into()));
        pairs.into_iter().find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    let owned = || key.iter().map(|value| Value::try_from(*value).unwrap_or_else(|_| lossy(*value))).collect::<Vec<_>>();
    match range {
        None => *range = Some(Range { first: owned(), last: owned() }),
        Some(range) if order(&range.first).is_lt() => range.first = owned(),
        Some(range) if order(&range.last).is_gt() => range.last = owned(),
        Some(_) => {}
    }
}

/// Text that is not UTF-8; the range is for people, the line has the bytes.
fn lossy(value: ValueRef<'_>) -> Value {
    Value::Text(display(value))
}

fn begin(table: &str, what: &str) -> String {
    let mut line = String::from("{\"table\":");
    push_json_text(&mut line, table);
    line.push_str(&format!(",\"what\":\"{what}\""));
    line
}

fn push_identified(line: &mut String, key: &[String], columns: &[String], row: &Row<'_>) -> rusqlite::Result<()> {
    line.push_str(",\"key\":");
    match key.is_empty() {
        true => line.push_str("null"),
        false => push_object(line, columns, row, |name| key.iter().any(|column| column == name))?,
    }
    line.push_str(",\"row\":");
    push_object(line, columns, row, |_| true)
}

fn push_object(line: &mut String, columns: &[String], row: &Row<'_>, is_wanted: impl Fn(&str) -> bool) -> rusqlite::Result<()> {
    let mut separator = '{';
    for (index, name) in columns.iter().enumerate().filter(|(_, name)| is_wanted(name)) {
        line.push(separator);
        push_json_text(line, name);
        line.push(':');
        push_json(line, row.get_ref(index)?);
        separator = ',';
    }
    line.push_str(if separator == '{' { "{}" } else { "}" });
    Ok(())
}
