//! What the threads of a test do: system calls with their operands, one after the other.
#![expect(
    unsafe_code,
    reason = "the machine hands on what one entry returned to the next"
)]

use crate::capability::Slot;
use crate::context::{KIND_FULL, KIND_SYSCALL, Trap};
use crate::entry;
use crate::object::Ref;
use crate::thread::Thread;
use l4::cap::receive_buffer;
use l4::exception::ExceptionFrame;
use l4::object::CloneFailure;
use l4::protocol::{
    EXCEPTION, GATE, IRQ, IRQ_CONTROL, SCHEDULER, TASK, THREAD, gate, irq, scheduler, task, thread,
};
use l4::{CapIndex, IpcError, NEVER, Selector, Tag, utcb};
use std::vec::Vec;

/// One entry into the kernel.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A system call.
    Call(SystemCall),
    /// An instruction that raises an exception.
    Fault,
    /// An instruction that writes to a page which it may not write to yet.
    Touch(u64),
}

/// A system call's operands, those in the UTCB included.
#[derive(Clone, Debug)]
pub(super) struct SystemCall {
    selector: Selector,
    tag: Tag,
    words: Vec<u64>,
    send: u64,
    receive: u64,
    buffer: Option<CapIndex>,
    reply_slot: Option<CapIndex>,
    /// The thread does the same again.
    pub(super) again: bool,
}

/// What a thread sees of an entry's end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    /// The tag's label, the sender's label, the words.
    Message(i64, u64, Vec<u64>),
    /// An IPC error's code.
    Error(u64),
    /// A spawn gate began no clone: the number of the error.
    Refused(i64),
    /// A spawn gate's clone came to no answer: the number of the reason.
    Failed(u64),
    /// It goes on behind its exception.
    Resumed,
}

impl Seen {
    /// The answer of a kernel object that did what it was asked for, or of a send.
    pub(super) const DONE: Seen = Seen::Message(0, 0, Vec::new());
}

/// Stands in for a result until there is one.
const NO_RESULT: u64 = 0x5a5a_5a5a_5a5a_5a5a;
/// `ud2`.
const INVALID_OPCODE: u64 = 6;
const PAGE_FAULT: u64 = 14;
/// A write of user mode to a page that is not there.
const NOT_THERE: u64 = 6;

const PHASES: u64 = Selector::SEND | Selector::RECEIVE;

impl Op {
    fn operands(selector: Selector, tag: Tag, words: &[u64]) -> SystemCall {
        SystemCall {
            selector,
            tag,
            words: words.to_vec(),
            send: NEVER,
            receive: NEVER,
            buffer: None,
            reply_slot: None,
            again: false,
        }
    }

    /// Sends one word through a gate and waits for the answer.
    pub(super) fn call(cap: CapIndex, word: u64) -> Op {
        Op::Call(Op::operands(
            Selector::new(cap, PHASES),
            Tag::new(1, 1, 0),
            &[word],
        ))
    }

    /// Sends one word through a gate.
    pub(super) fn send(cap: CapIndex, word: u64) -> Op {
        let selector = Selector::new(cap, Selector::SEND);
        Op::Call(Op::operands(selector, Tag::new(1, 1, 0), &[word]))
    }

    /// Waits for anybody's message.
    pub(super) fn wait() -> Op {
        let selector = Selector::own(Selector::RECEIVE | Selector::OPEN);
        Op::Call(Op::operands(selector, Tag(0), &[]))
    }

    /// Waits for what one partner or notification sends.
    pub(super) fn receive(from: CapIndex) -> Op {
        Op::Call(Op::operands(Selector::new(from, Selector::RECEIVE), Tag(0), &[]))
    }

    /// Sleeps.
    pub(super) fn sleep() -> Op {
        Op::Call(Op::operands(Selector::own(Selector::RECEIVE), Tag(0), &[]))
    }

    /// Answers the last caller, or the one whose reply capability is in a slot.
    pub(super) fn reply(slot: Option<CapIndex>, word: u64) -> Op {
        Op::answer(slot, Selector::SEND | Selector::REPLY, word)
    }

    /// Answers, and waits for anybody's message.
    pub(super) fn reply_and_wait(slot: Option<CapIndex>, word: u64) -> Op {
        let phases = PHASES | Selector::OPEN | Selector::REPLY;
        Op::answer(slot, phases, word)
    }

