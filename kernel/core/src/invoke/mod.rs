//! The system call: from registers to an IPC or to an operation of a kernel object.

mod call;
mod dataspace;
mod factory;
mod gate;
mod irq;
mod machine;
mod scheduler;
mod snapshot;
mod spawn;
mod spawn_gate;
mod storing;
mod task;
mod thread;

use crate::capability::{Capability, Slot, SlotState};
use crate::cpu::{Cpu, Domain};
use crate::ipc::{self, Replied, Sent, direct};
use crate::object::{Header, Kind, Ref};
use crate::objects::{Gate, SpawnGate};
use crate::thread::{Content, Filter, Sending, Then, Thread};
use call::{Call, Outcome};
use l4::protocol::{self, GATE};
use l4::{Error, IpcError, NEVER, Rights, Selector, Tag, utcb};

/// The system call's operands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Operands {
    pub(crate) selector: Selector,
    pub(crate) tag: Tag,
    pub(crate) send_deadline: u64,
    pub(crate) receive_deadline: u64,
}

impl Operands {
    /// The operands as the registers have them.
    #[inline(always)]
    pub(crate) fn new(selector: u64, tag: u64, send_deadline: u64, receive_deadline: u64) -> Operands {
        Operands {
            selector: Selector(selector),
            tag: Tag(tag),
            send_deadline,
            receive_deadline,
        }
    }
}

/// Tells whether a call (send, then receive the answer) of the debug object only wants an answer, and so needs nothing of what
/// other calls need.
#[inline(always)]
pub(crate) fn is_null(thread: Ref<Thread>, tag: Tag) -> bool {
    machine::is_null(thread, tag)
}

/// A call of a kernel object other than a gate. False if the thread does not go on at once.
#[inline(always)]
pub(crate) fn call_object(thread: Ref<Thread>, object: Ref<Header>, rights: Rights, tag: Tag) -> bool {
    let call = Call::new(
        thread,
        Capability {
            object,
            rights,
            label: 0,
        },
        tag.words(),
    );
    match result(invoke_object(&call, tag.label())) {
        Some(tag) => finish(thread, tag),
        None => false,
    }
}

/// A call where nothing is to be called.
pub(crate) fn call_nothing(thread: Ref<Thread>) -> bool {
    fail(thread, IpcError::NotExistent)
}

/// A call of the gate in `slot` by the shortest way, if that is possible: the thread that runs now.
#[inline(always)]
pub(crate) fn call_plainly(cpu: &'static Cpu, slot: &Slot) -> Option<Ref<Thread>> {
    let thread = cpu.current()?;
    let (word, tag, deadline) =
        thread.with_own_context(|context| (context.rcx, Tag(context.rax), context.r9));
    if tag.items() != 0 || deadline != NEVER || tag.label() == GATE {
        return None;
    }
    let capability = slot.capability(word)?;
    let gate = capability.object.downcast::<Gate>()?;
    let label = sent_label(&capability, gate);
    // Who has it just now may change what decides: the ordinary way waits for him.
    let domain = Domain::try_lock(cpu)?;
    direct::call_plainly(&domain, cpu, thread, gate, tag, label)
}

/// An answer and the wait for the next message by the shortest way, if that is possible: the thread that runs now.
#[inline(always)]
pub(crate) fn reply_plainly(cpu: &'static Cpu, tag: Tag, deadline: u64) -> Option<Ref<Thread>> {
    if tag.items() != 0 || deadline != NEVER {
        return None;
    }
    let domain = Domain::try_lock(cpu)?;
    direct::reply_plainly(&domain, cpu, cpu.current()?, tag)
}

/// Any system call by the short way, if there is one for it and that is possible: the thread that runs now.
#[inline(always)]
pub(crate) fn go_directly(
    cpu: &'static Cpu,
    thread: Ref<Thread>,
    operands: &Operands,
) -> Option<Ref<Thread>> {
    let Operands { selector, tag, .. } = *operands;
    if tag.items() != 0 || !selector.has(Selector::SEND | Selector::RECEIVE) {
        return None;
    }
    let task = thread.task();
    if selector.is_call() {
        let capability = task.caps.get(selector.slot()).ok()?;
        let gate = capability.object.downcast::<Gate>()?;
        if tag.label() == GATE {
            return None;
        }
        let message = (tag, sent_label(&capability, gate), operands.receive_deadline);
        return direct::call(&Domain::lock(cpu), cpu, thread, gate, message);
    }
    if !selector.is_reply_and_wait() {
        return None;
    }
    let slot = match selector.index() {
        None => None,
        Some(index) => Some(task.caps.slot(index)?),
    };
    let message = (tag, operands.receive_deadline);
    direct::reply_and_wait(&Domain::lock(cpu), cpu, thread, slot, message)
}

