//! The server's side: a received message, and what becomes of it.

use core::cell::Cell;

use l4::cap::SendItem;
use l4::syscall::Received;
use l4::{CapIndex, Error, Rights, Tag, Utcb, utcb};
use serde::{Deserialize, Serialize};

use crate::{Encoder, MAX_CAPS, Source};

/// Result in an answer's label: the payload is the operation's result.
pub const OK: i64 = 0;
/// Result in an answer's label: the payload is the service's own error.
pub const SERVER_ERROR: i64 = 1;

/// Who calls, as the kernel vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Label of the capability that the caller used; its two lowest bits are 0.
    pub label: u64,
    /// The caller's rights on the gate: [`Rights::WRITE`] and [`Rights::STRONG`], or fewer.
    pub rights: Rights,
}

/// What the server loop does with a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Answer now: the message is in the UTCB.
    Now(Tag),
    /// The service answers later: the loop leaves the reply capability to it.
    Deferred,
}

impl Reply {
    /// Answers with an error of the protocol, without payload.
    pub const fn error(error: Error) -> Reply {
        Reply::Now(error_tag(error))
    }
}

/// An answer that carries an error of the protocol.
const fn error_tag(error: Error) -> Tag {
    Tag::new(error.label(), 0, 0)
}

/// A received message, copied out of the UTCB so that nothing the service does can change it. A server loop keeps one
/// and loads it anew for each message.
#[derive(Clone, Debug)]
pub struct Incoming {
    tag: Tag,
    caller: Caller,
    bytes: [u8; utcb::MESSAGE_WORDS * 8],
    slots: [CapIndex; MAX_CAPS],
    slot_count: usize,
    caps_taken: Cell<bool>,
}

impl Default for Incoming {
    fn default() -> Incoming {
        Incoming::new()
    }
}

impl Incoming {
    /// An empty message.
    pub const fn new() -> Incoming {
        Incoming {
            tag: Tag(0),
            caller: Caller {
                label: 0,
                rights: Rights::empty(),
            },
            bytes: [0; utcb::MESSAGE_WORDS * 8],
            slots: [CapIndex::NONE; MAX_CAPS],
            slot_count: 0,
            caps_taken: Cell::new(false),
        }
    }

    /// Copies the message just received. `slots` are those that were offered for its capabilities.
    #[inline]
    pub fn load(&mut self, utcb: &Utcb, received: Received, slots: &[CapIndex]) {
        self.tag = received.tag;
        self.caller = Caller {
            label: received.label & !3,
            rights: Rights::from_bits_truncate((received.label & 3) as u8),
        };
        let (words, _) = self.bytes.as_chunks_mut::<8>();
        for (index, word) in words.iter_mut().take(received.tag.words()).enumerate() {
            *word = utcb.word(index).to_le_bytes();
        }
        self.slot_count = received.tag.items().min(MAX_CAPS);
        for (index, slot) in self.slots.iter_mut().take(self.slot_count).enumerate() {
            *slot = received_slot(utcb, received.tag, index)
                .filter(|slot| slots.contains(slot))
                .unwrap_or(CapIndex::NONE);
        }
        self.caps_taken.set(false);
    }

    /// The message's tag; its label is the protocol.
    #[inline]
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Who sent it.
    #[inline]
    pub fn caller(&self) -> Caller {
        self.caller
    }

    /// The message's untyped words as bytes, for protocols that are not declared with `#[interface]`.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.tag.words() * 8]
    }

    /// A word of the message.
    ///
    /// # Errors
    /// [`Error::MessageTooShort`] if it has fewer.
    #[inline]
    pub fn word(&self, index: usize) -> Result<u64, Error> {
        let (words, _) = self.bytes().as_chunks::<8>();
        words
            .get(index)
            .map(|word| u64::from_le_bytes(*word))
            .ok_or(Error::MessageTooShort)
    }

    /// The slots in which capabilities arrived, in the order of the message; [`CapIndex::NONE`] where the sender's slot
    /// was empty.
    #[inline]
    pub fn slots(&self) -> &[CapIndex] {
        &self.slots[..self.slot_count]
    }

    /// Tells whether the service was given the capabilities that came along. If not, the server loop drops them.
    #[inline]
    pub fn caps_taken(&self) -> bool {
        self.caps_taken.get()
    }

    /// Marks the capabilities as the service's own; the dispatcher does so before it calls an operation.
    #[inline]
    pub fn take_caps(&self) {
        self.caps_taken.set(true);
    }

    /// Starts to read the message as a request: its opcode and the arguments behind it.
    ///
    /// # Errors
    /// [`Error::BadProtocol`] if it is a request of another protocol, [`Error::MessageTooShort`] without an opcode.
    #[inline(always)]
    pub fn request(&self, protocol: i64) -> Result<(u64, Arguments<'_>), Error> {
        if self.tag.label() != protocol {
            return Err(Error::BadProtocol);
        }
        let mut arguments = Arguments {
            bytes: self.bytes(),
            slots: self.slots(),
        };
        let opcode = arguments.word()?;
        Ok((opcode, arguments))
    }
}

