//! Whom a reader trusts to have sealed a bundle: what people pinned, never what came with the medium.
//!
//! Two ways to pin: the fingerprint that somebody wrote down, or a file of *allowed signers* as `ssh-keygen -Y verify -f` reads it
//! (ssh-keygen(1)), where the principal is the name of the set. Of that file's options all that this reader does not
//! understand are refused: a restriction that is passed over would be trust that nobody gave.

use super::core::PublicCore;
use super::label::SetName;
use super::signer_change::SignerChange;
use super::values::UtcTime;
use crate::crypto::{Fingerprint, Namespace, PublicKey};

/// The signers that somebody pinned.
#[derive(Debug, Clone, Default)]
pub struct TrustedSigners {
    fingerprints: Vec<Fingerprint>,
    allowed: Vec<AllowedSigner>,
}

/// What is known of who sealed a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureVerdict {
    /// The bundle names no signer.
    Absent,
    /// A pinned signer signed it.
    Valid,
    /// Its own signer signed it, and nobody is pinned.
    NotPinned,
    /// The signature does not verify, or its signer is not one that was pinned.
    Invalid,
}

impl SignatureVerdict {
    /// The word in reports.
    pub fn name(self) -> &'static str {
        match self {
            SignatureVerdict::Absent => "absent",
            SignatureVerdict::Valid => "valid",
            SignatureVerdict::NotPinned => "not pinned",
            SignatureVerdict::Invalid => "invalid",
        }
    }
}

impl TrustedSigners {
    /// Whether nobody is pinned.
    pub fn is_empty(&self) -> bool {
        self.fingerprints.is_empty() && self.allowed.is_empty()
    }

    /// Trusts the key with this fingerprint, for any set.
    pub fn pin(&mut self, fingerprint: Fingerprint) {
        self.fingerprints.push(fingerprint);
    }

    /// Trusts what a file of allowed signers lists.
    ///
    /// # Errors
    /// [`AllowedSignersError`]; nothing of the file is trusted then.
    pub fn allow(&mut self, text: &str) -> Result<(), AllowedSignersError> {
        let fault = |(line, fault)| AllowedSignersError { line, fault };
        let lines = (1..).zip(text.lines()).map(|(number, line)| AllowedSigner::parse(line.trim()).map_err(|fault| (number, fault)));
        let parsed: Vec<Option<AllowedSigner>> = lines.collect::<Result<_, _>>().map_err(fault)?;
        self.allowed.extend(parsed.into_iter().flatten());
        Ok(())
    }

    /// Trusts the successors of those who are trusted, step by step: the old key signed for the new one.
    pub fn follow(&mut self, changes: &[SignerChange]) {
        for change in changes {
            if self.fingerprints.contains(&change.from.fingerprint()) {
                self.fingerprints.push(change.to.fingerprint());
            }
        }
    }

    /// What to think of a bundle whose `SHA256SUMS` its own signer did or did not sign.
    pub fn judge(&self, core: &PublicCore, is_signed: bool) -> SignatureVerdict {
        match core.signer {
            None => SignatureVerdict::Absent,
            Some(_) if !is_signed => SignatureVerdict::Invalid,
            Some(_) if self.is_empty() => SignatureVerdict::NotPinned,
            Some(signer) if self.trusts(&signer, &core.set.name, Namespace::Bundle, &core.created_at) => SignatureVerdict::Valid,
            Some(_) => SignatureVerdict::Invalid,
        }
    }

    /// Whether a verdict is what was asked for: with somebody pinned, only a signature of theirs is.
    pub fn accepts(&self, verdict: SignatureVerdict) -> bool {
        match self.is_empty() {
            true => verdict != SignatureVerdict::Invalid,
            false => verdict == SignatureVerdict::Valid,
        }
    }

    /// Whether a key may have sealed a bundle of this set at this time.
    pub fn trusts(&self, key: &PublicKey, set: &SetName, namespace: Namespace, at: &UtcTime) -> bool {
        self.fingerprints.contains(&key.fingerprint()) || self.allowed.iter().any(|allowed| allowed.permits(key, set, namespace, at))
    }
}

