//! `--json` prints exactly one object, on success and on error, and docs/json.md tells the name and type of every member of it.

mod cli;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use cli::{Home, PASSPHRASE, assert_harmless, has, surgery};
use serde_json::Value;

/// Path of a member → its type in words, by section of docs/json.md.
type Documented = BTreeMap<String, BTreeMap<String, String>>;

/// Reads the tables of docs/json.md: rows of `| `name` | type | meaning |` under their headings.
fn documented() -> Documented {
    let text = include_str!("../docs/json.md");
    let mut sections = Documented::new();
    let mut heading = String::new();
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title.to_owned();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let ["", name, kind, meaning, ""] = cells[..]
            && let Some(name) = name.strip_prefix('`').and_then(|name| name.strip_suffix('`'))
        {
            assert!(!meaning.is_empty(), "{name} has no meaning");
            let twice = sections.entry(heading.clone()).or_default().insert(name.to_owned(), kind.to_owned());
            assert_eq!(twice, None, "{name} stands twice under {heading}");
        }
    }
    sections
}

/// Checks an output against the document, and notes which members occurred.
struct Reader {
    sections: Documented,
    seen: BTreeSet<(String, String)>,
}

impl Reader {
    fn new() -> Reader {
        Reader { sections: documented(), seen: BTreeSet::new() }
    }

    /// Reads the output of a command: its own members, and those that every object has.
    fn read(&mut self, section: &str, object: &Value) {
        assert_harmless(&format!("{object:#}"));
        for (name, value) in object.as_object().expect("an object") {
            let home = if self.sections["Every object"].contains_key(name) { "Every object" } else { section };
            self.member(home, name, value);
        }
    }

    fn member(&mut self, section: &str, path: &str, value: &Value) {
        let members = self.sections.get(section).unwrap_or_else(|| panic!("docs/json.md has no section '{section}'"));
        let kind = members.get(path).unwrap_or_else(|| panic!("docs/json.md does not mention `{path}` under '{section}'")).clone();
        self.seen.insert((section.to_owned(), path.to_owned()));
        let mut kinds = kind.split(" or ");
        let kind = if value.is_null() {
            assert!(kinds.any(|kind| kind == "null"), "{section}: `{path}` is null, and documented as {kind}");
            return;
        } else {
            kinds.last().unwrap()
        };
        match (kind, value) {
            ("text", Value::String(_)) | ("boolean", Value::Bool(_)) => {}
            ("any", _) => {}
            ("integer", Value::Number(number)) => assert!(number.is_i64() || number.is_u64()),
            ("array of text", Value::Array(items)) => assert!(items.iter().all(Value::is_string)),
            ("object of integers", Value::Object(items)) => assert!(items.values().all(|item| item.is_u64() || item.is_null())),
            ("object", Value::Object(items)) => items.iter().for_each(|(name, item)| self.member(section, &format!("{path}.{name}"), item)),
            (kind, Value::Array(items)) if kind.starts_with("array of ") => {
                let other = &kind["array of ".len()..];
                items.iter().for_each(|item| self.object(other, item));
            }
            (kind, Value::Object(_)) => self.object(kind, value),
            _ => panic!("{section}: `{path}` is {value}, and documented as {kind}"),
        }
    }

    /// Reads an object that has a section of its own.
    fn object(&mut self, section: &str, value: &Value) {
        for (name, item) in value.as_object().unwrap_or_else(|| panic!("{value} is no object, {section} is expected")) {
            self.member(section, name, item);
        }
    }

    /// Insists that every documented member occurred.
    fn finish(self, except: impl Fn(&str) -> bool) {
        for (section, members) in &self.sections {
            for name in members.keys().filter(|name| !except(name)) {
                assert!(self.seen.contains(&(section.clone(), name.clone())), "{section}: `{name}` is documented and never occurs");
            }
        }
    }
}

fn parsed(home: &Home, code: i32, arguments: &[&str]) -> Value {
    let run = home.run(arguments);
    assert_eq!(run.code, code, "{arguments:?}: {}{}", run.stderr, run.stdout);
    serde_json::from_str(&run.stdout).unwrap_or_else(|error| panic!("not exactly one JSON object: {error}\n{}", run.stdout))
}

