//! A target on a file system whose power is cut while a child installs into it, and what must be there when the power is back.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use airkeep::database::{Comparison, Image, Installation, TableHash};
use rustix::process::{Pid, Signal, kill_process_group};

use super::{Loss, Volume};
use crate::placing::calls::{Call, changes, child, strace, trace_all};
use crate::placing::{Filler, Place, fill, image_of, refusing};
use crate::support::{self, content, skip};

type Content = BTreeMap<String, TableHash>;

/// How large the two databases are.
#[derive(Clone, Copy)]
pub struct Rows {
    pub old: u32,
    pub new: u32,
}

/// What SQLite cannot open, with everything that can lie beside it.
const UNOPENABLE: [(&str, &[u8]); 4] =
    [("", b"no database"), ("-journal", b"stale journal"), ("-wal", b"stale WAL"), ("-shm", b"stale memory")];
pub struct Scene {
    way: &'static str,
    kept: tempfile::TempDir,
    image: Image,
    old: Content,
    new: Content,
    volume: Volume,
    place: Place,
}

impl Scene {
    /// Nothing where this machine cannot do it.
    pub fn new(way: &'static str, rows: Rows) -> Option<Scene> {
        let place = Place::new();
        let kept = support::place();
        let old = kept.path().join("app.db");
        match way {
            "missing" => {}
            "unopenable" => {
                for (suffix, bytes) in UNOPENABLE {
                    fs::write(kept.path().join(format!("app.db{suffix}")), bytes).expect("write");
                }
            }
            "rollback" => fill(&old, "old", "delete", 4096, rows.old),
            "rollback, other page size" => fill(&old, "old", "delete", 16384, rows.old),
            "wal" | "online" => fill(&old, "old", "wal", 4096, rows.old),
            "wal, other page size" => fill(&old, "old", "wal", 1024, rows.old),
            other => panic!("no way {other}"),
        }
        fill(&place.source, "new", "delete", 4096, rows.new);
        let volume = Volume::new(&place.live()).map_err(skip).ok()?;
        let old = if is_opaque(way) { Content::new() } else { content(&old) };
        let scene = Scene { way, image: image_of(&place.source), old, new: content(&place.source), kept, volume, place };
        scene.reset();
        Some(scene)
    }

    fn reset(&self) {
        for entry in fs::read_dir(self.place.live()).expect("list").flatten() {
            fs::remove_file(entry.path()).expect("remove");
        }
        for entry in fs::read_dir(self.kept.path()).expect("list").flatten() {
            fs::copy(entry.path(), self.place.live().join(entry.file_name())).expect("put back");
        }
        rustix::fs::syncfs(fs::File::open(self.place.live()).expect("folder")).expect("sync");
    }

