//! The plan: what would be replaced by what, by which way, and what that would take away. Nothing is locked or changed to find it out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::gap::LiveSide;
use super::later::LaterRows;
use super::warnings::warnings;
use super::{Prepared, ReadyImage, images};
use crate::bundle::{Keyring, Label, Migrations, Source, SourceGap};
use crate::database::{
    Access, Cancelled, Capture, CaptureOptions, CheckKind, DatabaseError, Others, PagePreference, SourceFacts, Way, foresee, holders_of,
    ledger,
};
use crate::files::{Folder, Process, ScratchSpace};
use crate::journal::records_in;
use crate::ops::record::migrations as migrations_record;
use crate::ops::{Environment, Failure, TableHistory, table_histories};
use crate::vault::identity_in;

/// What a restore in place would do.
#[derive(Debug, Clone)]
pub struct RestorePlan {
    /// The targets, in the order in which they would be replaced.
    pub targets: Vec<PlannedTarget>,
    /// How long targets would be locked, in seconds: an estimate from how fast this run has worked so far.
    pub lock_seconds: f64,
    /// Where safety bundle and record would go.
    pub vault: PathBuf,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// How long taking the snapshots out of the bundle took.
    seconds: f64,
}

/// One target.
#[derive(Debug, Clone)]
pub struct PlannedTarget {
    /// What the manifest says of the snapshot.
    pub source: Source,
    /// Resolved.
    pub path: PathBuf,
    /// What is there.
    pub present: Present,
    /// By which way it would be replaced.
    pub way: Way,
    /// Who has it open, as far as it can be seen.
    pub holders: Vec<Process>,
    /// What a migration tool noted in the snapshot, also where the bundle does not say.
    pub migrations: Option<Migrations>,
    /// What it would take away, as of now; nothing if the target is locked.
    pub gap: Option<SourceGap>,
}

/// What is at a target.
#[derive(Debug, Clone)]
pub enum Present {
    /// Nothing.
    Missing,
    /// Something that SQLite cannot open, and why.
    Unopenable(String),
    /// A database that is locked by somebody who is to be stopped first.
    Locked,
    /// A database.
    Live(Box<SourceFacts>),
}

impl RestorePlan {
    pub(super) fn begin(seconds: f64) -> RestorePlan {
        RestorePlan { targets: Vec::new(), lock_seconds: 0.0, vault: PathBuf::new(), warnings: Vec::new(), seconds }
    }
}

impl Prepared {
    /// Looks at each target.
    pub(super) fn look_at_targets(&mut self, ring: &Keyring, environment: &mut Environment) -> Result<(), Failure> {
        self.plan.vault = self.request.vault_path();
        let histories = histories_in(&self.plan.vault);
        let later = LaterRows::of(&self.plan.vault, &self.core, &self.manifest, ring);
        self.require_marker_place()?;
        let images = std::mem::take(&mut self.images);
        let mut targets: Vec<PlannedTarget> = Vec::new();
        for ready in &images {
            let target = self.look_at(ready, &histories, &later, environment)?;
            if let Some(other) = targets.iter().find(|other| other.path == target.path) {
                let (first, second) = (other.source.label.clone(), target.source.label.clone());
                return Err(Failure::SameTarget { path: target.path, first, second });
            }
            targets.push(target);
        }
        let gaps: Vec<_> = targets.iter().map(|target| (&target.source.label, target.gap.as_ref())).collect();
        self.require_known_tables(&gaps)?;
        self.plan.lock_seconds = lock_seconds(self.plan.seconds, &targets);
        self.plan.warnings = targets
            .iter()
            .flat_map(|target| {
                warnings(
                    target,
                    &self.manifest.host.name,
                    &environment.host.name,
                    self.request.onto.is_some(),
                    self.request.service.stop.is_some(),
                )
            })
            .collect();
        self.plan.warnings.extend(self.other_set());
        self.plan.targets = targets;
        self.images = images;
        Ok(())
    }

    /// A bundle of another set may be another system's.
    fn other_set(&self) -> Option<String> {
        let vault = Folder::open(&self.plan.vault.canonicalize().ok()?).ok()?;
        let (own, _) = identity_in(&vault).ok()??;
        let theirs = &self.core.set;
        (own.id != theirs.id).then(|| format!("the bundle is of the set '{}', and the vault of '{}'", theirs.name, own.name))
    }

