//! Bad bundles: cut, lengthened, flipped, spliced, forged, hostile. Each is refused by every command that opens it, and nothing is released.

mod cli;

use cli::{Home, PASSPHRASE, assert_clear_error, assert_harmless, assert_same_tree, surgery};
use serde_json::Value;
use surgery::{archive, content, edit_slots, fix_slots_sums, fix_sums, flip, header, member, members, replace};
use tar::EntryType;

/// Insists that `bad.akb` with this content is refused with this code by restore, by verify without a key and (unless only the frames are
/// hurt, which verify reports as findings) by everything else, and that no file appears.
fn rejects(home: &Home, what: &str, bundle: &[u8], code: i32) {
    home.write("bad.akb", bundle, 0o600);
    eprintln!("{what}");
    home.refuses(code, "bundle 'bad.akb'", &["restore", "bad.akb", "--to", "out", "--key-file", "key"]);
    let before = home.tree();
    for key in [&[][..], &["--key-file", "key"]] {
        let run = home.run([&["verify", "bad.akb"], key].concat());
        assert_eq!(run.code, code, "{what}: {}{}", run.stdout, run.stderr);
        assert_harmless(&run.stdout);
        match run.stdout.is_empty() {
            true => assert!(run.stderr.contains("cannot open bundle 'bad.akb'"), "{what}: {}", run.stderr),
            false => assert!(run.stdout.starts_with("DAMAGED"), "{what}: {}", run.stdout),
        }
        assert_clear_error(&run.stderr);
        let json = home.run([&["verify", "bad.akb", "--json"], key].concat());
        let object: Value = serde_json::from_str(&json.stdout).expect("exactly one JSON object");
        assert_eq!((json.code, &object["ok"]), (code, &false.into()), "{what}");
    }
    assert_same_tree(&before, &home.tree());
}

/// Insists that a damage in the front is refused by info, too.
fn rejects_front(home: &Home, what: &str, bundle: &[u8], code: i32) {
    rejects(home, what, bundle, code);
    home.refuses(code, "cannot open bundle 'bad.akb'", &["info", "bad.akb"]);
}

fn changed(bundle: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut copy = bundle.to_vec();
    change(&mut copy);
    assert_ne!(copy, bundle, "the change does nothing");
    copy
}

#[test]
fn the_bundle_that_these_tests_change_is_sound() {
    let home = Home::with_bundle();
    assert!(home.succeeds(&["verify", "app.akb", "--key-file", "key"]).starts_with("ok       L4"));
    assert!(home.succeeds(&["verify", "app.akb"]).starts_with("ok       L0"));
}

#[test]
fn refuses_a_bundle_that_was_cut() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    let frames = member(&bundle, "frames/00000001");
    let end = member(&bundle, "end");
    for (what, length) in [
        ("one byte", 1),
        ("inside the first header", 100),
        ("inside the slots", member(&bundle, "slots.json").content.start + 1),
        ("before the frames", member(&bundle, "frames/00000000").header.start),
        ("inside a frame", frames.content.start + 7),
        ("before the index", member(&bundle, "index").header.start),
        ("before the sums", member(&bundle, "SHA256SUMS").header.start),
        ("before the end", end.header.start),
        ("before the zero blocks", end.content.end),
        ("by one byte", bundle.len() - 1),
    ] {
        rejects(&home, what, &bundle[..length], 13);
    }
}

#[test]
fn refuses_a_bundle_that_was_lengthened() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    for tail in [&b"\0"[..], &[0; 512], &[0; 10240], b"x", &bundle] {
        rejects(&home, "something behind the end", &[&bundle, tail].concat(), 13);
    }
    let middle = member(&bundle, "frames/00000001").header.start;
    rejects(&home, "a block between two frames", &[&bundle[..middle], &[0; 512], &bundle[middle..]].concat(), 13);
    rejects(&home, "a member twice", &[&bundle[..middle], &bundle[member(&bundle, "frames/00000000").header.start..]].concat(), 13);
}

