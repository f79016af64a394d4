//! Regions and dataspaces.
#![expect(unsafe_code, reason = "the tests look at memory by address")]

use crate::exceptions::{Event, Victim, fault_of, poke, touch};
use crate::harness::{FACTORY, PRIORITY, Test, TestResult, other_cpu, settled_counters};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::exception::{ExceptionFrame, Reason};
use l4::object::{Dataspace, Factory, MapEntry, Placement, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, Rights, USER_END, utcb};
use l4re::thread::{Builder, Ending};
use l4re::{OwnedCap, Slot, clock, memory};

pub(crate) const TESTS: &[Test] = tests![memory:
    fresh_memory_is_zero,
    bad_ranges_are_refused,
    writable_and_executable_is_refused,
    overlaps_are_refused_as_a_whole,
    search_finds_the_first_gap,
    find_tells_what_is_where,
    detaching_the_middle_keeps_the_rest,
    writing_what_is_read_only_faults,
    executing_data_faults,
    protecting_a_gap_is_refused,
    reserved_ranges_are_only_taken,
    discarded_memory_is_zero_again,
    pages_are_charged_and_given_back,
    the_utcb_cannot_be_touched,
    views_share_a_dataspace,
    dataspaces_check_their_bounds,
    private_views_copy,
    private_views_need_a_sealed_dataspace,
    sealing_stops_all_writers,
    a_child_starts_as_its_parent,
    copies_between_dataspaces,
    cleared_pages_are_zero,
    a_view_needs_rights,
    a_deleted_dataspace_shows_nothing,
    fixed_dataspaces_are_readable,
    an_account_at_its_limit_faults,
    another_cpu_sees_a_reduction_at_once,
    another_cpu_loses_what_is_detached,
    many_regions_fit,
    two_cpus_fault_on_the_same_page,
    two_cpus_share_a_heap,
];

const OWN: Task = Task(CapIndex::TASK);
/// A range that nobody else uses.
const PLACE: u64 = 0x6100_0000_0000;
const PAGE: u64 = l4::PAGE_SIZE;

/// A region of fresh memory.
pub(crate) fn anonymous(start: u64, size: u64) -> Region {
    Region {
        start,
        size,
        access: Access::READ_WRITE,
        backing: Backing::Anonymous,
        search: false,
        dataspace: CapIndex(0),
        offset: 0,
    }
}

fn view(start: u64, size: u64, backing: Backing, access: Access, dataspace: &OwnedCap) -> Region {
    Region {
        access,
        backing,
        dataspace: dataspace.index(),
        ..anonymous(start, size)
    }
}

/// Attaches regions for the length of a test.
struct Attached(u64, u64);

impl Attached {
    fn new(regions: &[Region]) -> Result<Attached, Error> {
        let start = OWN.attach(regions)?;
        let end = regions
            .iter()
            .map(|region| region.start + region.size)
            .max()
            .unwrap_or(start);
        Ok(Attached(start, end - start))
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = OWN.detach(self.0, self.1);
    }
}

/// A word of memory of the test.
pub(crate) fn read(address: u64) -> u64 {
    // SAFETY: The tests read only what they attached; anything else faults and fails the test.
    unsafe { core::ptr::with_exposed_provenance::<u64>(address as usize).read_volatile() }
}

fn write(address: u64, value: u64) {
    // SAFETY: As in `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(address as usize).write_volatile(value) };
}

/// Whether an access that `body` makes at `address` is refused with these bits of the error code.
fn is_refused(frame: Option<ExceptionFrame>, address: u64, error: u64) -> bool {
    frame.is_some_and(|frame| {
        (frame.reason, frame.vector, frame.address, frame.error & 0x16) == (0, 14, address, error)
    })
}

const READING: u64 = 4;
const WRITING: u64 = 6;
const FETCHING: u64 = 0x14;

fn fresh_memory_is_zero() -> TestResult {
    for round in 0..3 {
        let _region = Attached::new(&[anonymous(PLACE, 64 * PAGE)])?;
        for address in (PLACE..PLACE + 64 * PAGE).step_by(8) {
            check_eq!(read(address), 0);
            write(address, address ^ round);
        }
        check_eq!(read(PLACE + 8), (PLACE + 8) ^ round);
    }
    Ok(())
}

