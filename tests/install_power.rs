//! The power is cut while an image is installed, on every way it can take: the old content or the new, and the new once that was said.
//!
//! At random moments of an installation of some MiB, and after each call of a small one that changes a file: `strace` stops it there, so
//! that every boundary is met. What comes back is opened by SQLite alone, and then installed into once more. The ordinary run takes a
//! sample, `AIRKEEP_PROVE=1` takes 300 random moments and every call with every loss.

mod common;
mod placing;
mod power;
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use placing::calls::play;
use power::scene::{Rows, Scene};
use power::{LOSSES, Loss};
use support::{Dice, has_program, is_proving, note, skip};

const WAYS: [&str; 7] = ["rollback", "rollback, other page size", "wal", "wal, other page size", "missing", "unopenable", "online"];
const SMALL: Rows = Rows { old: 40, new: 25 };
/// Some 4 MiB of image.
const LARGE: Rows = Rows { old: 9_000, new: 14_000 };

/// What a sweep met: how often which content came back, and what was wrong.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<&'static str, usize>,
    faults: Vec<String>,
}

impl Tally {
    fn add(&mut self, what: impl FnOnce() -> String, found: Result<&'static str, String>) {
        match found {
            Ok(found) => *self.outcomes.entry(found).or_insert(0) += 1,
            Err(fault) => self.faults.push(format!("{}: {fault}", what())),
        }
    }

    fn require_none(&self) {
        assert!(self.faults.is_empty(), "{} faults:\n{}", self.faults.len(), self.faults.join("\n"));
    }
}

#[test]
fn at_random_moments_of_a_large_installation() {
    let mut dice = Dice::new("power cuts at random moments");
    let cuts = if is_proving() { 300_usize.div_ceil(WAYS.len()) } else { 2 };
    let mut total = Tally::default();
    for way in WAYS {
        let Some(mut scene) = Scene::new(way, LARGE) else { return };
        let taken = scene.measure();
        let mut tally = Tally::default();
        for cut in 0..cuts {
            // A little beyond the end, so that some come after success was said.
            let delay = Duration::from_micros(dice.below(taken.as_micros() as u64 * 2));
            let loss = if cut % 4 == 3 { Loss::Data } else { Loss::Everything };
            tally.add(|| format!("{way}, {delay:?} of {taken:?}, loss of {loss:?}"), scene.cut_after(delay, loss));
        }
        note(&format!("{way}: {cuts} cuts in {taken:?}: {:?}", tally.outcomes));
        total.faults.append(&mut tally.faults);
    }
    total.require_none();
}

#[test]
fn after_each_call_that_changes_a_file() {
    if !has_program("strace") {
        return skip("needs strace");
    }
    let mut dice = Dice::new("power cuts after calls");
    let mut total = Tally::default();
    for way in WAYS {
        let Some(mut scene) = Scene::new(way, SMALL) else { return };
        let calls = scene.trace();
        assert!(calls.len() >= 4, "{way}: the sweep looks at the wrong calls: {calls:?}");
        let every = || (0..calls.len()).flat_map(|place| LOSSES.map(|loss| (place, loss))).collect();
        let cuts: Vec<_> = match is_proving() {
            true => every(),
            false => vec![(dice.below(calls.len() as u64) as usize, Loss::Everything)],
        };
        let mut tally = Tally::default();
        for (place, loss) in cuts {
            let call = &calls[place];
            tally.add(|| format!("{way}, call {place}: {} {}, loss of {loss:?}", call.name, call.text), scene.cut_at(call, loss));
        }
        for loss in if is_proving() { &LOSSES[..] } else { &LOSSES[..1] } {
            tally.add(|| format!("{way}, once success was said, loss of {loss:?}"), scene.cut_when_said(*loss));
        }
        note(&format!("{way}: {} calls: {:?}", calls.len(), tally.outcomes));
        total.faults.append(&mut tally.faults);
    }
    total.require_none();
}

/// Nothing here is a test of its own; another test of this file starts it as a process.
#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role_for_another_test() {
    play();
}
