//! The ends of spawn gates' clones: by deadlines, with who called them and with what they rest on, and without memory.

use crate::gate_worker::{Caller, Do, FAILED, Template, UNSET, call, failed};
use crate::harness::{PRIORITY, Test, TestResult, cpu_count, eventually, settled_counters};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use l4::object::{CallFailure, FailureReason, GateBinding, Placement, Task};
use l4::{CapIndex, Error, IpcError, NEVER, Utcb};
use l4re::clock;
use l4re::thread::{Builder, Ending};

pub(crate) const TESTS: &[Test] = tests![gate_ends:
    deadlines_end_clones,
    a_caller_that_goes_takes_its_clone_along,
    live_clones_are_limited,
    a_deleted_gate_lets_its_clones_finish,
    what_a_gate_rests_on_takes_the_clones_along,
    clones_fail_for_want_of_memory_and_leave_nothing,
    memory_that_a_clone_did_not_use_is_free_at_once,
    thousands_of_calls_leave_nothing,
    gates_of_all_cpus_end_while_they_are_called,
];

const OWN: Task = Task(CapIndex::TASK);

fn deadlines_end_clones() -> TestResult {
    let template = Template::new()?;
    let gate = template.bind(&GateBinding {
        deadline_ns: 20_000_000,
        ..template.binding()
    })?;
    // The gate's deadline is the clone's fault, the caller's own is not.
    for command in [Do::Spin, Do::Sleep] {
        let begin = clock::now_ns();
        check_eq!(gate.call(command, 0), Err(failed(FailureReason::Deadline)));
        check!(clock::now_ns() - begin >= 20_000_000);
        // On a busy host the own deadline may have passed before there is a clone.
        let before = gate.counts()?.abandoned;
        for _ in 0..100 {
            let own = call(gate.cap.index(), command, 0, clock::after(2_000_000));
            check_eq!(own, Err(CallFailure::Ipc(IpcError::ReceiveTimeout)));
            if gate.counts()?.abandoned > before {
                break;
            }
        }
    }
    let before = clock::now_ns();
    let [_, deadline, ..] = gate.report(0).map_err(|_| Error::Io)?;
    check!(deadline >= before + 20_000_000 && deadline <= clock::now_ns() + 20_000_000);
    let sooner = clock::after(15_000_000);
    let tag = call(gate.cap.index(), Do::Report, 0, sooner);
    check!(tag.is_err() || Utcb::current().word(1) <= sooner);
    let counts = gate.settled()?;
    check_eq!(counts.failed[FailureReason::Deadline as usize], 2);
    check!(counts.abandoned >= 2 && counts.live == 0);
    Ok(())
}

fn a_caller_that_goes_takes_its_clone_along() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let before = template.used()?;
    let result = Arc::new(AtomicI64::new(0));
    for command in [Do::Sleep, Do::Spin] {
        let caller = Caller::start(&gate, command, 0, 0, &result)?;
        check!(eventually(|| gate.counts().is_ok_and(|counts| counts.live == 1)));
        caller.0.kill()?;
        check_eq!(result.load(Ordering::SeqCst), UNSET);
        check!(eventually(|| gate.counts().is_ok_and(|counts| counts.live == 0)));
        let caller = Caller::start(&gate, command, 0, 0, &result)?;
        let thread = l4::object::Thread(caller.0.cap());
        check!(eventually(|| gate.counts().is_ok_and(|counts| counts.live == 1)));
        thread.ex_regs(u64::MAX, u64::MAX, l4::protocol::thread::EX_REGS_CANCEL)?;
        caller.0.join()?;
        check_eq!(
            result.load(Ordering::SeqCst),
            -Error::Ipc(IpcError::ReceiveCanceled).number()
        );
    }
    let counts = gate.settled()?;
    check_eq!((counts.started, counts.abandoned, counts.live), (4, 4, 0));
    check_eq!(template.used()?, before);
    Ok(())
}

fn live_clones_are_limited() -> TestResult {
    let template = Template::new()?;
    let gate = template.bind(&GateBinding {
        concurrent: 3,
        ..template.binding()
    })?;
    let result = Arc::new(AtomicI64::new(0));
    let callers = (0..3)
        .map(|_| Caller::start(&gate, Do::Sleep, 0, 0, &result))
        .collect::<Result<Vec<_>, _>>()?;
    check!(eventually(|| gate
        .counts()
        .is_ok_and(|counts| counts.started == 3)));
    check_eq!(gate.call(Do::Report, 0), Err(CallFailure::Refused(Error::Again)));
    callers
        .into_iter()
        .try_for_each(|caller| caller.0.kill().map(drop))?;
    check_eq!(gate.settled()?.live, 0);
    check_eq!(gate.call(Do::AnswerBySend, 1), Ok(1));
    check_eq!(gate.settled()?.refused, 1);
    Ok(())
}

fn a_deleted_gate_lets_its_clones_finish() -> TestResult {
    let template = Template::new()?;
    let before = template.used()?;
    let gate = template.gate()?;
    let result = Arc::new(AtomicI64::new(0));
    let caller = Caller::start(&gate, Do::Sleep, 0, 0, &result)?;
    check!(eventually(|| gate.counts().is_ok_and(|counts| counts.live == 1)));
    gate.cap.delete()?;
    clock::sleep(2_000_000);
    check_eq!(result.load(Ordering::SeqCst), UNSET);
    check!(template.used()? > before);
    caller.0.kill()?;
    check_eq!(template.used()?, before);
    Ok(())
}

