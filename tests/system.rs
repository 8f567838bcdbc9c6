//! A whole system from one short configuration: what is there is sealed, listed, compared, taken apart, and put back where the configuration says.

mod cli;

use std::path::{Path, PathBuf};

use cli::Home;
use rusqlite::Connection;
use serde_json::Value;

/// Of the size that a real one has: 26 lines.
const ICDEV: &str = r#"set = "icdev"
vault = "vault"
marking = "CUI//SP-CTI"

[keys]
key-files = "key"

[sealing]
hash-tables = true

[sources.icdev]
sqlite = "data/icdev.db"
required = true
append-only = "data/append_only.json"
assert = "audit_trail >= 10"

[sources.platform]
sqlite = "sqlite:data/platform.db"
append-only = "audit_platform"

[sources.memory]
sqlite = "data/memory.db"
[sources.activity]
sqlite = "data/activity.db"

[sources."tenants/*"]
sqlite = "data/tenants/*.db"
"#;

fn corpus() -> Option<PathBuf> {
    let found = std::env::var_os("AIRKEEP_CORPUS").map(|folder| Path::new(&folder).join("icdev")).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: AIRKEEP_CORPUS names no folder with icdev");
    }
    found
}

fn place(home: &Home, corpus: &Path, when: &str, names: &[&str]) {
    for name in names {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(home.path(format!("data/{name}.db{suffix}")));
        }
        std::fs::copy(corpus.join(format!("{when}/{name}.db")), home.path(format!("data/{name}.db"))).unwrap();
    }
}

fn labels(report: &Value, of: &str) -> Vec<String> {
    report[of].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap().to_owned()).collect()
}

const ALL: [&str; 6] = ["icdev", "platform", "memory", "activity", "tenants/acme", "tenants/bravo"];

#[test]
fn the_layout_of_a_real_platform_from_a_configuration_of_less_than_30_lines() {
    let Some(corpus) = corpus() else { return };
    assert!(ICDEV.lines().count() < 30);
    let home = Home::new();
    home.key("key");
    home.folder("data");
    home.folder("data/tenants");
    let tables: Vec<Value> = serde_json::from_slice(&std::fs::read(corpus.join("append_only_tables.json")).unwrap()).unwrap();
    home.write("data/append_only.json", serde_json::to_vec(&tables).unwrap(), 0o600);
    place(&home, &corpus, "live-before", &ALL);
    home.write("airkeep.toml", ICDEV, 0o600);
    home.succeeds(&["config", "check"]);

    let sealed = home.json(&["backup", "--json"]);
    assert_eq!(labels(&sealed, "sources"), ALL);
    assert_eq!(sealed["bundle"]["marking"], "CUI//SP-CTI");
    let bundle = sealed["bundle"]["path"].as_str().unwrap();
    let listed = home.json(&["list", "--json"]);
    assert_eq!(listed["bundles"][0]["labels"].as_array().unwrap().len(), 6);
    assert!(home.json(&["compare", "latest", "--exit-code", "--json"])["sources"].as_array().unwrap().len() == 6, "nothing differs yet");

    place(&home, &corpus, "live-after", &ALL[..4]);
    let compared = home.json(&["compare", "latest", "live", "--json"]);
    let audit_rows = |source: &Value| {
        let tables = source["tables"].as_array().unwrap();
        tables.iter().find(|table| table["table"] == "audit_trail").map(|table| table["added"].as_u64().unwrap())
    };
    let icdev = compared["sources"].as_array().unwrap().iter().find(|source| source["label"] == "icdev").unwrap();
    assert_eq!(audit_rows(icdev), Some(23), "{icdev:#}");

    home.succeeds(&["extract", "latest", "icdev", "--table", "audit_trail", "--format", "csv", "--to", "audit.csv"]);
    assert_eq!(String::from_utf8(home.read("audit.csv")).unwrap().lines().count(), 12, "a head and 11 rows");

    Connection::open(home.path("data/tenants/acme.db")).unwrap().execute_batch("CREATE TABLE ruin(x)").unwrap();
    let restored = home.json(&["restore", "latest", "tenants/acme", "--in-place", "--force", "--json"]);
    assert_eq!(labels(&restored, "targets"), ["tenants/acme"]);
    std::fs::remove_file(home.path("data/tenants/bravo.db")).unwrap();
    let restored = home.json(&["restore", bundle, "--in-place", "--force", "--json"]);
    assert!(restored["targets"].as_array().unwrap().iter().all(|target| target["result"] == "replaced"), "{restored:#}");
    assert_eq!(labels(&restored, "targets"), ALL);
    let trail = restored["targets"][0]["gap"]["tables"].as_array().unwrap();
    assert_eq!(trail.iter().find(|table| table["table"] == "audit_trail").unwrap()["lost"], 23);
    home.json(&["compare", bundle, "--exit-code", "--json"]);
    home.succeeds(&["audit", "verify"]);
}

