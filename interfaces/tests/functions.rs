//! The interfaces of functions, called through a loopback with a manager that keeps everything in memory.

use std::cell::RefCell;

use interfaces::faas::client::{Client, ClientError, Code, Memory};
use interfaces::faas::{
    ActionConfig, ActionInfo, Actions, ActionsInterface, ActionsReply, ActivationId, Block, Body, Completion,
    Counters, Definition, FaasError, FailureKind, INLINE_REQUEST, INLINE_RESPONSE, InvokeOptions,
    MESSAGE_MAX, NAME_MAX, NameFault, PAYLOAD_MAX, Payload, Registration, Registry, RegistryClient,
    RegistryInterface, RegistryStatus, Request, Supervisor, SupervisorClient, SupervisorInterface,
    SupervisorReply, Timestamps, WorkerFailure, WorkerTimes, check_name,
};
use interfaces::faas::{FaultKind, FunctionInfo};
use interfaces::manifest::StartMode;
use l4::exception::ExceptionFrame;
use l4::object::{Dataspace, Irq};
use l4::{CapIndex, Error, Utcb};
use l4_rpc::{CallError, Caller, Cap, Loopback, REPLY_BYTES, Reply};
use proptest::prelude::*;

/// Dataspaces that live on the test's heap; slot n holds the n-th.
#[derive(Default)]
struct Heap(RefCell<Vec<Option<Vec<u8>>>>);

impl Heap {
    fn live(&self) -> usize {
        self.0.borrow().iter().flatten().count()
    }
}

impl Memory for &Heap {
    fn publish(&self, bytes: &[u8]) -> Result<Cap<Dataspace>, Error> {
        let mut all = self.0.borrow_mut();
        all.push(Some(bytes.to_vec()));
        Ok(Cap::new(CapIndex(all.len() as u32 - 1)))
    }

    fn fetch(&self, memory: Cap<Dataspace>, into: &mut [u8]) -> Result<(), Error> {
        let all = self.0.borrow();
        let bytes = all[memory.index().0 as usize].as_ref().ok_or(Error::NotFound)?;
        into.copy_from_slice(bytes.get(..into.len()).ok_or(Error::Range)?);
        Ok(())
    }

    fn release(&self, memory: Cap<Dataspace>) {
        self.0.borrow_mut()[memory.index().0 as usize] = None;
    }
}

const TIMES: Timestamps = Timestamps {
    queue: 1,
    start_worker: 2,
    start_runtime: 3,
    start_function: 4,
    end_function: 5,
    end_runtime: 6,
    end_worker: 7,
};

/// A manager whose functions answer with what they were sent; the name "fail" fails.
struct Echo<'h> {
    heap: &'h Heap,
    names: Vec<String>,
    environments: Vec<u8>,
}

impl<'h> Echo<'h> {
    fn new(heap: &'h Heap) -> Echo<'h> {
        Echo {
            heap,
            names: Vec::new(),
            environments: Vec::new(),
        }
    }

    fn read(&self, memory: Cap<Dataspace>, length: u64) -> Vec<u8> {
        let mut bytes = vec![0; length as usize];
        Memory::fetch(&self.heap, memory, &mut bytes).expect("it was published");
        bytes
    }

    fn complete(&self, utcb: &Utcb, name: &[u8], request: Payload<'_>) -> Reply {
        if name == b"fail" {
            return Reply::Now(ActionsReply::invoke(
                utcb,
                Err(&FaasError::panic("oh", "a.rs:1:2")),
                &[],
            ));
        }
        let bytes = match request {
            Payload::Inline(bytes) => bytes.to_vec(),
            Payload::Dataspace(block) => self.read(block.memory, block.length),
        };
        let response = if bytes.len() <= INLINE_RESPONSE {
            Payload::Inline(&bytes)
        } else {
            let memory = self.heap.publish(&bytes).expect("the heap never fails");
            Payload::Dataspace(Block {
                memory,
                length: bytes.len() as u64,
            })
        };
        let (body, tail) = response.split();
        let completion = Completion {
            activation: 9,
            version: 3,
            mode: StartMode::Warm,
            times: TIMES,
            body,
        };
        Reply::Now(ActionsReply::invoke(utcb, Ok(&completion), tail))
    }
}

impl Actions for Echo<'_> {
    fn create(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        _: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
    ) -> Reply {
        let result = check_name(definition.name).map(|name| self.names.push(name.into()));
        self.names.sort();
        if let Some(memory) = environment {
            self.environments = self.read(memory, definition.environment_bytes);
        }
        Reply::Now(ActionsReply::create(utcb, result.as_ref()))
    }

