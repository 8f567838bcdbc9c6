//! Who is trusted to have sealed a bundle, and where the key is that signs: the flags of several commands.

use std::path::{Path, PathBuf};

use airkeep::bundle::SignerChange;
use airkeep::ops::SigningKeyPlace;
use airkeep::{Fingerprint, TrustedSigners};
use clap::Args;

use super::exit::Exit;
use super::explain::Explained;

/// The flags that pin signers. Nothing on the medium itself is ever trusted.
#[derive(Args)]
#[command(next_help_heading = "Signers")]
pub struct SignerArguments {
    /// Insist on this signer, by the fingerprint that 'airkeep init' printed (SHA256:…)
    #[arg(long, value_name = "FINGERPRINT")]
    signer: Vec<Fingerprint>,
    /// Insist on a signer of this file, in OpenSSH's format; the principal is the name of the set
    #[arg(long, value_name = "FILE")]
    allowed_signers: Vec<PathBuf>,
    /// Follow a signer given by --signer to the keys that took its place: the vault's file 'signer-changes'
    #[arg(long, value_name = "FILE", requires = "signer")]
    signer_changes: Vec<PathBuf>,
}

impl SignerArguments {
    /// Collects who is pinned.
    pub fn trusted(&self) -> Result<TrustedSigners, Explained> {
        let mut trusted = TrustedSigners::default();
        for fingerprint in &self.signer {
            trusted.pin(*fingerprint);
        }
        for path in &self.allowed_signers {
            trusted.allow(&read(path)?).map_err(|error| refused(path, Exit::Usage, &error))?;
        }
        for path in &self.signer_changes {
            let changes = SignerChange::parse_all(&read(path)?).map_err(|error| refused(path, Exit::Integrity, &error))?;
            trusted.follow(&changes);
        }
        Ok(trusted)
    }
}

/// The flag that names the private key of a vault.
#[derive(Args)]
#[command(next_help_heading = "Signing")]
pub struct SigningKeyArguments {
    /// The private key that signs (default: named by the set's id in $XDG_CONFIG_HOME/airkeep/keys, for root in /etc/airkeep/keys)
    #[arg(long, value_name = "FILE")]
    signing_key: Option<PathBuf>,
}

impl SigningKeyArguments {
    /// Where to look; `None` if this account has no home.
    pub fn place(&self) -> Option<SigningKeyPlace> {
        if let Some(file) = &self.signing_key {
            return Some(SigningKeyPlace::File(file.clone()));
        }
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let config = match (folder("XDG_CONFIG_HOME"), rustix::process::geteuid().is_root()) {
            (Some(config), _) => config,
            (None, true) => PathBuf::from("/etc"),
            (None, false) => folder("HOME")?.join(".config"),
        };
        Some(SigningKeyPlace::Folder(config.join("airkeep/keys")))
    }

    /// As [`SigningKeyArguments::place`], for commands that cannot do without.
    pub fn required_place(&self) -> Result<SigningKeyPlace, Explained> {
        let none =
            || Explained::new(Exit::Usage, "this account has no home folder for the signing key", Some("name a file: --signing-key FILE"));
        self.place().ok_or_else(none)
    }
}

/// Where signing keys lie unless a flag or the configuration says otherwise.
pub fn default_place() -> Option<SigningKeyPlace> {
    SigningKeyArguments { signing_key: None }.place()
}

fn read(path: &Path) -> Result<String, Explained> {
    let failed = |error: std::io::Error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Usage };
        refused(path, exit, &error)
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, LEN_MAX), &mut text).map_err(failed)?;
    Ok(text)
}

fn refused(path: &Path, exit: Exit, error: &dyn std::error::Error) -> Explained {
    let message = format!("cannot use '{}'", path.display());
    Explained { exit, message, causes: vec![error.to_string()], hint: None }
}

/// More than any list of signers has.
const LEN_MAX: u64 = 1 << 20;
