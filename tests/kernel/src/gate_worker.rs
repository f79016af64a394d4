//! The clones behind spawn gates: what they do when they are told to, and how they are made.

use crate::check_eq;
use crate::harness::{FACTORY, Failure, PRIORITY, settled_counters};
use crate::partner::{LABEL, Partner, Place, Role};
use alloc::sync::Arc;
use alloc::vec;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use l4::cap::SendItem;
use l4::object::{
    CLONE_HEAD_WORDS, CallFailure, CloneFailure, Factory, FactoryInfo, FailureReason, GateBinding,
    GateCounts, MapEntry, Placement, Snapshot, SpawnGate, Task, Thread,
};
use l4::{CapIndex, Error, IpcError, NEVER, Rights, Selector, Tag, Utcb, syscall};
use l4re::thread::{Builder, JoinHandle};
use l4re::{OwnedCap, Slot, clock, server, slots};

/// What a clone is told to do, in the first word behind those of the kernel; the second one is its argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Do {
    /// Answer with what it was given, and tag and label as it saw them.
    Report = 1,
    /// Answer by a send instead of a call.
    AnswerBySend,
    /// Answer by the reply form instead of a call.
    AnswerByReply,
    /// Touch an address that nothing is at.
    Fault,
    /// End the last thread, with an exit code.
    Exit,
    /// Drop the right to answer.
    DropAnswer,
    /// Drop the only capability to its own task.
    DropTask,
    /// The same with its account.
    DropAccount,
    /// Compute for ever.
    Spin,
    /// Wait for ever.
    Sleep,
    /// Touch so many pages more.
    Dirty,
    /// Answer with a tag that says that the IPC failed.
    ForgeError,
    /// Try to pass the right to answer on, in all ways; answers with the number of those that worked.
    PassOn,
    /// Have a second thread answer as well.
    AnswerTwice,
    /// Call the gate that came with the request, with this command.
    Nest,
    /// Answer with the capability that came with the request.
    GiveBack,
    /// Answer with the limit of its account and what is used, in pages.
    Account,
    /// Fault in a second thread.
    FaultInThread,
    /// Have a second thread do as for [`Do::Nest`], and answer.
    NestInThread,
}

const COMMANDS: [Do; 19] = [
    Do::Report,
    Do::AnswerBySend,
    Do::AnswerByReply,
    Do::Fault,
    Do::Exit,
    Do::DropAnswer,
    Do::DropTask,
    Do::DropAccount,
    Do::Spin,
    Do::Sleep,
    Do::Dirty,
    Do::ForgeError,
    Do::PassOn,
    Do::AnswerTwice,
    Do::Nest,
    Do::GiveBack,
    Do::Account,
    Do::FaultInThread,
    Do::NestInThread,
];

const OWN: Task = Task(CapIndex::TASK);
/// Where a capability that comes with the request arrives.
const GIVEN: CapIndex = CapIndex(0xe00);
/// Nothing is here.
const SPARE: CapIndex = CapIndex(0xe01);
/// Label of answers.
pub(crate) const ANSWER: i64 = 0x77;
/// Pages that a clone may dirty, apart from those that it needs anyway.
pub(crate) const MEMORY_PAGES: u64 = 96;

/// Memory on the heap that clones inherit.
static HEAP: AtomicU64 = AtomicU64::new(0);
const HEAP_PAGES: usize = 256;

/// What a clone runs: it calls the gate, and again with each answer.
pub(crate) fn run_worker(gate: CapIndex) {
    let utcb = Utcb::current();
    let heap = vec![1u8; HEAP_PAGES << 12];
    HEAP.store(heap.as_ptr() as u64, Ordering::Relaxed);
    slots::reserve_below(CapIndex(0x1000));
    utcb.set_receive_slots(&[GIVEN]);
    let received = syscall::call(gate, Tag::new(1, 0, 0));
    if received.tag.is_error() {
        return;
    }
    let mut words = [0; CLONE_HEAD_WORDS + 2];
    utcb.read(0, &mut words);
    let [.., command, argument] = words;
    let Some(command) = COMMANDS.into_iter().find(|known| *known as u64 == command) else {
        return;
    };
    let items = act(gate, command, argument, &words, [received.tag.0, received.label]);
    let Some((count, items)) = items else { return };
    syscall::call(gate, Tag::new(ANSWER, count, items));
}