#[test]
fn refuses_one_flipped_bit_in_any_member_and_header() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    for member in members(&bundle) {
        rejects(&home, &format!("content of {}", member.name), &changed(&bundle, |bytes| flip(bytes, &member.name)), 13);
        rejects(&home, &format!("header of {}", member.name), &changed(&bundle, |bytes| bytes[member.header.start + 330] ^= 1), 13);
        let padding = member.content.end;
        if padding % 512 != 0 {
            rejects(&home, &format!("padding of {}", member.name), &changed(&bundle, |bytes| bytes[padding] ^= 1), 13);
        }
    }
}

/// Two bundles of one vault under one key, which an attacker mixes.
fn two_bundles() -> (Home, Vec<u8>, Vec<u8>) {
    let home = Home::with_bundle();
    let one = home.read("app.akb");
    home.seal(&["app.db", "--key-file", "key"]);
    let other = home.read("app.akb");
    (home, one, other)
}

#[test]
fn refuses_the_front_of_one_bundle_with_the_frames_of_another() {
    let (home, one, other) = two_bundles();
    let frames = |bundle| member(bundle, "frames/00000000").header.start;
    rejects(&home, "spliced", &[&one[..frames(&one)], &other[frames(&other)..]].concat(), 13);
    let swapped = changed(&one, |bytes| replace(bytes, "frames/00000002", content(&other, "frames/00000002")));
    rejects(&home, "one frame of another bundle", &swapped, 13);
}

#[test]
fn frames_exchanged_with_the_sums_made_anew_are_refused_with_the_key() {
    let (home, one, other) = two_bundles();
    let frames: Vec<_> = members(&one).into_iter().filter(|member| member.name.starts_with("frames/")).collect();
    let twins =
        frames.iter().flat_map(|a| frames.iter().map(move |b| (a, b))).find(|(a, b)| a.name < b.name && a.content.len() == b.content.len());
    let (first, second) = twins.expect("two frames of one length");
    for (what, place, from) in [
        ("of another bundle", "frames/00000001", content(&other, "frames/00000001")),
        ("of another place", second.name.as_str(), &one[first.content.clone()]),
    ] {
        let forge = |bytes: &mut Vec<u8>| {
            replace(bytes, place, from);
            fix_sums(bytes);
        };
        home.write("bad.akb", changed(&one, forge), 0o600);
        // Whoever can write the medium can make sums: that is what level 2 is for (SECURITY.md).
        home.succeeds(&["verify", "bad.akb"]);
        home.refuses(13, "is not authentic", &["restore", "bad.akb", "--to", "out", "--key-file", "key"]);
        for level in ["2", "3"] {
            let run = home.run(["verify", "bad.akb", "--key-file", "key", "--level", level]);
            assert_eq!((run.code, run.stdout.contains("is not authentic")), (13, true), "{what}: {}", run.stdout);
        }
    }
}

#[test]
fn refuses_the_slots_of_another_bundle() {
    let (home, one, other) = two_bundles();
    let foreign = changed(&one, |bytes| {
        for name in ["slots.json", "slots.mac"] {
            replace(bytes, name, content(&other, name));
        }
    });
    rejects_front(&home, "sums not fixed", &foreign, 13);
    let fixed = changed(&foreign, |bytes| fix_slots_sums(bytes));
    rejects_front(&home, "sums fixed", &fixed, 13);
    // The attacker also writes this bundle's id and core digest into them: a slot opens, and the MAC tells.
    let line = |bundle: &[u8]| String::from_utf8(content(bundle, "slots.json").to_vec()).unwrap().lines().next().unwrap().to_owned();
    let adapted = changed(&fixed, |bytes| edit_slots(bytes, |text| text.replace(&line(&other), &line(&one))));
    home.write("bad.akb", &adapted, 0o600);
    for command in [&["verify", "bad.akb"][..], &["info", "bad.akb"], &["restore", "bad.akb", "--to", "out"]] {
        home.refuses(13, "slots.json is not authentic", &[command, &["--key-file", "key"]].concat());
    }
}

