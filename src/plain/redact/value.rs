//! Values that look like secrets, whatever their name is.

/// Whether something in a text looks like a secret: an address with a password, a key, a token, a string of connection data, or a long
/// word of letters and digits.
pub(super) fn looks_secret(text: &str) -> bool {
    let upper = text.to_uppercase();
    let has_member = MEMBERS.iter().any(|word| upper.contains(word));
    has_userinfo(text) || has_member || text.contains("-----BEGIN ") || words(text).any(looks_drawn)
}

/// `scheme://user:password@host`.
fn has_userinfo(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let authority = text[at + mark.len()..].split(['/', '?', '#', ' ', '"', '\'']).next().unwrap_or_default();
        authority.contains('@')
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '=' | '_' | '-')))
}

/// Long, with letters and digits: drawn at random by somebody, or at least by nobody meant to be read.
fn looks_drawn(word: &str) -> bool {
    let is_long = word.len() >= DRAWN_LEN || PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    is_long && word.contains(|c: char| c.is_ascii_digit()) && word.contains(|c: char| c.is_ascii_alphabetic())
}

const DRAWN_LEN: usize = 20;

/// How tokens of well-known services begin.
const PREFIXES: [&str; 10] = ["ghp_", "gho_", "glpat-", "sk_", "sk-", "pk_", "xoxb-", "xoxp-", "AKIA", "eyJ"];

/// In strings of connection data and in queries, in capitals.
const MEMBERS: [&str; 9] = ["PASSWORD=", "PASSWD=", "PASS=", "PWD=", "TOKEN=", "SECRET=", "SIG=", "KEY=", "BEARER "];
