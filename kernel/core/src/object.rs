//! What all kernel objects have in common: a header, references to them, and their end.
//!
//! An object lives in memory of its account. [`Ref`] is a plain pointer that is good until the CPU leaves the
//! kernel; who keeps one longer counts it ([`Ref::acquire`]). An object ends in three steps: it is marked dead and given
//! to the [`crate::reaper`], which takes it apart in pieces; when the last counted reference is gone it is retired; when
//! every CPU has left the kernel once, its memory returns to its account.
#![expect(unsafe_code, reason = "references to objects in the kernel's own memory")]

use crate::account::Account;
use crate::capability::Slot;
use crate::sync::{Rank, SpinLock};
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The kinds of kernel objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[expect(missing_docs, reason = "named as the objects are")]
pub enum Kind {
    Factory,
    Task,
    Thread,
    Gate,
    SpawnGate,
    Irq,
    Dataspace,
    Snapshot,
    Scheduler,
    Icu,
    Vcon,
    Debug,
    Platform,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = 13;
}

/// A kernel object's type: its struct is `repr(C)` and starts with the header.
///
/// # Safety
/// The struct must be `#[repr(C)]` with a [`Header`] of kind [`Object::KIND`] as its first field.
pub unsafe trait Object: Sized {
    /// The kind that marks this type.
    const KIND: Kind;
}

/// The first field of every kernel object.
#[repr(C)]
pub struct Header {
    kind: Kind,
    /// Size in units of 64 bytes.
    units: u8,
    dead: AtomicBool,
    /// The reference of the object's own existence is still counted.
    exists: AtomicBool,
    /// Whoever makes the object is done with that; see [`Making`].
    is_made: AtomicBool,
    references: AtomicU32,
    /// The account that pays; none only for the first account and the machine's own objects.
    account: Option<Ref<Account>>,
    /// First slot of the derivation tree in preorder.
    pub(crate) derivation: SpinLock<Option<NonNull<Slot>>>,
    /// Irq to trigger at the end (or when a gate has no clients).
    pub(crate) watcher: AtomicPtr<crate::objects::Irq>,
    /// Neighbours in the account's list of objects, guarded by the account's lock.
    pub(crate) next: AtomicPtr<Header>,
    pub(crate) previous: AtomicPtr<Header>,
    /// Link in the reaper's or the epoch's list; an object is in one of them at most.
    pub(crate) link: AtomicPtr<Header>,
    name: [AtomicU64; 2],
}

// SAFETY: All fields are atomics or locked; the derivation tree's slots are only touched under its lock.
unsafe impl Sync for Header {}
// SAFETY: As above.
unsafe impl Send for Header {}

impl Header {
    /// A header for a new object of `units` × 64 bytes, with one counted reference: that of its existence.
    pub const fn new(kind: Kind, units: u8, account: Option<Ref<Account>>) -> Header {
        Header {
            kind,
            units,
            dead: AtomicBool::new(false),
            exists: AtomicBool::new(true),
            is_made: AtomicBool::new(true),
            references: AtomicU32::new(1),
            account,
            derivation: SpinLock::new(Rank::Derivation, None),
            watcher: AtomicPtr::new(core::ptr::null_mut()),
            next: AtomicPtr::new(core::ptr::null_mut()),
            previous: AtomicPtr::new(core::ptr::null_mut()),
            link: AtomicPtr::new(core::ptr::null_mut()),
            name: [AtomicU64::new(0), AtomicU64::new(0)],
        }
    }

    /// As [`Header::new`], for an object that is [`Making`].
    pub(crate) const fn in_making(kind: Kind, units: u8, account: Ref<Account>) -> Header {
        let mut header = Header::new(kind, units, Some(account));
        header.is_made = AtomicBool::new(false);
        header
    }

    /// Tells whether the object is complete, so that it can be taken apart.
    #[inline]
    pub(crate) fn is_made(&self) -> bool {
        self.is_made.load(Ordering::Acquire)
    }

    /// What the object is.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Size in units of 64 bytes.
    pub fn units(&self) -> u8 {
        self.units
    }

    /// The account that pays for the object.
    pub fn account(&self) -> Option<Ref<Account>> {
        self.account
    }

    /// Tells whether the object's end has begun.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Begins the object's end. True for the one caller that did.
    pub(crate) fn mark_dead(&self) -> bool {
        !self.dead.swap(true, Ordering::AcqRel)
    }

    /// Whether the object's end is over and others still use it.
    #[cfg(test)]
    pub(crate) fn lives_on(&self) -> bool {
        !self.exists.load(Ordering::Acquire) && self.references.load(Ordering::Acquire) > 0
    }

    /// Names the object for dumps.
    pub fn set_name(&self, words: [u64; 2]) {
        for (slot, word) in self.name.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
    }

    /// The object's name as text; bytes that are no printable ASCII become dots.
    pub fn name(&self) -> Name {
        let mut bytes = [0; 16];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(&self.name) {
            chunk.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
        }
        Name(bytes)
    }
}

