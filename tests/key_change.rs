//! Keys change, data does not: whatever happens on the way, a bundle opens by its old keys or by its new ones.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use airkeep::bundle::KeyChange;
use airkeep::ops::{Rekey, SlotReport, list_slots};
use airkeep::{Environment, Failure, KeyFileKey, Keyring, Verification, VerifyRequest};
use support::{back_up, has_program, hermetic, is_proving, place, secret_file, skip, text_of};
use tempfile::TempDir;

struct Site {
    folder: TempDir,
    bundles: Vec<PathBuf>,
}

impl Site {
    /// A vault of `count` bundles whose one key is the one that [`support::ring`] holds.
    fn new(count: usize) -> Site {
        let folder = place();
        let database = rusqlite::Connection::open(folder.path().join("app.db")).unwrap();
        database.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(300000));").unwrap();
        drop(database);
        let seal = |_| back_up(&folder.path().join("app.db"), &folder.path().join("vault"), |_| {}).path;
        let bundles = (0..count).map(seal).collect();
        Site { folder, bundles }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn ring(byte: u8) -> Keyring {
    Keyring { key_files: vec![KeyFileKey::parse(&[byte; 32]).unwrap()], ..Keyring::default() }
}

fn opens(bundle: &Path, ring: &Keyring) -> bool {
    Verification::run(bundle, &VerifyRequest::default(), ring, &Environment::system()).is_ok_and(|result| result.is_sound())
}

fn change(bundle: &Path, ring: &Keyring, change: KeyChange<'_>) -> Result<SlotReport, Failure> {
    Rekey::new(ring, change).run(bundle, &mut Environment::system())
}

/// Everything from `RECOVER.txt` on, which no change of keys may touch.
fn sealed_part(bundle: &Path) -> Vec<u8> {
    let bytes = std::fs::read(bundle).unwrap();
    let start = bytes.chunks(512).position(|block| block.starts_with(b"RECOVER.txt\0")).unwrap() * 512;
    bytes[start..].to_vec()
}

fn sidecar_is_right(bundle: &Path) -> bool {
    let list = format!("{}.sha256", bundle.file_name().unwrap().to_str().unwrap());
    Command::new("sha256sum").args(["-c", "--quiet", &list]).current_dir(bundle.parent().unwrap()).output().unwrap().status.success()
}

#[test]
fn rotation_changes_who_opens_a_bundle_and_nothing_else() {
    let site = Site::new(1);
    let bundle = &site.bundles[0];
    let (before, sealed) = (std::fs::read(bundle).unwrap(), sealed_part(bundle));
    let report = change(bundle, &support::ring(), KeyChange::Rotate(&ring(2))).unwrap();
    assert_eq!((report.generation, report.slots.len(), report.is_changed), (2, 1, true));
    assert!(opens(bundle, &ring(2)) && !opens(bundle, &support::ring()));
    assert!(sealed_part(bundle) == sealed && std::fs::read(bundle).unwrap() != before);
    assert!(sidecar_is_right(bundle));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(bundle).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        Verification::run(
            bundle,
            &VerifyRequest { level: Some(airkeep::Level::Sums), ..VerifyRequest::default() },
            &ring(2),
            &Environment::system()
        )
        .unwrap()
        .is_sound()
    );
}

#[test]
fn slots_are_added_and_removed_one_by_one_and_the_last_one_stays() {
    let site = Site::new(1);
    let bundle = &site.bundles[0];
    change(bundle, &support::ring(), KeyChange::Add(&ring(2))).unwrap();
    assert!(opens(bundle, &ring(2)) && opens(bundle, &support::ring()));
    let again = change(bundle, &support::ring(), KeyChange::Add(&ring(2))).unwrap();
    assert!(!again.is_changed && again.slots.len() == 2, "the same key makes no second slot");
    let first = vec![again.slots[0].id.clone()];
    let removed = change(bundle, &ring(2), KeyChange::Remove(&first)).unwrap();
    assert_eq!((removed.generation, removed.slots.len()), (3, 1));
    assert!(opens(bundle, &ring(2)) && !opens(bundle, &support::ring()));
    let untouched = std::fs::read(bundle).unwrap();
    let last = vec![removed.slots[0].id.clone()];
    let refused = change(bundle, &ring(2), KeyChange::Remove(&last));
    assert!(matches!(refused, Err(Failure::Bundle { source: airkeep::bundle::BundleError::LastSlot, .. })));
    let refused = change(bundle, &ring(9), KeyChange::Rotate(&ring(3)));
    assert!(matches!(refused, Err(Failure::Bundle { source: airkeep::bundle::BundleError::KeyRejected, .. })));
    assert!(std::fs::read(bundle).unwrap() == untouched);
}

