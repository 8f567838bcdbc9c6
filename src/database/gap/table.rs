//! What has to be known of a table before its rows can be compared: stored columns, key, and the name of its rowid.

use rusqlite::{Connection, OptionalExtension};

use super::super::sql::quoted;
use super::words;

/// A column that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) struct Column {
    pub(in crate::database) name: String,
    /// The declared type.
    pub(in crate::database) declared: String,
}

/// A table with content of its own.
#[derive(Debug, Clone)]
pub(in crate::database) struct Table {
    /// As the schema spells it.
    pub(in crate::database) name: String,
    pub(in crate::database) columns: Vec<Column>,
    /// The columns of the declared primary key, in its order.
    pub(in crate::database) key: Vec<String>,
    pub(in crate::database) identity: Identity,
    pub(in crate::database) is_autoincrement: bool,
}

/// How one row can be found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::database) enum Identity {
    /// By its primary key, which is the rowid: the name of the column.
    Alias(String),
    /// By a rowid that no column shows: the name under which SQLite knows it here.
    Rowid(&'static str),
    /// By its primary key, in a table without rowid.
    Key,
}

/// What stands under a name.
#[derive(Debug)]
pub(in crate::database) enum Found {
    Table(Table),
    Nothing,
    /// "a view", "a virtual table"
    Other(&'static str),
    /// The rowid exists, but three columns took all its names.
    Hidden,
}

impl Table {
    /// Looks a table up, in any case.
    pub(in crate::database) fn find(connection: &Connection, name: &str) -> rusqlite::Result<Found> {
        // The schema table is asked and not `PRAGMA table_list`, which would look into every view.
        let sql =
            "SELECT name, type, rootpage > 0, sql FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE";
        let read = |row: &rusqlite::Row<'_>| {
            let sql: Option<String> = row.get(3)?;
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<bool>>(2)?, sql.unwrap_or_default()))
        };
        match connection.query_row(sql, [name], read).optional()? {
            None => Ok(Found::Nothing),
            Some((_, kind, _, _)) if kind == "view" => Ok(Found::Other("a view")),
            Some((name, _, Some(true), sql)) => Self::describe(connection, name, &sql),
            Some(_) => Ok(Found::Other("a virtual table")),
        }
    }

    fn describe(connection: &Connection, name: String, sql: &str) -> rusqlite::Result<Found> {
        let mut statement = connection.prepare(&format!("PRAGMA main.table_xinfo({})", quoted(&name)))?;
        let listed = statement.query_map([], |row| {
            let column = Column { name: row.get("name")?, declared: row.get::<_, Option<String>>("type")?.unwrap_or_default() };
            Ok((column, row.get::<_, i64>("pk")?, row.get::<_, i64>("hidden")?))
        })?;
        let listed: Vec<(Column, i64, i64)> = listed.collect::<rusqlite::Result<_>>()?;
        let mut key: Vec<(i64, String)> =
            listed.iter().filter(|(_, pk, _)| *pk > 0).map(|(column, pk, _)| (*pk, column.name.clone())).collect();
        key.sort();
        let key: Vec<String> = key.into_iter().map(|(_, name)| name).collect();
        let Some(identity) = identity(connection, &name, &listed, &key)? else { return Ok(Found::Hidden) };
        // Virtual generated columns follow from the others, and computing them would run expressions of the schema.
        let columns = listed.into_iter().filter(|(_, _, hidden)| matches!(hidden, 0 | 3)).map(|(column, _, _)| column).collect();
        Ok(Found::Table(Table { name, columns, key, identity, is_autoincrement: words::has_autoincrement(sql) }))
    }

    pub(in crate::database) fn has_column(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// The SQL name of the rowid, if there is one.
    pub(in crate::database) fn rowid(&self) -> Option<String> {
        match &self.identity {
            Identity::Alias(column) => Some(quoted(column)),
            Identity::Rowid(name) => Some((*name).to_owned()),
            Identity::Key => None,
        }
    }

    /// The highest id that was given out as far as the table and `sqlite_sequence` tell; only where ids are the primary key.
    pub(in crate::database) fn highest_id(&self, connection: &Connection) -> rusqlite::Result<i64> {
        let Identity::Alias(column) = &self.identity else { return Ok(0) };
        let sql = format!("SELECT max({}) FROM main.{}", quoted(column), quoted(&self.name));
        let highest: i64 = connection.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0))?.unwrap_or(0);
        if !self.is_autoincrement {
            return Ok(highest);
        }
        let sql = "SELECT max(seq) FROM main.sqlite_sequence WHERE name = ?1 COLLATE NOCASE AND typeof(seq) = 'integer'";
        let issued: Option<i64> = connection.query_row(sql, [&self.name], |row| row.get(0))?;
        Ok(highest.max(issued.unwrap_or(0)))
    }
}

