//! A hook hears every event, and nothing that it does hurts: it fails, hangs, talks without end, is not there, does not listen.
//!
//! The hooks are small sh scripts, run by name of their interpreter. What they write into standard files is looked at afterwards.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use airkeep::ops::{Hook, HookEvent, HookFailure, HookSyntaxError};

const EVENT: HookEvent<'_> = HookEvent {
    json: "{\"event\":\"backup\"}",
    event: "backup",
    actor: "ada",
    action: "backed up 2 databases",
    reason: "",
    bundle: "set-000001.akb",
    outcome: "ok",
    time: "2026-01-02T03:04:05Z",
    host: "h1",
    vault: "/srv/vault",
};

/// Far more than any hook here needs, far less than for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a script that is the hook.
struct Script(tempfile::TempDir);

impl Script {
    /// The script finds its folder in `$D`.
    fn new(body: &str) -> Script {
        let script = Script(tempfile::tempdir().unwrap());
        std::fs::write(script.path("hook.sh"), format!("D='{}'\n{body}\n", script.0.path().display())).unwrap();
        script
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn hook(&self, arguments: &str) -> Hook {
        Hook::parse(&format!("sh '{}' {arguments}", self.path("hook.sh").display())).unwrap().with_time_limit(PATIENCE)
    }

    /// A process whose number the script has written.
    fn process(&self, name: &str) -> Process {
        Process(self.read(name).trim().parse().unwrap())
    }
}

struct Process(i32);

impl Process {
    /// Whether it is there and not a zombie, which only waits for its parent.
    fn is_alive(&self) -> bool {
        let state = Command::new("ps").args(["-o", "stat=", "-p", &self.0.to_string()]).output().expect("ps");
        let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
        !state.is_empty() && !state.starts_with('Z')
    }

