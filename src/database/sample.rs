//! A sample, for demonstrations and not for use: the database of a small application that keeps an audit trail, and the application itself.
//!
//! Each entry of the trail carries a number of its own, given by whoever commits it. Ids are given out again after a restore; these numbers
//! are not, so that each commit can be accounted for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::DatabaseError;

/// The table of the sample that only grows: its triggers see to it.
pub const TRAIL: &str = "audit_trail";

/// A connection of the sample application.
#[derive(Debug)]
pub struct SampleApplication {
    path: PathBuf,
    connection: Connection,
}

impl SampleApplication {
    /// Makes the database, in WAL mode, with an empty trail.
    ///
    /// # Errors
    /// What SQLite says; something of that name is no reason to write into it.
    pub fn make(path: &Path) -> Result<SampleApplication, DatabaseError> {
        let failed = |source| DatabaseError::Sqlite { path: path.to_owned(), action: "make", source };
        let connection = Connection::open(path).map_err(failed)?;
        connection.execute_batch(SCHEMA).map_err(failed)?;
        drop(connection);
        SampleApplication::open(path)
    }

    /// Opens the database as the application does.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn open(path: &Path) -> Result<SampleApplication, DatabaseError> {
        let failed = |source| DatabaseError::Sqlite { path: path.to_owned(), action: "open", source };
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
        connection.busy_timeout(PATIENCE).map_err(failed)?;
        connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(failed)?;
        Ok(SampleApplication { path: path.to_owned(), connection })
    }

    /// Moves some money, and commits that together with the entry of this number.
    ///
    /// # Errors
    /// What SQLite says; nothing was committed then.
    pub fn commit(&mut self, number: u64) -> Result<(), DatabaseError> {
        let path = &self.path;
        let failed = |source| DatabaseError::Sqlite { path: path.clone(), action: "write to", source };
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let number = number.cast_signed();
        let account = number % ACCOUNTS + 1;
        transaction.execute("UPDATE account SET balance = balance + ?1 WHERE id = ?2", (number % 97, account)).map_err(failed)?;
        let entry = "INSERT INTO audit_trail(at, number, action) VALUES(strftime('%Y-%m-%d %H:%M:%f', 'now'), ?1, ?2)";
        transaction.execute(entry, (number, format!("credited account {account}"))).map_err(failed)?;
        transaction.commit().map_err(failed)
    }

    /// The numbers of all entries in the trail.
    ///
    /// # Errors
    /// What SQLite says.
    pub fn numbers(&self) -> Result<Vec<u64>, DatabaseError> {
        let all = || {
            let mut statement = self.connection.prepare("SELECT number FROM audit_trail ORDER BY number")?;
            statement.query_map([], |row| row.get(0).map(i64::unsigned_abs))?.collect::<rusqlite::Result<_>>()
        };
        all().map_err(|source| DatabaseError::Sqlite { path: self.path.clone(), action: "read", source })
    }
}

const ACCOUNTS: i64 = 100;
/// Longer than anybody locks the sample.
const PATIENCE: Duration = Duration::from_secs(30);
const SCHEMA: &str = "
PRAGMA journal_mode = WAL;
CREATE TABLE account(id INTEGER PRIMARY KEY, name TEXT NOT NULL, balance INTEGER NOT NULL);
CREATE TABLE audit_trail(id INTEGER PRIMARY KEY, at TEXT NOT NULL, number INTEGER NOT NULL, action TEXT NOT NULL);
CREATE TRIGGER audit_trail_no_update BEFORE UPDATE ON audit_trail BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END;
CREATE TRIGGER audit_trail_no_delete BEFORE DELETE ON audit_trail BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100)
    INSERT INTO account SELECT i, 'account ' || i, 0 FROM n;
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_only_grows_and_tells_each_commit() {
        let folder = tempfile::tempdir().unwrap();
        let mut application = SampleApplication::make(&folder.path().join("app.db")).unwrap();
        for number in [1, 2, 3] {
            application.commit(number).unwrap();
        }
        assert_eq!(application.numbers().unwrap(), [1, 2, 3]);
        for sql in ["UPDATE audit_trail SET number = 9", "DELETE FROM audit_trail"] {
            assert!(application.connection.execute_batch(sql).is_err(), "{sql}");
        }
    }
}
