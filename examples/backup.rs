//! Seals a database into a bundle: `cargo run --example backup -- DATABASE VAULT KEYFILE`.

use std::error::Error;

use airkeep::{Backup, Environment, KeyFileKey, Keyring, Label, SourceSpec};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [database, vault, key_file] = arguments.as_slice() else { return Err("expected DATABASE VAULT KEYFILE".into()) };

    let key = KeyFileKey::parse(&std::fs::read(key_file)?).ok_or("a key file has 32 bytes")?;
    let ring = Keyring { key_files: vec![key], ..Keyring::default() };
    let source = SourceSpec { label: Label::parse("main")?, path: database.into() };

    let report = Backup::new(vec![source], vault).run(&ring, &mut Environment::system())?;
    for source in &report.manifest.sources {
        let rows: u64 = source.tables.iter().filter_map(|table| table.rows).sum();
        println!("{}: {} tables, {rows} rows, check: {}", source.label, source.tables.len(), source.check.verdict);
    }
    println!("{}", report.path.display());
    Ok(())
}
