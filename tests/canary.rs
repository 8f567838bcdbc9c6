//! A passphrase and a row that must be found nowhere: not in outputs, not in files, not in deleted blocks, after kills at random moments.
//!
//! As root, all that the program may write to while it works (vault, scratch, home, /tmp and /var/tmp by a mount namespace) lies on an ext4
//! image of its own, mounted so that every write reaches it at once; at the end the image is searched byte by byte. The database, the
//! passphrase file and the restored files lie elsewhere: they hold the canaries by right.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use airkeep::{Environment, Keyring, Level, Passphrase, Verification, VerifyRequest};
use rusqlite::Connection;
use support::{Dice, differences, fast_place, hermetic, is_proving, listing, secret_file, skip, text_of};
use tempfile::TempDir;

const IMAGE_BYTES: u64 = 256 << 20;
/// More than scratch keeps in memory, so that it goes to the disk.
const ROWS: u64 = 60_000;

struct Stage {
    outside: TempDir,
    tree: PathBuf,
    is_mounted: bool,
    program: PathBuf,
    passphrase: String,
    row: String,
    outputs: Vec<u8>,
}

impl Stage {
    fn build(dice: &mut Dice) -> Stage {
        let outside = fast_place();
        let mut word =
            || (0..4).map(|_| char::from(b'a' + dice.below(26) as u8).to_string() + &dice.below(100_000).to_string()).collect::<String>();
        let (passphrase, row) = (format!("canary-pass-{}", word()), format!("canary-row-{}", word()));
        let (tree, program) = (outside.path().join("tree"), outside.path().join("airkeep"));
        fs::create_dir(&tree).expect("tree");
        fs::copy(env!("CARGO_BIN_EXE_airkeep"), &program).expect("program");
        let is_mounted = mount(outside.path(), &tree);
        if !is_mounted {
            skip("deleted blocks: needs root, mkfs.ext4, a loop device and /dev/shm");
        }
        for name in ["home", "tmp", "scratch"] {
            fs::create_dir(tree.join(name)).expect("folder");
        }
        secret_file(&outside.path().join("pass"), passphrase.as_bytes());
        observe_git(outside.path());
        Stage { outside, tree, is_mounted, program, passphrase, row, outputs: Vec::new() }
    }

    fn make_databases(&self) {
        for journal in ["delete", "wal"] {
            let connection = Connection::open(self.outside.path().join(journal)).expect("create");
            connection
                .execute_batch(&format!(
                    "PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; BEGIN; CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT);
                     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
                       INSERT INTO t SELECT i, hex(randomblob(40)), 'before {row} after' FROM n;
                     CREATE INDEX by_b ON t(b, a); COMMIT",
                    row = self.row
                ))
                .expect("content");
            connection.close().expect("close");
        }
    }

    fn vault(&self) -> PathBuf {
        self.tree.join("vault")
    }

