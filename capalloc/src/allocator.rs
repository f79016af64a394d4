//! The allocator.

use crate::error::SlotError;
use crate::owned::{OwnedSlot, Unmap};
use crate::stack::{MAX_SLOTS, Stack};
use crate::state::{MAX_REFERENCES, SlotState};
use crate::sync::{AtomicU32, Ordering};

/// The index of a capability slot in its task's capability table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot with this index.
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// Its index in the capability table.
    pub const fn index(self) -> u32 {
        self.0
    }
}

/// Which stack of free slots to use first: a hint, for instance the number of the calling thread or CPU.
///
/// Any value is right. Threads with different lanes (modulo the allocator's number of lanes) do not disturb each
/// other; a thread whose own lane is empty takes from the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lane(pub usize);

/// What a release did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// That many references remain.
    Remaining(u32),
    /// It was the last reference: the slot was unmapped and is free.
    Freed,
}

/// An allocator of `SLOTS` capability slots with `LANES` stacks of free ones. See the [crate] documentation.
pub struct CapAlloc<const SLOTS: usize, const LANES: usize = 8> {
    /// Index of the slot at position 0.
    first_slot: u32,
    /// Positions from here on were never used.
    fresh: AtomicU32,
    slots: [AtomicU32; SLOTS],
    lanes: [Stack; LANES],
}

impl<const SLOTS: usize, const LANES: usize> CapAlloc<SLOTS, LANES> {
    const SIZE_IS_VALID: () = assert!(
        SLOTS <= MAX_SLOTS && LANES > 0,
        "an allocator has at most MAX_SLOTS slots and at least one lane"
    );

    /// An allocator of the slots `first_slot .. first_slot + SLOTS`, all free.
    ///
    /// # Panics
    /// If that range does not fit into 32 bits; at compile time for a `static`.
    #[cfg(not(loom))]
    pub const fn new(first_slot: u32) -> Self {
        const { Self::SIZE_IS_VALID };
        assert!(
            first_slot as u64 + SLOTS as u64 <= u32::MAX as u64 + 1,
            "the slot range exceeds 32 bits"
        );
        Self {
            first_slot,
            fresh: AtomicU32::new(0),
            slots: [const { AtomicU32::new(SlotState::NeverUsed.to_word()) }; SLOTS],
            lanes: [const { Stack::new() }; LANES],
        }
    }

    /// As outside of the model checker, whose atomics have no constant constructor.
    #[cfg(loom)]
    pub fn new(first_slot: u32) -> Self {
        const { Self::SIZE_IS_VALID };
        Self {
            first_slot,
            fresh: AtomicU32::new(0),
            slots: core::array::from_fn(|_| AtomicU32::new(SlotState::NeverUsed.to_word())),
            lanes: core::array::from_fn(|_| Stack::new()),
        }
    }

