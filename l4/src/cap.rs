//! Capability indices, rights and the selector of the system call.

use core::fmt;

/// A slot of a task's capability space. Slot 0 is never used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CapIndex(pub u32);

impl CapIndex {
    /// Number of slots of a capability space; valid indices are below it.
    pub const LIMIT: u32 = 65_536;
    /// "No capability" in a message word.
    pub const NONE: CapIndex = CapIndex(u32::MAX);

    /// The task itself.
    pub const TASK: CapIndex = CapIndex(1);
    /// The factory (account) that pays for what the task creates.
    pub const FACTORY: CapIndex = CapIndex(2);
    /// The task's first thread.
    pub const THREAD: CapIndex = CapIndex(3);
    /// Console or log.
    pub const LOG: CapIndex = CapIndex(5);
    /// Interrupt controller, where granted.
    pub const ICU: CapIndex = CapIndex(6);
    /// Scheduler: the CPUs and priorities that the task may use.
    pub const SCHEDULER: CapIndex = CapIndex(7);
    /// Machine control (power off), where granted.
    pub const PLATFORM: CapIndex = CapIndex(8);
    /// Names and counters of kernel objects, where granted.
    pub const DEBUG: CapIndex = CapIndex(10);
    /// A console of the machine that shows nothing but passes bytes on to the host, where granted.
    pub const DEBUGCON: CapIndex = CapIndex(11);
    /// Namespace of the boot modules.
    pub const ROM: CapIndex = CapIndex(0x12);
    /// Whoever started the task: exit codes, a worker's manager.
    pub const PARENT: CapIndex = CapIndex(0x13);
    /// Dataspace of the kernel info page.
    pub const INFO_PAGE: CapIndex = CapIndex(0x14);
    /// First slot that the start-up convention leaves to the program.
    pub const FIRST_FREE: CapIndex = CapIndex(0x16);

    /// The index as a message word.
    pub const fn word(self) -> u64 {
        self.0 as u64
    }
}

impl fmt::Debug for CapIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cap:{:#x}", self.0)
    }
}

bitflags::bitflags! {
    /// What a capability permits. Rights only shrink along copies.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Rights: u8 {
        /// Change the object (write memory, map into a task).
        const WRITE = 1;
        /// Strong: create, bind, control, start.
        const STRONG = 2;
        /// Read the object.
        const READ = 4;
        /// Delete the object.
        const DELETE = 8;
        /// Serve a gate: bind it, choose and mint its labels.
        const SERVER = 16;
    }
}

impl Rights {
    /// What a client of a service needs: call it and pass capabilities.
    pub const CLIENT: Rights = Rights::WRITE.union(Rights::STRONG).union(Rights::READ);
}

/// First operand of the system call (rdx): the capability and the phases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selector(pub u64);

impl Selector {
    /// Phase bit: send.
    pub const SEND: u64 = 1;
    /// Phase bit: receive.
    pub const RECEIVE: u64 = 2;
    /// Phase bit: receive from anybody instead of the selected partner.
    pub const OPEN: u64 = 4;
    /// Phase bit: the send goes to a reply capability.
    pub const REPLY: u64 = 8;
    /// "No index": the thread itself; with [`Self::REPLY`], the implicit reply capability.
    pub const SELF: u64 = 1 << 11;
    const INDEX_SHIFT: u32 = 12;
    /// The bits that say what is to be done; those above are the slot.
    pub const FORM: u64 = (1 << Self::INDEX_SHIFT) - 1;
    /// [`Self::FORM`] of a plain call.
    pub const CALL: u64 = Self::SEND | Self::RECEIVE;
    /// [`Self::FORM`] of an answer by the implicit reply capability and the wait for anybody's next message.
    pub const REPLY_AND_WAIT: u64 = Self::CALL | Self::OPEN | Self::REPLY | Self::SELF;

    /// Selects `cap` for the phases in `operation`.
    pub const fn new(cap: CapIndex, operation: u64) -> Selector {
        Selector(((cap.0 as u64) << Self::INDEX_SHIFT) | operation)
    }

    /// Selects the thread itself (or its implicit reply capability) for the phases in `operation`.
    pub const fn own(operation: u64) -> Selector {
        Selector(Self::SELF | operation)
    }

    /// The slot, `None` if the selector means the thread itself.
    pub const fn index(self) -> Option<CapIndex> {
        if self.0 & Self::SELF != 0 {
            None
        } else {
            Some(CapIndex((self.0 >> Self::INDEX_SHIFT) as u32))
        }
    }

    /// The slot that the selector names, whatever the form; without meaning with [`Self::SELF`].
    #[inline(always)]
    pub const fn slot(self) -> CapIndex {
        CapIndex((self.0 >> Self::INDEX_SHIFT) as u32)
    }

    /// Tells whether the form is a plain call: send, then receive the answer.
    #[inline(always)]
    pub const fn is_call(self) -> bool {
        self.0 & Self::FORM == Self::CALL
    }

