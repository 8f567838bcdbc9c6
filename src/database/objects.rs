//! The objects of a schema, one by one, and in which of them two schemas differ.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// An object of a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// Lists the objects of a schema; bytes that are no UTF-8 become replacement characters.
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
    Ok(objects)
}

/// Tells the objects that are not alike on both sides, sorted by kind and name.
#[must_use]
pub fn object_changes(first: Vec<SchemaObject>, second: Vec<SchemaObject>) -> Vec<ObjectChange> {
    let key = |object: &SchemaObject| (object.kind.clone(), object.name.to_ascii_lowercase());
    let mut pairs = BTreeMap::<(String, String), [Option<SchemaObject>; 2]>::new();
    for (side, objects) in [first, second].into_iter().enumerate() {
        for object in objects {
            let key = key(&object);
            pairs.entry(key).or_default()[side] = Some(object);
        }
    }
    let change = |[first, second]: [Option<SchemaObject>; 2]| {
        let is_alike = first.as_ref().map(|object| &object.sql) == second.as_ref().map(|object| &object.sql);
        let one = second.as_ref().or(first.as_ref())?;
        let (kind, name) = (one.kind.clone(), one.name.clone());
        (!is_alike).then_some(ObjectChange { kind, name, first, second })
    };
    pairs.into_values().filter_map(change).collect()
}