#[test]
fn every_member_is_documented_and_every_documented_member_occurs() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.key("key");
    home.write("pass", PASSPHRASE, 0o600);
    let has_git = has("git") && in_git(&home);
    let mut reader = Reader::new();

    let keys = ["--key-file", "key", "--passphrase-file", "pass"];
    let backup = |more: &[&str]| {
        parsed(&home, 0, &[&["backup", "app.db", "--json", "--tag", "nightly", "--note", "before the update"], &keys[..], more].concat())
    };
    reader.read("airkeep backup", &backup(&[]));
    let second = backup(&["--no-verify", "--check", "none"]);
    reader.read("airkeep backup", &second);
    let bundle = second["bundle"]["path"].as_str().unwrap();
    std::fs::copy(home.path(bundle), home.path("app.akb")).unwrap();

    reader.read("airkeep init", &parsed(&home, 0, &["init", "--vault", "signed", "--json"]));
    reader.read("airkeep backup --dry-run", &parsed(&home, 0, &["backup", "--dry-run", "app.db", "--json"]));
    // What it begins would send the other commands to that vault.
    std::fs::remove_file(home.path("airkeep.toml")).unwrap();
    reader.read("airkeep init", &parsed(&home, 0, &["signer", "rotate", "--vault", "signed", "--json"]));
    reader.read("airkeep init", &parsed(&home, 0, &["signer", "show", "--vault", "signed", "--json"]));
    for level in ["0", "2", "3", "4"] {
        reader.read("airkeep verify", &parsed(&home, 0, &["verify", "app.akb", "--json", "--key-file", "key", "--level", level]));
    }
    reader.read("airkeep verify", &parsed(&home, 0, &["verify", "airkeep-vault", "--json", "--key-file", "key"]));
    reader.read("airkeep info", &parsed(&home, 0, &["info", "app.akb", "--json"]));
    reader.read("airkeep info", &parsed(&home, 0, &["info", "app.akb", "--json", "--key-file", "key"]));
    reader.read("airkeep restore", &parsed(&home, 0, &["restore", "app.akb", "--json", "--key-file", "key", "--to", "out"]));
    let extract = ["extract", "app.akb", "app", "--json", "--key-file", "key"];
    reader.read("airkeep extract", &parsed(&home, 0, &[&extract[..], &["--to", "app.copy"]].concat()));
    reader.read("airkeep extract", &parsed(&home, 0, &[&extract[..], &["--to", "app.sql", "--format", "sql", "--table", "note"]].concat()));
    let old = parsed(&home, 0, &["import", "--as", "old=app.db", "--vault", "old", "--key-file", "key", "--json"]);
    reader.read("airkeep backup", &old);
    archive(&home, "old.tar.gz", "data/app.db", &home.read("app.db"));
    let old = parsed(&home, 0, &["import", "old.tar.gz", "--vault", "old", "--key-file", "key", "--json"]);
    reader.read("airkeep backup", &old);
    reader.read("airkeep list", &parsed(&home, 0, &["list", "--json"]));
    reader.read("airkeep audit show", &parsed(&home, 0, &["audit", "show", "--json"]));
    reader.read("airkeep audit verify", &parsed(&home, 0, &["audit", "verify", "--json"]));
    backup(&["--append-only", "account"]);
    reader.read("airkeep audit continuity", &parsed(&home, 0, &["audit", "continuity", "--json"]));
    reader.read("airkeep audit export", &parsed(&home, 0, &["audit", "export", "--json"]));
    let whole = home.read("airkeep-vault/journal.jsonl");
    home.write("airkeep-vault/journal.jsonl", &whole[..10], 0o600);
    reader.read("airkeep audit verify", &parsed(&home, 16, &["audit", "verify", "--json"]));
    home.write("airkeep-vault/journal.jsonl", &whole, 0o600);
    let cut = bundle.replace("-000002-", "-000009-");
    home.write(&cut, "x", 0o600);
    reader.read("airkeep vault rebuild", &parsed(&home, 3, &["vault", "rebuild", "--json", "--key-file", "key"]));
    std::fs::remove_file(home.path(&cut)).unwrap();
    reader.read("airkeep recover-text", &parsed(&home, 0, &["recover-text", "--json"]));
    reader.read("airkeep completions", &parsed(&home, 0, &["completions", "zsh", "--json"]));
    reader.read("airkeep man", &parsed(&home, 0, &["man", "--json"]));
    reader.read("airkeep demo", &parsed(&home, 0, &["demo", "--json"]));
    home.folder("pages");
    reader.read("airkeep man", &parsed(&home, 0, &["man", "--json", "--out", "pages"]));

    let mut hurt = home.read("app.akb");
    surgery::flip(&mut hurt, "frames/00000001");
    home.write("hurt.akb", &hurt, 0o600);
    home.write("no.akb", "no bundle", 0o600);

    let forged = forged_bundle(&home);
    reader.read("airkeep verify", &parsed(&home, 13, &["verify", &forged, "--json", "--key-file", "backup.key"]));

    reader.read("airkeep key list", &parsed(&home, 0, &["key", "list", "app.akb", "--json"]));
    reader.read("airkeep key new", &parsed(&home, 0, &["key", "new", "new.key", "--json"]));
    let rotate = ["key", "rotate", "airkeep-vault", "--json", "--key-file", "key", "--new-key-file", "new.key"];
    reader.read("airkeep key list", &parsed(&home, 0, &rotate));
    home.write("airkeep-vault/damaged.akb", &hurt[..9000], 0o600);
    reader.read("airkeep key list", &parsed(&home, 13, &rotate));
    reader.read("airkeep verify", &parsed(&home, 13, &["verify", "hurt.akb", "no.akb", "app.akb", "--json", "--key-file", "key"]));
    for (code, arguments) in [
        (10, &["backup", "missing.db", "--json", "--key-file", "key"][..]),
        (2, &["backup", "--nope", "--json"]),
        (10, &["verify", "missing.akb", "--json"]),
        (13, &["restore", "hurt.akb", "--json", "--to", "else", "--key-file", "key"]),
        (13, &["info", "no.akb", "--json"]),
        (2, &["recover-text", "more", "--json"]),
    ] {
        let object = parsed(&home, code, arguments);
        assert_eq!(object["error"]["code"], code);
        reader.read("airkeep backup", &object);
    }
    in_place(&home, &mut reader);
    compared(&home, &mut reader);
    guarded(&home, &mut reader);
    let config = "set='plant'\nvault='place'\n[sources.work]\nsqlite='work.db'\nappend-only='account'\nassert='account > 0'\n[sources.env]\nenv='.env'\n";
    home.write("airkeep.toml", config, 0o600);
    home.write(".env", "A_KEY=x\n", 0o600);
    reader.read("airkeep config", &parsed(&home, 0, &["config", "show", "--json"]));
    reader.read("airkeep backup --dry-run", &parsed(&home, 0, &["backup", "--dry-run", "--vault", "plain", "--key-file", "key", "--json"]));
    let sealed = parsed(&home, 0, &["backup", "--vault", "plain", "--key-file", "key", "--json"]);
    reader.read("airkeep backup", &sealed);
    let bundle = sealed["bundle"]["path"].as_str().unwrap();
    reader.read("airkeep verify", &parsed(&home, 0, &["verify", bundle, "--key-file", "key", "--json"]));
    reader.read("airkeep compare", &parsed(&home, 0, &["compare", bundle, "--key-file", "key", "--json"]));
    reader.read("airkeep restore", &parsed(&home, 0, &["restore", bundle, "--to", "plainly", "--key-file", "key", "--json"]));
    std::fs::remove_file(home.path("airkeep.toml")).unwrap();
    // Nobody writes to a file at the right moment.
    reader.finish(|name| !has_git && name.starts_with("git.") || name == "changed");
}

