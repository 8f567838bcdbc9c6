//! Old backups of other programs are adopted, and what they prove is told, no more: forms, sums, damage, wrong passphrases, bombs.

mod cli;

use std::io::Write;
use std::path::{Path, PathBuf};

use aes::cipher::{BlockModeEncrypt, KeyIvInit, block_padding::Pkcs7};
use cli::{Home, has};
use flate2::Compression;
use flate2::write::GzEncoder;
use rusqlite::Connection;
use serde_json::Value;

const OLD: &str = "airkeep-peer-test-passphrase-2026";

/// A home with a key, the old passphrase, and `app.db`.
fn home() -> Home {
    let home = Home::new();
    home.key("key");
    home.write("old.pass", OLD, 0o600);
    home.write("wrong.pass", "not that one", 0o600);
    drop(home.database("app.db"));
    home
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Entries by name; no name is checked, as in an archive that somebody forged.
fn tar_gz(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    gzip(&archive.into_inner().unwrap())
}

/// As ICDEV's tool encrypts.
fn icdev(plain: &[u8], passphrase: &str) -> Vec<u8> {
    let (salt, iv, mut key) = ([0x5a; 16], [0xa5; 16], [0; 32]);
    pbkdf2::pbkdf2_hmac::<sha2::Sha256>(passphrase.as_bytes(), &salt, 600_000, &mut key);
    let mut body = [plain, &[0; 16]].concat();
    let encryptor = cbc::Encryptor::<aes::Aes256>::new(&key.into(), &iv.into());
    let sealed = encryptor.encrypt_padded::<Pkcs7>(&mut body, plain.len()).unwrap();
    [&salt[..], &iv, sealed].concat()
}

fn sum(bytes: &[u8]) -> String {
    airkeep::crypto::Digest::of(bytes).to_string()
}

#[test]
fn what_live_databases_have_is_not_asked_of_old_backups() {
    let home = home();
    let label = airkeep::Label::parse("app").unwrap();
    let old = airkeep::ops::OldBackup { path: home.path("app.db"), label: Some(label.clone()) };
    let mut import = airkeep::Import::new(vec![old], home.path("vault"));
    import.backup.append_only = airkeep::ops::AppendOnly::read("app:no-such-table").unwrap();
    import.backup.groups = vec![airkeep::ops::SourceGroup { name: "all".to_owned(), labels: vec![label.clone()] }];
    import.backup.assertions = vec![(label, airkeep::database::Assertion::parse("no_such_table > 1").unwrap())];
    let key_files = vec![airkeep::KeyFileKey::parse(&[7; 32]).unwrap()];
    let ring = airkeep::Keyring { key_files, ..airkeep::Keyring::default() };
    let mut environment = airkeep::Environment { state_folder: None, ..airkeep::Environment::system() };
    let report = import.run(&ring, &[], &mut environment).unwrap();
    let source = &report.manifest.sources[0];
    assert_eq!((report.warnings, source.assertions.len(), source.consistency.as_str()), (Vec::new(), 0, "independent"));
}

fn import<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["import"], arguments, &["--key-file", "key"]].concat()
}

fn imported(home: &Home, arguments: &[&str]) -> Value {
    home.json(&[&import(arguments)[..], &["--json"]].concat())
}

/// Restores the newest bundle's databases into a new folder.
fn restored(home: &Home, report: &Value, label: &str) -> Connection {
    let bundle = report["bundle"]["path"].as_str().unwrap();
    if !home.path("out").exists() {
        home.succeeds(&["restore", bundle, "--to", "out", "--key-file", "key"]);
    }
    Connection::open(find(&home.path("out"), &format!("{label}.db")).expect("restored")).unwrap()
}

/// A file of this name anywhere in a folder.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    entries.filter_map(|path| if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) }).next()
}

fn rows(connection: &Connection, table: &str) -> u32 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

