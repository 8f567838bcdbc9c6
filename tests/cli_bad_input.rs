//! Bad sources, vaults and targets: each is refused with one clear error and its exit code, and leaves every file as it was.

mod cli;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cli::{Home, Run, assert_clear_error, assert_same_tree, finish, has, is_root};
use rusqlite::Connection;
use rustix::fs::{CWD, Mode, mkfifoat};

/// A home with a key and no database yet.
fn home() -> Home {
    let home = Home::new();
    home.key("key");
    home
}

fn backup<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["backup", "--key-file", "key"], more].concat()
}

#[test]
fn an_empty_file_is_an_empty_database() {
    let home = home();
    home.write("empty.db", "", 0o600);
    home.seal(&["empty.db", "--key-file", "key"]);
    home.succeeds(&["restore", "app.akb", "--to", "out", "--key-file", "key"]);
    assert_eq!(home.read("out/empty.db"), b"");
}

#[test]
fn refuses_what_is_no_database() {
    let home = home();
    home.write("text.db", "this is not a database\n".repeat(1000), 0o600);
    home.write("ten.db", "ten bytes\n", 0o600);
    home.write("magic.db", "SQLite format 3\0", 0o600);
    let sqlcipher: Vec<u8> = (0..8192_u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
    home.write("sqlcipher.db", sqlcipher, 0o600);
    for name in ["text.db", "ten.db", "magic.db"] {
        home.refuses(14, "is not an SQLite database, or it is encrypted", &backup(&[name]));
    }
    home.refuses(14, "SQLCipher", &backup(&["sqlcipher.db"]));
}

#[test]
fn refuses_what_is_no_regular_file() {
    let home = home();
    home.folder("folder.db");
    mkfifoat(CWD, home.path("fifo.db"), Mode::RUSR | Mode::WUSR).unwrap();
    home.refuses(14, "is a folder", &backup(&["folder.db"]));
    home.refuses(14, "is a named pipe", &backup(&["fifo.db"]));
    home.refuses(14, "is a device", &backup(&["/dev/zero"]));
}

#[test]
fn refuses_what_is_missing() {
    let home = home();
    symlink("nowhere.db", home.path("dangling.db")).unwrap();
    home.refuses(10, "database 'missing.db' does not exist", &backup(&["missing.db"]));
    home.refuses(10, "does not exist", &backup(&["no/such/folder.db"]));
    home.refuses(10, "does not exist", &backup(&["dangling.db"]));
}

#[test]
fn a_missing_source_is_told_before_a_key_is_asked_for() {
    let home = home();
    home.refuses(10, "database 'missing.db' does not exist", &["backup", "missing.db"]);
    home.refuses(10, "bundle 'missing.akb' does not exist", &["restore", "missing.akb", "--to", "out"]);
    home.refuses(10, "bundle 'missing.akb' does not exist", &["verify", "missing.akb", "--level", "3"]);
}

#[test]
fn refuses_what_it_may_not_read() {
    let home = home();
    drop(home.database("secret.db"));
    home.chmod("secret.db", 0o000);
    let arguments = backup(&["secret.db"]);
    if !is_root() {
        return home.refuses(1, "cannot read database", &arguments);
    }
    if !has("setpriv") {
        return eprintln!("skipped: root reads everything, and there is no setpriv to become somebody else");
    }
    // Root may read everything, so somebody else has to try; the home and the key are made theirs.
    for path in ["", "key"] {
        std::os::unix::fs::chown(home.path(path), Some(65534), Some(65534)).unwrap();
    }
    std::fs::copy(cli::AIRKEEP, home.path("airkeep")).unwrap();
    home.chmod("airkeep", 0o755);
    home.refuses_run(1, "cannot read database", |json| {
        let mut command = home.program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--", "./airkeep"]).args(&arguments).args(json);
        command
    });
}

/// Not a test of its own: the other process of the tests below. It locks the database that `HOLD` names until its input ends.
#[test]
#[ignore = "run by other tests"]
fn lock_holder() {
    let Some(path) = std::env::var_os("HOLD") else { return };
    let connection = Connection::open(PathBuf::from(path)).unwrap();
    connection.execute_batch("BEGIN EXCLUSIVE").unwrap();
    println!("\nlocked");
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

struct Holder(Child);

impl Holder {
    fn of(path: &Path) -> Holder {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "lock_holder", "--ignored", "--nocapture"]).env("HOLD", path);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "locked"), "the other process could not lock the database");
        Holder(child)
    }

    fn release(mut self) {
        self.0.stdin.take().unwrap().write_all(b"\n").unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_locked_database_is_refused_in_time_and_the_holder_is_named() {
    let home = home();
    drop(home.database("app.db"));
    let holder = Holder::of(&home.path("app.db"));
    let words = if Path::new("/proc/locks").exists() { format!("; open in {} (", holder.0.id()) } else { "is locked".to_owned() };
    let begun = std::time::Instant::now();
    home.refuses(11, &words, &backup(&["app.db", "--busy-timeout", "0.3"]));
    let both_runs = begun.elapsed().as_secs_f64();
    assert!((0.6..20.0).contains(&both_runs), "two runs with 0.3 s each took {both_runs} s");
    holder.release();
    home.succeeds(&backup(&["app.db"]));
}

#[test]
fn of_two_runs_at_once_the_second_is_refused_and_the_first_succeeds() {
    let home = home();
    drop(home.database("app.db"));
    // The first run waits for this lock while it holds the vault.
    let holder = Holder::of(&home.path("app.db"));
    let mut first = home.airkeep(backup(&["app.db", "--busy-timeout", "60"]));
    let mut first = first.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Looked at from outside: a lock of our own, however short, could be the one that the first run meets.
    while airkeep::files::holders(&[home.path("airkeep-vault")]).is_empty() {
        assert!(first.try_wait().unwrap().is_none(), "the first run ended early");
        std::thread::yield_now();
    }
    home.refuses(11, "another run is using", &backup(&["app.db"]));
    holder.release();
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(home.bundles().len(), 1);
}

/// Damages the root page of the table `account`.
fn corrupt(home: &Home, name: &str) {
    let connection = home.database(name);
    let page: u32 = connection.query_row("SELECT rootpage FROM sqlite_schema WHERE name='account'", [], |row| row.get(0)).unwrap();
    drop(connection);
    let mut bytes = home.read(name);
    bytes[(page as usize - 1) * 4096..][..8].iter_mut().for_each(|byte| *byte ^= 0xff);
    home.write(name, bytes, 0o600);
}

#[test]
fn a_corrupt_database_is_refused_or_sealed_and_labelled() {
    let home = home();
    corrupt(&home, "app.db");
    for check in ["quick", "full"] {
        home.refuses(13, "--accept-corrupt", &backup(&["app.db", "--check", check]));
    }
    let run = home.run(backup(&["app.db", "--accept-corrupt", "--json"]));
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &report["sources"][0]["check"]["verdict"]), (0, &"corrupt".into()), "{}", run.stderr);
    assert!(!report["warnings"].as_array().unwrap().is_empty(), "sealing a corrupt database goes without a warning");
    let bundle = report["bundle"]["path"].as_str().unwrap();
    let verify = home.run(["verify", bundle, "--key-file", "key"]);
    assert_eq!((verify.code, verify.stderr.contains(": app: corrupt when captured, quick check: ")), (0, true), "{}", verify.stderr);
    home.succeeds(&["restore", bundle, "--to", "out", "--key-file", "key"]);
    assert_eq!(home.read("out/app.db"), home.read("app.db"), "what was sealed is what was there");
}

