//! What can go wrong.

use core::fmt;

use crate::Slot;

/// Why an operation on a slot was refused. Nothing has changed when one of these is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotError {
    /// Every slot is in use or being unmapped.
    Exhausted,
    /// The slot is not part of the allocator's range.
    OutOfRange(Slot),
    /// The slot has no reference: it was never allocated, is free, or is being unmapped.
    NotAllocated(Slot),
    /// The slot has [`MAX_REFERENCES`](crate::MAX_REFERENCES) references already.
    TooManyReferences(Slot),
    /// Slots can be reserved only before any of them was handed out; this one was asked for too late.
    AlreadyHandedOut(Slot),
}

impl fmt::Display for SlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exhausted => {
                f.write_str("no capability slot is free: release some or enlarge the allocator")
            }
            Self::OutOfRange(slot) => write!(
                f,
                "capability slot {:#x} is outside the allocator's range",
                slot.index()
            ),
            Self::NotAllocated(slot) => write!(f, "capability slot {:#x} is not allocated", slot.index()),
            Self::TooManyReferences(slot) => {
                write!(
                    f,
                    "capability slot {:#x} has the greatest possible number of references",
                    slot.index()
                )
            }
            Self::AlreadyHandedOut(slot) => {
                write!(
                    f,
                    "slots below {:#x} were handed out already: reserve before the first allocation",
                    slot.index()
                )
            }
        }
    }
}

impl core::error::Error for SlotError {}
