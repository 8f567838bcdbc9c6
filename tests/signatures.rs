//! Who sealed a bundle: what ssh-keygen accepts, what this program accepts beyond and below that, and what becomes of it when keys change.

mod cli;

use std::path::PathBuf;
use std::process::Stdio;

use cli::{Home, Run, finish, has};
use serde_json::Value;

/// A home with a vault that signs, a database, a key file, and one bundle at `app.akb`; gives the signer's fingerprint.
fn signed() -> (Home, String) {
    let home = Home::new();
    home.database("app.db");
    home.key("key");
    let made = home.json(&["init", "--name", "plant", "--json"]);
    home.seal(&["app.db", "--key-file", "key"]);
    (home, made["fingerprint"].as_str().unwrap().to_owned())
}

fn verify(home: &Home, bundle: &str, more: &[&str]) -> (i32, Value) {
    let run = home.run([&["verify", bundle, "--level", "0", "--json"], more].concat());
    let object: Value = serde_json::from_str(&run.stdout).expect(&run.stderr);
    (run.code, object["bundles"][0].clone())
}

/// Exit code and verdict at level 0 with these flags.
fn verdict(home: &Home, bundle: &str, more: &[&str]) -> (i32, String) {
    let (code, object) = verify(home, bundle, more);
    (code, object["signature"]["verdict"].as_str().unwrap_or("none").to_owned())
}

/// Unpacks a bundle with stock tar.
fn unpack(home: &Home, bundle: &str) -> PathBuf {
    let _ = std::fs::remove_dir_all(home.path("unpacked"));
    home.folder("unpacked");
    assert_eq!(finish(home.program("tar").args(["-xf", bundle, "-C", "unpacked"])).code, 0);
    home.path("unpacked")
}

/// Whether `sha256sum -c` and `ssh-keygen -Y verify` accept a list of an unpacked bundle.
fn stock_tools_accept(home: &Home, list: &str, namespace: &str) -> bool {
    let folder = home.path("unpacked");
    let sums = finish(home.program("sha256sum").args(["--strict", "-c", list]).current_dir(&folder)).code == 0;
    sums && ssh_keygen(home, list, namespace).code == 0
}

fn ssh_keygen(home: &Home, list: &str, namespace: &str) -> Run {
    let signed = std::fs::File::open(home.path("unpacked").join(list)).unwrap();
    let mut command = home.program("ssh-keygen");
    command.args(["-Y", "verify", "-I", "plant", "-n", namespace, "-f", "airkeep-vault/allowed_signers", "-s"]);
    finish(command.arg(home.path("unpacked").join(format!("{list}.sig"))).stdin(Stdio::from(signed)))
}

#[test]
fn an_untouched_bundle_satisfies_sha256sum_and_ssh_keygen() {
    if !has("ssh-keygen") {
        return eprintln!("skipped: ssh-keygen is not installed");
    }
    let (home, fingerprint) = signed();
    unpack(&home, "app.akb");
    assert!(stock_tools_accept(&home, "SHA256SUMS", "bundle@airkeep"));
    assert!(stock_tools_accept(&home, "slots.sha256", "slots@airkeep"));
    assert!(!stock_tools_accept(&home, "SHA256SUMS", "slots@airkeep"), "a namespace is a purpose");
    let printed = finish(home.program("ssh-keygen").args(["-l", "-f"]).arg(key_file(&home)));
    assert!(printed.stdout.contains(&fingerprint), "{printed:?}");
}

fn key_file(home: &Home) -> PathBuf {
    home.json(&["signer", "show", "--json"])["key_file"].as_str().unwrap().into()
}

#[test]
fn the_report_tells_who_signed_apart_from_the_level() {
    let (home, fingerprint) = signed();
    let pinned = ["--signer", &fingerprint];
    let stranger = ["--signer", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];
    assert_eq!(verdict(&home, "app.akb", &[]), (0, "not pinned".into()));
    assert_eq!(verdict(&home, "app.akb", &pinned), (0, "valid".into()));
    assert_eq!(verdict(&home, "app.akb", &["--allowed-signers", "airkeep-vault/allowed_signers"]), (0, "valid".into()));
    assert_eq!(verdict(&home, "app.akb", &stranger), (13, "invalid".into()));
    let (_, object) = verify(&home, "app.akb", &pinned);
    assert_eq!((&object["signature"]["signer"], &object["signature"]["slots_signed"]), (&fingerprint.as_str().into(), &true.into()));

    home.succeeds(&["backup", "app.db", "--vault", "plain", "--key-file", "key"]);
    let unsigned =
        home.tree().into_keys().find(|path| path.starts_with(home.path("plain")) && path.extension().is_some_and(|e| e == "akb"));
    let unsigned = unsigned.unwrap();
    let unsigned = unsigned.to_str().unwrap();
    assert_eq!(verdict(&home, unsigned, &[]), (0, "absent".into()));
    assert_eq!(verdict(&home, unsigned, &pinned), (13, "absent".into()));
    home.refuses(13, "is not signed", &["restore", unsigned, "--to", "out", "--key-file", "key", pinned[0], pinned[1]]);
    home.refuses(
        13,
        "not signed by a pinned signer",
        &["restore", "app.akb", "--to", "out", "--key-file", "key", stranger[0], stranger[1]],
    );
    home.succeeds(&["restore", "app.akb", "--to", "out", "--key-file", "key", pinned[0], pinned[1]]);
}

