//! Changes to the regions of an address space, together with their pages; its lock is held.
#![expect(unsafe_code, reason = "regions are freed by hand; pages are copied")]

use super::address::{PhysAddr, UserRange};
use super::dataspace::Leaving;
use super::frame;
use super::holdings::Holdings;
use super::page_table::{Leaf, Missing, PageTable, Reclaim, Records, SPAN_END, Slot, TABLE_SPAN};
use super::region::{Kind, Node, Plan, Regions};
use super::space::{AddressSpace, PIECE};
use crate::account::Account;
use crate::machine::machine_copy_page;
use crate::object::Ref;
use crate::sync::Guard;
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

/// What the lock of an address space guards.
pub(super) struct Inner {
    pub(super) regions: Regions,
    pub(super) table: PageTable,
    pub(super) holdings: Holdings,
    /// The space began as a copy of an image: some tables may be the image's.
    shares_tables: bool,
    /// What an image owns.
    pub(super) records: Records,
    pub(super) phase: Phase,
    /// While a space ends whose holdings are not known: everything below this address is given back.
    released: u64,
    /// A dataspace whose last user was a region that has gone, to be settled by who lets go of the lock.
    pub(super) leaving: Option<Leaving>,
}

/// How far a space's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Live,
    /// Becoming an image; what lies below this address shows no changing dataspace any more.
    Freezing {
        unshared: u64,
    },
    /// An image.
    Frozen,
    Ending,
    Gone,
}

impl Inner {
    pub(super) fn new(account: Ref<Account>, table: PageTable, regions: Regions) -> Inner {
        Inner {
            shares_tables: regions.are_borrowed(),
            regions,
            table,
            holdings: Holdings::new(account),
            records: Records::new(),
            phase: Phase::Live,
            released: 0,
            leaving: None,
        }
    }

    /// Lets go of the lock and does what a region that went has left to do.
    pub(super) fn unlock_and_settle(mut inner: Guard<'_, Inner>) {
        let leaving = inner.leaving.take();
        drop(inner);
        Leaving::settle(leaving);
    }

