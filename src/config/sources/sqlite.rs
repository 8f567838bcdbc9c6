//! Databases: by path, by URL, or by a pattern for tenants, and what a site demands of them.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::Table;
use crate::bundle::Label;
use crate::config::ConfigError;
use crate::database::{Assertion, SIDECARS};

/// Databases.
#[derive(Debug, Clone)]
pub struct SqliteConfig {
    /// Where they are.
    pub location: Location,
    /// The group that is captured in one cut.
    pub group: Option<String>,
    /// Tables that only grow, or a file ending in `.json` that lists them.
    pub append_only: Vec<String>,
    /// What is demanded of their content.
    pub assertions: Vec<Assertion>,
    /// The application's own check of a database that was restored: a program and its arguments.
    pub check: Option<Vec<String>>,
}

/// Where a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// One database.
    Path {
        /// Its label.
        label: Label,
        /// Its path.
        path: PathBuf,
    },
    /// Each file of a folder whose name fits.
    Pattern {
        /// The folder.
        folder: PathBuf,
        /// What the name begins with.
        prefix: String,
        /// What it ends with.
        suffix: String,
    },
}

/// What stands behind a source at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expanded {
    /// Label and path of each database.
    pub found: Vec<(Label, PathBuf)>,
    /// Files that fit and whose names cannot become labels, and folders that cannot be read.
    pub refused: Vec<String>,
}

pub(super) fn read(table: &mut Table<'_>) -> Result<SqliteConfig, ConfigError> {
    let (text, span) = table.spanned_text("sqlite")?.ok_or_else(|| table.missing("sqlite"))?;
    let name = table.name.clone();
    let path = path_of(&text).map_err(|why| table.illegal(span, "sqlite", why))?;
    let location = location(&name, &table.resolve(&path)).map_err(|why| table.illegal(table.span, &name, why))?;
    let append_only = table.texts("append-only")?.into_iter().map(|text| match text.ends_with(".json") {
        true => table.resolve(&text).to_string_lossy().into_owned(),
        false => text,
    });
    Ok(SqliteConfig {
        location,
        append_only: append_only.collect(),
        group: table.text("group")?,
        assertions: table.parsed_list("assert", Assertion::parse)?,
        check: check(table)?,
    })
}

/// A list: no shell takes a line apart.
fn check(table: &mut Table<'_>) -> Result<Option<Vec<String>>, ConfigError> {
    let words = table.list("check")?;
    match &words {
        Some(words) if words.first().is_none_or(String::is_empty) => Err(table.illegal(table.span, "check", "it names no program")),
        _ => Ok(words),
    }
}

fn location(name: &str, path: &Path) -> Result<Location, String> {
    let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
    match (name == TENANTS, file.split_once('*')) {
        (true, Some((_, rest))) if rest.contains('*') => Err("a pattern has one '*'".to_owned()),
        (true, Some((prefix, suffix))) => {
            let folder = path.parent().unwrap_or(Path::new("/")).to_owned();
            Ok(Location::Pattern { folder, prefix: prefix.to_owned(), suffix: suffix.to_owned() })
        }
        (true, None) => Err(format!("the path of '{TENANTS}' needs a '*' in the file's name, which becomes the label")),
        (false, Some(_)) => Err(format!("a pattern needs the name \"{TENANTS}\"")),
        (false, None) => Label::parse(name).map(|label| Location::Path { label, path: path.to_owned() }).map_err(|error| error.to_string()),
    }
}

/// Takes the path out of a URL as applications write it (`file:…`, `sqlite:…`), or the text as it is.
fn path_of(text: &str) -> Result<String, String> {
    let scheme = ["sqlite", "sqlite3", "file"].into_iter().find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix(':'));
    let Some(rest) = scheme else { return Ok(text.to_owned()) };
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    // Libraries do not agree on what three slashes mean; a path after "//" begins with the host.
    let path = match path.strip_prefix("//") {
        Some(rest) if rest.starts_with('/') && text.starts_with("sqlite") => {
            return Err(format!("'{text}' means 'relative' to some libraries and 'absolute' to others; write the path"));
        }
        Some(rest) => rest,
        None => path,
    };
    match path {
        "" | ":memory:" => Err(format!("'{text}' names no file")),
        path => Ok(path.to_owned()),
    }
}

impl SqliteConfig {
    /// The databases that there are.
    pub(super) fn expand(&self) -> Expanded {
        match &self.location {
            Location::Path { label, path } => Expanded { found: vec![(label.clone(), path.clone())], refused: Vec::new() },
            Location::Pattern { folder, prefix, suffix } => tenants(folder, prefix, suffix),
        }
    }

    /// Where the database of a label belongs, whether it is there or not.
    #[must_use]
    pub fn path_of(&self, wanted: &Label) -> Option<PathBuf> {
        match &self.location {
            Location::Path { label, path } => (label == wanted).then(|| path.clone()),
            Location::Pattern { folder, prefix, suffix } => {
                let slug = wanted.as_str().strip_prefix("tenants/")?;
                Some(folder.join(format!("{prefix}{slug}{suffix}")))
            }
        }
    }
}

fn tenants(folder: &Path, prefix: &str, suffix: &str) -> Expanded {
    let mut expanded = Expanded { found: Vec::new(), refused: Vec::new() };
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) => {
            expanded.refused.push(format!("cannot list '{}': {error}", folder.display()));
            return expanded;
        }
    };
    for entry in listing {
        match entry {
            Ok(entry) => tenant(&entry, prefix, suffix, &mut expanded),
            Err(error) => expanded.refused.push(format!("cannot list '{}': {error}", folder.display())),
        }
    }
    expanded.found.sort();
    expanded.refused.sort();
    expanded
}

fn tenant(entry: &DirEntry, prefix: &str, suffix: &str, expanded: &mut Expanded) {
    let (file, path) = (entry.file_name(), entry.path());
    let Some(name) = file.to_str() else {
        let bytes = file.as_encoded_bytes();
        if bytes.starts_with(prefix.as_bytes()) && bytes.ends_with(suffix.as_bytes()) {
            expanded.refused.push(format!("'{}' cannot become a label", path.display()));
        }
        return;
    };
    let Some(slug) = name.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)) else { return };
    let is_sidecar = SIDECARS.iter().filter_map(|ending| name.strip_suffix(ending)).any(|database| path.with_file_name(database).exists());
    if is_sidecar || path.is_dir() {
        return;
    }
    // Only what may be a label: a slug cannot lead out of its folder.
    match Label::parse(&format!("tenants/{slug}")) {
        Ok(label) => expanded.found.push((label, path)),
        Err(_) => expanded.refused.push(format!("'{}' cannot become a label", path.display())),
    }
}

const TENANTS: &str = "tenants/*";
