//! Numbered steps with the time since the start, for commands that take a while.

use std::time::Instant;

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