    fn update(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        _: Definition<'_>,
        _: Cap<Dataspace>,
        _: Option<Cap<Dataspace>>,
    ) -> Reply {
        Reply::Now(ActionsReply::update(utcb, Ok(&2)))
    }

    fn delete(&mut self, _: Caller, name: &[u8]) -> Result<(), FaasError> {
        let name = check_name(name)?;
        let index = self
            .names
            .iter()
            .position(|own| own == name)
            .ok_or(FaasError::UnknownAction)?;
        self.names.remove(index);
        Ok(())
    }

    fn list(&mut self, _: Caller, after: &str) -> Result<Option<String>, FaasError> {
        Ok(self.names.iter().find(|name| name.as_str() > after).cloned())
    }

    fn describe(&mut self, _: Caller, _: &[u8]) -> Result<ActionInfo, FaasError> {
        Err(FaasError::UnknownAction)
    }

    fn invoke(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        name: &[u8],
        _: InvokeOptions,
        request: Payload<'_>,
    ) -> Reply {
        self.complete(utcb, name, request)
    }

    fn invoke_async(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        name: &[u8],
        options: InvokeOptions,
        request: Payload<'_>,
        notify: Option<Cap<Irq>>,
    ) -> Reply {
        let id = name.len() as u64
            + options.timeout_ns
            + options.memory_bytes
            + request.length()
            + notify.map_or(0, |irq| irq.index().word());
        Reply::Now(ActionsReply::invoke_async(utcb, Ok(&id)))
    }

    fn result(&mut self, _: Caller, utcb: &Utcb, _: ActivationId, wait: bool) -> Reply {
        if wait {
            return Reply::Deferred;
        }
        Reply::Now(ActionsReply::result(utcb, Err(&FaasError::NotFinished), &[]))
    }

    fn cancel(&mut self, _: Caller, _: ActivationId) -> Result<(), FaasError> {
        Err(FaasError::UnknownActivation)
    }

    fn log(&mut self, _: Caller, utcb: &Utcb, _: ActivationId) -> Reply {
        Reply::Now(ActionsReply::log(utcb, Ok(&1000), b"last line\n"))
    }

    fn counters(&mut self, _: Caller) -> Result<Counters, FaasError> {
        Ok(Counters {
            succeeded: 1,
            activations: 8,
            ..Counters::default()
        })
    }
}

