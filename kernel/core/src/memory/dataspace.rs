//! Dataspaces: memory with a size, shown by regions of any number of tasks.
//!
//! Contents are zeroes that get frames on demand, fixed frames (a boot module, a device), or those of a sealed parent
//! until they are written (copy on write). Rules that keep it simple:
//! - A page of an unsealed dataspace that some task has mapped is a frame of the dataspace's own. So what a parent has
//!   is mapped only through sealed dataspaces, and no mapping has to change when a page gets a frame.
//! - A sealed dataspace's frames stay as they are until it ends, so they are found without its lock.
//! - It is used by its views and its children. Its frames go when the last user has gone; until then they are charged
//!   to its account. Deleting it takes it from its users.
#![expect(unsafe_code, reason = "kernel objects refer to each other; frames are filled")]

use super::address::PhysAddr;
use super::frame;
use super::frame_tree::{FrameTree, Page};
use super::views::{ViewList, Work};
use crate::account::Account;
use crate::machine::machine_copy_page;
use crate::object::{Header, Kind, Making, Object, Ref};
use crate::sync::{Rank, SpinLock};
use crate::{objects, reaper};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use l4::{Error, PAGE_SIZE};

/// Most generations of copy-on-write children, so that a look-up stays short.
pub const MAX_DEPTH: u8 = 8;

/// Where contents come from that the dataspace has no frame of its own for.
enum Source {
    Zeroes,
    Fixed {
        base: PhysAddr,
        uncached: bool,
    },
    /// Counted: the parent knows its children.
    Parent(Ref<Dataspace>),
}

/// A dataspace.
#[repr(C)]
pub struct Dataspace {
    /// The object's header.
    pub header: Header,
    pages: u64,
    source: Source,
    /// Generations above.
    depth: u8,
    sealed: AtomicBool,
    deleted: AtomicBool,
    /// Neighbours among the parent's children, guarded by the parent's lock.
    next_sibling: AtomicPtr<Dataspace>,
    previous_sibling: AtomicPtr<Dataspace>,
    pub(super) frames: FrameTree,
    pub(super) state: SpinLock<State>,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Dataspace {
    const KIND: Kind = Kind::Dataspace;
}

/// What the dataspace's lock guards.
pub(super) struct State {
    pub(super) views: ViewList,
    /// Work on the views that is under way; whoever is in its way helps.
    pub(super) work: Option<Work>,
    /// Views and children. While there are any, one reference is counted for all of them.
    users: u32,
    /// The object's end was reached with users left: the last one hands it to the reaper again.
    orphaned: bool,
    /// Operations that read frames without the lock.
    pub(super) pins: u32,
    /// First child.
    children: Option<Ref<Dataspace>>,
}

/// What is left to do when a dataspace's last user has gone.
pub(super) struct Leaving {
    dataspace: Ref<Dataspace>,
    /// The object's end has been reached before.
    orphaned: bool,
}

impl Leaving {
    /// Does it; no lock is held.
    pub(super) fn settle(leaving: Option<Leaving>) {
        let Some(Leaving { dataspace, orphaned }) = leaving else {
            return;
        };
        if orphaned {
            // The users' reference becomes the reaper's.
            reaper::reopen(dataspace.erase());
        } else {
            dataspace.release();
        }
    }
}

/// What [`Dataspace::info`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataspaceInfo {
    /// Size in bytes, a multiple of the page size.
    pub size: u64,
    /// Immutable for ever.
    pub sealed: bool,
    /// Backed by fixed frames.
    pub fixed: bool,
}

/// A page as a region shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) frame: PhysAddr,
    pub(super) writable: bool,
    pub(super) uncached: bool,
}

/// Why a page can't be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageError {
    NoMemory,
    /// Work on the views has to be finished first.
    Busy,
}

