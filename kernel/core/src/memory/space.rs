//! Address spaces: regions, and the page tables that are filled from them.
//!
//! Operations on large ranges are done in pieces: they return how much is done, and the caller asks again for the rest.
#![expect(
    unsafe_code,
    reason = "regions are freed by hand; views point to their spaces"
)]

use super::address::{PhysAddr, UserRange};
use super::dataspace::Dataspace;
use super::page_table::{Leaf, PageTable, Reclaim, SPAN_END};
use super::region::{Kind, Node, Plan, Regions};
use super::views::Work;
use crate::account::Account;
use crate::object::Ref;
use crate::sync::{Rank, SpinLock};
use core::ptr::NonNull;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};

/// Work of one piece, in pages, tables and regions.
const PIECE: u32 = 256;

/// A task's user addresses. It must stay where it is once it has a region: the views of dataspaces point to it.
pub struct AddressSpace {
    pub(super) account: Ref<Account>,
    root: PhysAddr,
    pub(super) inner: SpinLock<Inner>,
}

pub(super) struct Inner {
    pub(super) regions: Regions,
    pub(super) table: PageTable,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Live,
    Ending,
    Gone,
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
        let inner = Inner {
            regions: Regions::new(),
            table,
            phase: Phase::Live,
        };
        Ok(AddressSpace {
            account,
            root: table.root(),
            inner: SpinLock::new(Rank::Space, inner),
        })
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
    /// behind it. A dataspace is shown from an offset; a private region needs a sealed one.
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
        let start = if search {
            inner.regions.find_gap(start, size).ok_or(Error::NoSpace)?
        } else {
            inner.check_free(range)?;
            start
        };
        let plan = Plan {
            range: UserRange::new(start, size)?,
            kind,
            access,
            dataspace,
        };
        let node = inner.add_region(self, &plan)?;
        inner.join_neighbours(&self.account, node);
        Ok(start)
    }

    /// The lock, while the space is in use.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the space's end has begun.
    fn lock(&self) -> Result<crate::sync::Guard<'_, Inner>, Error> {
        let inner = self.inner.lock();
        if inner.phase == Phase::Live {
            Ok(inner)
        } else {
            Err(Error::NotFound)
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
        let mut inner = self.lock()?;
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
            let from = at.max(region.start());
            let step = if region.kind() == Kind::Utcb {
                Err(Error::Busy)
            } else {
                inner.detach_part(self, region, from, range.end().min(region.end()), &mut budget)
            };
            match step {
                Ok(reached) => at = reached,
                Err(error) if at == range.start() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(at - range.start())
    }

    /// Sets what may be done in a range, which regions cover without gaps. Returns how many bytes are dealt with.
    ///
    /// # Errors
    /// [`Error::Invalid`] for writable and executable at once, [`Error::AccessDenied`] for writable views of sealed
    /// dataspaces, [`Error::NotFound`] at a gap, [`Error::Busy`] at a UTCB, [`Error::NoMemory`] if a region has to
    /// be split and that can't be paid for; nothing is changed then by this call.
    pub fn protect(&self, start: u64, size: u64, access: Access) -> Result<u64, Error> {
        let range = UserRange::new(start, size)?;
        let access = checked_access(access)?;
        let mut budget = PIECE;
        let mut inner = self.lock()?;
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
    /// [`Error::NotFound`] if the space's end has begun.
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
            at = to;
            budget -= 1;
            if matches!(region.kind(), Kind::Anonymous | Kind::Private) {
                let mut reclaim = Reclaim::new();
                at = inner.table.unmap(from, to, &mut budget, &mut reclaim);
                reclaim.finish(self.root, &self.account, true);
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
        let plan = Plan {
            range,
            kind: Kind::Utcb,
            access: Access::READ_WRITE,
            dataspace: None,
        };
        let node = inner.add_region(self, &plan)?;
        let mapped = inner.map_owned(&self.account, address, Access::READ_WRITE);
        if mapped.is_err() {
            inner.remove_region(&self.account, node);
        }
        mapped
    }

    /// Takes a UTCB's page away; its thread is gone.
    pub fn unmap_utcb(&self, address: u64) {
        let mut inner = self.inner.lock();
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
        inner.remove_region(&self.account, region);
        inner.prune(start, end, &mut reclaim);
        reclaim.finish(self.root, &self.account, live);
    }

    /// Gives everything back, in pieces, when no CPU uses the space any more. True when nothing is left.
    pub fn destroy_step(&self, budget: &mut u32) -> bool {
        let mut inner = self.inner.lock();
        if inner.phase == Phase::Gone {
            return true;
        }
        inner.phase = Phase::Ending;
        while let Some(region) = inner.regions.at_or_behind(0) {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            // The result is how far it got, which the next round finds out by itself; whole regions need no memory.
            let _ = inner.detach_part(self, region, region.start(), region.end(), budget);
        }
        inner.phase = Phase::Gone;
        inner.table.free_root(&self.account);
        true
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
        let (from, to) = work_range(region, dataspace, work);
        let from = from.max(start + region.progress.get());
        let mut reclaim = Reclaim::new();
        let live = inner.phase == Phase::Live;
        let reached = match work {
            Work::Seal => inner.table.protect(from, to, budget, &mut reclaim, |leaf| {
                if leaf.is_owned() {
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
            dataspace.remove_view(region);
            inner.join_neighbours(&self.account, region);
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

impl Inner {
    /// Errors if a region overlaps the range.
    fn check_free(&self, range: UserRange) -> Result<(), Error> {
        let mut at = range.start();
        let mut result = Ok(());
        while let Some(region) = self
            .regions
            .at_or_behind(at)
            .filter(|region| region.start() < range.end())
        {
            if region.kind() == Kind::Utcb {
                return Err(Error::Busy);
            }
            result = Err(Error::Exists);
            at = region.end();
        }
        result
    }

    fn add_region(&mut self, space: &AddressSpace, plan: &Plan) -> Result<Node, Error> {
        let node = Regions::allocate(&space.account, space, plan)?;
        if let Some(dataspace) = node.dataspace()
            && let Err(error) = dataspace.add_view(node)
        {
            // SAFETY: The node was allocated above, and is in no tree and in no list.
            unsafe { Regions::free(&space.account, node) };
            return Err(error);
        }
        self.regions.insert(node);
        Ok(node)
    }

    fn remove_region(&mut self, account: &Account, node: Node) {
        self.regions.remove(node);
        if let Some(dataspace) = node.dataspace() {
            dataspace.remove_view(node);
        }
        // SAFETY: All regions of a space are allocated with its account, and this one has just left tree and list.
        unsafe { Regions::free(account, node) };
    }

    /// Makes one region of this one and its neighbours where they are alike.
    fn join_neighbours(&mut self, account: &Account, node: Node) {
        let mut node = node;
        if let Some(previous) = self.regions.before(node.start())
            && self.join(account, previous, node)
        {
            node = previous;
        }
        if let Some(next) = self.regions.find(node.end()) {
            self.join(account, node, next);
        }
    }

    fn join(&mut self, account: &Account, first: Node, second: Node) -> bool {
        if !first.continues_in(&second)
            || first
                .dataspace()
                .is_some_and(|dataspace| !dataspace.same_stage(first, second))
        {
            return false;
        }
        let end = second.end();
        self.remove_region(account, second);
        self.regions.resize(first, first.start(), end);
        true
    }

    /// Splits a region at an address inside of it and returns the second part.
    fn split(&mut self, space: &AddressSpace, region: Node, address: u64) -> Result<Node, Error> {
        let plan = Plan {
            range: UserRange::new(address, region.end() - address)?,
            kind: region.kind(),
            access: region.access(),
            dataspace: region
                .dataspace()
                .map(|dataspace| (dataspace, region.offset_of(address))),
        };
        let second = Regions::allocate(&space.account, space, &plan)?;
        let head = address - region.start();
        second.progress.set(region.progress.get().saturating_sub(head));
        region.progress.set(region.progress.get().min(head));
        self.regions.resize(region, region.start(), address);
        self.regions.insert(second);
        if let Some(dataspace) = region.dataspace() {
            dataspace.split_view(region, second);
        }
        Ok(second)
    }

    /// Detaches `from..to` of a region, as far as the budget goes. Returns the first address that is not dealt with.
    fn detach_part(
        &mut self,
        space: &AddressSpace,
        region: Node,
        from: u64,
        to: u64,
        budget: &mut u32,
    ) -> Result<u64, Error> {
        /// Pages that are certain to be unmapped at one go, so that a region's end can be cut off without a split.
        const SHORT: u64 = 32;
        let mut region = region;
        let cut_end = from > region.start() && to == region.end() && to - from <= SHORT * PAGE_SIZE;
        if from > region.start() && !cut_end {
            region = self.split(space, region, from)?;
        }
        let mut short_budget = SHORT as u32 + 8;
        let budget = if cut_end { &mut short_budget } else { budget };
        let mut reclaim = Reclaim::new();
        let reached = self.table.unmap(from, to, budget, &mut reclaim);
        if cut_end {
            debug_assert_eq!(reached, to);
            self.regions.resize(region, region.start(), from);
        } else if reached == region.end() {
            self.remove_region(&space.account, region);
        } else if reached > from {
            let progress = region.progress.get().saturating_sub(reached - from);
            region.progress.set(progress);
            self.regions.resize(region, reached, region.end());
        }
        self.prune(from, reached, &mut reclaim);
        reclaim.finish(space.root, &space.account, self.phase == Phase::Live);
        Ok(reached)
    }

    /// Frees the tables of a range without regions that no neighbour needs.
    fn prune(&self, start: u64, end: u64, reclaim: &mut Reclaim) {
        if start < end {
            let before = self.regions.before(start).map_or(0, |region| region.end());
            let behind = self
                .regions
                .at_or_behind(end)
                .map_or(SPAN_END, |region| region.start());
            self.table.prune(start, end, (before, behind), reclaim);
        }
    }

    /// Sets the access of a part of the region at `at`. Returns the first address that is not dealt with.
    fn protect_part(
        &mut self,
        space: &AddressSpace,
        at: u64,
        end: u64,
        access: Access,
        budget: &mut u32,
    ) -> Result<u64, Error> {
        let region = self.regions.find(at).ok_or(Error::NotFound)?;
        let sealed = region.dataspace().is_some_and(|dataspace| dataspace.is_sealed());
        match region.kind() {
            Kind::Utcb => return Err(Error::Busy),
            Kind::Shared if sealed && access.contains(Access::WRITE) => return Err(Error::AccessDenied),
            _ => {}
        }
        *budget = budget.saturating_sub(4);
        let end = end.min(region.end());
        if region.access() == access {
            return Ok(end);
        }
        // How far one piece gets has to be known before the region is split there.
        let end = self.table.visit(at, end, &mut { PIECE }, |_, _| true);
        let region = self.carve(space, region, at, end)?;
        region.set_access(access);
        let read_only = access - Access::WRITE;
        let shared_writable = region.kind() == Kind::Shared && !sealed;
        let mut reclaim = Reclaim::new();
        let mut cost = u32::MAX;
        self.table.protect(at, end, &mut cost, &mut reclaim, |leaf| {
            if leaf.is_owned() || shared_writable {
                access
            } else {
                read_only
            }
        });
        *budget = budget.saturating_sub(u32::MAX - cost);
        reclaim.finish(space.root, &space.account, true);
        self.join_neighbours(&space.account, region);
        Ok(end)
    }

    /// Makes `start..end`, which lies in `region`, a region of its own. Nothing changed if that fails.
    fn carve(&mut self, space: &AddressSpace, region: Node, start: u64, end: u64) -> Result<Node, Error> {
        let mut part = region;
        if start > region.start() {
            part = self.split(space, region, start)?;
        }
        if end < part.end()
            && let Err(error) = self.split(space, part, end)
        {
            self.join_neighbours(&space.account, part);
            return Err(error);
        }
        Ok(part)
    }

    /// Maps a new zeroed page that the space owns.
    pub(super) fn map_owned(
        &self,
        account: &Account,
        address: u64,
        access: Access,
    ) -> Result<PhysAddr, Error> {
        let frame = account.allocate_frame(true)?;
        let leaf = Leaf::owned(frame, access);
        match self.table.slot(address) {
            Ok(slot) => slot.set(leaf),
            Err(missing) => PageTable::install(missing, address, leaf, account)
                .inspect_err(|_| account.free_frame(frame))?,
        }
        Ok(frame)
    }
}
