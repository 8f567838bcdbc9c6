//! A terminal session: prompts, a mismatch, a proposed passphrase, progress, Ctrl-C and signals; and the same piped, where not one byte of it may be.

mod cli;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use cli::pty::Session;
use cli::{Home, PASSPHRASE, assert_same_tree, finish, read_until};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};

/// A home with a key and a database that takes seconds to seal; `journal` as SQLite calls it.
fn home_with_much_data() -> Home {
    let home = Home::new();
    home.key("key");
    let connection = Connection::open(home.path("app.db")).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; CREATE TABLE t(x);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<96) INSERT INTO t SELECT randomblob(1000000) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE)",
        )
        .unwrap();
    connection.close().unwrap();
    home
}

const SLOW: [&str; 6] = ["backup", "app.db", "--compression", "gzip:9", "--key-file", "key"];

fn set(command: &mut Command, variable: &str, value: &str) {
    command.env(variable, value);
}

/// A child with both streams piped, that is told with `-v` how far it is.
fn piped(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Exit code and what was printed; one that hangs is killed, and has no exit code then.
fn ended(mut child: Child) -> (Option<i32>, String, String) {
    let pid = Pid::from_child(&child);
    let (_running, has_ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if has_ended.recv_timeout(cli::PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    child.stdout.take().map(|mut stream| stream.read_to_string(&mut stdout).unwrap());
    (child.wait().unwrap().code(), stdout, stderr)
}

/// What a terminal shows in the end: what was drawn over is gone.
fn left_on(screen: &str) -> Vec<String> {
    let visible = |line: &str| {
        let mut shown = String::new();
        for part in line.trim_end_matches('\r').split('\r') {
            let part = part.split("\u{1b}[2K").last().unwrap_or_default();
            if part.len() >= shown.len() || line.contains("\u{1b}[2K") {
                part.clone_into(&mut shown);
            }
        }
        shown.trim_end().to_owned()
    };
    screen.split('\n').map(visible).filter(|line| !line.is_empty()).collect()
}

#[test]
fn long_work_shows_progress_and_leaves_only_the_results() {
    let home = home_with_much_data();
    let Some(mut session) = Session::start(&home, &SLOW, |_| {}) else { return };
    let drawn = session.wait_for(" s left");
    assert!(drawn.contains("sealing app [") && drawn.contains(" of 9") && drawn.contains(" MiB/s, "), "{}", drawn.escape_debug());
    let (code, screen) = session.end();
    assert_eq!(code, 0, "{screen}");
    let left = left_on(&screen);
    let first_words: Vec<&str> = left.iter().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(first_words[..3], ["made", "captured", "sealed"], "{left:?}");
    assert_eq!((first_words.len(), first_words[4]), (5, "verified"), "{left:?}");
}

#[test]
fn short_work_shows_none_and_json_may_show_it_beside() {
    let home = Home::with_bundle();
    let Some(session) = Session::start(&home, &["verify", "app.akb", "--key-file", "key"], |_| {}) else { return };
    let (code, screen) = session.end();
    assert_eq!((code, screen.contains('\u{1b}')), (0, false), "{}", screen.escape_debug());
}

#[test]
fn quiet_dumb_and_piped_show_no_progress_and_no_escape() {
    let home = home_with_much_data();
    let quiet = [&SLOW[..], &["-q"]].concat();
    let Some(session) = Session::start(&home, &quiet, |_| {}) else { return };
    assert_eq!(session.end(), (0, String::new()), "--quiet says nothing on success");
    let Some(session) = Session::start(&home, &SLOW, |command| set(command, "TERM", "dumb")) else { return };
    let (code, screen) = session.end();
    assert_eq!((code, screen.contains('\u{1b}'), screen.contains('%')), (0, false, false), "{}", screen.escape_debug());
    let run = finish(home.airkeep(SLOW).env("TERM", "xterm"));
    assert_eq!((run.code, run.stderr.as_str(), run.stdout.contains(['\u{1b}', '\r'])), (0, "", false), "{}", run.stdout);
    let verbose = home.run([&SLOW[..], &["--verbose"]].concat());
    assert!(!verbose.stderr.contains(['\u{1b}', '\r']), "{}", verbose.stderr.escape_debug());
    for step in ["opened vault", "captured app: ", "sealed ", "synced", "read back and verified, L3", "published as "] {
        assert!(verbose.stderr.lines().any(|line| line.starts_with("airkeep: ") && line.contains(step)), "{step}: {}", verbose.stderr);
    }
}

#[test]
fn steps_and_bar_do_not_garble_each_other() {
    let home = home_with_much_data();
    let Some(session) = Session::start(&home, &[&SLOW[..], &["-v"]].concat(), |_| {}) else { return };
    let (code, screen) = session.end();
    let left = left_on(&screen);
    assert_eq!(code, 0, "{left:?}");
    assert!(left.iter().all(|line| !line.contains(" left") && !line.contains('[')), "{left:?}");
    assert_eq!(left.iter().filter(|line| line.starts_with("airkeep: ")).count(), 6, "{left:?}");
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing_and_a_sane_terminal() {
    let home = home_with_much_data();
    let before = home.tree();
    let Some(mut session) = Session::start(&home, &SLOW, |_| {}) else { return };
    session.wait_for(" s left");
    session.type_text("\u{3}");
    let (code, screen) = session.end();
    let last = left_on(&screen).pop().unwrap();
    assert_eq!((code, last.trim_start_matches("^C")), (130, "airkeep: interrupted, nothing was written"), "{}", screen.escape_debug());
    assert_same_tree(&before, &home.tree());
}

#[test]
fn each_signal_in_each_phase_leaves_nothing() {
    let home = home_with_much_data();
    let before = home.tree();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for step in ["opened vault", "captured app", "synced"] {
            let mut child = piped(home.airkeep([&SLOW[..], &["-v"]].concat()));
            read_until(child.stderr.as_mut().unwrap(), step);
            send(&child, signal);
            let begun = std::time::Instant::now();
            let (ended_with, stdout, stderr) = ended(child);
            let last = stderr.lines().last().unwrap();
            assert_eq!(
                (ended_with, stdout.as_str(), last),
                (Some(code), "", "airkeep: interrupted, nothing was written"),
                "{step}: {stderr}"
            );
            assert!(begun.elapsed().as_secs() < 10, "{step}: it took {:?} to stop", begun.elapsed());
            assert_same_tree(&before, &home.tree());
        }
    }
}

#[test]
fn an_interrupted_change_of_keys_says_how_far_it_came_and_is_finished_by_another() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.key("key");
    home.write("new", PASSPHRASE, 0o600);
    (0..8).for_each(|_| home.seal(&["app.db", "--key-file", "key", "--no-verify"]));
    let rotate = ["key", "rotate", "airkeep-vault", "--key-file", "key", "--new-passphrase-file", "new"];
    let mut child = piped(home.airkeep([&rotate[..], &["-v"]].concat()));
    read_until(child.stderr.as_mut().unwrap(), "changed the keys of ");
    send(&child, Signal::INT);
    let (code, stdout, stderr) = ended(child);
    // A passphrase takes a tenth of a second for each of the others: the signal is there before the last.
    assert!(code == Some(130) && stderr.contains("airkeep: interrupted after ") && stderr.contains("of 8 bundles"), "{code:?} {stderr}");
    assert!(stdout.starts_with("changed "), "what was done is listed: {stdout}");
    assert!(!home.tree().keys().any(|path| path.to_string_lossy().ends_with(".partial")));
    home.succeeds(&rotate);
    home.succeeds(&["verify", "airkeep-vault", "--passphrase-file", "new", "--level", "2"]);
}

#[test]
fn an_interrupted_run_gives_its_json_object() {
    let home = home_with_much_data();
    let mut child = piped(home.airkeep([&SLOW[..], &["-v", "--json"]].concat()));
    read_until(child.stderr.as_mut().unwrap(), "opened vault");
    send(&child, Signal::TERM);
    let (code, stdout, _) = ended(child);
    let object: serde_json::Value = serde_json::from_str(&stdout).expect("exactly one JSON object");
    assert_eq!((code, &object["error"]["code"], &object["error"]["name"]), (Some(143), &143.into(), &"terminated".into()));
}

#[test]
fn who_waits_for_a_lock_hears_a_signal() {
    let home = home_with_much_data();
    let locked = Connection::open(home.path("app.db")).unwrap();
    locked.execute_batch("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE; INSERT INTO t VALUES (1)").unwrap();
    let mut child = piped(home.airkeep([&SLOW[..], &["-v", "--busy-timeout", "600"]].concat()));
    read_until(child.stderr.as_mut().unwrap(), "opened vault");
    send(&child, Signal::TERM);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(143), "{stderr}");
    assert!(!home.path("airkeep-vault").exists());
}

#[test]
fn signals_that_were_ignored_from_the_start_stay_ignored() {
    if !std::path::Path::new("/proc/self/status").exists() {
        return eprintln!("skipped: only Linux tells what was ignored");
    }
    let home = home_with_much_data();
    let mut command = home.program("sh");
    command.args(["-c", "trap '' HUP INT; exec \"$@\"", "sh", cli::AIRKEEP]).args(SLOW).arg("-v");
    let mut child = piped(command);
    read_until(child.stderr.as_mut().unwrap(), "captured app");
    send(&child, Signal::HUP);
    send(&child, Signal::INT);
    let (code, stdout, stderr) = ended(child);
    assert_eq!((code, stdout.contains("verified  L3")), (Some(0), true), "{stderr}");
}

#[test]
fn a_report_that_nobody_reads_does_not_hold_up_ctrl_c() {
    let home = Home::with_bundle();
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&theirs, 4096).unwrap();
    let child = home.airkeep(["completions", "bash"]).stdout(theirs).stderr(Stdio::piped()).spawn().unwrap();
    // Something is there, and more than fits is to come.
    rustix::event::poll(&mut [rustix::event::PollFd::new(&ours, rustix::event::PollFlags::IN)], None).unwrap();
    send(&child, Signal::INT);
    assert_eq!(ended(child).0, Some(130));
}

