//! What the tests run in: frames, accounts, spaces, and a processor that translates addresses as the hardware does.
#![expect(unsafe_code, reason = "the processor reads page tables and memory by address")]

use crate::account::Account;
use crate::cpu::Cpu;
use crate::machine::{fake, machine_direct_map};
use crate::memory::{AddressSpace, Dataspace, FaultOutcome, PhysAddr, frame};
use crate::object::{Header, Kind, Ref};
use crate::{objects, reaper};
use core::cell::{Cell, RefCell};
use core::sync::atomic::{Ordering, fence};
use l4::PAGE_SIZE;
use l4::region::{Access, Backing};
use std::boxed::Box;
use std::collections::BTreeMap;

/// The test's frames; tests of memory run one at a time, so that free frames can be counted.
pub(super) struct World {
    _guard: fake::Guard,
    free: u64,
}

impl World {
    pub(super) fn new() -> World {
        let guard = fake::lock();
        settle();
        World {
            _guard: guard,
            free: frame::free_count(),
        }
    }

    /// A root account with a limit in pages.
    pub(super) fn account(&self, pages: u64) -> Ref<Account> {
        let header = Header::new(Kind::Factory, 0, None);
        Ref::from_static(Box::leak(Box::new(Account::new(header, pages * PAGE_SIZE))))
    }

    /// Ends the test: everything must have been given back.
    pub(super) fn close(self, accounts: &[Ref<Account>]) {
        settle();
        for account in accounts {
            assert_eq!(account.used(), 0, "the account has something left");
        }
        assert_eq!(frame::free_count(), self.free, "frames were lost");
    }
}

/// Lets the end of objects take its course.
pub(super) fn settle() {
    for _ in 0..100_000 {
        Cpu::this().epoch.leave();
        if !reaper::work(64) {
            return;
        }
    }
    panic!("the reaper does not come to an end");
}

pub(super) fn space(account: Ref<Account>) -> Result<&'static AddressSpace, l4::Error> {
    Ok(Box::leak(Box::new(AddressSpace::new(account)?)))
}

/// Ends a space, in pieces of all sizes.
pub(super) fn destroy(space: &AddressSpace) {
    let root = space.root();
    Cpu::this().tlb.set_loaded(PhysAddr(0));
    assert_ne!(root, PhysAddr(0));
    let mut budget = 1;
    while !space.destroy_step(&mut { budget }) {
        budget = budget % 7 + 1;
    }
}

/// Drops the last capability to a dataspace, as it were.
pub(super) fn drop_dataspace(dataspace: Ref<Dataspace>) {
    reaper::destroy(dataspace.erase());
}

pub(super) fn delete_dataspace(dataspace: Ref<Dataspace>) {
    objects::delete(dataspace.erase());
}

/// A call that works in pieces of a few steps, to its end.
pub(super) fn clear(dataspace: &Dataspace, offset: u64, size: u64) -> Result<(), l4::Error> {
    let mut done = 0;
    while done < size {
        done += dataspace.clear(offset + done, size - done, &mut 5)?;
    }
    Ok(())
}

pub(super) fn seal(dataspace: &Dataspace) {
    while !dataspace.seal(&mut 3).unwrap() {}
}

pub(super) fn copy_in(to: &Dataspace, offset: u64, from: &Dataspace, source: u64, size: u64) {
    let mut done = 0;
    while done < size {
        done += to
            .copy_in(offset + done, from, source + done, size - done)
            .unwrap();
    }
}

/// What a call that returns the bytes it dealt with does when it is repeated until all is done.
pub(super) fn whole(
    start: u64,
    size: u64,
    step: impl Fn(u64, u64) -> Result<u64, l4::Error>,
) -> Result<(), l4::Error> {
    let mut done = 0;
    while done < size {
        let more = step(start + done, size - done)?;
        assert_ne!(more, 0, "no progress");
        done += more;
    }
    Ok(())
}

pub(super) fn word(frame: PhysAddr, offset: u64) -> u64 {
    // SAFETY: The tests only ask for words of memory that the fake machine has.
    unsafe { ((machine_direct_map() + frame.0 + offset) as *const u64).read_volatile() }
}

fn set_word(frame: PhysAddr, offset: u64, value: u64) {
    // SAFETY: As above, and no reference to that memory exists.
    unsafe { ((machine_direct_map() + frame.0 + offset) as *mut u64).write_volatile(value) }
}

