//! `airkeep gap`: what restores in place took away, by the journal without a key, and the rows out of the safety bundle.

mod cli;

use cli::{Home, assert_clear_error, assert_harmless, surgery};
use rusqlite::Connection;
use serde_json::{Value, json};

/// A name that would break a line, a quotation and a terminal.
const NASTY: &str = "au\"dit'\n\u{1b}[2J🔑";
const KEY: [&str; 2] = ["--key-file", "key"];

/// A home in which `app.db` was put back, with rows lost of two tables and one altered.
struct Restored {
    home: Home,
    /// The bundle that was restored.
    bundle: String,
    /// The one before the restore.
    safety: String,
}

fn restored() -> Restored {
    let home = Home::new();
    home.key("key");
    let live = Connection::open(home.path("app.db")).unwrap();
    let name = NASTY.replace('"', "\"\"");
    live.execute_batch(&format!(
        "CREATE TABLE audit(id INTEGER PRIMARY KEY, at TEXT, what); CREATE TABLE \"{name}\"(what);
         INSERT INTO audit VALUES(1, '2026-11-01 10:00:00', 'first'), (2, '2026-11-02 10:00:00', 'second');"
    ))
    .unwrap();
    let more = ["--append-only", "audit", "--append-only", NASTY];
    let bundle = home.json(&[&["backup", "app.db", "--json"], &KEY[..], &more].concat())["bundle"]["path"].as_str().unwrap().to_owned();
    live.execute_batch("UPDATE audit SET what = 'changed' WHERE id = 2").unwrap();
    let rows = ["=cmd()", "a\u{1b}[2J\u{9b}\u{202e}\n\r,\"", ""];
    for (id, text) in (3..).zip(rows) {
        live.execute("INSERT INTO audit VALUES(?1, '2026-11-03 10:00:0' || ?1, ?2)", (id, text)).unwrap();
    }
    live.execute_batch("INSERT INTO audit VALUES(6, NULL, x'00ff'), (7, '2026-11-03 10:00:07', 1.5)").unwrap();
    live.execute(&format!("INSERT INTO \"{name}\" VALUES(?1)"), ["only here"]).unwrap();
    drop(live);
    let who = ["--operator", "A. Uditor", "--reason", "bad\u{1b} import", "--ticket", "OPS-17"];
    // 3: the backup of the state before says that a row was altered since the one before.
    let run = home.run([&["restore", &bundle, "--in-place", "--force", "--json"], &KEY[..], &who].concat());
    assert_eq!(run.code, 3, "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let safety = report["safety"]["path"].as_str().unwrap().to_owned();
    Restored { home, bundle, safety }
}

impl Restored {
    fn export(&self, more: &[&str]) -> Vec<String> {
        let words = [&["gap", "export", &self.safety], &KEY[..], more].concat();
        words.into_iter().map(str::to_owned).collect()
    }

    /// Exports into a file, and gives what is in it.
    fn exported(&self, more: &[&str]) -> String {
        let arguments = self.export(&[&["--to", "rows"], more].concat());
        let run = self.home.run(&arguments);
        assert_eq!(run.code, 0, "{}", run.stderr);
        let text = String::from_utf8(self.home.read("rows")).unwrap();
        std::fs::remove_file(self.home.path("rows")).unwrap();
        text
    }

    fn refuses(&self, code: i32, words: &str, more: &[&str]) {
        let arguments = self.export(more);
        self.home.refuses(code, words, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// The events of this kind in the vault's journal.
    fn events(&self, event: &str) -> Vec<Value> {
        let shown = self.home.json(&["audit", "show", "--event", event, "--json"]);
        shown["records"].as_array().unwrap().clone()
    }
}

#[test]
fn without_a_restore_nothing_was_taken_away() {
    let home = Home::with_bundle();
    assert_eq!(home.succeeds(&["gap", "list"]), "no restore took rows away: none in place is recorded\n");
    assert_eq!(home.json(&["gap", "list", "--json"])["gaps"], json!([]));
    home.refuses(10, "tells of no restore in place", &["gap", "show"]);
    home.refuses(10, "there is no vault", &["gap", "list", "--vault", "nowhere"]);
}

#[test]
fn a_restore_that_took_nothing_is_listed_and_counted() {
    let home = Home::with_bundle();
    home.succeeds(&["restore", &home.bundles()[0], "--in-place", "--force", "--key-file", "key", "--append-only", "account"]);
    let text = home.succeeds(&["gap", "list"]);
    assert!(text.contains("app: none\n") && text.ends_with("no restore took rows away (1 restore in place)\n"), "{text}");
    assert_eq!(home.json(&["gap", "list", "--json"])["without_gap"], 1);
    let shown = home.succeeds(&["gap", "show"]);
    assert!(shown.contains("0 lost, 0 altered, 0 resurrected, 1,000 unchanged; exact"), "{shown}");
    // There is a safety bundle with no row in it: nothing is what comes out.
    home.succeeds(&["gap", "export", &home.bundles()[1], "--to", "rows", "--key-file", "key"]);
    assert_eq!(home.read("rows"), b"");
}

#[test]
fn a_restore_where_nothing_was_compared_is_not_called_none_for_sure() {
    let home = Home::with_bundle();
    std::fs::remove_file(home.path("app.db")).unwrap();
    home.succeeds(&["restore", &home.bundles()[0], "--in-place", "--force", "--key-file", "key"]);
    let text = home.succeeds(&["gap", "list"]);
    assert!(text.contains("app: 0 lost, not certain\n") && text.contains("1 restore in place, 0 of them took no row away"), "{text}");
    assert!(home.succeeds(&["gap", "show"]).contains("there was no database, so nothing could be compared"));
}

#[test]
fn list_has_a_line_for_each_restore_and_obeys_no_character() {
    let place = restored();
    let text = place.home.succeeds(&["gap", "list"]);
    assert_harmless(&text);
    let line = text.lines().next().unwrap();
    for words in ["(A. Uditor)@", "  app: 6 lost, 1 altered, exact", "\"bad\\u{1b} import\""] {
        assert!(line.contains(words), "'{words}' is missing in: {line}");
    }
    place.home.succeeds(&["restore", &place.safety, "--in-place", "--force", "--key-file", "key"]);
    let text = place.home.succeeds(&["gap", "list"]);
    assert!(text.lines().count() == 3 && text.ends_with("2 restores in place, 0 of them took no row away\n"), "{text}");
}

#[test]
fn show_tells_all_that_the_journal_knows() {
    let place = restored();
    let text = place.home.succeeds(&["gap", "show"]);
    assert_harmless(&text);
    for words in [
        "A. Uditor, by their own word",
        "\"bad\\u{1b} import\"",
        "OPS-17",
        "(number 1, id ",
        "success: all databases were replaced",
        "app.db",
        "exclusive",
        "2 began, 1 was replaced; the snapshot was taken in 1",
        "5 lost, 1 altered, 0 resurrected, 1 unchanged; exact; compared by id",
        "5 rows, id 3 to 7, at 2026-11-03 10:00:03 to 2026-11-03 10:00:07",
        "ids 3 to 7 will be given out again",
        "1 row of the lost without a time",
        "1 lost, 0 altered, 0 resurrected, 0 unchanged; exact; compared by content",
        "au\"dit'\\u{a}\\u{1b}[2J🔑",
        place.safety.rsplit('/').next().unwrap(),
    ] {
        assert!(text.contains(words), "'{words}' is missing in: {text}");
    }
    let object = place.home.json(&["gap", "show", "--json"]);
    let number = object["gap"]["record"].as_u64().unwrap().to_string();
    assert_eq!(place.home.succeeds(&["gap", "show", &number]), text);
    assert_eq!(object["gap"]["totals"], json!({ "lost": 6, "altered": 1, "grafted": 0, "certainty": "exact" }));
    place.home.refuses(10, "under number 1", &["gap", "show", "1"]);
    place.home.refuses(2, "expected a number or 'latest'", &["gap", "show", "newest"]);
}

#[test]
fn an_event_of_a_later_release_is_listed_as_unknown() {
    let place = restored();
    let journal = String::from_utf8(place.home.read("airkeep-vault/journal.jsonl")).unwrap();
    place.home.write("airkeep-vault/journal.jsonl", journal.replace("\"live\":\"read\"", "\"alive\":\"read\""), 0o600);
    let text = place.home.succeeds(&["gap", "list"]);
    assert!(text.contains("app: 0 lost, not certain"), "{text}");
    let text = place.home.succeeds(&["gap", "show"]);
    assert!(text.contains("what was recorded cannot be read by this release"), "{text}");
}

#[test]
fn a_restore_that_was_killed_is_told_with_who_began_it() {
    let place = restored();
    let journal = String::from_utf8(place.home.read("airkeep-vault/journal.jsonl")).unwrap();
    let ready = journal.lines().position(|line| line.contains("\"stage\":\"ready\"")).unwrap();
    let cut: String = journal.lines().take(ready + 1).map(|line| format!("{line}\n")).collect();
    place.home.write("airkeep-vault/journal.jsonl", cut, 0o600);
    place.home.succeeds(&["restore", "resolve"]);
    let gap = &place.home.json(&["gap", "show", "--json"])["gap"];
    assert_eq!((&gap["recorded_late"], &gap["actor"]["operator"]), (&true.into(), &"A. Uditor".into()));
    assert_eq!((&gap["ticket"], &gap["outcome"]), (&"OPS-17".into(), &"success".into()));
    assert_eq!(gap["sources"][0]["way"], "exclusive");
}

#[test]
fn exported_lines_are_the_capsule_byte_by_byte() {
    let place = restored();
    let text = place.exported(&[]);
    let gap = place.home.json(&["gap", "show", "--json"]);
    let capsule = &gap["gap"]["sources"][0]["gap"]["capsule"];
    assert_eq!(capsule["sha256"], airkeep::crypto::Digest::of(text.as_bytes()).to_string());
    assert_eq!(capsule["size_bytes"], text.len());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(place.home.run(place.export(&["--to", "-"])).stdout, text, "a pipe gets the same bytes");
}

#[test]
fn a_new_file_is_private_and_nothing_is_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let place = restored();
    let told = place.home.run(place.export(&["--to", "rows"]));
    assert_eq!(told.stdout, "exported  rows (7 rows of 'app', 6 lost and 1 altered)\n", "{}", told.stderr);
    assert_eq!(place.home.path("rows").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    place.refuses(2, "'rows' exists already", &["--to", "rows"]);
    place.refuses(10, "nowhere", &["--to", "nowhere/rows"]);
}

#[test]
fn rows_are_chosen_by_table() {
    let place = restored();
    let lines = place.exported(&["--table", "AUDIT"]);
    assert!(lines.lines().count() == 6 && !lines.contains("only here"), "{lines}");
    assert_eq!(place.exported(&["--table", NASTY]).lines().count(), 1);
    place.refuses(10, "no table 'account'", &["--to", "rows", "--table", "account"]);
    place.refuses(10, "no source 'other'", &["other", "--to", "rows"]);
    assert_eq!(place.exported(&["app", "--table", "audit"]), lines);
}

#[test]
fn a_sheet_has_one_table_with_its_columns_in_order() {
    let place = restored();
    place.refuses(2, "name one of them with --table", &["--to", "rows", "--format", "csv"]);
    let expected = "what,id,at,what\r\n\
        altered,2,2026-11-02 10:00:00,changed\r\n\
        lost,3,2026-11-03 10:00:03,'=cmd()\r\n\
        lost,4,2026-11-03 10:00:04,\"a\u{1b}[2J\u{9b}\u{202e}\n\r,\"\"\"\r\n\
        lost,5,2026-11-03 10:00:05,\"\"\r\n\
        lost,6,,00ff\r\n\
        lost,7,2026-11-03 10:00:07,1.5\r\n";
    assert_eq!(place.exported(&["--format", "csv", "--table", "audit"]), expected);
}

#[test]
fn a_terminal_is_shown_no_row_that_it_would_obey() {
    let place = restored();
    for format in ["jsonl", "csv"] {
        let arguments = place.export(&["--to", "-", "--format", format, "--table", "audit"]);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Some(session) = cli::pty::Session::start(&place.home, &arguments, |_| {}) else { return };
        let (code, screen) = session.end();
        assert_eq!(code, 0, "{screen}");
        assert!(screen.contains("changed"), "{screen}");
        assert_harmless(&screen.replace("\r\n", "\n"));
    }
}

#[test]
fn a_damaged_bundle_gives_no_row_wherever_it_is_hurt() {
    let place = restored();
    let whole = place.home.read(&place.safety);
    for member in ["frames/00000001", "index"] {
        let mut hurt = whole.clone();
        surgery::flip(&mut hurt, member);
        place.home.write(&place.safety, &hurt, 0o600);
        for to in ["rows", "-"] {
            let run = place.home.run(place.export(&["--to", to]));
            assert_eq!((run.code, run.stdout.as_str()), (13, ""), "{member} {to}: {}", run.stderr);
            assert_clear_error(&run.stderr);
            assert!(!place.home.path("rows").exists(), "{member}: rows were left behind");
        }
    }
    // The capsule itself is whole: all the same.
    let mut hurt = whole.clone();
    surgery::flip(&mut hurt, "frames/00000001");
    place.home.write(&place.safety, &hurt, 0o600);
    place.refuses(13, "no row was handed out", &["--to", "rows"]);
    place.home.write(&place.safety, &whole[..whole.len() / 2], 0o600);
    assert_eq!(place.home.run(place.export(&["--to", "rows"])).code, 13);
    assert!(!place.home.path("rows").exists());
}

#[test]
fn wrong_keys_and_other_bundles_are_refused() {
    let place = restored();
    place.home.key("other");
    place.home.refuses(12, "cannot open bundle", &["gap", "export", &place.safety, "--to", "rows", "--key-file", "other"]);
    place.home.refuses(12, "no passphrase or key", &["gap", "export", &place.safety, "--to", "rows"]);
    place.home.refuses(10, "holds no rows", &["gap", "export", &place.bundle, "--to", "rows", "--key-file", "key"]);
    place.home.refuses(10, "does not exist", &["gap", "export", "no.akb", "--to", "rows", "--key-file", "key"]);
    place.home.refuses(13, "cannot open bundle", &["gap", "export", "key", "--to", "rows", "--key-file", "key"]);
    let pinned = format!("SHA256:{}", "A".repeat(43));
    place.refuses(13, "is not signed", &["--to", "rows", "--signer", &pinned]);
    let run = place.home.run(place.export(&["--to", "-", "--json"]));
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("with --json, rows cannot go to standard output"), "{}", run.stderr);
}

#[test]
fn who_got_rows_is_recorded() {
    let place = restored();
    place.exported(&["--table", "audit", "--reason", "for the auditors", "--operator", "B"]);
    place.home.run(place.export(&["--to", "-"]));
    let events = place.events("export-rows");
    let outcomes: Vec<&str> = events.iter().map(|event| event["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["intent", "success", "intent", "success"]);
    let expected = json!({
        "label": "app", "to": "rows", "table": "audit", "format": "jsonl",
        "tables": [{ "table": "audit", "lost": 5, "altered": 1 }],
    });
    assert_eq!((&events[1]["details"], &events[1]["reason"]), (&expected, &"for the auditors".into()));
    assert_eq!(events[1]["subject"]["file"], place.safety.rsplit('/').next().unwrap());
    assert_eq!((&events[3]["details"]["to"], &events[3]["details"]["tables"].as_array().unwrap().len()), (&"-".into(), &2));
    place.home.run(place.export(&["--to", "nowhere/rows"]));
    assert_eq!(place.events("export-rows").last().unwrap()["outcome"], "failure");
    assert!(place.home.succeeds(&["audit", "verify"]).starts_with("ok"));
}

#[test]
fn info_with_a_key_tells_the_gap() {
    let place = restored();
    let text = place.home.succeeds(&["info", &place.safety, "--key-file", "key"]);
    assert_harmless(&text);
    assert!(text.contains("  lost      app.audit: 5 rows, id 3 to 7"), "{text}");
    assert!(!place.home.succeeds(&["info", &place.safety]).contains("lost"), "without a key nothing is told");
}

#[test]
fn several_databases_are_told_apart() {
    let home = Home::new();
    home.key("key");
    for name in ["a.db", "b.db"] {
        Connection::open(home.path(name)).unwrap().execute_batch("CREATE TABLE log(x)").unwrap();
    }
    let sealed = home.json(&["backup", "a.db", "b.db", "--append-only", "log", "--key-file", "key", "--json"]);
    Connection::open(home.path("b.db")).unwrap().execute_batch("INSERT INTO log VALUES('b')").unwrap();
    let bundle = sealed["bundle"]["path"].as_str().unwrap();
    let report = home.json(&["restore", bundle, "--in-place", "--force", "--key-file", "key", "--json"]);
    let safety = report["safety"]["path"].as_str().unwrap();
    home.refuses(2, "name one of them", &["gap", "export", safety, "--to", "rows", "--key-file", "key"]);
    home.succeeds(&["gap", "export", safety, "a", "--to", "rows.a", "--key-file", "key"]);
    home.succeeds(&["gap", "export", safety, "b", "--to", "rows.b", "--key-file", "key"]);
    assert_eq!((home.read("rows.a").len(), home.read("rows.b").iter().filter(|&&byte| byte == b'\n').count()), (0, 1));
}