/// A call of a spawn gate in `slot`, or of the right to answer as a clone. `None` if it is neither; else whether the thread that
/// runs now goes on.
#[inline(always)]
pub(crate) fn call_of_invocation(thread: Ref<Thread>, slot: &Slot, operands: &Operands) -> Option<bool> {
    let Operands { selector, tag, .. } = *operands;
    if tag.words() + 2 * tag.items() > Tag::MAX_WORDS {
        return None;
    }
    match slot.read() {
        SlotState::Object(capability)
            if !capability.object.is_dead() && !is_gate_control(&capability, tag) =>
        {
            let gate = capability.object.downcast::<SpawnGate>()?;
            Some(spawn_gate::call(thread, gate, capability, operands))
        }
        SlotState::Reply(..) if ipc::is_answer(thread, selector.slot()) => Some(answer(thread, operands)),
        _ => None,
    }
}

/// The label that the receiver of a message sees: that of the capability, or of the gate, with the capability's rights.
#[inline(always)]
fn sent_label(capability: &Capability, gate: Ref<Gate>) -> u64 {
    let label = if capability.label == 0 {
        gate.label()
    } else {
        capability.label
    };
    label | u64::from((capability.rights & (Rights::WRITE | Rights::STRONG)).bits())
}

/// Any system call of this CPU's current thread, all of whose registers are saved, the ordinary way. False if somebody has to
/// be found who goes on: the thread waits, has ended, or has something else to do first.
#[inline(never)]
pub(crate) fn system_call(thread: Ref<Thread>, operands: &Operands) -> bool {
    let Operands { selector, tag, .. } = *operands;
    if !selector.has(Selector::SEND) {
        return receive_only(thread, operands);
    }
    if tag.words() + 2 * tag.items() > Tag::MAX_WORDS {
        return finish(thread, Tag::new(Error::MessageTooLong.label(), 0, 0));
    }
    if selector.has(Selector::REPLY) {
        return answer(thread, operands);
    }
    let found = selector
        .index()
        .ok_or(Error::NotFound)
        .and_then(|index| thread.task().caps.get(index));
    let Ok(capability) = found else {
        // What a clone sends where it has the right to answer is its answer.
        return match selector.index() {
            Some(index) if ipc::is_answer(thread, index) => answer(thread, operands),
            _ => fail(thread, IpcError::NotExistent),
        };
    };
    if let Some(gate) = capability.object.downcast::<SpawnGate>()
        && !is_gate_control(&capability, tag)
    {
        return spawn_gate::call(thread, gate, capability, operands);
    }
    if capability.object.kind() == Kind::Gate && !is_gate_control(&capability, tag) {
        return match capability.object.downcast::<Gate>() {
            Some(gate) => send(thread, gate, &capability, operands),
            None => fail(thread, IpcError::NotExistent),
        };
    }
    let outcome = invoke_object(&Call::new(thread, capability, tag.words()), tag.label());
    match result(outcome) {
        None => false,
        Some(_) if selector.has(Selector::OPEN) => {
            ipc::receive(thread, Filter::Anybody, operands.receive_deadline)
        }
        Some(tag) => finish(thread, tag),
    }
}

/// The tag that tells the caller how an operation ended; `None` if the caller does not go on.
fn result(outcome: Result<Outcome, Error>) -> Option<Tag> {
    match outcome {
        Ok(Outcome::Done { value, words }) => Some(Tag::new(value, words, 0)),
        Ok(Outcome::Gone) => None,
        Err(error) => Some(Tag::new(error.label(), 0, 0)),
    }
}

fn invoke_object(call: &Call, protocol: i64) -> Result<Outcome, Error> {
    match (call.capability.object.kind(), protocol) {
        (Kind::Debug, protocol::DEBUG) => machine::debug(call),
        (Kind::Factory, protocol::FACTORY) => factory::operate(call),
        (Kind::Task, protocol::TASK) => task::operate(call),
        (Kind::Thread, protocol::THREAD) => thread::operate(call),
        (Kind::Gate, protocol::GATE) => gate::operate(call),
        (Kind::SpawnGate, protocol::GATE) => spawn_gate::operate(call),
        (Kind::Irq, _) => irq::operate(call, protocol),
        (Kind::Dataspace, protocol::DATASPACE) => dataspace::operate(call),
        (Kind::Snapshot, protocol::SNAPSHOT) => snapshot::operate(call),
        (Kind::Scheduler, protocol::SCHEDULER) => scheduler::operate(call),
        (Kind::Icu, protocol::ICU) => irq::operate_icu(call),
        (Kind::Vcon, protocol::VCON) => machine::console(call),
        (Kind::Platform, protocol::PLATFORM) => machine::platform(call),
        _ => Err(Error::BadProtocol),
    }
}

