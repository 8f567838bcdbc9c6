//! The vault keeps the order of its set, whatever happens to the bundles in it.

use std::path::{Path, PathBuf};

use airkeep::{Backup, BackupReport, Environment, Failure, KeyFileKey, Keyring, Label, SourceSpec};

struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Site {
        let site = Site(tempfile::tempdir().unwrap());
        let database = rusqlite::Connection::open(site.path("app.db")).unwrap();
        database.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1);").unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn request(&self) -> Backup {
        Backup::new(vec![SourceSpec { label: Label::parse("app").unwrap(), path: self.path("app.db") }], self.path("vault"))
    }

    fn backup(&self) -> BackupReport {
        self.request().run(&ring(&[7]), &mut Environment::system()).unwrap()
    }
}

fn ring(keys: &[u8]) -> Keyring {
    Keyring { key_files: keys.iter().map(|key| KeyFileKey::parse(&[*key; 32]).unwrap()).collect(), ..Keyring::default() }
}

fn flip(path: &Path, from_end: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.len() - from_end as usize;
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn each_bundle_names_the_one_before_it() {
    let site = Site::new();
    let [first, second] = [site.backup(), site.backup()];
    assert_eq!((first.core.sequence, first.core.predecessor.as_ref()), (1, None));
    let named = second.core.predecessor.unwrap();
    assert_eq!((named.id, named.sequence, named.seal_sha256), (first.core.id, 1, first.seal_sha256));
    assert_eq!(second.core.set, first.core.set);
}

#[test]
fn numbers_are_not_reused_when_bundles_were_carried_away() {
    let site = Site::new();
    let [first, second] = [site.backup(), site.backup()];
    for bundle in [&first, &second] {
        std::fs::remove_file(&bundle.path).unwrap();
    }
    let third = site.backup();
    assert_eq!((third.core.sequence, third.core.predecessor.unwrap().seal_sha256), (3, second.seal_sha256));
    assert_eq!(third.core.set, first.core.set);
}

#[test]
fn a_lost_record_is_made_anew_from_the_bundles() {
    let site = Site::new();
    let first = site.backup();
    std::fs::remove_file(site.path("vault/vault.json")).unwrap();
    let second = site.backup();
    assert_eq!((second.core.sequence, second.core.set.id), (2, first.core.set.id));
    assert!(site.path("vault/vault.json").exists());
}

#[test]
fn a_damaged_newest_bundle_does_not_stop_the_next_backup() {
    // The last bytes are `end`, which leads to the seal digest; the first are the public core.
    for (from_end, damaged) in [(1500, "end"), (0, "front")] {
        let site = Site::new();
        let [first, second] = [site.backup(), site.backup()];
        std::fs::remove_file(site.path("vault/vault.json")).unwrap();
        let from_end = if from_end == 0 { std::fs::metadata(&second.path).unwrap().len() - 600 } else { from_end };
        flip(&second.path, from_end);
        let third = site.backup();
        assert_eq!(third.core.sequence, 3, "{damaged}");
        assert_eq!(third.core.predecessor.unwrap().id, first.core.id, "{damaged}");
        assert!(!third.warnings.is_empty(), "{damaged}");
    }
}

#[test]
fn file_names_that_people_give_do_not_count() {
    let site = Site::new();
    let set = site.backup().core.set.name;
    for name in ["18446744073709551615-x", "backup-of-2025-11", "9007199254740991-20261120T231820Z"] {
        std::fs::write(site.path(&format!("vault/{set}-{name}.akb")), "not a bundle").unwrap();
    }
    let exhausted = site.request().run(&ring(&[7]), &mut Environment::system());
    assert!(matches!(exhausted, Err(Failure::Vault(airkeep::vault::VaultError::Exhausted { .. }))));
    std::fs::remove_file(site.path(&format!("vault/{set}-9007199254740991-20261120T231820Z.akb"))).unwrap();
    assert_eq!(site.backup().core.sequence, 2);
}

#[test]
fn every_key_must_open_the_newest_bundle_unless_new_ones_are_meant() {
    let site = Site::new();
    site.backup();
    for keys in [&[8][..], &[7, 8]] {
        let refused = site.request().run(&ring(keys), &mut Environment::system());
        assert!(matches!(refused, Err(Failure::OtherKeys { .. })), "{keys:?}");
    }
    let meant = Backup { new_keys: true, ..site.request() };
    assert_eq!(meant.run(&ring(&[7, 8]), &mut Environment::system()).unwrap().core.sequence, 2);
}

#[test]
fn a_second_run_in_the_same_vault_is_refused() {
    let site = Site::new();
    site.backup();
    let mut entropy = airkeep::ops::OsEntropy;
    let held = airkeep::vault::Vault::open(&site.path("vault"), &mut entropy).unwrap();
    let refused = site.request().run(&ring(&[7]), &mut Environment::system());
    assert!(matches!(refused, Err(Failure::Vault(airkeep::vault::VaultError::File(airkeep::files::FileError::Locked { .. })))));
    drop(held);
    site.backup();
}

#[test]
fn a_failed_backup_leaves_no_vault_behind() {
    let site = Site::new();
    std::fs::write(site.path("app.db"), "no database at all, but long enough to look like one").unwrap();
    assert!(site.request().run(&ring(&[7]), &mut Environment::system()).is_err());
    assert!(!site.path("vault").exists());
}

#[test]
fn a_number_that_a_killed_run_may_have_given_is_not_given_again() {
    let site = Site::new();
    let first = site.backup();
    let record = site.path("vault/vault.json");
    let mut identity: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    // As a run leaves it that is killed before its bundle gets its name, or after it was carried away at once.
    identity["pending"] = serde_json::json!({
        "subject": { "bundle": "0123456789abcdef0123456789abcdef", "sequence": 2, "file": "lost.akb" },
        "seal_sha256": first.seal_sha256, "details": { "tag": "lost" },
    });
    std::fs::write(&record, identity.to_string()).unwrap();
    assert_eq!([site.backup().core.sequence, site.backup().core.sequence], [3, 4]);
    let folder = airkeep::files::Folder::open(&site.path("vault").canonicalize().unwrap()).unwrap();
    let records = airkeep::journal::records_in(&folder).unwrap();
    let lost = records.iter().find(|record| record.outcome == airkeep::journal::Outcome::Unknown).unwrap();
    assert_eq!((lost.subject.as_ref().unwrap().sequence, lost.details["tag"].as_str()), (2, Some("lost")));
}