#[test]
fn refuses_a_truncated_source() {
    let home = home();
    drop(home.database("app.db"));
    let bytes = home.read("app.db");
    for length in [bytes.len() - 1, bytes.len() - 4096, 4096, 5000] {
        home.write("cut.db", &bytes[..length], 0o600);
        home.refuses(13, &format!("is truncated: {length} bytes of {}", bytes.len()), &backup(&["cut.db", "--check", "none"]));
    }
    home.write("cut.db", &bytes[..50], 0o600);
    home.refuses(13, "is truncated: 50 bytes", &backup(&["cut.db"]));
}

#[test]
fn refuses_a_vault_that_others_could_tamper_with() {
    let home = home();
    drop(home.database("app.db"));
    home.folder("real");
    symlink("real", home.path("link")).unwrap();
    home.folder("open");
    home.chmod("open", 0o777);
    home.write("file", "", 0o600);
    home.refuses(2, "'link' is a symbolic link", &backup(&["app.db", "--vault", "link"]));
    home.refuses(2, "can be written by everybody", &backup(&["app.db", "--vault", "open"]));
    home.refuses(2, "'file' is not a folder", &backup(&["app.db", "--vault", "file"]));
    home.refuses(10, "cannot make folder 'no/vault'", &backup(&["app.db", "--vault", "no/vault"]));
    home.write("real/vault.json", "{}", 0o600);
    home.refuses(13, "vault.json' is damaged", &backup(&["app.db", "--vault", "real"]));
}

#[test]
fn a_slash_behind_it_makes_no_link_a_vault() {
    let home = home();
    drop(home.database("app.db"));
    home.folder("real");
    symlink("real", home.path("link")).unwrap();
    home.refuses(2, "is a symbolic link", &backup(&["app.db", "--vault", "link/"]));
}

