//! A vault with thousands of bundles: commands that look at all of them say the same as with a few, and how long they take is printed.
//!
//! The ordinary run has 300 bundles, `AIRKEEP_PROVE=1` has 10 000. The figures in docs/performance.md are from a release build.

mod cli;

use std::fmt::Write as _;
use std::time::Instant;

use airkeep::bundle::{
    BundleWriter, Compression, CoreFacts, FrameSize, Host, Id, JournalHead, Kind, Manifest, PublicCore, RECOVER_TEXT, Sealing, SetName,
    SetRef, Tool, UtcTime,
};
use airkeep::crypto::{Digest, Entropy};
use airkeep::journal::{Actor, Event, Outcome, Record, Subject};
use airkeep::ops::OsEntropy;
use airkeep::vault::bundle_name;
use airkeep::{KeyFileKey, Keyring};
use cli::Home;

const FIRST: &str = "2026-01-01T00:00:00Z";

/// Seals an empty bundle into the vault and gives its record.
fn seal(home: &Home, set: &SetRef, sequence: u64, head: Option<JournalHead>, ring: &Keyring) -> Record {
    let mut id = [0; 16];
    OsEntropy.fill(&mut id);
    let facts = CoreFacts {
        id: Id(id),
        set: set.clone(),
        sequence,
        kind: Kind::Scheduled,
        created_at: UtcTime::parse(FIRST).unwrap(),
        marking: None,
        codec: Compression::DEFAULT.codec(),
        frame_size: FrameSize::Normal,
        predecessor: None,
        signer: None,
        journal_head: head.clone(),
    };
    let core = PublicCore::new(facts, RECOVER_TEXT.as_bytes());
    let sealing = Sealing { ring, signer: None, compression: Compression::DEFAULT, workers: 1 };
    let mut entropy = OsEntropy;
    let writer = BundleWriter::start(Vec::new(), &core, sealing, &mut entropy).unwrap();
    let text = |value: &str| value.to_owned();
    let manifest = Manifest {
        format: text(airkeep::bundle::MANIFEST_FORMAT),
        bundle: core.id,
        host: Host { name: text("host"), os: text("linux"), arch: text("x86_64"), user: text("root"), uid: 0 },
        tool: Tool { name: text("airkeep"), version: text("0"), sqlite: text("3") },
        started_at: core.created_at.clone(),
        duration_ms: 1,
        tag: None,
        note: None,
        sources: Vec::new(),
        files: Vec::new(),
    };
    let sealed = writer.seal(manifest.encode()).unwrap();
    let file = bundle_name(&set.name, sequence, &core.created_at);
    home.write(&format!("airkeep-vault/{file}"), &sealed.out, 0o600);
    let details = serde_json::json!({
        "kind": "scheduled", "created_at": core.created_at, "tag": "nightly", "note": null, "size_bytes": sealed.size_bytes,
        "sha256": sealed.sha256, "seal_sha256": sealed.seal_sha256, "level": "L3", "codec": "gzip", "append_only": [],
        "sources": [{ "label": "main", "size_bytes": 1_000_000, "tables": 12, "rows": 15_000, "check": "quick", "verdict": "ok" }],
    });
    Record {
        sequence,
        nonce: core.id,
        time: core.created_at.clone(),
        clock_regressed: false,
        event: Event::Backup,
        outcome: Outcome::Success,
        actor: Actor { user: text("root"), uid: 0, sudo_user: None, operator: None },
        host: text("host"),
        reason: None,
        subject: Some(Subject { bundle: core.id, sequence, file }),
        details: details.as_object().cloned().unwrap(),
        signer: None,
        previous: head.map_or(Digest([0; 32]), |head| head.sha256),
    }
}

/// A vault with so many bundles and the journal of their backups.
fn vault(count: u64) -> Home {
    let home = Home::new();
    home.database("app.db");
    home.key("key");
    home.folder("airkeep-vault");
    let ring = Keyring { key_files: vec![KeyFileKey::parse(&home.read("key")).unwrap()], ..Keyring::default() };
    let set = SetRef { id: Id([7; 16]), name: SetName::parse("many").unwrap() };
    let (mut journal, mut head) = (String::new(), None);
    for sequence in 1..=count {
        let line = seal(&home, &set, sequence, head, &ring).to_line(None);
        head = Some(JournalHead { sequence, sha256: Digest::of(line.as_bytes()) });
        let _ = writeln!(journal, "{line}");
    }
    home.write("airkeep-vault/journal.jsonl", journal, 0o600);
    let head = head.unwrap();
    home.write("airkeep-vault/journal.head", format!("{{\"sequence\":{count},\"sha256\":\"{}\"}}\n", head.sha256), 0o600);
    home.write(
        "airkeep-vault/vault.json",
        format!("{{\"format\":\"airkeep-vault/1\",\"set\":{{\"id\":\"{}\",\"name\":\"many\"}},\"last\":null}}\n", set.id),
        0o600,
    );
    home
}

#[test]
fn a_vault_of_thousands_answers_as_one_of_a_few() {
    let count = if std::env::var_os("AIRKEEP_PROVE").is_some() { 10_000 } else { 300 };
    let home = vault(count);
    let bundle = home.bundles().pop().unwrap();
    let timed = |what: &str, arguments: &[&str]| {
        let begun = Instant::now();
        let object = home.json(arguments);
        eprintln!("{what}, {count} bundles: {:.2} s", begun.elapsed().as_secs_f64());
        object
    };
    let listed = timed("list", &["list", "--json"]);
    assert_eq!((listed["bundles"].as_array().unwrap().len() as u64, &listed["problems"]), (count, &serde_json::json!([])));
    timed("info", &["info", &bundle, "--key-file", "key", "--json"]);
    let sealed = timed("backup", &["backup", "app.db", "--key-file", "key", "--json"]);
    assert_eq!(sealed["bundle"]["sequence"], count + 1);
    let audit = timed("audit verify", &["audit", "verify", "--json"]);
    assert_eq!((&audit["records"], &audit["witnesses"], &audit["faults"]), (&(count + 1).into(), &count.into(), &serde_json::json!([])));
}
