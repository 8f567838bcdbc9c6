//! One frame's plaintext ↔ one codec member (docs/format.md section 5): gzip (RFC 1952), zstd (RFC 8878), none.
//!
//! A codec member is exactly one gzip member or zstd frame, opens to no more than the reader allows, and has nothing behind it: a
//! bomb stops at the limit, and bytes cannot hide in a place that another tool would read. States are reused from frame to frame.

use std::fmt;
use std::str::FromStr;

use flate2::{Compress, Crc, Decompress, FlushCompress, FlushDecompress, Status};
use serde::{Deserialize, Serialize};

/// How frames are stored: the public core says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Codec {
    /// RFC 1952: opens with stock `gzip`.
    Gzip,
    /// RFC 8878: opens with the `zstd` program.
    Zstd,
    /// As it is.
    None,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::Gzip => "gzip",
            Codec::Zstd => "zstd",
            Codec::None => "none",
        })
    }
}

/// A codec with the effort that sealing spends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip at level 1 to 9.
    Gzip(u32),
    /// zstd at level 1 to 19.
    Zstd(i32),
    /// None.
    None,
}

impl Compression {
    /// What is sealed with when nobody chose; docs/performance.md says why.
    pub const DEFAULT: Compression = Compression::Gzip(5);

    /// The codec that the core names.
    pub fn codec(self) -> Codec {
        match self {
            Compression::Gzip(_) => Codec::Gzip,
            Compression::Zstd(_) => Codec::Zstd,
            Compression::None => Codec::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compression::Gzip(level) => write!(f, "gzip:{level}"),
            Compression::Zstd(level) => write!(f, "zstd:{level}"),
            Compression::None => f.write_str("none"),
        }
    }
}

impl FromStr for Compression {
    type Err = CompressionError;

    /// Reads `gzip`, `gzip:1` … `gzip:9`, `zstd`, `zstd:1` … `zstd:19`, `none`.
    fn from_str(text: &str) -> Result<Compression, CompressionError> {
        let level = |digits: &str, max: u32| digits.parse().ok().filter(|level| (1..=max).contains(level)).ok_or(CompressionError);
        match text.split_once(':') {
            None if text == "gzip" => Ok(Compression::DEFAULT),
            None if text == "zstd" => Ok(Compression::Zstd(1)),
            None if text == "none" => Ok(Compression::None),
            Some(("gzip", digits)) => Ok(Compression::Gzip(level(digits, 9)?)),
            Some(("zstd", digits)) => Ok(Compression::Zstd(level(digits, 19)?.cast_signed())),
            _ => Err(CompressionError),
        }
    }
}

/// Text that names no compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected gzip, gzip:1 to gzip:9, zstd, zstd:1 to zstd:19, or none")]
pub struct CompressionError;

/// Bytes that are not one codec member within its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not exactly one {codec} member within its limit")]
pub struct CodecError {
    /// The codec that should have opened it.
    pub codec: Codec,
}

/// RFC 1952 section 2.3: deflate, no flags, no time, no hint of speed, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
const GZIP_TRAILER: usize = 8;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Packs frames.
pub enum Packer {
    /// RFC 1952.
    Gzip(Box<Compress>),
    /// RFC 8878.
    Zstd(zstd::bulk::Compressor<'static>),
    /// Copies.
    None,
}

impl Packer {
    /// Allocates the state for one thread.
    ///
    /// # Panics
    /// If zstd cannot allocate its state.
    pub fn new(compression: Compression) -> Packer {
        match compression {
            Compression::Gzip(level) => Packer::Gzip(Box::new(Compress::new(flate2::Compression::new(level), false))),
            Compression::Zstd(level) => Packer::Zstd(zstd::bulk::Compressor::new(level).expect("memory for the zstd state")),
            Compression::None => Packer::None,
        }
    }

    /// Appends one codec member that holds `plain` to `out`.
    ///
    /// # Panics
    /// If the codec fails on valid input with room enough, which its contract excludes.
    pub fn pack(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        out.reserve(plain.len() + plain.len() / 8 + 1024);
        match self {
            Packer::None => out.extend_from_slice(plain),
            Packer::Gzip(state) => pack_gzip(state, plain, out),
            Packer::Zstd(state) => pack_zstd(state, plain, out),
        }
    }
}

fn pack_gzip(state: &mut Compress, plain: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&GZIP_HEADER);
    state.reset();
    let status = state.compress_vec(plain, out, FlushCompress::Finish);
    assert!(matches!(status, Ok(Status::StreamEnd)), "deflate ends in one call with room for its worst case");
    let mut crc = Crc::new();
    crc.update(plain);
    out.extend_from_slice(&crc.sum().to_le_bytes());
    out.extend_from_slice(&crc.amount().to_le_bytes());
}

