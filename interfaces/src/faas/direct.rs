//! Calls of functions that do not pass the manager: through a spawn gate, each call of which begins a clone in the kernel.
//!
//! A request is what the clone's call `Supervisor::ready` is answered with; the kernel writes number, deadline, depth and
//! randomness into it. The clone's next message to its parent is the answer, whatever it is: a result, an error, its exit.
//! What only a manager can answer (a nested invocation, a line for the log, a result in memory that ends with the clone)
//! says that the call is to be made again, there.

use l4::exception::{ExceptionFrame, Reason};
use l4::object::{CloneFailure, FailureReason};
use l4::{Rights, Tag, Utcb};
use l4_rpc::{Caller, Incoming, Reply};

use super::{
    Block, Body, FaasError, FailureKind, FunctionInfo, PAYLOAD_MAX, Payload, Request, Supervisor,
    SupervisorInterface, SupervisorReply, WorkerFailure, WorkerTimes,
};
use crate::parent::{EXIT, Parent, ParentInterface};

/// What a clone answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A result; so many bytes of it were copied.
    Result(WorkerTimes, usize),
    /// There is no result.
    Failed(FaasError),
    /// The function needs its manager: the call is to be made there.
    NeedsManager,
}

/// How the answer of a clone that has a result begins: label and first word. Whoever gives others has not done its work.
pub const RESULT: (i64, u64) = (SupervisorInterface::PROTOCOL, 2);

/// How answers begin that say how an invocation ended, a result first. The others are errors: what the function returned, its exit,
/// and a request for a request. Whatever begins in another way is to be asked of the manager, which counts it.
pub const OUTCOMES: [(i64, u64); 4] = [
    RESULT,
    (SupervisorInterface::PROTOCOL, 3),
    (l4::protocol::PARENT, 0),
    (SupervisorInterface::PROTOCOL, 1),
];

/// Writes a request into the UTCB. Returns its tag.
pub fn request(utcb: &Utcb, payload: Payload<'_>) -> Tag {
    let (body, bytes): (Body, &[u8]) = match payload {
        Payload::Inline(bytes) => (Body::Inline, bytes),
        Payload::Dataspace(Block { memory, length }) => {
            // The clone reads it, no more.
            let memory = memory.with_rights(Rights::READ);
            (Body::Dataspace(Block { memory, length }), &[])
        }
    };
    let request = Request {
        activation: 0,
        deadline_ns: 0,
        depth: 0,
        seed: [0; 2],
        body,
    };
    SupervisorReply::ready(utcb, Ok(&request), bytes)
}

/// Reads a clone's answer, which is its claim; a result is copied to `response`.
pub fn answer(incoming: &Incoming, utcb: &Utcb, response: &mut [u8]) -> Answer {
    let mut reader = Reader {
        response,
        answer: Answer::NeedsManager,
    };
    match incoming.tag().label() {
        SupervisorInterface::PROTOCOL => drop(SupervisorInterface::dispatch(&mut reader, incoming, utcb)),
        l4::protocol::PARENT => drop(ParentInterface::dispatch(&mut reader, incoming, utcb)),
        _ => {}
    }
    reader.answer
}

/// What the kernel's message says of a clone that ended without an answer. The limits are the function's.
pub fn failure(failure: &CloneFailure, memory_bytes: u64, timeout_ns: u64) -> FaasError {
    let frame = ExceptionFrame {
        reason: Reason::Exception as u64,
        vector: failure.vector,
        error: failure.error,
        address: failure.address,
        rip: failure.ip,
        rsp: failure.sp,
        ..ExceptionFrame::default()
    };
    match failure.reason {
        FailureReason::Fault => FaasError::from_exception(&frame, memory_bytes),
        FailureReason::Deadline => FaasError::Timeout { limit_ns: timeout_ns },
        FailureReason::Quota => FaasError::MemoryLimit {
            limit_bytes: memory_bytes,
        },
        FailureReason::Exited => FaasError::Exit {
            code: failure.exit_code as i64,
        },
        FailureReason::Destroyed => FaasError::Cancelled,
    }
}

impl WorkerFailure<'_> {
    /// What its caller is told, and whether the worker can go on.
    pub fn error(&self) -> (FaasError, bool) {
        match self.kind {
            FailureKind::Returned => (FaasError::failed(self.message), true),
            FailureKind::Panicked => (FaasError::panic(self.message, self.location), false),
            FailureKind::ResponseTooLarge => (
                FaasError::ResultTooLarge {
                    length: self.length,
                    limit: PAYLOAD_MAX,
                },
                true,
            ),
        }
    }
}

