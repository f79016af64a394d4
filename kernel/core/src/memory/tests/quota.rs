//! Memory runs out at every point where it can, and each time nothing is left half done.

use super::world::{Processor, World, destroy, drop_dataspace, seal, space};
use crate::account::Account;
use crate::memory::{AddressSpace, Dataspace, FaultOutcome};
use crate::object::Ref;
use l4::region::{Access, Backing};
use l4::{Error, PAGE_SIZE};
use std::vec::Vec;

/// What one attempt has made so far.
struct Attempt {
    account: Ref<Account>,
    space: &'static AddressSpace,
    processor: Processor,
    dataspaces: Vec<Ref<Dataspace>>,
}

type Step = fn(&mut Attempt) -> Result<(), Error>;

fn fault(outcome: Result<(), FaultOutcome>) -> Result<(), Error> {
    outcome.map_err(|outcome| {
        assert_eq!(outcome, FaultOutcome::Quota);
        Error::NoMemory
    })
}

impl Attempt {
    fn attach(
        &self,
        start: u64,
        pages: u64,
        backing: Backing,
        dataspace: Option<usize>,
    ) -> Result<(), Error> {
        let access = if backing == Backing::Anonymous {
            Access::READ
        } else {
            Access::READ_WRITE
        };
        let dataspace = dataspace.map(|index| (self.dataspaces[index], 0));
        self.space
            .attach(start, pages * PAGE_SIZE, access, backing, dataspace, false)
            .map(drop)
    }
}

/// Everything that allocates, in an order in which it is possible.
const STEPS: [(&str, Step); 20] = [
    ("attach", |a| a.attach(0x1000, 8, Backing::Anonymous, None)),
    ("read", |a| fault(a.processor.read(0x1000).map(drop))),
    ("split twice", |a| {
        a.space.protect(0x3000, 0x2000, Access::READ_WRITE).map(drop)
    }),
    ("write", |a| fault(a.processor.write(0x3000, 1))),
    ("split once", |a| a.space.detach(0x7000, 0x1000).map(drop)),
    ("utcb", |a| a.space.map_utcb(0x4000_0000).map(drop)),
    ("utcb far away", |a| a.space.map_utcb(0x4000_0000_0000).map(drop)),
    ("dataspace", |a| {
        Dataspace::create(a.account, 600 * PAGE_SIZE).map(|new| a.dataspaces.push(new))
    }),
    ("write bytes", |a| {
        a.dataspaces[0].write(513 * PAGE_SIZE + 4090, &[1; 6])
    }),
    ("attach shared", |a| {
        a.attach(0x20_0000_0000, 600, Backing::Shared, Some(0))
    }),
    ("fill shared", |a| a.dataspaces[0].write(0, &[5; 8])),
    ("write shared", |a| fault(a.processor.write(0x20_0000_0000, 5))),
    ("another one", |a| {
        Dataspace::create(a.account, 5 * PAGE_SIZE).map(|new| a.dataspaces.push(new))
    }),
    ("copy", |a| {
        a.dataspaces[1]
            .copy_in(0, &a.dataspaces[0], 513 * PAGE_SIZE, PAGE_SIZE)
            .map(drop)
    }),
    ("child", |a| {
        seal(&a.dataspaces[0]);
        Dataspace::create_child(a.account, a.dataspaces[0]).map(|new| a.dataspaces.push(new))
    }),
    ("write child", |a| {
        a.dataspaces[2].write(513 * PAGE_SIZE, b"child")
    }),
    ("hide", |a| {
        let mut budget = 1000;
        a.dataspaces[2].clear(0, PAGE_SIZE, &mut budget).map(drop)
    }),
    ("attach private", |a| {
        a.attach(0x30_0000_0000, 600, Backing::Private, Some(0))
    }),
    ("read private", |a| {
        fault(a.processor.read(0x30_0000_0000).map(drop))
    }),
    ("write private", |a| {
        fault(a.processor.write(0x30_0000_0000 + 513 * PAGE_SIZE, 1))
    }),
];

/// Runs all steps until one fails and returns how many were done.
fn attempt(world: &World, pages: u64) -> usize {
    let account = world.account(pages);
    let Ok(space) = space(account) else {
        assert_eq!(account.used(), 0);
        return 0;
    };
    let processor = Processor::new(space);
    let mut state = Attempt {
        account,
        space,
        processor,
        dataspaces: Vec::new(),
    };
    let mut done = 0;
    for (name, step) in STEPS {
        let (used, regions) = (account.used(), regions(space));
        match step(&mut state) {
            Ok(()) => done += 1,
            Err(error) => {
                assert_eq!(error, Error::NoMemory, "{name} with {pages} pages");
                assert_eq!(
                    account.used(),
                    used,
                    "{name} with {pages} pages left something behind"
                );
                assert_eq!(self::regions(space), regions, "{name} with {pages} pages");
                break;
            }
        }
    }
    destroy(space);
    // The youngest first: a parent stays for its children, and they are what this test ends.
    state.dataspaces.into_iter().rev().for_each(drop_dataspace);
    super::world::settle();
    assert_eq!(account.used(), 0, "{done} steps with {pages} pages");
    done
}

fn regions(space: &AddressSpace) -> Vec<crate::memory::RegionInfo> {
    let next = |at: u64| space.find(at);
    core::iter::successors(next(0), |region| next(region.start + region.size)).collect()
}

#[test]
fn running_out_of_memory_leaves_no_trace() {
    let world = World::new();
    let mut reached = 0;
    for pages in 0..60 {
        let done = attempt(&world, pages);
        assert!(done >= reached, "more memory, fewer steps");
        reached = done;
    }
    assert_eq!(reached, STEPS.len(), "60 pages are enough for all steps");
    world.close(&[]);
}

#[test]
fn what_needs_no_memory_works_without() {
    let world = World::new();
    // Root, arena, three tables, two pages, and nothing more.
    let account = world.account(7);
    let space = space(account).unwrap();
    let processor = Processor::new(space);
    for start in [0x40_0000, 0x40_8000] {
        space
            .attach(start, 0x4000, Access::READ_WRITE, Backing::Anonymous, None, false)
            .unwrap();
        processor.write(start, 1).unwrap();
    }
    assert_eq!(processor.write(0x40_1000, 1), Err(FaultOutcome::Quota));
    assert_eq!(space.detach(0x40_a000, 0x2000), Ok(0x2000), "the end of a region");
    assert_eq!(
        space.detach(0x40_0000, 0x1000),
        Ok(0x1000),
        "the start of a region"
    );
    assert_eq!(space.detach(0x40_0000, 0x4000), Ok(0x4000), "all of it");
    assert_eq!(space.protect(0x40_8000, 0x2000, Access::READ), Ok(0x2000));
    destroy(space);
    world.close(&[account]);
}
