//! Nothing that others named or wrote can move the cursor, ring, or reorder the text of a terminal: not by text, not by JSON, not by errors.

mod cli;

use std::os::unix::ffi::OsStrExt;

use cli::{Home, Run, assert_harmless, surgery};

/// A window title, colours, a bell, carriage return, backspace, DEL, the one-character CSI, right-to-left override, isolates, line separators.
const HOSTILE: &str =
    "a\u{1b}]0;owned\u{7}\u{1b}[31m\rb\u{8}c\u{7f}d\u{9b}31me\u{202e}f\u{2066}g\u{2069}h\u{2028}i\u{2029}j\u{200f}k\u{85}l";
/// Tabs and line ends move the cursor, too, and forge lines.
const FORGED: &str = "note\nairkeep: error: forged\tline";

fn harmless(run: &Run) {
    assert_harmless(&run.stdout);
    assert_harmless(&run.stderr);
    assert!(!run.stdout.contains("\nairkeep: error") && !run.stderr.lines().any(|line| line == "airkeep: error: forged\tline"), "{run:?}");
}

/// Runs, and looks at all that is printed.
fn look(home: &Home, code: i32, arguments: &[&str]) -> Run {
    let text = home.run(arguments);
    assert_eq!(text.code, code, "{text:?}");
    harmless(&text);
    text
}

#[test]
fn names_and_notes_reach_no_terminal_raw() {
    let home = Home::new();
    home.key("key");
    let file = format!("{HOSTILE}.db");
    let connection = home.database(&file);
    for (place, name) in [HOSTILE, FORGED].iter().enumerate() {
        connection
            .execute_batch(&format!("CREATE TABLE \"{name}\"(x CHECK (x > {place})); CREATE INDEX \"i{name}\" ON \"{name}\"(x);"))
            .unwrap();
    }
    drop(connection);
    let vault = format!("vault {HOSTILE}");
    for json in [&[][..], &["--json"]] {
        let source = format!("app=./{file}");
        look(&home, 0, &[&["backup", &source, "--key-file", "key", "--vault", &vault, "--tag", HOSTILE, "--note", FORGED], json].concat());
        let bundle = home
            .tree()
            .into_keys()
            .find(|path| path.extension().is_some_and(|end| end == "akb") && path.starts_with(home.path(&vault)))
            .unwrap();
        let hostile_bundle = format!("{HOSTILE}.akb");
        std::fs::copy(bundle, home.path(&hostile_bundle)).unwrap();
        let to = format!("out {HOSTILE}{}", json.len());
        for command in [&["info", &hostile_bundle][..], &["verify", &hostile_bundle, &vault], &["restore", &hostile_bundle, "--to", &to]] {
            look(&home, 0, &[command, &["--key-file", "key"], json].concat());
        }
    }
    let text = home.succeeds(&["info", &format!("{HOSTILE}.akb"), "--key-file", "key"]);
    assert!(text.contains("a\\u{1b}]0;owned\\u{7}") && text.contains("note\\u{a}airkeep: error: forged\\u{9}line"), "{text}");
}

#[test]
fn json_gives_the_names_unchanged() {
    let home = Home::new();
    home.key("key");
    let connection = home.database("app.db");
    connection.execute_batch(&format!("CREATE TABLE \"{HOSTILE}\"(x)")).unwrap();
    drop(connection);
    let report = home.json(&["backup", "app.db", "--key-file", "key", "--note", FORGED, "--json"]);
    assert_eq!(report["sources"][0]["tables"][HOSTILE], 0);
    let info = home.json(&["info", report["bundle"]["path"].as_str().unwrap(), "--key-file", "key", "--json"]);
    assert_eq!(info["note"], FORGED);
}

