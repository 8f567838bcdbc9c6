//! The journal through the program: what is recorded, by whom, what a hook hears, and what an audit finds.

mod cli;

use cli::{Home, finish, has};
use serde_json::Value;

/// A home with a signing vault, a database and a key file.
fn signed() -> Home {
    let home = Home::new();
    home.database("app.db");
    home.key("key");
    home.succeeds(&["init", "--name", "plant"]);
    home
}

const BACKUP: [&str; 4] = ["backup", "app.db", "--key-file", "key"];

fn records(home: &Home) -> Vec<Value> {
    home.json(&["audit", "show", "--json"])["records"].as_array().unwrap().clone()
}

fn events(home: &Home) -> Vec<String> {
    let word = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    records(home).iter().map(|record| word(record, "event") + " " + &word(record, "outcome")).collect()
}

/// Insists on the exit code of a broken chain, and on the first record that is named.
fn is_broken(home: &Home, words: &str, arguments: &[&str]) {
    let run = home.run(arguments);
    assert_eq!(run.code, 16, "{}", run.stderr);
    assert!(run.stdout.starts_with(&format!("BROKEN    {words}")), "{}", run.stdout);
}

#[test]
fn each_event_has_its_record() {
    let home = signed();
    home.seal(&BACKUP[1..]);
    let bundle = home.bundles().remove(0);
    home.succeeds(&["verify", &bundle, "--key-file", "key"]);
    home.succeeds(&["restore", &bundle, "--to", "out", "--key-file", "key"]);
    home.key("new");
    home.succeeds(&["key", "add", &bundle, "--key-file", "key", "--new-key-file", "new"]);
    home.succeeds(&["signer", "rotate"]);
    home.key("third");
    // Asked twice, without and with --json.
    home.refuses(12, "do not open", &["backup", "app.db", "--key-file", "third"]);
    let expected = [
        "init success",
        "backup success",
        "verify success",
        "restore intent",
        "restore success",
        "keys success",
        "signer success",
        "backup failure",
        "backup failure",
    ];
    assert_eq!(events(&home), expected);
    home.succeeds(&["audit", "verify"]);
}

#[test]
fn a_record_says_who_when_where_why_and_to_what() {
    let home = signed();
    let mut command = home.airkeep([&BACKUP[..], &["--operator", "J. Doe", "--reason", "before the update", "--tag", "nightly"]].concat());
    assert_eq!(finish(command.env("SUDO_USER", "jdoe")).code, 0);
    let record = records(&home).pop().unwrap();
    assert_eq!((&record["actor"]["operator"], &record["actor"]["sudo_user"]), (&"J. Doe".into(), &"jdoe".into()));
    assert_eq!((&record["reason"], &record["details"]["tag"]), (&"before the update".into(), &"nightly".into()));
    assert_eq!((&record["subject"]["sequence"], &record["sequence"]), (&1.into(), &2.into()));
    assert_eq!(record["details"]["sources"][0]["label"], "app");
    assert!(["host", "time", "nonce"].iter().all(|name| record[name].is_string()), "{record}");
    assert!(home.succeeds(&["audit", "show", "--event", "backup"]).contains("(J. Doe)@"));
    assert_eq!(home.succeeds(&["audit", "show", "--event", "restore"]), "");
    assert_eq!(home.succeeds(&["audit", "show", "--since", "2999-01-01"]), "");
}

