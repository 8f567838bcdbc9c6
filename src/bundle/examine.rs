//! One pass over a bundle that proves it to a level, and hands out its entries on the way (docs/format.md section 9, steps 1 to 7).
//!
//! Findings are collected, not thrown: the report says which frames and which databases are hurt, and the pass goes on behind them. Whoever
//! takes entries must not publish any of them before the pass ended without a finding.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::codec::{Codec, Opener};
use super::core::Id;
use super::frame::Place;
use super::front::{Cursor, Front, Unlocked};
use super::index::{Entry, FrameContent, Index};
use super::limits::{END_LEN, INDEX_MAX, sealed_max};
use super::medium::Medium;
use super::outer::{BLOCK, END_OF_ARCHIVE, member, padding, size_in};
use super::pipeline::Pipeline;
use super::tail::{Hint, sums_line};
use super::walk::{SUMS_MAX, Step, Walk};
use super::{BundleError, Damage, Finding};
use crate::crypto::{BundleKeys, Digest, Sha256, Tag};

/// How much is proven (DESIGN: named levels). The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// L0: structure exact, every member matches its recorded hash. Needs nothing.
    #[serde(rename = "L0")]
    Sums,
    /// L2: slots, index and frames carry valid MACs; none is missing, swapped or added. Needs a key.
    #[serde(rename = "L2")]
    Authentic,
    /// L3: everything decrypts, decompresses and matches the manifest. Needs a key.
    #[serde(rename = "L3")]
    Content,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Sums => "L0",
            Level::Authentic => "L2",
            Level::Content => "L3",
        })
    }
}

/// Takes entries out of a bundle while it is examined at L3.
pub trait EntrySink {
    /// What taking may fail with.
    type Error: From<BundleError>;

    /// An entry begins; its content follows.
    ///
    /// # Errors
    /// The sink's own.
    fn begin(&mut self, entry: &Entry) -> Result<(), Self::Error>;

    /// More of the entry's content.
    ///
    /// # Errors
    /// The sink's own.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// The entry is complete and its digest is right. Not called for a damaged entry.
    ///
    /// # Errors
    /// The sink's own.
    fn end(&mut self) -> Result<(), Self::Error>;
}

/// Takes nothing.
#[derive(Debug)]
pub struct Nowhere;

impl EntrySink for Nowhere {
    type Error = BundleError;
    fn begin(&mut self, _: &Entry) -> Result<(), BundleError> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> Result<(), BundleError> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}

/// What a pass found.
#[derive(Debug)]
pub struct Outcome {
    /// Everything that is wrong, in the order of the file.
    pub findings: Vec<Finding>,
    /// Frames that the file has.
    pub frames: u64,
    /// The seal digest, if `SHA256SUMS` could be read.
    pub seal_sha256: Option<Digest>,
}

impl Outcome {
    /// The first damage as an error, if there is any.
    ///
    /// # Errors
    /// [`BundleError::Damaged`].
    pub fn into_result(mut self) -> Result<(), BundleError> {
        match self.findings.is_empty() {
            true => Ok(()),
            false => Err(self.findings.swap_remove(0).damage.into()),
        }
    }
}

/// A pass over one bundle.
pub struct Examination<'a, M: Medium + ?Sized, S: EntrySink> {
    medium: &'a M,
    front: &'a Front,
    index: Option<&'a Index>,
    level: Level,
    pipeline: Pipeline<Task>,
    spare: Vec<Task>,
    sink: &'a mut S,
    entry: Option<OpenEntry>,
    sums: Vec<Option<Digest>>,
    tags: Option<Sha256>,
    outcome: Outcome,
}

/// A frame on its way: stored bytes go in, what they prove comes out.
struct Task {
    place: Place,
    member: Vec<u8>,
    plain: Vec<u8>,
    opens_to: usize,
    sum: Digest,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    Summed,
    NotAuthentic,
    Authentic(Tag),
    Unopenable(Tag),
    Opened(Tag),
}

