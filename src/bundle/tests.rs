//! The format as a whole: what is sealed opens, and whatever is changed is found.

use super::*;
use crate::crypto::{Entropy, KeyFileKey, Sha256, SigningKey};

/// Different bytes at each call, the same in each run.
struct Counter(u64);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let mut hash = Sha256::new();
            hash.update(&self.0.to_be_bytes());
            self.0 += 1;
            chunk.copy_from_slice(&hash.finish().0[..chunk.len()]);
        }
    }
}

fn ring(byte: u8) -> Keyring {
    Keyring { key_files: vec![KeyFileKey::parse(&[byte; 32]).unwrap()], ..Keyring::default() }
}

fn seal(contents: &[&[u8]], compression: Compression, seed: u64) -> Vec<u8> {
    seal_as(None, contents, compression, seed)
}

fn seal_as(signer: Option<&SigningKey>, contents: &[&[u8]], compression: Compression, seed: u64) -> Vec<u8> {
    let mut entropy = Counter(seed);
    let id = Id(crate::crypto::random(&mut entropy));
    let facts = CoreFacts {
        id,
        set: SetRef { id: Id([1; 16]), name: SetName::parse("set-00000001").unwrap() },
        sequence: 1,
        kind: Kind::Manual,
        created_at: UtcTime::parse("2026-11-20T23:18:20Z").unwrap(),
        marking: None,
        codec: compression.codec(),
        frame_size: FrameSize::Small,
        predecessor: None,
        journal_head: None,
        signer: signer.map(SigningKey::public),
    };
    let core = PublicCore::new(facts, RECOVER_TEXT.as_bytes());
    let ring = ring(9);
    let sealing = Sealing { ring: &ring, signer, compression, workers: 1 };
    let mut writer = BundleWriter::start(Vec::new(), &core, sealing, &mut entropy).unwrap();
    let mut sources = Vec::new();
    for (number, content) in contents.iter().enumerate() {
        let label = Label::parse(&format!("db{number}")).unwrap();
        let sha256 = writer.add(EntryPath::Database(label.clone()), content).unwrap();
        sources.push(source(label, content.len() as u64, sha256));
    }
    writer.seal(manifest(id, sources).encode()).unwrap().out
}

fn manifest(bundle: Id, sources: Vec<Source>) -> Manifest {
    let host = Host { name: "h".into(), os: "linux".into(), arch: "x".into(), user: "u".into(), uid: 0 };
    let tool = Tool { name: "airkeep".into(), version: "0".into(), sqlite: "3".into() };
    let started_at = UtcTime::parse("2026-11-20T23:18:20Z").unwrap();
    Manifest {
        format: MANIFEST_FORMAT.into(),
        bundle,
        host,
        tool,
        started_at,
        duration_ms: 1,
        tag: None,
        note: None,
        sources,
        files: Vec::new(),
    }
}

fn source(label: Label, size_bytes: u64, sha256: crate::crypto::Digest) -> Source {
    Source {
        label,
        kind: "sqlite".into(),
        path: "/x".into(),
        device: 1,
        inode: 1,
        captured_at: UtcTime::parse("2026-11-20T23:18:20Z").unwrap(),
        consistency: "independent".into(),
        capture: CaptureMethod { pages: "sqlite_dbpage".into(), route: "stream".into(), recovered: false },
        size_bytes,
        sha256,
        journal_mode: "wal".into(),
        page_size: 4096,
        page_count: 1,
        encoding: "UTF-8".into(),
        auto_vacuum: "none".into(),
        application_id: 0,
        user_version: 0,
        migrations: None,
        schema: None,
        tables: Vec::new(),
        append_only: Vec::new(),
        assertions: Vec::new(),
        check: Check { kind: "none".into(), verdict: "unchecked".into(), messages: Vec::new() },
        git: None,
        gap: None,
        imported: None,
    }
}

/// Collects entries; a test of "nothing is released" looks at whether the pass was clean.
#[derive(Default)]
struct Collected(Vec<(String, Vec<u8>)>);

