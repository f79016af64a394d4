//! Accounts: who pays for frames and objects. A factory is the capability to one.
//!
//! A sub-account's limit is taken from its parent when it is made, so that charging touches one counter only.
//! Objects are cut out of pages that the account has paid for (an arena): a page holds 63 units of 64 bytes.
#![expect(unsafe_code, reason = "objects are placed into raw pages")]

use crate::counters;
use crate::invocation::Invocation;
use crate::machine::machine_direct_map;
use crate::memory::{PhysAddr, frame};
use crate::object::{Header, Kind, Making, Object, Ref};
use crate::sync::{Rank, SpinLock};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::{Error, PAGE_SIZE};

/// Size of the units that objects are made of, in bytes.
pub const UNIT: usize = 64;
/// Units of a page that objects can use; the first one describes the page.
const UNITS_PER_PAGE: u32 = 63;
/// Pages with room that an allocation looks at before it takes a new one.
const PAGES_TO_TRY: usize = 4;

/// How far the end of an object got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All is done.
    Done,
    /// There is more to do.
    Unfinished,
    /// Nothing can be done until something else happens, which hands the object to the reaper again.
    Parked,
}

/// A quota account.
#[repr(C, align(64))]
pub struct Account {
    pub(crate) header: Header,
    /// Most bytes that may be in use. Only [`Self::trim`] changes it.
    limit: AtomicU64,
    /// Bytes in use: frames, arena pages, limits of sub-accounts.
    used: AtomicU64,
    /// Part of it that ending sub-accounts are about to give back.
    returning: AtomicU64,
    /// The clone of a spawn gate whose account this is.
    invocation: Option<Invocation>,
    /// Else the account of the clone that this one was cut out of, perhaps by way of others.
    within: Option<Ref<Account>>,
    /// What the account itself announced to give back when its end began.
    announced: AtomicU64,
    inner: SpinLock<Inner>,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Account {
    const KIND: Kind = Kind::Factory;
}

struct Inner {
    /// Arena pages with free units.
    roomy: Option<NonNull<ArenaPage>>,
    /// All objects that the account pays for.
    objects: *mut Header,
    /// While the account ends: the next object to end.
    cursor: *mut Header,
    ending: bool,
    /// The end waits for the last object to be freed, which hands the account to the reaper again.
    parked: bool,
}

// SAFETY: The pointers are into memory that the account owns; the lock around `Inner` orders all access.
unsafe impl Send for Inner {}

/// The first unit of an arena page.
#[repr(C)]
struct ArenaPage {
    /// Bit n: unit n is free. Bit 0 (this unit) is always clear.
    free: u64,
    next: Option<NonNull<ArenaPage>>,
    previous: Option<NonNull<ArenaPage>>,
}

const ALL_FREE: u64 = !1;

/// Finds `count` neighbouring set bits and returns the lowest one's number.
fn find_run(free: u64, count: u32) -> Option<u32> {
    let mut starts = free;
    let mut have = 1;
    // After each round, a set bit says that `have` bits from there on are set.
    while have < count {
        let step = have.min(count - have);
        starts &= starts >> step;
        have += step;
    }
    if starts == 0 {
        None
    } else {
        Some(starts.trailing_zeros())
    }
}

const fn run_mask(start: u32, count: u32) -> u64 {
    (u64::MAX >> (64 - count)) << start
}

impl Account {
    /// An account with a limit in bytes.
    pub const fn new(header: Header, limit: u64) -> Account {
        Account {
            header,
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            returning: AtomicU64::new(0),
            invocation: None,
            within: None,
            announced: AtomicU64::new(0),
            inner: SpinLock::new(
                Rank::Account,
                Inner {
                    roomy: None,
                    objects: core::ptr::null_mut(),
                    cursor: core::ptr::null_mut(),
                    ending: false,
                    parked: false,
                },
            ),
        }
    }

    /// Cuts an account with a limit in bytes out of `parent`.
    ///
    /// # Errors
    /// [`Error::NoMemory`], [`Error::NotFound`] if the parent's end has begun.
    pub(crate) fn create_within(
        parent: Ref<Account>,
        limit: u64,
        invocation: Option<Invocation>,
    ) -> Result<Ref<Account>, Error> {
        parent.charge(limit)?;
        Account::create(parent, |header| Account {
            invocation,
            within: Account::nearest_invocation(parent),
            ..Account::new(header, limit)
        })
        .inspect_err(|_| parent.uncharge(limit))
    }

