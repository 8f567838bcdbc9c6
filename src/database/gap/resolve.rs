//! Matching the rows that the walk could not match: by key, and where there is none by content.
//!
//! Each row becomes a record of its key's hash, its content's hash, its side, and how to find it again; records are sorted outside
//! of memory, and then rows of one key stand together. A row without a key (no declared key, or NULL in it) has its content as its key, so
//! that equal rows cancel one by one: a comparison of multisets.

use crate::crypto::Sha256;
use crate::files::{Scratch, ScratchSpace};

use super::sorter::{Sorted, Sorter};
use super::walk::Walker;
use super::{Doubt, Side, Stop};

/// Rows without a partner, until all are known.
pub(super) struct Mismatches(Sorter<RECORD>);

impl Mismatches {
    pub(super) fn new(space: &ScratchSpace) -> Self {
        Self(Sorter::new(space))
    }

    pub(super) fn add(&mut self, row: &Walker<'_>, side: Side, locator: i64) -> Result<(), Stop> {
        let content = digest(b'r', &row.row);
        let key = if row.has_key { digest(b'k', &row.row[..row.key_bytes]) } else { content };
        let mut record = [0; RECORD];
        record[KEY].copy_from_slice(&key);
        record[CONTENT].copy_from_slice(&content);
        record[SIDE] = side as u8;
        record[LOCATOR].copy_from_slice(&ordered(locator));
        Ok(self.0.push(record)?)
    }

    /// Decides all of them.
    pub(super) fn resolve(self, space: &ScratchSpace) -> Result<Resolved, Stop> {
        let mut sorted = self.0.sorted()?;
        let mut resolution = Resolution { group: None, rows: Sorter::new(space), common: 0, resurrected: 0 };
        while let Some(record) = sorted.next()? {
            resolution.take(&record)?;
        }
        resolution.end_key()?;
        Ok(Resolved { rows: resolution.rows.sorted()?, common: resolution.common, resurrected: resolution.resurrected })
    }
}

/// What came of them.
pub(super) struct Resolved {
    rows: Sorted<VERDICT>,
    pub(super) common: u64,
    pub(super) resurrected: u64,
}

/// A live row that the snapshot does not have like this.
pub(super) enum Verdict {
    Lost(i64),
    Altered { live: i64, was: i64 },
}

impl Resolved {
    /// The next one, in the order of the live table.
    pub(super) fn next(&mut self) -> Result<Option<Verdict>, Stop> {
        let Some(record) = self.rows.next()? else { return Ok(None) };
        let part = |from: usize| i64::from_be_bytes(record[from..from + 8].try_into().expect("8 bytes")) ^ i64::MIN;
        Ok(Some(if record[8] == 0 { Verdict::Lost(part(0)) } else { Verdict::Altered { live: part(0), was: part(9) } }))
    }
}

struct Resolution {
    group: Option<Group>,
    rows: Sorter<VERDICT>,
    common: u64,
    resurrected: u64,
}

/// The rows of one key so far. Within it they are sorted by content, and the snapshot's come before the live ones.
struct Group {
    key: [u8; 32],
    content: [u8; 32],
    is_keyless: bool,
    /// Rows of the snapshot with this content that have no partner yet.
    open: u64,
    /// Where they are; not kept for rows without key, since only counts matter there.
    open_at: Vec<i64>,
    live: Vec<i64>,
    snapshot: Vec<i64>,
}

