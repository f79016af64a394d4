//! Write sets: pages that a copy of an image has written are found, and other copies begin with pages of their own there.

use super::layout::{Inner, Phase};
use super::page_table::{Leaf, Slot, TABLE_SPAN};
use super::region::{Kind, Node};
use super::space::AddressSpace;
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

/// Most pages of a write set. Beginning a copy is one system call, during which nothing else happens on its CPU: half a
/// mebibyte is what it may copy in that time. Who writes more faults for the rest, whose price is then small beside that of
/// the work.
pub(crate) const MAX_WRITTEN: usize = 128;
/// Page tables that are looked at for them, of all levels.
const MAX_TABLES: u32 = 64;

impl AddressSpace {
    /// Finds the pages that the space owns, and returns how many it wrote to `pages`, in order of their addresses: the first
    /// ones, if there are more, or if they are spread over more tables than are looked at.
    ///
    /// # Errors
    /// [`Error::Busy`] if the space is an image, [`Error::NotFound`] if it has given its memory back.
    pub(crate) fn find_written(&self, pages: &mut [u64; MAX_WRITTEN]) -> Result<usize, Error> {
        let inner = self.inner.lock();
        match inner.phase {
            Phase::Live => {}
            Phase::Freezing { .. } | Phase::Frozen => return Err(Error::Busy),
            Phase::Ending | Phase::Gone => return Err(Error::NotFound),
        }
        let mut found = 0;
        inner.table.visit_owned(&mut { MAX_TABLES }, &mut |address| {
            let place = pages.get_mut(found);
            found += usize::from(place.is_some());
            place.map(|place| *place = address).is_some()
        });
        Ok(found)
    }

    /// Keeps of `pages` those that copies of this image, which changes no more, can own because they wrote to them, and
    /// returns how many these are.
    pub(crate) fn keep_writable(&self, pages: &mut [u64]) -> usize {
        let mut inner = self.inner.lock();
        let mut kept = 0;
        for index in 0..pages.len() {
            let address = pages[index];
            let region = inner.regions.find_again(address);
            let is_kept = region.is_some_and(|region| {
                matches!(region.kind(), Kind::Anonymous | Kind::Private)
                    && region.access().contains(Access::WRITE)
            });
            if is_kept {
                pages[kept] = address;
                kept += 1;
            }
        }
        kept
    }

    /// Makes `pages` the space's own, which no CPU has loaded yet, as if each had been written: as far as half of what its
    /// account has left pays for them. The others are left to faults, which tell whether there is memory when it is needed.
    #[inline(never)]
    pub(crate) fn copy_ahead(&self, pages: &[u64]) {
        let Ok(mut inner) = self.lock() else { return };
        let affordable = inner.holdings.left() / 2 / PAGE_SIZE;
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
        let tables = inner.table;
        let mut table: Option<(u64, Slot<'_>)> = None;
        for &address in pages.iter().take(affordable) {
            let Some(region) = inner.regions.find_again(address) else {
                continue;
            };
            let slot = match &table {
                Some((span, slot)) if *span == address / TABLE_SPAN => slot.beside(address),
                _ => match tables.own_slot(address, &inner.holdings) {
                    Ok(Ok(slot)) => slot,
                    Ok(Err(_)) if inner.fill(region, address).is_ok() => continue,
                    _ => return,
                },
            };
            let done = match slot.get() {
                Some(leaf) if leaf.is_owned() => Ok(()),
                Some(leaf) => inner
                    .copy_of(address, leaf.frame())
                    .map(|copy| slot.set(Leaf::owned(copy, region.access()))),
                None => inner.fill(region, address),
            };
            if done.is_err() {
                return;
            }
            table = Some((address / TABLE_SPAN, slot));
        }
    }
}

impl Inner {
    /// Maps a page of the space's own where nothing is mapped, with what is there before it is written.
    fn fill(&self, region: Node, address: u64) -> Result<(), Error> {
        let Some(dataspace) = region.dataspace() else {
            return self.map_owned(address, region.access()).map(drop);
        };
        let place = self.table.own_slot(address, &self.holdings)?;
        let frame = self.holdings.take_page(address, false)?;
        dataspace.fill_frame(region.offset_of(address) / PAGE_SIZE, frame);
        self.link(place, address, Leaf::owned(frame, region.access()))
    }
}
