//! The gap of one target, in the words of the record.

use std::io::{self, Write};
use std::sync::Arc;

use super::later::LaterRows;
use super::{Prepared, ReadyImage, images};
use crate::bundle::{Label, SourceGap, TableGap, TimesGap};
use crate::database::{
    Access, AppendOnlyTable, Certainty, Connection, DatabaseError, Declaration, GapTable, Presence, TimeFormat, choose_append_only, gap,
};
use crate::files::{Scratch, ScratchError};
use crate::ops::{Environment, Failure, TableHistory};

/// A gap, and the rows that it is about.
pub(super) struct FoundGap {
    pub(super) record: SourceGap,
    /// As the comparison gave it; empty where there was nothing to compare with.
    pub(super) tables: Vec<GapTable>,
    /// Lines of JSON.
    pub(super) capsule: Scratch,
}

/// What stands against the snapshot.
pub(super) enum LiveSide<'l> {
    Read(&'l Connection),
    Missing,
    Unreadable,
}

impl Prepared {
    /// Compares a snapshot with what it is to replace.
    pub(super) fn gap_of(
        &self,
        ready: &ReadyImage,
        live: &LiveSide<'_>,
        histories: &[TableHistory],
        later: &LaterRows<'_>,
        environment: &Environment,
    ) -> Result<FoundGap, Failure> {
        let label = &ready.source.label;
        let space = images::scratch_space(&self.request);
        let capsule = space.create(0).map_err(|source| Failure::Scratch { source })?;
        let mut record = SourceGap {
            restored: self.core.id,
            sequence: self.core.sequence,
            live: live.name().to_owned(),
            capsule: None,
            tables: Vec::new(),
        };
        let of_image = |source| Failure::Target {
            label: label.clone(),
            source: DatabaseError::Sqlite { path: ready.target.clone(), action: "read the snapshot for", source },
        };
        let snapshot = ready.image.open(Access::ReadOnly).map_err(of_image)?;
        let (declared, recorded) = (self.declared(label), recorded(ready, histories));
        let LiveSide::Read(live) = live else {
            let chosen = choose_append_only(&declared, &recorded, &snapshot, &snapshot);
            record.tables = chosen.iter().map(|table| unknown(table, live, later.rows_of(label, &table.name))).collect();
            return Ok(FoundGap { record, tables: Vec::new(), capsule });
        };
        let chosen = choose_append_only(&declared, &recorded, &snapshot, live);
        let mut out = Lines { scratch: capsule, buffer: Vec::new(), failure: None };
        let progress = Arc::clone(&environment.progress);
        let found = gap(&snapshot, live, &chosen, &space, &mut out, &|| progress.is_cancelled());
        let flushed = out.flush();
        let Lines { scratch: capsule, failure, .. } = out;
        if let Some(source) = failure {
            return Err(Failure::Scratch { source });
        }
        let tables = found.map_err(|source| Failure::Gap { label: label.clone(), source })?;
        debug_assert!(flushed.is_ok(), "a failed write has left its reason");
        record.tables = tables.iter().map(table_record).collect();
        Ok(FoundGap { record, tables, capsule })
    }

    /// Names of tables that the operator declares for a source.
    fn declared(&self, label: &Label) -> Vec<String> {
        let is_its = |table: &&crate::ops::AppendOnly| table.label.as_ref().is_none_or(|of| of == label);
        self.request.append_only.iter().filter(is_its).map(|table| table.table.clone()).collect()
    }
}

/// Names of tables that were watched when the bundle was made, or have been since.
fn recorded(ready: &ReadyImage, histories: &[TableHistory]) -> Vec<String> {
    let mut names = ready.source.append_only.clone();
    for history in histories.iter().filter(|history| history.label == ready.source.label) {
        if !names.iter().any(|name| name.eq_ignore_ascii_case(&history.table)) {
            names.push(history.table.clone());
        }
    }
    names
}

