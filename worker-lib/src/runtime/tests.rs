use super::*;
use crate::Error;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::Cell;
use interfaces::faas::{Block, FaasError, Supervisor, SupervisorInterface, SupervisorReply};
use l4::{CapIndex, Tag, Utcb};
use l4_rpc::{Arrival, Caller, Cap, Incoming as Received, Loopback, Reply, Transport};

/// What the worker told the manager.
#[derive(Debug, PartialEq)]
enum Told {
    Ready(u64),
    Done(Vec<u8>),
    DoneInDataspace(u64),
    Fail(FailureKind, u64, String),
}

/// Gives out requests in turn, and then an error.
struct Manager {
    requests: Vec<&'static str>,
    told: Vec<Told>,
    times: Vec<WorkerTimes>,
}

impl Manager {
    fn next(&mut self, utcb: &Utcb) -> Reply {
        let mut waiting = self.requests.iter();
        let Some(body) = waiting.next().copied() else {
            return Reply::Now(SupervisorReply::ready(utcb, Err(&FaasError::WorkerProtocol), &[]));
        };
        self.requests.remove(0);
        let request = Incoming {
            activation: self.told.len() as u64,
            deadline_ns: 1_000,
            depth: 2,
            seed: [3, 4],
            body: Place::Inline,
        };
        Reply::Now(SupervisorReply::ready(utcb, Ok(&request), body.as_bytes()))
    }
}

impl Supervisor for Manager {
    fn ready(&mut self, _: Caller, utcb: &Utcb, start_runtime: u64) -> Reply {
        self.told.push(Told::Ready(start_runtime));
        self.next(utcb)
    }

    fn done(&mut self, _: Caller, utcb: &Utcb, times: WorkerTimes, response: Payload<'_>) -> Reply {
        self.times.push(times);
        self.told.push(match response {
            Payload::Inline(bytes) => Told::Done(bytes.to_vec()),
            Payload::Dataspace(block) => Told::DoneInDataspace(block.length),
        });
        self.next(utcb)
    }

    fn fail(&mut self, _: Caller, utcb: &Utcb, times: WorkerTimes, failure: WorkerFailure<'_>) -> Reply {
        self.times.push(times);
        self.told
            .push(Told::Fail(failure.kind, failure.length, failure.message.into()));
        self.next(utcb)
    }

    fn ready_once(&mut self, _: Caller, _: &Utcb, _: u64) -> Reply {
        Reply::error(l4::Error::NoSystemCall)
    }

    fn environment(&mut self, _: Caller, _: &Utcb, _: u64) -> Reply {
        Reply::error(l4::Error::NoSystemCall)
    }

    fn function(&mut self, _: Caller) -> Result<interfaces::faas::FunctionInfo, FaasError> {
        Err(FaasError::NotPermitted)
    }

    fn code(&mut self, _: Caller, utcb: &Utcb) -> Reply {
        Reply::Now(SupervisorReply::code(utcb, Err(&FaasError::NotPermitted)))
    }
}

type Gate = Loopback<Manager, fn(&mut Manager, &Received, &Utcb) -> Reply>;

/// A machine whose clock advances with each look, and whose memory has room for one large response.
#[derive(Clone, Copy)]
struct Host<'a> {
    gate: &'a Gate,
    clock: &'a Cell<u64>,
    has_memory: bool,
}

impl Transport for Host<'_> {
    fn utcb(&self) -> &Utcb {
        self.gate.utcb()
    }

    fn call(&self, tag: Tag, caps: usize, deadline: u64) -> Result<Arrival, l4::Error> {
        self.gate.call(tag, caps, deadline)
    }

    fn discard(&self, slots: &[CapIndex]) {
        self.gate.discard(slots);
    }
}

impl Machine for Host<'_> {
    type Published = ();

    fn now_ns(&self) -> u64 {
        self.clock.set(self.clock.get() + 10);
        self.clock.get()
    }

    fn remember(&self, _: WorkerTimes) {}

    fn publish(&self, bytes: &[u8]) -> Result<(Block, ()), l4::Error> {
        if !self.has_memory {
            return Err(l4::Error::NoMemory);
        }
        Ok((
            Block {
                memory: Cap::new(CapIndex(0x30)),
                length: bytes.len() as u64,
            },
            (),
        ))
    }

    fn open(&self, _: Block) -> Result<Body, l4::Error> {
        Err(l4::Error::Invalid)
    }
}

