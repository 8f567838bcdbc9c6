//! 'airkeep backup --dry-run' tells what a backup would do, ends as it would, and leaves no trace.

mod cli;

use cli::{Home, assert_same_tree, finish};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A live database in WAL mode, one in rollback mode, and a configuration with a group.
fn system(more: &str) -> (Home, Connection) {
    let home = Home::new();
    let live = home.database("live.db");
    live.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE more(x)").unwrap();
    drop(home.database("audit.db"));
    home.key("key");
    let text = "set = 'plant'\nmarking = 'CUI'\n[keys]\nkey-files = ['key']\n[sources.live]\nsqlite = 'live.db'\nrequired = true\ngroup = 'books'\n\
        [sources.audit]\nsqlite = 'audit.db'\ngroup = 'books'\n";
    home.write("airkeep.toml", format!("{text}{more}"), 0o600);
    (home, live)
}

/// Exit code, object and messages; nothing is changed, as text and as JSON.
fn dry_run(home: &Home, more: &[&str]) -> (i32, Value, String) {
    let before = home.tree();
    let arguments = [&["backup", "--dry-run"], more].concat();
    let plain = home.run(&arguments);
    let run = home.run([&arguments[..], &["--json"]].concat());
    assert_eq!(plain.code, run.code);
    assert_same_tree(&before, &home.tree());
    (run.code, serde_json::from_str(&run.stdout).expect(&run.stderr), plain.stdout + &plain.stderr)
}

