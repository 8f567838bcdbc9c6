//! `airkeep demo`: it shows every step, checks itself, is not swayed by its surroundings, and leaves nothing behind.

mod cli;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;

use cli::{Home, Run, assert_harmless, finish};
use rustix::process::{Pid, Signal, kill_process};

/// What stands in the output, in this order.
const STEPS: [&str; 11] = [
    "airkeep key new demo.key",
    "airkeep backup app.db --key-file demo.key",
    "airkeep verify airkeep-vault --level 0",
    "airkeep restore airkeep-vault/",
    "--in-place --online --force",
    "airkeep gap show",
    "who  ",
    "airkeep gap export airkeep-vault/",
    "{\"table\":\"audit_trail\",\"what\":\"lost\"",
    "airkeep audit verify",
    "airkeep verify flipped.akb --level 0",
];

/// The folders of demos in a home.
fn folders(home: &Home) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(home.path("")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("airkeep-demo-")).collect()
}

/// Insists that all was shown, and that every row is accounted for.
fn assert_shown(run: &Run) {
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_harmless(&run.stdout);
    let mut rest = run.stdout.as_str();
    for step in STEPS {
        let place = rest.find(step).unwrap_or_else(|| panic!("'{step}' is missing, or out of order, in: {}", run.stdout));
        rest = &rest[place..];
    }
    let last = run.stdout.lines().rfind(|line| line.contains(" unaccounted")).unwrap();
    assert!(last.ends_with(", 0 unaccounted"), "{last}");
    let numbers: Vec<u64> = last.split(", ").map(|part| part.split(' ').next().unwrap().replace(',', "").parse().unwrap()).collect();
    assert!(numbers[0] == numbers[1] + numbers[2] && numbers[2] >= 100, "{last}");
}

#[test]
fn it_shows_every_step_and_leaves_nothing_behind() {
    let home = Home::new();
    assert_shown(&home.run(["demo"]));
    assert!(home.tree().is_empty(), "{:?}", home.tree().keys());
    assert!(!home.path("state").exists() && !home.path("config").exists());
    assert_shown(&home.run(["--quiet", "demo"]));
}

#[test]
fn what_is_kept_is_private_and_can_be_verified() {
    let home = Home::new();
    let run = home.run(["demo", "--keep"]);
    assert_shown(&run);
    let [folder] = &folders(&home)[..] else { panic!("not exactly one folder") };
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    assert!(run.stdout.contains(folder.to_str().unwrap()), "{}", run.stdout);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let verified = home.succeeds(&["verify", &path("airkeep-vault"), "--key-file", &path("demo.key")]);
    assert_eq!(verified.matches("ok       L4").count(), 2, "{verified}");
    home.succeeds(&["audit", "verify", "--vault", &path("airkeep-vault")]);
    let listed = home.succeeds(&["gap", "list", "--vault", &path("airkeep-vault")]);
    assert!(listed.contains("1 restore in place, 0 of them took no row away"), "{listed}");
}

#[test]
fn the_surroundings_of_the_caller_change_nothing() {
    let home = Home::new();
    home.write("no-vault", "", 0o600);
    let mut command = home.airkeep(["demo"]);
    command
        .env("AIRKEEP_VAULT", home.path("no-vault"))
        .env("AIRKEEP_PASSPHRASE", "short")
        .env("AIRKEEP_HOOK", "false {event}")
        .env("AIRKEEP_OPERATOR", "somebody else")
        .env("CREDENTIALS_DIRECTORY", home.path("nowhere"));
    let run = finish(&mut command);
    assert_shown(&run);
    assert!(!run.stdout.contains("somebody else") && !run.stdout.contains("hook"), "{}", run.stdout);
    assert_eq!(home.tree().len(), 1, "{:?}", home.tree().keys());
}

#[test]
fn pauses_wait_for_enter_and_end_with_the_input() {
    let home = Home::new();
    let mut command = home.airkeep(["demo", "--pause"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Two at once: what was read ahead is not lost.
    child.stdin.take().unwrap().write_all(b"\n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = String::from_utf8(output.stderr).unwrap();
    assert!(asked.starts_with("[Enter][Enter][Enter]\n[Enter]\n"), "{asked}");
    assert_eq!(home.run(["demo", "--pause", "--json"]).code, 2, "nobody looks on who could press a key");
}

#[test]
fn a_signal_ends_it_and_takes_the_folder_away() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let home = Home::new();
        let mut command = home.airkeep(["demo", "--pause"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let shown = cli::read_until(child.stderr.as_mut().unwrap(), "[Enter]");
        assert!(shown.ends_with("[Enter]"), "{shown}");
        assert_eq!(folders(&home).len(), 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(folders(&home).is_empty(), "left behind: {:?}", folders(&home));
    }
}

#[test]
fn a_step_that_fails_ends_it_with_an_error_and_without_a_folder() {
    let home = Home::new();
    let mut command = home.airkeep(["demo"]);
    command.env("TMPDIR", home.path("nowhere"));
    let run = finish(&mut command);
    assert_eq!(run.code, 10, "{}", run.stderr);
    cli::assert_clear_error(&run.stderr);
    assert!(home.tree().is_empty());
}
