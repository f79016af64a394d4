//! Regions and dataspaces.
#![expect(unsafe_code, reason = "the tests look at memory by address")]

use crate::exceptions::{Event, Victim, fault_of, poke, touch};
use crate::harness::{FACTORY, PRIORITY, Test, TestResult, eventually, other_cpu};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::exception::ExceptionFrame;
use l4::object::{Placement, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, USER_END, utcb};
use l4re::thread::{Builder, Ending};
use l4re::{OwnedCap, clock, memory};

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
    another_cpu_sees_a_reduction_at_once,
    another_cpu_loses_what_is_detached,
    many_regions_fit,
    two_cpus_fault_on_the_same_page,
    two_cpus_share_a_heap,
];

const OWN: Task = Task(CapIndex::TASK);
/// A range that nobody else uses.
pub(crate) const PLACE: u64 = 0x6100_0000_0000;
pub(crate) const PAGE: u64 = l4::PAGE_SIZE;

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

/// A region that shows a dataspace.
pub(crate) fn view(start: u64, size: u64, backing: Backing, access: Access, dataspace: &OwnedCap) -> Region {
    Region {
        access,
        backing,
        dataspace: dataspace.index(),
        ..anonymous(start, size)
    }
}

/// Attaches regions for the length of a test.
pub(crate) struct Attached(u64, u64);

impl Attached {
    pub(crate) fn new(regions: &[Region]) -> Result<Attached, Error> {
        let start = OWN.attach(regions)?;
        let end = regions
            .iter()
            .map(|region| region.start + region.size)
            .max()
            .unwrap_or(start);
        Ok(Attached(start, end - start))
    }

    /// What is attached already.
    pub(crate) fn of(start: u64, size: u64) -> Attached {
        Attached(start, size)
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

/// Writes a word of memory of the test.
pub(crate) fn write(address: u64, value: u64) {
    // SAFETY: As in `read`.
    unsafe { core::ptr::with_exposed_provenance_mut::<u64>(address as usize).write_volatile(value) };
}

/// Whether an access that `body` makes at `address` is refused with these bits of the error code.
pub(crate) fn is_refused(frame: Option<ExceptionFrame>, address: u64, error: u64) -> bool {
    frame.is_some_and(|frame| {
        (frame.reason, frame.vector, frame.address, frame.error & 0x16) == (0, 14, address, error)
    })
}

pub(crate) const READING: u64 = 4;
pub(crate) const WRITING: u64 = 6;
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
    check!(eventually(|| read(mirror) >= 1000));
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
        check!(eventually(|| read(mirror) > count));
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
