//! The first hundred bytes of a database.
//!
//! Decoded here and not asked by pragmas, because most pragmas read the schema first, and a damaged schema must not hide
//! what the header says.

/// The header of a database, as stored.
#[derive(Debug, Clone)]
pub(super) struct Header([u8; HEADER_BYTES]);

/// How a file's length fits what its header says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Length {
    Exact,
    Trailing { bytes: u64 },
    Short { expected_bytes: u64 },
}

/// Size of the header.
pub(super) const HEADER_BYTES: usize = 100;
/// Where the bytes stand that tell rollback journal (1) from WAL (2), for writing and for reading.
pub(super) const FORMAT_VERSIONS_OFFSET: u64 = 18;

/// # Layout
/// | offset | size | field |
/// |---|---|---|
/// | 16 | 2 | page size, 1 means 65536 |
/// | 18 | 2 | write and read version |
/// | 24 | 4 | change counter |
/// | 28 | 4 | page count, valid if 92 repeats the change counter |
/// | 52 | 4 | largest root page: not 0 means auto-vacuum |
/// | 56 | 4 | text encoding |
/// | 60 | 4 | `user_version` |
/// | 64 | 4 | not 0: incremental vacuum |
/// | 68 | 4 | `application_id` |
/// | 92 | 4 | change counter for which 28 is valid |
///
/// # Source
/// <https://sqlite.org/fileformat2.html>, section 1.3.
impl Header {
    /// Takes the first bytes of a file; what is missing counts as zero, as it does for SQLite.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut header = [0; HEADER_BYTES];
        let count = bytes.len().min(HEADER_BYTES);
        header[..count].copy_from_slice(&bytes[..count]);
        Self(header)
    }

    pub(super) fn bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.0
    }

    /// Whether there is no header, as in a database without pages.
    pub(super) fn is_empty(&self) -> bool {
        self.0 == [0; HEADER_BYTES]
    }

    pub(super) fn is_wal(&self) -> bool {
        self.0[18] == 2 || self.0[19] == 2
    }

    pub(super) fn journal_mode(&self) -> &'static str {
        if self.is_wal() { "wal" } else { "delete" }
    }

    pub(super) fn page_size(&self) -> Option<u32> {
        match u32::from(u16::from_be_bytes([self.0[16], self.0[17]])) {
            1 => Some(65536),
            size if size >= 512 && size.is_power_of_two() => Some(size),
            _ => None,
        }
    }

    pub(super) fn encoding(&self) -> &'static str {
        match self.number(56) {
            2 => "UTF-16le",
            3 => "UTF-16be",
            _ => "UTF-8",
        }
    }

    pub(super) fn auto_vacuum(&self) -> &'static str {
        match (self.number(52), self.number(64)) {
            (0, _) => "none",
            (_, 0) => "full",
            _ => "incremental",
        }
    }

    pub(super) fn application_id(&self) -> i32 {
        self.number(68).cast_signed()
    }

    pub(super) fn user_version(&self) -> i32 {
        self.number(60).cast_signed()
    }

    /// Compares what the header promises with the length of the file that it heads.
    pub(super) fn judge(&self, actual_bytes: u64) -> Length {
        let Some(page_size) = self.page_size().map(u64::from) else { return Length::Exact };
        let is_count_valid = self.number(28) != 0 && self.number(24) == self.number(92);
        let pages = if is_count_valid { u64::from(self.number(28)) } else { actual_bytes.div_ceil(page_size) };
        let expected_bytes = pages * page_size;
        match actual_bytes.cmp(&expected_bytes) {
            std::cmp::Ordering::Equal => Length::Exact,
            std::cmp::Ordering::Less => Length::Short { expected_bytes },
            std::cmp::Ordering::Greater => Length::Trailing { bytes: actual_bytes - expected_bytes },
        }
    }

    fn number(&self, offset: usize) -> u32 {
        u32::from_be_bytes([self.0[offset], self.0[offset + 1], self.0[offset + 2], self.0[offset + 3]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(page_size: u16, pages: u32, change: u32, valid_for: u32) -> Header {
        let mut bytes = [0; HEADER_BYTES];
        bytes[16..18].copy_from_slice(&page_size.to_be_bytes());
        bytes[24..28].copy_from_slice(&change.to_be_bytes());
        bytes[28..32].copy_from_slice(&pages.to_be_bytes());
        bytes[92..96].copy_from_slice(&valid_for.to_be_bytes());
        Header::of(&bytes)
    }

    #[test]
    fn reads_all_page_sizes_and_refuses_others() {
        for size in [512, 1024, 2048, 4096, 8192, 16384, 32768] {
            assert_eq!(header(size, 1, 0, 0).page_size(), Some(u32::from(size)));
        }
        assert_eq!(header(1, 1, 0, 0).page_size(), Some(65536));
        for size in [0, 2, 256, 513, 5000] {
            assert_eq!(header(size, 1, 0, 0).page_size(), None);
        }
    }

    #[test]
    fn tells_short_from_trailing_to_the_byte() {
        let three_pages = header(512, 3, 7, 7);
        assert_eq!(three_pages.judge(1536), Length::Exact);
        assert_eq!(three_pages.judge(1535), Length::Short { expected_bytes: 1536 });
        assert_eq!(three_pages.judge(1537), Length::Trailing { bytes: 1 });
    }

    #[test]
    fn trusts_the_file_where_the_count_is_stale() {
        let stale = header(512, 3, 7, 6);
        assert_eq!(stale.judge(5120), Length::Exact);
        assert_eq!(stale.judge(5119), Length::Short { expected_bytes: 5120 });
    }
}
