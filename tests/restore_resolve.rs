//! What a restore in place leaves when it did not live to say how it ended, and what is made of it after the world went on.

mod cli;

use cli::Home;
use rusqlite::Connection;
use serde_json::{Value, json};

const SCHEMA: &str = "CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT); CREATE TABLE data(x);";
const VAULT: &str = "airkeep-vault";

fn site(mode: &str, names: &[&str]) -> (Home, String) {
    let home = Home::new();
    home.key("key");
    for name in names {
        let database = Connection::open(home.path(name)).unwrap();
        database.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
        database.execute_batch(&format!("{SCHEMA} INSERT INTO audit VALUES(1, 'old')")).unwrap();
    }
    let report = home.json(&[&["backup"], names, &["--append-only", "audit", "--key-file", "key", "--json"]].concat());
    for name in names {
        Connection::open(home.path(name)).unwrap().execute_batch("INSERT INTO audit VALUES(2, 'new')").unwrap();
    }
    (home, report["bundle"]["path"].as_str().unwrap().to_owned())
}

fn restore<'a>(bundle: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", bundle, "--in-place", "--force", "--key-file", "key", "--json"], more].concat()
}

/// Cuts the journal behind the record that says that all is ready: what a kill between that and the end leaves, whether or not the
/// content was replaced by then.
fn forget_the_end(home: &Home, vault: &str) {
    let journal = String::from_utf8(home.read(&format!("{vault}/journal.jsonl"))).unwrap();
    let ready = journal.lines().position(|line| line.contains("\"stage\":\"ready\"")).unwrap();
    let cut: String = journal.lines().take(ready + 1).map(|line| format!("{line}\n")).collect();
    home.write(&format!("{vault}/journal.jsonl"), cut, 0o600);
    let _ = std::fs::remove_file(home.path(format!("{vault}/journal.head")));
}

fn resolve(home: &Home) -> Value {
    let run = home.run(["restore", "resolve", "--json"]);
    let object: Value = serde_json::from_str(&run.stdout).unwrap();
    object["resolutions"][0].clone()
}

fn change(home: &Home, name: &str, sql: &str) {
    Connection::open(home.path(name)).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn the_new_content_is_known_whatever_was_written_since_and_nothing_is_claimed_that_is_not_known() {
    for (then, state) in [
        ("", "new"),
        ("INSERT INTO audit VALUES(3, 'since')", "new"),
        ("INSERT INTO audit VALUES(3, 'since'); VACUUM", "new"),
        ("ALTER TABLE data ADD COLUMN y; CREATE TABLE more(x)", "new"),
        ("INSERT INTO audit VALUES(3, 'since'); PRAGMA schema_version=7", "unclear"),
    ] {
        let (home, bundle) = site("wal", &["app.db"]);
        home.json(&restore(&bundle, &[]));
        forget_the_end(&home, VAULT);
        change(&home, "app.db", then);
        let resolution = resolve(&home);
        assert_eq!(resolution["targets"][0]["state"], state, "{then}: {resolution}");
        assert_eq!(resolution["recorded"], if state == "new" { json!("success") } else { Value::Null }, "{then}");
    }
}

#[test]
fn the_old_content_is_never_taken_for_the_new_one() {
    for (then, state) in
        [("", "old"), ("INSERT INTO audit VALUES(3, 'since')", "old"), ("VACUUM", "unclear"), ("ALTER TABLE data ADD COLUMN y", "unclear")]
    {
        let (home, bundle) = site("delete", &["app.db"]);
        let old = home.read("app.db");
        home.json(&restore(&bundle, &[]));
        forget_the_end(&home, VAULT);
        home.write("app.db", old, 0o644);
        change(&home, "app.db", then);
        let resolution = resolve(&home);
        assert_eq!(resolution["targets"][0]["state"], state, "{then}: {resolution}");
        assert_eq!(resolution["recorded"], if state == "old" { json!("failure") } else { Value::Null }, "{then}");
        let gaps = home.json(&["audit", "show", "--event", "gap", "--json"]);
        assert_eq!(gaps["records"], json!([]), "{then}: no row was lost");
    }
}

#[test]
fn a_file_that_was_made_anew_is_told_from_one_that_is_not_ours() {
    for (then, state) in [("", "new"), ("INSERT INTO audit VALUES(3, 'since')", "new"), ("remove", "unclear"), ("another", "unclear")] {
        let (home, bundle) = site("delete", &["app.db"]);
        std::fs::remove_file(home.path("app.db")).unwrap();
        home.json(&restore(&bundle, &[]));
        forget_the_end(&home, VAULT);
        let expected = match then {
            "remove" => {
                std::fs::remove_file(home.path("app.db")).unwrap();
                "old" // nothing was there before, and nothing is
            }
            "another" => {
                std::fs::remove_file(home.path("app.db")).unwrap();
                change(&home, "app.db", "CREATE TABLE quite(another)");
                state
            }
            sql => {
                change(&home, "app.db", sql);
                state
            }
        };
        assert_eq!(resolve(&home)["targets"][0]["state"], expected, "{then}");
    }
}

#[test]
fn of_two_targets_at_different_states_somebody_decides() {
    let (home, bundle) = site("delete", &["a.db", "b.db"]);
    let old = home.read("b.db");
    home.json(&restore(&bundle, &[]));
    forget_the_end(&home, VAULT);
    home.write("b.db", old, 0o644);
    let resolution = resolve(&home);
    let states: Vec<&Value> = resolution["targets"].as_array().unwrap().iter().map(|target| &target["state"]).collect();
    assert_eq!((states, &resolution["recorded"]), (vec![&json!("new"), &json!("old")], &Value::Null));
    let run = home.run(["restore", "resolve"]);
    assert!(run.code == 1 && run.stderr.contains("is still open"), "{}", run.stderr);
    let run = home.run(restore(&bundle, &["b"]));
    assert!(run.code == 2 && run.stderr.contains("has not been resolved"), "{}", run.stderr);
    let id = resolution["restore"].as_str().unwrap();
    home.json(&restore(&bundle, &["b", "--resolves", id]));
    assert_eq!(home.succeeds(&["restore", "resolve"]), "no restore is open\n");
    let rows = |name: &str| -> i64 {
        Connection::open(home.path(name)).unwrap().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("a.db"), rows("b.db")), (1, 1));
}

