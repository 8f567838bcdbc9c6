//! `airkeep extract`: only the frames of one database are read, each is proven, and what comes out is what was sealed.

mod cli;
mod support;

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use airkeep::bundle::{BundleError, Entry, EntryPath, EntrySink, Examination, Medium, SealCheck, read_front, unlock};
use airkeep::ops::{Extract, ExtractReport, RowTarget};
use airkeep::{Backup, Compression, Environment, Failure, Label, Level};
use cli::{Home, has, surgery};
use rusqlite::Connection;
use serde_json::{Value, json};
use support::{causes, content, environment, is_proving, ring, skip, spec};

const KEY: [&str; 2] = ["--key-file", "key"];

/// A medium that counts the bytes that are read from it.
struct Counting {
    file: File,
    read_bytes: Cell<u64>,
}

impl Medium for Counting {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_bytes.set(self.read_bytes.get() + buffer.len() as u64);
        Medium::read_at(&self.file, offset, buffer)
    }
}

/// Takes an entry, and remembers what the index says of it.
#[derive(Default)]
struct Kept {
    entry: RefCell<Option<Entry>>,
    bytes: Vec<u8>,
    is_ended: bool,
}

impl EntrySink for Kept {
    type Error = BundleError;

    fn begin(&mut self, entry: &Entry) -> Result<(), BundleError> {
        self.entry.replace(Some(entry.clone()));
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn end(&mut self) -> Result<(), BundleError> {
        self.is_ended = true;
        Ok(())
    }
}

/// A database of about so many bytes that no codec makes smaller.
fn noise(path: &Path, size_bytes: u64) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF; CREATE TABLE t(a BLOB); BEGIN").unwrap();
    for _ in 0..size_bytes / 250_000 {
        connection.execute("INSERT INTO t VALUES(randomblob(250000))", []).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

/// A bundle of three databases: a small one between large ones.
struct Sealed {
    folder: tempfile::TempDir,
    bundle: PathBuf,
    size_bytes: u64,
}

fn sealed(large_bytes: u64) -> Sealed {
    let folder = support::place();
    let path = |name: &str| folder.path().join(name);
    noise(&path("a.db"), large_bytes / 2);
    noise(&path("small.db"), 1_000_000);
    noise(&path("z.db"), large_bytes / 2);
    let sources = ["a", "small", "z"].map(|label| spec(label, &path(&format!("{label}.db"))));
    let mut backup = Backup::new(sources.to_vec(), path("vault"));
    backup.compression = Compression::None;
    backup.read_back = false;
    let report = backup.run(&ring(), &mut environment()).unwrap_or_else(|failure| panic!("{}", causes(&failure)));
    Sealed { bundle: report.path, size_bytes: report.size_bytes, folder }
}

impl Sealed {
    /// Reads one entry, and counts.
    fn read(&self, label: &str) -> (Kept, u64) {
        let medium = Counting { file: File::open(&self.bundle).unwrap(), read_bytes: Cell::new(0) };
        let mut front = read_front(&medium).unwrap();
        let mut unlocked = unlock(&medium, &front, &ring()).unwrap();
        let mut kept = Kept::default();
        let examination = Examination::new(&medium, &mut front, Some(&mut unlocked), Level::Content, 2, &mut kept);
        let path = EntryPath::Database(Label::parse(label).unwrap());
        let outcome = examination.run_entry(&path, SealCheck::Unwanted).unwrap();
        assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
        (kept, medium.read_bytes.get())
    }

    fn extract(&self, label: &str, to: &str) -> Result<ExtractReport, Failure> {
        let extract = Extract::new(&self.bundle, Label::parse(label).unwrap(), RowTarget::File(self.folder.path().join(to)));
        extract.run(&ring(), &mut io::sink(), &mut Environment { state_folder: None, ..environment() })
    }

    /// Flips a byte in the middle of a member, at this offset of the file.
    fn flip(&self, offset: u64) {
        let file = File::options().read(true).write(true).open(&self.bundle).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn a_small_database_comes_out_of_a_large_bundle_by_reading_little() {
    let large_bytes = if is_proving() { 1100 << 20 } else { 64 << 20 };
    let sealed = sealed(large_bytes);
    assert!(sealed.size_bytes > large_bytes);
    let (kept, read_bytes) = sealed.read("small");
    assert!(kept.is_ended);
    assert_eq!(kept.bytes, std::fs::read(sealed.file("small.db")).unwrap());
    // Its content, the sealed index, the members in front, headers and padding.
    let allowed_bytes = kept.bytes.len() as u64 + (256 << 10);
    assert!(read_bytes <= allowed_bytes, "{read_bytes} of {} bytes were read, {allowed_bytes} would do", sealed.size_bytes);
    assert!(read_bytes * 30 < sealed.size_bytes, "{read_bytes} of {}", sealed.size_bytes);
    support::note(&format!("read {read_bytes} of {} bytes", sealed.size_bytes));
}

#[test]
fn damage_elsewhere_does_not_matter_and_damage_of_its_own_leaves_no_file() {
    let sealed = sealed(8 << 20);
    let bytes = std::fs::read(&sealed.bundle).unwrap();
    let members = surgery::members(&bytes);
    let frames: Vec<&surgery::Member> = members.iter().filter(|member| member.name.starts_with("frames/")).collect();
    let (kept, _) = sealed.read("small");
    let entry = kept.entry.take().unwrap();
    let own = entry.first_frame as usize..=(entry.first_frame + entry.size.div_ceil(1 << 20)) as usize;
    let middle = |member: &surgery::Member| (member.content.start + member.content.len() / 2) as u64;
    // Of its own: header and content of every frame, each alone.
    for frame in &frames[own.clone()] {
        for offset in [frame.header.start as u64 + 3, middle(frame), frame.content.start as u64, frame.content.end as u64 - 1] {
            sealed.flip(offset);
            let refused = sealed.extract("small", "out.db").unwrap_err();
            let is_damage = matches!(&refused, Failure::Damaged { .. });
            assert!(is_damage, "{} at {offset}: {}", frame.name, causes(&refused));
            assert!(!sealed.file("out.db").exists(), "a file was left");
            sealed.flip(offset);
        }
    }
    // All the others at once, their headers too, and what stands behind them.
    for (number, frame) in frames.iter().enumerate() {
        if !own.contains(&number) {
            sealed.flip(middle(frame));
            sealed.flip(frame.header.start as u64 + 3);
        }
    }
    for name in ["RECOVER.txt", "SHA256SUMS"] {
        sealed.flip(middle(members.iter().find(|member| member.name == name).unwrap()));
    }
    assert!(sealed.extract("a", "a.out").is_err() && sealed.extract("z", "z.out").is_err());
    let report = sealed.extract("small", "out.db").unwrap_or_else(|failure| panic!("{}", causes(&failure)));
    assert_eq!(report.source.label.to_string(), "small");
    assert_eq!(std::fs::read(sealed.file("out.db")).unwrap(), std::fs::read(sealed.file("small.db")).unwrap());
    assert_eq!(sealed.file("out.db").metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!sealed.file("a.out").exists() && !sealed.file("z.out").exists());
}

#[test]
fn frames_of_other_places_and_bundles_are_refused() {
    let sealed = sealed(4 << 20);
    let mut bytes = std::fs::read(&sealed.bundle).unwrap();
    let (kept, _) = sealed.read("small");
    let first = kept.entry.take().unwrap().first_frame;
    let name = |number: u64| format!("frames/{number:08}");
    // The header frames of two entries have the same size.
    let other = surgery::content(&bytes, &name(0)).to_vec();
    surgery::replace(&mut bytes, &name(first), &other);
    std::fs::write(&sealed.bundle, bytes).unwrap();
    assert!(matches!(sealed.extract("small", "out.db"), Err(Failure::Damaged { .. })));
    assert!(!sealed.file("out.db").exists());
}

/// A home with a bundle of a database of all kinds of values.
fn varied() -> Home {
    let home = Home::new();
    home.key("key");
    let database = Connection::open(home.path("app.db")).unwrap();
    database
        .execute_batch(
            "CREATE TABLE audit(id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT, what, size REAL);
             CREATE TABLE \"o\"\"dd '🔑\"(k PRIMARY KEY, v) WITHOUT ROWID;
             CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES('words to be found');
             CREATE VIEW v AS SELECT * FROM audit; CREATE INDEX i ON audit(at);
             CREATE TRIGGER r AFTER INSERT ON audit BEGIN SELECT 1; END;
             INSERT INTO audit(at, what, size) VALUES('2026-11-01', NULL, 1.5), ('a''b', x'00ff', -0.0), ('NUL'||char(0)||'x', '', 9e999),
                 ('cr'||char(13,10)||'lf', '=cmd()', 5e-324), (char(10)||'.quit'||char(10)||';', 9223372036854775807, 0.1);
             INSERT INTO \"o\"\"dd '🔑\" VALUES(1, '{\"table\"}'), ('x', -0.0); DELETE FROM audit WHERE id = 5;
             INSERT INTO audit(id, what) VALUES(90, 'last'); PRAGMA user_version = 9;",
        )
        .unwrap();
    database.execute_batch("BEGIN").unwrap();
    let mut state = 1_u64;
    for index in 0..20_000_i32 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The whole range, and what people write.
        let number = if index % 2 == 0 { f64::from_bits(state ^ state >> 29) } else { (state >> 24) as f64 / 10_f64.powi(index % 13) };
        database.execute("INSERT INTO audit(size) VALUES(?1)", [number]).unwrap();
    }
    database.execute_batch("COMMIT").unwrap();
    drop(database);
    home.seal(&["app.db", "--key-file", "key"]);
    home
}

fn extract(home: &Home, more: &[&str]) -> Value {
    home.json(&[&["extract", "app.akb", "app", "--json"], &KEY[..], more].concat())
}

#[test]
fn sql_text_loads_with_the_stock_shell_into_an_equal_database() {
    if !has("sqlite3") {
        return skip("there is no sqlite3 program");
    }
    let home = varied();
    let report = extract(&home, &["--to", "app.sql", "--format", "sql"]);
    assert_eq!(report["skipped"], json!(["f"]), "{report:#}");
    let mut shell = home.program("sqlite3");
    let run = cli::finish(shell.args(["-bail", "made.db"]).stdin(File::open(home.path("app.sql")).unwrap()));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    let (made, original) = (content(&home.path("made.db")), content(&home.path("app.db")));
    assert_eq!(made.keys().collect::<Vec<_>>(), original.keys().collect::<Vec<_>>());
    for (table, hash) in &original {
        assert_eq!(made.get(table), Some(hash), "{table}");
    }
    let version: i64 = Connection::open(home.path("made.db")).unwrap().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 9);
}

#[test]
fn every_form_goes_into_a_file_and_to_standard_output() {
    let home = varied();
    for (format, more) in [("sql", &[][..]), ("jsonl", &[]), ("jsonl", &["--table", "AUDIT"]), ("csv", &["--table", "audit"])] {
        let form = [&["--format", format], more].concat();
        let report = extract(&home, &[&["--to", "out"], &form[..]].concat());
        assert_eq!(report["format"], format);
        let text = home.succeeds(&[&["extract", "app.akb", "app", "--to", "-"], &KEY[..], &form].concat());
        assert_eq!(home.read("out"), text.as_bytes(), "{form:?}");
        std::fs::remove_file(home.path("out")).unwrap();
    }
    extract(&home, &["--to", "copy.db"]);
    assert_eq!(content(&home.path("copy.db")), content(&home.path("app.db")));
    let mut command = home.airkeep([&["extract", "app.akb", "app", "--to", "-"], &KEY[..]].concat());
    assert_eq!(command.output().unwrap().stdout, home.read("copy.db"));
}

#[test]
fn rows_are_exact_lines_and_cells() {
    let home = varied();
    let lines = home.succeeds(&[&["extract", "app.akb", "app", "--to", "-", "--format", "jsonl"], &KEY[..]].concat());
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |table: &str| rows.iter().filter(|row| row["table"] == table).map(|row| row["row"].clone()).collect::<Vec<_>>();
    assert_eq!(of("o\"dd '🔑")[1], json!({ "k": "x", "v": { "real": "-0.0" } }));
    assert_eq!(of("audit")[1], json!({ "id": 2, "at": "a'b", "what": { "blob_hex": "00ff" }, "size": { "real": "0.0" } }));
    assert_eq!(of("audit")[2]["size"], json!({ "real": "inf" }));
    assert_eq!(of("sqlite_sequence"), [json!({ "name": "audit", "seq": 20_090 })]);
    assert!(of("v").is_empty() && of("f").is_empty() && !of("f_content").is_empty());
    let cells = home.succeeds(&[&["extract", "app.akb", "app", "--to", "-", "--format", "csv", "--table", "audit"], &KEY[..]].concat());
    assert!(cells.starts_with("id,at,what,size\r\n1,2026-11-01,,1.5\r\n2,a'b,00ff,0.0\r\n3,NUL\0x,\"\",inf\r\n"), "{cells:.200}");
    assert!(cells.contains("'=cmd()"), "a formula");
}

#[test]
fn wrong_wishes_are_refused_and_leave_nothing() {
    let home = varied();
    let refuses = |code, words: &str, more: &[&str]| {
        home.refuses(code, words, &[&["extract", "app.akb"], more, &KEY[..]].concat());
    };
    refuses(10, "the bundle has no source 'other'", &["other", "--to", "out"]);
    refuses(10, "there is no table 'nope'", &["app", "--to", "out", "--format", "sql", "--table", "nope"]);
    refuses(10, "there is no table 'v'", &["app", "--to", "out", "--format", "jsonl", "--table", "v"]);
    refuses(2, "rows of one table", &["app", "--to", "out", "--format", "csv"]);
    refuses(2, "all its tables", &["app", "--to", "out", "--table", "audit"]);
    refuses(2, "exists", &["app", "--to", "app.db"]);
    refuses(10, "no/such", &["app", "--to", "no/such/out"]);
    refuses(13, "is not signed", &["app", "--to", "out", "--signer", "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
    home.write("out-wal", "x", 0o600);
    refuses(2, "out-wal", &["app", "--to", "out"]);
    home.refuses(10, "missing.akb", &["extract", "missing.akb", "app", "--to", "out"]);
    home.key("wrong");
    home.refuses(12, "no key slot opens", &["extract", "app.akb", "app", "--to", "out", "--key-file", "wrong"]);
}

#[test]
fn a_pinned_signer_is_asked_for_with_the_sums_of_what_was_read() {
    let home = Home::new();
    home.key("key");
    drop(home.database("app.db"));
    let made = home.json(&["init", "--json"]);
    let signer = made["fingerprint"].as_str().unwrap();
    home.seal(&["app.db", "--key-file", "key"]);
    extract(&home, &["--to", "one.db", "--signer", signer]);
    assert_eq!(content(&home.path("one.db")), content(&home.path("app.db")));
    let mut bytes = home.read("app.akb");
    surgery::flip(&mut bytes, "SHA256SUMS.sig");
    home.write("other.akb", &bytes, 0o600);
    home.refuses(13, "damaged", &[&["extract", "other.akb", "app", "--to", "two.db", "--signer", signer], &KEY[..]].concat());
    // Who asks for no signer does not read it.
    home.succeeds(&[&["extract", "other.akb", "app", "--to", "two.db"], &KEY[..]].concat());
}

#[test]
fn the_journal_tells_what_was_handed_out() {
    let home = varied();
    home.json(
        &[
            &[
                "extract",
                "latest",
                "app",
                "--vault",
                "airkeep-vault",
                "--to",
                "out",
                "--format",
                "csv",
                "--table",
                "audit",
                "--reason",
                "audit",
                "--json",
            ],
            &KEY[..],
        ]
        .concat(),
    );
    let shown = home.json(&["audit", "show", "--event", "restore", "--json"]);
    let records = shown["records"].as_array().unwrap();
    let outcomes: Vec<&Value> = records.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["intent", "success"]);
    let details = json!({ "mode": "extract", "label": "app", "table": "audit", "format": "csv", "to": "out" });
    assert!(records.iter().all(|record| record["details"] == details && record["reason"] == "audit"), "{records:#?}");
}
