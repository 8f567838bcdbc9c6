//! Naming a bundle without its path: the newest of a vault, one by its number, or the newest before a moment.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::bundle::{Kind, PublicCore, UtcTime};
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

    /// Finds the bundle in a vault.
    ///
    /// # Errors
    /// [`Failure::NoVault`], [`Failure::NoSuchBundle`].
    pub fn find(&self, vault: &Path) -> Result<PathBuf, Failure> {
        if let Reference::Path(path) = self {
            return Ok(path.clone());
        }
        let no_vault = || Failure::NoVault { path: vault.to_owned() };
        if !vault.is_dir() {
            return Err(no_vault());
        }
        let folder = Folder::open(&vault.canonicalize().map_err(FileError::io("open folder", vault))?)?;
        let (set, _) = identity_in(&folder)?.ok_or_else(no_vault)?;
        let bundles = bundles_in(&folder)?;
        let own = bundles.iter().filter_map(|bundle| Some((bundle, bundle.core()?))).filter(|(_, core)| core.set.id == set.id);
        let newest = own.filter(|(_, core)| self.means(core)).max_by_key(|(_, core)| core.sequence);
        match newest {
            Some((bundle, _)) => Ok(vault.join(&bundle.name)),
            None => Err(Failure::NoSuchBundle { vault: vault.to_owned(), what: self.words() }),
        }
    }

    fn means(&self, core: &PublicCore) -> bool {
        match self {
            Reference::Path(_) => false,
            Reference::Latest => is_of_its_time(core.kind),
            Reference::Sequence(number) => core.sequence == *number,
            Reference::Before(moment) => is_of_its_time(core.kind) && core.created_at.as_str() < moment.as_str(),
        }
    }

    fn words(&self) -> String {
        match self {
            Reference::Path(path) => format!("'{}'", path.display()),
            Reference::Latest => "bundle but safety and imported ones".to_owned(),
            Reference::Sequence(number) => format!("bundle {number}"),
            Reference::Before(moment) => format!("bundle from before {moment}"),
        }
    }
}

fn is_of_its_time(kind: Kind) -> bool {
    !matches!(kind, Kind::Safety | Kind::Imported)
}