#[test]
fn a_bundle_carries_the_journal_s_head_and_is_a_witness() {
    let home = signed();
    home.succeeds(&BACKUP);
    let earlier = home.read("airkeep-vault/journal.head");
    home.succeeds(&BACKUP);
    home.succeeds(&BACKUP);
    let [first, .., last] = home.bundles().try_into().map(|[a, b, c]: [String; 3]| [a, b, c]).unwrap();
    home.folder("away");
    std::fs::rename(home.path(&last), home.path("away/last.akb")).unwrap();
    let lines = String::from_utf8(home.read("airkeep-vault/journal.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 4);
    // Cut the last two, and the acknowledged end along with them; without the key that shows, with one that was kept it does not.
    let kept: Vec<&str> = lines.lines().take(2).collect();
    let sum = airkeep::crypto::Digest::of(kept[1].as_bytes());
    home.write("airkeep-vault/journal.jsonl", kept.iter().map(|line| format!("{line}\n")).collect::<String>(), 0o600);
    home.write("airkeep-vault/journal.head", format!("{{\"sequence\":2,\"sha256\":\"{sum}\"}}\n"), 0o600);
    is_broken(&home, "record 2 was acknowledged as the last one by somebody who cannot sign", &["audit", "verify"]);
    home.write("airkeep-vault/journal.head", earlier, 0o600);
    assert_eq!(home.run(["audit", "verify"]).code, 0, "{first}: nothing here knows better");
    is_broken(&home, "record 3 is missing: bundle", &["audit", "verify", "--against", "away/last.akb"]);
}

#[test]
fn tampering_is_found_and_named_and_is_no_i_o_error() {
    let home = signed();
    for _ in 0..3 {
        home.succeeds(&BACKUP);
    }
    let text = String::from_utf8(home.read("airkeep-vault/journal.jsonl")).unwrap();
    home.write("airkeep-vault/journal.jsonl", text.replacen("\"app\"", "\"apx\"", 1), 0o600);
    is_broken(&home, "record 2 is not signed by the signer that it names", &["audit", "verify"]);
    // Who takes the vault's record away, or the signer out of it, takes nothing of the check away.
    let record = String::from_utf8(home.read("airkeep-vault/vault.json")).unwrap();
    std::fs::remove_file(home.path("airkeep-vault/vault.json")).unwrap();
    is_broken(&home, "record 2 is not signed by the signer that it names", &["audit", "verify"]);
    let from = record.find("\"signer\"").unwrap();
    let until = from + record[from..].find(',').unwrap();
    home.write("airkeep-vault/vault.json", format!("{}\"signer\": null{}", &record[..from], &record[until..]), 0o600);
    let unsigned: String = text.lines().map(|line| unsigned(line) + "\n").collect();
    home.write("airkeep-vault/journal.jsonl", unsigned, 0o600);
    let run = home.run(["audit", "verify"]);
    assert!(run.code == 16 && run.stdout.contains("is not signed, and the vault has a signer"), "{}", run.stdout);
    home.write("airkeep-vault/vault.json", record, 0o600);
    std::fs::remove_file(home.path("airkeep-vault/journal.jsonl")).unwrap();
    is_broken(&home, "record 1 is missing, with all others", &["audit", "verify"]);
    home.folder("airkeep-vault/journal.jsonl");
    home.refuses(2, "journal.jsonl' is a folder", &["audit", "verify"]);
    home.refuses(10, "there is no vault", &["audit", "verify", "--vault", "nowhere"]);
}

/// A line without its signature and the name of its signer.
fn unsigned(line: &str) -> String {
    let mut value: Value = serde_json::from_str(line).unwrap();
    value["signature"] = Value::Null;
    value["record"]["signer"] = Value::Null;
    value.to_string()
}

#[test]
fn the_chain_and_a_signature_can_be_checked_by_hand() {
    if !has("ssh-keygen") || !has("python3") {
        return eprintln!("skipped: ssh-keygen and python3 are needed");
    }
    let home = signed();
    home.succeeds(&BACKUP);
    let recipe = include_str!("../docs/journal.md").rsplit("```sh\n").next().unwrap().split("```").next().unwrap();
    let recipe = recipe.replace("42p", "2p").replace("SET-NAME", "plant");
    let run = finish(home.program("sh").args(["-ec", &recipe]).current_dir(home.path("airkeep-vault")));
    assert!(run.code == 0 && run.stdout.contains("Good \"journal@airkeep\" signature"), "{run:?}");
}

#[test]
fn without_the_signing_key_a_change_is_recorded_in_the_account_s_own_journal() {
    let home = signed();
    home.succeeds(&BACKUP);
    let bundle = home.bundles().remove(0);
    home.key("new");
    let run = home.run(["key", "add", &bundle, "--key-file", "key", "--new-key-file", "new", "--signing-key", "nowhere"]);
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains("recorded in this account's own journal"), "{}", run.stderr);
    assert_eq!(events(&home), ["init success", "backup success"]);
    let own = String::from_utf8(home.read("state/airkeep/journal.jsonl")).unwrap();
    assert!(own.lines().count() == 1 && own.contains("\"event\":\"keys\""), "{own}");
    home.succeeds(&["audit", "verify"]);
}

#[test]
fn a_hook_hears_each_event_and_its_failure_is_recorded_and_undoes_nothing() {
    let home = signed();
    let hook = "sh -c 'cat >> heard; echo \"$1\" >> words' hook {event}/{outcome}/{bundle}";
    home.succeeds(&[&BACKUP[..], &["--hook", hook]].concat());
    let heard: Value = serde_json::from_slice(&home.read("heard")).unwrap();
    assert_eq!((&heard["event"], &heard["sequence"]), (&"backup".into(), &2.into()));
    let words = String::from_utf8(home.read("words")).unwrap();
    assert!(words.starts_with("backup/success/plant-000001-"), "{words}");

    let run = home.run([&BACKUP[..], &["--hook", "sh -c 'echo no room >&2; exit 7'"]].concat());
    assert_eq!((run.code, home.bundles().len()), (3, 2), "{}", run.stderr);
    assert!(run.stderr.contains("no room"), "{}", run.stderr);
    let last = records(&home).pop().unwrap();
    assert_eq!((&last["event"], &last["outcome"], &last["details"]["told"]), (&"hook".into(), &"failure".into(), &3.into()));
    home.refuses(2, "unknown", &[&BACKUP[..], &["--hook", "log {who}"]].concat());
}

#[test]
fn a_hook_gets_no_descriptor_that_was_given_to_us() {
    let home = signed();
    home.write("pass", cli::PASSPHRASE, 0o600);
    let line =
        format!("exec {} backup app.db --passphrase-fd 3 --hook 'sh -c \"ls /proc/self/fd > fds\"' 3<pass", env!("CARGO_BIN_EXE_airkeep"));
    let run = finish(home.program("sh").args(["-c", &line]));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let fds = String::from_utf8(home.read("fds")).unwrap();
    // Its own three, and the one by which ls reads the folder.
    assert_eq!(fds.lines().count(), 4, "{fds}");
}

#[test]
fn a_list_tells_what_is_here_what_is_away_and_what_is_wrong() {
    let home = signed();
    for tag in ["a", "b", "c", "d"] {
        home.succeeds(&[&BACKUP[..], &["--tag", tag]].concat());
    }
    let listed = home.json(&["list", "--json"]);
    let column = |name: &str| listed["bundles"].as_array().unwrap().iter().map(|bundle| bundle[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("tag"), ["d", "c", "b", "a"]);
    assert_eq!((listed["problems"].as_array().unwrap().len(), &listed["bundles"][0]["verified"]["level"]), (0, &"L3".into()));

    let bundles = home.bundles();
    std::fs::remove_file(home.path(&bundles[1])).unwrap();
    let twin = format!("{}-copy.akb", bundles[0].trim_end_matches(".akb"));
    std::fs::copy(home.path(&bundles[0]), home.path(&twin)).unwrap();
    home.database("b.db");
    home.succeeds(&["backup", "b.db", "--vault", "other", "--key-file", "key"]);
    let foreign = home.tree().into_keys().find(|path| path.starts_with(home.path("other")) && path.extension().is_some_and(|e| e == "akb"));
    std::fs::copy(foreign.unwrap(), home.path("airkeep-vault/foreign.akb")).unwrap();
    home.write("airkeep-vault/torn.akb", "x", 0o600);
    let listed = home.json(&["list", "--json"]);
    let problems = listed["problems"].to_string();
    for words in ["are the same bundle", "foreign.akb' belongs to another set", "torn.akb' cannot be read"] {
        assert!(problems.contains(words), "{words}: {problems}");
    }
    assert_eq!((&listed["bundles"][2]["tag"], &listed["bundles"][2]["is_here"]), (&"b".into(), &false.into()));
    // Without its journal a bundle that is not here is one that nobody can account for.
    for name in ["journal.jsonl", "journal.head"] {
        std::fs::remove_file(home.path("airkeep-vault").join(name)).unwrap();
    }
    assert!(home.json(&["list", "--json"])["problems"].to_string().contains("number 2 is missing"));
}

#[test]
fn a_lost_journal_is_begun_anew_from_the_bundles_and_says_so() {
    let home = signed();
    home.seal(&["app.db", "--key-file", "key", "--tag", "a", "--append-only", "account"]);
    home.succeeds(&[&BACKUP[..], &["--tag", "b"]].concat());
    home.succeeds(&["verify", "airkeep-vault", "--key-file", "key"]);
    let before = home.json(&["list", "--json"]);
    let mut text = home.read("airkeep-vault/journal.jsonl");
    text.truncate(text.len() - 5);
    text.push(b'\n');
    home.write("airkeep-vault/journal.jsonl", &text, 0o600);
    let run = home.run(BACKUP);
    assert!(run.code == 3 && run.stderr.contains("the last record of"), "{}", run.stderr);

    home.refuses(12, "cannot use the signing key", &["vault", "rebuild", "--key-file", "key", "--signing-key", "nowhere"]);
    let rebuilt = home.json(&["vault", "rebuild", "--key-file", "key", "--json"]);
    assert_eq!(rebuilt["recorded"].as_array().unwrap().len(), 3);
    assert_eq!(home.read(&format!("airkeep-vault/{}", rebuilt["kept_as"].as_str().unwrap())), text);
    assert_eq!(events(&home), ["journal success", "backup success", "backup success", "backup success"]);
    let audit = home.json(&["audit", "verify", "--json"]);
    assert_eq!((&audit["rebuilt_after"], &audit["signed"]), (&3.into(), &4.into()));
    assert!(audit["warnings"][0].as_str().unwrap().contains("begun anew behind bundle 3"), "{audit}");
    let after = home.json(&["list", "--json"]);
    let tags =
        |list: &Value| list["bundles"].as_array().unwrap().iter().rev().take(2).map(|bundle| bundle["tag"].clone()).collect::<Vec<_>>();
    assert_eq!(tags(&after), tags(&before));
    // What was sealed before knows another journal.
    let second = home.bundles().remove(1);
    is_broken(&home, "record 2 is not the one behind which bundle", &["audit", "verify", "--against", &second]);
    // Watched tables stay watched.
    let next = home.json(&[&BACKUP[..], &["--json"]].concat());
    assert_eq!(next["sources"][0]["append_only"], serde_json::json!(["account"]));
    home.succeeds(&["audit", "verify"]);
}

#[test]
fn a_hook_that_fails_is_told_of_beside_another_failure() {
    let home = Home::with_bundle();
    let bundle = home.bundles().remove(0);
    let verify = ["verify", &bundle, "--key-file", "key", "--hook", "false"];
    let run = home.run(verify);
    assert!(run.code == 3 && run.stderr.contains("airkeep: error: the hook failed"), "{}", run.stderr);
    let mut bytes = home.read(&bundle);
    cli::surgery::flip(&mut bytes, "frames/00000001");
    home.write(&bundle, bytes, 0o600);
    let run = home.run(verify);
    assert!(run.code == 13 && run.stderr.contains("airkeep: warning: the hook failed"), "{}", run.stderr);
}
