//! Copies of an image that begin with the pages which another copy has written.
#![expect(unsafe_code, reason = "the test keeps the addresses as long as the copies")]

use super::world::{Processor, World, anonymous, destroy, drop_dataspace, seal, space};
use crate::account::Account;
use crate::memory::{AddressSpace, Dataspace, FaultOutcome, MAX_WRITTEN};
use crate::object::Ref;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};
use std::boxed::Box;
use std::vec::Vec;

const BASE: u64 = 0x4000_0000;
/// Pages that a table of level 0 maps.
const TABLE: u64 = 512;
/// A region behind all others, of read-only memory.
const READ_ONLY: u64 = 3 * TABLE;

fn at(page: u64) -> u64 {
    BASE + page * PAGE_SIZE
}

/// An image with two tables of anonymous memory, of which the pages in `filled` are there, and 16 private pages of
/// `dataspace`.
fn image(account: Ref<Account>, dataspace: Ref<Dataspace>, filled: &[u64]) -> &'static AddressSpace {
    let image = space(account).unwrap();
    anonymous(image, at(0), 2 * TABLE);
    let private = |page, access| {
        let source = Some((dataspace, 0));
        image
            .attach(at(page), 16 * PAGE_SIZE, access, Backing::Private, source, false)
            .unwrap()
    };
    private(2 * TABLE, Access::READ_WRITE);
    private(READ_ONLY, Access::READ);
    let processor = Processor::new(image);
    for page in filled {
        processor.write(at(*page), *page + 1).unwrap();
    }
    image.begin_image(account.erase()).unwrap();
    while !image.freeze(&mut 5).unwrap() {}
    image
}

fn source(account: Ref<Account>) -> Ref<Dataspace> {
    let dataspace = Dataspace::create(account, 16 * PAGE_SIZE).unwrap();
    for page in 0..16 {
        dataspace.write(page * PAGE_SIZE, &[7; 8]).unwrap();
    }
    seal(&dataspace);
    dataspace
}

fn copy(account: Ref<Account>, image: &AddressSpace) -> Result<&'static AddressSpace, Error> {
    let copy = Box::leak(Box::new(AddressSpace::copy_image(account, image)?));
    copy.register_views(image)?;
    Ok(copy)
}

/// What a copy has written that others may begin with.
fn recorded(image: &AddressSpace, copy: &AddressSpace) -> Vec<u64> {
    let mut pages = [0; MAX_WRITTEN];
    let found = copy.find_written(&mut pages).unwrap();
    let kept = image.keep_writable(&mut pages[..found]);
    pages[..kept].to_vec()
}

#[test]
fn what_was_copied_ahead_needs_no_fault() {
    let world = World::new();
    let (owner, payer) = (world.account(400), world.account(100));
    let dataspace = source(owner);
    let image = image(owner, dataspace, &[0, 1, 2, 3, 600]);
    // Of the image, never there, of a dataspace: all that a write can find.
    let pages = [1, 3, 77, 600, 2 * TABLE + 5];
    let first = copy(payer, image).unwrap();
    let processor = Processor::new(first);
    pages
        .iter()
        .for_each(|page| processor.write(at(*page), 99).unwrap());
    // What is only read of the image, or of the dataspace, is not written.
    processor.read(at(0)).unwrap();
    processor.read(at(2 * TABLE + 6)).unwrap();
    let set = recorded(image, first);
    assert_eq!(set, pages.map(at));
    let lazily = payer.used();
    destroy(first);
    let second = copy(payer, image).unwrap();
    // SAFETY: The set stays until the end of the test.
    unsafe { second.copy_ahead(&set) };
    assert_eq!(payer.used(), lazily, "it pays for what it has, and nothing else");
    let processor = Processor::new(second);
    let before: Vec<_> = pages.map(|page| processor.read(at(page)).unwrap()).into();
    assert_eq!(before, [2, 4, 0, 601, 0x0707_0707_0707_0707]);
    pages
        .iter()
        .for_each(|page| processor.write(at(*page), 5).unwrap());
    assert_eq!(processor.faults.get(), 0);
    assert_eq!(recorded(image, second), set);
    let third = copy(payer, image).unwrap();
    assert_eq!(Processor::new(third).read(at(3)), Ok(4));
    for copy in [second, third] {
        destroy(copy);
    }
    destroy(image);
    drop_dataspace(dataspace);
    world.close(&[owner, payer]);
}

