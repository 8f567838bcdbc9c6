//! Verify at L4: bundles that are authentic in every byte and yet lie, since a holder of the key sealed them.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use airkeep::bundle::{EntryPath, Manifest, Source};
use airkeep::crypto::Digest;
use airkeep::database::{CheckKind, Verdict, read_schema};
use airkeep::ops::DatabaseProof;
use airkeep::{Environment, Label, Level, Verification, VerifyRequest};
use rusqlite::Connection;
use support::{back_up, causes, fast_place, key_file, note, output_within, place, program, reseal, ring, skip, text_of};
use tempfile::TempDir;

/// A database, how it was captured, and what it became before it was sealed.
struct Forgery {
    folder: TempDir,
    manifest: Manifest,
    schema: String,
}

/// Tables with indexes, foreign keys, rules, without rowid, virtual.
const HONEST: &str = "
    CREATE TABLE parent(id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK(length(name) < 100));
    CREATE TABLE child(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent(id), amount REAL);
    CREATE INDEX child_parent ON child(parent);
    CREATE INDEX child_amount ON child(amount);
    CREATE TABLE pairs(a TEXT, b TEXT, PRIMARY KEY(a, b)) WITHOUT ROWID;
    CREATE VIRTUAL TABLE words USING fts5(text);
    CREATE VIEW every AS SELECT * FROM parent;
    INSERT INTO parent SELECT value, 'name '||value FROM generate_series(1, 50);
    INSERT INTO child SELECT value, value, value*1.5 FROM generate_series(1, 50);
    INSERT INTO pairs VALUES('x', 'y'), ('x', 'z');
    INSERT INTO words VALUES('some words to be found');";

/// What a virtual table would give, for an SQLite that lacks it.
fn make(path: &Path, sql: &str) {
    let connection = Connection::open(path).expect("create");
    let series = "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value+1 FROM n WHERE value<50) SELECT value FROM n)";
    connection.execute_batch(&sql.replace("generate_series(1, 50)", series)).expect("sql");
    connection.close().expect("close");
}

impl Forgery {
    /// Captures an honest database with logical hashes.
    fn of(sql: &str, check: CheckKind) -> Forgery {
        let folder = fast_place();
        let path = folder.path().join("app.db");
        make(&path, sql);
        let report = back_up(&path, &folder.path().join("vault"), |backup| {
            backup.hash_tables = true;
            backup.check = check;
            backup.read_back = false;
        });
        let schema = read_schema(&Connection::open(&path).expect("open")).expect("schema").sql;
        Forgery { folder, manifest: report.manifest, schema }
    }

    fn honest() -> Forgery {
        Forgery::of(HONEST, CheckKind::Full)
    }

    fn source(&mut self) -> &mut Source {
        &mut self.manifest.sources[0]
    }

    /// Changes the database behind the manifest's back.
    fn change(self, sql: &str) -> Forgery {
        make(&self.folder.path().join("app.db"), sql);
        self
    }

    /// Seals what the database is now under what was recorded before, with all sums right.
    fn seal(mut self, lie: impl FnOnce(&mut Source)) -> (TempDir, PathBuf) {
        let mut image = std::fs::read(self.folder.path().join("app.db")).expect("image");
        if image.len() > 20 {
            image[18..20].fill(1);
        }
        lie(self.source());
        self.seal_image(&image)
    }

    fn seal_image(mut self, image: &[u8]) -> (TempDir, PathBuf) {
        let pages = image.len() as u64 / u64::from(self.source().page_size);
        let (sha256, size_bytes) = (Digest::of(image), image.len() as u64);
        let source = self.source();
        (source.sha256, source.size_bytes, source.page_count) = (sha256, size_bytes, pages);
        let bundle = self.folder.path().join("forged.akb");
        let schema = self.source().schema.is_some().then(|| self.schema.clone());
        let parts = [(EntryPath::Database(Label::parse("main").expect("label")), image.to_vec())]
            .into_iter()
            .chain(schema.map(|sql| (EntryPath::Schema(Label::parse("main").expect("label")), sql.into_bytes())))
            .collect();
        reseal(&bundle, &mut self.manifest, parts);
        (self.folder, bundle)
    }

