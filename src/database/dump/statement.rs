//! Text of a schema on its way into a shell: one statement, or none.
//!
//! SQLite reads the first statement of a text in `sqlite_schema` and passes over what follows; a shell would run it. And the shell itself
//! takes `go` or `/` alone on a line for the end of a statement, wherever it looks complete, and a dot behind that for a command
//! of its own: such lines get an empty comment in front.

use crate::database::bounds::Cancelled;

/// The statement as it can be written in front of a semicolon; `None` if it is anything but one that creates an object of this kind, or
/// if reading it was cancelled.
pub(super) fn one_statement(sql: &str, kind: &str, cancelled: Cancelled<'_>) -> Option<String> {
    let mut scan = Scan { rest: sql, written: String::with_capacity(sql.len()), words: Vec::new() };
    while scan.step()? {
        if scan.words.len().is_multiple_of(ASKED_EVERY) && cancelled() {
            return None;
        }
    }
    is_creation(&scan.words, kind).then_some(scan.written)
}

/// What matters of a token.
#[derive(Debug, PartialEq, Eq)]
enum Word {
    Bare(String),
    Semicolon,
    Other,
}

struct Scan<'s> {
    rest: &'s str,
    written: String,
    words: Vec<Word>,
}

impl Scan<'_> {
    /// Takes one token; `None` for one without an end, `false` at the end.
    fn step(&mut self) -> Option<bool> {
        let Some(first) = self.rest.chars().next() else { return Some(false) };
        let length = match first {
            '\0' => return None,
            '\'' | '"' | '`' => closed(self.rest, 1, first)?,
            '[' => closed(self.rest, 1, ']')?,
            '-' if self.rest.starts_with("-\u{2d}") => self.rest.find('\n')?,
            '/' if self.rest.starts_with("/*") => 2 + self.rest[2..].find("*/")? + 2,
            _ if is_of_word(first) => self.rest.find(|c| !is_of_word(c)).unwrap_or(self.rest.len()),
            // As a whole: a schema can have hundreds of thousands of empty lines, and each would be looked behind.
            _ if BLANKS.contains(&first) => self.rest.find(|c| !BLANKS.contains(&c)).unwrap_or(self.rest.len()),
            _ => first.len_utf8(),
        };
        let (token, rest) = self.rest.split_at(length);
        match BLANKS.contains(&first) && ends_statement_in_a_shell(rest) {
            true => self.written.push_str(&token.replace('\n', "\n/**/")),
            false => self.written.push_str(token),
        }
        self.rest = rest;
        let is_comment = token.starts_with("-\u{2d}") || token.starts_with("/*");
        if !first.is_whitespace() && !is_comment {
            self.words.push(match first {
                ';' => Word::Semicolon,
                _ if is_of_word(first) => Word::Bare(token.to_ascii_uppercase()),
                _ => Word::Other,
            });
        }
        Some(true)
    }
}

/// The length of a token that ends with the next such mark; a doubled one is found as a second token, which does no harm.
fn closed(text: &str, from: usize, closing: char) -> Option<usize> {
    Some(from + text[from..].find(closing)? + closing.len_utf8())
}

/// Whether this behind white space would be such a line. Source: `line_is_command_terminator` of the sqlite3 shell.
fn ends_statement_in_a_shell(line: &str) -> bool {
    let is_go = line.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("go")) && !line[2..].starts_with(is_of_word);
    is_go || (line.starts_with('/') && !line.starts_with("/*"))
}

fn is_creation(words: &[Word], kind: &str) -> bool {
    let is = |at: usize, expected: &str| matches!(words.get(at), Some(Word::Bare(word)) if *word == expected);
    let kind = kind.to_ascii_uppercase();
    if !is(0, "CREATE") || !(is(1, &kind) || is(1, "UNIQUE") && is(2, &kind)) {
        return false;
    }
    let semicolons = words.iter().filter(|word| **word == Word::Semicolon).count();
    if kind != "TRIGGER" {
        return semicolons == 0;
    }
    // The body of a trigger ends with the first END behind a semicolon, and nothing may follow.
    let end = words.windows(2).position(|pair| pair[0] == Word::Semicolon && matches!(&pair[1], Word::Bare(word) if word == "END"));
    end.is_some_and(|at| at + 2 == words.len())
}

