//! Bundles by another hand: the good ones open, every attacked one is refused with its own exit code, and releases nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A copy of the key with the mode that the program insists on, which a checkout does not keep.
fn key(source: &Path, folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let key = folder.join("key");
    std::fs::copy(source, &key).unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    key
}

/// Where the records of these restores go, which concern no vault.
static STATE: std::sync::LazyLock<tempfile::TempDir> = std::sync::LazyLock::new(|| tempfile::tempdir().unwrap());

fn airkeep(arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_airkeep")).env_clear().env("XDG_STATE_HOME", STATE.path()).args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Runs every case of a folder: name, exit codes with the key (alternatives divided by `|`), exit codes at level 0 (or `any`).
fn judge(folder: &Path) -> usize {
    let scratch = tempfile::tempdir().unwrap();
    let key = key(&folder.join("key"), scratch.path());
    let (key, out) = (key.to_str().unwrap(), scratch.path().join("out"));
    let table = std::fs::read_to_string(folder.join("cases.tsv")).unwrap();
    for line in table.lines() {
        let [name, with_key, without] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let bundle = folder.join(format!("{name}.akb"));
        let bundle = bundle.to_str().unwrap();
        let fits = |codes: &str, code: i32| codes == "any" || codes.split('|').any(|one| one == code.to_string());
        // Level 3: what these bundles hold are not databases.
        let (code, text) = airkeep(&["verify", bundle, "--key-file", key, "--level", "3"]);
        assert!(fits(with_key, code), "{name}: {code} instead of {with_key}\n{text}");
        let (code, text) = airkeep(&["verify", bundle, "--level", "0"]);
        assert!(fits(without, code), "{name} at level 0: {code} instead of {without}\n{text}");
        let (code, text) = airkeep(&["restore", bundle, "--to", out.to_str().unwrap(), "--key-file", key]);
        assert!(fits(with_key, code), "restore {name}: {code} instead of {with_key}\n{text}");
        assert_eq!(out.exists(), code == 0, "{name}: something was released, or nothing");
        let _ = std::fs::remove_dir_all(&out);
    }
    table.lines().count()
}

#[test]
fn golden_bundles_open_and_their_damaged_twins_are_refused() {
    assert_eq!(judge(&golden("")), 30);
}

#[test]
fn every_attack_that_an_independent_writer_knows_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sealer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/sealer.py");
    let sealed = Command::new("python3").arg(sealer).arg("--attacks").arg(folder.path()).output();
    match sealed {
        Ok(output) if output.status.success() => assert!(judge(folder.path()) > 200),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => eprintln!("skipped: python3 is needed to make the bundles: {error}"),
    }
}
