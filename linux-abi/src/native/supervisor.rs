//! The request that a worker's program serves: from the supervisor to standard input, and from standard output back.
#![expect(
    unsafe_code,
    reason = "requests and responses are memory that is found by address"
)]

use core::slice;

use interfaces::faas::{
    Block, Body, FailureKind, INLINE_RESPONSE, PAYLOAD_MAX, Payload, SupervisorClient, WorkerFailure,
    WorkerTimes,
};
use l4::object::{Dataspace, Factory, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, PAGE_SIZE};
use l4_rpc::{Cap, Gate};
use linux_abi::Errno;

use super::copy::copy;
use super::message::Whole;

/// Where the request's and later the response's dataspace is: a slot that the start-up convention leaves unused.
const SLOT: CapIndex = CapIndex(0x15);
/// Where views of them are looked for.
const VIEWS: u64 = 0x7d00_0000_0000;
const TASK: Task = Task(CapIndex::TASK);

/// The request, once it was asked for.
#[derive(Clone, Copy, Debug)]
enum Request {
    /// Nobody asked yet.
    Unasked,
    /// Its bytes came in the message.
    Inline(usize),
    /// Address and length of a view of it.
    View(u64, u64),
}

/// The response, as far as it was written.
#[derive(Clone, Copy, Debug)]
enum Response {
    /// It fits into a message so far.
    Inline,
    /// Address of a writable view of the dataspace in [`SLOT`], and how much of it has memory.
    View(u64, u64),
}

/// What a worker has to do with its supervisor.
pub(super) struct Exchange {
    times: WorkerTimes,
    request: Request,
    response: Response,
    incoming: [u8; INLINE_RESPONSE],
    outgoing: [u8; INLINE_RESPONSE],
}

fn supervisor() -> SupervisorClient<Gate> {
    SupervisorClient::new(Gate::new(CapIndex::PARENT).receive(&[SLOT]))
}

impl Exchange {
    pub(super) const fn new() -> Exchange {
        Exchange {
            times: WorkerTimes {
                start_runtime: 0,
                start_load: 0,
                start_function: 0,
                end_function: 0,
                end_runtime: 0,
            },
            request: Request::Unasked,
            response: Response::Inline,
            incoming: [0; INLINE_RESPONSE],
            outgoing: [0; INLINE_RESPONSE],
        }
    }

    /// The layer started at `start`, the program at `now`.
    pub(super) fn note_start(&mut self, start: u64, now: u64) {
        self.times.start_runtime = start;
        self.times.start_load = now;
        self.times.start_function = now;
    }

    /// Asks for the request, unless that was done, and tells its length.
    pub(super) fn fetch(&mut self) -> Result<u64, Errno> {
        if let Request::Unasked = self.request {
            let _message = Whole::new();
            let (request, length) = supervisor()
                .ready_once(self.times.start_runtime, &mut self.incoming)
                .map_err(|_| Errno::IO)?;
            self.request = match request.body {
                Body::Inline => Request::Inline(length),
                Body::Dataspace(block) => {
                    let view = attach(block.length, Access::READ);
                    // The view keeps the memory; the slot is wanted for the response.
                    let _ = TASK.drop_cap(SLOT);
                    Request::View(view.map_err(Errno::from)?, block.length)
                }
            };
        }
        Ok(match self.request {
            Request::Unasked => 0,
            Request::Inline(length) => length as u64,
            Request::View(_, length) => length,
        })
    }

    /// Copies a part of the request, which was fetched, to the program's memory.
    pub(super) fn read(&self, offset: u64, target: u64, size: u64) -> Result<(), Errno> {
        let source = match self.request {
            Request::Unasked => return Err(Errno::IO),
            Request::Inline(_) => self.incoming.as_ptr() as u64,
            Request::View(view, _) => view,
        };
        // SAFETY: The caller checked the target, and that the range lies inside the request.
        unsafe { copy(target, source + offset, size) }
    }

    /// Copies the program's bytes to the response, behind its first `offset` bytes; together they are no more than
    /// [`PAYLOAD_MAX`].
    pub(super) fn write(&mut self, offset: u64, source: u64, size: u64) -> Result<(), Errno> {
        let end = offset + size;
        if let Response::Inline = self.response
            && end > INLINE_RESPONSE as u64
        {
            self.grow(offset).map_err(Errno::from)?;
        }
        let target = match &mut self.response {
            Response::Inline => self.outgoing.as_mut_ptr() as u64,
            Response::View(view, filled) => {
                while *filled < end {
                    let page = core::ptr::with_exposed_provenance_mut::<u8>((*view + *filled) as usize);
                    // Outside of a copy: if the account is used up, that is what the supervisor is told.
                    // SAFETY: The page is part of the view, and nothing was written to it yet.
                    unsafe { page.write_volatile(0) };
                    *filled += PAGE_SIZE;
                }
                *view
            }
        };
        // SAFETY: The target has room up to `end`, as was seen to above.
        unsafe { copy(target + offset, source, size) }
    }

    /// Moves the response's first `length` bytes to a dataspace. The slot is free once the request is there.
    fn grow(&mut self, length: u64) -> Result<(), Error> {
        self.fetch().map_err(|_| Error::Invalid)?;
        let _message = Whole::new();
        Factory(CapIndex::FACTORY).create_dataspace(PAYLOAD_MAX, SLOT)?;
        let view = attach(PAYLOAD_MAX, Access::READ_WRITE)?;
        let target = core::ptr::with_exposed_provenance_mut(view as usize);
        // SAFETY: The view is fresh, and larger than what is copied.
        unsafe { slice::from_raw_parts_mut(target, length as usize) }
            .copy_from_slice(&self.outgoing[..length as usize]);
        self.response = Response::View(view, length.next_multiple_of(PAGE_SIZE));
        Ok(())
    }

    /// Sends the first `length` bytes of the response, and ends. Returns only if there is no supervisor any more.
    pub(super) fn respond(&mut self, length: u64, now: impl Fn() -> u64) {
        self.times.end_function = now();
        if self.fetch().is_err() {
            return;
        }
        let payload = match self.response {
            Response::Inline => Payload::Inline(&self.outgoing[..length as usize]),
            Response::View(view, _) => {
                // What is sealed has no writable view. Who can't be sealed is not sent.
                if TASK
                    .detach(view, PAYLOAD_MAX)
                    .and_then(|()| Dataspace(SLOT).seal())
                    .is_err()
                {
                    return;
                }
                let memory = Cap::new(SLOT).granted();
                Payload::Dataspace(Block { memory, length })
            }
        };
        self.times.end_runtime = now();
        // There is no answer: the worker ends with its request.
        let _ = supervisor().done(self.times, payload, &mut self.incoming);
    }

    /// Says that the response would have `length` bytes, and ends. Returns only if there is no supervisor any more.
    pub(super) fn refuse(&mut self, length: u64, now: impl Fn() -> u64) {
        self.times.end_function = now();
        if self.fetch().is_err() {
            return;
        }
        self.times.end_runtime = now();
        let failure = WorkerFailure {
            kind: FailureKind::ResponseTooLarge,
            length,
            message: "",
            location: "",
        };
        let _ = supervisor().fail(self.times, failure, &mut self.incoming);
    }
}

/// Attaches the first `size` bytes of the dataspace in [`SLOT`].
fn attach(size: u64, access: Access) -> Result<u64, Error> {
    TASK.attach(&[Region {
        start: VIEWS,
        size: size.next_multiple_of(PAGE_SIZE),
        access,
        backing: Backing::Shared,
        search: true,
        dataspace: SLOT,
        offset: 0,
    }])
}
