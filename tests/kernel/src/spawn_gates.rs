//! Spawn gates: each call begins a clone, whose answer is the reply.

use crate::gate_worker::{ANSWER, Do, Gate, MEMORY_PAGES, Template, call};
use crate::harness::{FACTORY, PRIORITY, Test, TestResult, eventually, other_cpu, settled_counters};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, Ordering};
use l4::object::{
    CLONE_DEPTH_MAX, CLONE_HEAD_WORDS, CallFailure, CloneFailure, FailureReason, GateBinding, Placement,
    SpawnGate, Task,
};
use l4::{CapIndex, Error, IpcError, NEVER, Tag, Utcb, syscall};
use l4re::thread::{Builder, JoinHandle};
use l4re::{Slot, clock, server};

pub(crate) const TESTS: &[Test] = tests![spawn_gates:
    a_call_is_answered_by_a_clone,
    a_clone_answers_in_every_form,
    capabilities_travel_both_ways,
    what_is_no_call_is_refused,
    bindings_are_checked,
    failures_tell_why,
    errors_can_not_be_forged,
    the_right_to_answer_stays_and_is_used_once,
    deadlines_end_clones,
    a_caller_that_goes_takes_its_clone_along,
    live_clones_are_limited,
    nested_clones_inherit,
    a_deleted_gate_lets_its_clones_finish,
    what_a_gate_rests_on_takes_the_clones_along,
    clones_fail_for_want_of_memory_and_leave_nothing,
    thousands_of_calls_leave_nothing,
    failures_trigger_the_watcher,
];

const OWN: Task = Task(CapIndex::TASK);
const NUMBER_FLAG: u64 = 1 << 63;

fn failed(reason: FailureReason) -> CallFailure {
    CallFailure::Clone(CloneFailure::new(reason))
}

/// Why a call failed, without what else is known.
fn reason(result: Result<u64, CallFailure>) -> Option<FailureReason> {
    match result {
        Err(CallFailure::Clone(failure)) => Some(failure.reason),
        _ => None,
    }
}

fn report(gate: &Gate, argument: u64) -> Result<[u64; 9], CallFailure> {
    gate.call(Do::Report, argument)?;
    let mut words = [0; 9];
    Utcb::current().read(0, &mut words);
    Ok(words)
}

fn a_call_is_answered_by_a_clone() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    check_eq!(SpawnGate(gate.cap.index()).label()?, 0x1230);
    let before = template.used()?;
    let mut seen = Vec::new();
    for round in 0..20 {
        let words = report(&gate, round)
            .map_err(|failure| crate::harness::Failure::new(format_args!("{failure}")))?;
        let [
            number,
            deadline,
            depth,
            seed,
            other_seed,
            command,
            argument,
            tag,
            label,
        ] = words;
        check_eq!((command, argument), (Do::Report as u64, round));
        check_eq!((deadline, depth, label), (NEVER, 0, 0));
        check_eq!(Tag(tag), Tag::new(0, CLONE_HEAD_WORDS + 2, 0));
        check!(number & NUMBER_FLAG != 0);
        // Numbers and seeds are used once.
        check!([number, seed, other_seed].iter().all(|word| !seen.contains(word)));
        seen.extend([number, seed, other_seed]);
    }
    let counts = gate.settled()?;
    check_eq!((counts.started, counts.answered, counts.live), (20, 20, 0));
    check_eq!(template.used()?, before);
    Ok(())
}

fn a_clone_answers_in_every_form() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    for command in [Do::AnswerBySend, Do::AnswerByReply] {
        check_eq!(gate.call(command, 0x55), Ok(0x55));
    }
    let tag = call(gate.cap.index(), Do::Account, 0, NEVER);
    check_eq!(tag, Ok(Tag::new(ANSWER, 2, 0)));
    let (limit, used) = (Utcb::current().word(0), Utcb::current().word(1));
    check_eq!(limit, MEMORY_PAGES);
    check!(used > 0 && used <= 24);
    Ok(())
}

