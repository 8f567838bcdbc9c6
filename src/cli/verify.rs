//! `airkeep verify`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use airkeep::bundle::SignatureVerdict;
use airkeep::ops::{Reference, SealSignature, bundles_of};
use airkeep::{Failure, Keyring, Level, Verification, VerifyRequest, inspect};
use clap::Args;
use serde_json::{Value, json};

use super::exit::{self, Exit};
use super::explain::Explained;
use super::keys::{self, KeyArguments, Purpose};
use super::record::RecordArguments;
use super::signers::{SignerArguments, SigningKeyArguments};
use super::{Report, databases, explain, json, reference, screen};

/// Prove bundles: without the key that every byte is as sealed, with it that the data is authentic and complete
///
/// Level 0 needs no key: the structure is exact and every member matches its recorded SHA-256. Level 1 also insists on a
/// signature by a signer given with --signer or --allowed-signers, as every level does where one is given. Level 2 checks the MACs of
/// key slots, index and every frame. Level 3 also decrypts and decompresses everything and compares it with the manifest. Level 4 also
/// opens each database in encrypted scratch: SQLite's full check, foreign keys, and schema, tables, row counts and logical
/// hashes against the manifest, within limits of time and memory.
///
/// Without --level the highest level is taken that the given keys and the space for scratch reach. Damage does not stop the run: what is unreadable or
/// changed is listed with the frames and databases that it hurts, and the rest is still examined.
#[derive(Args)]
#[command(after_long_help = after_help())]
pub struct Arguments {
    /// Bundles, or folders with bundles; 'latest' or a number, where there is no such file, is a bundle in the vault
    #[arg(required = true, value_name = "BUNDLE|VAULT")]
    targets: Vec<PathBuf>,
    /// The vault in which 'latest' and numbers are looked up (default: ./airkeep-vault)
    #[arg(long, value_name = "DIR")]
    vault: Option<PathBuf>,
    /// How much to prove: 0 to 4 (default: the highest that keys and scratch reach)
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: Option<Level>,
    /// Where encrypted scratch goes; level 4 needs room for the largest database (default: $TMPDIR, else /var/tmp)
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    signers: SignerArguments,
    #[command(flatten)]
    signing: SigningKeyArguments,
    #[command(flatten)]
    record: RecordArguments,
}

/// One bundle's result: examined, or not even that.
type Judged = (PathBuf, Result<Verification, Explained>);

impl Arguments {
    /// Where it works: a vault, or a bundle in one.
    pub fn place(&self) -> Option<&Path> {
        self.targets.first().map(|first| place_of(first, self.vault.as_deref()))
    }

    /// Runs the command.
    pub fn run(self) -> Result<Report, Explained> {
        let targets: Vec<Result<PathBuf, Judged>> = self.targets.iter().flat_map(|target| expand(target, self.vault.as_deref())).collect();
        // Nobody should type a passphrase to learn that a single file is no bundle.
        if let [Ok(path)] = targets.as_slice() {
            inspect(path, &Keyring::default()).map_err(refused)?;
        }
        if targets.iter().all(Result::is_err) {
            return finish(targets.into_iter().filter_map(Result::err).collect());
        }
        let signers = self.signers.trusted()?;
        let ring = match self.level {
            Some(level) if !level.needs_key() => Keyring::default(),
            Some(_) => self.keys.ring(Purpose::Open)?,
            None => self.keys.ring(Purpose::OpenIfGiven)?,
        };
        let mut environment = self.record.environment();
        let place = self.signing.place();
        let scratch = self.scratch.or_else(|| std::env::var_os("TMPDIR").filter(|folder| !folder.is_empty()).map(PathBuf::from));
        let request = VerifyRequest { level: self.level, signers, scratch };
        let mut judge = |path: PathBuf| match Verification::run(&path, &request, &ring, &environment) {
            Err(cancelled @ Failure::Cancelled) => Err(Explained::from(cancelled)),
            Err(failure) => Ok((path, Err(refused(failure)))),
            Ok(verification) => {
                verification.record(place.as_ref(), &mut environment);
                Ok((path, Ok(verification)))
            }
        };
        let judged = targets.into_iter().map(|target| target.map_or_else(Ok, &mut judge)).collect::<Result<_, _>>()?;
        finish(judged).map(|report| report.with_shortfalls(environment))
    }
}

/// A single bundle that cannot be examined is a plain failure, everything else a report.
fn finish(mut judged: Vec<Judged>) -> Result<Report, Explained> {
    match judged.pop() {
        Some((_, Err(explained))) if judged.is_empty() => return Err(explained),
        last => judged.extend(last),
    }
    Ok(render(&judged))
}

