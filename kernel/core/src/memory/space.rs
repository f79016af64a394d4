//! Address spaces: regions, and the page tables that are filled from them.
//!
//! Operations on large ranges are done in pieces: they return how much is done, and the caller asks again for the rest.
#![expect(
    unsafe_code,
    reason = "regions are freed by hand; views point to their spaces"
)]

use super::address::{PhysAddr, UserRange};
use super::dataspace::Dataspace;
use super::image::Image;
use super::layout::{Inner, Phase};
use super::page_table::{PageTable, Reclaim};
use super::region::{Kind, Node, Plan, Regions};
use super::views::Work;
use crate::account::Account;
use crate::object::Ref;
use crate::objects;
use crate::sync::{Guard, Rank, SpinLock};
use core::ptr::NonNull;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};

/// Work of one piece, in pages, tables and regions.
pub(super) const PIECE: u32 = 256;

/// A task's user addresses. It must stay where it is once it has a region: the views of dataspaces point to it.
pub struct AddressSpace {
    pub(super) account: Ref<Account>,
    root: PhysAddr,
    pub(super) image: Image,
    pub(super) inner: SpinLock<Inner>,
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

/// What may be done with pages that the processor can't tell apart: whoever writes or executes can read.
fn checked_access(access: Access) -> Result<Access, Error> {
    if access.contains(Access::WRITE | Access::EXECUTE) {
        return Err(Error::Invalid);
    }
    Ok(if access.is_empty() {
        access
    } else {
        access | Access::READ
    })
}

impl AddressSpace {
    /// An empty address space that `account` pays for.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn new(account: Ref<Account>) -> Result<AddressSpace, Error> {
        let table = PageTable::create(&account)?;
        Ok(AddressSpace::with(account, table, Regions::new()))
    }

    pub(super) fn with(account: Ref<Account>, table: PageTable, regions: Regions) -> AddressSpace {
        AddressSpace {
            account,
            root: table.root(),
            image: Image::new(),
            inner: SpinLock::new(Rank::Space, Inner::new(account, table, regions)),
        }
    }

    /// The root table, to be loaded.
    #[inline]
    pub fn root(&self) -> PhysAddr {
        self.root
    }

    /// The space that a view belongs to.
    pub(super) fn of_view<'a>(space: NonNull<AddressSpace>) -> &'a AddressSpace {
        // SAFETY: The pointer was found in a dataspace's list of views during this stay in the kernel. A space takes its
        // views out of the lists before its task is freed, and that happens only after this CPU has left the kernel.
        unsafe { space.as_ref() }
    }

    /// Attaches a region of `size` bytes and returns its start: `start` or, with `search`, the lowest free address at or
    /// behind it, or one where large pages can show the dataspace. That is shown from an offset; a private region needs
    /// a sealed one.
    ///
    /// # Errors
    /// - [`Error::Invalid`]: alignment, size 0, writable and executable at once, or private of an unsealed dataspace
    /// - [`Error::BadAddress`]: not an address for users
    /// - [`Error::MissingArgument`]: no dataspace, though the backing needs one
    /// - [`Error::Range`]: behind the dataspace's end
    /// - [`Error::AccessDenied`]: writable view of a sealed dataspace
    /// - [`Error::NotFound`]: the dataspace's, or the space's, end has begun
    /// - [`Error::Exists`], [`Error::Busy`]: a region is there already (a UTCB, in the second case)
    /// - [`Error::NoSpace`]: the search found no range
    /// - [`Error::NoMemory`]
    pub fn attach(
        &self,
        start: u64,
        size: u64,
        access: Access,
        backing: Backing,
        dataspace: Option<(Ref<Dataspace>, u64)>,
        search: bool,
    ) -> Result<u64, Error> {
        let range = UserRange::new(start, size)?;
        let access = checked_access(access)?;
        let kind = Kind::from(backing);
        let dataspace = check_view(kind, access, size, dataspace)?;
        let mut inner = self.lock()?;
        inner.own_regions(self)?;
        let start = if search {
            inner.find_place(start, size, dataspace).ok_or(Error::NoSpace)?
        } else {
            inner.check_free(range)?;
            start
        };
        let plan = Plan {
            range: UserRange::new(start, size)?,
            kind,
            access,
            limit: access,
            dataspace,
        };
        let node = inner.add_region(self, &plan)?;
        inner.join_neighbours(&self.account, node);
        Ok(start)
    }