#[test]
fn a_database_is_replaced_and_handed_out_only_from_a_bundle_of_a_pinned_signer() {
    let (home, fingerprint) = signed();
    let bundle = home.bundles().remove(0);
    let restore = ["restore", &bundle, "--in-place", "--force", "--key-file", "key", "--signer"];
    let extract = ["extract", &bundle, "app", "--to", "out.db", "--key-file", "key", "--signer"];
    for arguments in [&restore[..], &extract[..]] {
        let stranger = ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];
        home.refuses(13, "not signed by a pinned signer", &[arguments, &stranger].concat());
        home.succeeds(&[arguments, &[&fingerprint]].concat());
    }
}

#[test]
fn level_1_needs_a_pinned_signer() {
    let (home, fingerprint) = signed();
    home.refuses(12, "level L1 needs a pinned signer", &["verify", "app.akb", "--level", "1"]);
    let text = home.succeeds(&["verify", "app.akb", "--level", "1", "--signer", &fingerprint]);
    assert_eq!(text, format!("ok       L1  app.akb\n             signature valid: {fingerprint}\n"));
}

#[test]
fn a_foreign_signature_is_not_pinned_and_invalid_where_a_signer_was_pinned() {
    let (home, fingerprint) = signed();
    home.database("evil.db");
    home.succeeds(&["init", "--vault", "evil", "--name", "plant"]);
    home.succeeds(&["backup", "evil.db", "--vault", "evil", "--key-file", "key"]);
    let evil = home.tree().into_keys().find(|path| path.starts_with(home.path("evil")) && path.extension().is_some_and(|e| e == "akb"));
    let evil = evil.unwrap();
    let evil = evil.to_str().unwrap();
    assert_eq!(verdict(&home, evil, &[]), (0, "not pinned".into()));
    assert_eq!(verdict(&home, evil, &["--signer", &fingerprint]), (13, "invalid".into()));
    assert_eq!(verdict(&home, evil, &["--allowed-signers", "airkeep-vault/allowed_signers"]), (13, "invalid".into()));
}

/// Of all texts that differ by one bit ssh-keygen takes twelve (line ends, version 0); each in a bundle that is right otherwise.
#[test]
fn altered_signatures_that_ssh_keygen_accepts_are_refused() {
    if !has("ssh-keygen") {
        return eprintln!("skipped: ssh-keygen is not installed");
    }
    let (home, fingerprint) = signed();
    unpack(&home, "app.akb");
    let signature = home.path("unpacked/SHA256SUMS.sig");
    let (good, bundle) = (std::fs::read(&signature).unwrap(), home.read("app.akb"));
    let place = bundle.windows(good.len()).position(|window| window == good).unwrap();
    let mut accepted = 0;
    for bit in 0..good.len() * 8 {
        let mut altered = good.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&signature, &altered).unwrap();
        if ssh_keygen(&home, "SHA256SUMS", "bundle@airkeep").code != 0 {
            continue;
        }
        accepted += 1;
        let mut twin = bundle.clone();
        twin[place..place + good.len()].copy_from_slice(&altered);
        home.write("twin.akb", twin, 0o600);
        assert_eq!(verdict(&home, "twin.akb", &["--signer", &fingerprint]), (13, "invalid".into()), "bit {bit}");
        assert_eq!(verdict(&home, "twin.akb", &[]), (13, "invalid".into()), "bit {bit}");
    }
    eprintln!("ssh-keygen took {accepted} of {} altered signatures", good.len() * 8);
    assert!(accepted >= 8, "ssh-keygen took only {accepted} altered signatures: this test no longer tests anything");
}

#[test]
fn keys_that_somebody_without_the_signing_key_changed_leave_the_seal_signed() {
    let (home, fingerprint) = signed();
    home.key("new");
    let rotated =
        home.json(&["key", "rotate", "app.akb", "--key-file", "key", "--new-key-file", "new", "--signing-key", "nowhere", "--json"]);
    assert_eq!(rotated["bundles"][0]["slots_signed"], false);
    assert!(rotated["warnings"][0].as_str().unwrap().contains("not signed"), "{rotated}");
    let (code, object) = verify(&home, "app.akb", &["--signer", &fingerprint]);
    assert_eq!((code, &object["signature"]["verdict"], &object["signature"]["slots_signed"]), (0, &"valid".into(), &false.into()));
    if has("ssh-keygen") {
        let folder = unpack(&home, "app.akb");
        assert!(stock_tools_accept(&home, "SHA256SUMS", "bundle@airkeep"));
        assert!(!folder.join("slots.sha256.sig").exists());
    }
    // With the signing key the next change is signed again.
    home.key("third");
    let rotated = home.json(&["key", "rotate", "app.akb", "--key-file", "new", "--new-key-file", "third", "--json"]);
    assert_eq!(rotated["bundles"][0]["slots_signed"], true);
    assert!(!has("ssh-keygen") || (unpack(&home, "app.akb").exists() && stock_tools_accept(&home, "slots.sha256", "slots@airkeep")));
}

