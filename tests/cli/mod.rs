//! What the tests of the command line share: a home of their own, runs of the real program, and what every refusal must look like.
//!
//! Each run has an empty environment, HOME and TMPDIR in a temporary folder that is also its working folder, no standard input, and no
//! controlling terminal: it goes through the `setsid` program (util-linux), which makes a new session and then becomes the program.
//! Where there is no `setsid` (macOS) the program runs directly, and a terminal of the developer would be seen.

#![allow(dead_code, reason = "every test file uses a part of it")]

pub mod pty;
pub mod surgery;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

/// The program under test.
pub const AIRKEEP: &str = env!("CARGO_BIN_EXE_airkeep");
/// A passphrase long enough to seal with.
pub const PASSPHRASE: &str = "correct horse battery staple";
/// Enough for anything that does not hang.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A temporary folder that is HOME, TMPDIR and working folder of the runs in it.
pub struct Home(tempfile::TempDir);

impl Home {
    /// An empty home.
    pub fn new() -> Home {
        Home(tempfile::tempdir().unwrap())
    }

    /// A home with a key file `key`, a database `app.db`, and the bundle of it (in `airkeep-vault`, also as `app.akb`).
    pub fn with_bundle() -> Home {
        let home = Home::new();
        home.database("app.db");
        home.key("key");
        home.seal(&["app.db", "--key-file", "key"]);
        home
    }

    /// Backs up, and copies the new bundle to `app.akb`.
    pub fn seal(&self, arguments: &[&str]) {
        let report = self.json(&[&["backup", "--json"], arguments].concat());
        fs::copy(self.path(report["bundle"]["path"].as_str().unwrap()), self.path("app.akb")).unwrap();
    }

    /// A path in the home.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with a mode.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>, mode: u32) {
        fs::write(self.path(name), content).unwrap();
        self.chmod(name, mode);
    }

    /// The content of a file.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    /// Sets a mode.
    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A private folder.
    pub fn folder(&self, name: &str) {
        fs::create_dir(self.path(name)).unwrap();
        self.chmod(name, 0o700);
    }

    /// A small database in rollback mode: tables `account` (indexed, 1000 rows) and `note`.
    pub fn database(&self, name: impl AsRef<Path>) -> Connection {
        let connection = Connection::open(self.path(name)).unwrap();
        connection
            .execute_batch(
                "CREATE TABLE account(id INTEGER PRIMARY KEY, name TEXT); CREATE INDEX account_name ON account(name); CREATE TABLE note(text);
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<1000) INSERT INTO account SELECT i, 'name ' || i FROM n;",
            )
            .unwrap();
        connection
    }

    /// A key file with 32 bytes that only the owner can read; its bytes follow from its name.
    pub fn key(&self, name: &str) {
        let bytes: Vec<u8> = name.bytes().cycle().take(32).collect();
        self.write(name, bytes, 0o600);
    }

    /// The program with these arguments, ready to run.
    pub fn airkeep<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.program(if has("setsid") { "setsid" } else { AIRKEEP });
        if has("setsid") {
            command.arg(AIRKEEP);
        }
        command.args(arguments);
        command
    }

    /// Another program, in the same surroundings.
    pub fn program(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command
            .env_clear()
            .env("HOME", self.path(""))
            .env("TMPDIR", self.path(""))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        command.current_dir(self.path("")).stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        finish(&mut self.airkeep(arguments))
    }

    /// Runs the program, insists on success, and gives what it printed.
    pub fn succeeds(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        run.stdout
    }

    /// Runs the program with `--json` among the arguments, insists on success, and gives the object.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let object: Value = serde_json::from_str(&self.succeeds(arguments)).expect("exactly one JSON object");
        assert_eq!(object["ok"], true);
        object
    }

    /// Insists on a clean refusal, without and with `--json`: this exit code, one clear error with these words in it, and every file as it was.
    pub fn refuses(&self, code: i32, words: &str, arguments: &[&str]) {
        self.refuses_run(code, words, |json| {
            let mut command = self.airkeep(arguments);
            command.args(json);
            command
        });
    }

    /// Like [`Home::refuses`] for a command line made by the caller, who has to append the given arguments.
    pub fn refuses_run(&self, code: i32, words: &str, mut command: impl FnMut(&[&str]) -> Command) {
        let before = self.tree();
        let plain = finish(&mut command(&[]));
        assert_eq!(plain.code, code, "exit code; {}{}", plain.stderr, plain.stdout);
        assert_eq!(plain.stdout, "", "nothing on standard output");
        assert_clear_error(&plain.stderr);
        assert!(plain.stderr.contains(words), "'{words}' is missing in: {}", plain.stderr);
        let json = finish(&mut command(&["--json"]));
        assert_eq!((json.code, &json.stderr.is_empty()), (code, &false), "{}", json.stderr);
        let object: Value = serde_json::from_str(&json.stdout).expect("exactly one JSON object");
        assert_eq!((&object["ok"], &object["error"]["code"]), (&false.into(), &code.into()), "{object:#}");
        assert_same_tree(&before, &self.tree());
    }

    /// Everything in the home.
    pub fn tree(&self) -> Tree {
        let mut tree = Tree::new();
        list(self.0.path(), &mut tree);
        tree
    }

    /// The bundles in the default vault, oldest first.
    pub fn bundles(&self) -> Vec<String> {
        let tree = self.tree();
        let files = tree.keys().map(|path| path.strip_prefix(self.0.path()).unwrap().to_str().unwrap());
        files.filter(|name| name.starts_with("airkeep-vault/") && name.ends_with(".akb")).map(str::to_owned).collect()
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end; one that does not end is a failure.
pub fn finish(command: &mut Command) -> Run {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&child);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    let Ok(output) = receiver.recv_timeout(PATIENCE) else {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        panic!("{command:?} hangs");
    };
    let Output { status, stdout, stderr } = output.unwrap();
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: status.code().unwrap_or_else(|| panic!("{command:?} was killed: {status}")), stdout: text(stdout), stderr: text(stderr) }
}

