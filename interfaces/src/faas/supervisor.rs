//! What a worker asks of the manager, on its parent gate.

use alloc::string::String;

use l4::Error;
use l4_rpc::{Arguments, Decode, Encode, Encoder, Source, interface};
use serde::{Deserialize, Serialize};

use super::types::words_in_order;
use super::{ActivationId, Block, Body, FaasError, Payload};

/// Name of the capability that tells a program which was started with arguments that its parent is a supervisor. It is
/// the same gate as the parent.
pub const SUPERVISOR_NAME: &str = "supervisor";

/// Name of the capability of an action's code, if the code is no program itself: a sealed dataspace.
pub const CODE_NAME: &str = "code";

/// Option of the Linux call `prctl` by which the program of a worker says that it talks to the supervisor itself, so that
/// standard input and output are not request and response but those of an ordinary program.
pub const PR_SUPERVISE: u64 = 0x4145_5249;

/// The manager as a worker sees it. Each of `ready`, `ready_once`, `done` and `fail` is
/// answered with the next request, or never.
#[interface(protocol = 0x5002)]
pub trait Supervisor {
    /// The runtime is up, since `start_runtime`; gives the first request.
    #[op(1, words, deferred)]
    fn ready(&self, start_runtime: u64, request: &mut [u8]) -> Result<Request, FaasError>;

    /// The response to the last request; gives the next one. A response in a dataspace is sealed before.
    #[op(2, words, deferred)]
    fn done(
        &self,
        times: WorkerTimes,
        response: Payload<'_>,
        request: &mut [u8],
    ) -> Result<Request, FaasError>;

    /// The last request failed; gives the next one if the worker can go on. In place of `ready`: why the worker can serve no
    /// request at all, which ends it.
    #[op(3, words, deferred)]
    fn fail(
        &self,
        times: WorkerTimes,
        failure: WorkerFailure<'_>,
        request: &mut [u8],
    ) -> Result<Request, FaasError>;

    /// The function's environment from byte `offset` on: `NAME=value` strings, each ended by a zero byte. The result is
    /// the environment's length.
    #[op(4, words, deferred)]
    fn environment(&self, offset: u64, text: &mut [u8]) -> Result<u64, FaasError>;

    /// The function that the worker runs.
    #[op(5)]
    fn function(&self) -> Result<FunctionInfo, FaasError>;

    /// As `ready`, from a worker that ends with its first request: whatever the function's mode, it is not kept.
    #[op(6, words, deferred)]
    fn ready_once(&self, start_runtime: u64, request: &mut [u8]) -> Result<Request, FaasError>;

    /// The code of the function that the worker is to run. Asked by the program of a runtime that was started without any, before
    /// there was a function: it waits here until there is one, and goes on as its worker.
    #[op(7, words, deferred)]
    fn code(&self) -> Result<Block, FaasError>;
}

/// A request to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Number of the activation.
    pub activation: ActivationId,
    /// When the worker is ended if it has not responded, in nanoseconds of the kernel clock.
    pub deadline_ns: u64,
    /// How many invocations this one is nested in.
    pub depth: u32,
    /// Fresh randomness.
    pub seed: [u64; 2],
    /// Where the request's bytes are.
    pub body: Body,
}

impl Encode for Request {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(self.activation);
        out.word(self.deadline_ns);
        self.depth.encode(out);
        self.seed.encode(out);
        self.body.encode(out);
    }
}

impl<S: Source> Decode<S> for Request {
    const CAPS: usize = 1;

    #[inline]
    fn decode(from: &mut S) -> Result<Request, Error> {
        Ok(Request {
            activation: from.word()?,
            deadline_ns: from.word()?,
            depth: Decode::decode(from)?,
            seed: Decode::decode(from)?,
            body: Decode::decode(from)?,
        })
    }
}

/// When the worker's phases began and ended, as [`super::Timestamps`] explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Timestamps` explains the fields")]
pub struct WorkerTimes {
    pub start_runtime: u64,
    pub start_load: u64,
    pub start_function: u64,
    pub end_function: u64,
    pub end_runtime: u64,
}

words_in_order!(WorkerTimes: start_runtime, start_load, start_function, end_function, end_runtime);

/// How an invocation failed inside the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The function returned an error; the worker can go on.
    Returned,
    /// The function panicked; the worker ends.
    Panicked,
    /// The response has more than [`super::PAYLOAD_MAX`] bytes; the worker can go on.
    ResponseTooLarge,
}

/// What a worker says of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerFailure<'a> {
    /// What happened.
    pub kind: FailureKind,
    /// Length of the response if that is what is wrong, else 0.
    pub length: u64,
    /// The error or the panic's message, at most [`super::ERROR_MAX`] and [`super::MESSAGE_MAX`] bytes.
    pub message: &'a str,
    /// File, line and column of a panic, at most [`super::LOCATION_MAX`] bytes, else empty.
    pub location: &'a str,
}

impl Encode for WorkerFailure<'_> {
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(match self.kind {
            FailureKind::Returned => 0,
            FailureKind::Panicked => 1,
            FailureKind::ResponseTooLarge => 2,
        });
        out.word(self.length);
        self.message.encode(out);
        self.location.encode(out);
    }
}

impl<'a> Decode<Arguments<'a>> for WorkerFailure<'a> {
    fn decode(from: &mut Arguments<'a>) -> Result<WorkerFailure<'a>, Error> {
        let kind = match from.word()? {
            0 => FailureKind::Returned,
            1 => FailureKind::Panicked,
            2 => FailureKind::ResponseTooLarge,
            _ => return Err(Error::Invalid),
        };
        Ok(WorkerFailure {
            kind,
            length: from.word()?,
            message: Decode::decode(from)?,
            location: Decode::decode(from)?,
        })
    }
}

/// A function as its worker knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionInfo {
    /// Its name.
    pub name: String,
    /// The handler inside the code, empty if the configuration names none.
    pub handler: String,
    /// Its version.
    pub version: u32,
    /// Memory limit of the worker in bytes.
    pub memory_bytes: u64,
}
