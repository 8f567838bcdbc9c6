//! The ledger in which a migration tool notes what it did: how far the schema is, as the application's own release counts.
//!
//! It is read from the captured state, within bounds, and never fails a capture: a table of the right name without the right columns is
//! somebody else's. Views and computed columns are not asked, so that no expression of the schema runs. `user_version` stands elsewhere.

use std::sync::atomic::AtomicBool;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::bounds::{self, Bounds, Cancelled};
use super::facts::list_tables;
use super::logical::stored_columns;
use super::sql::quoted;

/// What a ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Its table, as the schema spells it.
    pub table: String,
    /// How many entries it has.
    pub count: u64,
    /// The newest entry in words, cut after 200 characters; nothing if there is none.
    pub last: Option<String>,
}

impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in '{}'", self.count, self.table)?;
        self.last.as_ref().map_or(Ok(()), |last| write!(f, ", the newest '{last}'"))
    }
}

/// Finds and reads the ledger of a database; nothing where there is none, or it cannot be read.
#[must_use]
pub fn ledger(connection: &Connection, size_bytes: u64, cancelled: Cancelled<'_>) -> Option<Ledger> {
    let find = |_: &AtomicBool| {
        let tables = list_tables(connection).ok()?;
        KNOWN.iter().find_map(|known| {
            let table = tables.iter().find(|table| table.eq_ignore_ascii_case(known.table))?;
            known.read(connection, table).ok().flatten()
        })
    };
    bounds::within(connection, Bounds::of_live(size_bytes), cancelled, find)
}

/// How a tool keeps its ledger.
struct Known {
    table: &'static str,
    /// What an entry is told by.
    told_by: &'static [&'static str],
    /// What else is needed to find the newest.
    order: &'static str,
    needs: &'static [&'static str],
    /// Which rows count.
    filter: &'static str,
}

impl Known {
    fn read(&self, connection: &Connection, table: &str) -> rusqlite::Result<Option<Ledger>> {
        let columns = stored_columns(connection, table)?;
        let has = |name: &&str| columns.iter().any(|column| column.eq_ignore_ascii_case(name));
        if !self.told_by.iter().chain(self.needs).all(has) {
            return Ok(None);
        }
        let from = format!("FROM main.{} {}", quoted(table), self.filter);
        let count = connection.query_row(&format!("SELECT count(*) {from}"), [], |row| row.get::<_, i64>(0))?.unsigned_abs();
        let sql = format!("SELECT {} {from} ORDER BY {} LIMIT 1", self.told_by.join(","), self.order);
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        let last = match rows.next()? {
            Some(row) => Some(words((0..self.told_by.len()).map(|index| row.get_ref(index)).collect::<rusqlite::Result<Vec<_>>>()?)),
            None => None,
        };
        Ok(Some(Ledger { table: table.to_owned(), count, last }))
    }
}

/// Values side by side; what is no text and no number says nothing.
fn words(values: Vec<ValueRef<'_>>) -> String {
    let word = |value| match value {
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LAST_CHARACTERS)]).into_owned()),
        ValueRef::Null | ValueRef::Blob(_) => None,
    };
    let text = values.into_iter().filter_map(word).collect::<Vec<_>>().join(" ");
    text.chars().take(LAST_CHARACTERS).collect()
}

