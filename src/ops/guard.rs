//! Guard: a safety backup, then somebody's work on the databases, and the way back if that fails.
//!
//! The way back is a restore in place like any other: what the work had made of the databases goes into a safety bundle, with the
//! append-only rows that it wrote. The work itself stands in the journal, before and after: who finds the first record alone knows that it
//! was killed, and where the state before it is.

use std::any::Any;
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};

use super::progress::Progress;
use super::recorder::{Note, Recorded, chain, record, subject};
use super::{AppendOnly, Backup, BackupReport, Environment, Failure, InPlace, InPlaceReport};
use crate::bundle::{Keyring, Kind, Label};
use crate::config::Config;
use crate::crypto::{encode_hex, random};
use crate::database::{InstallError, Others, keep_journal_mode};
use crate::files::Folder;
use crate::journal::{Event, Outcome};

/// A request to guard work on databases.
#[derive(Debug, Clone)]
pub struct Guard {
    /// The backup that comes first; it becomes one of the kind [`Kind::PreMigration`].
    pub backup: Backup,
    /// What the work is called in the journal.
    pub name: String,
    /// Whether the databases are put back if the work fails.
    pub restore: bool,
    /// What becomes of others who have a database open when it is put back.
    pub others: Others,
    /// Tables whose rows are accounted for, as for [`InPlace::append_only`].
    pub append_only: Vec<AppendOnly>,
    /// What the configuration says: the application's own check of a database runs once it is put back, as after every restore in place.
    pub config: Option<Arc<Config>>,
}

/// How the work ended: well, or why not.
pub type Work = Result<(), String>;

/// What became of guarded work.
#[derive(Debug)]
pub struct GuardReport {
    /// The state before.
    pub backup: BackupReport,
    /// How the work ended.
    pub work: Work,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// What became of the databases, if the work failed and they were to be put back.
    pub restored: Option<Result<InPlaceReport, Failure>>,
}

impl GuardReport {
    /// Whether the work failed and every database is as it was before.
    #[must_use]
    pub fn is_put_back(&self) -> bool {
        self.restored.as_ref().is_some_and(|restored| restored.as_ref().is_ok_and(InPlaceReport::is_complete))
    }
}

impl Guard {
    /// A guard around work with these defaults: databases are put back, and nobody else may use them then.
    pub fn new(backup: Backup, name: impl Into<String>) -> Guard {
        Guard { backup, name: name.into(), restore: true, others: Others::Refuse, append_only: Vec::new(), config: None }
    }

    /// Backs up, has the work done, and puts the databases back if it fails.
    ///
    /// # Errors
    /// The backup failed, or could not be announced: the work was not begun.
    ///
    /// # Panics
    /// Where the work panics, which counts as a failure: the databases are put back, that is recorded, and then the panic goes on. If they could
    /// not be put back, [`Environment::shortfalls`] says so, and the journal. Where a program aborts on panic nothing of this is done:
    /// it is as after a kill.
    pub fn run(&self, ring: Keyring, environment: &mut Environment, work: impl FnOnce() -> Work) -> Result<GuardReport, Failure> {
        self.require_replaceable()?;
        let places = self.places();
        let backup = Backup { kind: Kind::PreMigration, ..self.backup.clone() }.run(&ring, environment)?;
        let id = encode_hex(&random::<8>(&mut *environment.entropy));
        // As long as this process lives, nobody takes the work for lost.
        let process = Process::own();
        let intent = json!({ "pid": process.pid, "started": process.started });
        if !self.record(&id, &backup, Outcome::Intent, &intent, environment).is_somewhere() {
            return Err(Failure::NotAnnounced);
        }
        if environment.progress.is_cancelled() {
            self.record(&id, &backup, Outcome::Failure, &json!({ "error": "interrupted before the work began" }), environment);
            return Err(Failure::Cancelled);
        }
        let begun = Instant::now();
        // What the work had borrowed is seen by nobody before the panic goes on.
        let (work, panic) = match catch_unwind(AssertUnwindSafe(work)) {
            Ok(work) => (work, None),
            Err(panic) => (Err(format!("it panicked: {}", words_of(&*panic))), Some(panic)),
        };
        let duration_ms = begun.elapsed().as_millis() as u64;
        let lent = (Arc::clone(&environment.progress), environment.reason.clone());
        // From here on nobody stops it: a signal that ended the work must not keep the databases from being put back.
        environment.progress = Arc::new(Unstoppable(Arc::clone(&environment.progress)));
        let restored = match &work {
            Err(why) if self.restore => Some(self.put_back(&backup, places, ring, why, environment)),
            _ => None,
        };
        // Only now: until the databases are put back, a kill leaves an intent that every command tells of.
        let outcome = if work.is_ok() { Outcome::Success } else { Outcome::Failure };
        let put_back = match &restored {
            None => json!(null),
            Some(Ok(report)) => json!(report.is_complete()),
            Some(Err(_)) => json!(false),
        };
        let more = json!({ "duration_ms": duration_ms, "error": work.as_ref().err(), "put_back": put_back });
        self.record(&id, &backup, outcome, &more, environment);
        (environment.progress, environment.reason) = lent;
        if let Some(panic) = panic {
            // Who catches it gets no report.
            environment.shortfalls.extend(restored.and_then(not_put_back));
            resume_unwind(panic);
        }
        Ok(GuardReport { backup, work, duration_ms, restored })
    }