/// An object's name.
pub struct Name([u8; 16]);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.iter().take_while(|byte| **byte != 0).try_for_each(|byte| {
            f.write_char(if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '.'
            })
        })
    }
}

/// A new object that somebody is still at work on, in one stay in the kernel. As soon as its account lists it, its end can begin
/// on another CPU; but nothing of it is taken apart before this value is dropped.
pub(crate) struct Making<T: Object>(Ref<T>);

impl<T: Object> Making<T> {
    /// # Safety
    /// The object's header is one of [`Header::in_making`], and there is no other value for the object.
    pub(crate) unsafe fn new(object: Ref<T>) -> Making<T> {
        Making(object)
    }

    /// The object.
    #[inline]
    pub(crate) fn object(&self) -> Ref<T> {
        self.0
    }

    /// The object, complete.
    #[inline]
    pub(crate) fn finish(self) -> Ref<T> {
        self.0
    }
}

impl<T: Object> Drop for Making<T> {
    #[inline]
    fn drop(&mut self) {
        self.0.erase().is_made.store(true, Ordering::Release);
    }
}

/// A pointer to a kernel object, good until the CPU leaves the kernel unless it is counted.
#[repr(transparent)]
pub struct Ref<T>(NonNull<T>, PhantomData<T>);

impl<T> Clone for Ref<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Ref<T> {}

impl<T> PartialEq for Ref<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Ref<T> {}

impl<T> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:p}", self.0)
    }
}

// SAFETY: Objects are `Sync`; the pointer itself is plain data.
unsafe impl<T: Sync> Send for Ref<T> {}
// SAFETY: As above.
unsafe impl<T: Sync> Sync for Ref<T> {}

impl<T> Deref for Ref<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: A `Ref` is made from a live object's address (`from_raw`), found in this stay in the kernel or
        // counted; the epoch rule keeps the memory until this CPU has left the kernel.
        unsafe { self.0.as_ref() }
    }
}

impl<T> Ref<T> {
    /// A reference from an address.
    ///
    /// # Safety
    /// `pointer` must be the address of an object of this type that is not freed before this CPU leaves the kernel,
    /// or as long as the `Ref` is kept if that is longer.
    #[inline]
    pub const unsafe fn from_raw(pointer: NonNull<T>) -> Ref<T> {
        Ref(pointer, PhantomData)
    }

    /// The object's address.
    #[inline]
    pub const fn as_ptr(self) -> *mut T {
        self.0.as_ptr()
    }

    /// A reference to an object that exists as long as the kernel.
    pub const fn from_static(object: &'static T) -> Ref<T> {
        // SAFETY: A static object is never freed.
        unsafe { Ref::from_raw(NonNull::from_ref(object)) }
    }

    /// What an atomic pointer to an object holds. The pointer must only ever be set from `Ref`s that are valid
    /// while they stand there.
    #[inline]
    pub fn load(pointer: &AtomicPtr<T>) -> Option<Ref<T>> {
        // SAFETY: By the rule above, a non-null pointer is that of an object that was live when the CPU entered the
        // kernel or later.
        NonNull::new(pointer.load(Ordering::Acquire)).map(|pointer| unsafe { Ref::from_raw(pointer) })
    }
}

impl<T: Object> Ref<T> {
    /// The object without its type.
    #[inline]
    pub fn erase(self) -> Ref<Header> {
        Ref(self.0.cast(), PhantomData)
    }

    /// Counts this reference, so that the object's memory stays until [`Self::release`].
    /// False, and nothing counted, if the object's end has begun.
    pub fn acquire(self) -> bool {
        self.erase().acquire()
    }

    /// Gives back a counted reference.
    pub fn release(self) {
        self.erase().release();
    }
}

impl Ref<Header> {
    /// The object as what it is, `None` if it is of another kind.
    #[inline]
    pub fn downcast<T: Object>(self) -> Option<Ref<T>> {
        if self.kind == T::KIND {
            Some(Ref(self.0.cast(), PhantomData))
        } else {
            None
        }
    }

    /// As [`Ref::acquire`] of the typed reference.
    pub fn acquire(self) -> bool {
        !self.is_dead() && self.count_if_any()
    }

    /// Counts this reference unless none is counted any more: then the object is being freed.
    pub(crate) fn count_if_any(self) -> bool {
        let mut count = self.references.load(Ordering::Relaxed);
        while count != 0 {
            match self
                .references
                .compare_exchange_weak(count, count + 1, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => count = now,
            }
        }
        false
    }

    /// As [`Ref::release`] of the typed reference.
    pub fn release(self) {
        if self.references.fetch_sub(1, Ordering::AcqRel) == 1 {
            if self.mark_dead() {
                crate::objects::begin_end(self);
            }
            crate::counters::dying(1);
            crate::epoch::retire(self);
        }
    }

    /// Gives up the reference of the object's own existence: it ends when nobody counts it any more.
    pub(crate) fn abandon(self) {
        if self.exists.swap(false, Ordering::AcqRel) {
            self.release();
        }
    }
}
