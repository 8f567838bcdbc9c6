//! Labels out of the names of old backups. A name becomes a label or nothing; it is never a path.

use super::ImportFault;
use crate::bundle::Label;

/// The labels of the databases of one file: the one that was given, or each out of its name.
pub(super) fn choose(given: Option<&Label>, file: &str, entries: &[Option<&str>]) -> Result<Vec<Label>, ImportFault> {
    if let Some(label) = given {
        return match entries.len() {
            1 => Ok(vec![label.clone()]),
            count => Err(ImportFault::SeveralForLabel { count }),
        };
    }
    let names: Vec<&str> = entries.iter().map(|entry| entry.unwrap_or(file)).collect();
    let short: Vec<Option<Label>> = names.iter().map(|name| short(name)).collect();
    let is_unique = |label: &Option<Label>| short.iter().filter(|other| *other == label).count() == 1;
    let labels = short.iter().zip(&names).map(|(label, name)| {
        let label = if is_unique(label) { label.clone() } else { Label::from_stem(&stem(name).replace('/', "-")) };
        label.ok_or_else(|| ImportFault::NoLabel { name: (*name).to_owned() })
    });
    labels.collect()
}

/// Out of the last part of a name; a tenant's database keeps its place.
fn short(name: &str) -> Option<Label> {
    let mut parts = stem(name).rsplit('/');
    let label = Label::from_stem(parts.next()?)?;
    match parts.next() {
        Some("tenants") => Label::parse(&format!("tenants/{}", label.as_str())).ok().or(Some(label)),
        _ => Some(label),
    }
}

/// The name without what only tells how and when it was packed.
fn stem(name: &str) -> &str {
    let mut stem = name;
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| {
        let at = stem.len().checked_sub(ending.len()).filter(|&at| at > 0)?;
        stem.get(at..).filter(|found| found.eq_ignore_ascii_case(ending)).map(|_| &stem[..at])
    }) {
        stem = shorter;
    }
    without_time(stem).unwrap_or(stem)
}

/// Takes `_20261120T215504Z` away, which ICDEV puts behind the name of the database.
fn without_time(stem: &str) -> Option<&str> {
    let at = stem.len().checked_sub(TIME.len()).filter(|&at| at > 0)?;
    let fits = |(found, form): (u8, u8)| if form == b'0' { found.is_ascii_digit() } else { found == form };
    stem.as_bytes()[at..].iter().copied().zip(TIME.bytes()).all(fits).then(|| &stem[..at])
}

const ENDINGS: [&str; 9] = [".enc", ".gz", ".tgz", ".tar", ".bak", ".db", ".db3", ".sqlite", ".sqlite3"];
const TIME: &str = "_00000000T000000Z";

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(file: &str, entries: &[Option<&str>]) -> Vec<String> {
        choose(None, file, entries).unwrap().iter().map(|label| label.as_str().to_owned()).collect()
    }

    #[test]
    fn a_name_gives_its_label() {
        for (file, label) in [
            ("app.db", "app"),
            ("memory_20261120T215504Z.db.bak.enc", "memory"),
            ("My App.SQLITE3.gz", "my-app"),
            ("größe_20261120T215504Z.db", "gr--e"),
            ("app_2026.db.gz", "app_2026"),
        ] {
            assert_eq!(chosen(file, &[None]), [label], "{file}");
        }
        assert!(matches!(choose(None, "---.db", &[None]), Err(ImportFault::NoLabel { .. })));
    }

    #[test]
    fn names_in_an_archive_lead_nowhere() {
        assert_eq!(chosen("x.tar.gz", &[Some("../../etc/app.db"), Some("/srv/data/tenants/acme.db")]), ["app", "tenants/acme"]);
        assert_eq!(chosen("x.tar.gz", &[Some("a/app.db"), Some("b/app.db"), Some("c.db")]), ["a-app", "b-app", "c"]);
        let label = Label::parse("main").unwrap();
        assert!(matches!(choose(Some(&label), "x", &[Some("a"), Some("b")]), Err(ImportFault::SeveralForLabel { count: 2 })));
    }
}
