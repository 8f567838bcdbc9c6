//! Asking for a passphrase on the controlling terminal, whatever standard input is.
//!
//! The echo is off before the prompt appears, what was typed before is dropped, and the terminal is as it was in the end, also after Ctrl-C: this is
//! why no signal is left to the terminal meanwhile. The kernel edits the line (erase, kill, werase); Ctrl-C and Ctrl-\ end it, and then the
//! signal goes where the terminal would have sent it: to all processes of this job. A signal from elsewhere ends the wait, too.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};

use rustix::process::{Signal, kill_current_process_group};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::signals;

/// Longer than any passphrase; a terminal gives at most 4096 bytes of a line.
const LINE_MAX: usize = 4096;

/// A terminal that shows nothing of what is typed, until it is dropped.
pub struct Terminal {
    tty: File,
    before: Termios,
    interrupts: [u8; 2],
}

impl Terminal {
    /// Opens the controlling terminal; `None` where there is none, so that nothing ever hangs.
    pub fn open() -> io::Result<Option<Terminal>> {
        let Ok(tty) = OpenOptions::new().read(true).write(true).open("/dev/tty") else { return Ok(None) };
        let before = tcgetattr(&tty)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.local_modes.insert(LocalModes::ICANON | LocalModes::ECHONL);
        let interrupts = [SpecialCodeIndex::VINTR, SpecialCodeIndex::VQUIT].map(|index| before.special_codes[index]);
        silent.special_codes[SpecialCodeIndex::VEOL] = interrupts[0];
        silent.special_codes[SpecialCodeIndex::VEOL2] = interrupts[1];
        tcsetattr(&tty, OptionalActions::Flush, &silent)?;
        Ok(Some(Terminal { tty, before, interrupts }))
    }

    /// Shows text that is for nobody but the person here.
    pub fn show(&mut self, text: &str) -> io::Result<()> {
        self.tty.write_all(text.as_bytes())
    }

    /// Shows a prompt and reads a line. A signal, and Ctrl-C as one, gives the terminal back; the error is `Interrupted` then.
    pub fn ask(&mut self, prompt: &str) -> io::Result<Zeroizing<String>> {
        self.tty.write_all(prompt.as_bytes())?;
        let mut line = Zeroizing::new(vec![0; LINE_MAX]);
        signals::wait_for_input(&self.tty).inspect_err(|_| self.leave())?;
        let count = self.tty.read(&mut line)?;
        let typed = &line[..count];
        if typed.last().is_some_and(|byte| self.interrupts.contains(byte)) {
            self.leave();
            kill_current_process_group(Signal::INT)?;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let typed = std::str::from_utf8(typed).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(Zeroizing::new(typed.trim_end_matches('\n').to_owned()))
    }

    /// Ends the line of the prompt and gives the terminal back, on the way out.
    fn leave(&self) {
        let _ = self.restore();
        let _ = (&self.tty).write_all(b"\n");
    }

    fn restore(&self) -> io::Result<()> {
        Ok(tcsetattr(&self.tty, OptionalActions::Flush, &self.before)?)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that went away needs no restoring.
        let _ = self.restore();
    }
}