#[test]
fn errors_show_hostile_names_escaped() {
    let home = Home::with_bundle();
    home.write(&format!("{HOSTILE}.txt"), "no bundle", 0o644);
    let (missing, exists) = (format!("missing {HOSTILE}"), format!("{HOSTILE}.txt"));
    let source = format!("app=./{missing}");
    let no_database = format!("app=./{exists}");
    home.folder(&missing.replace("missing", "folder"));
    home.write(&format!("folder {HOSTILE}/app.db"), "", 0o600);
    let folder = format!("folder {HOSTILE}");
    for json in [&[][..], &["--json"]] {
        for (code, arguments) in [
            (2, &[HOSTILE][..]),
            (2, &["backup", "app.db", "--compression", HOSTILE]),
            (2, &["backup", "app.db", &format!("--{HOSTILE}")]),
            (2, &["restore", "app.akb", HOSTILE, "--to", "out"]),
            (2, &["verify", "app.akb", "--level", FORGED]),
            (2, &["backup", &format!("./{}.db", "\u{1b}"), "--key-file", "key"]),
            (10, &["backup", &source, "--key-file", "key"]),
            (14, &["backup", &no_database, "--key-file", "key"]),
            (2, &["backup", "app.db", "--key-file", "key", "--vault", &exists]),
            (12, &["info", "app.akb", "--key-file", &missing]),
            (12, &["info", "app.akb", "--key-file", &exists]),
            (12, &["info", "app.akb", "--passphrase-file", &exists]),
            (10, &["info", &missing]),
            (13, &["info", &exists]),
            (13, &["verify", &exists, "app.akb", &missing]),
            (2, &["restore", "app.akb", "--to", &folder, "--key-file", "key"]),
        ] {
            // Behind the command, where no option takes it for its value; clap reads it anyway.
            let run = look(&home, code, &[&arguments[..1], json, &arguments[1..]].concat());
            assert!(!(run.stderr.is_empty() && run.stdout.is_empty()));
        }
    }
}

#[test]
fn warnings_and_messages_of_sqlite_are_escaped() {
    let home = Home::new();
    home.key("key");
    let connection = home.database("app.db");
    let batch = format!(
        "PRAGMA ignore_check_constraints=1; PRAGMA foreign_keys=0;
         CREATE TABLE \"{HOSTILE}\"(x UNIQUE CHECK (x > 0)); INSERT INTO \"{HOSTILE}\" VALUES (-1);
         CREATE TABLE \"child {HOSTILE}\"(x REFERENCES \"{HOSTILE}\"(x)); INSERT INTO \"child {HOSTILE}\" VALUES (99);"
    );
    connection.execute_batch(&batch).unwrap();
    drop(connection);
    for check in ["quick", "full"] {
        for json in [&[][..], &["--json"]] {
            look(&home, 0, &[&["backup", "app.db", "--key-file", "key", "--check", check], json].concat());
            for command in [["verify", "airkeep-vault"], ["info", &home.bundles()[0]]] {
                look(&home, 0, &[&command, &["--key-file", "key"][..], json].concat());
            }
        }
    }
    let warned = home.run(["verify", "airkeep-vault", "--key-file", "key"]).stderr;
    assert!(warned.contains("CHECK constraint failed in ") && warned.contains("\\u{1b}"), "{warned}");
}

#[test]
fn a_forged_format_name_is_shown_escaped() {
    let home = Home::with_bundle();
    let mut bundle = home.read("app.akb");
    let core = String::from_utf8(surgery::content(&bundle, "bundle.json").to_vec()).unwrap();
    let forged = core.replace("airkeep-bundle/1", "a\\u001b[31m\\u202e");
    let forged = format!("{forged:<width$}", width = core.len());
    surgery::replace(&mut bundle, "bundle.json", &forged.as_bytes()[..core.len()]);
    surgery::fix_slots_sums(&mut bundle);
    home.write("forged.akb", bundle, 0o600);
    for json in [&[][..], &["--json"]] {
        look(&home, 14, &[&["info", "forged.akb"], json].concat());
        look(&home, 14, &[&["verify", "forged.akb"], json].concat());
    }
    home.write(
        "airkeep-vault/vault.json",
        r#"{"format":"a\u001b[31m\u202e","set":{"id":"00112233445566778899aabbccddeeff","name":"x"}}"#,
        0o600,
    );
    look(&home, 14, &["backup", "app.db", "--key-file", "key"]);
    look(&home, 14, &["backup", "app.db", "--key-file", "key", "--json"]);
}

#[test]
fn paths_that_are_not_utf_8_work_and_are_shown_with_replacements() {
    let home = Home::with_bundle();
    let name = std::ffi::OsStr::from_bytes(b"\xff\x1b[31m.db");
    if std::fs::copy(home.path("app.db"), home.path(name)).is_err() {
        return eprintln!("skipped: this file system takes only UTF-8 names");
    }
    let vault = std::ffi::OsStr::from_bytes(b"vault \xff");
    let bundle = std::ffi::OsStr::from_bytes(b"\xff.akb");
    std::fs::copy(home.path("app.akb"), home.path(bundle)).unwrap();
    let os = |text: &'static str| std::ffi::OsStr::new(text);
    for arguments in [
        vec![os("backup"), name, os("--key-file"), os("key")],
        vec![os("backup"), os("app.db"), os("--vault"), vault, os("--key-file"), os("key")],
        vec![os("verify"), bundle, vault],
        vec![os("info"), bundle, os("--json")],
    ] {
        let run = home.run(&arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {run:?}");
        harmless(&run);
    }
}
