//! Plain files and env files beside the databases, through the program: what is taken, what is left out, what comes back, and what is refused.

mod cli;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use airkeep::bundle::{
    ArchiveWriter, ArchivedFile, BundleWriter, Compression, CoreFacts, EntryPath, FileSet, FrameSize, Host, Id, Kind, Manifest, PublicCore,
    RECOVER_TEXT, Sealing, SetName, SetRef, Tool, UtcTime,
};
use airkeep::crypto::Digest;
use airkeep::ops::OsEntropy;
use airkeep::{KeyFileKey, Keyring, Label};
use cli::{Home, is_root};
use serde_json::{Value, json};

const HEAD: &str = "vault = 'vault'\n[keys]\nkey-files = ['key']\n[sealing]\ncompression = 'gzip:1'\n[sources.app]\nsqlite = 'app.db'\n";

/// An application with a database, settings, schema files and logs.
fn site(sources: &str) -> Home {
    let home = Home::new();
    home.key("key");
    home.database("app.db");
    for folder in ["config", "config/sub", "schema", "schema/deep", "logs"] {
        if !home.path(folder).exists() {
            home.folder(folder);
        }
    }
    home.write("config/app.toml", "port = 80\n", 0o640);
    home.write("config/sub/more.toml", "deep = true\n", 0o600);
    home.write("config/.hidden.toml", "hidden\n", 0o600);
    home.write("schema/1.sql", "CREATE TABLE a(x);\n", 0o644);
    home.write(&format!("schema/deep/{}.sql", "n".repeat(150)), "a long name\n", 0o600);
    home.write("logs/new.log", "today\n".repeat(100_000), 0o600);
    home.write("logs/old.log", "last year\n", 0o600);
    let old = std::fs::File::open(home.path("logs/old.log")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(365 * 86_400)).unwrap();
    home.write("airkeep.toml", format!("{HEAD}{sources}"), 0o600);
    home
}