    fn proof(self, lie: impl FnOnce(&mut Source)) -> (bool, DatabaseProof) {
        let (_folder, bundle) = self.seal(lie);
        let mut verification = verify(&bundle);
        assert!(verification.findings.is_empty(), "{:?}", verification.findings);
        (verification.is_sound(), verification.databases.remove(0))
    }
}

fn verify(bundle: &Path) -> Verification {
    let request = VerifyRequest { level: Some(Level::Database), scratch: bundle.parent().map(Path::to_owned), ..VerifyRequest::default() };
    Verification::run(bundle, &request, &ring(), &Environment::system()).unwrap_or_else(|failure| panic!("{}", causes(&failure)))
}

/// Codes and messages of all differences.
fn differences(proof: &DatabaseProof) -> Vec<(&'static str, String)> {
    proof.differences.iter().map(|difference| (difference.code(), difference.to_string())).collect()
}

#[track_caller]
fn assert_difference(outcome: &(bool, DatabaseProof), code: &str, words: &str) {
    let found = differences(&outcome.1);
    assert!(found.iter().any(|(own, message)| *own == code && message.contains(words)), "{code} '{words}' is missing in {:?}", outcome.1);
    assert!(!outcome.0, "the bundle is called sound");
}

#[test]
fn an_honest_database_is_ok_in_every_respect() {
    let (is_sound, proof) = Forgery::honest().proof(|_| {});
    assert!(is_sound && proof.unchecked.is_empty() && proof.violations.is_empty(), "{proof:?}");
    assert_eq!((proof.verdict, proof.proven(), differences(&proof)), (Verdict::Ok, Level::Database, vec![]));
    // parent, child, pairs, and five shadow tables of the index
    assert_eq!((proof.tables, proof.hashes), (8, 8));
    assert!(proof.rows > 100);
}

#[test]
fn finds_a_changed_row_by_its_table_s_hash() {
    let outcome = Forgery::honest().change("UPDATE child SET amount=99.25 WHERE id=7").proof(|_| {});
    assert_difference(&outcome, "content-differs", "table 'child' has other content");
    assert_eq!(outcome.1.differences.len(), 1);
    let outcome = Forgery::honest().change("UPDATE pairs SET b='w' WHERE b='z'").proof(|_| {});
    assert_difference(&outcome, "content-differs", "table 'pairs'");
}

#[test]
fn finds_a_dropped_index_and_says_which() {
    let outcome = Forgery::honest().change("DROP INDEX child_parent").proof(|_| {});
    assert_difference(&outcome, "schema-differs", "CREATE INDEX child_parent ON child(parent)");
    assert_eq!(outcome.1.differences.len(), 1);
}

#[test]
fn finds_missing_and_additional_tables() {
    let outcome = Forgery::honest().change("DROP TABLE pairs; CREATE TABLE more(x)").proof(|_| {});
    assert_difference(&outcome, "table-missing", "table 'pairs' with 2 rows is missing");
    assert_difference(&outcome, "table-unexpected", "table 'more' was not recorded");
    assert_difference(&outcome, "schema-differs", "pairs");
}

#[test]
fn finds_a_count_that_is_off_by_one() {
    let lie = |source: &mut Source| {
        let table = source.tables.iter_mut().find(|table| table.name == "child").expect("child");
        table.rows = Some(51);
    };
    assert_difference(&Forgery::honest().proof(lie), "rows-differ", "table 'child': recorded 51 rows, found 50");
    let outcome =
        Forgery::honest().change("DELETE FROM child WHERE id=50").proof(|source| source.tables.iter_mut().for_each(|t| t.logical = None));
    assert_difference(&outcome, "rows-differ", "recorded 50 rows, found 49");
}

#[test]
fn finds_every_property_of_the_header() {
    let outcome =
        Forgery::honest().change("PRAGMA user_version=4; PRAGMA application_id=9").proof(|source| source.encoding = "UTF-16le".into());
    for words in ["user_version: recorded 0, found 4", "application_id: recorded 0, found 9", "encoding: recorded UTF-16le, found UTF-8"] {
        assert_difference(&outcome, "property-differs", words);
    }
    let outcome = Forgery::honest().proof(|source| source.auto_vacuum = "full".into());
    assert_difference(&outcome, "property-differs", "auto_vacuum: recorded full, found none");
}