impl LiveSide<'_> {
    fn name(&self) -> &'static str {
        match self {
            LiveSide::Read(_) => "read",
            LiveSide::Missing => "missing",
            LiveSide::Unreadable => "unreadable",
        }
    }
}

/// Gathers lines, so that scratch is written in large pieces.
struct Lines {
    scratch: Scratch,
    buffer: Vec<u8>,
    failure: Option<ScratchError>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let written = self.scratch.write_at(self.scratch.len(), &self.buffer);
        self.buffer.clear();
        written.map_err(|error| {
            self.failure.get_or_insert(error);
            io::ErrorKind::Other.into()
        })
    }
}

/// Nothing was there to be compared with.
fn unknown(table: &AppendOnlyTable, live: &LiveSide<'_>, at_least: Option<u64>) -> TableGap {
    let doubt = match live {
        LiveSide::Missing => "there was no live database",
        _ => "the live database could not be opened",
    };
    TableGap {
        table: table.name.clone(),
        declaration: declaration(table.declaration).to_owned(),
        presence: "snapshot-only".to_owned(),
        in_snapshot: None,
        key: Vec::new(),
        lost: 0,
        resurrected: 0,
        altered: 0,
        common: 0,
        lost_range: None,
        times: None,
        reused_ids: None,
        only_live_columns: Vec::new(),
        only_snapshot_columns: Vec::new(),
        certainty: "unknown".to_owned(),
        doubt: Some(doubt.to_owned()),
        at_least,
        grafted: 0,
    }
}

/// A table's gap as it is recorded.
fn table_record(table: &GapTable) -> TableGap {
    let (presence, in_snapshot) = match &table.presence {
        Presence::Both => ("both", None),
        Presence::Renamed { in_snapshot } => ("renamed", Some(in_snapshot.clone())),
        Presence::LiveOnly => ("live-only", None),
        Presence::SnapshotOnly => ("snapshot-only", None),
        Presence::Neither => ("neither", None),
    };
    let (certainty, doubt) = match &table.certainty {
        Certainty::Exact => ("exact", None),
        Certainty::LowerBound(doubt) => ("lower-bound", Some(doubt.to_string())),
        Certainty::Unknown(doubt) => ("unknown", Some(doubt.to_string())),
    };
    TableGap {
        table: table.name.clone(),
        declaration: declaration(table.declaration).to_owned(),
        presence: presence.to_owned(),
        in_snapshot,
        key: table.key.clone(),
        lost: table.lost,
        resurrected: table.resurrected,
        altered: table.altered,
        common: table.common,
        lost_range: table.lost_range.clone().map(|(first, last)| [first, last]),
        times: table.times.as_ref().map(|times| TimesGap {
            column: times.column.clone(),
            format: time_format(times.format).to_owned(),
            first: times.first.clone(),
            last: times.last.clone(),
            without_time: times.without_time,
        }),
        reused_ids: table.reused_ids.map(|(first, last)| [first, last]),
        only_live_columns: table.only_live_columns.clone(),
        only_snapshot_columns: table.only_snapshot_columns.clone(),
        certainty: certainty.to_owned(),
        doubt,
        at_least: None,
        grafted: 0,
    }
}

fn declaration(declaration: Declaration) -> &'static str {
    match declaration {
        Declaration::Declared => "declared",
        Declaration::Recorded => "recorded",
        Declaration::Inferred => "inferred",
    }
}

fn time_format(format: TimeFormat) -> &'static str {
    match format {
        TimeFormat::Date => "date",
        TimeFormat::Sql => "sql",
        TimeFormat::Iso => "iso",
        TimeFormat::UnixSeconds => "unix-seconds",
        TimeFormat::UnixMilliseconds => "unix-milliseconds",
        TimeFormat::Mixed => "mixed",
    }
}

const BUFFER_BYTES: usize = 256 << 10;
