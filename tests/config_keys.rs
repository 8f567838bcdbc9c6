//! Keys that the configuration names: which are used, what happens if they are not there, and who does not get to see them.

mod cli;

use std::process::Command;

use cli::{Home, PASSPHRASE, finish};

const OTHER: &str = "another passphrase, for the safe";

/// A database, and a configuration with a variable and a credential.
fn home(more: &str) -> Home {
    let home = Home::new();
    drop(home.database("app.db"));
    home.folder("credentials");
    home.write("credentials/plant", format!("{OTHER}\n"), 0o400);
    home.write("airkeep.toml", format!("{more}[keys]\npassphrase-env = 'PLANT_SECRET'\ncredential = 'plant'\n"), 0o600);
    home
}

/// As in a service.
fn at_work(home: &Home, arguments: &[&str]) -> Command {
    let mut command = home.airkeep(arguments);
    command.env("PLANT_SECRET", PASSPHRASE).env("CREDENTIALS_DIRECTORY", home.path("credentials"));
    command
}

#[test]
fn each_configured_key_becomes_a_slot_and_opens_alone() {
    let home = home("");
    home.key("key");
    let text = String::from_utf8(home.read("airkeep.toml")).unwrap();
    home.write("airkeep.toml", format!("{text}key-files = ['key']\n"), 0o600);
    let run = finish(&mut at_work(&home, &["backup", "app.db", "--json"]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let bundle = report["bundle"]["path"].as_str().unwrap();
    assert_eq!(home.json(&["info", bundle, "--json"])["slots"].as_array().unwrap().len(), 3);
    home.write("airkeep.toml", text, 0o600);
    let open = ["verify", bundle, "--level", "2"];
    assert_eq!(finish(home.airkeep(open).env("PLANT_SECRET", PASSPHRASE)).code, 0);
    assert_eq!(finish(home.airkeep(open).env("CREDENTIALS_DIRECTORY", home.path("credentials"))).code, 0);
    home.refuses(12, "no passphrase or key was given", &open);
    let run = finish(home.airkeep(open).env("PLANT_SECRET", OTHER).env("AIRKEEP_PASSPHRASE", "wrong, wrong, wrong"));
    assert_eq!(run.code, 12, "what is set for this run counts alone: {}", run.stderr);
}

#[test]
fn a_key_that_is_not_there_keeps_from_sealing() {
    let home = home("");
    let without = |name: &'static str| {
        move |home: &Home, json: &[&str]| {
            let mut command = at_work(home, &[&["backup", "app.db"], json].concat());
            command.env_remove(name);
            command
        }
    };
    home.refuses_run(12, "PLANT_SECRET, which keys.passphrase-env names, is not set", |json| without("PLANT_SECRET")(&home, json));
    home.refuses_run(12, "CREDENTIALS_DIRECTORY is not set", |json| without("CREDENTIALS_DIRECTORY")(&home, json));
    home.chmod("credentials/plant", 0o600);
    home.write("credentials/plant", "", 0o400);
    home.refuses_run(12, "the passphrase is empty", |json| at_work(&home, &[&["backup", "app.db"], json].concat()));
    std::fs::remove_file(home.path("credentials/plant")).unwrap();
    home.refuses_run(12, "/credentials/plant' does not exist", |json| at_work(&home, &[&["backup", "app.db"], json].concat()));
    home.write("pass", PASSPHRASE, 0o600);
    home.succeeds(&["backup", "app.db", "--passphrase-file", "pass", "-q"]);
}

#[test]
fn check_and_show_tell_where_keys_come_from_and_none_of_them() {
    let home = home("");
    for action in ["check", "show"] {
        for json in [&[][..], &["--json"]] {
            let run = finish(&mut at_work(&home, &[&["config", action], json].concat()));
            assert_eq!(run.code, 0, "{}", run.stderr);
            assert!(!(run.stdout + &run.stderr).contains("passphrase,"), "a secret was shown");
        }
    }
    let shown = home.json(&["config", "show", "--json"]);
    assert_eq!(shown["config"]["keys"]["passphrase_env"], "PLANT_SECRET");
    assert!(
        home.succeeds(&["config", "show"]).contains("key       environment variable PLANT_SECRET\nkey       service credential plant\n")
    );
    home.refuses(10, "PLANT_SECRET, which keys.passphrase-env names, is not set", &["config", "check"]);
    home.write("airkeep.toml", "[keys]\nkey-files = 'a'\npassphrase-files = ['b']\n", 0o600);
    home.refuses(10, "/a' does not exist", &["config", "check"]);
    assert!(home.run(["config", "check"]).stderr.contains("warning: passphrase file"));
}

#[test]
fn no_command_of_the_site_gets_the_variable() {
    let look = "env > env.txt; test -z \"$PLANT_SECRET$CREDENTIALS_DIRECTORY\" && test \"$PLANT_CODE\" = 7";
    let home = home("hook = './look'\nstop = './look'\nstart = './look'\n");
    home.write("look", format!("#!/bin/sh\ncat >/dev/null\n{look}\n"), 0o700);
    let succeeds = |arguments: &[&str]| {
        let run = finish(at_work(&home, arguments).env("PLANT_CODE", "7"));
        assert_eq!(run.code, 0, "{arguments:?}: {}", run.stderr);
        assert!(home.path("env.txt").exists(), "{arguments:?}: nothing was run");
        std::fs::remove_file(home.path("env.txt")).unwrap();
    };
    succeeds(&["backup", "app.db"]);
    succeeds(&["guard", "--db", "app.db", "--", "sh", "-c", look]);
    succeeds(&["restore", "1", "--in-place", "--force"]);
}