#[test]
fn an_image_that_claims_a_wal_is_not_what_the_format_says() {
    let forgery = Forgery::honest();
    let mut image = std::fs::read(forgery.folder.path().join("app.db")).expect("image");
    image[18..20].fill(2);
    let (_folder, bundle) = forgery.seal_image(&image);
    let mut verification = verify(&bundle);
    assert_difference(&(verification.is_sound(), verification.databases.remove(0)), "property-differs", "journal mode");
}

#[test]
fn an_empty_database_is_ok() {
    let (is_sound, proof) = Forgery::of("", CheckKind::Quick).proof(|_| {});
    assert!(is_sound && proof.verdict == Verdict::Ok && proof.tables == 0, "{proof:?}");
}

#[test]
fn violations_are_told_apart_by_what_was_recorded() {
    let orphan = "PRAGMA foreign_keys=OFF; INSERT INTO child VALUES(99, 99, 0)";
    let broken = "PRAGMA ignore_check_constraints=ON; INSERT INTO parent VALUES(98, printf('%.200c', 'x'))";
    for sql in [orphan, broken] {
        let (is_sound, proof) = Forgery::of(&format!("{HONEST};{sql}"), CheckKind::Full).proof(|_| {});
        assert_eq!((is_sound, proof.verdict, proof.violations[0].inherited), (true, Verdict::Violations, Some(true)), "{proof:?}");
        let (is_sound, proof) = Forgery::of(&format!("{HONEST};{sql}"), CheckKind::Full).proof(|source| {
            source.check.messages.clear();
            source.check.verdict = "ok".into();
        });
        assert_eq!((is_sound, proof.verdict, proof.violations[0].inherited), (false, Verdict::Violations, Some(false)), "{proof:?}");
    }
    // The quick check looks for broken rules, and not for parents.
    let (is_sound, proof) = Forgery::of(&format!("{HONEST};{orphan}"), CheckKind::Quick).proof(|_| {});
    assert_eq!((is_sound, proof.violations[0].inherited), (true, None), "{proof:?}");
    let (is_sound, proof) = Forgery::of(&format!("{HONEST};{broken}"), CheckKind::None).proof(|_| {});
    assert_eq!((is_sound, proof.violations[0].inherited), (true, None), "{proof:?}");
}

#[test]
fn corruption_counts_unless_it_was_recorded() {
    let index_page = "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET rootpage=(SELECT rootpage FROM sqlite_schema WHERE name='child_amount') WHERE name='child_parent'";
    for is_recorded in [false, true] {
        let (is_sound, proof) = Forgery::honest().change(index_page).proof(|source| {
            if is_recorded {
                source.check.verdict = "corrupt".into();
            }
        });
        assert_eq!((proof.verdict, is_sound, proof.was_corrupt), (Verdict::Corrupt, is_recorded, is_recorded), "{proof:?}");
        assert!(!proof.corruption.is_empty());
    }
    let noise = |forgery: Forgery| {
        let (_folder, bundle) = forgery.seal_image(&b"this is no database at all, and never was one ".repeat(100));
        verify(&bundle)
    };
    let verification = noise(Forgery::honest());
    assert_eq!((verification.is_sound(), verification.databases[0].verdict), (false, Verdict::Corrupt));
}

#[test]
fn what_this_program_lacks_is_unchecked_with_the_reason() {
    let collation =
        "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'a TEXT', 'a TEXT COLLATE unknown') WHERE name='pairs'";
    let cases = [
        (
            "PRAGMA writable_schema=ON; INSERT INTO sqlite_schema VALUES('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING absent(a)')",
            "absent",
        ),
        (
            "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'fts5(text)', 'fts5(text, tokenize=absent)') WHERE name='words'",
            "words",
        ),
        (
            "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'length(name)', 'absent(name)') WHERE name='parent'",
            "absent",
        ),
        (
            "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='CREATE INDEX child_parent ON child(absent(parent))' WHERE name='child_parent'",
            "absent",
        ),
        (collation, "unknown"),
    ];
    for (sql, reason) in cases {
        let forgery = Forgery::of(HONEST, CheckKind::Quick).change(sql);
        let path = forgery.folder.path().join("app.db");
        // The schema is recorded as it is now: only what cannot be examined is left to be found.
        let schema = read_schema(&Connection::open(&path).expect("open")).expect("schema");
        let forgery = Forgery { schema: schema.sql.clone(), ..forgery };
        let (is_sound, proof) = forgery.proof(|source| {
            let recorded = source.schema.as_mut().expect("schema");
            (recorded.sha256, recorded.objects) = (Digest::of(schema.sql.as_bytes()), schema.objects);
        });
        assert_eq!((is_sound, proof.verdict, proof.proven()), (true, Verdict::Unchecked, Level::Content), "{sql}: {proof:?}");
        assert!(proof.unchecked.iter().any(|message| message.contains(reason)), "{sql}: {:?}", proof.unchecked);
        assert!(proof.differences.is_empty(), "{sql}: {:?}", proof.differences);
    }
}

