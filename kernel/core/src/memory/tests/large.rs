//! Large pages: where they are mapped, and that nobody notices but by the number of faults.

use super::world::{
    Processor, World, anonymous, delete_dataspace, destroy, drop_dataspace, seal, settle, space, translate,
    whole,
};
use crate::account::Account;
use crate::machine::fake;
use crate::memory::address::LARGE_SIZE;
use crate::memory::{AddressSpace, Dataspace, FaultOutcome, PhysAddr, frame, journal};
use crate::object::Ref;
use core::cell::RefCell;
use l4::PAGE_SIZE;
use l4::region::{Access, Backing};
use std::boxed::Box;
use std::rc::Rc;
use std::vec::Vec;

const PAGES: u64 = LARGE_SIZE / PAGE_SIZE;
/// Where tables of level 1 begin.
const BASE: u64 = 5 << 30;

/// Memory in one piece, and a dataspace of it; each page begins with its number and 1000.
pub(super) struct Fixed {
    start: PhysAddr,
    pub(super) real: Ref<Dataspace>,
}

impl Fixed {
    /// So many pages that begin so many pages behind a place where a large page can begin.
    pub(super) fn new(account: Ref<Account>, phase: u64, pages: u64) -> Fixed {
        let start = fake::module((phase + pages) * PAGE_SIZE, LARGE_SIZE);
        let first = PhysAddr(start.0 + phase * PAGE_SIZE);
        let real = Dataspace::create_fixed(account, first, pages * PAGE_SIZE, false, false).unwrap();
        for page in 0..pages {
            let word = (page + 1000).to_ne_bytes();
            real.write(page * PAGE_SIZE, &word).unwrap();
            real.write(page * PAGE_SIZE + 16, &word).unwrap();
        }
        Fixed { start, real }
    }

    fn sealed(account: Ref<Account>, phase: u64, pages: u64) -> Fixed {
        let fixed = Fixed::new(account, phase, pages);
        seal(&fixed.real);
        fixed
    }
}

fn at(page: u64) -> u64 {
    BASE + page * PAGE_SIZE
}

/// Shows `pages` of a dataspace from `offset` on at a page.
fn show(space: &AddressSpace, page: u64, pages: u64, access: Access, backing: Backing, from: (&Fixed, u64)) {
    let (fixed, offset) = from;
    let view = Some((fixed.real, offset * PAGE_SIZE));
    space
        .attach(at(page), pages * PAGE_SIZE, access, backing, view, false)
        .unwrap();
}

/// Shows pages of a dataspace from its first on, to be copied when they are written.
fn show_private(space: &AddressSpace, pages: u64, fixed: &Fixed) {
    show(space, 0, pages, Access::READ_WRITE, Backing::Private, (fixed, 0));
}

fn detach(space: &AddressSpace, page: u64, pages: u64) {
    whole(at(page), pages * PAGE_SIZE, |at, size| space.detach(at, size)).unwrap();
}

fn protect(space: &AddressSpace, page: u64, pages: u64, access: Access) {
    whole(at(page), pages * PAGE_SIZE, |at, size| {
        space.protect(at, size, access)
    })
    .unwrap();
}

fn is_large(space: &AddressSpace, page: u64) -> bool {
    translate(space.root(), at(page)).is_some_and(|translation| translation.large)
}

fn freeze(space: &AddressSpace, owner: Ref<Account>) {
    space.begin_image(owner.erase()).unwrap();
    while !space.freeze(&mut 3).unwrap() {}
}

fn copy(account: Ref<Account>, image: &AddressSpace) -> &'static AddressSpace {
    let copy: &'static AddressSpace = Box::leak(Box::new(AddressSpace::copy_image(account, image).unwrap()));
    copy.register_views(image).unwrap();
    copy
}

#[test]
fn one_fault_shows_two_mebibytes() {
    let world = World::new();
    let account = world.account(100);
    let fixed = Fixed::sealed(account, 0, 3 * PAGES + 5);
    for (backing, access) in [
        (Backing::Shared, Access::READ),
        (Backing::Shared, Access::READ_EXECUTE),
        (Backing::Private, Access::READ),
        (Backing::Private, Access::READ_WRITE),
    ] {
        let space = space(account).unwrap();
        let processor = Processor::new(space);
        show(space, 0, 3 * PAGES + 5, access, backing, (&fixed, 0));
        let before = account.used();
        for page in (0..3 * PAGES).step_by(100) {
            assert_eq!(processor.read(at(page)), Ok(page + 1000));
            assert!(is_large(space, page));
        }
        assert_eq!(processor.faults.get(), 3);
        assert_eq!(account.used() - before, 2 * PAGE_SIZE, "no table of single pages");
        assert_eq!(processor.read(at(3 * PAGES + 4)), Ok(3 * PAGES + 1004));
        assert!(!is_large(space, 3 * PAGES + 4), "not all of it is shown");
        let translation = translate(space.root(), at(1)).unwrap();
        assert!(!translation.write);
        assert_eq!(translation.execute, access.contains(Access::EXECUTE));
        destroy(space);
    }
    drop_dataspace(fixed.real);
    world.close(&[account]);
}

