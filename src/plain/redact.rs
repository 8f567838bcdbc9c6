//! Env files without their secrets: what is left shows which settings there are, and no secret value.
//!
//! Whatever is in doubt is left out: a line that is not understood, a comment that speaks of a password, a value that only looks like a
//! key. A setting that is shown without need can be taken back by nobody; one that is hidden without need can be named in `keep`.

mod line;
mod value;

use glob::{MatchOptions, Pattern};

use line::{Line, next_line};

/// What stands where a secret was.
pub const REDACTED: &str = "<redacted>";

/// Which settings of an env file are secret.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    secret: Vec<Pattern>,
    keep: Vec<Pattern>,
}

/// The text of an env file without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redacted {
    /// What is left.
    pub text: String,
    /// Values, comments and lines that were left out.
    pub count: u64,
}

impl Redaction {
    /// Takes names of settings that are secret beside those that always are, and of settings that never are; `*` and `?` stand for others.
    ///
    /// # Errors
    /// What is wrong with a pattern.
    pub fn new(secret: &[String], keep: &[String]) -> Result<Redaction, String> {
        let parse = |texts: &[String]| texts.iter().map(|text| pattern(text)).collect::<Result<Vec<_>, _>>();
        Ok(Redaction { secret: parse(secret)?, keep: parse(keep)? })
    }

    /// Leaves the secrets out.
    #[must_use]
    pub fn apply(&self, text: &str) -> Redacted {
        let mut redacted = Redacted { text: String::with_capacity(text.len()), count: 0 };
        // Some end lines in one way, some in another; whoever takes one for a blank would let a setting pass as a part of the one before.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let (mut rest, mut was_other) = (text.as_str(), false);
        while !rest.is_empty() {
            let (line, behind) = next_line(rest);
            // The end of a key that is written in several lines looks like a name.
            let is_tail = matches!(line, Line::Setting { value, .. } if was_other && value.trim_matches('=').is_empty());
            let line = if is_tail { Line::Other } else { line };
            was_other = line == Line::Other;
            self.put(&line, &rest[..rest.len() - behind.len()], &mut redacted);
            rest = behind;
        }
        redacted
    }

    fn put(&self, line: &Line<'_>, whole: &str, redacted: &mut Redacted) {
        let kept = match line {
            Line::Blank => true,
            Line::Comment(text) => !speaks_of_secrets(text) && !value::looks_secret(text),
            Line::Setting { name, value, .. } => !self.is_secret(name, value),
            Line::Other => false,
        };
        if kept {
            redacted.text.push_str(whole);
            return;
        }
        redacted.count += 1;
        match line {
            Line::Setting { start, .. } => redacted.text.extend([start, REDACTED, "\n"]),
            _ => redacted.text.extend(["# ", REDACTED, "\n"]),
        }
    }

    fn is_secret(&self, name: &str, value: &str) -> bool {
        let fits = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches_with(name, ANY_CASE));
        if value.is_empty() || fits(&self.keep) {
            return false;
        }
        let remark = value.split_once('#').map_or("", |(_, remark)| remark);
        fits(&self.secret) || speaks_of_secrets(name) || speaks_of_secrets(remark) || value::looks_secret(value) || self.hides_lines(value)
    }

    /// Whether a further line of a value would be left out if it stood alone: somebody else may take it for a setting of its own.
    fn hides_lines(&self, value: &str) -> bool {
        value.lines().skip(1).any(|line| self.apply(line).count > 0)
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::new(text).map_err(|error| format!("'{text}' is no pattern: {}", error.msg))
}

/// Whether a word stands in it that names of secrets have.
fn speaks_of_secrets(text: &str) -> bool {
    let upper = text.to_uppercase();
    SECRET_WORDS.iter().any(|word| upper.contains(word)) || words(text).any(|word| SHORT_WORDS.contains(&word.to_uppercase().as_str()))
}

/// The words of a name: `DB_PW`, `db-pw`, `dbPw`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_start = |rest: &str, at: usize| rest.as_bytes()[at].is_ascii_uppercase() && rest.as_bytes()[at - 1].is_ascii_lowercase();
    text.split(|c: char| !c.is_ascii_alphanumeric()).flat_map(move |part| {
        let mut rest = part;
        std::iter::from_fn(move || {
            let at = (1..rest.len()).find(|&at| is_start(rest, at)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at(at);
            rest = behind;
            (!word.is_empty()).then_some(word)
        })
    })
}

const ANY_CASE: MatchOptions = MatchOptions { case_sensitive: false, require_literal_separator: false, require_literal_leading_dot: false };

/// In capitals; anywhere in a name.
const SECRET_WORDS: [&str; 27] = [
    "SECRET",
    "PASS",
    "PWD",
    "TOKEN",
    "KEY",
    "CREDENTIAL",
    "CREDS",
    "PRIVATE",
    "AUTH",
    "SALT",
    "PEPPER",
    "SIGN",
    "CERT",
    "COOKIE",
    "SESSION",
    "DSN",
    "PIN",
    "OTP",
    "SEED",
    "WEBHOOK",
    "JWT",
    "BEARER",
    "CONNECTION_STRING",
    "LICENSE",
    "CONNSTR",
    "ENCRYPT",
    "KENNWORT",
];

/// In capitals; only as a word of its own, since they stand in harmless ones, too.
const SHORT_WORDS: [&str; 13] = ["PW", "PWS", "PSW", "SK", "PSK", "PAT", "SAS", "MFA", "CRED", "MNEMONIC", "PHRASE", "CODE", "LOGIN"];

#[cfg(test)]
mod tests;
