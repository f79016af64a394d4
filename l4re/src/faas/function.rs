//! A function that a client calls without the manager, as far as possible.

use super::{Mapped, Session};
use crate::{OwnedCap, clock};
use alloc::string::String;
use core::cell::{Cell, RefCell};
use interfaces::faas::client::{ClientError, Response, incoming, outgoing, release};
use interfaces::faas::direct::{self, Answer};
use interfaces::faas::{
    Body, Completion, FaasError, INLINE_REQUEST, InvokeOptions, Payload, Timestamps, WorkerTimes,
};
use interfaces::manifest::StartMode;
use l4::object::CallFailure;
use l4::{Error, IpcError, NEVER, Selector, Utcb, syscall};
use l4_rpc::{CallError, Incoming, REPLY_BYTES};

/// A function of a session. Its calls begin a clone by the function's spawn gate and get its answer: no other task takes
/// part. What only the manager can do is left to it, and the caller gets the same results, errors and limits: a call that has
/// to wait for its turn, a function in another start mode, and one that logs, calls other functions or gives a long
/// response. The first such call begins twice, later ones go to the manager at once.
///
/// The calling thread must be on the session's core ([`Session::enter_core`]); from elsewhere, all calls pass the manager.
#[derive(Debug)]
pub struct Function<'a> {
    session: &'a Session,
    name: String,
    way: RefCell<Way>,
    /// Calls that passed the manager.
    by_manager: Cell<u64>,
}

/// How calls go.
#[derive(Debug)]
enum Way {
    /// Not known yet, or not any more.
    Unknown,
    /// Through this gate.
    Gate(Opened),
    /// Through the manager.
    Manager,
}

/// An open gate, and what holds for its clones.
#[derive(Debug)]
struct Opened {
    gate: OwnedCap,
    version: u32,
    timeout_ns: u64,
    memory_bytes: u64,
}

/// What came of a call of the gate.
enum Called {
    /// All that there is to say.
    Finished(Result<(Completion, usize), ClientError>),
    /// The manager has to make this call.
    PassOn,
    /// The manager has to make this call, and a new gate is needed.
    GateLost,
    /// The manager has to make this call, and all later ones.
    NeedsManager,
}

impl Session {
    /// A function to call again and again.
    pub fn function(&self, name: &str) -> Function<'_> {
        Function {
            session: self,
            name: name.into(),
            way: RefCell::new(Way::Unknown),
            by_manager: Cell::new(0),
        }
    }
}

