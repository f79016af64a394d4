//! Messages that no generated code would send.

use l4::syscall::Received;
use l4::{CapIndex, Error, Tag, Utcb};
use l4_rpc::{CallError, Cap, Incoming, Reply};

use crate::sample::{SampleClient, SampleInterface, Server, cap, sample};
use crate::strange::{parrot, send_raw, write_items};

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
