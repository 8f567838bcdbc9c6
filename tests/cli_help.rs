//! Help, version and usage errors, word for word: the files under `tests/golden-cli/` are the whole surface of the command line.

mod cli;

use cli::{Home, assert_clear_error, assert_golden, assert_harmless};

const COMMANDS: [&str; 21] = [
    "init",
    "backup",
    "verify",
    "restore",
    "extract",
    "gap",
    "guard",
    "import",
    "config",
    "list",
    "info",
    "compare",
    "size",
    "key",
    "signer",
    "audit",
    "vault",
    "recover-text",
    "completions",
    "man",
    "demo",
];
/// Those that hold further commands, and these.
const NESTED: [(&str, &[&str]); 7] = [
    ("config", &["check", "show"]),
    ("restore", &["resolve"]),
    ("gap", &["list", "show", "export"]),
    ("key", &["list", "add", "remove", "rotate", "new"]),
    ("signer", &["show", "rotate"]),
    ("audit", &["show", "verify", "continuity", "export"]),
    ("vault", &["rebuild"]),
];

/// The words of every command, each before those in it.
fn paths() -> Vec<Vec<&'static str>> {
    let mut paths = Vec::new();
    for command in COMMANDS {
        paths.push(vec![command]);
        let parts = NESTED.iter().filter(|(outer, _)| *outer == command).flat_map(|(_, parts)| *parts);
        paths.extend(parts.map(|part| vec![command, *part]));
    }
    paths
}

#[test]
fn help_is_the_golden_text() {
    let home = Home::new();
    for flag in ["--help", "-h"] {
        let kind = if flag == "-h" { "short" } else { "long" };
        let help = home.succeeds(&[flag]);
        assert_golden(&format!("help-{kind}.txt"), &help);
        for path in paths() {
            let help = home.succeeds(&[&path[..], &[flag]].concat());
            assert_harmless(&help);
            assert_golden(&format!("help-{kind}-{}.txt", path.join("-")), &help);
        }
    }
}

#[test]
fn long_help_has_examples_and_exit_codes_that_fit_a_line() {
    let home = Home::new();
    for path in paths() {
        let help = home.succeeds(&[&path[..], &["--help"]].concat());
        assert!(help.contains("\nExamples:\n  ") && help.contains("\nExit codes:\n    0  success\n"), "{help}");
        assert!(help.ends_with("  143  stopped by SIGTERM, nothing left behind\n"), "{help}");
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
    assert_eq!(listed(&home.succeeds(&["-h"])), [&COMMANDS[..], &["help"]].concat());
    for command in COMMANDS {
        let parts = NESTED.iter().find(|(outer, _)| *outer == command).map_or(Vec::new(), |(_, parts)| [parts, &["help"][..]].concat());
        assert_eq!(listed(&home.succeeds(&[command, "-h"])), parts, "{command}");
    }
}

/// The commands that a help text lists.
fn listed(help: &str) -> Vec<&str> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default().split("\n\n").next().unwrap();
    list.lines().filter(|line| !line.starts_with("   ")).map(|line| line.split_whitespace().next().unwrap()).collect()
}