impl Function<'_> {
    /// Invokes the function and waits for its response.
    ///
    /// # Errors
    /// What happened to the function, or to the request on its way.
    pub fn invoke(&self, request: &[u8]) -> Result<Response, ClientError> {
        let mut buffer = [0; REPLY_BYTES];
        let payload = outgoing(&Mapped, request, INLINE_REQUEST)?;
        let outcome = self.call(InvokeOptions::default(), payload, &mut buffer);
        release(&Mapped, payload);
        let (completion, length) = outcome?;
        let bytes = incoming(&Mapped, completion.body, &buffer[..length])?;
        Ok(Response { bytes, completion })
    }

    /// As [`invoke`](Self::invoke), without allocating: the response, or its first part, is copied to `response`, of
    /// [`REPLY_BYTES`]; the result tells its length.
    ///
    /// # Errors
    /// As `invoke`.
    pub fn call(
        &self,
        options: InvokeOptions,
        payload: Payload<'_>,
        response: &mut [u8],
    ) -> Result<(Completion, usize), ClientError> {
        let begun = clock::now_ns();
        if options.memory_bytes == 0 && self.open()? {
            match self.call_gate(begun, options, payload, response) {
                Called::Finished(outcome) => return outcome,
                Called::PassOn => {}
                Called::GateLost => drop(self.way.replace(Way::Unknown)),
                Called::NeedsManager => drop(self.way.replace(Way::Manager)),
            }
        }
        self.call_manager(begun, options, payload, response)
    }

    /// Calls that passed the manager.
    pub fn calls_by_manager(&self) -> u64 {
        self.by_manager.get()
    }

    /// Makes sure that it is known how calls go. Tells whether there is a gate.
    fn open(&self) -> Result<bool, ClientError> {
        let mut way = self.way.borrow_mut();
        match *way {
            Way::Gate(_) => return Ok(true),
            Way::Manager => return Ok(false),
            Way::Unknown => {}
        }
        let opened = self.session.actions().open(self.name.as_bytes())?;
        let Some(gate) = opened.gate else {
            // The manager's answer will tell whether there may be one later.
            return Ok(false);
        };
        *way = Way::Gate(Opened {
            gate: OwnedCap::adopt(gate.index()),
            version: opened.version,
            timeout_ns: opened.timeout_ns,
            memory_bytes: opened.memory_bytes,
        });
        Ok(true)
    }

    fn call_gate(
        &self,
        begun: u64,
        options: InvokeOptions,
        payload: Payload<'_>,
        response: &mut [u8],
    ) -> Called {
        let way = self.way.borrow();
        let Way::Gate(opened) = &*way else {
            return Called::PassOn;
        };
        let deadline = match options.timeout_ns {
            0 => NEVER,
            timeout => begun.saturating_add(timeout),
        };
        let utcb = Utcb::current();
        let tag = direct::request(utcb, payload);
        let selector = Selector::new(opened.gate.index(), Selector::SEND | Selector::RECEIVE);
        let received = syscall::invoke(selector, tag, deadline, deadline);
        if let Err(failure) = CallFailure::check(received, utcb) {
            return opened.failed(failure, options);
        }
        let mut incoming = Incoming::new();
        incoming.load(utcb, received, &[]);
        match direct::answer(&incoming, utcb, response) {
            Answer::Result(times, length) => Called::Finished(Ok((opened.completion(begun, &times), length))),
            Answer::Failed(error) => Called::Finished(Err(CallError::Server(error))),
            Answer::NeedsManager => Called::NeedsManager,
        }
    }

    /// Has the manager make the call within what is left of its time.
    fn call_manager(
        &self,
        begun: u64,
        options: InvokeOptions,
        payload: Payload<'_>,
        response: &mut [u8],
    ) -> Result<(Completion, usize), ClientError> {
        self.by_manager.set(self.by_manager.get() + 1);
        let timeout_ns = match options.timeout_ns {
            0 => 0,
            timeout => timeout.saturating_sub(clock::now_ns() - begun).max(1),
        };
        let options = InvokeOptions {
            timeout_ns,
            ..options
        };
        let outcome = self
            .session
            .actions()
            .invoke(self.name.as_bytes(), options, payload, response);
        if let Ok((completion, _)) = &outcome
            && completion.mode != StartMode::Snapshot
        {
            self.way.replace(Way::Manager);
        }
        outcome
    }
}

impl Opened {
    /// What a call without an answer means.
    fn failed(&self, failure: CallFailure, options: InvokeOptions) -> Called {
        let error = match failure {
            CallFailure::Clone(failure) => direct::failure(&failure, self.memory_bytes, self.timeout_ns),
            CallFailure::Refused(Error::NotFound) => return Called::GateLost,
            CallFailure::Refused(_) => return Called::PassOn,
            CallFailure::Ipc(IpcError::ReceiveTimeout) => FaasError::Timeout {
                limit_ns: options.timeout_ns,
            },
            // The answer brought a capability: a response in memory, which would end with the clone.
            CallFailure::Ipc(IpcError::ReceiveCut | IpcError::ReceiveMapFailed) => {
                return Called::NeedsManager;
            }
            CallFailure::Ipc(_) => return Called::GateLost,
        };
        Called::Finished(Err(CallError::Server(error)))
    }

    fn completion(&self, begun: u64, said: &WorkerTimes) -> Completion {
        let mut times = Timestamps {
            queue: begun,
            start_worker: begun,
            ..Timestamps::default()
        };
        times.complete(said, clock::now_ns());
        Completion {
            activation: 0,
            version: self.version,
            mode: StartMode::Snapshot,
            is_direct: true,
            times,
            body: Body::Inline,
        }
    }
}
