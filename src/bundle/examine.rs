//! One pass over a bundle that proves it to a level, and hands out its entries on the way (docs/format.md section 9, steps 1 to 7).
//!
//! Findings are collected, not thrown: the report says which frames and which databases are hurt, and the pass goes on behind them. Whoever
//! takes entries must not publish any of them before the pass ended without a finding.

mod extract;

pub use extract::SealCheck;

use super::cursor::Cursor;
use super::frame::Place;
use super::frame_check::{State, Task, worker};
use super::front::{Front, Unlocked};
use super::index::{Entry, FrameContent, Index};
use super::level::Level;
use super::limits::FINDINGS_MAX;
use super::medium::Medium;
use super::outer::{BLOCK, is_zero, member, padding};
use super::pipeline::Pipeline;
use super::sink::EntrySink;
use super::tail::Tail;
use super::walk::{Step, Walk};
use super::{BundleError, Damage, Finding};
use crate::crypto::{Digest, Sha256};

/// What a pass found.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong, in the order of the file; the first thousand things.
    pub findings: Vec<Finding>,
    /// Frames that the file has.
    pub frames: u64,
    /// The seal digest, if `SHA256SUMS` could be read.
    pub seal_sha256: Option<Digest>,
    /// Whether the signer that the core names signed `SHA256SUMS` as it was read.
    pub is_signed: bool,
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
        let mut findings: Vec<Finding> =
            front.damages.drain(..).map(|damage| Finding { level: Level::Sums, damage, frames: None, entries: Vec::new() }).collect();
        let (keys, index) = match unlocked.filter(|_| level.needs_key()) {
            None => (None, None),
            Some(Unlocked { keys, content, damage }) => {
                let level = if matches!(damage, Some(Damage::Manifest { .. })) { Level::Content } else { Level::Authentic };
                findings.extend(damage.take().map(|damage| Finding { level, damage, frames: None, entries: Vec::new() }));
                (Some(keys.clone()), content.as_ref().map(|(index, _)| index))
            }
        };
        // Without an index nothing says what a frame must open to.
        let opens = level >= Level::Content && index.is_some();
        let worker = || worker(front.core.id, keys.clone(), opens.then_some(front.core.codec));
        let tags = (keys.is_some() && index.is_some()).then(Sha256::new);
        let pipeline = Pipeline::new(workers, worker);
        let outcome = Outcome { findings, frames: 0, seal_sha256: None, is_signed: false };
        Examination { medium, front, index, level, pipeline, spare: Vec::new(), sink, entry: None, sums: Vec::new(), tags, outcome }
    }

    /// Goes over the whole file.
    ///
    /// # Errors
    /// Only what is not the bundle's fault: the sink's errors, lost workers, a reader who wants no more. Damage is in the outcome.
    pub fn run(mut self) -> Result<Outcome, S::Error> {
        let mut walk = Walk::new(self.medium, self.front.frames_start, self.front.core.frame_size);
        let mut held: Option<(u64, u64, u64)> = None;
        let index_at = loop {
            let step = walk.step();
            if self.medium.is_cancelled() {
                return Err(BundleError::Cancelled.into());
            }
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
            let mut tail = Tail {
                medium: self.medium,
                front: self.front,
                frames: self.outcome.frames,
                sums: &self.sums,
                damages: Vec::new(),
                is_signed: false,
            };
            self.outcome.seal_sha256 = tail.check(offset, size);
            self.outcome.is_signed = tail.is_signed;
            for (damage, frame) in tail.damages {
                self.find(Level::Sums, damage, frame.map(|frame| (frame, frame)));
            }
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
        if !is_zero(&task.member[size as usize..]) {
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

    /// Records a finding. Beyond the limit nothing more is kept: the first thousand tell what there is to know of a medium, and whoever made a
    /// bundle to have more would only fill the memory.
    fn find(&mut self, level: Level, damage: Damage, frames: Option<(u64, u64)>) {
        if self.outcome.findings.len() >= FINDINGS_MAX {
            return;
        }
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
        let Some(index) = self.index.filter(|_| self.level.needs_key()) else { return };
        if self.outcome.frames != index.offsets.len() as u64 {
            self.find(Level::Authentic, Damage::Index { field: "frames" }, None);
        } else if self.tags.take().is_some_and(|tags| tags.finish() != index.tags) {
            self.find(Level::Authentic, Damage::Index { field: "tags" }, None);
        }
    }
}
