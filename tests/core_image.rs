//! After use the memory of the process holds no passphrase and no key: shown by `gcore`, which takes the image of a process that runs.
//!
//! The process is stopped where it is blocked: its report is longer than the pipe into which it is written. What is searched for is everything from
//! which the secret could be had at once: the passphrase in each form in which it may lie in memory, the bytes of the key file, the bundle's
//! root key, and HMAC's pads of these.

mod cli;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use aes_kw::KeyInit;
use cli::pty::Session;
use cli::{Home, has};
use rustix::event::{PollFd, PollFlags, poll};

/// Composed and decomposed it has other bytes.
const COMPOSED: &str = "Gr\u{fc}\u{df}e aus K\u{f6}ln, staple battery horse!";
const DECOMPOSED: &str = "Gru\u{308}\u{df}e aus Ko\u{308}ln, staple battery horse!";

/// A home with a database of so many tables that no report of it fits into a small pipe.
fn home() -> Home {
    let home = Home::new();
    let connection = home.database("app.db");
    (0..300).for_each(|number| connection.execute_batch(&format!("CREATE TABLE table_number_{number}(x)")).unwrap());
    home.write("pass", DECOMPOSED, 0o600);
    home.write("key", key(), 0o600);
    home
}

/// Bytes that look like nothing else in memory.
fn key() -> [u8; 32] {
    std::array::from_fn(|place| (place as u8).wrapping_mul(73).wrapping_add(41) ^ 0xa5)
}

/// The image of a process, or why there is none.
fn image_of(home: &Home, process: u32) -> Result<Vec<u8>, String> {
    let prefix = home.path("core");
    let run = cli::finish(home.program("gcore").arg("-o").arg(&prefix).arg(process.to_string()));
    std::fs::read(home.path(format!("core.{process}"))).map_err(|_| format!("{}{}", run.stdout, run.stderr))
}

fn can_look() -> bool {
    if !has("gcore") {
        eprintln!("skipped: no gcore (of gdb) here");
    } else if !cli::is_root() {
        eprintln!("skipped: only root can look into a process that is not dumpable");
    }
    has("gcore") && cli::is_root()
}

/// Runs to the point at which nothing is left but to print the report, and gives the image.
fn image_after(home: &Home, command: &mut Command) -> Option<Vec<u8>> {
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&theirs, 4096).unwrap();
    let mut child = command.stdout(theirs).stderr(Stdio::null()).spawn().unwrap();
    // The command's own copy of the writing end would keep the pipe open for ever.
    command.stdout(Stdio::null());
    let image = image_when_blocked(home, &child, &ours);
    child.kill().unwrap();
    child.wait().unwrap();
    image.map_err(|reason| eprintln!("skipped: gcore may not look: {reason}")).ok()
}

fn image_when_blocked(home: &Home, child: &Child, report: &OwnedFd) -> Result<Vec<u8>, String> {
    let mut ends = [PollFd::new(report, PollFlags::IN)];
    poll(&mut ends, None).unwrap();
    assert!(ends[0].revents().contains(PollFlags::IN), "the program ended without a report");
    image_of(home, child.id())
}

/// Everything that must not be found, by name.
fn secrets(home: &Home) -> Vec<(&'static str, Vec<u8>)> {
    let padded = |bytes: &[u8], pad: u8| bytes.iter().map(|byte| byte ^ pad).collect::<Vec<u8>>();
    let utf16: Vec<u8> = COMPOSED.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf32: Vec<u8> = COMPOSED.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let mut secrets = vec![
        ("the passphrase as typed", DECOMPOSED.into()),
        ("the passphrase in NFC", COMPOSED.into()),
        ("the passphrase in UTF-16", utf16),
        ("the passphrase as characters", utf32),
        ("the middle of the passphrase", b"aple battery hor".to_vec()),
        ("HMAC's inner pad of the passphrase", padded(COMPOSED.as_bytes(), 0x36)),
        ("HMAC's outer pad of the passphrase", padded(COMPOSED.as_bytes(), 0x5c)),
        ("the key file", key().to_vec()),
        ("HMAC's inner pad of the key file", padded(&key(), 0x36)),
    ];
    if let Some(bundle) = home.bundles().first() {
        let root = root_key(&home.read(bundle));
        secrets.push(("HMAC's inner pad of the root key", padded(&root, 0x36)));
        secrets.push(("HMAC's outer pad of the root key", padded(&root, 0x5c)));
        secrets.push(("the root key", root.to_vec()));
    }
    secrets
}

/// The root key of a bundle that the key file opens, by the format's own rule: AES-256-KW.
fn root_key(bundle: &[u8]) -> [u8; 32] {
    let slots: serde_json::Value = serde_json::from_slice(cli::surgery::content(bundle, "slots.json")).unwrap();
    let slot = slots["slots"].as_array().unwrap().iter().find(|slot| slot["type"] == "key-file").expect("a slot of the key file");
    let hex = slot["wrapped"].as_str().unwrap();
    let wrapped: Vec<u8> = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
    let mut root = [0; 32];
    aes_kw::AesKw::<aes::Aes256>::new(&key().into()).unwrap_key(&wrapped, &mut root).expect("the key file opens its slot");
    root
}

