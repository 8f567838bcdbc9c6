//! Kills, a full disk and a failing disk at each call that changes something, injected by `strace`.
//!
//! A first run of each operation is traced to learn its calls; then it is repeated once per call and fault. The ordinary run takes all
//! calls that publish and a sample of those that write; `AIRKEEP_PROVE=1` takes all.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use airkeep::files::Folder;
use airkeep::journal::{Check, Event, Outcome, Record, records_in};
use rusqlite::Connection;
use support::{back_up, differences, has_program, hermetic, is_proving, key_file, listing, note, place, skip, text_of, verify};
use tempfile::TempDir;

const CALLS: &str = "openat,linkat,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,fsync,fdatasync,write,writev,pwrite64";
/// Of the calls that write, how many the ordinary run takes.
const SAMPLE: usize = 4;

/// One call of a traced run: the n-th of its name in the thread that did it.
#[derive(Debug, Clone)]
struct Call {
    name: String,
    number: usize,
    text: String,
    /// Whether what the operation promises is not yet durable; what comes later (the vault's records) may fail with a warning.
    is_essential: bool,
}

impl Call {
    fn writes(&self) -> bool {
        self.name.contains("write")
    }

    /// Whether it reaches files that are to last; if one of these fails nothing may be called a success.
    fn must_succeed(&self, lasting: &Path) -> bool {
        let is_there = self.text.contains(&lasting.to_string_lossy().into_owned());
        self.is_essential && is_there && (self.writes() || self.name == "fsync" || self.name == "linkat")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Kill,
    DiskFull,
    DiskFailure,
}

impl Fault {
    fn injection(self, call: &Call) -> String {
        let Call { name, number, .. } = call;
        match self {
            Fault::Kill => format!("inject={name}:signal=KILL:when={number}"),
            // Once full it stays full (but what is printed last goes to no disk); a failure may pass.
            Fault::DiskFull if call.writes() && !call.is_essential => format!("inject={name}:error=ENOSPC:when={number}"),
            Fault::DiskFull => format!("inject={name}:error=ENOSPC:when={number}+"),
            Fault::DiskFailure => format!("inject={name}:error=EIO:when={number}"),
        }
    }