    /// What came back is the old content or the new, and is no obstacle.
    fn judge(&mut self, has_said: bool) -> Result<&'static str, String> {
        self.volume.come_back();
        let judged = self.look(has_said).and_then(|found| self.install_again().map(|()| found));
        let names = self.place.names();
        self.reset();
        judged.map_err(|fault| format!("{fault}; {names:?}"))
    }

    fn look(&self, has_said: bool) -> Result<&'static str, String> {
        let target = &self.place.target;
        if is_opaque(self.way) {
            let is_old = self.look_for_the_old()?;
            if is_old && has_said {
                return Err("called a success, and the old file is there".to_owned());
            }
            if is_old {
                return Ok("old");
            }
        }
        let connection = rusqlite::Connection::open(target).map_err(|error| error.to_string())?;
        let ask = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).map_err(|error| format!("{sql}: {error}"));
        let (found, mode) = (ask("PRAGMA integrity_check")?, ask("PRAGMA journal_mode")?);
        connection.close().map_err(|(_, error)| error.to_string())?;
        if found != "ok" {
            return Err(format!("not sound: {found}"));
        }
        let found = content(target);
        let is_wal = self.way.starts_with("wal") || self.way == "online";
        match (found == self.old, found == self.new) {
            (true, false) if has_said => Err("called a success, and the old content is there".to_owned()),
            (false, true) if has_said && is_wal != (mode == "wal") => Err(format!("called a success, and left in mode {mode}")),
            (true, false) => Ok("old"),
            (false, true) => Ok("new"),
            _ => Err("neither old nor new".to_owned()),
        }
    }

    /// Whether the old file has its name yet. It and what lay beside it must be there, whole, under their names or aside, and nothing of it
    /// beside the new file.
    fn look_for_the_old(&self) -> Result<bool, String> {
        let target = &self.place.target;
        if self.way == "missing" {
            return Ok(!target.exists());
        }
        let names = self.place.names();
        let aside = names.iter().find(|name| name.len() == "app.db.airkeep-0123456789abcdef".len());
        let is_at = |path: &Path, bytes: &[u8]| fs::read(path).is_ok_and(|found| found == bytes);
        let is_old = is_at(target, UNOPENABLE[0].1);
        for (suffix, bytes) in UNOPENABLE {
            let is_beside = is_at(&self.place.beside(suffix), bytes);
            let is_aside = aside.is_some_and(|aside| is_at(&self.place.live().join(format!("{aside}{suffix}")), bytes));
            if !is_beside && !is_aside {
                return Err(format!("the old file's '{suffix}' is gone"));
            }
            if is_beside && !is_old {
                return Err(format!("the old file's '{suffix}' lies beside the new file"));
            }
        }
        Ok(is_old)
    }

    fn install_again(&self) -> Result<(), String> {
        let again = Installation::lock(&self.place.target, &self.image, &refusing(), &mut Filler)
            .and_then(|installation| installation.install(&refusing(), &mut Filler))
            .and_then(|installed| installed.release());
        let report = again.map_err(|error| format!("the next installation fails: {}", support::causes(&error)))?;
        let is_new = report.comparison == Comparison::Equal && content(&self.place.target) == self.new;
        if is_new { Ok(()) } else { Err("the next installation did not install".to_owned()) }
    }

    fn log(&self) -> PathBuf {
        self.place.folder.path().join("log")
    }

    /// How long it takes from the child's first word to its success, without a cut: the shortest of some.
    pub fn measure(&self) -> Duration {
        let measured = (0..3).map(|_| {
            let mut running = Running::start(child(self.way, &self.place.target).stdin(Stdio::null()).stderr(Stdio::null()));
            running.wait_for("ready");
            let started = Instant::now();
            running.wait_for("installed");
            let taken = started.elapsed();
            running.wait_for("released");
            running.kill();
            self.reset();
            taken
        });
        measured.min().expect("three")
    }

    pub fn cut_after(&mut self, delay: Duration, loss: Loss) -> Result<&'static str, String> {
        let mut running = Running::start(child(self.way, &self.place.target).stdin(Stdio::null()).stderr(Stdio::null()));
        running.wait_for("ready");
        std::thread::sleep(delay);
        // Without power nobody runs. A sync that is under way when ext4 shuts down can return a success that is none (Linux 6.18: 17 of
        // 130); a child that went on would believe it.
        running.signal(Signal::STOP);
        self.volume.cut(loss);
        let has_said = running.kill().contains("installed");
        let found = self.judge(has_said)?;
        Ok(if has_said { "said" } else { found })
    }

    /// Cuts when success was said, and nothing was done since that could sync by chance.
    pub fn cut_when_said(&mut self, loss: Loss) -> Result<&'static str, String> {
        let mut command = child(self.way, &self.place.target);
        let mut running = Running::start(command.stderr(Stdio::null()).stdin(Stdio::piped()));
        running.wait_for("installed");
        self.volume.cut(loss);
        running.kill();
        self.judge(true).map(|_| "said")
    }

    /// Cuts after the call was made. The child has come to it when `strace` says that it was stopped.
    pub fn cut_at(&mut self, call: &Call, loss: Loss) -> Result<&'static str, String> {
        let mut command = strace(Path::new("/dev/stderr"), &call.inject("STOP"), self.way, &self.place.target);
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::start(&mut command);
        let mut log = BufReader::new(running.child.stderr.take().expect("stderr"));
        let (mut line, mut seen) = (String::new(), String::new());
        while !line.contains("stopped by SIGSTOP") {
            line.clear();
            if log.read_line(&mut line).expect("log") == 0 {
                return Err(format!("was not stopped: {seen}"));
            }
            seen.push_str(&line);
        }
        self.volume.cut(loss);
        let has_said = running.kill().contains("installed");
        let found = self.judge(has_said)?;
        Ok(if has_said { "said" } else { found })
    }

    pub fn trace(&self) -> Vec<Call> {
        let output = strace(&self.log(), &trace_all(), self.way, &self.place.target).output().expect("strace");
        assert!(support::text_of(&output).contains("released"), "{}", support::text_of(&output));
        self.reset();
        changes(&self.log(), &self.place.live())
    }
}

fn is_opaque(way: &str) -> bool {
    way == "missing" || way == "unopenable"
}

/// A child that says how far it has come, and what traces it.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Running {
        let mut child = command.stdout(Stdio::piped()).process_group(0).spawn().expect("child");
        let output = BufReader::new(child.stdout.take().expect("stdout"));
        Running { child, output }
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while !line.contains(word) {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("read") > 0, "it ended before it was {word}");
        }
    }

    fn signal(&self, signal: Signal) {
        kill_process_group(Pid::from_child(&self.child), signal).expect("not yet waited for");
    }

    /// Ends it, and gives what it said since.
    fn kill(mut self) -> String {
        self.signal(Signal::KILL);
        self.child.wait().expect("wait");
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).expect("read");
        rest
    }
}
