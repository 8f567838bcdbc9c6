//! Holds the plan of rooms: what may import what, and which crate belongs where (ARCHITECTURE.md).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Room → rooms that it may import. The command line sees the library from outside, as the crate `airkeep`.
const ARROWS: [(&str, &[&str]); 9] = [
    ("crypto", &[]),
    ("files", &["crypto"]),
    ("bundle", &["crypto"]),
    ("database", &["files", "crypto"]),
    ("plain", &["files", "crypto"]),
    ("config", &["bundle", "database", "plain", "files"]),
    ("journal", &["bundle", "crypto", "files"]),
    ("vault", &["journal", "bundle", "crypto", "files"]),
    ("ops", &["config", "vault", "journal", "bundle", "database", "plain", "crypto", "files"]),
];

/// External crate → the only rooms that know it.
const CRATES: [(&str, &[&str]); 27] = [
    ("close_fds", &["cli"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["cli"]),
    ("signal_hook", &["cli"]),
    ("toml_span", &["config"]),
    ("strsim", &["config"]),
    ("glob", &["plain"]),
    ("tar", &["bundle"]),
    ("flate2", &["bundle"]),
    ("zstd", &["bundle"]),
    ("crossbeam_channel", &["bundle"]),
    ("rusqlite", &["database"]),
    ("aes", &["crypto"]),
    ("cbc", &["crypto"]),
    ("ctr", &["crypto"]),
    ("aes_kw", &["crypto"]),
    ("sha2", &["crypto"]),
    ("hmac", &["crypto"]),
    ("pbkdf2", &["crypto"]),
    ("ed25519_dalek", &["crypto"]),
    ("ssh_key", &["crypto"]),
    ("base64ct", &["crypto"]),
    ("unicode_normalization", &["crypto"]),
    ("rand", &["ops"]),
    ("jiff", &["ops"]),
];

fn sources() -> Vec<(String, PathBuf, String)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let inside = path.strip_prefix(&root).unwrap();
                // Tests in files of their own may reach across rooms and say why they skip.
                if inside.to_str().unwrap().ends_with("tests.rs") {
                    continue;
                }
                let room =
                    if inside.components().count() > 1 { inside.components().next().unwrap().as_os_str().to_str().unwrap() } else { "top" };
                found.push((room.to_owned(), inside.to_owned(), code_of(&path)));
            }
        }
    }
    assert!(found.len() > 30, "the sources were found");
    found
}

/// The text without comments and without the tests at its end, which may reach across rooms.
fn code_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn words_after<'t>(code: &'t str, mark: &'t str) -> impl Iterator<Item = &'t str> {
    code.match_indices(mark).map(move |(at, _)| {
        let rest = &code[at + mark.len()..];
        &rest[..rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())]
    })
}

#[test]
fn imports_run_one_way_only() {
    let rooms: BTreeSet<&str> = ARROWS.iter().map(|(room, _)| *room).collect();
    for (room, file, code) in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == room) else { continue };
        for target in words_after(&code, "crate::").filter(|target| rooms.contains(target)) {
            assert!(target == room || allowed.contains(&target), "{} imports crate::{target}", file.display());
        }
        assert!(!code.contains("crate::cli"), "{} imports the command line", file.display());
    }
}

#[test]
fn each_external_crate_stays_in_its_room() {
    for (room, file, code) in sources() {
        for (name, rooms) in CRATES {
            let path = format!("{name}::");
            let uses =
                code.match_indices(&path).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'));
            assert!(!uses || rooms.contains(&room.as_str()), "{} uses {name}", file.display());
        }
    }
}

#[test]
fn only_one_file_has_unsafe_code() {
    let with: Vec<PathBuf> = sources().into_iter().filter(|(_, _, code)| code.contains("unsafe ")).map(|(_, file, _)| file).collect();
    assert_eq!(with, [Path::new("database/vfs.rs")]);
}

/// Closing a descriptor of a live database drops SQLite's POSIX locks on it (sqlite.org/howtocorrupt.html section 2.2).
#[test]
fn a_live_database_is_opened_by_sqlite_only() {
    for (room, file, code) in sources().into_iter().filter(|(room, file, _)| room == "database" && !file.ends_with("recover.rs")) {
        for opening in ["File::open", "OpenOptions", "fs::read(", "fs::copy", "rustix::fs::open", "read_to_end"] {
            assert!(!code.contains(opening), "{} ({room}) opens files by {opening}", file.display());
        }
    }
}

#[test]
fn the_library_does_not_print_or_end_the_process() {
    for (room, file, code) in sources().into_iter().filter(|(room, _, _)| room != "cli" && room != "top") {
        for call in ["println!", "eprintln!", "print!(", "process::exit", "--"] {
            // A flag of git's, and the lines of an armored signature.
            let code = code.replace("-----", "");
            let is_git = call == "--" && file.ends_with("git.rs");
            assert!(is_git || !code.contains(call), "{} ({room}) has {call}", file.display());
        }
    }
}

/// What the table of places names is there, also in short (`restore/unpack.rs`).
#[test]
fn every_file_that_architecture_names_is_there() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let all: Vec<String> = sources().into_iter().map(|(_, path, _)| path.to_string_lossy().into_owned()).collect();
    let named = text.split('`').skip(1).step_by(2).filter(|word| word.ends_with(".rs") && !word.starts_with("tests/"));
    for name in named {
        assert!(all.iter().any(|path| format!("/{path}").ends_with(&format!("/{name}"))), "there is no {name}");
    }
}
