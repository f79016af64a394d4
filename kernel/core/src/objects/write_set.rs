//! A snapshot's write set: the pages that a clone of it wrote, which later clones begin with.
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
/// It is to be that of the first clone with a certain answer.
const WANTED: u8 = 1;
/// Somebody works on it, and alone may use the memory for the addresses.
const BEGUN: u8 = 2;
/// It is there, and changes no more.
const MADE: u8 = 3;

/// A snapshot's write set. It is made once; who begins clones reads it without a lock.
pub(super) struct WriteSet {
    state: AtomicU8,
    /// Label and first word of the answer.
    answer: [AtomicU64; 2],
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
        // SAFETY: With a length there is memory, which is written no more and stays as long as the snapshot; `make_claimed`
        // writes no length beyond it.
        unsafe { core::slice::from_raw_parts(pages, length) }
    }

    /// Asks for that of the first clone whose answer has this label and first word. `account` pays.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one, or somebody has asked already; [`Error::NoMemory`].
    fn ask(&self, account: &Account, label: i64, first: u64) -> Result<(), Error> {
        self.begin(NONE)?;
        let taken = self.memory(account);
        if taken.is_ok() {
            self.answer[0].store(label as u64, Ordering::Relaxed);
            self.answer[1].store(first, Ordering::Relaxed);
        }
        let state = if taken.is_ok() { WANTED } else { NONE };
        self.state.store(state, Ordering::Release);
        taken.map(drop)
    }

    /// Tells whether somebody has asked for that of a clone that answers.
    #[inline]
    fn is_wanted(&self) -> bool {
        self.state.load(Ordering::Relaxed) == WANTED
    }

    /// Tells whether it is to be that of a clone with this answer; then nobody else's.
    fn claim(&self, label: i64, first: u64) -> bool {
        if self.state.load(Ordering::Acquire) != WANTED {
            return false;
        }
        let [wanted, word] = &self.answer;
        let is_this = wanted.load(Ordering::Relaxed) == label as u64 && word.load(Ordering::Relaxed) == first;
        is_this && self.begin(WANTED).is_ok()
    }

    /// Makes it that of `clone`, a copy of `image`, and returns the number of pages. `account` pays.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one, or somebody works on it; [`Error::NoMemory`]; [`Error::Busy`] if the clone has become an
    /// image; [`Error::NotFound`] if it is gone.
    fn make(&self, account: &Account, image: &AddressSpace, clone: &AddressSpace) -> Result<usize, Error> {
        let before = self.begin(NONE).map(|()| NONE);
        let before = before.or_else(|_| self.begin(WANTED).map(|()| WANTED))?;
        let made = self.make_claimed(account, image, clone);
        if made.is_err() {
            self.state.store(before, Ordering::Release);
        }
        made
    }

    /// The same for who has claimed it. After an error, it stays claimed, so there never will be one.
    fn make_claimed(
        &self,
        account: &Account,
        image: &AddressSpace,
        clone: &AddressSpace,
    ) -> Result<usize, Error> {
        let mut pages = self.memory(account)?;
        // SAFETY: The memory is ours until the state changes, and nobody reads it while there is no length.
        let pages = unsafe { pages.as_mut() };
        let found = clone.find_written(pages)?;
        let kept = image.keep_writable(&mut pages[..found]);
        self.length.store(kept as u32, Ordering::Release);
        self.state.store(MADE, Ordering::Release);
        Ok(kept)
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

impl Snapshot {
    /// The pages that clones begin with, as if they had written them; none before that is known.
    #[inline]
    pub(crate) fn written(&self) -> &[u64] {
        self.write_set.pages()
    }

    /// Has later clones begin with the pages that `clone` has written until now. Returns their number.
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
        self.write_set.make(&account, self.space(), &clone.space)
    }

    /// Has later clones begin with the pages that the first one has written that ends with an answer of this label and first
    /// word.
    ///
    /// # Errors
    /// [`Error::Exists`] if that is known already, or was asked for; [`Error::NotFound`] if the end of the snapshot has begun;
    /// [`Error::NoMemory`].
    pub(crate) fn record_answer(&self, label: i64, first: u64) -> Result<(), Error> {
        self.write_set.ask(&*self.living_account()?, label, first)
    }

    fn living_account(&self) -> Result<Ref<Account>, Error> {
        let account = self.header.account().filter(|_| !self.header.is_dead());
        account.ok_or(Error::NotFound)
    }

    /// Tells whether this is the answer of the clone whose pages are wanted; then no other's are.
    #[inline]
    pub(super) fn claim_record(&self, tag: Tag, first: impl FnOnce() -> u64) -> bool {
        self.write_set.is_wanted() && tag.words() > 0 && self.write_set.claim(tag.label(), first())
    }

    /// Records the pages of a clone that claimed that, and ends.
    pub(super) fn record_claimed(&self, clone: &AddressSpace) {
        if let Ok(account) = self.living_account() {
            // The memory was taken before, and the space is there: it is this call that lets it go.
            let made = self.write_set.make_claimed(&account, self.space(), clone);
            debug_assert!(made.is_ok());
        }
    }

    /// Frees what other CPUs may have looked at until now.
    pub(super) fn free(&self) {
        if let Some(account) = self.header.account() {
            self.write_set.free(&account);
        }
    }
}