#[test]
fn a_rotation_over_a_vault_is_finished_by_running_it_again() {
    let site = Site::new(3);
    change(&site.bundles[1], &support::ring(), KeyChange::Rotate(&ring(2))).unwrap();
    std::fs::write(format!("{}.sha256", site.bundles[1].display()), "stale").unwrap();
    let rotate = || {
        site.bundles
            .iter()
            .map(|bundle| change(bundle, &support::ring(), KeyChange::Rotate(&ring(2))).unwrap().is_changed)
            .collect::<Vec<_>>()
    };
    assert_eq!(rotate(), [true, false, true]);
    assert_eq!(rotate(), [false, false, false]);
    assert!(site.bundles.iter().all(|bundle| opens(bundle, &ring(2)) && sidecar_is_right(bundle)));
}

#[test]
fn a_damaged_bundle_is_not_rekeyed() {
    let site = Site::new(1);
    let bundle = &site.bundles[0];
    let mut bytes = std::fs::read(bundle).unwrap();
    let middle = bytes.len() - 6000;
    bytes[middle] ^= 1;
    std::fs::write(bundle, &bytes).unwrap();
    assert!(matches!(change(bundle, &support::ring(), KeyChange::Rotate(&ring(2))), Err(Failure::Bundle { .. })));
    assert!(std::fs::read(bundle).unwrap() == bytes);
}

#[test]
fn many_rotations_leave_one_sound_bundle() {
    let site = Site::new(1);
    let bundle = &site.bundles[0];
    let count = if is_proving() { 1000 } else { 50 };
    let sealed = sealed_part(bundle);
    let mut now = support::ring();
    for number in 0..count {
        let next = ring(number as u8 ^ 0x55);
        change(bundle, &now, KeyChange::Rotate(&next)).unwrap();
        now = next;
    }
    assert_eq!(list_slots(bundle).unwrap().generation, count + 1);
    assert!(opens(bundle, &now) && sealed_part(bundle) == sealed);
    let names = std::fs::read_dir(bundle.parent().unwrap()).unwrap().count();
    assert_eq!(names, 5, "the bundle, its sum, vault.json, journal and its head");
}

/// Kills the program at every state-changing system call of a rotation.
#[test]
fn a_kill_at_any_call_leaves_a_bundle_that_opens_with_the_old_or_the_new_key() {
    if !has_program("strace") {
        return skip("strace is not on this machine");
    }
    let site = Site::new(1);
    let bundle = site.bundles[0].clone();
    let original = std::fs::read(&bundle).unwrap();
    let sidecar = std::fs::read(format!("{}.sha256", bundle.display())).unwrap();
    // The vault remembers generations, and would call the bundle that this test puts back an old one.
    let record = bundle.parent().unwrap().join("vault.json");
    let remembered = std::fs::read(&record).unwrap();
    let (old, new) = (support::key_file(site.folder.path()), secret_file(&site.path("new.key"), &[2; 32]));
    let run = |call: &str, number: usize| {
        let mut strace = hermetic("strace", site.folder.path());
        strace.args(["-f", "-o", "/dev/null", "-e", &format!("inject={call}:signal=KILL:when={number}")]);
        strace.arg(env!("CARGO_BIN_EXE_airkeep")).args(["key", "rotate"]).arg(&bundle);
        strace.arg("--key-file").arg(&old).arg("--new-key-file").arg(&new).output().unwrap()
    };
    let mut kills = 0;
    for call in ["openat", "write", "fsync", "linkat", "renameat", "unlinkat", "fdatasync"] {
        for number in 1.. {
            std::fs::write(&bundle, &original).unwrap();
            std::fs::write(&record, &remembered).unwrap();
            std::fs::write(format!("{}.sha256", bundle.display()), &sidecar).unwrap();
            let output = run(call, number);
            let is_old = opens(&bundle, &support::ring());
            assert!(is_old || opens(&bundle, &ring(2)), "{call} {number}: {}", text_of(&output));
            if output.status.success() {
                assert!(!is_old, "{call} {number}: success was said");
                break;
            }
            kills += 1;
            change(&bundle, &support::ring(), KeyChange::Rotate(&ring(2))).unwrap();
            assert!(opens(&bundle, &ring(2)) && sidecar_is_right(&bundle), "{call} {number}: the next run finishes it");
        }
    }
    assert!(kills > 10, "{kills} kills");
    let left: Vec<_> = std::fs::read_dir(bundle.parent().unwrap()).unwrap().map(|item| item.unwrap().file_name()).collect();
    assert!(left.len() <= 5, "left behind: {left:?}");
}
