//! Slots, rights, derivation, accounts.

use crate::harness::{FACTORY, PRIORITY, Test, TestResult, other_cpu, settled_counters};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::object::{Dataspace, Factory, Irq, MapEntry, Placement, Task};
use l4::{CapIndex, Error, IpcError, POLL, Rights, Tag, syscall};
use l4re::thread::Builder;
use l4re::{OwnedCap, Slot, clock};

pub(crate) const TESTS: &[Test] = tests![capabilities:
    slots_outside_the_table_are_refused,
    copies_name_the_same_object,
    deleting_invalidates_all_copies,
    deleting_needs_the_right,
    the_last_capability_keeps_the_object,
    revoking_takes_what_was_derived,
    revoking_reaches_other_tasks,
    a_reused_slot_names_the_new_object,
    mapping_stops_at_the_first_error,
    a_slot_copied_onto_itself_stays,
    an_account_pays_and_gets_back,
    an_account_without_memory_creates_nothing,
    accounts_nest,
    an_account_gives_back_what_it_does_not_use,
    deleting_an_account_ends_what_it_paid_for,
    every_kind_of_object_comes_and_goes,
    two_cpus_delete_the_same_object,
    two_cpus_copy_and_revoke,
];

const OWN: Task = Task(CapIndex::TASK);

fn copy(cap: CapIndex, rights: Rights) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| OWN.map(&[MapEntry::copy(cap, slot, rights)]))
}

fn slots_outside_the_table_are_refused() -> TestResult {
    for slot in [CapIndex::LIMIT, CapIndex::LIMIT + 1, 0xf_ffff] {
        let slot = CapIndex(slot);
        check!(
            OWN.map(&[MapEntry::copy(CapIndex::DEBUG, slot, Rights::all())])
                .is_err()
        );
        check!(
            OWN.map(&[MapEntry::copy(slot, CapIndex(0xf00), Rights::all())])
                .is_err()
        );
        check!(OWN.drop_cap(slot).is_err());
        check!(OWN.delete(slot).is_err());
        check!(OWN.is_valid(slot) != Ok(true));
        check!(FACTORY.create_gate(0, CapIndex::NONE, slot).is_err());
    }
    check!(
        OWN.map(&[MapEntry::copy(CapIndex::DEBUG, CapIndex(0), Rights::all())])
            .is_err()
    );
    check!(FACTORY.create_gate(0, CapIndex::NONE, CapIndex(0)).is_err());
    check!(OWN.drop_cap(CapIndex::NONE).is_err());
    let last = CapIndex(CapIndex::LIMIT - 1);
    OWN.map(&[MapEntry::copy(CapIndex::DEBUG, last, Rights::all())])?;
    check_eq!(OWN.is_equal(last, CapIndex::DEBUG), Ok(true));
    OWN.drop_cap(last)?;
    check_eq!(OWN.is_valid(last), Ok(false));
    Ok(())
}

fn copies_name_the_same_object() -> TestResult {
    let one = l4re::memory::create_dataspace(0x1000)?;
    let other = l4re::memory::create_dataspace(0x1000)?;
    let copied = copy(one.index(), Rights::READ)?;
    check_eq!(OWN.is_equal(one.index(), copied.index()), Ok(true));
    check_eq!(OWN.is_equal(one.index(), other.index()), Ok(false));
    check_eq!(OWN.is_equal(one.index(), CapIndex(0xf00)), Ok(false));
    Ok(())
}

fn deleting_invalidates_all_copies() -> TestResult {
    let partner = Partner::start(Role::Sleep, Place::TASK)?;
    let gate = Slot::fill(|slot| FACTORY.create_gate(0, CapIndex::NONE, slot))?;
    let copied = copy(gate.index(), Rights::CLIENT)?;
    Task(partner.task()).map(&[MapEntry::copy(gate.index(), CapIndex(0xf00), Rights::CLIENT)])?;
    gate.delete()?;
    settled_counters()?;
    check_eq!(OWN.is_valid(copied.index()), Ok(false));
    check_eq!(Task(partner.task()).is_valid(CapIndex(0xf00)), Ok(false));
    let sent = syscall::send(copied.index(), Tag::new(1, 0, 0), POLL).result();
    check_eq!(sent, Err(Error::Ipc(IpcError::NotExistent)));
    Ok(())
}

