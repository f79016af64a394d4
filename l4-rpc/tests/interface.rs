//! A service with operations of every sort, called through a loopback.

use l4::cap::SendItem;
use l4::object::{Dataspace, Irq};
use l4::syscall::Received;
use l4::{CapIndex, Error, IpcError, NEVER, Rights, Tag, Utcb};
use l4_rpc::{CallError, Caller, Cap, Incoming, Loopback, REPLY_BYTES, Reply, Transport, interface};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum SampleError {
    Refused { code: u32 },
    Other,
}

/// Operations of every sort.
#[interface(protocol = 0x7777)]
trait Sample {
    /// Serde values both ways.
    #[op(1)]
    fn describe(&self, name: &str, data: &[u8], number: u64) -> Result<(String, u64), SampleError>;

    /// Capabilities both ways, among values.
    #[op(2)]
    fn exchange(
        &self,
        first: Cap<Dataspace>,
        number: u32,
        second: Option<Cap<Irq>>,
    ) -> Result<(u32, Option<Cap<Irq>>, Cap<Dataspace>), SampleError>;

    /// Words both ways.
    #[op(3, words)]
    fn add(&mut self, a: u64, b: u32, c: [u64; 2], is_wanted: bool) -> Result<u64, SampleError>;

    /// Borrowed bytes in words.
    #[op(4, words)]
    fn length(&self, name: &str, bytes: &[u8], cap: Option<Cap<Irq>>) -> Result<[u64; 3], SampleError>;

    /// For writers only.
    #[op(5, writes)]
    fn change(&self) -> Result<(), SampleError>;

    /// Answered by hand, with bytes.
    #[op(6, words, deferred)]
    fn read(&self, length: u64, into: &mut [u8]) -> Result<u64, SampleError>;

    /// Never answered.
    #[op(7, deferred)]
    fn exit(&self, code: i32) -> Result<(), SampleError>;

    /// A result that may be too long.
    #[op(8)]
    fn text(&self, length: u64) -> Result<String, SampleError>;
}

#[derive(Default)]
struct Server {
    callers: Vec<Caller>,
    exits: Vec<i32>,
}

impl Sample for Server {
    fn describe(
        &mut self,
        caller: Caller,
        name: &str,
        data: &[u8],
        number: u64,
    ) -> Result<(String, u64), SampleError> {
        self.callers.push(caller);
        match name {
            "refuse" => Err(SampleError::Refused { code: 77 }),
            _ => Ok((
                name.to_uppercase(),
                number + data.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
            )),
        }
    }

    fn exchange(
        &mut self,
        _: Caller,
        first: Cap<Dataspace>,
        number: u32,
        second: Option<Cap<Irq>>,
    ) -> Result<(u32, Option<Cap<Irq>>, Cap<Dataspace>), SampleError> {
        Ok((number + 1, second, first))
    }

    fn add(&mut self, _: Caller, a: u64, b: u32, c: [u64; 2], is_wanted: bool) -> Result<u64, SampleError> {
        if is_wanted {
            Ok(a + u64::from(b) + c[0] + c[1])
        } else {
            Err(SampleError::Other)
        }
    }

    fn length(
        &mut self,
        _: Caller,
        name: &str,
        bytes: &[u8],
        cap: Option<Cap<Irq>>,
    ) -> Result<[u64; 3], SampleError> {
        let slot = cap.map_or(0, |cap| u64::from(cap.index().0));
        Ok([
            name.len() as u64,
            bytes.iter().map(|byte| u64::from(*byte)).sum(),
            slot,
        ])
    }

    fn change(&mut self, caller: Caller) -> Result<(), SampleError> {
        self.callers.push(caller);
        Ok(())
    }

    fn read(&mut self, _: Caller, utcb: &Utcb, length: u64) -> Reply {
        let bytes = [7; 600];
        let result = if length > 600 {
            Err(SampleError::Other)
        } else {
            Ok(length * 2)
        };
        let tail = &bytes[..length.min(600) as usize];
        Reply::Now(SampleReply::read(utcb, result.as_ref(), tail))
    }

    fn exit(&mut self, _: Caller, _: &Utcb, code: i32) -> Reply {
        self.exits.push(code);
        Reply::Deferred
    }

    fn text(&mut self, _: Caller, length: u64) -> Result<String, SampleError> {
        Ok("x".repeat(length as usize))
    }
}

type Dispatch = fn(&mut Server, &Incoming, &Utcb) -> Reply;

fn sample() -> Loopback<Server, Dispatch> {
    Loopback::new(Server::default(), SampleInterface::dispatch)
}

fn cap<T>(index: u32) -> Cap<T> {
    Cap::new(CapIndex(index))
}

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

