//! From patterns to files.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::walk::Walked;
use super::{Patterns, Redaction};

/// Which files are taken, and how.
#[derive(Debug, Clone)]
pub struct Selection {
    /// Where they are.
    pub patterns: Patterns,
    /// Only those that were changed within this time.
    pub newer_than: Option<Duration>,
    /// Larger ones are left out, and told.
    pub max_file_bytes: Option<u64>,
    /// With more bytes than this in all, nothing is taken.
    pub max_bytes: Option<u64>,
    /// What is left out of their text, for env files.
    pub redaction: Option<Redaction>,
}

/// What stands behind a selection at this moment.
#[derive(Debug, Default)]
pub struct Found {
    /// Sorted by name.
    pub files: Vec<FoundFile>,
    /// Too large, and left out for it.
    pub large: Vec<String>,
    /// What was meant and cannot be taken, and why.
    pub refused: Vec<String>,
    /// What is named without a sign that stands for others, and is not there.
    pub missing: Vec<String>,
    /// Patterns that no file fits.
    pub unmatched: Vec<String>,
    /// Whether any file fits the patterns, whatever its age and size.
    pub has_any: bool,
}

/// A file that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundFile {
    /// Its path.
    pub path: PathBuf,
    /// Its path from the folder of the patterns on.
    pub name: String,
    /// Bytes.
    pub size_bytes: u64,
}

impl Selection {
    /// Looks for the files, without opening one. What `is_apart` says yes to is left out silently: it belongs to something else.
    pub fn find(&self, now: SystemTime, is_apart: &dyn Fn(&Path, &Metadata) -> bool) -> Found {
        let mut found = Found::default();
        let Walked { paths, refused, missing, unmatched, .. } = self.patterns.walk();
        found.refused.extend(refused);
        found.missing.extend(missing);
        found.unmatched.extend(unmatched.iter().map(|text| self.patterns.shown(text)));
        let oldest = self.newer_than.and_then(|age| now.checked_sub(age));
        for path in paths {
            match path.symlink_metadata() {
                Ok(metadata) if metadata.is_dir() || is_apart(&path, &metadata) => {}
                Ok(metadata) => self.take(path, &metadata, oldest, &mut found),
                // It went away since the folder was listed.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => found.refused.push(format!("cannot look at '{}': {error}", path.display())),
            }
        }
        found
    }

    fn take(&self, path: PathBuf, metadata: &Metadata, oldest: Option<SystemTime>, found: &mut Found) {
        found.has_any = true;
        if metadata.is_symlink() {
            found.refused.push(format!("'{}' is a symbolic link", path.display()));
            return;
        }
        if !metadata.is_file() {
            found.refused.push(format!("'{}' is not a regular file", path.display()));
            return;
        }
        // A file that is dated into the future is new.
        if oldest.is_some_and(|oldest| metadata.modified().is_ok_and(|time| time < oldest)) {
            return;
        }
        let size_bytes = metadata.size();
        if self.max_file_bytes.is_some_and(|max| size_bytes > max) {
            found.large.push(format!("'{}' is left out: it has {size_bytes} bytes", path.display()));
            return;
        }
        match path.strip_prefix(self.patterns.folder()).ok().and_then(Path::to_str).map(str::to_owned) {
            Some(name) => found.files.push(FoundFile { path, name, size_bytes }),
            None => found.refused.push(format!("'{}' is not named in UTF-8", path.display())),
        }
    }
}

impl Found {
    /// Bytes of all files.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size_bytes).sum()
    }
}