fn bad_ranges_are_refused() -> TestResult {
    for (start, size) in [
        (0, PAGE),
        (PLACE, 0),
        (PLACE + 1, PAGE),
        (PLACE, PAGE - 1),
        (USER_END, PAGE),
        (USER_END - PAGE, 2 * PAGE),
        (0xffff_8000_0000_0000, PAGE),
        (u64::MAX - PAGE + 1, PAGE),
        (PLACE, u64::MAX - PAGE + 1),
        (PLACE, 1 << 63),
    ] {
        check!(OWN.attach(&[anonymous(start, size)]).is_err());
        let search = Region {
            search: true,
            ..anonymous(start.max(PAGE), size)
        };
        if size == 0 || size >= 1 << 63 {
            check!(OWN.attach(&[search]).is_err());
        }
    }
    for (start, size) in [
        (0xffff_8000_0000_0000, PAGE),
        (u64::MAX - PAGE + 1, 2 * PAGE),
        (PLACE + 1, PAGE),
    ] {
        check!(OWN.detach(start, size).is_err());
        check!(OWN.protect(start, size, Access::READ).is_err());
        check!(OWN.discard(start, size).is_err());
    }
    Ok(())
}

fn writable_and_executable_is_refused() -> TestResult {
    let both = Region {
        access: Access::all(),
        ..anonymous(PLACE, PAGE)
    };
    check!(OWN.attach(&[both]).is_err());
    let _region = Attached::new(&[anonymous(PLACE, PAGE)])?;
    check!(OWN.protect(PLACE, PAGE, Access::all()).is_err());
    OWN.protect(PLACE, PAGE, Access::READ_EXECUTE)?;
    Ok(())
}

fn overlaps_are_refused_as_a_whole() -> TestResult {
    let _region = Attached::new(&[anonymous(PLACE, 4 * PAGE)])?;
    for (start, size) in [
        (PLACE, PAGE),
        (PLACE - PAGE, 2 * PAGE),
        (PLACE + 3 * PAGE, 2 * PAGE),
    ] {
        check_eq!(OWN.attach(&[anonymous(start, size)]), Err(Error::Exists));
    }
    let free = PLACE + 16 * PAGE;
    check_eq!(
        OWN.attach(&[anonymous(free, PAGE), anonymous(PLACE, PAGE)]),
        Err(Error::Exists)
    );
    check!(fault_of(move || touch(free))?.is_some());
    Ok(())
}

fn search_finds_the_first_gap() -> TestResult {
    let _first = Attached::new(&[anonymous(PLACE, PAGE)])?;
    let _second = Attached::new(&[anonymous(PLACE + 3 * PAGE, PAGE)])?;
    let search = |size| Region {
        search: true,
        ..anonymous(PLACE, size)
    };
    check_eq!(OWN.attach(&[search(2 * PAGE)]), Ok(PLACE + PAGE));
    check_eq!(OWN.attach(&[search(PAGE)]), Ok(PLACE + 4 * PAGE));
    OWN.detach(PLACE, 8 * PAGE)?;
    Ok(())
}

fn find_tells_what_is_where() -> TestResult {
    let reserved = Region {
        backing: Backing::Reserved,
        access: Access::empty(),
        ..anonymous(PLACE + 8 * PAGE, PAGE)
    };
    let _regions = Attached::new(&[anonymous(PLACE, 2 * PAGE), reserved])?;
    let found = OWN.find(PLACE + PAGE)?;
    check_eq!((found.start, found.size), (PLACE, 2 * PAGE));
    check_eq!(
        (found.access, found.backing),
        (Access::READ_WRITE, Backing::Anonymous)
    );
    let next = OWN.find(PLACE + 2 * PAGE)?;
    check_eq!(
        (next.start, next.size, next.backing),
        (PLACE + 8 * PAGE, PAGE, Backing::Reserved)
    );
    check_eq!(OWN.find(u64::MAX).err(), Some(Error::NotFound));
    Ok(())
}

fn detaching_the_middle_keeps_the_rest() -> TestResult {
    let _region = Attached::new(&[anonymous(PLACE, 3 * PAGE)])?;
    for page in 0..3 {
        write(PLACE + page * PAGE, page + 1);
    }
    OWN.detach(PLACE + PAGE, PAGE)?;
    check_eq!((read(PLACE), read(PLACE + 2 * PAGE)), (1, 3));
    check!(is_refused(
        fault_of(|| touch(PLACE + PAGE))?,
        PLACE + PAGE,
        READING
    ));
    OWN.attach(&[anonymous(PLACE + PAGE, PAGE)])?;
    check_eq!(read(PLACE + PAGE), 0);
    Ok(())
}

