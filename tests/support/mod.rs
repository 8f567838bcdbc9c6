//! What the integration tests share: places, keys, a backup, a restore, the program, and comparisons.
#![allow(dead_code)] // each test file uses a part of it
#![allow(clippy::print_stderr)] // a test that skips says why

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use airkeep::bundle::{
    BundleWriter, CoreFacts, EntryPath, FrameSize, Id, Kind, Manifest, PublicCore, RECOVER_TEXT, Sealing, SetName, SetRef, UtcTime,
};
use airkeep::crypto::Entropy;
use airkeep::database::{TableHash, list_tables, read_schema, table_hash};
use airkeep::ops::OsEntropy;
use airkeep::{
    Backup, BackupReport, Compression, Environment, KeyFileKey, Keyring, Label, Level, Restore, RestoreReport, SourceSpec, Verification,
    VerifyRequest,
};
use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;

pub const KEY: [u8; 32] = [7; 32];

/// The real one, which leaves nothing in the folders of this account.
pub fn environment() -> Environment {
    Environment { state_folder: None, ..Environment::system() }
}

/// A folder on the disk that is removed at the end.
pub fn place() -> TempDir {
    tempfile::Builder::new().prefix("airkeep-test-").tempdir().expect("temporary folder")
}

/// A folder in memory where the system has one; for tests whose subject is not the disk.
pub fn fast_place() -> TempDir {
    let memory = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("airkeep-test-").to_owned();
    if memory.is_dir() { builder().tempdir_in(memory).expect("temporary folder") } else { place() }
}

/// Whether everything is to be run, however long it takes.
pub fn is_proving() -> bool {
    std::env::var_os("AIRKEEP_PROVE").is_some_and(|value| value != "0")
}

/// Says why a test proves nothing here.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// A measured figure for whoever reads the output.
pub fn note(text: &str) {
    eprintln!("{text}");
}

pub fn ring() -> Keyring {
    Keyring { key_files: vec![KeyFileKey::parse(&KEY).expect("32 bytes")], ..Keyring::default() }
}

/// Writes the key of [`ring`] where only its owner can read it.
pub fn key_file(folder: &Path) -> PathBuf {
    secret_file(&folder.join("backup.key"), &KEY)
}

pub fn secret_file(path: &Path, content: &[u8]) -> PathBuf {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("secret file");
    std::io::Write::write_all(&mut file, content).expect("secret file");
    path.to_owned()
}

pub fn spec(label: &str, path: &Path) -> SourceSpec {
    SourceSpec { label: Label::parse(label).expect("label"), path: path.to_owned() }
}

/// Backs one database up under the label `main`.
pub fn back_up(database: &Path, vault: &Path, adjust: impl FnOnce(&mut Backup)) -> BackupReport {
    let mut backup = Backup::new(vec![spec("main", database)], vault);
    adjust(&mut backup);
    backup.run(&ring(), &mut Environment::system()).unwrap_or_else(|failure| panic!("backup of {database:?}: {}", causes(&failure)))
}

pub fn restore(bundle: &Path, to: &Path) -> RestoreReport {
    let restore = Restore::new(bundle, to);
    restore.run(&ring(), &mut environment()).unwrap_or_else(|failure| panic!("restore of {bundle:?}: {}", causes(&failure)))
}

/// Verifies at the highest level.
pub fn verify(bundle: &Path) -> Verification {
    let request = VerifyRequest { level: Some(Level::Content), ..VerifyRequest::default() };
    let verification = Verification::run(bundle, &request, &ring(), &Environment::system());
    verification.unwrap_or_else(|failure| panic!("verification of {bundle:?}: {}", causes(&failure)))
}

/// Seals entries under a manifest that need not be true, as a holder of the key can.
pub fn reseal(path: &Path, manifest: &mut Manifest, parts: Vec<(EntryPath, Vec<u8>)>) {
    let mut entropy = OsEntropy;
    let mut id = [0; 16];
    entropy.fill(&mut id);
    manifest.bundle = Id(id);
    let facts = CoreFacts {
        id: manifest.bundle,
        set: SetRef { id: Id([1; 16]), name: SetName::parse("set-00000001").expect("name") },
        sequence: 1,
        kind: Kind::Manual,
        created_at: UtcTime::parse("2026-11-20T23:18:20Z").expect("time"),
        marking: None,
        codec: Compression::DEFAULT.codec(),
        frame_size: FrameSize::Normal,
        predecessor: None,
        signer: None,
        journal_head: None,
    };
    let core = PublicCore::new(facts, RECOVER_TEXT.as_bytes());
    let file = File::create(path).expect("bundle");
    let ring = ring();
    let sealing = Sealing { ring: &ring, signer: None, compression: Compression::DEFAULT, workers: 1 };
    let mut writer = BundleWriter::start(file, &core, sealing, &mut entropy).expect("start");
    for (path, content) in parts {
        writer.add(path, &content).expect("entry");
    }
    writer.seal(manifest.encode()).expect("seal");
}