    fn look_at(
        &self,
        ready: &ReadyImage,
        histories: &[TableHistory],
        later: &LaterRows<'_>,
        environment: &mut Environment,
    ) -> Result<PlannedTarget, Failure> {
        let refused = |source| Failure::Install { label: ready.source.label.clone(), source };
        let path = foresee(&ready.target, &ready.image, self.request.links).map_err(refused)?;
        require_outside_of_vaults(&path)?;
        self.require_own_place(ready, &path)?;
        let (present, gap) = self.look_into(ready, &path, histories, later, environment)?;
        let holders = holders_of(&path);
        let way = self.expected_way(&ready.source, &present, &holders);
        let gap = gap.map(|gap| self.as_grafted(gap));
        let migrations = migrations_in(ready, &|| environment.progress.is_cancelled());
        Ok(PlannedTarget { source: ready.source.clone(), path, present, way, holders, migrations, gap })
    }

    /// What is there, and what replacing it would take away; no gap for what is locked.
    fn look_into(
        &self,
        ready: &ReadyImage,
        path: &Path,
        histories: &[TableHistory],
        later: &LaterRows<'_>,
        environment: &mut Environment,
    ) -> Result<(Present, Option<SourceGap>), Failure> {
        let space = images::scratch_space(&self.request);
        let (clock, progress) = (environment.clock, Arc::clone(&environment.progress));
        let cancelled = || progress.is_cancelled();
        let capture;
        let (present, live) = match Capture::begin(path, &self.looking(&space, &clock, &cancelled)) {
            Ok(begun) => {
                capture = begun;
                let facts = capture.facts();
                self.require_same(ready, path, Some(facts.application_id).filter(|_| facts.size_bytes > 0), facts.size_bytes)?;
                self.require_kin(ready, path, facts)?;
                // An empty file has nothing that could be compared, and loses nothing but what is not known.
                let live = if facts.size_bytes == 0 { LiveSide::Missing } else { LiveSide::Read(capture.connection()) };
                (Present::Live(Box::new(facts.clone())), live)
            }
            Err(DatabaseError::Missing { .. }) => (Present::Missing, LiveSide::Missing),
            Err(error @ (DatabaseError::NotADatabase { .. } | DatabaseError::Corrupt { .. })) => {
                self.require_wanted(ready, path)?;
                (Present::Unopenable(error.to_string()), LiveSide::Unreadable)
            }
            Err(DatabaseError::Locked { .. }) if self.request.service.stop.is_some() => return Ok((Present::Locked, None)),
            Err(source) => return Err(Failure::Target { label: ready.source.label.clone(), source }),
        };
        let gap = self.gap_of(ready, &live, histories, later, environment)?;
        self.require_completable(ready, &gap, environment)?;
        Ok((present, Some(gap.record)))
    }

