//! What else than databases may be in a bundle comes out with the script of RECOVER.txt, and with the reader that was written from docs/format.md.

mod cli;

use std::process::Command;

use cli::{Home, has};

/// Opens a bundle in both ways, into `out` and `read`; false where the tools are missing.
fn opens(home: &Home, bundle: &str) -> bool {
    if !["openssl", "python3", "tar", "gzip", "od"].into_iter().all(has) {
        return false;
    }
    home.write("recover.txt", home.succeeds(&["recover-text"]), 0o600);
    let cut = "sed -n '/^#---- recover.sh begins/,/^#---- recover.sh ends/p' recover.txt >recover.sh";
    let script = format!("{cut} && AIRKEEP_KEY_FILE=key sh recover.sh '{bundle}' out");
    let output = home.program("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reader = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/reader.py");
    let mut python = Command::new("python3");
    let output = python.current_dir(home.path("")).args([reader, bundle, "--key-file", "key", "--out", "read"]).output().unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn plain_files_come_out() {
    let home = Home::new();
    home.key("key");
    home.folder("config");
    home.write("config/app.toml", "port = 80\n", 0o600);
    home.write("airkeep.toml", "[keys]\nkey-files = 'key'\n[sources.config]\nfiles = 'config/*'\n", 0o600);
    let report = home.json(&["backup", "--json"]);
    if opens(&home, report["bundle"]["path"].as_str().unwrap()) {
        assert_eq!(home.read("read/files/config.tar"), home.read("out/files/config.tar"));
        let unpacked = home.program("tar").args(["-xf", "out/files/config.tar", "-C", "out"]).output().unwrap();
        assert!(unpacked.status.success());
        assert_eq!(home.read("out/app.toml"), b"port = 80\n");
    }
}

#[test]
fn rows_that_a_restore_took_away_come_out() {
    let home = Home::new();
    home.key("key");
    let database = home.database("app.db");
    let report = home.json(&["backup", "app.db", "--key-file", "key", "--json"]);
    database.execute("INSERT INTO note VALUES('lost')", []).unwrap();
    drop(database);
    let restore = ["--in-place", "--force", "--append-only", "note", "--key-file", "key", "--json"];
    let restored = home.json(&[&["restore", report["bundle"]["path"].as_str().unwrap()], &restore[..]].concat());
    if opens(&home, restored["safety"]["path"].as_str().unwrap()) {
        assert_eq!(home.read("read/capsule/app.jsonl"), home.read("out/capsule/app.jsonl"));
        assert!(String::from_utf8(home.read("out/capsule/app.jsonl")).unwrap().contains("lost"));
    }
}