    fn answer(slot: Option<CapIndex>, phases: u64, word: u64) -> Op {
        let selector = slot.map_or(Selector::own(phases), |slot| Selector::new(slot, phases));
        Op::Call(Op::operands(selector, Tag::new(2, 1, 0), &[word]))
    }

    /// Lets a faulting thread go on (label 0), or end (below).
    pub(super) fn answer_fault(label: i64) -> Op {
        let selector = Selector::own(PHASES | Selector::OPEN | Selector::REPLY);
        Op::Call(Op::operands(selector, Tag::new(label, 0, 0), &[]))
    }

    /// Calls a kernel object.
    pub(super) fn object(cap: CapIndex, protocol: i64, words: &[u64]) -> Op {
        Op::Call(Op::operands(
            Selector::new(cap, PHASES),
            Tag::new(protocol, words.len(), 0),
            words,
        ))
    }

    /// Deletes the object that a slot of the own task names.
    pub(super) fn delete(cap: CapIndex) -> Op {
        let flags = task::UNMAP_DELETE | task::UNMAP_SELF;
        Op::object(CapIndex::TASK, TASK, &[task::UNMAP, cap.word(), flags])
    }

    /// Drops the capability in a slot of the own task.
    pub(super) fn drop_cap(cap: CapIndex) -> Op {
        Op::object(CapIndex::TASK, TASK, &[task::UNMAP, cap.word(), task::UNMAP_SELF])
    }

    /// Revokes what was derived from a slot of the own task.
    pub(super) fn revoke(cap: CapIndex) -> Op {
        Op::object(CapIndex::TASK, TASK, &[task::UNMAP, cap.word(), 0])
    }

    /// Moves the implicit reply capability to a slot.
    pub(super) fn take_reply(slot: CapIndex) -> Op {
        Op::object(CapIndex::THREAD, THREAD, &[thread::TAKE_REPLY, slot.word()])
    }

    /// Ends what a thread waits for.
    pub(super) fn cancel(target: CapIndex) -> Op {
        let words = [thread::EX_REGS, u64::MAX, u64::MAX, thread::EX_REGS_CANCEL];
        Op::object(target, THREAD, &words)
    }

    /// Ends the own thread.
    pub(super) fn exit() -> Op {
        Op::object(CapIndex::THREAD, THREAD, &[thread::EXIT])
    }

    /// Moves a thread to a CPU.
    pub(super) fn place(target: CapIndex, cpu: u32, priority: u8) -> Op {
        let words = [
            scheduler::RUN_THREAD,
            target.word(),
            cpu.into(),
            priority.into(),
            0,
        ];
        Op::object(CapIndex::SCHEDULER, SCHEDULER, &words)
    }

    /// Binds a gate to a thread.
    pub(super) fn bind_gate(cap: CapIndex, label: u64, target: CapIndex) -> Op {
        Op::object(cap, GATE, &[gate::BIND, label, target.word()])
    }

    /// Binds a notification to a thread.
    pub(super) fn bind_irq(cap: CapIndex, label: u64, target: CapIndex) -> Op {
        Op::object(cap, IRQ_CONTROL, &[irq::BIND, label, target.word()])
    }

    /// Unbinds a notification.
    pub(super) fn detach_irq(cap: CapIndex) -> Op {
        Op::object(cap, IRQ_CONTROL, &[irq::DETACH])
    }

    /// Arms a notification's timer.
    pub(super) fn set_timer(cap: CapIndex, deadline: u64) -> Op {
        Op::object(cap, IRQ_CONTROL, &[irq::SET_TIMER, deadline])
    }

    /// Makes a notification tell an object's end.
    pub(super) fn watch(cap: CapIndex, watched: CapIndex) -> Op {
        Op::object(cap, IRQ_CONTROL, &[irq::WATCH, watched.word()])
    }

    /// Triggers a notification.
    pub(super) fn trigger(cap: CapIndex) -> Op {
        Op::object(cap, IRQ, &[])
    }

    fn with(self, change: impl FnOnce(&mut SystemCall)) -> Op {
        match self {
            Op::Call(mut call) => {
                change(&mut call);
                Op::Call(call)
            }
            other => other,
        }
    }

