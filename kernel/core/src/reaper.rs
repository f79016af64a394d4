//! The end of objects, in pieces: each CPU has a list of dying objects and works on it when it is idle, when a timer
//! says so, and before it creates new ones.

use crate::account::Progress;
use crate::cpu::{Cpu, Domain};
use crate::machine::machine_now;
use crate::object::{Header, Ref};
use crate::thread::Thread;
use crate::{counters, epoch, objects};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Work that may be done at one go, roughly in frames or capabilities handled.
pub const BUDGET: u32 = 64;

/// A CPU's list of dying objects, first in, first out.
pub struct Local {
    head: AtomicPtr<Header>,
    tail: AtomicPtr<Header>,
}

impl Local {
    pub(crate) const fn new() -> Local {
        Local {
            head: AtomicPtr::new(core::ptr::null_mut()),
            tail: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    fn push(&self, object: Ref<Header>) {
        object.link.store(core::ptr::null_mut(), Ordering::Relaxed);
        match Ref::load(&self.tail) {
            Some(tail) => tail.link.store(object.as_ptr(), Ordering::Relaxed),
            None => self.head.store(object.as_ptr(), Ordering::Relaxed),
        }
        self.tail.store(object.as_ptr(), Ordering::Relaxed);
    }

    fn pop(&self) -> Option<Ref<Header>> {
        let object = Ref::load(&self.head)?;
        let next = object.link.load(Ordering::Relaxed);
        self.head.store(next, Ordering::Relaxed);
        if next.is_null() {
            self.tail.store(next, Ordering::Relaxed);
        }
        Some(object)
    }

    /// Tells whether an object is in the list.
    #[cfg(test)]
    pub(crate) fn contains(&self, object: Ref<Header>) -> bool {
        let mut next = Ref::load(&self.head);
        while let Some(other) = next.filter(|other| *other != object) {
            next = Ref::load(&other.link);
        }
        next.is_some()
    }

    /// Tells whether objects are dying here.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.head.load(Ordering::Relaxed).is_null()
    }
}

/// Begins an object's end; nothing happens if it has begun already.
pub(crate) fn destroy(object: Ref<Header>) {
    if begin_end(object) {
        crate::schedule::expect_work();
    }
}

/// As [`destroy`], where this CPU's lock is held: whoever is to run next need not be looked for because of that.
pub(crate) fn destroy_aside(domain: &Domain, object: Ref<Header>) {
    if begin_end(object) {
        crate::schedule::set_reaper_timer(domain, Cpu::this());
    }
}

fn begin_end(object: Ref<Header>) -> bool {
    // The reaper counts a reference of its own: objects that were abandoned may have lost all others by then.
    if !object.count_if_any() {
        return false;
    }
    let begins = object.mark_dead();
    if begins {
        objects::begin_end(object);
        counters::dying(1);
        Cpu::this().reaper.push(object);
    } else {
        object.release();
    }
    begins
}

/// Goes on with the end of an object that was parked until something else happened; the caller hands over a counted
/// reference.
pub(crate) fn resume(object: Ref<Header>) {
    Cpu::this().reaper.push(object);
    crate::schedule::expect_work();
}

/// Goes on with the end of an object whose step was done early because it had users left: the last of them hands over
/// the reference that was counted for the users.
pub(crate) fn reopen(object: Ref<Header>) {
    counters::dying(1);
    resume(object);
}

/// Tells whether this CPU has dying or retired objects.
pub(crate) fn is_needed() -> bool {
    Cpu::this().reaper.has_work() || epoch::is_waiting()
}

/// How long a thread faults again and again for memory that ending sub-accounts are about to give back, in nanoseconds.
const PATIENCE_NS: u64 = 50_000_000;

/// Gets on with the end of what is about to give memory back to the account of a thread's task, which can't pay for a page.
/// True if the thread shall try again; false if nothing is to come, or did not come in time.
pub(crate) fn wait_for_memory(thread: Ref<Thread>) -> bool {
    let returning = thread.task().account().map_or(0, |account| account.returning());
    let now = machine_now();
    if returning == 0 || thread.starved.for_longer_than(PATIENCE_NS, now) {
        return false;
    }
    work(BUDGET);
    true
}

/// Since when a thread waits for memory, as far as it does nothing else.
pub(crate) struct Starved {
    since: AtomicU64,
    last: AtomicU64,
}

impl Starved {
    /// Tries that are further apart are not of one wait, in nanoseconds.
    const APART_NS: u64 = 10_000_000;

    pub(crate) const fn new() -> Starved {
        Starved {
            since: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
    }

    /// Notes one more try.
    fn for_longer_than(&self, patience: u64, now: u64) -> bool {
        let last = self.last.swap(now, Ordering::Relaxed);
        if last == 0 || now.saturating_sub(last) > Self::APART_NS {
            self.since.store(now, Ordering::Relaxed);
        }
        now.saturating_sub(self.since.load(Ordering::Relaxed)) > patience
    }
}

/// Works on this CPU's dying objects for a while. Tells whether work is left.
pub(crate) fn work(mut budget: u32) -> bool {
    let cpu = Cpu::this();
    let mut stuck = 0;
    while budget > 0 {
        let Some(object) = cpu.reaper.pop() else { break };
        budget -= 1;
        match objects::destroy_step(object, &mut budget) {
            Progress::Parked => continue,
            Progress::Done => {
                objects::notify_watcher(object);
                object.abandon();
                object.release();
                // What a region still shows lives on, without dying.
                counters::dying(-1);
                stuck = 0;
                continue;
            }
            Progress::Unfinished => {}
        }
        cpu.reaper.push(object);
        // An object may wait for others in the list, or for another CPU: try each at most once more.
        stuck += 1;
        if stuck > 8 {
            break;
        }
    }
    let waiting = epoch::collect(BUDGET);
    cpu.reaper.has_work() || waiting
}