struct OpenEntry {
    hash: Sha256,
    is_intact: bool,
}

impl<'a, M: Medium + ?Sized, S: EntrySink> Examination<'a, M, S> {
    /// Prepares a pass: at L0 without `unlocked`, with it at `level`.
    pub fn new(
        medium: &'a M,
        front: &'a mut Front,
        unlocked: Option<&'a mut Unlocked>,
        level: Level,
        workers: usize,
        sink: &'a mut S,
    ) -> Self {
        let recover = front.recover_damage.take();
        let mut findings: Vec<Finding> =
            recover.into_iter().map(|damage| Finding { level: Level::Sums, damage, frames: None, entries: Vec::new() }).collect();
        let (keys, index) = match unlocked.filter(|_| level > Level::Sums) {
            None => (None, None),
            Some(Unlocked { keys, content, damage }) => {
                let level = if matches!(damage, Some(Damage::Manifest { .. })) { Level::Content } else { Level::Authentic };
                findings.extend(damage.take().map(|damage| Finding { level, damage, frames: None, entries: Vec::new() }));
                (Some(keys.clone()), content.as_ref().map(|(index, _)| index))
            }
        };
        // Without an index nothing says what a frame must open to.
        let opens = level == Level::Content && index.is_some();
        let worker = || worker(front.core.id, keys.clone(), opens.then_some(front.core.codec));
        let tags = (keys.is_some() && index.is_some()).then(Sha256::new);
        let pipeline = Pipeline::new(workers, worker);
        let outcome = Outcome { findings, frames: 0, seal_sha256: None };
        Examination { medium, front, index, level, pipeline, spare: Vec::new(), sink, entry: None, sums: Vec::new(), tags, outcome }
    }

    /// Goes over the whole file.
    ///
    /// # Errors
    /// Only what is not the bundle's fault: the sink's errors and lost workers. Damage is in the outcome.
    pub fn run(mut self) -> Result<Outcome, S::Error> {
        let mut walk = Walk::new(self.medium, self.front);
        let mut held: Option<(u64, u64, u64)> = None;
        let index_at = loop {
            let step = walk.step();
            if let Some((number, offset, size)) = held.take() {
                let is_last = self.index.map_or(matches!(step, Step::Index { .. }), |index| number + 1 == index.offsets.len() as u64);
                self.submit(number, offset, size, is_last)?;
            }
            match step {
                // A frame waits for the next step, which tells whether it is the last one.
                Step::Frame { number, offset, size } => held = Some((number, offset, size)),
                Step::Gap { first, last, damage } => {
                    self.drain()?;
                    self.lose(first, last, damage);
                }
                Step::Index { offset, size } => break Some((offset, size)),
                Step::Lost { damage } => {
                    self.drain()?;
                    let last = self.index.map_or(walk.frames(), |index| (index.offsets.len() as u64).saturating_sub(1));
                    self.lose(walk.frames(), last.max(walk.frames()), damage);
                    break None;
                }
            }
        };
        self.drain()?;
        self.outcome.frames = walk.frames();
        self.check_tags();
        if let Some((offset, size)) = index_at {
            self.check_tail(offset, size);
        }
        Ok(self.outcome)
    }

    fn submit(&mut self, number: u64, offset: u64, size: u64, is_last: bool) -> Result<(), S::Error> {
        if self.pipeline.is_full()
            && let Some(task) = self.pipeline.oldest()
        {
            self.accept(task?)?;
        }
        let mut task = self.spare.pop().unwrap_or_else(Task::new);
        task.place = Place::Frame { number, is_last };
        task.opens_to = self
            .index
            .filter(|index| number < index.offsets.len() as u64)
            .map_or(0, |index| index.content_of(number, self.front.core.frame_size).len() as usize);
        if self.index.is_some_and(|index| index.offsets.get(number as usize) != Some(&(offset - self.front.frames_start))) {
            self.find(
                Level::Authentic,
                Damage::Differs { member: format!("the place of {}", member::frame(number)) },
                Some((number, number)),
            );
        }
        let stored = (size + padding(size)) as usize;
        task.member.resize(stored, 0);
        let name = member::frame(number);
        if let Err(damage) = (Cursor { medium: self.medium, offset }).read(&name, offset + BLOCK, &mut task.member) {
            self.drain()?;
            self.spare.push(task);
            self.lose(number, number, damage);
            return Ok(());
        }
        if task.member[size as usize..].iter().any(|&byte| byte != 0) {
            self.find(Level::Sums, Damage::Padding { member: name }, Some((number, number)));
        }
        task.member.truncate(size as usize);
        Ok(self.pipeline.submit(task)?)
    }

