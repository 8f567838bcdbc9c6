//! Proves a bundle, without a key or with one: `cargo run --example verify -- BUNDLE [KEYFILE]`.

use std::error::Error;
use std::path::Path;

use airkeep::{Environment, KeyFileKey, Keyring, Verification, VerifyRequest};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let bundle = arguments.first().ok_or("expected BUNDLE [KEYFILE]")?;
    let mut ring = Keyring::default();
    if let Some(key_file) = arguments.get(1) {
        ring.key_files.push(KeyFileKey::parse(&std::fs::read(key_file)?).ok_or("a key file has 32 bytes")?);
    }

    let result = Verification::run(Path::new(bundle), &VerifyRequest::default(), &ring, &Environment::system())?;
    for finding in &result.findings {
        println!("{} {} {:?}", finding.level, finding.damage, finding.entries);
    }
    for database in &result.databases {
        println!("{}: {}, proven to {}", database.label, database.verdict, database.proven());
    }
    match result.is_sound() {
        true => println!("sound at {}", result.proven()),
        false => return Err("the bundle is damaged".into()),
    }
    Ok(())
}