#[test]
fn what_is_closed_as_it_is_says_which_database_was_replaced() {
    let (home, bundle) = site("delete", &["a.db", "b.db"]);
    let old = home.read("b.db");
    home.json(&restore(&bundle, &[]));
    forget_the_end(&home, VAULT);
    home.write("b.db", old, 0o644);
    home.succeeds(&["restore", "resolve", "--as-it-is"]);
    let run = home.run(["backup", "a.db", "b.db", "--key-file", "key"]);
    assert_eq!(run.code, 0, "neither is accused: {}", run.stderr);
    let again = home.json(&restore(&bundle, &[]));
    let incarnations: Vec<&Value> = again["targets"].as_array().unwrap().iter().map(|target| &target["incarnation"]["number"]).collect();
    assert_eq!(incarnations, [&json!(3), &json!(2)]);
}

#[test]
fn what_the_vault_s_journal_does_not_take_stays_open() {
    let (home, _) = site("delete", &["app.db"]);
    home.succeeds(&["init", "--vault", "signed", "--name", "plant"]);
    let report = home.json(&["backup", "app.db", "--vault", "signed", "--key-file", "key", "--json"]);
    change(&home, "app.db", "INSERT INTO audit VALUES(3, 'since')");
    home.json(&restore(report["bundle"]["path"].as_str().unwrap(), &[]));
    forget_the_end(&home, "signed");
    let resolve = ["restore", "resolve", "--vault", "signed"];
    let run = home.run([&resolve[..], &["--signing-key", "nowhere", "--json"]].concat());
    let object: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &object["resolutions"][0]["recorded"]), (1, &Value::Null), "{}", run.stderr);
    assert!(run.stderr.contains("the vault's journal did not take the record of its end"), "{}", run.stderr);
    assert!(run.stderr.contains("airkeep: warning: recorded in this account's own journal and not in the vault's"), "{}", run.stderr);
    assert!(home.succeeds(&resolve).contains("it was done, and is recorded so"), "it was still open");
    assert_eq!(home.succeeds(&resolve), "no restore is open\n");
}

