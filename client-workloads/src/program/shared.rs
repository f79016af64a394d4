//! What the clients' threads share.

use client_workloads::options::Options;
use client_workloads::plan::{Call, Plan};
use client_workloads::progress::Progress;
use client_workloads::results::Results;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use l4::CapIndex;
use l4re::console;
use l4re::sync::Mutex;

/// What all threads know.
pub(crate) struct Shared {
    /// The command line.
    pub(crate) options: Options,
    /// The calls to make.
    pub(crate) plan: Plan,
    next: AtomicUsize,
    done: AtomicU64,
    failed: AtomicU64,
    results: Mutex<Results>,
    /// Held by who prints, so that lines longer than a message stay in one piece.
    console: Mutex<()>,
}

impl Shared {
    /// Nothing has happened yet.
    pub(crate) fn new(options: Options) -> Shared {
        let workloads = options.workloads.len();
        let plan = if options.balanced {
            Plan::balanced(workloads, options.calls, options.seed)
        } else {
            Plan::of_each(workloads, options.seed..options.seed + u64::from(options.seeds))
        };
        Shared {
            options,
            plan,
            next: AtomicUsize::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            results: Mutex::new(Results::new(workloads)),
            console: Mutex::new(()),
        }
    }

    /// The next piece of the plan that nobody has taken.
    pub(crate) fn take_piece(&self) -> Option<&[Call]> {
        self.plan.piece(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts calls that were made.
    pub(crate) fn count(&self, calls: u64, failed: u64) {
        self.failed.fetch_add(failed, Ordering::Relaxed);
        self.done.fetch_add(calls, Ordering::Relaxed);
    }

    /// How far the run has got so long after its start.
    pub(crate) fn progress(&self, elapsed_ns: u64) -> Progress {
        Progress {
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            planned: self.plan.length() as u64,
            elapsed_ns,
        }
    }

    /// Writes whole lines to the console.
    pub(crate) fn say(&self, lines: &str) {
        let _held = self.console.lock();
        console::write(CapIndex::LOG, lines.as_bytes());
    }

    /// Hands in what a client did.
    pub(crate) fn hand_in(&self, results: Results) {
        self.results.lock().merge(results);
    }

    /// What was handed in.
    pub(crate) fn take_results(&self) -> Results {
        core::mem::replace(&mut *self.results.lock(), Results::new(0))
    }
}