fn deleting_needs_the_right() -> TestResult {
    let dataspace = l4re::memory::create_dataspace(0x1000)?;
    let weak = copy(dataspace.index(), Rights::CLIENT)?;
    check_eq!(OWN.delete(weak.index()), Err(Error::NotPermitted));
    check!(Dataspace(dataspace.index()).info().is_ok());
    dataspace.delete()?;
    Ok(())
}

fn the_last_capability_keeps_the_object() -> TestResult {
    let before = settled_counters()?.dataspaces;
    let first = l4re::memory::create_dataspace(0x1000)?;
    let second = copy(first.index(), Rights::READ)?;
    drop(first);
    check_eq!(settled_counters()?.dataspaces, before + 1);
    check!(Dataspace(second.index()).info().is_ok());
    drop(second);
    check_eq!(settled_counters()?.dataspaces, before);
    Ok(())
}

fn revoking_takes_what_was_derived() -> TestResult {
    let root = l4re::memory::create_dataspace(0x1000)?;
    let child = copy(root.index(), Rights::all())?;
    let grandchild = copy(child.index(), Rights::all())?;
    let sibling = copy(root.index(), Rights::all())?;
    OWN.revoke(child.index())?;
    check_eq!(OWN.is_valid(grandchild.index()), Ok(false));
    check_eq!(OWN.is_valid(child.index()), Ok(true));
    check_eq!(OWN.is_valid(sibling.index()), Ok(true));
    let again = copy(child.index(), Rights::all())?;
    OWN.revoke(root.index())?;
    for gone in [&child, &sibling, &again] {
        check_eq!(OWN.is_valid(gone.index()), Ok(false));
    }
    check!(Dataspace(root.index()).info().is_ok());
    Ok(())
}

fn revoking_reaches_other_tasks() -> TestResult {
    let partner = Partner::start(Role::Sleep, Place::TASK)?;
    let task = Task(partner.task());
    let slots = [CapIndex(0xf00), CapIndex(0xf01)];
    for slot in slots {
        task.map(&[MapEntry::copy(CapIndex::DEBUG, slot, Rights::CLIENT)])?;
    }
    OWN.revoke(CapIndex::DEBUG)?;
    for slot in slots {
        check_eq!(task.is_valid(slot), Ok(false));
    }
    check_eq!(OWN.is_valid(CapIndex::DEBUG), Ok(true));
    Ok(())
}

fn a_reused_slot_names_the_new_object() -> TestResult {
    let slot = Slot::allocate()?;
    for round in 0..200 {
        if round % 2 == 0 {
            FACTORY.create_gate(0, CapIndex::NONE, slot.index())?;
            check!(
                syscall::send(slot.index(), Tag::new(1, 0, 0), POLL)
                    .result()
                    .is_err()
            );
        } else {
            FACTORY.create_irq(0, CapIndex::NONE, slot.index())?;
            Irq(slot.index()).trigger()?;
        }
        OWN.delete(slot.index())?;
    }
    Ok(())
}

fn mapping_stops_at_the_first_error() -> TestResult {
    let [one, other] = [CapIndex(0xf00), CapIndex(0xf01)];
    let entries = [
        MapEntry::copy(CapIndex::DEBUG, one, Rights::READ),
        MapEntry::copy(CapIndex(0xf07), other, Rights::READ),
        MapEntry::copy(CapIndex::DEBUG, other, Rights::READ),
    ];
    check!(OWN.map(&entries).is_err());
    check_eq!((OWN.is_valid(one), OWN.is_valid(other)), (Ok(true), Ok(false)));
    OWN.drop_cap(one)?;
    Ok(())
}

fn a_slot_copied_onto_itself_stays() -> TestResult {
    let dataspace = l4re::memory::create_dataspace(0x1000)?;
    let slot = dataspace.index();
    // Whether this is refused or does nothing, the capability must not get lost.
    let _ = OWN.map(&[MapEntry::copy(slot, slot, Rights::all())]);
    let _ = OWN.map(&[MapEntry {
        grant: true,
        ..MapEntry::copy(slot, slot, Rights::all())
    }]);
    check!(Dataspace(slot).info().is_ok());
    Ok(())
}