const FIRST: &str = "Passphrase (at least 14 bytes; empty for a proposal): ";
const SECOND: &str = "The same again: ";
const BACK: &str = "ype it back";

fn small() -> Home {
    let home = Home::new();
    drop(home.database("app.db"));
    home
}

#[test]
fn a_session_with_a_mismatch_and_one_that_fits() {
    let home = small();
    let before = home.tree();
    for (second, code, words) in [("incorrect horse battery staple", 12, "the two passphrases differ"), (PASSPHRASE, 0, "verified  L3")] {
        let Some(mut session) = Session::start(&home, &["backup", "app.db"], |_| {}) else { return };
        session.wait_for(FIRST);
        session.type_secret(PASSPHRASE);
        session.wait_for(SECOND);
        session.type_secret(second);
        let (ended, screen) = session.end();
        assert_eq!((ended, screen.contains(words)), (code, true), "{screen}");
        assert!(!screen.contains(PASSPHRASE) && !screen.contains(second), "a secret is on the screen: {screen}");
        if code != 0 {
            assert_same_tree(&before, &home.tree());
        }
    }
}

/// The proposed passphrase: the one line that is indented.
fn proposed(screen: &str) -> String {
    screen.lines().find_map(|line| line.strip_prefix("    ")).expect("a proposal").trim().to_owned()
}

