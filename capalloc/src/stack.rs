//! A lock-free stack of free slots. Its links live in the slots' own state words.
//!
//! The head is one 64-bit word: the first free slot and a tag. Every push and every pop increments the tag, so a pop
//! that was interrupted between reading the first slot's link and swinging the head fails if anything happened in
//! between, even if the same slot is first again. The tag has 43 bits: for a wrong success one thread would have to
//! be stopped at exactly this place for 2⁴³ operations of the others, a month at three million a second.

use crate::state::SlotState;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The greatest number of slots of one allocator.
pub const MAX_SLOTS: usize = (LINK_MASK as usize) - 1;

const LINK_BITS: u32 = 21;
pub(crate) const LINK_MASK: u32 = (1 << LINK_BITS) - 1;

/// The position of a slot in its allocator, or the end of a stack. Zero is the end, so an empty stack is all zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(u32);

impl Link {
    /// The link to the slot at `position`, which is below [`MAX_SLOTS`].
    pub(crate) const fn to(position: usize) -> Self {
        debug_assert!(position < MAX_SLOTS);
        Self(position as u32 + 1)
    }

    pub(crate) const fn position(self) -> Option<usize> {
        if self.0 == 0 {
            None
        } else {
            Some(self.0 as usize - 1)
        }
    }

    pub(crate) const fn to_bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// The first free slot of one lane, on a cache line of its own.
#[repr(align(64))]
pub(crate) struct Stack {
    head: AtomicU64,
}

impl Stack {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self {
            head: AtomicU64::new(0),
        }
    }

    /// Puts the slot at `position` on top. The caller owns it: its state is `Unmapping`, which nobody else changes.
    pub(crate) fn push(&self, slots: &[AtomicU32], position: usize) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            let next = first(head);
            slots[position].store(SlotState::Free { next }.to_word(), Ordering::Relaxed);
            let pushed = successor(head, Link::to(position));
            // Release: whoever pops the slot sees its state and everything the unmap did.
            match self
                .head
                .compare_exchange_weak(head, pushed, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(current) => head = current,
            }
        }
    }

    /// Takes the slot on top, or `None` if the stack is empty. The caller owns it and must overwrite its state.
    pub(crate) fn pop(&self, slots: &[AtomicU32]) -> Option<usize> {
        // Acquire: pairs with `push`, so that the link read next belongs to this head or the exchange fails.
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let position = first(head).position()?;
            // If another thread popped the slot meanwhile, this is no link, but then the head has changed too.
            let next = SlotState::link_of(slots[position].load(Ordering::Relaxed));
            let popped = successor(head, next);
            match self
                .head
                .compare_exchange_weak(head, popped, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(position),
                Err(current) => head = current,
            }
        }
    }
}

const fn first(head: u64) -> Link {
    Link::from_bits(head as u32 & LINK_MASK)
}

/// The head that follows `head` when `link` becomes the first slot: the next tag.
const fn successor(head: u64, link: Link) -> u64 {
    let tag = (head >> LINK_BITS).wrapping_add(1);
    (tag << LINK_BITS) | link.to_bits() as u64
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_tag_wraps_without_touching_the_link() {
        let head = successor(u64::MAX, Link::to(5));
        assert_eq!(head >> LINK_BITS, 0);
        assert_eq!(first(head).position(), Some(5));
        assert_ne!(successor(head, Link::to(5)), head);
    }

    #[test]
    fn pops_in_reverse_order_of_pushes() {
        let slots = [const { AtomicU32::new(0) }; 3];
        let stack = Stack::new();
        assert_eq!(stack.pop(&slots), None);
        for position in 0..3 {
            stack.push(&slots, position);
        }
        assert_eq!(
            [stack.pop(&slots), stack.pop(&slots), stack.pop(&slots)],
            [Some(2), Some(1), Some(0)]
        );
        assert_eq!(stack.pop(&slots), None);
    }
}