/// Takes what a worker would tell its manager.
struct Reader<'a> {
    response: &'a mut [u8],
    answer: Answer,
}

impl Supervisor for Reader<'_> {
    fn ready(&mut self, _: Caller, _: &Utcb, _: u64) -> Reply {
        self.confused()
    }

    fn ready_once(&mut self, _: Caller, _: &Utcb, _: u64) -> Reply {
        // It is none of the outcomes that are counted, so the manager judges it.
        Reply::Deferred
    }

    fn done(&mut self, _: Caller, _: &Utcb, times: WorkerTimes, response: Payload<'_>) -> Reply {
        if let Payload::Inline(bytes) = response {
            self.answer = match self.response.get_mut(..bytes.len()) {
                Some(place) => {
                    place.copy_from_slice(bytes);
                    Answer::Result(times, bytes.len())
                }
                None => Answer::Failed(FaasError::WorkerProtocol),
            };
        }
        Reply::Deferred
    }

    fn fail(&mut self, _: Caller, _: &Utcb, _: WorkerTimes, failure: WorkerFailure<'_>) -> Reply {
        self.answer = Answer::Failed(failure.error().0);
        Reply::Deferred
    }

    fn environment(&mut self, _: Caller, _: &Utcb, _: u64) -> Reply {
        Reply::Deferred
    }

    fn function(&mut self, _: Caller) -> Result<FunctionInfo, FaasError> {
        Err(FaasError::NotPermitted)
    }

    fn code(&mut self, _: Caller, _: &Utcb) -> Reply {
        Reply::Deferred
    }
}

impl Reader<'_> {
    fn confused(&mut self) -> Reply {
        self.answer = Answer::Failed(FaasError::WorkerProtocol);
        Reply::Deferred
    }
}