#[test]
fn a_proposed_passphrase_is_typed_back_and_opens_the_bundle() {
    let home = small();
    let Some(mut session) = Session::start(&home, &["backup", "app.db"], |_| {}) else { return };
    session.wait_for(FIRST);
    session.type_secret("");
    let screen = session.wait_for(BACK);
    let passphrase = proposed(&screen);
    assert!(screen.contains("(148 bits)") && passphrase.len() == 35, "{screen}");
    session.type_secret("something else entirely");
    session.wait_for(BACK);
    session.type_secret(&passphrase);
    let (code, screen) = session.end();
    assert_eq!((code, screen.matches(&passphrase).count()), (0, 1), "{screen}");
    home.write("pass", &passphrase, 0o600);
    home.succeeds(&["verify", "airkeep-vault", "--passphrase-file", "pass", "--level", "3"]);
}

#[test]
fn a_proposed_passphrase_that_is_not_typed_back_seals_nothing() {
    let home = small();
    let before = home.tree();
    let mut proposals = Vec::new();
    for answer in ["", "not what was shown"] {
        let Some(mut session) = Session::start(&home, &["backup", "app.db"], |_| {}) else { return };
        session.wait_for(FIRST);
        session.type_secret("");
        proposals.push(proposed(&session.wait_for(BACK)));
        session.type_secret(answer);
        session.wait_for("back: ");
        session.type_secret(answer);
        session.wait_for("Once more: ");
        session.type_secret(answer);
        let (code, screen) = session.end();
        assert_eq!((code, screen.contains("was not typed back")), (12, true), "{screen}");
        assert_same_tree(&before, &home.tree());
    }
    assert_ne!(proposals[0], proposals[1], "each proposal is a new one");
}

