//! Writing names into SQL, so that none becomes anything but a name.

/// Writes a name as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