#[test]
fn a_foreign_key_that_leads_nowhere_keeps_no_other_from_being_checked() {
    let sql = "PRAGMA foreign_keys=OFF; CREATE TABLE loose(name TEXT); CREATE TABLE astray(name REFERENCES loose(name)); INSERT INTO astray VALUES('x');
        INSERT INTO child VALUES(99, 99, 0)";
    let (is_sound, proof) = Forgery::of(&format!("{HONEST};{sql}"), CheckKind::Full).proof(|_| {});
    assert_eq!((is_sound, proof.verdict), (true, Verdict::Unchecked), "{proof:?}");
    assert!(proof.unchecked[0].contains("foreign keys of table 'astray' cannot be checked"), "{proof:?}");
    assert_eq!(proof.violations[0].message, "1 rows of table 'child' have no parent in 'parent'");
    // What was counted in part and not recorded is left open.
    let (is_sound, proof) = Forgery::of(&format!("{HONEST};{sql}"), CheckKind::Full).proof(|source| {
        source.check.messages.clear();
        source.check.verdict = "ok".into();
    });
    assert_eq!((is_sound, proof.violations[0].inherited), (true, None), "{proof:?}");
}

#[test]
fn damage_elsewhere_keeps_no_sound_database_from_being_examined() {
    let folder = fast_place();
    let vault = folder.path().join("vault");
    let specs: Vec<_> = ["one", "two", "three"]
        .into_iter()
        .map(|label| {
            let path = folder.path().join(format!("{label}.db"));
            make(&path, HONEST);
            support::spec(label, &path)
        })
        .collect();
    let report = airkeep::Backup::new(specs, &vault).run(&ring(), &mut Environment::system()).expect("backup");
    let mut bytes = std::fs::read(&report.path).expect("bundle");
    // Into the content of the second database: header, content and two frames of schema for each, headers before them.
    let name = b"frames/00000005\0";
    let header = bytes.windows(name.len()).position(|window| window == name).expect("frame");
    bytes[header + 512 + 100] ^= 1;
    std::fs::write(&report.path, bytes).expect("bundle");
    let verification = verify(&report.path);
    assert!(!verification.findings.is_empty());
    let examined: Vec<_> = verification.databases.iter().map(|proof| (proof.label.as_str(), proof.is_sound())).collect();
    assert_eq!(examined, [("one", true), ("three", true)]);
    assert_eq!(verification.hurt_databases(), [Label::parse("two").expect("label")]);
}

#[test]
fn without_scratch_level_4_fails_if_asked_for_and_falls_back_if_not() {
    let folder = place();
    let path = folder.path().join("app.db");
    make(&path, "CREATE TABLE t(x); INSERT INTO t VALUES(randomblob(9000000))");
    let report = back_up(&path, &folder.path().join("vault"), |backup| backup.read_back = false);
    let request = |level| VerifyRequest { level, scratch: Some(folder.path().join("nowhere")), ..VerifyRequest::default() };
    let run = |level| Verification::run(&report.path, &request(level), &ring(), &Environment::system());
    assert!(matches!(run(Some(Level::Database)), Err(airkeep::Failure::Scratch { .. })));
    let verification = run(None).expect("falls back");
    assert_eq!((verification.level, verification.is_sound(), verification.no_scratch.is_some()), (Level::Content, true, true));
    assert!(verification.databases.is_empty());
}

