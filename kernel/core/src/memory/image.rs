//! Address spaces as images: a space that is frozen changes no more, and others begin as copies of it that share its
//! tables, its pages and its regions until they change something.
//!
//! What a frozen space shows of dataspaces: sealed ones stay mapped, and the frozen space's views keep them. Pages of
//! unsealed ones are unmapped; each copy of the space has views of its own of them, so that they can be taken back page by
//! page as from any space. A dataspace that is deleted takes the whole image along.
#![expect(unsafe_code, reason = "pages are copied by address")]

use super::address::PhysAddr;
use super::layout::{Inner, Phase};
use super::page_table::{Leaf, PageTable, Reclaim};
use super::region::{Kind, Node, Region, Regions};
use super::space::AddressSpace;
use super::sparse::{self, Population};
use crate::account::Account;
use crate::object::{Header, Ref};
use crate::sync::Guard;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};
use l4::region::Access;
use l4::{Error, PAGE_SIZE};

/// Most regions of an image: each of its copies copies all of them when it first attaches or detaches something.
const MAX_REGIONS: usize = 512;

/// What others may read of a frozen space without its lock.
pub(super) struct Image {
    /// The space is frozen: it never changes again.
    frozen: AtomicBool,
    /// Copies need views of their own.
    has_unsealed: AtomicBool,
    /// What the root table has in it.
    root_population: AtomicU8,
    /// Root of the tree of regions.
    regions: AtomicPtr<Region>,
    /// The object that ends if a dataspace is taken away that the frozen space shows. Guarded by the space's lock.
    owner: AtomicPtr<Header>,
}

impl Image {
    pub(super) const fn new() -> Image {
        Image {
            frozen: AtomicBool::new(false),
            has_unsealed: AtomicBool::new(false),
            root_population: AtomicU8::new(0),
            regions: AtomicPtr::new(core::ptr::null_mut()),
            owner: AtomicPtr::new(core::ptr::null_mut()),
        }
    }
}

/// What an image consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageSize {
    /// Pages that it owns.
    pub pages: u64,
    /// Tables that it owns, the root included.
    pub tables: u64,
}

impl AddressSpace {
    /// Begins to make the space an image that belongs to `owner`: from now on nothing can be attached or changed. No thread
    /// runs in it.
    ///
    /// # Errors
    /// [`Error::Range`] if it has more regions than an image can have, [`Error::NotFound`] if its end has begun,
    /// [`Error::Busy`] if it is an image already. Nothing has changed then.
    pub(crate) fn begin_image(&self, owner: Ref<Header>) -> Result<(), Error> {
        let mut inner = self.lock()?;
        // Its own copy of the regions, since those of the image below may go earlier.
        inner.own_regions(self)?;
        if inner.regions.iter().nth(MAX_REGIONS).is_some() {
            return Err(Error::Range);
        }
        inner.phase = Phase::Freezing { unshared: 0 };
        self.image.owner.store(owner.as_ptr(), Ordering::Relaxed);
        Ok(())
    }

    /// Gets on with it. True when it is done; otherwise the budget is used up and the caller calls again.
    ///
    /// # Errors
    /// [`Error::NoMemory`]: the caller may try again. [`Error::NotFound`] if the space's end has begun.
    pub(crate) fn freeze(&self, budget: &mut u32) -> Result<bool, Error> {
        let mut inner = self.inner.lock();
        match inner.phase {
            Phase::Frozen => return Ok(true),
            Phase::Freezing { .. } => {}
            _ => return Err(Error::NotFound),
        }
        if !self.unmap_changing(&mut inner, budget) {
            return Ok(false);
        }
        let Inner { table, records, .. } = &mut *inner;
        if !table.freeze(records, budget, &self.account)? {
            return Ok(false);
        }
        inner.holdings.clear();
        inner.phase = Phase::Frozen;
        let population = inner.table.root_population().bits();
        self.image.root_population.store(population, Ordering::Relaxed);
        let root = inner.regions.root().map_or(core::ptr::null_mut(), Node::as_ptr);
        self.image.regions.store(root, Ordering::Relaxed);
        let has_unsealed = inner.regions.iter().any(|region| region.shows_unsealed());
        self.image.has_unsealed.store(has_unsealed, Ordering::Relaxed);
        self.image.frozen.store(true, Ordering::Release);
        Ok(true)
    }