/// The entries of a bundle with the label `main`: its database and its schema.
pub fn parts_of(bundle: &Path, to: &Path) -> Vec<(EntryPath, Vec<u8>)> {
    restore(bundle, to);
    let database = fs::read(to.join("main.db")).expect("database");
    let schema = read_schema(&open(&to.join("main.db"))).expect("schema").sql.into_bytes();
    let label = || Label::parse("main").expect("label");
    vec![(EntryPath::Database(label()), database), (EntryPath::Schema(label()), schema)]
}

pub fn causes(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The program with nothing in its environment but a search path and a home.
pub fn program(home: &Path) -> Command {
    hermetic(env!("CARGO_BIN_EXE_airkeep"), home)
}

pub fn hermetic(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("XDG_STATE_HOME", home.join(STATE))
        .current_dir(home);
    command.stdin(Stdio::null());
    command
}

/// Where records go that no vault takes; no result of anything.
const STATE: &str = ".state";

/// Whether a program can be started.
pub fn has_program(name: &str) -> bool {
    Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

pub fn text_of(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Ends a program that takes longer than it may; nothing is returned then.
pub fn output_within(mut command: Command, limit: Duration) -> Option<Output> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    let pipes = (child.stdout.take().expect("pipe"), child.stderr.take().expect("pipe"));
    let readers = [Box::new(pipes.0) as Box<dyn Read + Send>, Box::new(pipes.1)].map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).map(|_| bytes)
        })
    });
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        if started.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let [stdout, stderr] = readers.map(|reader| reader.join().expect("reader").expect("output"));
    Some(Output { status, stdout, stderr })
}

/// Opens a database for reading with nothing of airkeep's settings.
pub fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open")
}

/// The logical hash of every table.
pub fn content(path: &Path) -> BTreeMap<String, TableHash> {
    let connection = open(path);
    let tables = list_tables(&connection).expect("tables");
    tables
        .into_iter()
        .map(|table| (table.clone(), table_hash(&connection, &table).unwrap_or_else(|error| panic!("{table}: {}", causes(&error)))))
        .collect()
}

pub fn integrity(connection: &Connection) -> Vec<String> {
    let mut statement = connection.prepare("PRAGMA integrity_check").expect("prepare");
    statement.query_map([], |row| row.get(0)).expect("check").collect::<rusqlite::Result<_>>().expect("check")
}

/// Offsets at which two files differ, the first hundred; a difference in length counts.
pub fn differences(left: &Path, right: &Path) -> Vec<u64> {
    let (mut left, mut right) = (File::open(left).expect("open"), File::open(right).expect("open"));
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let (mut found, mut offset) = (Vec::new(), 0);
    loop {
        let (n, m) = (fill(&mut left, &mut a), fill(&mut right, &mut b));
        if n == m && a[..n] != b[..m] {
            found.extend((0..n).filter(|&i| a[i] != b[i]).map(|i| offset + i as u64));
        }
        if n != m {
            found.push(offset + n.min(m) as u64);
        }
        if n != m || n == 0 || found.len() > 100 {
            return found;
        }
        offset += n as u64;
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> usize {
    let mut count = 0;
    while count < buffer.len() {
        match file.read(&mut buffer[count..]).expect("read") {
            0 => break,
            read => count += read,
        }
    }
    count
}

/// All paths below a folder, relative to it; none if it does not exist.
pub fn listing(folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut open) = (BTreeSet::new(), vec![folder.to_owned()]);
    while let Some(current) = open.pop() {
        for entry in fs::read_dir(&current).into_iter().flatten().flatten() {
            if entry.file_name() == STATE {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(entry.path());
            }
            found.insert(entry.path().strip_prefix(folder).expect("below").to_owned());
        }
    }
    found
}

pub fn bundles_in(vault: &Path) -> BTreeSet<PathBuf> {
    listing(vault).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "akb")).collect()
}

/// Numbers that look random; the seed is printed, and `AIRKEEP_SEED` repeats a run.
pub struct Dice(u64);

impl Dice {
    pub fn new(purpose: &str) -> Dice {
        let chosen = std::env::var("AIRKEEP_SEED").ok().and_then(|text| text.parse().ok());
        let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        let seed = chosen.unwrap_or_else(now) | 1;
        eprintln!("{purpose}: AIRKEEP_SEED={seed}");
        Dice(seed)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