fn capabilities_travel_both_ways() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let given = server::create_gate(0)?;
    let back = Slot::allocate()?;
    let utcb = Utcb::current();
    utcb.set_receive_slots(&[back.index()]);
    let tag = gate.call_with(Do::GiveBack, 0, given.index());
    utcb.set_receive_slots(&[]);
    check_eq!(tag, Ok(Tag::new(ANSWER, 0, 1)));
    settled_counters()?;
    check_eq!(OWN.is_equal(given.index(), back.index()), Ok(true));
    drop(back);
    // Without a slot here, the call fails for the caller, and the clone ends all the same.
    let tag = gate.call_with(Do::GiveBack, 0, given.index());
    check_eq!(tag, Err(CallFailure::Ipc(IpcError::ReceiveCut)));
    // With two capabilities for the clone's one slot no clone begins.
    utcb.write(CLONE_HEAD_WORDS, &[Do::Report as u64, 0]);
    let item = l4::cap::SendItem::map(given.index(), l4::Rights::all()).words();
    utcb.write(CLONE_HEAD_WORDS + 2, &item);
    utcb.write(CLONE_HEAD_WORDS + 4, &item);
    let received = syscall::call(gate.cap.index(), Tag::new(0, CLONE_HEAD_WORDS + 2, 2));
    check_eq!(
        CallFailure::check(received, utcb),
        Err(CallFailure::Ipc(IpcError::SendCut))
    );
    check_eq!(gate.settled()?.refused, 1);
    Ok(())
}

fn what_is_no_call_is_refused() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let utcb = Utcb::current();
    let cap = gate.cap.index();
    let refused = |received| CallFailure::check(received, utcb).map(drop);
    let words = Tag::new(0, 7, 0);
    let sent = refused(syscall::send(cap, words, NEVER));
    check_eq!(sent, Err(CallFailure::Refused(Error::NoSystemCall)));
    let waited = refused(syscall::send_and_wait(cap, words, NEVER, 0));
    check_eq!(waited, Err(CallFailure::Refused(Error::NoSystemCall)));
    let short = refused(syscall::call(cap, Tag::new(0, CLONE_HEAD_WORDS - 1, 0)));
    check_eq!(short, Err(CallFailure::Refused(Error::Invalid)));
    let late = refused(syscall::call_until(cap, words, 0));
    check_eq!(late, Err(CallFailure::Ipc(IpcError::ReceiveTimeout)));
    let counts = gate.settled()?;
    check_eq!((counts.refused, counts.started), (4, 0));
    let result = Arc::new(AtomicI64::new(0));
    let caller = Caller::start(&gate, Do::Report, 0, other_cpu()?, &result)?;
    caller.0.join()?;
    check_eq!(result.load(Ordering::SeqCst), -Error::AccessDenied.number());
    Ok(())
}

fn bindings_are_checked() -> TestResult {
    let template = Template::new()?;
    let binding = template.binding();
    let bind = |binding: GateBinding| template.bind(&binding).map(drop);
    check_eq!(bind(binding), Ok(()));
    let wrong = [
        (
            Error::Invalid,
            GateBinding {
                memory_bytes: 4095,
                ..binding
            },
        ),
        (
            Error::Invalid,
            GateBinding {
                live_limit: 0,
                ..binding
            },
        ),
        (Error::Invalid, GateBinding { label: 2, ..binding }),
        (
            Error::Range,
            GateBinding {
                answer: CapIndex(0),
                ..binding
            },
        ),
        (
            Error::Range,
            GateBinding {
                answer: CapIndex(CapIndex::LIMIT),
                ..binding
            },
        ),
        (
            Error::NotFound,
            GateBinding {
                account: CapIndex(0xf00),
                ..binding
            },
        ),
        (
            Error::Invalid,
            GateBinding {
                scheduler: CapIndex::FACTORY,
                ..binding
            },
        ),
    ];
    for (error, binding) in wrong {
        check_eq!(bind(binding), Err(error));
    }
    Ok(())
}