/// An archive of one file.
fn archive(home: &Home, name: &str, entry: &str, content: &[u8]) {
    let file = std::fs::File::create(home.path(name)).unwrap();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    archive.append_data(&mut header, entry, content).unwrap();
    archive.into_inner().unwrap().finish().unwrap();
}

/// A restore in place: its plan, its outcome, and one that did not live to record it.
fn in_place(home: &Home, reader: &mut Reader) {
    let live = rusqlite::Connection::open(home.path("live.db")).unwrap();
    live.execute_batch("CREATE TABLE audit(id INTEGER PRIMARY KEY, at TEXT); INSERT INTO audit VALUES(1, '2026-11-01')").unwrap();
    let keys = ["--vault", "place", "--key-file", "key", "--json"];
    let sealed = parsed(home, 0, &[&["backup", "live.db", "--append-only", "audit"], &keys[..]].concat());
    live.execute_batch("INSERT INTO audit VALUES(2, '2026-11-02'), (3, '2026-11-03')").unwrap();
    let restore = [&["restore", sealed["bundle"]["path"].as_str().unwrap(), "--in-place"], &keys[..]].concat();
    let plan = parsed(home, 0, &[&restore[..], &["--dry-run"]].concat());
    assert_eq!(plan["plan"]["targets"][0]["gap"]["tables"][0]["lost"], 2);
    reader.read("airkeep restore", &plan);
    let report = parsed(home, 0, &[&restore[..], &["--force"]].concat());
    assert_eq!(report["targets"][0]["gap"]["tables"][0]["lost_range"], serde_json::json!(["2", "3"]));
    reader.read("airkeep restore", &report);
    let safety = report["safety"]["path"].as_str().unwrap();
    reader.read("airkeep info", &parsed(home, 0, &["info", safety, "--key-file", "key", "--json"]));
    reader.read("airkeep gap list", &parsed(home, 0, &["gap", "list", "--vault", "place", "--json"]));
    reader.read("airkeep gap show", &parsed(home, 0, &["gap", "show", "--vault", "place", "--json"]));
    reader.read("airkeep gap export", &parsed(home, 0, &["gap", "export", safety, "--to", "rows", "--key-file", "key", "--json"]));
    // As a kill leaves the journal: up to the record that says that all is ready.
    let journal = String::from_utf8(home.read("place/journal.jsonl")).unwrap();
    let ready = journal.lines().position(|line| line.contains("\"stage\":\"ready\"")).unwrap();
    let cut: String = journal.lines().take(ready + 1).map(|line| format!("{line}\n")).collect();
    home.write("place/journal.jsonl", &cut, 0o600);
    let resolved = parsed(home, 0, &["restore", "resolve", "--vault", "place", "--json"]);
    assert_eq!(resolved["resolutions"][0]["recorded"], "success");
    reader.read("airkeep restore resolve", &resolved);
}

