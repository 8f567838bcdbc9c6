//! A dump loads into an equal database, literals are exact, and what a hostile schema shows has an end.

use super::*;
use crate::crypto::Entropy;
use crate::database::table_hash;
use crate::files::ScratchSpace;

/// The image of a database that this SQL makes.
fn image(sql: &str) -> Image {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let connection = Connection::open(&path).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    let space = ScratchSpace::new(folder.path().to_owned(), |bytes: &mut [u8]| crate::ops::OsEntropy.fill(bytes));
    let bytes = std::fs::read(&path).unwrap();
    let image = Image::create(&space, bytes.len() as u64).unwrap();
    image.write_at(0, &bytes).unwrap();
    image
}

fn text(image: &Image, table: Option<&str>) -> (String, Dumped) {
    let mut out = Vec::new();
    let dumped = dump_sql(image, table, &mut out, &|| false).unwrap();
    (String::from_utf8(out).unwrap(), dumped)
}

const ALL_KINDS: &str = "
    CREATE TABLE \"o\"\"dd\n'🔑\"(id INTEGER PRIMARY KEY AUTOINCREMENT, v, t TEXT DEFAULT ';', g AS (id+1), s AS (id*2) STORED);
    CREATE TABLE plain(a, b);
    CREATE TABLE wr(k TEXT PRIMARY KEY, v) WITHOUT ROWID;
    CREATE TABLE checked(n CHECK(n > 0));
    CREATE TABLE child(p REFERENCES wr(k));
    CREATE VIRTUAL TABLE f USING fts5(body);
    CREATE INDEX i ON plain(a);
    CREATE VIEW v AS SELECT * FROM plain;
    CREATE TRIGGER r AFTER INSERT ON plain BEGIN INSERT INTO wr VALUES('by trigger', 1); END;
    INSERT INTO \"o\"\"dd\n'🔑\"(id, v) VALUES(7, NULL),(9, -9223372036854775808),(10, 9223372036854775807),(11, x''),(12, x'00ff'),
        (13, ''),(14, 'a''b'),(15, 'NUL'||char(0)||'x'),(16, 'line'||char(13,10)||'end'),(17, '.shell'||char(10)||'go'||char(10)||';'),
        (18, -0.0),(19, 9e999),(20, -9e999),(21, 0.1),(22, 5e-324),(23, 1.7976931348623157e308),(24, 2.2250738585072014e-308),(25, 1e23);
    DELETE FROM \"o\"\"dd\n'🔑\" WHERE id = 25;
    DROP TRIGGER r;
    INSERT INTO plain(rowid, a, b) VALUES(5, 1, 2),(90, 'x', 'y');
    CREATE TRIGGER r AFTER INSERT ON plain BEGIN INSERT INTO wr VALUES('by trigger', 1); END;
    INSERT INTO wr VALUES('b', 1),('a', 2);
    INSERT INTO child VALUES('nobody');
    INSERT INTO f VALUES('some words');
    PRAGMA ignore_check_constraints=ON; INSERT INTO checked VALUES(-1);
    PRAGMA user_version=42; PRAGMA application_id=-7;
    ANALYZE;";

#[test]
fn what_is_loaded_equals_what_was_dumped() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let image = image(&format!("PRAGMA encoding='{encoding}'; {ALL_KINDS}"));
        let (sql, dumped) = text(&image, None);
        assert!(dumped.skipped.contains(&"f".to_owned()), "{dumped:?}");
        let made = Connection::open_in_memory().unwrap();
        made.execute_batch(&sql).unwrap_or_else(|error| panic!("{error}\n{sql}"));
        let original = image.open(Access::ReadOnly).unwrap();
        let tables: Vec<String> = list_tables(&original).unwrap().into_iter().filter(|table| !dumped.skipped.contains(table)).collect();
        assert!(tables.iter().all(|table| list_tables(&made).unwrap().contains(table)), "{tables:?}");
        for table in tables {
            assert_eq!(table_hash(&made, &table).unwrap(), table_hash(&original, &table).unwrap(), "{encoding} {table}");
        }
        let number = |connection: &Connection, sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        for sql in [
            "PRAGMA user_version",
            "PRAGMA application_id",
            "SELECT max(rowid) FROM plain",
            "SELECT count(*) FROM sqlite_schema WHERE type IN ('view','trigger')",
        ] {
            assert_eq!(number(&made, sql), number(&original, sql), "{sql}");
        }
    }
}