fn failures_tell_why() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let fault = gate.call(Do::Fault, 0x10);
    let Err(CallFailure::Clone(failure)) = fault else {
        return Err(crate::harness::Failure::new(format_args!("{fault:?}")));
    };
    check_eq!(
        (failure.reason, failure.vector, failure.error & 7),
        (FailureReason::Fault, 14, 4)
    );
    check_eq!(failure.address, 0x10);
    check!(failure.ip > 0x1000);
    let exit = CloneFailure {
        exit_code: 42,
        ..CloneFailure::new(FailureReason::Exited)
    };
    check_eq!(gate.call(Do::Exit, 42), Err(CallFailure::Clone(exit)));
    check_eq!(gate.call(Do::DropAnswer, 0), Err(failed(FailureReason::Exited)));
    check_eq!(gate.call(Do::DropTask, 0), Err(failed(FailureReason::Destroyed)));
    check_eq!(
        gate.call(Do::DropAccount, 0),
        Err(failed(FailureReason::Destroyed))
    );
    check_eq!(gate.call(Do::Dirty, MEMORY_PAGES / 2), Ok(MEMORY_PAGES / 2));
    check_eq!(
        reason(gate.call(Do::Dirty, MEMORY_PAGES)),
        Some(FailureReason::Quota)
    );
    let counts = gate.settled()?;
    check_eq!(counts.failed, [1, 0, 1, 2, 2]);
    check_eq!((counts.started, counts.answered, counts.live), (7, 1, 0));
    Ok(())
}

fn errors_can_not_be_forged() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let tag = call(gate.cap.index(), Do::ForgeError, 0, NEVER);
    check_eq!(tag, Ok(Tag::new(ANSWER, 6, 0)));
    Ok(())
}

fn the_right_to_answer_stays_and_is_used_once() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    check_eq!(gate.call(Do::PassOn, 0), Ok(0));
    for round in 0..8 {
        check_eq!(gate.call(Do::AnswerTwice, round), Ok(round));
    }
    let counts = gate.settled()?;
    check_eq!((counts.started, counts.answered), (9, 9));
    Ok(())
}

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
        let own = call(gate.cap.index(), command, 0, clock::after(2_000_000));
        check_eq!(own, Err(CallFailure::Ipc(IpcError::ReceiveTimeout)));
    }
    let before = clock::now_ns();
    let [_, deadline, ..] = report(&gate, 0).map_err(|_| Error::Io)?;
    check!(deadline >= before + 20_000_000 && deadline <= clock::now_ns() + 20_000_000);
    let sooner = clock::after(15_000_000);
    let tag = call(gate.cap.index(), Do::Report, 0, sooner);
    check!(tag.is_err() || Utcb::current().word(1) <= sooner);
    let counts = gate.settled()?;
    check_eq!(counts.failed[FailureReason::Deadline as usize], 2);
    check!(counts.abandoned >= 2 && counts.live == 0);
    Ok(())
}

/// A thread that calls a gate and notes the result: the answer's first word, or a negated error.
struct Caller(JoinHandle);

const UNSET: i64 = i64::MIN;
const FAILED: i64 = -10_000;

