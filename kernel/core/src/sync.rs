//! Spin locks with an order, and cells that a lock elsewhere guards.
#![expect(unsafe_code, reason = "interior mutability behind a lock")]

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

/// The order in which locks may be taken: only upwards. Debug builds check it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Rank {
    /// A CPU's threads (two of them: lower CPU first; see [`crate::cpu::Domain`]).
    Cpu = 0,
    /// A task's capability table.
    CapTable,
    /// An object's derivation tree.
    Derivation,
    /// A task's address space.
    Space,
    /// A dataspace.
    Dataspace,
    /// A spawn gate's list of clones.
    Clones,
    /// An account.
    Account,
    /// The frame allocator.
    Frames,
    /// The interrupt lines.
    Lines,
}

/// A lock that spins. The kernel runs with interrupts off, so the holder is never interrupted; while spinning, a CPU
/// serves TLB requests, so that a holder may wait for it to do so.
pub struct SpinLock<T> {
    locked: AtomicBool,
    #[cfg(debug_assertions)]
    rank: Rank,
    value: UnsafeCell<T>,
}

// SAFETY: The lock hands out the value to one holder at a time.
unsafe impl<T: Send> Sync for SpinLock<T> {}
// SAFETY: As above; moving the lock moves the value.
unsafe impl<T: Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A lock of the given rank around `value`.
    pub const fn new(rank: Rank, value: T) -> SpinLock<T> {
        let _ = rank;
        SpinLock {
            locked: AtomicBool::new(false),
            #[cfg(debug_assertions)]
            rank,
            value: UnsafeCell::new(value),
        }
    }

    /// Waits until the lock is free and takes it.
    #[inline]
    pub fn lock(&self) -> Guard<'_, T> {
        #[cfg(debug_assertions)]
        order::enter(self.rank);
        while self.locked.swap(true, Ordering::Acquire) {
            while self.locked.load(Ordering::Relaxed) {
                crate::tlb::serve();
                core::hint::spin_loop();
            }
        }
        Guard { lock: self }
    }

    /// The value, for who has the only reference.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

/// A taken lock.
pub struct Guard<'a, T> {
    lock: &'a SpinLock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: The guard exists, so the lock is ours.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: The guard exists and is borrowed mutably, so this is the only reference.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        order::leave(self.lock.rank);
        self.lock.locked.store(false, Ordering::Release);
    }
}

/// A value that some lock elsewhere guards: whoever touches it shows the proof `P` that the lock is held.
///
/// Values are copied in and out, so no reference into the cell ever exists.
pub struct Guarded<T, P> {
    value: UnsafeCell<T>,
    proof: core::marker::PhantomData<fn(&P)>,
}

// SAFETY: Access needs a proof that the guarding lock is held, so there is one accessor at a time; values are plain data
// and pointers to objects that any CPU may use. That it is the right lock is for the owner of the field to see to.
unsafe impl<T, P> Sync for Guarded<T, P> {}
// SAFETY: As above.
unsafe impl<T, P> Send for Guarded<T, P> {}

impl<T: Copy, P> Guarded<T, P> {
    /// A guarded value.
    pub const fn new(value: T) -> Guarded<T, P> {
        Guarded {
            value: UnsafeCell::new(value),
            proof: core::marker::PhantomData,
        }
    }

    /// A copy of the value.
    #[inline(always)]
    pub fn get(&self, _proof: &P) -> T {
        // SAFETY: The proof says that we are the only accessor, and no reference into the cell exists.
        unsafe { *self.value.get() }
    }

    /// Replaces the value.
    #[inline(always)]
    pub fn set(&self, _proof: &P, value: T) {
        // SAFETY: As in `get`.
        unsafe { *self.value.get() = value }
    }
}

#[cfg(debug_assertions)]
pub(crate) mod order {
    //! Checks that locks are taken in the order of their ranks: one bit per rank and CPU.
    use super::Rank;
    use crate::machine::machine_cpu;
    use core::sync::atomic::{AtomicU32, Ordering};

    static HELD: [AtomicU32; crate::cpu::MAX_CPUS] = [const { AtomicU32::new(0) }; crate::cpu::MAX_CPUS];

    pub(crate) fn enter(rank: Rank) {
        let held = &HELD[machine_cpu() as usize];
        let before = held.load(Ordering::Relaxed);
        assert!(
            before >> (rank as u32) == 0,
            "lock order: {rank:?} taken while holding {before:#b}"
        );
        held.store(before | 1 << rank as u32, Ordering::Relaxed);
    }

    pub(crate) fn leave(rank: Rank) {
        let held = &HELD[machine_cpu() as usize];
        held.store(
            held.load(Ordering::Relaxed) & !(1 << rank as u32),
            Ordering::Relaxed,
        );
    }

    /// Tells whether this CPU holds no lock.
    pub(crate) fn holds_none() -> bool {
        HELD[machine_cpu() as usize].load(Ordering::Relaxed) == 0
    }
}
