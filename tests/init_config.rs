//! The configuration that 'airkeep init' begins: enough for the next backup, and never in place of one that is there.

mod cli;

use std::os::unix::fs::PermissionsExt;

use cli::Home;
use rusqlite::Connection;

/// An application with tenants, one of whose databases is in use.
fn application() -> (Home, Connection) {
    let home = Home::new();
    for folder in ["data", "data/tenants", "it's \"odd\""] {
        home.folder(folder);
    }
    for name in ["data/main.db", "data/tenants/acme.db", "data/tenants/beta.db", "it's \"odd\"/back\\slash.db"] {
        drop(home.database(name));
    }
    let live = home.database("live.db");
    live.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE more(x)").unwrap();
    home.key("k");
    (home, live)
}

#[test]
fn init_check_and_backup_follow_each_other() {
    let (home, live) = application();
    live.execute_batch("BEGIN IMMEDIATE; INSERT INTO more VALUES(1)").unwrap();
    let told = home.succeeds(&["init"]);
    assert!(told.ends_with("config    airkeep.toml (new, with 5 databases found below this folder: look it through)\n"), "{told}");
    assert_eq!(home.path("airkeep.toml").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    live.execute_batch("COMMIT").unwrap();
    assert!(home.succeeds(&["config", "check"]).starts_with("ok "));
    let report = home.json(&["backup", "--key-file", "k", "--json"]);
    let labels: Vec<_> = report["sources"].as_array().unwrap().iter().map(|source| source["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["main", "back-slash", "live", "tenants/acme", "tenants/beta"]);
    assert!(report["bundle"]["path"].as_str().unwrap().contains("airkeep-vault/") && !report["bundle"]["signer"].is_null());
    assert_eq!(report["new_vault"], false, "the vault is the one that init made");
}

#[test]
fn a_signing_key_in_a_place_of_its_own_is_found_again() {
    let (home, _live) = application();
    let made = home.json(&["init", "--signing-key", "sign \"here\"", "--json"]);
    let report = home.json(&["backup", "--key-file", "k", "--json"]);
    assert_eq!(report["bundle"]["signer"], made["signer"]);
}

#[test]
fn a_configuration_that_is_there_is_kept() {
    let (home, _live) = application();
    home.write("airkeep.toml", "# mine\n", 0o600);
    let told = home.succeeds(&["init", "--vault", "first"]);
    assert!(told.contains("airkeep.toml (kept as it is)\n"), "{told}");
    let below = cli::finish(home.airkeep(["init", "--vault", "second", "--json"]).current_dir(home.path("data")));
    let object: serde_json::Value = serde_json::from_str(&below.stdout).unwrap();
    assert_eq!((&object["config"]["is_new"], &object["config"]["databases"]), (&false.into(), &serde_json::Value::Null));
    assert!(!home.path("data/airkeep.toml").exists(), "one above is in effect");
    assert_eq!(home.read("airkeep.toml"), b"# mine\n");
    std::fs::rename(home.path("airkeep.toml"), home.path("other.toml")).unwrap();
    home.succeeds(&["init", "--vault", "third", "--config", "other.toml"]);
    home.succeeds(&["init", "--vault", "fourth", "--no-config"]);
    assert!(!home.path("airkeep.toml").exists());
    assert_eq!(home.json(&["init", "--vault", "fifth", "--json"])["config"]["databases"], 5);
}

#[test]
fn a_vault_that_has_a_signer_gets_a_configuration_and_stays_as_it_is() {
    let (home, _live) = application();
    let made = home.json(&["init", "--no-config", "--json"]);
    home.refuses(2, "its bundles are signed by", &["init", "--no-config"]);
    let kept = home.read("airkeep-vault/vault.json");
    let report = home.json(&["init", "--json"]);
    assert_eq!((&report["signer"], &report["key_file"], &report["new_vault"]), (&made["signer"], &made["key_file"], &false.into()));
    assert_eq!((&report["config"]["is_new"], &report["config"]["databases"]), (&true.into(), &5.into()));
    assert_eq!(home.read("airkeep-vault/vault.json"), kept);
    home.succeeds(&["config", "check"]);
    let backup = home.json(&["backup", "--key-file", "k", "--json"]);
    assert_eq!(backup["bundle"]["signer"], made["signer"]);
    home.refuses(2, "its bundles are signed by", &["init"]);
    std::fs::remove_file(home.path("airkeep.toml")).unwrap();
    let told = home.succeeds(&["init"]);
    assert!(told.contains(" (kept as it is, and its signer)\n") && !told.contains("write the fingerprint down"), "{told}");
    std::fs::remove_file(home.path("airkeep.toml")).unwrap();
    home.folder("airkeep.toml");
    home.refuses(1, "no airkeep.toml was written", &["init"]);
}

#[test]
fn where_it_cannot_stand_the_vault_is_made_all_the_same() {
    let (home, _live) = application();
    home.folder("airkeep.toml");
    let run = home.run(["init"]);
    assert!(run.code == 0 && run.stderr.contains("no airkeep.toml was written: '"), "{}{}", run.stdout, run.stderr);
    assert!(run.stderr.contains("exists already"), "{}", run.stderr);
    std::fs::remove_dir(home.path("airkeep.toml")).unwrap();
    home.chmod("data", 0o777);
    let run = cli::finish(home.airkeep(["init", "--vault", "../second"]).current_dir(home.path("data")));
    assert!(run.code == 0 && run.stderr.contains("could have been written by others"), "{}{}", run.stdout, run.stderr);
    assert!(!home.path("data/airkeep.toml").exists(), "what nobody believes would be in the way of every command");
}

#[test]
fn a_backup_of_nothing_is_told_how_to_begin() {
    let home = Home::new();
    let hint = |words: &[&str]| home.run(words).stderr.lines().last().unwrap().to_owned();
    for words in [&["backup"][..], &["guard", "--", "true"]] {
        assert_eq!(hint(words), "hint: name a database, or begin an airkeep.toml with 'airkeep init'", "{words:?}");
    }
    home.write("airkeep.toml", "# nothing yet\n", 0o600);
    assert_eq!(hint(&["backup"]), "hint: name a database, or give airkeep.toml sources");
    assert_eq!(hint(&["restore"]), "hint: see --help");
}

#[test]
fn without_databases_there_is_a_form_to_fill_in() {
    let home = Home::new();
    let told = home.succeeds(&["init", "--name", "plant"]);
    assert!(told.contains("with 0 databases found"), "{told}");
    home.succeeds(&["config", "check"]);
    let text = String::from_utf8(home.read("airkeep.toml")).unwrap();
    assert!(text.contains("set = \"plant\"\nvault = \"airkeep-vault\"\n") && text.contains("# [sources.main]"), "{text}");
}
