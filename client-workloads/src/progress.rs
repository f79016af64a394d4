//! What a long run says about itself.

use core::fmt;

const SECOND: u64 = 1_000_000_000;
/// A run says something after at least this time, and in the long run every so often.
const SHORTEST: u64 = 5 * SECOND;
/// Longest silence: a console that is silent for longer looks like a hang.
const LONGEST: u64 = 30 * SECOND;

/// How far a run has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Calls that were made.
    pub done: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Calls to make.
    pub planned: u64,
    /// Nanoseconds since the start.
    pub elapsed_ns: u64,
}

/// Nanoseconds between what is said and what is said next, so long after the start: the longer a run, the less often.
#[must_use]
pub fn pause(elapsed_ns: u64) -> u64 {
    (elapsed_ns / 10).clamp(SHORTEST, LONGEST)
}

impl Progress {
    /// Nanoseconds until the end, if it goes on like this; `None` before the first call was made.
    fn left_ns(&self) -> Option<u128> {
        let left = u128::from(self.planned.saturating_sub(self.done));
        (u128::from(self.elapsed_ns) * left).checked_div(u128::from(self.done))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} calls done, {} failed",
            self.done, self.planned, self.failed
        )?;
        match self.left_ns().map(|left| left.div_ceil(u128::from(SECOND))) {
            None => Ok(()),
            Some(seconds @ 0..120) => write!(f, ", about {seconds} s left"),
            Some(seconds) => write!(f, ", about {} min left", seconds.div_ceil(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_time_left_is_estimated() {
        let mut progress = Progress {
            done: 0,
            failed: 0,
            planned: 16_984,
            elapsed_ns: 7 * SECOND,
        };
        assert_eq!(progress.to_string(), "0 of 16984 calls done, 0 failed");
        progress.done = 70;
        progress.failed = 1;
        assert_eq!(
            progress.to_string(),
            "70 of 16984 calls done, 1 failed, about 29 min left"
        );
        progress.planned = 80;
        assert_eq!(
            progress.to_string(),
            "70 of 80 calls done, 1 failed, about 1 s left"
        );
        progress.done = u64::MAX;
        progress.elapsed_ns = u64::MAX;
        assert!(progress.to_string().ends_with("about 0 s left"));
    }

    #[test]
    fn long_runs_say_less_but_are_never_silent_for_long() {
        assert_eq!(pause(0), 5 * SECOND);
        assert_eq!(pause(120 * SECOND), 12 * SECOND);
        assert_eq!(pause(u64::MAX), 30 * SECOND);
    }
}