/// Insists that standard error is `airkeep: error: …`, then `caused by: …` and `hint: …` lines, in words for people.
pub fn assert_clear_error(stderr: &str) {
    let lines: Vec<&str> = stderr.lines().skip_while(|line| line.starts_with("airkeep: warning: ")).collect();
    let (first, rest) = lines.split_first().expect("an error on standard error");
    assert!(first.starts_with("airkeep: error: ") && stderr.ends_with('\n'), "not an error line: {stderr}");
    let is_order_right = rest.is_sorted_by_key(|line| line.starts_with("hint: "));
    assert!(
        rest.iter().all(|line| line.starts_with("caused by: ") || line.starts_with("hint: ")) && is_order_right,
        "stray lines: {stderr}"
    );
    for debug in ["Some(", "None", "Ok(", "Err(", "Error {", "kind:", "code:", "\\\"", "PathBuf", "panicked", "unwrap"] {
        assert!(!stderr.contains(debug), "Debug output ('{debug}'): {stderr}");
    }
    assert_harmless(stderr);
}

/// Insists that nothing can move a terminal's cursor or reorder its text.
pub fn assert_harmless(text: &str) {
    let is_harmful = |c: char| {
        c != '\n'
            && (c.is_control() || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
    };
    if let Some(harmful) = text.chars().find(|&c| is_harmful(c)) {
        panic!("{} reaches the terminal: {}", harmful.escape_unicode(), text.escape_debug());
    }
}

/// Path → mode and content (the target of a link, nothing for a folder, pipe or device).
pub type Tree = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn list(folder: &Path, tree: &mut Tree) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        // The journals remember failures, too; tests/journal.rs looks at what they say.
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        if name == "state" || name.starts_with("journal.") {
            continue;
        }
        let metadata = path.symlink_metadata().unwrap();
        let content = match metadata.file_type() {
            kind if kind.is_file() => fs::read(&path).unwrap_or_default(),
            kind if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        tree.insert(path.clone(), (metadata.permissions().mode(), content));
        if metadata.is_dir() {
            list(&path, tree);
        }
    }
}

/// Insists that no file was made, changed or removed; says which one was.
pub fn assert_same_tree(before: &Tree, after: &Tree) {
    for (path, (mode, content)) in after {
        match before.get(path) {
            None => panic!("left behind: {} ({} bytes)", path.display(), content.len()),
            Some((old_mode, old)) => assert!((old_mode, old) == (mode, content), "changed: {}", path.display()),
        }
    }
    let missing: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    assert!(missing.is_empty(), "removed: {missing:?}");
}

/// Compares with a file under `tests/golden-cli/`; `UPDATE_GOLDEN=1 cargo test` writes it anew, for a person to look at in the diff.
pub fn assert_golden(name: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-cli").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == actual, "{name} says:\n{golden}\nthe program says (UPDATE_GOLDEN=1 takes it over):\n{actual}");
}

/// Whether a program can be found.
pub fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Reads until the text ends with `end`, or until the stream does.
pub fn read_until(stream: &mut impl Read, end: &str) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(end.as_bytes()) && matches!(stream.read(&mut byte), Ok(1)) {
        text.push(byte[0]);
    }
    String::from_utf8_lossy(&text).into_owned()
}
