//! Plain files of the two sides: by the digests of the manifests, and of what lies there now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::bundle::{ArchivedFile, FileSet, Label};
use crate::config::Config;
use crate::crypto::Digest;
use crate::database::Sides;
use crate::ops::in_place::scratch_in;
use crate::ops::plain::Apart;
use crate::ops::{Backup, Environment, Failure};

/// A set of files of either side.
#[derive(Debug, Clone)]
pub struct ComparedFiles {
    /// Its label.
    pub label: Label,
    /// Which side has it.
    pub sides: Sides,
    /// Paths that only the second side has; this and the next two are empty unless both have the set.
    pub added: Vec<String>,
    /// Paths that only the first side has.
    pub removed: Vec<String>,
    /// Paths with other content; of env files without their secrets.
    pub changed: Vec<String>,
    /// Files that are the same.
    pub same: u64,
}

impl ComparedFiles {
    /// Whether both sides have it, and nothing in it differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.sides == Sides::Both && self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What lies there now of the sets that the configuration names, and what of it cannot be had.
pub(super) fn live(
    config: &Config,
    chosen: &[Label],
    scratch: Option<&Path>,
    environment: &Environment,
) -> Result<(Vec<FileSet>, Vec<String>), Failure> {
    let (backup, _) = Backup::of_config(config)?;
    let (apart, space) = (Apart::of(&backup), scratch_in(scratch));
    let (mut sets, mut warnings) = (Vec::new(), Vec::new());
    for source in backup.files.iter().filter(|source| chosen.is_empty() || chosen.contains(&source.label)) {
        match source.gather(&apart, &space, environment.clock, &environment.progress) {
            Ok(gathered) => {
                sets.push(gathered.set);
                warnings.extend(gathered.shortfalls);
            }
            Err(Failure::Files { label, source }) => warnings.push(format!("{label}: {source}")),
            Err(failure) => return Err(failure),
        }
    }
    Ok((sets, warnings))
}

/// Compares the sets of two sides.
pub(super) fn compare(first: &[FileSet], second: &[FileSet], chosen: &[Label]) -> Vec<ComparedFiles> {
    let labels: BTreeSet<&Label> = first.iter().chain(second).map(|set| &set.label).collect();
    let wanted = labels.into_iter().filter(|label| chosen.is_empty() || chosen.contains(label));
    let of = |sets: &'_ [FileSet], label: &Label| sets.iter().find(|set| set.label == *label).map(|set| digests(&set.files));
    wanted.map(|label| one(label, of(first, label), of(second, label))).collect()
}

type Digests = BTreeMap<String, Digest>;

fn digests(files: &[ArchivedFile]) -> Digests {
    files.iter().map(|file| (file.path.clone(), file.sha256)).collect()
}

fn one(label: &Label, first: Option<Digests>, second: Option<Digests>) -> ComparedFiles {
    let sides = match (&first, &second) {
        (Some(_), None) => Sides::First,
        (None, _) => Sides::Second,
        _ => Sides::Both,
    };
    let mut compared = ComparedFiles { label: label.clone(), sides, added: Vec::new(), removed: Vec::new(), changed: Vec::new(), same: 0 };
    let (Some(first), Some(mut second)) = (first, second) else { return compared };
    for (path, digest) in first {
        match second.remove(&path) {
            None => compared.removed.push(path),
            Some(other) if other == digest => compared.same += 1,
            Some(_) => compared.changed.push(path),
        }
    }
    compared.added = second.into_keys().collect();
    compared
}
