//! Plain files and env files, by patterns.

use super::Table;
use crate::bundle::Label;
use crate::config::ConfigError;
use crate::config::values::{parse_size, parse_span};
use crate::plain::{Patterns, Redaction, Selection};

/// Plain files, or env files.
#[derive(Debug, Clone)]
pub struct FilesConfig {
    /// Their label.
    pub label: Label,
    /// Which they are.
    pub selection: Selection,
}

pub(super) fn read_files(table: &mut Table<'_>) -> Result<FilesConfig, ConfigError> {
    let (label, patterns) = begin(table, "files")?;
    let newer_than = table.parsed("newer-than", parse_span)?;
    let max_file_bytes = table.parsed("max-file-size", parse_size)?;
    let max_bytes = table.parsed("max-size", parse_size)?;
    Ok(FilesConfig { label, selection: Selection { patterns, newer_than, max_file_bytes, max_bytes, redaction: None } })
}

pub(super) fn read_env(table: &mut Table<'_>) -> Result<FilesConfig, ConfigError> {
    let (label, patterns) = begin(table, "env")?;
    let at = table.span;
    let (redact, keep) = (table.texts("redact")?, table.texts("keep")?);
    let redaction = Redaction::new(&redact, &keep).map_err(|why| table.illegal(at, "redact", why))?;
    let selection = Selection { patterns, newer_than: None, max_file_bytes: None, max_bytes: None, redaction: Some(redaction) };
    Ok(FilesConfig { label, selection })
}

fn begin(table: &mut Table<'_>, key: &'static str) -> Result<(Label, Patterns), ConfigError> {
    let (name, at) = (table.name.clone(), table.span);
    let label = Label::parse(&name).map_err(|error| table.illegal(at, &name, error))?;
    if name.contains('/') {
        return Err(table.illegal(at, &name, "only databases are tenants'; a set of files has a NAME"));
    }
    let (include, span) = table.spanned_texts(key)?;
    let exclude = table.texts("exclude")?;
    let patterns = Patterns::parse(table.folder(), &include, &exclude).map_err(|why| table.illegal(span, key, why))?;
    Ok((label, patterns))
}
