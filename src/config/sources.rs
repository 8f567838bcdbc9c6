//! What is backed up: databases, plain files, env files.

mod files;
mod sqlite;

pub use files::FilesConfig;
pub use sqlite::{Expanded, Location, SqliteConfig};

use super::ConfigError;
use super::reader::Table;
use crate::bundle::Label;

/// A table `[sources.<name>]`.
#[derive(Debug, Clone)]
pub struct SourceConfig {
    /// A label, or `tenants/*`.
    pub name: String,
    /// Whether a backup without it is a failure.
    pub required: bool,
    /// What it is.
    pub kind: SourceKind,
}

/// What a source is.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// Databases.
    Sqlite(SqliteConfig),
    /// Plain files, or env files.
    Files(FilesConfig),
}

impl SourceConfig {
    /// The databases behind it; none behind plain files.
    #[must_use]
    pub fn expand(&self) -> Expanded {
        match &self.kind {
            SourceKind::Sqlite(sqlite) => sqlite.expand(),
            SourceKind::Files(_) => Expanded::default(),
        }
    }

    /// The labels of all that is behind it.
    #[must_use]
    pub fn labels(&self) -> Vec<Label> {
        match &self.kind {
            SourceKind::Sqlite(sqlite) => sqlite.expand().found.into_iter().map(|(label, _)| label).collect(),
            SourceKind::Files(files) => vec![files.label.clone()],
        }
    }

    /// Databases, if it is such.
    #[must_use]
    pub fn sqlite(&self) -> Option<&SqliteConfig> {
        match &self.kind {
            SourceKind::Sqlite(sqlite) => Some(sqlite),
            SourceKind::Files(_) => None,
        }
    }
}

pub(super) fn read(table: Option<Table<'_>>) -> Result<Vec<SourceConfig>, ConfigError> {
    let Some(mut table) = table else { return Ok(Vec::new()) };
    table.sections()?.into_iter().map(source).collect()
}

fn source(mut table: Table<'_>) -> Result<SourceConfig, ConfigError> {
    let kinds: Vec<&str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    let name = table.name.clone();
    let kind = match kinds[..] {
        ["sqlite"] => SourceKind::Sqlite(sqlite::read(&mut table)?),
        ["files"] => SourceKind::Files(files::read_files(&mut table)?),
        ["env"] => SourceKind::Files(files::read_env(&mut table)?),
        [] => return Err(without_kind(table)),
        [first, second, ..] => {
            return Err(table.illegal(
                table.span,
                &name,
                format!("'{first}' and '{second}' are two sources, each with a table of its own"),
            ));
        }
        [_] => unreachable!("these are the kinds"),
    };
    let required = table.flag("required")?.unwrap_or(false);
    table.finish().map(|()| SourceConfig { name, required, kind })
}

/// A key that is misspelt tells more than one that is missing.
fn without_kind(mut table: Table<'_>) -> ConfigError {
    let error = table.illegal(table.span, &table.name, "it has none of the keys 'sqlite', 'files', 'env'");
    KINDS.into_iter().chain(["required"]).for_each(|key| table.expect(key));
    table.finish().err().unwrap_or(error)
}

const KINDS: [&str; 3] = ["sqlite", "files", "env"];
