//! Plain files in odd surroundings: names that are no text, links that lead in circles, names like sidecars, thousands of files, and what
//! compare tells of files that a backup of now would leave out.

mod cli;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use cli::Home;
use serde_json::{Value, json};

fn site(sources: &str) -> Home {
    let home = Home::new();
    home.key("key");
    home.folder("docs");
    home.write("docs/one.txt", "one", 0o600);
    home.write("airkeep.toml", format!("vault = 'vault'\n[keys]\nkey-files = 'key'\n{sources}"), 0o600);
    home
}

/// Exit code, names of the files of the first set, standard error.
fn backup(home: &Home, arguments: &[&str]) -> (i32, Vec<String>, String) {
    let run = home.run([&["backup", "--json"], arguments].concat());
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let files = report["files"][0]["files"].as_array().cloned().unwrap_or_default();
    (run.code, files.iter().map(|file| file["path"].as_str().unwrap().to_owned()).collect(), run.stderr)
}

#[test]
fn a_name_that_is_no_text_is_told() {
    let home = site("[sources.docs]\nfiles = 'docs/**/*'\n");
    std::fs::write(home.path("docs").join(OsStr::from_bytes(b"odd\xff.txt")), "odd").unwrap();
    let (code, files, told) = backup(&home, &[]);
    assert_eq!((code, files), (3, vec!["one.txt".to_owned()]), "{told}");
    assert!(told.contains("is not named in UTF-8"), "{told}");
}

#[test]
fn links_that_lead_upward_are_told_and_end_no_walk_late() {
    let home = site("[sources.docs]\nfiles = ['docs/**/*.txt', 'docs/*']\n[sources.two]\nfiles = ['current/*.txt', 'docs/*.txt']\n");
    for name in ["docs/up", "docs/again"] {
        symlink("..", home.path(name)).unwrap();
    }
    symlink("docs", home.path("current")).unwrap();
    let (code, files, told) = backup(&home, &["docs"]);
    assert_eq!((code, files), (3, vec!["one.txt".to_owned()]), "{told}");
    assert_eq!(told.matches("is a symbolic link").count(), 2, "each once: {told}");
    let (code, files, told) = backup(&home, &["two"]);
    assert_eq!((code, files), (3, vec!["docs/one.txt".to_owned()]), "{told}");
    assert_eq!(home.run(["backup", "two", "--dry-run"]).code, 3, "as the plan says");
}

#[test]
fn a_name_like_a_sidecar_s_is_none_without_a_database() {
    let home = site("[sources.docs]\nfiles = 'docs/*'\n");
    home.write("docs/report", "text", 0o600);
    home.write("docs/report-journal", "more text", 0o600);
    home.database("docs/app.db");
    home.write("docs/app.db-journal", "", 0o600);
    let (code, files, told) = backup(&home, &[]);
    assert_eq!((code, files), (3, ["one.txt", "report", "report-journal"].map(str::to_owned).to_vec()), "{told}");
    assert!(told.contains("app.db' is an SQLite database") && !told.contains("app.db-journal"), "{told}");
}

#[test]
fn a_database_of_the_configuration_is_no_plain_file_whatever_is_backed_up() {
    let home = site("[sources.app]\nsqlite = 'docs/app.db'\n[sources.docs]\nfiles = 'docs/*'\n");
    home.database("docs/app.db");
    assert_eq!(backup(&home, &[]).0, 0);
    assert_eq!(backup(&home, &["docs"]).0, 0);
}

#[test]
fn more_files_than_a_person_reads_are_told_in_short() {
    let home = site("[sources.docs]\nfiles = 'docs/*'\n");
    (0..100).for_each(|number| symlink("one.txt", home.path(format!("docs/link-{number:03}"))).unwrap());
    let (code, _, told) = backup(&home, &[]);
    assert!(code == 3 && told.contains("link-019' is a symbolic link") && told.contains("and 80 more"), "{told}");
    assert!(!told.contains("link-020"), "{told}");
}

#[test]
fn compare_knows_why_a_file_is_not_in_a_backup_of_now() {
    let home = site(
        "[sources.docs]\nfiles = '**/*.txt'\nnewer-than = '7d'\nmax-file-size = '1K'\n[sources.gone]\nsqlite = 'gone.db'\nrequired = true\n",
    );
    home.write("docs/ageing.txt", "a", 0o600);
    home.write("docs/growing.txt", "a", 0o600);
    assert_eq!(home.run(["backup", "docs", "--vault", "docs/vault"]).code, 0);
    let old = std::fs::File::open(home.path("docs/ageing.txt")).unwrap();
    old.set_modified(SystemTime::now() - Duration::from_secs(30 * 86_400)).unwrap();
    home.write("docs/growing.txt", "a".repeat(2000), 0o600);
    home.write("docs/vault/note.txt", "of the vault", 0o600);
    // A required source that is gone is a difference, and no failure.
    let compared = home.json(&["compare", "latest", "--vault", "docs/vault", "--json"]);
    let set = &compared["files"][0];
    let facts = (&set["added"], &set["removed"], &set["changed"], &set["same_files"]);
    assert_eq!(facts, (&json!([]), &json!([]), &json!(["docs/growing.txt"]), &json!(2)));
}

