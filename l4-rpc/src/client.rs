//! The client's side: sending a request and reading the answer.

use core::fmt;

use l4::object::Task;
use l4::{CapIndex, Error, IpcError, Selector, Tag, Utcb, syscall, utcb};
use serde::de::DeserializeOwned;

use crate::server::{OK, SERVER_ERROR, from_postcard, received_slot};
use crate::{MAX_CAPS, Source};

/// What carries a request to a server and brings back the answer.
pub trait Transport {
    /// The message registers: the request stands there before [`Self::call`], the answer afterwards.
    fn utcb(&self) -> &Utcb;

    /// Sends the request and waits for the answer, both until `deadline` (nanoseconds of the kernel clock). The
    /// answer may bring up to `caps` capabilities.
    ///
    /// # Errors
    /// Why no answer came, or why there are no slots for the capabilities.
    fn call(&self, tag: Tag, caps: usize, deadline: u64) -> Result<Arrival, Error>;

    /// Drops capabilities that came with an answer which turned out to be useless.
    fn discard(&self, slots: &[CapIndex]);
}

/// An answer: its tag, and where its capabilities are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The answer's tag; its label is the result.
    pub tag: Tag,
    /// The slots that were offered; the first `tag.items()` are in use now.
    pub slots: [CapIndex; MAX_CAPS],
}

impl Arrival {
    /// The slots in which capabilities arrived.
    pub fn used_slots(&self) -> &[CapIndex] {
        &self.slots[..self.tag.items().min(MAX_CAPS)]
    }
}

/// Calls through an IPC gate. Capabilities in answers go to slots that were named beforehand with [`Gate::receive`];
/// a runtime with a slot allocator has a transport of its own that finds them by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    cap: CapIndex,
    receive: [CapIndex; MAX_CAPS],
}

impl Gate {
    /// Calls through the gate in slot `cap`; no capability can be received.
    #[inline]
    pub const fn new(cap: CapIndex) -> Gate {
        Gate {
            cap,
            receive: [CapIndex::NONE; MAX_CAPS],
        }
    }

    /// The same gate, and up to [`MAX_CAPS`] free slots for the capabilities of the next answer.
    #[must_use]
    pub fn receive(mut self, slots: &[CapIndex]) -> Gate {
        for (own, slot) in self.receive.iter_mut().zip(slots) {
            *own = *slot;
        }
        self
    }

    /// The gate's slot.
    pub const fn index(self) -> CapIndex {
        self.cap
    }
}

impl Transport for Gate {
    #[inline(always)]
    fn utcb(&self) -> &Utcb {
        Utcb::current()
    }

    #[inline(always)]
    fn call(&self, tag: Tag, caps: usize, deadline: u64) -> Result<Arrival, Error> {
        call_gate(self.cap, tag, &self.receive, caps, deadline)
    }

    fn discard(&self, slots: &[CapIndex]) {
        discard(slots);
    }
}

/// Calls through the gate in slot `cap`, with the first `caps` of `slots` offered for capabilities: what
/// [`Transport::call`] does for transports that found slots on their own.
///
/// # Errors
/// Why no answer came; [`Error::NoSpace`] if `slots` are too few.
#[inline(always)]
pub fn call_gate(
    cap: CapIndex,
    tag: Tag,
    slots: &[CapIndex; MAX_CAPS],
    caps: usize,
    deadline: u64,
) -> Result<Arrival, Error> {
    let utcb = Utcb::current();
    if caps > 0 {
        let offered = slots.get(..caps).ok_or(Error::NoSpace)?;
        if offered.contains(&CapIndex::NONE) {
            return Err(Error::NoSpace);
        }
        utcb.set_receive_slots(offered);
    }
    let phases = Selector::SEND | Selector::RECEIVE;
    let received = syscall::invoke(Selector::new(cap, phases), tag, deadline, deadline);
    if caps > 0 {
        utcb.set_receive_slots(&[]);
    }
    if received.tag.is_error() {
        return Err(Error::Ipc(IpcError::from_code(utcb.word(utcb::ERROR_WORD))));
    }
    Ok(Arrival {
        tag: received.tag,
        slots: *slots,
    })
}

/// Empties slots of the calling task.
pub fn discard(slots: &[CapIndex]) {
    for slot in slots {
        // A slot that is empty already is as good.
        let _ = Task(CapIndex::TASK).drop_cap(*slot);
    }
}

