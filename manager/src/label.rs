//! Labels: who sent a message.
//!
//! Each capability that the manager hands out carries a label that only the manager can mint, so a message's label
//! proves where it comes from. It is an index with a generation, never a pointer: what comes from somebody long gone
//! does not match any more and is dropped.

/// Which worker: its place in the table, and the how-many-eth worker at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WorkerId {
    /// Place in the table.
    pub index: u16,
    /// Counts the place's workers.
    pub generation: u32,
}

/// The sender of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The client, by its gate.
    Client,
    /// A notification that nobody holds the gate of the seat's client with this number any more.
    ClientGone(u32),
    /// The registry, by this core's control gate.
    Registry,
    /// A worker, by the gate that stands for its parent.
    Worker(WorkerId),
    /// A worker, by its log.
    Log(WorkerId),
    /// The kernel, about a fault of a worker's thread. No worker holds a capability with this label.
    Fault(WorkerId),
}

/// Bits 0 and 1 of a received label are the rights of the sender's capability.
const KIND_SHIFT: u32 = 2;
const KIND_MASK: u64 = 0x7;
const INDEX_SHIFT: u32 = 8;
const GENERATION_SHIFT: u32 = 24;

impl Sender {
    /// The label to mint.
    pub const fn label(self) -> u64 {
        let (kind, id) = match self {
            Sender::Client => (1, None),
            Sender::ClientGone(number) => (
                2,
                Some(WorkerId {
                    index: 0,
                    generation: number,
                }),
            ),
            Sender::Registry => (3, None),
            Sender::Worker(id) => (4, Some(id)),
            Sender::Log(id) => (5, Some(id)),
            Sender::Fault(id) => (6, Some(id)),
        };
        let id = match id {
            Some(id) => (id.index as u64) << INDEX_SHIFT | (id.generation as u64) << GENERATION_SHIFT,
            None => 0,
        };
        id | kind << KIND_SHIFT
    }

    /// Reads a received label; `None` if it is none of ours.
    pub const fn parse(label: u64) -> Option<Sender> {
        let id = WorkerId {
            index: (label >> INDEX_SHIFT) as u16,
            generation: (label >> GENERATION_SHIFT) as u32,
        };
        match label >> KIND_SHIFT & KIND_MASK {
            1 => Some(Sender::Client),
            2 => Some(Sender::ClientGone(id.generation)),
            3 => Some(Sender::Registry),
            4 => Some(Sender::Worker(id)),
            5 => Some(Sender::Log(id)),
            6 => Some(Sender::Fault(id)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_label_tells_its_sender_whatever_the_rights(index: u16, generation: u32, rights in 0..4u64) {
            let id = WorkerId { index, generation };
            for sender in [
                Sender::Client, Sender::ClientGone(generation), Sender::Registry,
                Sender::Worker(id), Sender::Log(id), Sender::Fault(id),
            ] {
                prop_assert_eq!(sender.label() & 3, 0);
                prop_assert_eq!(Sender::parse(sender.label() | rights), Some(sender));
            }
        }
    }

    #[test]
    fn a_label_of_no_kind_is_nobody() {
        assert_eq!(Sender::parse(0), None);
        assert_eq!(Sender::parse(7 << 2), None);
    }
}
