//! Reading images, and mapping ahead.

use super::world::{
    Processor, World, anonymous, delete_dataspace, destroy, drop_dataspace, seal, settle, space,
};
use crate::account::Account;
use crate::memory::{AddressSpace, Dataspace};
use crate::object::Ref;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};
use std::vec::Vec;

const BASE: u64 = 0x4000_0000;

fn at(page: u64) -> u64 {
    BASE + page * PAGE_SIZE
}

/// A sealed dataspace of eight pages, of which the fourth is not there.
fn source(account: Ref<Account>) -> Ref<Dataspace> {
    let source = Dataspace::create(account, 8 * PAGE_SIZE).unwrap();
    for page in (0..8).filter(|page| *page != 3) {
        source.write(page * PAGE_SIZE, &[page as u8 + 100; 8]).unwrap();
    }
    seal(&source);
    source
}

fn private(space: &AddressSpace, page: u64, dataspace: Ref<Dataspace>) {
    let shown = Some((dataspace, 0));
    space
        .attach(
            at(page),
            8 * PAGE_SIZE,
            Access::READ_WRITE,
            Backing::Private,
            shown,
            false,
        )
        .unwrap();
}

/// All pages that a call after another finds.
fn found(image: &AddressSpace, from: u64, pages: u64, whole: bool) -> Vec<u64> {
    let (mut next, end) = (at(from), at(from + pages));
    let mut all = Vec::new();
    while next < end {
        let some = image.image_pages(next, end, whole, None).unwrap();
        all.extend(some.addresses().map(|address| (address - BASE) / PAGE_SIZE));
        assert!(some.next > next);
        next = some.next;
    }
    all
}

/// Why nothing can be found at a page.
fn refused(image: &AddressSpace, page: u64) -> Option<Error> {
    image.image_pages(at(page), at(page + 1), false, None).err()
}

#[test]
fn pages_that_differ_are_found_and_copied() {
    let world = World::new();
    let account = world.account(300);
    let source = source(account);
    let image = space(account).unwrap();
    anonymous(image, at(0), 4096);
    private(image, 5000, source);
    let processor = Processor::new(image);
    let written: Vec<u64> = (0..40).map(|page| page * 2).chain([513, 4095]).collect();
    for page in &written {
        processor.write(at(*page), *page + 1).unwrap();
    }
    // One of the dataspace is only read.
    processor.read(at(5001)).unwrap();
    processor.write(at(5002), 7).unwrap();
    assert_eq!(refused(image, 0), Some(Error::Again));
    image.begin_image(account.erase()).unwrap();
    while !image.freeze(&mut 5).unwrap() {}

    assert_eq!(found(image, 0, 4096, false), written);
    assert_eq!(found(image, 0, 3, false), [0, 2]);
    assert_eq!(found(image, 5000, 8, false), [5002]);
    assert_eq!(
        found(image, 5000, 8, true),
        [5000, 5001, 5002, 5004, 5005, 5006, 5007]
    );

    let copy = Dataspace::create(account, 8 * PAGE_SIZE).unwrap();
    let copied = |offset| {
        let pages = image.image_pages(at(5001), at(5005), true, Some((&*copy, offset)));
        pages.map(|pages| pages.addresses().count())
    };
    assert_eq!(copied(PAGE_SIZE), Ok(3));
    let byte = |page: u64| {
        let mut bytes = [0];
        copy.read(page * PAGE_SIZE, &mut bytes).unwrap();
        bytes[0]
    };
    assert_eq!([0, 1, 2, 3, 4, 5].map(byte), [0, 101, 7, 0, 104, 0]);
    assert_eq!(copied(7 * PAGE_SIZE), Err(Error::Range));
    assert_eq!(copied(1), Err(Error::Invalid));
    seal(&copy);
    assert_eq!(copied(0), Err(Error::AccessDenied));
    assert_eq!(refused(image, 4096), Some(Error::NotFound));
    let region = image.image_region(at(4096)).unwrap();
    assert_eq!((region.start, region.size), (at(5000), 8 * PAGE_SIZE));
    assert!(
        region
            .shows
            .is_some_and(|(shown, offset, changes)| shown == source && offset == 0 && !changes)
    );
    assert_eq!(image.image_region(at(5008)).err(), Some(Error::NotFound));
    destroy(image);
    // What has given its memory back shows nothing.
    assert_eq!(image.image_region(at(0)).err(), Some(Error::NotFound));
    assert_eq!(refused(image, 0), Some(Error::NotFound));
    drop_dataspace(copy);
    drop_dataspace(source);
    world.close(&[account]);
}

#[test]
fn what_is_sealed_is_mapped_ahead_and_costs_tables_only() {
    let world = World::new();
    let account = world.account(300);
    let source = source(account);
    let space = space(account).unwrap();
    anonymous(space, at(0), 8);
    private(space, 8, source);
    private(space, 600, source);
    let processor = Processor::new(space);
    processor.write(at(9), 5).unwrap();
    let mut done = 0;
    while done < 1000 * PAGE_SIZE {
        done += space.show_sealed(at(0) + done, 1000 * PAGE_SIZE - done).unwrap();
    }
    let used = account.used();
    for page in [8, 10, 15, 600, 603, 607] {
        let value = processor.read(at(page)).unwrap();
        let byte = [0, 1, 2, 0, 4, 5, 6, 7][(page % 8) as usize];
        assert_eq!(
            value & 0xff,
            if page % 8 == 3 { 0 } else { byte + 100 },
            "page {page}"
        );
    }
    // What was written stays.
    assert_eq!(processor.read(at(9)), Ok(5));
    assert_eq!(account.used(), used, "nothing was missing");
    processor.write(at(600), 1).unwrap();
    assert!(account.used() > used);
    destroy(space);
    drop_dataspace(source);
    world.close(&[account]);
}

#[test]
fn what_an_ending_image_shows_is_taken_away_without_its_tables() {
    for steps in 1..40 {
        let world = World::new();
        let account = world.account(300);
        let source = source(account);
        let image = space(account).unwrap();
        anonymous(image, at(100), 8);
        private(image, 0, source);
        let processor = Processor::new(image);
        processor.read(at(1)).unwrap();
        processor.write(at(2), 7).unwrap();
        processor.write(at(101), 7).unwrap();
        image.begin_image(account.erase()).unwrap();
        while !image.freeze(&mut 5).unwrap() {}
        drop(processor);
        for _ in 0..steps {
            image.destroy_step(&mut 1);
        }
        // What was given back is others' by now.
        let others = Dataspace::create(account, 32 * PAGE_SIZE).unwrap();
        for page in 0..32 {
            let full = [0x7d; PAGE_SIZE as usize];
            others.write(page * PAGE_SIZE, &full).unwrap();
        }
        delete_dataspace(source);
        settle();
        drop_dataspace(others);
        destroy(image);
        settle();
        world.close(&[account]);
    }
}