/// Writes received items, as the kernel does.
fn write_items(utcb: &Utcb, mut at: usize, slots: &[CapIndex]) {
    for slot in slots {
        utcb.write(at, &SendItem::map(*slot, Rights::CLIENT).words());
        at += 2;
    }
}

/// Sends words that no client would send; gives the label of the answer and whether capabilities were taken.
fn send_raw(label: i64, words: &[u64], slots: &[CapIndex]) -> (Option<i64>, bool) {
    let utcb = Utcb::new();
    utcb.write(0, words);
    write_items(&utcb, words.len(), slots);
    let mut incoming = Incoming::new();
    incoming.load(
        &utcb,
        Received {
            tag: Tag::new(label, words.len(), slots.len()),
            label: 3,
        },
        slots,
    );
    let reply = SampleInterface::dispatch(&mut Server::default(), &incoming, &utcb);
    let label = match reply {
        Reply::Now(tag) => Some(tag.label()),
        Reply::Deferred => None,
    };
    (label, incoming.caps_taken())
}

#[test]
fn malformed_requests_get_an_error() {
    let slot = [CapIndex(40)];
    assert_eq!(
        send_raw(0x7776, &[3], &[]),
        (Some(Error::BadProtocol.label()), false)
    );
    assert_eq!(
        send_raw(0x7777, &[], &[]),
        (Some(Error::MessageTooShort.label()), false)
    );
    assert_eq!(
        send_raw(0x7777, &[99], &[]),
        (Some(Error::NoSystemCall.label()), false)
    );
    assert_eq!(
        send_raw(0x7777, &[3, 1, 2, 3], &[]),
        (Some(Error::MessageTooShort.label()), false)
    );
    let good = [3, 1, 2, 3, 4, 1];
    assert_eq!(send_raw(0x7777, &good, &[]), (Some(0), true));
    assert_eq!(
        send_raw(0x7777, &[3, 1, 1 << 32, 3, 4, 1], &[]).0,
        Some(Error::Invalid.label()),
        "u32"
    );
    assert_eq!(
        send_raw(0x7777, &[3, 1, 2, 3, 4, 2], &[]).0,
        Some(Error::Invalid.label()),
        "bool"
    );
    assert_eq!(
        send_raw(0x7777, &[3, 1, 2, 3, 4, 1, 0], &[]).0,
        Some(Error::Invalid.label()),
        "a word too many"
    );
    let refused = (Some(Error::Invalid.label()), false);
    assert_eq!(send_raw(0x7777, &good, &slot), refused, "a capability too many");
    let missing = (Some(Error::MissingArgument.label()), false);
    assert_eq!(
        send_raw(0x7777, &[4, 0, 0, 1], &[]),
        missing,
        "a capability too few"
    );
    assert_eq!(
        send_raw(0x7777, &[4, u64::MAX, 0, 0], &[]).0,
        Some(Error::MessageTooShort.label())
    );
    assert_eq!(
        send_raw(0x7777, &[4, 2, 0xffff, 0, 0], &[]).0,
        Some(Error::Invalid.label()),
        "no UTF-8"
    );
}

#[test]
fn an_empty_slot_is_no_capability() {
    let gate = sample();
    let client = SampleClient::new(&gate);
    let missing = CallError::Protocol(Error::MissingArgument);
    let none = Cap::new(CapIndex::NONE);
    assert_eq!(
        client.exchange(none, 1, Some(cap(9))),
        Err(missing),
        "before one that is there"
    );
    assert_eq!(
        client.length("", &[], Some(Cap::new(CapIndex::NONE))),
        Err(CallError::Protocol(Error::MissingArgument))
    );
    // A slot that was not offered is as good as none.
    let utcb = Utcb::new();
    utcb.write(0, &[4, 0, 0, 1]);
    write_items(&utcb, 4, &[CapIndex(41)]);
    let mut incoming = Incoming::new();
    incoming.load(
        &utcb,
        Received {
            tag: Tag::new(0x7777, 4, 1),
            label: 3,
        },
        &[CapIndex(40)],
    );
    let reply = SampleInterface::dispatch(&mut Server::default(), &incoming, &utcb);
    assert_eq!(reply, Reply::error(Error::MissingArgument));
}

#[test]
fn postcard_payloads_are_read_to_their_last_byte() {
    // describe("a", [], 5): 01 61 00 05.
    assert_eq!(send_raw(0x7777, &[1, 4, 0x0500_6101], &[]).0, Some(0));
    assert_eq!(
        send_raw(0x7777, &[1, 5, 0x0500_6101], &[]).0,
        Some(Error::Invalid.label())
    );
    assert_eq!(
        send_raw(0x7777, &[1, 3, 0x0500_6101], &[]).0,
        Some(Error::Invalid.label())
    );
    assert_eq!(
        send_raw(0x7777, &[1, 4, 0x0500_6101, 0], &[]).0,
        Some(Error::Invalid.label())
    );
    assert_eq!(
        send_raw(0x7777, &[1, 9, 0x0500_6101], &[]).0,
        Some(Error::MessageTooShort.label())
    );
}