    /// Withholds all slots below `first`, for a program that learns only at run time which slots its creator filled.
    ///
    /// # Errors
    /// [`SlotError::AlreadyHandedOut`] if such a slot was allocated before; [`SlotError::OutOfRange`] if `first`
    /// lies below the range or more than one past its end.
    pub fn reserve_below(&self, first: Slot) -> Result<(), SlotError> {
        let outside = SlotError::OutOfRange(first);
        let position = first.index().checked_sub(self.first_slot).ok_or(outside)?;
        if position as usize > SLOTS {
            return Err(outside);
        }
        let raise = |fresh| (fresh <= position).then_some(position);
        match self
            .fresh
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise)
        {
            Ok(_) => Ok(()),
            Err(_) => Err(SlotError::AlreadyHandedOut(first)),
        }
    }

    /// Takes a free slot; it has one reference. The slot freed last in `lane` comes first, then the lowest unused one.
    ///
    /// # Errors
    /// [`SlotError::Exhausted`] if no slot was found free. While other threads release slots, one that becomes free
    /// during the call can be missed.
    pub fn allocate(&self, lane: Lane) -> Result<Slot, SlotError> {
        let position = self.find_free(lane).ok_or(SlotError::Exhausted)?;
        // Relaxed: the slot reaches another thread only through some synchronisation of the caller's.
        self.slots[position].store(SlotState::InUse(1).to_word(), Ordering::Relaxed);
        Ok(Slot(self.first_slot + position as u32))
    }

    /// As [`allocate`](Self::allocate), with an owner that releases the reference when it is dropped.
    ///
    /// # Errors
    /// As `allocate`.
    pub fn allocate_owned<U: Unmap>(
        &self,
        lane: Lane,
        unmap: U,
    ) -> Result<OwnedSlot<'_, U, SLOTS, LANES>, SlotError> {
        Ok(OwnedSlot::adopt(self, self.allocate(lane)?, lane, unmap))
    }

    /// Adds a reference to a slot that has at least one.
    ///
    /// # Errors
    /// [`SlotError::NotAllocated`] if it has none, [`SlotError::TooManyReferences`] at the limit,
    /// [`SlotError::OutOfRange`] if it is not this allocator's.
    pub fn take(&self, slot: Slot) -> Result<(), SlotError> {
        let word = self.word(slot)?;
        let mut current = word.load(Ordering::Relaxed);
        loop {
            let taken = match SlotState::from_word(current) {
                SlotState::InUse(MAX_REFERENCES) => return Err(SlotError::TooManyReferences(slot)),
                SlotState::InUse(references) => SlotState::InUse(references + 1).to_word(),
                _ => return Err(SlotError::NotAllocated(slot)),
            };
            match word.compare_exchange_weak(current, taken, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => current = changed,
            }
        }
    }

    /// Gives a reference back. If it was the last one, `unmap` is called and the slot is free once it has returned.
    ///
    /// `unmap` may use the allocator. If it panics, the slot stays out of use.
    ///
    /// # Errors
    /// [`SlotError::NotAllocated`] if the slot has no reference, [`SlotError::OutOfRange`] if it is not this allocator's.
    pub fn release(&self, slot: Slot, lane: Lane, unmap: impl FnOnce(Slot)) -> Result<Release, SlotError> {
        let word = self.word(slot)?;
        let mut current = word.load(Ordering::Relaxed);
        let left = loop {
            let (left, released) = match SlotState::from_word(current) {
                SlotState::InUse(1) => (0, SlotState::Unmapping),
                SlotState::InUse(references) => (references - 1, SlotState::InUse(references - 1)),
                _ => return Err(SlotError::NotAllocated(slot)),
            };
            // Release and acquire: what every former holder did with the slot happens before it is unmapped.
            match word.compare_exchange_weak(current, released.to_word(), Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break left,
                Err(changed) => current = changed,
            }
        };
        if left > 0 {
            return Ok(Release::Remaining(left));
        }
        unmap(slot);
        self.lanes[lane.0 % LANES].push(&self.slots, self.position(slot)?);
        Ok(Release::Freed)
    }

    /// The number of references of a slot: 0 if it is free, being unmapped or not this allocator's.
    ///
    /// With other threads at work the answer may be outdated at once: for checks and tests.
    pub fn references(&self, slot: Slot) -> u32 {
        match self
            .word(slot)
            .map(|word| SlotState::from_word(word.load(Ordering::Relaxed)))
        {
            Ok(SlotState::InUse(references)) => references,
            _ => 0,
        }
    }

    /// The number of slots that are in use or being unmapped, by looking at every slot: for leak checks.
    pub fn in_use(&self) -> usize {
        let is_held = |word: &&AtomicU32| {
            matches!(
                SlotState::from_word(word.load(Ordering::Relaxed)),
                SlotState::InUse(_) | SlotState::Unmapping
            )
        };
        self.slots.iter().filter(is_held).count()
    }

    /// The index of the first slot of the range.
    pub const fn first_slot(&self) -> Slot {
        Slot(self.first_slot)
    }

    fn find_free(&self, lane: Lane) -> Option<usize> {
        let own = lane.0 % LANES;
        if let Some(position) = self.lanes[own].pop(&self.slots) {
            return Some(position);
        }
        let raise = |fresh| ((fresh as usize) < SLOTS).then(|| fresh + 1);
        if let Ok(position) = self
            .fresh
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise)
        {
            return Some(position as usize);
        }
        (1..LANES).find_map(|offset| self.lanes[(own + offset) % LANES].pop(&self.slots))
    }

    fn position(&self, slot: Slot) -> Result<usize, SlotError> {
        match slot.0.checked_sub(self.first_slot) {
            Some(position) if (position as usize) < SLOTS => Ok(position as usize),
            _ => Err(SlotError::OutOfRange(slot)),
        }
    }

    fn word(&self, slot: Slot) -> Result<&AtomicU32, SlotError> {
        Ok(&self.slots[self.position(slot)?])
    }
}

impl<const SLOTS: usize, const LANES: usize> core::fmt::Debug for CapAlloc<SLOTS, LANES> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CapAlloc")
            .field("first_slot", &self.first_slot)
            .field("slots", &SLOTS)
            .field("in_use", &self.in_use())
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_reference_count_stops_at_its_limit() {
        let slots: CapAlloc<1> = CapAlloc::new(0);
        let slot = slots.allocate(Lane(0)).unwrap();
        slots.slots[0].store(SlotState::InUse(MAX_REFERENCES - 1).to_word(), Ordering::Relaxed);
        assert_eq!(slots.take(slot), Ok(()));
        assert_eq!(slots.take(slot), Err(SlotError::TooManyReferences(slot)));
        let left = Release::Remaining(MAX_REFERENCES - 1);
        assert_eq!(slots.release(slot, Lane(0), |_| unreachable!()), Ok(left));
    }
}