    /// The account of the clone of a spawn gate that `account` is, or was cut out of.
    pub(crate) fn nearest_invocation(account: Ref<Account>) -> Option<Ref<Account>> {
        if account.invocation.is_some() {
            Some(account)
        } else {
            account.within
        }
    }

    /// The clone of a spawn gate whose account this is.
    #[inline]
    pub(crate) fn invocation(&self) -> Option<&Invocation> {
        self.invocation.as_ref()
    }

    /// The limit in bytes.
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Bytes in use by sub-accounts whose end has begun.
    pub fn returning(&self) -> u64 {
        self.returning.load(Ordering::Relaxed)
    }

    /// The account's end has begun.
    pub(crate) fn begin_end(&self) {
        if let Some(parent) = self.header.account() {
            // What is not in use goes back at once: it need not wait for the memory to be free.
            let _ = self.trim();
            let limit = self.limit();
            self.announced.store(limit, Ordering::Relaxed);
            parent.returning.fetch_add(limit, Ordering::Relaxed);
        }
    }

    /// Lowers the limit to what is in use; the parent gets the rest. Returns the new limit in bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an account without a parent.
    pub(crate) fn trim(&self) -> Result<u64, Error> {
        let parent = self.header.account().ok_or(Error::Invalid)?;
        // Whoever charges meanwhile fails or makes us see that there is less to give.
        let spare = self.limit().saturating_sub(self.used());
        if spare > 0 && self.charge(spare).is_ok() {
            let before = self.limit.fetch_sub(spare, Ordering::Relaxed);
            self.uncharge(spare);
            parent.uncharge(spare);
            return Ok(before - spare);
        }
        Ok(self.limit())
    }

    /// Takes `bytes` from what the account may still use.
    pub fn charge(&self, bytes: u64) -> Result<(), Error> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_none_or(|after| after > self.limit()) {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(Error::NoMemory);
        }
        Ok(())
    }

    /// Gives back `bytes`.
    pub fn uncharge(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        debug_assert!(before >= bytes, "account gives back more than it used");
    }

    /// A frame paid for by the account, zeroed or with unknown contents.
    ///
    /// # Errors
    /// [`Error::NoMemory`] if the limit or the machine's memory is used up.
    pub fn allocate_frame(&self, zeroed: bool) -> Result<PhysAddr, Error> {
        self.charge(PAGE_SIZE)?;
        frame::allocate(zeroed).ok_or_else(|| {
            self.uncharge(PAGE_SIZE);
            Error::NoMemory
        })
    }

    /// Gives a frame of the account back.
    pub fn free_frame(&self, frame: PhysAddr) {
        frame::free(frame);
        self.uncharge(PAGE_SIZE);
    }

    /// Gives a frame of the account back that is all zeroes.
    pub(crate) fn free_zeroed_frame(&self, frame: PhysAddr) {
        frame::free_zeroed(frame);
        self.uncharge(PAGE_SIZE);
    }

    /// `count` neighbouring units (1–63) for a part of an object.
    pub fn allocate_units(&self, count: u32) -> Result<NonNull<u8>, Error> {
        self.allocate_in(&mut self.inner.lock(), count)
    }

    fn allocate_in(&self, inner: &mut Inner, count: u32) -> Result<NonNull<u8>, Error> {
        debug_assert!((1..=UNITS_PER_PAGE).contains(&count));
        let mut candidate = inner.roomy;
        for _ in 0..PAGES_TO_TRY {
            let Some(mut page) = candidate else { break };
            // SAFETY: Pages in the list are the account's, described by their first unit; the lock makes us the only user.
            let page = unsafe { page.as_mut() };
            if let Some(start) = find_run(page.free, count) {
                page.free &= !run_mask(start, count);
                if page.free == 0 {
                    inner.unlink(page);
                }
                return Ok(unit_address(page, start));
            }
            candidate = page.next;
        }
        let frame = self.allocate_frame(false)?;
        let mut page =
            NonNull::new((machine_direct_map() + frame.0) as *mut ArenaPage).ok_or(Error::NoMemory)?;
        // SAFETY: The frame is new and ours; the direct map shows it at this address.
        let page = unsafe {
            page.write(ArenaPage {
                free: ALL_FREE & !run_mask(1, count),
                next: None,
                previous: None,
            });
            page.as_mut()
        };
        if page.free != 0 {
            inner.link(page);
        }
        Ok(unit_address(page, 1))
    }