fn writing_what_is_read_only_faults() -> TestResult {
    let _region = Attached::new(&[anonymous(PLACE, 2 * PAGE)])?;
    write(PLACE, 7);
    OWN.protect(PLACE, 2 * PAGE, Access::READ)?;
    check_eq!((read(PLACE), read(PLACE + PAGE)), (7, 0));
    check!(is_refused(fault_of(|| poke(PLACE))?, PLACE, WRITING));
    check!(is_refused(
        fault_of(|| poke(PLACE + PAGE))?,
        PLACE + PAGE,
        WRITING
    ));
    OWN.protect(PLACE, PAGE, Access::READ_WRITE)?;
    write(PLACE, 8);
    check_eq!(read(PLACE), 8);
    OWN.protect(PLACE, PAGE, Access::empty())?;
    check!(is_refused(fault_of(|| touch(PLACE))?, PLACE, READING));
    OWN.protect(PLACE, PAGE, Access::READ)?;
    check_eq!(read(PLACE), 8);
    Ok(())
}

/// Calls an address.
fn run(address: u64) {
    // SAFETY: The memory there holds a return instruction, or the call faults.
    unsafe { core::arch::asm!("call {}", in(reg) address, clobber_abi("sysv64")) };
}

fn executing_data_faults() -> TestResult {
    let _region = Attached::new(&[anonymous(PLACE, PAGE)])?;
    write(PLACE, 0xc3);
    check!(is_refused(fault_of(|| run(PLACE))?, PLACE, FETCHING));
    OWN.protect(PLACE, PAGE, Access::READ_EXECUTE)?;
    run(PLACE);
    check!(is_refused(fault_of(|| poke(PLACE))?, PLACE, WRITING));
    Ok(())
}

fn protecting_a_gap_is_refused() -> TestResult {
    let _region = Attached::new(&[anonymous(PLACE, PAGE), anonymous(PLACE + 2 * PAGE, PAGE)])?;
    check!(OWN.protect(PLACE, 3 * PAGE, Access::READ).is_err());
    write(PLACE, 1);
    write(PLACE + 2 * PAGE, 1);
    Ok(())
}

fn reserved_ranges_are_only_taken() -> TestResult {
    let reserved = Region {
        backing: Backing::Reserved,
        access: Access::empty(),
        ..anonymous(PLACE, PAGE)
    };
    let _region = Attached::new(&[reserved])?;
    check!(is_refused(fault_of(|| touch(PLACE))?, PLACE, READING));
    check_eq!(OWN.attach(&[anonymous(PLACE, PAGE)]), Err(Error::Exists));
    Ok(())
}

fn discarded_memory_is_zero_again() -> TestResult {
    let _region = Attached::new(&[anonymous(PLACE, 16 * PAGE)])?;
    for page in 0..16 {
        write(PLACE + page * PAGE, 5);
    }
    let used = FACTORY.info()?.used;
    OWN.discard(PLACE + PAGE, 14 * PAGE)?;
    check_eq!(used - FACTORY.info()?.used, 14 * PAGE);
    check_eq!(
        (read(PLACE), read(PLACE + PAGE), read(PLACE + 15 * PAGE)),
        (5, 0, 5)
    );
    Ok(())
}

fn pages_are_charged_and_given_back() -> TestResult {
    let before = FACTORY.info()?.used;
    let region = Attached::new(&[anonymous(PLACE, 600 * PAGE)])?;
    let attached = FACTORY.info()?.used;
    check!(attached - before <= PAGE);
    for page in 0..600 {
        write(PLACE + page * PAGE, 1);
    }
    let touched = FACTORY.info()?.used - attached;
    // The pages, and the page tables above them.
    check!((600 * PAGE..=606 * PAGE).contains(&touched));
    drop(region);
    check!(FACTORY.info()?.used <= before + 6 * PAGE);
    Ok(())
}

fn the_utcb_cannot_be_touched() -> TestResult {
    let page = l4::Utcb::current().word(utcb::SELF_WORD);
    check_eq!(OWN.attach(&[anonymous(page, PAGE)]).is_err(), true);
    check!(OWN.protect(page, PAGE, Access::READ).is_err());
    // Refused or without effect.
    let _ = OWN.discard(page, PAGE);
    check_eq!(l4::Utcb::current().word(utcb::SELF_WORD), page);
    check!(OWN.detach(page, PAGE).is_err());
    check_eq!(l4::Utcb::current().word(utcb::SELF_WORD), page);
    Ok(())
}

