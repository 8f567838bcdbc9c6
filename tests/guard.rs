//! Guarded work: what fails half-way leaves the databases as they were, and the journal tells the story.

mod cli;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cli::{Home, finish, has};
use rusqlite::Connection;
use serde_json::{Value, json};

const SCHEMA: &str =
    "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT); CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT);
    CREATE TRIGGER keep BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, ''); END;
    CREATE TRIGGER hold BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, ''); END;
    INSERT INTO audit(what) VALUES('made'); INSERT INTO person(name) VALUES('Ann'), ('Bob');";
const GUARD: [&str; 5] = ["guard", "--db", "app.db", "--key-file", "key"];

fn site(mode: &str) -> Home {
    let home = Home::new();
    home.key("key");
    database(&home, "app.db", mode);
    home
}

fn database(home: &Home, name: &str, mode: &str) {
    let database = Connection::open(home.path(name)).unwrap();
    database.query_row(&format!("PRAGMA journal_mode={mode}"), [], |_| Ok(())).unwrap();
    database.execute_batch(SCHEMA).unwrap();
}

/// The command line of a migration that is played by this test binary.
fn migration(role: &str) -> Vec<String> {
    let test = std::env::current_exe().unwrap();
    ["--", test.to_str().unwrap(), "--exact", "plays_a_migration", "--ignored", "--nocapture", role].map(str::to_owned).to_vec()
}

/// Not a test: what the guarded command does, by its last argument.
#[test]
#[ignore = "a role that other tests start"]
#[allow(clippy::exit, reason = "how a failing command ends")]
fn plays_a_migration() {
    let role = std::env::args().next_back().unwrap();
    if !role.starts_with("migrate-") {
        return;
    }
    let database = Connection::open("app.db").unwrap();
    if std::path::Path::new("more.db").exists() {
        Connection::open("more.db").unwrap().execute_batch("DELETE FROM person").unwrap();
    }
    database.execute_batch("ALTER TABLE person ADD COLUMN born; INSERT INTO audit(what) VALUES('migration began'), ('half done')").unwrap();
    database.execute_batch("DELETE FROM person WHERE name = 'Bob'").unwrap();
    drop(database);
    match role.as_str() {
        "migrate-well" => {}
        "migrate-and-fail" => std::process::exit(7),
        "migrate-and-remove" => {
            std::fs::remove_file("app.db").unwrap();
            std::process::exit(1);
        }
        "migrate-and-wait" => {
            std::fs::write("waiting.new", std::process::id().to_string()).and_then(|()| std::fs::rename("waiting.new", "waiting")).unwrap();
            std::thread::sleep(Duration::from_secs(60));
        }
        other => panic!("{other}"),
    }
}

fn guard(home: &Home, more: &[&str], role: &str) -> cli::Run {
    let command: Vec<String> = GUARD.iter().chain(more).map(|word| (*word).to_owned()).chain(migration(role)).collect();
    home.run(command)
}

fn content(home: &Home, name: &str) -> (i64, i64, String, usize) {
    let database = Connection::open(home.path(name)).unwrap();
    let ok: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(ok, "ok");
    let mode = database.query_row("PRAGMA journal_mode", [], |row| row.get(0)).unwrap();
    let count = |table: &str| database.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    let columns = database.prepare("SELECT * FROM person").unwrap().column_count();
    (count("audit"), count("person"), mode, columns)
}

fn story(home: &Home) -> Vec<String> {
    let shown = home.json(&["audit", "show", "--json"]);
    let word = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    shown["records"].as_array().unwrap().iter().map(|record| word(record, "event") + " " + &word(record, "outcome")).collect()
}

#[test]
fn a_migration_that_fails_half_way_leaves_the_database_as_it_was_and_the_journal_tells_the_story() {
    for mode in ["wal", "delete"] {
        let home = site(mode);
        let before = content(&home, "app.db");
        let run = guard(&home, &["--operator", "Ann"], "migrate-and-fail");
        assert_eq!(run.code, 7, "{}", run.stderr);
        assert!(run.stderr.contains("the command ended with exit code 7; the databases are as they were before"), "{}", run.stderr);
        assert_eq!(content(&home, "app.db"), before);
        assert!(run.stdout.contains("lost      app.audit: 2 rows, id 2 to 3\n"), "{}", run.stdout);
        assert_eq!(
            story(&home),
            [
                "backup success",
                "guard intent",
                "restore intent",
                "backup success",
                "restore intent",
                "gap success",
                "restore success",
                "guard failure"
            ]
        );
        let records = home.json(&["audit", "show", "--json"])["records"].clone();
        assert_eq!((&records[0]["details"]["kind"], &records[3]["details"]["kind"]), (&json!("pre-migration"), &json!("safety")));
        assert!(records[6]["reason"].as_str().unwrap().contains("the command ended with exit code 7"), "{records}");
        assert_eq!((&records[6]["actor"]["operator"], &records[7]["details"]["put_back"]), (&json!("Ann"), &json!(true)));
        assert!(!records[1]["details"].to_string().contains("migrate-and-fail"), "arguments can hold secrets: {}", records[1]);
        home.succeeds(&["audit", "verify"]);
        let safety = home.bundles().pop().unwrap();
        home.succeeds(&["restore", &safety, "--to", "half", "--key-file", "key"]);
        let (audit, person, _, columns) = content(&home, "half/app.db");
        assert_eq!((audit, person, columns), (3, 1, 3), "what the migration had made of it is kept");
        let rows = home.succeeds(&["gap", "export", &safety, "--to", "-", "--key-file", "key"]);
        assert!(rows.contains("migration began") && rows.contains("half done"), "{rows}");
        assert_eq!(home.succeeds(&["gap", "export", "2", "--to", "-", "--key-file", "key"]), rows, "by its number");
    }
}