fn assert_clean(what: &str, image: &[u8], home: &Home) {
    assert!(image.len() > 1 << 20, "{what}: that is no image of a process");
    // The image is one of this process, with its memory: something that must be in it is.
    assert!(holds(image, b"table_number_7"), "{what}: the report is not in the image");
    for (name, secret) in secrets(home) {
        assert!(!holds(image, &secret), "{what}: {name} is in the memory of the process");
    }
}

fn holds(image: &[u8], text: &[u8]) -> bool {
    let mut rest = image;
    while let Some(place) = rest.iter().position(|&byte| byte == text[0]) {
        rest = &rest[place..];
        if rest.starts_with(text) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

#[test]
fn after_use_the_process_holds_no_passphrase_and_no_key() {
    if !can_look() {
        return;
    }
    let home = home();
    let keys = ["--passphrase-file", "pass", "--key-file", "key"];
    let Some(image) = image_after(&home, home.airkeep(["backup", "app.db", "--json"]).args(keys)) else { return };
    assert_clean("backup", &image, &home);
    let bundle = home.bundles().remove(0);
    for command in [&["info"][..], &["verify", "--level", "3"], &["restore", "--to", "out"]] {
        for key in keys.chunks(2) {
            let mut run = home.airkeep([&command[..1], &[&bundle, "--json"], &command[1..], key].concat());
            let Some(image) = image_after(&home, &mut run) else { return };
            assert_clean(&format!("{command:?} {key:?}"), &image, &home);
            let _ = std::fs::remove_dir_all(home.path("out"));
        }
    }
    let pass = std::fs::File::open(home.path("pass")).unwrap();
    let Some(image) = image_after(&home, home.airkeep(["info", &bundle, "--json", "--passphrase-fd", "0"]).stdin(pass)) else { return };
    assert_clean("a descriptor", &image, &home);
}

/// As [`image_after`], for a passphrase that `talk` types at the prompt.
fn image_after_prompt(home: &Home, arguments: &[&str], talk: impl FnOnce(&mut Session)) -> Option<Vec<u8>> {
    let (ours, theirs) = rustix::pipe::pipe().unwrap();
    rustix::pipe::fcntl_setpipe_size(&theirs, 4096).unwrap();
    let mut session = Session::start(home, arguments, |command| {
        command.stdout(theirs);
    })?;
    talk(&mut session);
    poll(&mut [PollFd::new(&ours, PollFlags::IN)], None).unwrap();
    let image = image_of(home, session.id());
    session.type_text("\u{3}");
    assert_eq!(session.end().0, 130);
    image.map_err(|reason| eprintln!("skipped: gcore may not look: {reason}")).ok()
}

#[test]
fn nothing_that_was_typed_or_proposed_at_the_prompt_stays() {
    if !can_look() {
        return;
    }
    let home = home();
    let typed = image_after_prompt(&home, &["backup", "app.db", "--json"], |session| {
        session.wait_for("proposal): ");
        session.type_secret(DECOMPOSED);
        session.wait_for("The same again: ");
        session.type_secret(DECOMPOSED);
    });
    // Sealed with this passphrase alone, the bundle has no root key that the test could find out.
    let Some(typed) = typed else { return };
    std::fs::remove_dir_all(home.path("airkeep-vault")).unwrap();
    assert_clean("typed", &typed, &home);
    let mut passphrase = String::new();
    let proposed = image_after_prompt(&home, &["backup", "app.db", "--json", "--vault", "other"], |session| {
        session.wait_for("proposal): ");
        session.type_secret("");
        let screen = session.wait_for("down: ");
        screen.lines().find_map(|line| line.strip_prefix("    ")).expect("a proposal").trim().clone_into(&mut passphrase);
        session.type_secret(&passphrase);
    });
    let Some(proposed) = proposed else { return };
    assert_clean("proposed", &proposed, &home);
    assert!(passphrase.len() == 35 && !holds(&proposed, passphrase.as_bytes()), "the proposed passphrase is in memory");
}

#[test]
fn the_search_finds_a_passphrase_that_is_in_use() {
    if !can_look() {
        return;
    }
    let home = home();
    let Some(mut session) = Session::start(&home, &["backup", "app.db"], |_| {}) else { return };
    session.wait_for("proposal): ");
    session.type_secret(DECOMPOSED);
    session.wait_for("The same again: ");
    let image = image_of(&home, session.id());
    session.type_text("\u{3}");
    assert_eq!(session.end().0, 130);
    match image {
        Ok(image) => assert!(holds(&image, COMPOSED.as_bytes()), "a passphrase that is needed is not found: the search is blind"),
        Err(reason) => writeln!(std::io::stderr(), "skipped: gcore may not look: {reason}").unwrap(),
    }
}