fn identity(connection: &Connection, table: &str, listed: &[(Column, i64, i64)], key: &[String]) -> rusqlite::Result<Option<Identity>> {
    let is_taken = |name: &str| listed.iter().any(|(column, _, _)| column.name.eq_ignore_ascii_case(name));
    let free = ["rowid", "_rowid_", "oid"].into_iter().find(|name| !is_taken(name));
    let sql = "SELECT EXISTS(SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk')";
    // The rowid and the key of a table without rowid need no index of their own; but the pragma lists the latter's all the same.
    let has_key_index: bool = connection.query_row(sql, [table], |row| row.get(0))?;
    let is_integer =
        |name: &String| listed.iter().any(|(column, _, _)| column.name == *name && column.declared.eq_ignore_ascii_case("INTEGER"));
    if let [column] = key
        && is_integer(column)
        && !has_key_index
    {
        return Ok(Some(Identity::Alias(column.clone())));
    }
    match free {
        Some(name) => match connection.prepare(&format!("SELECT {name} FROM main.{}", quoted(table))) {
            Ok(_) => Ok(Some(Identity::Rowid(name))),
            Err(_) if has_key_index => Ok(Some(Identity::Key)),
            Err(error) => Err(error),
        },
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sql: &str) -> Found {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        Table::find(&connection, "T").unwrap()
    }

    #[test]
    fn rows_are_found_again_by_what_identifies_them() {
        for (sql, expected) in [
            ("CREATE TABLE t(id INTEGER PRIMARY KEY, a)", Identity::Alias("id".into())),
            ("CREATE TABLE t(id INTEGER PRIMARY KEY DESC, a)", Identity::Rowid("rowid")),
            ("CREATE TABLE t(id INT PRIMARY KEY, a)", Identity::Rowid("rowid")),
            ("CREATE TABLE t(rowid TEXT, a)", Identity::Rowid("_rowid_")),
            ("CREATE TABLE t(rowid TEXT, oid INTEGER PRIMARY KEY, _rowid_)", Identity::Alias("oid".into())),
            ("CREATE TABLE t(id INTEGER PRIMARY KEY, a) WITHOUT ROWID", Identity::Key),
            ("CREATE TABLE t(b, a, PRIMARY KEY(a, b)) WITHOUT ROWID", Identity::Key),
        ] {
            let Found::Table(table) = found(sql) else { panic!("{sql}") };
            assert_eq!(table.identity, expected, "{sql}");
        }
        assert!(matches!(found("CREATE TABLE t(rowid, oid, _rowid_)"), Found::Hidden));
        assert!(matches!(found("CREATE VIEW t AS SELECT 1"), Found::Other("a view")));
        assert!(matches!(found("CREATE TABLE u(a)"), Found::Nothing));
    }

    #[test]
    fn the_key_has_its_own_order_and_virtual_columns_are_left_out() {
        let Found::Table(table) = found("CREATE TABLE t(b, v AS (b + 1), s AS (b + 2) STORED, a, PRIMARY KEY(a, b))") else { panic!() };
        assert_eq!(table.key, ["a", "b"]);
        assert_eq!(table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["b", "s", "a"]);
    }
}
