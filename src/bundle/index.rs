//! The index: entries, tag digest, frame offsets and manifest, sealed like a frame (docs/format.md section 7).
//!
//! It is what binds the frames together: with it a reader knows what every single frame must open to before it opens one.

use std::fmt::Write as _;

use super::label::EntryPath;
use super::limits::{ENTRIES_MAX, FRAMES_MAX, MANIFEST_MAX};
use super::outer::{BLOCK, END_OF_ARCHIVE, header, is_zero, padding};
use super::values::FrameSize;
use crate::crypto::Digest;

/// One file in the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: EntryPath,
    /// Bytes of content.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// The frame that holds its tar header; content begins in the next one.
    pub first_frame: u64,
}

impl Entry {
    /// Frames that the entry takes, header frame included.
    pub fn frame_count(&self, frame_size: FrameSize) -> u64 {
        1 + self.size.div_ceil(frame_size.bytes())
    }

    /// Its line in the index.
    fn line(&self) -> String {
        format!("{} {} {} {}\n", self.path, self.size, self.sha256, self.first_frame)
    }
}

/// The opened index of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Entries in payload order; together with the last frame they fill the payload.
    pub entries: Vec<Entry>,
    /// SHA-256 over the tags of all frames.
    pub tags: Digest,
    /// Offset of each frame's header, counted from that of frame 0.
    pub offsets: Vec<u64>,
    /// The manifest as stored.
    pub manifest: Vec<u8>,
}

/// What a frame must open to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameContent<'i> {
    /// The tar header of an entry.
    Header(&'i Entry),
    /// `data` bytes of an entry's content and then `zeros` zero bytes.
    Data {
        /// The entry.
        entry: &'i Entry,
        /// Bytes of content.
        data: u64,
        /// Padding.
        zeros: u64,
        /// Whether the entry ends with this frame.
        is_last: bool,
    },
    /// The end of the payload archive.
    End,
}

impl Index {
    /// The text to seal.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("airkeep-index 1\nframes {}\ntags {}\nentries {}\n", self.offsets.len(), self.tags, self.entries.len());
        text.extend(self.entries.iter().map(Entry::line));
        let _ = writeln!(text, "offsets {}", self.offsets.len());
        for offset in &self.offsets {
            let _ = writeln!(text, "{offset}");
        }
        let _ = writeln!(text, "manifest {}", self.manifest.len());
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.manifest);
        bytes
    }

    /// Reads an authenticated, opened index; `Err` names the first field that breaks a rule.
    ///
    /// # Errors
    /// The field's name.
    pub fn decode(bytes: &[u8], frame_size: FrameSize) -> Result<Index, &'static str> {
        let mut lines = Lines(bytes);
        if lines.next() != Some("airkeep-index 1") {
            return Err("head");
        }
        let frames = lines.number("frames", FRAMES_MAX).ok_or("frames")?;
        let tags = lines.field("tags").and_then(|text| Digest::parse(text).ok()).ok_or("tags")?;
        let count = lines.number("entries", ENTRIES_MAX).ok_or("entries")?;
        let entries = (0..count).map(|_| lines.entry()).collect::<Option<Vec<_>>>().ok_or("entries")?;
        if lines.number("offsets", FRAMES_MAX) != Some(frames) {
            return Err("offsets");
        }
        let offsets = (0..frames).map(|_| decimal(lines.next()?)).collect::<Option<Vec<_>>>().ok_or("offsets")?;
        let size = lines.number("manifest", MANIFEST_MAX).ok_or("manifest")?;
        if lines.0.len() as u64 != size {
            return Err("manifest");
        }
        let index = Index { entries, tags, offsets, manifest: lines.0.to_vec() };
        index.check_layout(frame_size)?;
        Ok(index)
    }

    /// The entries must tile the frames, in order, each path once, `manifest.json` and `SHA256SUMS` last.
    fn check_layout(&self, frame_size: FrameSize) -> Result<(), &'static str> {
        let mut next = 0;
        let mut paths = std::collections::HashSet::new();
        for entry in &self.entries {
            if entry.first_frame != next || !paths.insert(&entry.path) {
                return Err("entries");
            }
            next += entry.frame_count(frame_size);
        }
        if next + 1 != self.offsets.len() as u64 {
            return Err("frames");
        }
        match self.entries.as_slice() {
            [.., manifest, sums] if manifest.path == EntryPath::Manifest && sums.path == EntryPath::Sums => {
                check_content(manifest, &self.manifest, "manifest")?;
                check_content(sums, &Index::sums(&self.entries), "sums")
            }
            _ => Err("entries"),
        }
    }

    /// The entry that a frame belongs to; `None` for the frame that ends the archive.
    pub fn entry_of(&self, frame: u64) -> Option<&Entry> {
        let place = self.entries.partition_point(|entry| entry.first_frame <= frame);
        (frame + 1 < self.offsets.len() as u64).then(|| &self.entries[place - 1])
    }

    /// What a frame must open to.
    pub fn content_of(&self, frame: u64, frame_size: FrameSize) -> FrameContent<'_> {
        let Some(entry) = self.entry_of(frame) else { return FrameContent::End };
        if frame == entry.first_frame {
            return FrameContent::Header(entry);
        }
        let before = (frame - entry.first_frame - 1) * frame_size.bytes();
        let data = (entry.size - before).min(frame_size.bytes());
        let is_last = before + data == entry.size;
        let zeros = if is_last { padding(entry.size) } else { 0 };
        FrameContent::Data { entry, data, zeros, is_last }
    }

    /// The content of the entry `SHA256SUMS`: a line for each entry before it.
    pub fn sums(entries: &[Entry]) -> Vec<u8> {
        let lines = entries.iter().filter(|entry| entry.path != EntryPath::Sums);
        lines.map(|entry| format!("{}  {}\n", entry.sha256, entry.path)).collect::<String>().into_bytes()
    }
}

