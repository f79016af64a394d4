//! Which memory large pages show, and where: that which a dataspace has in one piece, in views that lie as the memory does.

use super::address::{LARGE_SIZE, LargeFrame, PhysAddr, WORDS_PER_FRAME};
use super::dataspace::Dataspace;
use super::layout::Inner;
use super::page_table::LargeLeaf;
use super::region::Node;
use super::space::AddressSpace;
use crate::machine::machine_flush_page;
use crate::object::Ref;
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

impl Dataspace {
    /// The memory from a page on, if it is in one piece as large pages are, and stays so as long as the dataspace. (A
    /// device's may be of several types within 2 MiB, which a large page must not span: Intel SDM vol. 3, section 12.11.9.)
    fn large_frame(&self, page: u64) -> Option<LargeFrame> {
        let end = page.checked_add(WORDS_PER_FRAME as u64)? * PAGE_SIZE;
        if end > self.size() {
            return None;
        }
        LargeFrame::new(PhysAddr(self.one_piece()?.0 + page * PAGE_SIZE))
    }

    /// How far behind a multiple of 2 MiB a view of `size` bytes from a page on has to begin, so that large pages can show
    /// it. `None` if they can't.
    fn large_phase(&self, page: u64, size: u64) -> Option<u64> {
        let phase = (self.one_piece()?.0 + page * PAGE_SIZE) % LARGE_SIZE;
        let before = (LARGE_SIZE - phase) % LARGE_SIZE;
        (size >= before + LARGE_SIZE).then_some(phase)
    }
}

impl Inner {
    /// The lowest free range at or behind `start`. If it is to show memory that large pages can show, the first one that has
    /// room for it wherever they begin, and the first address there at which they can.
    pub(super) fn find_place(
        &self,
        start: u64,
        size: u64,
        view: Option<(Ref<Dataspace>, u64)>,
    ) -> Option<u64> {
        let phase = view.and_then(|(dataspace, offset)| dataspace.large_phase(offset / PAGE_SIZE, size));
        let aligned = phase.and_then(|phase| {
            let gap = self.regions.find_gap(start, size.checked_add(LARGE_SIZE)?)?;
            Some(gap + (phase.wrapping_sub(gap) & (LARGE_SIZE - 1)))
        });
        aligned.or_else(|| self.regions.find_gap(start, size))
    }
}

impl AddressSpace {
    /// Maps the large page that an address lies in, if the region shows one there, and nothing in its place is mapped yet.
    /// Returns its first address.
    ///
    /// # Errors
    /// [`Error::NoMemory`] for tables.
    #[inline(always)]
    pub(super) fn put_large(
        &self,
        inner: &Inner,
        region: Node,
        address: u64,
        access: Access,
    ) -> Result<Option<u64>, Error> {
        let start = address & !(LARGE_SIZE - 1);
        if start < region.start() || region.end() - start < LARGE_SIZE {
            Ok(None)
        } else {
            put_covered(inner, region, (address, start), access)
        }
    }
}

/// The same where the region covers all of the large page's addresses.
#[inline(never)]
fn put_covered(
    inner: &Inner,
    region: Node,
    (address, start): (u64, u64),
    access: Access,
) -> Result<Option<u64>, Error> {
    let page = region.offset_of(start) / PAGE_SIZE;
    let Some(frame) = region
        .dataspace()
        .and_then(|dataspace| dataspace.large_frame(page))
    else {
        return Ok(None);
    };
    let leaf = LargeLeaf::shown(frame, access);
    let is_mapped = inner.table.map_large(start, leaf, &inner.holdings)?;
    // If it was there already, or with fewer permissions once, this CPU had an older translation.
    machine_flush_page(address);
    Ok(is_mapped.then_some(start))
}
