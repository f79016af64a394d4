//! What it takes to store an image and to begin from a stored one: reading its regions and pages, and mapping ahead what a
//! space shows of sealed dataspaces.

use super::address::{LARGE_SIZE, PhysAddr, UserRange};
use super::dataspace::Dataspace;
use super::frame;
use super::layout::{Inner, Phase};
use super::page_table::{Leaf, Place};
use super::region::{Kind, Node};
use super::space::{AddressSpace, PIECE};
use crate::object::Ref;
use crate::sync::Guard;
use l4::object::FOUND_MAX;
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

/// A region of an image.
#[derive(Clone, Copy)]
pub(crate) struct ImageRegion {
    pub(crate) start: u64,
    pub(crate) size: u64,
    pub(crate) access: Access,
    pub(crate) kind: Kind,
    /// What it shows, from which offset, and whether that can still change.
    pub(crate) shows: Option<(Ref<Dataspace>, u64, bool)>,
}

/// Pages of an image, with the frames that the image keeps.
pub(crate) struct ImagePages {
    pages: [(u64, PhysAddr); FOUND_MAX],
    count: usize,
    /// Where to go on.
    pub(crate) next: u64,
}

impl ImagePages {
    /// Their addresses, in order.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = u64> {
        self.pages[..self.count].iter().map(|(address, _)| *address)
    }

    /// Copies them to a dataspace where address `from` stands at `offset`. The lock of the image's space is held: its end, which
    /// gives the frames back, waits for that.
    fn copy_to(&self, target: &Dataspace, from: u64, offset: u64) -> Result<(), Error> {
        for (address, frame) in &self.pages[..self.count] {
            let place = offset.checked_add(address - from).ok_or(Error::Range)?;
            target.copy_frame_in(place, *frame)?;
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.count == FOUND_MAX
    }

    fn add(&mut self, address: u64, frame: PhysAddr) {
        self.pages[self.count] = (address, frame);
        self.count += 1;
    }
}

impl AddressSpace {
    /// The region of a frozen space that holds `address`, or the next one behind it.
    ///
    /// # Errors
    /// [`Error::Again`] if the space is not frozen, [`Error::NotFound`] if there is none, or the space's end has begun.
    pub(crate) fn image_region(&self, address: u64) -> Result<ImageRegion, Error> {
        let inner = self.lock_frozen()?;
        let region = inner.regions.at_or_behind(address).ok_or(Error::NotFound)?;
        Ok(ImageRegion {
            start: region.start(),
            size: region.end() - region.start(),
            access: region.access(),
            kind: region.kind(),
            shows: region.dataspace().map(|dataspace| {
                let offset = region.offset_of(region.start());
                (
                    dataspace,
                    offset,
                    !dataspace.is_sealed() || dataspace.is_uncached(),
                )
            }),
        })
    }

    /// Finds pages of the region that holds `from`, as far as `end`: those that differ from what backs the region, or, if
    /// `whole`, all that have contents. A bounded number at a time. If `to` is a dataspace and an offset, they are copied there, so
    /// that the page at `from` stands at the offset.
    ///
    /// # Errors
    /// [`Error::Again`] if the space is not frozen; [`Error::NotFound`] without a region, or if the space's end has begun;
    /// [`Error::Invalid`] if the region shows memory that can change, or an argument is not aligned; those of writing to the
    /// dataspace, and [`Error::Again`] if that is being cleared.
    pub(crate) fn image_pages(
        &self,
        from: u64,
        end: u64,
        whole: bool,
        to: Option<(&Dataspace, u64)>,
    ) -> Result<ImagePages, Error> {
        let from = UserRange::new(from, PAGE_SIZE)?.start();
        let mut found = ImagePages {
            pages: [(0, PhysAddr(0)); FOUND_MAX],
            count: 0,
            next: from,
        };
        let inner = self.lock_frozen()?;
        let region = inner.regions.find(from).ok_or(Error::NotFound)?;
        let end = end.min(region.end());
        let source = region.dataspace();
        match region.kind() {
            Kind::Reserved => found.next = end,
            Kind::Shared if source.is_none_or(|shown| !shown.is_sealed() || shown.is_uncached()) => {
                return Err(Error::Invalid);
            }
            _ => {}
        }
        let mut budget = PIECE;
        while found.next < end && budget > 0 && !found.is_full() {
            budget -= 1;
            inner.find_page(region, whole, &mut found);
        }
        found.next = found.next.min(end);
        if let Some((to, offset)) = to {
            found.copy_to(to, from, offset)?;
        }
        Ok(found)
    }

