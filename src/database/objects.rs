//! The objects of a schema, one by one, and in which of them two schemas differ.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// An object of a schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SchemaObject {
    /// `table`, `index`, `trigger` or `view`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The statement that makes it; nothing for what SQLite makes by itself.
    pub sql: Option<String>,
}

/// An object that two schemas do not have alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectChange {
    /// `table`, `index`, `trigger` or `view`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The first side's object, if it has it.
    pub first: Option<SchemaObject>,
    /// The second side's.
    pub second: Option<SchemaObject>,
}

/// Lists the objects of a schema, sorted; bytes that are no UTF-8 become replacement characters.
///
/// # Errors
/// Whatever SQLite says.
pub fn schema_objects(connection: &Connection) -> rusqlite::Result<Vec<SchemaObject>> {
    let mut statement = connection.prepare("SELECT type, name, sql FROM sqlite_schema")?;
    let mut rows = statement.query([])?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |index| match row.get_ref(index) {
            Ok(ValueRef::Text(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
            _ => None,
        };
        objects.push(SchemaObject { kind: text(0).unwrap_or_default(), name: text(1).unwrap_or_default(), sql: text(2) });
    }
    objects.sort();
    Ok(objects)
}

/// Tells the objects that are not alike on both sides, sorted by kind and name.
#[must_use]
pub fn object_changes(first: &[SchemaObject], second: &[SchemaObject]) -> Vec<ObjectChange> {
    let twin = |object: &SchemaObject, others: &[SchemaObject]| {
        others.iter().find(|other| other.kind == object.kind && other.name.eq_ignore_ascii_case(&object.name)).cloned()
    };
    let change = |first: Option<SchemaObject>, second: Option<SchemaObject>| {
        let one = first.as_ref().or(second.as_ref())?;
        let (kind, name) = (one.kind.clone(), one.name.clone());
        let is_alike = first.as_ref().map(|object| &object.sql) == second.as_ref().map(|object| &object.sql);
        (!is_alike).then_some(ObjectChange { kind, name, first, second })
    };
    let left = first.iter().filter_map(|object| change(Some(object.clone()), twin(object, second)));
    let added = second.iter().filter(|object| twin(object, first).is_none()).filter_map(|object| change(None, Some(object.clone())));
    let mut changes: Vec<ObjectChange> = left.chain(added).collect();
    changes.sort_by(|one, other| (&one.kind, &one.name).cmp(&(&other.kind, &other.name)));
    changes
}