/// Schemas that are made to cost: what they are, what stops them (nothing where SQLite does not come to it), and the SQL.
fn hostile() -> Vec<(&'static str, &'static str, String)> {
    let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<500)";
    let check = |expression: &str| {
        format!("PRAGMA ignore_check_constraints=ON; CREATE TABLE t(x, CHECK({expression})); {rows} INSERT INTO t SELECT i FROM n")
    };
    let terms = vec!["length(hex(zeroblob(120000)))>x"; 400].join(" AND ");
    let triple = "(((((x*x)+(x*x))*((x*x)+(x*x)))+(((x*x)+(x*x))*((x*x)+(x*x)))))";
    let search = "instr(hex(zeroblob(120000)), hex(zeroblob(60000))||x)";
    let index = |sql: &str| {
        format!(
            "CREATE TABLE t(x); {rows} INSERT INTO t SELECT i FROM n; CREATE INDEX i ON t(x); PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql='{sql}' WHERE name='i'"
        )
    };
    let views: String = (1..60).map(|i| format!("CREATE VIEW v{i} AS SELECT a.x FROM v{} a, v{} b;", i - 1, i - 1)).collect();
    vec![
        ("CHECK on a huge zeroblob", "too big", check("length(hex(zeroblob(900000000)))>x")),
        ("CHECK on many zeroblobs below every limit", "out of memory", check(&terms)),
        ("expression index", "time limit", index(&format!("CREATE INDEX i ON t({search})"))),
        ("partial index", "time limit", index(&format!("CREATE INDEX i ON t(x) WHERE {search}=0"))),
        (
            "slow search in a larger file",
            "too big",
            check("instr(hex(zeroblob(1400000)), hex(zeroblob(700000))||'1')=x") + "; CREATE TABLE large(b); INSERT INTO large VALUES(zeroblob(3000000))",
        ),
        ("views that double", "", format!("CREATE TABLE t(x); CREATE VIEW v0 AS SELECT x FROM t; {views}")),
        ("CHECK with slow search", "time limit", check("instr(hex(zeroblob(120000)), hex(zeroblob(60000))||'1')=x")),
        ("CHECK with a slow pattern", "", check("hex(zeroblob(120000)) LIKE '%0%0%0%0%0%0%0%0%0%0%0%0%1'||x")),
        ("CHECK with a recursive cost", "", check(&vec![triple; 300].join("+"))),
        ("recursive view", "", "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) AS c FROM n; CREATE TABLE t(x)".into()),
        ("generated column", "too big", format!("CREATE TABLE t(x, y AS (length(hex(zeroblob(120000))||hex(zeroblob(120000)||x))) CHECK(y > x)); PRAGMA ignore_check_constraints=ON; {rows} INSERT INTO t SELECT i FROM n")),
    ]
}

/// Needs GNU time for the peak of memory, and tells both.
#[test]
fn hostile_databases_are_stopped_in_time_and_memory() {
    if !Command::new("/usr/bin/time").arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return skip("needs GNU time");
    }
    for (name, stopped_by, sql) in hostile() {
        let forgery = Forgery::of(HONEST, CheckKind::None);
        std::fs::remove_file(forgery.folder.path().join("app.db")).expect("remove");
        let forgery = forgery.change(&sql);
        let (folder, bundle) = forgery.seal(|source| {
            source.schema = None;
            source.tables.clear();
        });
        let key = key_file(folder.path());
        let mut command = Command::new("/usr/bin/time");
        command.args(["-f", "PEAK %M", env!("CARGO_BIN_EXE_airkeep"), "verify", "--level", "4", "--json"]);
        command.arg(&bundle).arg("--key-file").arg(&key).env("TMPDIR", folder.path());
        let begun = Instant::now();
        let output = output_within(command, Duration::from_secs(20)).unwrap_or_else(|| panic!("{name} hangs"));
        let (elapsed, text) = (begun.elapsed(), text_of(&output));
        let peak_kib: u64 = text.lines().find_map(|line| line.strip_prefix("PEAK ")?.parse().ok()).expect("peak");
        note(&format!("{name}: {:.2} s, {} MiB", elapsed.as_secs_f64(), peak_kib / 1024));
        assert!(peak_kib < 128 << 10, "{name}: {peak_kib} KiB");
        // Two seconds, and a loaded machine.
        assert!(elapsed < Duration::from_secs(6), "{name}: {elapsed:?}");
        assert!(text.contains(stopped_by), "{name} is not stopped by '{stopped_by}': {text}");
    }
}

