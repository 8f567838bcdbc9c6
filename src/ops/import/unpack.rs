//! From an old backup in scratch to the images of the databases in it. What a file is, its first bytes tell and not its name; only ICDEV's
//! encryption has none that tell.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ImportFault;
use super::icdev;
use super::taken::{Bench, Budget, Poured, Taken};
use crate::bundle::{ForeignEntry, gunzip, is_tar, read_tar};
use crate::crypto::OldPassphrase;
use crate::database::Image;
use crate::files::{FileError, Scratch, holders, open_regular};

/// How every database of more than zero bytes begins.
pub(super) const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// Whether this is how a gzip stream begins: magic and the only method that there is (RFC 1952 section 2.3.1).
pub(super) fn is_packed(start: &[u8]) -> bool {
    start.starts_with(&[0x1f, 0x8b, 8])
}

/// A database out of an old backup.
pub(super) struct Found {
    /// Its name in the archive.
    pub(super) entry: Option<String>,
    pub(super) image: Image,
}

/// What an old backup holds.
pub(super) struct Unpacked {
    /// As the manifest names it.
    pub(super) form: &'static str,
    /// As the manifest names it.
    pub(super) integrity: &'static str,
    pub(super) found: Vec<Found>,
    /// Entries that are no databases, by name.
    pub(super) skipped: Vec<String>,
    /// What lay beside a database and was taken in.
    pub(super) taken_in: Vec<String>,
}

impl Unpacked {
    fn one(form: &'static str, integrity: &'static str, content: Scratch) -> Unpacked {
        let found = vec![Found { entry: None, image: Image::from_scratch(content) }];
        Unpacked { form, integrity, found, skipped: Vec::new(), taken_in: Vec::new() }
    }
}

/// Compares an old backup with its sum, and unpacks it.
pub(super) fn unpack(taken: Taken, old: &[OldPassphrase], bench: &Bench<'_>) -> Result<Unpacked, ImportFault> {
    let is_summed = Taken::check_sum(&taken.path, taken.sha256)?;
    let start = start_of(&taken.content)?;
    let of_sum = |is_summed| if is_summed { "sha256-sidecar" } else { "none" };
    if start.starts_with(SQLITE_MAGIC) {
        return beside(&taken.path, Unpacked::one("sqlite", of_sum(is_summed), taken.content), bench);
    }
    if let Some(plain_path) = without_ending(&taken.path, "enc") {
        let Poured { content, sha256 } = icdev::open(&taken.content, old, bench)?;
        // That tool keeps the sum of the plaintext beside it.
        let is_summed = Taken::check_sum(&plain_path, sha256)? || is_summed;
        return match start_of(&content)?.starts_with(SQLITE_MAGIC) {
            true => Ok(Unpacked::one("icdev-enc", of_sum(is_summed), content)),
            false => Ok(Unpacked { form: "icdev-enc", ..packed(&content, is_summed, bench)? }),
        };
    }
    match is_packed(&start) {
        true => packed(&taken.content, is_summed, bench),
        false => Err(ImportFault::NotADatabase),
    }
}

fn packed(content: &Scratch, is_summed: bool, bench: &Bench<'_>) -> Result<Unpacked, ImportFault> {
    let integrity = if is_summed { "sha256-sidecar" } else { "gzip-crc" };
    let mut budget = bench.budget(content.len());
    let mut stream = gunzip(content.reader());
    let unpacked = bench.pour(&mut stream, 0, &mut budget, |source| ImportFault::Packed { source })?.content;
    match start_of(&unpacked)? {
        start if start.starts_with(SQLITE_MAGIC) => Ok(Unpacked::one("gzip", integrity, unpacked)),
        start if is_tar(&start) => {
            let unpacked = Archive::read(&unpacked, &mut budget, bench)?.into_unpacked(integrity);
            if unpacked.found.is_empty() { Err(ImportFault::NotADatabase) } else { Ok(unpacked) }
        }
        _ => Err(ImportFault::NotADatabase),
    }
}

