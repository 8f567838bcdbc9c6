//! Which SQLite databases lie below a folder, for a configuration to begin with.
//!
//! They are known by their first bytes.

use std::collections::{BTreeMap, VecDeque};
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use airkeep::Label;
use airkeep::config::Found;
use airkeep::vault::IDENTITY;

use crate::cli::sqlite_file::is_database;

/// What was found.
#[derive(Debug, Default)]
pub struct Survey {
    /// For the configuration.
    pub found: Found,
    /// How many databases that are.
    pub count: usize,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Looks through a folder and those in it, down to [`DEPTH`], but not through hidden ones, vaults, and what build tools fill.
pub fn survey(root: &Path) -> Survey {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let mut survey = Survey::default();
    let mut folders = VecDeque::from([(PathBuf::new(), 0)]);
    while let Some((folder, depth)) = folders.pop_front() {
        // What cannot be read is nothing that this account could back up.
        let Ok(listing) = root.join(&folder).read_dir() else { continue };
        let mut entries: Vec<DirEntry> = listing.flatten().take(ENTRIES_MAX - looked_at).collect();
        entries.sort_by_key(DirEntry::file_name);
        looked_at += entries.len();
        for entry in entries {
            let path = folder.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEPTH && is_looked_through(&entry) => folders.push_back((path, depth + 1)),
                Ok(kind) if kind.is_file() && is_database(&entry.path()) => found.push(path),
                _ => {}
            }
        }
        if looked_at >= ENTRIES_MAX {
            survey.notes.push(format!("there are more than {ENTRIES_MAX} files here: perhaps not all databases were found"));
            break;
        }
    }
    survey.count = found.len();
    found.sort();
    survey.name(found);
    survey
}

fn is_looked_through(folder: &DirEntry) -> bool {
    let name = folder.file_name();
    let is_skipped = name.to_str().is_some_and(|name| name.starts_with('.') || SKIPPED.contains(&name));
    !is_skipped && !folder.path().join(IDENTITY).exists()
}

impl Survey {
    /// Gives each database a label.
    fn name(&mut self, paths: Vec<PathBuf>) {
        let mut texts = Vec::new();
        for path in paths {
            match path.to_str() {
                Some(text) if !text.contains('*') => texts.push(text.to_owned()),
                _ => {
                    self.count -= 1;
                    self.notes.push(format!("'{}' is a database, and its name cannot stand in a configuration", path.display()));
                }
            }
        }
        self.found.tenants = tenants(&texts);
        for text in texts {
            if !self.found.tenants.as_ref().is_some_and(|pattern| fits(pattern, &text)) {
                let label = self.label(&text);
                self.found.databases.push((label, text));
            }
        }
    }

    /// A label that no other has.
    fn label(&self, path: &str) -> Label {
        let stem = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
        let first = Label::from_stem(&stem).map_or_else(|| "database".to_owned(), |label| label.to_string());
        let numbered = (2_usize..).map(|number| {
            let end = format!("-{number}");
            format!("{}{end}", &first[..first.len().min(LABEL_MAX - end.len())])
        });
        let is_free = |label: &Label| self.found.databases.iter().all(|(other, _)| other != label);
        let mut candidates = std::iter::once(first.clone()).chain(numbered).filter_map(|text| Label::parse(&text).ok());
        candidates.find(is_free).expect("numbers do not end")
    }
}

/// The first folder `tenants` with several databases whose names differ only in what can be a label.
fn tenants(paths: &[String]) -> Option<String> {
    let mut shapes: BTreeMap<(String, String), (usize, bool)> = BTreeMap::new();
    for path in paths {
        let Some((folder, file)) = path.rsplit_once('/').filter(|(folder, _)| folder.rsplit('/').next() == Some("tenants")) else {
            continue;
        };
        let (slug, suffix) = file.split_once('.').map_or((file, String::new()), |(slug, rest)| (slug, format!(".{rest}")));
        let is_label = Label::parse(&format!("tenants/{slug}")).is_ok();
        let (count, is_legal) = shapes.entry((folder.to_owned(), suffix)).or_insert((0, true));
        (*count, *is_legal) = (*count + 1, *is_legal && is_label);
    }
    let pattern = |((folder, suffix), (count, is_legal)): ((String, String), (usize, bool))| {
        // Without an ending the pattern would mean every file.
        (count > 1 && is_legal && !suffix.is_empty()).then(|| format!("{folder}/*{suffix}"))
    };
    shapes.into_iter().find_map(pattern)
}

