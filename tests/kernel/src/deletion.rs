//! What ends leaves nothing behind and disturbs nobody.

use crate::harness::{FACTORY, Failure, PRIORITY, Test, TestResult, cpu_count, settled_counters};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use fastrand::Rng;
use l4::object::{Dataspace, Factory, MapEntry, Placement, Task};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Rights, Tag, Utcb, syscall};
use l4re::thread::{Builder, Ending};
use l4re::{Slot, clock, memory};

pub(crate) const TESTS: &[Test] = tests![deletion:
    a_task_that_ends_leaves_shared_memory_to_others,
    frames_come_back,
    a_task_can_end_itself,
    an_account_can_end_itself,
    destruction_does_not_hold_up_others,
    tasks_come_and_go_on_all_cpus,
    clients_and_servers_end_at_any_time,
    random_calls_harm_nobody,
];

const OWN: Task = Task(CapIndex::TASK);

fn a_task_that_ends_leaves_shared_memory_to_others() -> TestResult {
    let mut partner = Partner::start(Role::Touch, Place::TASK)?;
    let dataspace = memory::create_dataspace(0x2000)?;
    Dataspace(dataspace.index()).write(0, &[7; 0x1800])?;
    let region = Region {
        start: 0x6400_0000_0000,
        size: 0x2000,
        access: Access::READ_WRITE,
        backing: Backing::Shared,
        search: false,
        dataspace: dataspace.index(),
        offset: 0,
    };
    Task(partner.task()).attach(&[region])?;
    partner.call(&[region.start + 0x1000])?;
    partner.kill();
    settled_counters()?;
    let mut bytes = [0; 16];
    Dataspace(dataspace.index()).read(0x1000, &mut bytes)?;
    check_eq!(bytes, [7; 16]);
    Ok(())
}

fn frames_come_back() -> TestResult {
    let cycle = || -> TestResult {
        for place in Place::all()? {
            let partner = Partner::start(
                Role::Echo,
                Place {
                    other_task: true,
                    ..place
                },
            )?;
            partner.call(&[1])?;
        }
        Ok(())
    };
    for _ in 0..5 {
        cycle()?;
    }
    let before = settled_counters()?;
    for _ in 0..20 {
        cycle()?;
    }
    let after = settled_counters()?;
    check_eq!(after.free_frames, before.free_frames);
    check_eq!(after.capabilities, before.capabilities);
    Ok(())
}

fn a_task_can_end_itself() -> TestResult {
    let partner = Partner::start(Role::Desert, Place::TASK)?;
    // It has its task's capability, which lacks the right to delete it, so it is given one.
    Task(partner.task()).map(&[MapEntry::copy(partner.task(), CapIndex(0xf00), Rights::all())])?;
    check!(
        syscall::call(partner.gate.index(), Tag::new(1, 0, 0))
            .result()
            .is_err()
    );
    Ok(())
}

fn an_account_can_end_itself() -> TestResult {
    let before = settled_counters()?;
    let account = Slot::fill(|slot| FACTORY.create_factory(1 << 20, slot))?;
    let inner = Slot::fill(|slot| Factory(account.index()).create_factory(512 << 10, slot))?;
    let task = Slot::fill(|slot| Factory(inner.index()).create_task(slot))?;
    Task(task.index()).map(&[MapEntry::copy(account.index(), CapIndex(2), Rights::all())])?;
    drop((task, inner));
    drop(account);
    // The task went with its last capability, and with it the last one of the account that paid for it.
    let after = settled_counters()?;
    check_eq!((after.tasks, after.factories), (before.tasks, before.factories));
    Ok(())
}

fn destruction_does_not_hold_up_others() -> TestResult {
    // One good attempt will do: a busy host delays all of an emulated machine now and then.
    let mut best = u64::MAX;
    for _ in 0..50 {
        best = best.min(worst_delay_while_deleting(8192)?);
        if best < 10_000_000 {
            break;
        }
    }
    check!(best < 10_000_000);
    Ok(())
}