#[test]
fn one_table_comes_with_its_indexes_triggers_and_counter() {
    let image = image(ALL_KINDS);
    let (sql, dumped) = text(&image, Some("PLAIN"));
    assert_eq!(dumped, Dumped { tables: vec![("plain".to_owned(), 2)], skipped: Vec::new() });
    assert!(sql.contains("CREATE INDEX i") && sql.contains("CREATE TRIGGER r") && !sql.contains("CREATE VIEW"), "{sql}");
    let made = Connection::open_in_memory().unwrap();
    let (sql, _) = text(&image, Some("O\"DD\n'🔑"));
    made.execute_batch(&sql).unwrap();
    let highest: i64 = made.query_row("SELECT seq FROM sqlite_sequence", [], |row| row.get(0)).unwrap();
    assert_eq!(highest, 25, "an id that was given out is not given out again");
    let mut out = Vec::new();
    assert!(matches!(dump_sql(&image, Some("v"), &mut out, &|| false), Err(DumpError::NoTable { .. })));
}

#[test]
fn one_table_is_loaded_beside_others_whose_counters_stay() {
    let image = image("CREATE TABLE T(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO T VALUES(40),(3); DELETE FROM t WHERE id = 40;");
    let (sql, _) = text(&image, Some("t"));
    let made = Connection::open_in_memory().unwrap();
    made.execute_batch("CREATE TABLE other(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO other VALUES(17); DELETE FROM other;")
        .unwrap();
    made.execute_batch(&sql).unwrap();
    let mut counters = made.prepare("SELECT name, seq FROM sqlite_sequence ORDER BY name").unwrap();
    let counters: Vec<(String, i64)> = counters.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(counters, [("T".to_owned(), 40), ("other".to_owned(), 17)]);
}

#[test]
fn text_behind_a_statement_is_refused() {
    let image = image(
        "CREATE TABLE t(a); INSERT INTO t VALUES(1); PRAGMA writable_schema=ON;
         UPDATE sqlite_schema SET sql = sql || '; ATTACH ''/tmp/x'' AS x';",
    );
    let mut out = Vec::new();
    assert!(matches!(dump_sql(&image, None, &mut out, &|| false), Err(DumpError::Statement { .. } | DumpError::Sqlite(_))));
}

#[test]
fn a_schema_without_rows_can_be_left_too() {
    let image = image("CREATE TABLE t(a); CREATE VIEW v AS SELECT 1;");
    assert!(matches!(dump_sql(&image, None, &mut Vec::new(), &|| true), Err(DumpError::Cancelled | DumpError::Sqlite(_))));
}

struct Lines(Vec<String>);

impl RowTaker for Lines {
    fn table(&mut self, name: &str, columns: &[String]) -> io::Result<()> {
        self.0.push(format!("{name}: {}", columns.join(" ")));
        Ok(())
    }

    fn row(&mut self, json: &str) -> io::Result<()> {
        self.0.push(json.to_owned());
        Ok(())
    }
}

#[test]
fn rows_have_what_is_stored_and_nothing_that_is_computed() {
    let image =
        image("CREATE TABLE t(a, v AS (a+1), s AS (a+2) STORED); INSERT INTO t VALUES(1),('x'),(x'00'); CREATE VIEW w AS SELECT 1;");
    let mut lines = Lines(Vec::new());
    let dumped = dump_rows(&image, None, &mut lines, &|| false).unwrap();
    assert_eq!(dumped.tables, [("t".to_owned(), 3)]);
    assert_eq!(lines.0, ["t: a s", r#"{"a":1,"s":3}"#, r#"{"a":"x","s":2}"#, r#"{"a":{"blob_hex":"00"},"s":2}"#]);
}

#[test]
fn defaults_that_no_row_stores_are_no_sign_of_damage() {
    let long = "x".repeat(3000);
    let image = image(&format!(
        "CREATE TABLE t(a); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500) INSERT INTO t SELECT i FROM n;
         ALTER TABLE t ADD COLUMN b DEFAULT '{long}';"
    ));
    let mut lines = Lines(Vec::new());
    assert_eq!(dump_rows(&image, Some("t"), &mut lines, &|| false).unwrap().tables, [("t".to_owned(), 500)]);
}

#[test]
fn more_than_a_file_can_hold_is_damage() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES('abc'),(x'00'),(1)").unwrap();
    let read = |rows_left, bytes_left, schema_bytes| {
        let mut reader = Reader { connection: &connection, cancelled: &|| false, rows_left, bytes_left, schema_bytes };
        reader.hand_out("t", &mut Lines(Vec::new()))
    };
    assert!(matches!(read(3, 4, 0), Ok(3)));
    assert!(matches!(read(3, 0, 3), Ok(3)), "what the schema may give to each row");
    assert!(matches!(read(2, 4, 0), Err(DumpError::Endless { .. })));
    assert!(matches!(read(3, 3, 0), Err(DumpError::Endless { .. })));
}
