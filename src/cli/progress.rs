//! What a person sees while an operation works: a bar with rate and time left, and with `--verbose` each step with its time.
//!
//! The operation only adds to a counter; a thread of its own looks at it ten times a second and draws, on standard error, if that is a terminal.
//! Work that takes less than half a second shows nothing. The bar is gone when its phase ends, so that the screen keeps only results.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use airkeep::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{screen, signals};

/// How much a person wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Only warnings and errors.
    Quiet,
    /// Results, and a bar where there is a terminal.
    Normal,
    /// Each step, too.
    Verbose,
}

/// Draws and tells.
pub struct Display {
    verbosity: Verbosity,
    started: Instant,
    /// Bytes of the phase that are done.
    done: AtomicU64,
    phase: Mutex<Option<Phase>>,
}

/// What is under way.
struct Phase {
    name: String,
    total_bytes: Option<u64>,
    bar: Option<ProgressBar>,
    /// Moments of the last seconds and what was done then.
    samples: VecDeque<(Instant, u64)>,
}

impl Display {
    /// A display, and the thread that draws it where somebody can see it.
    pub fn start(verbosity: Verbosity) -> Arc<Display> {
        let is_drawn = verbosity != Verbosity::Quiet && screen::is_terminal(&std::io::stderr());
        let phase = Mutex::new(None);
        let display = Arc::new(Display { verbosity, started: Instant::now(), done: AtomicU64::new(0), phase });
        if is_drawn {
            let drawn = Arc::clone(&display);
            // Without a thread there is only nothing to see.
            let _ = std::thread::Builder::new().spawn(move || drawn.draw());
        }
        display
    }

    fn draw(&self) {
        let mut work_seen = Duration::ZERO;
        loop {
            std::thread::sleep(TICK);
            let mut phase = self.lock();
            let Some(phase) = phase.as_mut() else { continue };
            // Counted while there is work: a person who thinks about a passphrase is no reason for a bar.
            work_seen += TICK;
            if work_seen >= CALM {
                phase.draw(self.done.load(Ordering::Relaxed));
            }
        }
    }

    /// A panic while drawing loses the bar and nothing else.
    fn lock(&self) -> MutexGuard<'_, Option<Phase>> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Display {
    fn begin(&self, phase: &str, total_bytes: Option<u64>) {
        self.done.store(0, Ordering::Relaxed);
        let samples = VecDeque::from([(Instant::now(), 0)]);
        *self.lock() = Some(Phase { name: screen::escape(phase), total_bytes, bar: None, samples });
    }

    fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn end(&self) {
        *self.lock() = None;
    }

    fn note(&self, step: &str) {
        if self.verbosity != Verbosity::Verbose {
            return;
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let tell = || screen::print_error(&format!("airkeep: {seconds:.3} s: {}\n", screen::escape(step)));
        match self.lock().as_ref().and_then(|phase| phase.bar.as_ref()) {
            Some(bar) => bar.suspend(tell),
            None => tell(),
        }
    }

    fn is_cancelled(&self) -> bool {
        signals::caught().is_some()
    }
}

impl Phase {
    fn draw(&mut self, done: u64) {
        let done = self.total_bytes.map_or(done, |total| done.min(total));
        let now = Instant::now();
        while self.samples.len() > 1 && now.duration_since(self.samples[0].0) > WINDOW {
            self.samples.pop_front();
        }
        let (since, before) = self.samples[0];
        self.samples.push_back((now, done));
        let rate = (done - before) as f64 / now.duration_since(since).as_secs_f64().max(0.001);
        let bar = self.bar.get_or_insert_with(|| new_bar(&self.name, self.total_bytes));
        bar.set_position(done);
        if let Some(total) = self.total_bytes {
            bar.set_message(figures(done, total, rate));
        }
        bar.tick();
    }
}

impl Drop for Phase {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(name: &str, total_bytes: Option<u64>) -> ProgressBar {
    // Two columns are left for the ^C that a terminal echoes: a line that wraps cannot be cleared.
    let template = if total_bytes.is_some() { "{prefix} [{wide_bar}] {msg}  " } else { "{prefix} {spinner} {elapsed}" };
    let style = ProgressStyle::with_template(template).expect("a fixed template").progress_chars("#> ").tick_chars("|/-\\ ");
    let bar = ProgressBar::with_draw_target(total_bytes, ProgressDrawTarget::stderr_with_hz(10)).with_style(style);
    bar.with_prefix(name.to_owned())
}

/// `12.0 MiB of 1.0 GiB, 300.0 MiB/s, 3 s left`.
fn figures(done: u64, total: u64, rate: f64) -> String {
    let amount = format!("{} of {}, {}/s", screen::size(done), screen::size(total), screen::size(rate as u64));
    match (rate > 0.0).then(|| ((total - done) as f64 / rate).ceil() as u64) {
        Some(seconds) if seconds < 60 => format!("{amount}, {seconds} s left"),
        Some(seconds) if seconds < 3600 => format!("{amount}, {} min {} s left", seconds / 60, seconds % 60),
        Some(seconds) if seconds < 360_000 => format!("{amount}, {} h {} min left", seconds / 3600, seconds % 3600 / 60),
        _ => amount,
    }
}

const TICK: Duration = Duration::from_millis(100);
/// Work that is shorter shows no bar.
const CALM: Duration = Duration::from_millis(500);
/// The rate is that of the last seconds: a medium that slows down shows.
const WINDOW: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!(figures(1 << 20, 1 << 30, 1048576.0), "1.0 MiB of 1.0 GiB, 1.0 MiB/s, 17 min 3 s left");
        assert_eq!(figures(0, 1 << 30, 0.0), "0 B of 1.0 GiB, 0 B/s");
        assert_eq!(figures(0, 7 << 40, 1_000_000_000.0), "0 B of 7.0 TiB, 953.7 MiB/s, 2 h 8 min left");
        assert_eq!(figures(5, 5, 1.0), "5 B of 5 B, 1 B/s, 0 s left");
    }
}
