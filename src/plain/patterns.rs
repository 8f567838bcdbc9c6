//! Patterns for paths: `*`, `?`, `[a-z]` within a name, `**` for any number of folders.

use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::walk::{Part, Walk, Walked};

/// Which files are meant.
#[derive(Debug, Clone)]
pub struct Patterns {
    base: PathBuf,
    folder: PathBuf,
    include: Vec<String>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    /// Takes patterns; those that are not absolute begin at `base`. A file is meant if one of `include` fits it, and none of `exclude` fits
    /// it or a folder that it is in. A `*` at the beginning of a name stands for no leading dot.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn parse(base: &Path, include: &[String], exclude: &[String]) -> Result<Patterns, String> {
        let base = base.to_str().ok_or_else(|| format!("the folder '{}' is not named in UTF-8", base.display()))?;
        let absolute = |text: &String| absolute(base, text);
        let include = include.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        let exclude = exclude.iter().map(absolute).collect::<Result<Vec<_>, _>>()?;
        let exclude = exclude.iter().map(|text| parsed(text)).collect::<Result<_, _>>()?;
        let folder = include.iter().map(|text| literal_folder(text)).reduce(|a, b| common(&a, &b)).ok_or("no pattern is given")?;
        Ok(Patterns { base: base.into(), folder, include, exclude })
    }

    /// The folder that everything lies below: what all patterns begin with.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The patterns, absolute.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.include
    }

    /// A pattern as it was written, or nearly so.
    pub(super) fn shown(&self, text: &str) -> String {
        let base = format!("{}/", Pattern::escape(&self.base.to_string_lossy()));
        text.strip_prefix(&base).unwrap_or(text).to_owned()
    }

    /// All that fits, and what could not be looked at.
    pub(super) fn walk(&self) -> Walked {
        let is_excluded = |path: &Path| self.is_excluded(path);
        let mut walk = Walk { is_excluded: &is_excluded, base: Some(&self.base), walked: Walked::default() };
        for text in &self.include {
            // The folder is what all of them begin with, so that it stands for as many parts of each.
            let parts = Part::divide(text);
            let before = walk.walked.found;
            walk.step(&self.folder, &parts[self.folder.components().count() - 1..]);
            if walk.walked.found == before {
                walk.walked.unmatched.push(text.clone());
            }
        }
        walk.walked
    }

    fn is_excluded(&self, path: &Path) -> bool {
        let below = path.ancestors().take_while(|ancestor| *ancestor != self.folder);
        below.into_iter().any(|path| self.exclude.iter().any(|pattern| pattern.matches_path_with(path, EXCLUDING)))
    }
}

/// Whether a label fits a pattern, in which `*` and `?` stand for parts of a name, and not for the `/` in front of a tenant's.
#[must_use]
pub fn label_fits(label: &str, pattern: &str) -> bool {
    label == pattern || Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_with(label, OPTIONS))
}

fn absolute(base: &str, text: &str) -> Result<String, String> {
    if text.split('/').any(|part| part == "..") {
        return Err(format!("'{text}' leads upward with '..'"));
    }
    let inner = text.strip_prefix("./").unwrap_or(text);
    if inner.trim_start_matches('/').trim_end_matches('/').split('/').any(|part| matches!(part, "" | ".")) {
        return Err(format!("'{text}' has a part that is empty or '.'"));
    }
    let absolute = match text.starts_with('/') {
        true => text.to_owned(),
        false => format!("{}/{}", Pattern::escape(base.trim_end_matches('/')), text.trim_start_matches("./")),
    };
    parsed(&absolute).map_err(|_| parsed(text).err().unwrap_or_else(|| format!("'{text}' is no pattern")))?;
    match absolute.ends_with('/') {
        true => Err(format!("'{text}' names a folder; '{text}**/*' stands for all files in it")),
        false => Ok(absolute),
    }
}

fn parsed(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| format!("'{text}' is no pattern: {}", error.msg))
}

/// The folder in front of the first part that stands for others.
fn literal_folder(pattern: &str) -> PathBuf {
    let parts: Vec<&str> = pattern.split('/').collect();
    let literal = parts[..parts.len() - 1].iter().take_while(|part| is_literal(part));
    literal.fold(PathBuf::from("/"), |folder, part| folder.join(unescaped(part)))
}

/// Whether it stands for nothing but itself, as `Pattern::escape` writes it.
fn is_literal(part: &str) -> bool {
    Pattern::escape(&unescaped(part)) == part
}

pub(super) fn unescaped(part: &str) -> String {
    ["*", "?", "[", "]"].iter().fold(part.to_owned(), |text, sign| text.replace(&format!("[{sign}]"), sign))
}

fn common(a: &Path, b: &Path) -> PathBuf {
    a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(a, _): (Component<'_>, _)| a).collect()
}

/// What is left out is left out also below folders whose names begin with a dot.
const EXCLUDING: MatchOptions = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
const OPTIONS: MatchOptions = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(include: &[&str]) -> Result<PathBuf, String> {
        let include: Vec<String> = include.iter().map(|text| (*text).to_owned()).collect();
        Patterns::parse(Path::new("/srv/app"), &include, &[]).map(|patterns| patterns.folder().to_owned())
    }

    #[test]
    fn the_folder_is_what_all_patterns_begin_with() {
        for (include, expected) in [
            (&["config/*.toml"][..], "/srv/app/config"),
            (&["config/app.toml"], "/srv/app/config"),
            (&["config/*.toml", "schema/**/*.sql"], "/srv/app"),
            (&["/etc/app/*", "config/*"], "/"),
            (&["./a?/b"], "/srv/app"),
            (&["[ab]/c"], "/srv/app"),
        ] {
            assert_eq!(folder(include).unwrap(), Path::new(expected), "{include:?}");
        }
    }

    #[test]
    fn signs_in_the_name_of_the_folder_stand_for_themselves() {
        let patterns = Patterns::parse(Path::new("/srv/[x]*/app"), &["a/*".to_owned()], &[]).unwrap();
        assert_eq!(patterns.folder(), Path::new("/srv/[x]*/app/a"));
    }

    #[test]
    fn labels_fit_patterns() {
        for (label, pattern, fits) in [
            ("main", "main", true),
            ("main", "ma*", true),
            ("main", "*", true),
            ("tenants/acme", "*", false),
            ("tenants/acme", "tenants/*", true),
            ("tenants/acme", "tenants/a*", true),
            ("tenants/acme", "tenants/b*", false),
            ("tenants/acme", "**", true),
            ("main", "[", false),
        ] {
            assert_eq!(label_fits(label, pattern), fits, "{label} {pattern}");
        }
    }

    #[test]
    fn wrong_patterns_are_told() {
        assert_eq!(folder(&["a/../b"]).unwrap_err(), "'a/../b' leads upward with '..'");
        assert_eq!(folder(&["logs/"]).unwrap_err(), "'logs/' names a folder; 'logs/**/*' stands for all files in it");
        assert!(folder(&["a**"]).unwrap_err().starts_with("'a**' is no pattern: "));
        assert_eq!(folder(&[]).unwrap_err(), "no pattern is given");
    }
}
