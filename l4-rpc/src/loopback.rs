//! A client and a server in one thread, without a kernel: for tests.

use core::cell::RefCell;

use l4::cap::SendItem;
use l4::syscall::Received;
use l4::{CapIndex, Error, IpcError, Rights, Tag, Utcb};

use crate::{Arrival, Incoming, MAX_CAPS, Reply, Transport};

/// Carries requests to a service in the same thread, as the kernel would: words are copied between two sets of message
/// registers. Both sides share one numbering of capabilities, so a slot arrives under its sender's number.
pub struct Loopback<S, D> {
    client: Utcb,
    server: Utcb,
    label: u64,
    state: RefCell<(S, D, Incoming)>,
}

impl<S, D: FnMut(&mut S, &Incoming, &Utcb) -> Reply> Loopback<S, D> {
    /// A way to `service`, whose requests `dispatch` hands over; the caller has all rights and label 0.
    pub fn new(service: S, dispatch: D) -> Loopback<S, D> {
        Loopback {
            client: Utcb::new(),
            server: Utcb::new(),
            label: 3,
            state: RefCell::new((service, dispatch, Incoming::new())),
        }
    }

    /// Changes the caller.
    #[must_use]
    pub fn calling_as(mut self, label: u64, rights: Rights) -> Self {
        self.label = (label & !3) | u64::from(rights.bits() & 3);
        self
    }

    /// Looks at the service.
    pub fn inspect<R>(&self, look: impl FnOnce(&mut S) -> R) -> R {
        look(&mut self.state.borrow_mut().0)
    }
}

impl<S, D> core::fmt::Debug for Loopback<S, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Loopback")
            .field("label", &self.label)
            .finish_non_exhaustive()
    }
}

/// Copies a message, items included, and returns the slots that they name. An item of an empty slot is void, as with the
/// kernel; here slot [`CapIndex::NONE`] is the empty one.
fn transfer(from: &Utcb, to: &Utcb, tag: Tag) -> [CapIndex; MAX_CAPS] {
    for index in 0..tag.words() {
        to.set_word(index, from.word(index));
    }
    let mut slots = [CapIndex::NONE; MAX_CAPS];
    for (index, slot) in slots.iter_mut().enumerate().take(tag.items()) {
        let at = tag.words() + 2 * index;
        let item = SendItem::parse([from.word(at), from.word(at + 1)]);
        let words = item.map_or([0; 2], SendItem::words);
        to.set_word(at, words[0]);
        to.set_word(at + 1, words[1]);
        *slot = item.map_or(CapIndex::NONE, |item| item.cap);
    }
    slots
}

impl<S, D: FnMut(&mut S, &Incoming, &Utcb) -> Reply> Transport for Loopback<S, D> {
    fn utcb(&self) -> &Utcb {
        &self.client
    }

    fn call(&self, tag: Tag, caps: usize, _: u64) -> Result<Arrival, Error> {
        let mut state = self.state.borrow_mut();
        let (service, dispatch, incoming) = &mut *state;
        let slots = transfer(&self.client, &self.server, tag);
        incoming.load(
            &self.server,
            Received {
                tag,
                label: self.label,
            },
            &slots,
        );
        match dispatch(service, incoming, &self.server) {
            Reply::Now(tag) if tag.items() <= caps => {
                let slots = transfer(&self.server, &self.client, tag);
                Ok(Arrival { tag, slots })
            }
            Reply::Now(_) => Err(Error::Ipc(IpcError::ReceiveCut)),
            Reply::Deferred => Err(Error::Ipc(IpcError::ReceiveTimeout)),
        }
    }

    fn discard(&self, _: &[CapIndex]) {}
}

/// By reference, so that a test can keep the loopback and look at the service.
impl<T: Transport> Transport for &T {
    #[inline(always)]
    fn utcb(&self) -> &Utcb {
        (**self).utcb()
    }

    #[inline(always)]
    fn call(&self, tag: Tag, caps: usize, deadline: u64) -> Result<Arrival, Error> {
        (**self).call(tag, caps, deadline)
    }

    fn discard(&self, slots: &[CapIndex]) {
        (**self).discard(slots);
    }
}