/// The bundles behind an argument; one that has none is a result too, and does not keep the others from being examined.
fn expand(target: &Path, vault: Option<&Path>) -> Vec<Result<PathBuf, Judged>> {
    if is_looked_up(target) {
        return vec![bundle_at(target, vault).map_err(|explained| (target.to_owned(), Err(explained)))];
    }
    match bundles_of(target) {
        Ok(paths) => paths.into_iter().map(Ok).collect(),
        Err(failure) => vec![Err((target.to_owned(), Err(refused(failure))))],
    }
}

/// The bundle behind an argument that need not be text: where it is, it may be `latest` or a number.
pub fn bundle_at(target: &Path, vault: Option<&Path>) -> Result<PathBuf, Explained> {
    target.to_str().map_or_else(|| Ok(target.to_owned()), |text| reference::find(text, vault))
}

/// The vault that such an argument is about, or the bundle in it.
pub fn place_of<'p>(target: &'p Path, vault: Option<&'p Path>) -> &'p Path {
    vault.filter(|_| is_looked_up(target)).unwrap_or(target)
}

/// Whether it is 'latest' or a number, and no file.
fn is_looked_up(target: &Path) -> bool {
    target.to_str().is_some_and(|text| !matches!(Reference::parse(text), Reference::Path(_)))
}

/// The usual advice on a damaged bundle is to verify it, which was just tried.
fn refused(failure: Failure) -> Explained {
    let explained = Explained::from(failure);
    let hint = if explained.exit == Exit::Integrity { Some("try another copy".to_owned()) } else { explained.hint };
    Explained { hint, ..explained }
}

fn render(judged: &[Judged]) -> Report {
    let sound = |(_, result): &&Judged| result.as_ref().is_ok_and(Verification::is_sound);
    let mut text: String = judged.iter().map(|(path, result)| self::text(path, result)).collect();
    if judged.len() > 1 {
        let locked = judged.iter().filter(|(_, result)| result.as_ref().is_err_and(|explained| explained.exit == Exit::Key)).count();
        let locked = if locked > 0 { format!(", {locked} locked") } else { String::new() };
        let _ = writeln!(text, "{} of {} sound{locked}", judged.iter().filter(sound).count(), screen::count(judged.len() as u64, "bundle"));
    }
    let warnings = warnings(judged);
    let exit = judged.iter().map(|(_, result)| exit_of(result)).max_by_key(|exit| severity(*exit)).unwrap_or(Exit::Success);
    let error = (exit != Exit::Success).then(|| Explained::new(exit, unsound(judged), None));
    Report { text, json: object(judged), warnings, error }
}

fn unsound(judged: &[Judged]) -> String {
    match judged {
        [(path, _)] => format!("bundle '{}' is not sound", path.display()),
        _ => {
            let count = judged.iter().filter(|(_, result)| !result.as_ref().is_ok_and(Verification::is_sound)).count();
            format!("{count} of {} are not sound", screen::count(judged.len() as u64, "bundle"))
        }
    }
}

fn warnings(judged: &[Judged]) -> Vec<String> {
    let mut warnings = Vec::new();
    for (path, verification) in judged.iter().filter_map(|(path, result)| Some((path, result.as_ref().ok()?))) {
        let troubles = verification.manifest.iter().flat_map(|manifest| &manifest.sources).filter_map(explain::trouble);
        warnings.extend(troubles.chain(databases::warnings(verification)).map(|warning| format!("{}: {warning}", path.display())));
    }
    let keyless = |(_, result): &Judged| {
        result.as_ref().is_ok_and(|v| v.level == Level::Sums && v.is_sound() && v.signature.verdict != SignatureVerdict::Valid)
    };
    if judged.iter().any(keyless) {
        warnings.push("verified without a key: damage would show, forgery would not".to_owned());
    }
    warnings
}

fn exit_of(result: &Result<Verification, Explained>) -> Exit {
    match result {
        Ok(verification) if verification.is_sound() => Exit::Success,
        Ok(_) => Exit::Integrity,
        Err(explained) => explained.exit,
    }
}

/// Of several bundles the worst counts, and nothing is worse than damage.
fn severity(exit: Exit) -> u8 {
    match exit {
        Exit::Success => 0,
        Exit::Integrity => 3,
        Exit::Key => 2,
        _ => 1,
    }
}

