//! The marking of a system's bundles: a banner in one line, or a table with DoD's designation indicator.

use super::ConfigError;
use super::reader::{Table, TextOrTable};
use crate::bundle::{Designation, Marking};

pub(super) fn read(top: &mut Table<'_>) -> Result<Option<Marking>, ConfigError> {
    match top.text_or_section("marking")? {
        None => Ok(None),
        Some(TextOrTable::Text(text, span)) => Marking::parse(&text).map(Some).map_err(|error| top.illegal(span, "marking", error)),
        Some(TextOrTable::Table(table)) => designated(table).map(Some),
    }
}

fn designated(mut table: Table<'_>) -> Result<Marking, ConfigError> {
    // DoD's banner has no categories; they stand in the indicator.
    table.one_of("banner", &["CUI"])?;
    let controlled_by = table.text("controlled-by")?.ok_or_else(|| table.missing("controlled-by"))?;
    let category = table.texts("category")?.join(", ");
    if category.is_empty() {
        return Err(table.missing("category"));
    }
    let distribution = table.text("distribution")?;
    let poc = table.text("poc")?.ok_or_else(|| table.missing("poc"))?;
    let marking = Marking::designated(&Designation { controlled_by, category, distribution, poc });
    let marking = marking.map_err(|error| table.illegal(table.span, "marking", error))?;
    table.finish().map(|()| marking)
}