impl Caller {
    fn start(
        gate: &Gate,
        command: Do,
        argument: u64,
        cpu: u32,
        result: &Arc<AtomicI64>,
    ) -> Result<Caller, Error> {
        let (result, gate) = (result.clone(), gate.cap.index());
        result.store(UNSET, Ordering::SeqCst);
        let placement = Placement {
            cpu,
            priority: PRIORITY + 1,
            slice_us: 0,
        };
        let builder = Builder {
            placement,
            ..Builder::default()
        };
        let call = move || {
            let code = match call(gate, command, argument, NEVER) {
                Ok(_) => Utcb::current().word(0) as i64,
                Err(CallFailure::Refused(error)) => -error.number(),
                Err(CallFailure::Ipc(error)) => -Error::Ipc(error).number(),
                Err(CallFailure::Clone(failure)) => FAILED - failure.reason as i64,
            };
            result.store(code, Ordering::SeqCst);
        };
        builder.spawn(call).map(Caller)
    }
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
        live_limit: 3,
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

fn nested_clones_inherit() -> TestResult {
    let template = Template::new()?;
    let gate = template.bind(&GateBinding {
        deadline_ns: 3_000_000_000,
        memory_bytes: 400 << 12,
        ..template.binding()
    })?;
    let before = template.used()?;
    let cap = gate.cap.index();
    let nest = |command: Do, further: u64| {
        let tag = gate.call_with(Do::Nest, further << 32 | command as u64, cap)?;
        let mut words = [0; 9];
        Utcb::current().read(0, &mut words);
        Ok::<_, CallFailure>((tag, words))
    };
    // The deadline of the outer is that of the inner, whose gate would give it more time.
    let begin = clock::now_ns();
    for further in 0..3 {
        let (_, [_, deadline, depth, ..]) = nest(Do::Report, further).map_err(|_| Error::Io)?;
        check_eq!(depth, further + 1);
        check!(deadline < begin + 3_500_000_000);
    }
    // Each is a part of the one above.
    let (_, [limit, ..]) = nest(Do::Account, 0).map_err(|_| Error::Io)?;
    check!(limit < 400 && limit > 300);
    let (_, [inner, ..]) = nest(Do::Account, 2).map_err(|_| Error::Io)?;
    check!(inner < limit);
    // A failure is told to the one that called, which goes on.
    let (_, [kind, reason, ..]) = nest(Do::Fault, 1).map_err(|_| Error::Io)?;
    check_eq!((kind, reason), (2000, FailureReason::Fault as u64));
    // At some depth nothing more is begun.
    let (_, [kind, error, ..]) = nest(Do::Report, CLONE_DEPTH_MAX).map_err(|_| Error::Io)?;
    check_eq!(kind, 1000);
    check!([Error::Range.number(), Error::NoMemory.number()].contains(&(error as i64)));
    check_eq!(gate.settled()?.live, 0);
    check_eq!(template.used()?, before);
    // The outer ends while the inner waits: so does the inner.
    let given_up = call_nested(cap, Do::Sleep, clock::after(5_000_000));
    check_eq!(given_up, Err(CallFailure::Ipc(IpcError::ReceiveTimeout)));
    check_eq!(gate.settled()?.live, 0);
    check_eq!(template.used()?, before);
    Ok(())
}

/// Calls a gate with itself for the clone to call, with a deadline.
fn call_nested(gate: CapIndex, command: Do, deadline: u64) -> Result<Tag, CallFailure> {
    let utcb = Utcb::current();
    utcb.write(CLONE_HEAD_WORDS, &[Do::Nest as u64, 2 << 32 | command as u64]);
    let item = l4::cap::SendItem::map(gate, l4::Rights::all());
    utcb.write(CLONE_HEAD_WORDS + 2, &item.words());
    let received = syscall::call_until(gate, Tag::new(0, CLONE_HEAD_WORDS + 2, 1), deadline);
    CallFailure::check(received, utcb)
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

fn failures_trigger_the_watcher() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let irq = Slot::fill(|slot| FACTORY.create_irq(0x40, l4re::start::current_thread(), slot))?;
    l4::object::Irq(irq.index()).watch(gate.cap.index())?;
    check_eq!(gate.call(Do::AnswerBySend, 1), Ok(1));
    check!(syscall::wait(0).tag.is_error());
    check_eq!(gate.call(Do::Exit, 1).is_err(), true);
    check_eq!(gate.call(Do::Exit, 1).is_err(), true);
    check_eq!(syscall::wait(clock::after(1_000_000_000)).label, 0x40);
    check!(syscall::wait(0).tag.is_error());
    Ok(())
}