#[test]
fn a_packed_database_with_its_sum_is_adopted() {
    let home = home();
    let packed = gzip(&home.read("app.db"));
    home.write("app.db.gz", &packed, 0o644);
    home.write("app.db.gz.sha256", format!("{}  app.db.gz\n", sum(&packed)), 0o644);
    let report = imported(&home, &["app.db.gz"]);
    assert_eq!(report["bundle"]["kind"], "imported");
    let source = &report["sources"][0];
    assert_eq!((&source["label"], &source["tables"]["account"]), (&"app".into(), &1000.into()));
    assert_eq!((&source["check"]["kind"], &source["check"]["verdict"]), (&"quick".into(), &"ok".into()));
    assert_eq!(source["git"], Value::Null);
    let origin = &source["imported"];
    assert_eq!((&origin["file"], &origin["form"]), (&"app.db.gz".into(), &"gzip".into()));
    assert_eq!((&origin["integrity"], &origin["authenticated"]), (&"sha256-sidecar".into(), &false.into()));
    assert_eq!(origin["sha256"], sum(&packed));
    assert_eq!(rows(&restored(&home, &report, "app"), "account"), 1000);
    let info = home.succeeds(&["info", report["bundle"]["path"].as_str().unwrap(), "--key-file", "key"]);
    assert!(info.contains("'app.db.gz', packed by gzip") && info.contains("not authenticated"), "{info}");
}

#[test]
fn a_sum_that_does_not_fit_refuses() {
    let home = home();
    home.write("app.db.gz", gzip(&home.read("app.db")), 0o644);
    home.write("app.db.gz.sha256", format!("{}  app.db.gz\n", sum(b"else")), 0o644);
    home.refuses(13, "says", &import(&["app.db.gz"]));
    home.write("app.db.gz.sha256", "nothing\n", 0o644);
    home.refuses(13, "holds no SHA-256", &import(&["app.db.gz"]));
}

#[test]
fn without_a_sum_only_what_was_compared_is_claimed() {
    let home = home();
    home.write("app.db.gz", gzip(&home.read("app.db")), 0o644);
    let text = home.succeeds(&import(&["app.db.gz", "--as", "plain=app.db"]));
    assert!(text.contains("gzip's CRC is right, no .sha256 was beside it; not authenticated"), "{text}");
    assert!(text.contains("an SQLite file") && text.contains("no sum to compare it with; not authenticated"), "{text}");
}

#[test]
fn damaged_and_cut_gzip_is_refused() {
    let home = home();
    let packed = gzip(&home.read("app.db"));
    let mut flipped = packed.clone();
    let crc = flipped.len() - 6;
    flipped[crc] ^= 1;
    for (name, content) in [("cut.gz", &packed[..packed.len() / 2]), ("short.gz", &packed[..packed.len() - 4]), ("crc.gz", &flipped[..])] {
        home.write(name, content, 0o644);
        home.refuses(13, "damaged or cut", &import(&[name]));
    }
}

#[test]
fn what_is_no_database_is_refused() {
    let home = home();
    for (name, content) in [("empty.db", Vec::new()), ("text.db", b"text".to_vec()), ("text.gz", gzip(b"text")), ("none.gz", gzip(b""))] {
        home.write(name, content, 0o644);
        home.refuses(14, "no SQLite database", &import(&[name]));
    }
    home.write("notes.tar.gz", tar_gz(&[("a.txt", b"text"), ("b.txt", b"")]), 0o644);
    home.refuses(14, "no SQLite database", &import(&["notes.tar.gz"]));
    home.folder("folder.db");
    home.refuses(2, "folder", &import(&["folder.db"]));
    home.refuses(10, "look at", &import(&["missing.db"]));
}

#[test]
fn a_gzip_bomb_stops_at_the_limit() {
    let home = home();
    let bomb = [&home.read("app.db")[..], &vec![0; 8 << 20]].concat();
    home.write("bomb.gz", gzip(&bomb), 0o644);
    home.refuses(14, "unpacks to more than 4194304 bytes", &import(&["bomb.gz", "--max-size", "4M"]));
    home.write("bomb.tar.gz", tar_gz(&[("x.db.gz", &gzip(&bomb))]), 0o644);
    home.refuses(14, "unpacks to more than", &import(&["bomb.tar.gz", "--max-size", "4M"]));
    let report = imported(&home, &["bomb.gz", "--max-size", "9M"]);
    assert!(report["warnings"].to_string().contains("stand behind the last page"), "{report:#}");
}

