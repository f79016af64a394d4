//! What a client and a server that know the interface do.

use l4::{CapIndex, Error, IpcError, NEVER, Rights, Tag, Utcb};
use l4_rpc::{CallError, Caller, REPLY_BYTES, Transport};

use crate::sample::{SampleClient, SampleError, SampleInterface, cap, sample};

#[test]
fn values_and_errors_travel() {
    let gate = sample();
    let client = SampleClient::new(&gate);
    assert_eq!(client.describe("name", &[1, 2, 3], 10), Ok(("NAME".into(), 16)));
    assert_eq!(
        client.describe("refuse", &[], 0),
        Err(CallError::Server(SampleError::Refused { code: 77 }))
    );
    assert_eq!(client.add(1, 2, [3, 4], true), Ok(10));
    assert_eq!(
        client.add(1, 2, [3, 4], false),
        Err(CallError::Server(SampleError::Other))
    );
}

#[test]
fn capabilities_travel_in_order() {
    let gate = sample();
    let client = SampleClient::new(&gate);
    assert_eq!(
        client.exchange(cap(8), 1, Some(cap(9))),
        Ok((2, Some(cap(9)), cap(8)))
    );
    assert_eq!(client.exchange(cap(8), 1, None), Ok((2, None, cap(8))));
    assert_eq!(client.length("abc", &[9, 9], Some(cap(5))), Ok([3, 18, 5]));
    assert_eq!(client.length("", &[], None), Ok([0, 0, 0]));
}

#[test]
fn the_server_learns_who_calls() {
    let gate = sample().calling_as(0x1230, Rights::WRITE);
    SampleClient::new(&gate).change().unwrap();
    assert_eq!(
        gate.inspect(|server| server.callers.clone()),
        [Caller {
            label: 0x1230,
            rights: Rights::WRITE
        }]
    );
}

#[test]
fn writers_need_the_right() {
    let gate = sample().calling_as(0, Rights::STRONG);
    assert_eq!(
        SampleClient::new(&gate).change(),
        Err(CallError::Protocol(Error::NotPermitted))
    );
    assert!(gate.inspect(|server| server.callers.is_empty()));
}

#[test]
fn bytes_come_in_the_callers_buffer() {
    let gate = sample();
    let client = SampleClient::new(&gate);
    let mut buffer = [0; REPLY_BYTES];
    assert_eq!(client.read(13, &mut buffer), Ok((26, 13)));
    assert_eq!(buffer[..14], [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0]);
    assert_eq!(client.read(0, &mut buffer), Ok((0, 0)));
    assert_eq!(
        client.read(12, &mut buffer[..11]),
        Err(CallError::Protocol(Error::MessageTooLong))
    );
    assert_eq!(
        client.read(500, &mut buffer),
        Err(CallError::Protocol(Error::MessageTooLong))
    );
    assert_eq!(
        client.read(601, &mut buffer),
        Err(CallError::Server(SampleError::Other))
    );
}

#[test]
fn an_answer_can_be_left_out() {
    let gate = sample();
    let timeout = Error::Ipc(IpcError::ReceiveTimeout);
    assert_eq!(
        SampleClient::new(&gate).exit(-3),
        Err(CallError::Protocol(timeout))
    );
    assert_eq!(gate.inspect(|server| server.exits.clone()), [-3]);
}

#[test]
fn what_is_too_long_is_never_sent() {
    let gate = sample();
    let client = SampleClient::new(&gate);
    let long = "n".repeat(600);
    assert_eq!(
        client.describe(&long, &[], 0),
        Err(CallError::Protocol(Error::MessageTooLong))
    );
    assert_eq!(
        client.length(&long, &[], None),
        Err(CallError::Protocol(Error::MessageTooLong))
    );
    // 63 words: number, three words of arguments, and 59 words of bytes, or 57 and a capability.
    assert_eq!(client.length("", &[1; 472], None), Ok([0, 472, 0]));
    assert_eq!(
        client.length("", &[1; 473], None),
        Err(CallError::Protocol(Error::MessageTooLong))
    );
    assert_eq!(client.length("", &[1; 456], Some(cap(3))), Ok([0, 456, 3]));
    assert_eq!(
        client.length("", &[1; 457], Some(cap(3))),
        Err(CallError::Protocol(Error::MessageTooLong))
    );
    assert!(gate.inspect(|server| server.callers.is_empty()));
}

#[test]
fn answers_that_are_too_long_become_errors() {
    let gate = sample();
    let client = SampleClient::new(&gate);
    assert_eq!(client.text(400).map(|text| text.len()), Ok(400));
    assert_eq!(client.text(494).map(|text| text.len()), Ok(494));
    assert_eq!(client.text(495), Err(CallError::Protocol(Error::MessageTooLong)));
}

#[test]
fn the_table_says_what_was_declared() {
    let lines: Vec<String> = SampleInterface::OPERATIONS
        .iter()
        .map(|operation| format!("{} {}{}", operation.number, operation.name, operation.signature))
        .collect();
    assert_eq!(SampleInterface::PROTOCOL, 0x7777);
    assert_eq!(
        lines[0],
        "1 describe(name: &str, data: &[u8], number: u64) -> Result<(String, u64), SampleError>"
    );
    assert_eq!(
        lines[2],
        "3 add(a: u64, b: u32, c: [u64; 2], is_wanted: bool) -> Result<u64, SampleError> words"
    );
    assert_eq!(lines[4], "5 change() -> Result<(), SampleError> writes");
    assert_eq!(
        lines[5],
        "6 read(length: u64, into: &mut [u8]) -> Result<u64, SampleError> words deferred"
    );
}

/// Remembers the deadline of the last call, and refuses it.
struct Clock(Utcb, std::cell::Cell<u64>);

impl Transport for Clock {
    fn utcb(&self) -> &Utcb {
        &self.0
    }

    fn call(&self, _: Tag, _: usize, deadline: u64) -> Result<l4_rpc::Arrival, Error> {
        self.1.set(deadline);
        Err(Error::Ipc(IpcError::SendTimeout))
    }

    fn discard(&self, _: &[CapIndex]) {}
}

#[test]
fn deadlines_reach_the_transport() {
    let clock = Clock(Utcb::new(), 0.into());
    let client = SampleClient::new(&clock);
    assert_eq!(
        client.change(),
        Err(CallError::Protocol(Error::Ipc(IpcError::SendTimeout)))
    );
    assert_eq!(clock.1.get(), NEVER);
    client.until(1234).change().unwrap_err();
    assert_eq!(clock.1.get(), 1234);
}
