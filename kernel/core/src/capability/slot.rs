//! One slot: an atomic object word, a label, and links of the derivation tree.
#![expect(
    unsafe_code,
    reason = "slots hold raw references that the derivation tree keeps valid"
)]

use crate::object::{Header, Ref};
use crate::thread::Thread;
use core::cell::Cell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::Rights;

const RIGHTS_MASK: u64 = 0x1f;
const REPLY: u64 = 0x20;
/// Was filled at some time: what a template has in this place does not count any more.
const TOUCHED: u64 = 1 << 48;
const COUNTER_SHIFT: u32 = 49;
const POINTER_MASK: u64 = 0x0000_ffff_ffff_ffc0;

/// A capability as found in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The object.
    pub object: Ref<Header>,
    /// What may be done with it.
    pub rights: Rights,
    /// What the bound thread sees of a message sent through it; 0 for all objects but gates.
    pub label: u64,
}

/// An object as a slot names it.
pub(crate) struct Live {
    /// The object.
    pub(crate) object: Ref<Header>,
    /// The slot's word, which changes with each change of the slot.
    pub(crate) word: u64,
}

impl Live {
    /// What may be done with the object.
    #[inline(always)]
    pub(crate) fn rights(&self) -> Rights {
        rights(self.word)
    }
}

/// What is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// Nothing.
    Empty,
    /// A capability.
    Object(Capability),
    /// The right to answer a caller, with the number of the call.
    Reply(Ref<Thread>, u64),
}

/// A slot. Its address is stable while its table exists.
#[repr(C, align(32))]
pub struct Slot {
    /// Bits 0–4 rights, 5 reply, 6–47 object address, 48 touched, 49–63 a counter of changes.
    word: AtomicU64,
    label: AtomicU64,
    /// Neighbours in the derivation tree's preorder; guarded by the object's derivation lock.
    pub(super) next: Cell<Option<NonNull<Slot>>>,
    /// Previous neighbour's address, with the depth in the tree in the lowest five bits.
    previous: Cell<u64>,
}

// SAFETY: `word` and `label` are atomics; the links are only touched under the object's derivation lock.
unsafe impl Sync for Slot {}
// SAFETY: As above.
unsafe impl Send for Slot {}

/// Deepest level of a derivation tree; what is derived there becomes a sibling.
pub(super) const MAX_DEPTH: u8 = 31;

impl Default for Slot {
    fn default() -> Slot {
        Slot::new()
    }
}

impl Slot {
    /// An empty slot.
    pub const fn new() -> Slot {
        Slot {
            word: AtomicU64::new(0),
            label: AtomicU64::new(0),
            next: Cell::new(None),
            previous: Cell::new(0),
        }
    }

