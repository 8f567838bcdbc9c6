//! `airkeep import`.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::bundle::{Imported, Marking, Source};
use airkeep::ops::{Import, OldBackup};
use airkeep::{BackupReport, Compression};
use clap::Args;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, OldPassphraseArguments, Purpose};
use super::record::RecordArguments;
use super::signers::SigningKeyArguments;
use super::{Report, backup, selection, settings};

/// Adopt backups that other programs made, in a bundle of the kind 'imported'
///
/// Takes SQLite files (with a -wal or -journal beside them), the same packed by gzip, tar archives of them packed by gzip, and the .enc files of
/// ICDEV's backup tool. Where there is a FILE.sha256 beside FILE the sums must agree; for X.enc also X.sha256, which that tool makes of the
/// plaintext. All is unpacked in encrypted scratch and examined as a live database is; what is not whole is refused.
///
/// Nobody's key vouches for an old backup, and the manifest says so: 'airkeep info' shows for each its form, its SHA-256, what its bytes
/// were compared with, and when the file was last changed. 'latest' never means an imported bundle.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// An old backup; labels are made from its name, or from the names in the archive
    #[arg(required_unless_present = "label", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// An old backup of one database, with the label that it gets
    #[arg(long = "as", id = "label", value_name = "LABEL=FILE")]
    labelled: Vec<OsString>,
    /// The folder of bundles; made if it is missing
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// What one file may unpack to, in bytes or with K, M, G, T (default: 100 times its size, and always 1G)
    #[arg(long, value_name = "SIZE", value_parser = airkeep::config::parse_size)]
    max_size: Option<u64>,
    /// How frames are compressed: gzip[:1-9], zstd[:1-19] or none; stock gzip opens the first, the zstd program the second
    #[arg(long, value_name = "CODEC", default_value_t = Compression::DEFAULT)]
    compression: Compression,
    /// How the bundle must be handled, public in it: a CUI banner as CUI//SP-CTI//NOFORN. Its form is checked, and nothing else
    #[arg(long, value_name = "TEXT", value_parser = Marking::parse)]
    marking: Option<Marking>,
    /// A word to find the bundle by, kept in the encrypted manifest
    #[arg(long, value_name = "TEXT")]
    tag: Option<String>,
    /// A sentence to remember it by, kept in the encrypted manifest
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Where encrypted scratch goes (default: the vault)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Seal a corrupt database all the same; the manifest says that it is
    #[arg(long)]
    accept_corrupt: bool,
    /// The keys were changed on purpose: do not insist that they open the vault's newest bundle
    #[arg(long)]
    new_keys: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    old: OldPassphraseArguments,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Where it works: a vault.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let mut files: Vec<OldBackup> = self.files.into_iter().map(|path| OldBackup { path, label: None }).collect();
        for text in &self.labelled {
            files.push(labelled(text)?);
        }
        let mut import = Import::new(files, self.vault);
        import.max_size_bytes = self.max_size;
        import.backup.set = settings::config().and_then(|config| config.set.clone());
        import.backup.compression = self.compression;
        import.backup.marking = self.marking;
        import.backup.tag = self.tag;
        import.backup.note = self.note;
        import.backup.scratch = self.scratch;
        import.backup.accept_corrupt = self.accept_corrupt;
        import.backup.new_keys = self.new_keys;
        import.backup.signing_key = self.signing.place();
        import.check_files()?;
        let old = self.old.passphrases()?;
        let ring = self.keys.ring(Purpose::Seal)?;
        let mut environment = self.record.environment();
        let report = import.run(&ring, &old, &mut environment)?;
        let origins = origins(&report);
        let mut report = backup::render(report, self.compression);
        report.text.insert_str(0, &origins);
        Ok(report.with_shortfalls(environment))
    }
}

/// One line for each database: where it came from, and what that proves.
fn origins(report: &BackupReport) -> String {
    let mut text = String::new();
    for Source { label, imported, .. } in &report.manifest.sources {
        if let Some(imported) = imported {
            let _ = writeln!(text, "adopted   {label}: {}", super::screen::escape(&origin(imported)));
        }
    }
    text
}

/// Where a source came from, and what that proves.
pub fn origin(imported: &Imported) -> String {
    let form = match imported.form.as_str() {
        "sqlite" => "an SQLite file",
        "gzip" => "packed by gzip",
        "tar-gzip" => "a tar archive packed by gzip",
        "icdev-enc" => "encrypted by ICDEV's tool",
        other => other,
    };
    let integrity = match imported.integrity.as_str() {
        "sha256-sidecar" => "as the .sha256 beside it says",
        "gzip-crc" => "gzip's CRC is right, no .sha256 was beside it",
        "none" => "no sum to compare it with",
        other => other,
    };
    let entry = imported.entry.as_ref().map_or(String::new(), |entry| format!("'{entry}' in "));
    let authenticated = if imported.authenticated { "authenticated" } else { "not authenticated" };
    format!("{entry}'{}', {form}, of {}; {integrity}; {authenticated}", imported.file, imported.modified_at)
}

fn labelled(text: &OsString) -> Result<OldBackup, Explained> {
    let has_label = text.as_encoded_bytes().contains(&b'=');
    let found = selection::source(text)?;
    match has_label && found.path.as_os_str() != text {
        true => Ok(OldBackup { path: found.path, label: Some(found.label) }),
        false => {
            let message = format!("no label stands in front of '{}'", text.display());
            Err(Explained::new(Exit::Usage, message, Some("write --as LABEL=FILE; labels are NAME or tenants/NAME")))
        }
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep import old/app.db.gz\n  airkeep import --as main=app-2024.db --as audit=audit.db.gz --key-file backup.key\n  \
         airkeep import memory_20261120T215504Z.db.bak.enc --old-passphrase-file old.pass\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&Exit::ALL)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_to_be_there() {
        assert_eq!(labelled(&"main=x.db.gz".into()).unwrap().label.unwrap().as_str(), "main");
        assert!(["x.db.gz", "./a=x.db", "=x.db", "Main=x.db"].iter().all(|text| labelled(&text.into()).is_err()));
    }
}
