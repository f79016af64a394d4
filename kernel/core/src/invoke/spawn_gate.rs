//! Spawn gates: binding one to a snapshot, and the call of one, which begins a clone that is to answer.

use super::call::{Call, DONE, Outcome};
use super::factory::gate_label;
use super::scheduler::{Placement, placement};
use super::spawn::{copy_ahead, high, hold_own, low, reclaim};
use super::{Operands, fail, finish};
use crate::account::Account;
use crate::capability::Capability;
use crate::invocation::{Invocation, Terms};
use crate::ipc;
use crate::machine::{machine_cpu, machine_now, machine_random};
use crate::object::Ref;
use crate::objects::{Scheduler, Snapshot, SpawnBinding, SpawnGate, Task};
use crate::reaper;
use crate::thread::Thread;
use crate::timeout::has_passed;
use l4::object::{ANSWER_KINDS, CLONE_DEPTH_MAX, CLONE_HEAD_WORDS, bind_words as words};
use l4::protocol::gate;
use l4::{CapIndex, Error, IpcError, NEVER, PAGE_SIZE, Rights, Tag, utcb};

/// What a nested clone's account leaves of its caller's, so that the caller can take the answer.
const RESERVE: u64 = 16 * PAGE_SIZE;
/// Set in the numbers of invocations, so that they are unlike those that a manager gives.
const NUMBER_FLAG: u64 = 1 << 63;

/// Binds a new gate to a snapshot.
pub(super) fn bind(call: &Call, snapshot: Ref<Snapshot>) -> Result<Outcome, Error> {
    let objects = call.word(words::OBJECTS)?;
    let account = call.argument_at::<Account>(low(objects), Rights::STRONG)?;
    let scheduler = call.argument_at::<Scheduler>(high(objects), Rights::STRONG)?;
    let place = call.word(words::PLACE)?;
    let Placement {
        cpu,
        priority,
        slice_ns,
    } = placement(
        &scheduler,
        u64::from(place as u32),
        place >> 32,
        call.word(words::SLICE)?,
    )?;
    let limit = call.word(words::LIMIT)?;
    let binding = SpawnBinding {
        cpu,
        priority,
        slice_ns,
        memory: call.word(words::MEMORY)? & !(PAGE_SIZE - 1),
        deadline_ns: call.word(words::DEADLINE)?,
        concurrent: u64::from(limit as u32),
        answer: high(limit),
        label: gate_label(call.word(words::LABEL)?)?,
    };
    if binding.memory == 0 || binding.concurrent == 0 {
        return Err(Error::Invalid);
    }
    if binding.answer.0 == 0 || binding.answer.0 >= CapIndex::LIMIT {
        return Err(Error::Range);
    }
    if !snapshot.is_ready() {
        return Err(Error::Again);
    }
    call.create(|| SpawnGate::create(account, snapshot, binding))
}

/// Operations for who has the server right.
pub(super) fn operate(call: &Call) -> Result<Outcome, Error> {
    let target = call.object::<SpawnGate>()?;
    call.need(Rights::SERVER)?;
    match call.word(0)? {
        gate::GET_INFO => call.answer(&[target.binding().label]),
        gate::COUNTS => call.answer(&target.counts().to_words()),
        gate::TELL_APART => tell_apart(call, target),
        _ => Err(Error::NoSystemCall),
    }
}

/// Says how answers begin that are to be counted apart: from word 1 on, label and first word of each kind.
fn tell_apart(call: &Call, gate: Ref<SpawnGate>) -> Result<Outcome, Error> {
    let mut begins = [(0, 0); ANSWER_KINDS];
    let pairs = call.words() - 1;
    let given = begins.get_mut(..pairs / 2).ok_or(Error::Invalid)?;
    if !pairs.is_multiple_of(2) {
        return Err(Error::Invalid);
    }
    for (index, begin) in given.iter_mut().enumerate() {
        *begin = (call.word(1 + 2 * index)? as i64, call.word(2 + 2 * index)?);
    }
    gate.tell_apart(given)?;
    DONE
}

/// Why no clone was begun.
enum Refusal {
    /// As the gate sees it.
    Gate(Error),
    /// The message did not get through.
    Ipc(IpcError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::Ipc(error) => Refusal::Ipc(error),
            error => Refusal::Gate(error),
        }
    }
}

/// A message through a spawn gate, which has to be a call. False if somebody has to be found who goes on.
pub(super) fn call(
    thread: Ref<Thread>,
    gate: Ref<SpawnGate>,
    capability: Capability,
    operands: &Operands,
) -> bool {
    let strong = capability.rights.contains(Rights::STRONG);
    match begin(thread, gate, strong, operands) {
        Ok(is_running) => is_running,
        Err(refusal) => {
            gate.count_refusal();
            match refusal {
                Refusal::Ipc(error) => fail(thread, error),
                Refusal::Gate(error) => {
                    thread.utcb().set(utcb::ERROR_WORD, IpcError::CloneRefused.code());
                    finish(thread, Tag::new(error.label(), 0, 0).with(Tag::ERROR))
                }
            }
        }
    }
}

