//! What commands that take a while say meanwhile: numbered steps with the time since the start, and other lines.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

/// Shows a line of a command to the user: appended to `log`, if there is one, else on standard error.
///
/// # Errors
/// The log cannot be written.
pub(crate) fn announce(log: Option<&Path>, line: &str) -> io::Result<()> {
    let Some(log) = log else {
        eprintln!("{line}");
        return Ok(());
    };
    let mut file = File::options().create(true).append(true).open(log)?;
    writeln!(file, "{line}")
}

/// Announces each step of a command on standard error.
#[derive(Debug)]
pub struct Steps {
    started: Instant,
    total: usize,
    done: usize,
}

impl Steps {
    /// Starts the clock of a command with this many steps.
    #[must_use]
    pub fn new(total: usize) -> Self {
        Self {
            started: Instant::now(),
            total,
            done: 0,
        }
    }

    /// Announces the next step.
    pub fn next(&mut self, what: &str) {
        self.done += 1;
        eprintln!(
            "[{}/{}] {:>5.1} s  {what}",
            self.done,
            self.total,
            self.started.elapsed().as_secs_f64()
        );
    }
}