#[test]
fn a_write_set_has_the_first_pages_that_the_image_lets_copies_write() {
    let world = World::new();
    let (owner, payer) = (world.account(400), world.account(600));
    let dataspace = source(owner);
    let image = image(owner, dataspace, &[0, 1, 2, 3]);
    let first = copy(payer, image).unwrap();
    let processor = Processor::new(first);
    // Memory of the copy's own, and some that it may write and the image may not.
    anonymous(first, at(5 * TABLE), 8);
    first
        .protect(at(READ_ONLY), 16 * PAGE_SIZE, Access::READ_WRITE)
        .unwrap();
    first.detach(at(8), 2 * PAGE_SIZE).unwrap();
    for page in [5, 5 * TABLE + 1, READ_ONLY + 1] {
        processor.write(at(page), 1).unwrap();
    }
    assert_eq!(recorded(image, first), [at(5)]);
    (0..300)
        .filter(|page| !(8..10).contains(page))
        .for_each(|page| processor.write(at(page), 1).unwrap());
    let set = recorded(image, first);
    let expected = (0..).filter(|page| !(8..10).contains(page)).map(at);
    assert_eq!(set, expected.take(MAX_WRITTEN).collect::<Vec<_>>());
    destroy(first);
    // Spread over more tables than are looked at.
    let wide = space(owner).unwrap();
    anonymous(wide, at(0), 100 * TABLE);
    wide.begin_image(owner.erase()).unwrap();
    while !wide.freeze(&mut 5).unwrap() {}
    let spread = copy(payer, wide).unwrap();
    let processor = Processor::new(spread);
    (0..100).for_each(|table| processor.write(at(table * TABLE), 1).unwrap());
    let set = recorded(wide, spread);
    assert!((40..64).contains(&set.len()), "{}", set.len());
    assert_eq!(
        set,
        (0..set.len() as u64)
            .map(|table| at(table * TABLE))
            .collect::<Vec<_>>()
    );
    destroy(spread);
    for space in [wide, image] {
        destroy(space);
    }
    drop_dataspace(dataspace);
    world.close(&[owner, payer]);
}

#[test]
fn what_memory_does_not_reach_for_is_left_to_faults() {
    let world = World::new();
    let owner = world.account(400);
    let dataspace = source(owner);
    let filled: Vec<_> = (0..20).collect();
    let image = image(owner, dataspace, &filled);
    let set: Vec<_> = (0..40).map(at).chain([at(2 * TABLE)]).collect();
    // How many of them a copy writes before its memory is used up.
    let written = |pages: u64, is_ahead: bool| {
        let payer = world.account(pages);
        let Ok(copy) = copy(payer, image) else { return 0 };
        let before = payer.used();
        if is_ahead {
            // SAFETY: The set stays until the end of the test.
            unsafe { copy.copy_ahead(&set) };
            // Not more than half of what there is goes into pages, and three tables or four.
            assert!((payer.used() - before) / PAGE_SIZE <= (pages - 1) / 2 + 4);
        }
        let processor = Processor::new(copy);
        let outcomes = set.iter().map(|address| processor.write(*address, 3));
        let written = outcomes
            .take_while(|outcome| {
                assert!(matches!(outcome, Ok(()) | Err(FaultOutcome::Quota)));
                outcome.is_ok()
            })
            .count();
        destroy(copy);
        assert_eq!(payer.used(), 0);
        written
    };
    for pages in 1..80 {
        // The list of what was not copied ahead may take a page itself.
        let (ahead, later) = (written(pages, true), written(pages, false));
        assert!(later == ahead || later + 1 == ahead, "{pages}: {later}, {ahead}");
    }
    assert_eq!((written(1, true), written(80, true)), (0, set.len()));
    destroy(image);
    drop_dataspace(dataspace);
    world.close(&[owner]);
}

#[test]
fn what_was_copied_ahead_ends_with_what_was_not() {
    let world = World::new();
    let (owner, payer) = (world.account(400), world.account(600));
    let dataspace = source(owner);
    let filled: Vec<_> = (0..60).collect();
    let image = image(owner, dataspace, &filled);
    let set: Vec<_> = (20..120).map(at).collect();
    // Nothing else, a few pages more, and so many that they are not listed.
    for written in [0..0, 100..140, 0..300] {
        let copy = copy(payer, image).unwrap();
        // SAFETY: The set stays until the end of the test.
        unsafe { copy.copy_ahead(&set) };
        copy.discard(at(30), 5 * PAGE_SIZE).unwrap();
        let processor = Processor::new(copy);
        let pages = written.clone().chain(30..32);
        pages.for_each(|page| processor.write(at(page), 1).unwrap());
        let all = set.len() - 3 + written.filter(|page| !(20..120).contains(page)).count();
        assert!(payer.used() / PAGE_SIZE >= all as u64);
        destroy(copy);
        assert_eq!(payer.used(), 0);
    }
    destroy(image);
    drop_dataspace(dataspace);
    world.close(&[owner, payer]);
}
