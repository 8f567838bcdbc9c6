//! Tests of the logical hash: one value computed by hand, and what must and must not change it.

use super::*;

fn database(sql: &str) -> Connection {
    let connection = Connection::open_in_memory().expect("memory");
    connection.execute_batch(sql).expect("schema");
    connection
}

fn hash(connection: &Connection) -> TableHash {
    table_hash(connection, "t").expect("hash")
}

#[test]
fn equals_what_the_layout_says() {
    let connection = database("CREATE TABLE t(a, b); INSERT INTO t VALUES(1, NULL), (1.5, 'ä'), (x'00ff', '');");
    let rows: [&[u8]; 3] = [
        b"\0\0\0\0\x02\x01\0\0\0\0\0\0\0\x01\0",
        b"\0\0\0\0\x02\x02\x3f\xf8\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\xc3\xa4",
        b"\0\0\0\0\x02\x04\0\0\0\0\0\0\0\x02\0\xff\x03\0\0\0\0\0\0\0\0",
    ];
    let mut expected = Sha256::new();
    expected.update(b"\x01\0\0\0\x02\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\0\x01b");
    for row in rows {
        let mut leaf = Sha256::new();
        leaf.update(row);
        expected.update(&leaf.finish().0);
    }
    expected.update(&3_u64.to_be_bytes());
    assert_eq!(hash(&connection), TableHash { columns: vec!["a".into(), "b".into()], rows: 3, sha256: expected.finish().0 });
}

#[test]
fn ignores_vacuum_page_size_and_text_encoding() {
    let rows = "CREATE TABLE t(a TEXT); INSERT INTO t VALUES('one'),('zwölf'),('🔑'); DELETE FROM t WHERE a='one';";
    let plain = database(rows);
    let before = hash(&plain);
    plain.execute_batch("VACUUM").expect("vacuum");
    assert_eq!(hash(&plain), before);
    let other = database(&format!("PRAGMA encoding='UTF-16be'; PRAGMA page_size=512; {rows}"));
    assert_eq!(hash(&other), before);
}

#[test]
fn tells_apart_what_looks_alike() {
    let values = ["1", "1.0", "'1'", "x'31'", "NULL", "''", "x''", "0", "0.0", "'10'", "-1"];
    let hashes: Vec<[u8; 32]> =
        values.iter().map(|value| hash(&database(&format!("CREATE TABLE t(a); INSERT INTO t VALUES({value})"))).sha256).collect();
    for (i, left) in hashes.iter().enumerate() {
        assert!(hashes.iter().skip(i + 1).all(|right| left != right), "{}", values[i]);
    }
}

#[test]
fn keeps_borders_of_values_and_names_of_columns() {
    let one = database("CREATE TABLE t(a, b); INSERT INTO t VALUES('ab', 'c')");
    let two = database("CREATE TABLE t(a, b); INSERT INTO t VALUES('a', 'bc')");
    let renamed = database("CREATE TABLE t(a, c); INSERT INTO t VALUES('ab', 'c')");
    assert_ne!(hash(&one).sha256, hash(&two).sha256);
    assert_ne!(hash(&one).sha256, hash(&renamed).sha256);
}

#[test]
fn has_the_prefix_property() {
    let connection = database("CREATE TABLE t(a); INSERT INTO t VALUES(1),(2),(3)");
    let early = hash(&connection);
    connection.execute_batch("INSERT INTO t VALUES(4),(5)").expect("insert");
    assert_eq!(table_hash_of_first(&connection, "t", 3).expect("hash"), early);
    assert_ne!(hash(&connection), early);
    connection.execute_batch("UPDATE t SET a=0 WHERE a=2").expect("update");
    assert_ne!(table_hash_of_first(&connection, "t", 3).expect("hash"), early);
}

#[test]
fn walks_the_table_even_if_an_index_covers_it() {
    let rows = "INSERT INTO t VALUES(3),(1),(2)";
    // The virtual columns make the index look cheaper to SQLite than the table.
    let table = "CREATE TABLE t(a, v TEXT AS (a+1), w TEXT AS (a+2), x TEXT AS (a+3))";
    let plain = database(&format!("{table}; {rows}"));
    let indexed = database(&format!("{table}; CREATE INDEX i ON t(a); {rows}"));
    assert_eq!(hash(&plain), hash(&indexed));
}

#[test]
fn takes_stored_generated_columns_and_leaves_virtual_ones() {
    let connection = database("CREATE TABLE t(a, v AS (a+1), s AS (a+2) STORED); INSERT INTO t VALUES(1)");
    assert_eq!(hash(&connection).columns, ["a", "s"]);
}

#[test]
fn orders_tables_without_rowid_by_their_key() {
    let one = database("CREATE TABLE t(a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES(2,'x'),(1,'y')");
    let two = database("CREATE TABLE t(a PRIMARY KEY, b) WITHOUT ROWID; INSERT INTO t VALUES(1,'y'),(2,'x')");
    assert_eq!(hash(&one), hash(&two));
}

#[test]
fn reads_odd_names_and_columns_called_rowid() {
    let connection = database("CREATE TABLE \"o\"\"dd 🔑\"(\"ro\"\"w\", rowid, oid, _rowid_); INSERT INTO \"o\"\"dd 🔑\" VALUES(1,2,3,4)");
    assert_eq!(table_hash(&connection, "o\"dd 🔑").expect("hash").columns, ["ro\"w", "rowid", "oid", "_rowid_"]);
}

#[test]
fn refuses_views_virtual_tables_and_unknown_names() {
    let connection = database("CREATE TABLE t(a); CREATE VIEW v AS SELECT * FROM t; CREATE VIRTUAL TABLE f USING fts5(x)");
    for name in ["v", "f", "nowhere", "sqlite_schema", ""] {
        assert!(matches!(table_hash(&connection, name), Err(DatabaseError::NotATable { .. })), "{name}");
    }
}

#[test]
fn hashes_text_that_is_no_utf8() {
    let connection = database("CREATE TABLE t(a); INSERT INTO t VALUES(CAST(x'ff80' AS TEXT))");
    assert_ne!(hash(&connection).sha256, hash(&database("CREATE TABLE t(a); INSERT INTO t VALUES(x'ff80')")).sha256);
}
