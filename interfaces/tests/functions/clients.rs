//! What clients do.

use interfaces::faas::client::ClientError;
use interfaces::faas::{
    ActionConfig, ConfigField, Definition, FaasError, INLINE_REQUEST, INLINE_RESPONSE, InvokeOptions,
    NAME_MAX, NameFault, PAYLOAD_MAX, Payload, Registration, Registry, RegistryClient, RegistryInterface,
    RegistryReply, RegistryStatus,
};
use interfaces::manifest::StartMode;
use l4::{CapIndex, Error, Utcb};
use l4_rpc::{CallError, Caller, Cap, Loopback, REPLY_BYTES, Reply};

use crate::echo::{TIMES, code, with_client};

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
fn snapshots_are_stored_and_restored() {
    with_client(|client| {
        let snapshot = Cap::new(CapIndex(9));
        client
            .restore("f", code(), ActionConfig::default(), &[], snapshot)
            .unwrap();
        client
            .create_with_snapshot("g", code(), ActionConfig::default(), &[], snapshot)
            .unwrap();
        assert_eq!(client.list().unwrap(), ["f from 9", "g with 9"]);
        assert_eq!(client.store("four", Cap::new(CapIndex(70))), Ok(74));
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
fn environments_that_could_be_misread_are_refused() {
    let error = Err(CallError::Server(FaasError::InvalidConfig(
        ConfigField::Environment,
    )));
    with_client(|client| {
        for (name, value) in [("", "1"), ("A=B", "1"), ("A\0", "1"), ("A", "1\0B=2")] {
            let environment = [(name.to_string(), value.to_string())];
            assert_eq!(
                client.create("f", code(), ActionConfig::default(), &environment),
                error,
                "{name:?}"
            );
        }
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

#[test]
fn nobody_needs_room_for_more_than_the_limit() {
    with_client(|client| {
        let invoke = |length: usize| {
            let request = Payload::Inline(&[1; REPLY_BYTES][..length]);
            client
                .actions()
                .invoke(b"f", InvokeOptions::default(), request, &mut [0; REPLY_BYTES])
        };
        assert_eq!(
            invoke(INLINE_RESPONSE).map(|(_, length)| length),
            Ok(INLINE_RESPONSE)
        );
        assert_eq!(
            invoke(INLINE_RESPONSE + 1),
            Err(CallError::Protocol(Error::MessageTooLong))
        );
    });
}

struct OneCore;

impl Registry for OneCore {
    fn register(&mut self, caller: Caller, utcb: &Utcb) -> Reply {
        let registration = Registration {
            client: Cap::new(CapIndex(0x20)),
            scheduler: Cap::new(CapIndex(0x21)),
            cpu: 5,
        };
        let result = match caller.label {
            0 => Ok(&registration),
            _ => Err(&FaasError::TooManyClients { limit: 1 }),
        };
        Reply::Now(RegistryReply::register(utcb, result))
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