#[test]
fn a_stranger_computes_the_recorded_logical_hashes() {
    if !support::has_program("python3") {
        return skip("needs python3");
    }
    let types = "CREATE TABLE kinds(id INTEGER PRIMARY KEY, r REAL, t, b BLOB, v AS (t||'v'), s AS (r*2) STORED);
        INSERT INTO kinds(r, t, b) VALUES(1, 'Größe', x'00ff'), (0.1, NULL, NULL), (-0.0, -9223372036854775808, ''), (1e300, 2.5, zeroblob(3));";
    for encoding in ["UTF-8", "UTF-16le"] {
        let mut forgery = Forgery::of(&format!("PRAGMA encoding='{encoding}'; {types} {HONEST}"), CheckKind::Quick);
        let path = forgery.folder.path().join("app.db");
        for table in std::mem::take(&mut forgery.source().tables) {
            let recorded = table.logical.expect("hash");
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/table_hash.py");
            let output = Command::new("python3").arg(script).arg(&path).arg(&table.name).output().expect("python3");
            assert_eq!(text_of(&output).trim(), format!("{} {}", recorded.sha256, recorded.rows), "{} in {encoding}", table.name);
            assert_eq!(Some(recorded.rows), table.rows);
        }
    }
}

#[test]
fn hashes_are_recorded_only_where_they_are_asked_for() {
    let folder = fast_place();
    let path = folder.path().join("app.db");
    make(&path, HONEST);
    let report = back_up(&path, &folder.path().join("vault"), |backup| backup.read_back = false);
    assert!(report.manifest.sources[0].tables.iter().all(|table| table.logical.is_none() && table.rows.is_some()));
    let proof = verify(&report.path).databases.remove(0);
    assert_eq!((proof.verdict, proof.tables, proof.hashes), (Verdict::Ok, 8, 0));
}

/// Runs the program in a folder with the key of these tests; gives exit code, standard output, standard error.
fn airkeep(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let key = folder.join("backup.key");
    if !key.exists() {
        key_file(folder);
    }
    let output = program(folder).args(arguments).arg("--key-file").arg(key).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("code"), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_says_what_was_proven_of_each_database() {
    let (folder, _) = Forgery::honest().seal(|_| {});
    let (code, text, _) = airkeep(folder.path(), &["verify", "forged.akb"]);
    let lines = "ok       L4  forged.akb\n             main: ok; 8 tables, ";
    assert!(code == 0 && text.starts_with(lines) && text.ends_with(" rows, 8 logical hashes\n"), "{text}");

    let (folder, _) = Forgery::honest().change("UPDATE child SET amount=0").seal(|_| {});
    let (code, text, error) = airkeep(folder.path(), &["verify", "forged.akb"]);
    assert!(code == 13 && text.starts_with("FAILED   L4  forged.akb\n             main: is not what the manifest says; "), "{text}");
    assert!(text.contains("table 'child' has other content: recorded logical hash ") && error.contains("is not sound"), "{text}{error}");

    let absent = "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql=replace(sql, 'length(name)', 'absent(name)') WHERE name='parent'";
    let (folder, _) = Forgery::honest().change(absent).seal(|source| source.schema = None);
    let (code, text, error) = airkeep(folder.path(), &["verify", "forged.akb", "--level", "4"]);
    assert!(
        code == 0 && text.starts_with("ok       L3  forged.akb\n             main: unchecked, proven to L3 only; "),
        "{code} {text}{error}"
    );
    assert!(error.contains("main: not examined completely, proven to L3 only: ") && error.contains("absent"), "{error}");
}

#[test]
fn the_program_falls_back_to_level_3_with_a_warning_and_never_when_level_4_was_asked_for() {
    let folder = place();
    make(&folder.path().join("app.db"), "CREATE TABLE t(x); INSERT INTO t VALUES(randomblob(9000000))");
    assert_eq!(airkeep(folder.path(), &["backup", "app.db"]).0, 0);
    let verify = |more: &[&str]| airkeep(folder.path(), &[&["verify", "airkeep-vault", "--scratch", "nowhere"], more].concat());
    let (code, text, error) = verify(&[]);
    assert!(code == 0 && text.starts_with("ok       L3  ") && error.contains("verified to L3 only: "), "{code} {text}{error}");
    let (code, _, error) = verify(&["--level", "4"]);
    let is_told = error.contains("no scratch to examine databases in") && error.contains("hint: ") && error.contains("--scratch DIR");
    assert!(code == 1 && is_told, "{code} {error}");
    assert_eq!(verify(&["--level", "3"]).0, 0);
}
