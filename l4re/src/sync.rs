//! A lock for the threads of a task.
#![expect(unsafe_code, reason = "a lock hands out references to what it guards")]

use crate::clock;
use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};
use l4::{Utcb, utcb};

/// Tries before a waiting thread sleeps.
const SPINS: u32 = 100;
/// How long it sleeps: long enough for a holder of lower priority on the same CPU to go on.
const NAP_NS: u64 = 50_000;

/// A mutual-exclusion lock. Meant for short sections that are rarely contended: waiting is spinning, then sleeping
/// for moments. Its uncontended use makes no system call.
pub struct Mutex<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: The lock lets one thread at a time use the value, which may move between threads.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// An unlocked lock.
    pub const fn new(value: T) -> Mutex<T> {
        Mutex {
            locked: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Locks it, waiting as long as another thread holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let mut tries = 0;
        loop {
            if let Some(guard) = self.try_lock() {
                return guard;
            }
            tries += 1;
            if tries < SPINS {
                core::hint::spin_loop();
            } else {
                nap();
            }
        }
    }

    /// Locks it unless another thread holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let free = self
            .locked
            .compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
        // Only who got the lock may have a guard: dropping one unlocks.
        free.is_ok().then(|| MutexGuard { mutex: self })
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let locked = self.locked.load(Ordering::Relaxed);
        f.debug_struct("Mutex")
            .field("locked", &locked)
            .finish_non_exhaustive()
    }
}

/// Sleeps for a moment and leaves the UTCB as it was, so that a lock may be taken while a message is being made.
fn nap() {
    let utcb = Utcb::current();
    let error = utcb.word(utcb::ERROR_WORD);
    clock::sleep(NAP_NS);
    utcb.set_word(utcb::ERROR_WORD, error);
}

/// Access to what a [`Mutex`] guards; dropping it unlocks.
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: The guard exists, so this thread holds the lock.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As above; the guard is borrowed mutably, so this is the only reference.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.mutex.locked.store(false, Ordering::Release);
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_exclude_each_other() {
        let lock = Mutex::new((0u64, 0u64));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        let Some(mut guard) = lock.try_lock() else {
                            continue;
                        };
                        guard.0 += 1;
                        core::hint::spin_loop();
                        guard.1 += 1;
                        assert_eq!(guard.0, guard.1);
                    }
                });
            }
        });
    }

    #[test]
    fn one_at_a_time() {
        let lock = Mutex::new(1);
        let mut guard = lock.lock();
        for _ in 0..3 {
            assert!(lock.try_lock().is_none());
        }
        *guard += 1;
        drop(guard);
        assert_eq!(lock.try_lock().map(|guard| *guard), Some(2));
    }
}