#[test]
fn a_vault_that_signs_never_seals_a_bundle_that_nobody_signed() {
    let (home, _) = signed();
    let key = key_file(&home);
    let text = std::fs::read(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    let backup = ["backup", "app.db", "--key-file", "key"];
    home.refuses(12, "cannot use the signing key", &backup);
    // Not even when its record is lost: the bundles say that they are signed.
    let record = home.read("airkeep-vault/vault.json");
    std::fs::remove_file(home.path("airkeep-vault/vault.json")).unwrap();
    home.refuses(12, "cannot use the signing key", &backup);
    home.write("airkeep-vault/vault.json", record, 0o600);
    home.write("moved", &text, 0o600);
    home.succeeds(&["backup", "app.db", "--key-file", "key", "--signing-key", "moved"]);
    home.chmod("moved", 0o604);
    home.refuses(12, "can be read by others", &["backup", "app.db", "--key-file", "key", "--signing-key", "moved"]);
    home.write("moved", "nonsense", 0o600);
    home.refuses(12, "not an OpenSSH private key", &["backup", "app.db", "--key-file", "key", "--signing-key", "moved"]);
    home.succeeds(&["init", "--vault", "other"]);
    let other = home.json(&["signer", "show", "--vault", "other", "--json"])["key_file"].as_str().unwrap().to_owned();
    home.refuses(12, "the signer is SHA256:", &["backup", "app.db", "--key-file", "key", "--signing-key", &other]);
}

#[test]
fn a_vault_gets_one_signer_and_keeps_its_name() {
    let (home, fingerprint) = signed();
    home.refuses(2, &fingerprint, &["init"]);
    home.succeeds(&["backup", "app.db", "--key-file", "key", "--vault", "old"]);
    home.refuses(2, "has the name", &["init", "--vault", "old", "--name", "other"]);
    let adopted = home.json(&["init", "--vault", "old", "--json"]);
    assert_eq!(adopted["new_vault"], false);
    let sealed = home.json(&["backup", "app.db", "--key-file", "key", "--vault", "old", "--json"]);
    assert_eq!(sealed["bundle"]["signer"], adopted["signer"]);
    home.refuses(10, "there is no vault", &["signer", "show", "--vault", "nowhere"]);
}

#[test]
fn a_new_signer_is_followed_from_the_old_fingerprint() {
    let (home, old) = signed();
    let rotated = home.json(&["signer", "rotate", "--json"]);
    let new = rotated["fingerprint"].as_str().unwrap().to_owned();
    assert_eq!((&rotated["changes"][0]["from"], &rotated["changes"][0]["to"]), (&old.clone().into(), &new.clone().into()));
    home.succeeds(&["backup", "app.db", "--key-file", "key"]);
    let newest = home.bundles().pop().unwrap();
    assert_eq!(verdict(&home, &newest, &["--signer", &new]), (0, "valid".into()));
    assert_eq!(verdict(&home, &newest, &["--signer", &old]), (13, "invalid".into()));
    let follow = ["--signer", &old, "--signer-changes", "airkeep-vault/signer-changes"];
    assert_eq!(verdict(&home, &newest, &follow), (0, "valid".into()));
    assert_eq!(verdict(&home, "app.akb", &follow), (0, "valid".into()));
    assert_eq!(verdict(&home, "app.akb", &["--allowed-signers", "airkeep-vault/allowed_signers"]), (0, "valid".into()));
    // The old key still signs the slots of what it sealed.
    home.key("new");
    let bundle = home.bundles().remove(0);
    let changed = home.json(&["key", "add", &bundle, "--key-file", "key", "--new-key-file", "new", "--json"]);
    assert_eq!(changed["bundles"][0]["slots_signed"], true);
    let mut forged = String::from_utf8(home.read("airkeep-vault/signer-changes")).unwrap();
    forged = forged.replacen("at 20", "at 19", 1);
    home.write("forged", forged, 0o600);
    home.refuses(13, "not signed by the key", &["verify", &newest, "--signer", &old, "--signer-changes", "forged"]);
}

#[test]
fn slots_that_were_put_back_are_found_where_the_vault_knows_better() {
    let (home, _) = signed();
    home.key("new");
    let bundle = home.bundles().remove(0);
    let before = home.read(&bundle);
    home.succeeds(&["key", "rotate", "airkeep-vault", "--key-file", "key", "--new-key-file", "new"]);
    let after = home.read(&bundle);
    assert_eq!(verify(&home, &bundle, &[]).0, 0);
    home.write(&bundle, before, 0o600);
    let (code, object) = verify(&home, &bundle, &[]);
    assert_eq!((code, &object["findings"][0]["code"]), (13, &"old-slots".into()));
    let listed = home.json(&["key", "list", "airkeep-vault", "--json"]);
    assert_eq!(listed["bundles"][0]["newer_generation"], 2);
    home.write(&bundle, after, 0o600);
    assert_eq!(verify(&home, &bundle, &[]).0, 0);
}
