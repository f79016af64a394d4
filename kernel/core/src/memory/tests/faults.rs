//! Page faults, regions and UTCBs: one case after the other.

use super::world::{Processor, World, anonymous, destroy, drop_dataspace, seal, space, translate, whole};
use crate::machine::fake;
use crate::memory::{Dataspace, FaultOutcome, PhysAddr, RegionInfo};
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE, USER_END};
use std::vec::Vec;

const BASE: u64 = 0x40_0000;
const READ: u64 = 4;
const WRITE: u64 = 6;
const FETCH: u64 = 20;

#[test]
fn anonymous_memory_is_zero_and_private() {
    let world = World::new();
    let account = world.account(100);
    let (one, other) = (space(account).unwrap(), space(account).unwrap());
    let (first, second) = (Processor::new(one), Processor::new(other));
    anonymous(one, BASE, 4);
    anonymous(other, BASE, 4);
    assert_eq!(first.read(BASE + 8), Ok(0));
    first.write(BASE + 8, 1).unwrap();
    second.write(BASE + 8, 2).unwrap();
    assert_eq!((first.read(BASE + 8), second.read(BASE + 8)), (Ok(1), Ok(2)));
    assert_eq!(
        first.faults.get(),
        1,
        "a page that was read can be written at once"
    );
    assert_eq!(
        first.access(BASE, Access::EXECUTE),
        Err(FaultOutcome::Denied),
        "data is not executable"
    );
    destroy(one);
    destroy(other);
    world.close(&[account]);
}

#[test]
fn outcomes_tell_what_is_wrong() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let attach = |start, access, backing| {
        space
            .attach(start, PAGE_SIZE, access, backing, None, false)
            .unwrap()
    };
    attach(BASE, Access::READ, Backing::Anonymous);
    attach(BASE + PAGE_SIZE, Access::READ_EXECUTE, Backing::Anonymous);
    attach(BASE + 2 * PAGE_SIZE, Access::empty(), Backing::Anonymous);
    attach(BASE + 3 * PAGE_SIZE, Access::READ_WRITE, Backing::Reserved);
    for (page, code, outcome) in [
        (0, READ, FaultOutcome::Resolved),
        (0, WRITE, FaultOutcome::Denied),
        (0, FETCH, FaultOutcome::Denied),
        (1, FETCH, FaultOutcome::Resolved),
        (1, WRITE, FaultOutcome::Denied),
        (2, READ, FaultOutcome::Denied),
        (3, READ, FaultOutcome::NoRegion),
        (4, READ, FaultOutcome::NoRegion),
    ] {
        assert_eq!(
            space.resolve_fault(BASE + page * PAGE_SIZE + 5, code),
            outcome,
            "page {page}, code {code}"
        );
    }
    for address in [0, USER_END - 1, USER_END, 1 << 47, u64::MAX] {
        assert_eq!(
            space.resolve_fault(address, READ),
            FaultOutcome::NoRegion,
            "{address:#x}"
        );
    }
    destroy(space);
    world.close(&[account]);
}

#[test]
fn a_fault_without_cause_only_flushes() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    anonymous(space, BASE, 1);
    assert_eq!(space.resolve_fault(BASE, WRITE), FaultOutcome::Resolved);
    let (used, before) = (account.used(), translate(space.root(), BASE));
    let flushes = fake::flushes();
    assert_eq!(space.resolve_fault(BASE, WRITE | 1), FaultOutcome::Resolved);
    assert_eq!((account.used(), translate(space.root(), BASE)), (used, before));
    assert_eq!(fake::flushes(), flushes + 1);
    destroy(space);
    world.close(&[account]);
}

