//! Creating a task and a thread, starting it, one IPC, and its end until its frames are free again.

use crate::{OWN_MODULE, density, layers, report};
use l4::object::{
    CLONE_HEAD_WORDS, Debug, Factory, GateBinding, MapEntry, Placement, Scheduler, Snapshot, Spawn, Start,
    Task, Thread,
};
use l4::region::{Access, Backing, Region};
use l4::{CapIndex, Error, Rights, Tag, syscall};
use l4re::{OwnedCap, Slot, clock, server};
use loader::Program;

const COUNT: u64 = 1000;
const STACK_TOP: u64 = 0x3f_c000;
const STACK_SIZE: u64 = 0x1_0000;
/// Limit of a small task's account in bytes.
const ACCOUNT: u64 = 128 << 10;
pub(crate) const PLACE: Placement = Placement {
    cpu: Placement::SAME_CPU,
    priority: 100,
    slice_us: 0,
};

/// Anonymous memory of a task besides its stack.
pub(crate) struct Memory {
    /// Its address.
    pub(crate) start: u64,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Limit of the task's account in bytes.
    pub(crate) account: u64,
}

/// What the short-lived task does: it says that it lives.
extern "C" fn say_hello() -> ! {
    syscall::call(CapIndex::PARENT, Tag::new(0, 0, 0));
    loop {
        syscall::sleep_until(l4::NEVER);
    }
}

/// What a snapshot's task does: it says that it lives, each time that it is told to go on.
extern "C" fn say_again() -> ! {
    loop {
        syscall::call(CapIndex::PARENT, Tag::new(0, 0, 0));
    }
}

pub(crate) fn run() -> Result<(), Error> {
    let program = Program::prepare(l4::object::Dataspace(OWN_MODULE), None).map_err(|_| Error::Io)?;
    let code = program
        .regions()
        .iter()
        .find(|region| region.access.contains(Access::EXECUTE));
    let code = *code.ok_or(Error::NotFound)?;
    let gate = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_gate(0x20, CapIndex::THREAD, slot))?;
    let slots = [Slot::allocate()?, Slot::allocate()?, Slot::allocate()?];
    let indices = [slots[0].index(), slots[1].index(), slots[2].index()];
    live_once(code, &gate, indices)?;
    settle()?;
    let start = clock::now_ns();
    for _ in 0..COUNT {
        live_once(code, &gate, indices)?;
    }
    settle()?;
    report("task_lifecycle", clock::now_ns() - start, COUNT);
    clones(code, &gate, indices)?;
    layers::run(code, &gate)?;
    density::run(code, &gate)
}

fn live_once(code: Region, gate: &OwnedCap, slots: [CapIndex; 3]) -> Result<(), Error> {
    start(code, gate, slots, say_hello, None)?;
    syscall::wait(l4::NEVER).result()?;
    let own = Task(CapIndex::TASK);
    let [account, task, thread] = slots;
    own.delete(account)?;
    own.drop_cap(task).ok();
    own.drop_cap(thread).ok();
    Ok(())
}

/// Starts a task in an account of its own, perhaps with more memory.
pub(crate) fn start(
    code: Region,
    gate: &OwnedCap,
    [account, task, thread]: [CapIndex; 3],
    entry: extern "C" fn() -> !,
    heap: Option<&Memory>,
) -> Result<(), Error> {
    let limit = heap.map_or(ACCOUNT, |heap| heap.account);
    Factory(CapIndex::FACTORY).create_factory(limit, account)?;
    let factory = Factory(account);
    factory.create_task(task)?;
    factory.create_thread(Task(task), l4::utcb::FIRST_ADDRESS, CapIndex::NONE, 0, thread)?;
    let anonymous = |start, size| Region {
        start,
        size,
        access: Access::READ_WRITE,
        backing: Backing::Anonymous,
        search: false,
        dataspace: CapIndex::NONE,
        offset: 0,
    };
    Task(task).attach(&[code, anonymous(STACK_TOP - STACK_SIZE, STACK_SIZE)])?;
    if let Some(heap) = heap {
        Task(task).attach(&[anonymous(heap.start, heap.size)])?;
    }
    Task(task).map(&[MapEntry::copy(gate.index(), CapIndex::PARENT, Rights::CLIENT)])?;
    let start = Start {
        ip: entry as *const () as u64,
        sp: STACK_TOP - 8,
        argument: 0,
    };
    Scheduler(CapIndex::SCHEDULER).start(thread, PLACE, start)
}

/// A task that is begun from a snapshot, calls, and is destroyed, its account included.
fn clones(code: Region, gate: &OwnedCap, slots: [CapIndex; 3]) -> Result<(), Error> {
    let [account, task, thread] = slots;
    start(code, gate, slots, say_again, None)?;
    syscall::wait(l4::NEVER).result()?;
    let caller = server::keep_caller()?;
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task, caller.index(), slot))?;
    let snapshot = Snapshot(snapshot.index());
    snapshot.prepare()?;
    drop(caller);
    let copy = Slot::allocate()?;
    let spawn = Spawn {
        account: copy.index(),
        scheduler: CapIndex::SCHEDULER,
        place: PLACE,
        handler: (CapIndex::NONE, 0),
        entries: &[],
    };
    let once = || {
        Factory(CapIndex::FACTORY).create_factory(64 << 10, copy.index())?;
        snapshot.spawn(&spawn, 0, &[1], task)?;
        syscall::wait(l4::NEVER).result()?;
        let own = Task(CapIndex::TASK);
        own.delete(copy.index())?;
        own.drop_cap(task).ok();
        Ok(())
    };
    once()?;
    settle()?;
    let start = clock::now_ns();
    for _ in 0..COUNT {
        once()?;
    }
    settle()?;
    report("clone_lifecycle", clock::now_ns() - start, COUNT);
    gate_calls(snapshot)?;
    Task(CapIndex::TASK).delete(account)?;
    Task(CapIndex::TASK).drop_cap(thread).ok();
    Ok(())
}

/// Calls of a gate, each of which begins a clone that answers: by themselves, and back to back with the clones' ends.
fn gate_calls(snapshot: Snapshot) -> Result<(), Error> {
    let account = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_factory(4 << 20, slot))?;
    let binding = GateBinding {
        account: account.index(),
        scheduler: CapIndex::SCHEDULER,
        place: PLACE,
        memory_bytes: 64 << 10,
        deadline_ns: 0,
        concurrent: 32,
        answer: CapIndex::PARENT,
        label: 0,
    };
    let gate = Slot::fill(|slot| snapshot.bind(&binding, slot).map(drop))?;
    let once = || syscall::call(gate.index(), Tag::new(0, CLONE_HEAD_WORDS, 0)).result();
    let mut total = 0;
    for round in 0..=COUNT {
        settle()?;
        let start = clock::now_ns();
        once()?;
        // The first call does not count.
        total += if round == 0 { 0 } else { clock::now_ns() - start };
    }
    report("spawn_gate_call", total, COUNT);
    settle()?;
    let start = clock::now_ns();
    for _ in 0..COUNT {
        once()?;
    }
    settle()?;
    report("spawn_gate_cycle", clock::now_ns() - start, COUNT);
    Ok(())
}

/// Waits until nothing is being taken apart any more.
pub(crate) fn settle() -> Result<(), Error> {
    while Debug(CapIndex::DEBUG).counters()?.dying > 0 {
        Thread(CapIndex::THREAD).yield_now()?;
        syscall::sleep_until(clock::after(10_000));
    }
    Ok(())
}