type Gate<'h> = Loopback<Echo<'h>, fn(&mut Echo<'h>, &l4_rpc::Incoming, &Utcb) -> Reply>;

fn with_client(test: impl FnOnce(&Client<Gate<'_>, &Heap>)) {
    let heap = Heap::default();
    let gate: Gate<'_> = Loopback::new(Echo::new(&heap), ActionsInterface::dispatch);
    test(&Client::new(gate, &heap));
    assert_eq!(heap.live(), 0, "every dataspace is given up");
}

fn code() -> Code<'static> {
    Code {
        memory: Cap::new(CapIndex(0x40)),
        length: 5000,
        handler: "",
    }
}

#[test]
fn functions_are_created_listed_and_deleted() {
    with_client(|client| {
        for name in ["two", "one", "three"] {
            client.create(name, code(), ActionConfig::default(), &[]).unwrap();
        }
        assert_eq!(client.list().unwrap(), ["one", "three", "two"]);
        client.delete("three").unwrap();
        assert_eq!(client.list().unwrap(), ["one", "two"]);
        assert_eq!(
            client.delete("three"),
            Err(CallError::Server(FaasError::UnknownAction))
        );
        assert_eq!(client.update("one", code(), ActionConfig::default(), &[]), Ok(2));
        assert_eq!(
            client.describe("one"),
            Err(CallError::Server(FaasError::UnknownAction))
        );
    });
}

#[test]
fn environments_travel_in_a_dataspace() {
    with_client(|client| {
        let environment = [("A".to_string(), "1".to_string()), ("B".into(), "x=y".into())];
        client
            .create("f", code(), ActionConfig::default(), &environment)
            .unwrap();
        client
            .actions()
            .transport()
            .inspect(|manager| assert_eq!(manager.environments, b"A=1\0B=x=y\0"));
    });
}

#[test]
fn bad_names_are_refused_with_the_reason() {
    let refused = |fault| Err::<(), ClientError>(CallError::Server(FaasError::InvalidName(fault)));
    with_client(|client| {
        let create = |name: &str| client.create(name, code(), ActionConfig::default(), &[]);
        assert_eq!(create(""), refused(NameFault::Empty));
        assert_eq!(create(&"n".repeat(1000)), refused(NameFault::TooLong));
        assert_eq!(create(&"n".repeat(NAME_MAX)), Ok(()));
        let definition = Definition {
            name: &[0xff],
            code_bytes: 1,
            handler: "",
            environment_bytes: 0,
            config: ActionConfig::default(),
        };
        assert_eq!(
            client.actions().create(definition, code().memory, None),
            refused(NameFault::NotUtf8)
        );
    });
}

#[test]
fn responses_of_all_sizes_arrive() {
    with_client(|client| {
        for length in [
            0,
            1,
            INLINE_REQUEST,
            INLINE_REQUEST + 1,
            INLINE_RESPONSE,
            INLINE_RESPONSE + 1,
            1 << 20,
        ] {
            let request: Vec<u8> = (0..length).map(|index| index as u8).collect();
            let response = client.invoke(&"n".repeat(NAME_MAX), &request).unwrap();
            assert_eq!(response.bytes, request, "{length} bytes");
            let completion = response.completion;
            assert_eq!(
                (completion.version, completion.mode, completion.times),
                (3, StartMode::Warm, TIMES)
            );
        }
    });
}

#[test]
fn requests_beyond_the_limit_are_refused_before_they_are_copied() {
    with_client(|client| {
        let length = PAYLOAD_MAX + 1;
        let outcome = client.invoke("f", &vec![0; length as usize]);
        let error = FaasError::RequestTooLarge {
            length,
            limit: PAYLOAD_MAX,
        };
        assert_eq!(outcome, Err(CallError::Server(error)));
    });
}

#[test]
fn errors_of_functions_arrive_and_leave_no_payload_behind() {
    with_client(|client| {
        let panic = FaasError::Panic {
            message: "oh".into(),
            location: "a.rs:1:2".into(),
        };
        assert_eq!(client.invoke("fail", &[1; 5000]), Err(CallError::Server(panic)));
        assert_eq!(client.last_log().unwrap(), "last line\n");
    });
}

#[test]
fn the_largest_asynchronous_request_fits() {
    with_client(|client| {
        let options = InvokeOptions {
            timeout_ns: 1000,
            memory_bytes: 10_000,
        };
        let name = [b'n'; NAME_MAX];
        let request = [1; INLINE_REQUEST];
        let notify = Some(Cap::new(CapIndex(7)));
        let outcome = client
            .actions()
            .invoke_async(&name, options, Payload::Inline(&request), notify);
        assert_eq!(outcome, Ok(128 + 1000 + 10_000 + INLINE_REQUEST as u64 + 7));
        let mut buffer = [0; REPLY_BYTES];
        assert_eq!(
            client.actions().result(1, false, &mut buffer),
            Err(CallError::Server(FaasError::NotFinished))
        );
        assert_eq!(
            client.actions().cancel(1),
            Err(CallError::Server(FaasError::UnknownActivation))
        );
        let counters = client.actions().counters().unwrap();
        assert_eq!(
            (counters.succeeded, counters.failed, counters.activations),
            (1, 0, 8)
        );
    });
}

struct OneCore;

impl Registry for OneCore {
    fn register(&mut self, caller: Caller) -> Result<Registration, FaasError> {
        if caller.label != 0 {
            return Err(FaasError::TooManyClients { limit: 1 });
        }
        Ok(Registration {
            client: Cap::new(CapIndex(0x20)),
            scheduler: Cap::new(CapIndex(0x21)),
            cpu: 5,
        })
    }

    fn status(&mut self, _: Caller) -> Result<RegistryStatus, FaasError> {
        Ok(RegistryStatus {
            clients: 1,
            free_cores: 0,
        })
    }
}

#[test]
fn registration_brings_gate_scheduler_and_core() {
    let gate = Loopback::new(OneCore, RegistryInterface::dispatch);
    let client = RegistryClient::new(&gate);
    let registration = client.register().unwrap();
    assert_eq!(registration.client.index(), CapIndex(0x20));
    assert_eq!(registration.scheduler.index(), CapIndex(0x21));
    assert_eq!(registration.cpu, 5);
    assert_eq!(
        client.status(),
        Ok(RegistryStatus {
            clients: 1,
            free_cores: 0
        })
    );
    let full = Loopback::new(OneCore, RegistryInterface::dispatch).calling_as(0x10, l4::Rights::CLIENT);
    assert_eq!(
        RegistryClient::new(&full).register(),
        Err(CallError::Server(FaasError::TooManyClients { limit: 1 }))
    );
}

/// A manager with one worker, which it tells what it said last.
#[derive(Default)]
struct Overseer {
    last: String,
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

    let times = WorkerTimes {
        start_runtime: 1,
        start_function: 2,
        end_function: 3,
        end_runtime: 4,
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
}

#[test]
fn the_longest_failure_fits() {
    let gate = Loopback::new(Overseer::default(), SupervisorInterface::dispatch);
    let message = "m".repeat(MESSAGE_MAX);
    let location = "l".repeat(interfaces::faas::LOCATION_MAX);
    let failure = WorkerFailure {
        kind: FailureKind::Panicked,
        length: 0,
        message: &message,
        location: &location,
    };
    let outcome = SupervisorClient::new(&gate).fail(WorkerTimes::default(), failure, &mut []);
    assert_eq!(
        outcome,
        Err(CallError::Protocol(Error::Ipc(l4::IpcError::ReceiveTimeout)))
    );
    gate.inspect(|manager| assert_eq!(manager.last, format!("{failure:?}")));
}

#[test]
fn exceptions_become_errors() {
    let page_fault = |error, address, rsp| ExceptionFrame {
        vector: 14,
        error,
        address,
        rsp,
        rip: 0x20_0010,
        ..ExceptionFrame::default()
    };
    let kind = |frame: &ExceptionFrame| match FaasError::from_exception(frame, 0) {
        FaasError::Fault {
            kind,
            address,
            instruction,
        } => (kind, address, instruction),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        kind(&page_fault(6, 0, 0x3f_0000)),
        (FaultKind::Write, 0, 0x20_0010)
    );
    assert_eq!(kind(&page_fault(4, 0x9000, 0x3f_0000)).0, FaultKind::Read);
    assert_eq!(kind(&page_fault(0x14, 0x9000, 0x3f_0000)).0, FaultKind::Execute);
    assert_eq!(
        kind(&page_fault(6, 0x3e_fff8, 0x3f_0000)).0,
        FaultKind::StackOverflow
    );
    let divide = ExceptionFrame {
        vector: 0,
        address: 77,
        reason: 1,
        ..ExceptionFrame::default()
    };
    assert_eq!(kind(&divide), (FaultKind::DivideByZero, 0, 0));
    let quota = ExceptionFrame {
        reason: 2,
        ..page_fault(6, 0x9000, 0)
    };
    assert_eq!(
        FaasError::from_exception(&quota, 4096),
        FaasError::MemoryLimit { limit_bytes: 4096 }
    );
}

proptest! {
    #[test]
    fn every_error_fits_into_a_message(message in "\\PC{0,400}", location in "\\PC{0,200}") {
        for error in [FaasError::panic(&message, &location), FaasError::failed(&message)] {
            let bytes = postcard::to_allocvec(&error).unwrap();
            prop_assert!(bytes.len() <= REPLY_BYTES);
            prop_assert_eq!(postcard::from_bytes::<FaasError>(&bytes), Ok(error));
        }
    }

    #[test]
    fn names_are_checked(name in prop::collection::vec(any::<u8>(), 0..200)) {
        let is_good = (1..=NAME_MAX).contains(&name.len()) && std::str::from_utf8(&name).is_ok();
        prop_assert_eq!(check_name(&name).is_ok(), is_good);
    }
}