/// Serves all requests with `function` and returns what the manager was told, and when.
fn told(
    requests: &[&'static str],
    has_memory: bool,
    function: impl Fn(Request, &Context) -> Result<Response, Error>,
) -> (Vec<Told>, Vec<WorkerTimes>) {
    told_of(requests, has_memory, |host| {
        serve_from(host, host.now_ns(), None, function)
    })
}

/// Has `worker` serve all requests and returns what the manager was told, and when.
fn told_of(
    requests: &[&'static str],
    has_memory: bool,
    worker: impl FnOnce(Host<'_>) -> InvokeError,
) -> (Vec<Told>, Vec<WorkerTimes>) {
    let manager = Manager {
        requests: requests.to_vec(),
        told: Vec::new(),
        times: Vec::new(),
    };
    let gate: Gate = Loopback::new(manager, SupervisorInterface::dispatch);
    let clock = Cell::new(0);
    let end = worker(Host {
        gate: &gate,
        clock: &clock,
        has_memory,
    });
    assert_eq!(end, CallError::Server(FaasError::WorkerProtocol));
    gate.inspect(|manager| {
        (
            core::mem::take(&mut manager.told),
            core::mem::take(&mut manager.times),
        )
    })
}

#[test]
fn each_request_is_answered_in_turn() {
    let (told, times) = told(&["a", "bc", "bad"], true, |request, ctx| {
        match request.text()? {
            "bad" => Err(Error::new("no good")),
            text => Ok(Response::format(format_args!(
                "{text}{}{}",
                ctx.request_id(),
                ctx.depth()
            ))),
        }
    });
    let expected = [
        Told::Ready(10),
        Told::Done(b"a12".to_vec()),
        Told::Done(b"bc22".to_vec()),
        Told::Fail(FailureKind::Returned, 0, "no good".into()),
    ];
    assert_eq!(told, expected);
    for times in &times {
        let order = [
            times.start_runtime,
            times.start_load,
            times.start_function,
            times.end_function,
            times.end_runtime,
        ];
        assert!(order.is_sorted() && order[0] > 0, "{order:?}");
    }
    assert!(
        times
            .windows(2)
            .all(|pair| pair[0].end_runtime < pair[1].start_runtime)
    );
}

#[test]
fn loading_is_a_phase_of_the_first_request_only() {
    let (_, times) = told_of(&["", ""], true, |host| {
        serve_from(host, 1, Some(3), |_, _| Ok::<_, Error>(Response::text("")))
    });
    let loads: Vec<_> = times
        .iter()
        .map(|times| (times.start_load, times.start_function))
        .collect();
    assert_eq!(loads[0].0, 3);
    assert!(loads[0].1 > 3 && loads[1].0 == loads[1].1, "{loads:?}");
}

#[test]
fn the_size_of_a_response_decides_how_it_travels() {
    let respond = |request: Request, _: &Context| {
        let size = request.parse::<usize>()?.unwrap_or(0);
        Ok(Response::bytes(alloc::vec![7; size]))
    };
    let sizes = ["0", "400", "401", "1048576", "1048577"];
    let (with_memory, _) = told(&sizes, true, respond);
    let expected = [
        Told::Ready(10),
        Told::Done(Vec::new()),
        Told::Done(alloc::vec![7; 400]),
        Told::DoneInDataspace(401),
        Told::DoneInDataspace(1_048_576),
        Told::Fail(FailureKind::ResponseTooLarge, 1_048_577, String::new()),
    ];
    assert_eq!(with_memory, expected);
    let (without_memory, _) = told(&["401"], false, respond);
    assert!(
        matches!(&without_memory[1], Told::Fail(FailureKind::Returned, 0, text) if text.contains("401 bytes")),
        "{without_memory:?}"
    );
}

#[test]
fn long_errors_are_cut() {
    let (told, _) = told(&[""], true, |_, _| Err(Error::new("é".repeat(1_000))));
    let Told::Fail(FailureKind::Returned, 0, text) = &told[1] else {
        panic!("{told:?}")
    };
    assert!(text.len() <= ERROR_MAX && text.ends_with("é…"), "{text}");
}

#[test]
fn of_a_long_place_the_end_stays() {
    assert_eq!(last_bytes("src/main.rs:1:2", 96), "src/main.rs:1:2");
    assert_eq!(last_bytes("aéb", 2), "b");
    assert_eq!(last_bytes("aéb", 3), "éb");
}
