//! The program on a pseudo-terminal of its own, as a person has it: what is typed, what is on the screen, and how the terminal is left.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::{AIRKEEP, Home, PATIENCE, has};

/// A run of the program whose keyboard and screen the test holds.
pub struct Session {
    child: Child,
    terminal: File,
    screen: String,
}

impl Session {
    /// Starts the program; `None`, with the reason on standard error, where nothing can give it a controlling terminal.
    pub fn start(home: &Home, arguments: &[&str], adjust: impl FnOnce(&mut Command)) -> Option<Session> {
        if !has("setsid") {
            eprintln!("skipped: a controlling terminal needs `setsid` of util-linux");
            return None;
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).and_then(|()| unlockpt(&master)).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let side = || Stdio::from(OpenOptions::new().read(true).write(true).open(&name).unwrap());
        let mut command = home.program("setsid");
        command.args(["--ctty", AIRKEEP]).args(arguments).env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
        adjust(&mut command);
        let child = command.spawn().unwrap();
        drop(command);
        Some(Session { child, terminal: File::from(master), screen: String::new() })
    }

    /// Reads the screen until this text has appeared behind what was read before; gives all that was read now.
    pub fn wait_for(&mut self, text: &str) -> String {
        let start = self.screen.len();
        while !self.screen[start..].contains(text) {
            assert!(self.read(), "'{text}' does not appear: {}", self.screen.escape_debug());
        }
        self.screen[start..].to_owned()
    }

    /// Waits until the program has switched the echo off: only then is it ready for a secret.
    pub fn type_secret(&mut self, text: &str) {
        assert!(!self.has_mode(LocalModes::ECHO), "the echo is on while a secret is asked for");
        self.type_text(&format!("{text}\n"));
    }

    /// Types.
    pub fn type_text(&mut self, text: &str) {
        self.terminal.write_all(text.as_bytes()).unwrap();
    }

    /// Sends a signal from elsewhere.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the terminal has a mode.
    pub fn has_mode(&self, mode: LocalModes) -> bool {
        tcgetattr(&self.terminal).unwrap().local_modes.contains(mode)
    }

    /// Waits for the end; gives exit code and screen, and insists that the terminal is as it was: it echoes, edits lines, makes signals.
    pub fn end(mut self) -> (i32, String) {
        while self.read() {}
        let code = self.child.wait().unwrap().code().expect("an exit code");
        for mode in [LocalModes::ECHO, LocalModes::ICANON, LocalModes::ISIG] {
            assert!(self.has_mode(mode), "the terminal is left without {mode:?}");
        }
        let hidden = self.screen.rfind("\u{1b}[?25l");
        assert!(hidden.is_none() || self.screen.rfind("\u{1b}[?25h") > hidden, "the cursor is left hidden");
        (code, self.screen.clone())
    }

    /// Reads what is there; false once nobody has the terminal open any more.
    fn read(&mut self) -> bool {
        let mut ends = [PollFd::new(&self.terminal, PollFlags::IN)];
        let patience = Timespec { tv_sec: PATIENCE.as_secs() as _, tv_nsec: 0 };
        assert_ne!(poll(&mut ends, Some(&patience)).unwrap(), 0, "the program hangs: {}", self.screen.escape_debug());
        let mut buffer = [0; 4096];
        match self.terminal.read(&mut buffer) {
            Ok(count @ 1..) => {
                self.screen += &String::from_utf8_lossy(&buffer[..count]);
                true
            }
            _ => false,
        }
    }
}