    fn can_hit(self, call: &Call) -> bool {
        let takes_away = ["unlink", "unlinkat", "rmdir"].contains(&call.name.as_str());
        // What goes to standard output is no file; removing is how a failed run cleans up.
        self == Fault::Kill || !(takes_away || call.writes() && call.text.contains("(1<"))
    }
}

/// What is run, from the same beginning each time.
struct Scene {
    folder: TempDir,
    kept: TempDir,
    traces: TempDir,
    source: PathBuf,
    /// The folder in which results appear.
    lasting: PathBuf,
    arguments: Vec<String>,
    is_restore: bool,
}

impl Scene {
    fn new(name: &str, journal: &str, rows: u32) -> Scene {
        let folder = place();
        let home = folder.path().to_owned();
        let source = home.join("source.db");
        let connection = Connection::open(&source).expect("create");
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, a); BEGIN;
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) INSERT INTO t SELECT i, zeroblob(3000) || i FROM n; COMMIT"
            ))
            .expect("content");
        connection.close().expect("close");
        let vault = home.join("vault");
        let key = key_file(&home).to_string_lossy().into_owned();
        let mut scene = Scene {
            kept: place(),
            traces: place(),
            source,
            lasting: vault.clone(),
            arguments: Vec::new(),
            is_restore: name == "restore",
            folder,
        };
        let text = |path: &Path| path.to_string_lossy().into_owned();
        if name != "first backup" {
            let bundle = text(&back_up(&scene.source, &vault, |_| {}).path);
            if scene.is_restore {
                scene.lasting = home.join("restored");
                scene.arguments = vec!["restore".into(), bundle, "--to".into(), text(&scene.lasting)];
            }
        }
        if !scene.is_restore {
            scene.arguments = vec!["backup".into(), format!("main={}", text(&scene.source)), "--vault".into(), text(&vault)];
        }
        scene.arguments.extend(["--key-file".into(), key]);
        copy_folder(scene.folder.path(), scene.kept.path());
        scene
    }

    fn run(&self, strace: &[&str]) -> Output {
        let mut command = hermetic("strace", self.folder.path());
        command.args(["-f", "-qq", "-y", "-s", "0", "-o", &self.log().to_string_lossy()]).args(strace);
        command.arg("--").arg(env!("CARGO_BIN_EXE_airkeep")).args(&self.arguments).output().expect("strace")
    }

    fn log(&self) -> PathBuf {
        self.traces.path().join("log")
    }

    fn trace(&self) -> Vec<Call> {
        let output = self.run(&["-e", &format!("trace={CALLS}")]);
        assert!(output.status.success(), "{}", text_of(&output));
        let (mut counts, mut calls) = (BTreeMap::new(), Vec::new());
        let log = fs::read_to_string(self.log()).expect("log");
        let main = log.split_whitespace().next().expect("a line");
        for line in log.lines().filter(|line| line.starts_with(main)) {
            let Some((name, rest)) = line[main.len()..].trim_start().split_once('(') else { continue };
            if name.contains(' ') || name.starts_with('<') {
                continue;
            }
            let number = counts.entry(name.to_owned()).and_modify(|count| *count += 1).or_insert(1_usize);
            let is_change = name != "openat" || rest.contains("O_TMPFILE") || rest.contains("O_CREAT");
            if is_change {
                calls.push(Call { name: name.to_owned(), number: *number, text: format!("({rest}"), is_essential: true });
            }
        }
        self.reset();
        let is_publication = |call: &Call| call.name == "linkat" && call.text.contains(".akb\",");
        if let Some(published) = calls.iter().position(is_publication) {
            let durable = calls[published..].iter().position(|call| call.name == "fsync").expect("the folder is synced");
            calls[published + durable + 1..].iter_mut().for_each(|call| call.is_essential = false);
        }
        calls
    }

    fn reset(&self) {
        for entry in fs::read_dir(self.folder.path()).expect("list").flatten() {
            let is_folder = entry.file_type().expect("type").is_dir();
            if is_folder { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }.expect("tidy");
        }
        copy_folder(self.kept.path(), self.folder.path());
    }

    /// Runs with a fault, says what became of it, and puts everything back.
    fn suffer(&self, fault: Fault, call: &Call) -> Result<String, String> {
        let before = listing(self.kept.path());
        let output = self.run(&["-e", &format!("trace={}", call.name), "-e", &fault.injection(call)]);
        let (code, signal) = (output.status.code(), output.status.signal());
        let mut new: BTreeSet<PathBuf> = listing(self.folder.path()).difference(&before).cloned().collect();
        if fault == Fault::Kill || call.text.contains("source.db-") {
            // SQLite's own, beside a database whose reader died or could not tidy up on this disk; they hold no row.
            new.retain(|path| !["source.db-wal", "source.db-shm"].map(Path::new).contains(&path.as_path()));
        }
        let result = match fault {
            Fault::Kill if signal != Some(9) && code != Some(137) => Err(format!("was not killed: {code:?}")),
            Fault::Kill => self.judge_rest(&new, true).map(|()| "killed, sound".to_owned()),
            _ if code == Some(0) && call.must_succeed(&self.lasting) => Err("called a success".to_owned()),
            // Finished, though not all could be recorded: only behind the publication.
            _ if code == Some(3) && call.must_succeed(&self.lasting) => Err("called finished".to_owned()),
            _ if code == Some(0) || code == Some(3) => self.judge_rest(&new, false).map(|()| "survived".to_owned()),
            _ if code == Some(1)
                && new.iter().all(|path| path.starts_with("vault/journal.jsonl") || path.starts_with("vault/journal.head")) =>
            {
                Ok("exit 1, nothing left".to_owned())
            }
            _ => Err(format!("exit {code:?}, left {new:?}: {}", text_of(&output).trim())),
        };
        let result =
            result.and_then(|outcome| if self.is_source_untouched() { Ok(outcome) } else { Err("the source was changed".to_owned()) });
        let result = result.and_then(|outcome| {
            if fault != Fault::Kill || self.works_again() {
                Ok(outcome)
            } else {
                Err("the next run fails, or does not clear what was left".to_owned())
            }
        });
        self.reset();
        result.map_err(|error| format!("{fault:?} at {}: {error}", describe(call)))
    }

    /// What is new must be whole: bundles that verify, databases that are complete.
    fn judge_rest(&self, new: &BTreeSet<PathBuf>, was_killed: bool) -> Result<(), String> {
        for path in new {
            let name = path.to_string_lossy().into_owned();
            let full = self.folder.path().join(path);
            let is_sound = match name.as_str() {
                "vault"
                | "restored"
                | "vault/vault.json"
                | "vault/journal.jsonl"
                | "vault/journal.head"
                | "vault/journal.head.new"
                | "restored/manifest.json" => true,
                "restored/main.db" => differences(&self.source, &full).iter().all(|offset| (18..=19).contains(offset)),
                _ if name.ends_with(".akb") => verify(&full).is_sound(),
                // A name for an instant, before it replaces another: whether the next run clears it, `works_again` asks.
                _ if name.starts_with("vault/.airkeep-") => name.ends_with(".partial") && was_killed,
                _ => name.ends_with(".akb.sha256"),
            };
            if !is_sound {
                return Err(format!("left '{name}'"));
            }
        }
        Ok(())
    }

    /// The journal has no fault, and tells of every bundle that is here.
    fn is_journal_sound(&self) -> bool {
        let vault = Folder::open(&self.folder.path().join("vault")).expect("the vault");
        let faults = Check::default().run(&vault).expect("readable").faults;
        let records = records_in(&vault).expect("readable");
        let told = |id| {
            let of_it = |record: &&Record| record.subject.as_ref().is_some_and(|subject| subject.bundle == id);
            records.iter().filter(|record| record.event == Event::Backup && record.outcome == Outcome::Success).filter(of_it).count()
        };
        let bundles = airkeep::vault::bundles_in(&vault).expect("readable");
        faults.is_empty() && bundles.iter().all(|bundle| bundle.core().is_some_and(|core| told(core.id) == 1))
    }

    fn is_source_untouched(&self) -> bool {
        differences(&self.source, &self.kept.path().join("source.db")).is_empty()
    }

    fn works_again(&self) -> bool {
        if self.is_restore {
            // What a killed restore leaves stands in the way of the next one, by design.
            let _ = fs::remove_dir_all(&self.lasting);
        }
        let mut command = hermetic(env!("CARGO_BIN_EXE_airkeep"), self.folder.path());
        let is_done = command.args(&self.arguments).output().is_ok_and(|output| output.status.success());
        is_done
            && self.is_journal_sound()
            && !listing(self.folder.path()).iter().any(|path| path.extension().is_some_and(|extension| extension == "partial"))
    }
}