/// A system in a folder of its own, with tenants, that can be carried elsewhere.
fn system(more: &str) -> Home {
    let home = Home::new();
    home.key("key");
    home.folder("data");
    home.folder("data/tenants");
    for name in ["main", "tenants/acme", "tenants/beta"] {
        drop(home.database(format!("data/{name}.db")));
    }
    configure(&home, "data", more);
    home
}

fn configure(home: &Home, folder: &str, more: &str) {
    let text = format!(
        "vault = 'vault'\n[keys]\nkey-files = 'key'\n[sources.\"tenants/*\"]\nsqlite = '{folder}/tenants/*.db'\n[sources.main]\nsqlite = '{folder}/main.db'\n{more}"
    );
    home.write("airkeep.toml", text, 0o600);
}

#[test]
fn everything_goes_where_the_configuration_says_and_not_where_it_was() {
    let home = system("");
    home.succeeds(&["backup"]);
    let before = home.tree();
    home.folder("new");
    home.folder("new/tenants");
    configure(&home, "new", "");
    let plan = home.json(&["restore", "latest", "--in-place", "--dry-run", "--json"]);
    let targets = plan["plan"]["targets"].as_array().unwrap();
    assert!(targets.iter().all(|target| target["path"].as_str().unwrap().contains("/new/") && target["state"] == "missing"), "{plan:#}");
    home.json(&["restore", "latest", "--in-place", "--force", "--json"]);
    for name in ["main", "tenants/acme", "tenants/beta"] {
        assert!(home.path(format!("new/{name}.db")).is_file(), "{name}");
        let old = home.path(format!("data/{name}.db"));
        assert_eq!(before[&old].1, std::fs::read(old).unwrap(), "{name} stays as it is");
    }
    home.json(&["compare", "latest", "live", "--exit-code", "--json"]);
}

#[test]
fn a_snapshot_that_is_not_what_is_demanded_is_not_put_back_unless_that_is_meant() {
    let home = system("assert = ['account >= 1000', 'SELECT count(*) = 0 FROM note']\n");
    let database = Connection::open(home.path("data/main.db")).unwrap();
    database.execute("DELETE FROM account WHERE id > 900", []).unwrap();
    assert_eq!(home.run(["backup"]).code, 3, "it may be the last one, and is sealed");
    database.execute("INSERT INTO note VALUES('x')", []).unwrap();
    drop(database);
    let restore = ["restore", "latest", "main", "--in-place", "--force"];
    home.refuses(15, "the snapshot of 'main' is not what airkeep.toml demands: 'account >= 1000' does not hold: 900", &restore);
    let run = home.run([&restore[..], &["--accept-unmet"]].concat());
    assert!(run.code == 0 && run.stderr.contains("'account >= 1000' does not hold: 900"), "{}", run.stderr);
}

#[test]
fn the_application_s_own_check_sees_what_was_restored() {
    let home = system("check = ['sh', 'check.sh', '{path}', 'a b']\n");
    home.succeeds(&["backup"]);
    home.write("check.sh", "echo \"$1|$2|$AIRKEEP_DATABASE|$AIRKEEP_LABEL|${AIRKEEP_PASSPHRASE-none}\" >>seen; test ! -e no\n", 0o600);
    let mut command = home.airkeep(["restore", "latest", "--in-place", "--force"]);
    let run = cli::finish(command.env("AIRKEEP_PASSPHRASE", "a passphrase that is not used"));
    assert_eq!(run.code, 12, "set for this run: {}", run.stderr);
    home.succeeds(&["restore", "latest", "--in-place", "--force"]);
    home.succeeds(&["restore", "latest", "main", "--to", "out"]);
    let seen = String::from_utf8(home.read("seen")).unwrap();
    let line = |path: &str| format!("{0}|a b|{0}|main|none\n", home.path(path).canonicalize().unwrap().display());
    assert_eq!(seen, line("data/main.db") + &line("out/main.db"), "tenants have no check");
    home.write("no", "", 0o600);
    let run = home.run(["restore", "latest", "main", "--in-place", "--force"]);
    assert!(
        run.code == 3 && run.stderr.contains("'main' is restored, and its check says no: 'sh' failed: exit status: 1"),
        "{}",
        run.stderr
    );
}

#[test]
fn plain_files_are_not_put_in_place() {
    let home = system("[sources.config]\nfiles = 'airkeep.toml'\n");
    home.succeeds(&["backup"]);
    let run = home.run(["restore", "latest", "--in-place", "--dry-run"]);
    assert!(run.code == 0 && run.stderr.contains("plain files are in the bundle, too, and are not put in place: config"), "{}", run.stderr);
    home.refuses(2, "'config' is a set of plain files, which is not a database", &["restore", "latest", "config", "--in-place", "--force"]);
}