#[test]
fn the_reference_in_the_documentation_is_the_help() {
    let home = Home::new();
    let mut text = String::from(
        "# Command reference\n\nThe help of every command, as the program prints it. This file is generated (`UPDATE_GOLDEN=1 cargo test --test\n\
         cli_help`) and tested against the program.\n",
    );
    for path in [vec![vec![]], paths()].concat() {
        let help = home.succeeds(&[&path[..], &["--help"]].concat());
        let name = [&["airkeep"], &path[..]].concat().join(" ");
        text += &format!("\n{} {name}\n\n```text\n{help}```\n", if path.is_empty() { "##" } else { "###" });
    }
    assert_golden("../../docs/cli.md", &text);
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
const WRONG: [(&str, &[&str]); 103] = [
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
    ("compare-nothing", &["compare"]),
    ("compare-three-bundles", &["compare", "1", "2", "3"]),
    ("compare-label-in-upper-case", &["compare", "1", "--label", "Main"]),
    ("compare-negative-timeout", &["compare", "1", "--busy-timeout=-1"]),
    ("size-two-bundles", &["size", "1", "2"]),
    ("recover-text-with-argument", &["recover-text", "app.akb"]),
    ("recover-text-json-with-value", &["recover-text", "--json=yes"]),
    ("quiet-and-verbose", &["-q", "-v", "info", "a.akb"]),
    ("quiet-in-front-verbose-behind", &["-q", "info", "a.akb", "-v"]),
    ("verbose-in-front-quiet-behind", &["--verbose", "info", "a.akb", "--quiet"]),
    ("quiet-and-verbose-behind", &["key", "list", "vault", "-qv"]),
    ("quiet-twice", &["info", "a.akb", "-q", "-q"]),
    ("quiet-with-value", &["info", "a.akb", "--quiet=yes"]),
    ("backup-empty-check", &["backup", "app.db", "--check", ""]),
    ("backup-empty-codec", &["backup", "app.db", "--compression", ""]),
    ("backup-timeout-over-a-day", &["backup", "app.db", "--busy-timeout", "86401"]),
    ("backup-negative-descriptor", &["backup", "app.db", "--passphrase-fd=-1"]),
    ("backup-huge-descriptor", &["backup", "app.db", "--passphrase-fd", "99999999999"]),
    ("backup-tag-twice", &["backup", "app.db", "--tag", "a", "--tag", "b"]),
    ("backup-no-verify-twice", &["backup", "app.db", "--no-verify", "--no-verify"]),
    ("backup-level", &["backup", "app.db", "--level", "3"]),
    ("backup-empty-label", &["backup", "=app.db"]),
    ("backup-label-in-upper-case", &["backup", "Main=app.db"]),
    ("backup-label-without-database", &["backup", "main="]),
    ("verify-negative-level", &["verify", "app.akb", "--level=-1"]),
    ("verify-level-twice", &["verify", "app.akb", "--level", "0", "--level", "2"]),
    ("verify-restore-flag", &["verify", "app.akb", "--to", "out"]),
    ("restore-target-twice", &["restore", "app.akb", "--to", "a", "--to", "b"]),
    ("restore-target-without-value", &["restore", "app.akb", "--to"]),
    ("restore-new-keys", &["restore", "app.akb", "--to", "a", "--new-keys"]),
    ("info-target", &["info", "a.akb", "--to", "out"]),
    ("key-unknown-command", &["key", "replace", "vault"]),
    ("key-list-nothing", &["key", "list"]),
    ("key-list-with-key", &["key", "list", "vault", "--key-file", "key"]),
    ("key-add-nothing", &["key", "add"]),
    ("key-remove-nothing", &["key", "remove"]),
    ("key-remove-without-slot", &["key", "remove", "vault"]),
    ("key-remove-short-slot", &["key", "remove", "vault", "0a1b2c3"]),
    ("key-remove-slot-in-upper-case", &["key", "remove", "vault", "0A1B2C3D"]),
    ("key-remove-new-key", &["key", "remove", "vault", "0a1b2c3d", "--new-key-file", "key"]),
    ("key-rotate-two-vaults", &["key", "rotate", "a", "b"]),
    ("key-new-nothing", &["key", "new"]),
    ("completions-unknown-shell", &["completions", "tcsh"]),
    ("man-with-argument", &["man", "backup"]),
    ("init-with-folder", &["init", "vault"]),
    ("init-illegal-name", &["init", "--name", "Plant 7"]),
    ("init-empty-name", &["init", "--name", ""]),
    ("signer-unknown-command", &["signer", "remove"]),
    ("signer-show-bundle", &["signer", "show", "app.akb"]),
    ("verify-fingerprint-in-hex", &["verify", "app.akb", "--signer", "0a1b2c3d"]),
    ("verify-fingerprint-too-short", &["verify", "app.akb", "--signer", "SHA256:AAAA"]),
    ("verify-signer-changes-without-signer", &["verify", "app.akb", "--signer-changes", "changes"]),
    ("restore-signer-changes-without-signer", &["restore", "app.akb", "--to", "out", "--signer-changes", "changes"]),
    ("list-bundle", &["list", "app.akb"]),
    ("audit-show-unknown-event", &["audit", "show", "--event", "login"]),
    ("audit-show-local-time", &["audit", "show", "--since", "2026-11-21 02:00"]),
    ("audit-show-month-13", &["audit", "show", "--since", "2026-13-01"]),
    ("audit-verify-against-nothing", &["audit", "verify", "--against"]),
    ("audit-export-unknown-format", &["audit", "export", "--format", "xml"]),
    ("backup-hook-unknown-placeholder", &["backup", "app.db", "--hook", "log {who}"]),
    ("backup-hook-open-quote", &["backup", "app.db", "--hook", "log 'x"]),
    ("backup-hook-empty", &["backup", "app.db", "--hook", ""]),
    ("demo-with-argument", &["demo", "app.db"]),
    ("extract-nothing", &["extract"]),
    ("extract-without-target", &["extract", "app.akb", "app"]),
    ("extract-unknown-format", &["extract", "app.akb", "app", "--to", "out", "--format", "xml"]),
    ("import-nothing", &["import"]),
    ("import-size-in-words", &["import", "app.db", "--max-size", "large"]),
    ("import-unknown-check", &["import", "app.db", "--check", "full"]),
    ("gap-list-bundle", &["gap", "list", "app.akb"]),
    ("gap-show-in-words", &["gap", "show", "newest"]),
    ("gap-export-nothing", &["gap", "export"]),
    ("gap-export-without-target", &["gap", "export", "app.akb"]),
    ("gap-export-unknown-format", &["gap", "export", "app.akb", "--to", "rows", "--format", "xml"]),
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
fn the_readme_has_every_exit_code() {
    let help = Home::new().succeeds(&["--help"]);
    let codes = help.split("\nExit codes:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    // The help may wrap a long meaning: the words count.
    let entries = codes.lines().map(str::trim).fold(Vec::<String>::new(), |mut entries, line| {
        match (line.starts_with(|c: char| c.is_ascii_digit()), entries.last_mut()) {
            (false, Some(last)) => *last += &format!(" {line}"),
            _ => entries.push(line.to_owned()),
        }
        entries
    });
    let rows =
        include_str!("../README.md").lines().filter(|line| line.starts_with("| ") && line[2..].starts_with(|c: char| c.is_ascii_digit()));
    let rows: Vec<String> = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("  ")).collect();
    assert_eq!(rows, entries);
}

/// Every option of every command, given to every command that does not have it.
#[test]
fn no_command_takes_another_one_s_option() {
    let home = Home::new();
    let options_of = |path: &[&str]| {
        let help = home.succeeds(&[path, &["--help"]].concat());
        let words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').map(str::to_owned);
        words.filter(|word| word.len() > 3 && word.starts_with("--")).collect::<std::collections::BTreeSet<String>>()
    };
    let leaves: Vec<Vec<&str>> =
        paths().into_iter().filter(|path| path.len() > 1 || !NESTED.iter().any(|(outer, _)| outer == &path[0])).collect();
    let known: Vec<(Vec<&str>, _)> = leaves.into_iter().map(|path| (path.clone(), options_of(&path))).collect();
    let all: std::collections::BTreeSet<&String> = known.iter().flat_map(|(_, options)| options).collect();
    let mut refused = 0;
    for (path, own) in &known {
        for option in all.iter().filter(|option| !own.contains(**option)) {
            let run = home.run([&path[..], &[option]].concat());
            assert_eq!(run.code, 2, "{path:?} {option}: {}{}", run.stdout, run.stderr);
            assert_clear_error(&run.stderr);
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
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

#[test]
fn quiet_and_verbose_work_in_front_and_behind() {
    let home = Home::with_bundle();
    let command = ["verify", "airkeep-vault", "--key-file", "key"];
    for flag in ["-q", "--quiet"] {
        for arguments in [[&[flag], &command[..]].concat(), [&command[..], &[flag]].concat()] {
            let run = home.run(&arguments);
            assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (0, "", ""), "{arguments:?}");
        }
    }
    for flag in ["-v", "--verbose"] {
        for arguments in [[&[flag], &command[..]].concat(), [&command[..], &[flag]].concat()] {
            let run = home.run(&arguments);
            assert!(run.stdout.starts_with("ok       L4") && run.stderr.contains(" s: verified '"), "{arguments:?}: {run:?}");
        }
    }
}

#[test]
fn quiet_keeps_warnings_errors_json_and_what_was_asked_for() {
    let home = Home::with_bundle();
    let warned = home.run(["-q", "verify", "app.akb"]);
    assert_eq!((warned.code, warned.stdout.as_str(), warned.stderr.starts_with("airkeep: warning: ")), (0, "", true), "{warned:?}");
    assert_eq!(home.run(["-q", "verify", "missing.akb"]).code, 10);
    assert_eq!(home.json(&["-q", "verify", "app.akb", "--json"])["level"], "L0");
    for asked in [&["info", "app.akb"][..], &["key", "list", "app.akb"], &["recover-text"], &["completions", "bash"], &["man"]] {
        assert_eq!(home.succeeds(&[asked, &["-q"]].concat()), home.succeeds(asked));
    }
    let mut bundle = home.read("app.akb");
    let place = bundle.len() / 2;
    bundle[place] ^= 1;
    home.write("app.akb", bundle, 0o600);
    let hurt = home.run(["-q", "verify", "app.akb", "--key-file", "key"]);
    assert!(hurt.code == 13 && hurt.stdout.starts_with("DAMAGED"), "what is wrong is said, however quiet: {hurt:?}");
}

#[test]
fn completions_are_scripts_of_their_shells() {
    let home = Home::new();
    for (shell, mark) in [
        ("bash", "complete -F _airkeep"),
        ("zsh", "#compdef airkeep"),
        ("fish", "complete -c airkeep"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        let script = home.succeeds(&["completions", shell]);
        assert!(script.contains(mark) && script.contains("recover-text"), "{shell}: {script}");
    }
    if !cli::has("bash") {
        return eprintln!("skipped: no bash to try the completions in");
    }
    home.write("airkeep.bash", home.succeeds(&["completions", "bash"]), 0o600);
    let complete = |words: &str, place: usize| {
        let script = format!(
            "source ./airkeep.bash; COMP_WORDS=({words}); COMP_CWORD={place}; _airkeep airkeep \"${{COMP_WORDS[{place}]}}\" \"${{COMP_WORDS[{}]}}\"; echo \"${{COMPREPLY[@]}}\"",
            place - 1
        );
        let run = cli::finish(home.program("bash").args(["--norc", "-c", &script]));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stdout.trim().to_owned()
    };
    assert_eq!(complete("airkeep re", 1), "restore recover-text");
    assert_eq!(complete("airkeep key ro", 2), "rotate");
    assert_eq!(complete("airkeep backup --compr", 2), "--compression");
    assert_eq!(complete("airkeep backup --check q", 3), "quick");
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let home = Home::new();
    home.folder("man1");
    let printed = home.succeeds(&["man"]);
    assert!(printed.contains(".TH airkeep 1") && printed.contains("airkeep\\-backup(1)"), "{printed}");
    home.succeeds(&["man", "--out", "man1"]);
    let once = home.tree();
    home.succeeds(&["man", "--out", "man1"]);
    cli::assert_same_tree(&once, &home.tree());
    for path in [vec![vec![]], paths()].concat() {
        let name = [&["airkeep"], &path[..]].concat().join("-");
        let page = String::from_utf8(home.read(&format!("man1/{name}.1"))).unwrap();
        assert!(page.contains(&format!(".TH {name} 1")) && page.contains("Exit codes:"), "{name}: {page}");
    }
    assert_eq!(home.tree().len(), 1 + 1 + paths().len(), "one page for each command");
    home.refuses(10, "no/where", &["man", "--out", "no/where"]);
}
