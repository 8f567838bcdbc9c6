//! Where keys come from, which one wins, and what is refused: exit code 12, at once, and never a word of the secret on the screen.

mod cli;

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

use cli::{Home, PASSPHRASE, assert_same_tree, has, read_until};
use rustix::fs::{CWD, Mode, mkfifoat};

/// A home with `app.db` and a bundle that `pass` opens.
fn sealed_with_passphrase() -> Home {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("pass", PASSPHRASE, 0o600);
    home.seal(&["app.db", "--passphrase-file", "pass", "--no-verify"]);
    home
}

/// The command with a variable, as a caller of [`Home::refuses_run`] needs it.
fn with(mut command: Command, variable: &str, value: impl AsRef<std::ffi::OsStr>) -> Command {
    command.env(variable, value);
    command
}

const OPEN: [&str; 4] = ["verify", "app.akb", "--level", "2"];

fn open<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&OPEN, more].concat()
}

#[test]
fn a_passphrase_file_may_end_in_one_line_end() {
    let home = sealed_with_passphrase();
    for (name, end) in [("none", ""), ("lf", "\n"), ("crlf", "\r\n")] {
        home.write(name, format!("{PASSPHRASE}{end}"), 0o600);
        home.succeeds(&open(&["--passphrase-file", name]));
    }
    for (name, end) in [("two", "\n\n"), ("space", " \n"), ("cr", "\r")] {
        home.write(name, format!("{PASSPHRASE}{end}"), 0o600);
        home.refuses(12, "no key slot opens", &open(&["--passphrase-file", name]));
    }
}

#[test]
fn normal_forms_of_a_passphrase_are_one() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("composed", "Gr\u{fc}\u{df}e aus K\u{f6}ln!", 0o600);
    home.write("decomposed", "Gru\u{308}\u{df}e aus Ko\u{308}ln!", 0o600);
    home.seal(&["app.db", "--passphrase-file", "decomposed", "--no-verify"]);
    home.succeeds(&open(&["--passphrase-file", "composed"]));
    home.succeeds(&open(&["--passphrase-file", "decomposed"]));
}

#[test]
fn a_passphrase_may_come_through_a_descriptor() {
    let home = sealed_with_passphrase();
    let mut command = home.airkeep(open(&["--passphrase-fd", "0"]));
    assert_eq!(cli::finish(command.stdin(File::open(home.path("pass")).unwrap())).code, 0);
    // A pipe, as a shell's `3< <(…)` makes it: here standard input again.
    let mut child = home.airkeep(open(&["--passphrase-fd", "0"])).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSPHRASE}").unwrap();
    assert!(child.wait().unwrap().success());
    let mut through_3 = home.program("sh");
    let run = cli::finish(through_3.args(["-c", "exec \"$0\" \"$@\" 3<pass", cli::AIRKEEP]).args(open(&["--passphrase-fd", "3"])));
    assert_eq!(run.code, 0, "{}", run.stderr);
    home.refuses(12, "descriptor 9", &open(&["--passphrase-fd", "9"]));
}

#[test]
fn a_passphrase_may_come_from_the_environment() {
    let home = sealed_with_passphrase();
    let run = |value: &str| cli::finish(home.airkeep(OPEN).env("AIRKEEP_PASSPHRASE", value)).code;
    assert_eq!(run(PASSPHRASE), 0);
    // Unlike in a file a line end belongs to it.
    assert_eq!(run(&format!("{PASSPHRASE}\n")), 12);
    home.refuses_run(12, "the passphrase is empty", |json| with(home.airkeep(open(json)), "AIRKEEP_PASSPHRASE", ""));
}

#[test]
fn a_passphrase_may_come_from_service_credentials() {
    let home = sealed_with_passphrase();
    home.folder("credentials");
    home.write("credentials/airkeep.passphrase", format!("{PASSPHRASE}\n"), 0o400);
    let run = cli::finish(home.airkeep(OPEN).env("CREDENTIALS_DIRECTORY", home.path("credentials")));
    assert_eq!(run.code, 0, "{}", run.stderr);
    home.folder("nothing");
    home.refuses_run(12, "no passphrase or key was given", |json| {
        with(home.airkeep(open(json)), "CREDENTIALS_DIRECTORY", home.path("nothing"))
    });
}

