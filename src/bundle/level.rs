//! Named levels of proof (docs/format.md section 9).

use std::fmt;

use serde::Serialize;

/// How much is proven (DESIGN: named levels). The numbers are part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Level {
    /// L0: structure exact, every member matches its recorded hash. Needs nothing.
    #[serde(rename = "L0")]
    Sums,
    /// L1: as L0, and a pinned signer sealed it. Needs a fingerprint or a file of allowed signers.
    #[serde(rename = "L1")]
    Signature,
    /// L2: slots, index and frames carry valid MACs; none is missing, swapped or added. Needs a key.
    #[serde(rename = "L2")]
    Authentic,
    /// L3: everything decrypts, decompresses and matches the manifest. Needs a key.
    #[serde(rename = "L3")]
    Content,
    /// L4: each database passes SQLite's full check, and schema, tables, row counts and logical hashes are those recorded at capture.
    /// Needs a key, and scratch for the largest database.
    #[serde(rename = "L4")]
    Database,
}

impl Level {
    /// Whether the level can only be reached with a key.
    pub fn needs_key(self) -> bool {
        self > Level::Signature
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Sums => "L0",
            Level::Signature => "L1",
            Level::Authentic => "L2",
            Level::Content => "L3",
            Level::Database => "L4",
        })
    }
}
