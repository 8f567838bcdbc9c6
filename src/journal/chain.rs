//! Checking a journal from its first line to its last: the chain, the signatures, the end, and the heads that left in bundles.
//!
//! Who cannot sign can change a record and compute the chain anew, but not sign it; who can sign can do both, but not reach the heads in
//! bundles that are elsewhere. What is found is a list; the first names the earliest record that is not to be believed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use super::record::{self, Event, Outcome, Record};
use super::{Acknowledged, HEAD, JOURNAL, LINE_MAX, read_head};
use crate::bundle::{JournalHead, SetName, SignerChange, TrustedSigners};
use crate::crypto::{Digest, Namespace, PublicKey};
use crate::files::{FileError, Folder};

/// What a journal is compared with.
#[derive(Debug, Default)]
pub struct Check<'c> {
    /// Who signs in the vault now, by its own record.
    pub signer: Option<PublicKey>,
    /// The changes of signers, each signed by the old one: the only way from one signer to another.
    pub changes: Vec<SignerChange>,
    /// Who was pinned, and the name of the set.
    pub trusted: Option<(&'c TrustedSigners, &'c SetName)>,
    /// Heads that stand in bundles, with the name of the bundle.
    pub witnesses: Vec<(String, JournalHead)>,
}

/// A reason not to believe a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The record concerned, counted by lines from 1.
    pub record: u64,
    /// What is wrong.
    pub kind: FaultKind,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// Not a record.
    #[error("is not a record")]
    Malformed,
    /// Another number than its place.
    #[error("has the number {found}")]
    Sequence {
        /// The number in it.
        found: u64,
    },
    /// The hash of the record before does not fit.
    #[error("does not follow from the record before it: one of them was changed, or records between them are missing")]
    Previous,
    /// The signature does not verify.
    #[error("is not signed by the signer that it names")]
    Signature,
    /// No signature where all must have one.
    #[error("is not signed, and the vault has a signer")]
    Unsigned,
    /// Signed by a key that nobody introduced.
    #[error("is signed by {signer}, for which no earlier signer signed")]
    Stranger {
        /// Its fingerprint.
        signer: String,
    },
    /// Signed by a key that was not pinned.
    #[error("is signed by {signer}, which is not pinned")]
    NotPinned {
        /// Its fingerprint.
        signer: String,
    },
    /// The journal ends before the place that was acknowledged.
    #[error("and later ones are missing: {acknowledged} records were acknowledged ({HEAD})")]
    Cut {
        /// How many there were.
        acknowledged: u64,
    },
    /// Nothing says where the end was.
    #[error("may not be the last one: {HEAD}, which tells where the end was, is missing or damaged")]
    NoEnd,
    /// An earlier run met a journal without its acknowledged end.
    #[error("records that nothing told where the end of the journal was")]
    HadNoEnd,
    /// The acknowledged end is not signed.
    #[error("was acknowledged as the last one by somebody who cannot sign ({HEAD})")]
    EndNotSigned,
    /// The acknowledged end is another record than the one in its place.
    #[error("is not the one that was acknowledged ({HEAD})")]
    NotAcknowledged,
    /// The journal of a vault that has one is gone.
    #[error("is missing, with all others: there is no {JOURNAL}")]
    Missing,
    /// An earlier run met a cut journal and went on behind it.
    #[error("records that the journal had been cut: {acknowledged} records were acknowledged then")]
    WasCut {
        /// How many there were.
        acknowledged: u64,
    },
    /// A bundle names a record that is not here.
    #[error("is missing: bundle '{bundle}' was sealed behind it")]
    WitnessMissing {
        /// The bundle.
        bundle: String,
    },
    /// A bundle names another record in this place.
    #[error("is not the one behind which bundle '{bundle}' was sealed: the past was rewritten")]
    WitnessDiffers {
        /// The bundle.
        bundle: String,
    },
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Verified {
    /// Records that were read.
    pub records: u64,
    /// How many of them are signed.
    pub signed: u64,
    /// The last bundle that was sealed before the journal was begun anew, if it was: what happened until then is not in it.
    pub rebuilt_after: Option<u64>,
    /// How many carry a time behind the one before.
    pub clock_regressions: u64,
    /// Bytes of an incomplete last line, which a killed run left: no fault.
    pub torn_bytes: u64,
    /// The last record.
    pub head: Option<JournalHead>,
    /// What is wrong, the first record first; at most a thousand.
    pub faults: Vec<Fault>,
}