    /// Gives units back.
    ///
    /// # Safety
    /// They came from [`Self::allocate_units`] of this account with the same count, and nobody uses them any more.
    pub unsafe fn free_units(&self, address: NonNull<u8>, count: u32) {
        // SAFETY: Passed on.
        unsafe { self.free_in(&mut self.inner.lock(), address, count) }
    }

    /// # Safety
    /// As [`Self::free_units`].
    unsafe fn free_in(&self, inner: &mut Inner, address: NonNull<u8>, count: u32) {
        let raw = address.as_ptr() as u64;
        let page_address = raw & !(PAGE_SIZE - 1);
        let start = ((raw - page_address) / UNIT as u64) as u32;
        // SAFETY: The units lie in an arena page of this account, so its first unit describes it; the lock is held.
        let page = unsafe { &mut *(page_address as *mut ArenaPage) };
        debug_assert_eq!(page.free & run_mask(start, count), 0, "units freed twice");
        let was_full = page.free == 0;
        page.free |= run_mask(start, count);
        if page.free == ALL_FREE {
            if !was_full {
                inner.unlink(page);
            }
            self.free_frame(PhysAddr(page_address - machine_direct_map()));
        } else if was_full {
            inner.link(page);
        }
    }

    /// Creates an object that `account` pays for.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; [`Error::NotFound`] if the account's end has begun.
    pub fn create<T: Object>(account: Ref<Account>, make: impl FnOnce(Header) -> T) -> Result<Ref<T>, Error> {
        Account::begin(account, make).map(Making::finish)
    }

