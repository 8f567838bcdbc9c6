//! What the tests of installing share: images, targets, and what children say.
#![allow(dead_code)] // each test binary uses its part

pub mod calls;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use airkeep::crypto::Entropy;
use airkeep::database::{Capture, DatabaseError, Image, InstallError, InstallOptions, InstallReport, Installation, Links, Others};
use airkeep::files::ScratchSpace;

use crate::common::{entropy, make, options};
use crate::support::{self, content, fast_place, integrity, listing, place};

pub struct Filler;

impl Entropy for Filler {
    fn fill(&mut self, buffer: &mut [u8]) {
        entropy(buffer);
    }
}

pub fn refusing() -> InstallOptions<'static> {
    InstallOptions { links: Links::Refuse, others: Others::Refuse, busy_timeout: Duration::from_millis(300), cancelled: &|| false }
}

pub fn patient() -> InstallOptions<'static> {
    InstallOptions { busy_timeout: Duration::from_secs(60), ..refusing() }
}

/// What a bundle gives: an image in scratch.
pub fn image_of(path: &Path) -> Image {
    let space = ScratchSpace::new(std::env::temp_dir(), entropy);
    let image = Image::create(&space, 0).expect("scratch");
    let mut capture = Capture::begin(path, &options(&space)).expect("capture");
    let mut offset = 0;
    capture
        .write_image(&mut |piece| {
            image.write_at(offset, piece)?;
            offset += piece.len() as u64;
            Ok::<(), DatabaseError>(())
        })
        .expect("pages");
    capture.finish().expect("finish");
    image
}

/// A database whose rows say whose they are.
pub fn fill(path: &Path, mark: &str, mode: &str, page_size: u32, rows: u32) {
    make(
        path,
        &format!(
            "PRAGMA page_size={page_size}; PRAGMA journal_mode={mode}; PRAGMA synchronous=OFF;
             CREATE TABLE t(id INTEGER PRIMARY KEY, mark TEXT NOT NULL, v TEXT); CREATE INDEX i ON t(v);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{rows})
               INSERT INTO t SELECT i, '{mark}', hex(randomblob(60)) FROM n;
             CREATE TRIGGER no_restore BEFORE INSERT ON t WHEN new.mark='new' BEGIN SELECT raise(ABORT, 'pages, not rows'); END;"
        ),
    );
}

pub fn install(path: &Path, image: &Image) -> Result<InstallReport, InstallError> {
    Installation::lock(path, image, &refusing(), &mut Filler)?.install(&refusing(), &mut Filler)?.release()
}

pub fn mode_of(path: &Path) -> String {
    support::open(path).query_row("PRAGMA journal_mode", [], |row| row.get(0)).expect("mode")
}

/// The target holds what the source holds, and is sound.
pub fn assert_installed(target: &Path, source: &Path, what: &str) {
    assert!(content(target) == content(source), "{what}");
    assert_eq!(integrity(&support::open(target)), ["ok"], "{what}");
}

pub struct Place {
    pub folder: tempfile::TempDir,
    pub target: PathBuf,
    pub source: PathBuf,
}

impl Place {
    pub fn new() -> Place {
        Place::within(place())
    }

    /// For tests in which others are to be fast.
    pub fn in_memory() -> Place {
        Place::within(fast_place())
    }

    fn within(folder: tempfile::TempDir) -> Place {
        fs::create_dir(folder.path().join("live")).expect("folder");
        Place { target: folder.path().join("live/app.db"), source: folder.path().join("source.db"), folder }
    }

    pub fn live(&self) -> PathBuf {
        self.folder.path().join("live")
    }

    pub fn beside(&self, suffix: &str) -> PathBuf {
        self.live().join(format!("app.db{suffix}"))
    }

    /// With an ordinary source and its image.
    pub fn with_image() -> (Place, Image) {
        let place = Place::new();
        fill(&place.source, "new", "delete", 4096, 300);
        let image = image_of(&place.source);
        (place, image)
    }

    pub fn names(&self) -> Vec<String> {
        listing(&self.live()).into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }
}

pub fn ready() {
    say("ready");
}

pub fn say(text: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{text}").and_then(|()| out.flush()).expect("output");
}

pub fn wait_for_end() {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).expect("input");
}
