//! What the clients' threads share.

use alloc::vec::Vec;
use client_bench::failures::Failures;
use client_bench::options::Options;
use client_bench::sample::Sample;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use l4re::clock;
use l4re::sync::Mutex;
use l4re::thread::JoinHandle;

/// How long a client sleeps between looks at the starting time.
const NAP_NS: u64 = 1_000_000;

/// What a client measured.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Samples of the invocations that gave a result.
    pub(crate) samples: Vec<Sample>,
    /// What went wrong, the client's own set-up included.
    pub(crate) failures: Failures,
    /// Start modes that the replies named, one bit each: boot, warm, snapshot.
    pub(crate) modes: u8,
    /// When the measured invocations began and ended.
    pub(crate) span: Option<(u64, u64)>,
}

/// What all threads know.
pub(crate) struct Shared {
    /// The command line.
    pub(crate) options: Options,
    /// The results are not shown.
    pub(crate) is_silent: bool,
    ready: AtomicU32,
    finished: AtomicU32,
    done: AtomicU64,
    /// When all start, in nanoseconds of the kernel clock; 0 as long as it is not known.
    start: AtomicU64,
    outcomes: Mutex<Vec<(u32, Outcome)>>,
}

impl Shared {
    /// Nothing has happened yet.
    pub(crate) fn new(options: Options, is_silent: bool) -> Shared {
        Shared {
            options,
            is_silent,
            ready: AtomicU32::new(0),
            finished: AtomicU32::new(0),
            done: AtomicU64::new(0),
            start: AtomicU64::new(0),
            outcomes: Mutex::new(Vec::new()),
        }
    }

    /// Clients that are ready, or failed to be.
    pub(crate) fn ready(&self) -> u32 {
        self.ready.load(Ordering::Acquire)
    }

    /// Says that a client is ready, and waits for the start.
    pub(crate) fn wait_for_start(&self) {
        self.ready.fetch_add(1, Ordering::AcqRel);
        loop {
            match self.start.load(Ordering::Acquire) {
                0 => clock::sleep(NAP_NS),
                start => return l4::syscall::sleep_until(start),
            }
        }
    }

    /// Lets all clients start at this time.
    pub(crate) fn start_at(&self, time: u64) {
        self.start.store(time.max(1), Ordering::Release);
    }

    /// Counts a measured invocation.
    pub(crate) fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Measured invocations so far.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Hands in what a client measured.
    pub(crate) fn hand_in(&self, number: u32, outcome: Outcome) {
        self.outcomes.lock().push((number, outcome));
        self.finished.fetch_add(1, Ordering::AcqRel);
    }

    /// Clients that handed in.
    pub(crate) fn finished(&self) -> u32 {
        self.finished.load(Ordering::Acquire)
    }

    /// Tells whether a thread has ended: it will never be ready if it is not now.
    pub(crate) fn is_lost(&self, client: Option<&JoinHandle>) -> bool {
        client.is_none_or(JoinHandle::is_finished)
    }

    /// What was handed in, by the clients' numbers.
    pub(crate) fn take_outcomes(&self) -> Vec<(u32, Outcome)> {
        let mut outcomes = core::mem::take(&mut *self.outcomes.lock());
        outcomes.sort_by_key(|(number, _)| *number);
        outcomes
    }
}
