//! What an operator should know of a target before agreeing to its replacement.

use super::{PlannedTarget, Present};
use crate::bundle::{Label, Migrations};
use crate::database::{SourceFacts, Way};
use crate::ops::record::migrations as migrations_record;

/// All of one target.
pub(super) fn warnings(target: &PlannedTarget, captured_on: &str, here: &str, is_onto: bool, is_stopped: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let label: &Label = &target.source.label;
    if captured_on != here && !is_onto {
        warnings.push(format!("{label} was captured on '{captured_on}', and this is '{here}'"));
    }
    if let Present::Live(facts) = &target.present
        && (facts.device, facts.inode) != (target.source.device, target.source.inode)
        && !is_onto
    {
        warnings.push(format!("'{}' is another file than the one that was captured", target.path.display()));
    }
    if let Some(imported) = &target.source.imported {
        warnings.push(format!("{label} was adopted from '{}', for which nobody's key vouches", imported.file));
    }
    if let Present::Live(facts) = &target.present {
        warnings.extend(older_schema(target, facts));
    }
    if !target.holders.is_empty() && !is_stopped {
        let names: Vec<String> = target.holders.iter().map(|process| format!("{} ({})", process.pid, process.name)).collect();
        let is_wal = matches!(&target.present, Present::Live(facts) if facts.journal_mode == "wal");
        let advice = match target.way {
            Way::Exclusive if is_wal => "as long as they are connected it cannot be replaced, unless online",
            _ => "what they keep in memory will not fit the restored content",
        };
        warnings.push(format!("'{}' is open in {} ({advice})", target.path.display(), names.join(", ")));
    }
    warnings
}

/// A release of the application does not fit a schema from before it; its tool would have to migrate again.
fn older_schema(target: &PlannedTarget, facts: &SourceFacts) -> Vec<String> {
    let label = &target.source.label;
    let live = facts.migrations.clone().map(migrations_record);
    let is_other = match (&target.migrations, &live) {
        (Some(then), Some(now)) => then != now,
        (None, Some(now)) => now.count > 0,
        _ => false,
    };
    let words = |migrations: &Option<Migrations>| migrations.as_ref().map_or("none".to_owned(), ToString::to_string);
    let other = is_other.then(|| {
        let (then, now) = (words(&target.migrations), words(&live));
        format!("{label}: the snapshot has other migrations than the live database ({then}; live {now}): the application that runs may not fit it")
    });
    let (then, now) = (target.source.user_version, facts.user_version);
    let version = (then < now).then(|| {
        format!("{label}: the snapshot's user_version is {then}, the live database's {now}: it is from before a change of the schema")
    });
    other.into_iter().chain(version).collect()
}
