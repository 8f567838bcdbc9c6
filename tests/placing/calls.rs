//! The calls of an installation that change files, as `strace` tells, and the child whose calls they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use airkeep::database::{InstallOptions, Installation, Others, Way};
use rusqlite::Connection;

use super::{Filler, image_of, ready, refusing, say, wait_for_end};

/// All that can change a file or make a change durable.
const CALLS: &str = "openat,link,linkat,rename,renameat,renameat2,unlink,unlinkat,ftruncate,fsync,fdatasync,write,pwrite64,fchmod,fchown,\
                     fallocate,fsetxattr";

/// A call of some thread: the n-th of its name there.
#[derive(Debug, Clone)]
pub struct Call {
    pub name: String,
    pub number: usize,
    pub text: String,
}

impl Call {
    /// Makes `strace` send a signal there. A fatal one comes before the call is made, any other after it.
    pub fn inject(&self, signal: &str) -> [String; 4] {
        let injection = format!("inject={}:signal={signal}:when={}", self.name, self.number);
        ["-e".to_owned(), format!("trace={}", self.name), "-e".to_owned(), injection]
    }
}

/// Options of `strace` that trace all [`changes`].
pub fn trace_all() -> [String; 2] {
    ["-e".to_owned(), format!("trace={CALLS}")]
}

/// The child under `strace`.
pub fn strace(log: &Path, options: &[String], role: &str, target: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-y", "-s", "0", "-o"]).arg(log).args(options);
    as_role(&mut command, role, target);
    command
}

/// The child as it is.
pub fn child(role: &str, target: &Path) -> Command {
    let mut command = Command::new("env");
    as_role(&mut command, role, target);
    command
}

fn as_role(command: &mut Command, role: &str, target: &Path) {
    command.arg(std::env::current_exe().expect("exe"));
    command.args(["plays_a_role_for_another_test", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("AIRKEEP_TEST_ROLE", role).env("AIRKEEP_TEST_PATH", target);
}

/// The calls in a log that change something in a folder.
pub fn changes(log: &Path, folder: &Path) -> Vec<Call> {
    let folder = folder.to_string_lossy().into_owned();
    let (mut counts, mut calls) = (BTreeMap::new(), Vec::new());
    for line in std::fs::read_to_string(log).expect("log").lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let Some((name, text)) = rest.trim_start().split_once('(') else { continue };
        if name.contains(' ') || name.starts_with('<') {
            continue;
        }
        let number = counts.entry((thread.to_owned(), name.to_owned())).and_modify(|count| *count += 1).or_insert(1_usize);
        let is_change = name != "openat" || text.contains("O_CREAT") || text.contains("O_TMPFILE");
        if is_change && text.contains(&folder) {
            calls.push(Call { name: name.to_owned(), number: *number, text: text.to_owned() });
        }
    }
    calls
}

/// What the child does: installs once, and says when it begins and when the new content is said to be there.
pub fn play() {
    let Some(path) = std::env::var_os("AIRKEEP_TEST_PATH").map(PathBuf::from) else { return };
    let image = image_of(&path.parent().and_then(Path::parent).expect("folder").join("source.db"));
    let is_online = std::env::var("AIRKEEP_TEST_ROLE").is_ok_and(|role| role == "online");
    let other = is_online.then(|| Connection::open(&path).expect("open"));
    if let Some(other) = &other {
        other.execute_batch("SELECT count(*) FROM t").expect("connected");
    }
    let options = InstallOptions { others: if is_online { Others::Keep } else { Others::Refuse }, ..refusing() };
    ready();
    let installation = Installation::lock(&path, &image, &options, &mut Filler).expect("lock");
    assert_eq!(installation.way() == Way::Online, is_online);
    let installed = installation.install(&options, &mut Filler).expect("install");
    say("installed");
    // Whoever holds the other end of the input keeps it at this moment.
    wait_for_end();
    installed.release().expect("release");
    say("released");
}
