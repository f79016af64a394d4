//! Partners that do not know the interface.

use l4::cap::SendItem;
use l4::syscall::Received;
use l4::{CapIndex, Error, Rights, Tag, Utcb};
use l4_rpc::{Incoming, Reply, Transport};

use crate::sample::{SampleInterface, Server};

/// Writes received items, as the kernel does.
pub(crate) fn write_items(utcb: &Utcb, mut at: usize, slots: &[CapIndex]) {
    for slot in slots {
        utcb.write(at, &SendItem::map(*slot, Rights::CLIENT).words());
        at += 2;
    }
}

/// Sends words that no client would send; gives the label of the answer and whether capabilities were taken.
pub(crate) fn send_raw(label: i64, words: &[u64], slots: &[CapIndex]) -> (Option<i64>, bool) {
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

/// A server that answers every request with the same words.
pub(crate) struct Parrot {
    client: Utcb,
    label: i64,
    words: Vec<u64>,
    slots: usize,
    pub(crate) discarded: std::cell::Cell<usize>,
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

pub(crate) fn parrot(label: i64, words: &[u64], slots: usize) -> Parrot {
    Parrot {
        client: Utcb::new(),
        label,
        words: words.to_vec(),
        slots,
        discarded: 0.into(),
    }
}
