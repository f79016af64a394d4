//! Dataspaces: contents, sealing, clearing, children, and their end.

use super::world::{
    Processor, World, anonymous, clear, copy_in, delete_dataspace, destroy, drop_dataspace, seal, settle,
    space, whole, word,
};
use crate::cpu::Cpu;
use crate::memory::dataspace::{DataspaceInfo, MAX_DEPTH};
use crate::memory::{Dataspace, FaultOutcome, PhysAddr, frame};
use crate::object::Ref;
use crate::reaper;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};
use std::vec;

const BASE: u64 = 0x40_0000;

fn contents(dataspace: &Dataspace, offset: u64, length: usize) -> vec::Vec<u8> {
    let mut bytes = vec![0xcc; length];
    dataspace.read(offset, &mut bytes).unwrap();
    bytes
}

fn show(
    space: &crate::memory::AddressSpace,
    at: u64,
    dataspace: Ref<Dataspace>,
    access: Access,
    backing: Backing,
) {
    let size = dataspace.size();
    assert_eq!(
        space.attach(at, size, access, backing, Some((dataspace, 0)), false),
        Ok(at)
    );
}

#[test]
fn bytes_come_back_from_anywhere() {
    let world = World::new();
    let account = world.account(2000);
    for pages in [1, 4, 5, 512, 513, 512 * 512 + 1] {
        let dataspace = Dataspace::create(account, pages * PAGE_SIZE - 5).unwrap();
        assert_eq!(
            dataspace.info(),
            DataspaceInfo {
                size: pages * PAGE_SIZE,
                sealed: false,
                fixed: false
            }
        );
        let text: vec::Vec<u8> = (0..2 * PAGE_SIZE as usize).map(|byte| (byte * 7) as u8).collect();
        for (offset, length) in [
            (0, 1),
            (3, 14),
            (4090, 6),
            (pages * PAGE_SIZE - 9, 9),
            (4093, 4100),
        ] {
            if offset + length as u64 > dataspace.size() {
                continue;
            }
            dataspace.write(offset, &text[..length]).unwrap();
            assert_eq!(
                contents(&dataspace, offset, length),
                text[..length],
                "{length} bytes at {offset}"
            );
        }
        assert_eq!(dataspace.write(dataspace.size() - 3, b"four"), Err(Error::Range));
        assert_eq!(dataspace.write(u64::MAX, b"four"), Err(Error::Range));
        assert_eq!(dataspace.read(dataspace.size(), &mut [0]), Err(Error::Range));
        drop_dataspace(dataspace);
    }
    assert_eq!(Dataspace::create(account, 0).err(), Some(Error::Invalid));
    assert_eq!(Dataspace::create(account, u64::MAX).err(), Some(Error::Invalid));
    world.close(&[account]);
}

#[test]
fn a_view_is_the_dataspace() {
    let world = World::new();
    let account = world.account(100);
    let (one, other) = (space(account).unwrap(), space(account).unwrap());
    let (first, second) = (Processor::new(one), Processor::new(other));
    let dataspace = Dataspace::create(account, 8 * PAGE_SIZE).unwrap();
    show(one, BASE, dataspace, Access::READ_WRITE, Backing::Shared);
    let part = Some((dataspace, 2 * PAGE_SIZE));
    other
        .attach(BASE, 2 * PAGE_SIZE, Access::READ, Backing::Shared, part, false)
        .unwrap();
    first.write(BASE + 2 * PAGE_SIZE + 8, 42).unwrap();
    assert_eq!(second.read(BASE + 8), Ok(42));
    assert_eq!(second.write(BASE + 8, 1), Err(FaultOutcome::Denied));
    dataspace.write(3 * PAGE_SIZE, &5u64.to_ne_bytes()).unwrap();
    assert_eq!(
        (first.read(BASE + 3 * PAGE_SIZE), second.read(BASE + PAGE_SIZE)),
        (Ok(5), Ok(5))
    );
    whole(BASE, 8 * PAGE_SIZE, |at, size| one.discard(at, size)).unwrap();
    assert_eq!(
        first.read(BASE + 3 * PAGE_SIZE),
        Ok(5),
        "discarding is for memory of one's own"
    );
    drop_dataspace(dataspace);
    settle();
    assert_eq!(
        first.read(BASE + 3 * PAGE_SIZE),
        Ok(5),
        "a dropped dataspace stays for its views"
    );
    assert_eq!(
        first.write(BASE + 7 * PAGE_SIZE, 3),
        Ok(()),
        "and its account still pays"
    );
    destroy(one);
    destroy(other);
    world.close(&[account]);
}

