//! Rendezvous: who sends to whom, in which order, until when.

use crate::harness::{FACTORY, Failure, PRIORITY, Test, TestResult, other_cpu};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use l4::object::{Placement, Thread};
use l4::protocol::thread::EX_REGS_CANCEL;
use l4::syscall;
use l4::{CapIndex, Error, IpcError, NEVER, POLL, Tag, Utcb};
use l4re::thread::{Builder, Ending, JoinHandle};
use l4re::{OwnedCap, Slot, clock, server};

pub(crate) const TESTS: &[Test] = tests![ipc:
    calls_reach_every_partner,
    sending_to_nothing_fails,
    an_unbound_gate_keeps_senders_until_the_deadline,
    binding_lets_waiting_senders_through,
    a_closed_receive_takes_only_its_partner,
    the_highest_priority_comes_first,
    equal_priorities_come_in_order,
    a_waiting_sender_is_received_without_waiting,
    deadlines_are_kept,
    deadlines_in_the_past_poll,
    a_call_waits_no_longer_than_its_deadline,
    a_cancelled_sender_learns_it_once,
    a_cancelled_receiver_learns_it_once,
    a_call_to_oneself_times_out,
    sends_that_cross_time_out,
    a_sender_that_ends_is_forgotten,
    rebinding_a_gate_moves_its_senders,
    send_and_wait_takes_the_next_message,
    a_message_wakes_a_higher_priority_at_once,
    many_cpus_call_one_server,
];