#[test]
fn flags_win_over_the_environment_and_that_over_credentials() {
    let home = sealed_with_passphrase();
    home.folder("credentials");
    let run = |flag: &[&str], variable: Option<&str>, credential: &str| {
        home.write("credentials/airkeep.passphrase", credential, 0o600);
        let mut command = home.airkeep(open(flag));
        command.env("CREDENTIALS_DIRECTORY", home.path("credentials")).envs(variable.map(|value| ("AIRKEEP_PASSPHRASE", value)));
        cli::finish(&mut command).code
    };
    home.write("wrong", "not the passphrase", 0o600);
    assert_eq!(run(&["--passphrase-file", "pass"], Some("wrong"), "wrong"), 0);
    assert_eq!(run(&["--passphrase-file", "wrong"], Some(PASSPHRASE), PASSPHRASE), 12);
    assert_eq!(run(&[], Some(PASSPHRASE), "wrong"), 0);
    assert_eq!(run(&[], Some("wrong"), PASSPHRASE), 12);
    assert_eq!(run(&[], None, PASSPHRASE), 0);
}

#[test]
fn each_of_several_keys_opens_the_bundle_alone() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("pass", PASSPHRASE, 0o600);
    home.write("pass2", "another passphrase, for the safe", 0o600);
    home.key("key");
    home.key("key2");
    home.key("stranger");
    let keys = ["--passphrase-file", "pass", "--passphrase-file", "pass2", "--key-file", "key", "--key-file", "key2"];
    home.seal(&[&["app.db", "--no-verify"], &keys[..]].concat());
    assert_eq!(home.json(&["info", "app.akb", "--json"])["slots"].as_array().unwrap().len(), 4);
    for key in keys.chunks(2) {
        home.succeeds(&open(key));
    }
    home.succeeds(&open(&["--key-file", "stranger", "--key-file", "key2"]));
    home.refuses(12, "no key slot opens", &open(&["--key-file", "stranger"]));
}

#[test]
fn the_wrong_key_is_refused_by_every_command() {
    let home = sealed_with_passphrase();
    home.write("wrong", "incorrect horse battery staple", 0o600);
    home.key("stranger");
    for key in [["--passphrase-file", "wrong"], ["--key-file", "stranger"]] {
        for command in [&["info", "app.akb"][..], &["verify", "app.akb"], &["restore", "app.akb", "--to", "out"]] {
            home.refuses(12, "no key slot opens with the given keys", &[command, &key].concat());
        }
    }
}

