//! Plants a canary in each place that it has, or looks for one. It asks for its requests without `worker-lib`, so as to see the
//! registers as they are when it begins.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;
use canary::registers::{self, Registers};
use canary::{Letters, Order};
use core::cell::{Cell, RefCell};
use interfaces::faas::client::ClientError;
use interfaces::faas::{INLINE_REQUEST, INLINE_RESPONSE, Payload, SupervisorClient, WorkerTimes};
use l4::{CapIndex, Error, IpcError, Tag, Utcb, utcb};
use l4_rpc::{Arrival, MAX_CAPS, Transport};
use l4re::clock;

l4re::entry!(main);

/// Where the memory of a long request would arrive; there is none here.
const SLOT: CapIndex = CapIndex(0x15);

/// What is in the registers before and after a call of the manager.
struct State {
    letters: Cell<Option<Letters>>,
    after: RefCell<Registers>,
}

/// Calls the manager, and takes note of the registers.
#[derive(Clone, Copy)]
struct Watched<'a>(&'a State);

impl Transport for Watched<'_> {
    fn utcb(&self) -> &Utcb {
        Utcb::current()
    }

    fn call(&self, tag: Tag, caps: usize, _deadline: u64) -> Result<Arrival, Error> {
        let slots = [SLOT, CapIndex::NONE, CapIndex::NONE, CapIndex::NONE];
        let slots: [CapIndex; MAX_CAPS] = slots;
        Utcb::current().set_receive_slots(slots.get(..caps).ok_or(Error::NoSpace)?);
        let Watched(State { letters, after }) = self;
        let tag = after.borrow_mut().call(CapIndex::PARENT, tag, letters.get());
        if tag.is_error() {
            return Err(Error::Ipc(IpcError::from_code(
                Utcb::current().word(utcb::ERROR_WORD),
            )));
        }
        Ok(Arrival { tag, slots })
    }

    fn discard(&self, slots: &[CapIndex]) {
        l4_rpc::client::discard(slots);
    }
}

fn main() -> Result<(), ClientError> {
    let state = State {
        letters: Cell::new(None),
        after: RefCell::new(Registers::new()),
    };
    let supervisor = SupervisorClient::new(Watched(&state));
    let mut request = [0; INLINE_REQUEST];
    let start_runtime = clock::now_ns();
    let mut next = supervisor.ready(start_runtime, &mut request);
    loop {
        let (_, length) = next?;
        let now = clock::now_ns();
        let response = answer(&state, &request[..length]);
        let times = WorkerTimes {
            start_runtime,
            start_load: now,
            start_function: now,
            end_function: now,
            end_runtime: now,
        };
        next = supervisor.done(times, Payload::Inline(&response), &mut request);
    }
}

fn answer(state: &State, request: &[u8]) -> Vec<u8> {
    state.letters.set(None);
    match Order::read(request) {
        Some(Order::Plant(letters)) => {
            canary::plant(letters);
            if !registers::vectors_are_seen(letters) {
                return b"the vector registers are not seen".to_vec();
            }
            state.letters.set(Some(letters));
            let mut response = b"planted registers data stack utcb heap\n".to_vec();
            let rest = INLINE_RESPONSE - response.len();
            response.extend(letters.to_le_bytes().iter().cycle().take(rest));
            response
        }
        Some(Order::Fault(letters)) => {
            canary::plant(letters);
            registers::fault(letters)
        }
        Some(Order::Search(wanted)) => match canary::search(wanted, &state.after.borrow()) {
            Ok(found) => format!("{found}").into_bytes(),
            Err(error) => format!("the search ended: {error}").into_bytes(),
        },
        None => b"no such order".to_vec(),
    }
}