#[test]
fn a_migration_that_succeeds_stays() {
    let home = site("wal");
    let run = guard(&home, &[], "migrate-well");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(content(&home, "app.db").0, 3);
    assert_eq!(story(&home), ["backup success", "guard intent", "guard success"]);
}

#[test]
fn a_database_that_the_migration_removed_comes_back() {
    let home = site("wal");
    let run = guard(&home, &["--append-only", "audit"], "migrate-and-remove");
    assert_eq!(run.code, 1, "{}", run.stderr);
    let (audit, person, mode, columns) = content(&home, "app.db");
    assert_eq!((audit, person, mode.as_str(), columns), (1, 2, "wal", 2));
    assert!(run.stdout.contains("lost      app: unknown: there was no live database"), "{}", run.stdout);
}

#[test]
fn two_databases_go_back_together() {
    let home = site("wal");
    database(&home, "more.db", "delete");
    let before = [content(&home, "app.db"), content(&home, "more.db")];
    let run = guard(&home, &["--db", "more.db"], "migrate-and-fail");
    assert_eq!(run.code, 7, "{}", run.stderr);
    assert_eq!([content(&home, "app.db"), content(&home, "more.db")], before);
}

#[test]
fn without_a_backup_nothing_runs() {
    let home = site("delete");
    let run = |more: &[&str]| home.run([&GUARD[..], more, &["--", "touch", "ran"]].concat());
    let lock = Connection::open(home.path("app.db")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let refused = run(&["--busy-timeout", "0.1"]);
    assert_eq!(refused.code, 125, "{}", refused.stderr);
    assert!(refused.stderr.contains("is locked"), "{}", refused.stderr);
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(run(&["--db", "missing.db"]).code, 125);
    assert_eq!(run(&["--db", "app=app.db"]).code, 125, "a label that stands twice");
    std::fs::hard_link(home.path("app.db"), home.path("again.db")).unwrap();
    assert!(run(&[]).stderr.contains("has 2 names"), "what could not be put back is not risked");
    std::fs::remove_file(home.path("again.db")).unwrap();
    assert!(!home.path("ran").exists(), "the command ran");
    assert_eq!(run(&[]).code, 0);
    assert!(home.path("ran").exists());
}

#[test]
fn a_command_that_is_not_there_costs_nothing() {
    let home = site("delete");
    home.write("script", "echo", 0o600);
    for (code, command) in [(127, "no-such-command"), (127, "./no-such-file"), (126, "./script")] {
        let run = home.run([&GUARD[..], &["--", command]].concat());
        assert_eq!(run.code, code, "{}", run.stderr);
        assert!(!home.path("airkeep-vault").exists(), "nothing was sealed");
    }
    assert_eq!(home.run([&GUARD[..], &["--"]].concat()).code, 2);
    assert_eq!(home.run(["guard", "--key-file", "key", "--", "true"]).code, 2, "no database is named");
}

#[test]
fn the_exit_code_goes_through_and_nothing_else() {
    let home = site("delete");
    for code in [1, 3, 11, 124] {
        assert_eq!(home.run([&GUARD[..], &["--", "sh", "-c", &format!("exit {code}")]].concat()).code, code);
    }
    assert_eq!(home.run([&GUARD[..], &["--", "sh", "-c", "kill -TERM $$"]].concat()).code, 143);
    let run = home.run([&GUARD[..], &["--no-restore", "--", "sh", "-c", "exit 9"]].concat());
    assert_eq!(run.code, 9);
    assert!(run.stderr.contains("nothing was put back") && run.stderr.contains("airkeep restore 'airkeep-vault/"), "{}", run.stderr);
    let run = home.run([&GUARD[..], &["--", "sh", "-c", "echo out; test -z \"$AIRKEEP_PASSPHRASE\" && cat"]].concat());
    assert_eq!((run.code, run.stdout.starts_with("out\n")), (0, true), "{}", run.stdout);
    let run = home.run([&GUARD[..], &["--json", "--", "sh", "-c", "echo out"]].concat());
    assert!(serde_json::from_str::<Value>(&run.stdout).is_ok() && run.stderr.contains("out\n"), "one object, and nothing else");
}

#[test]
fn where_the_databases_cannot_be_put_back_the_bundle_is_named() {
    let home = site("wal");
    let other = Connection::open(home.path("app.db")).unwrap();
    other.query_row("SELECT count(*) FROM audit", [], |_| Ok(())).unwrap();
    let run = guard(&home, &["--busy-timeout", "0.2"], "migrate-and-fail");
    assert_eq!(run.code, 125, "{}", run.stderr);
    assert!(
        run.stderr.contains("could not be put back") && run.stderr.contains(&format!("open in {} (", std::process::id())),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("airkeep restore 'airkeep-vault/"), "{}", run.stderr);
    let bundle = home.bundles().swap_remove(0);
    home.succeeds(&["restore", &bundle, "--in-place", "--online", "--force", "--key-file", "key"]);
    let run = guard(&home, &["--online"], "migrate-and-fail");
    assert_eq!(run.code, 7, "online goes past them: {}", run.stderr);
}

#[test]
fn the_application_checks_what_was_put_back() {
    let home = site("wal");
    let demand = "assert = 'SELECT count(*) > 99 FROM person'";
    home.write("airkeep.toml", format!("[sources.app]\nsqlite = 'app.db'\n{demand}\ncheck = ['sh', 'check.sh', '{{path}}']\n"), 0o600);
    home.write("check.sh", "echo \"$1 $AIRKEEP_LABEL\" >>seen; test ! -e no\n", 0o600);
    let run = guard(&home, &[], "migrate-and-fail");
    assert!(run.code == 7 && run.stderr.contains("the databases are as they were before"), "{}", run.stderr);
    let seen = String::from_utf8(home.read("seen")).unwrap();
    assert_eq!(seen, format!("{} app\n", home.path("app.db").canonicalize().unwrap().display()));
    home.write("no", "", 0o600);
    let run = guard(&home, &[], "migrate-and-fail");
    assert!(run.code == 7 && run.stderr.contains("'app' is restored, and its check says no"), "{}", run.stderr);
}

fn file(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

/// Waits until the migration is half-way.
fn half_way(home: &Home) {
    let begun = Instant::now();
    while !home.path("waiting").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the migration did not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_during_the_migration_ends_it_and_the_databases_go_back() {
    let home = site("wal");
    let before = content(&home, "app.db");
    let command: Vec<String> = GUARD.iter().map(|word| (*word).to_owned()).chain(migration("migrate-and-wait")).collect();
    // Without setsid, which would be a process between us and the program.
    let child = home.program(cli::AIRKEEP).args(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    half_way(&home);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(content(&home, "app.db"), before);
}

#[test]
fn a_guard_that_still_works_is_not_taken_for_lost() {
    let home = site("wal");
    let command: Vec<String> = GUARD.iter().map(|word| (*word).to_owned()).chain(migration("migrate-and-wait")).collect();
    let child = home.program(cli::AIRKEEP).args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    half_way(&home);
    let run = home.run(["restore", "resolve"]);
    assert_eq!(run.code, 11, "{}", run.stderr);
    assert!(run.stderr.contains("is still running"), "{}", run.stderr);
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(143));
    assert_eq!(home.succeeds(&["restore", "resolve"]), "no restore is open\n");
}

#[test]
fn of_a_guard_that_was_killed_every_command_tells_until_it_is_resolved() {
    if !has("setsid") {
        return eprintln!("skipped: setsid is not installed");
    }
    let home = site("wal");
    let command: Vec<String> = GUARD.iter().map(|word| (*word).to_owned()).chain(migration("migrate-and-wait")).collect();
    let mut child = home.program(cli::AIRKEEP).args(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    half_way(&home);
    child.kill().unwrap();
    child.wait().unwrap();
    // What is left of the migration would keep the database open.
    let migration = String::from_utf8(home.read("waiting")).unwrap();
    assert!(Command::new("kill").args(["-KILL", &migration]).status().unwrap().success());
    let run = home.run(["list"]);
    let bundle = home.bundles().pop().unwrap();
    assert!(
        run.stderr.contains("guarded work, begun ") && run.stderr.contains(&format!("the state before is in '{}'", file(&bundle))),
        "{}",
        run.stderr
    );
    let resolved = home.json(&["restore", "resolve", "--json"]);
    assert_eq!(resolved["resolutions"][0]["kind"], "guard");
    assert_eq!(
        (&resolved["resolutions"][0]["recorded"], &resolved["resolutions"][0]["bundle"]),
        (&json!("unknown"), &json!(file(&bundle)))
    );
    assert_eq!(home.run(["list"]).stderr, "");
    let restored = finish(&mut home.airkeep(["restore", &bundle, "--in-place", "--force", "--key-file", "key"]));
    assert_eq!(restored.code, 0, "{}", restored.stderr);
    assert_eq!(content(&home, "app.db").0, 1);
}
