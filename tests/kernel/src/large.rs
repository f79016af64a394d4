//! Large pages: what shows a boot module of 8 MiB, whose file has a number in each 16 bytes (`tests/programs/numbers`).

use crate::exceptions::{fault_of, touch};
use crate::harness::{FACTORY, Failure, PRIORITY, Test, TestResult, cpu_count, settled_counters};
use crate::memory::{Attached, PAGE, PLACE, READING, anonymous, is_refused, read, write};
use crate::snapshots::{Do, Template, hear};
use crate::{check, check_eq, tests};
use alloc::vec::Vec;
use l4::CapIndex;
use l4::object::{Dataspace, Factory, Placement, Task};
use l4::region::{Access, Backing, Region};

pub(crate) const TESTS: &[Test] = tests![large:
    a_large_module_is_shown_by_large_pages,
    a_search_finds_where_they_begin,
    a_part_can_be_detached_and_protected,
    what_is_written_is_copied_by_the_page,
    clones_on_all_cpus_write_to_one_large_page,
    the_end_of_the_module_takes_the_clones_along,
];

const OWN: Task = Task(CapIndex::TASK);
/// The boot module behind this program.
const MODULE: Dataspace = Dataspace(CapIndex(0x41));
const SIZE: u64 = 8 << 20;
const PAGES: u64 = SIZE / PAGE;
/// Bytes of a large page.
const LARGE: u64 = 2 << 20;
/// Pages that a clone writes to: some in each large page.
const WRITTEN: u64 = 20;

fn module(start: u64, backing: Backing, access: Access) -> Region {
    Region {
        access,
        backing,
        dataspace: MODULE.0,
        ..anonymous(start, SIZE)
    }
}

/// What the file has in the second half of the first 16 bytes of a page.
fn number(page: u64) -> u64 {
    let mut digits = *b"0000000\n";
    let mut rest = page * (PAGE / 16);
    for digit in digits[..7].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    u64::from_le_bytes(digits)
}

/// How many pages of a view begin as those of the file do.
fn matching(view: u64) -> u64 {
    let matches = (0..PAGES).filter(|page| read(view + page * PAGE + 8) == number(*page));
    matches.count() as u64
}

/// What this task's account pays for reading all of the module in a view.
fn price(start: u64) -> Result<u64, Failure> {
    let _view = Attached::new(&[module(start, Backing::Shared, Access::READ)])?;
    let before = FACTORY.info()?.used;
    check_eq!(matching(start), PAGES);
    Ok(FACTORY.info()?.used - before)
}

fn a_large_module_is_shown_by_large_pages() -> TestResult {
    check_eq!(MODULE.info()?.size, SIZE);
    // The image tool puts it where a large page can begin. In the second place only single pages fit.
    let (large, small) = (price(PLACE)?, price(PLACE + PAGE)?);
    check_eq!(small - large, (SIZE / LARGE + 1) * PAGE);
    Ok(())
}

fn a_search_finds_where_they_begin() -> TestResult {
    let _taken = Attached::new(&[anonymous(PLACE, PAGE)])?;
    let found = OWN.attach(&[Region {
        search: true,
        ..module(PLACE, Backing::Shared, Access::READ)
    }])?;
    let _view = Attached::of(found, SIZE);
    check_eq!(found, PLACE + LARGE);
    Ok(())
}

fn a_part_can_be_detached_and_protected() -> TestResult {
    let _view = Attached::new(&[module(PLACE, Backing::Shared, Access::READ)])?;
    check_eq!(matching(PLACE), PAGES);
    let (gone, closed) = (PLACE + LARGE + 5 * PAGE, PLACE + 2 * LARGE);
    OWN.detach(gone, PAGE)?;
    OWN.protect(closed - PAGE, 2 * PAGE, Access::empty())?;
    for address in [gone, closed - PAGE, closed] {
        check!(is_refused(fault_of(move || touch(address))?, address, READING));
    }
    for page in (0..PAGES).filter(|page| ![517, 1023, 1024].contains(page)) {
        check_eq!(read(PLACE + page * PAGE + 8), number(page));
    }
    Ok(())
}

