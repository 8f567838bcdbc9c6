//! Resolving a restore that did not say how it ended: what became of each target is found out from the record before, and recorded.
//!
//! SQLite itself takes a half-done transaction back when the database is next opened, so a target has the old content or the new. The
//! digest of all pages tells the new one; if somebody has written since, the schema cookie tells ([`is_new_cookie`]). Where neither does,
//! nothing is claimed.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::open::{OpenRestore, open_in};
use super::record::IN_PLACE;
use crate::database::{DatabaseError, Way, is_new_cookie, keep_journal_mode, standing_of};
use crate::journal::{Event, Outcome, records_in};
use crate::ops::guard::Process;
use crate::ops::recorder::{Note, Recorded, record};
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
    /// Whether that closes it.
    pub closing: Closing,
}

/// Whether a restore that was open is closed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Its end is recorded.
    Recorded(Outcome),
    /// Its end is known, and the vault's own journal did not take the record: for all who read that, it is still open.
    Unrecorded,
    /// Somebody has to decide first.
    Undecided,
    /// It is guarded work that still runs.
    Running,
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

impl Closing {
    fn by(recorded: Recorded, outcome: Outcome) -> Closing {
        match recorded {
            Recorded::InVault => Closing::Recorded(outcome),
            Recorded::InAccount | Recorded::Nowhere => Closing::Unrecorded,
        }
    }
}

impl Resolution {
    /// How it ended, once that is recorded.
    pub fn recorded(&self) -> Option<Outcome> {
        if let Closing::Recorded(outcome) = self.closing { Some(outcome) } else { None }
    }
}

