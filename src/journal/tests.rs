//! Every way to tamper with a journal of fifty records, by attackers who can do more and more.

use super::*;
use crate::bundle::{SetName, SignerChange, TrustedSigners, UtcTime};
use crate::crypto::PublicKey;

struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        self.0 = self.0.wrapping_add(1);
        bytes.fill(self.0);
    }
}

fn key(byte: u8) -> SigningKey {
    SigningKey::generate(&mut Counter(byte))
}

fn entry(event: Event, minute: usize) -> Entry {
    Entry {
        event,
        outcome: Outcome::Success,
        time: UtcTime::parse(&format!("2026-11-21T{:02}:{:02}:00Z", minute / 60, minute % 60)).unwrap(),
        actor: Actor { user: "operator".into(), uid: 1000, sudo_user: None, operator: None },
        host: "host".into(),
        reason: None,
        subject: None,
        details: serde_json::Map::new(),
    }
}

fn append(journal: &Journal, entry: &Entry, signer: Option<&SigningKey>) -> Record {
    let copy = || -> Result<_, JournalError> { Ok(signer.map(|key| SigningKey::parse_openssh(key.to_openssh("").as_bytes()).unwrap())) };
    journal.append(entry, copy, &mut Counter(entry.time.as_str().len() as u8)).unwrap()
}

/// A journal of fifty records; with a signer that changes at the thirtieth.
struct Site {
    folder: tempfile::TempDir,
    keys: Option<[SigningKey; 2]>,
    heads: Vec<JournalHead>,
    originals: Vec<String>,
}

const COUNT: usize = 50;
const CHANGE: usize = 30;

impl Site {
    fn new(is_signed: bool) -> Site {
        let keys = is_signed.then(|| [key(10), key(20)]);
        let mut site = Site { folder: tempfile::tempdir().unwrap(), keys, heads: Vec::new(), originals: Vec::new() };
        let journal = Journal::of(&site.open());
        for number in 1..=COUNT {
            let (event, signer) = site.turn(number);
            append(&journal, &entry(event, number), signer);
            site.heads.extend(journal.head().unwrap());
        }
        site.originals = site.lines();
        site
    }

    /// What happens at a place, and who signs it.
    fn turn(&self, number: usize) -> (Event, Option<&SigningKey>) {
        let signer = self.keys.as_ref().map(|keys| &keys[usize::from(number >= CHANGE)]);
        let event = match number {
            1 => Event::Init,
            CHANGE if signer.is_some() => Event::Signer,
            _ => Event::Backup,
        };
        (event, signer)
    }

    fn open(&self) -> Folder {
        Folder::open(&self.folder.path().canonicalize().unwrap()).unwrap()
    }

    fn last_key(&self) -> Option<&SigningKey> {
        self.keys.as_ref().map(|keys| &keys[1])
    }

    fn signer(&self) -> Option<PublicKey> {
        self.keys.as_ref().map(|keys| keys[1].public())
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.folder.path().join(JOURNAL)).unwrap().lines().map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(self.folder.path().join(JOURNAL), text).unwrap();
    }

    fn changes(&self) -> Vec<SignerChange> {
        let change = |[old, new]: &[SigningKey; 2]| SignerChange::sign(Id([1; 16]), old, new.public(), entry(Event::Signer, 30).time);
        self.keys.iter().map(change).collect()
    }

    fn faults(&self, witnesses: &[&JournalHead]) -> Vec<Fault> {
        let witnesses = witnesses.iter().map(|&head| ("a.akb".to_owned(), head.clone())).collect();
        Check { signer: self.signer(), changes: self.changes(), trusted: None, witnesses }.run(&self.open()).unwrap().faults
    }

    /// Computes the chain anew from a list of records, as somebody who can write to the folder does; signs as well as they can.
    fn forge(&self, mut records: Vec<Record>, can_sign: bool) {
        let (mut previous, originals) = (Digest([0; 32]), self.originals.clone());
        let mut lines: Vec<String> = Vec::new();
        for (number, record) in (1..).zip(&mut records) {
            // What stands before the first change keeps its signatures.
            let original = &originals[lines.len().min(originals.len() - 1)];
            if lines[..] == originals[..lines.len().min(originals.len())] && Record::parse(original).unwrap().record == *record {
                lines.push(original.clone());
                previous = record::digest_of(original);
                continue;
            }
            (record.sequence, record.previous) = (number, previous);
            let key = self.keys.as_ref().filter(|_| can_sign).and_then(|keys| keys.iter().find(|key| Some(key.public()) == record.signer));
            if key.is_none() {
                record.signer = None;
            }
            lines.push(record.to_line(key));
            previous = record::digest_of(lines.last().unwrap());
        }
        self.write(&lines);
        let head = JournalHead { sequence: records.len() as u64, sha256: previous };
        let last = records.last().and_then(|record| record.signer).filter(|_| can_sign);
        let key = self.keys.as_ref().and_then(|keys| keys.iter().find(|key| Some(key.public()) == last));
        write_head(&self.open(), &Acknowledged::of(&head, key)).unwrap();
    }

    fn records(&self) -> Vec<Record> {
        self.lines().iter().map(|line| Record::parse(line).unwrap().record).collect()
    }
}