#[test]
fn the_plan_is_what_the_backup_then_does() {
    let (home, _live) = system("");
    for number in 1..=2 {
        let (code, plan, text) = dry_run(&home, &[]);
        assert_eq!(code, 0, "{text}");
        let report = home.json(&["backup", "--json"]);
        assert_eq!((&plan["sequence"], &plan["new_vault"]), (&json!(number), &json!(number == 1)));
        assert_eq!(plan["sequence"], report["bundle"]["sequence"]);
        assert_eq!((&plan["set"], &plan["marking"]), (&report["bundle"]["set"]["name"], &report["bundle"]["marking"]));
        assert_eq!((&plan["compression"], &plan["new_vault"]), (&report["compression"], &report["new_vault"]));
        for (planned, sealed) in plan["sources"].as_array().unwrap().iter().zip(report["sources"].as_array().unwrap()) {
            assert_eq!((&planned["label"], &planned["journal_mode"]), (&sealed["label"], &sealed["journal_mode"]));
            assert_eq!((&planned["group"], &planned["problem"]), (&json!("books"), &Value::Null));
        }
    }
    let (_, plan, text) = dry_run(&home, &["audit"]);
    assert_eq!(plan["sources"].as_array().unwrap().len(), 1);
    for words in
        ["source    audit: '", ", rollback mode\n", "\nbundle    number 3 of plant, ", "\nmarked    CUI\n", "\nkey       key file '"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert_eq!(plan["keys"][0], format!("key file '{}'", home.path("key").canonicalize().unwrap().display()));
}

#[test]
fn it_ends_as_the_backup_would() {
    let (home, _live) = system("[sources.late]\nsqlite = 'late.db'\n[sources.text]\nsqlite = 'airkeep.toml'\n");
    let (code, plan, text) = dry_run(&home, &[]);
    assert_eq!((code, home.run(["backup"]).code), (3, 3), "{text}");
    for words in ["missing   late: ", "source 'late' would not be in the bundle", "source 'text' would not be in the bundle"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(plan["sources"][2]["problem"].as_str().unwrap().contains("does not exist") && plan["sources"][2]["size_bytes"].is_null());
    for (arguments, code, words) in [
        (&["late"][..], 10, "no source could be captured"),
        (&["nowhere.db"], 10, "is neither a source of airkeep.toml nor a file"),
        (&["airkeep.toml"], 14, "is not an SQLite database"),
        (&["live.db", "LIVE=live.db"], 2, "label 'LIVE' is not allowed"),
        (&["live.db", "live=audit.db"], 2, "live"),
        (&["--vault", "no/where"], 10, "no"),
        (&["--key-file", "nokey"], 12, "nokey"),
    ] {
        let (found, _, text) = dry_run(&home, arguments);
        assert!(found == code && text.contains(words), "{arguments:?}: {found}, {text}");
        assert_eq!(home.run([&["backup"], arguments].concat()).code, code, "{arguments:?}");
    }
    std::fs::remove_file(home.path("live.db")).unwrap();
    let (code, plan, text) = dry_run(&home, &[]);
    assert!(code == 10 && text.contains("live.db' does not exist") && plan["ok"] == false, "{text}");
    assert_eq!(plan["sources"].as_array().unwrap().len(), 4, "the plan is told all the same");
}

#[test]
fn no_key_is_needed_and_the_signer_is_told() {
    let (home, _live) = system("");
    home.write("airkeep.toml", "", 0o600);
    let (code, plan, _) = dry_run(&home, &["live.db"]);
    assert_eq!((code, &plan["keys"][0]), (0, &json!("the terminal, where a passphrase is asked for")));
    assert_eq!((&plan["set"], &plan["signer"]), (&Value::Null, &Value::Null));
    let made = home.json(&["init", "--json"]);
    let (code, plan, text) = dry_run(&home, &["live.db"]);
    assert_eq!((code, &plan["signer"], &plan["set"]), (0, &made["fingerprint"], &made["set"]["name"]), "{text}");
    assert_eq!(plan["new_vault"], false);
    std::fs::remove_file(made["key_file"].as_str().unwrap()).unwrap();
    let (code, _, text) = dry_run(&home, &["live.db"]);
    assert!(code == 12 && text.contains("cannot use the signing key"), "{text}");
    let quiet = finish(&mut home.airkeep(["backup", "--dry-run", "live.db", "-q"]));
    assert!(quiet.stdout.contains("source    live: '"), "it is what was asked for: {}", quiet.stdout);
}

/// A run that was killed before it could say whether its bundle got its name: the number is not given away again.
#[test]
fn a_number_that_was_announced_is_spent() {
    let (home, _live) = system("");
    home.succeeds(&["backup", "-q"]);
    let mut identity: Value = serde_json::from_slice(&home.read("airkeep-vault/vault.json")).unwrap();
    let subject = json!({ "bundle": "0".repeat(32), "sequence": 2, "file": "plant-000002-20260101T000000Z.akb" });
    identity["pending"] = json!({ "subject": subject, "seal_sha256": "0".repeat(64), "details": {} });
    home.write("airkeep-vault/vault.json", identity.to_string(), 0o600);
    assert_eq!(dry_run(&home, &[]).1["sequence"], 3);
    let run = home.run(["backup", "--json"]);
    let report: Value = serde_json::from_str(&run.stdout).expect(&run.stderr);
    assert_eq!(report["bundle"]["sequence"], 3);
}

#[test]
fn plain_files_are_in_the_plan() {
    let (home, _live) = system(
        "[sources.env]\nenv = '.env'\nrequired = true\n[sources.logs]\nfiles = 'logs/*'\n[sources.keys]\nfiles = ['key', '*.toml']\n",
    );
    let (code, _, text) = dry_run(&home, &[]);
    assert!(code == 10 && text.contains("missing   env: '") && text.contains("/.env' does not exist, required"), "{text}");
    home.write(".env", "A=1\n", 0o600);
    let (code, plan, text) = dry_run(&home, &[]);
    assert!(code == 3 && text.contains("source 'logs' would not be in the bundle: no file fits its patterns"), "{text}");
    assert!(text.contains("source    env: 1 file in '") && text.contains("secrets left out, required"), "{text}");
    let paths: Vec<&str> = plan["files"][2]["paths"].as_array().unwrap().iter().map(|path| path.as_str().unwrap()).collect();
    assert!(paths.len() == 1 && paths[0].ends_with("/airkeep.toml"), "keys are in no set: {paths:?}");
}