    fn drain(&mut self) -> Result<(), S::Error> {
        while let Some(task) = self.pipeline.oldest() {
            self.accept(task?)?;
        }
        Ok(())
    }

    /// Takes a finished frame, in order.
    fn accept(&mut self, task: Task) -> Result<(), S::Error> {
        let Place::Frame { number, .. } = task.place else { unreachable!("tasks are frames") };
        self.sums.resize(number as usize, None);
        self.sums.push(Some(task.sum));
        let frames = Some((number, number));
        let name = || member::frame(number);
        if let (State::Authentic(tag) | State::Unopenable(tag) | State::Opened(tag), Some(tags)) = (task.state, &mut self.tags) {
            tags.update(&tag);
        }
        match task.state {
            State::Summed | State::Authentic(_) => {}
            State::NotAuthentic => {
                self.find(Level::Authentic, Damage::NotAuthentic { member: name() }, frames);
                self.tags = None;
                self.spoil(number);
            }
            State::Unopenable(_) => {
                self.find(Level::Content, Damage::Unopenable { member: name() }, frames);
                self.spoil(number);
            }
            State::Opened(_) => self.take(number, &task.plain)?,
        }
        self.spare.push(task);
        Ok(())
    }

    /// Compares an opened frame with the index and passes its content on.
    fn take(&mut self, number: u64, plain: &[u8]) -> Result<(), S::Error> {
        let Some(index) = self.index.filter(|index| number < index.offsets.len() as u64) else { return Ok(()) };
        let content = index.content_of(number, self.front.core.frame_size);
        if !content.matches(plain) {
            self.find(Level::Content, Damage::Content { member: member::frame(number) }, Some((number, number)));
            self.spoil(number);
            return Ok(());
        }
        match content {
            FrameContent::End => Ok(()),
            FrameContent::Header(entry) => {
                self.entry = Some(OpenEntry { hash: Sha256::new(), is_intact: true });
                self.sink.begin(entry)?;
                if entry.size == 0 { self.close(entry) } else { Ok(()) }
            }
            FrameContent::Data { entry, data, is_last, .. } => {
                let Some(open) = self.entry.as_mut().filter(|open| open.is_intact) else { return Ok(()) };
                let bytes = &plain[..data as usize];
                open.hash.update(bytes);
                self.sink.write(bytes)?;
                if is_last { self.close(entry) } else { Ok(()) }
            }
        }
    }

    fn close(&mut self, entry: &Entry) -> Result<(), S::Error> {
        let Some(open) = self.entry.take() else { return Ok(()) };
        if open.hash.finish() == entry.sha256 {
            return self.sink.end();
        }
        let frames = Some((entry.first_frame, entry.first_frame + entry.frame_count(self.front.core.frame_size) - 1));
        self.find(Level::Content, Damage::Entry { entry: entry.path.to_string() }, frames);
        Ok(())
    }

    /// Marks the entry of a bad frame, so that no digest is compared and nothing more of it handed out.
    fn spoil(&mut self, number: u64) {
        let is_header = self.index.and_then(|index| index.entry_of(number)).is_some_and(|entry| entry.first_frame == number);
        match &mut self.entry {
            Some(open) if !is_header => open.is_intact = false,
            _ => self.entry = Some(OpenEntry { hash: Sha256::new(), is_intact: false }),
        }
    }

