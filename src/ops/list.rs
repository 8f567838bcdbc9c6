//! List: which bundles a vault has or had, from the journal and the public members alone, without a key.
//!
//! The journal says what was sealed, the folder what lies here; where the two differ, somebody should know: a number that nobody can
//! account for, a bundle twice, one of another set, one that is older than the one before it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Failure;
use super::audit::open_vault;
use crate::bundle::{Id, Kind, Predecessor, PublicCore, SetRef, UtcTime};
use crate::files::Folder;
use crate::journal::{Event, Outcome, Record, records_in};
use crate::vault::{Shelved, ShelvedState, bundles_in, identity_in};

/// One bundle of a set.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id.
    pub id: Id,
    /// Its place in the set.
    pub sequence: u64,
    /// When it was sealed.
    pub created_at: UtcTime,
    /// Why.
    pub kind: Kind,
    /// How it must be handled, where the file is here.
    pub marking: Option<String>,
    /// The file here, if it is here.
    pub file: Option<String>,
    /// Bytes of the file, or as recorded.
    pub size_bytes: Option<u64>,
    /// What the journal remembers of it.
    pub recorded: Option<Recorded>,
    /// How it was verified last, by the journal.
    pub last_verified: Option<LastVerified>,
}

/// What the journal remembers of a bundle.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The operator's word for it.
    pub tag: Option<String>,
    /// Its sources.
    pub labels: Vec<String>,
    /// The worst verdict of a check at capture.
    pub verdict: String,
}

/// A verification.
#[derive(Debug, Clone)]
pub struct LastVerified {
    /// When.
    pub time: UtcTime,
    /// To which level.
    pub level: String,
    /// Whether it was sound.
    pub is_sound: bool,
}

/// A vault's bundles.
#[derive(Debug)]
pub struct Listing {
    /// The vault.
    pub vault: PathBuf,
    /// Its set, if it is known.
    pub set: Option<SetRef>,
    /// Newest first.
    pub bundles: Vec<Listed>,
    /// What somebody should look at.
    pub problems: Vec<String>,
}

/// Lists a vault. Nothing is locked, opened with a key or proven.
///
/// # Errors
/// [`Failure::NoVault`], what the file system says.
pub fn list(vault: &Path) -> Result<Listing, Failure> {
    let folder = open_vault(vault)?;
    let mut collected = Collected::default();
    let set = identity_in(&folder)?.map(|(set, _)| set);
    collected.take_journal(records_in(&folder)?);
    let set = collected.take_folder(&folder, set)?;
    collected.find_gaps();
    let mut bundles: Vec<Listed> = collected.bundles.into_values().collect();
    bundles.sort_by_key(|bundle| std::cmp::Reverse((bundle.sequence, bundle.created_at.clone())));
    Ok(Listing { vault: vault.to_owned(), set, bundles, problems: collected.problems })
}

#[derive(Default)]
struct Collected {
    bundles: HashMap<Id, Listed>,
    problems: Vec<String>,
    /// Bundle → the one that it names as its predecessor.
    predecessors: HashMap<Id, Predecessor>,
}

impl Collected {
    fn take_journal(&mut self, records: Vec<Record>) {
        for record in records {
            let Some(subject) = record.subject.clone() else { continue };
            match (record.event, record.outcome) {
                (Event::Backup, Outcome::Success) => {
                    let listed = recorded(&record, subject.bundle, subject.sequence);
                    self.bundles.entry(subject.bundle).or_insert(listed);
                }
                (Event::Verify, outcome) => {
                    if let Some(listed) = self.bundles.get_mut(&subject.bundle) {
                        let level = text(&record.details, "level").unwrap_or_default();
                        listed.last_verified = Some(LastVerified { time: record.time, level, is_sound: outcome == Outcome::Success });
                    }
                }
                _ => {}
            }
        }
    }