#[test]
fn refuses_key_material_that_others_could_read_or_that_is_none() {
    let home = Home::with_bundle();
    home.write("long", [7; 33], 0o600);
    home.write("short", [7; 31], 0o600);
    home.write("empty", "", 0o600);
    home.write("line-end", "\n", 0o600);
    home.write("zero", "a passphrase with a\0byte", 0o600);
    home.write("latin1", b"Gr\xfc\xdfe aus K\xf6ln!", 0o600);
    home.write("huge", [b'a'; 4097], 0o600);
    home.write("too-long", [b'a'; 1025], 0o600);
    home.write("exposed", [7; 32], 0o644);
    home.write("writable", [7; 32], 0o602);
    home.write("group", [7; 32], 0o640);
    home.folder("folder");
    mkfifoat(CWD, home.path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    for (flag, name, words) in [
        ("--key-file", "long", "has 33 bytes, a key has exactly 32"),
        ("--key-file", "short", "has 31 bytes, a key has exactly 32"),
        ("--key-file", "empty", "has 0 bytes"),
        ("--key-file", "exposed", "can be read by others (mode 644)"),
        ("--key-file", "writable", "chmod 600"),
        ("--key-file", "missing", "cannot open 'missing'"),
        ("--key-file", "folder", "'folder'"),
        ("--key-file", "fifo", "'fifo' is not a regular file"),
        ("--key-file", "/dev/zero", "'/dev/zero' is not a regular file"),
        ("--passphrase-file", "exposed", "can be read by others (mode 644)"),
        ("--passphrase-file", "fifo", "'fifo' is not a regular file"),
        ("--passphrase-file", "folder", "'folder'"),
        ("--passphrase-file", "missing", "cannot open 'missing'"),
        ("--passphrase-file", "empty", "the passphrase is empty"),
        ("--passphrase-file", "line-end", "the passphrase is empty"),
        ("--passphrase-file", "zero", "contains a zero byte"),
        ("--passphrase-file", "latin1", "is not UTF-8 text"),
        ("--passphrase-file", "huge", "too long for key material"),
        ("--passphrase-file", "too-long", "has 1025 bytes, at most 1024"),
    ] {
        eprintln!("{flag} {name}");
        home.refuses(12, words, &["verify", "app.akb", flag, name]);
    }
    home.refuses(12, "cannot open 'missing'", &["backup", "app.db", "--key-file", "missing"]);
    let hint = home.run(["info", "app.akb", "--key-file", "missing"]).stderr;
    assert!(!hint.contains("the folder above it must exist"), "that is no help with a missing file: {hint}");
    // A group may read it: systemd's credentials carry an access list, whose mask stands where the group's bits are.
    home.refuses(12, "no key slot opens", &["verify", "app.akb", "--key-file", "group"]);
}

#[test]
fn sealing_wants_fourteen_bytes_and_opening_does_not() {
    let home = sealed_with_passphrase();
    home.write("thirteen", "thirteen byte", 0o600);
    home.write("fourteen", "fourteen bytes", 0o600);
    home.refuses(12, "has 13 bytes, sealing needs at least 14", &["backup", "app.db", "--passphrase-file", "thirteen"]);
    home.succeeds(&["backup", "app.db", "--passphrase-file", "fourteen", "--no-verify", "--vault", "another"]);
    home.refuses(12, "no key slot opens", &open(&["--passphrase-file", "thirteen"]));
}

#[test]
fn without_key_and_terminal_it_is_refused_at_once() {
    let home = Home::with_bundle();
    let begun = std::time::Instant::now();
    for arguments in [&["backup", "app.db"][..], &["restore", "app.akb", "--to", "out"], &["verify", "app.akb", "--level", "2"], &OPEN] {
        home.refuses(12, "no passphrase or key was given, and there is no terminal to ask on", arguments);
    }
    assert!(home.succeeds(&["verify", "app.akb"]).starts_with("ok       L0"), "without a level the highest is taken that needs no key");
    assert!(begun.elapsed().as_secs() < 20);
}

/// The program on a pseudo-terminal that echoes, by `script` of util-linux: waits for each prompt, answers, and gives exit code and screen.
fn on_a_terminal(home: &Home, arguments: &[&str], dialog: &[(&str, &str)]) -> Option<(i32, String)> {
    talk(home, &format!("'{}' {}", cli::AIRKEEP, arguments.join(" ")), dialog, |_| {})
}

/// The same for any command line; `wait` is given what is on the screen before each answer.
fn talk(home: &Home, line: &str, dialog: &[(&str, &str)], wait: impl Fn(&str)) -> Option<(i32, String)> {
    let mut script = home.program("script");
    let is_usable = has("script")
        && home.program("script").arg("--help").output().is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--echo"));
    if !is_usable {
        eprintln!("skipped: a prompt needs a pseudo-terminal, and there is no `script` of util-linux");
        return None;
    }
    script.args(["--quiet", "--return", "--echo", "always", "--command", line, "/dev/null"]);
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = String::new();
    for (prompt, answer) in dialog {
        let text = read_until(&mut screen, prompt);
        assert!(text.ends_with(prompt), "'{prompt}' is not asked: {seen}{text}");
        seen += &text;
        wait(&seen);
        writeln!(keyboard, "{answer}").unwrap();
    }
    let mut rest = String::new();
    screen.read_to_string(&mut rest).unwrap();
    seen += &rest;
    let code = child.wait().unwrap().code().unwrap();
    for (_, answer) in dialog.iter().filter(|(_, answer)| !answer.is_empty()) {
        assert!(!seen.contains(answer), "the answer is on the screen: {seen}");
    }
    Some((code, seen))
}

const FIRST: &str = "Passphrase (at least 14 bytes; empty for a proposal): ";
const SECOND: &str = "The same again: ";

#[test]
fn a_new_passphrase_is_asked_for_twice_and_shown_never() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("pass", PASSPHRASE, 0o600);
    let Some((code, screen)) = on_a_terminal(&home, &["backup", "app.db"], &[(FIRST, PASSPHRASE), (SECOND, PASSPHRASE)]) else { return };
    assert_eq!((code, screen.contains("verified  L3")), (0, true), "{screen}");
    std::fs::copy(home.path(&home.bundles()[0]), home.path("app.akb")).unwrap();
    home.succeeds(&open(&["--passphrase-file", "pass"]));
}

