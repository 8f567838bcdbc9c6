//! Values that several members share, each with one spelling: ids, digests, times, frame sizes (docs/format.md section 3.1).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::crypto::{Digest, PublicKey, decode_hex, encode_hex};

/// Sixteen random bytes that name a bundle or a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Id(pub [u8; 16]);

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_hex(&self.0))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for Id {
    type Error = crate::crypto::HexError;
    fn try_from(text: String) -> Result<Id, Self::Error> {
        let mut bytes = [0; 16];
        decode_hex(&text, &mut bytes)?;
        Ok(Id(bytes))
    }
}

/// How many bytes of payload a full content frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub enum FrameSize {
    /// 256 KiB.
    Small,
    /// 1 MiB, the usual size.
    Normal,
    /// 4 MiB.
    Large,
}

impl FrameSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            FrameSize::Small => 256 << 10,
            FrameSize::Normal => 1 << 20,
            FrameSize::Large => 4 << 20,
        }
    }
}

impl From<FrameSize> for u64 {
    fn from(size: FrameSize) -> u64 {
        size.bytes()
    }
}

impl TryFrom<u64> for FrameSize {
    type Error = String;
    fn try_from(bytes: u64) -> Result<FrameSize, String> {
        [FrameSize::Small, FrameSize::Normal, FrameSize::Large]
            .into_iter()
            .find(|size| size.bytes() == bytes)
            .ok_or_else(|| format!("frame size {bytes}"))
    }
}

/// A moment in UTC as the format writes it: `YYYY-MM-DDTHH:MM:SSZ`, a profile of RFC 3339.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcTime(String);

impl UtcTime {
    /// Checks the form and the ranges of the fields (a day 31 in any month passes).
    pub fn parse(text: &str) -> Option<UtcTime> {
        let shape = text.len() == 20
            && text.bytes().zip("dddd-dd-ddTdd:dd:ddZ".bytes()).all(|(c, form)| if form == b'd' { c.is_ascii_digit() } else { c == form });
        let field = |from: usize| text[from..from + 2].parse::<u8>().unwrap_or(u8::MAX);
        let legal =
            shape && (1..=12).contains(&field(5)) && (1..=31).contains(&field(8)) && field(11) < 24 && field(14) < 60 && field(17) < 60;
        legal.then(|| UtcTime(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Digits and letters only, for file names: `YYYYMMDDTHHMMSSZ`.
    pub fn compact(&self) -> String {
        self.0.chars().filter(char::is_ascii_alphanumeric).collect()
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<UtcTime> for String {
    fn from(time: UtcTime) -> String {
        time.0
    }
}

impl TryFrom<String> for UtcTime {
    type Error = String;
    fn try_from(text: String) -> Result<UtcTime, String> {
        UtcTime::parse(&text).ok_or_else(|| "a time that is not YYYY-MM-DDTHH:MM:SSZ".to_owned())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        Digest::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        PublicKey::parse(&text).ok_or_else(|| serde::de::Error::custom("not an Ed25519 public key in OpenSSH's form"))
    }
}

/// Accepts null but not absence: with an explicit function serde no longer takes a missing key for `None`.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}