fn begin(
    thread: Ref<Thread>,
    gate: Ref<SpawnGate>,
    strong: bool,
    operands: &Operands,
) -> Result<bool, Refusal> {
    let tag = Tag::new(0, operands.tag.words(), operands.tag.items());
    if !operands.selector.is_call() {
        return Err(Error::NoSystemCall.into());
    }
    if gate.binding().cpu != machine_cpu() {
        return Err(Error::AccessDenied.into());
    }
    if tag.words() < CLONE_HEAD_WORDS {
        return Err(Error::Invalid.into());
    }
    reclaim();
    let snapshot = gate.snapshot()?;
    let outer = thread.task().account().and_then(Account::nearest_invocation);
    let terms = terms(gate, outer, operands.receive_deadline)?;
    let account = open_account(gate, outer, terms)?;
    let begun = begin_clone(thread, gate, (account, snapshot), (tag, strong), terms);
    if begun.is_err() {
        reaper::destroy(account.erase());
    }
    Ok(begun?)
}

/// The least of the deadlines, and the depth.
fn terms(gate: Ref<SpawnGate>, outer: Option<Ref<Account>>, receive_deadline: u64) -> Result<Terms, Error> {
    let own = gate.binding().deadline_ns;
    let mut deadline = match own {
        0 => NEVER,
        nanoseconds => machine_now().saturating_add(nanoseconds),
    };
    let mut depth = 0;
    if let Some(outer) = outer.as_ref().and_then(|outer| outer.invocation()) {
        deadline = deadline.min(outer.deadline);
        depth = outer.depth + 1;
    }
    if depth > CLONE_DEPTH_MAX {
        return Err(Error::Range);
    }
    let is_callers = receive_deadline <= deadline;
    deadline = deadline.min(receive_deadline);
    if has_passed(deadline) {
        return Err(Error::Ipc(IpcError::ReceiveTimeout));
    }
    Ok(Terms {
        deadline,
        is_callers,
        depth,
    })
}

/// An account for one more clone: a part of the gate's, or of the invocation that the call comes from.
fn open_account(
    gate: Ref<SpawnGate>,
    outer: Option<Ref<Account>>,
    terms: Terms,
) -> Result<Ref<Account>, Error> {
    let memory = gate.binding().memory;
    let (parent, limit) = match outer {
        Some(outer) => {
            let left = outer.limit().saturating_sub(outer.used()).saturating_sub(RESERVE);
            (outer, memory.min(left & !(PAGE_SIZE - 1)))
        }
        None => (gate.header.account().ok_or(Error::NotFound)?, memory),
    };
    if limit == 0 {
        return Err(Error::NoMemory);
    }
    SpawnGate::enter(gate)?;
    let account = Account::create_within(parent, limit, Some(Invocation::new(gate, terms)))
        .inspect_err(|_| gate.leave())?;
    if let Some(invocation) = account.invocation() {
        gate.add_clone(account, &invocation.links)
            .inspect_err(|_| reaper::destroy(account.erase()))?;
    }
    Ok(account)
}

/// Makes the clone and starts it; it ends with its account if that fails. Tells whether it runs already.
fn begin_clone(
    caller: Ref<Thread>,
    gate: Ref<SpawnGate>,
    (account, snapshot): (Ref<Account>, Ref<Snapshot>),
    (tag, strong): (Tag, bool),
    terms: Terms,
) -> Result<bool, Error> {
    let making_task = Task::begin_from(account, snapshot)?;
    let task = making_task.object();
    if let Some(invocation) = account.invocation() {
        invocation.set_task(task);
    }
    let making_thread = Thread::begin_from(account, task, snapshot)?;
    let thread = making_thread.object();
    for own in snapshot.own_slots() {
        hold_own(account, thread, own)?;
    }
    let head = [
        NUMBER_FLAG | thread.number(),
        terms.deadline,
        terms.depth,
        machine_random(),
        machine_random(),
    ];
    ipc::give_request(caller, tag, head, thread, strong).map_err(Error::Ipc)?;
    copy_ahead(task, snapshot);
    let binding = gate.binding();
    let start = ipc::Start {
        priority: binding.priority,
        slice_ns: binding.slice_ns,
        tag,
    };
    let is_running = ipc::await_clone(caller, thread, (binding.answer, account), terms.deadline, start)?;
    gate.count_start();
    Ok(is_running)
}
