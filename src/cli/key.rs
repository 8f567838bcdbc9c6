//! `airkeep key`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::bundle::KeyChange;
use airkeep::ops::{Rekey, SlotReport, bundles_of, list_slots, make_key_file};
use airkeep::{Environment, Failure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, NewKeyArguments, Purpose};
use super::record::RecordArguments;
use super::signers::SigningKeyArguments;
use super::{Report, json, screen};

/// Change the keys of bundles without touching their data
///
/// Only the key slots are written anew, into a new file that takes the old one's place at one moment. What was sealed, its seal digest and
/// its place in the set stay. Copies made before still open with the old keys.
#[derive(Args)]
#[command(after_long_help = after_help("airkeep key list airkeep-vault\n  airkeep key rotate airkeep-vault --key-file old.key --new-key-file new.key"))]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the key slots, without a key
    #[command(after_long_help = after_help("airkeep key list airkeep-vault"))]
    List(Targets),
    /// Add a slot for each new key
    #[command(after_long_help = after_help("airkeep key add airkeep-vault --passphrase-file pass --new-key-file safe.key"))]
    Add(Add),
    /// Remove slots by their ids; the last one cannot be removed
    #[command(after_long_help = after_help("airkeep key remove BUNDLE.akb 0a1b2c3d --key-file safe.key"))]
    Remove(Remove),
    /// Replace all slots by slots for the new keys
    #[command(after_long_help = after_help("airkeep key rotate airkeep-vault --passphrase-file old --new-passphrase-file new"))]
    Rotate(Add),
    /// Make a key file: 32 random bytes that others cannot read
    #[command(after_long_help = after_help("airkeep key new safe.key"))]
    New(New),
}

#[derive(Args)]
struct Targets {
    /// A bundle, or a folder with bundles
    #[arg(value_name = "BUNDLE|VAULT")]
    target: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Add {
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    new_keys: NewKeyArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

#[derive(Args)]
struct Remove {
    #[command(flatten)]
    targets: Targets,
    /// Ids of slots, as 'airkeep key list' shows them
    #[arg(required = true, value_name = "SLOT", value_parser = slot_id)]
    slots: Vec<String>,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

#[derive(Args)]
struct New {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// One bundle's result.
type Changed = (PathBuf, Result<SlotReport, Explained>);

impl Arguments {
    /// Whether one JSON object is wanted.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::List(targets) => targets.json,
            Action::Add(add) | Action::Rotate(add) => add.targets.json,
            Action::Remove(remove) => remove.targets.json,
            Action::New(new) => new.json,
        }
    }

    /// Whether the slots are what was asked for.
    pub fn is_list(&self) -> bool {
        matches!(self.action, Action::List(_))
    }

    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        match &self.action {
            Action::List(targets) => Some(&targets.target),
            Action::Add(add) | Action::Rotate(add) => Some(&add.targets.target),
            Action::Remove(remove) => Some(&remove.targets.target),
            Action::New(_) => None,
        }
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        match self.action {
            Action::List(targets) => list(&targets.target),
            Action::New(new) => make(&new.file),
            Action::Add(add) => {
                let (ring, new) = add.rings()?;
                change(
                    &add.targets.target,
                    &Rekey { ring: &ring, change: KeyChange::Add(&new), signing_key: add.signing.place() },
                    add.record.environment(),
                )
            }
            Action::Rotate(add) => {
                let (ring, new) = add.rings()?;
                change(
                    &add.targets.target,
                    &Rekey { ring: &ring, change: KeyChange::Rotate(&new), signing_key: add.signing.place() },
                    add.record.environment(),
                )
            }
            Action::Remove(remove) => {
                bundles_of(&remove.targets.target)?;
                let ring = remove.keys.ring(Purpose::Open)?;
                change(
                    &remove.targets.target,
                    &Rekey { ring: &ring, change: KeyChange::Remove(&remove.slots), signing_key: remove.signing.place() },
                    remove.record.environment(),
                )
            }
        }
    }
}

impl Add {
    /// The keys that open now, and those to come; a missing bundle is told before any is asked for.
    fn rings(&self) -> Result<(airkeep::Keyring, airkeep::Keyring), Explained> {
        bundles_of(&self.targets.target)?;
        Ok((self.keys.ring(Purpose::Open)?, self.new_keys.ring()?))
    }
}

fn list(target: &Path) -> Result<Report, Explained> {
    let result = |path: PathBuf| {
        let slots = list_slots(&path).map_err(Explained::from);
        (path, slots)
    };
    finish(bundles_of(target)?.into_iter().map(result).collect())
}

fn change(target: &Path, rekey: &Rekey<'_>, mut environment: Environment) -> Result<Report, Explained> {
    let bundles = bundles_of(target)?;
    let (count, mut changed) = (bundles.len(), Vec::new());
    for path in bundles {
        match rekey.run(&path, &mut environment) {
            Err(Failure::Cancelled) if !changed.is_empty() => return Ok(interrupted(&changed, count)),
            result => changed.push((path, result.map_err(Explained::from))),
        }
    }
    finish(changed).map(|report| report.with_shortfalls(environment))
}

/// Says which bundles have their new keys when the rest was interrupted.
fn interrupted(changed: &[Changed], count: usize) -> Report {
    let message = format!("interrupted after {} of {}, the others are as they were", changed.len(), screen::count(count as u64, "bundle"));
    let exit = Exit::of(&Failure::Cancelled);
    report(changed, Some(Explained::new(exit, message, Some("run it again to finish"))))
}

fn make(file: &Path) -> Result<Report, Explained> {
    make_key_file(file, &mut super::environment())?;
    let path = file.to_string_lossy();
    let json = json!({ "key_file": path });
    let text = format!("made      {} (32 random bytes; keep a copy in a safe place)\n", screen::escape(&path));
    Ok(Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings: Vec::new(), error: None })
}

