//! Gets all databases out of a bundle: `cargo run --example restore -- BUNDLE FOLDER KEYFILE`.

use std::error::Error;

use airkeep::{Environment, KeyFileKey, Keyring, Restore};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, folder, key_file] = arguments.as_slice() else { return Err("expected BUNDLE FOLDER KEYFILE".into()) };

    let key = KeyFileKey::parse(&std::fs::read(key_file)?).ok_or("a key file has 32 bytes")?;
    let ring = Keyring { key_files: vec![key], ..Keyring::default() };

    let restore = Restore::new(bundle, folder);
    for restored in restore.run(&ring, &mut Environment::system())?.restored {
        println!("{} as of {}", restored.path.display(), restored.source.captured_at);
    }
    Ok(())
}
