//! Restore in place as a person meets it: the question and its answers, a list of tables in a file, a hook that fails meanwhile.

mod cli;

use cli::Home;
use cli::pty::Session;
use rusqlite::Connection;
use serde_json::{Value, json};

/// A database with two tables, sealed with one row in each, to which another was added afterwards.
fn site() -> (Home, String) {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database.execute_batch("CREATE TABLE audit(id INTEGER PRIMARY KEY, what TEXT); CREATE TABLE data(id INTEGER PRIMARY KEY);").unwrap();
    let add = |id: i64| database.execute_batch(&format!("INSERT INTO audit VALUES({id}, 'event'); INSERT INTO data VALUES({id})")).unwrap();
    add(1);
    let report = home.json(&["backup", "app.db", "--key-file", "key", "--json"]);
    add(2);
    (home, report["bundle"]["path"].as_str().unwrap().to_owned())
}

fn in_place<'a>(bundle: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["restore", bundle, "--in-place", "--key-file", "key"], more].concat()
}

fn rows(home: &Home) -> i64 {
    Connection::open(home.path("app.db")).unwrap().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap()
}

/// Answers the question; gives exit code and screen.
fn answered(home: &Home, bundle: &str, answer: &str) -> Option<(i32, String)> {
    let mut session = Session::start(home, &in_place(bundle, &[]), |_| {})?;
    let asked = session.wait_for("[y/N] ");
    assert!(asked.contains("Replace 1 database?") && asked.contains("keep      the present state"), "the plan stands above it: {asked}");
    session.type_text(answer);
    Some(session.end())
}

#[test]
fn only_a_yes_replaces() {
    let (home, bundle) = site();
    let before = home.tree();
    for answer in ["n\n", "\n", "yesterday\n"] {
        let Some((code, screen)) = answered(&home, &bundle, answer) else { return };
        assert_eq!(code, 1, "{screen}");
        assert!(screen.contains("not agreed to, nothing was replaced"), "{screen}");
        cli::assert_same_tree(&before, &home.tree());
    }
    for answer in ["y\n", "YES\n"] {
        let (home, bundle) = site();
        let Some((code, screen)) = answered(&home, &bundle, answer) else { return };
        assert_eq!((code, rows(&home)), (0, 1), "{screen}");
    }
}

#[test]
fn a_hook_that_fails_keeps_nobody_from_restoring() {
    let (home, bundle) = site();
    let run = home.run(in_place(&bundle, &["--force", "--hook", "false"]));
    assert_eq!((run.code, rows(&home)), (3, 1), "{}", run.stderr);
    assert!(run.stderr.contains("the hook failed"), "{}", run.stderr);
    home.succeeds(&["audit", "verify"]);
}

#[test]
fn tables_that_only_grow_are_listed_in_a_file() {
    let (home, bundle) = site();
    let declared = |list: &str| {
        home.write("list.json", list, 0o600);
        let plan = home.json(&in_place(&bundle, &["--dry-run", "--json", "--append-only", "list.json"]));
        let tables = plan["plan"]["targets"][0]["gap"]["tables"].as_array().unwrap().clone();
        let told = |table: Value| json!([table["table"], table["declaration"], table["lost"]]);
        Value::Array(tables.into_iter().map(told).collect())
    };
    assert_eq!(declared("[]"), json!([]), "nothing protects them, so nothing is known of them");
    assert_eq!(declared(r#"["audit", {"label": "app", "table": "data"}]"#), json!([["audit", "declared", 1], ["data", "declared", 1]]));
    assert_eq!(declared(r#"[{"table": "DATA"}]"#), json!([["data", "declared", 1]]));
}

#[test]
fn a_list_of_tables_that_cannot_be_used_is_refused() {
    let (home, bundle) = site();
    let arguments = in_place(&bundle, &["--force", "--append-only", "list.json"]);
    home.refuses(10, "cannot use 'list.json' as a list of append-only tables", &arguments);
    for (list, why) in [
        ("audit", "expected value"),
        (r#"{"table": "audit"}"#, "expected a sequence"),
        (r#"["audit", ""]"#, "item 2 names no table"),
        (r#"[{"label": "app"}]"#, "item 1 names no table"),
        (r#"["audit", {"label": "../app", "table": "audit"}]"#, "item 2: "),
    ] {
        home.write("list.json", list, 0o600);
        home.refuses(2, "cannot use 'list.json' as a list of append-only tables", &arguments);
        home.refuses(2, why, &arguments);
        home.refuses(2, "hint: it holds a JSON array of names, or of objects with \"table\"", &arguments);
    }
    home.write("list.json", r#"[{"label": "other", "table": "audit"}]"#, 0o600);
    home.refuses(10, "no source 'other' has a table 'audit'", &arguments);
}