    /// Records frames that could not be read at all.
    fn lose(&mut self, first: u64, last: u64, damage: Damage) {
        self.find(Level::Sums, damage, Some((first, last)));
        if last > first {
            self.find(Level::Sums, Damage::Missing { first, last }, Some((first, last)));
        }
        self.tags = None;
        self.spoil(last);
    }

    fn find(&mut self, level: Level, damage: Damage, frames: Option<(u64, u64)>) {
        let entries = match (self.index, frames) {
            (Some(index), Some((first, last))) => index
                .entries
                .iter()
                .filter(|entry| entry.first_frame <= last && first < entry.first_frame + entry.frame_count(self.front.core.frame_size))
                .map(|entry| entry.path.to_string())
                .collect(),
            _ => Vec::new(),
        };
        self.outcome.findings.push(Finding { level, damage, frames, entries });
    }

    /// Compares count and tags with the index.
    fn check_tags(&mut self) {
        let Some(index) = self.index.filter(|_| self.level > Level::Sums) else { return };
        if self.outcome.frames != index.offsets.len() as u64 {
            self.find(Level::Authentic, Damage::Index { field: "frames" }, None);
        } else if self.tags.take().is_some_and(|tags| tags.finish() != index.tags) {
            self.find(Level::Authentic, Damage::Index { field: "tags" }, None);
        }
    }

    /// Index, sums, end, and nothing behind.
    fn check_tail(&mut self, index_offset: u64, index_size: u64) {
        let mut cursor = Cursor { medium: self.medium, offset: index_offset };
        let read = cursor.member(member::INDEX, sealed_max(INDEX_MAX));
        let index_sum = match read {
            Ok(stored) => Some(Digest::of(&stored)),
            Err(error) => {
                self.fail(error);
                cursor.offset = index_offset + BLOCK + index_size + padding(index_size);
                None
            }
        };
        let sums_offset = cursor.offset;
        if let Err(error) = self.check_sums(&mut cursor, index_sum) {
            return self.fail(error);
        }
        let start = self.front.frames_start;
        let hint = Hint { frames: self.outcome.frames, index: index_offset - start, sums: sums_offset - start };
        match cursor.member(member::END, END_LEN) {
            Ok(end) if end == hint.encode() => {}
            Ok(_) => self.find(Level::Sums, Damage::Differs { member: member::END.to_owned() }, None),
            Err(error) => return self.fail(error),
        }
        self.check_end(&cursor);
    }

    fn check_end(&mut self, cursor: &Cursor<'_, M>) {
        let mut zeros = [0; END_OF_ARCHIVE as usize];
        match cursor.read("the end of the archive", cursor.offset, &mut zeros) {
            Ok(()) if zeros.iter().all(|&byte| byte == 0) => {}
            Ok(()) => self.find(Level::Sums, Damage::Padding { member: member::END.to_owned() }, None),
            Err(damage) => self.find(Level::Sums, damage, None),
        }
        let behind = self.medium.length().unwrap_or(0).saturating_sub(cursor.offset + END_OF_ARCHIVE);
        if behind > 0 {
            self.find(Level::Sums, Damage::Trailing { bytes: behind }, None);
        }
    }