#[test]
fn a_signal_at_a_prompt_gives_the_terminal_back() {
    let home = small();
    let before = home.tree();
    for (signal, code) in [(None, 130), (Some(Signal::INT), 130), (Some(Signal::TERM), 143), (Some(Signal::HUP), 129)] {
        let Some(mut session) = Session::start(&home, &["backup", "app.db"], |_| {}) else { return };
        session.wait_for(FIRST);
        session.type_text("half a passphr");
        match signal {
            Some(signal) => {
                // The kernel carries what was typed to the other side in its own time, and nothing shows when it is there.
                std::thread::sleep(std::time::Duration::from_millis(200));
                session.signal(signal);
            }
            None => session.type_text("\u{3}"),
        }
        let (ended, screen) = session.end();
        assert_eq!(ended, code, "{screen}");
        assert!(screen.trim_end().ends_with("airkeep: interrupted, nothing was written") && !screen.contains("half"), "{screen}");
        assert_same_tree(&before, &home.tree());
    }
}

#[test]
fn who_waits_for_a_passphrase_in_a_pipe_hears_a_signal() {
    let home = small();
    let mut command = home.airkeep(["backup", "app.db", "--passphrase-fd", "0"]);
    let child = piped_with_input(&mut command);
    // Nothing tells from outside that it reads by now; a signal that comes too early must do as well.
    send(&child, Signal::TERM);
    let (code, _, stderr) = ended(child);
    assert_eq!(code, Some(143), "{stderr}");
}

fn piped_with_input(command: &mut Command) -> Child {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Until the handlers are there the system's own action would end it.
    let status = format!("/proc/{}/status", child.id());
    let catches = || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0").trim().to_owned();
        u64::from_str_radix(&mask, 16).unwrap_or(0) >> (Signal::TERM.as_raw() - 1) & 1 == 1
    };
    while std::path::Path::new("/proc/self/status").exists() && !catches() {
        std::thread::yield_now();
    }
    child
}

#[test]
fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
    let home = small();
    let wrong = ["backup", "missing.db"];
    let Some(session) = Session::start(&home, &wrong, |_| {}) else { return };
    let (code, screen) = session.end();
    assert_eq!(
        (code, screen.starts_with("airkeep: \u{1b}[1;31merror:\u{1b}[0m cannot back up 'missing'")),
        (10, true),
        "{}",
        screen.escape_debug()
    );
    let plain: [(&str, &str); 3] = [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "")];
    for (variable, value) in plain {
        for arguments in [&wrong[..], &["--help"], &["backup", "-h"]] {
            let Some(session) = Session::start(&home, arguments, |command| set(command, variable, value)) else { return };
            let (_, screen) = session.end();
            assert!(!screen.contains('\u{1b}'), "{variable}={value}: {}", screen.escape_debug());
        }
    }
    let Some(session) = Session::start(&home, &["--help"], |command| set(command, "NO_COLOR", "")) else { return };
    assert!(session.end().1.contains("\u{1b}["), "an empty NO_COLOR asks for nothing");
    assert!(!finish(home.airkeep(["--help"]).env("TERM", "xterm")).stdout.contains('\u{1b}'));
}