    /// The program where all temporary folders are on the image, with the passphrase handed over in one of three ways.
    fn command(&self, way: u64, arguments: &[&str]) -> Command {
        let mut command = if self.is_mounted {
            let mut command = hermetic("unshare", &self.tree.join("home"));
            let script = r#"mount --bind "$1" /tmp && mount --bind "$1" /var/tmp && shift && exec "$@""#;
            command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(self.tree.join("tmp")).arg(&self.program);
            command.env_remove("TMPDIR");
            command
        } else {
            let mut command = hermetic(&self.program.to_string_lossy(), &self.tree.join("home"));
            command.env("TMPDIR", self.tree.join("tmp"));
            command
        };
        command.env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.outside.path().display()));
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        match way % 3 {
            0 => drop(command.env("AIRKEEP_PASSPHRASE", &self.passphrase)),
            1 => drop(command.arg("--passphrase-file").arg(self.outside.path().join("pass"))),
            _ => drop(command.args(["--passphrase-fd", "0"]).stdin(File::open(self.outside.path().join("pass")).expect("open"))),
        }
        command
    }

    fn backup(&self, way: u64) -> Command {
        let journal = if way.is_multiple_of(2) { "delete" } else { "wal" };
        let source = format!("main={}", self.outside.path().join(journal).display());
        let compression = if way % 4 < 2 { "none" } else { "gzip:1" };
        let (vault, scratch) = (self.vault(), self.tree.join("scratch"));
        let scratch = [scratch.as_os_str().to_str().expect("text"), vault.to_str().expect("text")][(way / 4 % 2) as usize];
        self.command(
            way,
            &["backup", &source, "--vault", &vault.to_string_lossy(), "--scratch", scratch, "--compression", compression, "--json"],
        )
    }

    fn verify(&self, way: u64, bundle: &Path) -> Command {
        self.command(way, &["verify", &bundle.to_string_lossy()])
    }

    fn restore(&self, way: u64, bundle: &Path) -> Command {
        self.command(way, &["restore", &bundle.to_string_lossy(), "--to", &self.target().to_string_lossy(), "--json"])
    }

    fn target(&self) -> PathBuf {
        self.outside.path().join("restored")
    }

    /// Lets a command run for a while, watching the arguments and environments of all other processes, then kills it.
    fn kill_after(&mut self, mut command: Command, pause: Duration) {
        let begun = Instant::now();
        let mut child = command.spawn().expect("start");
        while begun.elapsed() < pause && child.try_wait().expect("wait").is_none() {
            self.watch(&child);
        }
        child.kill().expect("kill");
        let output = child.wait_with_output().expect("output");
        self.keep(&output);
    }

    fn complete(&mut self, mut command: Command) -> Duration {
        let begun = Instant::now();
        let output = command.output().expect("run");
        self.keep(&output);
        assert!(output.status.success(), "{}", text_of(&output));
        begun.elapsed()
    }

    fn keep(&mut self, output: &Output) {
        self.outputs.extend_from_slice(&output.stdout);
        self.outputs.extend_from_slice(&output.stderr);
    }

    fn watch(&self, child: &Child) {
        for process in fs::read_dir("/proc").expect("/proc").flatten() {
            let path = process.path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()) else { continue };
            let arguments = fs::read(path.join("cmdline")).unwrap_or_default();
            assert!(!self.has_canary(&arguments), "a canary among the arguments of process {pid}");
            // What the program starts shows its parent's environment until it has become another program.
            let program = fs::read_link(path.join("exe")).unwrap_or_default();
            let is_ours =
                pid == child.id() || ["airkeep", "mount", "unshare", "dash", "bash", "sh"].iter().any(|name| program.ends_with(name));
            let environment = if is_ours { Vec::new() } else { fs::read(path.join("environ")).unwrap_or_default() };
            assert!(!self.has_canary(&environment), "a canary in the environment of process {pid}, {program:?}");
        }
    }

    fn needles(&self) -> Vec<Vec<u8>> {
        let mut needles = Vec::new();
        for canary in [&self.passphrase, &self.row] {
            needles.push(canary.as_bytes().to_vec());
            needles.push(canary.encode_utf16().flat_map(u16::to_le_bytes).collect());
            needles.push(canary.bytes().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
            needles.push(canary.bytes().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect());
        }
        needles
    }

    fn has_canary(&self, bytes: &[u8]) -> bool {
        self.needles().iter().any(|needle| contains(bytes, needle))
    }

    fn is_in_file(&self, path: &Path) -> bool {
        let Ok(mut file) = File::open(path) else { return false };
        let needles = self.needles();
        let (mut buffer, mut kept) = (vec![0; (4 << 20) + 1024], 0);
        loop {
            let count = file.read(&mut buffer[kept..]).unwrap_or(0);
            let filled = kept + count;
            if needles.iter().any(|needle| contains(&buffer[..filled], needle)) {
                return true;
            }
            if count == 0 {
                return false;
            }
            kept = filled.min(512);
            buffer.copy_within(filled - kept..filled, 0);
        }
    }

    /// After a kill the vault has what it had, and perhaps a bundle that is whole.
    fn assert_vault_is_sound(&self, before: &BTreeSet<PathBuf>, round: u64) {
        let ring = Keyring { passphrases: vec![Passphrase::parse(self.passphrase.as_bytes()).expect("passphrase")], ..Keyring::default() };
        for new in listing(&self.vault()).difference(before) {
            let name = new.to_string_lossy();
            assert!(
                // The last is how the journal's end gets its name; the next record takes it over.
                name.ends_with(".akb") || name.ends_with(".akb.sha256") || name == "vault.json" || name == "journal.head.new",
                "round {round} left '{name}' in the vault"
            );
            if name.ends_with(".akb") {
                let request = VerifyRequest { level: Some(Level::Content), ..VerifyRequest::default() };
                let verification = Verification::run(&self.vault().join(new), &request, &ring, &Environment::system()).expect("verify");
                assert!(verification.is_sound(), "round {round}: {:?}", verification.findings);
            }
        }
        for folder in ["scratch", "tmp", "home"] {
            assert_eq!(listing(&self.tree.join(folder)), BTreeSet::new(), "round {round} left something in {folder}");
        }
    }

    /// A kill leaves nothing under a final name, or the whole database.
    fn assert_target_is_sound(&self, round: u64) {
        for name in listing(&self.target()) {
            if name == Path::new("main.db") {
                let differing = differences(&self.outside.path().join("wal"), &self.target().join("main.db"));
                assert!(differing.iter().all(|offset| (18..=19).contains(offset)), "round {round}: {differing:?}");
            } else {
                assert_eq!(name, Path::new("manifest.json"), "round {round}");
            }
        }
    }

    /// Errors about keys quote nothing of them.
    fn try_bad_keys(&mut self) {
        let variants = [
            [self.passphrase.as_bytes(), b"\0"].concat(),
            [self.passphrase.as_bytes(), b"\xff"].concat(),
            self.passphrase.repeat(40).into_bytes(),
            [self.passphrase.as_bytes(), b" wrong"].concat(),
        ];
        let bundle = support::bundles_in(&self.vault()).into_iter().next().expect("bundle");
        let bundle = self.vault().join(bundle).to_string_lossy().into_owned();
        for (number, content) in variants.iter().enumerate() {
            let path = secret_file(&self.outside.path().join(format!("bad{number}")), content);
            for flag in ["--passphrase-file", "--key-file"] {
                for arguments in [["verify", &bundle, "--json"], ["info", &bundle, "--json"], ["verify", &bundle, "--level=3"]] {
                    let mut command = self.command(1, &arguments);
                    command.env_remove("AIRKEEP_PASSPHRASE");
                    let mut bare = hermetic(&self.program.to_string_lossy(), &self.tree.join("home"));
                    let output = bare.args(arguments).arg(flag).arg(&path).output().expect("run");
                    assert!(!output.status.success(), "{flag} {arguments:?}: {}", text_of(&output));
                    self.keep(&output);
                }
            }
        }
    }

    fn assert_canaries_are_nowhere(&mut self) {
        assert!(
            self.is_in_file(&self.outside.path().join("wal")) && self.is_in_file(&self.outside.path().join("pass")),
            "the search works"
        );
        assert!(!self.has_canary(&self.outputs), "a canary in the outputs");
        let seen = fs::read(self.outside.path().join("git-saw")).expect("git was asked");
        assert!(!self.has_canary(&seen), "a canary handed to git");
        for path in listing(&self.tree) {
            assert!(
                !self.has_canary(path.as_os_str().as_encoded_bytes()) && !self.is_in_file(&self.tree.join(&path)),
                "a canary in {path:?}"
            );
        }
        if self.is_mounted {
            self.unmount();
            assert!(!self.is_in_file(&self.outside.path().join("image")), "a canary in the blocks of the file system");
        }
    }

    fn unmount(&mut self) {
        let is_gone = Command::new("umount").arg(&self.tree).status().is_ok_and(|status| status.success());
        self.is_mounted &= !is_gone;
        assert!(is_gone, "umount {:?}", self.tree);
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.is_mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.tree).status();
        }
    }
}

