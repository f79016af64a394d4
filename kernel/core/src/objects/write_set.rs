//! A snapshot's write set: the pages that its first clones wrote, which later ones begin with.
#![expect(unsafe_code, reason = "the addresses are in memory of the account")]

use super::{Snapshot, Task};
use crate::account::{Account, UNIT};
use crate::memory::{AddressSpace, MAX_WRITTEN};
use crate::object::Ref;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use l4::{Error, Tag};

/// Where the addresses stand.
type Pages = [u64; MAX_WRITTEN];
/// Units of memory that they take.
const UNITS: u32 = (size_of::<Pages>() / UNIT) as u32;

/// There is none, and nobody has asked for one.
const NONE: u8 = 0;
/// It is to be that of the next clones with a certain answer.
const WANTED: u8 = 1;
/// Somebody works on it, and alone may use the memory for the addresses.
const BEGUN: u8 = 2;
/// It is there, and changes no more.
const MADE: u8 = 3;

/// All pages.
const ANY: u32 = u32::MAX;

/// A snapshot's write set. It is made once; who begins clones reads it without a lock.
pub(super) struct WriteSet {
    state: AtomicU8,
    /// Label and first word of the answer.
    answer: [AtomicU64; 2],
    /// How many more clones there are to be recorded, by who works on it.
    missing: AtomicU32,
    /// How many addresses there are that all clones until now have written, [`ANY`] before the first one, by who works on it.
    common: AtomicU32,
    /// How many addresses there are; none before it is made.
    length: AtomicU32,
    /// Memory for the addresses, if it was taken.
    pages: AtomicPtr<Pages>,
}

impl WriteSet {
    pub(super) const fn new() -> WriteSet {
        WriteSet {
            state: AtomicU8::new(NONE),
            answer: [const { AtomicU64::new(0) }; 2],
            missing: AtomicU32::new(1),
            common: AtomicU32::new(ANY),
            length: AtomicU32::new(0),
            pages: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// The addresses, in order.
    #[inline]
    fn pages(&self) -> &[u64] {
        let length = self.length.load(Ordering::Acquire) as usize;
        if length == 0 {
            return &[];
        }
        let pages: *const u64 = self.pages.load(Ordering::Relaxed).cast();
        // SAFETY: With a length there is memory, which is written no more and stays as long as the snapshot; `record_claimed`
        // writes no length beyond it.
        unsafe { core::slice::from_raw_parts(pages, length) }
    }

    /// Asks for what the next so many clones have all written whose answers have this label and first word. `account` pays.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one, or somebody has asked already; [`Error::NoMemory`].
    fn ask(&self, account: &Account, (label, first): (i64, u64), clones: u32) -> Result<(), Error> {
        self.begin(NONE)?;
        let taken = self.memory(account);
        if taken.is_ok() {
            self.answer[0].store(label as u64, Ordering::Relaxed);
            self.answer[1].store(first, Ordering::Relaxed);
            self.missing.store(clones, Ordering::Relaxed);
        }
        let state = if taken.is_ok() { WANTED } else { NONE };
        self.state.store(state, Ordering::Release);
        taken.map(drop)
    }

    /// Tells whether somebody has asked for that of clones that answer.
    #[inline]
    fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WANTED
    }

    /// Tells whether a clone with this answer is to be recorded; then nobody else is until that has happened.
    fn claim(&self, label: i64, first: u64) -> bool {
        if self.state.load(Ordering::Acquire) != WANTED {
            return false;
        }
        let [wanted, word] = &self.answer;
        let is_this = wanted.load(Ordering::Relaxed) == label as u64 && word.load(Ordering::Relaxed) == first;
        is_this && self.begin(WANTED).is_ok()
    }

    /// Records `clone`, a copy of `image`, and returns the number of pages; 0 if more clones have to be recorded. `account`
    /// pays.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is a write set, or somebody works on it; [`Error::NoMemory`]; [`Error::Busy`] if the clone has
    /// become an image; [`Error::NotFound`] if it is gone.
    fn record(&self, account: &Account, image: &AddressSpace, clone: &AddressSpace) -> Result<usize, Error> {
        let before = self.begin(NONE).map(|()| NONE);
        let before = before.or_else(|_| self.begin(WANTED).map(|()| WANTED))?;
        let recorded = self.record_claimed(account, image, clone);
        if recorded.is_err() {
            self.state.store(before, Ordering::Release);
        }
        recorded
    }

    /// The same for who has claimed it. After an error, it stays claimed, so there never will be a write set.
    fn record_claimed(
        &self,
        account: &Account,
        image: &AddressSpace,
        clone: &AddressSpace,
    ) -> Result<usize, Error> {
        let mut pages = self.memory(account)?;
        // SAFETY: The memory is ours until the state changes, and nobody reads it while there is no length.
        let pages = unsafe { pages.as_mut() };
        let mut written = [0; MAX_WRITTEN];
        let found = clone.find_written(&mut written)?;
        let kept = image.keep_writable(&mut written[..found]);
        let written = &written[..kept];
        let common = match self.common.load(Ordering::Relaxed) {
            ANY => {
                pages[..kept].copy_from_slice(written);
                kept
            }
            known => keep_common(&mut pages[..known as usize], written),
        };
        self.common.store(common as u32, Ordering::Relaxed);
        let missing = self.missing.load(Ordering::Relaxed) - 1;
        self.missing.store(missing, Ordering::Relaxed);
        if missing > 0 {
            self.state.store(WANTED, Ordering::Release);
            return Ok(0);
        }
        self.length.store(common as u32, Ordering::Release);
        self.state.store(MADE, Ordering::Release);
        Ok(common)
    }

    /// Has `state` be followed by [`BEGUN`].
    fn begin(&self, state: u8) -> Result<(), Error> {
        self.state
            .compare_exchange(state, BEGUN, Ordering::Acquire, Ordering::Relaxed)
            .map(drop)
            .map_err(|_| Error::Exists)
    }

    /// The memory for the addresses, which is taken when it is needed first.
    fn memory(&self, account: &Account) -> Result<NonNull<Pages>, Error> {
        const { assert!(align_of::<Pages>() <= UNIT && size_of::<Pages>().is_multiple_of(UNIT)) };
        if let Some(pages) = NonNull::new(self.pages.load(Ordering::Relaxed)) {
            return Ok(pages);
        }
        let pages = account.allocate_units(UNITS)?.cast::<Pages>();
        // SAFETY: The memory is new, large and aligned enough.
        unsafe { pages.write([0; MAX_WRITTEN]) };
        self.pages.store(pages.as_ptr(), Ordering::Relaxed);
        Ok(pages)
    }

    /// Gives the memory back to `account`, which paid for it, when nobody can see the snapshot any more.
    fn free(&self, account: &Account) {
        if let Some(pages) = NonNull::new(self.pages.swap(core::ptr::null_mut(), Ordering::Relaxed)) {
            // SAFETY: It came from this account, and nobody reads it any more.
            unsafe { account.free_units(pages.cast(), UNITS) };
        }
    }
}

/// Keeps of `pages` those that are in `others`, too, both of which are sorted. Returns how many these are.
fn keep_common(pages: &mut [u64], others: &[u64]) -> usize {
    let (mut kept, mut others) = (0, others);
    for index in 0..pages.len() {
        let page = pages[index];
        let passed = others.iter().take_while(|other| **other < page).count();
        others = &others[passed..];
        if others.first() == Some(&page) {
            pages[kept] = page;
            kept += 1;
        }
    }
    kept
}

impl Snapshot {
    /// The pages that clones begin with, as if they had written them; none before that is known.
    #[inline]
    pub(crate) fn written(&self) -> &[u64] {
        self.write_set.pages()
    }

