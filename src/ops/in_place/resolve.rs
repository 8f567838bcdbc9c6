//! Resolving a restore that did not say how it ended: what became of each target is found out from the record before, and recorded.
//!
//! SQLite itself takes a half-done transaction back when the database is next opened, so a target has the old content or the new. The old
//! schema cookie means the old content; the digest of all pages, or schema and cookie together, the new.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::open::{OpenRestore, open_in};
use super::record::IN_PLACE;
use crate::database::{DatabaseError, Standing, keep_journal_mode, standing_of};
use crate::journal::{Event, Outcome, records_in};
use crate::ops::recorder::{Note, record};
use crate::ops::{Environment, Failure, SigningKeyPlace};
use crate::vault::Vault;

/// A request to resolve what is open in a vault.
#[derive(Debug, Clone)]
pub struct Resolve {
    /// The vault.
    pub vault: PathBuf,
    /// Where the signing key is.
    pub signing_key: Option<SigningKeyPlace>,
    /// How long to wait for a lock.
    pub busy_timeout: Duration,
    /// Whether a restore is closed as it is although its targets are at different states, or at one that cannot be told.
    pub as_it_is: bool,
}

/// What was found out about one restore.
#[derive(Debug)]
pub struct Resolution {
    /// The restore.
    pub open: OpenRestore,
    /// Its targets.
    pub targets: Vec<ResolvedTarget>,
    /// How it was recorded; nothing if somebody has to decide first.
    pub recorded: Option<Outcome>,
}

/// One target.
#[derive(Debug)]
pub struct ResolvedTarget {
    /// The source.
    pub label: String,
    /// The target.
    pub path: PathBuf,
    /// What it has now.
    pub state: TargetState,
    /// Whether WAL mode was put back.
    pub is_mode_mended: bool,
    /// Where an old file that could not be opened lies now.
    pub aside: Option<PathBuf>,
}

/// What a target has now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetState {
    /// The content from before.
    Old,
    /// The content that was to be installed, and perhaps what was written since.
    New,
    /// It cannot be told, and why.
    Unclear(String),
}

impl TargetState {
    /// The word in the record.
    pub fn name(&self) -> &'static str {
        match self {
            TargetState::Old => "old",
            TargetState::New => "new",
            TargetState::Unclear(_) => "unclear",
        }
    }
}

impl Resolve {
    /// Resolves all that are open.
    ///
    /// # Errors
    /// The vault or its journal cannot be used.
    pub fn run(&self, environment: &mut Environment) -> Result<Vec<Resolution>, Failure> {
        if self.vault.metadata().is_err() {
            return Err(Failure::NoVault { path: self.vault.clone() });
        }
        let vault = Vault::open(&self.vault, &mut *environment.entropy)?;
        let open = open_in(&records_in(vault.folder())?);
        Ok(open.into_iter().map(|open| self.resolve(open, &vault, environment)).collect())
    }

    fn resolve(&self, open: OpenRestore, vault: &Vault, environment: &mut Environment) -> Resolution {
        let sources = open.record.details.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
        let look = |source: &Value| self.look(source, open.is_ready);
        let targets: Vec<ResolvedTarget> = sources.iter().map(look).collect();
        let all = |state: &TargetState| targets.iter().all(|target| target.state == *state);
        let outcome = match () {
            () if all(&TargetState::Old) => Some(Outcome::Failure),
            () if all(&TargetState::New) => Some(Outcome::Success),
            () => self.as_it_is.then_some(Outcome::Unknown),
        };
        if let Some(outcome) = outcome {
            self.record(&open, &sources, &targets, outcome, vault, environment);
        }
        Resolution { open, targets, recorded: outcome }
    }

    fn look(&self, source: &Value, is_ready: bool) -> ResolvedTarget {
        let path = PathBuf::from(source["to"].as_str().unwrap_or_default());
        let state = match is_ready {
            true => self.state_of(&path, source).unwrap_or_else(|error| TargetState::Unclear(error.to_string())),
            false => TargetState::Old,
        };
        let was_wal = source["before"]["journal_mode"] == "wal" && source["way"] != "replace";
        // Only where the content is understood, and only if nobody is using it: else the next resolve does it.
        let is_mode_mended =
            was_wal && !matches!(state, TargetState::Unclear(_)) && keep_journal_mode(&path, self.busy_timeout).unwrap_or(false);
        let aside = source["aside"].as_str().map(PathBuf::from).filter(|aside| aside.symlink_metadata().is_ok());
        ResolvedTarget { label: source["label"].as_str().unwrap_or_default().to_owned(), path, state, is_mode_mended, aside }
    }

    fn state_of(&self, path: &Path, source: &Value) -> Result<TargetState, DatabaseError> {
        let (before, after) = (&source["before"], &source["after"]);
        if source["way"] == "replace" {
            use std::os::unix::fs::MetadataExt;
            let inode = path.symlink_metadata().map(|found| found.ino()).ok();
            return Ok(if inode == before["inode"].as_u64() { TargetState::Old } else { TargetState::New });
        }
        let now = standing_of(path, self.busy_timeout)?;
        Ok(judge(&now, before["schema_cookie"].as_i64(), after))
    }

    fn record(
        &self,
        open: &OpenRestore,
        sources: &[Value],
        targets: &[ResolvedTarget],
        outcome: Outcome,
        vault: &Vault,
        environment: &mut Environment,
    ) {
        let merged = |(source, target): (&Value, &ResolvedTarget)| {
            json!({
                "label": target.label,
                "to": target.path.to_string_lossy(),
                "way": source["way"],
                "state": target.state.name(),
                "replaced": target.state == TargetState::New,
            })
        };
        let of_targets: Vec<Value> = sources.iter().zip(targets).map(merged).collect();
        let safety = open.record.details.get("safety").cloned().unwrap_or(Value::Null);
        let common =
            |sources: Value| json!({ "mode": IN_PLACE, "restore": open.id, "recorded_late": true, "sources": sources, "safety": safety });
        let place = self.signing_key.as_ref();
        let lost: Vec<Value> = sources
            .iter()
            .zip(targets)
            .filter(|(_, target)| target.state == TargetState::New)
            .map(|(source, _)| LOST.iter().map(|name| ((*name).to_owned(), source[*name].clone())).collect::<Map<_, _>>().into())
            .collect();
        if !lost.is_empty() {
            let note = Note::new(Event::Gap, Outcome::Success, open.record.subject.clone(), common(lost.into()));
            record(Some(vault.folder()), place, note, environment);
        }
        let mut note = Note::new(Event::Restore, outcome, open.record.subject.clone(), common(of_targets.into()));
        // What the next backup compares with, if the new content is there.
        if let Some(watched) = open.record.details.get("append_only").filter(|_| outcome == Outcome::Success) {
            note.details.insert("append_only".to_owned(), watched.clone());
        }
        record(Some(vault.folder()), place, note, environment);
    }
}

/// What the record of a gap takes over from the one before the installation.
const LOST: [&str; 7] = ["label", "to", "way", "captured_at", "incarnation", "words", "gap"];

/// Compares what is there with what is known of before and after.
fn judge(now: &Standing, cookie_before: Option<i64>, after: &Value) -> TargetState {
    let cookie = i64::from(now.schema_cookie);
    if after["pages_sha256"] == now.pages_sha256.to_string().as_str() {
        return TargetState::New;
    }
    match cookie_before {
        Some(before) if before == cookie => TargetState::Old,
        Some(before) if before + 1 == cookie && after["schema_sha256"] == now.schema_sha256.to_string().as_str() => TargetState::New,
        _ => TargetState::Unclear("its schema was changed since".to_owned()),
    }
}