#[test]
fn tenants_are_databases_with_names_that_can_be_labels() {
    let home = site(
        "[sources.\"tenants/*\"]\nsqlite = 'tenants/*'\n[sources.\"tenants/acme\"]\nsqlite = 'tenants/acme.db'\n[sources.own]\nsqlite = 'tenants/beta.db'\n",
    );
    home.folder("tenants");
    home.folder("tenants/folder");
    for name in ["acme.db", "beta.db", "gamma.db"] {
        let database = home.database(format!("tenants/{name}"));
        database.query_row("PRAGMA journal_mode=wal", [], |_| Ok(())).unwrap();
        std::mem::forget(database);
    }
    std::fs::write(home.path("tenants").join(OsStr::from_bytes(b"odd\xff.db")), "").unwrap();
    let run = home.run(["backup", "--json"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("cannot become a label"), "{}", run.stderr);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let labels: Vec<&str> = report["sources"].as_array().unwrap().iter().map(|source| source["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["tenants/gamma.db", "tenants/acme", "own"], "what has a table of its own is not what the pattern stands for");
}

#[test]
fn names_that_begin_with_a_dot_are_taken_where_the_pattern_says_so() {
    let home = site("[sources.docs]\nfiles = ['docs/.env*', 'docs/.*/**/*']\nexclude = ['**/*.key', 'docs/.cache']\n");
    for folder in ["docs/.config", "docs/.config/a", "docs/.cache"] {
        home.folder(folder);
    }
    for name in [".env", ".env.local", ".config/app.toml", ".config/a/tls.key", ".config/a/b.txt", ".cache/x"] {
        home.write(&format!("docs/{name}"), "x", 0o600);
    }
    let (code, files, told) = backup(&home, &[]);
    assert_eq!((code, files), (0, [".config/a/b.txt", ".config/app.toml", ".env", ".env.local"].map(str::to_owned).to_vec()), "{told}");
}

#[test]
fn what_is_named_and_is_not_there_is_told() {
    let required = site("[sources.docs]\nfiles = ['docs/one.txt', 'docs/missing.txt']\nrequired = true\n");
    required.refuses(10, "docs/missing.txt' does not exist", &["backup"]);
    let home = site("[sources.docs]\nfiles = ['docs/one.txt', 'docs/missing.txt', 'docs/sub', 'certs/*.pem']\n");
    home.folder("docs/sub");
    let (code, files, told) = backup(&home, &[]);
    assert_eq!((code, files), (3, vec!["docs/one.txt".to_owned()]), "{told}");
    assert!(told.contains("docs/sub' is a folder; 'docs/sub/**/*' stands for the files in it"), "{told}");
    assert!(told.contains("no file fits 'certs/*.pem'"), "{told}");
}

#[test]
fn the_keys_of_the_run_are_in_no_set() {
    let home = site("[sources.docs]\nfiles = '**/*'\n");
    home.succeeds(&["init", "--vault", "vault", "--no-config"]);
    home.write("docs/pass", "correct horse battery staple", 0o600);
    home.write("docs/flag.key", [9; 32], 0o600);
    let (code, files, told) = backup(&home, &["--key-file", "docs/flag.key", "--passphrase-file", "docs/pass"]);
    assert_eq!((code, files), (0, ["airkeep.toml", "docs/one.txt"].map(str::to_owned).to_vec()), "{told}");
}

#[test]
fn a_file_that_says_it_is_empty_and_is_not_is_told() {
    let name = "/proc/sys/kernel/hostname";
    if !std::path::Path::new(name).exists() {
        return;
    }
    let home = site(&format!("[sources.docs]\nfiles = ['docs/*', '{name}']\n"));
    let (code, files, told) = backup(&home, &[]);
    assert!(code == 3 && files.len() == 1 && told.contains("says that it is empty, and is not"), "{told}");
}

#[test]
fn a_set_that_no_manifest_could_hold_is_left_out() {
    let home = site("[sources.docs]\nfiles = 'docs/*.txt'\n[sources.many]\nfiles = 'many/**/*'\n[sources.more]\nfiles = 'many/**/*'\n");
    let deep = format!("many/{0}/{0}/{0}", "n".repeat(200));
    std::fs::create_dir_all(home.path(&deep)).unwrap();
    (0..5000).for_each(|number| std::fs::write(home.path(format!("{deep}/{number:0150}")), "").unwrap());
    let (code, files, told) = backup(&home, &[]);
    assert_eq!((code, files), (3, vec!["one.txt".to_owned()]), "{told}");
    assert!(told.contains("source 'more' is not in this bundle: it has 5000 files"), "{told}");
}