fn text(path: &Path, result: &Result<Verification, Explained>) -> String {
    let path = screen::escape(&path.to_string_lossy());
    let verification = match result {
        Ok(verification) => verification,
        Err(explained) => {
            return format!(
                "FAILED   --  {path}\n             {}\n",
                screen::escape(&[std::slice::from_ref(&explained.message), &explained.causes[..]].concat().join(": "))
            );
        }
    };
    let level = verification.level;
    let signature = signature(verification);
    if verification.is_sound() {
        return format!("ok       {}  {path}\n{signature}{}", verification.proven(), databases::text(verification));
    }
    if verification.findings.is_empty() {
        let word = if verification.has_right_signer { "FAILED " } else { "REFUSED" };
        return format!("{word}  {level}  {path}\n{signature}{}", databases::text(verification));
    }
    let mut text = format!("DAMAGED  {level}  {path}\n{signature}");
    for finding in &verification.findings {
        let _ = writeln!(text, "             {} {}", finding.level, screen::escape(&explain::finding(finding)));
    }
    let hurt: Vec<String> = verification.hurt_databases().iter().map(ToString::to_string).collect();
    let _ = match (hurt.is_empty(), &verification.manifest) {
        (false, _) => writeln!(text, "             hurt: {}", hurt.join(", ")),
        (true, Some(_)) => writeln!(text, "             no database is hurt"),
        (true, None) if !level.needs_key() => writeln!(text, "             which databases are hurt can be told with the key"),
        (true, None) => writeln!(text, "             which databases are hurt cannot be told: the index is lost"),
    };
    text + &databases::text(verification)
}

/// Who sealed it, where there is something to say.
fn signature(verification: &Verification) -> String {
    let SealSignature { verdict, signer, has_signed_slots } = verification.signature;
    let Some(signer) = signer else {
        return if verification.has_right_signer { String::new() } else { "             signature absent\n".to_owned() };
    };
    let slots = match verdict {
        SignatureVerdict::Valid | SignatureVerdict::NotPinned if !has_signed_slots => "; the key slots were changed by somebody else",
        _ => "",
    };
    format!("             signature {}: {}{slots}\n", verdict.name(), signer.fingerprint())
}

fn object(judged: &[Judged]) -> serde_json::Map<String, Value> {
    let bundles: Vec<Value> = judged.iter().map(|(path, result)| one(path, result)).collect();
    let findings: Vec<Value> = bundles.iter().flat_map(|bundle| bundle["findings"].as_array().cloned().unwrap_or_default()).collect();
    let level = judged.iter().map(|(_, result)| result.as_ref().ok().map(|verification| verification.level)).min().flatten();
    let mut object = json!({ "level": level, "findings": findings, "bundles": bundles });
    if let [bundle] = bundles.as_slice() {
        object["bundle"] = bundle["bundle"].clone();
        object["sources"] = bundle["sources"].clone();
    }
    object.as_object().cloned().unwrap_or_default()
}

fn one(path: &Path, result: &Result<Verification, Explained>) -> Value {
    let verification = match result {
        Ok(verification) => verification,
        Err(explained) => {
            return json!({ "bundle": { "path": path.to_string_lossy() }, "ok": false, "level": null, "findings": [], "error": json::error(explained) });
        }
    };
    let findings = verification.findings.iter().map(|finding| json::finding(path, finding));
    json!({
        "bundle": json::bundle(path, verification.size_bytes, &verification.core),
        "ok": verification.is_sound(),
        "level": verification.level,
        "signature": {
            "verdict": verification.signature.verdict.name(),
            "signer": verification.signature.signer.map(|signer| signer.fingerprint().to_string()),
            "slots_signed": verification.signature.has_signed_slots,
        },
        "findings": findings.chain(databases::findings(path, verification)).collect::<Vec<_>>(),
        "hurt": verification.hurt_databases(),
        "frames": verification.frames,
        "seal_sha256": verification.seal_sha256,
        "databases": verification.databases.iter().map(databases::object).collect::<Vec<_>>(),
        "files": verification.files.iter().map(databases::files_object).collect::<Vec<_>>(),
        "sources": verification.manifest.as_ref().map(json::sources),
    })
}

fn level(text: &str) -> Result<Level, String> {
    match text {
        "0" => Ok(Level::Sums),
        "1" => Ok(Level::Signature),
        "2" => Ok(Level::Authentic),
        "3" => Ok(Level::Content),
        "4" => Ok(Level::Database),
        _ => Err("expected 0 to 4".to_owned()),
    }
}

fn after_help() -> String {
    format!(
        "Examples:\n  airkeep verify latest\n  airkeep verify airkeep-vault --level 0\n  airkeep verify BUNDLE.akb --passphrase-file pass\n  airkeep verify /media/disc/*.akb --key-file backup.key --json\n\n\
         With several bundles the worst result decides, damage before all else.\n\n{}\n\n{}",
        keys::HELP,
        exit::table(&[Exit::Success, Exit::Failed, Exit::Usage, Exit::NotFound, Exit::Key, Exit::Integrity, Exit::Unsupported, Exit::Bug])
    )
}
