//! What the request loop needs from the machine, so that it can also run on a host.

#[cfg(feature = "std")]
use alloc::boxed::Box;
use interfaces::faas::{Block, WorkerTimes};
use l4::object::{Dataspace, Task};
use l4::{CapIndex, Error, Tag, Utcb, utcb};
use l4_rpc::{Arrival, Cap, MAX_CAPS, Transport, client};
use l4re::faas::seal_copy;
#[cfg(feature = "std")]
use l4re::memory::SealedView;
use l4re::{OwnedCap, clock};

use crate::body::Body;

/// Where the memory of a long request arrives: a slot that the start-up convention leaves unused, so that receiving
/// needs no slot allocator.
const REQUEST_SLOT: CapIndex = CapIndex(0x15);

/// Words of the UTCB's page, which a worker has anyway, that remember for a panic when the phases began.
/// In a Linux program, the first free words are those of `linux-abi`.
const TIMES_WORD: usize = utcb::FREE_WORD + 32;

/// The word behind them is 1 while a panic is reported.
const PANIC_WORD: usize = TIMES_WORD + 2;

/// Clock, message transport and memory.
pub(crate) trait Machine: Transport {
    /// The kernel's clock in nanoseconds.
    fn now_ns(&self) -> u64;

    /// Remembers the times for a panic handler, which cannot see the loop's variables.
    fn remember(&self, times: WorkerTimes);

    /// Holds a published dataspace until it was sent.
    type Published;

    /// Makes a sealed dataspace that starts with `bytes`, to be sent once.
    ///
    /// # Errors
    /// The kernel's.
    fn publish(&self, bytes: &[u8]) -> Result<(Block, Self::Published), Error>;

    /// Looks at bytes that were received in a dataspace; it is given up with them.
    ///
    /// # Errors
    /// If it is not sealed, shorter than it should be, or cannot be attached.
    fn open(&self, block: Block) -> Result<Body, Error>;
}

/// A worker's task: the manager is behind its parent gate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Worker;

impl Worker {
    /// Takes note of a panic; tells whether there was one before.
    pub(crate) fn start_panic(self) -> bool {
        let utcb = Utcb::current();
        let before = utcb.word(PANIC_WORD);
        utcb.set_word(PANIC_WORD, 1);
        before != 0
    }

    /// The times that were remembered last.
    pub(crate) fn recall(self) -> WorkerTimes {
        let utcb = Utcb::current();
        WorkerTimes {
            start_runtime: utcb.word(TIMES_WORD),
            start_load: utcb.word(TIMES_WORD + 1),
            start_function: utcb.word(TIMES_WORD + 1),
            ..WorkerTimes::default()
        }
    }

    /// Looks at bytes that were received in a dataspace for as long as the task lives. Its capability is dropped.
    ///
    /// # Errors
    /// As [`Machine::open`].
    #[cfg(feature = "std")]
    pub(crate) fn keep(self, block: Block) -> Result<&'static [u8], Error> {
        let memory = RequestMemory(block.memory.index());
        let view = SealedView::attach(memory.dataspace())?;
        let length = usize::try_from(block.length).map_err(|_| Error::Range)?;
        // Nobody detaches what is never dropped.
        let view: &'static SealedView = Box::leak(Box::new(view));
        view.bytes().get(..length).ok_or(Error::Range)
    }
}

impl Transport for Worker {
    #[inline(always)]
    fn utcb(&self) -> &Utcb {
        Utcb::current()
    }

    #[inline(always)]
    fn call(&self, tag: Tag, caps: usize, deadline: u64) -> Result<Arrival, Error> {
        const SLOTS: [CapIndex; MAX_CAPS] = [REQUEST_SLOT, CapIndex::NONE, CapIndex::NONE, CapIndex::NONE];
        client::call_gate(CapIndex::PARENT, tag, &SLOTS, caps, deadline)
    }

    fn discard(&self, slots: &[CapIndex]) {
        client::discard(slots);
    }
}

impl Machine for Worker {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        clock::now_ns()
    }

    #[inline(always)]
    fn remember(&self, times: WorkerTimes) {
        let utcb = Utcb::current();
        utcb.set_word(TIMES_WORD, times.start_runtime);
        utcb.set_word(TIMES_WORD + 1, times.start_function);
    }

    type Published = OwnedCap;

    fn publish(&self, bytes: &[u8]) -> Result<(Block, OwnedCap), Error> {
        let owned = seal_copy(bytes)?;
        let length = bytes.len() as u64;
        let memory = Cap::new(owned.index()).granted();
        Ok((Block { memory, length }, owned))
    }

    fn open(&self, block: Block) -> Result<Body, Error> {
        Body::attach(RequestMemory(block.memory.index()), block.length)
    }
}

/// The capability of a request's memory; dropping it empties the slot, which is none of the allocator's.
#[derive(Debug)]
pub(crate) struct RequestMemory(CapIndex);

impl RequestMemory {
    pub(crate) fn dataspace(&self) -> Dataspace {
        Dataspace(self.0)
    }
}

impl Drop for RequestMemory {
    fn drop(&mut self) {
        // A slot that is empty already is as good.
        let _ = Task(CapIndex::TASK).drop_cap(self.0);
    }
}