#[test]
fn quota_is_the_accounts() {
    let world = World::new();
    // Root, arena, two tables and the lowest one, and two pages.
    let account = world.account(7);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    anonymous(space, BASE, 8);
    assert_eq!(processor.write(BASE, 1), Ok(()));
    assert_eq!(processor.write(BASE + PAGE_SIZE, 1), Ok(()));
    assert_eq!(processor.write(BASE + 2 * PAGE_SIZE, 1), Err(FaultOutcome::Quota));
    assert_eq!(space.discard(BASE, PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(processor.write(BASE + 2 * PAGE_SIZE, 1), Ok(()));
    assert_eq!(processor.read(BASE), Err(FaultOutcome::Quota));
    destroy(space);
    world.close(&[account]);
}

#[test]
fn nonsense_is_refused() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let dataspace = Dataspace::create(account, 4 * PAGE_SIZE).unwrap();
    let both = Access::WRITE | Access::EXECUTE;
    let (read, anonymous) = (Access::READ, Backing::Anonymous);
    let (shared, page) = (Backing::Shared, PAGE_SIZE);
    for (start, size, access, backing, offset, error) in [
        (BASE, 0, read, anonymous, None, Error::Invalid),
        (BASE + 1, page, read, anonymous, None, Error::Invalid),
        (BASE, page, both, anonymous, None, Error::Invalid),
        (0, page, read, anonymous, None, Error::BadAddress),
        (USER_END, page, read, anonymous, None, Error::BadAddress),
        (
            BASE,
            u64::MAX - page + 1,
            read,
            anonymous,
            None,
            Error::BadAddress,
        ),
        (BASE, page, read, shared, None, Error::MissingArgument),
        (BASE, page, read, shared, Some(8), Error::Invalid),
        (BASE, page, read, shared, Some(4 * page), Error::Range),
        (BASE, 2 * page, read, shared, Some(3 * page), Error::Range),
        (BASE, page, read, shared, Some(u64::MAX - 4095), Error::Range),
        (BASE, page, read, Backing::Private, Some(0), Error::Invalid),
    ] {
        let source = offset.map(|offset| (dataspace, offset));
        assert_eq!(
            space.attach(start, size, access, backing, source, false),
            Err(error)
        );
    }
    drop_dataspace(dataspace);
    destroy(space);
    world.close(&[account]);
}

#[test]
fn what_is_sealed_or_ends_is_not_attached() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let dataspace = Dataspace::create(account, 4 * PAGE_SIZE).unwrap();
    let attach = |start, size, access, backing, offset: Option<u64>| {
        space.attach(
            start,
            size,
            access,
            backing,
            offset.map(|offset| (dataspace, offset)),
            false,
        )
    };
    let both = Access::WRITE | Access::EXECUTE;
    let read = Access::READ;
    seal(&dataspace);
    let write = Access::READ_WRITE;
    assert_eq!(
        attach(BASE, PAGE_SIZE, write, Backing::Shared, Some(0)),
        Err(Error::AccessDenied)
    );
    assert_eq!(
        attach(BASE, PAGE_SIZE, write, Backing::Private, Some(0)),
        Ok(BASE)
    );
    assert_eq!(
        attach(BASE, PAGE_SIZE, read, Backing::Reserved, None),
        Err(Error::Exists)
    );
    assert_eq!(space.protect(BASE, PAGE_SIZE, both), Err(Error::Invalid));
    assert_eq!(
        space.protect(BASE + PAGE_SIZE, PAGE_SIZE, read),
        Err(Error::NotFound)
    );
    drop_dataspace(dataspace);
    assert_eq!(
        attach(BASE + PAGE_SIZE, PAGE_SIZE, read, Backing::Shared, Some(0)),
        Err(Error::NotFound)
    );
    destroy(space);
    assert_eq!(
        attach(BASE, PAGE_SIZE, read, Backing::Reserved, None),
        Err(Error::NotFound)
    );
    world.close(&[account]);
}

#[test]
fn utcbs_are_the_kernels() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let utcb = BASE + 4 * PAGE_SIZE;
    anonymous(space, BASE, 4);
    let frame = space.map_utcb(utcb).unwrap();
    assert_eq!(processor.access(utcb, Access::WRITE), Ok(frame));
    assert_eq!(processor.faults.get(), 0, "it is mapped from the start");
    assert_eq!(processor.access(utcb, Access::EXECUTE), Err(FaultOutcome::Denied));
    assert_eq!(space.map_utcb(utcb), Err(Error::Busy));
    assert_eq!(space.map_utcb(BASE), Err(Error::Exists));
    assert_eq!(space.map_utcb(8), Err(Error::Invalid));
    let attach = |start| space.attach(start, 2 * PAGE_SIZE, Access::READ, Backing::Reserved, None, false);
    assert_eq!(attach(utcb - PAGE_SIZE), Err(Error::Busy));
    assert_eq!(space.detach(utcb, PAGE_SIZE), Err(Error::Busy));
    assert_eq!(space.protect(utcb, PAGE_SIZE, Access::empty()), Err(Error::Busy));
    assert_eq!(
        space.detach(BASE, 5 * PAGE_SIZE),
        Ok(4 * PAGE_SIZE),
        "what is before it goes"
    );
    assert_eq!(space.discard(utcb, PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(processor.access(utcb, Access::READ), Ok(frame));
    space.unmap_utcb(utcb + PAGE_SIZE);
    space.unmap_utcb(utcb);
    assert_eq!(processor.access(utcb, Access::READ), Err(FaultOutcome::NoRegion));
    let again = space.map_utcb(utcb).unwrap();
    assert_eq!(processor.read(utcb), Ok(0), "a new one is zeroed");
    assert_ne!(again, PhysAddr(0));
    destroy(space);
    space.unmap_utcb(utcb);
    world.close(&[account]);
}

#[test]
fn alike_neighbours_are_one_region() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let regions = || {
        let mut all = Vec::new();
        let mut at = 0;
        while let Some(RegionInfo {
            start, size, access, ..
        }) = space.find(at)
        {
            all.push(((start - BASE) / PAGE_SIZE, size / PAGE_SIZE, access));
            at = start + size;
        }
        all
    };
    let rw = Access::READ_WRITE;
    let ro = Access::READ;
    anonymous(space, BASE, 2);
    anonymous(space, BASE + 4 * PAGE_SIZE, 2);
    assert_eq!(regions(), [(0, 2, rw), (4, 2, rw)]);
    anonymous(space, BASE + 2 * PAGE_SIZE, 2);
    assert_eq!(regions(), [(0, 6, rw)]);
    let used = account.used();
    assert_eq!(
        space.protect(BASE + PAGE_SIZE, 2 * PAGE_SIZE, ro),
        Ok(2 * PAGE_SIZE)
    );
    assert_eq!(regions(), [(0, 1, rw), (1, 2, ro), (3, 3, rw)]);
    assert_eq!(
        space.protect(BASE + PAGE_SIZE, 2 * PAGE_SIZE, rw),
        Ok(2 * PAGE_SIZE)
    );
    assert_eq!(regions(), [(0, 6, rw)]);
    assert_eq!(account.used(), used);
    assert_eq!(space.detach(BASE + 2 * PAGE_SIZE, PAGE_SIZE), Ok(PAGE_SIZE));
    assert_eq!(regions(), [(0, 2, rw), (3, 3, rw)]);
    assert_eq!(
        space.detach(BASE, 10 * PAGE_SIZE),
        Ok(10 * PAGE_SIZE),
        "gaps are no error"
    );
    assert_eq!(regions(), []);
    destroy(space);
    world.close(&[account]);
}