impl Dataspace {
    fn new(header: Header, pages: u64, source: Source, sealed: bool) -> Dataspace {
        let depth = if let Source::Parent(parent) = &source {
            parent.depth + 1
        } else {
            0
        };
        Dataspace {
            header,
            pages,
            source,
            depth,
            sealed: AtomicBool::new(sealed),
            deleted: AtomicBool::new(false),
            next_sibling: AtomicPtr::new(core::ptr::null_mut()),
            previous_sibling: AtomicPtr::new(core::ptr::null_mut()),
            frames: FrameTree::new(pages),
            state: SpinLock::new(
                Rank::Dataspace,
                State {
                    views: ViewList::new(),
                    work: None,
                    users: 0,
                    orphaned: false,
                    pins: 0,
                    children: None,
                },
            ),
        }
    }

    fn page_count(size: u64) -> Result<u64, Error> {
        let pages = size.div_ceil(PAGE_SIZE);
        if pages == 0 || pages > FrameTree::MAX_PAGES {
            Err(Error::Invalid)
        } else {
            Ok(pages)
        }
    }

    /// Creates a dataspace of `size` bytes (rounded up to pages) that reads as zeroes.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the size is 0 or too large, [`Error::NoMemory`].
    pub fn create(account: Ref<Account>, size: u64) -> Result<Ref<Dataspace>, Error> {
        let pages = Self::page_count(size)?;
        Account::create(account, |header| {
            Dataspace::new(header, pages, Source::Zeroes, false)
        })
    }

    /// Creates a dataspace that shows `size` bytes of physical memory from the page-aligned address `base`, which are
    /// nobody else's for ever. `uncached` is for devices; the kernel then neither reads nor writes it.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `base` is not aligned or the size is 0 or too large, [`Error::NoMemory`].
    pub fn create_fixed(
        account: Ref<Account>,
        base: PhysAddr,
        size: u64,
        sealed: bool,
        uncached: bool,
    ) -> Result<Ref<Dataspace>, Error> {
        let pages = Self::page_count(size)?;
        if !base.0.is_multiple_of(PAGE_SIZE) {
            return Err(Error::Invalid);
        }
        let source = Source::Fixed { base, uncached };
        Account::create(account, |header| Dataspace::new(header, pages, source, sealed))
    }

    /// Creates a copy-on-write child, as large as its sealed parent.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the parent is not sealed, [`Error::Range`] if it is [`MAX_DEPTH`] generations deep,
    /// [`Error::NotFound`] if its end has begun, [`Error::NoMemory`].
    pub fn create_child(account: Ref<Account>, parent: Ref<Dataspace>) -> Result<Ref<Dataspace>, Error> {
        if !parent.is_sealed() || parent.is_uncached() {
            return Err(Error::Invalid);
        }
        if parent.depth >= MAX_DEPTH {
            return Err(Error::Range);
        }
        // As a user, so that the parent stays while the child does not exist yet.
        parent.add_user(&mut parent.state.lock())?;
        let made = Account::begin(account, |header| {
            Dataspace::new(header, parent.pages, Source::Parent(parent), false)
        });
        match &made {
            Ok(making) => parent.link_child(making.object()),
            Err(_) => {
                let leaving = parent.remove_user(&mut parent.state.lock());
                Leaving::settle(leaving);
            }
        }
        made.map(Making::finish)
    }

    fn me(&self) -> Ref<Dataspace> {
        // SAFETY: Dataspaces are made by `Account::create` only, so this one is an object at its place.
        unsafe { Ref::from_raw(NonNull::from_ref(self)) }
    }

    /// Size and state.
    pub fn info(&self) -> DataspaceInfo {
        DataspaceInfo {
            size: self.size(),
            sealed: self.is_sealed(),
            fixed: matches!(self.source, Source::Fixed { .. }),
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.pages * PAGE_SIZE
    }

    /// Tells whether the contents are immutable.
    #[inline]
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    pub(super) fn set_sealed(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Tells whether it shows a device.
    pub(super) fn is_uncached(&self) -> bool {
        matches!(self.source, Source::Fixed { uncached: true, .. })
    }

    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.source, Source::Fixed { .. })
    }

    pub(super) fn account(&self) -> Option<Ref<Account>> {
        self.header.account()
    }

