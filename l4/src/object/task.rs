use super::request;
use crate::protocol::{TASK, task};
use crate::region::{Access, Backing, Region};
use crate::{CapIndex, Error, Rights, Tag, Utcb, syscall};

/// A task: address space and capability space. All operations that change it need the write right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task(pub CapIndex);

/// One capability to copy (or move) into a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// Slot in the caller's capability space.
    pub from: CapIndex,
    /// Slot in the task's; an old capability there is dropped.
    pub to: CapIndex,
    /// Rights to pass on.
    pub rights: Rights,
    /// Move instead of copy.
    pub grant: bool,
    /// For gates whose server right the caller has: the label of the new capability, if not 0.
    pub label: u64,
}

impl MapEntry {
    /// A plain copy.
    pub const fn copy(from: CapIndex, to: CapIndex, rights: Rights) -> MapEntry {
        MapEntry {
            from,
            to,
            rights,
            grant: false,
            label: 0,
        }
    }

    /// The entry's first word: from (20 bits), to (20 bits), rights (8 bits), grant (1 bit).
    pub const fn word(&self) -> u64 {
        (self.from.0 as u64 & 0xf_ffff)
            | ((self.to.0 as u64 & 0xf_ffff) << 20)
            | ((self.rights.bits() as u64) << 40)
            | ((self.grant as u64) << 48)
    }

    /// Reads an entry.
    pub const fn parse(word: u64, label: u64) -> MapEntry {
        MapEntry {
            from: CapIndex((word & 0xf_ffff) as u32),
            to: CapIndex(((word >> 20) & 0xf_ffff) as u32),
            rights: Rights::from_bits_truncate((word >> 40) as u8),
            grant: word >> 48 & 1 != 0,
            label,
        }
    }

    /// Entries that fit into one call.
    pub const MAX: usize = 31;
}

/// What stands at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// First address.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// Permitted use.
    pub access: Access,
    /// What backs it.
    pub backing: Backing,
}

impl Task {
    /// Copies or moves capabilities into the task, in order (at most [`MapEntry::MAX`]). If one fails, the rest is not
    /// tried and those before it stay.
    pub fn map(self, entries: &[MapEntry]) -> Result<(), Error> {
        if entries.len() > MapEntry::MAX {
            return Err(Error::MessageTooLong);
        }
        let utcb = Utcb::current();
        utcb.set_word(0, task::MAP);
        for (index, entry) in entries.iter().enumerate() {
            utcb.set_word(1 + 2 * index, entry.word());
            utcb.set_word(2 + 2 * index, entry.label);
        }
        syscall::call(self.0, Tag::new(TASK, 1 + 2 * entries.len(), 0))
            .result()
            .map(drop)
    }

    /// Revokes all capabilities derived from `cap`, which stays.
    pub fn revoke(self, cap: CapIndex) -> Result<(), Error> {
        request(self.0, TASK, &[task::UNMAP, cap.word(), 0]).map(drop)
    }

    /// Drops `cap`; what was derived from it stays. An object whose last capability goes, goes too.
    pub fn drop_cap(self, cap: CapIndex) -> Result<(), Error> {
        request(self.0, TASK, &[task::UNMAP, cap.word(), task::UNMAP_SELF]).map(drop)
    }

    /// Deletes the object that `cap` names (delete right needed): all its capabilities go.
    pub fn delete(self, cap: CapIndex) -> Result<(), Error> {
        request(
            self.0,
            TASK,
            &[task::UNMAP, cap.word(), task::UNMAP_DELETE | task::UNMAP_SELF],
        )
        .map(drop)
    }

    /// Tells whether the slot holds a capability.
    pub fn is_valid(self, cap: CapIndex) -> Result<bool, Error> {
        Ok(request(self.0, TASK, &[task::CAP_INFO, cap.word()])? != 0)
    }

    /// Tells whether two slots name the same object.
    pub fn is_equal(self, one: CapIndex, other: CapIndex) -> Result<bool, Error> {
        Ok(request(self.0, TASK, &[task::CAP_INFO, one.word(), other.word()])? != 0)
    }

    /// Attaches regions (at most 12), all or none. Returns the address of the first.
    pub fn attach(self, regions: &[Region]) -> Result<u64, Error> {
        if regions.len() > 12 {
            return Err(Error::MessageTooLong);
        }
        let utcb = Utcb::current();
        utcb.set_word(0, task::ATTACH);
        for (index, region) in regions.iter().enumerate() {
            utcb.write(1 + Region::WORDS * index, &region.words());
        }
        syscall::call(self.0, Tag::new(TASK, 1 + Region::WORDS * regions.len(), 0)).result()?;
        Ok(utcb.word(0))
    }

    /// Detaches everything in the range; regions that it cuts keep their rest.
    pub fn detach(self, start: u64, size: u64) -> Result<(), Error> {
        self.in_pieces(start, size, |start, size| [task::DETACH, start, size, 0])
    }

    /// Changes the permitted use of a range, which regions must cover without gaps.
    pub fn protect(self, start: u64, size: u64, access: Access) -> Result<(), Error> {
        self.in_pieces(start, size, |start, size| {
            [task::PROTECT, start, size, access.bits() as u64]
        })
    }

    /// Gives back the anonymous memory of a range; it reads as zeroes afterwards.
    pub fn discard(self, start: u64, size: u64) -> Result<(), Error> {
        self.in_pieces(start, size, |start, size| [task::DISCARD, start, size, 0])
    }

    /// Maps what the range shows of sealed dataspaces, to be read: nobody faults for it any more. The task pays for tables.
    pub fn show(self, start: u64, size: u64) -> Result<(), Error> {
        self.in_pieces(start, size, |start, size| [task::SHOW, start, size, 0])
    }

    /// Repeats an operation on a range until all of it is dealt with: the kernel does a bounded piece at a time.
    fn in_pieces(self, start: u64, size: u64, words: impl Fn(u64, u64) -> [u64; 4]) -> Result<(), Error> {
        let mut done = 0;
        loop {
            request(self.0, TASK, &words(start + done, size - done))?;
            let piece = Utcb::current().word(0);
            done += piece;
            if done >= size || piece == 0 {
                return Ok(());
            }
        }
    }

    /// The region that holds `address`, or the next one behind it.
    pub fn find(self, address: u64) -> Result<RegionInfo, Error> {
        request(self.0, TASK, &[task::FIND, address])?;
        let utcb = Utcb::current();
        let words = [utcb.word(0), utcb.word(1), utcb.word(2), 0, 0];
        let region = Region::parse(words).ok_or(Error::Io)?;
        Ok(RegionInfo {
            start: region.start,
            size: region.size,
            access: region.access,
            backing: region.backing,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_survive_the_wire() {
        let entry = MapEntry {
            from: CapIndex(0x7fff),
            to: CapIndex(0x16),
            rights: Rights::CLIENT,
            grant: true,
            label: 0x1230,
        };
        assert_eq!(MapEntry::parse(entry.word(), entry.label), entry);
    }
}
