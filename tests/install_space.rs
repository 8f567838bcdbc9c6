//! Installing where there is no room: refused before anything is touched, and undone where the room is taken in the middle.

mod common;
mod placing;
mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use airkeep::database::{Image, InstallError, InstallOptions, Installation, Installed, Others, Way};
use common::{number, snapshot};
use placing::{Filler, Place, fill, image_of, install, patient, refusing};
use rusqlite::Connection;
use support::{content, integrity, skip};

/// A small file system in memory in the place of the target's folder.
struct Small<'p>(&'p Path);

impl<'p> Small<'p> {
    fn new(at: &'p Path, size: &str) -> Option<Self> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "none"]).arg(at).stderr(Stdio::null()).status();
        match mounted.is_ok_and(|status| status.success()) {
            true => Some(Self(at)),
            false => {
                skip("needs root, to mount a small file system");
                None
            }
        }
    }

    /// Takes all the room that is left, as another process may.
    fn take_all(&self) {
        let mut hog = File::options().append(true).create(true).open(self.0.join("hog")).expect("hog");
        for size in [64 << 10, 4096, 1] {
            while hog.write_all(&vec![1; size]).is_ok() {}
        }
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Many pages, so that there are steps in between.
fn place_with_a_large_image() -> (Place, Image) {
    let place = Place::new();
    fill(&place.source, "new", "delete", 512, 9000);
    let image = image_of(&place.source);
    (place, image)
}

#[test]
fn a_target_without_room_beside_it_is_refused_before_anything_is_touched() {
    let (place, image) = place_with_a_large_image();
    let live = place.live();
    let Some(_small) = Small::new(&live, "3m") else { return };
    for kind in ["wal", "delete", "unopenable", "missing"] {
        match kind {
            "missing" => {}
            "unopenable" => fs::write(&place.target, b"no database").expect("write"),
            mode => fill(&place.target, "old", mode, 512, 50),
        }
        let before = snapshot(&live);
        let error = install(&place.target, &image).expect_err("no room");
        let InstallError::NoSpace { needed_bytes, free_bytes, .. } = &error else { panic!("{kind}: {error:?}") };
        assert!(needed_bytes > free_bytes, "{kind}");
        assert!(snapshot(&live) == before, "{kind}: {:?}", place.names());
        let _ = fs::remove_file(&place.target);
    }
}

#[test]
fn room_that_is_taken_in_the_middle_leaves_the_old_content() {
    let (place, image) = place_with_a_large_image();
    let live = place.live();
    let Some(small) = Small::new(&live, "24m") else { return };
    for kind in ["wal", "delete", "online", "other page size", "unopenable", "missing"] {
        match kind {
            "missing" => {}
            "unopenable" => fs::write(&place.target, b"no database").expect("write"),
            "online" => fill(&place.target, "old", "wal", 512, 50),
            "other page size" => fill(&place.target, "old", "wal", 4096, 50),
            mode => fill(&place.target, "old", mode, 512, 50),
        }
        let is_database = place.target.exists() && kind != "unopenable";
        let (files, old) = (snapshot(&live), is_database.then(|| content(&place.target)));
        let other = (kind == "online").then(|| Connection::open(&place.target).expect("open"));
        let _connected = other.as_ref().map(|other| number(other, "SELECT count(*) FROM t"));
        let taking = || {
            small.take_all();
            false
        };
        let options = InstallOptions { cancelled: &taking, others: Others::Keep, ..refusing() };
        let outcome = Installation::lock(&place.target, &image, &options, &mut Filler).and_then(|installation| {
            assert_eq!(installation.way() == Way::Online, kind == "online");
            installation.install(&options, &mut Filler).map(drop)
        });
        let error = support::causes(&outcome.expect_err(kind));
        assert!(error.contains("full") || error.contains("No space"), "{kind}: {error}");
        drop(other);
        fs::remove_file(live.join("hog")).expect("hog");
        match old {
            Some(old) => {
                assert_eq!(integrity(&Connection::open(&place.target).expect("open")), ["ok"], "{kind}");
                assert!(content(&place.target) == old, "{kind}");
            }
            None => assert!(snapshot(&live) == files, "{kind}: {:?}", place.names()),
        }
        let again =
            Installation::lock(&place.target, &image, &patient(), &mut Filler).and_then(|lock| lock.install(&patient(), &mut Filler));
        let again = again.and_then(Installed::release);
        again.unwrap_or_else(|error| panic!("{kind}, again: {}", support::causes(&error)));
        for name in place.names() {
            fs::remove_file(live.join(name)).expect("remove");
        }
    }
}