/// In the order in which they are looked for.
///
/// # Source
/// Rails, dbmate and golang-migrate (`schema_migrations`), Prisma, refinery, sqlx, Knex, Django, Flyway, Alembic. Versions are numbers without
/// leading zeros or of one length, also where they are stored as text: the longer one is the later one.
const KNOWN: [Known; 8] = [
    Known { table: "schema_migrations", told_by: &["version"], order: "length(version) DESC, version DESC", needs: &[], filter: "" },
    Known {
        table: "_prisma_migrations",
        told_by: &["migration_name"],
        order: "finished_at DESC, migration_name DESC",
        needs: &["finished_at"],
        // A migration that failed is noted, too, and was not applied.
        filter: "WHERE finished_at IS NOT NULL",
    },
    Known { table: "refinery_schema_history", told_by: &["version", "name"], order: "version DESC", needs: &[], filter: "" },
    Known { table: "_sqlx_migrations", told_by: &["version", "description"], order: "version DESC", needs: &[], filter: "" },
    Known { table: "knex_migrations", told_by: &["name"], order: "id DESC", needs: &["id"], filter: "" },
    Known { table: "django_migrations", told_by: &["app", "name"], order: "id DESC", needs: &["id"], filter: "" },
    Known {
        table: "flyway_schema_history",
        told_by: &["version", "description"],
        order: "installed_rank DESC",
        needs: &["installed_rank"],
        filter: "",
    },
    Known { table: "alembic_version", told_by: &["version_num"], order: "version_num DESC", needs: &[], filter: "" },
];
const LAST_CHARACTERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(sql: &str) -> Option<(String, u64, Option<String>)> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        ledger(&connection, 0, &|| false).map(|ledger| (ledger.table, ledger.count, ledger.last))
    }

    #[test]
    fn each_tool_s_ledger_is_read() {
        for (sql, table, count, last) in [
            (
                "CREATE TABLE schema_migrations(version TEXT); INSERT INTO schema_migrations VALUES('9'),('20260102'),('20260101')",
                "schema_migrations",
                3,
                Some("20260102"),
            ),
            (
                "CREATE TABLE schema_migrations(version INTEGER, dirty); INSERT INTO schema_migrations VALUES(12, 0)",
                "schema_migrations",
                1,
                Some("12"),
            ),
            (
                "CREATE TABLE _prisma_migrations(id, migration_name, finished_at); INSERT INTO _prisma_migrations VALUES(1,'a',5),(2,'b',9),(3,'c',NULL)",
                "_prisma_migrations",
                2,
                Some("b"),
            ),
            (
                "CREATE TABLE refinery_schema_history(version INT, name, applied_on); INSERT INTO refinery_schema_history VALUES(2,'two',0),(10,'ten',0)",
                "refinery_schema_history",
                2,
                Some("10 ten"),
            ),
            (
                "CREATE TABLE _sqlx_migrations(version BIGINT, description TEXT); INSERT INTO _sqlx_migrations VALUES(1,'first')",
                "_sqlx_migrations",
                1,
                Some("1 first"),
            ),
            (
                "CREATE TABLE knex_migrations(id INTEGER PRIMARY KEY, name); INSERT INTO knex_migrations VALUES(1,'z'),(2,'a')",
                "knex_migrations",
                2,
                Some("a"),
            ),
            (
                "CREATE TABLE django_migrations(id INTEGER PRIMARY KEY, app, name); INSERT INTO django_migrations VALUES(1,'auth','0001')",
                "django_migrations",
                1,
                Some("auth 0001"),
            ),
            (
                "CREATE TABLE flyway_schema_history(installed_rank, version, description); INSERT INTO flyway_schema_history VALUES(1,'1.1','one'),(2,NULL,'views')",
                "flyway_schema_history",
                2,
                Some("views"),
            ),
            (
                "CREATE TABLE alembic_version(version_num); INSERT INTO alembic_version VALUES('ae1027a6acf')",
                "alembic_version",
                1,
                Some("ae1027a6acf"),
            ),
            ("CREATE TABLE Alembic_Version(version_num)", "Alembic_Version", 0, None),
        ] {
            assert_eq!(found(sql), Some((table.to_owned(), count, last.map(str::to_owned))), "{sql}");
        }
    }

    #[test]
    fn what_only_looks_like_a_ledger_is_passed_over() {
        assert_eq!(found("CREATE TABLE schema_migrations(name)"), None);
        assert_eq!(found("CREATE VIEW alembic_version AS SELECT 1 AS version_num"), None);
        assert_eq!(found("CREATE TABLE knex_migrations(name, a, id AS (a + 1))"), None, "no expression of the schema runs");
        assert_eq!(found("CREATE TABLE other(version)"), None);
        let other = "CREATE TABLE schema_migrations(name); CREATE TABLE alembic_version(version_num)";
        assert_eq!(found(other).map(|(table, ..)| table), Some("alembic_version".to_owned()));
    }

    #[test]
    fn a_long_entry_is_cut() {
        let sql = "CREATE TABLE alembic_version(version_num); INSERT INTO alembic_version VALUES(replace(hex(zeroblob(500)), '0', 'ä'))";
        assert_eq!(found(sql).unwrap().2.unwrap().chars().count(), LAST_CHARACTERS);
    }
}
