//! Page tables: every single store leaves the tables right for a processor that walks them at that moment.

use super::world::{Processor, Translation, World, anonymous, destroy, seal, space, translate, whole, word};
use crate::memory::journal::{self, Update};
use crate::memory::{AddressSpace, Dataspace, PhysAddr};
use core::cell::RefCell;
use l4::PAGE_SIZE;
use l4::region::{Access, Backing};
use std::collections::BTreeMap;
use std::rc::Rc;

/// Where tables of all levels end.
const SEAM: u64 = 1 << 39;

type Map = BTreeMap<u64, Translation>;

/// All translations of the user half, and a check that what they are made of is well-formed.
fn walk(table: PhysAddr, level: u32, base: u64, map: &mut Map) {
    for index in 0..if level == 3 { 256 } else { 512u64 } {
        let entry = word(table, index * 8);
        if entry & 1 == 0 {
            assert!(
                entry == 0,
                "an absent entry of a linked table is 0, not {entry:#x}"
            );
            continue;
        }
        let address = base + (index << (12 + 9 * level));
        assert_eq!(entry & !0x800f_ffff_ffff_fe7f, 0, "unknown bits in {entry:#x}");
        assert!(
            entry & 0x000f_ffff_ffff_f000 < 256 << 20,
            "no such frame: {entry:#x}"
        );
        if level > 0 {
            assert_eq!(entry & 7, 7, "permissions are the leaves' affair");
            walk(PhysAddr(entry & 0x000f_ffff_ffff_f000), level - 1, address, map);
        } else {
            let translation = Translation {
                frame: PhysAddr(entry & 0x000f_ffff_ffff_f000),
                write: entry & 2 != 0,
                execute: entry >> 63 == 0,
                large: false,
            };
            map.insert(address, translation);
        }
    }
}

/// Runs `run` and checks after each store that at most one page has changed. Returns the number of stores.
fn watch(space: &'static AddressSpace, run: impl FnOnce()) -> usize {
    let before = Rc::new(RefCell::new((Map::new(), 0)));
    walk(space.root(), 3, 0, &mut before.borrow_mut().0);
    let watched = Rc::clone(&before);
    let look = move |update: Option<Update>| {
        let mut now = Map::new();
        walk(space.root(), 3, 0, &mut now);
        let (before, stores) = &mut *watched.borrow_mut();
        let changed = now
            .keys()
            .chain(before.keys())
            .filter(|page| now.get(page) != before.get(page));
        let changed: std::collections::BTreeSet<_> = changed.collect();
        assert!(changed.len() <= 1, "one store changed the pages {changed:x?}");
        *before = now;
        *stores += 1;
        if let Some(update) = update {
            assert_eq!(update.entry % 8, 0, "an entry is stored in one piece");
        }
    };
    let watcher = look.clone();
    journal::observe(move |update| watcher(Some(update)), run);
    look(None);
    before.borrow().1 - 1
}

#[test]
fn each_store_changes_one_page() {
    let world = World::new();
    let account = world.account(500);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let start = SEAM - 8 * PAGE_SIZE;
    let stores = watch(space, || {
        anonymous(space, start, 16);
        (0..16).for_each(|page| processor.write(start + page * PAGE_SIZE, page).unwrap());
    });
    assert_eq!(
        stores,
        16 + 6,
        "a store for each page, and one for each of the six tables"
    );
    let stores = watch(space, || {
        whole(start, 16 * PAGE_SIZE, |at, size| {
            space.protect(at, size, Access::READ)
        })
        .unwrap();
    });
    assert_eq!(stores, 16);
    watch(space, || {
        whole(start, 4 * PAGE_SIZE, |at, size| {
            space.protect(at, size, Access::READ_EXECUTE)
        })
        .unwrap();
        whole(start, 4 * PAGE_SIZE, |at, size| {
            space.protect(at, size, Access::empty())
        })
        .unwrap();
        whole(start, 4 * PAGE_SIZE, |at, size| space.discard(at, size)).unwrap();
        whole(start + 2 * PAGE_SIZE, 10 * PAGE_SIZE, |at, size| {
            space.detach(at, size)
        })
        .unwrap();
    });
    destroy(space);
    world.close(&[account]);
}