    /// The lock, while the space is an image: it keeps its frames until the lock is given back.
    fn lock_frozen(&self) -> Result<Guard<'_, Inner>, Error> {
        let inner = self.inner.lock();
        match inner.phase {
            Phase::Frozen => Ok(inner),
            Phase::Live | Phase::Freezing { .. } => Err(Error::Again),
            Phase::Ending | Phase::Gone => Err(Error::NotFound),
        }
    }

    /// Maps what a range shows of sealed dataspaces and is not mapped yet, to be read. Returns how many bytes are dealt with.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the space's end has begun, [`Error::Busy`] if it is an image, [`Error::NoMemory`] for tables.
    pub fn show_sealed(&self, start: u64, size: u64) -> Result<u64, Error> {
        let range = UserRange::new(start, size)?;
        let inner = self.lock()?;
        let mut budget = PIECE;
        let mut at = range.start();
        while at < range.end() && budget > 0 {
            budget -= 1;
            let Some(region) = inner.regions.at_or_behind(at) else {
                return Ok(range.end() - range.start());
            };
            let to = range.end().min(region.end());
            at = at.max(region.start()).min(range.end());
            match region.dataspace() {
                Some(shown) if shown.is_sealed() && !shown.is_uncached() && !shown.is_being_revoked() => {
                    at = self.show_part(&inner, region, (at, to), &shown, &mut budget)?;
                }
                _ => at = at.max(to),
            }
        }
        Ok(at - range.start())
    }

    fn show_part(
        &self,
        inner: &Inner,
        region: Node,
        (from, to): (u64, u64),
        shown: &Dataspace,
        budget: &mut u32,
    ) -> Result<u64, Error> {
        let mut at = from;
        while at < to && *budget > 0 {
            *budget -= 1;
            let access = region.access() - Access::WRITE;
            let is_present = match inner.table.find(at) {
                Place::Page(slot) => slot.get().is_some(),
                Place::Large(..) => true,
                Place::Missing(_) => {
                    if let Some(large) = self.put_large(inner, region, at, access)? {
                        at = large + LARGE_SIZE;
                        continue;
                    }
                    false
                }
            };
            if !is_present {
                let frame = shown.sealed_frame(region.offset_of(at) / PAGE_SIZE);
                self.put(inner, at, Leaf::shown(frame, access, false))?;
            }
            at += PAGE_SIZE;
        }
        Ok(at.min(to))
    }
}

impl Inner {
    /// Looks at the next page of a region of an image, or skips what has no table.
    fn find_page(&self, region: Node, whole: bool, found: &mut ImagePages) {
        let address = found.next;
        let source = region.dataspace();
        let backing = source.map_or_else(frame::zeroes, |shown| {
            shown.sealed_frame(region.offset_of(address) / PAGE_SIZE)
        });
        let frame = match self.table.find(address) {
            Place::Page(slot) => slot.get().map_or(backing, Leaf::frame),
            Place::Large(_, leaf) => leaf.page(address).frame(),
            Place::Missing(missing) if !whole || source.is_none() => {
                found.next = missing.behind(address);
                return;
            }
            Place::Missing(_) => backing,
        };
        let usual = if whole { frame::zeroes() } else { backing };
        if frame != usual {
            found.add(address, frame);
        }
        found.next += PAGE_SIZE;
    }
}