/// A server that answers every request with the same words.
struct Parrot {
    client: Utcb,
    label: i64,
    words: Vec<u64>,
    slots: usize,
    discarded: std::cell::Cell<usize>,
}

impl Transport for Parrot {
    fn utcb(&self) -> &Utcb {
        &self.client
    }

    fn call(&self, _: Tag, caps: usize, _: u64) -> Result<l4_rpc::Arrival, Error> {
        self.client.write(0, &self.words);
        write_items(
            &self.client,
            self.words.len(),
            &[CapIndex(50); 4][..self.slots.min(caps)],
        );
        let tag = Tag::new(self.label, self.words.len(), self.slots.min(caps));
        Ok(l4_rpc::Arrival {
            tag,
            slots: [CapIndex(50); l4_rpc::MAX_CAPS],
        })
    }

    fn discard(&self, slots: &[CapIndex]) {
        self.discarded.set(self.discarded.get() + slots.len());
    }
}

fn parrot(label: i64, words: &[u64], slots: usize) -> Parrot {
    Parrot {
        client: Utcb::new(),
        label,
        words: words.to_vec(),
        slots,
        discarded: 0.into(),
    }
}

#[test]
fn malformed_answers_are_errors_and_their_capabilities_go() {
    let short = parrot(0, &[], 0);
    assert_eq!(
        SampleClient::new(short).add(0, 0, [0; 2], true),
        Err(CallError::Protocol(Error::MessageTooShort))
    );
    let long = parrot(0, &[1, 2], 0);
    assert_eq!(
        SampleClient::new(long).add(0, 0, [0; 2], true),
        Err(CallError::Protocol(Error::Invalid))
    );
    let strange = parrot(2, &[1], 0);
    assert_eq!(
        SampleClient::new(strange).add(0, 0, [0; 2], true),
        Err(CallError::Protocol(Error::BadProtocol))
    );
    let refused = parrot(Error::Busy.label(), &[], 0);
    assert_eq!(
        SampleClient::new(refused).add(0, 0, [0; 2], true),
        Err(CallError::Protocol(Error::Busy))
    );
    let unknown_error = parrot(1, &[1, 99], 0);
    assert_eq!(
        SampleClient::new(unknown_error).change(),
        Err(CallError::Protocol(Error::BadProtocol))
    );
    // exchange: number 1, no second capability, but two come.
    let generous = parrot(0, &[2, 0x0001], 2);
    let client = SampleClient::new(generous);
    assert_eq!(
        client.exchange(cap(8), 1, None),
        Err(CallError::Protocol(Error::Invalid))
    );
    assert_eq!(client.transport().discarded.get(), 2);
    let miserly = parrot(0, &[2, 0x0101], 1);
    let client = SampleClient::new(miserly);
    assert_eq!(
        client.exchange(cap(8), 1, None),
        Err(CallError::Protocol(Error::MissingArgument))
    );
    assert_eq!(client.transport().discarded.get(), 1);
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

proptest! {
    #[test]
    fn random_requests_never_panic(
        operation in 0u64..10,
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..20], 0..62),
        slots in 0usize..4,
    ) {
        let mut message = vec![operation];
        message.extend(words);
        let slots: Vec<CapIndex> = (0..slots as u32).map(CapIndex).collect();
        let (label, _) = send_raw(0x7777, &message, &slots);
        prop_assert!(label.is_none_or(|label| label <= 1));
    }

    #[test]
    fn random_answers_never_panic(
        label in -50i64..3,
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..20], 0..63),
        slots in 0usize..5,
    ) {
        let mut buffer = [0; 100];
        let client = SampleClient::new(parrot(label, &words, slots));
        let _ = client.describe("", &[], 0);
        let _ = client.exchange(cap(1), 1, None);
        let _ = client.add(0, 0, [0; 2], true);
        let _ = client.length("", &[], None);
        let _ = client.read(0, &mut buffer);
        let _ = client.text(0);
    }

    #[test]
    fn every_value_arrives(
        name in "\\PC{0,40}",
        data in prop::collection::vec(any::<u8>(), 0..200),
        number in 0..u64::MAX / 2,
    ) {
        let gate = sample();
        let client = SampleClient::new(&gate);
        let sum: u64 = data.iter().map(|byte| u64::from(*byte)).sum();
        if name != "refuse" {
            prop_assert_eq!(client.describe(&name, &data, number), Ok((name.to_uppercase(), number + sum)));
        }
        prop_assert_eq!(client.length(&name, &data, None), Ok([name.len() as u64, sum, 0]));
    }
}
