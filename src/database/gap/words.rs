//! What the text of a schema says beyond the pragmas: AUTOINCREMENT, and triggers that refuse changes.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// Finds tables that protect themselves: nothing can be updated, and nothing deleted, without an error.
///
/// # What is inferred
/// A table with a trigger on UPDATE and one on DELETE (BEFORE or AFTER, or unmarked, which is BEFORE), both without a `WHEN` and without
/// `OF` columns, and with `RAISE(ABORT | FAIL | ROLLBACK, …)` in the body.
///
/// # What is not
/// Triggers for some rows (`WHEN`) or columns (`OF`), `RAISE(IGNORE)`, functions of the application, and tables that nothing but
/// custom protects: those must be declared. Conditions inside a body (`SELECT CASE WHEN … THEN RAISE(…)`, `… WHERE …`) are not
/// weighed: such a table is inferred. Text is read, nothing is run.
///
/// # Errors
/// The schema cannot be read.
pub fn infer_append_only(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT tbl_name, sql FROM main.sqlite_schema WHERE type = 'trigger' ORDER BY rowid";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    let (mut keeps, mut holds) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (ValueRef::Text(table), ValueRef::Text(sql)) = (row.get_ref(0)?, row.get_ref(1)?) else { continue };
        let table = String::from_utf8_lossy(table).to_ascii_lowercase();
        match refused(&words(&String::from_utf8_lossy(sql))) {
            Some(Change::Update) => keeps.push(table),
            Some(Change::Delete) => holds.push(table),
            None => {}
        }
    }
    let tables = super::super::list_tables(connection)?;
    let is_kept = |table: &String| [&keeps, &holds].iter().all(|list| list.contains(&table.to_ascii_lowercase()));
    Ok(tables.into_iter().filter(is_kept).collect())
}

/// Whether a CREATE TABLE statement has the keyword AUTOINCREMENT.
pub(in crate::database) fn has_autoincrement(sql: &str) -> bool {
    words(sql).contains(&Word::Bare("AUTOINCREMENT".into()))
}

enum Change {
    Update,
    Delete,
}

/// What a trigger refuses in every case.
fn refused(words: &[Word]) -> Option<Change> {
    let bare = |word: &Word, expected: &str| matches!(word, Word::Bare(text) if text == expected);
    // The event comes behind CREATE TRIGGER and a name, which may be a keyword.
    let event = 3 + words.get(3..)?.iter().position(|word| ["DELETE", "INSERT", "UPDATE"].iter().any(|event| bare(word, event)))?;
    let begin = event + words[event..].iter().position(|word| bare(word, "BEGIN"))?;
    if words[event..begin].iter().any(|word| bare(word, "OF") || bare(word, "WHEN")) {
        return None;
    }
    let raises = |window: &[Word]| {
        bare(&window[0], "RAISE")
            && window[1] == Word::Other('(')
            && ["ABORT", "FAIL", "ROLLBACK"].iter().any(|kind| bare(&window[2], kind))
    };
    if !words[begin..].windows(3).any(raises) {
        return None;
    }
    match &words[event] {
        word if bare(word, "UPDATE") => Some(Change::Update),
        word if bare(word, "DELETE") => Some(Change::Delete),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A keyword or a name without quotes, in upper case.
    Bare(String),
    /// Anything in quotes.
    Quoted,
    /// One other character.
    Other(char),
}

/// Cuts SQL into words, without comments.
fn words(sql: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '-' if rest[1..].starts_with('-') => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest[2..].find("*/").map_or(rest.len(), |end| end + 4),
            '\'' | '"' | '`' | '[' => {
                words.push(Word::Quoted);
                quoted_length(rest, if first == '[' { ']' } else { first })
            }
            _ if is_part_of_name(first) => {
                let length = rest.find(|next| !is_part_of_name(next)).unwrap_or(rest.len());
                words.push(Word::Bare(rest[..length].to_ascii_uppercase()));
                length
            }
            _ => {
                if !first.is_whitespace() {
                    words.push(Word::Other(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    words
}

/// The length of a text in quotes, at which `text` begins; a doubled quote is found as a second text, which does no harm.
fn quoted_length(text: &str, closing: char) -> usize {
    text[1..].find(closing).map_or(text.len(), |end| end + 2)
}

fn is_part_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$' || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(update: &str, delete: &str) -> bool {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE Audit(id INTEGER PRIMARY KEY, at, what); CREATE TABLE other(x)").unwrap();
        connection.execute_batch(&format!("{update}; {delete};")).unwrap();
        let found = infer_append_only(&connection).unwrap();
        assert!(found.is_empty() || found == ["Audit"]);
        !found.is_empty()
    }

    #[test]
    fn only_unconditional_refusals_of_both_changes_are_inferred() {
        let delete = "CREATE TRIGGER d BEFORE DELETE ON audit BEGIN SELECT raise(FAIL, 'no'); END";
        for (update, expected) in [
            ("CREATE TRIGGER u BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'append only'); END", true),
            ("CREATE TRIGGER \"update of\" UPDATE ON Audit FOR EACH ROW BEGIN SELECT RAISE ( ROLLBACK , 'x'); END", true),
            ("CREATE TRIGGER before AFTER /* when */ UPDATE ON audit BEGIN SELECT RAISE(ABORT, ''); END", true),
            ("CREATE TRIGGER u BEFORE UPDATE ON audit WHEN old.what BEGIN SELECT RAISE(ABORT, ''); END", false),
            ("CREATE TRIGGER u BEFORE UPDATE OF what ON audit BEGIN SELECT RAISE(ABORT, ''); END", false),
            ("CREATE TRIGGER u BEFORE UPDATE ON audit BEGIN SELECT RAISE(IGNORE); END", false),
            ("CREATE TRIGGER u BEFORE UPDATE ON audit BEGIN SELECT 'RAISE(ABORT)'; END", false),
            ("CREATE TRIGGER u BEFORE UPDATE ON audit BEGIN SELECT 1 -\u{2d} RAISE(ABORT, '')\n; END", false),
            ("CREATE TRIGGER u BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, ''); END", false),
            ("CREATE TRIGGER u BEFORE UPDATE ON other BEGIN SELECT RAISE(ABORT, ''); END", false),
            ("", false),
        ] {
            assert_eq!(inferred(update, delete), expected, "{update}");
        }
    }

    #[test]
    fn autoincrement_counts_only_as_a_word_of_its_own() {
        assert!(has_autoincrement("CREATE TABLE t(id INTEGER PRIMARY KEY autoincrement)"));
        for sql in
            ["CREATE TABLE t(\"autoincrement\")", "CREATE TABLE t(a DEFAULT 'AUTOINCREMENT')", "CREATE TABLE t(a /* AUTOINCREMENT */)"]
        {
            assert!(!has_autoincrement(sql), "{sql}");
        }
    }
}