/// Does what it is told to, and leaves an answer of so many words and items in the UTCB.
fn act(gate: CapIndex, command: Do, argument: u64, head: &[u64], got: [u64; 2]) -> Option<(usize, usize)> {
    let utcb = Utcb::current();
    let answer = |words: &[u64]| {
        utcb.write(0, words);
        Some((words.len(), 0))
    };
    match command {
        Do::Report => {
            utcb.write(0, head);
            utcb.write(head.len(), &got);
            Some((head.len() + got.len(), 0))
        }
        Do::AnswerBySend => {
            answer(&[argument]);
            syscall::send(gate, Tag::new(ANSWER, 1, 0), NEVER);
            endless()
        }
        Do::AnswerByReply => {
            answer(&[argument]);
            syscall::reply_and_wait(Some(gate), Tag::new(ANSWER, 1, 0), NEVER);
            endless()
        }
        Do::ForgeError => {
            utcb.write(0, &[0; 6]);
            utcb.set_word(l4::utcb::ERROR_WORD, IpcError::CloneFailed.code());
            let tag = Tag::new(ANSWER, 6, 0).with(u64::MAX);
            let selector = Selector::new(gate, Selector::SEND | Selector::REPLY);
            syscall::invoke(selector, tag, NEVER, NEVER);
            endless()
        }
        Do::PassOn => answer(&[pass_on(gate)]),
        Do::AnswerTwice => {
            answer_again(gate, argument);
            answer(&[argument])
        }
        Do::Nest => nest(argument),
        Do::GiveBack => {
            utcb.write(0, &SendItem::map(GIVEN, Rights::all()).words());
            Some((0, 1))
        }
        Do::Account => {
            let FactoryInfo { limit, used, .. } = FACTORY.info().ok()?;
            answer(&[limit >> 12, used >> 12])
        }
        Do::Fault
        | Do::Exit
        | Do::DropAnswer
        | Do::DropTask
        | Do::DropAccount
        | Do::Spin
        | Do::Sleep
        | Do::FaultInThread
        | Do::NestInThread
        | Do::Dirty => end(gate, command, argument),
    }
}

/// Comes to an end without an answer, with one word, or by another thread.
fn end(gate: CapIndex, command: Do, argument: u64) -> Option<(usize, usize)> {
    match command {
        Do::Fault => crate::exceptions::touch(argument),
        Do::FaultInThread => in_thread(PRIORITY, move || crate::exceptions::touch(argument)),
        Do::NestInThread => in_thread(PRIORITY, move || {
            if let Some((words, items)) = nest(argument) {
                syscall::call(gate, Tag::new(ANSWER, words, items));
            }
        }),
        Do::Exit => {
            Utcb::current().write(0, &[l4::protocol::thread::EXIT, argument]);
            syscall::call(CapIndex::THREAD, Tag::new(l4::protocol::THREAD, 2, 0));
        }
        Do::DropAnswer => OWN.drop_cap(gate).ok()?,
        Do::DropTask => OWN.drop_cap(CapIndex::TASK).ok()?,
        Do::DropAccount => OWN.drop_cap(CapIndex::FACTORY).ok()?,
        Do::Spin => loop {
            core::hint::spin_loop();
        },
        Do::Dirty => {
            let heap = HEAP.load(Ordering::Relaxed);
            (0..argument).for_each(|page| crate::exceptions::poke(heap + (page << 12)));
            Utcb::current().write(0, &[argument]);
            return Some((1, 0));
        }
        _ => {}
    }
    endless()
}

fn endless() -> ! {
    loop {
        syscall::sleep_until(NEVER);
    }
}

fn pass_on(gate: CapIndex) -> u64 {
    let copies = [
        MapEntry::copy(gate, SPARE, Rights::all()),
        MapEntry {
            grant: true,
            ..MapEntry::copy(gate, SPARE, Rights::all())
        },
    ];
    let mapped = copies
        .into_iter()
        .filter(|copy| OWN.map(&[*copy]).is_ok())
        .count();
    let taken = Thread(CapIndex::THREAD).take_reply(SPARE).is_ok();
    mapped as u64 + u64::from(taken)
}

/// Starts a thread that answers; it does so at a lower priority, when the first one has.
fn answer_again(gate: CapIndex, argument: u64) {
    in_thread(PRIORITY - 1, move || {
        Utcb::current().write(0, &[argument + 1]);
        syscall::send(gate, Tag::new(ANSWER, 1, 0), NEVER);
    });
}

/// Does something in a second thread, which the clone's end is that of.
fn in_thread(priority: u8, body: impl FnOnce() + Send + 'static) {
    let builder = Builder {
        placement: Placement {
            cpu: Placement::SAME_CPU,
            priority,
            slice_us: 0,
        },
        ..Builder::default()
    };
    core::mem::forget(builder.spawn(body));
}

/// Calls the gate that came with the request: the argument is the command, and in its upper half the number of further
/// calls in one another. Answers with what came back: one word that says whether it failed, then the message.
fn nest(argument: u64) -> Option<(usize, usize)> {
    let utcb = Utcb::current();
    let (command, further) = (argument & 0xffff_ffff, argument >> 32);
    let head = match further {
        0 => [command, 0],
        _ => [Do::Nest as u64, (further - 1) << 32 | command],
    };
    utcb.write(CLONE_HEAD_WORDS, &head);
    utcb.write(CLONE_HEAD_WORDS + 2, &SendItem::map(GIVEN, Rights::all()).words());
    utcb.set_receive_slots(&[SPARE]);
    let received = syscall::call(GIVEN, Tag::new(0, CLONE_HEAD_WORDS + 2, 1));
    let words = match CallFailure::check(received, utcb) {
        Ok(tag) => return Some((tag.words(), 0)),
        Err(CallFailure::Refused(error)) => [1000, error.number() as u64],
        Err(CallFailure::Clone(failure)) => [2000, failure.reason as u64],
        Err(CallFailure::Ipc(error)) => [3000, error.code()],
    };
    utcb.write(0, &words);
    Some((words.len(), 0))
}