#[test]
fn two_different_answers_seal_nothing() {
    let home = Home::new();
    drop(home.database("app.db"));
    let before = home.tree();
    let Some((code, screen)) =
        on_a_terminal(&home, &["backup", "app.db"], &[(FIRST, PASSPHRASE), (SECOND, "correct horse battery stable")])
    else {
        return;
    };
    assert_eq!((code, screen.contains("the two passphrases differ")), (12, true), "{screen}");
    // Many times: an echo that goes off after the prompt appeared shows some of the answers, not all.
    for _ in 0..30 {
        let Some((code, screen)) = on_a_terminal(&home, &["backup", "app.db"], &[(FIRST, "too short")]) else { return };
        assert_eq!((code, screen.contains("has 9 bytes, sealing needs at least 14")), (12, true), "{screen}");
    }
    assert_same_tree(&before, &home.tree());
}

#[test]
fn opening_asks_once_and_verifying_takes_no_answer_for_no_key() {
    let home = sealed_with_passphrase();
    let ask = "Passphrase (empty to verify without a key): ";
    for (answer, words) in [(PASSPHRASE, "ok       L4"), ("", "ok       L0")] {
        let Some((code, screen)) = on_a_terminal(&home, &["verify", "app.akb"], &[(ask, answer)]) else { return };
        assert_eq!((code, screen.contains(words)), (0, true), "{screen}");
    }
    let Some((code, screen)) = on_a_terminal(&home, &["restore", "app.akb", "--to", "out"], &[("Passphrase: ", PASSPHRASE)]) else {
        return;
    };
    assert_eq!((code, home.path("out/app.db").exists()), (0, true), "{screen}");
    let Some((code, _)) = on_a_terminal(&home, &["info", "app.akb"], &[]) else { return };
    assert_eq!(code, 0, "info asks for nothing");
}

#[test]
fn an_interrupt_at_the_prompt_gives_the_terminal_back() {
    let home = Home::new();
    drop(home.database("app.db"));
    let before = home.tree();
    // The shell goes on when its child is interrupted, and looks at the terminal.
    home.write("look", format!("trap : INT\ntty\n'{}' backup app.db\necho code $?\nstty -a\n", cli::AIRKEEP), 0o700);
    let until_silent = |screen: &str| {
        let tty = screen.lines().next().unwrap().trim();
        let is_silent = |_: &i32| cli::finish(home.program("stty").args(["-a", "-F", tty])).stdout.contains("-echo ");
        assert!((0..1000).any(|attempt| is_silent(&attempt)), "the echo is never switched off");
    };
    let Some((_, screen)) = talk(&home, "sh look", &[(FIRST, "\u{3}")], until_silent) else { return };
    std::fs::remove_file(home.path("look")).unwrap();
    assert!(screen.contains("code 130"), "{screen}");
    for mode in ["-echo ", "-icanon ", "-isig "] {
        assert!(!screen.contains(mode), "the terminal is left with {mode}: {screen}");
    }
    assert_same_tree(&before, &home.tree());
}