/// Takes in what SQLite left beside a database file: without its WAL a database lacks all that stands only there.
fn beside(path: &Path, mut unpacked: Unpacked, bench: &Bench<'_>) -> Result<Unpacked, ImportFault> {
    let holders = holders(&[path.to_owned()]);
    if !holders.is_empty() {
        return Err(ImportFault::InUse { holders });
    }
    for suffix in SIDECARS {
        let mut sidecar = path.to_owned().into_os_string();
        sidecar.push(suffix);
        let sidecar = PathBuf::from(sidecar);
        if sidecar.metadata().is_ok_and(|found| found.len() > 0) {
            let explain = |error| ImportFault::File(FileError::io("read", &sidecar)(error));
            let poured = bench.pour(&mut open_regular(&sidecar)?, 0, &mut Budget::unlimited(), explain)?;
            unpacked.found[0].image.add_sidecar(suffix, poured.content);
            unpacked.taken_in.push(sidecar.to_string_lossy().into_owned());
        }
    }
    Ok(unpacked)
}

/// The files of a tar archive that matter.
#[derive(Default)]
struct Archive {
    databases: Vec<(String, Scratch)>,
    sidecars: BTreeMap<String, Scratch>,
    skipped: Vec<String>,
}

impl Archive {
    fn read(content: &Scratch, budget: &mut Budget, bench: &Bench<'_>) -> Result<Archive, ImportFault> {
        let mut archive = Archive::default();
        read_tar::<TarError>(content.reader(), &mut |entry, content| archive.take(entry, content, budget, bench).map_err(TarError))
            .map_err(|TarError(fault)| fault)?;
        Ok(archive)
    }

    fn take(&mut self, entry: ForeignEntry, content: &mut dyn Read, budget: &mut Budget, bench: &Bench<'_>) -> Result<(), ImportFault> {
        let explain = |source| ImportFault::Packed { source };
        let mut start = Vec::new();
        if entry.is_file {
            content.take(SQLITE_MAGIC.len() as u64).read_to_end(&mut start).map_err(explain)?;
        }
        let is_sidecar = SIDECARS.iter().any(|suffix| entry.name.ends_with(suffix));
        let mut whole = start.as_slice().chain(content);
        // Stored as they are, these are no longer than the archive, which was paid for.
        let copied = |whole: &mut dyn Read| bench.pour(whole, 0, &mut Budget::unlimited(), explain).map(|poured| poured.content);
        if start == SQLITE_MAGIC {
            self.databases.push((entry.name, copied(&mut whole)?));
        } else if is_sidecar && !start.is_empty() {
            self.sidecars.insert(entry.name, copied(&mut whole)?);
        } else if is_packed(&start) {
            let mut unpacked = gunzip(&mut whole);
            let mut start = Vec::new();
            (&mut unpacked).take(SQLITE_MAGIC.len() as u64).read_to_end(&mut start).map_err(explain)?;
            match start == SQLITE_MAGIC {
                true => {
                    let poured = bench.pour(&mut start.as_slice().chain(unpacked), 0, budget, explain)?;
                    self.databases.push((entry.name, poured.content));
                }
                false => self.skipped.push(entry.name),
            }
        } else if !entry.name.ends_with('/') {
            self.skipped.push(entry.name);
        }
        Ok(())
    }

    fn into_unpacked(mut self, integrity: &'static str) -> Unpacked {
        let mut taken_in = Vec::new();
        let found = self.databases.into_iter().map(|(name, content)| {
            let image = Image::from_scratch(content);
            for suffix in SIDECARS {
                let sidecar = format!("{name}{suffix}");
                if let Some(content) = self.sidecars.remove(&sidecar) {
                    image.add_sidecar(suffix, content);
                    taken_in.push(sidecar);
                }
            }
            Found { entry: Some(name), image }
        });
        let found = found.collect();
        self.skipped.extend(self.sidecars.into_keys());
        Unpacked { form: "tar-gzip", integrity, found, skipped: self.skipped, taken_in }
    }
}

/// What reading an archive says itself is damage; the rest passes through.
struct TarError(ImportFault);

impl From<io::Error> for TarError {
    fn from(source: io::Error) -> TarError {
        TarError(ImportFault::Packed { source })
    }
}

fn start_of(content: &Scratch) -> Result<Vec<u8>, ImportFault> {
    let mut start = vec![0; START_BYTES];
    let count = content.read_at(0, &mut start)?;
    start.truncate(count);
    Ok(start)
}

fn without_ending(path: &Path, ending: &str) -> Option<PathBuf> {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending)).then(|| path.with_extension(""))
}

/// A block of a tar archive.
const START_BYTES: usize = 512;
const SIDECARS: [&str; 2] = ["-journal", "-wal"];
