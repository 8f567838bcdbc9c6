//! SQL text: tables, their rows, then what looks at rows, so that nothing runs and nothing is missing while they are inserted.
//!
//! Literals are exact, in every release: SQLite reads decimal numbers with a small error, and another one from release to release. The shortest
//! decimal is written where such an error would not matter, else one with 19 digits; at the ends of the range, and where this release
//! misreads those, a product that every release computes exactly. Text with NUL, or with a carriage return, which the shell drops
//! from the end of a line, is written in hexadecimal, in the encoding that the new database will have.

use std::io::Write;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::statement::one_statement;
use super::{DumpError, Dumped, Reader, hidden_rowid, selected, virtual_tables};
use crate::crypto::encode_hex;
use crate::database::bounds::Cancelled;
use crate::database::gap::words::has_autoincrement;
use crate::database::sql::quoted;

/// An object of the schema.
struct Object {
    kind: String,
    name: String,
    sql: Option<String>,
    is_stored: bool,
}

/// Writes the text.
pub(super) fn write(reader: &mut Reader<'_>, only: Option<&str>, out: &mut dyn Write) -> Result<Dumped, DumpError> {
    let connection = reader.connection;
    let objects = objects(connection, only)?;
    let mut dumped = Dumped { skipped: virtual_tables(connection, only)?, ..Dumped::default() };
    let mut text = Text { out, encoding: Encoding::of(connection)?, probe: connection.prepare("SELECT CAST(?1 AS REAL)")? };
    text.begin()?;
    let tables: Vec<&Object> = objects.iter().filter(|object| object.kind == "table" && object.is_stored).collect();
    let (internal, own): (Vec<&Object>, Vec<&Object>) = tables.into_iter().partition(|table| table.name.starts_with("sqlite_"));
    for table in &own {
        text.create(table, reader.cancelled)?;
    }
    for table in &own {
        let count = text.insert(reader, &table.name, None)?;
        dumped.tables.push((table.name.clone(), count));
    }
    let has_counter = own.iter().any(|table| table.sql.as_deref().is_some_and(has_autoincrement));
    for table in internal {
        if !text.begin_internal(&table.name, has_counter)? {
            dumped.skipped.push(table.name.clone());
            continue;
        }
        let count = text.insert(reader, &table.name, None)?;
        dumped.tables.push((table.name.clone(), count));
    }
    if let (Some(only), true) = (only, has_counter) {
        text.forget_counter(only)?;
        text.insert(reader, "sqlite_sequence", Some(only))?;
    }
    for object in objects.iter().filter(|object| object.kind != "table" && object.sql.is_some()) {
        text.create(object, reader.cancelled)?;
    }
    if only.is_none() {
        text.versions(connection)?;
    }
    text.put("COMMIT;\n")?;
    text.out.flush().map_err(DumpError::Write)?;
    Ok(dumped)
}

/// The objects in the order in which they were made, triggers last.
fn objects(connection: &Connection, only: Option<&str>) -> rusqlite::Result<Vec<Object>> {
    let sql = "SELECT type, name, sql, coalesce(rootpage, 0) > 0 FROM main.sqlite_schema
               WHERE ?1 IS NULL OR tbl_name = ?1 COLLATE NOCASE ORDER BY type = 'trigger', rowid";
    let mut statement = connection.prepare(sql)?;
    let read = |row: &rusqlite::Row<'_>| Ok(Object { kind: row.get(0)?, name: row.get(1)?, sql: row.get(2)?, is_stored: row.get(3)? });
    statement.query_map([only], read)?.collect()
}

/// The columns that are given values; a value of the others is computed.
fn given_columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA main.table_xinfo({})", quoted(table)))?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>("name")?, row.get::<_, i64>("hidden")?)))?;
    let columns: Vec<(String, i64)> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(columns.into_iter().filter(|(_, hidden)| *hidden == 0).map(|(name, _)| name).collect())
}

struct Text<'o, 'c> {
    out: &'o mut dyn Write,
    encoding: Encoding,
    /// What SQLite makes of a decimal number.
    probe: Statement<'c>,
}

impl Text<'_, '_> {
    fn put(&mut self, text: &str) -> Result<(), DumpError> {
        self.out.write_all(text.as_bytes()).map_err(DumpError::Write)
    }