/// Whatever gets a name was synced after its last byte, and its folder after that; the folder that a run made, in its parent.
fn assert_durable(calls: &[Call], home: &Path, lasting: &Path) {
    let is_on = |call: &Call, descriptor: &str| call.text.starts_with(&format!("({descriptor}<"));
    let published: Vec<usize> = (0..calls.len()).filter(|&place| calls[place].name == "linkat").collect();
    for (number, &place) in published.iter().enumerate() {
        let text = &calls[place].text;
        let descriptor = text.split("/proc/self/fd/").nth(1).and_then(|rest| rest.split('"').next()).expect("descriptor");
        let own = |call: &&Call| is_on(call, descriptor) && (call.writes() || call.name == "fsync");
        let last = calls[..place].iter().rev().find(own).expect("a file with content");
        assert_eq!(last.name, "fsync", "not synced after its last byte: {text}");
        let is_folder_synced = |call: &Call| call.name == "fsync" && call.text.contains(&format!("<{}>", lasting.display()));
        let end = published.get(number + 1).copied().unwrap_or(calls.len());
        assert!(calls[place..end].iter().any(is_folder_synced), "the folder was not synced after {text}");
    }
    if calls.iter().any(|call| call.name == "mkdir" && call.text.ends_with("= 0")) {
        let is_parent_synced = |call: &Call| call.name == "fsync" && call.text.contains(&format!("<{}>", home.display()));
        assert!(calls.iter().any(is_parent_synced), "a power cut may take the new folder {lasting:?} away");
    }
}

fn describe(call: &Call) -> String {
    format!("{} {} {}", call.name, call.number, call.text)
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(format!("{}/.", from.display())).arg(to).status().expect("cp");
    assert!(status.success());
}

/// All calls that publish, and of those that write a few from the beginning to the end.
fn chosen(calls: Vec<Call>) -> Vec<Call> {
    if is_proving() {
        return calls;
    }
    let mut written: BTreeMap<String, Vec<Call>> = BTreeMap::new();
    let (writing, mut chosen): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(Call::writes);
    writing.into_iter().for_each(|call| written.entry(call.name.clone()).or_default().push(call));
    for calls in written.into_values() {
        let last = calls.len() - 1;
        let places: BTreeSet<usize> = (0..SAMPLE).map(|place| last * place / (SAMPLE - 1)).collect();
        chosen.extend(places.into_iter().map(|place| calls[place].clone()));
    }
    chosen
}

fn sweep(name: &str, journal: &str, rows: u32) {
    if !has_program("strace") {
        return skip("needs strace");
    }
    let scene = Scene::new(name, journal, rows);
    let calls = scene.trace();
    for needed in ["openat", "linkat", "fsync", "write"] {
        assert!(calls.iter().any(|call| call.name == needed), "{name} makes no {needed} any more: the sweep looks at the wrong calls");
    }
    assert_durable(&calls, scene.folder.path(), &scene.lasting);
    let (mut outcomes, mut faults) = (BTreeMap::new(), Vec::new());
    for call in chosen(calls) {
        for fault in [Fault::Kill, Fault::DiskFull, Fault::DiskFailure] {
            if fault.can_hit(&call) {
                match scene.suffer(fault, &call) {
                    Ok(outcome) => *outcomes.entry((fault, call.name.clone(), outcome)).or_insert(0) += 1,
                    Err(fault) => faults.push(fault),
                }
            }
        }
    }
    note(&format!("{name}, {journal}: {outcomes:?}"));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_first_backup_into_a_vault_is_whole_or_not_there() {
    sweep("first backup", "wal", 100);
}

#[test]
fn a_later_backup_through_scratch_is_whole_or_not_there() {
    sweep("later backup", "delete", 3000);
}

#[test]
fn a_restore_is_whole_or_not_there() {
    sweep("restore", "wal", 1000);
}
