//! Recording what was done: in the vault's journal, else in the one of this account.
//!
//! A vault that has a signer takes signed records only; who has no access to its key writes into their own journal and says so. What was
//! done is never undone because it could not be recorded: it is a shortfall, which the exit code shows.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::hook::{Hook, HookEvent};
use super::{Environment, Failure, SigningKeyPlace};
use crate::bundle::PublicCore;
use crate::crypto::SigningKey;
use crate::files::{FileError, Folder, make_private_folders};
use crate::journal::{Entry, Event, JOURNAL, Journal, JournalError, Outcome, Record, Subject};
use crate::vault::{IDENTITY, Vault, VaultError, identity_in};

/// What is to be recorded.
#[derive(Debug, Clone)]
pub(super) struct Note {
    pub(super) event: Event,
    pub(super) outcome: Outcome,
    pub(super) subject: Option<Subject>,
    pub(super) details: Map<String, Value>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Recorded {
    /// In the vault's own journal, where those look who find a vault after a kill.
    InVault,
    /// In the journal of this account.
    InAccount,
    Nowhere,
}

impl Recorded {
    pub(super) fn is_somewhere(self) -> bool {
        self != Recorded::Nowhere
    }
}

/// Why a record could not be made in a vault.
#[derive(Debug, thiserror::Error)]
enum Unrecorded {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    SigningKey(Box<Failure>),
    #[error("it has a journal, and its {IDENTITY} is missing")]
    NoIdentity,
    #[error("this account cannot write to it")]
    ReadOnly,
}

impl Note {
    /// `details` is an object.
    pub(super) fn new(event: Event, outcome: Outcome, subject: Option<Subject>, details: Value) -> Note {
        let Value::Object(details) = details else { unreachable!("details are an object") };
        Note { event, outcome, subject, details }
    }