impl EntrySink for Collected {
    type Error = BundleError;
    fn begin(&mut self, entry: &Entry) -> Result<(), BundleError> {
        self.0.push((entry.path.to_string(), Vec::new()));
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.0.last_mut().unwrap().1.extend_from_slice(bytes);
        Ok(())
    }
    fn end(&mut self) -> Result<(), BundleError> {
        Ok(())
    }
}

fn examine(medium: &(impl Medium + ?Sized), ring: Option<&Keyring>, level: Level, sink: &mut Collected) -> Result<Outcome, BundleError> {
    let mut front = read_front(medium)?;
    let mut unlocked = ring.map(|ring| unlock(medium, &front, ring)).transpose()?;
    Examination::new(medium, &mut front, unlocked.as_mut(), level, 1, sink).run()
}

fn is_clean(medium: &(impl Medium + ?Sized), ring: Option<&Keyring>, level: Level) -> bool {
    examine(medium, ring, level, &mut Collected::default()).is_ok_and(|outcome| outcome.findings.is_empty())
}

fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Counter(77).fill(&mut bytes);
    bytes
}

const FRAME: usize = 256 << 10;

#[test]
fn a_signed_bundle_covers_every_bit_of_its_signatures() {
    let signer = || SigningKey::generate(&mut Counter(3));
    let bundle = seal_as(Some(&signer()), &[b"content"], Compression::Gzip(1), 5);
    let outcome = examine(&bundle, Some(&ring(9)), Level::Content, &mut Collected::default()).unwrap();
    assert!(outcome.findings.is_empty() && outcome.is_signed && read_front(&bundle).unwrap().is_slots_signed);
    let begin = b"-----BEGIN SSH SIGNATURE-----";
    let places: Vec<usize> = (0..bundle.len() - begin.len()).filter(|&at| bundle[at..].starts_with(begin)).collect();
    assert_eq!(places.len(), 2);
    // Header, text, and padding of both members.
    for byte in
        places.iter().flat_map(|&place| place - 512..place + 512).step_by(if std::env::var_os("AIRKEEP_PROVE").is_some() { 1 } else { 5 })
    {
        for bit in [0, 5] {
            let mut changed = bundle.clone();
            changed[byte] ^= 1 << bit;
            assert!(!is_clean(&changed, None, Level::Sums), "byte {byte} bit {bit}");
        }
    }
}

#[test]
fn opens_what_it_sealed_at_every_length_around_block_and_frame() {
    let lengths = [0, 1, 15, 16, 17, 511, 512, 513, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 7];
    let contents: Vec<Vec<u8>> = lengths.iter().map(|&len| noise(len)).collect();
    let borrowed: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
    for compression in [Compression::Gzip(1), Compression::Zstd(1), Compression::None] {
        let bundle = seal(&borrowed, compression, 5);
        let mut sink = Collected::default();
        let outcome = examine(&bundle, Some(&ring(9)), Level::Content, &mut sink).unwrap();
        assert!(outcome.findings.is_empty(), "{compression}: {:?}", outcome.findings);
        assert_eq!(sink.0.len(), contents.len() + 2);
        assert!(sink.0.iter().zip(&contents).all(|((_, taken), content)| taken == content), "{compression}");
        let front = read_front(&bundle).unwrap();
        assert_eq!(read_seal_digest(&bundle, &front).unwrap(), outcome.seal_sha256.unwrap());
    }
}

#[test]
fn another_key_is_rejected() {
    let bundle = seal(&[b"x"], Compression::None, 5);
    assert!(matches!(examine(&bundle, Some(&ring(8)), Level::Sums, &mut Collected::default()), Err(BundleError::KeyRejected)));
}

/// A bit of each byte, walking through the eight places; the long run flips all eight.
fn bits(len: usize) -> impl Iterator<Item = usize> {
    let step = if std::env::var_os("AIRKEEP_PROVE").is_some() { 1 } else { 9 };
    (0..len * 8).step_by(step)
}