fn account(limit: u64) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| FACTORY.create_factory(limit, slot))
}

fn an_account_pays_and_gets_back() -> TestResult {
    let account = account(1 << 20)?;
    let factory = Factory(account.index());
    let empty = factory.info()?;
    check_eq!(empty.limit, 1 << 20);
    for _ in 0..3 {
        let dataspace = Slot::fill(|slot| factory.create_dataspace(0x4000, slot))?;
        Dataspace(dataspace.index()).write(0, &[1; 0x3001])?;
        let used = factory.info()?.used;
        check!(used >= empty.used + 4 * 0x1000);
        drop(dataspace);
        settled_counters()?;
        check_eq!(factory.info()?.used, empty.used);
    }
    Ok(())
}

fn an_account_without_memory_creates_nothing() -> TestResult {
    let account = account(64 << 10)?;
    let factory = Factory(account.index());
    let before = settled_counters()?;
    let empty = factory.info()?.used;
    let mut tasks = Vec::new();
    let error = loop {
        match Slot::fill(|slot| factory.create_task(slot)) {
            Ok(task) => tasks.push(task),
            Err(error) => break error,
        }
    };
    check_eq!(error, Error::NoMemory);
    check!(!tasks.is_empty() && tasks.len() < 20);
    check_eq!(settled_counters()?.tasks, before.tasks + tasks.len() as u64);
    drop(tasks);
    settled_counters()?;
    check_eq!(factory.info()?.used, empty);
    Ok(())
}

fn accounts_nest() -> TestResult {
    let outer = account(1 << 20)?;
    let factory = Factory(outer.index());
    let empty = factory.info()?.used;
    let inner = Slot::fill(|slot| factory.create_factory(256 << 10, slot))?;
    check!(factory.info()?.used >= empty + (256 << 10));
    let slot = Slot::allocate()?;
    check_eq!(
        factory.create_factory(1 << 20, slot.index()),
        Err(Error::NoMemory)
    );
    check_eq!(
        Factory(inner.index()).create_factory(257 << 10, slot.index()),
        Err(Error::NoMemory)
    );
    check!(factory.create_factory(0, slot.index()).is_err());
    check!(factory.create_factory(u64::MAX, slot.index()).is_err());
    drop(inner);
    settled_counters()?;
    check_eq!(factory.info()?.used, empty);
    Ok(())
}

fn an_account_gives_back_what_it_does_not_use() -> TestResult {
    let outer = account(1 << 20)?;
    let factory = Factory(outer.index());
    let empty = factory.info()?.used;
    let inner = Slot::fill(|slot| factory.create_factory(512 << 10, slot))?;
    let trimmed = Factory(inner.index());
    let dataspace = Slot::fill(|slot| trimmed.create_dataspace(0x4000, slot))?;
    Dataspace(dataspace.index()).write(0, &[1; 0x3001])?;
    let limit = trimmed.trim()?;
    let info = trimmed.info()?;
    check_eq!((info.limit, info.used), (limit, limit));
    check!((4 * 0x1000..64 << 10).contains(&limit));
    check!(factory.info()?.used < empty + limit + 0x2000);
    check_eq!(trimmed.trim()?, limit);
    let slot = Slot::allocate()?;
    check_eq!(
        trimmed
            .create_dataspace(0x1000, slot.index())
            .and_then(|new| new.write(0, &[1; 8])),
        Err(Error::NoMemory)
    );
    let _ = OWN.drop_cap(slot.index());
    drop(dataspace);
    check!(trimmed.trim()? <= limit);
    drop(inner);
    settled_counters()?;
    let after = factory.info()?;
    check_eq!((after.used, after.returning), (empty, 0));
    check_eq!(trim_without_right(CapIndex::FACTORY), Err(Error::NotPermitted));
    Ok(())
}

/// Tries to trim an account through a capability without the strong right.
fn trim_without_right(cap: CapIndex) -> Result<u64, Error> {
    let weak = Slot::fill(|slot| OWN.map(&[MapEntry::copy(cap, slot, Rights::READ)]))?;
    Factory(weak.index()).trim()
}

