//! What workers do.

use interfaces::faas::{
    Block, Body, ERROR_MAX, FaasError, FailureKind, FunctionInfo, INLINE_RESPONSE, MESSAGE_MAX, Payload,
    Request, Supervisor, SupervisorClient, SupervisorInterface, SupervisorReply, WorkerFailure, WorkerTimes,
};
use l4::{CapIndex, Error, Utcb};
use l4_rpc::{CallError, Caller, Cap, Loopback, REPLY_BYTES, Reply};

/// A manager with one worker, which it tells what it said last.
#[derive(Default)]
pub(crate) struct Overseer {
    pub(crate) last: String,
}

impl Overseer {
    fn next(&self, body: Body) -> Request {
        Request {
            activation: 1,
            deadline_ns: 2,
            depth: 3,
            seed: [4, 5],
            body,
        }
    }
}

impl Supervisor for Overseer {
    fn ready(&mut self, _: Caller, utcb: &Utcb, start_runtime: u64) -> Reply {
        let bytes = start_runtime.to_le_bytes();
        Reply::Now(SupervisorReply::ready(
            utcb,
            Ok(&self.next(Body::Inline)),
            &bytes[..3],
        ))
    }

    fn ready_once(&mut self, caller: Caller, utcb: &Utcb, start_runtime: u64) -> Reply {
        self.last = "once".into();
        self.ready(caller, utcb, start_runtime)
    }

    fn done(&mut self, _: Caller, utcb: &Utcb, times: WorkerTimes, response: Payload<'_>) -> Reply {
        let Payload::Inline(bytes) = response else {
            return Reply::Now(SupervisorReply::done(utcb, Err(&FaasError::InvalidPayload), &[]));
        };
        self.last = format!("{times:?} {}", bytes.len());
        let block = Block {
            memory: Cap::new(CapIndex(0x50)),
            length: 5000,
        };
        Reply::Now(SupervisorReply::done(
            utcb,
            Ok(&self.next(Body::Dataspace(block))),
            &[],
        ))
    }

    fn fail(&mut self, _: Caller, _: &Utcb, _: WorkerTimes, failure: WorkerFailure<'_>) -> Reply {
        self.last = format!("{failure:?}");
        Reply::Deferred
    }

    fn environment(&mut self, _: Caller, utcb: &Utcb, offset: u64) -> Reply {
        let text = b"A=1\0";
        let tail = &text[(offset as usize).min(text.len())..];
        Reply::Now(SupervisorReply::environment(utcb, Ok(&4), tail))
    }

    fn function(&mut self, _: Caller) -> Result<FunctionInfo, FaasError> {
        Ok(FunctionInfo {
            name: "f".into(),
            handler: "main".into(),
            version: 1,
            memory_bytes: 2,
        })
    }

    fn code(&mut self, _: Caller, utcb: &Utcb) -> Reply {
        let block = Block {
            memory: Cap::new(CapIndex(0x51)),
            length: 700,
        };
        Reply::Now(SupervisorReply::code(utcb, Ok(&block)))
    }
}

#[test]
fn workers_get_requests_and_give_results() {
    let gate = Loopback::new(Overseer::default(), SupervisorInterface::dispatch);
    let worker = SupervisorClient::new(&gate);
    let mut buffer = [0; REPLY_BYTES];
    let (request, length) = worker.ready(0x0302_0100, &mut buffer).unwrap();
    assert_eq!(
        (
            request.activation,
            request.deadline_ns,
            request.depth,
            request.seed
        ),
        (1, 2, 3, [4, 5])
    );
    assert_eq!((request.body, &buffer[..length]), (Body::Inline, &[0, 1, 2][..]));

    let (_, length) = worker.ready_once(0x06_0504, &mut buffer).unwrap();
    assert_eq!(buffer[..length], [4, 5, 6]);
    gate.inspect(|manager| assert_eq!(manager.last, "once"));

    let times = WorkerTimes {
        start_runtime: 1,
        start_load: 2,
        start_function: 3,
        end_function: 4,
        end_runtime: 5,
    };
    let (request, length) = worker
        .done(times, Payload::Inline(&[0; INLINE_RESPONSE]), &mut buffer)
        .unwrap();
    assert_eq!(length, 0);
    let Body::Dataspace(block) = request.body else {
        panic!("{request:?}")
    };
    assert_eq!((block.memory.index(), block.length), (CapIndex(0x50), 5000));
    gate.inspect(|manager| assert_eq!(manager.last, format!("{times:?} {INLINE_RESPONSE}")));

    assert_eq!(worker.environment(1, &mut buffer), Ok((4, 3)));
    assert_eq!(buffer[..3], *b"=1\0");
    assert_eq!(worker.function().map(|function| function.name), Ok("f".into()));
    let code = worker.code().map(|block| (block.memory.index(), block.length));
    assert_eq!(code, Ok((CapIndex(0x51), 700)));
}

#[test]
fn the_longest_failure_fits() {
    let (error, panic) = ("e".repeat(ERROR_MAX), "m".repeat(MESSAGE_MAX));
    let location = "l".repeat(interfaces::faas::LOCATION_MAX);
    for (kind, message, location) in [
        (FailureKind::Returned, &error, ""),
        (FailureKind::Panicked, &panic, &location),
    ] {
        failure_fits(&WorkerFailure {
            kind,
            length: 0,
            message,
            location,
        });
    }
}

fn failure_fits(failure: &WorkerFailure<'_>) {
    let gate = Loopback::new(Overseer::default(), SupervisorInterface::dispatch);
    let outcome = SupervisorClient::new(&gate).fail(WorkerTimes::default(), *failure, &mut []);
    assert_eq!(
        outcome,
        Err(CallError::Protocol(Error::Ipc(l4::IpcError::ReceiveTimeout)))
    );
    gate.inspect(|manager| assert_eq!(manager.last, format!("{failure:?}")));
}