#[test]
fn what_does_not_fit_is_shown_by_pages() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let fixed = Fixed::sealed(account, 3, 3 * PAGES);
    // As the memory lies, not as it is numbered.
    show(space, 3, 3 * PAGES, Access::READ, Backing::Shared, (&fixed, 0));
    // A page beside it.
    show(
        space,
        8 * PAGES,
        3 * PAGES,
        Access::READ,
        Backing::Shared,
        (&fixed, 0),
    );
    // A part of a large page.
    show(
        space,
        12 * PAGES,
        PAGES - 1,
        Access::READ,
        Backing::Shared,
        (&fixed, PAGES - 3),
    );
    for (page, number, large) in [
        (3, 0, false),
        (PAGES - 1, PAGES - 4, false),
        (PAGES, PAGES - 3, true),
        (3 * PAGES - 1, 3 * PAGES - 4, true),
        (3 * PAGES, 3 * PAGES - 3, false),
        (9 * PAGES, PAGES, false),
        (12 * PAGES + 7, PAGES + 4, false),
    ] {
        assert_eq!(processor.read(at(page)), Ok(number + 1000));
        assert_eq!(is_large(space, page), large, "page {page}");
    }
    let device = PhysAddr(fixed.start.0 + LARGE_SIZE);
    let device = Dataspace::create_fixed(account, device, LARGE_SIZE, false, true).unwrap();
    let view = Some((device, 0));
    space
        .attach(
            at(16 * PAGES),
            LARGE_SIZE,
            Access::READ,
            Backing::Shared,
            view,
            false,
        )
        .unwrap();
    processor.read(at(16 * PAGES)).unwrap();
    assert!(!is_large(space, 16 * PAGES), "a device");
    destroy(space);
    drop_dataspace(device);
    drop_dataspace(fixed.real);
    world.close(&[account]);
}

#[test]
fn a_search_finds_where_large_pages_can_begin() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    anonymous(space, at(0), 7);
    for phase in [0, 3, 511] {
        let fixed = Fixed::sealed(account, phase, 2 * PAGES);
        let find = |pages: u64| {
            let (size, view) = (pages * PAGE_SIZE, Some((fixed.real, 0)));
            let found = space.attach(at(0), size, Access::READ, Backing::Shared, view, true);
            whole(found.unwrap(), size, |at, size| space.detach(at, size)).unwrap();
            (found.unwrap() - BASE) / PAGE_SIZE
        };
        let first = if phase < 7 { PAGES + phase } else { phase };
        assert_eq!(find(2 * PAGES), first);
        let least = PAGES + (PAGES - phase) % PAGES;
        assert_eq!(find(least), first);
        assert_eq!(find(least - 1), 7, "no large page would fit in");
        drop_dataspace(fixed.real);
    }
    destroy(space);
    world.close(&[account]);
}

#[test]
fn a_write_takes_a_table_and_a_page() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let fixed = Fixed::sealed(account, 0, 2 * PAGES);
    show_private(space, 2 * PAGES, &fixed);
    (0..2).for_each(|large| assert_eq!(processor.read(at(large * PAGES)), Ok(large * PAGES + 1000)));
    let before = account.used();
    processor.write(at(77), 5).unwrap();
    assert_eq!(account.used() - before, 2 * PAGE_SIZE);
    assert!(!is_large(space, 0) && is_large(space, PAGES));
    let faults = processor.faults.get();
    for page in 0..2 * PAGES {
        assert_eq!(
            processor.read(at(page)),
            Ok(if page == 77 { 5 } else { page + 1000 })
        );
        assert_eq!(processor.read(at(page) + 16), Ok(page + 1000), "page {page}");
    }
    assert_eq!(processor.faults.get(), faults, "all pages are still mapped");
    processor.write(at(78), 6).unwrap();
    assert_eq!(account.used() - before, 3 * PAGE_SIZE);
    whole(at(77), PAGE_SIZE, |at, size| space.discard(at, size)).unwrap();
    assert_eq!(processor.read(at(77)), Ok(1077));
    assert_eq!(processor.read(at(78)), Ok(6));
    destroy(space);
    drop_dataspace(fixed.real);
    world.close(&[account]);
}