/// A single bundle that failed is a plain failure, everything else a report with the worst for its end.
fn finish(mut changed: Vec<Changed>) -> Result<Report, Explained> {
    match changed.pop() {
        Some((_, Err(explained))) if changed.is_empty() => return Err(explained),
        last => changed.extend(last),
    }
    let failed = changed.iter().filter(|(_, result)| result.is_err()).count();
    let worst =
        changed.iter().filter_map(|(_, result)| result.as_ref().err()).map(|explained| explained.exit).max_by_key(|exit| exit.code());
    let error =
        worst.map(|exit| Explained::new(exit, format!("{failed} of {} failed", screen::count(changed.len() as u64, "bundle")), None));
    Ok(report(&changed, error))
}

fn report(changed: &[Changed], error: Option<Explained>) -> Report {
    let text = changed.iter().map(|(path, result)| text(path, result)).collect();
    let warnings = changed.iter().filter_map(|(_, result)| result.as_ref().ok()).flat_map(warnings).collect();
    let json = json!({ "bundles": changed.iter().map(|(path, result)| object(path, result)).collect::<Vec<Value>>() });
    Report { text, json: json.as_object().cloned().unwrap_or_default(), warnings, error }
}

fn warnings(report: &SlotReport) -> Vec<String> {
    let path = report.path.display();
    let unsigned = report.signer.filter(|_| report.is_changed && !report.is_signed);
    let unsigned =
        unsigned.map(|signer| format!("{path}: the private key of {} is not here: the new key slots are not signed", signer.fingerprint()));
    let old = report.newer_generation.map(|known| {
        format!("{path}: somebody put key slots of generation {} back, the vault has seen generation {known}", report.generation)
    });
    unsigned.into_iter().chain(old).collect()
}

fn text(path: &Path, result: &Result<SlotReport, Explained>) -> String {
    let path = screen::escape(&path.to_string_lossy());
    let report = match result {
        Ok(report) => report,
        Err(explained) => {
            return format!(
                "FAILED    {path}\n          {}\n",
                screen::escape(&[std::slice::from_ref(&explained.message), &explained.causes].concat().join(": "))
            );
        }
    };
    let mut text = format!("{}  {path} (generation {})\n", if report.is_changed { "changed " } else { "keys    " }, report.generation);
    for slot in &report.slots {
        let effort = slot.iterations.map_or(String::new(), |count| format!(", {} iterations", screen::grouped(count)));
        let _ = writeln!(text, "          {} {}{effort}", slot.id, slot.kind);
    }
    text
}

fn object(path: &Path, result: &Result<SlotReport, Explained>) -> Value {
    match result {
        Ok(report) => {
            json!({ "path": path.to_string_lossy(), "ok": true, "changed": report.is_changed, "generation": report.generation, "slots": report.slots,
                    "signer": report.signer.map(|signer| signer.fingerprint().to_string()), "slots_signed": report.is_signed, "newer_generation": report.newer_generation })
        }
        Err(explained) => json!({ "path": path.to_string_lossy(), "ok": false, "error": json::error(explained) }),
    }
}

fn slot_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 8 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { Ok(text.to_owned()) } else { Err("expected 8 lower-case hex digits".to_owned()) }
}

fn after_help(example: &str) -> String {
    let exits =
        [Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Locked, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug];
    format!(
        "Examples:\n  {example}\n\nWith several bundles all are tried, and a run that was stopped is finished by running it again.\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&exits)
    )
}
