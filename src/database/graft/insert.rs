//! Putting the rows of one table back, each compared with what SQLite has made of it.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement, params_from_iter};

use super::GraftError;
use super::line::{Cell, Line};
use crate::database::sql::quoted;

/// The statement for the rows of one table.
pub(super) struct Insert<'c> {
    pub(super) table: String,
    /// Those that are given, then those that SQLite computes and the capsule has, too.
    columns: Vec<String>,
    given: usize,
    statement: Statement<'c>,
}

impl<'c> Insert<'c> {
    /// The first line tells which generated columns the live side has stored; those are compared, not given.
    pub(super) fn prepare(connection: &'c Connection, first: &Line) -> Result<Self, GraftError> {
        let sql = "SELECT name, hidden FROM pragma_table_xinfo(?1, 'main') WHERE hidden IN (0, 2, 3) ORDER BY hidden <> 0, cid";
        let mut statement = connection.prepare(sql)?;
        let found = statement.query_map([&first.table], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? == 0)))?;
        let mut found: Vec<(String, bool)> = found.collect::<rusqlite::Result<_>>()?;
        found.retain(|(name, is_given)| *is_given || first.value(name).is_some());
        let given = found.iter().filter(|(_, is_given)| *is_given).count();
        let columns: Vec<String> = found.into_iter().map(|(name, _)| name).collect();
        let names: Vec<String> = columns.iter().map(|name| quoted(name)).collect();
        let places: Vec<String> = (1..=given).map(|place| format!("?{place}")).collect();
        let (table, into) = (quoted(&first.table), names[..given].join(","));
        // ABORT, whatever the schema says of conflicts: a declared REPLACE would take a row of the snapshot away.
        let sql = format!("INSERT OR ABORT INTO main.{table}({into}) VALUES({}) RETURNING {}", places.join(","), names.join(","));
        Ok(Self { table: first.table.clone(), columns, given, statement: connection.prepare(&sql)? })
    }

    pub(super) fn run(&mut self, line: &Line, row: u64) -> Result<(), GraftError> {
        let values: Option<Vec<&Cell>> = self.columns.iter().map(|name| line.value(name)).collect();
        let values = values.filter(|values| values.len() == line.row.len());
        let values = values.ok_or_else(|| GraftError::Refused { table: line.table.clone(), why: "the schema moved on".to_owned() })?;
        let refused = |source| GraftError::Row { table: line.table.clone(), row, key: line.key_words(), source };
        let mut stored = self.statement.query(params_from_iter(&values[..self.given])).map_err(refused)?;
        let found = stored.next().map_err(refused)?.ok_or_else(|| refused(rusqlite::Error::QueryReturnedNoRows))?;
        for (place, value) in values.iter().enumerate() {
            if !is_same(value.as_ref(), found.get_ref(place).map_err(refused)?) {
                let column = self.columns[place].clone();
                return Err(GraftError::Value { table: line.table.clone(), row, key: line.key_words(), column });
            }
        }
        Ok(())
    }
}

/// The same type and the same bytes.
fn is_same(one: ValueRef<'_>, other: ValueRef<'_>) -> bool {
    match (one, other) {
        (ValueRef::Real(one), ValueRef::Real(other)) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