#[test]
fn no_processor_finds_two_sizes() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let fixed = Fixed::sealed(account, 0, PAGES);
    show_private(space, PAGES, &fixed);
    processor.read(at(0)).unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let watched = Rc::clone(&seen);
    let look = move |_| {
        let state = translate(space.root(), at(0)).map(|translation| translation.large);
        watched.borrow_mut().push((state, fake::flushes()));
    };
    journal::observe(look, || processor.write(at(0), 1).unwrap());
    let seen = seen.borrow();
    let [large, absent, small] = seen[..] else {
        panic!("not three stores: {seen:?}");
    };
    assert_eq!((large.0, absent.0, small.0), (Some(true), None, Some(false)));
    assert!(absent.1 > large.1, "flushed while nothing is mapped");
    destroy(space);
    drop_dataspace(fixed.real);
    world.close(&[account]);
}

#[test]
fn parts_are_changed_and_taken_away() {
    let world = World::new();
    let account = world.account(200);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let fixed = Fixed::new(account, 0, 4 * PAGES);
    show(
        space,
        0,
        4 * PAGES,
        Access::READ_WRITE,
        Backing::Shared,
        (&fixed, 0),
    );
    let expect = |page: u64, expected| assert_eq!(processor.read(at(page)), expected, "page {page}");
    let touch_all = || {
        (0..4).for_each(|large| assert!(processor.read(at(large * PAGES + 9)).is_ok()));
    };
    touch_all();
    processor.write(at(5), 55).unwrap();
    assert!(is_large(space, 5), "shared memory is written where it is");
    detach(space, PAGES + 3, 1);
    expect(PAGES + 3, Err(FaultOutcome::NoRegion));
    expect(PAGES + 2, Ok(PAGES + 1002));
    expect(PAGES + 4, Ok(PAGES + 1004));
    protect(space, 2 * PAGES + 8, PAGES, Access::READ);
    for (page, may) in [
        (2 * PAGES + 7, true),
        (2 * PAGES + 8, false),
        (3 * PAGES + 7, false),
        (3 * PAGES + 8, true),
    ] {
        expect(page, Ok(page + 1000));
        assert_eq!(processor.write(at(page), page + 1000).is_ok(), may, "page {page}");
    }
    touch_all();
    assert!(is_large(space, 0));
    protect(space, 0, PAGES, Access::empty());
    expect(5, Err(FaultOutcome::Denied));
    protect(space, 0, PAGES, Access::READ);
    expect(5, Ok(55));
    assert!(is_large(space, 5), "it never went away");
    seal(&fixed.real);
    assert_eq!(processor.write(at(3 * PAGES + 9), 1), Err(FaultOutcome::Denied));
    delete_dataspace(fixed.real);
    settle();
    for page in (0..4 * PAGES).filter(|page| *page != PAGES + 3) {
        expect(page, Err(FaultOutcome::NoRegion));
        assert_eq!(translate(space.root(), at(page)), None);
    }
    destroy(space);
    world.close(&[account]);
}

#[test]
fn a_right_to_a_part_is_no_right_to_the_rest() {
    let world = World::new();
    let account = world.account(200);
    let fixed = Fixed::new(account, 0, PAGES);
    for part in [3, PAGES - 1] {
        let space = space(account).unwrap();
        let processor = Processor::new(space);
        show(space, 0, PAGES, Access::READ_WRITE, Backing::Shared, (&fixed, 0));
        protect(space, 0, PAGES, Access::READ);
        assert_eq!(processor.read(at(5)), Ok(1005));
        assert!(is_large(space, 5));
        protect(space, part, 1, Access::READ_WRITE);
        assert_eq!(processor.write(at(part), part), Ok(()));
        assert_eq!(processor.write(at(5), 1), Err(FaultOutcome::Denied));
        destroy(space);
    }
    drop_dataspace(fixed.real);
    world.close(&[account]);
}

