//! From what was captured to what the manifest says of it (docs/format.md section 8).

use serde_json::{Map, Value, json};

use super::environment::utc;
use super::git;
use super::{BackupReport, TableRecord};
use crate::bundle::{
    AssertionRecord, CaptureMethod, Check, FileSet, Imported, Label, LogicalHash, Manifest, Migrations, PublicCore, SchemaRef, Source,
    SourceGap, Table, Tool,
};
use crate::crypto::Digest;
use crate::database::{Asserted, Ledger, SourceFacts, TableHash};

/// A source that went into the bundle.
pub(super) struct Captured {
    /// What the capture tells.
    pub(super) facts: SourceFacts,
    /// Digest of the stored image.
    pub(super) sha256: Digest,
    /// Digest of the stored schema.
    pub(super) schema_sha256: Option<Digest>,
    /// What a restore takes away from it.
    pub(super) gap: Option<SourceGap>,
    /// The old backup that it was adopted from.
    pub(super) imported: Option<Imported>,
    /// What became of the site's demands.
    pub(super) asserted: Vec<Asserted>,
}

/// The manifest's record of a source.
pub(super) fn source_record(label: &Label, consistency: String, captured: Captured) -> Source {
    let Captured { facts, sha256, schema_sha256, gap, imported, asserted } = captured;
    let assertion = |asserted: Asserted| AssertionRecord { assertion: asserted.text, holds: asserted.holds, found: asserted.found };
    let is_watched = |name: &str| facts.continuity.iter().any(|(table, _)| table.eq_ignore_ascii_case(name));
    let append_only = facts.tables.iter().map(|table| table.name.clone()).filter(|name| is_watched(name)).collect();
    Source {
        label: label.clone(),
        kind: "sqlite".to_owned(),
        path: facts.path.to_string_lossy().into_owned(),
        device: facts.device,
        inode: facts.inode,
        captured_at: utc(facts.captured_at),
        consistency,
        capture: CaptureMethod { pages: facts.pages.to_string(), route: facts.route.to_string(), recovered: facts.recovered },
        size_bytes: facts.size_bytes,
        sha256,
        journal_mode: facts.journal_mode,
        page_size: facts.page_size,
        page_count: facts.page_count,
        encoding: facts.encoding,
        auto_vacuum: facts.auto_vacuum,
        application_id: facts.application_id,
        user_version: facts.user_version,
        migrations: facts.migrations.map(migrations),
        schema: facts.schema.zip(schema_sha256).map(|(schema, sha256)| SchemaRef { sha256, objects: schema.objects }),
        tables: facts
            .tables
            .into_iter()
            .map(|table| Table { name: table.name, rows: table.rows, logical: table.hash.map(logical) })
            .collect(),
        append_only,
        check: Check { kind: facts.check.kind.to_string(), verdict: facts.check.verdict.to_string(), messages: facts.check.messages },
        assertions: asserted.into_iter().map(assertion).collect(),
        // The work tree that holds an old backup tells nothing of the time at which that was made.
        git: facts.path.parent().filter(|_| imported.is_none()).and_then(git::describe),
        gap,
        imported,
    }
}

fn logical(hash: TableHash) -> LogicalHash {
    LogicalHash { columns: hash.columns, rows: hash.rows, sha256: Digest(hash.sha256) }
}

/// What a ledger says, in the words of the manifest.
pub(super) fn migrations(ledger: Ledger) -> Migrations {
    Migrations { table: ledger.table, count: ledger.count, last: ledger.last }
}

/// This program.
pub(super) fn tool() -> Tool {
    Tool { name: "airkeep".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned(), sqlite: crate::database::sqlite_version().to_owned() }
}

/// What the journal says of a bundle, so that a list of bundles needs no key. Names of sources are as confidential there as in the manifest.
pub(super) fn backup_details(report: &BackupReport, watched: &[TableRecord]) -> Map<String, Value> {
    let mut details = manifest_details(&report.core, &report.manifest);
    let more = json!({
        "size_bytes": report.size_bytes,
        "sha256": report.sha256,
        "seal_sha256": report.seal_sha256,
        "level": report.level,
        "append_only": watched,
    });
    details.extend(more.as_object().cloned().unwrap_or_default());
    details
}

/// The part of it that stands in the bundle.
pub(super) fn manifest_details(core: &PublicCore, manifest: &Manifest) -> Map<String, Value> {
    let source = |source: &Source| {
        let rows: u64 = source.tables.iter().filter_map(|table| table.rows).sum();
        json!({
            "label": source.label,
            "size_bytes": source.size_bytes,
            "tables": source.tables.len(),
            "rows": rows,
            "check": source.check.kind,
            "verdict": source.check.verdict,
        })
    };
    let set = |set: &FileSet| json!({ "label": set.label, "kind": set.kind, "files": set.files.len(), "size_bytes": set.size_bytes });
    let mut details = json!({
        "kind": core.kind,
        "created_at": core.created_at,
        "tag": manifest.tag,
        "note": manifest.note,
        "codec": core.codec,
        "sources": manifest.sources.iter().map(source).collect::<Vec<_>>(),
    });
    if !manifest.files.is_empty() {
        details["files"] = manifest.files.iter().map(set).collect();
    }
    details.as_object().cloned().unwrap_or_default()
}
