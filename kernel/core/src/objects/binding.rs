//! The bond between a gate or notification and the thread that gets its messages.
#![expect(unsafe_code, reason = "a thread's bindings are an intrusive list")]

use super::Irq;
use crate::cpu::{Cpu, Domain};
use crate::object::Ref;
use crate::sync::Guarded;
use crate::thread::Thread;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, Ordering};

/// Part of a gate or notification: the thread it is bound to, and its place in that thread's list.
pub struct Binding {
    thread: AtomicPtr<Thread>,
    /// CPU whose lock guards it while it is unbound: the creator's.
    home: &'static Cpu,
    next: Guarded<Option<NonNull<Binding>>, Domain>,
    previous: Guarded<Option<NonNull<Binding>>, Domain>,
    /// The thread that it was bound to is gone.
    orphaned: Guarded<bool, Domain>,
    /// The notification that the binding is part of, if it is one's; its timer moves with the thread.
    irq: Guarded<Option<Ref<Irq>>, Domain>,
}

// SAFETY: The links are only touched under the lock that guards the binding.
unsafe impl Sync for Binding {}
// SAFETY: As above.
unsafe impl Send for Binding {}

impl Binding {
    pub(super) fn new() -> Binding {
        Binding {
            thread: AtomicPtr::new(core::ptr::null_mut()),
            home: Cpu::this(),
            next: Guarded::new(None),
            previous: Guarded::new(None),
            orphaned: Guarded::new(false),
            irq: Guarded::new(None),
        }
    }

    /// The bound thread.
    #[inline]
    pub fn thread(&self) -> Option<Ref<Thread>> {
        Ref::load(&self.thread)
    }

    /// Locks this CPU and the one that guards the binding now. Returns the bound thread too.
    #[inline]
    pub(crate) fn lock(&self) -> (Domain, Option<Ref<Thread>>) {
        loop {
            let thread = self.thread();
            let domain = match thread {
                Some(thread) => Domain::lock_with(thread),
                None => Domain::lock_pair(Cpu::this(), self.home),
            };
            if self.thread() == thread {
                return (domain, thread);
            }
        }
    }

    /// CPU whose lock guards it while it is unbound.
    #[inline]
    pub(crate) fn home(&self) -> &'static Cpu {
        self.home
    }

    /// Locks what binding and unbinding need: the home of the bound thread, and the binding's own.
    pub(crate) fn lock_all(&self) -> (Domain, Option<Ref<Thread>>) {
        loop {
            let thread = self.thread();
            let home = thread.map_or(self.home, |thread| thread.home());
            let domain = Domain::lock_pair(home, self.home);
            if self.thread() == thread && thread.is_none_or(|thread| core::ptr::eq(thread.home(), home)) {
                return (domain, thread);
            }
        }
    }

    /// Locks the home of `thread` and the binding's own.
    pub(crate) fn lock_queue(&self, thread: Ref<Thread>) -> Domain {
        loop {
            let home = thread.home();
            let domain = Domain::lock_pair(home, self.home);
            if core::ptr::eq(thread.home(), home) {
                return domain;
            }
        }
    }

    /// Tells whether the thread it was bound to is gone.
    pub(crate) fn is_orphaned(&self, domain: &Domain) -> bool {
        self.orphaned.get(domain)
    }

    /// Binds it to `thread`; it is unbound, and [`Self::lock_queue`] of the thread is held.
    pub(super) fn bind(&self, domain: &Domain, thread: Ref<Thread>, irq: Option<Ref<Irq>>) {
        self.irq.set(domain, irq);
        let address = NonNull::from_ref(self);
        let first = thread.bindings.get(domain);
        self.next.set(domain, first);
        self.previous.set(domain, None);
        if let Some(first) = first {
            // SAFETY: A binding is in the list of the thread it names, and leaves it before its object is freed.
            unsafe { first.as_ref() }.previous.set(domain, Some(address));
        }
        thread.bindings.set(domain, Some(address));
        self.orphaned.set(domain, false);
        self.thread.store(thread.as_ptr(), Ordering::Release);
    }

    /// Unbinds it from `thread`; [`Self::lock_all`] is held.
    pub(super) fn unbind(&self, domain: &Domain, thread: Ref<Thread>, orphaned: bool) {
        let (next, previous) = (self.next.get(domain), self.previous.get(domain));
        match previous {
            // SAFETY: As in `bind`.
            Some(previous) => unsafe { previous.as_ref() }.next.set(domain, next),
            None => thread.bindings.set(domain, next),
        }
        if let Some(next) = next {
            // SAFETY: As in `bind`.
            unsafe { next.as_ref() }.previous.set(domain, previous);
        }
        self.next.set(domain, None);
        self.previous.set(domain, None);
        self.orphaned.set(domain, orphaned);
        self.thread.store(core::ptr::null_mut(), Ordering::Release);
    }

    /// Calls `visit` for each notification bound to a thread, whose home is locked.
    pub(super) fn for_each_irq(domain: &Domain, thread: Ref<Thread>, mut visit: impl FnMut(Ref<Irq>)) {
        let mut next = thread.bindings.get(domain);
        while let Some(binding) = next {
            // SAFETY: As in `bind`.
            let binding = unsafe { binding.as_ref() };
            if let Some(irq) = binding.irq.get(domain) {
                visit(irq);
            }
            next = binding.next.get(domain);
        }
    }

    /// Unbinds the first binding of a thread that ends. False if it has none.
    pub(super) fn orphan_one(thread: Ref<Thread>) -> bool {
        let first = thread.bindings.get(&Domain::lock_with(thread));
        let Some(binding) = first else { return false };
        // SAFETY: As in `bind`; the object is not freed before this CPU leaves the kernel.
        let binding = unsafe { binding.as_ref() };
        let domain = binding.lock_queue(thread);
        if binding.thread() == Some(thread) {
            binding.unbind(&domain, thread, true);
        }
        true
    }
}

#[cfg(test)]
impl Binding {
    /// What is bound to a thread, whose home is locked. Checks the links.
    pub(crate) fn list(domain: &Domain, thread: Ref<Thread>) -> std::vec::Vec<*const Binding> {
        let mut found = std::vec::Vec::new();
        let mut next = thread.bindings.get(domain);
        while let Some(address) = next {
            // SAFETY: As in `bind`.
            let binding = unsafe { address.as_ref() };
            assert_eq!(binding.thread(), Some(thread));
            let previous = binding
                .previous
                .get(domain)
                .map(|previous| previous.as_ptr().cast_const());
            assert_eq!(previous, found.last().copied());
            found.push(address.as_ptr().cast_const());
            next = binding.next.get(domain);
        }
        found
    }
}
