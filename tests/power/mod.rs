//! A file system whose power can be cut: ext4 on a loop device, and the call by which ext4 shuts down at once.
//!
//! What it cannot show: a medium that lies about its flushes, or that writes half a sector.

pub mod scene;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::support::{fast_place, has_program};

/// What the power takes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything that was not synced (`EXT4_GOING_FLAGS_NOLOGFLUSH`).
    Everything = 2,
    /// Data that was not synced; what was done to names and lengths arrives (`EXT4_GOING_FLAGS_LOGFLUSH`).
    Data = 1,
    /// Nothing: all had just been written out (`EXT4_GOING_FLAGS_DEFAULT`).
    Nothing = 0,
}

pub const LOSSES: [Loss; 3] = [Loss::Everything, Loss::Data, Loss::Nothing];

/// A mounted file system of its own.
pub struct Volume {
    mounted_at: PathBuf,
    images: tempfile::TempDir,
    starts: usize,
    cutter: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Volume {
    /// Mounts one at an empty folder; tells what is missing where that cannot be done.
    pub fn new(mounted_at: &Path) -> Result<Volume, &'static str> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root, to mount a file system");
        }
        if !has_program("python3") {
            return Err("needs python3, which makes the call that cuts the power");
        }
        let images = fast_place();
        let path = images.path().join("image-0");
        File::create(&path).and_then(|file| file.set_len(IMAGE_BYTES)).expect("image");
        if !run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&path)) {
            return Err("needs mkfs.ext4");
        }
        if !run(&mut mount(&path, mounted_at)) {
            return Err("needs loop devices and ext4");
        }
        std::fs::remove_dir(mounted_at.join("lost+found")).expect("an empty file system");
        let mut cutter =
            Command::new("python3").args(["-c", CUTTER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3");
        let (orders, answers) = (cutter.stdin.take(), BufReader::new(cutter.stdout.take().expect("stdout")));
        let mut volume = Volume { mounted_at: mounted_at.to_owned(), images, starts: 0, cutter, orders, answers };
        volume.expect("ready");
        Ok(volume)
    }

    /// From now on every call on the file system fails.
    pub fn cut(&mut self, loss: Loss) {
        let orders = self.orders.as_mut().expect("until it is dropped");
        writeln!(orders, "{} {}", loss as u32, self.mounted_at.display()).and_then(|()| orders.flush()).expect("cutter");
        self.expect("cut");
    }

    fn expect(&mut self, answer: &str) {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("cutter");
        assert_eq!(line.trim(), answer);
    }

    /// The power is back: what had reached the medium is mounted, and the file system's own journal replayed.
    ///
    /// A copy of it, because the old mount may live on for a while: in a child that is about to end, or in a mount namespace that somebody
    /// else on this machine has made of ours.
    pub fn come_back(&mut self) {
        self.starts += 1;
        let (before, now) = (self.image(self.starts - 1), self.image(self.starts));
        assert!(run(Command::new("cp").args([&before, &now])), "no space for a medium");
        assert!(run(Command::new("umount").arg("-l").arg(&self.mounted_at)), "it is not mounted");
        std::fs::remove_file(before).expect("remove");
        assert!(run(&mut mount(&now, &self.mounted_at)), "the file system did not come back");
    }

    fn image(&self, start: usize) -> PathBuf {
        self.images.path().join(format!("image-{start}"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.cutter.wait();
        // Lazily, as a test that fails may have left a child behind.
        run(Command::new("umount").arg("-l").arg(&self.mounted_at));
    }
}

fn mount(image: &Path, at: &Path) -> Command {
    let mut command = Command::new("mount");
    command.args(["-t", "ext4", "-o", "loop,nodiscard"]).arg(image).arg(at);
    command
}

fn run(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// `EXT4_IOC_SHUTDOWN` is `_IOR('X', 125, __u32)`. A test is not allowed to be unsafe, and Python can make the call.
const CUTTER: &str = "
import fcntl, os, struct, sys
print('ready', flush=True)
for line in sys.stdin:
    loss, path = line.rstrip('\\n').split(' ', 1)
    folder = os.open(path, os.O_RDONLY)
    fcntl.ioctl(folder, 0x8004587d, struct.pack('I', int(loss)))
    os.close(folder)
    print('cut', flush=True)
";
const IMAGE_BYTES: u64 = 64 << 20;