fn paths(report: &Value, label: &str) -> Vec<String> {
    let sets = report["files"].as_array().unwrap();
    let set = sets.iter().find(|set| set["label"] == label).unwrap_or_else(|| panic!("{label} in {report:#}"));
    set["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_fits_the_patterns_comes_back_as_it_was() {
    let home = site(
        "[sources.config]\nfiles = ['config/**/*.toml', 'schema/**/*.sql']\n[sources.logs]\nfiles = 'logs/*.log'\nnewer-than = '7d'\nrequired = true\n",
    );
    let report = home.json(&["backup", "--json"]);
    let long = format!("schema/deep/{}.sql", "n".repeat(150));
    assert_eq!(paths(&report, "config"), ["config/app.toml", "config/sub/more.toml", "schema/1.sql", &long]);
    assert_eq!(paths(&report, "logs"), ["new.log"]);
    let bundle = report["bundle"]["path"].as_str().unwrap();
    home.succeeds(&["verify", bundle, "--level", "4"]);
    let restored = home.json(&["restore", bundle, "--to", "back", "--json"]);
    assert_eq!(restored["files"][0]["restored_to"], "back/files/config");
    for (name, set) in [("config/app.toml", "config/"), (&long, "config/"), ("logs/new.log", "")] {
        let back = home.path(format!("back/files/{set}{name}"));
        let (was, is) = (home.path(name).metadata().unwrap(), back.metadata().unwrap());
        assert_eq!(std::fs::read(&back).unwrap(), home.read(name), "{name}");
        assert_eq!((was.mode(), was.mtime()), (is.mode(), is.mtime()), "{name}");
    }
    assert!(home.path("back/app.db").is_file() && !home.path("back/files/config/config/.hidden.toml").exists());
    home.json(&["restore", bundle, "config", "--to", "one", "--json"]);
    assert!(!home.path("one/app.db").exists() && home.path("one/files/config/schema/1.sql").is_file());
    home.refuses(2, "'back/app.db' exists", &["restore", bundle, "--to", "back"]);
    home.refuses(2, "'one/files/config' exists", &["restore", bundle, "config", "--to", "one"]);
    home.refuses(10, "app, config, logs", &["restore", bundle, "nothing", "--to", "two"]);
    assert!(home.succeeds(&["list", "--vault", "vault"]).contains("config"), "the list needs no key");
    let info = home.succeeds(&["info", bundle]);
    assert!(info.contains("config/app.toml") && info.contains("plain files"), "{info}");
    let sizes = home.json(&["size", "--json"]);
    assert_eq!(sizes["labels"].as_array().unwrap().len(), 3);
}

#[test]
fn no_secret_of_an_env_file_is_in_a_bundle() {
    let home = site("[sources.env]\nenv = ['.env', 'deploy/*.env']\nredact = ['PLANT_*']\nrequired = true\n");
    home.folder("deploy");
    let text = "PORT=8080\nDB_PASSWORD=canary-7f\nURL=postgres://a:canary-7f@db/x\n# OLD_TOKEN=canary-7f\nKEY=\"-----BEGIN PRIVATE KEY-----\ncanary-7f\n-----END PRIVATE KEY-----\"\ncanary-7f\nPLANT_CODE=canary-7f\n";
    home.write(".env", text, 0o600);
    home.write("deploy/prod.env", text, 0o600);
    let run = home.run(["backup", "--json", "--compression", "none"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let files = report["files"][0]["files"].as_array().unwrap();
    assert!(files.len() == 2 && files.iter().all(|file| file["redacted"] == 6), "{report:#}");
    assert!(home.succeeds(&["backup"]).contains("12 secrets left out"));
    let bundle = report["bundle"]["path"].as_str().unwrap();
    // Everything that is in the payload: databases, the archive, the manifest.
    let run = home.run(["restore", bundle, "--to", "back"]);
    assert!(run.code == 0 && run.stderr.contains("secrets were left out"), "{}", run.stderr);
    assert_eq!(String::from_utf8(home.read("back/files/env/.env")).unwrap().lines().next(), Some("PORT=8080"));
    for (path, (_, content)) in home.tree() {
        let is_source = path.ends_with(".env") && !path.starts_with(home.path("back"))
            || path.ends_with("prod.env") && path.starts_with(home.path("deploy"));
        let has_canary = content.windows(9).any(|window| window == b"canary-7f");
        assert!(is_source || !has_canary, "a secret is in {}", path.display());
    }
    let journal = std::fs::read(home.path("vault/journal.jsonl")).unwrap();
    assert!(!journal.windows(9).any(|window| window == b"canary-7f"));
}

#[test]
fn what_cannot_be_taken_is_told_and_the_rest_goes_on() {
    let home = site("[sources.config]\nfiles = 'config/*'\n[sources.late]\nfiles = 'late/*'\n");
    symlink("/etc/passwd", home.path("config/link.toml")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, home.path("config/pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    home.database("config/other.db");
    home.write("config/closed.toml", "x", 0o000);
    home.write("config/.env", "SECRET=x\n", 0o600);
    let run = home.run(["backup", "--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    let mut told = vec![
        "config/link.toml' is a symbolic link",
        "config/pipe' is not a regular file",
        "config/other.db' is an SQLite database; name it as a source of its own",
        "source 'late' is not in this bundle: no file fits its patterns, the first is",
    ];
    if !is_root() {
        told.push("config/closed.toml");
    }
    for words in told {
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(paths(&report, "config").contains(&"app.toml".to_owned()));
    let required = std::fs::read_to_string(home.path("airkeep.toml")).unwrap().replace("'config/*'", "'config/*'\nrequired = true");
    home.write("airkeep.toml", required, 0o600);
    home.refuses(1, "link.toml' is a symbolic link", &["backup", "config"]);
    home.refuses(10, "no source could be captured", &["backup", "late"]);
    home.refuses(10, "symbolic link", &["config", "check"]);
}

#[test]
fn sizes_are_limited() {
    let home = site("[sources.logs]\nfiles = 'logs/*'\nmax-file-size = '100K'\n[sources.all]\nfiles = ['logs/*']\nmax-size = '100K'\n");
    let run = home.run(["backup", "logs", "--json"]);
    assert!(run.code == 0 && run.stderr.contains("new.log' is left out: it has 600000 bytes"), "{}", run.stderr);
    assert_eq!(paths(&serde_json::from_str(&run.stdout).unwrap(), "logs"), ["old.log"]);
    let run = home.run(["backup"]);
    assert_eq!(run.code, 3);
    assert!(
        run.stderr.contains("source 'all' is not in this bundle: its files have 600010 bytes, and at most 102400 are allowed"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_vault_the_keys_and_the_databases_are_in_no_set() {
    let home = site("[sources.all]\nfiles = '**/*'\nexclude = ['logs', 'config/sub/*']\n");
    let open = home.database("live.db");
    open.query_row("PRAGMA journal_mode=wal", [], |_| Ok(())).unwrap();
    open.execute("INSERT INTO note VALUES('x')", []).unwrap();
    home.succeeds(&["backup", "app"]);
    let run = home.run(["backup", "--json"]);
    assert_eq!(run.code, 3, "live.db is told: {}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let long = format!("schema/deep/{}.sql", "n".repeat(150));
    assert_eq!(paths(&report, "all"), ["airkeep.toml", "config/app.toml", "schema/1.sql", &long]);
}

#[test]
fn compare_tells_which_files_differ() {
    let home = site("[sources.config]\nfiles = 'config/**/*.toml'\n[sources.env]\nenv = '.env'\n");
    home.write(".env", "A_KEY=one\nPORT=1\n", 0o600);
    home.succeeds(&["backup"]);
    assert_eq!(home.json(&["compare", "latest", "--exit-code", "--json"])["same"], true);
    home.write(".env", "A_KEY=two\nPORT=1\n", 0o600);
    home.write("config/app.toml", "port = 81\n", 0o640);
    home.write("config/new.toml", "", 0o640);
    std::fs::remove_file(home.path("config/sub/more.toml")).unwrap();
    let files = &home.json(&["compare", "latest", "--json"])["files"];
    let facts = |set: &Value| (set["added"].clone(), set["removed"].clone(), set["changed"].clone());
    assert_eq!(facts(&files[0]), (json!(["new.toml"]), json!(["sub/more.toml"]), json!(["app.toml"])));
    assert_eq!(files[1]["same"], true, "secrets are in no comparison");
    home.succeeds(&["backup", "config"]);
    let text = home.succeeds(&["compare", "1", "2"]);
    assert!(text.contains("file app.toml: changed") && text.contains("source   env: only on the first side"), "{text}");
    assert_eq!(home.run(["compare", "1", "--label", "config", "--exit-code"]).code, 1);
    assert_eq!(home.run(["compare", "1", "--label", "env", "--exit-code"]).code, 0);
    home.refuses(10, "nothing", &["compare", "1", "--label", "nothing"]);
    home.refuses(2, "'config' is a set of plain files", &["extract", "1", "config", "--to", "x"]);
}

#[test]
fn demands_are_recorded_and_those_that_are_not_met_are_told() {
    let home = site("assert = ['account >= 1000', 'account > 1_000', \"SELECT count(*) = 0 FROM note\", 'tasks > 0']\n");
    let run = home.run(["backup", "--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("app: 'account > 1_000' does not hold: 1000"), "{}", run.stderr);
    assert!(run.stderr.contains("app: 'tasks > 0' cannot be asked: no such table: main.tasks"), "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let holds: Vec<&Value> = report["sources"][0]["assertions"].as_array().unwrap().iter().map(|one| &one["holds"]).collect();
    assert_eq!(holds, [&Value::Bool(true), &Value::Bool(false), &Value::Bool(true), &Value::Null]);
    assert!(home.succeeds(&["info", report["bundle"]["path"].as_str().unwrap()]).contains("account > 1_000 does not hold: 1000"));
}

/// Seals an archive with one file of this path, as somebody could who has the key.
fn hostile(home: &Home, path: &str, recorded: &str, content: &[u8]) {
    let ring = Keyring { key_files: vec![KeyFileKey::parse(&home.read("key")).unwrap()], ..Keyring::default() };
    let text = |value: &str| value.to_owned();
    let core = PublicCore::new(
        CoreFacts {
            id: Id([7; 16]),
            set: SetRef { id: Id([8; 16]), name: SetName::parse("hostile").unwrap() },
            sequence: 1,
            kind: Kind::Manual,
            created_at: UtcTime::parse("2026-01-01T00:00:00Z").unwrap(),
            codec: Compression::DEFAULT.codec(),
            frame_size: FrameSize::Normal,
            marking: None,
            predecessor: None,
            signer: None,
            journal_head: None,
        },
        RECOVER_TEXT.as_bytes(),
    );
    let mut archive = ArchiveWriter::new(Vec::new());
    archive.add("name", content.len() as u64, 0o600, 0, content).unwrap();
    let mut archive = archive.into_out().unwrap();
    // No library writes such a name.
    archive[..100].fill(0);
    archive[..path.len()].copy_from_slice(path.as_bytes());
    archive[148..156].fill(b' ');
    let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
    archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let sealing = Sealing { ring: &ring, signer: None, compression: Compression::DEFAULT, workers: 1 };
    let mut entropy = OsEntropy;
    let mut writer = BundleWriter::start(Vec::new(), &core, sealing, &mut entropy).unwrap();
    let label = Label::parse("set").unwrap();
    let sha256 = writer.add(EntryPath::Files(label.clone()), &archive).unwrap();
    let file = ArchivedFile {
        path: text(recorded),
        size_bytes: 4,
        sha256: Digest::of(b"evil"),
        modified_at: core.created_at.clone(),
        mode: text("4777"),
        changed: false,
        redacted: None,
    };
    let set = FileSet {
        label,
        kind: text("files"),
        folder: text("/"),
        captured_at: core.created_at.clone(),
        size_bytes: archive.len() as u64,
        sha256,
        files: vec![file],
        git: None,
    };
    let manifest = Manifest {
        format: text(airkeep::bundle::MANIFEST_FORMAT),
        bundle: core.id,
        host: Host { name: text("host"), os: text("linux"), arch: text("x86_64"), user: text("root"), uid: 0 },
        tool: Tool { name: text("airkeep"), version: text("0"), sqlite: text("3") },
        started_at: core.created_at.clone(),
        duration_ms: 1,
        tag: None,
        note: None,
        sources: Vec::new(),
        files: vec![set],
    };
    home.write("hostile.akb", writer.seal(manifest.encode()).unwrap().out, 0o600);
}

#[test]
fn no_archive_leads_out_of_its_folder() {
    let home = Home::new();
    home.key("key");
    let restore = ["restore", "hostile.akb", "--to", "back", "--key-file", "key"];
    for path in ["../../../evil", "/evil", "a/../../evil", "a//evil", "./evil", "evil/", ""] {
        hostile(&home, path, path, b"evil");
        home.refuses(13, "manifest: illegal files", &restore);
        let run = home.run(["verify", "hostile.akb", "--key-file", "key"]);
        assert!(run.code == 13 && (run.stdout.clone() + &run.stderr).contains("illegal files"), "{}{}", run.stdout, run.stderr);
    }
    for (path, content, words) in
        [("a", b"evil", "the archive is not what the manifest says, at 'a'"), ("b", b"good", "'b' is not what the manifest says")]
    {
        hostile(&home, path, "b", content);
        home.refuses(13, "cannot unpack 'set'", &restore);
        let run = home.run(["verify", "hostile.akb", "--key-file", "key"]);
        assert!(run.code == 13 && (run.stdout.clone() + &run.stderr).contains(words), "{}{}", run.stdout, run.stderr);
    }
    hostile(&home, "a/b", "a/b", b"evil");
    home.succeeds(&restore);
    let mode = home.path("back/files/set/a/b").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o777, "no bit that changes who runs it");
}

#[test]
fn more_files_come_back_than_a_process_may_have_open() {
    let home = site("[sources.many]\nfiles = 'many/**/*'\n");
    for number in 0..1500 {
        let folder = home.path(format!("many/{}/{}", number % 3, number % 100));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number}.txt")), number.to_string()).unwrap();
    }
    let report = home.json(&["backup", "many", "--json"]);
    let bundle = report["bundle"]["path"].as_str().unwrap();
    let line = format!("ulimit -n 256; exec {} restore {bundle} many --to back", cli::AIRKEEP);
    let run = cli::finish(home.program("sh").args(["-c", &line]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    for number in 0..1500 {
        let back = home.path(format!("back/files/many/{}/{}/{number}.txt", number % 3, number % 100));
        assert_eq!(std::fs::read_to_string(back).unwrap(), number.to_string());
    }
}

/// Stops as soon as files are unpacked.
#[derive(Default)]
struct StopsUnpacking(std::sync::atomic::AtomicBool);

impl airkeep::ops::Progress for StopsUnpacking {
    fn begin(&self, phase: &str, _: Option<u64>) {
        self.0.fetch_or(phase == "unpacking", std::sync::atomic::Ordering::Relaxed);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn unpacking_can_be_cancelled_and_leaves_nothing() {
    let home = site("[sources.config]\nfiles = 'config/**/*.toml'\n");
    let bundle = home.json(&["backup", "--json"])["bundle"]["path"].as_str().unwrap().to_owned();
    let mut ring = Keyring::default();
    ring.key_files.push(KeyFileKey::parse(&home.read("key")).unwrap());
    let mut environment = airkeep::ops::Environment::system();
    environment.progress = std::sync::Arc::new(StopsUnpacking::default());
    let restored = airkeep::Restore::new(home.path(bundle), home.path("back")).run(&ring, &mut environment);
    assert!(matches!(restored, Err(airkeep::Failure::Cancelled)), "{restored:?}");
    assert!(!home.path("back").exists());
}