    /// Errors if a region overlaps the range.
    pub(super) fn check_free(&self, range: UserRange) -> Result<(), Error> {
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

    pub(super) fn add_region(&mut self, space: &AddressSpace, plan: &Plan) -> Result<Node, Error> {
        let node = Regions::allocate(&space.account, space, plan)?;
        if let Some(dataspace) = node.dataspace()
            && let Err(error) = dataspace.add_view(node)
        {
            // SAFETY: The node was allocated above, and is in no tree and in no list.
            unsafe { Regions::free(&space.account, node) };
            return Err(error);
        }
        node.set_registered(node.dataspace().is_some());
        self.regions.insert(node);
        Ok(node)
    }

    /// Makes the regions the space's own, if they are a snapshot's: before anything about them changes.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::NotFound`] if the end of a dataspace has begun that is shown unsealed. Then nothing has
    /// changed.
    #[inline]
    pub(super) fn own_regions(&mut self, space: &AddressSpace) -> Result<(), Error> {
        if self.regions.are_borrowed() {
            self.copy_regions(space)
        } else {
            Ok(())
        }
    }

    /// The same for one region, which is then found again.
    pub(super) fn own_region(&mut self, space: &AddressSpace, region: Node) -> Result<Node, Error> {
        if !self.regions.are_borrowed() {
            return Ok(region);
        }
        let start = region.start();
        self.copy_regions(space)?;
        self.regions.find(start).ok_or(Error::NotFound)
    }

    /// Unmaps the pages of `from..to` in a region, as far as the budget goes. Returns the first address that is not dealt
    /// with.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if a table that a snapshot shares has to be copied and that can't be paid for; nothing is
    /// unmapped then.
    pub(super) fn unmap(
        &self,
        space: &AddressSpace,
        from: u64,
        to: u64,
        budget: &mut u32,
    ) -> Result<u64, Error> {
        let mut reclaim = Reclaim::new();
        let result = self.unmap_into(from, to, budget, &mut reclaim);
        reclaim.finish(space.root(), &space.account, self.phase == Phase::Live);
        result
    }

    fn unmap_into(&self, from: u64, to: u64, budget: &mut u32, reclaim: &mut Reclaim) -> Result<u64, Error> {
        let to = if self.shares_tables {
            self.table
                .own_range(from, to, true, budget, (&self.holdings, reclaim))?
        } else {
            to
        };
        Ok(self.table.unmap(from, to, budget, reclaim))
    }

    #[cold]
    fn copy_regions(&mut self, space: &AddressSpace) -> Result<(), Error> {
        let borrowed = core::mem::replace(&mut self.regions, Regions::new());
        let mut at = 0;
        while let Some(region) = borrowed.at_or_behind(at) {
            at = region.end();
            if let Err(error) = self.copy_region(space, region) {
                while let Some(node) = self.regions.any() {
                    self.remove_region(&space.account, node);
                    // The snapshot shows the dataspace as well, so this was not the last view.
                    debug_assert!(self.leaving.is_none());
                }
                self.regions = borrowed;
                return Err(error);
            }
        }
        Ok(())
    }

    fn copy_region(&mut self, space: &AddressSpace, region: Node) -> Result<(), Error> {
        let node = Regions::allocate(&space.account, space, &region.plan_from(region.start())?)?;
        if region.shows_unsealed()
            && let Some(dataspace) = region.dataspace()
        {
            if let Err(error) = dataspace.add_copied_view(node) {
                // SAFETY: The node was allocated above, and is in no tree and in no list.
                unsafe { Regions::free(&space.account, node) };
                return Err(error);
            }
            node.set_registered(true);
        }
        self.regions.insert(node);
        Ok(())
    }

    pub(super) fn remove_region(&mut self, account: &Account, node: Node) {
        self.regions.remove(node);
        if let Some(dataspace) = node.dataspace().filter(|_| node.is_registered()) {
            debug_assert!(self.leaving.is_none(), "settled before the next region goes");
            self.leaving = dataspace.remove_view(node);
        }
        // SAFETY: All regions of a space are allocated with its account, and this one has just left tree and list.
        unsafe { Regions::free(account, node) };
    }

    /// Makes one region of this one and its neighbours where they are alike.
    pub(super) fn join_neighbours(&mut self, account: &Account, node: Node) {
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
        let plan = region.plan_from(address)?;
        let second = Regions::allocate(&space.account, space, &plan)?;
        let head = address - region.start();
        second.progress.set(region.progress.get().saturating_sub(head));
        region.progress.set(region.progress.get().min(head));
        self.regions.resize(region, region.start(), address);
        self.regions.insert(second);
        if let Some(dataspace) = region.dataspace().filter(|_| region.is_registered()) {
            dataspace.split_view(region, second);
            second.set_registered(true);
        }
        Ok(second)
    }

    /// Detaches `from..to` of a region, as far as the budget goes. Returns the first address that is not dealt with.
    pub(super) fn detach_part(
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
        let reached = match self.unmap_into(from, to, budget, &mut reclaim) {
            Ok(reached) => reached,
            Err(error) => {
                self.join_neighbours(&space.account, region);
                return Err(error);
            }
        };
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
        reclaim.finish(space.root(), &space.account, self.phase == Phase::Live);
        Ok(reached)
    }

    /// Frees the pages and tables of a space that ends, all but the root. True when nothing is left.
    pub(super) fn release_memory(&mut self, account: &Account, budget: &mut u32) -> bool {
        if !self.records.release(budget, account) {
            return false;
        }
        if !self.holdings.is_complete() {
            let done = self.table.release_all(&mut self.released, budget, account);
            if done {
                self.holdings.clear();
            }
            return done;
        }
        if self.holdings.has_ahead() {
            self.release_ahead(account, budget);
        }
        while *budget > 0 {
            let Some(holding) = self.holdings.pop() else {
                return true;
            };
            *budget -= 1;
            self.table.release(holding, account);
        }
        false
    }

    /// Frees the tables of a range without regions that no neighbour needs.
    pub(super) fn prune(&self, start: u64, end: u64, reclaim: &mut Reclaim) {
        if start >= end {
            return;
        }
        let before = self.regions.before(start).map_or(0, |region| region.end());
        let behind = self
            .regions
            .at_or_behind(end)
            .map_or(SPAN_END, |region| region.start());
        // The usual case: a neighbour is so near that it needs all the tables.
        let (first, last) = (start & !(TABLE_SPAN - 1), (end - 1) & !(TABLE_SPAN - 1));
        if first != last || (before <= first && first + TABLE_SPAN <= behind) {
            self.table.prune(start, end, (before, behind), reclaim);
        }
    }

    /// Tells whether regions cover `start..end` without gaps and each may be used as `access` says.
    pub(super) fn check_protect(&self, start: u64, end: u64, access: Access) -> Result<(), Error> {
        let mut at = start;
        while at < end {
            let region = self.regions.find(at).ok_or(Error::NotFound)?;
            match region.kind() {
                Kind::Utcb => return Err(Error::Busy),
                // The right to write was checked when the region was attached for writing, and only then.
                Kind::Shared if access.contains(Access::WRITE) => {
                    let sealed = region.dataspace().is_some_and(|dataspace| dataspace.is_sealed());
                    if sealed || !region.limit().contains(Access::WRITE) {
                        return Err(Error::AccessDenied);
                    }
                }
                _ => {}
            }
            at = region.end();
        }
        Ok(())
    }

    /// Sets the access of a part of the region at `at`. Returns the first address that is not dealt with.
    pub(super) fn protect_part(
        &mut self,
        space: &AddressSpace,
        at: u64,
        end: u64,
        access: Access,
        budget: &mut u32,
    ) -> Result<u64, Error> {
        let region = self.regions.find(at).ok_or(Error::NotFound)?;
        let sealed = region.dataspace().is_some_and(|dataspace| dataspace.is_sealed());
        if region.kind() == Kind::Shared && sealed && access.contains(Access::WRITE) {
            return Err(Error::AccessDenied);
        }
        *budget = budget.saturating_sub(4);
        let end = end.min(region.end());
        if region.access() == access {
            return Ok(end);
        }
        // How far one piece gets has to be known before the region is split there.
        let end = self.own_piece(at, end)?;
        let region = self.carve(space, region, at, end)?;
        region.set_access(access);
        let read_only = access - Access::WRITE;
        let shared_writable = region.kind() == Kind::Shared && !sealed;
        let mut reclaim = Reclaim::new();
        let mut cost = u32::MAX;
        self.table.protect(at, end, &mut cost, &mut reclaim, |is_owned| {
            if is_owned || shared_writable {
                access
            } else {
                read_only
            }
        });
        *budget = budget.saturating_sub(u32::MAX - cost);
        reclaim.finish(space.root(), &space.account, true);
        self.join_neighbours(&space.account, region);
        Ok(end)
    }

    /// Finds the end of a piece of `at..end` whose pages can be changed at one go, in tables of the space's own.
    fn own_piece(&self, at: u64, end: u64) -> Result<u64, Error> {
        let end = self.table.visit(at, end, &mut { PIECE }, |_| true);
        if !self.shares_tables {
            return Ok(end);
        }
        let mut reclaim = Reclaim::new();
        // Nothing is unlinked, so nothing has to be reclaimed.
        self.table
            .own_range(at, end, false, &mut { PIECE }, (&self.holdings, &mut reclaim))
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

    /// Maps a new zeroed page that the space owns where nothing is mapped.
    pub(super) fn map_owned(&self, address: u64, access: Access) -> Result<PhysAddr, Error> {
        let place = self.table.own_slot(address, &self.holdings)?;
        let frame = self.holdings.take_page(address, true)?;
        self.link(place, address, Leaf::owned(frame, access))?;
        Ok(frame)
    }

    /// Makes an entry map a page that was taken for it, and that it owns; on an error the page is given back.
    #[inline]
    pub(super) fn link(
        &self,
        place: Result<Slot<'_>, Missing>,
        address: u64,
        leaf: Leaf,
    ) -> Result<(), Error> {
        match place {
            Ok(slot) => {
                slot.set(leaf);
                Ok(())
            }
            Err(missing) => PageTable::install(missing, address, leaf, &self.holdings)
                .inspect_err(|_| self.holdings.give_back(leaf.frame())),
        }
    }

    /// A page of the space's own with the contents of a frame that somebody else keeps.
    #[inline(always)]
    pub(super) fn copy_of(&self, address: u64, kept: PhysAddr) -> Result<PhysAddr, Error> {
        Inner::copy_to(kept, |zeroed| self.holdings.take_page(address, zeroed))
    }

    /// The same in a frame that `take` gives: zeroed, or with unknown contents.
    #[inline(always)]
    pub(super) fn copy_to(
        kept: PhysAddr,
        take: impl Fn(bool) -> Result<PhysAddr, Error>,
    ) -> Result<PhysAddr, Error> {
        if kept == frame::zeroes() {
            return take(true);
        }
        let copy = take(false)?;
        // SAFETY: The new frame is ours alone; the other one stays as it is as long as an entry shows it.
        unsafe { machine_copy_page(copy, kept) };
        Ok(copy)
    }
}
