//! What a passphrase costs: as asked for, in every slot that is made, and never less than before by accident.

mod cli;

use cli::{Home, PASSPHRASE};

fn home() -> Home {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("pass", PASSPHRASE, 0o600);
    home
}

fn costs(slots: &serde_json::Value) -> Vec<Option<u64>> {
    slots.as_array().unwrap().iter().map(|slot| slot["iterations"].as_u64()).collect()
}

/// Of the newest bundle here.
fn sealed(home: &Home) -> Vec<Option<u64>> {
    costs(&home.json(&["info", home.bundles().last().unwrap(), "--json"])["slots"])
}

const BACKUP: [&str; 6] = ["backup", "app.db", "--passphrase-file", "pass", "--no-verify", "-q"];

#[test]
fn every_way_of_sealing_takes_what_was_asked_for() {
    let home = home();
    home.key("key");
    home.succeeds(&[&BACKUP[..], &["--iterations", "600001", "--key-file", "key"]].concat());
    assert_eq!(sealed(&home), [Some(600_001), None]);
    home.write("airkeep.toml", "[sealing]\niterations = 600002\n", 0o600);
    home.succeeds(&BACKUP);
    assert_eq!(sealed(&home), [Some(600_002)]);
    home.succeeds(&["import", "app.db", "--passphrase-file", "pass", "-q"]);
    assert_eq!(sealed(&home), [Some(600_002)]);
    home.succeeds(&["guard", "--db", "app.db", "--passphrase-file", "pass", "-q", "--", "true"]);
    assert_eq!(sealed(&home), [Some(600_002)]);
    drop(home.database("other.db"));
    home.succeeds(&["restore", "2", "--onto", "other.db", "--force", "--accept-other", "--passphrase-file", "pass", "-q"]);
    assert_eq!((home.bundles().len(), sealed(&home)), (5, vec![Some(600_002)]));
}

#[test]
fn a_rotation_raises_the_cost_and_never_lowers_it_for_the_same_passphrase() {
    let home = home();
    home.succeeds(&BACKUP);
    let rotate = |more: &[&str]| {
        let arguments = ["key", "rotate", "airkeep-vault", "--passphrase-file", "pass", "--new-passphrase-file", "pass", "--json"];
        let report = home.json(&[&arguments, more].concat());
        (report["bundles"][0]["changed"].as_bool().unwrap(), costs(&report["bundles"][0]["slots"]))
    };
    assert_eq!(rotate(&[]), (false, vec![Some(600_000)]));
    assert_eq!(rotate(&["--iterations", "600003"]), (true, vec![Some(600_003)]));
    assert_eq!(rotate(&["--iterations", "600003"]), (false, vec![Some(600_003)]), "a run that was stopped is finished by running it again");
    assert_eq!(rotate(&[]), (false, vec![Some(600_003)]));
}

#[test]
fn limits_are_named_and_change_nothing() {
    let home = home();
    for wrong in ["599999", "10000001", "x", "-1"] {
        let flag = format!("--iterations={wrong}");
        home.refuses(2, "expected 600000 to 10000000 iterations", &[&BACKUP[..], &[&flag]].concat());
    }
    for name in ["pass2", "pass3"] {
        home.write(name, format!("{PASSPHRASE}, {name}"), 0o600);
    }
    let many = ["--iterations", "10000000", "--passphrase-file", "pass2", "--passphrase-file", "pass3"];
    let words = "30000000 PBKDF2 iterations together, a bundle may ask for 20000000 at most";
    home.refuses(2, words, &[&BACKUP[..], &many].concat());
    home.succeeds(&[&BACKUP[..], &["--iterations", "600001"]].concat());
    let add = ["key", "add", "airkeep-vault", "--passphrase-file", "pass", "--iterations", "10000000"];
    let new = ["--new-passphrase-file", "pass2", "--new-passphrase-file", "pass3"];
    let run = home.run([&add[..], &new].concat());
    assert!(run.code == 2 && run.stderr.contains("20600001 PBKDF2 iterations"), "{}{}", run.stdout, run.stderr);
    assert_eq!(sealed(&home), [Some(600_001)]);
}
