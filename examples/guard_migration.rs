//! A program that guards its own migration: `cargo run --example guard_migration -- DATABASE VAULT KEYFILE`. The state before is sealed; if the
//! migration fails, the database is put back, and rows that it wrote into append-only tables are kept.

use std::error::Error;

use airkeep::{Backup, Environment, Guard, KeyFileKey, Keyring, Label, SourceSpec};
use rusqlite::Connection;

const TO_VERSION_2: &str = "ALTER TABLE task ADD COLUMN owner TEXT; UPDATE task SET owner = lower(title); PRAGMA user_version = 2";

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, vault, key_file] = arguments.as_slice() else { return Err("expected DATABASE VAULT KEYFILE".into()) };
    let key = KeyFileKey::parse(&std::fs::read(key_file)?).ok_or("a key file has 32 bytes")?;
    let ring = Keyring { key_files: vec![key], ..Keyring::default() };

    let source = SourceSpec { label: Label::parse("main")?, path: database.into() };
    let guard = Guard::new(Backup::new(vec![source], vault), "to version 2");
    // The program's own connections are closed while this runs: it opens one for the migration, and none other is in the way of putting back.
    let report = guard.run(ring, &mut Environment::system(), || migrate(database).map_err(|error| error.to_string()))?;

    println!("kept {}", report.backup.path.display());
    let is_put_back = report.is_put_back();
    match report.work {
        Ok(()) => println!("migrated"),
        Err(why) if is_put_back => println!("not migrated, everything is as before: {why}"),
        Err(why) => return Err(format!("not migrated, and not put back: {why}").into()),
    }
    Ok(())
}

fn migrate(database: &str) -> rusqlite::Result<()> {
    let connection = Connection::open(database)?;
    connection.execute_batch(TO_VERSION_2)?;
    // What the new release insists on.
    connection.query_row("SELECT owner FROM task WHERE owner IS NOT NULL", [], |_| Ok(()))
}
