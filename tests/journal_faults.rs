//! Kills and races: whatever happens to a run, the journal has no fault, and the next run goes on.

mod cli;

use std::path::Path;
use std::process::{Command, Stdio};

use cli::{Home, has};

const CALLS: [&str; 10] = ["openat", "write", "pwrite64", "fsync", "fdatasync", "linkat", "renameat", "unlinkat", "ftruncate", "mkdir"];
const BACKUP: [&str; 4] = ["backup", "app.db", "--key-file", "key"];

fn site(is_signed: bool) -> Home {
    let home = Home::new();
    home.database("app.db");
    home.key("key");
    if is_signed {
        home.succeeds(&["init", "--name", "plant"]);
        home.succeeds(&BACKUP);
    }
    home
}

/// Puts the home back as it was: only what a vault and its keys are.
fn put_back(home: &Home, kept: &Path) {
    for name in ["airkeep-vault", "config"] {
        let _ = std::fs::remove_dir_all(home.path(name));
    }
    let status = Command::new("cp").arg("-a").arg(format!("{}/.", kept.display())).arg(home.path("")).status().unwrap();
    assert!(status.success());
}

/// Kills a command at every n-th state-changing call; then insists that the audit finds nothing, that the same command goes through or says that
/// there is nothing left to do, and that a backup and an audit succeed.
fn sweep(is_signed: bool, arguments: &[&str], already_done: &str) {
    if !has("strace") {
        return eprintln!("skipped: strace is not installed");
    }
    let home = site(is_signed);
    let kept = tempfile::tempdir().unwrap();
    assert!(Command::new("cp").arg("-a").arg(format!("{}/.", home.path("").display())).arg(kept.path()).status().unwrap().success());
    let mut kills = 0;
    for call in CALLS {
        for number in 1.. {
            let mut strace = home.program("strace");
            strace.args([
                "-f",
                "-o",
                "/dev/null",
                "-e",
                &format!("inject={call}:signal=KILL:when={number}"),
                env!("CARGO_BIN_EXE_airkeep"),
            ]);
            let output = strace.args(arguments).stdout(Stdio::null()).output().unwrap();
            let is_over = output.status.success();
            kills += usize::from(!is_over);
            let place = format!("{call} {number}");
            if home.path("airkeep-vault/journal.jsonl").exists() {
                let audit = home.run(["audit", "verify"]);
                assert_eq!(audit.code, 0, "{place}: {}{}", audit.stdout, audit.stderr);
            }
            let again = home.run(arguments);
            assert!(again.code == 0 || again.stderr.contains(already_done), "{place}: {}", again.stderr);
            let backup = home.run(BACKUP);
            assert_eq!(backup.code, 0, "{place}: {}", backup.stderr);
            let audit = home.run(["audit", "verify"]);
            assert_eq!(audit.code, 0, "{place}: {}{}", audit.stdout, audit.stderr);
            put_back(&home, kept.path());
            if is_over {
                break;
            }
        }
    }
    assert!(kills > 8, "{kills} kills");
}

#[test]
fn a_kill_at_any_call_of_init_leaves_no_doubt() {
    sweep(false, &["init", "--name", "plant"], "is a vault already");
}

#[test]
fn a_kill_at_any_call_of_a_signer_rotation_leaves_no_doubt() {
    sweep(true, &["signer", "rotate"], "nothing");
}

#[test]
fn a_kill_at_any_call_of_a_verification_leaves_no_doubt() {
    sweep(true, &["verify", "airkeep-vault", "--level", "0"], "nothing");
}

#[test]
fn many_at_once_write_one_chain() {
    let home = site(true);
    let mut children: Vec<_> = (0..20)
        .map(|_| home.airkeep(["verify", "airkeep-vault", "--level", "0"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .collect();
    let backup = home.run(BACKUP);
    assert_eq!(backup.code, 0, "{}", backup.stderr);
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let audit = home.json(&["audit", "verify", "--json"]);
    let records = audit["records"].as_u64().unwrap();
    // The backup's bundle may have been there for some of them.
    assert!((3 + 20..=3 + 40).contains(&records), "{audit}");
}
