//! How far a long command has come: on a terminal one line that changes, elsewhere a line now and then.

use super::output;
use crate::model::clock::Monotonic;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

/// How often the line on a terminal changes.
const TERMINAL: Duration = Duration::from_millis(200);

/// How often a line is written elsewhere.
const LOG: Duration = Duration::from_secs(10);

/// Takes the cursor to the beginning of the line and clears it (ECMA-48 `CR`, `EL`).
const CLEAR: &str = "\r\x1b[2K";

/// Tells on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    quiet: bool,
    terminal: bool,
    last: Monotonic,
    shown: bool,
}

impl Progress {
    /// Nothing is told before the first interval has passed.
    pub(super) fn new(quiet: bool, now: Monotonic) -> Self {
        Self { quiet, terminal: std::io::stderr().is_terminal(), last: now, shown: false }
    }

    /// Tells what `line` says, if it is time.
    pub(super) fn tell(&mut self, now: Monotonic, line: impl FnOnce() -> String) {
        let every = if self.terminal { TERMINAL } else { LOG };
        if self.quiet || now.since(self.last) < every {
            return;
        }
        self.last = now;
        if self.terminal {
            self.shown = true;
            let mut out = std::io::stderr().lock();
            drop(write!(out, "{CLEAR}{}", line()));
            drop(out.flush());
        } else {
            output::complain(&line());
        }
    }

    /// Makes room for other lines.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let mut out = std::io::stderr().lock();
            drop(write!(out, "{CLEAR}"));
            drop(out.flush());
        }
    }
}

/// `4 of 9, 44 %, about 12 s left`.
pub(super) fn done_of(done: usize, total: usize, passed: Duration) -> String {
    let percent = (done * 100).checked_div(total).unwrap_or(100);
    let left = total.saturating_sub(done);
    let mut line = format!("{done} of {total}, {percent} %");
    if let (Ok(left), Ok(done)) = (u32::try_from(left), u32::try_from(done))
        && left > 0
        && done > 0
    {
        let rest = passed.saturating_mul(left) / done;
        line.push_str(&format!(", about {} left", super::since::age(rest)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_guessed_from_what_was_done() {
        assert_eq!(done_of(0, 10, Duration::from_secs(9)), "0 of 10, 0 %");
        assert_eq!(done_of(4, 10, Duration::from_secs(8)), "4 of 10, 40 %, about 12s left");
        assert_eq!(done_of(10, 10, Duration::from_secs(8)), "10 of 10, 100 %");
        assert_eq!(done_of(0, 0, Duration::ZERO), "0 of 0, 100 %");
    }
}
