//! A thread-safe allocator of capability slots: numbers from a fixed range, with reference counts.
//!
//! A capability slot is an index into a task's capability table. The kernel does not say which indices are in use, so
//! every program needs an allocator for them, and every program with more than one thread needs one that is safe to
//! use from all of them. Nothing here is specific to a kernel: what happens to a slot when its last reference goes
//! (the *unmap*) is supplied by the caller, so the crate serves any table of small integers.
//!
//! What it promises:
//! - **Lock-free.** No operation waits for another thread, so it may be used in any context and at any priority.
//! - **No early reuse.** A slot is handed out again only after the caller's unmap has returned.
//! - **No resurrection.** [`CapAlloc::take`] fails for a slot that is free or being unmapped.
//! - **No overflow.** The reference count has a limit ([`MAX_REFERENCES`]) and an error instead of a wrap-around.
//! - **No scan.** Allocating and releasing take a constant number of steps unless other threads interfere.
//! - **No start-up cost.** A fresh allocator is all zeros, so a `static` one lies in `.bss` and unused slots cost no
//!   memory that is ever touched.
//!
//! ```
//! use capalloc::{CapAlloc, Lane, Release};
//!
//! // Slots 0x16 .. 0x16 + 1024 of this program's capability table.
//! static SLOTS: CapAlloc<1024> = CapAlloc::new(0x16);
//!
//! # fn main() -> Result<(), capalloc::SlotError> {
//! let slot = SLOTS.allocate(Lane(0))?;
//! assert_eq!(slot.index(), 0x16);
//!
//! SLOTS.take(slot)?; // a second user
//! assert_eq!(SLOTS.release(slot, Lane(0), |_| unreachable!("still used"))?, Release::Remaining(1));
//!
//! let unmap = |slot: capalloc::Slot| println!("unmapping {:#x}", slot.index());
//! assert_eq!(SLOTS.release(slot, Lane(0), unmap)?, Release::Freed);
//! # Ok(())
//! # }
//! ```
//!
//! An [`OwnedSlot`] releases its reference when it is dropped.
//!
//! # How it works
//! One word per slot holds the whole state: never used, `n` references, being unmapped, or free with the index of
//! the next free slot. Free slots form stacks, one per [`Lane`], so that threads with different lanes do not touch the
//! same cache line; the head of a stack carries a tag that changes with every operation, which defeats the ABA problem.
//! Slots that were never used lie above a mark that only rises, hence low slots come first and a capability table stays
//! dense.
#![cfg_attr(not(any(test, loom)), no_std)]
#![forbid(unsafe_code)]

mod allocator;
mod error;
mod owned;
mod stack;
mod state;
mod sync;

#[cfg(all(test, loom))]
mod loom_tests;

pub use allocator::{CapAlloc, Lane, Release, Slot};
pub use error::SlotError;
pub use owned::{OwnedSlot, Unmap};
pub use stack::MAX_SLOTS;
pub use state::MAX_REFERENCES;