impl FrameContent<'_> {
    /// Bytes that the frame opens to.
    pub fn len(&self) -> u64 {
        match self {
            FrameContent::Header(_) => BLOCK,
            FrameContent::Data { data, zeros, .. } => data + zeros,
            FrameContent::End => END_OF_ARCHIVE,
        }
    }

    /// Compares an opened frame with all that is known of it before its entry's digest: header, padding, end, lengths.
    pub fn matches(&self, plain: &[u8]) -> bool {
        plain.len() as u64 == self.len()
            && match self {
                FrameContent::Header(entry) => plain == header(&entry.path.to_string(), entry.size),
                FrameContent::Data { data, .. } => is_zero(&plain[*data as usize..]),
                FrameContent::End => is_zero(plain),
            }
    }
}

/// An entry whose whole content the reader knows beforehand.
fn check_content(entry: &Entry, content: &[u8], field: &'static str) -> Result<(), &'static str> {
    match entry.size == content.len() as u64 && entry.sha256 == Digest::of(content) {
        true => Ok(()),
        false => Err(field),
    }
}

/// Lines of ASCII text, each ended by LF, with a binary rest.
struct Lines<'b>(&'b [u8]);

impl<'b> Lines<'b> {
    fn next(&mut self) -> Option<&'b str> {
        let end = self.0.iter().position(|&byte| byte == b'\n')?;
        let line = std::str::from_utf8(&self.0[..end]).ok()?;
        self.0 = &self.0[end + 1..];
        Some(line)
    }

    fn field(&mut self, name: &str) -> Option<&'b str> {
        self.next()?.strip_prefix(name)?.strip_prefix(' ')
    }

    fn number(&mut self, name: &str, max: u64) -> Option<u64> {
        decimal(self.field(name)?).filter(|&number| number <= max)
    }

    fn entry(&mut self) -> Option<Entry> {
        let mut fields = self.next()?.split(' ');
        let path = EntryPath::parse(fields.next()?)?;
        // A size beyond 2^60 could overflow the frame arithmetic; no payload of 2^20 frames comes near.
        let size = decimal(fields.next()?).filter(|&size| size < 1 << 60)?;
        let sha256 = Digest::parse(fields.next()?).ok()?;
        let first_frame = decimal(fields.next()?)?;
        fields.next().is_none().then_some(Entry { path, size, sha256, first_frame })
    }
}

/// A number in its only spelling: digits, no sign, no leading zero.
fn decimal(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    plain.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::label::Label;

    fn sample() -> Index {
        let manifest = b"{}".to_vec();
        let label = Label::parse("main").unwrap();
        let entry = |path, size, first_frame| Entry { path, size, sha256: Digest::of(b""), first_frame };
        let mut entries = vec![
            entry(EntryPath::Database(label), (256 << 10) * 2 + 1, 0),
            Entry { path: EntryPath::Manifest, size: 2, sha256: Digest::of(&manifest), first_frame: 4 },
        ];
        let sums = Index::sums(&entries);
        entries.push(Entry { path: EntryPath::Sums, size: sums.len() as u64, sha256: Digest::of(&sums), first_frame: 6 });
        Index { entries, tags: Digest::of(b"tags"), offsets: (0..9).map(|n| n * 1024).collect(), manifest }
    }

    #[test]
    fn decodes_what_it_encodes() {
        assert_eq!(Index::decode(&sample().encode(), FrameSize::Small), Ok(sample()));
    }

    #[test]
    fn knows_what_each_frame_holds() {
        let index = sample();
        let lens: Vec<u64> = (0..9).map(|n| index.content_of(n, FrameSize::Small).len()).collect();
        assert_eq!(lens, [512, 256 << 10, 256 << 10, 512, 512, 512, 512, 512, 1024]);
        assert!(matches!(index.content_of(3, FrameSize::Small), FrameContent::Data { data: 1, zeros: 511, is_last: true, .. }));
        assert!(matches!(index.content_of(8, FrameSize::Small), FrameContent::End));
    }

    #[test]
    fn refuses_other_spellings_gaps_and_overlaps() {
        let text = String::from_utf8(sample().encode()).unwrap();
        let swaps = [
            ("index 1\n", "index 2\n"),
            ("frames 9", "frames 09"),
            ("frames 9", "frames +9"),
            ("frames 9", "frames 8"),
            ("entries 3", "entries 2"),
            ("offsets 9", "offsets 8"),
            (" 0\nmanifest.json", " 1\nmanifest.json"),
            ("manifest.json", "SHA256SUMS"),
            ("databases/main.db", "databases/../x.db"),
            ("524289", "524288"),
            ("manifest 2", "manifest 3"),
            ("\n{}", "\n{ }"),
            ("\n{}", "\n[]"),
        ];
        for (from, to) in swaps {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            assert!(Index::decode(changed.as_bytes(), FrameSize::Small).is_err(), "{from} → {to}");
        }
    }
}