const FAULTS_MAX: usize = 1000;

struct Walk<'c> {
    check: &'c Check<'c>,
    /// The key that must sign the next record.
    signer: Option<PublicKey>,
    previous: Digest,
    /// Hashes that will be asked for: by the acknowledged end and by bundles.
    wanted: BTreeMap<u64, Option<(Digest, Option<PublicKey>)>>,
    verified: Verified,
}

impl Check<'_> {
    /// Checks the journal of a folder. Nothing is locked: of a record that is being written at this moment the part that is there counts as torn.
    ///
    /// # Errors
    /// Only what the file system says; what is wrong with the journal is in the result.
    pub fn run(&self, folder: &Folder) -> Result<Verified, FileError> {
        // Read before the journal, which may grow meanwhile and is then ahead of it.
        let acknowledged = read_head(folder)?;
        let wanted = self
            .witnesses
            .iter()
            .map(|(_, head)| head.sequence)
            .chain(acknowledged.iter().map(|end| end.sequence))
            .map(|place| (place, None))
            .collect();
        let mut walk = Walk { check: self, signer: None, previous: Digest([0; 32]), wanted, verified: Verified::default() };
        if folder.has(JOURNAL)? {
            walk.verified.torn_bytes = each_line(folder, |number, line| walk.line(number, line))?;
        }
        walk.compare(acknowledged.as_ref());
        let mut verified = walk.verified;
        verified.faults.sort_by_key(|fault| fault.record);
        Ok(verified)
    }
}

