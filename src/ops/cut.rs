//! Groups: sources whose snapshots are one cut.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::seal::{Sealer, Told};
use super::{Failure, SourceGroup, SourceSpec};
use crate::bundle::Label;
use crate::database::{CaptureOptions, DatabaseError, Leftovers, Moment, WriteLocks};

/// Groups whose moments are fixed. What opening idle databases left behind goes away after the last reader.
#[derive(Default)]
pub(super) struct Cut {
    moments: BTreeMap<Label, Moment<'static>>,
    done: Vec<String>,
    /// Members that could not be had, and are not required.
    without: BTreeSet<Label>,
    leftovers: Vec<Leftovers>,
}

type Moments = BTreeMap<Label, Moment<'static>>;

impl Cut {
    /// The moment of a source, if it is of a group.
    pub(super) fn take(&mut self, spec: &SourceSpec) -> Option<Moment<'static>> {
        self.moments.remove(&spec.label)
    }

    /// Whether the source could not be had when its group was cut.
    pub(super) fn is_without(&self, spec: &SourceSpec) -> bool {
        self.without.contains(&spec.label)
    }
}

impl Sealer<'_> {
    pub(super) fn group_of(&self, label: &Label) -> Option<&SourceGroup> {
        self.backup.groups.iter().find(|group| group.labels.contains(label))
    }

    /// Fixes the moment of all members of a group, once the first of them has its turn; those that are not required and cannot be had are told,
    /// and the others are cut without them.
    pub(super) fn cut_group(&self, spec: &SourceSpec, options: &CaptureOptions<'_>, cut: &mut Cut, told: &mut Told) -> Result<(), Failure> {
        let Some(group) = self.group_of(&spec.label).filter(|group| !cut.done.contains(&group.name)) else { return Ok(()) };
        let mut members: Vec<&SourceSpec> = self.backup.sources.iter().filter(|member| group.labels.contains(&member.label)).collect();
        while !members.is_empty() {
            match fix(&members, options) {
                Ok((moments, leftovers)) => {
                    cut.moments.extend(moments);
                    cut.leftovers.push(leftovers);
                    break;
                }
                Err((place, error)) => {
                    let label = members.remove(place).label.clone();
                    if !self.backup.optional.contains(&label) || (options.cancelled)() {
                        return Err(Failure::Source { label, source: error });
                    }
                    told.missing.push(format!("source '{label}' is not in this bundle: {error}"));
                    cut.without.insert(label);
                }
            }
        }
        cut.done.push(group.name.clone());
        Ok(())
    }
}

/// One cut through these; what fails names the place of the member that it failed at, and nothing is locked then.
fn fix(members: &[&SourceSpec], options: &CaptureOptions<'_>) -> Result<(Moments, Leftovers), (usize, DatabaseError)> {
    let paths: Vec<PathBuf> = members.iter().map(|member| member.path.clone()).collect();
    let locks = WriteLocks::take(&paths, options)?;
    let mut moments = Moments::new();
    for (place, member) in members.iter().enumerate() {
        let moment = Moment::fix(&member.path, options).map_err(|error| (place, error))?;
        moments.insert(member.label.clone(), moment);
    }
    Ok((moments, locks.release()))
}