/// A line of an allowed signers file.
#[derive(Debug, Clone)]
struct AllowedSigner {
    principals: Patterns,
    namespaces: Option<Patterns>,
    /// As 14 digits of UTC.
    valid_after: Option<String>,
    valid_before: Option<String>,
    key: PublicKey,
}

/// Why a file of allowed signers is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct AllowedSignersError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub fault: AllowedSignersFault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AllowedSignersFault {
    /// No principal, no key, an open quote.
    #[error("this is not 'principal [options] type key'")]
    Form,
    /// The Ed25519 key does not parse.
    #[error("the key is not an Ed25519 public key")]
    Key,
    /// An option that is not understood.
    #[error("an option other than namespaces, valid-after and valid-before")]
    Option,
    /// A time without `Z` depends on the machine that reads it.
    #[error("a time that is not in UTC (YYYYMMDDZ or YYYYMMDDHHMM[SS]Z)")]
    Time,
}

impl AllowedSigner {
    /// Reads a line; `None` for a comment, an empty line, and a key of a kind that signs no bundle.
    fn parse(line: &str) -> Result<Option<AllowedSigner>, AllowedSignersFault> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (principals, rest) = word(line).ok_or(AllowedSignersFault::Form)?;
        let (options, rest) = match is_key_type(rest) {
            true => ("", rest),
            false => word(rest).ok_or(AllowedSignersFault::Form)?,
        };
        let mut fields = rest.split_whitespace();
        let (kind, base64) = fields.next().zip(fields.next()).filter(|_| is_key_type(rest)).ok_or(AllowedSignersFault::Form)?;
        if kind != "ssh-ed25519" {
            return Ok(None);
        }
        let key = PublicKey::parse(&format!("{kind} {base64}")).ok_or(AllowedSignersFault::Key)?;
        let principals = Patterns::parse(principals.trim_matches('"'));
        let mut signer = AllowedSigner { principals, namespaces: None, valid_after: None, valid_before: None, key };
        for option in split_options(options) {
            signer.restrict(option)?;
        }
        Ok(Some(signer))
    }

    fn restrict(&mut self, option: &str) -> Result<(), AllowedSignersFault> {
        let (name, value) = option.split_once('=').ok_or(AllowedSignersFault::Option)?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
        match name.to_ascii_lowercase().as_str() {
            "namespaces" => self.namespaces = Some(Patterns::parse(value)),
            "valid-after" => self.valid_after = Some(digits_of_time(value).ok_or(AllowedSignersFault::Time)?),
            "valid-before" => self.valid_before = Some(digits_of_time(value).ok_or(AllowedSignersFault::Time)?),
            _ => return Err(AllowedSignersFault::Option),
        }
        Ok(())
    }

    fn permits(&self, key: &PublicKey, set: &SetName, namespace: Namespace, at: &UtcTime) -> bool {
        let at: String = at.as_str().chars().filter(char::is_ascii_digit).collect();
        self.key == *key
            && self.principals.matches(set.as_str())
            && self.namespaces.as_ref().is_none_or(|namespaces| namespaces.matches(namespace.name()))
            && self.valid_after.as_ref().is_none_or(|after| *after <= at)
            && self.valid_before.as_ref().is_none_or(|before| at < *before)
    }
}

/// A list of patterns with `*`, `?` and `!` (ssh_config(5), PATTERNS).
#[derive(Debug, Clone)]
struct Patterns(Vec<String>);

impl Patterns {
    fn parse(list: &str) -> Patterns {
        Patterns(list.split(',').map(|pattern| pattern.trim().to_owned()).collect())
    }

    /// Whether some pattern matches and no negated one does.
    fn matches(&self, text: &str) -> bool {
        let hits = |pattern: &str| matches_pattern(pattern.as_bytes(), text.as_bytes());
        let is_refused = self.0.iter().filter_map(|pattern| pattern.strip_prefix('!')).any(hits);
        !is_refused && self.0.iter().filter(|pattern| !pattern.starts_with('!')).any(|pattern| hits(pattern))
    }
}

