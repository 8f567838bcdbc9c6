//! Containers that others packed: gzip streams and tar archives out of which old backups are adopted.
//!
//! Nothing of them is trusted. Streams are bounded by whoever reads them; of an archive only names and the content of regular files are
//! told, no path is ever made of a name, and what stands in front of an entry (long names, pax records) is read up to a limit.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

/// Unpacks a gzip stream of any number of members; their CRCs and lengths are checked as they end.
pub fn gunzip(packed: impl Read) -> impl Read {
    MultiGzDecoder::new(packed)
}

/// Whether this is how a tar archive begins: the magic of POSIX, and of GNU, at byte 257.
#[must_use]
pub fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

/// An entry of an archive.
#[derive(Debug)]
pub struct ForeignEntry {
    /// Its name, as text.
    pub name: String,
    /// Whether it is a regular file whose content is stored plainly.
    pub is_file: bool,
}

/// Reads an archive to its end, and hands out its entries one after the other.
///
/// # Errors
/// What the archive or the callback says.
pub fn read_tar<E: From<io::Error>>(
    archive: impl Read,
    take: &mut dyn FnMut(ForeignEntry, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut archive = Archive::new(archive);
    let mut ahead = Ahead::default();
    // Raw: the crate would read a long name whole into memory, however long it claims to be.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        match entry.header().entry_type() {
            EntryType::GNULongName => ahead.name = Some(text_of(&bounded(&mut entry)?)),
            EntryType::XHeader => ahead.read_pax(&bounded(&mut entry)?)?,
            EntryType::GNULongLink | EntryType::XGlobalHeader => {}
            kind => {
                let Ahead { name, is_sparse } = std::mem::take(&mut ahead);
                let name = name.unwrap_or_else(|| text_of(&entry.path_bytes()));
                let is_file = matches!(kind, EntryType::Regular | EntryType::Continuous) && !is_sparse && !name.ends_with('/');
                take(ForeignEntry { name, is_file }, &mut entry)?;
            }
        }
    }
    Ok(())
}

/// What was said of the entry that comes next.
#[derive(Default)]
struct Ahead {
    name: Option<String>,
    is_sparse: bool,
}

impl Ahead {
    /// Reads records `LENGTH KEY=VALUE\n`, where the length counts all of the record (POSIX pax).
    fn read_pax(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "a malformed extended header");
        while !bytes.is_empty() {
            let space = bytes.iter().position(|&byte| byte == b' ').ok_or_else(malformed)?;
            let length: usize = std::str::from_utf8(&bytes[..space]).ok().and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
            let record = bytes.get(space + 1..length).and_then(|record| record.strip_suffix(b"\n")).ok_or_else(malformed)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(malformed)?;
            match &record[..equals] {
                b"path" => self.name = Some(text_of(&record[equals + 1..])),
                // Beyond 8 GiB; what follows could not be found.
                b"size" => return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry of more than 8 GiB")),
                key if key.starts_with(b"GNU.sparse.") => self.is_sparse = true,
                _ => {}
            }
            bytes = &bytes[length..];
        }
        Ok(())
    }
}

fn bounded(entry: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    entry.take(AHEAD_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > AHEAD_MAX {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "an endless name")),
        false => Ok(bytes),
    }
}

fn text_of(name: &[u8]) -> String {
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}

const AHEAD_MAX: u64 = 64 << 10;
