//! What a site demands of the content of a database: how many rows a table has, or what a query says.

use std::fmt;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::bounds::{self, Bounds, Cancelled};
use super::sql::quoted;

/// A demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assertion {
    text: String,
    demand: Demand,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Demand {
    /// A table has so many rows.
    Rows { table: String, relation: Relation, count: u64 },
    /// A query gives one value, and that is true.
    Query,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    More,
    Fewer,
    Equal,
}

/// What became of a demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asserted {
    /// The demand, as it was written.
    pub text: String,
    /// Whether the content meets it; unknown if it could not be asked.
    pub holds: Option<bool>,
    /// What was found, or why nothing was.
    pub found: String,
}

impl Assertion {
    /// Reads `TABLE >= NUMBER` (or `>`, `<=`, `<`, `=`), or a query that begins with `SELECT` or `WITH`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Assertion, String> {
        let first = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let demand = match first.as_str() {
            "SELECT" | "WITH" => Demand::Query,
            _ => rows(text).ok_or_else(|| format!("'{text}' is neither a query nor a number of rows, as 'tasks >= 10000'"))?,
        };
        Ok(Assertion { text: text.to_owned(), demand })
    }

    /// The demand, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Asks the database. The connection is only read from, whatever the query says.
    pub fn ask(&self, connection: &Connection, size_bytes: u64, cancelled: Cancelled<'_>) -> Asserted {
        let asked = bounds::within(connection, Bounds::of_live(size_bytes), cancelled, |_| match &self.demand {
            Demand::Rows { table, relation, count } => {
                rows_of(connection, table).map(|rows| (relation.holds(rows, *count), rows.to_string()))
            }
            Demand::Query => answer(connection, &self.text),
        });
        let (holds, found) = match asked {
            Ok((holds, found)) => (Some(holds), found),
            Err(why) => (None, why),
        };
        Asserted { text: self.text.clone(), holds, found }
    }
}

impl fmt::Display for Asserted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.holds {
            Some(true) => write!(f, "'{}' holds: {}", self.text, self.found),
            Some(false) => write!(f, "'{}' does not hold: {}", self.text, self.found),
            None => write!(f, "'{}' cannot be asked: {}", self.text, self.found),
        }
    }
}

impl Relation {
    fn holds(self, rows: u64, count: u64) -> bool {
        match self {
            Relation::AtLeast => rows >= count,
            Relation::AtMost => rows <= count,
            Relation::More => rows > count,
            Relation::Fewer => rows < count,
            Relation::Equal => rows == count,
        }
    }
}

fn rows(text: &str) -> Option<Demand> {
    let at = text.find(['<', '>', '='])?;
    let signs = text[at..].find(|c| !matches!(c, '<' | '>' | '=')).map_or(&text[at..], |len| &text[at..at + len]);
    let relation = match signs {
        ">=" => Relation::AtLeast,
        "<=" => Relation::AtMost,
        ">" => Relation::More,
        "<" => Relation::Fewer,
        "=" | "==" => Relation::Equal,
        _ => return None,
    };
    let table = text[..at].trim();
    let table = table.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')).unwrap_or(table);
    let count = text[at + signs.len()..].trim().replace('_', "").parse().ok()?;
    (!table.is_empty()).then(|| Demand::Rows { table: table.to_owned(), relation, count })
}

fn rows_of(connection: &Connection, table: &str) -> Result<u64, String> {
    let sql = format!("SELECT count(*) FROM main.{}", quoted(table));
    connection.query_row(&sql, [], |row| row.get(0)).map(i64::unsigned_abs).map_err(|error| error.to_string())
}

fn answer(connection: &Connection, sql: &str) -> Result<(bool, String), String> {
    let words = |error: rusqlite::Error| error.to_string();
    let mut statement = connection.prepare(sql).map_err(words)?;
    if !statement.readonly() || statement.column_count() != 1 {
        return Err("a query has one column, and changes nothing".to_owned());
    }
    let mut rows = statement.query([]).map_err(words)?;
    let Some(row) = rows.next().map_err(words)? else { return Ok((false, "no row".to_owned())) };
    let (holds, found) = match row.get_ref(0).map_err(words)? {
        ValueRef::Null => (false, "NULL".to_owned()),
        ValueRef::Integer(number) => (number != 0, number.to_string()),
        ValueRef::Real(number) => (number != 0.0, number.to_string()),
        ValueRef::Text(_) | ValueRef::Blob(_) => return Err("it gives no number".to_owned()),
    };
    match rows.next().map_err(words)? {
        None => Ok((holds, found)),
        Some(_) => Err("it gives more than one row".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_are_met_or_not() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE \"my tasks\"(x); INSERT INTO \"my tasks\" VALUES(1),(2),(3)").unwrap();
        for (text, holds, found) in [
            ("my tasks >= 3", Some(true), "3"),
            ("\"my tasks\">3", Some(false), "3"),
            ("my tasks < 1_000", Some(true), "3"),
            ("my tasks <= 2", Some(false), "3"),
            ("my tasks = 3", Some(true), "3"),
            ("none > 0", None, "no such table: main.none"),
            ("select max(x) = 3 from \"my tasks\"", Some(true), "1"),
            ("SELECT sum(x) FROM \"my tasks\" WHERE x > 5", Some(false), "NULL"),
            ("SELECT x FROM \"my tasks\" WHERE x > 5", Some(false), "no row"),
            ("SELECT x FROM \"my tasks\"", None, "it gives more than one row"),
            ("SELECT 1, 2", None, "a query has one column, and changes nothing"),
            ("WITH a AS (SELECT 1) DELETE FROM \"my tasks\" RETURNING 1", None, "a query has one column, and changes nothing"),
            ("SELECT 'yes'", None, "it gives no number"),
            ("SELECT 1; SELECT 2", None, "Multiple statements provided"),
        ] {
            let asserted = Assertion::parse(text).unwrap().ask(&connection, 4096, &|| false);
            assert_eq!((asserted.holds, asserted.found.as_str()), (holds, found), "{text}");
        }
        for wrong in ["", "tasks", "tasks => 3", "tasks >= many", ">= 3", "tasks >= -1", "DELETE FROM tasks"] {
            assert!(Assertion::parse(wrong).is_err(), "{wrong}");
        }
    }
}
