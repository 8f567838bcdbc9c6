//! `airkeep init`.

use std::path::{Path, PathBuf};

use airkeep::Init;
use airkeep::bundle::SetName;
use clap::Args;

use super::exit::{self, Exit};
use super::explain::Explained;
use super::record::RecordArguments;
use super::signer::{lines, object};
use super::signers::SigningKeyArguments;
use super::{Report, screen};

/// Make a vault whose bundles are signed
///
/// Makes an Ed25519 key outside the vault; from then on every bundle of the vault is signed with it, and can be checked by anybody with
/// 'airkeep verify --signer' or ssh-keygen. The key's fingerprint is printed: write it down, it is what others compare with.
///
/// A vault that 'airkeep backup' made gets a signing key in the same way.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// The folder of bundles; made if it is missing
    #[arg(long, value_name = "DIR", env = "AIRKEEP_VAULT", default_value = "airkeep-vault")]
    vault: PathBuf,
    /// The name of the set, public in every bundle and its file name (default: 'set-' and 8 hex digits)
    #[arg(long, value_name = "SET", value_parser = SetName::parse)]
    name: Option<SetName>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        Some(&self.vault)
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let init = Init { vault: self.vault, name: self.name, place: self.signing.required_place()? };
        let mut environment = self.record.environment();
        let report = init.run(&mut environment)?;
        let made = if report.is_new_vault { "made    " } else { "vault   " };
        let advice = "          write the fingerprint down: whoever verifies must have it from you, not from the medium\n          \
                      keep a copy of the key file in a safe place; it is not in the vault\n";
        let text = format!("{made}  {}\n{}{advice}", screen::escape(&report.vault.to_string_lossy()), lines(&report));
        Ok(Report { text, json: object(&report), warnings: Vec::new(), error: None }.with_shortfalls(environment))
    }
}

fn after_help() -> String {
    let exits = [Exit::Success, Exit::Failed, Exit::Usage, Exit::Locked, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!("Examples:\n  airkeep init\n  airkeep init --vault /srv/vault --name plant-7\n\n{}", exit::table(&exits))
}