    /// How a target is captured that is only looked at.
    fn looking<'o>(&self, scratch: &'o ScratchSpace, clock: &'o dyn Fn() -> SystemTime, cancelled: Cancelled<'o>) -> CaptureOptions<'o> {
        CaptureOptions {
            check: CheckKind::None,
            busy_timeout: self.request.busy_timeout,
            accept_corrupt: true,
            scratch,
            pages: PagePreference::Auto,
            hash_tables: false,
            watched: &[],
            clock,
            cancelled,
        }
    }

    /// What will be put back is part of the plan.
    fn as_grafted(&self, mut gap: SourceGap) -> SourceGap {
        gap.tables.iter_mut().filter(|_| self.request.graft).for_each(|table| table.grafted = table.lost);
        gap
    }

    fn expected_way(&self, source: &Source, present: &Present, holders: &[Process]) -> Way {
        match present {
            Present::Missing | Present::Unopenable(_) => Way::Replace,
            Present::Live(facts) if !holders.is_empty() && self.request.others == Others::Keep => {
                let fits = facts.journal_mode == "wal" && facts.page_size == source.page_size;
                if fits { Way::Online } else { Way::Exclusive }
            }
            Present::Live(_) | Present::Locked => Way::Exclusive,
        }
    }

    /// Refuses to replace another application's database, or everything by nothing, unless told to.
    pub(super) fn require_same(&self, ready: &ReadyImage, path: &Path, theirs: Option<i32>, size_bytes: u64) -> Result<(), Failure> {
        let ours = ready.source.application_id;
        let what = if let Some(theirs) = theirs.filter(|theirs| *theirs != ours) {
            format!("its application_id is {theirs}, the snapshot's {ours}")
        } else if ready.source.size_bytes == 0 && size_bytes > 0 {
            "the snapshot is empty, and it is not".to_owned()
        } else {
            return Ok(());
        };
        self.require_acceptance(ready, path, what)
    }

    /// A target that the configuration calls something else: its append-only rows are on record under that name, and would not be counted.
    fn require_own_place(&self, ready: &ReadyImage, path: &Path) -> Result<(), Failure> {
        let Some(config) = &self.request.config else { return Ok(()) };
        let is_there = |place: &Path| place.canonicalize().is_ok_and(|place| place == path);
        let known = config.sources.iter().flat_map(|source| source.expand().found);
        match known.into_iter().find(|(label, place)| *label != ready.source.label && is_there(place)) {
            Some((other, _)) => self.require_acceptance(ready, path, format!("it is the place of '{other}' in airkeep.toml")),
            None => Ok(()),
        }
    }

    /// A database without one table of the snapshot's is hardly an older or younger state of it.
    fn require_kin(&self, ready: &ReadyImage, path: &Path, facts: &SourceFacts) -> Result<(), Failure> {
        let is_of_snapshot = |name: &str| ready.source.tables.iter().any(|table| table.name.eq_ignore_ascii_case(name));
        let is_strange = !facts.tables.is_empty() && !facts.tables.iter().any(|table| is_of_snapshot(&table.name));
        match is_strange && !ready.source.tables.is_empty() {
            true => self.require_acceptance(ready, path, "it has no table that the snapshot has".to_owned()),
            false => Ok(()),
        }
    }

    /// What is no database may be anything: somebody has to say that it is to go.
    pub(super) fn require_wanted(&self, ready: &ReadyImage, path: &Path) -> Result<(), Failure> {
        self.require_acceptance(ready, path, "what is there is no database that can be opened".to_owned())
    }

    fn require_acceptance(&self, ready: &ReadyImage, path: &Path, what: String) -> Result<(), Failure> {
        match self.request.accept_other {
            true => Ok(()),
            false => Err(Failure::OtherDatabase { label: ready.source.label.clone(), path: path.to_owned(), what }),
        }
    }

    /// A typing error in the name of a table must not leave it uncounted.
    pub(super) fn require_known_tables(&self, gaps: &[(&Label, Option<&SourceGap>)]) -> Result<(), Failure> {
        for declared in &self.request.append_only {
            let is_its = |(label, _): &&(&Label, Option<&SourceGap>)| declared.label.as_ref().is_none_or(|of| of == *label);
            let is_there = |gap: &SourceGap| {
                gap.live != "read"
                    || gap.tables.iter().any(|table| table.table.eq_ignore_ascii_case(&declared.table) && table.presence != "neither")
            };
            let has = gaps.iter().filter(is_its).any(|(_, gap)| gap.is_none_or(is_there));
            if !has {
                return Err(Failure::NoTable { label: declared.label.clone(), table: declared.table.clone() });
            }
        }
        Ok(())
    }
}

/// What a migration tool noted in a snapshot.
fn migrations_in(ready: &ReadyImage, cancelled: Cancelled<'_>) -> Option<Migrations> {
    let image = ready.image.open(Access::ReadOnly).ok()?;
    ledger(&image, ready.source.size_bytes, cancelled).map(migrations_record)
}

/// The vault's own files, and bundles, are no databases that somebody meant.
fn require_outside_of_vaults(path: &Path) -> Result<(), Failure> {
    let folder = Folder::above(path)?;
    match identity_in(&folder) {
        Ok(None) => Ok(()),
        _ => Err(Failure::TargetInVault { path: path.to_owned() }),
    }
}

/// What the journal of a vault knows of watched tables; nothing where there is none.
pub(super) fn histories_in(vault: &Path) -> Vec<TableHistory> {
    let folder = vault.canonicalize().ok().and_then(|path| Folder::open(&path).ok());
    folder.and_then(|folder| records_in(&folder).ok()).map_or_else(Vec::new, |records| table_histories(&records))
}

/// For a byte, sealing and reading back the present state takes about as long as taking a snapshot out of a bundle and examining it did, and
/// installing and comparing about four fifths of it (docs/performance.md).
fn lock_seconds(seconds: f64, targets: &[PlannedTarget]) -> f64 {
    let taken_bytes: u64 = targets.iter().map(|target| target.source.size_bytes).sum();
    let present = |target: &PlannedTarget| if let Present::Live(facts) = &target.present { facts.size_bytes } else { 0 };
    let present_bytes: u64 = targets.iter().map(present).sum();
    let seconds_per_byte = seconds / (taken_bytes.max(1) as f64);
    SETUP_SECONDS + seconds_per_byte * (present_bytes as f64 + 0.8 * taken_bytes as f64)
}

/// Locks, the record, and the derivation of keys.
const SETUP_SECONDS: f64 = 0.5;
