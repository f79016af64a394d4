//! The client's end of a gate.

use crate::slots::{OwnedCap, Slot};
use l4::{CapIndex, Error, Tag, Utcb};
use l4_rpc::{Arrival, MAX_CAPS, Transport, client};

/// Calls through a gate; finds slots for the capabilities that answers bring. Whoever gets such a capability owns it:
/// [`OwnedCap::adopt`] looks after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel(pub CapIndex);

impl Transport for Channel {
    #[inline(always)]
    fn utcb(&self) -> &Utcb {
        Utcb::current()
    }

    #[inline]
    fn call(&self, tag: Tag, caps: usize, deadline: u64) -> Result<Arrival, Error> {
        let mut slots = [CapIndex::NONE; MAX_CAPS];
        if caps == 0 {
            return client::call_gate(self.0, tag, &slots, 0, deadline);
        }
        let mut owned: [Option<Slot>; MAX_CAPS] = [const { None }; MAX_CAPS];
        for (place, slot) in owned.iter_mut().zip(&mut slots).take(caps) {
            let free = Slot::allocate()?;
            *slot = free.index();
            *place = Some(free);
        }
        let arrival = client::call_gate(self.0, tag, &slots, caps, deadline)?;
        let used = arrival.used_slots().len();
        for (index, slot) in owned.into_iter().flatten().enumerate() {
            if index < used {
                slot.filled().leak();
            } else {
                slot.free_empty();
            }
        }
        Ok(arrival)
    }

    fn discard(&self, slots: &[CapIndex]) {
        for slot in slots {
            drop(OwnedCap::adopt(*slot));
        }
    }
}
