//! What the tests of graft and marker share: a snapshot as an image, and a live database that went on.
#![allow(dead_code)] // each test binary uses its part

use std::collections::BTreeMap;

use airkeep::database::{
    Access, AppendOnlyTable, Declaration, GapTable, GraftError, Grafted, Image, Marker, MarkerError, MarkerFacts, gap, graft, mark,
    sequences_of, try_marker,
};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::common::{make, scratch};
use crate::placing::image_of;
use crate::support::integrity;

pub struct Case {
    pub image: Image,
    pub live: Connection,
    _folder: tempfile::TempDir,
}

impl Case {
    pub fn new(snapshot: &str, live: &str) -> Case {
        let folder = tempfile::tempdir().expect("folder");
        let [one, other] = ["snapshot.db", "live.db"].map(|name| folder.path().join(name));
        make(&one, snapshot);
        make(&other, live);
        Case { image: image_of(&one), live: Connection::open(&other).expect("open"), _folder: folder }
    }

    /// The live side begins as the snapshot did.
    pub fn grown(snapshot: &str, then: &str) -> Case {
        Case::new(snapshot, &format!("{snapshot}; {then}"))
    }

    pub fn gap(&self) -> (Vec<GapTable>, Vec<u8>) {
        let audit = [AppendOnlyTable { name: "audit".into(), declaration: Declaration::Declared }];
        let mut capsule = Vec::new();
        let snapshot = self.image.open(Access::ReadOnly).expect("image");
        let tables = gap(&snapshot, &self.live, &audit, &scratch(), &mut capsule, &|| false).expect("gap");
        (tables, capsule)
    }

    pub fn graft(&self) -> Result<Vec<Grafted>, GraftError> {
        let (tables, capsule) = self.gap();
        graft(&self.image, &tables, &mut &capsule[..], &sequences_of(&self.live).expect("sequences"), &|| false)
    }

    /// Refuses the graft in these words, and leaves the image as it was.
    pub fn refuses_graft(&self, words: &str) {
        let before = self.bytes();
        let error = self.graft().expect_err(words);
        assert!(crate::support::causes(&error).contains(words), "{}", crate::support::causes(&error));
        assert!(self.bytes() == before, "{words}");
    }

    pub fn try_marker(&self, text: &str) -> Result<(), MarkerError> {
        try_marker(&self.image, &parse(text), &facts(), &[], &|| false)
    }

    pub fn mark(&self, text: &str) -> Result<Option<i64>, MarkerError> {
        mark(&self.image, &parse(text), &facts(), &[], &|| false)
    }

    /// Refuses the marker in these words, in the trial as in earnest, and leaves the image as it was.
    pub fn refuses_marker(&self, text: &str, words: &str) {
        let before = self.bytes();
        for error in [self.try_marker(text).expect_err(text), self.mark(text).map(drop).expect_err(text)] {
            assert!(crate::support::causes(&error).contains(words), "{text}: {}", crate::support::causes(&error));
            assert!(self.bytes() == before, "{text}");
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.image.len()).expect("small")];
        self.image.read_at(0, &mut bytes).expect("read");
        bytes
    }

    pub fn rows(&self, sql: &str) -> Vec<Vec<Value>> {
        let connection = self.image.open(Access::ReadOnly).expect("image");
        assert_eq!(integrity(&connection), ["ok"]);
        rows(&connection, sql)
    }
}

pub fn rows(connection: &Connection, sql: &str) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare(sql).expect(sql);
    let count = statement.column_count();
    let read = statement.query_map([], |row| (0..count).map(|index| row.get(index)).collect());
    read.expect(sql).collect::<rusqlite::Result<_>>().expect(sql)
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn parse(text: &str) -> Marker {
    Marker::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn facts() -> MarkerFacts {
    MarkerFacts(BTreeMap::from([("lost", "12".to_owned()), ("reason", "x'); DROP TABLE audit; --,v=\"{gap}\"".to_owned())]))
}
