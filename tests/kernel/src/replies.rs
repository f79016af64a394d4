//! Reply capabilities: whoever called gets exactly one answer, or learns that there will be none.

use crate::harness::{PRIORITY, Test, TestResult, eventually, settled_counters};
use crate::partner::{Partner, Place, Role};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, Ordering};
use l4::object::{Placement, Task, Thread};
use l4::{CapIndex, Error, IpcError, POLL, Rights, Tag, Utcb, syscall};
use l4re::thread::{Builder, JoinHandle};
use l4re::{OwnedCap, Slot, clock, server, start};

pub(crate) const TESTS: &[Test] = tests![replies:
    a_reply_without_a_caller_is_an_error,
    callers_are_answered_in_any_order,
    a_reply_slot_can_be_named_beforehand,
    a_second_answer_is_refused,
    a_dropped_reply_capability_wakes_the_caller,
    receiving_again_drops_the_implicit_one,
    a_server_that_ends_wakes_its_caller,
    a_caller_that_ends_leaves_an_empty_answer,
    a_caller_that_timed_out_gets_no_answer,
    a_reply_capability_can_be_granted,
    a_reply_capability_is_no_other_object,
    a_task_that_ends_wakes_all_its_callers,
];

/// A thread that calls `gate` with `number` and notes the result: the answer's first word, or the negated error.
fn caller(gate: CapIndex, number: u64, cpu: u32, result: &Arc<AtomicI64>) -> Result<JoinHandle, Error> {
    let result = result.clone();
    let placement = Placement {
        cpu,
        priority: PRIORITY + 1,
        slice_us: 0,
    };
    Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        Utcb::current().set_word(0, number);
        let code = match syscall::call(gate, Tag::new(1, 1, 0)).result() {
            Ok(_) => Utcb::current().word(0) as i64,
            Err(error) => -error.number(),
        };
        result.store(code, Ordering::SeqCst);
    })
}

const UNSET: i64 = i64::MIN;

fn unset() -> Arc<AtomicI64> {
    Arc::new(AtomicI64::new(UNSET))
}

const PARTNER_GONE: i64 = -(2000 + IpcError::PartnerGone.code() as i64);

fn soon() -> u64 {
    clock::after(1_000_000_000)
}

fn answer(reply: Option<CapIndex>, word: u64) -> Result<u64, Error> {
    Utcb::current().set_word(0, word);
    syscall::reply(reply, Tag::new(0, 1, 0)).result()
}

fn a_reply_without_a_caller_is_an_error() -> TestResult {
    check!(answer(None, 0).is_err());
    check!(answer(Some(CapIndex(0xf00)), 0).is_err());
    check!(answer(Some(CapIndex::DEBUG), 0).is_err());
    // Answering nobody and waiting is waiting.
    let waited = syscall::reply_and_wait(None, Tag::new(0, 0, 0), clock::after(1_000_000));
    check_eq!(waited.result(), Err(Error::Ipc(IpcError::ReceiveTimeout)));
    Ok(())
}

fn callers_are_answered_in_any_order() -> TestResult {
    let gate = server::create_gate(0)?;
    for cpu in 0..crate::harness::cpu_count()?.min(2) {
        let results: Vec<_> = (0..4).map(|_| unset()).collect();
        let mut threads = Vec::new();
        let mut kept: Vec<(u64, OwnedCap)> = Vec::new();
        for (number, result) in results.iter().enumerate() {
            threads.push(caller(gate.index(), number as u64, cpu, result)?);
            syscall::wait(soon()).result()?;
            let number = Utcb::current().word(0);
            kept.push((number, server::keep_caller()?));
        }
        for index in [2, 0, 1, 0] {
            let (number, reply) = kept.remove(index);
            answer(Some(reply.index()), 100 + number)?;
        }
        for thread in threads {
            thread.join()?;
        }
        for (number, result) in results.iter().enumerate() {
            check_eq!(result.load(Ordering::SeqCst), 100 + number as i64);
        }
    }
    Ok(())
}

fn a_reply_slot_can_be_named_beforehand() -> TestResult {
    let gate = server::create_gate(0)?;
    let slot = Slot::allocate()?;
    let result = unset();
    Utcb::current().set_reply_slot(Some(slot.index()));
    let thread = caller(gate.index(), 1, 0, &result)?;
    let received = syscall::wait(soon()).result();
    Utcb::current().set_reply_slot(None);
    received?;
    check!(answer(None, 1).is_err());
    answer(Some(slot.index()), 5)?;
    thread.join()?;
    check_eq!(result.load(Ordering::SeqCst), 5);
    check_eq!(Task(CapIndex::TASK).is_valid(slot.index()), Ok(false));
    Ok(())
}

fn a_second_answer_is_refused() -> TestResult {
    let gate = server::create_gate(0)?;
    let result = unset();
    let thread = caller(gate.index(), 1, 0, &result)?;
    syscall::wait(soon()).result()?;
    answer(None, 5)?;
    check!(answer(None, 6).is_err());
    thread.join()?;
    check_eq!(result.load(Ordering::SeqCst), 5);
    Ok(())
}

fn a_dropped_reply_capability_wakes_the_caller() -> TestResult {
    let gate = server::create_gate(0)?;
    let result = unset();
    let thread = caller(gate.index(), 1, 0, &result)?;
    syscall::wait(soon()).result()?;
    drop(server::keep_caller()?);
    thread.join()?;
    check_eq!(result.load(Ordering::SeqCst), PARTNER_GONE);
    Ok(())
}

