//! The archive that a set of plain files becomes: a tar of regular files that stock tar unpacks (docs/format.md section 8.4).

use std::io::{self, Read, Write};

use tar::{Builder, EntryType, Header};

use super::foreign::read_tar;
use super::manifest::ArchivedFile;

/// A tar archive that grows file by file.
pub struct ArchiveWriter<W: Write> {
    builder: Builder<W>,
}

impl<W: Write> ArchiveWriter<W> {
    /// Begins an archive.
    pub fn new(out: W) -> ArchiveWriter<W> {
        ArchiveWriter { builder: Builder::new(out) }
    }

    /// Adds a file. `mode` are its permission bits, `modified` the seconds since 1970 of its last change.
    ///
    /// # Errors
    /// `out` fails, or `content` has not exactly `size` bytes.
    pub fn add(&mut self, path: &str, size: u64, mode: u32, modified: u64, content: impl Read) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Regular);
        header.set_size(size);
        header.set_mode(mode);
        header.set_mtime(modified);
        let mut counted = Counted { inner: content.take(size), count: 0 };
        self.builder.append_data(&mut header, path, &mut counted)?;
        match counted.count == size {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the content is shorter than announced")),
        }
    }

    /// Writes the end of the archive; nothing may be added behind it.
    ///
    /// # Errors
    /// `out` fails.
    pub fn end(&mut self) -> io::Result<()> {
        self.builder.finish()
    }

    /// Gives back what was written to, after the end of the archive if that was not written yet.
    ///
    /// # Errors
    /// `out` fails.
    pub fn into_out(self) -> io::Result<W> {
        self.builder.into_inner()
    }

    /// What is written to.
    pub fn out(&mut self) -> &mut W {
        self.builder.get_mut()
    }
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

/// Hands out the files of an archive, each with what the manifest says of it. Names must be those of the manifest, in its order; size and
/// digest of the content are for whoever reads it to compare.
///
/// # Errors
/// The archive is not what the manifest says, or what the callback says.
pub fn read_archive<E: From<io::Error>>(
    archive: impl Read,
    files: &[ArchivedFile],
    take: &mut dyn FnMut(&ArchivedFile, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let mut expected = files.iter();
    read_tar::<E>(archive, &mut |entry, content| match expected.next() {
        Some(file) if entry.is_file && entry.name == file.path => take(file, content),
        _ => Err(other(&entry.name).into()),
    })?;
    expected.next().map_or(Ok(()), |missing| Err(other(&missing.path).into()))
}

fn other(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the archive is not what the manifest says, at '{name}'"))
}