#[test]
fn guard_without_a_word_guards_all_of_it() {
    let home = system("");
    home.succeeds(&["backup"]);
    let ruin = "for name in main tenants/acme tenants/beta; do printf ruined > data/$name.db; done; exit 7";
    let run = home.run(["guard", "--", "sh", "-c", ruin]);
    assert_eq!(run.code, 7, "{}", run.stderr);
    home.json(&["compare", "1", "--exit-code", "--json"]);
    let run = home.run(["guard", "--db", "tenants/*", "--", "sh", "-c", "exit 7"]);
    assert!(run.code == 7 && !run.stdout.contains("main"), "{}{}", run.stdout, run.stderr);
    std::fs::remove_file(home.path("airkeep.toml")).unwrap();
    assert_eq!(home.run(["guard", "--", "true"]).code, 2);
}

#[test]
fn what_is_hardly_the_same_database_is_not_replaced_unless_that_is_meant() {
    let home = system("");
    Connection::open(home.path("data/main.db")).unwrap().execute_batch("CREATE TABLE own(x)").unwrap();
    home.succeeds(&["backup"]);
    let strange = Connection::open(home.path("strange.db")).unwrap();
    strange.execute_batch("CREATE TABLE other(x); INSERT INTO other VALUES(1)").unwrap();
    drop(strange);
    let onto = |target: &'static str| ["restore", "latest", "main", "--onto", target, "--force"];
    home.refuses(2, "it has no table that the snapshot has", &onto("strange.db"));
    home.refuses(2, "it is the place of 'tenants/acme' in airkeep.toml", &onto("data/tenants/acme.db"));
    home.succeeds(&[&onto("strange.db")[..], &["--accept-other"]].concat());
    // Of another set, and adopted: told before anybody agrees.
    home.succeeds(&["import", "--as", "main=data/main.db", "--vault", "old"]);
    let bundle = home.json(&["list", "--vault", "old", "--json"])["bundles"][0]["file"].as_str().unwrap().to_owned();
    let run = home.run(["restore", &format!("old/{bundle}"), "--in-place", "--dry-run", "--vault", "vault"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    for words in ["the bundle is of the set '", "main was adopted from 'main.db', for which nobody's key vouches"] {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    assert!(run.stdout.contains("then: 'main' out of a file of "), "{}", run.stdout);
    std::fs::remove_file(home.path("airkeep.toml")).unwrap();
    let restore = ["restore", &format!("old/{bundle}"), "--in-place", "--dry-run", "--vault", "vault", "--key-file", "key"];
    home.refuses(2, "'main' was adopted from 'main.db', and where it belongs is not known", &restore);
}

#[test]
fn the_plan_names_the_commands_that_will_run() {
    let home = system("check = ['./check', '{path}']\n");
    home.succeeds(&["backup"]);
    let plan =
        home.succeeds(&["restore", "latest", "main", "--in-place", "--dry-run", "--stop-with", "systemctl stop x", "--start-with", "true"]);
    assert!(plan.contains("stop      systemctl stop x\ncheck     ./check {path}\nstart     true\n"), "{plan}");
}

#[test]
fn the_library_reads_a_configuration_as_the_program_does() {
    let home =
        system("required = true\nappend-only = 'note'\nassert = 'account > 1'\ngroup = 'g'\n[sources.config]\nfiles = 'airkeep.toml'\n");
    let text = std::fs::read_to_string(home.path("airkeep.toml")).unwrap().replace("vault = 'vault'\n", "");
    home.write("airkeep.toml", format!("set = 'plant'\nmarking = 'CUI'\n[sealing]\ncompression = 'zstd:3'\n{text}"), 0o600);
    home.folder("below");
    let mut below = home.airkeep(["backup", "--dry-run", "--json"]);
    let run = cli::finish(below.current_dir(home.path("below")));
    let plan: Value = serde_json::from_str(&run.stdout).expect(&run.stderr);
    let config = airkeep::Config::load(&home.path("airkeep.toml")).unwrap();
    let (backup, missing) = airkeep::Backup::of_config(&config).unwrap();
    assert!(missing.is_empty() && backup.append_only.len() == 1 && backup.assertions.len() == 1 && backup.optional.len() == 2);
    assert_eq!((backup.vault.to_str(), plan["set"].as_str()), (plan["vault"].as_str(), Some("plant")));
    assert_eq!((backup.marking.unwrap().to_string(), backup.compression.to_string()), ("CUI".to_owned(), "zstd:3".to_owned()));
    let own: Vec<&str> = backup.sources.iter().map(|source| source.label.as_str()).collect();
    assert_eq!((own, backup.files[0].label.as_str()), (labels(&plan, "sources").iter().map(String::as_str).collect(), "config"));
    assert_eq!(plan["sources"][2]["group"], backup.groups[0].name);
}