#[test]
fn a_locked_target_of_another_application_is_refused_under_the_lock() {
    let (home, bundle) = site("delete", &["app.db"]);
    change(&home, "app.db", "PRAGMA application_id=7");
    let lock = Connection::open(home.path("app.db")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let stopped = home.path("stopped");
    let run = std::thread::scope(|scope| {
        // The application lets go as soon as it is told to stop.
        scope.spawn(|| {
            while !stopped.exists() {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            drop(lock);
        });
        home.run(restore(&bundle, &["--stop-with", "touch stopped", "--busy-timeout", "3"]))
    });
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("its application_id is 7, the snapshot's 0"), "{}", run.stderr);
}

/// Runs a restore in which one system call on a file fails.
fn with_fault(home: &Home, on: &str, calls: &str, fault: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut strace = home.program("strace");
    let path = home.path(on);
    strace.args([
        "-f",
        "-o",
        "/dev/null",
        "-P",
        path.to_str().unwrap(),
        "-e",
        &format!("trace={calls}"),
        "-e",
        &format!("inject={calls}:{fault}"),
    ]);
    let output = strace.arg(cli::AIRKEEP).args(arguments).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_fails_after_the_content_was_replaced_is_no_claim_that_nothing_was() {
    if !cli::has("strace") {
        return eprintln!("skipped: strace is not installed");
    }
    let (home, bundle) = site("wal", &["app.db"]);
    let arguments = ["restore", &bundle, "--in-place", "--force", "--key-file", "key"];
    // The pages are durable in the WAL by then; only moving them out of it fails.
    let (code, stderr) = with_fault(&home, "app.db", "pwrite64", "error=ENOSPC", &arguments);
    assert_ne!(code, Some(0), "{stderr}");
    assert!(stderr.contains("it was replaced, and that could not be confirmed"), "{stderr}");
    let gap = home.json(&["gap", "show", "--json"]);
    assert_eq!(gap["gap"]["totals"]["lost"], 1, "the lost row is on the record: {gap}");
    let rows: i64 = Connection::open(home.path("app.db")).unwrap().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
    assert_eq!(home.run(["backup", "app.db", "--key-file", "key"]).code, 0, "the next backup accuses nobody");
}

#[test]
fn journals_of_a_file_that_was_moved_aside_never_come_beside_the_new_one() {
    if !cli::has("strace") {
        return eprintln!("skipped: strace is not installed");
    }
    for number in 1..10 {
        let (home, bundle) = site_that_cannot_be_opened();
        let arguments = ["restore", &bundle, "--in-place", "--force", "--key-file", "key", "--accept-other"];
        let before = [home.read("app.db"), home.read("app.db-wal")];
        let folder = home.path("").canonicalize().unwrap();
        let (code, stderr) = with_fault(&home, folder.to_str().unwrap(), "fsync", &format!("error=EIO:when={number}"), &arguments);
        if code == Some(0) {
            return assert!(number > 2, "neither moving aside nor the new name met the fault");
        }
        if stderr.contains("it was replaced") {
            let rows = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found: (i64, i64) =
                Connection::open(home.path("app.db")).unwrap().query_row("SELECT count(*), max(id) FROM audit", [], rows).unwrap();
            assert_eq!(found, (1, 1), "a mixture, {number}: {stderr}");
        } else {
            assert!(stderr.contains("nothing was replaced"), "{number}: {stderr}");
            assert_eq!(before, [home.read("app.db"), home.read("app.db-wal")], "{number}: {stderr}");
            assert!(!home.tree().keys().any(|path| path.to_string_lossy().contains("app.db.airkeep-")), "{number}: nothing lies aside");
        }
    }
}

/// A database that is none any more, with a WAL beside it that would fit another one.
fn site_that_cannot_be_opened() -> (Home, String) {
    let (home, bundle) = site("wal", &["app.db"]);
    let database = Connection::open(home.path("app.db")).unwrap();
    database.execute_batch("PRAGMA wal_autocheckpoint=0; INSERT INTO audit VALUES(3, 'in the WAL')").unwrap();
    let wal = home.read("app.db-wal");
    drop(database);
    home.write("app.db-wal", wal, 0o644);
    let mut broken = home.read("app.db");
    broken[..16].fill(0xee);
    home.write("app.db", broken, 0o644);
    (home, bundle)
}
