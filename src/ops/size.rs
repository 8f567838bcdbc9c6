//! Size: what bundles take, and with a key what is in them. Reads front, index and manifest, not the frames.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::audit::open_vault;
use super::{Facts, Failure, inspect};
use crate::bundle::{BundleError, Keyring, Label, Manifest};
use crate::files::Folder;
use crate::vault::bundles_in;

/// The sizes of bundles.
#[derive(Debug, Default)]
pub struct SizeReport {
    /// Oldest first.
    pub bundles: Vec<Facts>,
    /// Files that are no whole bundle, or that no key opens, and why.
    pub unread: Vec<(PathBuf, String)>,
}

/// What one label takes in all bundles that were opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LabelSize {
    /// Bundles that hold it.
    pub bundles: u64,
    /// Bytes of its images, before compression.
    pub source_bytes: u64,
    /// Bytes of the newest one.
    pub newest_bytes: u64,
}

impl SizeReport {
    /// Bytes of all bundles.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.bundles.iter().map(|facts| facts.size_bytes).sum()
    }

    /// Bytes of all sources; nothing unless every bundle was opened.
    #[must_use]
    pub fn source_bytes(&self) -> Option<u64> {
        self.bundles.iter().map(source_bytes).sum()
    }

    /// What each label takes.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<Label, LabelSize> {
        let mut labels = BTreeMap::<Label, LabelSize>::new();
        for (label, size_bytes) in self.bundles.iter().filter_map(|facts| facts.manifest.as_ref()).flat_map(sizes) {
            let size = labels.entry(label.clone()).or_default();
            size.bundles += 1;
            size.source_bytes += size_bytes;
            size.newest_bytes = size_bytes;
        }
        labels
    }
}

/// Bytes of the sources of a bundle, before compression; nothing without a key.
#[must_use]
pub fn source_bytes(facts: &Facts) -> Option<u64> {
    Some(sizes(facts.manifest.as_ref()?).map(|(_, size_bytes)| size_bytes).sum())
}

/// Each source of a bundle with its bytes, before compression.
pub fn sizes(manifest: &Manifest) -> impl Iterator<Item = (&Label, u64)> {
    let databases = manifest.sources.iter().map(|source| (&source.label, source.size_bytes));
    databases.chain(manifest.files.iter().map(|set| (&set.label, set.size_bytes)))
}

/// Measures one bundle.
///
/// # Errors
/// As [`inspect`].
pub fn measure(bundle: &Path, ring: &Keyring) -> Result<SizeReport, Failure> {
    Ok(SizeReport { bundles: vec![inspect(bundle, ring)?], unread: Vec::new() })
}

/// Measures the bundles of a vault; one that the keys do not open tells what is public.
///
/// # Errors
/// [`Failure::NoVault`], what the file system says.
pub fn measure_vault(vault: &Path, ring: &Keyring) -> Result<SizeReport, Failure> {
    let folder: Folder = open_vault(vault)?;
    let mut report = SizeReport::default();
    for shelved in bundles_in(&folder)? {
        let path = vault.join(&shelved.name);
        match inspect(&path, ring) {
            Ok(facts) => report.bundles.push(facts),
            Err(failure) => {
                let is_locked = matches!(&failure, Failure::Bundle { source: BundleError::KeyRejected, .. });
                let public = if is_locked { inspect(&path, &Keyring::default()).ok() } else { None };
                report.bundles.extend(public);
                let cause = std::error::Error::source(&failure).map(ToString::to_string);
                report.unread.push((path, cause.unwrap_or_else(|| failure.to_string())));
            }
        }
    }
    report.bundles.sort_by_key(|facts| facts.core.sequence);
    Ok(report)
}
