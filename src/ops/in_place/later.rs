//! Where there is no live database to compare with: what later bundles had at least.

use std::cell::OnceCell;
use std::path::{Path, PathBuf};

use crate::bundle::{Id, Keyring, Label, Manifest, PublicCore};
use crate::files::Folder;
use crate::ops::inspect;
use crate::vault::bundles_in;

/// Row counts of the newest later bundle of the set, and of the one that is restored.
///
/// Bundles are only opened once somebody asks: where the live database can be read, nobody does.
pub(super) struct LaterRows<'r> {
    vault: PathBuf,
    core: &'r PublicCore,
    restored: &'r Manifest,
    ring: &'r Keyring,
    later: OnceCell<Option<Manifest>>,
}

impl<'r> LaterRows<'r> {
    /// Those of this vault that the keys open.
    pub(super) fn of(vault: &Path, core: &'r PublicCore, restored: &'r Manifest, ring: &'r Keyring) -> LaterRows<'r> {
        LaterRows { vault: vault.to_owned(), core, restored, ring, later: OnceCell::new() }
    }

    /// So many rows more than the restored snapshot a later one has.
    pub(super) fn rows_of(&self, label: &Label, table: &str) -> Option<u64> {
        let rows = |manifest: &Manifest| {
            let source = manifest.sources.iter().find(|source| source.label == *label)?;
            source.tables.iter().find(|facts| facts.name.eq_ignore_ascii_case(table))?.rows
        };
        let after = self.later.get_or_init(|| self.find()).as_ref().and_then(rows)?;
        Some(after.saturating_sub(rows(self.restored).unwrap_or(0)))
    }

    /// The newest bundle behind the restored one that the keys open; what cannot be read is passed over.
    fn find(&self) -> Option<Manifest> {
        let folder = Folder::open(&self.vault.canonicalize().ok()?).ok()?;
        let mut later: Vec<(u64, String)> = bundles_in(&folder)
            .ok()?
            .into_iter()
            .filter(|bundle| bundle.core().is_some_and(|other| is_later(other, self.core.set.id, self.core.sequence)))
            .map(|bundle| (bundle.sequence, bundle.name))
            .collect();
        later.sort_unstable_by_key(|(sequence, _)| std::cmp::Reverse(*sequence));
        later.into_iter().find_map(|(_, name)| inspect(&folder.path().join(name), self.ring).ok()?.manifest)
    }
}

fn is_later(other: &PublicCore, set: Id, sequence: u64) -> bool {
    other.set.id == set && other.sequence > sequence
}