fn views_share_a_dataspace() -> TestResult {
    let dataspace = memory::create_dataspace(3 * PAGE)?;
    let shared = |start| view(start, 3 * PAGE, Backing::Shared, Access::READ_WRITE, &dataspace);
    let other = PLACE + 64 * PAGE;
    let _one = Attached::new(&[shared(PLACE)])?;
    let _two = Attached::new(&[shared(other)])?;
    write(PLACE + 8, 42);
    check_eq!(read(other + 8), 42);
    Dataspace(dataspace.index()).write(2 * PAGE, &7u64.to_le_bytes())?;
    check_eq!((read(PLACE + 2 * PAGE), read(other + 2 * PAGE)), (7, 7));
    let mut bytes = [0; 8];
    Dataspace(dataspace.index()).read(8, &mut bytes)?;
    check_eq!(u64::from_le_bytes(bytes), 42);
    let _part = Attached::new(&[Region {
        size: PAGE,
        offset: 2 * PAGE,
        ..shared(PLACE + 128 * PAGE)
    }])?;
    check_eq!(read(PLACE + 128 * PAGE), 7);
    Ok(())
}

fn dataspaces_check_their_bounds() -> TestResult {
    let dataspace = memory::create_dataspace(2 * PAGE)?;
    let target = Dataspace(dataspace.index());
    check_eq!(target.info()?.size, 2 * PAGE);
    check!(target.write(2 * PAGE - 7, &[1; 8]).is_err());
    check!(target.write(u64::MAX - 3, &[1; 8]).is_err());
    check!(target.read(2 * PAGE, &mut [0; 1]).is_err());
    check!(target.clear(PAGE, 2 * PAGE).is_err());
    check!(target.clear(PAGE, u64::MAX & !0xfff).is_err());
    let beyond = Region {
        offset: PAGE,
        ..view(PLACE, 2 * PAGE, Backing::Shared, Access::READ, &dataspace)
    };
    check!(OWN.attach(&[beyond]).is_err());
    check!(
        OWN.attach(&[Region {
            offset: u64::MAX & !0xfff,
            ..beyond
        }])
        .is_err()
    );
    let slot = Slot::allocate()?;
    check!(FACTORY.create_dataspace(u64::MAX, slot.index()).is_err());
    check_eq!(
        OWN.attach(&[Region {
            dataspace: CapIndex::DEBUG,
            ..beyond
        }]),
        Err(Error::Invalid)
    );
    Ok(())
}

fn private_views_copy() -> TestResult {
    let dataspace = memory::create_dataspace(2 * PAGE)?;
    let target = Dataspace(dataspace.index());
    target.write(0, &11u64.to_le_bytes())?;
    target.seal()?;
    let private = |start| view(start, 2 * PAGE, Backing::Private, Access::READ_WRITE, &dataspace);
    let other = PLACE + 64 * PAGE;
    let _one = Attached::new(&[private(PLACE)])?;
    let _two = Attached::new(&[private(other)])?;
    check_eq!((read(PLACE), read(other)), (11, 11));
    write(PLACE, 12);
    write(other + PAGE, 13);
    check_eq!((read(PLACE), read(PLACE + PAGE)), (12, 0));
    check_eq!((read(other), read(other + PAGE)), (11, 13));
    let mut bytes = [0; 8];
    target.read(0, &mut bytes)?;
    check_eq!(u64::from_le_bytes(bytes), 11);
    Ok(())
}

fn private_views_need_a_sealed_dataspace() -> TestResult {
    let dataspace = memory::create_dataspace(PAGE)?;
    let private = view(PLACE, PAGE, Backing::Private, Access::READ_WRITE, &dataspace);
    check_eq!(OWN.attach(&[private]), Err(Error::Invalid));
    Ok(())
}

