//! Spawn gates: each call begins a clone, whose answer is the reply.

use crate::gate_worker::{ANSWER, Caller, Do, MEMORY_PAGES, Template, call, failed};
use crate::harness::{FACTORY, Test, TestResult, other_cpu, settled_counters};
use crate::{check, check_eq, tests};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicI64, Ordering};
use l4::object::{
    ANSWER_KINDS, CLONE_DEPTH_MAX, CLONE_HEAD_WORDS, CallFailure, CloneFailure, FailureReason, GateBinding,
    SpawnGate, Task,
};
use l4::{CapIndex, Error, IpcError, NEVER, Tag, Utcb, syscall};
use l4re::{Slot, clock, server};

pub(crate) const TESTS: &[Test] = tests![spawn_gates:
    a_call_is_answered_by_a_clone,
    a_clone_answers_in_every_form,
    answers_are_counted_by_how_they_begin,
    capabilities_travel_both_ways,
    what_is_no_call_is_refused,
    bindings_are_checked,
    failures_tell_why,
    errors_can_not_be_forged,
    the_right_to_answer_stays_and_is_used_once,
    nested_clones_inherit,
    failures_trigger_the_watcher,
];

const OWN: Task = Task(CapIndex::TASK);
const NUMBER_FLAG: u64 = 1 << 63;

/// Why a call failed, without what else is known.
fn reason(result: Result<u64, CallFailure>) -> Option<FailureReason> {
    match result {
        Err(CallFailure::Clone(failure)) => Some(failure.reason),
        _ => None,
    }
}

fn a_call_is_answered_by_a_clone() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    check_eq!(SpawnGate(gate.cap.index()).label()?, 0x1230);
    let before = template.used()?;
    let mut seen = Vec::new();
    for round in 0..20 {
        let words = gate
            .report(round)
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

fn answers_are_counted_by_how_they_begin() -> TestResult {
    let template = Template::new()?;
    let gate = template.gate()?;
    let counted = SpawnGate(gate.cap.index());
    let kinds = [(ANSWER, 0x55), (ANSWER, 0x56)];
    check_eq!(counted.tell_apart(&[]), Err(Error::Invalid));
    check_eq!(
        counted.tell_apart(&[kinds[0]; ANSWER_KINDS + 1]),
        Err(Error::Invalid)
    );
    check_eq!(gate.call(Do::AnswerBySend, 0x55), Ok(0x55));
    check_eq!(counted.tell_apart(&kinds), Ok(()));
    check_eq!(counted.tell_apart(&kinds), Err(Error::Exists));
    for (command, argument) in [
        (Do::AnswerBySend, 0x55),
        (Do::AnswerByReply, 0x56),
        (Do::AnswerByReply, 0x55),
        (Do::AnswerBySend, 0x57),
    ] {
        check_eq!(gate.call(command, argument), Ok(argument));
    }
    let counts = gate.settled()?;
    check_eq!((counts.answered, counts.kinds), (5, [2, 1, 0, 0]));
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
                concurrent: 0,
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
    check_eq!(
        reason(gate.call(Do::FaultInThread, 0x10)),
        Some(FailureReason::Fault)
    );
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
    check_eq!(counts.failed, [2, 0, 1, 2, 2]);
    check_eq!((counts.started, counts.answered, counts.live), (8, 1, 0));
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
    // It makes no difference which thread of a clone calls.
    let tag = gate.call_with(Do::NestInThread, Do::Report as u64, cap);
    check!(tag.is_ok());
    check_eq!(Utcb::current().word(2), 1);
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