/// Deletes a dataspace of `pages` pages beside a thread that wakes up all the time; returns its worst delay.
fn worst_delay_while_deleting(pages: u64) -> Result<u64, Failure> {
    let dataspace = memory::create_dataspace(pages * l4::PAGE_SIZE)?;
    for page in 0..pages {
        Dataspace(dataspace.index()).write(page * l4::PAGE_SIZE, &[1])?;
    }
    let worst = Arc::new(AtomicU64::new(0));
    let longest = worst.clone();
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY + 1,
        slice_us: 0,
    };
    let ticker = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        for _ in 0..100 {
            let deadline = clock::after(200_000);
            syscall::sleep_until(deadline);
            longest.fetch_max(clock::now_ns() - deadline, Ordering::SeqCst);
        }
    })?;
    clock::sleep(1_000_000);
    dataspace.delete()?;
    ticker.join()?;
    Ok(worst.load(Ordering::SeqCst))
}

fn tasks_come_and_go_on_all_cpus() -> TestResult {
    let cpus = cpu_count()?;
    let failed = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    for cpu in 0..cpus {
        let failed = failed.clone();
        let placement = Placement {
            cpu,
            priority: PRIORITY,
            slice_us: 0,
        };
        let builder = Builder {
            placement,
            stack_size: 128 << 10,
            ..Builder::default()
        };
        threads.push(builder.spawn(move || {
            for round in 0..20 {
                let place = Place {
                    cpu: (cpu + round % 2) % cpus,
                    ..Place::TASK
                };
                let answered = Partner::start(Role::Echo, place)
                    .is_ok_and(|partner| partner.call(&[1, 2]).is_ok_and(|got| got.tag.words() == 2));
                failed.fetch_add((!answered).into(), Ordering::SeqCst);
            }
        })?);
    }
    for thread in threads {
        check_eq!(thread.join()?, Ending::Returned);
    }
    check_eq!(failed.load(Ordering::SeqCst), 0);
    Ok(())
}

fn clients_and_servers_end_at_any_time() -> TestResult {
    let cpus = cpu_count()?;
    for round in 0..40u64 {
        let mut server = Partner::start(
            Role::Echo,
            Place {
                cpu: round as u32 % cpus,
                ..Place::TASK
            },
        )?;
        let cap = server.gate.index();
        // From now on the gate is bound: before, a caller would wait for that.
        server.call(&[round])?;
        let placement = Placement {
            cpu: (round as u32 / 2) % cpus,
            priority: PRIORITY,
            slice_us: 0,
        };
        let client = Builder {
            placement,
            ..Builder::default()
        }
        .spawn(
            move || {
                while syscall::call(cap, Tag::new(1, 3, 0)).result().is_ok() {}
            },
        )?;
        clock::sleep(50_000 * (round % 9));
        if round % 2 == 0 {
            server.kill();
            check_eq!(client.join()?, Ending::Returned);
        } else {
            client.kill()?;
            server.call(&[round])?;
        }
    }
    Ok(())
}

/// Calls with random arguments, on capabilities without rights and on none.
fn random_calls_harm_nobody() -> TestResult {
    let neighbour = Partner::start(Role::Echo, Place::TASK)?;
    let weak: Result<Vec<_>, _> = [
        CapIndex::TASK,
        CapIndex::FACTORY,
        CapIndex::SCHEDULER,
        CapIndex::DEBUG,
        CapIndex::ICU,
        CapIndex::PLATFORM,
        CapIndex::DEBUGCON,
    ]
    .into_iter()
    .map(|cap| Slot::fill(|slot| OWN.map(&[MapEntry::copy(cap, slot, Rights::empty())])))
    .collect();
    let weak = weak?;
    let mut random = Rng::with_seed(1);
    for round in 0..20_000 {
        let cap = match random.u8(..4) {
            0 => CapIndex(random.u32(..)),
            _ => weak[random.usize(..weak.len())].index(),
        };
        // Operations have small numbers, protocols small negative ones.
        let words: [u64; 8] = core::array::from_fn(|_| match random.u8(..3) {
            0 => random.u64(..20),
            1 => random.u64(..),
            _ => random.u64(..32).wrapping_neg(),
        });
        Utcb::current().write(0, &words);
        let label = -random.i64(0..42);
        let tag = Tag::new(label, random.usize(..9), 0);
        let result = syscall::call_until(cap, tag, clock::now_ns()).result();
        if round % 1000 == 0 {
            neighbour.call(&[round])?;
            check_eq!(Utcb::current().word(0), round);
        }
        let _ = result;
    }
    Ok(())
}
