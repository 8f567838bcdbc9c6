//! Naming a bundle without its path: the newest of a vault, one by its number, or the newest before a moment.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Failure, list};
use crate::bundle::{Id, Kind, Label, PublicCore, UtcTime};
use crate::files::{FileError, Folder};
use crate::vault::{bundles_in, identity_in};

/// How a bundle is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// By its path.
    Path(PathBuf),
    /// The newest of live databases. Safety bundles show what a restore replaced, imported ones what was long ago: both are passed over,
    /// and named by their numbers.
    Latest,
    /// By its place in the set.
    Sequence(u64),
    /// The newest that was sealed before this moment, the same passed over.
    Before(UtcTime),
}

impl Reference {
    /// Reads `latest`, a number, or a path; what exists as a file is a path.
    #[must_use]
    pub fn parse(text: &str) -> Reference {
        match text {
            _ if Path::new(text).exists() => Reference::Path(text.into()),
            "latest" => Reference::Latest,
            _ => text.parse().map_or_else(|_| Reference::Path(text.into()), Reference::Sequence),
        }
    }

    /// Finds the bundle in a vault, for these labels: the newest is the newest that holds all of them, by the journal. A bundle of which
    /// nobody knows what it holds counts as holding them; whether it does shows when it is opened.
    ///
    /// # Errors
    /// [`Failure::NoVault`], [`Failure::NoSuchBundle`].
    pub fn find(&self, vault: &Path, labels: &[Label]) -> Result<FoundBundle, Failure> {
        if let Reference::Path(path) = self {
            return Ok(FoundBundle { path: path.clone(), sequence: None, elsewhere: Vec::new() });
        }
        let no_vault = || Failure::NoVault { path: vault.to_owned() };
        if !vault.is_dir() {
            return Err(no_vault());
        }
        let folder = Folder::open(&vault.canonicalize().map_err(FileError::io("open folder", vault))?)?;
        let (set, _) = identity_in(&folder)?.ok_or_else(no_vault)?;
        let bundles = bundles_in(&folder)?;
        let own = bundles.iter().filter_map(|bundle| Some((bundle, bundle.core()?))).filter(|(_, core)| core.set.id == set.id);
        let mut meant: Vec<_> = own.filter(|(_, core)| self.means(core)).collect();
        meant.sort_by_key(|(_, core)| std::cmp::Reverse(core.sequence));
        let known = if matches!(self, Reference::Sequence(_)) { HashMap::new() } else { known_labels(vault)? };
        let has = |core: &PublicCore, label: &str| known.get(&core.id).is_none_or(|known| known.iter().any(|known| known == label));
        let chosen = meant.iter().position(|(_, core)| labels.iter().all(|label| has(core, label.as_str())));
        let none = || Failure::NoSuchBundle { vault: vault.to_owned(), what: self.words(labels) };
        let (bundle, core) = meant[chosen.ok_or_else(none)?];
        let mut elsewhere: Vec<(u64, Vec<String>)> = Vec::new();
        for (_, older) in meant.iter().filter(|_| labels.is_empty()) {
            let told = |label: &String| elsewhere.iter().any(|(_, labels)| labels.contains(label));
            let lacking = known.get(&older.id).into_iter().flatten().filter(|label| !has(core, label) && !told(label));
            let lacking: Vec<String> = lacking.cloned().collect();
            elsewhere.extend((!lacking.is_empty()).then_some((older.sequence, lacking)));
        }
        Ok(FoundBundle { path: vault.join(&bundle.name), sequence: Some(core.sequence), elsewhere })
    }

    fn means(&self, core: &PublicCore) -> bool {
        match self {
            Reference::Path(_) => false,
            Reference::Latest => is_of_its_time(core.kind),
            Reference::Sequence(number) => core.sequence == *number,
            Reference::Before(moment) => is_of_its_time(core.kind) && core.created_at.as_str() < moment.as_str(),
        }
    }

    fn words(&self, labels: &[Label]) -> String {
        let labels: Vec<&str> = labels.iter().map(Label::as_str).collect();
        let with = if labels.is_empty() { String::new() } else { format!(" with {}", labels.join(", ")) };
        match self {
            Reference::Path(path) => format!("'{}'", path.display()),
            Reference::Sequence(number) => format!("bundle {number}"),
            Reference::Latest => format!("bundle{with} (safety and imported ones are passed over)"),
            Reference::Before(moment) => format!("bundle{with} from before {moment} (safety and imported ones are passed over)"),
        }
    }
}

/// A bundle that was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundBundle {
    /// Its path.
    pub path: PathBuf,
    /// Its place in the set, where it was looked up.
    pub sequence: Option<u64>,
    /// Where no label was asked for: labels that earlier bundles hold and this one does not, with the newest that does.
    pub elsewhere: Vec<(u64, Vec<String>)>,
}

/// What each bundle holds, by the journal.
fn known_labels(vault: &Path) -> Result<HashMap<Id, Vec<String>>, Failure> {
    let listed = list(vault)?.bundles.into_iter();
    Ok(listed.filter_map(|listed| Some((listed.id, listed.recorded?.labels))).collect())
}

fn is_of_its_time(kind: Kind) -> bool {
    !matches!(kind, Kind::Safety | Kind::Imported)
}
