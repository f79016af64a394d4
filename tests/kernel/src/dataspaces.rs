//! Dataspaces and the regions that show them.

use crate::exceptions::{Event, Victim, fault_of, poke, touch};
use crate::harness::{FACTORY, PRIORITY, Test, TestResult, settled_counters};
use crate::memory::{Attached, PAGE, PLACE, READING, WRITING, anonymous, is_refused, read, view, write};
use crate::{check, check_eq, tests};
use l4::exception::Reason;
use l4::object::{Dataspace, Factory, MapEntry, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, Rights};
use l4re::thread::Ending;
use l4re::{Slot, memory};

pub(crate) const TESTS: &[Test] = tests![memory:
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
];

const OWN: Task = Task(CapIndex::TASK);

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
    check!(target.clear(PAGE, !0xfff).is_err());
    let beyond = Region {
        offset: PAGE,
        ..view(PLACE, 2 * PAGE, Backing::Shared, Access::READ, &dataspace)
    };
    check!(OWN.attach(&[beyond]).is_err());
    check!(
        OWN.attach(&[Region {
            offset: !0xfff,
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
