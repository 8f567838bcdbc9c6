//! `kill -9` at each call that changes a file, on every way an image can take: the old content or the new, and never a broken file.
//!
//! A first run of each way is traced by `strace` to learn its calls; then it is repeated once per call. The ordinary run takes every n-th
//! call, `AIRKEEP_PROVE=1` takes all.

mod common;
mod placing;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use airkeep::database::{Comparison, Image, Installation};
use placing::calls::{Call, changes, play, strace, trace_all};
use placing::{Filler, Place, fill, image_of, refusing};
use rusqlite::Connection;
use support::{has_program, integrity, is_proving, note, skip};

const SAMPLE: usize = 12;

struct Scene {
    place: Place,
    kept: tempfile::TempDir,
    image: Image,
    name: &'static str,
}

impl Scene {
    fn new(name: &'static str, make_target: impl FnOnce(&Path)) -> Scene {
        let place = Place::new();
        fill(&place.source, "new", "delete", 4096, 300);
        make_target(&place.target);
        let scene = Scene { image: image_of(&place.source), place, kept: support::place(), name };
        for entry in fs::read_dir(scene.place.live()).expect("list").flatten() {
            fs::copy(entry.path(), scene.kept.path().join(entry.file_name())).expect("keep");
        }
        scene
    }

    fn reset(&self) {
        fs::remove_dir_all(self.place.live()).and_then(|()| fs::create_dir(self.place.live())).expect("anew");
        for entry in fs::read_dir(self.kept.path()).expect("list").flatten() {
            fs::copy(entry.path(), self.place.live().join(entry.file_name())).expect("put back");
        }
    }

    fn log(&self) -> PathBuf {
        self.place.folder.path().join("log")
    }

    fn run(&self, options: &[String]) -> Output {
        strace(&self.log(), options, self.name, &self.place.target).output().expect("strace")
    }

    /// The calls that reach the folder of the target.
    fn trace(&self) -> Vec<Call> {
        let output = self.run(&trace_all());
        assert!(support::text_of(&output).contains("installed"), "{}", support::text_of(&output));
        let calls = changes(&self.log(), &self.place.live());
        self.reset();
        calls
    }

    /// Kills at the call, and says which content is there.
    fn suffer(&self, call: &Call) -> Result<&'static str, String> {
        let output = self.run(&call.inject("KILL"));
        let said_success = support::text_of(&output).contains("installed");
        let found = self.judge().and_then(|found| self.install_again().map(|()| found));
        self.reset();
        if output.status.success() {
            return Err("was not killed".to_owned());
        }
        match found? {
            "old" if said_success => Err("called a success, and the old content is there".to_owned()),
            found => Ok(found),
        }
    }

    /// What a kill left is in nobody's way.
    fn install_again(&self) -> Result<(), String> {
        let target = &self.place.target;
        let again = Installation::lock(target, &self.image, &refusing(), &mut Filler)
            .and_then(|installation| installation.install(&refusing(), &mut Filler))
            .and_then(|installed| installed.release());
        let report = again.map_err(|error| format!("the next installation fails: {}", support::causes(&error)))?;
        if report.comparison == Comparison::Equal { Ok(()) } else { Err("the next installation was overtaken by nobody".to_owned()) }
    }

    fn judge(&self) -> Result<&'static str, String> {
        let target = &self.place.target;
        let before = fs::read(self.kept.path().join("app.db")).ok();
        if fs::read(target).ok() == before && (self.name == "missing" || self.name == "unopenable") {
            return Ok("old");
        }
        let connection = Connection::open(target).map_err(|error| error.to_string())?;
        let count = |mark: &str| connection.query_row("SELECT count(*) FROM t WHERE mark=?1", [mark], |row| row.get::<_, i64>(0));
        let (old, new) = (count("old").map_err(|error| error.to_string())?, count("new").map_err(|error| error.to_string())?);
        if integrity(&connection) != ["ok"] {
            return Err(format!("{:?}", integrity(&connection)));
        }
        match (old, new) {
            (500, 0) => Ok("old"),
            (0, 300) => Ok("new"),
            mixed => Err(format!("neither old nor new: {mixed:?}")),
        }
    }
}

fn sweep(name: &'static str, make_target: impl FnOnce(&Path)) {
    if !has_program("strace") {
        return skip("needs strace");
    }
    let scene = Scene::new(name, make_target);
    let calls = scene.trace();
    assert!(calls.len() >= 4, "{name}: the sweep looks at the wrong calls: {calls:?}");
    let step = if is_proving() { 1 } else { calls.len().div_ceil(SAMPLE) };
    let (mut outcomes, mut faults) = (BTreeMap::new(), Vec::new());
    let last = calls.len() - 1;
    for (place, call) in calls.iter().enumerate().filter(|(place, _)| place % step == 0 || *place == last) {
        match scene.suffer(call) {
            Ok(found) => *outcomes.entry(found).or_insert(0) += 1,
            Err(fault) => faults.push(format!("{place}: {} {} {}: {fault}", call.name, call.number, call.text)),
        }
    }
    note(&format!("{name}: {} calls, {outcomes:?}", calls.len()));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
    assert!(outcomes.contains_key("old"), "{name}: no kill came before the change");
}

#[test]
fn into_a_rollback_database() {
    sweep("rollback", |target| fill(target, "old", "delete", 4096, 500));
}

#[test]
fn into_a_wal_database() {
    sweep("wal", |target| fill(target, "old", "wal", 4096, 500));
}

#[test]
fn into_a_wal_database_of_another_page_size() {
    sweep("wal, other page size", |target| fill(target, "old", "wal", 1024, 500));
}

#[test]
fn into_a_rollback_database_of_another_page_size() {
    sweep("rollback, other page size", |target| fill(target, "old", "delete", 16384, 500));
}

#[test]
fn where_nothing_is() {
    sweep("missing", |_| {});
}

#[test]
fn where_sqlite_finds_no_database() {
    sweep("unopenable", |target| {
        fs::write(target, b"no database").expect("write");
        fs::write(format!("{}-wal", target.display()), b"stale").expect("write");
    });
}

#[test]
fn into_a_wal_database_that_others_use() {
    sweep("online", |target| fill(target, "old", "wal", 4096, 500));
}

/// Nothing here is a test of its own; another test of this file starts it as a process.
#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role_for_another_test() {
    play();
}