    /// As [`Self::create`], for objects that are not complete with what `make` gives.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn begin<T: Object>(
        account: Ref<Account>,
        make: impl FnOnce(Header) -> T,
    ) -> Result<Making<T>, Error> {
        // SAFETY: The place is written.
        unsafe {
            Account::begin_in_place(account, |header, place| {
                place.write(make(header));
                Ok(())
            })
        }
    }

    /// As [`Self::begin`], for large objects and those that may fail to be made: `make` writes the object where it is to be. It
    /// may take frames from the account, but neither units nor objects.
    ///
    /// # Errors
    /// As there, and those of `make`.
    ///
    /// # Safety
    /// If `make` succeeds, all of the object is written that is ever read.
    #[inline(always)]
    pub(crate) unsafe fn begin_in_place<T: Object>(
        account: Ref<Account>,
        make: impl FnOnce(Header, &mut MaybeUninit<T>) -> Result<(), Error>,
    ) -> Result<Making<T>, Error> {
        const { assert!(size_of::<T>() <= UNIT * UNITS_PER_PAGE as usize && align_of::<T>() <= UNIT) };
        let units = size_of::<T>().div_ceil(UNIT) as u32;
        let mut inner = account.inner.lock();
        if account.header.is_dead() {
            return Err(Error::NotFound);
        }
        let units_place = account.allocate_in(&mut inner, units)?;
        let mut place = units_place.cast::<MaybeUninit<T>>();
        let header = Header::in_making(T::KIND, units as u8, account);
        // SAFETY: The units are new, large and aligned enough, and nobody else knows them.
        if let Err(error) = make(header, unsafe { place.as_mut() }) {
            // SAFETY: The units were allocated above, and nobody else knows them.
            unsafe { account.free_in(&mut inner, units_place, units) };
            return Err(error);
        }
        // SAFETY: By the caller's promise, the object is there, with the header from above.
        let making = unsafe { Making::new(Ref::from_raw(place.cast::<T>())) };
        inner.enlist(making.object().erase());
        counters::object_created(T::KIND);
        Ok(making)
    }

    /// Frees an object whose last reference is gone and that no CPU can still see. True if the account's own end waited
    /// for that.
    ///
    /// # Safety
    /// Exactly that.
    pub(crate) unsafe fn free(&self, object: Ref<Header>) -> bool {
        let (kind, units) = (object.kind(), object.units());
        let mut inner = self.inner.lock();
        inner.delist(object);
        if let Some(address) = NonNull::new(object.as_ptr().cast()) {
            // SAFETY: By the caller's promise; the object was created with this many units.
            unsafe { self.free_in(&mut inner, address, u32::from(units)) };
        }
        counters::object_freed(kind);
        inner.objects.is_null() && core::mem::take(&mut inner.parked)
    }

    /// Ends the account's objects, as many as the budget allows.
    pub(crate) fn destroy_step(&self, budget: &mut u32) -> Progress {
        loop {
            let next = {
                let mut inner = self.inner.lock();
                if !inner.ending {
                    inner.ending = true;
                    inner.cursor = inner.objects;
                }
                if inner.objects.is_null() {
                    return Progress::Done;
                }
                if inner.cursor.is_null() {
                    inner.parked = true;
                    return Progress::Parked;
                }
                if *budget == 0 {
                    return Progress::Unfinished;
                }
                inner.take_next()
            };
            *budget -= 1;
            if let Some(object) = next {
                crate::objects::delete(object);
                object.release();
            }
        }
    }

    /// Gives the limit back to the parent; the account is empty.
    pub(crate) fn close(&self) {
        debug_assert_eq!(self.used(), 0, "an account ends with memory in use");
        if let Some(parent) = self.header.account() {
            parent.uncharge(self.limit());
            parent
                .returning
                .fetch_sub(self.announced.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        if let Some(invocation) = &self.invocation {
            invocation.close();
        }
    }
}

fn unit_address(page: &mut ArenaPage, unit: u32) -> NonNull<u8> {
    // SAFETY: The unit lies in the page.
    unsafe { NonNull::from_mut(page).cast::<u8>().add(unit as usize * UNIT) }
}

impl Inner {
    fn link(&mut self, page: &mut ArenaPage) {
        page.previous = None;
        page.next = self.roomy;
        let address = NonNull::from_mut(page);
        if let Some(mut next) = self.roomy {
            // SAFETY: Pages in the list are the account's own and other than `page`.
            unsafe { next.as_mut().previous = Some(address) };
        }
        self.roomy = Some(address);
    }

    fn unlink(&mut self, page: &mut ArenaPage) {
        match page.previous {
            // SAFETY: As in `link`.
            Some(mut previous) => unsafe { previous.as_mut().next = page.next },
            None => self.roomy = page.next,
        }
        if let Some(mut next) = page.next {
            // SAFETY: As in `link`.
            unsafe { next.as_mut().previous = page.previous };
        }
    }

    /// The object at the cursor, which moves on; it is counted. Objects that nobody counts any more are left out: they stand
    /// in the list until their memory is freed, which can be as soon as the lock is.
    fn take_next(&mut self) -> Option<Ref<Header>> {
        // SAFETY: Objects leave the list, and the cursor moves on, before they are freed.
        let object = NonNull::new(self.cursor).map(|object| unsafe { Ref::from_raw(object) })?;
        self.cursor = object.next.load(Ordering::Relaxed);
        object.count_if_any().then_some(object)
    }

    fn enlist(&mut self, object: Ref<Header>) {
        object.previous.store(core::ptr::null_mut(), Ordering::Relaxed);
        object.next.store(self.objects, Ordering::Relaxed);
        if let Some(next) = Ref::load(&object.next) {
            next.previous.store(object.as_ptr(), Ordering::Relaxed);
        }
        self.objects = object.as_ptr();
    }

    fn delist(&mut self, object: Ref<Header>) {
        let next = object.next.load(Ordering::Relaxed);
        if self.cursor == object.as_ptr() {
            self.cursor = next;
        }
        match Ref::load(&object.previous) {
            Some(previous) => previous.next.store(next, Ordering::Relaxed),
            None => self.objects = next,
        }
        if let Some(next) = Ref::load(&object.next) {
            next.previous
                .store(object.previous.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
impl Account {
    /// All objects that the account pays for.
    pub(crate) fn objects(&self) -> std::vec::Vec<Ref<Header>> {
        let inner = self.inner.lock();
        // SAFETY: Objects are in the list as long as their memory is theirs.
        let first = NonNull::new(inner.objects).map(|first| unsafe { Ref::from_raw(first) });
        core::iter::successors(first, |object| Ref::load(&object.next)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_where_they_fit() {
        assert_eq!(find_run(ALL_FREE, 63), Some(1));
        assert_eq!(find_run(ALL_FREE, 1), Some(1));
        assert_eq!(find_run(0b1110_1101_0110, 3), Some(9));
        assert_eq!(find_run(0b1010_1010, 2), None);
        assert_eq!(find_run(0, 1), None);
    }

    #[test]
    fn every_run_is_free_and_minimal() {
        for seed in 1..2000u64 {
            let free = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | seed.rotate_left(17);
            for count in 1..20 {
                let naive =
                    (0..=64 - count).find(|start| free & run_mask(*start, count) == run_mask(*start, count));
                assert_eq!(find_run(free, count), naive);
            }
        }
    }
}