    /// With a deadline for the send phase.
    pub(super) fn send_by(self, deadline: u64) -> Op {
        self.with(|call| call.send = deadline)
    }

    /// With a deadline for the receive phase.
    pub(super) fn receive_by(self, deadline: u64) -> Op {
        self.with(|call| call.receive = deadline)
    }

    /// With a slot for the reply capability of the next caller.
    pub(super) fn reply_to(self, slot: CapIndex) -> Op {
        self.with(|call| call.reply_slot = Some(slot))
    }

    /// With a capability in the message.
    pub(super) fn passing(self, item: l4::cap::SendItem) -> Op {
        self.with(|call| {
            call.words.extend(item.words());
            call.tag = Tag::new(call.tag.label(), call.words.len() - 2, 1);
        })
    }

    /// With a slot for a capability in the next message.
    pub(super) fn taking(self, slot: CapIndex) -> Op {
        self.with(|call| call.buffer = Some(slot))
    }

    /// Again and again.
    pub(super) fn for_ever(self) -> Op {
        self.with(|call| call.again = true)
    }

    /// Does it, as the current thread of this CPU. `ordinary` keeps the kernel from the short ways.
    pub(super) fn perform(&self, thread: Ref<Thread>, ordinary: bool) {
        match self {
            Op::Call(call) => call.perform(thread, ordinary),
            Op::Fault => raise(thread, INVALID_OPCODE, 0, 0),
            Op::Touch(address) => raise(thread, PAGE_FAULT, NOT_THERE, *address),
        }
    }

    /// What the thread sees when it goes on.
    pub(super) fn result(&self, thread: Ref<Thread>) -> Seen {
        if !matches!(self, Op::Call(_)) {
            return Seen::Resumed;
        }
        let (rax, label) = thread.with_own_context(|context| (context.rax, context.rsi));
        assert_ne!(rax, NO_RESULT, "a system call ended without a result");
        let tag = Tag(rax);
        if tag.is_error() {
            let code = thread.utcb().get(utcb::ERROR_WORD);
            return match IpcError::from_code(code) {
                IpcError::CloneRefused => Seen::Refused(-tag.label()),
                IpcError::CloneFailed => {
                    assert_eq!(tag.words(), CloneFailure::WORDS);
                    Seen::Failed(thread.utcb().get(0))
                }
                _ => Seen::Error(code),
            };
        }
        let mut words: Vec<u64> = (0..tag.words()).map(|index| thread.utcb().get(index)).collect();
        if tag.label() == EXCEPTION && words.len() == ExceptionFrame::WORDS {
            words.truncate(2);
        }
        Seen::Message(tag.label(), label, words)
    }
}

fn raise(thread: Ref<Thread>, vector: u64, error: u64, address: u64) {
    thread.with_own_context(|context| context.kind = KIND_FULL);
    let trap = Trap {
        vector,
        error,
        address,
    };
    entry::trap(thread.context(), &trap);
}

impl SystemCall {
    fn perform(&self, thread: Ref<Thread>, ordinary: bool) {
        let utcb = thread.utcb();
        for (index, word) in self.words.iter().enumerate() {
            utcb.set(index, *word);
        }
        utcb.set(utcb::BUFFER_WORDS, self.buffer.map_or(0, receive_buffer));
        let reply_slot = self.reply_slot.map_or(0, |slot| slot.word() << 32);
        utcb.set(utcb::BUFFER_DESCRIPTOR, reply_slot);
        thread.with_own_context(|context| {
            context.kind = KIND_SYSCALL;
            context.rax = NO_RESULT;
        });
        if ordinary {
            crate::schedule::expect_work();
        }
        let context = thread.context();
        let (selector, tag) = (self.selector.0, self.tag.0);
        if self.selector.is_implicit_reply_and_wait() {
            entry::reply_and_wait(context, 0, selector, tag, self.send, self.receive);
            return;
        }
        if !self.selector.is_call() {
            entry::system_call(context, 0, selector, tag, self.send, self.receive);
            return;
        }
        match entry::call(context, 0, selector, tag, self.send, self.receive) {
            entry::GOES_ON => {}
            entry::LEAVES => {
                entry::leave_system_call();
            }
            slot => {
                // SAFETY: What `call` returns else is the address of a slot.
                entry::call_gate(context, unsafe { &*(slot as *const Slot) });
            }
        }
    }
}