impl Resolve {
    /// A request with the defaults.
    pub fn new(vault: impl Into<PathBuf>) -> Resolve {
        Resolve { vault: vault.into(), signing_key: None, busy_timeout: Duration::from_secs(5), as_it_is: false }
    }

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
        if open.is_guard {
            return self.close_guard(open, vault, environment);
        }
        let sources = open.record.details.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
        let look = |source: &Value| self.look(source, open.is_ready);
        let targets: Vec<ResolvedTarget> = sources.iter().map(look).collect();
        let all = |state: &TargetState| targets.iter().all(|target| target.state == *state);
        let outcome = match () {
            () if targets.is_empty() => self.as_it_is.then_some(Outcome::Unknown),
            () if all(&TargetState::Old) => Some(Outcome::Failure),
            () if all(&TargetState::New) => Some(Outcome::Success),
            () => self.as_it_is.then_some(Outcome::Unknown),
        };
        let closing = outcome.map_or(Closing::Undecided, |outcome| {
            let recorded = self.record(&open, &sources, &targets, outcome, vault, environment);
            Closing::by(recorded, outcome)
        });
        Resolution { open, targets, closing }
    }

    /// What killed work has done to its databases nobody can tell; where the state before is, the record says.
    fn close_guard(&self, open: OpenRestore, vault: &Vault, environment: &mut Environment) -> Resolution {
        let number = |name: &str| open.record.details.get(name).and_then(Value::as_u64);
        let process = Process { pid: number("pid").unwrap_or(0) as u32, started: number("started") };
        if open.record.host == environment.host.name && process.is_running() {
            return Resolution { open, targets: Vec::new(), closing: Closing::Running };
        }
        let mut details = open.record.details.clone();
        details.insert("recorded_late".to_owned(), true.into());
        let note = Note { event: Event::Guard, outcome: Outcome::Unknown, subject: open.record.subject.clone(), details };
        let recorded = record(Some(vault.folder()), self.signing_key.as_ref(), note, environment);
        Resolution { open, targets: Vec::new(), closing: Closing::by(recorded, Outcome::Unknown) }
    }

    fn look(&self, source: &Value, is_ready: bool) -> ResolvedTarget {
        let path = PathBuf::from(source["to"].as_str().unwrap_or_default());
        let state = match is_ready {
            // The record may be a forgery, where the vault is not signed: it must not lead us where its owner could not go.
            true if !self.may_touch(&path) => TargetState::Unclear("it does not belong to whom the vault belongs".to_owned()),
            true => self.state_of(&path, source).unwrap_or_else(|error| TargetState::Unclear(error.to_string())),
            false => TargetState::Old,
        };
        let was_wal =
            source["before"]["journal_mode"] == "wal" && source["way"] != Way::Replace.name() && is_same_file(&path, &source["before"]);
        // Only where the content is understood, and only if nobody is using it: else the next resolve does it.
        let is_mode_mended =
            was_wal && !matches!(state, TargetState::Unclear(_)) && keep_journal_mode(&path, self.busy_timeout).unwrap_or(false);
        let aside = source["aside"].as_str().map(PathBuf::from).filter(|aside| aside.symlink_metadata().is_ok());
        ResolvedTarget { label: source["label"].as_str().unwrap_or_default().to_owned(), path, state, is_mode_mended, aside }
    }

    fn may_touch(&self, path: &Path) -> bool {
        let owner = |path: &Path| path.symlink_metadata().map(|found| (found.is_symlink(), found.uid())).ok();
        let own = rustix::process::geteuid().as_raw();
        match (owner(&self.vault.canonicalize().unwrap_or_default()), owner(path)) {
            (_, Some((true, _))) => false,
            (Some((_, vault)), Some((_, target))) => vault == own || vault == target,
            _ => true,
        }
    }

    fn state_of(&self, path: &Path, source: &Value) -> Result<TargetState, DatabaseError> {
        let (before, after) = (&source["before"], &source["after"]);
        let is_replaced_file = source["way"] == Way::Replace.name();
        if is_replaced_file {
            match path.symlink_metadata() {
                Ok(found) if Some(found.ino()) == before["inode"].as_u64() => return Ok(TargetState::Old),
                Err(error) if error.kind() == ErrorKind::NotFound && before.is_null() => return Ok(TargetState::Old),
                // Else a file that was not there before: the pages tell whether it is ours.
                _ => {}
            }
        }
        let now = standing_of(path, self.busy_timeout)?;
        if after["pages_sha256"] == now.pages_sha256.to_string().as_str() {
            return Ok(TargetState::New);
        }
        let cookie = |of: &Value| of["schema_cookie"].as_i64().and_then(|cookie| i32::try_from(cookie).ok());
        let verdict = match is_replaced_file {
            // The file is a copy of the image, cookie and all.
            true => (cookie(after) == Some(now.schema_cookie)).then_some(true),
            false => cookie(before).and_then(|before| is_new_cookie(before, now.schema_cookie)),
        };
        Ok(match verdict {
            Some(true) => TargetState::New,
            Some(false) if !is_same_file(path, before) => TargetState::Unclear("another file is there".to_owned()),
            Some(false) => TargetState::Old,
            None => TargetState::Unclear("it was vacuumed, or its schema was changed since".to_owned()),
        })
    }

    fn record(
        &self,
        open: &OpenRestore,
        sources: &[Value],
        targets: &[ResolvedTarget],
        outcome: Outcome,
        vault: &Vault,
        environment: &mut Environment,
    ) -> Recorded {
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
        if let Some(watched) =
            open.record.details.get("append_only").filter(|_| targets.iter().any(|target| target.state == TargetState::New))
        {
            note.details.insert("append_only".to_owned(), watched.clone());
        }
        record(Some(vault.folder()), place, note, environment)
    }
}

/// Whether the file is the one that was there before.
fn is_same_file(path: &Path, before: &Value) -> bool {
    path.symlink_metadata()
        .is_ok_and(|found| Some(found.ino()) == before["inode"].as_u64() && Some(found.dev()) == before["device"].as_u64())
}

/// What the record of a gap takes over from the one before the installation.
const LOST: [&str; 7] = ["label", "to", "way", "captured_at", "incarnation", "words", "gap"];
