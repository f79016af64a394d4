//! The regions that show a dataspace, and work that has to visit all of them.
//!
//! Work is a part of the dataspace's state, so that it can be left and taken up again, and so that whoever is in its way
//! (a fault in a range that is being cleared) helps to finish it. Views that were visited have the list's colour and
//! stand behind those that were not, so the next one to visit is always the first.

use super::dataspace::{Dataspace, Leaving, State};
use super::region::Node;
use super::space::AddressSpace;
use crate::object::Ref;
use l4::Error;

/// What is being done to all views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Take away the right to write.
    Seal,
    /// Unmap the pages `from..to`, then free them.
    Clear { from: u64, to: u64 },
    /// Unmap everything and leave the ranges reserved.
    Revoke,
}

impl Work {
    /// Tells whether a page may not be mapped now.
    pub(super) fn blocks(self, page: u64) -> bool {
        match self {
            Work::Seal => false,
            Work::Clear { from, to } => (from..to).contains(&page),
            Work::Revoke => true,
        }
    }
}

/// The views of a dataspace.
pub(super) struct ViewList {
    head: Option<Node>,
    tail: Option<Node>,
    /// The colour of views that need no visit.
    colour: bool,
}

impl ViewList {
    pub(super) const fn new() -> ViewList {
        ViewList {
            head: None,
            tail: None,
            colour: false,
        }
    }

    /// Puts a view behind another one, or first.
    fn insert_behind(&mut self, previous: Option<Node>, node: Node) {
        let next = match previous {
            Some(previous) => previous.view.next.replace(Some(node)),
            None => self.head.replace(node),
        };
        node.view.previous.set(previous);
        node.view.next.set(next);
        match next {
            Some(next) => next.view.previous.set(Some(node)),
            None => self.tail = Some(node),
        }
    }

    fn push(&mut self, node: Node) {
        node.view.colour.set(self.colour);
        self.insert_behind(self.tail, node);
    }

    fn unlink(&mut self, node: Node) {
        let (previous, next) = (node.view.previous.take(), node.view.next.take());
        match previous {
            Some(previous) => previous.view.next.set(next),
            None => self.head = next,
        }
        match next {
            Some(next) => next.view.previous.set(previous),
            None => self.tail = previous,
        }
    }

    fn next_to_visit(&self) -> Option<Node> {
        self.head.filter(|node| node.view.colour.get() != self.colour)
    }
}

impl Dataspace {
    /// Enters a region that shows the dataspace. The caller holds the lock of the region's space, as in the next three.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the dataspace's end has begun.
    pub(super) fn add_view(&self, node: Node) -> Result<(), Error> {
        let mut state = self.state.lock();
        self.add_user(&mut state)?;
        state.views.push(node);
        Ok(())
    }

    /// Enters a copy of a region that is entered, and stays so meanwhile.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the dataspace is being taken from its views.
    pub(super) fn add_copied_view(&self, node: Node) -> Result<(), Error> {
        let mut state = self.state.lock();
        if self.is_deleted() {
            return Err(Error::NotFound);
        }
        self.add_further_user(&mut state);
        state.views.push(node);
        Ok(())
    }

    /// Takes a region out.
    #[must_use]
    pub(super) fn remove_view(&self, node: Node) -> Option<Leaving> {
        let mut state = self.state.lock();
        state.views.unlink(node);
        self.remove_user(&mut state)
    }

    /// Enters the second part of a region that was split.
    pub(super) fn split_view(&self, first: Node, second: Node) {
        let mut state = self.state.lock();
        second.view.colour.set(first.view.colour.get());
        state.views.insert_behind(Some(first), second);
        self.add_further_user(&mut state);
    }

    /// Tells whether two regions are at the same stage of the present work, so that they may become one.
    pub(super) fn same_stage(&self, one: Node, other: Node) -> bool {
        let _state = self.state.lock();
        one.view.colour.get() == other.view.colour.get()
            && one.progress.get() == 0
            && other.progress.get() == 0
    }

    /// Makes the contents immutable for ever: writable views become read-only. True when that is done; otherwise the
    /// budget is used up and the caller calls again.
    ///
    /// # Errors
    /// [`Error::Invalid`] for device memory.
    pub fn seal(&self, budget: &mut u32) -> Result<bool, Error> {
        if self.is_uncached() {
            return Err(Error::Invalid);
        }
        if self.is_sealed() {
            return self.advance(budget);
        }
        if !self.begin(Work::Seal, budget) {
            return Ok(false);
        }
        self.advance(budget)
    }