impl Walk<'_> {
    fn line(&mut self, number: u64, line: Option<&str>) {
        self.verified.records = number;
        let hash = line.map(record::digest_of);
        let parsed = line.and_then(Record::parse);
        let Some((record::Parsed { record, is_signed }, hash)) = parsed.zip(hash) else {
            self.find(number, FaultKind::Malformed);
            // What follows is compared with itself only, so that one bad line is one fault.
            self.previous = hash.unwrap_or(Digest([0; 32]));
            return;
        };
        if record.sequence != number {
            self.find(number, FaultKind::Sequence { found: record.sequence });
        }
        if record.previous != self.previous {
            self.find(number, FaultKind::Previous);
        }
        self.signature(number, &record, is_signed);
        if record.event == Event::Journal && record.outcome == Outcome::Failure {
            let acknowledged = record.details.get("acknowledged_sequence").and_then(serde_json::Value::as_u64);
            self.find(number, acknowledged.map_or(FaultKind::HadNoEnd, |acknowledged| FaultKind::WasCut { acknowledged }));
        }
        if number == 1 && record.event == Event::Journal && record.outcome == Outcome::Success {
            self.verified.rebuilt_after = record.details.get("last_sequence").and_then(serde_json::Value::as_u64);
        }
        self.verified.signed += u64::from(is_signed);
        self.verified.clock_regressions += u64::from(record.clock_regressed);
        self.verified.head = Some(JournalHead { sequence: record.sequence, sha256: hash });
        self.wanted.entry(number).and_modify(|wanted| *wanted = Some((hash, record.signer)));
        self.previous = hash;
    }

    /// A journal may begin without signatures; from the event that names a signer on there is no way back.
    fn signature(&mut self, number: u64, record: &Record, is_signed: bool) {
        match (record.signer, self.signer) {
            (None, None) => {}
            (None, Some(_)) => self.find(number, FaultKind::Unsigned),
            (Some(_), _) if !is_signed => self.find(number, FaultKind::Signature),
            (Some(signer), known) => {
                let is_introduced = match known {
                    Some(known) => self.leads(known, signer),
                    // A journal that was begun anew says so in its first record; and a run that was killed may have given the vault a signer and not
                    // lived to record that. A signed record holds all before it fast, so nothing can be hidden in front of the first one.
                    None => {
                        let is_beginning = record.event == Event::Init || (number == 1 && record.event == Event::Journal);
                        is_beginning || self.check.signer.is_some_and(|own| self.leads(signer, own))
                    }
                };
                if !is_introduced {
                    self.find(number, FaultKind::Stranger { signer: signer.fingerprint().to_string() });
                }
                let is_pinned =
                    self.check.trusted.is_none_or(|(trusted, set)| trusted.trusts(&signer, set, Namespace::Journal, &record.time));
                if !is_pinned {
                    self.find(number, FaultKind::NotPinned { signer: signer.fingerprint().to_string() });
                }
                self.signer = Some(signer);
            }
        }
    }

    /// Whether signed changes lead from one signer to another, or they are the same. A change stands behind those that it follows.
    fn leads(&self, from: PublicKey, to: PublicKey) -> bool {
        let mut reached = vec![from];
        for change in &self.check.changes {
            if reached.contains(&change.from) {
                reached.push(change.to);
            }
        }
        reached.contains(&to)
    }

    /// Compares the whole with what is known from elsewhere.
    fn compare(&mut self, acknowledged: Option<&Acknowledged>) {
        let records = self.verified.records;
        match acknowledged {
            Some(end) => match self.wanted.get(&end.sequence).copied().flatten() {
                _ if records == 0 => self.find(1, FaultKind::Missing),
                None => self.find(records + 1, FaultKind::Cut { acknowledged: end.sequence }),
                Some((hash, _)) if hash != end.sha256 => self.find(end.sequence, FaultKind::NotAcknowledged),
                Some((_, Some(signer))) if !end.is_signed_by(&signer) => self.find(end.sequence, FaultKind::EndNotSigned),
                Some(_) => {}
            },
            // The first record may be there without: a run was killed between the two.
            None if records > 1 => self.find(records, FaultKind::NoEnd),
            None => {}
        }
        for (bundle, head) in &self.check.witnesses {
            let bundle = bundle.clone();
            match self.wanted.get(&head.sequence).copied().flatten() {
                None => self.find(head.sequence, FaultKind::WitnessMissing { bundle }),
                Some((hash, _)) if hash != head.sha256 => self.find(head.sequence, FaultKind::WitnessDiffers { bundle }),
                Some(_) => {}
            }
        }
        let must_be_signed = self.check.signer.is_some() || self.check.trusted.is_some();
        if must_be_signed && records > 0 && self.signer.is_none() {
            self.find(records, FaultKind::Unsigned);
        }
        if let (Some(own), Some(signer)) = (self.check.signer, self.signer)
            && !self.leads(signer, own)
        {
            self.find(records, FaultKind::Stranger { signer: signer.fingerprint().to_string() });
        }
    }

    fn find(&mut self, record: u64, kind: FaultKind) {
        if self.verified.faults.len() < FAULTS_MAX {
            self.verified.faults.push(Fault { record, kind });
        }
    }
}

/// Reads line by line, with the number of each from 1; a line that is too long or no text is `None`. Gives the bytes of an incomplete last line.
pub(super) fn each_line(folder: &Folder, mut take: impl FnMut(u64, Option<&str>)) -> Result<u64, FileError> {
    let path = folder.path().join(JOURNAL);
    let failed = FileError::io("read", &path);
    let mut reader = BufReader::with_capacity(1 << 20, folder.open_file(JOURNAL)?);
    let (mut line, mut number) = (Vec::new(), 0);
    let read = loop {
        line.clear();
        let read = reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        match read {
            Ok(0) => break Ok(0),
            Ok(_) if line.last() == Some(&b'\n') => {
                number += 1;
                take(number, std::str::from_utf8(&line[..line.len() - 1]).ok());
            }
            Ok(count) if (count as u64) < LINE_MAX => break Ok(count as u64),
            Ok(_) => {
                number += 1;
                take(number, None);
                match reader.skip_until(b'\n') {
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            }
            Err(error) => break Err(error),
        }
    };
    read.map_err(failed)
}