#[test]
fn refuses_forged_iteration_counts_before_deriving() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("pass", PASSPHRASE, 0o600);
    home.key("key");
    home.seal(&["app.db", "--passphrase-file", "pass", "--key-file", "key"]);
    let bundle = home.read("app.akb");
    for count in ["0", "1", "599999", "10000001", "4294967295"] {
        let forged =
            changed(&bundle, |bytes| edit_slots(bytes, |text| text.replace("\"iterations\":600000", &format!("\"iterations\":{count}"))));
        rejects_front(&home, count, &forged, 14);
        let begun = std::time::Instant::now();
        home.refuses(14, &format!("asks for {count} PBKDF2 iterations"), &["info", "bad.akb", "--passphrase-file", "pass"]);
        assert!(begun.elapsed().as_secs() < 5, "something was derived");
    }
}

#[test]
fn refuses_iteration_counts_of_any_size_and_form() {
    let home = Home::new();
    drop(home.database("app.db"));
    home.write("pass", PASSPHRASE, 0o600);
    home.key("key");
    home.seal(&["app.db", "--passphrase-file", "pass", "--key-file", "key"]);
    let bundle = home.read("app.akb");
    // Outside its limits is "not supported" (docs/format.md section 9, step 1), however far outside.
    for count in ["4294967296", "18446744073709551615"] {
        let forged =
            changed(&bundle, |bytes| edit_slots(bytes, |text| text.replace("\"iterations\":600000", &format!("\"iterations\":{count}"))));
        rejects_front(&home, count, &forged, 14);
    }
    for nonsense in ["-1", "6e5", "\"600000\"", "null", "600000.0"] {
        let forged = changed(&bundle, |bytes| {
            edit_slots(bytes, |text| text.replace("\"iterations\":600000", &format!("\"iterations\":{nonsense}")));
        });
        rejects_front(&home, nonsense, &forged, 13);
    }
}

#[test]
fn refuses_files_that_are_no_bundles() {
    let home = Home::with_bundle();
    let text = "Dear courier, this is not a bundle.\n";
    for (what, bytes) in
        [("empty", &b""[..]), ("a letter", text.as_bytes()), ("a long letter", &text.repeat(1000).into_bytes()), ("zeros", &[0; 4096])]
    {
        rejects_front(&home, what, bytes, 13);
    }
    rejects_front(&home, "a database", &home.read("app.db"), 13);
}

#[test]
fn refuses_what_is_no_file() {
    let home = Home::with_bundle();
    home.folder("folder.akb");
    rustix::fs::mkfifoat(rustix::fs::CWD, home.path("fifo.akb"), rustix::fs::Mode::RUSR).unwrap();
    home.refuses(2, "'folder.akb' is a folder", &["info", "folder.akb"]);
    home.refuses(2, "'folder.akb' is a folder", &["restore", "folder.akb", "--to", "out", "--key-file", "key"]);
    for path in ["fifo.akb", "/dev/zero"] {
        home.refuses(13, "this is not an airkeep bundle", &["info", path]);
        home.refuses(13, "this is not an airkeep bundle", &["restore", path, "--to", "out", "--key-file", "key"]);
    }
    home.refuses(10, "does not exist", &["info", "missing.akb"]);
    home.refuses(10, "there is no bundle in 'folder.akb'", &["verify", "folder.akb"]);
}

#[test]
fn refuses_hostile_tar_files_and_creates_nothing() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    let core = content(&bundle, "bundle.json");
    let with = |name: &str, kind: EntryType, link: &str, size: u64| {
        let mut header = header(name, size);
        header.set_entry_type(kind);
        header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        header
    };
    let regular = |name: &str| with(name, EntryType::Regular, "", core.len() as u64);
    let pax = b"30 path=../../../tmp/escaped\n\n";
    let files = [
        ("parent", archive(&[(regular("../bundle.json"), core)])),
        ("absolute", archive(&[(regular("/tmp/bundle.json"), core)])),
        ("dot", archive(&[(regular("./bundle.json"), core)])),
        ("upper case", archive(&[(regular("BUNDLE.JSON"), core)])),
        ("link", archive(&[(with("bundle.json", EntryType::Symlink, "/etc/passwd", 0), b"")])),
        ("hard link", archive(&[(with("bundle.json", EntryType::Link, "app.db", 0), b"")])),
        ("device", archive(&[(with("bundle.json", EntryType::Char, "", 0), b"")])),
        ("folder", archive(&[(with("bundle.json", EntryType::Directory, "", 0), b"")])),
        ("PAX", archive(&[(with("PaxHeader", EntryType::XHeader, "", pax.len() as u64), pax), (regular("bundle.json"), core)])),
        ("GNU long name", archive(&[(with("././@LongLink", EntryType::GNULongName, "", 12), b"bundle.json\0"), (regular("x"), core)])),
        ("huge size", archive(&[(with("bundle.json", EntryType::Regular, "", 0o77777777777), core)])),
        ("base-256 size", archive(&[(with("bundle.json", EntryType::Regular, "", u64::MAX), core)])),
    ];
    for (what, file) in files {
        rejects_front(&home, what, &file, 13);
    }
}

