//! What a bundle that was made before a restore says of the rows which that restore takes away (docs/format.md section 8.2, docs/gap.md).

use serde::{Deserialize, Serialize};

use super::values::Id;
use crate::crypto::Digest;

/// The gap of one source: what putting a snapshot in its place does to its append-only tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceGap {
    /// The bundle whose snapshot takes the place.
    pub restored: Id,
    /// That bundle's place in its set.
    pub sequence: u64,
    /// Whether the live side was `read`, was `missing`, or was there and `unreadable`.
    pub live: String,
    /// The lost and the altered rows in full, if there are any.
    pub capsule: Option<CapsuleRef>,
    /// The tables, in the order in which they were compared.
    pub tables: Vec<TableGap>,
}

/// The entry `capsule/<label>.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapsuleRef {
    /// SHA-256 of the entry.
    pub sha256: Digest,
    /// Its bytes.
    pub size_bytes: u64,
}

/// The gap of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableGap {
    /// Its name.
    pub table: String,
    /// Who said that it only grows: `declared`, `recorded` or `inferred`.
    pub declaration: String,
    /// Where it was found: `both`, `renamed`, `live-only`, `snapshot-only` or `neither`.
    pub presence: String,
    /// Its name in the snapshot, if that is another.
    pub in_snapshot: Option<String>,
    /// Columns of the key by which rows were compared; empty where contents were.
    pub key: Vec<String>,
    /// Rows that only the live side had.
    pub lost: u64,
    /// Rows that only the snapshot has.
    pub resurrected: u64,
    /// Rows of the same key with other content.
    pub altered: u64,
    /// Rows that both have.
    pub common: u64,
    /// The lowest and the highest lost key.
    pub lost_range: Option<[String; 2]>,
    /// The first and the last time of lost rows.
    pub times: Option<TimesGap>,
    /// Ids that were given out and will be given out again, the first and the last.
    pub reused_ids: Option<[i64; 2]>,
    /// Columns that only the live side has: their values in common rows are lost, too.
    pub only_live_columns: Vec<String>,
    /// Columns that only the snapshot has.
    pub only_snapshot_columns: Vec<String>,
    /// How far the counts can be trusted: `exact`, `lower-bound` or `unknown`.
    pub certainty: String,
    /// Why they are not exact.
    pub doubt: Option<String>,
    /// Where nothing was there to be compared: so many rows more than the snapshot has were in a later bundle.
    pub at_least: Option<u64>,
    /// Rows that were put back into the restored database.
    pub grafted: u64,
}

/// The times of lost rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimesGap {
    /// The column that tells them.
    pub column: String,
    /// How they are written there.
    pub format: String,
    /// The first, as stored.
    pub first: String,
    /// The last, as stored.
    pub last: String,
    /// Lost rows that have none.
    pub without_time: u64,
}
