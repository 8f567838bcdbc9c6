//! Values that look like secrets, whatever their name is.

use super::speaks_of_secrets;

/// Whether something in a text looks like a secret: an address with a password, a key, a token, a string of connection data, a hashed
/// password, or a long word of letters and digits.
pub(super) fn looks_secret(text: &str) -> bool {
    let upper = text.to_uppercase();
    let has_mark = MARKS.iter().any(|mark| upper.contains(mark));
    has_mark || text.split_whitespace().any(has_userinfo) || has_secret_member(text) || words(text).any(looks_drawn)
}

/// `scheme://user:password@host`, `user:password@tcp(host)`, `user/password@host`. Passwords hold what they like, also what ends the host
/// of an address by its RFC: so nothing but a blank ends the search.
fn has_userinfo(word: &str) -> bool {
    let Some((before, _)) = word.rsplit_once('@') else { return false };
    before.contains("://") || before.trim_end_matches([':', '/', '@']).trim_start_matches('@').contains([':', '/'])
}

/// `password=`, `"apiKey": `, `--requirepass `: names within a value.
fn has_secret_member(text: &str) -> bool {
    let is_option = |word: &str| word.starts_with('-') && speaks_of_secrets(word) || word == "-u" || word.starts_with("-p");
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let is_secret = |(at, _): (usize, &str)| {
        let before = text[..at].trim_end_matches(['"', '\'', '\\', ' ']);
        before.rsplit(|c| !is_in_name(c)).next().is_some_and(speaks_of_secrets)
    };
    text.match_indices(['=', ':']).any(is_secret) || text.split_whitespace().map(|word| word.trim_matches(['"', '\'', '`'])).any(is_option)
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '=' | '_' | '-' | '/' | '.')))
}

/// Long, with letters and digits: drawn at random by somebody, or at least by nobody meant to be read.
fn looks_drawn(word: &str) -> bool {
    let has_both = |word: &str| word.contains(|c: char| c.is_ascii_digit()) && word.contains(|c: char| c.is_ascii_alphabetic());
    let is_token = PREFIXES.iter().any(|prefix| word.starts_with(prefix));
    let pieces = || word.split(['/', '.']).filter(|piece| has_both(piece));
    let is_hex = |piece: &str| piece.trim_start_matches("0x").chars().all(|c| c.is_ascii_hexdigit());
    let is_long = |piece: &str| piece.len() >= DRAWN_LEN || piece.len() >= HEX_LEN && is_hex(piece);
    has_both(word) && (is_token || pieces().any(is_long) || word.len() >= DRAWN_LEN && !looks_put_together(word))
}

/// A path, a host, a version: parts that somebody named. What is drawn has capitals in it, and digits in their midst.
fn looks_put_together(word: &str) -> bool {
    let is_capital = |c: char| c.is_ascii_uppercase();
    let has_digit_inside = |part: &str| part.as_bytes().windows(2).any(|pair| pair[0].is_ascii_digit() && pair[1].is_ascii_alphabetic());
    let is_named = |part: &str| !part.contains(is_capital) || !has_digit_inside(part);
    let is_rooted = word.starts_with(['/', '.']) && {
        let first = word.split('/').find(|part| !matches!(*part, "" | "." | "..")).unwrap_or_default();
        first.chars().skip(1).all(|c| !is_capital(c) && !c.is_ascii_digit())
    };
    // A sign that stands in no ordinary name.
    let is_base64 = word.contains('+') && word.contains(is_capital);
    is_rooted || !is_base64 && word.split(['/', '.']).all(is_named)
}

const DRAWN_LEN: usize = 20;
/// 64 bits.
const HEX_LEN: usize = 16;

/// How tokens of well-known services begin.
const PREFIXES: [&str; 36] = [
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "sk_",
    "sk-",
    "pk_",
    "rk_",
    "whsec_",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xoxr-",
    "xoxs-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "ya29.",
    "eyJ",
    "SG.",
    "npm_",
    "pypi-",
    "dop_v1_",
    "hvs.",
    "shpat_",
    "shpss_",
    "sq0",
    "GOCSPX-",
    "key-",
    "rubygems_",
    "dckr_pat_",
    "AGE-SECRET-KEY-",
];

/// In capitals: keys in armour, credentials in headers and queries, Laravel's keys, and how hashed passwords begin.
const MARKS: [&str; 14] =
    ["-----BEGIN ", "SIG=", "BEARER ", "BASE64:", "$1$", "$2A$", "$2B$", "$2Y$", "$5$", "$6$", "$Y$", "$APR1$", "$ARGON2", "PBKDF2_"];
