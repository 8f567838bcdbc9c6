//! A hook writes into a site's audit table: a CHECK on the event types, a foreign key on the project. The hooks are those of docs/hooks.md.
//!
//! The table is the one of a real system where `AIRKEEP_CORPUS` has it, else one of our own with the same kinds of constraints.

use std::path::{Path, PathBuf};
use std::process::Command;

use airkeep::ops::{Hook, HookEvent, HookFailure};
use rusqlite::Connection;

const PROJECT: &str = "p-1";
const RECORD: &str = r#"{"sequence":7,"nonce":"00ff","time":"2026-01-02T03:04:05Z","event":"restore","outcome":"ok","actor":{"user":"svc","uid":900,"sudo_user":null,"operator":"Ada O'Neil"},"host":"h","reason":"x'); DROP TABLE audit_trail; --","subject":null,"details":{}}"#;
const EVENT: HookEvent<'_> = HookEvent {
    json: RECORD,
    event: "restore",
    actor: "--Ada \"O'Neil\"",
    action: "restored 'app' $(id)",
    reason: "x'); DROP TABLE audit_trail; --",
    bundle: "set-1.akb",
    outcome: "ok",
    time: "2026-01-02T03:04:05Z",
    host: "h",
    vault: "v",
};

/// A folder with the audit database of a site and the scripts of docs/hooks.md; None where there is no Python.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Option<Site> {
        if !Command::new("python3").args(["-c", "import sqlite3"]).output().is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: python3 with sqlite3 is not on this machine");
            return None;
        }
        let site = Site(tempfile::tempdir().unwrap());
        let document = include_str!("../docs/hooks.md");
        let scripts: Vec<&str> = document.split("```python\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
        for (name, script) in ["audit_table.py", "audit_logger.py"].into_iter().zip(scripts) {
            assert!(script.contains(name), "docs/hooks.md has other scripts than expected");
            std::fs::write(site.path(name), script).unwrap();
        }
        let database = Connection::open(site.path("audit.db")).unwrap();
        match real_database() {
            Some(real) => take_over(&database, &real),
            None => database.execute_batch(OWN_SCHEMA).unwrap(),
        }
        Some(site)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn table_hook(&self, project: &str) -> Hook {
        let (script, database) = (self.path("audit_table.py"), self.path("audit.db"));
        patient(&format!("python3 '{}' --database '{}' --project {project}", script.display(), database.display()))
    }

    /// The logger finds its database in the environment, which `env` sets here as a service's unit file would.
    fn logger_hook(&self, template: &str) -> Hook {
        let (script, database) = (self.path("audit_logger.py"), self.path("audit.db"));
        patient(&format!("env 'AUDIT_DATABASE={}' python3 '{}' {template}", database.display(), script.display()))
    }

    /// Project, event type, actor, action and details of the rows that hooks have written.
    fn rows(&self) -> Vec<[Option<String>; 5]> {
        let database = Connection::open(self.path("audit.db")).unwrap();
        let mut query = database.prepare("SELECT project_id, event_type, actor, action, details FROM audit_trail ORDER BY id").unwrap();
        let rows = query.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])).unwrap();
        rows.map(Result::unwrap).collect()
    }
}

/// Python may be slow to start where many tests run.
fn patient(text: &str) -> Hook {
    Hook::parse(text).unwrap().with_time_limit(std::time::Duration::from_secs(60))
}

const OWN_SCHEMA: &str = "CREATE TABLE projects(id TEXT PRIMARY KEY);
    CREATE TABLE audit_trail(id INTEGER PRIMARY KEY AUTOINCREMENT, project_id TEXT REFERENCES projects(id),
        event_type TEXT NOT NULL CHECK(event_type IN ('rollback_executed', 'hook_event_logged')),
        actor TEXT NOT NULL, action TEXT NOT NULL, details TEXT);
    INSERT INTO projects VALUES ('p-1');";

fn real_database() -> Option<PathBuf> {
    let path = Path::new(&std::env::var_os("AIRKEEP_CORPUS")?).join("icdev/live-before/icdev.db");
    path.exists().then_some(path)
}