    /// Tells whether the form is an answer and the wait for anybody's next message.
    #[inline(always)]
    pub const fn is_reply_and_wait(self) -> bool {
        let phases = Self::SEND | Self::RECEIVE | Self::OPEN | Self::REPLY;
        self.0 & Self::FORM & !Self::SELF == phases
    }

    /// Tells whether the form is [`Self::REPLY_AND_WAIT`].
    #[inline(always)]
    pub const fn is_implicit_reply_and_wait(self) -> bool {
        self.0 & Self::FORM == Self::REPLY_AND_WAIT
    }

    /// Tells whether all bits of `phases` are set.
    pub const fn has(self, phases: u64) -> bool {
        self.0 & phases == phases
    }
}

/// One capability in a message, or in a [`crate::object::Task::map`] call, that is to be passed on.
///
/// Two words, as in L4Re: the first says how (bit 1: grant, i.e. move; bit 5: keep the server right; bit 3 is
/// always set), the second is an object flexpage of one slot with the rights to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendItem {
    /// The sender's slot.
    pub cap: CapIndex,
    /// Rights to pass, at most those that the sender has.
    pub rights: Rights,
    /// Move instead of copy: the sender's slot is empty afterwards.
    pub grant: bool,
}

impl SendItem {
    const MAP: u64 = 1 << 3;
    const GRANT: u64 = 1 << 1;
    const SERVER: u64 = 1 << 5;
    const OBJECT: u64 = 3 << 4;

    /// Passes a copy with the given rights.
    pub const fn map(cap: CapIndex, rights: Rights) -> SendItem {
        SendItem {
            cap,
            rights,
            grant: false,
        }
    }

    /// Moves the capability with all its rights.
    pub const fn grant(cap: CapIndex) -> SendItem {
        SendItem {
            cap,
            rights: Rights::all(),
            grant: true,
        }
    }

    /// The item's two words.
    pub const fn words(self) -> [u64; 2] {
        let how = Self::MAP
            | if self.grant { Self::GRANT } else { 0 }
            | if self.rights.contains(Rights::SERVER) {
                Self::SERVER
            } else {
                0
            };
        let flexpage = ((self.cap.0 as u64) << 12) | Self::OBJECT | (self.rights.bits() as u64 & 0xf);
        [how, flexpage]
    }

    /// Reads an item. `None` for a void item (first word zero) or one that is no single object.
    pub const fn parse(words: [u64; 2]) -> Option<SendItem> {
        let [how, flexpage] = words;
        // An order above zero would be a range of slots; only single capabilities travel in messages.
        if how & Self::MAP == 0 || flexpage & Self::OBJECT != Self::OBJECT || (flexpage >> 6) & 0x3f != 0 {
            return None;
        }
        let mut bits = (flexpage & 0xf) as u8;
        if how & Self::SERVER != 0 {
            bits |= Rights::SERVER.bits();
        }
        let index = flexpage >> 12;
        if index >= CapIndex::LIMIT as u64 {
            return None;
        }
        Some(SendItem {
            cap: CapIndex(index as u32),
            rights: Rights::from_bits_truncate(bits),
            grant: how & Self::GRANT != 0,
        })
    }
}

/// A receive buffer for one capability, as it stands in a buffer register ("small" item of L4Re).
pub const fn receive_buffer(slot: CapIndex) -> u64 {
    ((slot.0 as u64) << 12) | 0b1010
}

/// The slot that a buffer register names, `None` if the register is empty or malformed.
pub const fn parse_receive_buffer(word: u64) -> Option<CapIndex> {
    let index = word >> 12;
    if word & 0xfff != 0b1010 || index == 0 || index >= CapIndex::LIMIT as u64 {
        None
    } else {
        Some(CapIndex(index as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selector_layout_is_that_of_l4re() {
        assert_eq!(
            Selector::new(CapIndex(5), Selector::SEND | Selector::RECEIVE).0,
            0x5003
        );
        assert_eq!(Selector::own(Selector::RECEIVE).0, 0x802);
        assert_eq!(Selector::own(Selector::RECEIVE).index(), None);
        assert_eq!(Selector::new(CapIndex(7), 3).index(), Some(CapIndex(7)));
    }

    #[test]
    fn items_survive_the_wire() {
        for bits in 0..32 {
            for grant in [false, true] {
                let item = SendItem {
                    cap: CapIndex(0x123),
                    rights: Rights::from_bits_truncate(bits),
                    grant,
                };
                assert_eq!(SendItem::parse(item.words()), Some(item));
            }
        }
    }

    #[test]
    fn void_and_foreign_items_are_no_items() {
        assert_eq!(SendItem::parse([0, 0]), None);
        assert_eq!(SendItem::parse([8, 0x1000]), None);
        assert_eq!(SendItem::parse([8, 0x1000 | (3 << 4) | (1 << 6)]), None);
    }

    #[test]
    fn receive_buffers_name_one_slot() {
        assert_eq!(
            parse_receive_buffer(receive_buffer(CapIndex(0x20))),
            Some(CapIndex(0x20))
        );
        assert_eq!(parse_receive_buffer(0), None);
        assert_eq!(parse_receive_buffer(u64::MAX), None);
    }
}
