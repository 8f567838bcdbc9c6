//! The git work tree that holds a source: commit, branch, dirty.
//!
//! Asked of the `git` program, which must not run anything that the repository's configuration names: hooks and the file system monitor are
//! switched off, and where a content filter is configured nobody asks whether the tree is dirty, since that would run it. No git, no
//! repository, an owner that git distrusts, no answer in time: then nothing is recorded.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::bundle::Git;

const PATIENCE: Duration = Duration::from_secs(5);

/// Describes the work tree that holds `folder`.
pub fn describe(folder: &Path) -> Option<Git> {
    let commit = ask(folder, &["rev-parse", "--verify", "HEAD"])?;
    let branch = ask(folder, &["symbolic-ref", "--short", "--quiet", "HEAD"]);
    let settings = ask(folder, &["config", "--list", "--name-only"])?;
    let has_filter = settings.lines().any(|name| name.to_ascii_lowercase().starts_with("filter."));
    let status = ["status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all"];
    let dirty = if has_filter { None } else { ask(folder, &status).map(|changes| !changes.is_empty()) };
    Some(Git { commit, branch, dirty })
}

fn ask(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut child = Command::new("git")
        .args(["--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .env_clear()
        .envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
        // A partial clone would fetch what it lacks, by a program that its configuration names (core.sshCommand and others).
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_ALLOW_PROTOCOL", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    // Read on a thread of its own: a long answer would fill the pipe, and git would wait for us as we for it.
    let mut stdout = child.stdout.take()?;
    let reader = std::thread::spawn(move || {
        let mut answer = Vec::new();
        std::io::Read::read_to_end(&mut stdout, &mut answer).map(|_| answer)
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if begun.elapsed() > PATIENCE => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let answer = reader.join().ok()?.ok()?;
    status.success().then(|| String::from_utf8_lossy(&answer).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, arguments: &[&str]) -> bool {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        Command::new("git").arg("-C").arg(folder).args(identity).args(arguments).output().is_ok_and(|output| output.status.success())
    }

    #[test]
    fn tells_commit_branch_and_changes_and_runs_no_filter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        if !git(path, &["init", "-q", "-b", "trunk"]) {
            eprintln!("skipped: git is not on this machine");
            return;
        }
        std::fs::write(path.join("a.txt"), "a").unwrap();
        assert!(describe(path).is_none(), "there is no commit yet");
        assert!(git(path, &["add", "."]) && git(path, &["commit", "-qm", "a"]));
        let clean = describe(path).unwrap();
        assert_eq!((clean.branch.as_deref(), clean.dirty, clean.commit.len()), (Some("trunk"), Some(false), 40));
        std::fs::write(path.join("a.txt"), "b").unwrap();
        assert_eq!(describe(path).unwrap().dirty, Some(true));
        let mark = path.join("PWNED");
        assert!(git(path, &["config", "filter.x.clean", &format!("touch '{}'; cat", mark.display())]));
        std::fs::write(path.join(".gitattributes"), "*.txt filter=x\n").unwrap();
        assert_eq!(describe(path).unwrap().dirty, None);
        assert!(!mark.exists(), "the repository's filter was run");
    }
}