#[test]
fn every_flipped_bit_is_found_without_and_with_the_key() {
    let mut bundle = seal(&[b"twenty bytes of text", &[0; 600]], Compression::Gzip(6), 5);
    assert!(is_clean(&bundle, None, Level::Sums) && is_clean(&bundle, Some(&ring(9)), Level::Content));
    for bit in bits(bundle.len()) {
        bundle[bit / 8] ^= 1 << (bit % 8);
        assert!(!is_clean(&bundle, None, Level::Sums), "L0, byte {} bit {}", bit / 8, bit % 8);
        assert!(!is_clean(&bundle, Some(&ring(9)), Level::Authentic), "L2, byte {} bit {}", bit / 8, bit % 8);
        bundle[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_cut_and_every_inserted_byte_is_found() {
    let bundle = seal(&[b"twenty bytes of text"], Compression::Gzip(6), 5);
    for len in 0..bundle.len() {
        assert!(!is_clean(&bundle[..len], None, Level::Sums), "L0, {len} bytes left");
        assert!(!is_clean(&bundle[..len], Some(&ring(9)), Level::Authentic), "L2, {len} bytes left");
    }
    for place in 0..=bundle.len() {
        let longer = [&bundle[..place], &[0], &bundle[place..]].concat();
        assert!(!is_clean(longer.as_slice(), None, Level::Sums), "L0, byte inserted at {place}");
        assert!(!is_clean(longer.as_slice(), Some(&ring(9)), Level::Authentic), "L2, byte inserted at {place}");
    }
}

#[test]
fn headers_that_repeat_for_ever_fill_no_report() {
    let bundle = seal(&[b"x"], Compression::None, 5);
    let start = read_front(&bundle).unwrap().frames_start as usize;
    let mut bomb = bundle[..start].to_vec();
    // Headers of an index that is too short to be one, and of frames that are there once each and never whole.
    (0..5000).for_each(|_| bomb.extend_from_slice(&outer::header("index", 1)));
    (0..5000).for_each(|number| bomb.extend_from_slice(&outer::header(&outer::member::frame(2 * number), 64)));
    let outcome = examine(&bomb, None, Level::Sums, &mut Collected::default()).unwrap();
    assert!((1..=limits::FINDINGS_MAX).contains(&outcome.findings.len()), "{} findings", outcome.findings.len());
}

/// Bytes with places that give an error, as a scratched disc does.
struct Scratched<'b>(&'b [u8], std::ops::Range<u64>);

impl Medium for Scratched<'_> {
    fn length(&self) -> std::io::Result<u64> {
        self.0.length()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        match offset < self.1.end && self.1.start < offset + buffer.len() as u64 {
            true => Err(std::io::Error::from_raw_os_error(5)),
            false => self.0.read_at(offset, buffer),
        }
    }
}

#[test]
fn goes_on_past_unreadable_blocks_and_names_what_is_hurt() {
    let bundle = seal(&[&noise(3 * FRAME), &noise(3 * FRAME)], Compression::None, 5);
    let start = read_front(&bundle).unwrap().frames_start;
    // The header block of frame 2 (second content frame of db0), and 512 bytes in the middle of frame 6 (second of db1).
    let holes = [(start + 1536 + 512 + FRAME as u64 + 512, 2, "databases/db0.db"), (start + 9 * FRAME as u64 / 2, 6, "databases/db1.db")];
    for (hole, frame, entry) in holes {
        let medium = Scratched(&bundle, hole..hole + 512);
        let outcome = examine(&medium, Some(&ring(9)), Level::Content, &mut Collected::default()).unwrap();
        let hurt: Vec<_> = outcome.findings.iter().map(|f| (f.damage.code(), f.frames, f.entries.clone())).collect();
        assert_eq!(hurt, [("unreadable", Some((frame, frame)), vec![entry.to_owned()])], "hole at {hole}");
        assert_eq!(outcome.frames, 13);
    }
}
