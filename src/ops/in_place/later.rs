//! Where there is no live database to compare with: what later bundles had at least.

use std::path::Path;

use crate::bundle::{Id, Keyring, Label, Manifest, PublicCore};
use crate::files::Folder;
use crate::ops::inspect;
use crate::vault::bundles_in;

/// Row counts of the newest later bundle of the set, and of the one that is restored.
#[derive(Default)]
pub(super) struct LaterRows {
    later: Option<Manifest>,
    restored: Option<Manifest>,
}

impl LaterRows {
    /// Finds the newest bundle behind this one that the keys open; what cannot be read is passed over.
    pub(super) fn find(vault: &Path, core: &PublicCore, manifest: &Manifest, ring: &Keyring) -> LaterRows {
        let Ok(folder) = vault.canonicalize().map_err(drop).and_then(|path| Folder::open(&path).map_err(drop)) else {
            return LaterRows::default();
        };
        let mut later: Vec<(u64, String)> = bundles_in(&folder)
            .unwrap_or_default()
            .into_iter()
            .filter(|bundle| bundle.core().is_some_and(|other| is_later(other, core.set.id, core.sequence)))
            .map(|bundle| (bundle.sequence, bundle.name))
            .collect();
        later.sort_unstable_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        let manifest_of = |(_, name): (u64, String)| inspect(&folder.path().join(name), ring).ok()?.manifest;
        LaterRows { later: later.into_iter().find_map(manifest_of), restored: Some(manifest.clone()) }
    }

    /// So many rows more than the restored snapshot a later one has.
    pub(super) fn rows_of(&self, label: &Label, table: &str) -> Option<u64> {
        let rows = |manifest: &Manifest| {
            let source = manifest.sources.iter().find(|source| source.label == *label)?;
            source.tables.iter().find(|facts| facts.name.eq_ignore_ascii_case(table))?.rows
        };
        let before = self.restored.as_ref().and_then(rows).unwrap_or(0);
        self.later.as_ref().and_then(rows).map(|after| after.saturating_sub(before))
    }
}

fn is_later(other: &PublicCore, set: Id, sequence: u64) -> bool {
    other.set.id == set && other.sequence > sequence
}