#[test]
fn copies_of_an_image_share_them() {
    let world = World::new();
    let (account, owner) = (world.account(100), world.account(100));
    let image = space(owner).unwrap();
    let fixed = Fixed::sealed(owner, 0, 4 * PAGES);
    show_private(image, 2 * PAGES, &fixed);
    show(
        image,
        2 * PAGES,
        2 * PAGES,
        Access::READ,
        Backing::Shared,
        (&fixed, 2 * PAGES),
    );
    // Behind everything else in the table of level 1, and not looked at before the copies do.
    show(
        image,
        300 * PAGES,
        PAGES,
        Access::READ,
        Backing::Shared,
        (&fixed, 0),
    );
    let processor = Processor::new(image);
    (0..4).for_each(|large| assert!(processor.read(at(large * PAGES)).is_ok()));
    processor.write(at(PAGES + 1), 1).unwrap();
    freeze(image, owner);
    let before = account.used();
    for round in 0..3 {
        let copy = copy(account, image);
        let processor = Processor::new(copy);
        assert_eq!(account.used() - before, PAGE_SIZE, "a root table");
        assert!([0, 2 * PAGES, 3 * PAGES].iter().all(|page| is_large(copy, *page)));
        for page in 0..4 * PAGES {
            let word = if page == PAGES + 1 { 1 } else { page + 1000 };
            assert_eq!(processor.read(at(page)), Ok(word));
        }
        assert_eq!((processor.faults.get(), account.used() - before), (0, PAGE_SIZE));
        processor.write(at(7), round).unwrap();
        assert_eq!(
            account.used() - before,
            5 * PAGE_SIZE,
            "root, the tables of levels 2 to 0, and the page"
        );
        assert_eq!(processor.read(at(8)), Ok(1008));
        assert_eq!(processor.read(at(300 * PAGES + 8)), Ok(1008));
        assert!(is_large(copy, 300 * PAGES));
        assert_eq!(processor.write(at(3 * PAGES), 1), Err(FaultOutcome::Denied));
        detach(copy, 3 * PAGES + 1, 1);
        assert_eq!(processor.read(at(3 * PAGES + 1)), Err(FaultOutcome::NoRegion));
        assert_eq!(processor.read(at(3 * PAGES)), Ok(3 * PAGES + 1000));
        destroy(copy);
        assert_eq!(account.used(), before);
        zeroed_frames_are_zero();
    }
    destroy(image);
    drop_dataspace(fixed.real);
    world.close(&[account, owner]);
}

/// Tables that were given back as zeroed frames are.
fn zeroed_frames_are_zero() {
    let frames: Vec<_> = (0..100).map(|_| frame::allocate(true).unwrap()).collect();
    for frame in frames {
        assert!((0..512).all(|index| super::world::word(frame, index * 8) == 0));
        frame::free(frame);
    }
}

#[test]
fn without_memory_they_stay_whole() {
    let world = World::new();
    let (account, poor) = (world.account(100), world.account(4));
    let fixed = Fixed::sealed(account, 0, PAGES);
    let space = space(poor).unwrap();
    let processor = Processor::new(space);
    show_private(space, PAGES, &fixed);
    assert_eq!(processor.read(at(1)), Ok(1001));
    assert!(poor.used() > 3 * PAGE_SIZE, "no table can be paid for");
    assert_eq!(processor.write(at(1), 1), Err(FaultOutcome::Quota));
    assert!(is_large(space, 1));
    assert_eq!(processor.read(at(1)), Ok(1001));
    detach(space, 5, 1);
    assert_eq!(processor.read(at(5)), Err(FaultOutcome::NoRegion));
    assert_eq!(
        processor.read(at(6)),
        Err(FaultOutcome::Quota),
        "what is left needs a table"
    );
    destroy(space);
    drop_dataspace(fixed.real);
    world.close(&[account, poor]);
}

#[test]
fn they_are_mapped_ahead_and_found_in_images() {
    let world = World::new();
    let account = world.account(100);
    let image = space(account).unwrap();
    let fixed = Fixed::sealed(account, 0, 3 * PAGES);
    show_private(image, 3 * PAGES, &fixed);
    whole(at(0), 3 * LARGE_SIZE, |at, size| image.show_sealed(at, size)).unwrap();
    assert!((0..3).all(|large| is_large(image, large * PAGES)));
    Processor::new(image).write(at(PAGES + 3), 1).unwrap();
    freeze(image, account);
    let mut next = at(0);
    let mut found = Vec::new();
    while next < at(3 * PAGES) {
        let some = image.image_pages(next, at(3 * PAGES), false, None).unwrap();
        found.extend(some.addresses());
        next = some.next;
    }
    assert_eq!(found, [at(PAGES + 3)]);
    let all = image.image_pages(at(0), at(40), true, None).unwrap();
    assert!(all.addresses().eq((0..32).map(at)));
    destroy(image);
    drop_dataspace(fixed.real);
    world.close(&[account]);
}
