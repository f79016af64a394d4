//! How long a thread was on a CPU.

use core::sync::atomic::{AtomicU64, Ordering};

/// Time on a CPU in the machine's ticks, in one word that only the CPU writes on which the thread runs.
///
/// While the thread runs, the word has the time before minus the tick at which it began to run, which is negative: nobody ran
/// for longer than there is time. So beginning and ending are one addition each, and whoever reads it needs no lock.
pub(crate) struct CpuTime(AtomicU64);

impl CpuTime {
    pub(crate) const fn new() -> CpuTime {
        CpuTime(AtomicU64::new(0))
    }

    /// The thread begins to run.
    #[inline(always)]
    pub(crate) fn begin(&self, now: u64) {
        self.add(now.wrapping_neg());
    }

    /// The thread stops running.
    #[inline(always)]
    pub(crate) fn end(&self, now: u64) {
        self.add(now);
    }

    #[inline(always)]
    fn add(&self, ticks: u64) {
        self.0.store(
            self.0.load(Ordering::Relaxed).wrapping_add(ticks),
            Ordering::Relaxed,
        );
    }

    /// The time until now, whether the thread runs or not.
    pub(crate) fn total(&self, now: impl FnOnce() -> u64) -> u64 {
        let word = self.0.load(Ordering::Relaxed);
        if word.cast_signed() < 0 {
            word.wrapping_add(now())
        } else {
            word
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_counts_while_a_thread_runs() {
        let time = CpuTime::new();
        assert_eq!(time.total(|| 70), 0);
        time.begin(100);
        assert_eq!(time.total(|| 100), 0);
        assert_eq!(time.total(|| 130), 30);
        time.end(150);
        assert_eq!(time.total(|| 200), 50);
        time.begin(1000);
        assert_eq!(time.total(|| 1007), 57);
        time.end(1010);
        assert_eq!(time.total(|| 2000), 60);
    }

    #[test]
    fn a_thread_that_ran_since_the_first_tick_has_run_all_the_time() {
        let time = CpuTime::new();
        time.begin(1);
        time.end(1_000_000);
        time.begin(1_000_000);
        assert_eq!(time.total(|| 2_000_000), 1_999_999);
    }
}
