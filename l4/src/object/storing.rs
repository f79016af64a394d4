//! Reading snapshots, and giving a thread what a stored one had.

use super::{Dataspace, Snapshot, Thread, request};
use crate::protocol::{SNAPSHOT, THREAD, snapshot, thread};
use crate::region::Access;
use crate::{CapIndex, Error, Tag, Utcb, syscall};

/// Most pages of one [`Snapshot::pages`] call.
pub const FOUND_MAX: usize = 32;

/// Words of the answer to [`snapshot::REGION`].
pub mod stored_region {
    /// Zeroes.
    pub const ANONYMOUS: u64 = 0;
    /// A dataspace.
    pub const SHARED: u64 = 1;
    /// A dataspace until it is written.
    pub const PRIVATE: u64 = 2;
    /// Nothing.
    pub const RESERVED: u64 = 3;
    /// A thread's UTCB.
    pub const UTCB: u64 = 4;
    /// No dataspace.
    pub const NOTHING: u64 = 0x100;
    /// A sealed dataspace that is none of those named.
    pub const OTHER: u64 = 0x101;
    /// A dataspace whose contents may change, none of those named.
    pub const CHANGING: u64 = 0x102;
}

/// What backs a region of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredBacking {
    /// Zeroes.
    Anonymous,
    /// A dataspace.
    Shared,
    /// A dataspace until it is written.
    Private,
    /// Nothing.
    Reserved,
    /// A thread's UTCB.
    Utcb,
}

/// What a region of a snapshot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// No dataspace.
    Nothing,
    /// One of those that the caller named, by its place among them.
    Named(usize),
    /// Another one, which is sealed.
    Sealed,
    /// Another one, which may change.
    Changing,
}

/// A region of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRegion {
    /// First address.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Permitted use.
    pub access: Access,
    /// What backs it.
    pub backing: StoredBacking,
    /// What it shows.
    pub shown: Shown,
    /// From which offset in bytes.
    pub offset: u64,
}

/// Pages of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImagePages {
    addresses: [u64; FOUND_MAX],
    count: usize,
    /// Where to go on.
    pub next: u64,
}

impl ImagePages {
    /// Their addresses, in order.
    pub fn addresses(&self) -> &[u64] {
        &self.addresses[..self.count]
    }
}