fn what_is_written_is_copied_by_the_page() -> TestResult {
    let _view = Attached::new(&[module(PLACE, Backing::Private, Access::READ_WRITE)])?;
    check_eq!(matching(PLACE), PAGES);
    let before = FACTORY.info()?.used;
    write(PLACE + 700 * PAGE + 8, 1);
    check_eq!(FACTORY.info()?.used - before, 2 * PAGE);
    check_eq!(matching(PLACE), PAGES - 1);
    write(PLACE + 701 * PAGE + 8, 1);
    check_eq!(FACTORY.info()?.used - before, 3 * PAGE);
    check_eq!(matching(PLACE), PAGES - 2);
    Ok(())
}

/// What a clone does: writes `value` to some pages, and tells how many pages are as they should be then.
pub(crate) fn change(value: u64) -> u64 {
    let page = |turn: u64| (value * 7 + turn * 101) % PAGES;
    for turn in 0..WRITTEN {
        write(PLACE + page(turn) * PAGE + 8, value);
    }
    let changed = (0..WRITTEN).filter(|turn| read(PLACE + page(*turn) * PAGE + 8) == value);
    let changed = changed.count() as u64;
    let kept = (0..PAGES).filter(|page| read(PLACE + page * PAGE) == u64::from_le_bytes([b'0'; 8]));
    (kept.count() as u64 + matching(PLACE) + changed) - PAGES
}

/// A snapshot of a task that shows the module by large pages.
fn template() -> Result<Template, Failure> {
    Template::of(|task| {
        task.attach(&[module(PLACE, Backing::Private, Access::READ_WRITE)])?;
        task.show(PLACE, SIZE)
    })
}

fn clones_on_all_cpus_write_to_one_large_page() -> TestResult {
    let template = template()?;
    let cpus = u64::from(cpu_count()?);
    let round = |round: u64| -> TestResult {
        let clones = (0..6u64)
            .map(|number| {
                let place = Placement {
                    cpu: (number % cpus) as u32,
                    priority: PRIORITY,
                    slice_us: 0,
                };
                let label = (round * 6 + number + 1) << 12;
                template.spawn_at(label, 100, place, Do::Change, number * 11 + 3)
            })
            .collect::<Result<Vec<_>, _>>()?;
        for _ in &clones {
            check_eq!(hear_any()?, PAGES);
        }
        for clone in clones {
            let used = Factory(clone.account.index()).info()?.used;
            check!(((WRITTEN + SIZE / LARGE) * PAGE..60 * PAGE).contains(&used));
            clone.end()?;
        }
        Ok(())
    };
    round(0)?;
    let before = settled_counters()?;
    (1..4).try_for_each(round)?;
    let after = settled_counters()?;
    check_eq!(after.free_frames, before.free_frames);
    Ok(())
}

/// Waits for a clone's call, and returns its answer.
fn hear_any() -> Result<u64, Failure> {
    let received = l4::syscall::wait(l4re::clock::after(10_000_000_000));
    received.result()?;
    check_eq!(received.tag.label(), 1);
    Ok(l4::Utcb::current().word(3))
}

/// The last test of the module: it is gone afterwards.
fn the_end_of_the_module_takes_the_clones_along() -> TestResult {
    let _view = Attached::new(&[module(PLACE, Backing::Shared, Access::READ)])?;
    check_eq!(matching(PLACE), PAGES);
    let template = template()?;
    let clone = template.spawn(0x1000, 100, Do::Change, 5)?;
    hear(0x1000)?;
    OWN.delete(MODULE.0)?;
    settled_counters()?;
    check!(OWN.is_valid(clone.task.index()) == Ok(false));
    check!(OWN.is_valid(template.snapshot.index()) == Ok(false));
    for address in [PLACE, PLACE + SIZE - PAGE] {
        check!(is_refused(fault_of(move || touch(address))?, address, READING));
    }
    check!(MODULE.info().is_err());
    // The harness wants as many objects as there were.
    FACTORY.create_dataspace(PAGE, MODULE.0)?;
    clone.end()
}