fn sealing_stops_all_writers() -> TestResult {
    let dataspace = memory::create_dataspace(2 * PAGE)?;
    let target = Dataspace(dataspace.index());
    let _view = Attached::new(&[view(
        PLACE,
        2 * PAGE,
        Backing::Shared,
        Access::READ_WRITE,
        &dataspace,
    )])?;
    write(PLACE, 21);
    target.seal()?;
    check_eq!(target.info()?.sealed, true);
    check_eq!(read(PLACE), 21);
    check!(is_refused(fault_of(|| poke(PLACE))?, PLACE, WRITING));
    check!(is_refused(
        fault_of(|| poke(PLACE + PAGE))?,
        PLACE + PAGE,
        WRITING
    ));
    check!(target.write(0, &[1]).is_err());
    check!(target.clear(0, PAGE).is_err());
    let writable = view(
        PLACE + 64 * PAGE,
        PAGE,
        Backing::Shared,
        Access::READ_WRITE,
        &dataspace,
    );
    if OWN.attach(&[writable]).is_ok() {
        check!(fault_of(|| poke(PLACE + 64 * PAGE))?.is_some());
        OWN.detach(PLACE + 64 * PAGE, PAGE)?;
    }
    check!(OWN.protect(PLACE, PAGE, Access::READ_WRITE).is_err() || fault_of(|| poke(PLACE))?.is_some());
    check_eq!(read(PLACE), 21);
    Ok(())
}