impl Resolution {
    fn take(&mut self, record: &[u8; RECORD]) -> Result<(), Stop> {
        let (key, content): ([u8; 32], [u8; 32]) = (record[KEY].try_into().expect("32"), record[CONTENT].try_into().expect("32"));
        let locator = i64::from_be_bytes(record[LOCATOR].try_into().expect("8 bytes")) ^ i64::MIN;
        if self.group.as_ref().is_none_or(|group| group.key != key) {
            self.end_key()?;
            let is_keyless = key == content;
            self.group = Some(Group { key, content, is_keyless, open: 0, open_at: Vec::new(), live: Vec::new(), snapshot: Vec::new() });
        }
        let Some(group) = &mut self.group else { return Ok(()) };
        if group.content != content {
            group.end_content();
            group.content = content;
        }
        if record[SIDE] == Side::Snapshot as u8 {
            group.open += 1;
            if !group.is_keyless {
                group.open_at.push(locator);
            }
        } else if group.open > 0 {
            group.open -= 1;
            group.open_at.pop();
            self.common += 1;
        } else if group.is_keyless {
            self.rows.push(verdict(locator, None))?;
        } else {
            group.live.push(locator);
        }
        let is_too_much = group.open_at.len() + group.live.len() + group.snapshot.len() > MOST_ROWS_OF_A_KEY;
        if is_too_much { Err(Stop::Doubt(Doubt::KeyRepeats)) } else { Ok(()) }
    }

    fn end_key(&mut self) -> Result<(), Stop> {
        let Some(mut group) = self.group.take() else { return Ok(()) };
        if group.is_keyless {
            self.resurrected += group.open;
            return Ok(());
        }
        group.end_content();
        for (place, live) in group.live.iter().enumerate() {
            self.rows.push(verdict(*live, group.snapshot.get(place).copied()))?;
        }
        self.resurrected += group.snapshot.len().saturating_sub(group.live.len()) as u64;
        Ok(())
    }
}

impl Group {
    fn end_content(&mut self) {
        self.snapshot.append(&mut self.open_at);
        self.open = 0;
    }
}

fn verdict(live: i64, was: Option<i64>) -> [u8; VERDICT] {
    let mut record = [0; VERDICT];
    record[..8].copy_from_slice(&ordered(live));
    record[8] = u8::from(was.is_some());
    record[9..].copy_from_slice(&ordered(was.unwrap_or(0)));
    record
}

/// Bytes that sort as the number does.
fn ordered(number: i64) -> [u8; 8] {
    (number ^ i64::MIN).to_be_bytes()
}

fn digest(kind: u8, bytes: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(&[kind]);
    hash.update(bytes);
    hash.finish().0
}

/// Keys by which rows of a table without rowid are found again, in scratch.
pub(super) struct KeyShelf {
    space: ScratchSpace,
    file: Option<Scratch>,
    /// What was not written yet.
    buffer: Vec<u8>,
}

impl KeyShelf {
    pub(super) fn new(space: &ScratchSpace) -> Self {
        Self { space: space.clone(), file: None, buffer: Vec::new() }
    }

    /// Keeps a key and tells where.
    pub(super) fn put(&mut self, key: &[u8]) -> Result<i64, Stop> {
        let at = self.file.as_ref().map_or(0, Scratch::len) + self.buffer.len() as u64;
        self.buffer.extend_from_slice(&(key.len() as u64).to_be_bytes());
        self.buffer.extend_from_slice(key);
        if self.buffer.len() >= SHELF_BUFFER_BYTES {
            self.flush()?;
        }
        Ok(at.cast_signed())
    }

    pub(super) fn at(&mut self, place: i64) -> Result<Vec<u8>, Stop> {
        self.flush()?;
        let Some(file) = &self.file else { return Ok(Vec::new()) };
        let mut length = [0; 8];
        file.read_at(place.cast_unsigned(), &mut length)?;
        let mut key = vec![0; usize::try_from(u64::from_be_bytes(length)).unwrap_or(0)];
        file.read_at(place.cast_unsigned() + 8, &mut key)?;
        Ok(key)
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(self.space.create(0)?),
        };
        file.write_at(file.len(), &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

const RECORD: usize = 73;
const KEY: std::ops::Range<usize> = 0..32;
const CONTENT: std::ops::Range<usize> = 32..64;
const SIDE: usize = 64;
const LOCATOR: std::ops::Range<usize> = 65..73;
const VERDICT: usize = 17;
/// A key is unique; only damage makes it repeat.
const MOST_ROWS_OF_A_KEY: usize = 100_000;
const SHELF_BUFFER_BYTES: usize = 64 << 10;