/// Starts a thread of this task at a priority.
fn spawn(priority: u8, cpu: u32, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle, Error> {
    let placement = Placement {
        cpu,
        priority,
        slice_us: 0,
    };
    Builder {
        placement,
        ..Builder::default()
    }
    .spawn(body)
}

fn own_gate(label: u64) -> Result<OwnedCap, Error> {
    server::create_gate(label)
}

/// What a receive without a message says.
fn error_of(received: syscall::Received) -> Option<Error> {
    received.result().err()
}

const fn ipc(error: IpcError) -> Option<Error> {
    Some(Error::Ipc(error))
}

fn calls_reach_every_partner() -> TestResult {
    for place in Place::all()? {
        let partner = Partner::start(Role::Echo, place)?;
        for round in 0..100u64 {
            partner.call(&[round, !round])?;
            check_eq!(
                (Utcb::current().word(0), Utcb::current().word(1)),
                (round, !round)
            );
        }
    }
    Ok(())
}

fn sending_to_nothing_fails() -> TestResult {
    let tag = Tag::new(1, 0, 0);
    for cap in [
        CapIndex(0),
        CapIndex(0xf00),
        CapIndex(CapIndex::LIMIT - 1),
        CapIndex(CapIndex::LIMIT),
        CapIndex::NONE,
    ] {
        check_eq!(error_of(syscall::call(cap, tag)), ipc(IpcError::NotExistent));
        check_eq!(
            error_of(syscall::send(cap, tag, NEVER)),
            ipc(IpcError::NotExistent)
        );
        check_eq!(error_of(syscall::receive(cap, NEVER)), ipc(IpcError::PartnerGone));
    }
    Ok(())
}

fn an_unbound_gate_keeps_senders_until_the_deadline() -> TestResult {
    let gate = Slot::fill(|slot| FACTORY.create_gate(0, CapIndex::NONE, slot))?;
    let tag = Tag::new(1, 0, 0);
    check_eq!(
        error_of(syscall::send(gate.index(), tag, POLL)),
        ipc(IpcError::SendTimeout)
    );
    let deadline = clock::after(1_000_000);
    check_eq!(
        error_of(syscall::call_until(gate.index(), tag, deadline)),
        ipc(IpcError::SendTimeout)
    );
    check!(clock::now_ns() >= deadline);
    Ok(())
}

fn binding_lets_waiting_senders_through() -> TestResult {
    let gate = Slot::fill(|slot| FACTORY.create_gate(0, CapIndex::NONE, slot))?;
    let cap = gate.index();
    let senders: Result<Vec<_>, _> = (0..3u64)
        .map(|number| {
            spawn(PRIORITY + 1, 0, move || {
                Utcb::current().set_word(0, number);
                syscall::send(cap, Tag::new(1, 1, 0), NEVER);
            })
        })
        .collect();
    // They ran at once, having the higher priority, and wait now.
    server::bind_gate(cap, 0x440)?;
    for number in 0..3 {
        let received = syscall::wait(clock::after(1_000_000_000));
        received.result()?;
        check_eq!((received.label & !3, Utcb::current().word(0)), (0x440, number));
    }
    for sender in senders? {
        check_eq!(sender.join()?, Ending::Returned);
    }
    Ok(())
}

fn a_closed_receive_takes_only_its_partner() -> TestResult {
    let gate = own_gate(0)?;
    let cap = gate.index();
    let send = |number: u64| {
        move || {
            Utcb::current().set_word(0, number);
            syscall::send(cap, Tag::new(1, 1, 0), NEVER);
        }
    };
    let urgent = spawn(PRIORITY + 9, 0, send(1))?;
    let wanted = spawn(PRIORITY + 1, 0, send(2))?;
    syscall::receive(wanted.cap(), clock::after(1_000_000_000)).result()?;
    check_eq!(Utcb::current().word(0), 2);
    // It has nothing more to send, and may have ended.
    check!(error_of(syscall::receive(wanted.cap(), POLL)).is_some());
    syscall::wait(POLL).result()?;
    check_eq!(Utcb::current().word(0), 1);
    urgent.join()?;
    wanted.join()?;
    Ok(())
}

/// Lets threads of these priorities send their index, in this order; returns the order of arrival.
fn arrivals(priorities: &[u8]) -> Result<Vec<u64>, Failure> {
    let gate = own_gate(0)?;
    let cap = gate.index();
    let mut senders = Vec::new();
    for (index, priority) in priorities.iter().enumerate() {
        senders.push(spawn(*priority, 0, move || {
            Utcb::current().set_word(0, index as u64);
            syscall::send(cap, Tag::new(1, 1, 0), NEVER);
        })?);
    }
    let mut order = Vec::new();
    for _ in priorities {
        syscall::wait(clock::after(1_000_000_000)).result()?;
        order.push(Utcb::current().word(0));
    }
    for sender in senders {
        sender.join()?;
    }
    Ok(order)
}

fn the_highest_priority_comes_first() -> TestResult {
    check_eq!(
        arrivals(&[PRIORITY + 1, PRIORITY + 5, PRIORITY + 3, PRIORITY + 9])?,
        [3, 1, 2, 0]
    );
    Ok(())
}

fn equal_priorities_come_in_order() -> TestResult {
    let priority = PRIORITY + 1;
    check_eq!(arrivals(&[priority; 5])?, [0, 1, 2, 3, 4]);
    Ok(())
}

fn a_waiting_sender_is_received_without_waiting() -> TestResult {
    let gate = own_gate(0)?;
    let cap = gate.index();
    let sender = spawn(PRIORITY + 1, 0, move || {
        syscall::send(cap, Tag::new(77, 0, 0), NEVER);
    })?;
    let received = syscall::wait(POLL);
    check_eq!(received.result(), Ok(77));
    sender.join()?;
    Ok(())
}

fn deadlines_are_kept() -> TestResult {
    for duration in [50_000, 1_000_000, 15_000_000] {
        let deadline = clock::after(duration);
        check_eq!(error_of(syscall::wait(deadline)), ipc(IpcError::ReceiveTimeout));
        let late = clock::now_ns().saturating_sub(deadline);
        check!(clock::now_ns() >= deadline);
        // An emulated machine may stop for a while; a tick would be late every time.
        check!(late < 2_000_000_000);
    }
    Ok(())
}

fn deadlines_in_the_past_poll() -> TestResult {
    let start = clock::now_ns();
    for deadline in [POLL, 1, start] {
        check_eq!(error_of(syscall::wait(deadline)), ipc(IpcError::ReceiveTimeout));
    }
    check!(clock::now_ns() - start < 1_000_000_000);
    Ok(())
}

fn a_call_waits_no_longer_than_its_deadline() -> TestResult {
    for place in Place::all()? {
        let partner = Partner::start(Role::Sleep, place)?;
        let deadline = clock::after(300_000_000);
        let error = error_of(syscall::call_until(
            partner.gate.index(),
            Tag::new(1, 0, 0),
            deadline,
        ));
        check_eq!(error, ipc(IpcError::ReceiveTimeout));
        check!(clock::now_ns() >= deadline);
    }
    Ok(())
}

/// What a thread that was blocked in `body` got when it was cancelled, and how often it went on.
fn cancelled(body: impl Fn() -> Option<Error> + Send + 'static) -> Result<(Option<Error>, u64), Failure> {
    let count = Arc::new(AtomicU64::new(0));
    let code = Arc::new(AtomicU64::new(0));
    let shared = (count.clone(), code.clone());
    let blocked = spawn(PRIORITY + 1, 0, move || {
        let error = body();
        shared
            .1
            .store(error.map_or(0, |error| error.number() as u64), Ordering::SeqCst);
        shared.0.fetch_add(1, Ordering::SeqCst);
        // It can do IPC afterwards as before.
        syscall::sleep_until(clock::after(1000));
    })?;
    check_eq!(count.load(Ordering::SeqCst), 0);
    Thread(blocked.cap()).ex_regs(u64::MAX, u64::MAX, EX_REGS_CANCEL)?;
    check_eq!(blocked.join()?, Ending::Returned);
    let code = code.load(Ordering::SeqCst);
    let error = (code != 0).then(|| Error::from_number(code as i64));
    Ok((error, count.load(Ordering::SeqCst)))
}

fn a_cancelled_sender_learns_it_once() -> TestResult {
    let gate = own_gate(0)?;
    let cap = gate.index();
    let result = cancelled(move || error_of(syscall::send(cap, Tag::new(1, 0, 0), NEVER)))?;
    check_eq!(result, (ipc(IpcError::SendCanceled), 1));
    check_eq!(error_of(syscall::wait(POLL)), ipc(IpcError::ReceiveTimeout));
    Ok(())
}

fn a_cancelled_receiver_learns_it_once() -> TestResult {
    check_eq!(
        cancelled(|| error_of(syscall::wait(NEVER)))?,
        (ipc(IpcError::ReceiveCanceled), 1)
    );
    let partner = Partner::start(Role::Sleep, Place::HERE)?;
    let cap = partner.gate.index();
    // Until it waits for requests.
    clock::sleep(2_000_000);
    let called = cancelled(move || error_of(syscall::call(cap, Tag::new(1, 0, 0))))?;
    check_eq!(called, (ipc(IpcError::ReceiveCanceled), 1));
    Ok(())
}

fn a_call_to_oneself_times_out() -> TestResult {
    let gate = own_gate(0)?;
    let deadline = clock::after(1_000_000);
    let error = error_of(syscall::call_until(gate.index(), Tag::new(1, 0, 0), deadline));
    check_eq!(error, ipc(IpcError::SendTimeout));
    Ok(())
}

fn sends_that_cross_time_out() -> TestResult {
    let gate = own_gate(0)?;
    let cap = gate.index();
    let cpu = other_cpu()?;
    let other = spawn(PRIORITY, cpu, move || {
        for _ in 0..50 {
            syscall::call_until(cap, Tag::new(1, 0, 0), clock::after(500_000));
        }
    })?;
    let partner = Partner::start(Role::Echo, Place { cpu, ..Place::HERE })?;
    for _ in 0..50 {
        let mut received = syscall::wait(clock::after(1_000_000));
        while !received.tag.is_error() {
            partner.call(&[1, 2, 3])?;
            received = syscall::reply_and_wait(None, Tag::new(0, 0, 0), clock::after(1_000_000));
        }
    }
    other.join()?;
    Ok(())
}

fn a_sender_that_ends_is_forgotten() -> TestResult {
    let gate = own_gate(0)?;
    let cap = gate.index();
    let sender = spawn(PRIORITY + 1, 0, move || {
        syscall::send(cap, Tag::new(1, 0, 0), NEVER);
    })?;
    check_eq!(sender.kill()?, Ending::Died);
    check_eq!(
        error_of(syscall::wait(clock::after(2_000_000))),
        ipc(IpcError::ReceiveTimeout)
    );
    Ok(())
}

fn rebinding_a_gate_moves_its_senders() -> TestResult {
    let gate = own_gate(0x10)?;
    let cap = gate.index();
    server::bind_gate(cap, 0x20)?;
    let sender = spawn(PRIORITY + 1, 0, move || {
        syscall::send(cap, Tag::new(5, 0, 0), NEVER);
    })?;
    let received = syscall::wait(clock::after(1_000_000_000));
    check_eq!((received.result(), received.label & !3), (Ok(5), 0x20));
    sender.join()?;
    check_eq!(l4::object::Gate(cap).label(), Ok(0x20));
    Ok(())
}

fn send_and_wait_takes_the_next_message() -> TestResult {
    let gate = own_gate(0)?;
    let (own, partner) = (gate.index(), Partner::start(Role::Describe, Place::HERE)?);
    // The partner gets a plain send, which it cannot answer; a second thread sends here.
    let sender = spawn(PRIORITY, 0, move || {
        syscall::send(own, Tag::new(9, 0, 0), NEVER);
    })?;
    let deadline = clock::after(1_000_000_000);
    let received = syscall::send_and_wait(partner.gate.index(), Tag::new(1, 0, 0), deadline, deadline);
    check_eq!(received.result(), Ok(9));
    sender.join()?;
    Ok(())
}

fn a_message_wakes_a_higher_priority_at_once() -> TestResult {
    let flag = Arc::new(AtomicBool::new(false));
    let gate = Slot::fill(|slot| FACTORY.create_gate(0, CapIndex::NONE, slot))?;
    let (cap, set) = (gate.index(), flag.clone());
    let urgent = spawn(PRIORITY + 5, 0, move || {
        if server::bind_gate(cap, 0).is_ok() {
            syscall::wait(NEVER);
            set.store(true, Ordering::SeqCst);
        }
    })?;
    check!(!flag.load(Ordering::SeqCst));
    syscall::send(cap, Tag::new(1, 0, 0), NEVER).result()?;
    check!(flag.load(Ordering::SeqCst));
    urgent.join()?;
    Ok(())
}

fn many_cpus_call_one_server() -> TestResult {
    let cpus = crate::harness::cpu_count()?;
    let partner = Partner::start(Role::Echo, Place::TASK)?;
    let cap = partner.gate.index();
    let wrong = Arc::new(AtomicU64::new(0));
    let mut clients = Vec::new();
    for number in 0..4 * u64::from(cpus) {
        let wrong = wrong.clone();
        clients.push(spawn(PRIORITY, (number % u64::from(cpus)) as u32, move || {
            for round in 0..50 {
                let word = number << 32 | round;
                Utcb::current().set_word(0, word);
                let answered = syscall::call(cap, Tag::new(1, 1, 0)).result();
                if answered != Ok(1) || Utcb::current().word(0) != word {
                    wrong.fetch_add(1, Ordering::SeqCst);
                }
            }
        })?);
    }
    for client in clients {
        check_eq!(client.join()?, Ending::Returned);
    }
    check_eq!(wrong.load(Ordering::SeqCst), 0);
    Ok(())
}
