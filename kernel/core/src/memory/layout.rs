//! Changes to the regions of an address space, together with their pages; its lock is held.
#![expect(unsafe_code, reason = "regions are freed by hand")]

use super::address::{PhysAddr, UserRange};
use super::dataspace::Leaving;
use super::page_table::{Leaf, PageTable, Reclaim, SPAN_END, TABLE_SPAN};
use super::region::{Kind, Node, Plan, Regions};
use super::space::{AddressSpace, PIECE};
use crate::account::Account;
use crate::sync::Guard;
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

/// What the lock of an address space guards.
pub(super) struct Inner {
    pub(super) regions: Regions,
    pub(super) table: PageTable,
    pub(super) phase: Phase,
    /// A dataspace whose last user was a region that has gone, to be settled by who lets go of the lock.
    pub(super) leaving: Option<Leaving>,
}

/// How far a space's life is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Live,
    Ending,
    Gone,
}

impl Inner {
    pub(super) fn new(table: PageTable) -> Inner {
        Inner {
            regions: Regions::new(),
            table,
            phase: Phase::Live,
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
        self.regions.insert(node);
        Ok(node)
    }

    pub(super) fn remove_region(&mut self, account: &Account, node: Node) {
        self.regions.remove(node);
        if let Some(dataspace) = node.dataspace() {
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
        let plan = Plan {
            range: UserRange::new(address, region.end() - address)?,
            kind: region.kind(),
            access: region.access(),
            limit: region.limit(),
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
        reclaim.finish(space.root(), &space.account, self.phase == Phase::Live);
        Ok(reached)
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
        reclaim.finish(space.root(), &space.account, true);
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