/// A comparison with a difference of every kind, and sizes.
fn compared(home: &Home, reader: &mut Reader) {
    let live = rusqlite::Connection::open(home.path("ledger.db")).unwrap();
    live.execute_batch(
        "CREATE TABLE alembic_version(version_num); INSERT INTO alembic_version VALUES('a'); CREATE TABLE t(id INTEGER PRIMARY KEY)",
    )
    .unwrap();
    let sealed = parsed(home, 0, &["backup", "ledger.db", "--vault", "ledgers", "--key-file", "key", "--json"]);
    reader.read("airkeep backup", &sealed);
    let bundle = sealed["bundle"]["path"].as_str().unwrap();
    live.execute_batch(
        "UPDATE alembic_version SET version_num='b'; DROP TABLE t; CREATE TABLE u(a); PRAGMA user_version=1; PRAGMA application_id=2",
    )
    .unwrap();
    reader.read("airkeep compare", &parsed(home, 0, &["compare", bundle, "--key-file", "key", "--json"]));
    reader.read("airkeep compare", &parsed(home, 0, &["compare", bundle, bundle, "--key-file", "key", "--json"]));
    reader.read("airkeep size", &parsed(home, 0, &["size", "--vault", "ledgers", "--json"]));
    reader.read("airkeep size", &parsed(home, 0, &["size", "--vault", "ledgers", "--key-file", "key", "--json"]));
}