fn what_a_gate_rests_on_takes_the_clones_along() -> TestResult {
    let destroyed = FAILED - FailureReason::Destroyed as i64;
    for account in [false, true] {
        let template = Template::new()?;
        let gate = template.gate()?;
        let result = Arc::new(AtomicI64::new(0));
        let caller = Caller::start(&gate, Do::Sleep, 0, 0, &result)?;
        check!(eventually(|| gate.counts().is_ok_and(|counts| counts.live == 1)));
        if account {
            OWN.delete(template.account.index())?;
        } else {
            OWN.delete(template.snapshot.index())?;
        }
        caller.0.join()?;
        check_eq!(result.load(Ordering::SeqCst), destroyed);
        if !account {
            check_eq!(gate.settled()?.live, 0);
            check_eq!(
                gate.call(Do::Report, 0),
                Err(CallFailure::Refused(Error::NotFound))
            );
        }
    }
    Ok(())
}

fn clones_fail_for_want_of_memory_and_leave_nothing() -> TestResult {
    let template = Template::new()?;
    let mut answered = 0;
    for pages in 1..=40 {
        let gate = template.bind(&GateBinding {
            memory_bytes: pages << 12,
            ..template.binding()
        })?;
        let before = settled_counters()?;
        match gate.call(Do::AnswerBySend, pages) {
            Ok(word) => {
                check_eq!(word, pages);
                answered += 1;
            }
            Err(CallFailure::Refused(Error::NoMemory)) => check_eq!(answered, 0),
            Err(CallFailure::Clone(failure)) => {
                check_eq!((failure.reason, answered), (FailureReason::Quota, 0));
            }
            Err(other) => return Err(crate::harness::Failure::new(format_args!("{other}"))),
        }
        check_eq!(gate.settled()?.live, 0);
        let after = settled_counters()?;
        check_eq!(after.capabilities, before.capabilities);
        check_eq!(
            (after.tasks, after.threads, after.factories),
            (before.tasks, before.threads, before.factories)
        );
    }
    check!(answered > 20);
    Ok(())
}

fn memory_that_a_clone_did_not_use_is_free_at_once() -> TestResult {
    let template = Template::new()?;
    // More than half of what the gate has.
    let gate = template.bind(&GateBinding {
        memory_bytes: 12 << 20,
        ..template.binding()
    })?;
    for round in 0..20 {
        check_eq!(gate.call(Do::AnswerBySend, round), Ok(round));
        check_eq!(gate.call(Do::Exit, 0).err(), Some(failed(FailureReason::Exited)));
    }
    check_eq!(gate.settled()?.refused, 0);
    Ok(())
}

fn thousands_of_calls_leave_nothing() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let commands = [
        Do::AnswerBySend,
        Do::AnswerByReply,
        Do::Exit,
        Do::DropAnswer,
        Do::Fault,
        Do::DropTask,
    ];
    let rounds = |count: u64| -> TestResult {
        for round in 0..count {
            let command = commands[(round % 97) as usize % commands.len()];
            // It may be that those before are not gone yet.
            if let Err(CallFailure::Refused(error)) = gate.call(command, 0x10) {
                check_eq!(error, Error::Again);
            }
        }
        Ok(())
    };
    rounds(100)?;
    let (used, before) = (template.used()?, settled_counters()?);
    let start = gate.settled()?;
    rounds(4000)?;
    check_eq!(template.used()?, used);
    let after = settled_counters()?;
    check_eq!(after.free_frames, before.free_frames);
    check_eq!(after.capabilities, before.capabilities);
    let counts = gate.settled()?;
    check_eq!(counts.live, 0);
    // A core that is never idle keeps up with what it ends.
    check_eq!(counts.refused, 0);
    check_eq!(counts.started - start.started, 4000);
    Ok(())
}

fn gates_of_all_cpus_end_while_they_are_called() -> TestResult {
    let cpus = cpu_count()?;
    for round in 0..24u64 {
        let template = Template::new()?;
        let strange = Arc::new(AtomicU64::new(0));
        let mut gates = Vec::new();
        let mut callers = Vec::new();
        for cpu in 0..cpus {
            let place = Placement {
                cpu,
                priority: PRIORITY,
                slice_us: 0,
            };
            let gate = template.bind(&GateBinding {
                place,
                ..template.binding()
            })?;
            let (cap, strange) = (gate.cap.index(), strange.clone());
            let builder = Builder {
                placement: place,
                ..Builder::default()
            };
            callers.push(builder.spawn(move || call_to_the_end(cap, &strange))?);
            gates.push(gate);
        }
        clock::sleep(200_000 + round * 100_000);
        match round % 3 {
            0 => OWN.delete(template.snapshot.index())?,
            1 => OWN.delete(template.account.index())?,
            _ => gates.iter().try_for_each(|gate| OWN.delete(gate.cap.index()))?,
        }
        for caller in callers {
            check_eq!(caller.join()?, Ending::Returned);
        }
        check_eq!(strange.load(Ordering::SeqCst), 0);
    }
    Ok(())
}

/// Calls a gate until it is gone, or its snapshot is; counts failures that nobody can explain.
fn call_to_the_end(gate: CapIndex, strange: &AtomicU64) {
    for round in 0.. {
        match call(gate, Do::AnswerBySend, round, NEVER) {
            Ok(_) if Utcb::current().word(0) == round => {}
            // The memory of ended clones is free as soon as the other CPUs have left the kernel.
            Err(CallFailure::Refused(Error::Again | Error::NoMemory)) => {}
            Err(failure) if failure == failed(FailureReason::Destroyed) => {}
            Err(CallFailure::Refused(Error::NotFound) | CallFailure::Ipc(IpcError::NotExistent)) => return,
            _ => {
                strange.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
}