#[test]
fn each_store_changes_one_page_of_a_view() {
    let world = World::new();
    let account = world.account(500);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let start = SEAM - 8 * PAGE_SIZE;
    let dataspace = Dataspace::create(account, 16 * PAGE_SIZE).unwrap();
    dataspace.write(5 * PAGE_SIZE, &[7; 64]).unwrap();
    seal(&dataspace);
    watch(space, || {
        let private = Some((dataspace, 0));
        space
            .attach(
                start,
                16 * PAGE_SIZE,
                Access::READ_WRITE,
                Backing::Private,
                private,
                false,
            )
            .unwrap();
        (0..16).for_each(|page| assert!(processor.read(start + page * PAGE_SIZE).is_ok()));
        (4..8).for_each(|page| processor.write(start + page * PAGE_SIZE + 8, page).unwrap());
        space.map_utcb(start + 16 * PAGE_SIZE).unwrap();
        space.unmap_utcb(start + 16 * PAGE_SIZE);
    });
    watch(space, || super::world::delete_dataspace(dataspace));
    watch(space, super::world::settle);
    assert_eq!(
        translate(space.root(), start),
        None,
        "a deleted dataspace is nowhere to be seen"
    );
    destroy(space);
    world.close(&[account]);
}

#[test]
fn tables_go_with_the_last_region_they_span() {
    let world = World::new();
    let account = world.account(500);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    anonymous(space, 0x10_0000, 1);
    processor.write(0x10_0000, 1).unwrap();
    let one_region = account.used();
    for step in [1 << 21, 1 << 30, SEAM, 5 * SEAM] {
        anonymous(space, step, 4);
        (0..4).for_each(|page| processor.write(step + page * PAGE_SIZE, 1).unwrap());
        assert!(account.used() > one_region + 4 * PAGE_SIZE);
        // In two steps, so that a neighbour keeps the tables for a while.
        assert_eq!(space.detach(step + PAGE_SIZE, 3 * PAGE_SIZE), Ok(3 * PAGE_SIZE));
        assert_eq!(processor.read(step), Ok(1));
        assert_eq!(space.detach(step, PAGE_SIZE), Ok(PAGE_SIZE));
        assert_eq!(account.used(), one_region, "tables behind {step:#x} are left");
    }
    assert_eq!(processor.read(0x10_0000), Ok(1));
    destroy(space);
    world.close(&[account]);
}

#[test]
fn huge_ranges_take_bounded_pieces() {
    let world = World::new();
    let account = world.account(30_000);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let pages = 20_000;
    anonymous(space, SEAM - 10_000 * PAGE_SIZE, pages);
    for page in 0..pages {
        processor
            .write(SEAM + page * PAGE_SIZE - 10_000 * PAGE_SIZE, page)
            .unwrap();
    }
    let pieces = core::cell::Cell::new(0);
    whole(SEAM - 9_000 * PAGE_SIZE, 19_000 * PAGE_SIZE, |at, size| {
        pieces.set(pieces.get() + 1);
        let done = space.detach(at, size)?;
        assert!(done <= 512 * PAGE_SIZE, "a piece of {done:#x} bytes");
        Ok(done)
    })
    .unwrap();
    assert!(pieces.get() > 19_000 / 512);
    assert_eq!(processor.read(SEAM - 9_001 * PAGE_SIZE), Ok(999));
    assert!(account.used() < 1_020 * PAGE_SIZE);
    let mut steps = 0;
    while !space.destroy_step(&mut 64) {
        steps += 1;
    }
    assert!(steps >= 1_000 / 64);
    world.close(&[account]);
}