fn deleting_an_account_ends_what_it_paid_for() -> TestResult {
    let before = settled_counters()?;
    let outer = account(4 << 20)?;
    let inner = Slot::fill(|slot| Factory(outer.index()).create_factory(2 << 20, slot))?;
    let mut objects = Vec::new();
    for factory in [Factory(outer.index()), Factory(inner.index())] {
        let task = Slot::fill(|slot| factory.create_task(slot))?;
        let target = Task(task.index());
        let thread = Slot::fill(|slot| {
            factory.create_thread(target, l4::utcb::FIRST_ADDRESS, CapIndex::NONE, 0, slot)
        })?;
        let gate = Slot::fill(|slot| factory.create_gate(0, thread.index(), slot))?;
        let irq = Slot::fill(|slot| factory.create_irq(0, thread.index(), slot))?;
        let dataspace = Slot::fill(|slot| factory.create_dataspace(0x8000, slot))?;
        Dataspace(dataspace.index()).write(0, &[1; 0x5000])?;
        objects.push([task, thread, gate, irq, dataspace]);
    }
    outer.delete()?;
    let after = settled_counters()?;
    for cap in objects.iter().flatten().chain([&inner]) {
        check_eq!(OWN.is_valid(cap.index()), Ok(false));
    }
    check_eq!(
        (after.tasks, after.threads, after.factories),
        (before.tasks, before.threads, before.factories)
    );
    Ok(())
}

fn every_kind_of_object_comes_and_goes() -> TestResult {
    let free = settled_counters()?.free_frames;
    let slot = Slot::allocate()?;
    let cap = slot.index();
    for round in 0..20_000 {
        match round % 5 {
            0 => FACTORY.create_gate(0, CapIndex::NONE, cap).map(drop)?,
            1 => FACTORY.create_irq(0, CapIndex::NONE, cap).map(drop)?,
            2 => FACTORY.create_dataspace(0x1000, cap).map(drop)?,
            3 => FACTORY.create_task(cap).map(drop)?,
            _ => FACTORY.create_factory(0x4000, cap).map(drop)?,
        }
        OWN.drop_cap(cap)?;
    }
    let now = settled_counters()?.free_frames;
    // Memory that is divided among small objects may stay so.
    check!(now + 16 >= free);
    Ok(())
}

fn two_cpus_delete_the_same_object() -> TestResult {
    let cpu = other_cpu()?;
    let deleted = Arc::new(AtomicU64::new(0));
    for round in 0..100 {
        let dataspace = l4re::memory::create_dataspace(0x1000)?;
        let other = copy(dataspace.index(), Rights::all())?;
        let (cap, count) = (other.index(), deleted.clone());
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
            count.fetch_add(OWN.delete(cap).is_ok().into(), Ordering::SeqCst);
        })?;
        clock::sleep(10_000 * (round % 10));
        deleted.fetch_add(OWN.delete(dataspace.index()).is_ok().into(), Ordering::SeqCst);
        thread.join()?;
        check_eq!(OWN.is_valid(cap), Ok(false));
    }
    check!(deleted.load(Ordering::SeqCst) >= 100);
    Ok(())
}

fn two_cpus_copy_and_revoke() -> TestResult {
    let cpu = other_cpu()?;
    let dataspace = l4re::memory::create_dataspace(0x1000)?;
    let root = dataspace.index();
    let slot = Slot::allocate()?;
    let cap = slot.index();
    let placement = Placement {
        cpu,
        priority: PRIORITY,
        slice_us: 0,
    };
    let copier = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        for _ in 0..1000 {
            let _ = OWN.map(&[MapEntry::copy(root, cap, Rights::READ)]);
            let _ = OWN.map(&[MapEntry::copy(cap, CapIndex(0xf00), Rights::READ)]);
        }
    })?;
    while !copier.is_finished() {
        OWN.revoke(root)?;
    }
    copier.join()?;
    OWN.revoke(root)?;
    check_eq!(
        (OWN.is_valid(cap), OWN.is_valid(CapIndex(0xf00))),
        (Ok(false), Ok(false))
    );
    check!(Dataspace(root).info().is_ok());
    Ok(())
}