/// Goes back to the last star at a mismatch, so that a pattern costs no more than its length times that of the text.
fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

/// The first word of a line, in which blanks may stand between quotes, and what follows.
fn word(line: &str) -> Option<(&str, &str)> {
    let mut is_quoted = false;
    let end = line.find(|c: char| {
        is_quoted ^= c == '"';
        c.is_ascii_whitespace() && !is_quoted
    })?;
    Some((&line[..end], line[end..].trim_start()))
}

fn split_options(options: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let parts = options.split(move |c: char| {
        is_quoted ^= c == '"';
        c == ',' && !is_quoted
    });
    parts.filter(|option| !option.is_empty())
}

fn is_key_type(text: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| text.starts_with(kind))
}

/// A time as ssh-keygen writes it, filled up to seconds.
fn digits_of_time(value: &str) -> Option<String> {
    let digits = value.strip_suffix('Z')?;
    let is_legal = matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_legal.then(|| format!("{digits:0<14}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOpKbMqID9xw5eVJ9lqH5G2V9cXDd9RfKoBwR7qlhD2s";

    fn trusts(line: &str, set: &str, at: &str) -> bool {
        let mut trusted = TrustedSigners::default();
        trusted.allow(line).expect(line);
        let key = PublicKey::parse(&key()).unwrap();
        trusted.trusts(&key, &SetName::parse(set).unwrap(), Namespace::Bundle, &UtcTime::parse(at).unwrap())
    }

    fn key() -> String {
        crate::crypto::SigningKey::generate(&mut Sevens).public().to_string()
    }

    struct Sevens;
    impl crate::crypto::Entropy for Sevens {
        fn fill(&mut self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    #[test]
    fn restrictions_of_a_line_hold() {
        let (key, now) = (key(), "2026-11-21T02:00:00Z");
        assert!(trusts(&format!("plant {key}"), "plant", now));
        assert!(trusts(&format!("# comment\n\nother,pl* {key} somebody\n"), "plant", now));
        assert!(trusts(&format!("plant namespaces=\"slots@airkeep,bundle@airkeep\" {key}"), "plant", now));
        assert!(trusts(&format!("plant valid-after=20261121Z,valid-before=\"202611210201Z\" {key}"), "plant", now));
        for refused in [
            format!("office {key}"),
            format!("pl*,!plant {key}"),
            format!("plant namespaces=\"git\" {key}"),
            format!("plant valid-after=\"20261122Z\" {key}"),
            format!("plant valid-before=20261121020000Z {key}"),
            format!("plant {KEY}").replace(KEY, "ssh-rsa AAAA"),
        ] {
            assert!(!trusts(&refused, "plant", now), "{refused}");
        }
    }

    #[test]
    fn a_line_that_is_not_understood_is_refused_with_its_number() {
        let key = key();
        for (line, fault) in [
            ("plant".to_owned(), AllowedSignersFault::Form),
            ("plant ssh-ed25519".to_owned(), AllowedSignersFault::Form),
            (format!("plant cert-authority {key}"), AllowedSignersFault::Option),
            (format!("plant zone=\"a b\" {key}"), AllowedSignersFault::Option),
            (format!("plant valid-after=20261122 {key}"), AllowedSignersFault::Time),
            (format!("plant {}x", &key[..key.len() - 1]), AllowedSignersFault::Key),
        ] {
            let error = TrustedSigners::default().allow(&format!("# one\n{line}\n")).expect_err(&line);
            assert_eq!((error.line, error.fault), (2, fault), "{line}");
        }
    }

    #[test]
    fn patterns_match_as_a_shell_does() {
        for (pattern, text, matches) in
            [("*", "", true), ("a*c", "abbc", true), ("a*c", "abcd", false), ("?", "", false), ("*a*b*", "xaxb", true), ("", "a", false)]
        {
            assert_eq!(matches_pattern(pattern.as_bytes(), text.as_bytes()), matches, "{pattern} {text}");
        }
    }
}