/// A snapshot of a worker in its first call, and an account for gates.
pub(crate) struct Template {
    pub(crate) snapshot: OwnedCap,
    pub(crate) account: OwnedCap,
    _gate: OwnedCap,
}

impl Template {
    pub(crate) fn new() -> Result<Template, Failure> {
        let partner = Partner::start(Role::Worker, Place::TASK)?;
        let gate = Slot::fill(|slot| OWN.map(&[MapEntry::copy(partner.gate.index(), slot, Rights::all())]))?;
        server::bind_gate(gate.index(), LABEL)?;
        syscall::wait(clock::after(5_000_000_000)).result()?;
        let caller = server::keep_caller()?;
        let snapshot = Slot::fill(|slot| Snapshot::freeze(partner.task(), caller.index(), slot))?;
        partner.forget();
        Snapshot(snapshot.index()).prepare()?;
        Ok(Template {
            snapshot,
            account: Slot::fill(|slot| FACTORY.create_factory(16 << 20, slot))?,
            _gate: gate,
        })
    }

    /// Bytes of the gates' account that are in use.
    pub(crate) fn used(&self) -> Result<u64, Error> {
        settled_counters()?;
        Ok(Factory(self.account.index()).info()?.used)
    }

    pub(crate) fn binding(&self) -> GateBinding {
        GateBinding {
            account: self.account.index(),
            scheduler: CapIndex::SCHEDULER,
            place: Placement {
                cpu: 0,
                priority: PRIORITY,
                slice_us: 0,
            },
            memory_bytes: MEMORY_PAGES << 12,
            deadline_ns: 0,
            concurrent: 32,
            // Where the loader puts the capability that is named first.
            answer: CapIndex::FIRST_FREE,
            label: 0x1230,
        }
    }

    pub(crate) fn bind(&self, binding: &GateBinding) -> Result<Gate, Error> {
        let cap = Slot::fill(|slot| Snapshot(self.snapshot.index()).bind(binding, slot))?;
        Ok(Gate { cap })
    }

    pub(crate) fn gate(&self) -> Result<Gate, Error> {
        self.bind(&self.binding())
    }
}

/// A spawn gate.
pub(crate) struct Gate {
    pub(crate) cap: OwnedCap,
}

impl Gate {
    pub(crate) fn counts(&self) -> Result<GateCounts, Error> {
        SpawnGate(self.cap.index()).counts()
    }

    /// Calls it and returns the answer's first word.
    pub(crate) fn call(&self, command: Do, argument: u64) -> Result<u64, CallFailure> {
        call(self.cap.index(), command, argument, NEVER).map(|_| Utcb::current().word(0))
    }

    /// What a clone was given.
    pub(crate) fn report(&self, argument: u64) -> Result<[u64; 9], CallFailure> {
        self.call(Do::Report, argument)?;
        let mut words = [0; 9];
        Utcb::current().read(0, &mut words);
        Ok(words)
    }

    /// Calls it with a capability.
    pub(crate) fn call_with(&self, command: Do, argument: u64, cap: CapIndex) -> Result<Tag, CallFailure> {
        let utcb = Utcb::current();
        utcb.write(CLONE_HEAD_WORDS, &[command as u64, argument]);
        utcb.write(CLONE_HEAD_WORDS + 2, &SendItem::map(cap, Rights::all()).words());
        let received = syscall::call(self.cap.index(), Tag::new(9, CLONE_HEAD_WORDS + 2, 1));
        CallFailure::check(received, utcb)
    }

    /// Counts, once the memory of all clones that have ended is free.
    pub(crate) fn settled(&self) -> Result<GateCounts, Failure> {
        settled_counters()?;
        let counts = self.counts()?;
        let ended = counts.answered + counts.abandoned + counts.failed.iter().sum::<u64>();
        check_eq!(counts.started, ended + counts.live);
        Ok(counts)
    }
}

/// Calls a spawn gate with a deadline.
pub(crate) fn call(gate: CapIndex, command: Do, argument: u64, deadline: u64) -> Result<Tag, CallFailure> {
    let utcb = Utcb::current();
    utcb.write(CLONE_HEAD_WORDS, &[command as u64, argument]);
    let received = syscall::call_until(gate, Tag::new(9, CLONE_HEAD_WORDS + 2, 0), deadline);
    CallFailure::check(received, utcb)
}

/// A failure of which no more is known than the reason.
pub(crate) fn failed(reason: FailureReason) -> CallFailure {
    CallFailure::Clone(CloneFailure::new(reason))
}

/// A thread that calls a gate and notes the result: the answer's first word, or a negated error.
pub(crate) struct Caller(pub(crate) JoinHandle);

pub(crate) const UNSET: i64 = i64::MIN;
pub(crate) const FAILED: i64 = -10_000;

impl Caller {
    pub(crate) fn start(
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
