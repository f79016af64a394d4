//! Page faults: a page is filled from its region.

use super::address::PhysAddr;
use super::dataspace::{Dataspace, PageError, Shown};
use super::layout::Inner;
use super::page_table::{Leaf, PageTable, Slot};
use super::region::{Kind, Node};
use super::space::AddressSpace;
use crate::machine::machine_flush_page;
use crate::object::Ref;
use crate::tlb;
use l4::region::Access;
use l4::{Error, PAGE_SIZE, USER_END};

/// Bits of a page fault's error code (Intel SDM vol. 3, section 4.7).
const WRITE_BIT: u64 = 1 << 1;
const FETCH_BIT: u64 = 1 << 4;

/// Pages that a read fault on immutable memory maps at most, aligned to that number.
const AROUND: u64 = 16;
/// How often, and with which budget, a fault helps with work on a dataspace that is in its way.
const ASSISTS: u32 = 4;
const ASSIST_BUDGET: u32 = 64;

/// What became of a page fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultOutcome {
    /// The thread can go on; it may fault again.
    Resolved,
    /// There is no region, or a reserved one.
    NoRegion,
    /// The region does not permit the access.
    Denied,
    /// The page could not be paid for.
    Quota,
}

/// Work on a dataspace that has to get on before the page can be had.
struct InTheWay(Ref<Dataspace>);

impl AddressSpace {
    /// Deals with a page fault at `address`; `error_code` is the processor's.
    pub fn resolve_fault(&self, address: u64, error_code: u64) -> FaultOutcome {
        let access = if error_code & FETCH_BIT != 0 {
            Access::EXECUTE
        } else if error_code & WRITE_BIT != 0 {
            Access::WRITE
        } else {
            Access::READ
        };
        if address >= USER_END {
            return FaultOutcome::NoRegion;
        }
        for _ in 0..ASSISTS {
            match self.try_resolve(address & !(PAGE_SIZE - 1), access) {
                Ok(outcome) => return outcome,
                // If the work fails, who began it is told; the fault only needs it out of the way.
                Err(InTheWay(dataspace)) => drop(dataspace.advance(&mut { ASSIST_BUDGET })),
            }
        }
        // The thread faults again and goes on helping.
        FaultOutcome::Resolved
    }

    #[inline]
    fn try_resolve(&self, address: u64, access: Access) -> Result<FaultOutcome, InTheWay> {
        let mut inner = self.inner.lock();
        let Some(region) = inner.regions.find_again(address) else {
            return Ok(FaultOutcome::NoRegion);
        };
        if region.kind() == Kind::Reserved {
            return Ok(FaultOutcome::NoRegion);
        }
        if !region.access().contains(access) {
            return Ok(FaultOutcome::Denied);
        }
        let result = match (region.kind(), region.dataspace()) {
            (Kind::Shared, Some(dataspace)) => match dataspace.page(region.offset_of(address) / PAGE_SIZE) {
                Ok(page) => self.show(&inner, region, address, access, page),
                Err(PageError::NoMemory) => return Ok(FaultOutcome::Quota),
                Err(PageError::Busy) => return Err(InTheWay(dataspace)),
            },
            (Kind::Private, Some(dataspace)) => {
                match self.fill_private(&inner, region, address, access, dataspace) {
                    Err(Error::Busy) => return Err(InTheWay(dataspace)),
                    result => result,
                }
            }
            _ => self.fill_anonymous(&inner, region, address, access),
        };
        Ok(match result {
            Ok(()) => FaultOutcome::Resolved,
            Err(Error::AccessDenied) => FaultOutcome::Denied,
            Err(_) => FaultOutcome::Quota,
        })
    }

    #[inline]
    fn fill_anonymous(&self, inner: &Inner, region: Node, address: u64, access: Access) -> Result<(), Error> {
        let place = inner.table.own_slot(address, &inner.holdings)?;
        if let Ok(slot) = &place
            && let Some(leaf) = slot.get()
        {
            return self.use_present(inner, region, address, access, (slot, leaf));
        }
        let frame = inner.holdings.take_page(address, true)?;
        inner.link(place, address, Leaf::owned(frame, region.access()))
    }