/// Makes the real tables, empty but for one project. The original is not opened: a copy is.
fn take_over(database: &Connection, real: &Path) {
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::copy(real, copy.path()).unwrap();
    database.execute("ATTACH ? AS real", [copy.path().to_str().unwrap()]).unwrap();
    for table in ["projects", "audit_trail"] {
        let query = "SELECT sql FROM real.sqlite_master WHERE type = 'table' AND name = ?";
        let schema: String = database.query_row(query, [table], |row| row.get(0)).unwrap();
        assert!(table == "projects" || schema.contains("CHECK") && schema.contains("REFERENCES"), "not the schema that is meant");
        database.execute_batch(&schema).unwrap();
    }
    database.execute_batch("INSERT INTO main.projects SELECT * FROM real.projects LIMIT 1").unwrap();
    assert_eq!(database.execute("UPDATE main.projects SET id = ?", [PROJECT]).unwrap(), 1);
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

fn words_of(told: Result<(), HookFailure>) -> String {
    match told {
        Err(failure @ HookFailure::Failed { .. }) => failure.to_string(),
        other => panic!("the hook should have failed: {other:?}"),
    }
}

#[test]
fn the_documented_hook_writes_the_record_from_standard_input() {
    let Some(site) = Site::new() else { return };
    site.table_hook(PROJECT).tell(&EVENT).unwrap();
    site.table_hook(PROJECT).tell(&HookEvent { json: &RECORD.replace("\"restore\"", "\"backup\""), ..EVENT }).unwrap();
    let rows = site.rows();
    let [project, event, actor, action, details] = rows[0].clone();
    assert_eq!((project, event, actor), (text(PROJECT), text("rollback_executed"), text("Ada O'Neil")));
    assert_eq!(action, text("airkeep restore: ok"));
    let details: serde_json::Value = serde_json::from_str(&details.unwrap()).unwrap();
    assert_eq!(details, serde_json::from_str::<serde_json::Value>(RECORD).unwrap());
    assert_eq!((rows.len(), &rows[1][1]), (2, &text("hook_event_logged")));
}

#[test]
fn a_table_that_refuses_the_project_is_a_failure_in_its_words() {
    let Some(site) = Site::new() else { return };
    let words = words_of(site.table_hook("nobody-knows-it").tell(&EVENT));
    assert!(words.contains("(exit status: 1)") && words.ends_with("FOREIGN KEY constraint failed"), "{words}");
    assert!(site.rows().is_empty());
}

#[test]
fn a_logger_with_options_gets_values_as_they_are() {
    let Some(site) = Site::new() else { return };
    let template = "--event=hook_event_logged --actor={actor} --action=\"airkeep {event}: {action} ({outcome})\" \
        --project=p-1 --details=\"{reason} {bundle}\"";
    site.logger_hook(template).tell(&EVENT).unwrap();
    let expected = [
        PROJECT,
        "hook_event_logged",
        EVENT.actor,
        "airkeep restore: restored 'app' $(id) (ok)",
        "x'); DROP TABLE audit_trail; -- set-1.akb",
    ];
    assert_eq!(site.rows(), [expected.map(text)]);
}

#[test]
fn an_event_that_the_table_does_not_know_is_a_failure_in_its_words() {
    let Some(site) = Site::new() else { return };
    let hook = site.logger_hook("--event={event} --actor={actor} --action={action}");
    let words = words_of(hook.tell(&EVENT));
    assert!(words.contains("CHECK constraint failed"), "{words}");
    hook.tell(&HookEvent { event: "rollback_executed", ..EVENT }).unwrap();
    assert_eq!(site.rows(), [[None, text("rollback_executed"), text(EVENT.actor), text(EVENT.action), None]]);
}

/// Python's option parser takes a word that begins with `-` for an option: why the document asks for `--actor={actor}`.
#[test]
fn an_actor_that_looks_like_an_option_fails_loudly_where_the_template_divides_it() {
    let Some(site) = Site::new() else { return };
    let words = words_of(
        site.logger_hook("--event rollback_executed --actor {actor} --action {action}").tell(&HookEvent { actor: "--root", ..EVENT }),
    );
    assert!(words.contains("--actor: expected one argument"), "{words}");
    assert!(site.rows().is_empty());
}