#[test]
fn rights_that_are_taken_are_gone_at_once() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    anonymous(space, BASE, 2);
    processor.write(BASE, 7).unwrap();
    let protect = |access| whole(BASE, PAGE_SIZE, |at, size| space.protect(at, size, access)).unwrap();
    protect(Access::READ);
    assert_eq!(processor.write(BASE, 8), Err(FaultOutcome::Denied));
    assert_eq!(processor.read(BASE), Ok(7));
    protect(Access::empty());
    assert_eq!(processor.read(BASE), Err(FaultOutcome::Denied));
    protect(Access::READ_EXECUTE);
    assert!(processor.access(BASE, Access::EXECUTE).is_ok());
    let faults = processor.faults.get();
    protect(Access::READ_WRITE);
    assert_eq!(processor.access(BASE, Access::EXECUTE), Err(FaultOutcome::Denied));
    assert_eq!((processor.read(BASE), processor.write(BASE, 9)), (Ok(7), Ok(())));
    assert_eq!(processor.faults.get(), faults + 1, "what is given needs no fault");
    whole(BASE, PAGE_SIZE, |at, size| space.discard(at, size)).unwrap();
    assert_eq!(processor.read(BASE), Ok(0));
    whole(BASE, PAGE_SIZE, |at, size| space.detach(at, size)).unwrap();
    assert_eq!(processor.read(BASE), Err(FaultOutcome::NoRegion));
    assert_eq!(processor.read(BASE + PAGE_SIZE), Ok(0));
    destroy(space);
    world.close(&[account]);
}

#[test]
fn reading_sealed_memory_maps_what_is_around() {
    let world = World::new();
    let account = world.account(100);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    let dataspace = Dataspace::create(account, 40 * PAGE_SIZE).unwrap();
    (0..40u64).for_each(|page| dataspace.write(page * PAGE_SIZE, &page.to_ne_bytes()).unwrap());
    seal(&dataspace);
    let whole_view = Some((dataspace, 0));
    // 16-page windows of addresses: the region starts in the middle of one.
    let start = BASE + 8 * PAGE_SIZE;
    space
        .attach(
            start,
            40 * PAGE_SIZE,
            Access::READ_EXECUTE,
            Backing::Shared,
            whole_view,
            false,
        )
        .unwrap();
    (0..40u64).for_each(|page| assert_eq!(processor.read(start + page * PAGE_SIZE), Ok(page)));
    assert_eq!(processor.faults.get(), 3, "windows of 8, 16 and 16 pages");
    let used = account.used();
    let data = BASE + 0x20_0000;
    space
        .attach(
            data,
            40 * PAGE_SIZE,
            Access::READ_WRITE,
            Backing::Private,
            whole_view,
            false,
        )
        .unwrap();
    (0..40u64).for_each(|page| processor.write(data + page * PAGE_SIZE, page + 100).unwrap());
    assert_eq!(account.used(), used + 41 * PAGE_SIZE, "40 copies and a table");
    (0..40u64).for_each(|page| assert_eq!(processor.read(start + page * PAGE_SIZE), Ok(page)));
    drop_dataspace(dataspace);
    destroy(space);
    world.close(&[account]);
}