    /// Zeroes the page-aligned range of `size` bytes at `offset` and frees its frames. Returns how many bytes are
    /// done; if less than `size`, the caller calls again for the rest (0 means that the budget was used up).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the range is not page aligned or the dataspace is fixed, [`Error::AccessDenied`] if
    /// it is sealed, [`Error::Range`] if the range is not within it, [`Error::NoMemory`].
    pub fn clear(&self, offset: u64, size: u64, budget: &mut u32) -> Result<u64, Error> {
        /// Pages of one piece.
        const PIECE: u64 = 64;
        if !(offset | size).is_multiple_of(l4::PAGE_SIZE) || self.is_fixed() {
            return Err(Error::Invalid);
        }
        if offset.checked_add(size).is_none_or(|end| end > self.size()) {
            return Err(Error::Range);
        }
        let (first, end) = (offset / l4::PAGE_SIZE, (offset + size) / l4::PAGE_SIZE);
        let mut from = first;
        while from < end && *budget > 0 {
            if self.is_sealed() {
                return Err(Error::AccessDenied);
            }
            let to = end.min(from + PIECE);
            let work = Work::Clear { from, to };
            if self.pages_to_clear(from, to) && !(self.begin(work, budget) && self.advance(budget)?) {
                break;
            }
            *budget = budget.saturating_sub(8);
            from = to;
        }
        Ok((from - first) * l4::PAGE_SIZE)
    }

    fn pages_to_clear(&self, from: u64, to: u64) -> bool {
        let state = self.state.lock();
        state.work == Some(Work::Clear { from, to }) || self.has_frames(from, to)
    }

    /// Takes the dataspace from all its views. True when that is done.
    pub(super) fn revoke(&self, budget: &mut u32) -> bool {
        if self.state.lock().views.head.is_none() {
            return true;
        }
        self.begin(Work::Revoke, budget) && self.advance(budget) == Ok(true)
    }

    /// Tells whether it is being taken from its views: nothing of it may be mapped any more. For the holder of a lock of a
    /// space that has a view of it.
    #[inline]
    pub(super) fn is_being_revoked(&self) -> bool {
        self.is_deleted() && self.state.lock().work == Some(Work::Revoke)
    }

    /// Makes `work` the present work, after what is under way is finished. False if the budget is used up.
    fn begin(&self, work: Work, budget: &mut u32) -> bool {
        loop {
            let mut state = self.state.lock();
            match state.work {
                None => {
                    if work == Work::Seal {
                        self.set_sealed();
                    }
                    state.views.colour = !state.views.colour;
                    state.work = Some(work);
                    return true;
                }
                Some(present) if present == work => return true,
                Some(_) => drop(state),
            }
            // Who began the other work is told of its failure when he comes back to it.
            if self.advance(budget) == Ok(false) {
                return false;
            }
        }
    }

    /// Gets on with the present work. True if none is left.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if the work failed and was given up.
    pub(super) fn advance(&self, budget: &mut u32) -> Result<bool, Error> {
        loop {
            let mut state = self.state.lock();
            let Some(work) = state.work else { return Ok(true) };
            if *budget == 0 {
                return Ok(false);
            }
            *budget -= 1;
            let Some(node) = state.views.next_to_visit() else {
                let result = self.conclude(&state, work);
                if result != Ok(false) {
                    state.work = None;
                }
                return result;
            };
            let (space, start) = (node.space(), node.start());
            drop(state);
            AddressSpace::of_view(space).visit_view(start, self, work, budget);
        }
    }

    /// What is left of a work when all views were visited. False if it has to wait for a pin.
    fn conclude(&self, state: &State, work: Work) -> Result<bool, Error> {
        let Work::Clear { from, to } = work else {
            return Ok(true);
        };
        if state.pins > 0 {
            return Ok(false);
        }
        (from..to).try_for_each(|page| self.drop_page(state, page))?;
        Ok(true)
    }

    /// Notes that a view was visited.
    pub(super) fn view_visited(&self, node: Node) {
        let mut state = self.state.lock();
        node.progress.set(0);
        state.views.unlink(node);
        state.views.push(node);
    }

    /// Tells whether two references are to the same dataspace.
    pub(super) fn is(&self, other: Option<Ref<Dataspace>>) -> bool {
        other.is_some_and(|other| core::ptr::eq(other.as_ptr(), self))
    }
}