    /// A killed process needs a moment to be gone.
    fn assert_gone(&self) {
        let begun = Instant::now();
        while self.is_alive() {
            assert!(begun.elapsed() < PATIENCE, "process {} lives on", self.0);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Tells it on a thread of its own, so that a hook that hangs us is a red test and not a test without end.
fn tell_with(hook: &Hook, event: HookEvent<'static>) -> Result<(), HookFailure> {
    let (sender, receiver) = mpsc::channel();
    let hook = hook.clone();
    std::thread::spawn(move || sender.send(hook.tell(&event)));
    receiver.recv_timeout(2 * PATIENCE).expect("telling a hook came to no end")
}

fn tell(hook: &Hook) -> Result<(), HookFailure> {
    tell_with(hook, EVENT)
}

/// What the hook printed when it failed.
fn output(told: Result<(), HookFailure>) -> (String, String) {
    match told {
        Err(HookFailure::Failed { output, .. } | HookFailure::TimedOut { output, .. }) => {
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        }
        other => panic!("it should have failed with words: {other:?}"),
    }
}

#[test]
fn hears_the_record_as_one_line() {
    let script = Script::new("cat > $D/heard");
    tell(&script.hook("")).unwrap();
    assert_eq!(script.read("heard"), "{\"event\":\"backup\"}\n");
    tell_with(&script.hook(""), HookEvent { json: "{\n\"a\": 1\r\n}", ..EVENT }).unwrap();
    assert_eq!(script.read("heard"), "{ \"a\": 1  }\n");
}

#[test]
fn a_value_is_exactly_one_argument_whatever_stands_in_it() {
    let script = Script::new(r#"for a; do printf '<%s>\n' "$a"; done > $D/heard"#);
    let hook = script.hook("--reason {reason} --actor={actor} '{event} by {actor}' {bundle} {{{outcome}}} \"\" $(id) *");
    let reason = "--force \"a\" 'b' $(touch x) `id` \\ {actor} %s ; | & *";
    tell_with(&hook, HookEvent { reason, actor: "-rf\0 \nx\u{1b}[2J", bundle: "", ..EVENT }).unwrap();
    let expected = ["--reason", reason, "--actor=-rf   x [2J", "backup by -rf   x [2J", "", "{ok}", "", "$(id)", "*"];
    assert_eq!(script.read("heard").lines().collect::<Vec<_>>(), expected.map(|word| format!("<{word}>")));
}

#[test]
fn every_placeholder_has_its_value() {
    let script = Script::new(r#"printf '%s' "$1" > $D/heard"#);
    tell(&script.hook("'{event}|{actor}|{action}|{reason}|{bundle}|{outcome}|{time}|{host}|{vault}'")).unwrap();
    assert_eq!(script.read("heard"), "backup|ada|backed up 2 databases||set-000001.akb|ok|2026-01-02T03:04:05Z|h1|/srv/vault");
}

#[test]
fn a_very_long_value_does_not_keep_the_event_from_being_heard() {
    let script = Script::new("printf '%s' \"$1\" > $D/heard; cat > $D/record");
    let long: &'static str = "x".repeat(1 << 20).leak();
    tell_with(&script.hook("{reason}"), HookEvent { reason: long, json: long, ..EVENT }).unwrap();
    assert_eq!((script.read("heard").len(), script.read("record").len()), ((16 << 10) + "…".len(), long.len() + 1));
}

#[test]
fn refuses_a_command_line_that_cannot_be_meant() {
    use HookSyntaxError::{Empty, LoneBrace, OpenQuote, ProgramNotFixed, UnknownPlaceholder};
    let error = |text| Hook::parse(text).expect_err(text);
    assert_eq!((error(""), error(" \n"), error("'' a")), (Empty, Empty, Empty));
    assert_eq!(error("a 'b"), OpenQuote { quote: '\'' });
    assert_eq!(error("a {user}"), UnknownPlaceholder { name: "user".into() });
    assert_eq!(error("a '{\"b\": 1}'"), UnknownPlaceholder { name: "\"b\": 1".into() });
    assert_eq!((error("a {event"), error("a b}")), (LoneBrace { word: "{event".into() }, LoneBrace { word: "b}".into() }));
    assert_eq!(error("{event}.sh a"), ProgramNotFixed { program: "{event}.sh".into() });
    let known = "known are {event}, {actor}, {action}, {reason}, {bundle}, {outcome}, {time}, {host}, {vault}";
    assert!(error("a {user}").to_string().starts_with(&format!("unknown placeholder '{{user}}', {known}")));
}

#[test]
fn a_failure_has_its_status_and_its_words() {
    let script = Script::new("echo out; printf 'no such\\033[2J\\n  project\\n' >&2; exit 7");
    let failure = tell(&script.hook("")).unwrap_err();
    assert_eq!(failure.to_string(), "the hook 'sh' failed (exit status: 7), it said: no such\\u{1b}[2J | project");
    assert_eq!(output(Err(failure)), ("out\n".into(), "no such\u{1b}[2J\n  project\n".into()));
    let failure = tell(&Script::new("kill -9 $$").hook("")).unwrap_err();
    assert!(failure.to_string().starts_with("the hook 'sh' failed (signal: 9"), "{failure}");
}

#[test]
fn output_without_end_is_read_and_only_its_beginning_kept() {
    let megabyte = "head -c 1048576 /dev/zero | tr '\\0' ";
    let body = |status| format!("{megabyte} o; {megabyte} e >&2; {megabyte} o; touch $D/reached; exit {status}");
    let script = Script::new(&body(0));
    tell(&script.hook("")).unwrap();
    assert!(script.path("reached").exists(), "it was stopped before its end");
    let failure = tell(&Script::new(&body(1)).hook("")).unwrap_err();
    assert!(failure.to_string().len() < 2000, "{} bytes are shown", failure.to_string().len());
    assert_eq!(output(Err(failure)), ("o".repeat(64 << 10), "e".repeat(64 << 10)));
}

#[test]
fn a_hook_that_does_not_read_is_no_failure() {
    let long: &'static str = "x".repeat(4 << 20).leak();
    for body in ["exit 0", "exec 0<&-; exit 0", "head -c 1 > /dev/null", "exec 0<&-; echo said; exit 0"] {
        tell_with(&Script::new(body).hook(""), HookEvent { json: long, ..EVENT }).unwrap_or_else(|failure| panic!("{body}: {failure}"));
    }
}

#[test]
fn a_hook_that_neither_reads_nor_ends_is_ended() {
    let long: &'static str = "x".repeat(4 << 20).leak();
    let script = Script::new("echo begun; exec sleep 600");
    let hook = script.hook("").with_time_limit(Duration::from_secs(1));
    assert_eq!(output(tell_with(&hook, HookEvent { json: long, ..EVENT })).0, "begun\n");
}

#[test]
fn a_hook_that_ignores_the_request_to_end_is_killed_with_its_children() {
    let script =
        Script::new("trap '' TERM; echo $$ > $D/hook; sleep 600 & echo $! > $D/child; echo hangs >&2; while :; do sleep 600; done");
    let begun = Instant::now();
    let failure = tell(&script.hook("").with_time_limit(Duration::from_secs(1))).unwrap_err();
    assert_eq!(failure.to_string(), "the hook 'sh' did not end within 1 s and was ended, it said: hangs");
    assert!(begun.elapsed() < PATIENCE);
    script.process("hook").assert_gone();
    script.process("child").assert_gone();
}

#[test]
fn a_hook_is_asked_to_end_before_it_is_killed() {
    let script = Script::new("trap 'echo asked; exit 0' TERM; touch $D/ready; while :; do sleep 0.01; done");
    let told = tell(&script.hook("").with_time_limit(Duration::from_secs(1)));
    assert!(matches!(told, Err(HookFailure::TimedOut { .. })), "an end after the time is too late: {told:?}");
    assert_eq!(output(told).0, "asked\n");
}

#[test]
fn what_a_hook_leaves_in_its_group_is_ended() {
    let script = Script::new("sleep 600 & echo $! > $D/holds; sleep 600 > /dev/null 2>&1 & echo $! > $D/quiet; echo done");
    let begun = Instant::now();
    tell(&script.hook("")).unwrap();
    assert!(begun.elapsed() < PATIENCE, "its background process was waited for");
    script.process("holds").assert_gone();
    script.process("quiet").assert_gone();
}

#[test]
fn a_process_that_left_the_group_with_the_pipes_hangs_nobody() {
    if !Command::new("setsid").arg("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: setsid is not on this machine");
        return;
    }
    let left = "setsid sh -c 'echo $$ > $D/left; exec sleep 300' & while ! [ -s $D/left ]; do sleep 0.01; done";
    for (end, is_ok) in [("exit 0", true), ("sleep 600", false)] {
        let script = Script::new(&format!("export D; {left}; {end}"));
        let told = tell(&script.hook("").with_time_limit(Duration::from_secs(5)));
        let process = script.process("left");
        let is_alive = process.is_alive();
        let _ = Command::new("kill").arg(process.0.to_string()).status();
        assert_eq!((told.is_ok(), is_alive), (is_ok, true), "{told:?}");
    }
}

#[test]
fn a_hook_that_cannot_start_says_which_and_why() {
    let script = Script::new("exit 0");
    std::fs::write(script.path("text"), "exit 0\n").unwrap();
    let path = |name| script.path(name).display().to_string();
    for (program, kind) in [
        (path("missing"), std::io::ErrorKind::NotFound),
        ("no-such-program-anywhere".to_owned(), std::io::ErrorKind::NotFound),
        (path("hook.sh"), std::io::ErrorKind::PermissionDenied),
        (path(""), std::io::ErrorKind::PermissionDenied),
    ] {
        let failure = tell(&Hook::parse(&format!("'{program}'")).unwrap()).unwrap_err();
        assert_eq!(failure.to_string(), format!("cannot start the hook '{program}'"));
        assert!(matches!(failure, HookFailure::NotStarted { source, .. } if source.kind() == kind), "{program}");
    }
}

/// Where execution falls back on sh (`execvp` does), a file without an interpreter would be run by a shell.
#[test]
fn a_file_that_is_no_program_is_not_given_to_a_shell() {
    use std::os::unix::fs::PermissionsExt;
    let script = Script::new("touch $D/ran");
    std::fs::set_permissions(script.path("hook.sh"), std::fs::Permissions::from_mode(0o700)).unwrap();
    let told = tell(&Hook::parse(&format!("'{}'", script.path("hook.sh").display())).unwrap());
    assert!(matches!(told, Err(HookFailure::NotStarted { .. })) && !script.path("ran").exists(), "{told:?}");
}

/// Runs itself again: a test cannot change its own environment.
#[test]
fn no_secret_is_in_the_environment_and_the_rest_is() {
    if std::env::var_os("AIRKEEP_PASSPHRASE").is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "no_secret_is_in_the_environment_and_the_rest_is"]);
        again
            .env("AIRKEEP_PASSPHRASE", "secret-1")
            .env("CREDENTIALS_DIRECTORY", "/secret-2")
            .env("SITE_TOKEN", "kept")
            .env_remove("AIRKEEP_IN_HOOK");
        let run = again.output().unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        assert!(run.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let script = Script::new("env > $D/environment; pwd > $D/folder");
    tell(&script.hook("")).unwrap();
    let environment = script.read("environment");
    assert!(!environment.contains("secret") && !environment.contains("AIRKEEP_PASSPHRASE"), "a secret reached the hook");
    for line in ["SITE_TOKEN=kept", "AIRKEEP_EVENT=backup", "AIRKEEP_IN_HOOK=1"] {
        assert!(environment.lines().any(|have| have == line), "{line} is missing");
    }
    assert_eq!(script.read("folder").trim(), std::env::current_dir().unwrap().to_str().unwrap());
    assert!(!Hook::is_inside_one());
}

#[test]
fn open_files_are_not_inherited() {
    let script = Script::new("ls -l /proc/$$/fd > $D/open");
    if !std::path::Path::new("/proc/self/fd").exists() {
        eprintln!("skipped: there is no /proc");
        return;
    }
    std::fs::write(script.path("secret"), "s").unwrap();
    let _secret = std::fs::File::open(script.path("secret")).unwrap();
    tell(&script.hook("")).unwrap();
    let open = script.read("open");
    assert!(open.contains("hook.sh") && !open.contains("secret"), "{open}");
}
