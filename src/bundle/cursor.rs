//! Reading the members of the outer file, each against its canonical header (docs/format.md section 2).

use std::io;

use super::Damage;
use super::medium::Medium;
use super::outer::{BLOCK, is_zero, padding, size_in, stored_len};

/// Reads members one after the other, each checked against the canonical form before it is allocated.
pub(super) struct Cursor<'m, M: Medium + ?Sized> {
    pub medium: &'m M,
    pub offset: u64,
}

impl<M: Medium + ?Sized> Cursor<'_, M> {
    /// Reads the member that must stand here and moves behind it.
    pub fn member(&mut self, name: &str, max: u64) -> Result<Vec<u8>, Damage> {
        let size = self.header(name, max)?;
        let mut content = vec![0; (size + padding(size)) as usize];
        self.read(name, self.offset + BLOCK, &mut content)?;
        if !is_zero(&content.split_off(size as usize)) {
            return Err(Damage::Padding { member: name.to_owned() });
        }
        self.offset += stored_len(size);
        Ok(content)
    }

    /// Reads the header that must stand here and gives the size of its member.
    pub fn header(&self, name: &str, max: u64) -> Result<u64, Damage> {
        let mut block = [0; BLOCK as usize];
        self.read(name, self.offset, &mut block)?;
        let lost = || Damage::Header { member: name.to_owned(), offset: self.offset };
        size_in(&block, name).filter(|&size| size <= max).ok_or_else(lost)
    }

    /// Fills a buffer from anywhere, with errors that name the member.
    pub fn read(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<(), Damage> {
        let member = || name.to_owned();
        self.medium.read_at(offset, buffer).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => Damage::Cut { member: member() },
            _ => Damage::Unreadable { member: member(), offset, source },
        })
    }
}