    fn begin(&mut self) -> Result<(), DumpError> {
        self.put("PRAGMA foreign_keys=OFF;\nPRAGMA ignore_check_constraints=ON;\n")?;
        self.put(&format!("PRAGMA encoding='{}';\nBEGIN TRANSACTION;\n", self.encoding.name()))
    }

    /// Makes one of SQLite's own tables by the statement that has it made, empty; false if its rows follow from the rest.
    fn begin_internal(&mut self, table: &str, has_counter: bool) -> Result<bool, DumpError> {
        match table {
            "sqlite_sequence" => {
                if !has_counter {
                    self.put(MAKE_SEQUENCE)?;
                }
                self.put("DELETE FROM sqlite_sequence;\n")?;
            }
            // The statement makes the table, and finds nothing to put into it.
            "sqlite_stat1" => self.put("ANALYZE sqlite_schema;\nDELETE FROM sqlite_stat1;\n")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Forgets what inserting the rows of this table made of its counter, and no other: it may be loaded beside tables that have their own.
    fn forget_counter(&mut self, table: &str) -> Result<(), DumpError> {
        let mut line = "DELETE FROM sqlite_sequence WHERE name = ".to_owned();
        self.push_literal(&mut line, ValueRef::Text(table.as_bytes()))?;
        self.put(&(line + ";\n"))
    }

    fn versions(&mut self, connection: &Connection) -> Result<(), DumpError> {
        for pragma in ["application_id", "user_version"] {
            let value: i64 = connection.query_row(&format!("PRAGMA main.{pragma}"), [], |row| row.get(0))?;
            self.put(&format!("PRAGMA {pragma}={value};\n"))?;
        }
        Ok(())
    }

    fn create(&mut self, object: &Object, cancelled: Cancelled<'_>) -> Result<(), DumpError> {
        let sql = object.sql.as_deref().and_then(|sql| one_statement(sql, &object.kind, cancelled));
        if cancelled() {
            return Err(DumpError::Cancelled);
        }
        let refused = || DumpError::Statement { kind: object.kind.clone(), name: object.name.clone() };
        self.put(&format!("{};\n", sql.ok_or_else(refused)?))
    }

    /// Writes the rows of a table; of `sqlite_sequence` perhaps only those that are about one.
    fn insert(&mut self, reader: &mut Reader<'_>, table: &str, about: Option<&str>) -> Result<u64, DumpError> {
        let columns = given_columns(reader.connection, table)?;
        let rowid = if table.starts_with("sqlite_") { None } else { hidden_rowid(reader.connection, table)? };
        let names: Vec<String> = rowid.map(str::to_owned).into_iter().chain((!columns.is_empty()).then(|| selected(&columns))).collect();
        let names = names.join(",");
        let width = columns.len() + usize::from(rowid.is_some());
        let begin = format!("INSERT INTO {}({names}) VALUES(", quoted(table));
        let mut line = String::new();
        reader.each_row(table, &names, width, &mut |row| {
            if let (Some(about), ValueRef::Text(name)) = (about, row.get_ref(0)?)
                && !name.eq_ignore_ascii_case(about.as_bytes())
            {
                return Ok(());
            }
            line.clear();
            line.push_str(&begin);
            for index in 0..width {
                if index > 0 {
                    line.push(',');
                }
                self.push_literal(&mut line, row.get_ref(index)?)?;
            }
            line.push_str(");\n");
            self.put(&line)
        })
    }

    fn push_literal(&mut self, line: &mut String, value: ValueRef<'_>) -> rusqlite::Result<()> {
        match value {
            ValueRef::Null => line.push_str("NULL"),
            ValueRef::Integer(number) => line.push_str(&number.to_string()),
            ValueRef::Real(number) => line.push_str(&self.real(number)?),
            ValueRef::Blob(bytes) => line.push_str(&format!("x'{}'", encode_hex(bytes))),
            ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) if !text.contains(['\0', '\r']) => line.push_str(&format!("'{}'", text.replace('\'', "''"))),
                Ok(text) => line.push_str(&format!("CAST(x'{}' AS TEXT)", encode_hex(&self.encoding.bytes(text)))),
                Err(_) => line.push_str(&format!("CAST(x'{}' AS TEXT)", encode_hex(bytes))),
            },
        }
        Ok(())
    }

