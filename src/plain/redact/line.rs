//! What the lines of an env file are. Shells, systemd, Docker and libraries do not agree on it, so that whatever one of them takes for a part of
//! a value is a part of it here.

/// A line, with all further lines that belong to its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'t> {
    /// Nothing.
    Blank,
    /// A comment that sets nothing.
    Comment(&'t str),
    /// `NAME=VALUE`, perhaps commented out.
    Setting {
        /// All up to the value.
        start: &'t str,
        name: &'t str,
        /// With its quotes and with what stands behind it.
        value: &'t str,
    },
    /// Anything else.
    Other,
}

/// Takes the first line off a text.
pub(super) fn next_line(text: &str) -> (Line<'_>, &str) {
    let (line, rest) = split_line(text);
    let content = line.trim();
    if content.is_empty() {
        return (Line::Blank, rest);
    }
    let is_comment = content.starts_with('#');
    if let Some(at) = line.find(PEM_BEGIN) {
        // A key that stands there as it is: its lines end in '=' like settings, and are none. Else a quote may end where it likes.
        return setting(text, line).unwrap_or((Line::Other, behind_pem(text, at)));
    }
    match (setting(text, line), is_comment) {
        (Some(found), _) => found,
        (None, true) => (Line::Comment(content), rest),
        (None, false) => (Line::Other, rest),
    }
}

/// Reads `[#] [export] NAME = VALUE` or `NAME: VALUE`.
fn setting<'t>(text: &'t str, line: &'t str) -> Option<(Line<'t>, &'t str)> {
    let body = line.trim_start().trim_start_matches('#').trim_start();
    let body = body.strip_prefix("export ").unwrap_or(body).trim_start();
    let name_end = body.find(|c: char| !is_name_char(c)).unwrap_or(body.len());
    let name = &body[..name_end];
    let mark = body[name_end..].trim_start();
    let value = mark.strip_prefix(['=', ':'])?;
    // What is no name may be a piece of a key.
    if name.is_empty() || name.len() > NAME_MAX {
        return None;
    }
    let value_at = line.len() - value.len() + (value.len() - value.trim_start_matches([' ', '\t']).len());
    let value_end = value_at + value_len(&text[value_at..]);
    let (_, rest) = split_line(&text[value_end..]);
    let value = text[value_at..text.len() - rest.len()].trim_end();
    Some((Line::Setting { start: &text[..value_at], name, value }, rest))
}

/// Bytes of a value from its first character: to the quote that closes it, or to a line's end that no backslash takes away.
fn value_len(text: &str) -> usize {
    match text.chars().next() {
        Some(quote @ ('"' | '\'' | '`')) => closing(text, quote).unwrap_or_else(|| plain_len(text)),
        _ => plain_len(text),
    }
}

fn closing(text: &str, quote: char) -> Option<usize> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if quote != '\'' => is_escaped = true,
            _ if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

fn plain_len(text: &str) -> usize {
    if split_line(text).0.contains(PEM_BEGIN) {
        return text.find(PEM_END).map_or(text.len(), |end| end + split_line(&text[end..]).0.len());
    }
    let mut len = 0;
    loop {
        let (line, rest) = split_line(&text[len..]);
        len += line.len();
        if !line.trim_end().ends_with('\\') || rest.is_empty() {
            return len;
        }
        len = text.len() - rest.len();
    }
}

/// What stands behind the end of a key, or nothing if it has no end.
fn behind_pem(text: &str, at: usize) -> &str {
    match text[at..].find(PEM_END) {
        Some(end) => split_line(&text[at + end..]).1,
        None => "",
    }
}

/// A line without its end, and what stands behind that.
fn split_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const NAME_MAX: usize = 64;
