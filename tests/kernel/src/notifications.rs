//! Notifications: triggers, bindings, timers, watchers.

use crate::harness::{FACTORY, PRIORITY, Test, TestResult, other_cpu, settled_counters};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use l4::object::{Irq, MapEntry, Placement, Task};
use l4::protocol::IRQ;
use l4::syscall::{self, Received};
use l4::{CapIndex, Error, NEVER, POLL, Rights, Tag};
use l4re::thread::Builder;
use l4re::{OwnedCap, Slot, clock, server, start};

pub(crate) const TESTS: &[Test] = tests![notifications:
    a_trigger_is_delivered_with_its_label,
    a_trigger_before_binding_is_kept,
    triggers_coalesce,
    rebinding_moves_what_is_pending,
    detaching_keeps_what_is_pending,
    a_closed_receive_takes_its_notification_only,
    a_notification_comes_before_messages,
    another_cpu_triggers,
    a_timer_fires_at_its_time,
    a_timer_can_be_moved_and_cancelled,
    many_timers_fire_in_order,
    a_deleted_notification_is_not_delivered,
    triggering_needs_the_right,
    a_gate_without_clients_is_noticed,
    an_account_that_ends_is_noticed,
    triggers_of_two_cpus_are_not_lost,
];

const OWN: Task = Task(CapIndex::TASK);

fn irq(label: u64) -> Result<OwnedCap, Error> {
    Slot::fill(|slot| FACTORY.create_irq(label, start::current_thread(), slot))
}

fn unbound() -> Result<OwnedCap, Error> {
    Slot::fill(|slot| FACTORY.create_irq(0, CapIndex::NONE, slot))
}

/// The label of a notification; `None` if there is none.
fn label(received: Received) -> Option<u64> {
    (!received.tag.is_error() && received.tag.label() == IRQ).then_some(received.label)
}

fn poll() -> Option<u64> {
    label(syscall::wait(POLL))
}

fn a_trigger_is_delivered_with_its_label() -> TestResult {
    let irq = irq(0x1234_5670)?;
    check_eq!(poll(), None);
    Irq(irq.index()).trigger()?;
    check_eq!(poll(), Some(0x1234_5670));
    check_eq!(poll(), None);
    Ok(())
}

fn a_trigger_before_binding_is_kept() -> TestResult {
    let irq = unbound()?;
    for _ in 0..3 {
        Irq(irq.index()).trigger()?;
    }
    Irq(irq.index()).bind(0x40, start::current_thread())?;
    check_eq!((poll(), poll()), (Some(0x40), None));
    Ok(())
}

fn triggers_coalesce() -> TestResult {
    let (one, other) = (irq(0x40)?, irq(0x80)?);
    for _ in 0..5 {
        Irq(one.index()).trigger()?;
        Irq(other.index()).trigger()?;
    }
    check_eq!((poll(), poll(), poll()), (Some(0x40), Some(0x80), None));
    Ok(())
}

/// A thread that waits for one notification and notes its label.
fn waiter() -> Result<(l4re::thread::JoinHandle, Arc<AtomicU64>), Error> {
    let seen = Arc::new(AtomicU64::new(0));
    let note = seen.clone();
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY - 1,
        slice_us: 0,
    };
    let thread = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        let received = syscall::wait(clock::after(2_000_000_000));
        note.store(label(received).unwrap_or(u64::MAX), Ordering::SeqCst);
    })?;
    Ok((thread, seen))
}

fn rebinding_moves_what_is_pending() -> TestResult {
    let irq = irq(0x40)?;
    let (thread, seen) = waiter()?;
    Irq(irq.index()).trigger()?;
    Irq(irq.index()).bind(0x90, thread.cap())?;
    check_eq!(poll(), None);
    thread.join()?;
    check_eq!(seen.load(Ordering::SeqCst), 0x90);
    Ok(())
}

fn detaching_keeps_what_is_pending() -> TestResult {
    let irq = irq(0x40)?;
    Irq(irq.index()).trigger()?;
    Irq(irq.index()).detach()?;
    check_eq!(poll(), None);
    Irq(irq.index()).bind(0x50, start::current_thread())?;
    check_eq!(poll(), Some(0x50));
    Ok(())
}

fn a_closed_receive_takes_its_notification_only() -> TestResult {
    let (one, other) = (irq(0x40)?, irq(0x80)?);
    Irq(one.index()).trigger()?;
    Irq(other.index()).trigger()?;
    check_eq!(label(syscall::receive(other.index(), POLL)), Some(0x80));
    check_eq!(label(syscall::receive(other.index(), POLL)), None);
    check_eq!(poll(), Some(0x40));
    Ok(())
}

fn a_notification_comes_before_messages() -> TestResult {
    let irq = irq(0x40)?;
    let gate = server::create_gate(0)?;
    let cap = gate.index();
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY + 1,
        slice_us: 0,
    };
    let sender = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        syscall::send(cap, Tag::new(1, 0, 0), NEVER);
    })?;
    Irq(irq.index()).trigger()?;
    check_eq!(poll(), Some(0x40));
    check_eq!(syscall::wait(POLL).result(), Ok(1));
    sender.join()?;
    Ok(())
}

fn another_cpu_triggers() -> TestResult {
    let cpu = other_cpu()?;
    let irq = irq(0x40)?;
    let cap = irq.index();
    for _ in 0..50 {
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
            let _ = Irq(cap).trigger();
        })?;
        check_eq!(
            label(syscall::receive(cap, clock::after(1_000_000_000))),
            Some(0x40)
        );
        thread.join()?;
    }
    Ok(())
}