    /// That something failed, and why.
    pub(super) fn failure(event: Event, subject: Option<Subject>, failure: &Failure) -> Note {
        Note::new(event, Outcome::Failure, subject, json!({ "error": chain(failure) }))
    }
}

/// What a record says of the bundle that it is about.
pub(super) fn subject(core: &PublicCore, path: &Path) -> Subject {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    Subject { bundle: core.id, sequence: core.sequence, file }
}

/// Records something about a vault, or about a bundle in a folder, which may be one.
pub(super) fn record(folder: Option<&Folder>, place: Option<&SigningKeyPlace>, note: Note, environment: &mut Environment) -> Recorded {
    let entry = entry(note, environment);
    let in_vault = folder.and_then(|folder| match identity_in(folder) {
        // Somebody took the record of the vault away, and the journal has nobody to tell who signs.
        Ok(None) if folder.has(JOURNAL).unwrap_or(false) => Some(Err(Unrecorded::NoIdentity)),
        Ok(None) => None,
        Ok(Some(_)) => Some(in_vault(folder, place, &entry, environment)),
        Err(error) => Some(Err(error.into())),
    });
    let instead = match in_vault {
        Some(Ok(record)) => {
            tell(folder, place, &record, environment);
            return Recorded::InVault;
        }
        Some(Err(why)) => Some(why),
        None => None,
    };
    // Looking at a bundle changes nothing: where there is no vault to tell, nobody has to know.
    let is_worth_it = entry.event != Event::Verify || instead.as_ref().is_some_and(|why| !matches!(why, Unrecorded::ReadOnly));
    if !is_worth_it {
        return Recorded::Nowhere;
    }
    let own = in_state_folder(&entry, environment);
    if let Ok(record) = &own {
        tell(None, None, record, environment);
    }
    let recorded = if own.is_ok() { Recorded::InAccount } else { Recorded::Nowhere };
    let shortfall = match (instead, own) {
        (None, Ok(_)) => return recorded,
        // Nothing was changed in the vault, and the record stands somewhere.
        (Some(why), Ok(_)) if entry.event == Event::Verify => {
            environment.progress.note(&format!("{NOT_IN_VAULT}: {}", chain(&why)));
            return recorded;
        }
        (Some(why), Ok(_)) => format!("{NOT_IN_VAULT}: {}", chain(&why)),
        (Some(why), Err(_)) => format!("this was not recorded in the vault's journal: {}", chain(&why)),
        (None, Err(why)) => format!("this was not recorded in any journal: {}", chain(&why)),
    };
    // Intent and outcome of one run fall short for one reason.
    if !environment.shortfalls.contains(&shortfall) {
        environment.shortfalls.push(shortfall);
    }
    recorded
}

/// Tells the hook, once the record stands. That it failed is recorded, too, and of that no hook is told.
fn tell(folder: Option<&Folder>, place: Option<&SigningKeyPlace>, told: &Record, environment: &mut Environment) {
    let Some(hook) = environment.hook.clone().filter(|_| !Hook::is_inside_one()) else { return };
    let json = serde_json::to_string(told).expect("a record has text, numbers and objects");
    let vault = folder.map_or(String::new(), |folder| folder.path().to_string_lossy().into_owned());
    let event = HookEvent {
        json: &json,
        event: told.event.name(),
        actor: told.actor.operator.as_deref().unwrap_or(&told.actor.user),
        action: &format!("{} {}", told.event.name(), told.outcome.name()),
        reason: told.reason.as_deref().unwrap_or_default(),
        bundle: told.subject.as_ref().map_or("", |subject| subject.file.as_str()),
        outcome: told.outcome.name(),
        time: told.time.as_str(),
        host: &told.host,
        vault: &vault,
    };
    let Err(failure) = hook.tell(&event) else { return };
    let failure = chain(&failure);
    environment.shortfalls.push(format!("the hook failed: {failure}"));
    let details = json!({ "error": failure, "told": told.sequence, "event": told.event.name() });
    let note = entry(Note::new(Event::Hook, Outcome::Failure, told.subject.clone(), details), environment);
    let noted = match folder {
        Some(folder) => in_vault(folder, place, &note, environment).map_err(|why| chain(&why)),
        None => in_state_folder(&note, environment).map_err(|why| chain(&why)),
    };
    if let Err(why) = noted {
        environment.shortfalls.push(format!("that the hook failed was not recorded: {why}"));
    }
}

fn in_vault(folder: &Folder, place: Option<&SigningKeyPlace>, entry: &Entry, environment: &mut Environment) -> Result<Record, Unrecorded> {
    if !folder.is_writable() {
        return Err(Unrecorded::ReadOnly);
    }
    let signer = || -> Result<Option<SigningKey>, Unrecorded> {
        let Some((set, Some(signer))) = identity_in(folder)? else { return Ok(None) };
        let missing = || Unrecorded::SigningKey(Box::new(Failure::NoSigningKey { vault: folder.path().to_owned() }));
        let loaded = place.ok_or_else(missing)?.load(&set.id, &signer);
        loaded.map(|(key, _)| Some(key)).map_err(|failure| Unrecorded::SigningKey(Box::new(failure)))
    };
    Journal::of(folder).append(entry, signer, &mut *environment.entropy)
}

fn in_state_folder(entry: &Entry, environment: &mut Environment) -> Result<Record, JournalError> {
    let Some(path) = environment.state_folder.clone() else {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(FileError::io("find a state folder of", Path::new("this account"))(source).into());
    };
    make_private_folders(&path)?;
    let folder = Folder::open(&path)?;
    Journal::of(&folder).append(entry, || Ok::<_, JournalError>(None), &mut *environment.entropy)
}

fn entry(note: Note, environment: &Environment) -> Entry {
    let Note { event, outcome, subject, details } = note;
    Entry {
        event,
        outcome,
        time: environment.now(),
        actor: environment.actor.clone(),
        host: environment.host.name.clone(),
        reason: environment.reason.clone(),
        subject,
        details,
    }
}

/// Says how a bundle ended that an earlier run announced and did not live to record.
pub(super) fn resolve_pending(vault: &mut Vault, place: Option<&SigningKeyPlace>, environment: &mut Environment) -> Result<(), Failure> {
    let Some((pending, is_here)) = vault.pending() else { return Ok(()) };
    let pending = pending.clone();
    let id = pending.subject.bundle;
    let recorded = crate::journal::records_in(vault.folder())?;
    let is_recorded =
        recorded.iter().rev().any(|record| record.event == Event::Backup && record.subject.as_ref().is_some_and(|s| s.bundle == id));
    if !is_recorded {
        let mut details = pending.details.clone();
        details.insert("recorded_late".to_owned(), true.into());
        let outcome = if is_here { Outcome::Success } else { Outcome::Unknown };
        let note = Note { event: Event::Backup, outcome, subject: Some(pending.subject.clone()), details };
        record(Some(vault.folder()), place, note, environment);
    }
    let reference = crate::bundle::Predecessor { id, sequence: pending.subject.sequence, seal_sha256: pending.seal_sha256 };
    match is_here || is_recorded {
        true => vault.record(reference, &mut *environment.entropy)?,
        false => vault.give_up_pending(&mut *environment.entropy)?,
    }
    Ok(())
}

/// An error with all its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

const NOT_IN_VAULT: &str = "recorded in this account's own journal and not in the vault's";
