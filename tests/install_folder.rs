//! Installing where the folder, the links to it, the owner or the rights are not the ordinary ones.

mod common;
mod placing;
mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use airkeep::database::{DatabaseError, InstallError, InstallOptions, Installation, Links, Others, Way};
use common::{number, snapshot};
use placing::{Filler, Place, assert_installed, fill, image_of, install, refusing, say};
use rusqlite::Connection;
use support::skip;

#[test]
fn links_are_refused_unless_told_otherwise() {
    let (place, image) = Place::with_image();
    fill(&place.target, "old", "delete", 4096, 50);
    let (link, hard) = (place.beside(".link"), place.beside(".hard"));
    symlink(&place.target, &link).expect("link");
    assert!(matches!(install(&link, &image), Err(InstallError::Link { .. })));
    fs::hard_link(&place.target, &hard).expect("hard link");
    assert!(matches!(install(&place.target, &image), Err(InstallError::HardLinks { names: 2, .. })));
    assert_eq!(number(&support::open(&place.target), "SELECT count(*) FROM t WHERE mark='old'"), 50);
    let following = InstallOptions { links: Links::Follow, ..refusing() };
    let installation = Installation::lock(&link, &image, &following, &mut Filler).expect("lock");
    assert_eq!(installation.path(), place.target.canonicalize().expect("path"));
    installation.install(&following, &mut Filler).expect("install").release().expect("release");
    assert_installed(&hard, &place.source, "both names");
    assert!(fs::symlink_metadata(&link).expect("stat").is_symlink());
    fs::write(&place.target, b"no database").expect("write");
    let refused = Installation::lock(&link, &image, &following, &mut Filler).map(drop);
    assert!(matches!(refused, Err(InstallError::HardLinks { .. })), "a file with two names cannot be replaced");
}

#[test]
fn what_is_no_file_is_refused() {
    let (place, image) = Place::with_image();
    assert!(matches!(install(&place.live(), &image), Err(InstallError::Database(DatabaseError::NotAFile { .. }))));
    fill(&place.target, "old", "delete", 4096, 50);
    rustix::fs::mknodat(rustix::fs::CWD, place.beside("-wal"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).expect("fifo");
    assert!(matches!(install(&place.target, &image), Err(InstallError::Database(DatabaseError::NotAFile { .. }))));
}

/// Other owners, folders that may not be written: as an account without rights.
#[test]
fn without_the_right_to_write_nothing_is_touched() {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root, to become somebody else");
    }
    let place = Place::new();
    fill(&place.target, "old", "delete", 4096, 50);
    fs::copy(&place.target, &place.source).expect("copy");
    for path in [place.folder.path(), &place.live(), &place.source] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("mode");
    }
    let before = snapshot(&place.live());
    for (folder_mode, file_mode, expected) in [(0o755, 0o666, "live"), (0o777, 0o644, "app.db")] {
        fs::set_permissions(place.live(), fs::Permissions::from_mode(folder_mode)).expect("mode");
        fs::set_permissions(&place.target, fs::Permissions::from_mode(file_mode)).expect("mode");
        let said = as_nobody("install", &place.target);
        assert!(said.contains(&format!("NotWritable {expected}")), "{said}");
        assert!(snapshot(&place.live()) == before);
    }
}

/// The new file could not be given to the owner of the old one.
#[test]
fn an_unopenable_file_of_another_owner_is_not_replaced_by_one_of_ours() {
    if !rustix::process::geteuid().is_root() {
        return skip("needs root, to become somebody else");
    }
    let (place, _) = Place::with_image();
    fs::write(&place.target, b"no database").expect("write");
    fs::set_permissions(place.folder.path(), fs::Permissions::from_mode(0o755)).expect("mode");
    fs::set_permissions(place.live(), fs::Permissions::from_mode(0o777)).expect("mode");
    for path in [&place.source, &place.target] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o666)).expect("mode");
    }
    let before = snapshot(&place.live());
    assert!(as_nobody("install", &place.target).contains("cannot keep the owner in"));
    assert!(snapshot(&place.live()) == before);
}