    /// What is in the slot, read without a lock: one consistent state that the slot had in the meantime.
    #[inline]
    pub fn read(&self) -> SlotState {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let label = self.label.load(Ordering::Acquire);
            if self.word.load(Ordering::Relaxed) == word {
                return decode(word, label);
            }
        }
    }

    /// The capability in the slot as it stands there, without its label, unless its object's end has begun.
    #[inline(always)]
    pub(crate) fn live(&self) -> Option<Live> {
        let word = self.word.load(Ordering::Acquire);
        if word & REPLY != 0 {
            return None;
        }
        let object = NonNull::new(address(word) as *mut Header)?;
        // SAFETY: As in `decode`.
        let object = unsafe { Ref::from_raw(object) };
        (!object.is_dead()).then_some(Live { object, word })
    }

    /// The capability of which [`Self::live`] said that its word is `word`; `None` if the slot has changed meanwhile.
    #[inline(always)]
    pub(crate) fn capability(&self, word: u64) -> Option<Capability> {
        let label = self.label.load(Ordering::Acquire);
        if self.word.load(Ordering::Relaxed) != word {
            return None;
        }
        let object = NonNull::new(address(word) as *mut Header)?;
        Some(Capability {
            // SAFETY: As in `decode`.
            object: unsafe { Ref::from_raw(object) },
            rights: rights(word),
            label,
        })
    }

    /// Tells whether the slot is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.word.load(Ordering::Relaxed) & POINTER_MASK == 0
    }

    fn fill(&self, bits: u64, label: u64) {
        let counter = self.word.load(Ordering::Relaxed) >> COUNTER_SHIFT;
        // Empty with a new counter first, so that no reader pairs the old word with the new label.
        self.word.store(empty(counter.wrapping_add(1)), Ordering::Relaxed);
        self.label.store(label, Ordering::Release);
        self.word
            .store(empty(counter.wrapping_add(2)) | bits, Ordering::Release);
    }

    /// Fills the slot; the caller holds the table's lock and the object's derivation lock.
    pub(super) fn set_capability(&self, capability: Capability) {
        let address = capability.object.as_ptr() as u64 & POINTER_MASK;
        self.fill(address | u64::from(capability.rights.bits()), capability.label);
    }

    /// Fills the slot with the right to answer `caller`; the caller of this holds the table's lock and that of
    /// the calling thread's home CPU.
    pub(crate) fn set_reply(&self, caller: Ref<Thread>, call: u64) {
        self.fill((caller.as_ptr() as u64 & POINTER_MASK) | REPLY, call);
        crate::counters::capability(1);
    }

    /// Empties the slot.
    pub(super) fn set_empty(&self) {
        let counter = self.word.load(Ordering::Relaxed) >> COUNTER_SHIFT;
        self.word.store(empty(counter.wrapping_add(1)), Ordering::Release);
    }

    /// Tells whether the slot was ever filled or hidden; if not, a template's counts in its place.
    #[inline(always)]
    pub(super) fn is_touched(&self) -> bool {
        self.word.load(Ordering::Acquire) & TOUCHED != 0
    }

    /// Hides what a template has in the place of this empty slot; the table's lock is held.
    pub(super) fn hide(&self) {
        debug_assert!(self.is_empty());
        self.word.fetch_or(TOUCHED, Ordering::Release);
    }

    /// Empties a slot that holds a reply capability; the caller holds the lock of the calling thread's home CPU.
    pub(crate) fn clear_reply(&self) {
        self.set_empty();
        crate::counters::capability(-1);
    }

    /// [`Self::clear_reply`] of a slot known by its address, which a caller's `reply_holder` names.
    pub(crate) fn clear_reply_at(slot: NonNull<Slot>) {
        // SAFETY: A reply capability stands in its slot until it is cleared under the caller's home lock, which is held;
        // the table lives at least as long as something stands in it.
        unsafe { slot.as_ref() }.clear_reply();
    }

    /// Depth in the derivation tree.
    pub(super) fn depth(&self) -> u8 {
        (self.previous.get() & 0x1f) as u8
    }

    pub(super) fn set_depth(&self, depth: u8) {
        self.previous
            .set(self.previous.get() & !0x1f | u64::from(depth & 0x1f));
    }

    pub(super) fn previous(&self) -> Option<NonNull<Slot>> {
        NonNull::new((self.previous.get() & !0x1f) as *mut Slot)
    }

    pub(super) fn set_previous(&self, previous: Option<NonNull<Slot>>) {
        let address = previous.map_or(0, |slot| slot.as_ptr() as u64);
        self.previous.set(address | self.previous.get() & 0x1f);
    }
}

/// The word of an empty slot that was touched.
const fn empty(counter: u64) -> u64 {
    (counter << COUNTER_SHIFT) | TOUCHED
}

/// The address in an object word; bit 47 is extended, as the processor wants it.
fn address(word: u64) -> u64 {
    ((((word & POINTER_MASK) << 16) as i64) >> 16) as u64
}

fn rights(word: u64) -> Rights {
    Rights::from_bits_truncate((word & RIGHTS_MASK) as u8)
}

fn decode(word: u64, label: u64) -> SlotState {
    let pointer = address(word);
    if word & REPLY != 0 {
        return match NonNull::new(pointer as *mut Thread) {
            // SAFETY: A thread clears the slot that holds the right to answer it before it is retired, so the address is
            // that of a thread which is not freed before this CPU leaves the kernel.
            Some(thread) => SlotState::Reply(unsafe { Ref::from_raw(thread) }, label),
            None => SlotState::Empty,
        };
    }
    match NonNull::new(pointer as *mut Header) {
        Some(object) => SlotState::Object(Capability {
            // SAFETY: All slots of an object are emptied before it is retired, so what was read here is not freed before
            // this CPU leaves the kernel.
            object: unsafe { Ref::from_raw(object) },
            rights: rights(word),
            label,
        }),
        None => SlotState::Empty,
    }
}