/// Gives a structure of registers its order on the wire.
macro_rules! registers {
    ($($(#[$doc:meta])* $name:ident),*) => {
        /// The registers that a thread keeps across a call that it waits in, and what else the kernel knows of it.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct CallRegisters {
            $($(#[$doc])* pub $name: u64,)*
            /// Control and status of vector floating point.
            pub mxcsr: u32,
            /// Control word of the x87 unit.
            pub fcw: u16,
        }

        impl CallRegisters {
            /// Words on the wire.
            pub const WORDS: usize = [$(stringify!($name)),*].len() + 1;

            /// The registers as words.
            pub const fn words(&self) -> [u64; Self::WORDS] {
                [$(self.$name,)* self.mxcsr as u64 | (self.fcw as u64) << 32]
            }

            /// Reads the registers.
            pub const fn from_words(words: &[u64; Self::WORDS]) -> CallRegisters {
                let [$($name,)* control] = *words;
                CallRegisters { $($name,)* mxcsr: control as u32, fcw: (control >> 32) as u16 }
            }
        }
    };
}

registers!(
    /// Where it goes on: behind the call.
    rip,
    /// Stack pointer.
    rsp,
    /// Flags.
    rflags,
    /// Callee-saved.
    rbx,
    /// Callee-saved.
    rbp,
    /// Callee-saved.
    r12,
    /// Callee-saved.
    r13,
    /// Callee-saved.
    r14,
    /// Callee-saved.
    r15,
    /// Base of FS: thread-local storage.
    fs_base,
    /// Base of GS: the UTCB, or what the program made it.
    gs_base,
    /// Entry for Linux system calls, 0 without.
    personality,
    /// Entry for faults handled in the thread itself, 0 without.
    fault_entry,
    /// Stack for them.
    fault_stack,
    /// Address of the UTCB.
    utcb
);

impl Snapshot {
    /// What the thread goes on with (strong right, as for all reading).
    ///
    /// # Errors
    /// [`Error::Again`] if the snapshot is not prepared.
    pub fn registers(self) -> Result<CallRegisters, Error> {
        request(self.0, SNAPSHOT, &[snapshot::REGISTERS])?;
        let mut words = [0; CallRegisters::WORDS];
        Utcb::current().read(0, &mut words);
        Ok(CallRegisters::from_words(&words))
    }

    /// The region that holds `address`, or the next one behind it. `named` are dataspaces (read right) by which the caller
    /// recognises what it shows; at most eight.
    ///
    /// # Errors
    /// [`Error::NotFound`] behind the last one; [`Error::Again`] if the snapshot is not prepared.
    pub fn region(self, address: u64, named: &[CapIndex]) -> Result<StoredRegion, Error> {
        let mut words = [0; 10];
        (words[0], words[1]) = (snapshot::REGION, address);
        let length = 2 + named.len();
        let names = words.get_mut(2..length).ok_or(Error::MessageTooLong)?;
        for (word, cap) in names.iter_mut().zip(named) {
            *word = cap.word();
        }
        request(self.0, SNAPSHOT, &words[..length])?;
        let utcb = Utcb::current();
        Ok(StoredRegion {
            start: utcb.word(0),
            size: utcb.word(1),
            access: Access::from_bits_truncate(utcb.word(2) as u8),
            backing: match utcb.word(3) {
                stored_region::ANONYMOUS => StoredBacking::Anonymous,
                stored_region::SHARED => StoredBacking::Shared,
                stored_region::PRIVATE => StoredBacking::Private,
                stored_region::UTCB => StoredBacking::Utcb,
                _ => StoredBacking::Reserved,
            },
            shown: match utcb.word(4) {
                stored_region::NOTHING => Shown::Nothing,
                stored_region::OTHER => Shown::Sealed,
                stored_region::CHANGING => Shown::Changing,
                place => Shown::Named(place as usize),
            },
            offset: utcb.word(5),
        })
    }

    /// Finds pages in `size` bytes from `from` on, as far as the region goes that holds it: those that differ from what backs
    /// the region, or, if `whole`, all that are not zero pages. Copies them to a dataspace and an offset in it, if these are
    /// given, so that the one at `from` stands there, and leaves out none between. A bounded piece at a time.
    ///
    /// # Errors
    /// [`Error::Again`] if the snapshot is not prepared; [`Error::NotFound`] without a region; [`Error::Invalid`] if it shows
    /// memory that can change; those of [`Dataspace::write`].
    pub fn pages(
        self,
        from: u64,
        size: u64,
        whole: bool,
        to: Option<(Dataspace, u64)>,
    ) -> Result<ImagePages, Error> {
        let (cap, offset) = to.map_or((CapIndex::NONE, 0), |(to, offset)| (to.0, offset));
        let words = [snapshot::PAGES, from, size, u64::from(whole), cap.word(), offset];
        Utcb::current().write(0, &words);
        let tag = syscall::call(self.0, Tag::new(SNAPSHOT, words.len(), 0));
        tag.result()?;
        let utcb = Utcb::current();
        let mut found = ImagePages {
            addresses: [0; FOUND_MAX],
            count: tag.tag.words().saturating_sub(1).min(FOUND_MAX),
            next: utcb.word(0),
        };
        let count = found.count;
        utcb.read(1, &mut found.addresses[..count]);
        Ok(found)
    }

    /// The first slot from `from` on in which clones have a capability, `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Again`] if the snapshot is not prepared.
    pub fn slot_from(self, from: CapIndex) -> Result<Option<CapIndex>, Error> {
        let mut from = from.word();
        loop {
            request(self.0, SNAPSHOT, &[snapshot::SLOT, from])?;
            let utcb = Utcb::current();
            match (utcb.word(0), utcb.word(1)) {
                (0, 0) => return Ok(None),
                (0, next) => from = next,
                (slot, _) => return Ok(Some(CapIndex(slot as u32))),
            }
        }
    }
}

impl Thread {
    /// Gives a thread that never ran the registers of one that waits for the answer to a call, and as its UTCB the page at
    /// `offset` of `page` (read right). Its task can be frozen then: [`Snapshot::freeze`] takes the thread's capability in
    /// place of a reply capability.
    ///
    /// # Errors
    /// [`Error::Busy`] if it was started; [`Error::BadAddress`] for addresses that are not for users; [`Error::Invalid`] if its
    /// UTCB is at another address; those of [`Dataspace::read`].
    pub fn restore(self, page: Dataspace, offset: u64, registers: &CallRegisters) -> Result<(), Error> {
        let mut words = [0; 3 + CallRegisters::WORDS];
        (words[0], words[1], words[2]) = (thread::RESTORE, page.0.word(), offset);
        words[3..].copy_from_slice(&registers.words());
        const { assert!(3 + CallRegisters::WORDS <= Tag::MAX_WORDS) };
        request(self.0, THREAD, &words).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_survive_the_wire() {
        let words = core::array::from_fn(|index| index as u64 + 1);
        let registers = CallRegisters::from_words(&words);
        assert_eq!((registers.rip, registers.utcb, registers.mxcsr), (1, 15, 16));
        let registers = CallRegisters {
            fcw: 0x37f,
            ..registers
        };
        assert_eq!(CallRegisters::from_words(&registers.words()), registers);
    }
}