    /// The frame that holds a page, `None` if the page is all zeroes. Without the lock this is only for sealed and for
    /// pinned dataspaces.
    pub(super) fn find_frame(&self, page: u64) -> Option<PhysAddr> {
        let mut dataspace = self;
        loop {
            match dataspace.frames.get(page) {
                Page::Own(frame) => return Some(frame),
                Page::Hidden => return None,
                Page::Absent => {}
            }
            match &dataspace.source {
                Source::Zeroes => return None,
                Source::Fixed { base, .. } => return Some(PhysAddr(base.0 + page * PAGE_SIZE)),
                Source::Parent(parent) => dataspace = parent,
            }
        }
    }

    /// The frame that a page of a sealed dataspace shows.
    #[inline]
    pub(super) fn sealed_frame(&self, page: u64) -> PhysAddr {
        match self.source {
            Source::Fixed { base, .. } => PhysAddr(base.0 + page * PAGE_SIZE),
            _ => self.find_frame(page).unwrap_or_else(frame::zeroes),
        }
    }

    /// A page of a sealed dataspace.
    #[inline]
    pub(super) fn sealed_page(&self, page: u64) -> Shown {
        Shown {
            frame: self.sealed_frame(page),
            writable: false,
            uncached: self.is_uncached(),
        }
    }

    /// Where its memory begins, if that is in one piece as long as the dataspace exists, and no device's.
    #[inline]
    pub(super) fn one_piece(&self) -> Option<PhysAddr> {
        match self.source {
            Source::Fixed {
                base,
                uncached: false,
            } => Some(base),
            _ => None,
        }
    }

    /// A page to be mapped; for the holder of a lock of a space that has a view of it.
    pub(super) fn page(&self, page: u64) -> Result<Shown, PageError> {
        if self.is_sealed() && !self.is_deleted() {
            return Ok(self.sealed_page(page));
        }
        let state = self.state.lock();
        if state.work.is_some_and(|work| work.blocks(page)) {
            return Err(PageError::Busy);
        }
        if self.is_sealed() {
            return Ok(self.sealed_page(page));
        }
        if let Source::Fixed { base, uncached } = self.source {
            let frame = PhysAddr(base.0 + page * PAGE_SIZE);
            return Ok(Shown {
                frame,
                writable: true,
                uncached,
            });
        }
        let frame = self.own_frame(&state, page).map_err(|_| PageError::NoMemory)?;
        Ok(Shown {
            frame,
            writable: true,
            uncached: false,
        })
    }

    /// The frame of its own that an unsealed dataspace has for a page, made if need be.
    pub(super) fn own_frame(&self, _state: &State, page: u64) -> Result<PhysAddr, Error> {
        if let Page::Own(frame) = self.frames.get(page) {
            return Ok(frame);
        }
        let account = self.account().ok_or(Error::NoMemory)?;
        let frame = match self.find_frame(page) {
            None => account.allocate_frame(true)?,
            Some(original) => {
                let copy = account.allocate_frame(false)?;
                // SAFETY: The new frame is ours alone; the other one is the parent's, which is sealed and stays.
                unsafe { machine_copy_page(copy, original) };
                copy
            }
        };
        self.frames
            .set(page, Page::Own(frame), &account)
            .inspect_err(|_| account.free_frame(frame))?;
        Ok(frame)
    }

    /// The frame of its own for a page whose contents the caller writes in full before it lets go of the lock.
    pub(super) fn blank_frame(&self, _state: &State, page: u64) -> Result<PhysAddr, Error> {
        if let Page::Own(frame) = self.frames.get(page) {
            return Ok(frame);
        }
        let account = self.account().ok_or(Error::NoMemory)?;
        let frame = account.allocate_frame(false)?;
        self.frames
            .set(page, Page::Own(frame), &account)
            .inspect_err(|_| account.free_frame(frame))?;
        Ok(frame)
    }

    /// Makes a page read as zeroes. Nobody has it mapped, and nobody reads it without the lock.
    pub(super) fn drop_page(&self, _state: &State, page: u64) -> Result<(), Error> {
        let Some(account) = self.account() else {
            return Ok(());
        };
        let old = self.frames.get(page);
        let inherited = match &self.source {
            Source::Parent(parent) => parent.find_frame(page).is_some(),
            _ => false,
        };
        let new = if inherited { Page::Hidden } else { Page::Absent };
        self.frames.set(page, new, &account)?;
        if let Page::Own(frame) = old {
            account.free_frame(frame);
        }
        Ok(())
    }