#[test]
fn refuses_hostile_headers_inside_a_bundle() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    let forge = |name: &str, change: &dyn Fn(&mut tar::Header)| {
        changed(&bundle, |bytes| {
            let place = member(bytes, name);
            let mut header = tar::Header::from_byte_slice(&bytes[place.header.clone()]).clone();
            change(&mut header);
            header.set_cksum();
            bytes[place.header].copy_from_slice(header.as_bytes());
        })
    };
    for name in ["bundle.json", "slots.json", "RECOVER.txt", "frames/00000001", "index", "SHA256SUMS", "end"] {
        rejects(&home, &format!("{name}: huge"), &forge(name, &|header| header.set_size(0o77777777777)), 13);
        rejects(&home, &format!("{name}: negative"), &forge(name, &|header| header.as_mut_bytes()[124..136].fill(0xff)), 13);
        rejects(&home, &format!("{name}: link"), &forge(name, &|header| header.set_entry_type(EntryType::Symlink)), 13);
        rejects(&home, &format!("{name}: executable"), &forge(name, &|header| header.set_mode(0o755)), 13);
        rejects(&home, &format!("{name}: parent"), &forge(name, &|header| header.as_mut_bytes()[..8].copy_from_slice(b"../../x\0")), 13);
    }
}

#[test]
fn refuses_formats_and_suites_of_the_future_as_unsupported() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    let text = String::from_utf8(content(&bundle, "bundle.json").to_vec()).unwrap();
    for (old, new) in [("airkeep-bundle/1", "airkeep-bundle/2"), ("\"suite\": 1", "\"suite\": 2")] {
        assert!(text.contains(old), "{text}");
        let future = changed(&bundle, |bytes| {
            replace(bytes, "bundle.json", text.replace(old, new).as_bytes());
            fix_slots_sums(bytes);
        });
        home.write("bad.akb", &future, 0o600);
        home.refuses(14, "is not supported", &["info", "bad.akb"]);
        home.refuses(14, "a newer release", &["verify", "bad.akb"]);
    }
}

#[test]
fn several_bundles_give_the_worst_code_and_all_are_examined() {
    let home = Home::with_bundle();
    let bundle = home.read("app.akb");
    home.folder("vault");
    home.write("vault/good.akb", &bundle, 0o600);
    home.write("vault/hurt.akb", changed(&bundle, |bytes| flip(bytes, "frames/00000003")), 0o600);
    home.write("vault/text.akb", "no bundle", 0o600);
    let run = home.run(["verify", "vault", "missing.akb", "--key-file", "key"]);
    assert_eq!(run.code, 13, "{}{}", run.stdout, run.stderr);
    for words in [
        "ok       L4  vault/good.akb",
        "DAMAGED  L4  vault/hurt.akb",
        "FAILED   --  vault/text.akb",
        "FAILED   --  missing.akb",
        "1 of 4 bundles sound",
    ] {
        assert!(run.stdout.contains(words), "'{words}' is missing in {}", run.stdout);
    }
}

#[test]
fn verify_does_not_advise_to_verify() {
    let home = Home::with_bundle();
    home.write("bad.akb", &home.read("app.akb")[..2000], 0o600);
    let stderr = home.run(["verify", "bad.akb"]).stderr;
    assert!(!stderr.contains("airkeep verify"), "{stderr}");
}
