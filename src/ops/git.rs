//! The git work tree that holds a source: commit, branch, dirty.
//!
//! Asked of the `git` program with everything switched off by which a repository could run code of its own or write anything. No git, no
//! repository, an owner that git distrusts: then nothing is recorded.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::bundle::Git;

/// Describes the work tree that holds `folder`.
pub fn describe(folder: &Path) -> Option<Git> {
    let commit = ask(folder, &["rev-parse", "--verify", "HEAD"])?;
    let branch = ask(folder, &["symbolic-ref", "--short", "--quiet", "HEAD"]);
    let dirty = !ask(folder, &["status", "--porcelain", "--untracked-files=no", "--ignore-submodules"])?.is_empty();
    Some(Git { commit, branch, dirty })
}

fn ask(folder: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(["--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("AIRKEEP_PASSPHRASE")
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