/// Guarded work that fails, so that everything is put back.
fn guarded(home: &Home, reader: &mut Reader) {
    drop(home.database("work.db"));
    let guard = ["guard", "--db", "work.db", "--vault", "place", "--key-file", "key", "--json", "--", "sh", "-c", "exit 7"];
    reader.read("airkeep guard", &parsed(home, 7, &guard));
}

/// A bundle whose manifest tells of an additional row, with an orphan that it does not mention.
fn forged_bundle(home: &Home) -> String {
    drop(home.database("other.db"));
    let sql = "CREATE TABLE child(parent REFERENCES account(id)); PRAGMA foreign_keys=OFF; INSERT INTO child VALUES(-1)";
    rusqlite::Connection::open(home.path("other.db")).unwrap().execute_batch(sql).unwrap();
    support::key_file(&home.path(""));
    let report = support::back_up(&home.path("other.db"), &home.path("forgery"), |_| {});
    let mut manifest = report.manifest;
    manifest.sources[0].tables[0].rows = Some(1001);
    let parts = support::parts_of(&report.path, &home.path("unpacked"));
    support::reseal(&home.path("forged.akb"), &mut manifest, parts);
    "forged.akb".to_owned()
}

/// Makes the home a git work tree with one commit.
fn in_git(home: &Home) -> bool {
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
        cli::finish(home.program("git").args(identity).args(arguments)).code == 0
    };
    git(&["init", "--quiet"]) && git(&["commit", "--quiet", "--allow-empty", "-m", "x"])
}

#[test]
fn the_names_that_scripts_are_told_to_use_are_there() {
    let home = Home::with_bundle();
    let report = home.json(&["verify", "app.akb", "--key-file", "key", "--json"]);
    assert_eq!((&report["level"], &report["bundles"][0]["databases"][0]["proven"]), (&"L4".into(), &"L4".into()));
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!(report["sources"][0]["label"], "app");
    assert_eq!(report["sources"][0]["tables"]["account"], 1000);
    assert_eq!(report["bundle"]["sequence"], 1);
    assert_eq!(report["bundle"]["size_bytes"], home.read("app.akb").len());
    let again = home.json(&["backup", "app.db", "--key-file", "key", "--json"]);
    let path = again["bundle"]["path"].as_str().unwrap();
    assert_eq!(again["bundle"]["sha256"], airkeep::crypto::Digest::of(&home.read(path)).to_string());
    assert_eq!(again["bundle"]["predecessor"]["id"], report["bundle"]["id"]);
    assert_eq!(again["bundle"]["predecessor"]["seal_sha256"], report["bundles"][0]["seal_sha256"]);
}

#[test]
fn paths_of_a_restore_are_written_alike() {
    let home = Home::with_bundle();
    let report = home.json(&["restore", "app.akb", "--key-file", "key", "--to", "out", "--json"]);
    let (database, manifest) = (report["sources"][0]["restored_to"].as_str().unwrap(), report["manifest_path"].as_str().unwrap());
    assert_eq!(database.trim_end_matches("app.db"), manifest.trim_end_matches("manifest.json"));
}

#[test]
fn a_bundle_that_is_not_sound_has_an_error_beside_its_findings() {
    let home = Home::with_bundle();
    let mut hurt = home.read("app.akb");
    surgery::flip(&mut hurt, "frames/00000001");
    home.write("hurt.akb", &hurt, 0o600);
    let object = parsed(&home, 13, &["verify", "hurt.akb", "--key-file", "key", "--json"]);
    assert_eq!((&object["ok"], &object["error"]["code"]), (&false.into(), &13.into()), "a program that asks for error.code gets nothing");
    assert_eq!(object["bundles"][0]["hurt"], serde_json::json!(["app"]));
    assert_eq!(object["findings"][0]["frames"]["first"], 1);
}
