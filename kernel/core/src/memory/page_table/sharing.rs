//! Tables that a snapshot and its clones share: whoever wants to change one takes a copy first.
#![expect(unsafe_code, reason = "page tables are reached through the direct map")]

use super::entry::{Branch, Leaf, Slot, TABLE_FLAGS, store};
use super::{Missing, PageTable, ROOT_LEVEL, Reclaim, index, span};
use crate::account::Account;
use crate::memory::address::{FrameMemory, PhysAddr};
use crate::memory::holdings::Holdings;
use crate::memory::sparse::{self, Population};
use core::sync::atomic::AtomicU64;
use l4::Error;

impl PageTable {
    /// Tables that show what those of `image`, the root of a snapshot, show, and share all of them but the root.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub(crate) fn share(
        image: PhysAddr,
        population: Population,
        account: &Account,
    ) -> Result<PageTable, Error> {
        // SAFETY: The image's root changes no more; the new frame is ours alone.
        let root = unsafe {
            let root = sparse::copy(image, population, |zeroed| account.allocate_frame(zeroed))?;
            FrameMemory::new(root)
        };
        Ok(PageTable { root })
    }

    /// The entry for a page, if its table exists, in tables of the space's own: those on the way that a snapshot shares
    /// are replaced by copies, and a large page by a table.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; then fewer tables are shared, and what is mapped has not changed.
    #[inline]
    pub(crate) fn own_slot(
        &self,
        address: u64,
        holdings: &Holdings,
    ) -> Result<Result<Slot<'_>, Missing>, Error> {
        let table = match self.own_path(address, 0, holdings)? {
            Ok(table) => table,
            Err(missing) => return Ok(Err(missing)),
        };
        Ok(Ok(Slot {
            table: self.entries(table),
            index: index(address, 0),
        }))
    }

    /// The table of level `lowest` on the way to an address, made the space's own with all above it.
    #[inline(always)]
    pub(super) fn own_path(
        &self,
        address: u64,
        lowest: u32,
        holdings: &Holdings,
    ) -> Result<Result<FrameMemory, Missing>, Error> {
        let mut table = self.root;
        for level in (lowest + 1..=ROOT_LEVEL).rev() {
            let entry = table.word(index(address, level));
            table = match Branch::of(entry, level) {
                Branch::Own(table) => Self::child(table),
                Branch::Empty => return Ok(Err(Missing { table, level })),
                Branch::Shared(shared) => Self::take_over(entry, shared, address, level, holdings)?,
                Branch::Large(leaf) => return self.split(entry, leaf, address, holdings).map(Ok),
            };
        }
        Ok(Ok(table))
    }

    /// Replaces the shared table that an entry of a table of `level` names by a copy. A processor may use the old one
    /// for a while, in which nothing changes: it finds there what it found before, or faults and looks again.
    #[cold]
    fn take_over(
        entry: &AtomicU64,
        shared: Leaf,
        address: u64,
        level: u32,
        holdings: &Holdings,
    ) -> Result<FrameMemory, Error> {
        // SAFETY: A shared table is not written by anybody; the new frame is ours alone.
        let copy = unsafe {
            sparse::copy(shared.frame(), shared.population(), |zeroed| {
                holdings.take_table(address, level, zeroed, shared.population())
            })
        }?;
        store(entry, copy.0 | TABLE_FLAGS);
        // SAFETY: As above.
        Ok(unsafe { FrameMemory::new(copy) })
    }

    /// Makes the tables of levels 0 and 1 in a range the space's own, so that what they map can be changed. With
    /// `unlink`, shared ones of level 0 that lie wholly in the range are not copied, but unlinked: their pages are not
    /// mapped any more. Large pages stay. Returns the first address that was not dealt with, as the budget allows (one
    /// for each table and hole).
    ///
    /// # Errors
    /// [`Error::NoMemory`] if nothing was dealt with.
    pub(crate) fn own_range(
        &self,
        start: u64,
        end: u64,
        unlink: bool,
        budget: &mut u32,
        (holdings, reclaim): (&Holdings, &mut Reclaim),
    ) -> Result<u64, Error> {
        let mut address = start;
        while address < end && *budget > 0 {
            *budget -= 1;
            let next = (address | (span(1) - 1)) + 1;
            let whole = unlink && address & (span(1) - 1) == 0 && next <= end;
            let done = self.own_path(address, 1, holdings).and_then(|path| match path {
                Err(missing) => Ok((address | (span(missing.level) - 1)) + 1),
                Ok(table) => {
                    let entry = table.word(index(address, 1));
                    match Branch::of(entry, 1) {
                        Branch::Shared(_) if whole => {
                            store(entry, 0);
                            reclaim.set_reduced();
                        }
                        Branch::Shared(shared) => {
                            Self::take_over(entry, shared, address, 1, holdings)?;
                        }
                        Branch::Empty | Branch::Own(_) | Branch::Large(_) => {}
                    }
                    Ok(next)
                }
            });
            match done {
                Ok(next) => address = next,
                Err(error) if address == start => return Err(error),
                Err(_) => break,
            }
        }
        Ok(address.min(end))
    }
}