    /// Has later clones begin with the pages that `clone` has written until now, or, if more clones were asked for, with those
    /// that all of them have. Returns their number, 0 if there are more to come.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is no clone of this snapshot, [`Error::Exists`] if that is known already, or being found out,
    /// [`Error::Busy`] if the clone has become a snapshot, [`Error::NotFound`] if its end, or this snapshot's, has begun,
    /// [`Error::NoMemory`].
    pub(crate) fn record(&self, clone: Ref<Task>) -> Result<usize, Error> {
        if clone.base() != Some(self.me()) {
            return Err(Error::Invalid);
        }
        let account = self.living_account()?;
        self.write_set.record(&account, self.space(), &clone.space)
    }

    /// Has later clones begin with the pages that so many clones (at least one) have all written, the next ones that end with an
    /// answer of this label and first word.
    ///
    /// # Errors
    /// [`Error::Exists`] if that is known already, or was asked for; [`Error::NotFound`] if the end of the snapshot has begun;
    /// [`Error::NoMemory`].
    pub(crate) fn record_answers(&self, answer: (i64, u64), clones: u32) -> Result<(), Error> {
        self.write_set.ask(&*self.living_account()?, answer, clones)
    }

    fn living_account(&self) -> Result<Ref<Account>, Error> {
        let account = self.header.account().filter(|_| !self.header.is_dead());
        account.ok_or(Error::NotFound)
    }

    /// Tells whether this is the answer of a clone whose pages are wanted; then no other's are until they are recorded.
    #[inline]
    pub(super) fn claim_record(&self, tag: Tag, first: impl FnOnce() -> u64) -> bool {
        self.write_set.is_wanted() && tag.words() > 0 && self.write_set.claim(tag.label(), first())
    }

    /// Records the pages of a clone that claimed that, and ends.
    pub(super) fn record_claimed(&self, clone: &AddressSpace) {
        if let Ok(account) = self.living_account() {
            // The memory was taken before, and the space is there: it is this call that lets it go.
            let recorded = self.write_set.record_claimed(&account, self.space(), clone);
            debug_assert!(recorded.is_ok());
        }
    }

    /// Frees what other CPUs may have looked at until now.
    pub(super) fn free(&self) {
        if let Some(account) = self.header.account() {
            self.write_set.free(&account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    #[test]
    fn what_is_common_is_the_intersection() {
        let members = |bits: u64| (0..6).filter(move |bit| bits >> bit & 1 != 0);
        for (one, other) in (0..64).flat_map(|one| (0..64).map(move |other| (one, other))) {
            let mut pages: Vec<u64> = members(one).collect();
            let kept = keep_common(&mut pages, &members(other).collect::<Vec<_>>());
            let both: BTreeSet<u64> = members(one & other).collect();
            assert_eq!(pages[..kept].to_vec(), both.into_iter().collect::<Vec<_>>());
        }
    }
}
