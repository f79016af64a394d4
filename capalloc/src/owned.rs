//! A reference to a slot that is released when it goes out of scope.

use core::fmt;
use core::mem::ManuallyDrop;

use crate::allocator::{CapAlloc, Lane, Slot};
use crate::error::SlotError;

/// Removes what a slot holds, when its last reference is gone. Any `Fn(Slot)` is one.
pub trait Unmap {
    /// Empties the slot. It is reused only after this has returned.
    fn unmap(&self, slot: Slot);
}

impl<F: Fn(Slot)> Unmap for F {
    fn unmap(&self, slot: Slot) {
        self(slot);
    }
}

/// One reference to a slot of a [`CapAlloc`], given back when dropped.
///
/// ```
/// use capalloc::{CapAlloc, Lane, Slot};
///
/// let slots: CapAlloc<16> = CapAlloc::new(1);
/// let unmap = |slot: Slot| println!("unmapping {}", slot.index());
/// let first = slots.allocate_owned(Lane(0), unmap)?;
/// let second = first.try_clone()?;
/// drop(first);
/// assert_eq!(slots.references(second.slot()), 1);
/// drop(second); // prints
/// assert_eq!(slots.in_use(), 0);
/// # Ok::<(), capalloc::SlotError>(())
/// ```
pub struct OwnedSlot<'a, U: Unmap, const SLOTS: usize, const LANES: usize = 8> {
    allocator: &'a CapAlloc<SLOTS, LANES>,
    slot: Slot,
    lane: Lane,
    unmap: U,
}

impl<'a, U: Unmap, const SLOTS: usize, const LANES: usize> OwnedSlot<'a, U, SLOTS, LANES> {
    /// Makes the owner of one existing reference to `slot`, for instance one that [`into_raw`](Self::into_raw) gave.
    pub fn adopt(allocator: &'a CapAlloc<SLOTS, LANES>, slot: Slot, lane: Lane, unmap: U) -> Self {
        Self {
            allocator,
            slot,
            lane,
            unmap,
        }
    }

    /// The slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// One more reference to the same slot.
    ///
    /// # Errors
    /// [`SlotError::TooManyReferences`] at the limit.
    pub fn try_clone(&self) -> Result<Self, SlotError>
    where
        U: Clone,
    {
        self.allocator.take(self.slot)?;
        Ok(Self {
            allocator: self.allocator,
            slot: self.slot,
            lane: self.lane,
            unmap: self.unmap.clone(),
        })
    }

    /// Gives up ownership without giving the reference back.
    pub fn into_raw(self) -> Slot {
        ManuallyDrop::new(self).slot
    }
}

impl<U: Unmap, const SLOTS: usize, const LANES: usize> Drop for OwnedSlot<'_, U, SLOTS, LANES> {
    fn drop(&mut self) {
        let released = self
            .allocator
            .release(self.slot, self.lane, |slot| self.unmap.unmap(slot));
        debug_assert!(released.is_ok(), "an owned slot lost its reference: {released:?}");
    }
}

impl<U: Unmap, const SLOTS: usize, const LANES: usize> fmt::Debug for OwnedSlot<'_, U, SLOTS, LANES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedSlot").field(&self.slot).finish()
    }
}