    fn real(&mut self, number: f64) -> rusqlite::Result<String> {
        if number.is_infinite() {
            return Ok(if number > 0.0 { "9e999" } else { "-9e999" }.to_owned());
        }
        let shortest = format!("{number:?}");
        if number == 0.0 {
            return Ok(shortest);
        }
        if !EASY.contains(&number.abs()) {
            return Ok(product(number));
        }
        let decimal = if is_clear(number) { shortest } else { format!("{number:.18e}") };
        let read: f64 = self.probe.query_row([decimal.as_str()], |row| row.get(0))?;
        Ok(if read.to_bits() == number.to_bits() { decimal } else { product(number) })
    }
}

/// Whether the shortest decimal is so far from the middle between two doubles that a reader with a small error takes the right one.
fn is_clear(number: f64) -> bool {
    let shortest = format!("{:e}", number.abs());
    let Some((digits, exponent)) = shortest.split_once('e') else { return false };
    let (Ok(digits), Ok(exponent)) = (format!("{:0<19}", digits.replace('.', "")).parse::<u64>(), exponent.parse::<i32>()) else {
        return false;
    };
    let is_same = |digits: u64| format!("{digits}e{}", exponent - 18).parse() == Ok(number.abs());
    is_same(digits - READER_ERROR) && is_same(digits + READER_ERROR)
}

/// A finite number as its 53 bits and powers of two: every step of the product is exact, in the last one bits leave that are zero.
fn product(number: f64) -> String {
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let (mut mantissa, mut power) = match exponent {
        0 => (fraction, -1074_i64),
        _ => (fraction | 1 << 52, exponent.cast_signed() - 1075),
    };
    while mantissa & 1 == 0 && mantissa != 0 {
        (mantissa, power) = (mantissa >> 1, power + 1);
    }
    let mut text = format!("{}{mantissa}.0", if number.is_sign_negative() { "-" } else { "" });
    while power != 0 {
        let step = power.clamp(-40, 40);
        text.push_str(&format!("{}{}.0", if step < 0 { "/" } else { "*" }, 1_u64 << step.unsigned_abs()));
        power -= step;
    }
    format!("({text})")
}

/// How the database stores text.
#[derive(Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

impl Encoding {
    fn of(connection: &Connection) -> rusqlite::Result<Encoding> {
        let name: String = connection.query_row("PRAGMA main.encoding", [], |row| row.get(0))?;
        Ok(match name.as_str() {
            "UTF-16le" => Encoding::Utf16Le,
            "UTF-16be" => Encoding::Utf16Be,
            _ => Encoding::Utf8,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Encoding::Utf8 => "UTF-8",
            Encoding::Utf16Le => "UTF-16le",
            Encoding::Utf16Be => "UTF-16be",
        }
    }

    fn bytes(self, text: &str) -> Vec<u8> {
        match self {
            Encoding::Utf8 => text.as_bytes().to_vec(),
            Encoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        }
    }
}

/// In the 19th digit: some twenty roundings to 64 bits, as old releases do them.
const READER_ERROR: u64 = 10;
/// Beyond, old releases round to denormal or infinite numbers on the way.
const EASY: std::ops::RangeInclusive<f64> = 1e-280..=1e280;
/// A table with a counter was there once, and SQLite keeps the list of counters.
const MAKE_SEQUENCE: &str = "CREATE TABLE \"airkeep counter\"(id INTEGER PRIMARY KEY AUTOINCREMENT);\nDROP TABLE \"airkeep counter\";\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_same_double_everywhere() {
        let connection = Connection::open_in_memory().unwrap();
        for number in [5e-324, -2.5e-310, f64::MIN_POSITIVE, f64::MAX, -f64::MAX, 0.1, 1.0 / 3.0, 1e23, 6.02e23, 9e15] {
            let read: f64 = connection.query_row(&format!("SELECT {}", product(number)), [], |row| row.get(0)).unwrap();
            assert_eq!(read.to_bits(), number.to_bits(), "{number:?}: {}", product(number));
        }
    }
}
