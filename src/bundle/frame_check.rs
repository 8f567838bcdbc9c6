//! What can be told of one frame by itself, on a worker thread.

use std::sync::Arc;

use super::codec::{Codec, Opener};
use super::frame::Place;
use super::values::Id;
use crate::crypto::{BundleKeys, Digest, Tag};

/// A frame on its way: stored bytes go in, what they prove comes out.
pub(super) struct Task {
    /// Which frame.
    pub(super) place: Place,
    /// Its bytes as stored; garbled by opening.
    pub(super) member: Vec<u8>,
    /// What it opened to.
    pub(super) plain: Vec<u8>,
    /// Bytes that the index expects it to open to.
    pub(super) opens_to: usize,
    /// SHA-256 of the stored bytes.
    pub(super) sum: Digest,
    /// How far it was proven.
    pub(super) state: State,
}

/// How far a frame was proven.
#[derive(Clone, Copy)]
pub(super) enum State {
    /// Hashed only: there is no key.
    Summed,
    /// Its tag is wrong.
    NotAuthentic,
    /// Its tag is right.
    Authentic(Tag),
    /// Its tag is right, but padding or codec member are not.
    Unopenable(Tag),
    /// Opened into `plain`.
    Opened(Tag),
}

impl Task {
    /// An empty one; its buffers grow with use and are kept.
    pub(super) fn new() -> Task {
        let place = Place::Frame { number: 0, is_last: false };
        Task { place, member: Vec::new(), plain: Vec::new(), opens_to: 0, sum: Digest([0; 32]), state: State::Summed }
    }
}

/// What a worker thread does with a frame: hash, with keys authenticate, with a codec open.
pub(super) fn worker(id: Id, keys: Option<Arc<BundleKeys>>, codec: Option<Codec>) -> impl FnMut(&mut Task) + Send + 'static {
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
