//! One invocation of a kernel object: its arguments, read from the UTCB once each, and its results.

use crate::account::Account;
use crate::capability::{self, Capability};
use crate::object::{Object, Ref};
use crate::objects::Task;
use crate::reaper;
use crate::thread::{Thread, Utcb};
use l4::cap::parse_receive_buffer;
use l4::{CapIndex, Error, Rights, utcb};

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With a result and some message words.
    Done { value: i64, words: usize },
    /// The caller does not go on with a result.
    Gone,
}

/// Done, without a value.
pub(super) const DONE: Result<Outcome, Error> = Ok(Outcome::Done { value: 0, words: 0 });

/// An invocation.
pub(super) struct Call {
    pub(super) thread: Ref<Thread>,
    pub(super) capability: Capability,
    words: usize,
}

impl Call {
    pub(super) fn new(thread: Ref<Thread>, capability: Capability, words: usize) -> Call {
        Call {
            thread,
            capability,
            words,
        }
    }

    /// The caller's task.
    pub(super) fn task(&self) -> Ref<Task> {
        self.thread.task()
    }

    /// The caller's UTCB.
    pub(super) fn utcb(&self) -> &Utcb {
        self.thread.utcb()
    }

    /// Number of message words.
    pub(super) fn words(&self) -> usize {
        self.words
    }

    /// The object as what the dispatcher found it to be.
    pub(super) fn object<T: Object>(&self) -> Result<Ref<T>, Error> {
        self.capability.object.downcast().ok_or(Error::BadProtocol)
    }

    /// Refuses callers whose capability lacks a right.
    pub(super) fn need(&self, rights: Rights) -> Result<(), Error> {
        if self.capability.rights.contains(rights) {
            Ok(())
        } else {
            Err(Error::NotPermitted)
        }
    }

    /// A message word.
    #[inline]
    pub(super) fn word(&self, index: usize) -> Result<u64, Error> {
        if index < self.words {
            Ok(self.utcb().get(index))
        } else {
            Err(Error::MessageTooShort)
        }
    }

    /// A message word that is a slot of the caller.
    pub(super) fn slot(&self, index: usize) -> Result<CapIndex, Error> {
        match u32::try_from(self.word(index)?) {
            Ok(slot) => Ok(CapIndex(slot)),
            Err(_) => Err(Error::Range),
        }
    }

    /// The object of a kind that a message word names, by a capability with some rights.
    pub(super) fn argument<T: Object>(&self, index: usize, rights: Rights) -> Result<Ref<T>, Error> {
        self.argument_at(self.slot(index)?, rights)
    }

    /// The object of a kind that a slot of the caller names, by a capability with some rights.
    pub(super) fn argument_at<T: Object>(&self, slot: CapIndex, rights: Rights) -> Result<Ref<T>, Error> {
        let capability = self.task().caps.get(slot)?;
        let object = capability.object.downcast().ok_or(Error::Invalid)?;
        if capability.rights.contains(rights) {
            Ok(object)
        } else {
            Err(Error::NotPermitted)
        }
    }

    /// As [`Self::argument`]; `None` for [`CapIndex::NONE`].
    pub(super) fn optional<T: Object>(&self, index: usize, rights: Rights) -> Result<Option<Ref<T>>, Error> {
        if self.slot(index)? == CapIndex::NONE {
            Ok(None)
        } else {
            self.argument(index, rights).map(Some)
        }
    }

    /// Answers with words.
    pub(super) fn answer(&self, words: &[u64]) -> Result<Outcome, Error> {
        for (index, word) in words.iter().enumerate() {
            self.utcb().set(index, *word);
        }
        Ok(Outcome::Done {
            value: 0,
            words: words.len(),
        })
    }

    /// Creates an object with `create` and gives the caller all rights to it, in the slot of its first buffer register.
    pub(super) fn create<T: Object>(
        &self,
        create: impl FnOnce() -> Result<Ref<T>, Error>,
    ) -> Result<Outcome, Error> {
        let slot = parse_receive_buffer(self.utcb().get(utcb::BUFFER_WORDS)).ok_or(Error::MissingArgument)?;
        let object = create()?;
        let capability = Capability {
            object: object.erase(),
            rights: Rights::all(),
            label: 0,
        };
        let inserted = self
            .payer()
            .and_then(|payer| capability::insert_root(&self.task().caps, payer, slot, capability));
        if let Err(error) = inserted {
            reaper::destroy(object.erase());
            return Err(error);
        }
        DONE
    }

    /// Who pays for the caller's capability table.
    pub(super) fn payer(&self) -> Result<Ref<Account>, Error> {
        self.task().account().ok_or(Error::NotFound)
    }
}
