//! A restore writes into the folder that was named and nowhere else, and never beside something that SQLite would replay.

mod support;

use std::os::unix::fs::{PermissionsExt, symlink};

use airkeep::{Backup, Environment, Failure, Label, Restore};
use support::{place, ring, spec};

/// A bundle of a database and a tenant, and the folder that it is in.
fn bundle() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = place();
    let path = folder.path().join("app.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (zeroblob(300000));").unwrap();
    drop(database);
    let sources = vec![spec("app", &path), spec("tenants/acme", &path)];
    let report = Backup::new(sources, folder.path().join("vault")).run(&ring(), &mut Environment::system()).unwrap();
    (folder, report.path)
}

fn restore(
    bundle: &std::path::Path,
    labels: &[&str],
    to: &std::path::Path,
    accept_damage: bool,
) -> Result<airkeep::RestoreReport, Failure> {
    let labels = labels.iter().map(|label| Label::parse(label).unwrap()).collect();
    Restore { labels, accept_damage, ..Restore::new(bundle, to) }.run(&ring(), &mut support::environment())
}

#[test]
fn a_link_in_the_target_is_not_followed() {
    let (folder, bundle) = bundle();
    let (out, victim) = (folder.path().join("out"), folder.path().join("victim"));
    std::fs::create_dir(&out).unwrap();
    std::fs::create_dir(&victim).unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o755)).unwrap();
    symlink("../victim", out.join("tenants")).unwrap();
    assert!(restore(&bundle, &[], &out, false).is_err());
    assert_eq!(std::fs::read_dir(&victim).unwrap().count(), 0);
    assert_eq!(victim.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "only the link that was there");
}

#[test]
fn nothing_is_restored_beside_what_sqlite_would_replay() {
    for suffix in ["-wal", "-shm", "-journal"] {
        let (folder, bundle) = bundle();
        let out = folder.path().join("out");
        std::fs::create_dir(&out).unwrap();
        std::fs::write(out.join(format!("app.db{suffix}")), "left over").unwrap();
        assert!(matches!(restore(&bundle, &[], &out, false), Err(Failure::TargetExists { .. })), "{suffix}");
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1, "{suffix}");
    }
}

#[test]
fn damage_elsewhere_keeps_no_database_that_is_whole_from_who_accepts_it() {
    let (folder, bundle) = bundle();
    let mut bytes = std::fs::read(&bundle).unwrap();
    // The header frame of the first database is the first frame: behind six public members of known size.
    let frame = bytes.chunks(512).position(|block| block.starts_with(b"frames/00000001\0")).unwrap() * 512 + 600;
    bytes[frame] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let out = folder.path().join("out");
    assert!(matches!(restore(&bundle, &[], &out, false), Err(Failure::Damaged { .. })));
    assert!(!out.exists());
    assert!(matches!(restore(&bundle, &["app"], &out, true), Err(Failure::Damaged { .. })), "the only one that was wanted is hurt");
    assert!(!out.exists());
    let report = restore(&bundle, &[], &out, true).unwrap();
    assert_eq!(report.restored.iter().map(|one| one.source.label.as_str()).collect::<Vec<_>>(), ["tenants/acme"]);
    assert_eq!(report.hurt, [Label::parse("app").unwrap()]);
    assert!(!report.findings.is_empty() && !out.join("app.db").exists());
    assert_eq!(std::fs::read(out.join("tenants/acme.db")).unwrap(), std::fs::read(folder.path().join("app.db")).unwrap());
}
