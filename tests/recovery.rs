//! A bundle outlives this program: RECOVER.txt opens it with stock tools, and a reader written from docs/format.md alone agrees.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use airkeep::crypto::Iterations;
use airkeep::{Backup, Compression, Environment, KeyFileKey, Keyring, Label, Passphrase, SourceSpec};

/// All that RECOVER.txt says it needs.
const TOOLS: [&str; 21] = [
    "sh",
    "openssl",
    "tar",
    "gzip",
    "zstd",
    "sha256sum",
    "sed",
    "od",
    "head",
    "tail",
    "tr",
    "wc",
    "cut",
    "cat",
    "dd",
    "rm",
    "mkdir",
    "mv",
    "printf",
    "stty",
    "ssh-keygen",
];
const PASSPHRASE: &str = "correct horse battery staple";

/// A folder with a sealed database of several frames, its keys, and a PATH that leads to the named tools only.
struct Bench {
    folder: tempfile::TempDir,
    bundle: PathBuf,
}

impl Bench {
    fn seal(compression: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, content) in [("key", &[7u8; 32][..]), ("pass", format!("{PASSPHRASE}\n").as_bytes())] {
            std::fs::write(path(name), content).unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let database = rusqlite::Connection::open(path("app.db")).unwrap();
        // Incompressible, so that there are many frames in the bundle whatever the codec.
        database.execute_batch("CREATE TABLE t(x); WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<600) INSERT INTO t SELECT randomblob(20000) FROM n").unwrap();
        drop(database);
        let mut backup =
            Backup::new(vec![SourceSpec { label: Label::parse("tenants/acme").unwrap(), path: path("app.db") }], path("vault"));
        backup.compression = compression.parse::<Compression>().unwrap();
        let ring = Keyring {
            passphrases: vec![Passphrase::parse(PASSPHRASE.as_bytes()).unwrap()],
            key_files: vec![KeyFileKey::parse(&[7; 32]).unwrap()],
            // Not the default: what the recipe derives with has to come from the bundle.
            iterations: Iterations::new(600_001).unwrap(),
        };
        let bundle = backup.run(&ring, &mut Environment::system()).unwrap().path;
        std::fs::create_dir(path("bin")).unwrap();
        for tool in TOOLS {
            let found = ["/usr/bin", "/bin", "/usr/local/bin"].iter().map(|place| Path::new(place).join(tool)).find(|path| path.exists());
            if let Some(found) = found {
                symlink(found, path("bin").join(tool)).unwrap();
            }
        }
        Bench { folder, bundle }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Does what RECOVER.txt of this very bundle says, by a shell with nothing but PATH and the one variable.
    fn recover(&self, key_variable: &str, key: &str) -> Output {
        let script = format!(
            "cd '{0}' && rm -rf text && mkdir text && cd text && tar -xf '{1}' RECOVER.txt &&
             sed -n '/^#---- recover.sh begins/,/^#---- recover.sh ends/p' RECOVER.txt >recover.sh &&
             sh recover.sh '{1}' '{0}/out'",
            self.folder.path().display(),
            self.bundle.display()
        );
        let mut shell = Command::new(self.path("bin/sh"));
        shell.env_clear().env("PATH", self.path("bin")).env(key_variable, self.path(key)).arg("-c").arg(script).output().unwrap()
    }

    fn flip(&self, offset: u64) {
        let mut bytes = std::fs::read(&self.bundle).unwrap();
        bytes[offset as usize] ^= 0x40;
        std::fs::write(&self.bundle, bytes).unwrap();
    }

    fn is_recovered(&self) -> bool {
        std::fs::read(self.path("out/databases/tenants/acme.db")).ok() == std::fs::read(self.path("app.db")).ok()
    }

    fn left_behind(&self) -> bool {
        self.path("out").exists() || self.path("out.part").exists()
    }
}

fn has(tool: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/local/bin"].iter().any(|place| Path::new(place).join(tool).exists());
    if !found {
        eprintln!("skipped: {tool} is not on this machine");
    }
    found
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn stock_tools_recover_every_codec_by_passphrase_and_by_key_file() {
    for codec in ["gzip:1", "zstd:1", "none"] {
        if !has("openssl") || (codec == "zstd:1" && !has("zstd")) {
            continue;
        }
        let bench = Bench::seal(codec);
        for (variable, key) in [("AIRKEEP_PASSPHRASE_FILE", "pass"), ("AIRKEEP_KEY_FILE", "key")] {
            let output = bench.recover(variable, key);
            assert!(output.status.success(), "{codec}: {}", text(&output));
            assert!(bench.is_recovered(), "{codec}");
            std::fs::remove_dir_all(bench.path("out")).unwrap();
        }
    }
}

#[test]
fn stock_tools_leave_no_output_when_a_frame_was_touched() {
    if !has("openssl") {
        return;
    }
    let bench = Bench::seal("gzip:1");
    let middle = std::fs::metadata(&bench.bundle).unwrap().len() / 2;
    bench.flip(middle);
    let output = bench.recover("AIRKEEP_KEY_FILE", "key");
    assert_eq!(output.status.code(), Some(13), "{}", text(&output));
    assert!(!bench.left_behind());
    bench.flip(middle);
    std::fs::write(bench.path("key"), [8; 32]).unwrap();
    let output = bench.recover("AIRKEEP_KEY_FILE", "key");
    assert_eq!(output.status.code(), Some(12), "{}", text(&output));
    assert!(!bench.left_behind());
}

#[test]
fn stock_tools_check_a_bundle_without_the_key() {
    let bench = Bench::seal("gzip:1");
    let check = format!(
        "mkdir '{0}/check' && cd '{0}/check' && tar -xf '{1}' && sha256sum -c slots.sha256 SHA256SUMS",
        bench.folder.path().display(),
        bench.bundle.display()
    );
    let output = Command::new(bench.path("bin/sh")).env_clear().env("PATH", bench.path("bin")).arg("-c").arg(&check).output().unwrap();
    assert!(output.status.success() && !text(&output).contains("FAILED"), "{}", text(&output));
}

#[test]
fn a_reader_written_from_the_format_document_agrees() {
    if !has("openssl") || !has("python3") {
        return;
    }
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/reader.py");
    for codec in ["gzip:6", "zstd:3", "none"] {
        if codec == "zstd:3" && !has("zstd") {
            continue;
        }
        let bench = Bench::seal(codec);
        let run = |key: &str, file: &str| {
            let mut python = Command::new("python3");
            python.arg(&reader).arg(&bench.bundle).arg(key).arg(bench.path(file)).arg("--out").arg(bench.path("read")).output().unwrap()
        };
        for (key, file) in [("--passphrase-file", "pass"), ("--key-file", "key")] {
            let output = run(key, file);
            assert!(output.status.success() && text(&output).contains("\"level\": 3"), "{codec}: {}", text(&output));
            assert_eq!(std::fs::read(bench.path("read/databases/tenants/acme.db")).unwrap(), std::fs::read(bench.path("app.db")).unwrap());
            std::fs::remove_dir_all(bench.path("read")).unwrap();
        }
        bench.flip(std::fs::metadata(&bench.bundle).unwrap().len() / 3);
        assert_eq!(run("--key-file", "key").status.code(), Some(13), "{codec}");
    }
}
