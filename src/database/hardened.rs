//! Hardening: what every connection of this program gets before it reads a byte of somebody's database.
//!
//! The content is not trusted: a schema can hold expressions, views, triggers and huge values made to harm whoever reads it.
//! None of the settings below reads the schema, so they work on damaged files, too.

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;

use super::bounds::{longest_value, longest_value_for_slow_functions, longest_value_of_image};

/// Takes from a connection what a reader of foreign content does not need.
///
/// # Security
/// No trigger runs and no view is expanded, functions of the schema are the harmless ones, extensions cannot be loaded from SQL
/// (SQLite's default), cell sizes are checked, nothing is mapped into memory, nothing temporary reaches a disk in
/// plaintext, and no value may be much larger than the file that it comes from.
///
/// # Errors
/// Whatever SQLite says.
///
/// # Source
/// <https://sqlite.org/security.html>
pub fn harden(connection: &Connection, size_bytes: u64) -> rusqlite::Result<()> {
    for (setting, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false),
    ] {
        connection.set_db_config(setting, value)?;
    }
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest_value(size_bytes))?;
    connection.execute_batch("PRAGMA cell_size_check=ON; PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY;")
}

/// Takes from a connection to a database out of a bundle what a hostile schema could make expensive: long values and long patterns.
///
/// # Errors
/// Whatever SQLite says.
pub(super) fn harden_further(connection: &Connection, size_bytes: u64) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest_value_of_image(size_bytes))?;
    connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, LONGEST_PATTERN_BYTES).map(drop)
}

/// Shortens values further if expressions of the schema could call functions that take quadratic time.
///
/// The text of the schema is searched, where each function must stand by name; a column that is called so, or a comment, only
/// shortens what may be read.
///
/// # Errors
/// Whatever SQLite says.
pub(super) fn harden_for_expressions(connection: &Connection, size_bytes: u64) -> rusqlite::Result<()> {
    let words: Vec<String> = SLOW_FUNCTIONS.iter().map(|name| format!("sql LIKE '%{name}%'")).collect();
    let sql = format!("SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE {})", words.join(" OR "));
    if connection.query_row(&sql, [], |row| row.get(0))? {
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, longest_value_for_slow_functions(size_bytes))?;
    }
    Ok(())
}

/// Goes on where the schema is damaged, taking of it what can be read; only for files that nobody can write through this
/// connection.
pub(super) fn tolerate_damage(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    connection.execute_batch("PRAGMA writable_schema=ON")
}

/// Those whose time grows with the product of two lengths.
const SLOW_FUNCTIONS: [&str; 6] = ["instr", "replace", "like", "glob", "trim", "unhex"];
/// A GLOB for a UUID has some 400 bytes.
const LONGEST_PATTERN_BYTES: i32 = 2000;