/// The arguments of a request, read from the first on. What they borrow lives as long as the message.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    bytes: &'a [u8],
    slots: &'a [CapIndex],
}

impl<'a> Arguments<'a> {
    /// The next `length` bytes; padding up to the next word is skipped.
    ///
    /// # Errors
    /// [`Error::MessageTooShort`] if there are fewer.
    #[inline]
    pub fn bytes(&mut self, length: u64) -> Result<&'a [u8], Error> {
        if length > self.bytes.len() as u64 {
            return Err(Error::MessageTooShort);
        }
        let length = length as usize;
        let bytes = &self.bytes[..length];
        // The message is whole words, so the padded length is there if the length is.
        self.bytes = &self.bytes[length.next_multiple_of(8)..];
        Ok(bytes)
    }

    /// The next value in postcard's encoding.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the bytes are no such value or more than one, [`Error::MessageTooShort`].
    #[inline]
    pub fn payload<T: Deserialize<'a>>(&mut self) -> Result<T, Error> {
        let length = self.word()?;
        from_postcard(self.bytes(length)?)
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`Error::Invalid`] if words or capabilities are left.
    #[inline]
    pub fn finish(self) -> Result<(), Error> {
        if self.bytes.is_empty() && self.slots.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid)
        }
    }
}

/// Reads a value that takes all of `bytes`.
pub(crate) fn from_postcard<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err(Error::Invalid),
    }
}

impl Source for Arguments<'_> {
    #[inline(always)]
    fn word(&mut self) -> Result<u64, Error> {
        let (word, rest) = self.bytes.split_first_chunk().ok_or(Error::MessageTooShort)?;
        self.bytes = rest;
        Ok(u64::from_le_bytes(*word))
    }

    fn copy_bytes(&mut self, into: &mut [u8]) -> Result<(), Error> {
        into.copy_from_slice(self.bytes(into.len() as u64)?);
        Ok(())
    }

    #[inline]
    fn slot(&mut self) -> Result<CapIndex, Error> {
        let (slot, rest) = self.slots.split_first().ok_or(Error::MissingArgument)?;
        self.slots = rest;
        if *slot == CapIndex::NONE {
            Err(Error::MissingArgument)
        } else {
            Ok(*slot)
        }
    }
}

/// Where capability number `index` of a received message is: the kernel replaced the sender's item by one that names the
/// receiver's slot, or by a void one if there was no capability.
#[inline]
pub(crate) fn received_slot(utcb: &Utcb, tag: Tag, index: usize) -> Option<CapIndex> {
    let at = tag.words() + 2 * index;
    if at + 1 >= utcb::MESSAGE_WORDS {
        return None;
    }
    SendItem::parse([utcb.word(at), utcb.word(at + 1)]).map(|item| item.cap)
}

/// Encodes an answer: the result by `encode`, or the service's error. An answer that does not fit becomes
/// [`Error::MessageTooLong`].
#[inline]
pub fn answer<R: ?Sized, E: Serialize>(
    utcb: &Utcb,
    result: Result<&R, &E>,
    encode: impl FnOnce(&R, &mut Encoder<'_>),
) -> Tag {
    let mut encoder = Encoder::reply(utcb);
    let tag = match result {
        Ok(value) => {
            encode(value, &mut encoder);
            encoder.finish(OK)
        }
        Err(error) => {
            encoder.payload(error);
            encoder.finish(SERVER_ERROR)
        }
    };
    tag.unwrap_or_else(error_tag)
}