/// Why a call has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError<E> {
    /// The message did not get through, or one side did not understand the other.
    Protocol(Error),
    /// The service understood, and refused or failed.
    Server(E),
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallError::Protocol(error) => write!(f, "the call failed: {error}"),
            CallError::Server(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error> core::error::Error for CallError<E> {}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> CallError<E> {
        CallError::Protocol(error)
    }
}

/// An answer that is being read from its first word on, in the UTCB.
#[derive(Debug)]
pub struct Answer<'u> {
    utcb: &'u Utcb,
    next: usize,
    tag: Tag,
    next_cap: usize,
}

impl Answer<'_> {
    /// The next value in postcard's encoding.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the bytes are no such value or more than one, [`Error::MessageTooShort`].
    pub fn payload<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let mut buffer = [0; utcb::MESSAGE_WORDS * 8];
        let length = self.tail(&mut buffer)?;
        from_postcard(&buffer[..length])
    }

    /// Copies the next bytes, whose length stands before them, to the start of `into`. Returns the length.
    ///
    /// # Errors
    /// [`Error::MessageTooLong`] if they don't fit, [`Error::MessageTooShort`].
    #[inline]
    pub fn tail(&mut self, into: &mut [u8]) -> Result<usize, Error> {
        let length = self.word()?;
        if length > into.len() as u64 {
            return Err(Error::MessageTooLong);
        }
        let length = length as usize;
        self.copy_bytes(&mut into[..length])?;
        Ok(length)
    }

    #[inline(always)]
    fn finish(&self) -> Result<(), Error> {
        let is_read = self.next == self.tag.words() && self.next_cap == self.tag.items();
        if is_read { Ok(()) } else { Err(Error::Invalid) }
    }
}

impl Source for Answer<'_> {
    #[inline(always)]
    fn word(&mut self) -> Result<u64, Error> {
        if self.next >= self.tag.words() {
            return Err(Error::MessageTooShort);
        }
        let word = self.utcb.word(self.next);
        self.next += 1;
        Ok(word)
    }

    #[inline]
    fn copy_bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        if into.len() > (self.tag.words() - self.next) * 8 {
            return Err(Error::MessageTooShort);
        }
        let (chunks, rest) = into.as_chunks_mut::<8>();
        for chunk in chunks {
            *chunk = self.word()?.to_le_bytes();
        }
        if !rest.is_empty() {
            let last = self.word()?.to_le_bytes();
            for (to, from) in rest.iter_mut().zip(last) {
                *to = from;
            }
        }
        Ok(())
    }

    #[inline]
    fn slot(&mut self) -> Result<CapIndex, Error> {
        if self.next_cap >= self.tag.items() {
            return Err(Error::MissingArgument);
        }
        let slot = received_slot(self.utcb, self.tag, self.next_cap);
        self.next_cap += 1;
        slot.ok_or(Error::MissingArgument)
    }
}

/// Sends the request whose encoding gave `tag` and reads the answer with `decode`. What generated clients call.
///
/// # Errors
/// [`CallError::Server`] as the service said; everything else is [`CallError::Protocol`].
#[inline(always)]
pub fn exchange<T: Transport, R, E: DeserializeOwned>(
    transport: &T,
    tag: Result<Tag, Error>,
    deadline: u64,
    caps: usize,
    decode: impl FnOnce(&mut Answer<'_>) -> Result<R, Error>,
) -> Result<R, CallError<E>> {
    let arrival = transport.call(tag?, caps, deadline)?;
    let mut answer = Answer {
        utcb: transport.utcb(),
        next: 0,
        tag: arrival.tag,
        next_cap: 0,
    };
    let result = match arrival.tag.label() {
        OK => decode(&mut answer).and_then(|value| answer.finish().map(|()| value)),
        _ => Err(Error::BadProtocol),
    };
    result.map_err(|error| failure(transport, &arrival, error))
}

/// What an answer that is no result means; `unreadable` says what is wrong with it if it claims to be one.
#[cold]
#[inline(never)]
fn failure<T: Transport, E: DeserializeOwned>(
    transport: &T,
    arrival: &Arrival,
    unreadable: Error,
) -> CallError<E> {
    // The message first: dropping capabilities is a system call, which overwrites it.
    let mut answer = Answer {
        utcb: transport.utcb(),
        next: 0,
        tag: arrival.tag,
        next_cap: 0,
    };
    let error = match arrival.tag.label() {
        SERVER_ERROR => match answer.payload() {
            Ok(error) => CallError::Server(error),
            Err(_) => CallError::Protocol(Error::BadProtocol),
        },
        label if label < 0 => CallError::Protocol(Error::from_number(-label)),
        _ => CallError::Protocol(unreadable),
    };
    transport.discard(arrival.used_slots());
    error
}