    fn put_back(
        &self,
        backup: &BackupReport,
        places: Vec<(Label, PathBuf)>,
        ring: Keyring,
        why: &str,
        environment: &mut Environment,
    ) -> Result<InPlaceReport, Failure> {
        let failed = format!("guarded work failed: {}: {why}", self.name);
        environment.reason = Some(environment.reason.take().map_or(failed.clone(), |reason| format!("{reason}; {failed}")));
        let mut request = InPlace::new(&backup.path);
        request.expected = Some(backup.core.id);
        request.places = places;
        request.config.clone_from(&self.config);
        // The state before may miss a demand: that was told when it was sealed, and it is the one that is wanted back.
        request.accept_unmet = true;
        request.vault = Some(self.backup.vault.clone());
        request.others = self.others;
        request.append_only.clone_from(&self.append_only);
        request.signing_key.clone_from(&self.backup.signing_key);
        request.busy_timeout = self.backup.busy_timeout;
        request.scratch.clone_from(&self.backup.scratch);
        request.compression = self.backup.compression;
        // What the work made of a database may be anything.
        request.accept_other = true;
        let report = request.prepare(&ring, environment)?.run(ring, environment)?;
        self.keep_modes(backup, &report, environment);
        Ok(report)
    }

    /// Where the databases are, before the work, which may remove one or go into another folder.
    fn places(&self) -> Vec<(Label, PathBuf)> {
        let resolved = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
        self.backup.sources.iter().map(|source| (source.label.clone(), resolved(&source.path))).collect()
    }

    /// As it was before means the journal mode, too, which the work may have changed, or lost with the file.
    fn keep_modes(&self, backup: &BackupReport, report: &InPlaceReport, environment: &mut Environment) {
        for outcome in report.outcomes.iter().filter(|outcome| outcome.is_replaced()) {
            let was_wal = backup.manifest.sources.iter().any(|source| source.label == outcome.label && source.journal_mode == "wal");
            if was_wal && let Err(error) = keep_journal_mode(&outcome.path, self.backup.busy_timeout) {
                environment.shortfalls.push(format!("WAL mode was not put back: {}", chain(&error)));
            }
        }
    }

    /// What would keep a database from being put back is found out before the work begins.
    fn require_replaceable(&self) -> Result<(), Failure> {
        for source in &self.backup.sources {
            let resolved = source.path.canonicalize().unwrap_or_else(|_| source.path.clone());
            if self.restore && resolved.file_name().is_some_and(|name| name.to_str().is_none()) {
                return Err(Failure::UnclearName { path: resolved });
            }
            let names = source.path.metadata().map_or(1, |found| found.nlink());
            if self.restore && names > 1 {
                let error = InstallError::HardLinks { path: source.path.clone(), names };
                return Err(Failure::Install { label: source.label.clone(), source: error });
            }
        }
        Ok(())
    }

    fn record(&self, id: &str, backup: &BackupReport, outcome: Outcome, more: &Value, environment: &mut Environment) -> Recorded {
        let mut details = json!({ "guard": id, "work": self.name });
        details.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        let note = Note::new(Event::Guard, outcome, Some(subject(&backup.core, &backup.path)), details);
        record(Folder::above(&backup.path).ok().as_ref(), self.backup.signing_key.as_ref(), note, environment)
    }
}

/// What is told of databases that are not as they were before.
fn not_put_back(restored: Result<InPlaceReport, Failure>) -> Option<String> {
    let told = |why: &str| Some(format!("the work panicked, and the databases were not put back: {why}"));
    match restored {
        Ok(report) if report.is_complete() => None,
        Ok(_) => told("not all of them could be replaced"),
        Err(failure) => told(&chain(&failure)),
    }
}

/// What a panic says.
fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

/// A process, told from later ones that get its number.
pub(super) struct Process {
    pub(super) pid: u32,
    /// When it was started, in ticks since the machine was (`proc_pid_stat(5)`, field 22); nothing where there is no `/proc`.
    pub(super) started: Option<u64>,
}

impl Process {
    pub(super) fn own() -> Process {
        let pid = std::process::id();
        Process { pid, started: started(pid) }
    }

    /// Whether it still runs on this machine.
    pub(super) fn is_running(&self) -> bool {
        self.started.is_some() && started(self.pid) == self.started
    }
}

fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may have blanks and parentheses.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Tells everything on, and never stops.
struct Unstoppable(Arc<dyn Progress>);

impl Progress for Unstoppable {
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        self.0.begin(phase, total_bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    fn end(&self) {
        self.0.end();
    }

    fn note(&self, step: &str) {
        self.0.note(step);
    }
}