const TAMPERINGS: [&str; 5] = ["edited", "deleted", "swapped", "doubled", "cut"];

/// What a tamperer does at a place, to lines or to records.
fn tamper<T: Clone>(name: &str, list: &mut Vec<T>, place: usize, edit: impl Fn(&mut T)) {
    match name {
        "edited" => edit(&mut list[place]),
        "deleted" => drop(list.remove(place)),
        "swapped" if place == 0 => list.swap(0, 1),
        "swapped" => list.swap(place, place - 1),
        "doubled" => list.insert(place, list[place].clone()),
        _ => list.truncate(place),
    }
}

#[test]
fn an_untouched_journal_has_no_fault() {
    for is_signed in [false, true] {
        let site = Site::new(is_signed);
        let witnesses: Vec<&JournalHead> = site.heads.iter().collect();
        assert_eq!(site.faults(&witnesses), []);
        let verified = Check { signer: site.signer(), changes: site.changes(), ..Check::default() }.run(&site.open()).unwrap();
        assert_eq!((verified.records, verified.signed), (50, if is_signed { 50 } else { 0 }));
        assert_eq!(verified.head.as_ref(), site.heads.last());
    }
}

#[test]
fn a_changed_line_is_found_and_named() {
    let site = Site::new(false);
    let lines = site.lines();
    for place in 0..COUNT {
        for name in TAMPERINGS {
            let mut changed = lines.clone();
            tamper(name, &mut changed, place, |line| *line = line.replace("\"user\":\"operator\"", "\"user\":\"somebody\""));
            site.write(&changed);
            let faults = site.faults(&[]);
            let first = faults.first().unwrap_or_else(|| panic!("{name} {place}"));
            let named = first.record as usize;
            // An edit shows at the next record, of which the last has none but the acknowledged end.
            assert!((place..=place + 2).contains(&named), "{name} {place}: {first:?}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_signed_journal_is_found() {
    let site = Site::new(true);
    let text = std::fs::read(site.folder.path().join(JOURNAL)).unwrap();
    let step = if std::env::var_os("AIRKEEP_PROVE").is_some() { 1 } else { 499 };
    for bit in (0..text.len() * 8).step_by(step) {
        let mut changed = text.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(site.folder.path().join(JOURNAL), changed).unwrap();
        assert!(!site.faults(&[]).is_empty(), "bit {bit}");
    }
}

#[test]
fn a_chain_that_was_computed_anew_without_the_key_is_found() {
    let site = Site::new(true);
    let records = site.records();
    for place in 0..COUNT {
        for name in TAMPERINGS {
            let mut changed = records.clone();
            tamper(name, &mut changed, place, |record| record.host = "elsewhere".into());
            if changed.is_empty() {
                continue;
            }
            site.forge(changed, false);
            assert!(!site.faults(&[]).is_empty(), "{name} {place}");
        }
    }
}

#[test]
fn a_chain_that_was_computed_anew_with_the_key_is_found_by_a_bundle_that_left_earlier() {
    for is_signed in [false, true] {
        let site = Site::new(is_signed);
        let (records, witness) = (site.records(), &site.heads[COUNT - 2]);
        // The last record is younger than the witness, which cannot know of it.
        for place in 0..COUNT - 2 {
            for name in TAMPERINGS {
                let mut changed = records.clone();
                tamper(name, &mut changed, place, |record| record.host = "elsewhere".into());
                site.forge(changed, true);
                let faults = site.faults(&[witness]);
                let is_seen = |fault: &Fault| matches!(fault.kind, FaultKind::WitnessDiffers { .. } | FaultKind::WitnessMissing { .. });
                assert!(faults.iter().any(is_seen), "{name} {place}");
            }
        }
    }
}

#[test]
fn a_journal_by_another_key_is_found() {
    let (site, mut foreign) = (Site::new(true), Site::new(true));
    foreign.keys = Some([key(30), key(40)]);
    let records = foreign.records().into_iter().map(|record| Record { signer: Some(key(30).public()), ..record }).collect();
    foreign.forge(records, true);
    std::fs::copy(foreign.folder.path().join(JOURNAL), site.folder.path().join(JOURNAL)).unwrap();
    std::fs::copy(foreign.folder.path().join(HEAD), site.folder.path().join(HEAD)).unwrap();
    assert!(!site.faults(&[]).is_empty());
    // Who rewrites the vault's own record, too, is found by a pinned signer.
    let mut trusted = TrustedSigners::default();
    trusted.pin(site.keys.as_ref().unwrap()[0].public().fingerprint());
    let set = SetName::parse("set").unwrap();
    let check = Check { signer: Some(key(30).public()), changes: Vec::new(), trusted: Some((&trusted, &set)), witnesses: Vec::new() };
    let faults = check.run(&site.open()).unwrap().faults;
    assert!(faults.iter().any(|fault| matches!(fault.kind, FaultKind::NotPinned { .. })), "{faults:?}");
}

#[test]
fn a_torn_line_is_no_fault_and_the_next_record_clears_it() {
    let site = Site::new(true);
    let path = site.folder.path().join(JOURNAL);
    let whole = std::fs::read(&path).unwrap();
    let last_line = whole.len() - site.lines().last().unwrap().len() - 1;
    for torn in [1, 10, 500] {
        std::fs::write(&path, [&whole[..], &whole[last_line..last_line + torn]].concat()).unwrap();
        assert_eq!(site.faults(&[]), []);
        let journal = Journal::of(&site.open());
        let record = append(&journal, &entry(Event::Backup, 51), site.last_key());
        assert_eq!((record.sequence, site.faults(&[])), (51, vec![]));
        std::fs::write(&path, &whole).unwrap();
        write_head(&site.open(), &Acknowledged::of(site.heads.last().unwrap(), site.last_key())).unwrap();
    }
}

#[test]
fn going_on_behind_a_cut_hides_nothing() {
    let site = Site::new(true);
    let mut lines = site.lines();
    lines.truncate(40);
    site.write(&lines);
    let journal = Journal::of(&site.open());
    let record = append(&journal, &entry(Event::Backup, 51), site.last_key());
    assert_eq!(record.sequence, 42);
    let faults = site.faults(&[]);
    assert_eq!(faults, [Fault { record: 41, kind: FaultKind::WasCut { acknowledged: 50 } }]);
    // A run that was killed between record and acknowledgement is no cut.
    write_head(&site.open(), &Acknowledged::of(&JournalHead { sequence: 41, sha256: record.previous }, site.last_key())).unwrap();
    append(&journal, &entry(Event::Backup, 52), site.last_key());
    assert_eq!(site.faults(&[]), faults);
}

#[test]
fn an_end_that_nobody_vouches_for_is_found() {
    for is_signed in [false, true] {
        let site = Site::new(is_signed);
        std::fs::remove_file(site.folder.path().join(HEAD)).unwrap();
        assert_eq!(site.faults(&[]), [Fault { record: 50, kind: FaultKind::NoEnd }]);
        append(&Journal::of(&site.open()), &entry(Event::Backup, 51), site.last_key());
        assert_eq!(site.faults(&[]), [Fault { record: 51, kind: FaultKind::HadNoEnd }]);
    }
}

#[test]
fn a_clock_that_went_back_is_marked() {
    let site = Site::new(false);
    let journal = Journal::of(&site.open());
    assert!(append(&journal, &entry(Event::Backup, 3), None).clock_regressed);
    assert!(!append(&journal, &entry(Event::Backup, 4), None).clock_regressed);
}
