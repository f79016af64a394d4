//! The loop of a server: waits for requests on the gates bound to its thread, answers, and looks after the
//! capabilities that come along.

use crate::console::SavedMessage;
use crate::slots::{OwnedCap, Slot};
use crate::start::current_thread;
use l4::object::{Factory, Gate, Thread};
use l4::protocol::IRQ;
use l4::syscall::{self, Received};
use l4::{CapIndex, Error, NEVER, Utcb};
use l4_rpc::{Incoming, MAX_CAPS, Reply};

/// What a server does. Several interfaces may be served by one thread: `serve` looks at the label of the caller, which
/// says which object is meant, and at the protocol.
pub trait Service {
    /// Handles a request, a notification (protocol [`IRQ`]) or a fault (protocol [`l4::protocol::EXCEPTION`]). The
    /// dispatcher of an interface gives the answer to a request; whoever answers later calls [`keep_caller`] and returns
    /// [`Reply::Deferred`].
    fn serve(&mut self, incoming: &Incoming, utcb: &Utcb) -> Reply;

    /// When [`Self::timeout`] is to be called, in nanoseconds of the kernel clock.
    fn deadline(&self) -> u64 {
        NEVER
    }

    /// Called when the deadline has passed.
    fn timeout(&mut self) {}

    /// Asked after each message and timeout; ends the loop.
    fn is_finished(&self) -> bool {
        false
    }
}

/// A closure serves for ever, without deadlines.
impl<F: FnMut(&Incoming, &Utcb) -> Reply> Service for F {
    fn serve(&mut self, incoming: &Incoming, utcb: &Utcb) -> Reply {
        self(incoming, utcb)
    }
}

/// Creates a gate bound to the calling thread, paid for by the task's own factory.
///
/// # Errors
/// Those of [`Factory::create_gate`]; [`Error::NoSpace`] if no slot is free.
pub fn create_gate(label: u64) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| Factory(CapIndex::FACTORY).create_gate(label, current_thread(), slot))
}

/// Binds a gate that was given to the program for serving, to the calling thread.
///
/// # Errors
/// Those of [`Gate::bind`].
pub fn bind_gate(gate: CapIndex, label: u64) -> Result<(), Error> {
    Gate(gate).bind(label, current_thread())
}

/// Takes the right to answer the caller of the message being served, to use it later with [`answer`]. The caller's
/// message in the UTCB stays.
///
/// # Errors
/// [`Error::NoSpace`] if no slot is free; those of [`Thread::take_reply`].
pub fn keep_caller() -> Result<OwnedCap, Error> {
    let _saved = SavedMessage::new();
    Slot::fill(|slot| Thread(current_thread()).take_reply(slot))
}

/// Answers a caller that was kept. The message stands in the UTCB, as `tag` says.
pub fn answer(caller: OwnedCap, tag: l4::Tag) {
    // A caller that is gone needs no answer.
    let _ = syscall::reply(Some(caller.index()), tag);
}

/// A server's loop with what it keeps between messages.
#[derive(Debug)]
pub struct Server {
    incoming: Incoming,
    /// Empty slots for the capabilities of the next message.
    offered: [Option<Slot>; MAX_CAPS],
}

impl Server {
    /// A loop that accepts capabilities in messages.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if there are not enough slots.
    pub fn new() -> Result<Server, Error> {
        let mut server = Server {
            incoming: Incoming::new(),
            offered: [const { None }; MAX_CAPS],
        };
        for place in &mut server.offered {
            *place = Some(Slot::allocate()?);
        }
        Ok(server)
    }

    /// Serves until the service is finished.
    pub fn run(&mut self, service: &mut (impl Service + ?Sized)) {
        let mut answer = None;
        while !service.is_finished() {
            let received = self.receive(answer.take(), service.deadline());
            if !received.tag.is_error() {
                answer = self.serve(service, received);
            } else if service.deadline() != NEVER && crate::clock::now_ns() >= service.deadline() {
                service.timeout();
            }
            // Else a caller went away before its answer, or sent more capabilities than fit: nothing to do.
        }
        if let Some(tag) = answer {
            let _ = syscall::reply(None, tag);
        }
    }

    fn receive(&self, answer: Option<l4::Tag>, deadline: u64) -> Received {
        let utcb = Utcb::current();
        utcb.set_receive_slots(&self.offer().0[..self.offer().1]);
        utcb.set_reply_slot(None);
        match answer {
            Some(tag) => syscall::reply_and_wait(None, tag, deadline),
            None => syscall::wait(deadline),
        }
    }

    fn serve(&mut self, service: &mut (impl Service + ?Sized), received: Received) -> Option<l4::Tag> {
        let (slots, count) = self.offer();
        let utcb = Utcb::current();
        self.incoming.load(utcb, received, &slots[..count]);
        let reply = service.serve(&self.incoming, utcb);
        if received.tag.items() > 0 {
            self.renew_slots();
        }
        match reply {
            Reply::Now(tag) if received.tag.label() != IRQ => Some(tag),
            _ => None,
        }
    }

    /// The offered slots: those up to the first missing one.
    fn offer(&self) -> ([CapIndex; MAX_CAPS], usize) {
        let mut slots = [CapIndex::NONE; MAX_CAPS];
        let mut count = 0;
        for (slot, place) in slots
            .iter_mut()
            .zip(self.offered.iter().map_while(Option::as_ref))
        {
            *slot = place.index();
            count += 1;
        }
        (slots, count)
    }

    /// After a message with capabilities: those that the service took are its own from now on, others go. The answer
    /// in the UTCB stays.
    fn renew_slots(&mut self) {
        let _saved = SavedMessage::new();
        let is_taken = self.incoming.caps_taken();
        for place in &mut self.offered[..self.incoming.slots().len()] {
            match place.take() {
                Some(slot) if is_taken => drop(slot.filled().leak()),
                slot => drop(slot),
            }
        }
        for place in self.offered.iter_mut().filter(|place| place.is_none()) {
            *place = Slot::allocate().ok();
        }
    }
}
