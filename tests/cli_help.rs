//! Help, version and usage errors, word for word: the files under `tests/golden-cli/` are the whole surface of the command line.

mod cli;

use cli::{Home, assert_clear_error, assert_golden, assert_harmless};

const COMMANDS: [&str; 8] = ["init", "backup", "verify", "restore", "info", "key", "signer", "recover-text"];

#[test]
fn help_is_the_golden_text() {
    let home = Home::new();
    for flag in ["--help", "-h"] {
        let kind = if flag == "-h" { "short" } else { "long" };
        let help = home.succeeds(&[flag]);
        assert_golden(&format!("help-{kind}.txt"), &help);
        for command in COMMANDS {
            let help = home.succeeds(&[command, flag]);
            assert_harmless(&help);
            assert_golden(&format!("help-{kind}-{command}.txt"), &help);
        }
    }
}

#[test]
fn long_help_has_examples_and_exit_codes_that_fit_a_line() {
    let home = Home::new();
    for command in COMMANDS {
        let help = home.succeeds(&[command, "--help"]);
        assert!(help.contains("\nExamples:\n  ") && help.contains("\nExit codes:\n   0  success\n"), "{help}");
        let examples = help.split("\nExamples:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        for line in examples.lines() {
            assert!(line.starts_with("  airkeep ") || line.starts_with("  tar "), "'{line}' is no command: was it wrapped?");
        }
    }
}

#[test]
fn options_of_one_command_stand_under_the_right_heading() {
    let home = Home::new();
    for command in ["backup", "verify", "restore", "info"] {
        let help = home.succeeds(&[command, "-h"]);
        let keys = help.split("\nKeys:\n").nth(1).unwrap().split("\n\n").next().unwrap();
        assert!(!keys.contains("--json"), "--json is no key:\n{help}");
    }
}

#[test]
fn the_set_of_commands_is_known() {
    let home = Home::new();
    let help = home.succeeds(&["-h"]);
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names: Vec<&str> =
        listed.lines().filter(|line| !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, [&COMMANDS[..], &["help"]].concat());
}

#[test]
fn version_is_the_crate_s() {
    let home = Home::new();
    let expected = format!("airkeep {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(home.succeeds(&["--version"]), expected);
    assert_eq!(home.succeeds(&["-V"]), expected);
}

#[test]
fn no_command_at_all_shows_help_on_standard_error() {
    let home = Home::new();
    let run = home.run::<&str>([]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert_eq!(run.stderr, home.succeeds(&["-h"]));
}

/// Name of the golden file, and the arguments.
const WRONG: [(&str, &[&str]); 30] = [
    ("unknown-command", &["bakcup"]),
    ("unknown-flag", &["--nope"]),
    ("backup-nothing", &["backup"]),
    ("backup-unknown-flag", &["backup", "app.db", "--nope"]),
    ("backup-passphrase-as-value", &["backup", "app.db", "--passphrase", "not on a command line"]),
    ("backup-unknown-codec", &["backup", "app.db", "--compression", "lz4"]),
    ("backup-gzip-level-10", &["backup", "app.db", "--compression", "gzip:10"]),
    ("backup-gzip-level-0", &["backup", "app.db", "--compression", "gzip:0"]),
    ("backup-zstd-level-20", &["backup", "app.db", "--compression", "zstd:20"]),
    ("backup-none-with-level", &["backup", "app.db", "--compression", "none:1"]),
    ("backup-unknown-check", &["backup", "app.db", "--check", "thorough"]),
    ("backup-negative-timeout", &["backup", "app.db", "--busy-timeout=-1"]),
    ("backup-endless-timeout", &["backup", "app.db", "--busy-timeout", "inf"]),
    ("backup-timeout-in-words", &["backup", "app.db", "--busy-timeout", "soon"]),
    ("backup-descriptor-in-words", &["backup", "app.db", "--passphrase-fd", "stdin"]),
    ("backup-flag-without-value", &["backup", "app.db", "--vault"]),
    ("backup-flag-twice", &["backup", "app.db", "--vault", "a", "--vault", "b"]),
    ("backup-restore-flag", &["backup", "app.db", "--to", "out"]),
    ("verify-nothing", &["verify"]),
    ("verify-level-7", &["verify", "app.akb", "--level", "7"]),
    ("verify-level-6", &["verify", "app.akb", "--level", "6"]),
    ("verify-level-with-letter", &["verify", "app.akb", "--level", "L3"]),
    ("restore-nothing", &["restore"]),
    ("restore-without-target", &["restore", "app.akb"]),
    ("restore-illegal-label", &["restore", "app.akb", "../app", "--to", "out"]),
    ("restore-label-in-upper-case", &["restore", "app.akb", "App", "--to", "out"]),
    ("info-nothing", &["info"]),
    ("info-two-bundles", &["info", "a.akb", "b.akb"]),
    ("info-level", &["info", "a.akb", "--level", "0"]),
    ("recover-text-with-argument", &["recover-text", "app.akb"]),
];

#[test]
fn wrong_flags_and_values_are_usage_errors_with_golden_words() {
    let home = Home::new();
    for (name, arguments) in WRONG {
        let run = home.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{name}: {}", run.stderr);
        assert_clear_error(&run.stderr);
        assert_golden(&format!("wrong-{name}.txt"), &run.stderr);
        // In front, where no option can take it for its value.
        let json = home.run([&arguments[..1], &["--json"], &arguments[1..]].concat());
        let object: serde_json::Value = serde_json::from_str(&json.stdout).expect("exactly one JSON object");
        assert_eq!((json.code, &object["error"]["code"], &object["ok"]), (2, &2.into(), &false.into()), "{name}: {object:#}");
        assert!(json.stderr.starts_with("airkeep: error: "), "{name}");
    }
    assert!(home.tree().is_empty());
}

#[test]
fn a_usage_error_names_what_is_missing_in_its_first_line() {
    let home = Home::new();
    for (arguments, missing) in [(&["restore", "app.akb"][..], "--to <DIR>"), (&["info"], "<BUNDLE>"), (&["backup"], "<[LABEL=]DATABASE>")]
    {
        let stderr = home.run(arguments).stderr;
        assert!(stderr.lines().next().unwrap().contains(missing), "{stderr}");
    }
}

#[test]
fn a_label_clash_is_a_usage_error_that_shows_the_remedy() {
    let home = Home::new();
    home.key("key");
    drop(home.database("app.db"));
    home.folder("other");
    drop(home.database("other/app.db"));
    for sources in [["app.db", "other/app.db"], ["app=app.db", "app=other/app.db"]] {
        home.refuses(2, "LABEL=PATH", &["backup", sources[0], sources[1], "--key-file", "key"]);
    }
    home.refuses(2, "no label can be made", &["backup", "--key-file", "key", "./---.db"]);
    let keys: Vec<String> = (0..17u8).map(|number| format!("key{number}")).collect();
    keys.iter().for_each(|key| home.key(key));
    let flags = keys.iter().flat_map(|key| ["--key-file", key.as_str()]);
    home.refuses(2, "17 keys", &["backup", "app.db"].into_iter().chain(flags).collect::<Vec<_>>());
}