fn pack_zstd(state: &mut zstd::bulk::Compressor<'static>, plain: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let room = zstd::zstd_safe::compress_bound(plain.len());
    out.resize(start + room, 0);
    let len = state.compress_to_buffer(plain, &mut out[start..]).expect("zstd packs into its own bound");
    out.truncate(start + len);
}

/// Opens codec members.
pub enum Opener {
    /// RFC 1952.
    Gzip(Box<Decompress>),
    /// RFC 8878.
    Zstd(zstd::bulk::Decompressor<'static>),
    /// Copies.
    None,
}

impl Opener {
    /// Allocates the state for one thread.
    ///
    /// # Panics
    /// If zstd cannot allocate its state.
    pub fn new(codec: Codec) -> Opener {
        match codec {
            Codec::Gzip => Opener::Gzip(Box::new(Decompress::new(false))),
            Codec::Zstd => Opener::Zstd(zstd::bulk::Decompressor::new().expect("memory for the zstd state")),
            Codec::None => Opener::None,
        }
    }

    /// Opens exactly one codec member into `plain`, which is cleared first and then has at most `max` bytes.
    ///
    /// # Errors
    /// [`CodecError`] for a malformed member, one that is longer than `max`, or bytes behind it.
    pub fn open(&mut self, member: &[u8], max: usize, plain: &mut Vec<u8>) -> Result<(), CodecError> {
        plain.clear();
        match self {
            Opener::None => {
                if member.len() > max {
                    return Err(CodecError { codec: Codec::None });
                }
                plain.extend_from_slice(member);
                Ok(())
            }
            Opener::Gzip(state) => open_gzip(state, member, max, plain).ok_or(CodecError { codec: Codec::Gzip }),
            Opener::Zstd(state) => open_zstd(state, member, max, plain).ok_or(CodecError { codec: Codec::Zstd }),
        }
    }
}

fn open_gzip(state: &mut Decompress, member: &[u8], max: usize, plain: &mut Vec<u8>) -> Option<()> {
    let rest = member.strip_prefix(&GZIP_HEADER[..4])?.get(6..)?;
    let (deflated, trailer) = rest.split_at_checked(rest.len().checked_sub(GZIP_TRAILER)?)?;
    state.reset(false);
    // One byte more than allowed, so that a member that is too long shows itself instead of ending for want of room.
    // The index has a limit far above its usual size: room grows with what arrives.
    plain.reserve_exact(max.saturating_add(1).min(deflated.len().saturating_mul(8).max(4096)));
    loop {
        let status = state.decompress_vec(&deflated[state.total_in() as usize..], plain, FlushDecompress::Finish).ok()?;
        match status {
            Status::StreamEnd => break,
            _ if plain.len() > max => return None,
            _ if plain.len() < plain.capacity() => return None,
            _ => plain.reserve_exact(plain.len().min(max + 1 - plain.len()).max(1)),
        }
    }
    let mut crc = Crc::new();
    crc.update(plain);
    let sound = state.total_in() == deflated.len() as u64
        && plain.len() <= max
        && trailer[..4] == crc.sum().to_le_bytes()
        && trailer[4..] == crc.amount().to_le_bytes();
    sound.then_some(())
}

fn open_zstd(state: &mut zstd::bulk::Decompressor<'static>, member: &[u8], max: usize, plain: &mut Vec<u8>) -> Option<()> {
    let is_one_frame = member.starts_with(&ZSTD_MAGIC) && zstd::zstd_safe::find_frame_compressed_size(member) == Ok(member.len());
    if !is_one_frame {
        return None;
    }
    if !has_legal_zstd_header(member) {
        return None;
    }
    // A writer that streams does not say how long the content is; then the limit is all that is known.
    let claimed = zstd::zstd_safe::get_frame_content_size(member).ok()?.unwrap_or(max as u64);
    if claimed > max as u64 {
        return None;
    }
    plain.reserve_exact(claimed as usize);
    state.decompress_to_buffer(member, plain).ok()?;
    (plain.len() <= max).then_some(())
}

/// No dictionary, and a window that every decoder grants (docs/format.md section 5). Source: RFC 8878 section 3.1.1.1.
fn has_legal_zstd_header(member: &[u8]) -> bool {
    let Some(&[descriptor, window]) = member.get(4..6) else { return false };
    let is_single_segment = descriptor & 0x20 != 0;
    let base = 1_u64 << (10 + (window >> 3));
    let has_dictionary = descriptor & 0x03 != 0;
    !has_dictionary && (is_single_segment || base + base / 8 * u64::from(window & 7) <= ZSTD_WINDOW_MAX)
}

const ZSTD_WINDOW_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 5] =
        [Compression::Gzip(1), Compression::Gzip(6), Compression::Gzip(9), Compression::Zstd(1), Compression::None];

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    fn packed(compression: Compression, plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Packer::new(compression).pack(plain, &mut out);
        out
    }

    #[test]
    fn opens_what_it_packed() {
        for compression in ALL {
            let (mut packer, mut opener, mut plain) = (Packer::new(compression), Opener::new(compression.codec()), Vec::new());
            for original in [vec![], vec![7], vec![0; 1 << 20], noise(1 << 20), noise(511)] {
                let mut out = Vec::new();
                packer.pack(&original, &mut out);
                opener.open(&out, original.len(), &mut plain).unwrap();
                assert!(plain == original, "{compression}, {} bytes", original.len());
            }
        }
    }

    #[test]
    fn refuses_more_than_the_limit_and_anything_behind() {
        for compression in ALL {
            let (mut opener, mut plain) = (Opener::new(compression.codec()), Vec::new());
            let member = packed(compression, &[5; 5000]);
            assert!(opener.open(&member, 4999, &mut plain).is_err(), "{compression}: over the limit");
            assert!(opener.open(&member, 5000, &mut plain).is_ok());
            if compression != Compression::None {
                assert!(opener.open(&[&member[..], &member[..]].concat(), 20_000, &mut plain).is_err(), "{compression}: two members");
                assert!(opener.open(&[&member[..], b"x"].concat(), 20_000, &mut plain).is_err(), "{compression}: trailing byte");
                assert!((0..member.len()).all(|len| opener.open(&member[..len], 20_000, &mut plain).is_err()), "{compression}: cut");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        for compression in [Compression::Gzip(9), Compression::Zstd(19)] {
            let member = packed(compression, &vec![0; 64 << 20]);
            let mut plain = Vec::new();
            assert!(Opener::new(compression.codec()).open(&member, 1 << 20, &mut plain).is_err());
            assert!(plain.capacity() <= 4 << 20, "{compression}: {} bytes held", plain.capacity());
        }
    }

    #[test]
    fn refuses_a_zstd_window_that_stock_tools_refuse() {
        // RFC 8878: magic, a descriptor without content size, the window, one last raw block of one byte.
        let frame = |window: u8| [&ZSTD_MAGIC[..], &[0, window], &[9, 0, 0], b"x"].concat();
        let mut plain = Vec::new();
        assert_eq!(Opener::new(Codec::Zstd).open(&frame(13 << 3), 10, &mut plain), Ok(()), "8 MiB");
        assert_eq!(plain, b"x");
        assert!(Opener::new(Codec::Zstd).open(&frame(13 << 3 | 1), 10, &mut plain).is_err(), "9 MiB");
    }

    #[test]
    fn refuses_gzip_fields_that_the_format_does_not_have() {
        let member = packed(Compression::Gzip(6), b"text");
        let mut plain = Vec::new();
        let mut changed = member.clone();
        changed[3] = 8;
        assert!(Opener::new(Codec::Gzip).open(&changed, 100, &mut plain).is_err());
        for place in member.len() - 8..member.len() {
            let mut changed = member.clone();
            changed[place] ^= 1;
            assert!(Opener::new(Codec::Gzip).open(&changed, 100, &mut plain).is_err(), "trailer byte {place}");
        }
    }

    #[test]
    fn reads_the_documented_names() {
        for (text, compression) in [("gzip:9", Compression::Gzip(9)), ("zstd:19", Compression::Zstd(19)), ("none", Compression::None)] {
            assert_eq!(text.parse(), Ok(compression));
            assert_eq!(compression.to_string(), text);
        }
        for wrong in ["", "gzip:0", "gzip:10", "gzip:", "gzip:+1x", "zstd:20", "zstd:-1", "none:1", "GZIP", "xz"] {
            assert!(wrong.parse::<Compression>().is_err(), "{wrong}");
        }
    }
}
