//! From folder to folder, part by part of a pattern. No link is followed below the folder that all patterns begin with, so that a walk ends and
//! stays where it was sent.

use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

/// A part of a pattern, between two `/`.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// A name.
    Literal(String),
    /// Names that fit.
    Wild(Pattern),
    /// `**`: any number of folders.
    Folders,
}

/// What was found, and what could not be looked at or taken.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) paths: BTreeSet<PathBuf>,
    pub(super) refused: BTreeSet<String>,
    /// What is named, and is not there.
    pub(super) missing: BTreeSet<String>,
    /// How often something fitted, also what is excluded.
    pub(super) found: u64,
    /// Patterns that nothing fits.
    pub(super) unmatched: Vec<String>,
}

/// A walk that leaves out what it is told to.
pub(super) struct Walk<'w> {
    pub(super) is_excluded: &'w dyn Fn(&Path) -> bool,
    /// The folder that paths are told from.
    pub(super) base: Option<&'w Path>,
    pub(super) walked: Walked,
}

impl Part {
    /// Divides a pattern. A `**` at its end stands for all files below.
    pub(super) fn divide(pattern: &str) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for text in pattern.split('/').filter(|text| !text.is_empty()) {
            match text {
                // Several in a row mean the same as one, and would only be walked many times.
                "**" if matches!(parts.last(), Some(Part::Folders)) => {}
                "**" => parts.push(Part::Folders),
                _ => parts.push(match Pattern::new(text) {
                    Ok(pattern) if Pattern::escape(&super::patterns::unescaped(text)) != text => Part::Wild(pattern),
                    _ => Part::Literal(super::patterns::unescaped(text)),
                }),
            }
        }
        if let Some(Part::Folders) = parts.last() {
            parts.extend(Pattern::new("*").map(Part::Wild));
        }
        parts
    }
}

impl Walk<'_> {
    /// Finds what fits these parts below a folder.
    pub(super) fn step(&mut self, folder: &Path, parts: &[Part]) {
        if self.walked.paths.len() > MATCHES_MAX {
            return;
        }
        match parts {
            [] => {}
            [Part::Literal(name)] => {
                let path = folder.join(name);
                match path.symlink_metadata() {
                    Ok(metadata) if metadata.is_dir() => {
                        self.walked.found += 1;
                        self.refuse(format!(
                            "'{0}' is a folder; '{1}/**/*' stands for the files in it",
                            path.display(),
                            self.base.map_or(path.as_path(), |base| path.strip_prefix(base).unwrap_or(&path)).display()
                        ));
                    }
                    Ok(_) => self.take(path),
                    Err(error) if error.kind() == ErrorKind::NotFound => {
                        self.walked.found += 1;
                        self.walked.missing.insert(format!("'{}' does not exist", path.display()));
                    }
                    Err(error) => self.refuse(format!("cannot look at '{}': {error}", path.display())),
                }
            }
            [Part::Literal(name), rest @ ..] => self.descend(&folder.join(name), rest),
            [Part::Folders, rest @ ..] => {
                self.step(folder, rest);
                for entry in self.list(folder) {
                    let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                    if is_folder && !entry.file_name().as_encoded_bytes().starts_with(b".") && !(self.is_excluded)(&entry.path()) {
                        self.step(&entry.path(), parts);
                    }
                }
            }
            [Part::Wild(pattern), rest @ ..] => {
                for entry in self.list(folder) {
                    let (name, path) = (entry.file_name(), entry.path());
                    match name.to_str() {
                        None if (self.is_excluded)(&path) => {}
                        None => self.refuse(format!("'{}' is not named in UTF-8", path.display())),
                        Some(name) if !pattern.matches_with(name, OPTIONS) => {}
                        Some(_) if rest.is_empty() => self.take(path),
                        Some(_) => self.descend(&path, rest),
                    }
                }
            }
        }
    }

    fn descend(&mut self, path: &Path, rest: &[Part]) {
        if (self.is_excluded)(path) {
            return;
        }
        match path.symlink_metadata() {
            Ok(metadata) if metadata.is_dir() => self.step(path, rest),
            Ok(metadata) if metadata.is_symlink() && path.is_dir() => self.refuse(format!("'{}' is a symbolic link", path.display())),
            Err(error) if error.kind() != ErrorKind::NotFound => self.refuse(format!("cannot look at '{}': {error}", path.display())),
            _ => {}
        }
    }

    fn take(&mut self, path: PathBuf) {
        self.walked.found += 1;
        if (self.is_excluded)(&path) {
            return;
        }
        self.walked.paths.insert(path);
        if self.walked.paths.len() > MATCHES_MAX {
            self.refuse(format!("more than {MATCHES_MAX} files fit its patterns, and no more were looked for"));
        }
    }

    /// The entries of a folder; one that cannot be listed, or an entry that cannot be read, is told. One that is not there has none.
    fn list(&mut self, folder: &Path) -> Vec<DirEntry> {
        let listing = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        listing.unwrap_or_else(|error| {
            if error.kind() != ErrorKind::NotFound {
                self.refuse(format!("cannot list '{}': {error}", folder.display()));
            }
            Vec::new()
        })
    }

    fn refuse(&mut self, what: String) {
        self.walked.refused.insert(what);
    }
}

const OPTIONS: MatchOptions = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };
/// Far more than a source takes: what is too old or too large is among them.
const MATCHES_MAX: usize = 200_000;