#[test]
fn sealing_takes_all_write_rights() {
    let world = World::new();
    let account = world.account(300);
    let (one, other) = (space(account).unwrap(), space(account).unwrap());
    let (first, second) = (Processor::new(one), Processor::new(other));
    let dataspace = Dataspace::create(account, 64 * PAGE_SIZE).unwrap();
    show(one, BASE, dataspace, Access::READ_WRITE, Backing::Shared);
    show(one, 2 * BASE, dataspace, Access::READ_WRITE, Backing::Shared);
    show(other, BASE, dataspace, Access::READ_WRITE, Backing::Shared);
    for page in 0..64 {
        first.write(BASE + page * PAGE_SIZE, page).unwrap();
        first.write(2 * BASE + page * PAGE_SIZE + 8, page).unwrap();
        second.write(BASE + page * PAGE_SIZE + 16, page).unwrap();
    }
    // Begun, but not finished: what was not yet visited may still be written, but nothing new.
    assert_eq!(dataspace.seal(&mut 10), Ok(false));
    assert!(dataspace.is_sealed());
    // A view that comes, goes or is cut in two in between does not disturb it.
    show(other, 4 * BASE, dataspace, Access::READ, Backing::Shared);
    assert_eq!(one.detach(2 * BASE + 20 * PAGE_SIZE, PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(one.detach(BASE + 40 * PAGE_SIZE, PAGE_SIZE), Ok(PAGE_SIZE));
    seal(&dataspace);
    for page in (0..64).filter(|page| *page != 20 && *page != 40) {
        assert_eq!(first.write(BASE + page * PAGE_SIZE, 1), Err(FaultOutcome::Denied));
        assert_eq!(
            first.write(2 * BASE + page * PAGE_SIZE, 1),
            Err(FaultOutcome::Denied)
        );
        assert_eq!(
            second.write(BASE + page * PAGE_SIZE, 1),
            Err(FaultOutcome::Denied)
        );
        assert_eq!(second.read(4 * BASE + page * PAGE_SIZE + 16), Ok(page));
    }
    assert_eq!(dataspace.write(0, b"x"), Err(Error::AccessDenied));
    assert_eq!(dataspace.clear(0, PAGE_SIZE, &mut 10), Err(Error::AccessDenied));
    assert_eq!(one.protect(BASE, PAGE_SIZE, Access::READ), Ok(PAGE_SIZE));
    assert_eq!(
        one.protect(BASE, PAGE_SIZE, Access::READ_WRITE),
        Err(Error::AccessDenied)
    );
    assert_eq!(first.write(BASE, 1), Err(FaultOutcome::Denied));
    drop_dataspace(dataspace);
    destroy(one);
    destroy(other);
    world.close(&[account]);
}

#[test]
fn clearing_frees_frames_under_running_views() {
    let world = World::new();
    let account = world.account(300);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let dataspace = Dataspace::create(account, 100 * PAGE_SIZE).unwrap();
    show(space, BASE, dataspace, Access::READ_WRITE, Backing::Shared);
    show(space, 2 * BASE, dataspace, Access::READ, Backing::Shared);
    (0..100).for_each(|page| processor.write(BASE + page * PAGE_SIZE, page + 1).unwrap());
    assert_eq!(processor.read(2 * BASE + 50 * PAGE_SIZE), Ok(51));
    let used = account.used();
    // A fault in a range that is being cleared finishes the work.
    assert_eq!(dataspace.clear(10 * PAGE_SIZE, 80 * PAGE_SIZE, &mut 7), Ok(0));
    assert_eq!(processor.read(2 * BASE + 12 * PAGE_SIZE), Ok(0));
    processor.write(BASE + 11 * PAGE_SIZE, 77).unwrap();
    clear(&dataspace, 10 * PAGE_SIZE, 80 * PAGE_SIZE).unwrap();
    for page in 0..100 {
        let expected = if (10..90).contains(&page) { 0 } else { page + 1 };
        assert_eq!(word_of(&dataspace, page), expected, "page {page}");
    }
    assert_eq!(account.used(), used - 80 * PAGE_SIZE);
    for page in 0..100 {
        let expected = if (10..90).contains(&page) { 0 } else { page + 1 };
        assert_eq!(
            processor.read(BASE + page * PAGE_SIZE),
            Ok(expected),
            "page {page}"
        );
        assert_eq!(
            processor.read(2 * BASE + page * PAGE_SIZE),
            Ok(expected),
            "page {page}"
        );
    }
    for (offset, size, error) in [
        (1, PAGE_SIZE, Error::Invalid),
        (0, 5, Error::Invalid),
        (PAGE_SIZE, 100 * PAGE_SIZE, Error::Range),
        (u64::MAX - 4095, PAGE_SIZE, Error::Range),
    ] {
        assert_eq!(dataspace.clear(offset, size, &mut 10), Err(error));
    }
    drop_dataspace(dataspace);
    destroy(space);
    world.close(&[account]);
}

fn word_of(dataspace: &Dataspace, page: u64) -> u64 {
    let bytes = contents(dataspace, page * PAGE_SIZE, 8);
    u64::from_ne_bytes(bytes.try_into().unwrap())
}

#[test]
fn children_differ_where_they_were_written() {
    let world = World::new();
    let (parents, account) = (world.account(300), world.account(300));
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let parent = Dataspace::create(parents, 10 * PAGE_SIZE).unwrap();
    assert_eq!(
        Dataspace::create_child(account, parent).err(),
        Some(Error::Invalid),
        "not sealed"
    );
    (0..5).for_each(|page| parent.write(page * PAGE_SIZE, &(page + 1).to_ne_bytes()).unwrap());
    seal(&parent);
    let child = Dataspace::create_child(account, parent).unwrap();
    show(space, BASE, child, Access::READ_WRITE, Backing::Shared);
    let used = account.used();
    child.write(PAGE_SIZE + 8, &9u64.to_ne_bytes()).unwrap();
    processor.write(BASE + 2 * PAGE_SIZE, 30).unwrap();
    assert!(
        account.used() > used + PAGE_SIZE,
        "the child's account pays for its copies"
    );
    clear(&child, 3 * PAGE_SIZE, PAGE_SIZE).unwrap();
    let expected = [1, 2, 30, 0, 5, 0, 0];
    for (page, expected) in (0..).zip(expected) {
        assert_eq!(word_of(&child, page), expected);
        assert_eq!(processor.read(BASE + page * PAGE_SIZE), Ok(expected));
        assert_eq!(
            word_of(&parent, page),
            if page < 5 { page + 1 } else { 0 },
            "the parent is as it was"
        );
    }
    clear(&child, 0, 10 * PAGE_SIZE).unwrap();
    assert!((0..10).all(|page| word_of(&child, page) == 0));
    child.write(0, &4u64.to_ne_bytes()).unwrap();
    seal(&child);
    let grandchild = Dataspace::create_child(account, child).unwrap();
    assert_eq!((word_of(&grandchild, 0), word_of(&grandchild, 1)), (4, 0));
    drop_dataspace(parent);
    drop_dataspace(child);
    settle();
    assert_eq!(word_of(&grandchild, 0), 4, "parents stay for their children");
    grandchild.write(0, b"!").unwrap();
    drop_dataspace(grandchild);
    destroy(space);
    world.close(&[account, parents]);
}

#[test]
fn generations_are_limited() {
    let world = World::new();
    let account = world.account(300);
    let mut all = vec![Dataspace::create(account, PAGE_SIZE).unwrap()];
    for generation in 0..=MAX_DEPTH {
        let youngest = all[all.len() - 1];
        seal(&youngest);
        match Dataspace::create_child(account, youngest) {
            Ok(child) => all.push(child),
            Err(error) => assert_eq!((error, generation), (Error::Range, MAX_DEPTH)),
        }
    }
    assert_eq!(all.len(), usize::from(MAX_DEPTH) + 1);
    all.into_iter().for_each(drop_dataspace);
    world.close(&[account]);
}

#[test]
fn deletion_takes_it_from_everybody() {
    let world = World::new();
    let (owner, user) = (world.account(300), world.account(300));
    let space = space(user).unwrap();
    let processor = Processor::new(space);
    let parent = Dataspace::create(owner, 70 * PAGE_SIZE).unwrap();
    (0..70).for_each(|page| parent.write(page * PAGE_SIZE, &[1; 8]).unwrap());
    seal(&parent);
    let child = Dataspace::create_child(user, parent).unwrap();
    show(space, BASE, parent, Access::READ, Backing::Shared);
    show(space, 2 * BASE, parent, Access::READ_WRITE, Backing::Private);
    show(space, 3 * BASE, child, Access::READ_WRITE, Backing::Shared);
    for page in 0..70 {
        assert!(processor.read(BASE + page * PAGE_SIZE).is_ok());
        processor.write(2 * BASE + page * PAGE_SIZE, 5).unwrap();
        processor.write(3 * BASE + page * PAGE_SIZE, 5).unwrap();
    }
    // It was dropped before, and has only its users left, when it is deleted.
    drop_dataspace(parent);
    settle();
    assert!(owner.used() > 70 * PAGE_SIZE);
    delete_dataspace(parent);
    settle();
    assert_eq!(owner.used(), 0, "the owner has everything back");
    for start in [BASE, 2 * BASE, 3 * BASE] {
        assert_eq!(processor.read(start), Err(FaultOutcome::NoRegion));
        let region = space.find(start).unwrap();
        assert_eq!(
            (region.start, region.size, region.backing),
            (start, 70 * PAGE_SIZE, Backing::Reserved)
        );
    }
    destroy(space);
    world.close(&[owner, user]);
}

#[test]
fn nothing_comes_back_while_it_is_taken_away() {
    for backing in [Backing::Shared, Backing::Private] {
        let world = World::new();
        let account = world.account(900);
        let space = space(account).unwrap();
        let processor = Processor::new(space);
        let dataspace = Dataspace::create(account, 300 * PAGE_SIZE).unwrap();
        (0..300).for_each(|page| dataspace.write(page * PAGE_SIZE, &[7]).unwrap());
        seal(&dataspace);
        let pages = || (0..300).map(|page| BASE + page * PAGE_SIZE);
        show(space, BASE, dataspace, Access::READ, backing);
        pages().for_each(|page| assert_eq!(processor.read(page), Ok(7)));
        delete_dataspace(dataspace);
        // A thread that goes on reading while the pages are unmapped in pieces.
        while reaper::work(8) {
            Cpu::this().epoch.leave();
            let _ = processor.read(BASE);
            let _ = space.show_sealed(BASE, PAGE_SIZE);
        }
        pages().for_each(|page| assert_eq!(processor.read(page), Err(FaultOutcome::NoRegion)));
        destroy(space);
        world.close(&[account]);
    }
}

#[test]
fn fixed_memory_is_shown_as_it_is() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let memory = frame::allocate_contiguous(20, PAGE_SIZE).unwrap();
    let module = Dataspace::create_fixed(account, memory, 10 * PAGE_SIZE, false, false).unwrap();
    let device = PhysAddr(memory.0 + 10 * PAGE_SIZE);
    let device = Dataspace::create_fixed(account, device, 10 * PAGE_SIZE, false, true).unwrap();
    assert_eq!(
        Dataspace::create_fixed(account, PhysAddr(8), 1, false, false).err(),
        Some(Error::Invalid)
    );
    module.write(PAGE_SIZE + 3, b"module").unwrap();
    assert_eq!(word(memory, PAGE_SIZE).to_ne_bytes()[3..], *b"modul");
    seal(&module);
    assert!(module.info().fixed && module.info().sealed);
    show(space, BASE, module, Access::READ_EXECUTE, Backing::Shared);
    show(space, 2 * BASE, device, Access::READ_WRITE, Backing::Shared);
    assert_eq!(
        processor.access(BASE + PAGE_SIZE, Access::EXECUTE),
        Ok(PhysAddr(memory.0 + PAGE_SIZE))
    );
    processor.write(2 * BASE + 8, 3).unwrap();
    assert_eq!(word(memory, 10 * PAGE_SIZE + 8), 3);
    assert_eq!(
        device.read(0, &mut [0]),
        Err(Error::Invalid),
        "reading may change a device"
    );
    assert_eq!(device.seal(&mut 100), Err(Error::Invalid));
    assert_eq!(device.clear(0, PAGE_SIZE, &mut 10), Err(Error::Invalid));
    assert_eq!(module.clear(0, PAGE_SIZE, &mut 10), Err(Error::Invalid));
    drop_dataspace(module);
    delete_dataspace(device);
    destroy(space);
    settle();
    (0..20).for_each(|page| frame::free(PhysAddr(memory.0 + page * PAGE_SIZE)));
    world.close(&[account]);
}

#[test]
fn copies_are_whole_whatever_the_alignment() {
    let world = World::new();
    let account = world.account(400);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let size = 40 * PAGE_SIZE;
    let source = Dataspace::create(account, size).unwrap();
    let text: vec::Vec<u8> = (0..size).map(|byte| (byte * 31 / 7) as u8).collect();
    source.write(0, &text[..30 * PAGE_SIZE as usize]).unwrap();
    for (offset, source_offset, length) in [
        (0, 0, size),
        (PAGE_SIZE, 2 * PAGE_SIZE, 20 * PAGE_SIZE),
        (5, 5, 3 * PAGE_SIZE),
        (1, 4094, 3 * PAGE_SIZE + 7),
        (4095, 0, 2),
        (8, 29 * PAGE_SIZE, 5 * PAGE_SIZE),
    ] {
        let copy = Dataspace::create(account, size).unwrap();
        show(space, BASE, copy, Access::READ_WRITE, Backing::Shared);
        (0..40).for_each(|page| processor.write(BASE + page * PAGE_SIZE, u64::MAX).unwrap());
        let mut expected = contents(&copy, 0, size as usize);
        copy_in(&copy, offset, &source, source_offset, length);
        let original = contents(&source, source_offset, length as usize);
        expected[offset as usize..][..length as usize].copy_from_slice(&original);
        assert!(
            contents(&copy, 0, size as usize) == expected,
            "{length} bytes to {offset} from {source_offset}"
        );
        whole(BASE, size, |at, size| space.detach(at, size)).unwrap();
        drop_dataspace(copy);
    }
    let empty = Dataspace::create(account, size).unwrap();
    copy_in(&empty, 0, &source, 32 * PAGE_SIZE, 8 * PAGE_SIZE);
    let used = account.used();
    copy_in(&empty, 0, &source, 31 * PAGE_SIZE, 9 * PAGE_SIZE);
    assert_eq!(account.used(), used, "zeroes need no frames");
    assert!(source.copy_in(0, &source, PAGE_SIZE, 5).is_err());
    assert_eq!(empty.copy_in(0, &source, PAGE_SIZE, size), Err(Error::Range));
    assert_eq!(
        empty.copy_in(0, &source, 0, size),
        Ok(64 * 1024),
        "one call is bounded"
    );
    drop_dataspace(empty);
    drop_dataspace(source);
    anonymous(space, BASE, 1);
    destroy(space);
    world.close(&[account]);
}

#[test]
fn frames_stay_while_they_are_read_without_the_lock() {
    let world = World::new();
    let account = world.account(100);
    let dataspace = Dataspace::create(account, 4 * PAGE_SIZE).unwrap();
    dataspace.write(0, b"pinned").unwrap();
    let (used, before) = (account.used(), dataspace.find_frame(0));
    dataspace.state.lock().pins += 1;
    assert_eq!(
        dataspace.clear(0, PAGE_SIZE, &mut 100),
        Ok(0),
        "to be called again"
    );
    assert_eq!((account.used(), dataspace.find_frame(0)), (used, before));
    drop_dataspace(dataspace);
    assert!(!dataspace.destroy_step(&mut 100), "its end has to wait as well");
    assert_eq!(account.used(), used);
    dataspace.state.lock().pins -= 1;
    assert_eq!(dataspace.clear(0, PAGE_SIZE, &mut 100), Ok(PAGE_SIZE));
    assert_eq!(dataspace.find_frame(0), None);
    world.close(&[account]);
}