fn a_child_starts_as_its_parent() -> TestResult {
    let parent = memory::create_dataspace(2 * PAGE)?;
    let slot = Slot::allocate()?;
    check!(
        FACTORY
            .create_child(Dataspace(parent.index()), slot.index())
            .is_err()
    );
    Dataspace(parent.index()).write(PAGE, &[9; 8])?;
    Dataspace(parent.index()).seal()?;
    let child = Slot::fill(|slot| FACTORY.create_child(Dataspace(parent.index()), slot))?;
    let target = Dataspace(child.index());
    check_eq!((target.info()?.size, target.info()?.sealed), (2 * PAGE, false));
    drop(parent);
    let mut bytes = [0; 16];
    target.read(PAGE, &mut bytes)?;
    check_eq!(bytes, [9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
    let _view = Attached::new(&[view(PLACE, 2 * PAGE, Backing::Shared, Access::READ_WRITE, &child)])?;
    write(PLACE + PAGE + 8, 5);
    target.read(PAGE, &mut bytes)?;
    check_eq!(bytes, [9, 9, 9, 9, 9, 9, 9, 9, 5, 0, 0, 0, 0, 0, 0, 0]);
    Ok(())
}

fn copies_between_dataspaces() -> TestResult {
    let size = 40 * PAGE;
    let (source, target) = (memory::create_dataspace(size)?, memory::create_dataspace(size)?);
    for page in 0..40u64 {
        Dataspace(source.index()).write(page * PAGE + 100, &page.to_le_bytes())?;
    }
    let (from, to) = (Dataspace(source.index()), Dataspace(target.index()));
    to.copy_in(33, from, 100, size - 133)?;
    for page in 0..39u64 {
        let mut bytes = [0; 8];
        to.read(page * PAGE + 33, &mut bytes)?;
        check_eq!(u64::from_le_bytes(bytes), page);
    }
    check!(to.copy_in(size - 1, from, 0, 2).is_err());
    check!(to.copy_in(0, from, u64::MAX, 2).is_err());
    Ok(())
}

fn cleared_pages_are_zero() -> TestResult {
    let dataspace = memory::create_dataspace(4 * PAGE)?;
    let _view = Attached::new(&[view(
        PLACE,
        4 * PAGE,
        Backing::Shared,
        Access::READ_WRITE,
        &dataspace,
    )])?;
    for page in 0..4 {
        write(PLACE + page * PAGE, 3);
    }
    Dataspace(dataspace.index()).clear(PAGE, 2 * PAGE)?;
    let words = [0, 1, 2, 3].map(|page| read(PLACE + page * PAGE));
    check_eq!(words, [3, 0, 0, 3]);
    Ok(())
}

fn a_view_needs_rights() -> TestResult {
    let dataspace = memory::create_dataspace(PAGE)?;
    let readable = Slot::fill(|slot| OWN.map(&[MapEntry::copy(dataspace.index(), slot, Rights::READ)]))?;
    let shared = |access, cap| view(PLACE, PAGE, Backing::Shared, access, cap);
    check_eq!(
        OWN.attach(&[shared(Access::READ_WRITE, &readable)]),
        Err(Error::NotPermitted)
    );
    {
        let _view = Attached::new(&[shared(Access::READ, &readable)])?;
        check_eq!(read(PLACE), 0);
        // What was attached for reading does not become writable.
        check!(OWN.protect(PLACE, PAGE, Access::READ_WRITE).is_err() || fault_of(|| poke(PLACE))?.is_some());
    }
    check_eq!(
        Dataspace(readable.index()).write(0, &[1]),
        Err(Error::NotPermitted)
    );
    check_eq!(Dataspace(readable.index()).seal(), Err(Error::NotPermitted));
    let blind = Slot::fill(|slot| OWN.map(&[MapEntry::copy(dataspace.index(), slot, Rights::WRITE)]))?;
    check_eq!(
        OWN.attach(&[shared(Access::READ, &blind)]),
        Err(Error::NotPermitted)
    );
    Ok(())
}

fn a_deleted_dataspace_shows_nothing() -> TestResult {
    let dataspace = memory::create_dataspace(PAGE)?;
    let _view = Attached::new(&[view(PLACE, PAGE, Backing::Shared, Access::READ_WRITE, &dataspace)])?;
    write(PLACE, 1);
    dataspace.delete()?;
    settled_counters()?;
    check!(is_refused(fault_of(|| touch(PLACE))?, PLACE, READING));
    Ok(())
}

fn fixed_dataspaces_are_readable() -> TestResult {
    let file = Dataspace(CapIndex(0x40));
    let info = file.info()?;
    check_eq!((info.sealed, info.fixed), (true, true));
    let mut magic = [0; 4];
    file.read(0, &mut magic)?;
    check_eq!(magic, *b"\x7fELF");
    check!(file.write(0, &[1]).is_err());
    let private = Region {
        dataspace: file.0,
        backing: Backing::Private,
        ..anonymous(PLACE, PAGE)
    };
    let _view = Attached::new(&[private])?;
    check_eq!(read(PLACE) as u32, 0x464c_457f);
    write(PLACE, 0);
    file.read(0, &mut magic)?;
    check_eq!(magic, *b"\x7fELF");
    Ok(())
}

fn an_account_at_its_limit_faults() -> TestResult {
    let account = Slot::fill(|slot| FACTORY.create_factory(64 << 10, slot))?;
    let factory = Factory(account.index());
    let dataspace = Slot::fill(|slot| factory.create_dataspace(64 * PAGE, slot))?;
    let _view = Attached::new(&[view(
        PLACE,
        64 * PAGE,
        Backing::Shared,
        Access::READ_WRITE,
        &dataspace,
    )])?;
    let mut victim = Victim::start(0, PRIORITY, || {
        for page in 0..64 {
            poke(PLACE + page * PAGE);
        }
    })?;
    let frame = victim.fault()?;
    check_eq!(
        (Reason::from_word(frame.reason), frame.vector),
        (Some(Reason::Quota), 14)
    );
    check!((PLACE + 8 * PAGE..PLACE + 17 * PAGE).contains(&frame.address));
    // With memory given back it goes on until the next limit.
    Dataspace(dataspace.index()).clear(0, 8 * PAGE)?;
    victim.go_on(None)?;
    check_eq!(Reason::from_word(victim.fault()?.reason), Some(Reason::Quota));
    check_eq!(victim.end()?, Event::Ended(Ending::Died));
    check_eq!(
        Dataspace(dataspace.index()).write(63 * PAGE, &[1]),
        Err(Error::NoMemory)
    );
    Ok(())
}

/// A thread on another CPU that counts at `PLACE`; the count is also shown at `mirror`.
fn counting_elsewhere(
    mirror: u64,
) -> Result<(OwnedCap, Attached, Attached, Victim), crate::harness::Failure> {
    let cpu = other_cpu()?;
    let dataspace = memory::create_dataspace(PAGE)?;
    let shared = |start| view(start, PAGE, Backing::Shared, Access::READ_WRITE, &dataspace);
    let place = Attached::new(&[shared(PLACE)])?;
    let copy = Attached::new(&[shared(mirror)])?;
    let victim = Victim::start(cpu, PRIORITY, || {
        loop {
            write(PLACE, read(PLACE) + 1);
        }
    })?;
    let deadline = clock::after(1_000_000_000);
    while read(mirror) < 1000 && clock::now_ns() < deadline {
        core::hint::spin_loop();
    }
    check!(read(mirror) >= 1000);
    Ok((dataspace, place, copy, victim))
}

fn another_cpu_sees_a_reduction_at_once() -> TestResult {
    for _ in 0..10 {
        let mirror = PLACE + 64 * PAGE;
        let (_dataspace, _place, _copy, mut victim) = counting_elsewhere(mirror)?;
        OWN.protect(PLACE, PAGE, Access::READ)?;
        let count = read(mirror);
        clock::sleep(1_000_000);
        check_eq!(read(mirror), count);
        check!(
            matches!(victim.next()?, Event::Fault(frame) if frame.address == PLACE && frame.error & 2 != 0)
        );
        OWN.protect(PLACE, PAGE, Access::READ_WRITE)?;
        victim.go_on(None)?;
        let deadline = clock::after(1_000_000_000);
        while read(mirror) == count && clock::now_ns() < deadline {
            core::hint::spin_loop();
        }
        check!(read(mirror) > count);
    }
    Ok(())
}

fn another_cpu_loses_what_is_detached() -> TestResult {
    for _ in 0..10 {
        let mirror = PLACE + 64 * PAGE;
        let (_dataspace, _place, _copy, mut victim) = counting_elsewhere(mirror)?;
        OWN.detach(PLACE, PAGE)?;
        let count = read(mirror);
        clock::sleep(1_000_000);
        check_eq!(read(mirror), count);
        check_eq!(victim.fault()?.address, PLACE);
        check_eq!(victim.end()?, Event::Ended(Ending::Died));
    }
    Ok(())
}

fn many_regions_fit() -> TestResult {
    let count = 2000;
    let dataspace = memory::create_dataspace(PAGE)?;
    for index in 0..count {
        let access = if index % 2 == 0 {
            Access::READ
        } else {
            Access::READ_WRITE
        };
        OWN.attach(&[view(
            PLACE + index * 2 * PAGE,
            PAGE,
            Backing::Shared,
            access,
            &dataspace,
        )])?;
    }
    for index in (0..count).rev().step_by(7) {
        let found = OWN.find(PLACE + index * 2 * PAGE)?;
        check_eq!((found.start, found.size), (PLACE + index * 2 * PAGE, PAGE));
        check_eq!(read(found.start), 0);
    }
    OWN.detach(PLACE, count * 2 * PAGE)?;
    check!(
        OWN.find(PLACE)
            .map_or(true, |found| found.start >= PLACE + count * 2 * PAGE)
    );
    Ok(())
}

/// Two CPUs write to different words of fresh pages at the same moment: neither may lose its word.
fn two_cpus_fault_on_the_same_page() -> TestResult {
    const PAGES: u64 = 2000;
    let cpu = other_cpu()?;
    let _region = Attached::new(&[anonymous(PLACE, PAGES * PAGE)])?;
    let turn = Arc::new(AtomicU64::new(0));
    let other = turn.clone();
    let placement = Placement {
        cpu,
        priority: PRIORITY,
        slice_us: 0,
    };
    let thread = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        for page in 0..PAGES {
            while other.load(Ordering::Acquire) <= page {
                core::hint::spin_loop();
            }
            write(PLACE + page * PAGE + 8, page + 1);
        }
    })?;
    for page in 0..PAGES {
        turn.store(page + 1, Ordering::Release);
        write(PLACE + page * PAGE, page + 1);
    }
    thread.join()?;
    for page in 0..PAGES {
        let start = PLACE + page * PAGE;
        check_eq!((read(start), read(start + 8)), (page + 1, page + 1));
    }
    Ok(())
}

fn two_cpus_share_a_heap() -> TestResult {
    let wrong = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for number in 0..4u32 {
        let wrong = wrong.clone();
        let placement = Placement {
            cpu: number % crate::harness::cpu_count()?,
            priority: PRIORITY,
            slice_us: 200,
        };
        let builder = Builder {
            placement,
            ..Builder::default()
        };
        threads.push(builder.spawn(move || {
            let mut kept: Vec<Vec<u32>> = Vec::new();
            for round in 0..3000u32 {
                let value = number << 24 | round;
                kept.push(alloc::vec![value; 1 + (round * 7 % 200) as usize]);
                if kept.len() > 20 {
                    let old = kept.swap_remove((round % 20) as usize);
                    let is_whole = old.iter().all(|word| *word == old[0]) && old[0] >> 24 == number;
                    wrong.fetch_add((!is_whole).into(), Ordering::SeqCst);
                }
            }
        })?);
    }
    for thread in threads {
        check_eq!(thread.join()?, Ending::Returned);
    }
    check_eq!(wrong.load(Ordering::SeqCst), 0);
    Ok(())
}