    /// The lock, while the space is in use.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the space's end has begun, [`Error::Busy`] if it is an image.
    pub(super) fn lock(&self) -> Result<Guard<'_, Inner>, Error> {
        let inner = self.inner.lock();
        match inner.phase {
            Phase::Live => Ok(inner),
            Phase::Freezing { .. } | Phase::Frozen => Err(Error::Busy),
            Phase::Ending | Phase::Gone => Err(Error::NotFound),
        }
    }

    /// Detaches what is attached in a range. Returns how many bytes are dealt with.
    ///
    /// # Errors
    /// [`Error::Busy`] at a UTCB, [`Error::NoMemory`] if a region has to be split and that can't be paid for; nothing
    /// is detached then by this call.
    pub fn detach(&self, start: u64, size: u64) -> Result<u64, Error> {
        let range = UserRange::new(start, size)?;
        let mut budget = PIECE;
        let mut at = range.start();
        while at < range.end() && budget > 0 {
            match self.detach_next(at, range.end(), &mut budget) {
                Ok(reached) => at = reached,
                Err(error) if at == range.start() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at - range.start())
    }

    /// Detaches from the first region at or behind `at`. Returns the first address that is not dealt with.
    fn detach_next(&self, at: u64, end: u64, budget: &mut u32) -> Result<u64, Error> {
        let mut inner = self.lock()?;
        let Some(region) = inner
            .regions
            .at_or_behind(at)
            .filter(|region| region.start() < end)
        else {
            return Ok(end);
        };
        if region.kind() == Kind::Utcb {
            return Err(Error::Busy);
        }
        *budget -= 1;
        let region = inner.own_region(self, region)?;
        let (from, to) = (at.max(region.start()), end.min(region.end()));
        let reached = inner.detach_part(self, region, from, to, budget);
        Inner::unlock_and_settle(inner);
        reached
    }

    /// Sets what may be done in a range, which regions cover without gaps. Returns how many bytes are dealt with.
    ///
    /// # Errors
    /// [`Error::Invalid`] for writable and executable at once, [`Error::AccessDenied`] for writable views of sealed
    /// dataspaces and of those that were not attached for writing, [`Error::NotFound`] at a gap, [`Error::Busy`] at a UTCB, [`Error::NoMemory`] if a region has to
    /// be split and that can't be paid for; nothing is changed then by this call.
    pub fn protect(&self, start: u64, size: u64, access: Access) -> Result<u64, Error> {
        let range = UserRange::new(start, size)?;
        let access = checked_access(access)?;
        let mut budget = PIECE;
        let mut inner = self.lock()?;
        inner.check_protect(range.start(), range.end(), access)?;
        inner.own_regions(self)?;
        let mut at = range.start();
        while at < range.end() && budget > 0 {
            match inner.protect_part(self, at, range.end(), access, &mut budget) {
                Ok(reached) => at = reached,
                Err(error) if at == range.start() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at - range.start())
    }

    /// Gives back the pages that the space owns in a range: anonymous memory reads as zeroes afterwards, private memory
    /// as its dataspace. Returns how many bytes are dealt with.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the space's end has begun, [`Error::NoMemory`] if a table that a snapshot shares has to be
    /// copied and that can't be paid for; nothing is given back then.
    pub fn discard(&self, start: u64, size: u64) -> Result<u64, Error> {
        let range = UserRange::new(start, size)?;
        let mut budget = PIECE;
        let inner = self.lock()?;
        let mut at = range.start();
        while at < range.end() && budget > 0 {
            let Some(region) = inner
                .regions
                .at_or_behind(at)
                .filter(|region| region.start() < range.end())
            else {
                at = range.end();
                break;
            };
            let (from, to) = (at.max(region.start()), range.end().min(region.end()));
            budget -= 1;
            if !matches!(region.kind(), Kind::Anonymous | Kind::Private) {
                at = to;
                continue;
            }
            match inner.unmap(self, from, to, &mut budget) {
                Ok(reached) => at = reached,
                Err(error) if at == range.start() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at - range.start())
    }

    /// The region that holds `address`, or the next one behind it.
    pub fn find(&self, address: u64) -> Option<RegionInfo> {
        let inner = self.inner.lock();
        inner.regions.at_or_behind(address).map(|region| RegionInfo {
            start: region.start(),
            size: region.end() - region.start(),
            access: region.access(),
            backing: region.kind().backing(),
        })
    }

    /// Maps a zeroed page for a thread's UTCB at a free address, in a region that only [`Self::unmap_utcb`] takes away,
    /// and returns its frame.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::BadAddress`] for addresses that can't be used, [`Error::Exists`] or
    /// [`Error::Busy`] if a region (a UTCB) is there, [`Error::NotFound`] if the space's end has begun,
    /// [`Error::NoMemory`].
    pub fn map_utcb(&self, address: u64) -> Result<PhysAddr, Error> {
        let range = UserRange::new(address, PAGE_SIZE)?;
        let mut inner = self.lock()?;
        inner.check_free(range)?;
        inner.own_regions(self)?;
        let plan = Plan {
            range,
            kind: Kind::Utcb,
            access: Access::READ_WRITE,
            limit: Access::READ_WRITE,
            dataspace: None,
        };
        let node = inner.add_region(self, &plan)?;
        let mapped = inner.map_owned(address, Access::READ_WRITE);
        if mapped.is_err() {
            inner.remove_region(&self.account, node);
        }
        mapped
    }

    /// Takes a UTCB's page away; its thread is gone.
    pub fn unmap_utcb(&self, address: u64) {
        let mut inner = self.inner.lock();
        if matches!(inner.phase, Phase::Freezing { .. } | Phase::Frozen) {
            // It goes with the image.
            return;
        }
        let Some(region) = inner
            .regions
            .find(address)
            .filter(|region| region.kind() == Kind::Utcb)
        else {
            return;
        };
        let live = inner.phase == Phase::Live;
        let (start, end) = (region.start(), region.end());
        let mut reclaim = Reclaim::new();
        inner.table.unmap(start, end, &mut { PIECE }, &mut reclaim);
        // A snapshot's region stays, as a place that is taken: taking it away would need memory.
        if !inner.regions.are_borrowed() {
            inner.remove_region(&self.account, region);
            inner.prune(start, end, &mut reclaim);
        }
        reclaim.finish(self.root, &self.account, live);
    }

    /// Gives everything back, in pieces, when no CPU uses the space any more. True when nothing is left.
    pub fn destroy_step(&self, budget: &mut u32) -> bool {
        let mut inner = self.inner.lock();
        if inner.phase == Phase::Gone {
            return true;
        }
        inner.phase = Phase::Ending;
        if !inner.release_memory(&self.account, budget) {
            return false;
        }
        drop(inner);
        while *budget > 0 {
            let mut inner = self.inner.lock();
            let Some(region) = inner.regions.any() else {
                inner.phase = Phase::Gone;
                inner.table.free_root(inner.holdings.root(), &self.account);
                return true;
            };
            *budget -= 1;
            inner.remove_region(&self.account, region);
            Inner::unlock_and_settle(inner);
        }
        false
    }

    /// Does a dataspace's work on its view that starts at `start`, as far as the budget goes. Nothing happens if that
    /// is no view of it any more.
    pub(super) fn visit_view(&self, start: u64, dataspace: &Dataspace, work: Work, budget: &mut u32) {
        let mut inner = self.inner.lock();
        let Some(region) = inner.regions.find(start) else {
            return;
        };
        if region.start() != start || !dataspace.is(region.dataspace()) {
            return;
        }
        if work == Work::Revoke && matches!(inner.phase, Phase::Freezing { .. } | Phase::Frozen) {
            // Copies of the image show it too: the image's end is theirs, and the view goes with it.
            drop(inner);
            if let Some(owner) = self.image_owner() {
                objects::delete(owner);
            }
            return;
        }
        let (from, to) = work_range(region, dataspace, work);
        let from = from.max(start + region.progress.get());
        let mut reclaim = Reclaim::new();
        let live = inner.phase == Phase::Live;
        let reached = match work {
            // No processor uses the tables any more. Those of an image may name frames that were given back already.
            _ if matches!(inner.phase, Phase::Ending | Phase::Gone) => to,
            Work::Seal => inner.table.protect(from, to, budget, &mut reclaim, |is_owned| {
                if is_owned {
                    region.access()
                } else {
                    region.access() - Access::WRITE
                }
            }),
            Work::Clear { .. } | Work::Revoke => inner.table.unmap(from, to, budget, &mut reclaim),
        };
        reclaim.finish(self.root, &self.account, live);
        if reached < to {
            region.progress.set(reached - start);
        } else if work == Work::Revoke {
            region.reserve();
            inner.leaving = dataspace.remove_view(region);
            inner.join_neighbours(&self.account, region);
            Inner::unlock_and_settle(inner);
        } else {
            dataspace.view_visited(region);
        }
    }
}

/// The addresses of a view that a work is about; empty if from ≥ to.
fn work_range(region: Node, dataspace: &Dataspace, work: Work) -> (u64, u64) {
    let Work::Clear { from, to } = work else {
        return (region.start(), region.end());
    };
    let first = region.offset_of(region.start());
    let address = |page: u64| {
        let offset = (page * PAGE_SIZE).clamp(first, first + (region.end() - region.start()));
        region.start() + (offset - first)
    };
    debug_assert!(to * PAGE_SIZE <= dataspace.size());
    (address(from), address(to))
}

fn check_view(
    kind: Kind,
    access: Access,
    size: u64,
    dataspace: Option<(Ref<Dataspace>, u64)>,
) -> Result<Option<(Ref<Dataspace>, u64)>, Error> {
    if !matches!(kind, Kind::Shared | Kind::Private) {
        return Ok(None);
    }
    let (dataspace, offset) = dataspace.ok_or(Error::MissingArgument)?;
    if !offset.is_multiple_of(PAGE_SIZE) {
        return Err(Error::Invalid);
    }
    if offset.checked_add(size).is_none_or(|end| end > dataspace.size()) {
        return Err(Error::Range);
    }
    match kind {
        Kind::Private if !dataspace.is_sealed() || dataspace.is_uncached() => Err(Error::Invalid),
        Kind::Shared if access.contains(Access::WRITE) && dataspace.is_sealed() => Err(Error::AccessDenied),
        _ => Ok(Some((dataspace, offset))),
    }
}