#[test]
fn keys_that_do_not_open_the_newest_bundle_are_refused() {
    let home = Home::with_bundle();
    home.key("other");
    home.refuses(12, "--new-keys", &["backup", "app.db", "--key-file", "other"]);
    home.succeeds(&["backup", "app.db", "--key-file", "other", "--new-keys"]);
}

/// Runs the program in a mount namespace of its own with a small file system on `small`; gives the run and what then lies there.
fn on_a_small_disk(home: &Home, size: &str, arguments: &[&str]) -> Option<(Run, String)> {
    if !is_root() || !has("unshare") || finish(home.program("unshare").args(["-m", "true"])).code != 0 {
        eprintln!("skipped: a file system of a few kilobytes needs root and mount namespaces");
        return None;
    }
    home.folder("small");
    let script =
        r#"mount -t tmpfs -o "size=$1,mode=700" none small || exit 99; shift; "$@"; code=$?; find small -mindepth 1 >left; exit $code"#;
    let mut command = home.program("unshare");
    let run = finish(command.args(["-m", "sh", "-c", script, "sh", size, "setsid", cli::AIRKEEP]).args(arguments));
    Some((run, String::from_utf8(home.read("left")).unwrap()))
}

#[test]
fn a_full_disk_ends_a_backup_and_leaves_nothing() {
    let home = home();
    let connection = home.database("app.db");
    connection.execute_batch("INSERT INTO note VALUES (randomblob(2000000))").unwrap();
    drop(connection);
    let Some((run, left)) = on_a_small_disk(&home, "500k", &backup(&["app.db", "--vault", "small/vault"])) else { return };
    assert_eq!((run.code, run.stdout.as_str(), left.as_str()), (1, "", ""), "{}", run.stderr);
    assert_clear_error(&run.stderr);
    assert!(run.stderr.contains("No space left") && run.stderr.contains("hint: make space"), "{}", run.stderr);
}

#[test]
fn a_full_disk_is_foreseen_by_a_restore() {
    let home = Home::with_bundle();
    let Some((run, left)) = on_a_small_disk(&home, "8k", &["restore", "app.akb", "--to", "small/out", "--key-file", "key"]) else { return };
    assert_eq!((run.code, run.stdout.as_str(), left.as_str()), (1, "", ""), "{}", run.stderr);
    assert_clear_error(&run.stderr);
    assert!(run.stderr.contains("has not enough free space: 8192 bytes, the restored files need"), "{}", run.stderr);
}

#[test]
fn a_disk_that_fills_up_during_a_restore_leaves_nothing() {
    let home = Home::with_bundle();
    // Room for the database and not for the manifest.
    let size = home.read("app.db").len().to_string();
    let Some((run, left)) = on_a_small_disk(&home, &size, &["restore", "app.akb", "--to", "small/out", "--key-file", "key"]) else {
        return;
    };
    assert_eq!((run.code, run.stdout.as_str(), left.as_str()), (1, "", ""), "{}", run.stderr);
    assert_clear_error(&run.stderr);
    assert!(run.stderr.contains("No space left") && run.stderr.contains("hint: make space"), "{}", run.stderr);
}

#[test]
fn restore_replaces_nothing() {
    let home = Home::with_bundle();
    fn restore(to: &str) -> [&str; 6] {
        ["restore", "app.akb", "--to", to, "--key-file", "key"]
    }
    for name in ["app.db", "app.db-wal", "app.db-shm", "app.db-journal", "manifest.json"] {
        let folder = format!("with-{name}");
        home.folder(&folder);
        home.write(&format!("{folder}/{name}"), "mine", 0o640);
        home.refuses(2, &format!("'{folder}/{name}' exists already"), &restore(&folder));
    }
    home.folder("linked");
    symlink("nowhere", home.path("linked/app.db")).unwrap();
    home.refuses(2, "exists already", &restore("linked"));
    home.write("file", "", 0o600);
    home.refuses(2, "file", &restore("file"));
    home.refuses(10, "cannot make folder", &restore("no/out"));
}

#[test]
fn restore_refuses_a_label_that_is_not_there() {
    let home = Home::with_bundle();
    home.refuses(10, "no source 'nope', it has: app", &["restore", "app.akb", "nope", "--to", "out", "--key-file", "key"]);
    home.refuses(10, "no source 'nope'", &["restore", "app.akb", "app", "nope", "--to", "out", "--key-file", "key"]);
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    if !Path::new("/dev/full").exists() {
        return eprintln!("skipped: no /dev/full here");
    }
    let home = Home::with_bundle();
    let before = home.tree();
    let mut command = home.airkeep(["info", "app.akb", "--json"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "the object was lost and nobody was told");
    assert_same_tree(&before, &home.tree());
}