/// A translation as the processor keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Translation {
    pub(super) frame: PhysAddr,
    pub(super) write: bool,
    pub(super) execute: bool,
    /// It comes from an entry for 2 MiB.
    pub(super) large: bool,
}

/// Walks the tables as the Intel SDM describes it. `None` if user mode may not use the page at all.
pub(super) fn translate(root: PhysAddr, address: u64) -> Option<Translation> {
    let mut result = Translation {
        frame: root,
        write: true,
        execute: true,
        large: false,
    };
    for level in (0..4).rev() {
        let index = address >> (12 + 9 * level) & 511;
        let entry = word(result.frame, index * 8);
        if entry & 1 == 0 || entry & 4 == 0 {
            return None;
        }
        result.write &= entry & 2 != 0;
        result.execute &= entry >> 63 == 0;
        result.frame = PhysAddr(entry & 0x000f_ffff_ffff_f000);
        if entry & 0x80 != 0 {
            assert_eq!(level, 1, "of all large pages there are those of 2 MiB only");
            assert_eq!(entry & 0x001f_f000, 0, "reserved bits, or another memory type");
            result.frame.0 += address & 0x001f_f000;
            result.large = true;
            break;
        }
    }
    Some(result)
}

/// A processor in user mode: it caches translations, and faults.
pub(super) struct Processor {
    space: &'static AddressSpace,
    cache: RefCell<BTreeMap<u64, Translation>>,
    flushes: Cell<u64>,
    pub(super) faults: Cell<u64>,
}

impl Processor {
    pub(super) fn new(space: &'static AddressSpace) -> Processor {
        Processor {
            space,
            cache: RefCell::default(),
            flushes: Cell::new(fake::flushes()),
            faults: Cell::new(0),
        }
    }

    /// Makes this the space that the CPU translates with.
    fn load(&self) {
        std::thread_local! {
            static LOADED: Cell<u64> = const { Cell::new(0) };
        }
        let root = self.space.root();
        Cpu::this().tlb.set_loaded(root);
        // As loading CR3 does.
        fence(Ordering::SeqCst);
        if LOADED.replace(root.0) != root.0 {
            self.cache.borrow_mut().clear();
        }
    }

    fn usable(translation: Translation, access: Access) -> bool {
        match access {
            Access::WRITE => translation.write,
            Access::EXECUTE => translation.execute,
            _ => true,
        }
    }

    /// The frame for an access, after as many faults as it takes.
    pub(super) fn access(&self, address: u64, access: Access) -> Result<PhysAddr, FaultOutcome> {
        self.load();
        let page = address & !(PAGE_SIZE - 1);
        for _ in 0..16 {
            if self.flushes.replace(fake::flushes()) != fake::flushes() {
                self.cache.borrow_mut().clear();
            }
            let cached = self.cache.borrow().get(&page).copied();
            let found = cached.filter(|cached| Self::usable(*cached, access));
            let found =
                found.or_else(|| translate(self.space.root(), page).filter(|new| Self::usable(*new, access)));
            if let Some(translation) = found {
                self.cache.borrow_mut().insert(page, translation);
                return Ok(translation.frame);
            }
            // A fault drops the translation that led to it.
            self.cache.borrow_mut().remove(&page);
            self.faults.set(self.faults.get() + 1);
            let present = u64::from(translate(self.space.root(), page).is_some());
            let code = present
                | 4
                | match access {
                    Access::WRITE => 2,
                    Access::EXECUTE => 16,
                    _ => 0,
                };
            match self.space.resolve_fault(address, code) {
                FaultOutcome::Resolved => {}
                other => return Err(other),
            }
        }
        panic!("the page fault at {address:#x} ({access:?}) repeats without end");
    }

    pub(super) fn read(&self, address: u64) -> Result<u64, FaultOutcome> {
        self.access(address, Access::READ)
            .map(|frame| word(frame, address % PAGE_SIZE))
    }

    pub(super) fn write(&self, address: u64, value: u64) -> Result<(), FaultOutcome> {
        self.access(address, Access::WRITE)
            .map(|frame| set_word(frame, address % PAGE_SIZE, value))
    }
}

/// Attaches anonymous memory at a fixed place.
pub(super) fn anonymous(space: &AddressSpace, start: u64, pages: u64) {
    let size = pages * PAGE_SIZE;
    assert_eq!(
        space.attach(start, size, Access::READ_WRITE, Backing::Anonymous, None, false),
        Ok(start)
    );
}