    /// Unmaps the pages of dataspaces that may change, or that the space was allowed to write. True when that is done.
    fn unmap_changing(&self, inner: &mut Guard<'_, Inner>, budget: &mut u32) -> bool {
        loop {
            let Phase::Freezing { unshared } = inner.phase else {
                return true;
            };
            let Some(region) = inner.regions.at_or_behind(unshared) else {
                return true;
            };
            if *budget == 0 {
                return false;
            }
            *budget -= 1;
            let mut reached = region.end();
            if region.kind() == Kind::Shared
                && (region.shows_unsealed() || region.limit().contains(Access::WRITE))
            {
                let mut reclaim = Reclaim::new();
                let from = unshared.max(region.start());
                reached = inner.table.unmap(from, region.end(), budget, &mut reclaim);
                reclaim.finish(self.root(), &self.account, true);
            }
            inner.phase = Phase::Freezing { unshared: reached };
        }
    }

    /// A space that begins as `image` is, which stays until the new space has ended. [`Self::register_views`] has to
    /// follow when it has its place.
    ///
    /// # Errors
    /// [`Error::Again`] if the image is not frozen yet, [`Error::NoMemory`].
    pub(crate) fn copy_image(account: Ref<Account>, image: &AddressSpace) -> Result<AddressSpace, Error> {
        if !image.image.frozen.load(Ordering::Acquire) {
            return Err(Error::Again);
        }
        let population = Population::from_bits(image.image.root_population.load(Ordering::Relaxed));
        let table = PageTable::share(image.root(), population, &account)?;
        let regions = NonNull::new(image.image.regions.load(Ordering::Relaxed)).map(Node::from_raw);
        let mut space = AddressSpace::with(account, table, Regions::borrow(regions));
        space.inner.get_mut().holdings.set_root(population);
        Ok(space)
    }

    /// Enters the views of unsealed dataspaces that a copy of `image` has.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::NotFound`] if the end of such a dataspace, or of the space, has begun.
    pub(crate) fn register_views(&self, image: &AddressSpace) -> Result<(), Error> {
        if image.image.has_unsealed.load(Ordering::Relaxed) {
            self.lock()?.own_regions(self)?;
        }
        Ok(())
    }

    /// Makes the page at `address` the space's own, with the contents it has, and returns its frame: for memory that
    /// the kernel writes. Of one frame of the snapshot's it is `known` what it has in it.
    ///
    /// # Errors
    /// [`Error::NotFound`] if nothing is mapped there, [`Error::NoMemory`].
    pub(crate) fn own_page(&self, address: u64, known: (PhysAddr, Population)) -> Result<PhysAddr, Error> {
        debug_assert!(address.is_multiple_of(PAGE_SIZE));
        let inner = self.lock()?;
        let region = inner.regions.find(address).ok_or(Error::NotFound)?;
        let slot = inner
            .table
            .own_slot(address, &inner.holdings)?
            .map_err(|_| Error::NotFound)?;
        let leaf = slot.get().ok_or(Error::NotFound)?;
        if leaf.is_owned() {
            return Ok(leaf.frame());
        }
        let population = if known.0 == leaf.frame() {
            known.1
        } else {
            Population::UNKNOWN
        };
        // SAFETY: Who keeps the page does not change it as long as an entry shows it; the new frame is ours alone.
        let copy = unsafe {
            sparse::copy(leaf.frame(), population, |zeroed| {
                inner.holdings.take_page(address, zeroed)
            })
        }?;
        slot.set(Leaf::owned(copy, region.access()));
        Ok(copy)
    }

    /// What the space belongs to if it is an image, or becomes one.
    pub(crate) fn image_owner(&self) -> Option<Ref<Header>> {
        let _inner = self.inner.lock();
        Ref::load(&self.image.owner)
    }

    /// Forgets the image's owner, whose end takes care of the space.
    pub(crate) fn disown_image(&self) {
        let _inner = self.inner.lock();
        self.image.owner.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// What the frozen space owns.
    pub(crate) fn image_size(&self) -> ImageSize {
        let inner = self.inner.lock();
        ImageSize {
            pages: inner.records.pages,
            tables: inner.records.tables + 1,
        }
    }
}