    /// Looks at the files; gives the set, also of a vault that has no record of it.
    fn take_folder(&mut self, folder: &Folder, mut set: Option<SetRef>) -> Result<Option<SetRef>, Failure> {
        for Shelved { name, size_bytes, state, .. } in bundles_in(folder)? {
            let core = match state {
                ShelvedState::Readable(core) => core,
                ShelvedState::Unreadable(error) => {
                    self.problems.push(format!("'{name}' cannot be read: {error}"));
                    continue;
                }
                ShelvedState::Closed(error) => {
                    self.problems.push(error.to_string());
                    continue;
                }
            };
            let own = set.get_or_insert_with(|| core.set.clone());
            if core.set.id != own.id {
                self.problems.push(format!("'{name}' belongs to another set, '{}'", core.set.name));
                continue;
            }
            self.predecessors.extend(core.predecessor.clone().map(|predecessor| (core.id, predecessor)));
            self.place(name, size_bytes, &core);
        }
        Ok(set)
    }

    fn place(&mut self, name: String, size_bytes: u64, core: &PublicCore) {
        let listed = self.bundles.entry(core.id).or_insert_with(|| Listed {
            id: core.id,
            sequence: core.sequence,
            created_at: core.created_at.clone(),
            kind: core.kind,
            marking: None,
            file: None,
            size_bytes: None,
            recorded: None,
            last_verified: None,
        });
        listed.marking.clone_from(&core.marking);
        match &listed.file {
            Some(other) => self.problems.push(format!("'{name}' and '{other}' are the same bundle")),
            None => (listed.file, listed.size_bytes) = (Some(name), Some(size_bytes)),
        }
    }

    /// Numbers that nobody can account for, numbers given twice, times that run backwards.
    fn find_gaps(&mut self) {
        let mut by_place: BTreeMap<u64, Vec<&Listed>> = BTreeMap::new();
        for listed in self.bundles.values() {
            by_place.entry(listed.sequence).or_default().push(listed);
        }
        let mut problems = Vec::new();
        let (mut next, mut before): (u64, Option<&Listed>) = (1, None);
        for (&sequence, same) in &by_place {
            match sequence.saturating_sub(next) {
                0 => {}
                1 => problems.push(format!("number {next} is missing: no bundle here and no record has it")),
                _ => problems.push(format!("numbers {next} to {} are missing: no bundle here and no record has them", sequence - 1)),
            }
            next = sequence + 1;
            if same.len() > 1 {
                problems.push(format!("number {sequence} was given {} times", same.len()));
            }
            let listed = same[0];
            if let Some(before) = before
                && listed.created_at < before.created_at
            {
                problems.push(format!("number {sequence} was sealed before number {}, by its clock", before.sequence));
            }
            if let Some(named) = self.predecessors.get(&listed.id)
                && by_place.get(&named.sequence).is_some_and(|known| known.iter().all(|known| known.id != named.id))
            {
                problems.push(format!("number {sequence} was sealed behind another number {} than the one that is known", named.sequence));
            }
            before = Some(listed);
        }
        self.problems.extend(problems);
    }
}

fn recorded(record: &Record, id: Id, sequence: u64) -> Listed {
    let details = &record.details;
    let sources = details.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
    let files = details.get("files").and_then(Value::as_array).cloned().unwrap_or_default();
    let words =
        |name: &str| sources.iter().chain(&files).filter_map(|source| Some(source.get(name)?.as_str()?.to_owned())).collect::<Vec<_>>();
    let verdicts = words("verdict");
    let worst = ["corrupt", "unchecked", "violations"].into_iter().find(|word| verdicts.iter().any(|verdict| verdict == word));
    Listed {
        id,
        sequence,
        created_at: text(details, "created_at").and_then(|time| UtcTime::parse(&time)).unwrap_or_else(|| record.time.clone()),
        kind: details.get("kind").and_then(|kind| serde_json::from_value(kind.clone()).ok()).unwrap_or(Kind::Manual),
        marking: None,
        file: None,
        size_bytes: details.get("size_bytes").and_then(Value::as_u64),
        recorded: Some(Recorded { tag: text(details, "tag"), labels: words("label"), verdict: worst.unwrap_or("ok").to_owned() }),
        last_verified: text(details, "level").map(|level| LastVerified { time: record.time.clone(), level, is_sound: true }),
    }
}

fn text(details: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    details.get(name)?.as_str().map(str::to_owned)
}