#[test]
fn databases_of_an_archive_are_found_whatever_their_names_are() {
    let home = home();
    let app = home.read("app.db");
    let connection = home.database("wal.db");
    connection.execute_batch("PRAGMA journal_mode=WAL; INSERT INTO note VALUES('only in the WAL')").unwrap();
    let (wal_db, wal) = (home.read("wal.db"), home.read("wal.db-wal"));
    let long = format!("{}/deep.db", "d".repeat(90));
    let (packed, log) = (gzip(&app), gzip(b"no database"));
    let entries = [
        ("../../../etc/evil.db", &app[..]),
        ("/srv/tenants/acme.db", &app),
        (&long[..], &app),
        ("data/wal.db-wal", &wal),
        ("data/wal.db", &wal_db),
        ("inner.db.gz", &packed),
        ("README.txt", b"text"),
        ("log.gz", &log),
        ("app.db-shm", b"shared"),
    ];
    home.write("all.tar.gz", tar_gz(&entries), 0o644);
    let report = imported(&home, &["all.tar.gz"]);
    let labels: Vec<&str> = report["sources"].as_array().unwrap().iter().map(|source| source["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["evil", "tenants/acme", "deep", "wal", "inner"]);
    let origin = &report["sources"][0]["imported"];
    assert_eq!((&origin["entry"], &origin["form"]), (&"../../../etc/evil.db".into(), &"tar-gzip".into()));
    let warnings = report["warnings"].to_string();
    assert!(
        warnings.contains("'README.txt' is no database")
            && warnings.contains("'log.gz' is no database")
            && warnings.contains("'app.db-shm' is no database"),
        "{warnings}"
    );
    assert!(warnings.contains("'data/wal.db-wal' lay beside its database"), "{warnings}");
    assert_eq!(report["sources"][3]["capture"]["recovered"], true);
    assert_eq!(rows(&restored(&home, &report, "wal"), "note"), 1);
    home.refuses(2, "holds 5 databases", &import(&["--as", "one=all.tar.gz"]));
}

#[test]
fn long_and_endless_names_of_an_archive_are_bounded() {
    let home = home();
    let app = home.read("app.db");
    let mut archive = tar::Builder::new(Vec::new());
    let long = format!("{}/long.db", "n".repeat(200));
    let mut header = tar::Header::new_gnu();
    header.set_size(app.len() as u64);
    archive.append_data(&mut header, &long, &app[..]).unwrap();
    home.write("long.tar.gz", gzip(&archive.into_inner().unwrap()), 0o644);
    assert_eq!(imported(&home, &["long.tar.gz"])["sources"][0]["imported"]["entry"], long);

    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    let endless = vec![b'x'; 1 << 20];
    header.set_size(endless.len() as u64);
    header.set_cksum();
    let mut archive = tar::Builder::new(Vec::new());
    archive.append(&header, &endless[..]).unwrap();
    home.write("endless.tar.gz", gzip(&archive.into_inner().unwrap()), 0o644);
    home.refuses(13, "cannot be unpacked", &import(&["endless.tar.gz"]));
}

#[test]
fn a_log_beside_a_database_is_taken_in() {
    let home = home();
    let connection = home.database("live.db");
    connection.execute_batch("PRAGMA journal_mode=WAL; INSERT INTO note VALUES('a'), ('b')").unwrap();
    home.write("old.db", home.read("live.db"), 0o644);
    home.write("old.db-wal", home.read("live.db-wal"), 0o644);
    let report = imported(&home, &["old.db"]);
    assert_eq!(report["sources"][0]["tables"]["note"], 2);
    assert!(report["warnings"].to_string().contains("old.db-wal' lay beside"), "{report:#}");
    assert!(home.path("old.db-wal").exists() && !home.path("old.db-shm").exists());
    if Path::new("/proc/self/fd").exists() {
        home.refuses(11, "it is open in", &import(&["live.db"]));
    }
}

#[test]
fn icdev_s_encryption_is_opened_and_told_to_prove_nothing() {
    let home = home();
    home.write("app_20261120T215504Z.db.bak.enc", icdev(&home.read("app.db"), OLD), 0o644);
    home.write("packed.db.enc", icdev(&gzip(&home.read("app.db")), "other one"), 0o644);
    home.write("other.pass", "other one\n", 0o600);
    let old = ["--old-passphrase-file", "old.pass", "--old-passphrase-file", "other.pass"];
    let report = imported(&home, &[&["app_20261120T215504Z.db.bak.enc", "packed.db.enc"], &old[..]].concat());
    let sources = report["sources"].as_array().unwrap();
    for (source, label, integrity) in [(&sources[0], "app", "none"), (&sources[1], "packed", "gzip-crc")] {
        assert_eq!((&source["label"], &source["imported"]["form"]), (&label.into(), &"icdev-enc".into()));
        assert_eq!((&source["imported"]["integrity"], &source["imported"]["authenticated"]), (&integrity.into(), &false.into()));
    }
    assert_eq!(sources[0]["sha256"], sum(&home.read("app.db")));
    home.write("app_20261120T215504Z.db.bak.sha256", sum(b"else"), 0o644);
    home.refuses(13, "says", &import(&[&["app_20261120T215504Z.db.bak.enc"], &old[..]].concat()));
}

#[test]
fn a_wrong_old_passphrase_is_refused_and_so_is_one_whose_padding_fits() {
    let home = home();
    home.write("app.enc", icdev(&home.read("app.db"), OLD), 0o644);
    home.refuses(12, "no old passphrase was given", &import(&["app.enc"]));
    home.refuses(12, "no old passphrase opens it", &import(&["app.enc", "--old-passphrase-file", "wrong.pass"]));
    // What a wrong passphrase gives that ICDEV's own restore accepts: noise with a valid padding.
    home.write("noise.enc", icdev(&[0x99; 4096], OLD), 0o644);
    home.refuses(12, "valid padding but holds no database", &import(&["noise.enc", "--old-passphrase-file", "old.pass"]));
    home.chmod("old.pass", 0o644);
    home.refuses(12, "old.pass", &import(&["app.enc", "--old-passphrase-file", "old.pass"]));
}

#[test]
fn damage_of_an_encrypted_backup_is_told_from_a_wrong_passphrase() {
    let home = home();
    let whole = icdev(&home.read("app.db"), OLD);
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    for (name, content, words) in [
        ("empty.enc", Vec::new(), "it is cut"),
        ("front.enc", whole[..32].to_vec(), "it is cut"),
        ("midblock.enc", whole[..20_005].to_vec(), "it is cut"),
        ("block.enc", whole[..20_000].to_vec(), "its end is damaged or cut off"),
        ("last.enc", changed(whole.len() - 1), "its end is damaged or cut off"),
        ("iv.enc", changed(20), "its first bytes were changed"),
        ("header.enc", changed(49), "the database in it"),
    ] {
        home.write(name, content, 0o644);
        home.refuses(13, words, &import(&[name, "--old-passphrase-file", "old.pass"]));
    }
}

#[test]
fn a_corrupt_database_is_refused_unless_that_is_accepted() {
    let home = home();
    let mut bytes = home.read("app.db");
    bytes[4096..4200].fill(0xee);
    home.write("hurt.db", &bytes, 0o644);
    home.refuses(13, "is corrupt", &import(&["hurt.db"]));
    let report = imported(&home, &["hurt.db", "--accept-corrupt"]);
    assert_eq!(report["sources"][0]["check"]["verdict"], "corrupt");
    home.write("cut.db", &home.read("app.db")[..8192], 0o644);
    home.refuses(13, "truncated", &import(&["cut.db"]));
}

#[test]
fn labels_are_given_or_made() {
    let home = home();
    std::fs::create_dir(home.path("b")).unwrap();
    home.write("b/app.db", home.read("app.db"), 0o644);
    home.refuses(2, "its label would be 'app'", &import(&["app.db", "b/app.db"]));
    let report = imported(&home, &["app.db", "--as", "tenants/b=b/app.db"]);
    assert_eq!((&report["sources"][0]["label"], &report["sources"][1]["label"]), (&"app".into(), &"tenants/b".into()));
    home.write("---.db", home.read("app.db"), 0o644);
    home.refuses(2, "no label can be made", &import(&["./---.db"]));
    home.refuses(2, "no label stands in front", &import(&["--as", "app.db"]));
}

#[test]
fn an_import_is_recorded_and_rewrites_no_history() {
    let home = home();
    home.write("old.db", home.read("app.db"), 0o644);
    Connection::open(home.path("app.db")).unwrap().execute_batch("INSERT INTO account VALUES(5000, 'later')").unwrap();
    home.succeeds(&["backup", "app.db", "--append-only", "account", "--key-file", "key"]);
    let report = imported(&home, &["--as", "app=old.db"]);
    let events = home.json(&["audit", "show", "--json"]);
    let last = events["records"].as_array().unwrap().last().unwrap();
    assert_eq!((&last["event"], &last["details"]["kind"]), (&"backup".into(), &"imported".into()), "{last:#}");
    // The old state is not the newest, and the history goes on where it was.
    home.succeeds(&["restore", "latest", "--to", "newest", "--key-file", "key"]);
    assert_eq!(report["bundle"]["sequence"], 2);
    let newest = find(&home.path("newest"), "app.db").expect("restored");
    assert_eq!(rows(&Connection::open(newest).unwrap(), "account"), 1001);
    home.succeeds(&["backup", "app.db", "--key-file", "key"]);
    home.succeeds(&["verify", "airkeep-vault", "--key-file", "key"]);
}

#[test]
fn nothing_of_an_old_backup_reaches_the_disk_in_plaintext() {
    let home = home();
    if !has("strace") {
        return eprintln!("skipped: there is no strace");
    }
    let connection = Connection::open(home.path("big.db")).unwrap();
    let sql = "CREATE TABLE t(x); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60000)
               INSERT INTO t SELECT 'canary in a coal mine ' || i FROM n";
    connection.execute_batch(sql).unwrap();
    drop(connection);
    home.write("big.db.enc", icdev(&gzip(&home.read("big.db")), OLD), 0o644);
    let mut command = home.program("strace");
    command.args(["-f", "-s", "1048576", "-e", "trace=write,pwrite64,writev,pwritev", "-o", "trace", cli::AIRKEEP]);
    command.args(import(&["big.db.enc", "--old-passphrase-file", "old.pass", "--compression", "none"]));
    let run = cli::finish(&mut command);
    if run.code != 0 && run.stderr.contains("ptrace") {
        return eprintln!("skipped: strace may not trace here");
    }
    assert_eq!(run.code, 0, "{}", run.stderr);
    let trace = home.read("trace");
    assert!(trace.len() > 1 << 20, "the writes were seen");
    for word in ["canary in a coal", "SQLite format 3"] {
        assert!(!trace.windows(word.len()).any(|window| window == word.as_bytes()), "'{word}' was written");
    }
}

fn corpus(part: &str) -> Option<PathBuf> {
    let found = std::env::var_os("AIRKEEP_CORPUS").map(|folder| Path::new(&folder).join(part)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("skipped: AIRKEEP_CORPUS names no folder with {part}");
    }
    found
}

#[test]
fn chinook_is_adopted_whole() {
    let Some(chinook) = corpus("chinook.db") else { return };
    let home = home();
    let bytes = std::fs::read(chinook).unwrap();
    let packed = gzip(&bytes);
    home.write("chinook.db.gz", &packed, 0o644);
    home.write("chinook.db.gz.sha256", format!("{} *chinook.db.gz\n", sum(&packed)), 0o644);
    let report = imported(&home, &["chinook.db.gz"]);
    assert_eq!(report["sources"][0]["imported"]["integrity"], "sha256-sidecar");
    assert_eq!(report["sources"][0]["size_bytes"], bytes.len());
    assert_eq!(rows(&restored(&home, &report, "chinook"), "Track"), 3503);
}

#[test]
fn every_encrypted_backup_of_the_corpus_has_its_outcome() {
    let Some(icdev) = corpus("icdev") else { return };
    let home = home();
    home.write("utf8.pass", "pässwörd 🔑 日本", 0o600);
    home.write("silent.pass", std::fs::read(icdev.join("damaged/silent_wrong_passphrase.txt")).unwrap(), 0o600);
    let inventory: Value = serde_json::from_slice(&std::fs::read(icdev.join("inventory.json")).unwrap()).unwrap();
    let encrypted = |folder: &str| {
        let files = std::fs::read_dir(icdev.join(folder)).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|ending| ending == "enc")).collect::<Vec<_>>()
    };
    for (folder, pass) in [("bak-enc", "old.pass"), ("bak-enc/utf8-pass", "utf8.pass")] {
        for path in encrypted(folder) {
            let file = path.to_str().unwrap();
            let report = imported(&home, &[file, "--old-passphrase-file", pass]);
            let name = format!("{folder}/{}", path.file_stem().unwrap().to_str().unwrap());
            assert_eq!(report["sources"][0]["sha256"], inventory[&name]["sha256"], "{name}");
            assert_eq!(report["sources"][0]["imported"]["integrity"], "sha256-sidecar", "its plaintext's");
            for wrong in ["wrong.pass", "silent.pass"] {
                home.refuses(12, "old passphrase", &import(&[file, "--old-passphrase-file", wrong]));
            }
        }
    }
    let damaged = encrypted("damaged");
    assert_eq!(damaged.len(), 8);
    for path in damaged {
        home.refuses(13, "cannot import", &import(&[path.to_str().unwrap(), "--old-passphrase-file", "old.pass"]));
    }
}