/// Stands in for the one program that airkeep starts, and writes down what it is given.
fn observe_git(folder: &Path) {
    let script = format!("#!/bin/sh\n{{ env; echo \"$@\"; }} >> '{}'\nexit 1\n", folder.join("git-saw").display());
    fs::write(folder.join("git"), script).expect("script");
    fs::set_permissions(folder.join("git"), fs::Permissions::from_mode(0o755)).expect("mode");
}

fn mount(outside: &Path, tree: &Path) -> bool {
    let image = outside.join("image");
    let run = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).arg(&image).stdout(Stdio::null()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    let is_possible = rustix::process::geteuid().is_root() && outside.starts_with("/dev/shm");
    is_possible
        && File::create(&image).and_then(|file| file.set_len(IMAGE_BYTES)).is_ok()
        && run("mkfs.ext4", &["-q", "-F"])
        && Command::new("mount")
            .args(["-o", "loop,sync,nodiscard"])
            .arg(&image)
            .arg(tree)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
}

/// Horspool's search: as far on as the byte behind the window allows.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let (last, mut skip) = (needle.len() - 1, [needle.len(); 256]);
    needle[..last].iter().enumerate().for_each(|(place, byte)| skip[usize::from(*byte)] = last - place);
    let mut at = 0;
    while at + needle.len() <= bytes.len() {
        let end = bytes[at + last];
        if end == needle[last] && bytes[at..].starts_with(needle) {
            return true;
        }
        at += skip[usize::from(end)];
    }
    false
}

#[test]
fn canaries_are_found_nowhere_after_kills_at_random_moments() {
    let mut dice = Dice::new("kills");
    let mut stage = Stage::build(&mut dice);
    stage.make_databases();
    let backup_takes = stage.complete(stage.backup(0));
    let (first, others) = (support::bundles_in(&stage.vault()), stage.complete(stage.backup(1)).max(backup_takes));
    let bundle = support::bundles_in(&stage.vault()).difference(&first).next().map(|name| stage.vault().join(name)).expect("bundle");
    let verify_takes = stage.complete(stage.verify(0, &bundle));
    let restore_takes = stage.complete(stage.restore(1, &bundle));
    stage.assert_target_is_sound(0);
    assert_eq!(listing(&stage.target()).len(), 2);
    let kept = listing(&stage.vault());
    for round in 0..if is_proving() { 200 } else { 20 } {
        fs::remove_dir_all(stage.target()).or_else(|error| if stage.target().exists() { Err(error) } else { Ok(()) }).expect("tidy");
        let way = dice.below(1000);
        let (command, takes) = match round % 5 {
            0..=2 => (stage.backup(way), others),
            3 => (stage.restore(way, &bundle), restore_takes),
            _ => (stage.verify(way, &bundle), verify_takes),
        };
        let pause = Duration::from_micros(dice.below(takes.as_micros() as u64 * 11 / 10));
        stage.kill_after(command, pause);
        stage.assert_vault_is_sound(&kept, round);
        stage.assert_target_is_sound(round);
        listing(&stage.vault()).difference(&kept).for_each(|new| fs::remove_file(stage.vault().join(new)).expect("tidy"));
    }
    stage.complete(stage.backup(2));
    stage.try_bad_keys();
    stage.assert_canaries_are_nowhere();
}