fn is_of_word(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == '$' || !character.is_ascii()
}

/// White space to the shell.
const BLANKS: [char; 6] = [' ', '\t', '\r', '\u{b}', '\u{c}', '\n'];
/// So many tokens take less than a millisecond.
const ASKED_EVERY: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::{Duration, Instant};

    fn one_statement(sql: &str, kind: &str) -> Option<String> {
        super::one_statement(sql, kind, &|| false)
    }

    #[test]
    fn one_statement_passes_as_it_is() {
        for (kind, sql) in [
            ("table", "CREATE TABLE t(a DEFAULT ';', \"b;\" TEXT, [c;], `d` /* ; */ -\u{2d} ;\n)"),
            ("index", "CREATE UNIQUE INDEX i ON t(a) WHERE a <> ';'"),
            ("view", "CREATE VIEW v AS SELECT CASE WHEN a THEN 1 END FROM t"),
            ("trigger", "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT CASE 1 WHEN 1 THEN 2 END; DELETE FROM t; END"),
        ] {
            assert_eq!(one_statement(sql, kind).as_deref(), Some(sql));
        }
    }

    #[test]
    fn what_a_shell_would_run_behind_it_does_not() {
        for (kind, sql) in [
            ("table", "CREATE TABLE t(a); DROP TABLE u"),
            ("table", "CREATE TABLE t(a);"),
            ("table", "CREATE TABLE t(a) -\u{2d} no end"),
            ("table", "CREATE TABLE t(a) /* no end"),
            ("table", "CREATE TABLE t(a 'no end)"),
            ("table", "CREATE TABLE t(a)\0"),
            ("table", "DROP TABLE t"),
            ("table", "CREATE VIEW t AS SELECT 1"),
            ("trigger", "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END; DROP TABLE t; SELECT 1; END"),
            ("trigger", "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END SELECT"),
            ("trigger", "CREATE TRIGGER r AFTER INSERT ON t"),
        ] {
            assert_eq!(one_statement(sql, kind), None, "{sql}");
        }
    }

    #[test]
    fn a_line_that_ends_a_statement_in_a_shell_is_no_line_of_its_own() {
        let sql = "CREATE VIEW v AS SELECT\n  go\n.shell FROM t go WHERE 1\n/\n2 > gone";
        assert_eq!(
            one_statement(sql, "view").as_deref(),
            Some("CREATE VIEW v AS SELECT\n/**/  go\n.shell FROM t go WHERE 1\n/**//\n2 > gone")
        );
        let quoted = "CREATE TABLE t(a DEFAULT '\ngo\n.shell x')";
        assert_eq!(one_statement(quoted, "table").as_deref(), Some(quoted));
    }

    #[test]
    fn empty_lines_take_no_longer_the_more_there_are() {
        let sql = format!("CREATE VIEW v AS SELECT{}1 /{}go{}", "\n \r\n".repeat(500_000), "\n".repeat(500_000), "\n".repeat(500_000));
        let begun = Instant::now();
        let written = one_statement(&sql, "view").unwrap();
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
        assert_eq!(written.matches("/**/").count(), 500_000, "each line in front of the word");
        assert_eq!(written.replace("/**/", ""), sql);
    }

    #[test]
    fn a_long_statement_is_left_when_that_is_wanted() {
        let asked = AtomicUsize::new(0);
        let sql = format!("CREATE VIEW v AS SELECT 1{}", ",1".repeat(1_000_000));
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) == 1;
        assert_eq!(super::one_statement(&sql, "view", &cancelled), None);
        assert_eq!(asked.into_inner(), 2);
    }
}