fn is_gate_control(capability: &Capability, tag: Tag) -> bool {
    tag.label() == GATE && capability.rights.contains(Rights::SERVER)
}

fn send(thread: Ref<Thread>, gate: Ref<Gate>, capability: &Capability, operands: &Operands) -> bool {
    let selector = operands.selector;
    let then = if !selector.has(Selector::RECEIVE) {
        Then::Continue
    } else if selector.has(Selector::OPEN) {
        Then::Receive(Filter::Anybody, operands.receive_deadline)
    } else {
        Then::AwaitReply(operands.receive_deadline)
    };
    let sending = Sending {
        tag: operands.tag.without_flags(),
        label: sent_label(capability, gate),
        of_gate: capability.label == 0,
        strong: capability.rights.contains(Rights::STRONG),
        deadline: operands.send_deadline,
        content: Content::Message,
        then,
    };
    send_message(thread, gate, sending)
}

/// The send phase of a thread whose gate was not bound when it tried before. A faulting thread's exception is sent again
/// as well, and ends it if that fails.
pub(crate) fn send_again(thread: Ref<Thread>, gate: Ref<Gate>, mut sending: Sending) -> bool {
    if sending.of_gate {
        // The label of the binding that it waited for, and the rights of the capability as before.
        sending.label = gate.label() | sending.label & 3;
    }
    if sending.content == Content::Message {
        return send_message(thread, gate, sending);
    }
    match ipc::send(thread, gate, sending) {
        Sent::Blocked => false,
        Sent::Done | Sent::Failed(_) => {
            let fault = thread.fault.get(&Domain::lock(thread.home()));
            ipc::end_unhandled(thread, &fault);
            false
        }
    }
}

/// The send phase, and the receive phase if the message was taken at once.
fn send_message(thread: Ref<Thread>, gate: Ref<Gate>, sending: Sending) -> bool {
    match ipc::send(thread, gate, sending) {
        Sent::Blocked => false,
        Sent::Failed(error) => fail(thread, error),
        Sent::Done => match sending.then {
            Then::Receive(filter, deadline) => ipc::receive(thread, filter, deadline),
            Then::Continue | Then::AwaitReply(_) => finish(thread, Tag(0)),
        },
    }
}

fn answer(thread: Ref<Thread>, operands: &Operands) -> bool {
    let task = thread.task();
    let replied = match operands.selector.index() {
        None => ipc::reply(thread, None, operands.tag),
        Some(index) => match task.caps.slot(index) {
            Some(slot) => ipc::reply(thread, Some(slot), operands.tag),
            None => Err(IpcError::NotExistent),
        },
    };
    match replied {
        Ok(Replied::Ended) => return false,
        Ok(Replied::Switched) => return true,
        _ => {}
    }
    if operands.selector.has(Selector::RECEIVE) {
        // A server that answers a caller who has gone meanwhile goes on to the next request.
        return ipc::receive(thread, Filter::Anybody, operands.receive_deadline);
    }
    match replied {
        Ok(_) => finish(thread, Tag(0)),
        Err(error) => fail(thread, error),
    }
}

fn receive_only(thread: Ref<Thread>, operands: &Operands) -> bool {
    if !operands.selector.has(Selector::RECEIVE) {
        return finish(thread, Tag::new(Error::Invalid.label(), 0, 0));
    }
    match receive_filter(thread, operands.selector) {
        Ok(filter) => ipc::receive(thread, filter, operands.receive_deadline),
        Err(_) => fail(thread, IpcError::PartnerGone),
    }
}

fn receive_filter(thread: Ref<Thread>, selector: Selector) -> Result<Filter, Error> {
    if selector.has(Selector::OPEN) {
        return Ok(Filter::Anybody);
    }
    let Some(index) = selector.index() else {
        return Ok(Filter::Nobody);
    };
    let object = thread.task().caps.get(index)?.object;
    if let Some(irq) = object.downcast::<crate::objects::Irq>() {
        return Ok(Filter::Irq(irq.number()));
    }
    object
        .downcast::<Thread>()
        .map(|partner| Filter::Thread(partner.number()))
        .ok_or(Error::BadProtocol)
}

/// Sets the current thread's result.
#[inline]
fn finish(thread: Ref<Thread>, tag: Tag) -> bool {
    thread.with_own_context(|context| {
        context.rax = tag.0;
        context.rsi = 0;
    });
    true
}

fn fail(thread: Ref<Thread>, error: IpcError) -> bool {
    thread.utcb().set(utcb::ERROR_WORD, error.code());
    finish(thread, Tag(Tag::ERROR))
}