impl Parent for Reader<'_> {
    fn signal(&mut self, _: Caller, _: &Utcb, signal: u64, code: u64) -> Reply {
        self.answer = Answer::Failed(if signal == EXIT {
            FaasError::Exit { code: code as i64 }
        } else {
            FaasError::WorkerProtocol
        });
        Reply::Deferred
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faas::{ActionsClient, InvokeOptions, SupervisorClient};
    use crate::parent::ParentClient;
    use alloc::string::String;
    use alloc::vec::Vec;
    use l4_rpc::Loopback;

    const TIMES: WorkerTimes = WorkerTimes {
        start_runtime: 1,
        start_load: 2,
        start_function: 3,
        end_function: 4,
        end_runtime: 5,
    };

    type Seen = Option<(Answer, Vec<u8>)>;
    /// What a clone has in its parent's place: the client.
    type Parent = Loopback<Seen, fn(&mut Seen, &Incoming, &Utcb) -> Reply>;

    fn listen(seen: &mut Seen, incoming: &Incoming, utcb: &Utcb) -> Reply {
        let mut response = [0; 16];
        let read = answer(incoming, utcb, &mut response);
        *seen = Some((read, response.to_vec()));
        Reply::error(l4::Error::NotFound)
    }

    /// What a client makes of what a clone says to its parent.
    fn heard(say: impl FnOnce(&Parent)) -> Seen {
        let parent = Loopback::new(None, listen as fn(&mut Seen, &Incoming, &Utcb) -> Reply);
        say(&parent);
        parent.inspect(core::mem::take)
    }

    fn failure_of(kind: FailureKind) -> WorkerFailure<'static> {
        WorkerFailure {
            kind,
            length: 7,
            message: "no",
            location: "f.rs:1:2",
        }
    }

    #[test]
    fn only_results_begin_as_results_do() {
        type Head = Option<(i64, u64)>;
        type Listener = Loopback<Head, fn(&mut Head, &Incoming, &Utcb) -> Reply>;
        fn note(head: &mut Head, incoming: &Incoming, utcb: &Utcb) -> Reply {
            *head = Some((incoming.tag().label(), utcb.word(0)));
            Reply::error(l4::Error::NotFound)
        }
        let begins = |say: &dyn Fn(&Listener)| {
            let parent = Listener::new(None, note);
            say(&parent);
            parent.inspect(|head| *head)
        };
        let result = begins(&|parent| {
            let _ = SupervisorClient::new(parent).done(TIMES, Payload::Inline(b"out"), &mut []);
        });
        assert_eq!(result, Some(RESULT));
        let failure = begins(&|parent| {
            let _ = SupervisorClient::new(parent).fail(TIMES, failure_of(FailureKind::Returned), &mut []);
        });
        let exit = begins(&|parent| {
            let _ = ParentClient::new(parent).signal(EXIT, 3);
        });
        assert!(
            [failure, exit]
                .iter()
                .all(|head| head.is_some() && *head != result)
        );
    }

    #[test]
    fn results_and_failures_are_told_apart() {
        let (read, bytes) = heard(|parent| {
            let _ = SupervisorClient::new(parent).done(TIMES, Payload::Inline(b"out"), &mut []);
        })
        .unwrap();
        assert_eq!((read, &bytes[..3]), (Answer::Result(TIMES, 3), &b"out"[..]));
        for (kind, expected) in [
            (FailureKind::Returned, FaasError::failed("no")),
            (FailureKind::Panicked, FaasError::panic("no", "f.rs:1:2")),
            (
                FailureKind::ResponseTooLarge,
                FaasError::ResultTooLarge {
                    length: 7,
                    limit: PAYLOAD_MAX,
                },
            ),
        ] {
            let (read, _) = heard(|parent| {
                let _ = SupervisorClient::new(parent).fail(TIMES, failure_of(kind), &mut []);
            })
            .unwrap();
            assert_eq!(read, Answer::Failed(expected));
        }
        let (read, _) = heard(|parent| {
            let _ = ParentClient::new(parent).signal(EXIT, 3);
        })
        .unwrap();
        assert_eq!(read, Answer::Failed(FaasError::Exit { code: 3 }));
    }

    #[test]
    fn what_only_a_manager_can_answer_is_passed_on() {
        let cases: [fn(&Parent); 4] = [
            |parent| drop(SupervisorClient::new(parent).ready_once(0, &mut [])),
            |parent| drop(SupervisorClient::new(parent).function()),
            |parent| drop(SupervisorClient::new(parent).environment(0, &mut [])),
            |parent| {
                let options = InvokeOptions::default();
                let _ = ActionsClient::new(parent).invoke(b"other", options, Payload::Inline(b""), &mut []);
            },
        ];
        for say in cases {
            assert_eq!(heard(say).unwrap().0, Answer::NeedsManager);
        }
    }

    #[test]
    fn nonsense_is_the_workers_fault() {
        let again = heard(|parent| drop(SupervisorClient::new(parent).ready(0, &mut []))).unwrap();
        assert_eq!(again.0, Answer::Failed(FaasError::WorkerProtocol));
        let signal = heard(|parent| {
            let _ = ParentClient::new(parent).signal(99, 0);
        })
        .unwrap();
        assert_eq!(signal.0, Answer::Failed(FaasError::WorkerProtocol));
        // It does not fit into what the client has room for.
        let long = heard(|parent| {
            let _ = SupervisorClient::new(parent).done(TIMES, Payload::Inline(&[7; 17]), &mut []);
        })
        .unwrap();
        assert_eq!(long.0, Answer::Failed(FaasError::WorkerProtocol));
    }

    #[test]
    fn the_kernels_word_becomes_the_same_error_as_the_managers() {
        let of = |reason| failure(&CloneFailure::new(reason), 4096, 50);
        assert_eq!(of(FailureReason::Deadline), FaasError::Timeout { limit_ns: 50 });
        assert_eq!(
            of(FailureReason::Quota),
            FaasError::MemoryLimit { limit_bytes: 4096 }
        );
        assert_eq!(of(FailureReason::Exited), FaasError::Exit { code: 0 });
        let overflow = CloneFailure {
            vector: 14,
            error: 6,
            address: 0x7000 - 8,
            sp: 0x7000,
            ip: 0x40_0000,
            ..CloneFailure::new(FailureReason::Fault)
        };
        assert_eq!(
            failure(&overflow, 0, 0),
            FaasError::Fault {
                kind: crate::faas::FaultKind::StackOverflow,
                address: 0x7000 - 8,
                instruction: 0x40_0000
            }
        );
        assert!(String::from(failure(&overflow, 0, 0).kind()).contains("fault"));
    }
}
