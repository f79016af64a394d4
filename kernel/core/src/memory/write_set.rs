//! Write sets: pages that a copy of an image has written are found, and other copies begin with pages of their own there.
#![expect(unsafe_code, reason = "a space remembers where its write set is")]

use super::layout::{Inner, Phase};
use super::page_table::{Leaf, Slot, TABLE_SPAN};
use super::region::{Kind, Node};
use super::space::AddressSpace;
use crate::account::Account;
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
        let mut enter = |address| {
            let place = pages.get_mut(found);
            found += usize::from(place.is_some());
            place.map(|place| *place = address).is_some()
        };
        // More than there is room for are found in the order of their addresses.
        if !inner.holdings.is_complete() || inner.holdings.pages().nth(MAX_WRITTEN).is_some() {
            inner.table.visit_owned(&mut { MAX_TABLES }, &mut enter);
            return Ok(found);
        }
        let is_owned = |address: &u64| {
            let slot = inner.table.slot(*address);
            slot.is_some_and(|slot| slot.get().is_some_and(Leaf::is_owned))
        };
        inner.holdings.pages().filter(is_owned).all(enter);
        Ok(sort(&mut pages[..found]))
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
    ///
    /// # Safety
    /// The addresses stay there and do not change until the space has ended, or become an image.
    #[inline(never)]
    pub(crate) unsafe fn copy_ahead(&self, pages: &[u64]) {
        let Ok(mut inner) = self.lock() else { return };
        let affordable = usize::try_from(inner.holdings.left() / 2 / PAGE_SIZE).unwrap_or(usize::MAX);
        let pages = &pages[..affordable.min(pages.len())];
        // SAFETY: The caller's promise.
        unsafe { inner.holdings.begin_ahead(pages) };
        let tables = inner.table;
        let mut table: Option<(u64, Slot<'_>)> = None;
        for &address in pages {
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
                Some(leaf) => Inner::copy_to(leaf.frame(), |zeroed| inner.holdings.take_ahead(zeroed))
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
    /// Frees pages that were copied ahead, as many as the budget allows.
    #[inline(never)]
    pub(super) fn release_ahead(&self, account: &Account, budget: &mut u32) {
        let mut table = None;
        while *budget > 0
            && let Some(address) = self.holdings.pop_ahead()
        {
            *budget -= 1;
            self.table.release_page(address, &mut table, account);
        }
    }

    /// Maps a page of the space's own where nothing is mapped, with what is there before it is written.
    fn fill(&self, region: Node, address: u64) -> Result<(), Error> {
        let place = self.table.own_slot(address, &self.holdings)?;
        let dataspace = region.dataspace();
        let frame = self.holdings.take_ahead(dataspace.is_none())?;
        if let Some(dataspace) = dataspace {
            dataspace.fill_frame(region.offset_of(address) / PAGE_SIZE, frame);
        }
        self.link(place, address, Leaf::owned(frame, region.access()))
    }
}

/// Sorts addresses and drops those that are there already. Returns how many are left.
fn sort(pages: &mut [u64]) -> usize {
    pages.sort_unstable();
    let mut kept = 0;
    for index in 0..pages.len() {
        if kept == 0 || pages[kept - 1] != pages[index] {
            pages[kept] = pages[index];
            kept += 1;
        }
    }
    kept
}
