//! Messages and texts that nobody would think of.

use interfaces::faas::client::Memory;
use interfaces::faas::{ActionsInterface, FaasError, NAME_MAX, SupervisorInterface, check_name};
use l4::cap::SendItem;
use l4::syscall::Received;
use l4::{CapIndex, Tag, Utcb};
use l4_rpc::{REPLY_BYTES, Reply};
use proptest::prelude::*;

use crate::echo::{Echo, Heap};
use crate::workers::Overseer;

/// Hands words that no client would send to a service.
fn send_raw(
    protocol: i64,
    words: &[u64],
    slots: &[CapIndex],
    dispatch: impl FnOnce(&l4_rpc::Incoming, &Utcb) -> Reply,
) -> Option<i64> {
    let utcb = Utcb::new();
    utcb.write(0, words);
    for (index, slot) in slots.iter().enumerate() {
        utcb.write(
            words.len() + 2 * index,
            &SendItem::map(*slot, l4::Rights::CLIENT).words(),
        );
    }
    let mut incoming = l4_rpc::Incoming::new();
    incoming.load(
        &utcb,
        Received {
            tag: Tag::new(protocol, words.len(), slots.len()),
            label: 3,
        },
        slots,
    );
    match dispatch(&incoming, &utcb) {
        Reply::Now(tag) => Some(tag.label()),
        Reply::Deferred => None,
    }
}

proptest! {
    #[test]
    fn random_messages_never_panic(
        operation in 0u64..22,
        words in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..20, Just(1 << 63)], 0..55),
        slots in 0u32..3,
    ) {
        let mut message = vec![operation];
        message.extend(words);
        let slots: Vec<CapIndex> = (0..slots).map(CapIndex).collect();
        let heap = Heap::default();
        for _ in 0..3 {
            let memory = Memory::publish(&&heap, &[0; 4096]);
            prop_assert!(memory.is_ok());
        }
        let mut echo = Echo::new(&heap);
        let label = send_raw(ActionsInterface::PROTOCOL, &message, &slots, |incoming, utcb| {
            ActionsInterface::dispatch(&mut echo, incoming, utcb)
        });
        prop_assert!(label.is_none_or(|label| label <= 1));
        let mut overseer = Overseer::default();
        let label = send_raw(SupervisorInterface::PROTOCOL, &message, &slots, |incoming, utcb| {
            SupervisorInterface::dispatch(&mut overseer, incoming, utcb)
        });
        prop_assert!(label.is_none_or(|label| label <= 1));
    }

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