fn fits(pattern: &str, path: &str) -> bool {
    let (prefix, suffix) = pattern.split_once('*').expect("a pattern has a star");
    path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix)).is_some_and(|slug| !slug.contains('/'))
}

/// How many folders deep.
const DEPTH: usize = 4;
/// A person waits.
const ENTRIES_MAX: usize = 20_000;
const LABEL_MAX: usize = 64;
const SKIPPED: [&str; 2] = ["node_modules", "target"];

#[cfg(test)]
mod tests {
    use super::*;

    fn place(files: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for file in files {
            let path = place.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"SQLite format 3\0 and so on").unwrap();
        }
        place
    }

    fn found(files: &[&str]) -> (Vec<(String, String)>, Option<String>) {
        let Found { databases, tenants, .. } = survey(place(files).path()).found;
        (databases.into_iter().map(|(label, path)| (label.to_string(), path)).collect(), tenants)
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(label, path)| ((*label).to_owned(), (*path).to_owned())).collect()
    }

    #[test]
    fn looks_where_an_application_keeps_its_data() {
        let place = place(&[
            "app.db",
            "data/a/b/c/deep.sqlite",
            "data/a/b/c/d/deeper.db",
            ".git/x.db",
            "node_modules/x.db",
            "target/x.db",
            "vault/old.db",
        ]);
        for (file, content) in [
            ("vault/vault.json", "{}"),
            ("app.db-wal", "7\x7f\x06 and so on, a magic of its own"),
            ("note.db", "SQLite format 2"),
            ("empty", ""),
        ] {
            std::fs::write(place.path().join(file), content).unwrap();
        }
        std::os::unix::fs::symlink("app.db", place.path().join("link.db")).unwrap();
        let survey = survey(place.path());
        let paths: Vec<_> = survey.found.databases.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!((paths, survey.count), (vec!["app.db", "data/a/b/c/deep.sqlite"], 2));
    }

    #[test]
    fn labels_that_clash_are_numbered() {
        let files = ["---.db", "a/App.db", "app-2.db", "app.db", "app.sqlite"];
        let expected = [("database", "---.db"), ("app", "a/App.db"), ("app-2", "app-2.db"), ("app-3", "app.db"), ("app-4", "app.sqlite")];
        assert_eq!(found(&files).0, pairs(&expected));
        let long = "x".repeat(70);
        let (databases, _) = found(&[&format!("{long}.db"), &format!("b/{long}.db")]);
        assert_eq!((databases[0].0.len(), databases[1].0.as_str()), (64, &*format!("{}-2", "x".repeat(62))));
    }

    #[test]
    fn tenants_are_one_pattern_where_all_of_them_can_be_labels() {
        let (databases, pattern) = found(&["data/tenants/acme.db", "data/tenants/beta.db", "data/tenants/notes.sqlite", "main.db"]);
        assert_eq!(pattern.as_deref(), Some("data/tenants/*.db"));
        assert_eq!(databases, pairs(&[("notes", "data/tenants/notes.sqlite"), ("main", "main.db")]));
        let (databases, pattern) = found(&["tenants/Acme.db", "tenants/beta.db"]);
        assert_eq!((databases, pattern), (pairs(&[("acme", "tenants/Acme.db"), ("beta", "tenants/beta.db")]), None));
        assert_eq!(found(&["tenants/only.db"]).1, None);
        assert_eq!(found(&["tenants/a", "tenants/b"]).1, None, "a pattern for everything would be none");
    }

    #[test]
    fn a_name_that_cannot_stand_in_a_configuration_is_told() {
        let survey = survey(place(&["a*b.db", "fine.db"]).path());
        assert_eq!((survey.count, survey.found.databases.len(), survey.notes.len()), (1, 1, 1), "{:?}", survey.notes);
    }
}