    /// Compares `SHA256SUMS` line by line with what was hashed; its size follows from the number of frames.
    fn check_sums(&mut self, cursor: &mut Cursor<'_, M>, index_sum: Option<Digest>) -> Result<(), BundleError> {
        let mut block = [0; BLOCK as usize];
        let offset = cursor.offset;
        cursor.read(member::SUMS, offset, &mut block)?;
        let header = || Damage::Header { member: member::SUMS.to_owned(), offset };
        let size = size_in(&block, member::SUMS).filter(|&size| size <= SUMS_MAX).ok_or_else(header)?;
        let mut list = StoredList { cursor, at: offset + BLOCK, end: offset + BLOCK + size, hash: Sha256::new() };
        let mut wrong = Vec::new();
        self.sums.resize(self.outcome.frames as usize, None);
        let fixed =
            [(Some(self.front.core_sum), member::CORE.to_owned()), (Some(self.front.core.recover_sha256), member::RECOVER.to_owned())];
        let frames = (0..).zip(&self.sums).map(|(number, sum)| (*sum, member::frame(number)));
        for (sum, name) in fixed.into_iter().chain(frames).chain([(index_sum, member::INDEX.to_owned())]) {
            // A member without a sum could not be read and was reported; its line is passed over, all others still count.
            let line = list.line(67 + name.len())?;
            if line.is_none_or(|line| sum.is_some_and(|sum| line != sums_line(&sum, &name).as_bytes())) {
                wrong.push(name);
            }
        }
        let is_longer = list.at != list.end;
        list.hash_rest()?;
        let seal = list.hash.finish();
        cursor.offset = offset + BLOCK + size;
        let mut zeros = vec![0; padding(size) as usize];
        cursor.read(member::SUMS, cursor.offset, &mut zeros)?;
        cursor.offset += zeros.len() as u64;
        self.outcome.seal_sha256 = Some(seal);
        for name in wrong {
            let number = name.strip_prefix("frames/").and_then(|digits| digits.parse().ok());
            self.find(Level::Sums, Damage::Sum { member: name }, number.map(|number| (number, number)));
        }
        if is_longer || zeros.iter().any(|&byte| byte != 0) {
            self.find(Level::Sums, Damage::Differs { member: member::SUMS.to_owned() }, None);
        }
        Ok(())
    }

    fn fail(&mut self, error: BundleError) {
        match error {
            BundleError::Damaged(damage) => self.find(Level::Sums, *damage, None),
            _ => self.find(Level::Sums, Damage::Differs { member: "the end of the bundle".to_owned() }, None),
        }
    }
}

/// Reads a stored list in exact pieces, hashing all of it.
struct StoredList<'c, 'm, M: Medium + ?Sized> {
    cursor: &'c Cursor<'m, M>,
    at: u64,
    end: u64,
    hash: Sha256,
}

impl<M: Medium + ?Sized> StoredList<'_, '_, M> {
    /// The next `len` bytes, or `None` if the list is shorter.
    fn line(&mut self, len: usize) -> Result<Option<Vec<u8>>, Damage> {
        let mut line = vec![0; len.min((self.end - self.at) as usize)];
        self.cursor.read(member::SUMS, self.at, &mut line)?;
        self.hash.update(&line);
        self.at += line.len() as u64;
        Ok((line.len() == len).then_some(line))
    }

    fn hash_rest(&mut self) -> Result<(), Damage> {
        while self.line(4096)?.is_some() {}
        Ok(())
    }
}

fn worker(id: Id, keys: Option<Arc<BundleKeys>>, codec: Option<Codec>) -> impl FnMut(&mut Task) + Send + 'static {
    let mut opener = codec.map(Opener::new);
    move |task| {
        task.sum = Digest::of(&task.member);
        task.state = match &keys {
            None => State::Summed,
            Some(keys) => open(task, &id, keys, opener.as_mut()),
        };
    }
}

fn open(task: &mut Task, id: &Id, keys: &BundleKeys, opener: Option<&mut Opener>) -> State {
    let Some(tag) = task.place.authenticate(keys, id, &task.member) else { return State::NotAuthentic };
    let Some(opener) = opener else { return State::Authentic(tag) };
    let packed = task.place.open(keys, &mut task.member);
    match packed.and_then(|packed| opener.open(packed, task.opens_to, &mut task.plain).ok()) {
        Some(()) => State::Opened(tag),
        None => State::Unopenable(tag),
    }
}

impl Task {
    fn new() -> Task {
        let place = Place::Frame { number: 0, is_last: false };
        Task { place, member: Vec::new(), plain: Vec::new(), opens_to: 0, sum: Digest([0; 32]), state: State::Summed }
    }
}