fn receiving_again_drops_the_implicit_one() -> TestResult {
    let gate = server::create_gate(0)?;
    let result = unset();
    let thread = caller(gate.index(), 1, 0, &result)?;
    syscall::wait(soon()).result()?;
    check_eq!(
        syscall::wait(POLL).result(),
        Err(Error::Ipc(IpcError::ReceiveTimeout))
    );
    thread.join()?;
    check_eq!(result.load(Ordering::SeqCst), PARTNER_GONE);
    Ok(())
}

fn a_server_that_ends_wakes_its_caller() -> TestResult {
    for place in Place::all()? {
        let partner = Partner::start(Role::Desert, place)?;
        let deadline = clock::after(5_000_000_000);
        let called = syscall::call_until(partner.gate.index(), Tag::new(1, 0, 0), deadline);
        check_eq!(called.result(), Err(Error::Ipc(IpcError::PartnerGone)));
        // And a later one that there is nobody at the gate any more.
        let error = syscall::call_until(partner.gate.index(), Tag::new(1, 0, 0), deadline).result();
        check_eq!(error, Err(Error::Ipc(IpcError::NotExistent)));
    }
    Ok(())
}

fn a_caller_that_ends_leaves_an_empty_answer() -> TestResult {
    let gate = server::create_gate(0)?;
    for cpu in 0..crate::harness::cpu_count()?.min(2) {
        let thread = caller(gate.index(), 1, cpu, &unset())?;
        syscall::wait(soon()).result()?;
        let reply = server::keep_caller()?;
        thread.kill()?;
        settled_counters()?;
        check!(answer(Some(reply.index()), 1).is_err());
        let thread = caller(gate.index(), 1, cpu, &unset())?;
        syscall::wait(soon()).result()?;
        thread.kill()?;
        settled_counters()?;
        check!(answer(None, 1).is_err());
    }
    Ok(())
}

fn a_caller_that_timed_out_gets_no_answer() -> TestResult {
    let gate = server::create_gate(0)?;
    let cap = gate.index();
    let result = unset();
    let noted = result.clone();
    let placement = Placement {
        cpu: 0,
        priority: PRIORITY + 1,
        slice_us: 0,
    };
    let thread = Builder {
        placement,
        ..Builder::default()
    }
    .spawn(move || {
        let called = syscall::call_until(cap, Tag::new(1, 0, 0), clock::after(50_000_000));
        noted.store(
            called.result().map_or_else(|error| -error.number(), |_| 0),
            Ordering::SeqCst,
        );
        syscall::sleep_until(clock::after(5_000_000));
    })?;
    syscall::wait(soon()).result()?;
    let reply = server::keep_caller()?;
    check!(eventually(|| result.load(Ordering::SeqCst) != UNSET));
    check!(answer(Some(reply.index()), 1).is_err());
    thread.join()?;
    check_eq!(
        result.load(Ordering::SeqCst),
        -(2000 + IpcError::ReceiveTimeout.code() as i64)
    );
    Ok(())
}

fn a_reply_capability_can_be_granted() -> TestResult {
    let gate = server::create_gate(0)?;
    let result = unset();
    let thread = caller(gate.index(), 1, 0, &result)?;
    syscall::wait(soon()).result()?;
    let reply = server::keep_caller()?;
    let slot = Slot::allocate()?;
    let own = Task(CapIndex::TASK);
    let entry = l4::object::MapEntry::copy(reply.index(), slot.index(), Rights::all());
    // It is the right to answer once: there can't be two of it.
    let copied = own.map(&[entry]);
    if copied.is_ok() {
        check_eq!(own.is_valid(reply.index()), Ok(false));
    }
    drop((slot, reply));
    thread.join()?;
    check_eq!(result.load(Ordering::SeqCst), PARTNER_GONE);
    Ok(())
}

fn a_reply_capability_is_no_other_object() -> TestResult {
    let gate = server::create_gate(0)?;
    let result = unset();
    let thread = caller(gate.index(), 1, 0, &result)?;
    syscall::wait(soon()).result()?;
    let reply = server::keep_caller()?;
    let called = syscall::call_until(
        reply.index(),
        Tag::new(l4::protocol::DEBUG, 1, 0),
        clock::after(1_000_000),
    );
    check!(called.result().is_err());
    check!(
        Thread(start::current_thread())
            .take_reply(CapIndex(0xf00))
            .is_err()
    );
    answer(Some(reply.index()), 3)?;
    thread.join()?;
    check_eq!(result.load(Ordering::SeqCst), 3);
    Ok(())
}

fn a_task_that_ends_wakes_all_its_callers() -> TestResult {
    let mut partner = Partner::start(Role::Sleep, Place::TASK)?;
    let mut threads = Vec::new();
    let results: Vec<_> = (0..40).map(|_| unset()).collect();
    let cpus = crate::harness::cpu_count()?;
    for (number, result) in results.iter().enumerate() {
        threads.push(caller(partner.gate.index(), 1, number as u32 % cpus, result)?);
    }
    // One was taken, the others wait for their turn.
    clock::sleep(5_000_000);
    partner.kill();
    for thread in threads {
        thread.join()?;
    }
    let ended = |code: i64| code == PARTNER_GONE || code == -(2000 + IpcError::NotExistent.code() as i64);
    for result in results {
        check!(ended(result.load(Ordering::SeqCst)));
    }
    Ok(())
}