fn a_timer_fires_at_its_time() -> TestResult {
    let irq = irq(0x40)?;
    for duration in [10_000_000, 30_000_000] {
        let deadline = clock::after(duration);
        Irq(irq.index()).set_timer(deadline)?;
        check_eq!(poll(), None);
        check_eq!(label(syscall::wait(clock::after(1_000_000_000))), Some(0x40));
        check!(clock::now_ns() >= deadline);
    }
    Irq(irq.index()).set_timer(1)?;
    check_eq!(label(syscall::wait(clock::after(1_000_000_000))), Some(0x40));
    let lonely = unbound()?;
    check_eq!(Irq(lonely.index()).set_timer(1), Err(Error::Invalid));
    Ok(())
}

fn a_timer_can_be_moved_and_cancelled() -> TestResult {
    let irq = irq(0x40)?;
    // Late enough that it isn't due before it is moved or cancelled, whatever the host does meanwhile.
    let soon = clock::after(300_000_000);
    Irq(irq.index()).set_timer(soon)?;
    let later = soon + 4_000_000;
    Irq(irq.index()).set_timer(later)?;
    check_eq!(label(syscall::wait(clock::after(1_000_000_000))), Some(0x40));
    check!(clock::now_ns() >= later);
    let cancelled = clock::after(300_000_000);
    Irq(irq.index()).set_timer(cancelled)?;
    Irq(irq.index()).set_timer(NEVER)?;
    check_eq!(label(syscall::wait(cancelled + 4_000_000)), None);
    Ok(())
}

fn many_timers_fire_in_order() -> TestResult {
    let base = clock::after(5_000_000);
    let mut irqs = alloc::vec::Vec::new();
    for index in 0..40u64 {
        let irq = irq(4 * (index + 1))?;
        // In an order that is neither rising nor falling.
        Irq(irq.index()).set_timer(base + 100_000 * (index * 17 % 40))?;
        irqs.push(irq);
    }
    let mut order = alloc::vec::Vec::new();
    while let Some(label) = label(syscall::wait(clock::after(200_000_000))) {
        order.push((label / 4 - 1) * 17 % 40);
    }
    check!(order.is_sorted());
    check_eq!(order.len(), 40);
    Ok(())
}

fn a_deleted_notification_is_not_delivered() -> TestResult {
    let irq = irq(0x40)?;
    Irq(irq.index()).trigger()?;
    irq.delete()?;
    settled_counters()?;
    check_eq!(poll(), None);
    let armed = self::irq(0x40)?;
    // Long enough that it is deleted before on a machine that is busy with other things.
    Irq(armed.index()).set_timer(clock::after(50_000_000))?;
    drop(armed);
    check_eq!(label(syscall::wait(clock::after(60_000_000))), None);
    Ok(())
}

fn triggering_needs_the_right() -> TestResult {
    let irq = irq(0x40)?;
    let weak = Slot::fill(|slot| OWN.map(&[MapEntry::copy(irq.index(), slot, Rights::READ)]))?;
    check_eq!(Irq(weak.index()).trigger(), Err(Error::NotPermitted));
    let plain = Slot::fill(|slot| OWN.map(&[MapEntry::copy(irq.index(), slot, Rights::WRITE)]))?;
    Irq(plain.index()).trigger()?;
    check_eq!(
        Irq(plain.index()).bind(0, start::current_thread()),
        Err(Error::NotPermitted)
    );
    check_eq!(Irq(plain.index()).watch(CapIndex::TASK), Err(Error::NotPermitted));
    check_eq!(Irq(irq.index()).watch(CapIndex::DEBUG), Err(Error::Invalid));
    check_eq!(poll(), Some(0x40));
    Ok(())
}

fn a_gate_without_clients_is_noticed() -> TestResult {
    let irq = irq(0x40)?;
    let gate = server::create_gate(0)?;
    let derive = || Slot::fill(|slot| OWN.map(&[MapEntry::copy(gate.index(), slot, Rights::CLIENT)]));
    let (one, other) = (derive()?, derive()?);
    Irq(irq.index()).watch(gate.index())?;
    drop(one);
    check_eq!(label(syscall::wait(clock::after(2_000_000))), None);
    drop(other);
    check_eq!(label(syscall::wait(clock::after(1_000_000_000))), Some(0x40));
    check_eq!(OWN.is_valid(gate.index()), Ok(true));
    let client = derive()?;
    check_eq!(Irq(irq.index()).watch(client.index()), Err(Error::NotPermitted));
    Ok(())
}

fn an_account_that_ends_is_noticed() -> TestResult {
    let irq = irq(0x40)?;
    let account = Slot::fill(|slot| FACTORY.create_factory(1 << 20, slot))?;
    let factory = l4::object::Factory(account.index());
    let dataspace = Slot::fill(|slot| factory.create_dataspace(0x80000, slot))?;
    l4::object::Dataspace(dataspace.index()).write(0, &[1; 0x40000])?;
    Irq(irq.index()).watch(account.index())?;
    account.delete()?;
    check_eq!(label(syscall::wait(clock::after(1_000_000_000))), Some(0x40));
    Ok(())
}

fn triggers_of_two_cpus_are_not_lost() -> TestResult {
    let cpu = other_cpu()?;
    let irq = irq(0x40)?;
    let cap = irq.index();
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
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
        for _ in 0..2000 {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = Irq(cap).trigger();
        }
    })?;
    // Whatever was sent before a receive has been seen by it or by the next one.
    let mut last = 0;
    while !thread.is_finished() || last < 2000 {
        let received = syscall::wait(clock::after(500_000_000));
        check_eq!(label(received), Some(0x40));
        last = sent.load(Ordering::SeqCst);
        if last == 2000 {
            break;
        }
    }
    thread.join()?;
    Ok(())
}
