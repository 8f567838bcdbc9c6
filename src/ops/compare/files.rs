//! Plain files of the two sides: by the digests of the manifests, and of what lies there now.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::Path;

use crate::bundle::{ArchivedFile, FileSet, Label};
use crate::config::{Config, FilesConfig, SourceKind};
use crate::crypto::Digest;
use crate::database::Sides;
use crate::ops::configured::private_of;
use crate::ops::in_place::scratch_in;
use crate::ops::plain::{Apart, Trouble, digest_of, first_of};
use crate::ops::progress::go_on;
use crate::ops::{Environment, Failure, FileSource};
use crate::plain::Selection;

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
    fn only_of(label: Label, sides: Sides) -> ComparedFiles {
        ComparedFiles { label, sides, added: Vec::new(), removed: Vec::new(), changed: Vec::new(), same: 0 }
    }

    /// Whether both sides have it, and nothing in it differs.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.sides == Sides::Both && self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// A set of one side.
pub(super) struct Side {
    label: Label,
    digests: Digests,
    /// Paths that a backup of now would leave out for their age or size, and paths that cannot be read: they are not told as new or gone.
    apart: BTreeSet<String>,
}

/// What a bundle holds.
pub(super) fn sealed(sets: &[FileSet]) -> Vec<Side> {
    let digests = |files: &[ArchivedFile]| files.iter().map(|file| (file.path.clone(), file.sha256)).collect();
    sets.iter().map(|set| Side { label: set.label.clone(), digests: digests(&set.files), apart: BTreeSet::new() }).collect()
}

/// What lies there now of the sets that the configuration names, and what of it cannot be had.
pub(super) fn live(
    config: &Config,
    vault: &Path,
    chosen: &[Label],
    scratch: Option<&Path>,
    environment: &Environment,
) -> Result<(Vec<Side>, Vec<String>), Failure> {
    let (private, space) = (private_of(config), scratch_in(scratch));
    let apart = Apart::from(private.iter(), vault);
    let (mut sides, mut warnings) = (Vec::new(), Vec::new());
    for one in &config.sources {
        let SourceKind::Files(FilesConfig { label, selection }) = &one.kind else { continue };
        if !chosen.is_empty() && !chosen.contains(label) {
            continue;
        }
        let is_apart = |path: &Path, metadata: &Metadata| apart.has(path, metadata);
        let now = (environment.clock)();
        let wanted: BTreeSet<String> = selection.find(now, &is_apart).files.into_iter().map(|file| file.name).collect();
        let everything = Selection { newer_than: None, max_file_bytes: None, max_bytes: None, ..selection.clone() };
        let source = FileSource { label: label.clone(), selection: everything, is_required: false };
        let found = source.selection.find(now, &is_apart);
        let mut unread = found.refused.clone();
        let mut side = Side { label: label.clone(), digests: Digests::new(), apart: BTreeSet::new() };
        for file in &found.files {
            go_on(&environment.progress)?;
            match digest_of(&source, file, &space) {
                Ok(digest) => {
                    side.digests.insert(file.name.clone(), digest);
                }
                Err(Trouble::File(fault)) => {
                    side.apart.insert(file.name.clone());
                    unread.push(fault.to_string());
                }
                Err(Trouble::Scratch(source)) => return Err(Failure::Scratch { source }),
            }
        }
        side.apart.extend(side.digests.keys().filter(|name| !wanted.contains(*name)).cloned());
        warnings.extend(first_of(&unread, &format!("{label}: ")));
        sides.push(side);
    }
    Ok((sides, warnings))
}

/// Compares the sets of two sides.
pub(super) fn compare(first: Vec<Side>, second: Vec<Side>, chosen: &[Label]) -> Vec<ComparedFiles> {
    let wanted = |side: &Side| chosen.is_empty() || chosen.contains(&side.label);
    let by_label = |sides: Vec<Side>| sides.into_iter().filter(wanted).map(|side| (side.label.clone(), side));
    let mut seconds: BTreeMap<Label, Side> = by_label(second).collect();
    let firsts: BTreeMap<Label, Side> = by_label(first).collect();
    let mut compared: Vec<ComparedFiles> = firsts.into_values().map(|side| one(seconds.remove(&side.label), side)).collect();
    compared.extend(seconds.into_keys().map(|label| ComparedFiles::only_of(label, Sides::Second)));
    compared.sort_by(|a, b| a.label.cmp(&b.label));
    compared
}

type Digests = BTreeMap<String, Digest>;

fn one(second: Option<Side>, first: Side) -> ComparedFiles {
    let Some(mut second) = second else { return ComparedFiles::only_of(first.label, Sides::First) };
    let mut compared = ComparedFiles::only_of(first.label, Sides::Both);
    for (path, digest) in first.digests {
        match second.digests.remove(&path) {
            None if second.apart.contains(&path) => {}
            None => compared.removed.push(path),
            Some(other) if other == digest => compared.same += 1,
            Some(_) => compared.changed.push(path),
        }
    }
    compared.added = second.digests.into_keys().filter(|path| !second.apart.contains(path)).collect();
    compared
}