/// S18: in place because it is the same inode, and at a new file because they are taken over.
#[test]
fn owner_mode_and_extended_attributes_stay_on_every_way() {
    let is_root = rustix::process::geteuid().is_root();
    for way in [Way::Exclusive, Way::Online, Way::Replace] {
        let (place, image) = Place::with_image();
        match way {
            Way::Replace => fs::write(&place.target, b"no database").expect("write"),
            _ => fill(&place.target, "old", "wal", 4096, 50),
        }
        if is_root {
            chown(&place.target, Some(65534), Some(12)).expect("owner");
        }
        fs::set_permissions(&place.target, fs::Permissions::from_mode(0o640)).expect("mode");
        let has_list = set(&place.target, "system.posix_acl_access", &access_list()) && set(&place.target, "user.airkeep", b"kept\0whole");
        if !has_list {
            skip("extended attributes: this file system has none");
        }
        let (before, inode) = (attributes(&place.target), fs::metadata(&place.target).expect("stat").ino());
        let other = (way == Way::Online).then(|| Connection::open(&place.target).expect("open"));
        let _connected = other.as_ref().map(|other| number(other, "SELECT count(*) FROM t"));
        let options = InstallOptions { others: Others::Keep, ..refusing() };
        let installation = Installation::lock(&place.target, &image, &options, &mut Filler).expect("lock");
        assert_eq!(installation.way(), way);
        installation.install(&options, &mut Filler).expect("install").release().expect("release");
        assert!(attributes(&place.target) == before, "{way:?}: {:?}, not {before:?}", attributes(&place.target));
        assert_eq!(fs::metadata(&place.target).expect("stat").ino() == inode, way != Way::Replace);
        assert_installed(&place.target, &place.source, "attributes");
    }
}

/// Owner, group, mode and what was set above.
fn attributes(path: &Path) -> (u32, u32, u32, [Vec<u8>; 2]) {
    let found = fs::metadata(path).expect("stat");
    let values = ["system.posix_acl_access", "user.airkeep"].map(|name| {
        let mut value = Vec::with_capacity(256);
        let _ = rustix::fs::lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value));
        value
    });
    (found.uid(), found.gid(), found.mode(), values)
}

fn set(path: &Path, name: &str, value: &[u8]) -> bool {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).is_ok()
}

/// Owner rw, user 4 rw, group r, mask r, others nothing: as `acl(5)` and the kernel's `posix_acl_xattr.h` lay it out.
fn access_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] = [(1, 6, u32::MAX), (2, 6, 4), (4, 4, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
    }
    list
}

#[test]
fn a_folder_that_is_a_symbolic_link_is_resolved_once() {
    let (place, image) = Place::with_image();
    let link = place.folder.path().join("link");
    symlink(place.live(), &link).expect("link");
    for make in [|path: &Path| fill(path, "old", "wal", 4096, 50), |path: &Path| fs::write(path, b"no database").expect("write")] {
        let _ = fs::remove_file(&place.target);
        make(&place.target);
        let report = install(&link.join("app.db"), &image).expect("install");
        assert_eq!(report.path, place.target.canonicalize().expect("path"));
        assert_installed(&place.target, &place.source, "link above");
        assert!(fs::symlink_metadata(&link).expect("stat").is_symlink());
    }
}

/// Runs a role as an account that owns nothing.
fn as_nobody(role: &str, path: &Path) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().expect("exe"));
    command.args(["plays_a_role_for_another_test", "--exact", "--ignored", "--nocapture"]);
    command.env("AIRKEEP_TEST_ROLE", role).env("AIRKEEP_TEST_PATH", path).current_dir("/");
    support::text_of(&command.uid(65534).gid(65534).output().expect("child"))
}

/// Nothing here is a test of its own; another test of this file starts it as a process.
#[test]
#[ignore = "a role that other tests start"]
fn plays_a_role_for_another_test() {
    let Ok(role) = std::env::var("AIRKEEP_TEST_ROLE") else { return };
    let path = PathBuf::from(std::env::var_os("AIRKEEP_TEST_PATH").expect("path"));
    match role.as_str() {
        "install" => {
            let source = path.parent().and_then(Path::parent).expect("folder").join("source.db");
            let image = image_of(&source);
            let error = install(&path, &image).expect_err("refused");
            match &error {
                InstallError::NotWritable { path } => say(&format!("NotWritable {}", path.file_name().expect("name").display())),
                other => say(&support::causes(other)),
            }
        }
        other => panic!("no role {other}"),
    }
}
