//! Audit: is the journal to be believed, and what does it say?

use std::path::{Path, PathBuf};

use super::verify::open_bundle;
use super::{Environment, Failure};
use crate::bundle::{JournalHead, SetRef, TrustedSigners, read_front};
use crate::crypto::PublicKey;
use crate::files::{FileError, Folder};
use crate::journal::{Check, Event, Record, Verified, records_in};
use crate::vault::{Shelved, bundles_in, identity_in, signer_changes_in};

/// A journal that is to be checked.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// The vault.
    pub vault: PathBuf,
    /// Bundles that were kept elsewhere, each with the head that it carried away; those in the vault are asked in any case.
    pub against: Vec<PathBuf>,
    /// Who may have signed, if somebody is pinned.
    pub signers: TrustedSigners,
}

/// What an audit found.
#[derive(Debug)]
pub struct AuditReport {
    /// The vault.
    pub vault: PathBuf,
    /// Its set.
    pub set: SetRef,
    /// The journal's state.
    pub verified: Verified,
    /// How many bundles were asked.
    pub witnesses: usize,
    /// Bundles in the vault that could not be asked.
    pub silent: Vec<String>,
}

impl Audit {
    /// An audit with the defaults.
    pub fn new(vault: impl Into<PathBuf>) -> Audit {
        Audit { vault: vault.into(), against: Vec::new(), signers: TrustedSigners::default() }
    }

    /// Checks the whole journal.
    ///
    /// # Errors
    /// [`Failure::NoVault`], [`Failure::Bundle`] for a bundle in `against` that cannot be read, [`Failure::OtherSet`] for one of another
    /// set, what the file system says. What is wrong with the journal is in the report.
    pub fn run(&self, _: &Environment) -> Result<AuditReport, Failure> {
        let folder = open_vault(&self.vault)?;
        let (set, signer) = known_identity(&folder)?.ok_or_else(|| Failure::NoVault { path: self.vault.clone() })?;
        let mut witnesses = Vec::new();
        for path in &self.against {
            let medium = open_bundle(path)?;
            let core = read_front(&medium).map_err(|source| Failure::Bundle { path: path.clone(), source })?.core;
            if core.set.id != set.id {
                return Err(Failure::OtherSet { path: path.clone(), set: core.set.name });
            }
            witnesses.extend(core.journal_head.map(|head| (path.to_string_lossy().into_owned(), head)));
        }
        // Bundles from before a new beginning know another journal; those that were named are asked all the same.
        let rebuilt_after = records_in(&folder)?.first().and_then(rebuilt_after).unwrap_or(0);
        let silent = own_witnesses(&folder, &set, rebuilt_after, &mut witnesses)?;
        let changes = signer_changes_in(&folder)?;
        let mut trusted = self.signers.clone();
        trusted.follow(&changes);
        let count = witnesses.len();
        let check = Check { signer, changes, trusted: (!trusted.is_empty()).then_some((&trusted, &set.name)), witnesses };
        let verified = check.run(&folder)?;
        Ok(AuditReport { vault: self.vault.clone(), set, verified, witnesses: count, silent })
    }
}

/// The last bundle that was sealed before a journal was begun anew, by its first record.
fn rebuilt_after(record: &Record) -> Option<u64> {
    (record.event == Event::Journal).then(|| record.details.get("last_sequence")?.as_u64())?
}

/// Whose journal it is and who signs: by the vault's record, and where that is silent by its newest bundle, so that who takes the record away
/// takes nothing of the check away.
fn known_identity(folder: &Folder) -> Result<Option<(SetRef, Option<PublicKey>)>, Failure> {
    let recorded = identity_in(folder)?;
    let bundles = bundles_in(folder)?;
    let cores = bundles.iter().filter_map(Shelved::core);
    let own = cores.filter(|core| recorded.as_ref().is_none_or(|(set, _)| core.set.id == set.id));
    let newest = own.max_by_key(|core| core.sequence);
    Ok(match (recorded, newest) {
        (Some((set, signer)), newest) => Some((set, signer.or_else(|| newest?.signer))),
        (None, newest) => newest.map(|core| (core.set.clone(), core.signer)),
    })
}

/// The heads in the bundles of the vault itself.
fn own_witnesses(
    folder: &Folder,
    set: &SetRef,
    rebuilt_after: u64,
    witnesses: &mut Vec<(String, JournalHead)>,
) -> Result<Vec<String>, FileError> {
    let mut silent = Vec::new();
    for bundle in bundles_in(folder)? {
        match bundle.core() {
            Some(core) if core.set.id == set.id && core.sequence <= rebuilt_after => {}
            Some(core) if core.set.id == set.id => witnesses.extend(core.journal_head.clone().map(|head| (bundle.name.clone(), head))),
            Some(_) => {}
            None => silent.push(bundle.name),
        }
    }
    Ok(silent)
}

/// All that a vault's journal says, oldest first, without judging it.
///
/// # Errors
/// [`Failure::NoVault`], what the file system says.
pub fn journal_of(vault: &Path) -> Result<Vec<Record>, Failure> {
    Ok(records_in(&open_vault(vault)?)?)
}

/// Opens a vault for reading: it is neither locked nor made.
pub(super) fn open_vault(path: &Path) -> Result<Folder, Failure> {
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Failure::NoVault { path: path.to_owned() }),
        Err(error) => Err(FileError::io("open folder", path)(error).into()),
        Ok(resolved) => Ok(Folder::open(&resolved)?),
    }
}