    /// Tells whether the dataspace has a frame of its own for a page.
    pub(super) fn has_own(&self, page: u64) -> bool {
        matches!(self.frames.get(page), Page::Own(_))
    }

    /// Tells whether a page of the range reads as something else than zeroes, or has a frame.
    pub(super) fn has_frames(&self, from: u64, to: u64) -> bool {
        (from..to).any(|page| self.find_frame(page).is_some())
    }

    // Users.

    pub(super) fn add_user(&self, state: &mut State) -> Result<(), Error> {
        if self.header.is_dead() || (state.users == 0 && !self.me().acquire()) {
            return Err(Error::NotFound);
        }
        state.users += 1;
        Ok(())
    }

    /// One more user of a dataspace that has one already.
    pub(super) fn add_further_user(&self, state: &mut State) {
        debug_assert!(state.users > 0);
        state.users += 1;
    }

    /// What is left to do is for who holds no lock.
    #[must_use]
    pub(super) fn remove_user(&self, state: &mut State) -> Option<Leaving> {
        debug_assert!(state.users > 0);
        state.users -= 1;
        let orphaned = state.users == 0 && core::mem::take(&mut state.orphaned);
        (state.users == 0).then_some(Leaving {
            dataspace: self.me(),
            orphaned,
        })
    }

    fn link_child(&self, child: Ref<Dataspace>) {
        let mut state = self.state.lock();
        if let Some(next) = state.children {
            next.previous_sibling.store(child.as_ptr(), Ordering::Relaxed);
            child.next_sibling.store(next.as_ptr(), Ordering::Relaxed);
        }
        state.children = Some(child);
        let deleted = self.is_deleted();
        drop(state);
        if deleted {
            objects::delete(child.erase());
        }
    }

    fn unlink_child(&self, child: &Dataspace) {
        let mut state = self.state.lock();
        let next = child.next_sibling.load(Ordering::Relaxed);
        match Ref::load(&child.previous_sibling) {
            Some(previous) => previous.next_sibling.store(next, Ordering::Relaxed),
            None => state.children = Ref::load(&child.next_sibling),
        }
        if let Some(next) = Ref::load(&child.next_sibling) {
            let previous = child.previous_sibling.load(Ordering::Relaxed);
            next.previous_sibling.store(previous, Ordering::Relaxed);
        }
        let leaving = self.remove_user(&mut state);
        drop(state);
        Leaving::settle(leaving);
    }

    // The end.

    /// Notes that the end takes the dataspace from its users too: views become reserved ranges, children end. (Otherwise
    /// it is left to its users until they go.) [`crate::objects::delete`] calls it before the end begins.
    pub(crate) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
    }

    /// Tells, once, whether the end was reached with users left, so that nobody works on it any more.
    pub(crate) fn take_orphaned(&self) -> bool {
        core::mem::take(&mut self.state.lock().orphaned)
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Acquire)
    }

    /// Works on the end of a dataspace that is marked dead. True when its part is done: either nothing is left of it,
    /// or users are, the last of which hands it to the reaper again.
    pub fn destroy_step(&self, budget: &mut u32) -> bool {
        if self.is_deleted() && !(self.delete_children(budget) && self.revoke(budget)) {
            return false;
        }
        let mut state = self.state.lock();
        if state.users > 0 {
            state.orphaned = true;
            return true;
        }
        if state.pins > 0 {
            return false;
        }
        if let Some(account) = self.account()
            && !self.frames.drain(&account, budget)
        {
            return false;
        }
        drop(state);
        if let Source::Parent(parent) = &self.source {
            parent.unlink_child(self);
        }
        true
    }

    /// Begins the end of all children.
    fn delete_children(&self, budget: &mut u32) -> bool {
        let mut next = self.state.lock().children;
        while let Some(child) = next {
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            objects::delete(child.erase());
            let _state = self.state.lock();
            next = Ref::load(&child.next_sibling);
        }
        true
    }
}