    /// Lets a private page that is there be used as its region permits: one of the space's own as it is, one that somebody
    /// else keeps (the dataspace, a snapshot) until it is to be written.
    fn use_present(
        &self,
        inner: &Inner,
        region: Node,
        address: u64,
        access: Access,
        (slot, leaf): (&Slot<'_>, Leaf),
    ) -> Result<(), Error> {
        let new = if leaf.is_owned() {
            leaf.with_access(region.access())
        } else if access != Access::WRITE {
            leaf.with_access(region.access() - Access::WRITE)
        } else {
            Leaf::owned(inner.copy_of(address, leaf.frame())?, region.access())
        };
        self.replace(slot, address, leaf, new);
        Ok(())
    }

    /// Maps a dataspace's page, or the large page that it lies in.
    fn show(
        &self,
        inner: &Inner,
        region: Node,
        address: u64,
        access: Access,
        page: Shown,
    ) -> Result<(), Error> {
        if access == Access::WRITE && !page.writable {
            return Err(Error::AccessDenied);
        }
        let permitted = if page.writable {
            region.access()
        } else {
            region.access() - Access::WRITE
        };
        if self.put_large(inner, region, address, permitted)?.is_some() {
            return Ok(());
        }
        self.put(inner, address, Leaf::shown(page.frame, permitted, page.uncached))?;
        if access != Access::WRITE {
            Self::show_around(inner, region, address);
        }
        Ok(())
    }

    /// Fills a private page. [`Error::Busy`] if its dataspace is being taken away.
    fn fill_private(
        &self,
        inner: &Inner,
        region: Node,
        address: u64,
        access: Access,
        dataspace: Ref<Dataspace>,
    ) -> Result<(), Error> {
        let number = region.offset_of(address) / PAGE_SIZE;
        let place = inner.table.own_slot(address, &inner.holdings)?;
        if let Ok(slot) = &place
            && let Some(leaf) = slot.get()
        {
            return self.use_present(inner, region, address, access, (slot, leaf));
        }
        if dataspace.is_being_revoked() {
            return Err(Error::Busy);
        }
        if access != Access::WRITE {
            return self.show(inner, region, address, access, dataspace.sealed_page(number));
        }
        let frame = inner.holdings.take_page(address, false)?;
        dataspace.fill_frame(number, frame);
        inner.link(place, address, Leaf::owned(frame, region.access()))
    }

    /// Maps a page, whatever is there now.
    pub(super) fn put(&self, inner: &Inner, address: u64, leaf: Leaf) -> Result<(), Error> {
        match inner.table.own_slot(address, &inner.holdings)? {
            Ok(slot) => {
                match slot.get() {
                    Some(old) => self.replace(&slot, address, old, leaf),
                    None => slot.set_absent(address, leaf, &inner.holdings),
                }
                Ok(())
            }
            Err(missing) => PageTable::install(missing, address, leaf, &inner.holdings),
        }
    }

    /// Changes what a page shows, or may be used for.
    fn replace(&self, slot: &Slot<'_>, address: u64, old: Leaf, new: Leaf) {
        if new != old {
            slot.set(new);
        }
        if new.frame() != old.frame() || !new.permits(old) {
            tlb::flush_page(self.root(), address);
        } else {
            // The translation was there already, or has only got more permissions: this CPU had an older one.
            machine_flush_page(address);
        }
    }

    /// Maps the immutable pages beside one that was read, as far as they are in the same table: they will be read
    /// soon. Pages that will rather be written are left alone, since the first write would have to replace them.
    fn show_around(inner: &Inner, region: Node, address: u64) {
        let Some(dataspace) = region.dataspace() else {
            return;
        };
        if !dataspace.is_sealed() || region.access().contains(Access::WRITE) {
            return;
        }
        let Some(slot) = inner.table.slot(address) else {
            return;
        };
        let window = address & !(AROUND * PAGE_SIZE - 1);
        let start = window.max(region.start());
        let end = (window + AROUND * PAGE_SIZE).min(region.end());
        let first = region.offset_of(start) / PAGE_SIZE;
        let template = Leaf::shown(PhysAddr(0), region.access(), dataspace.is_uncached());
        slot.fill_absent(start, end, &inner.holdings, |number| {
            template.with_frame(dataspace.sealed_frame(first + number))
        });
    }
}
