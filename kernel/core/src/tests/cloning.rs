//! A snapshot in the world, a gate that is bound to it, and what its clones do.

use super::script::Op;
use super::world::{FREE, World, sub_account};
use crate::account::Account;
use crate::capability::{self, Capability};
use crate::cpu::{self, Domain};
use crate::invocation;
use crate::memory::FaultOutcome;
use crate::object::{Object, Ref};
use crate::objects::{Snapshot, SpawnBinding, SpawnGate, Task};
use crate::reaper;
use crate::thread::{DEFAULT_SLICE_NS, State, Thread};
use l4::cap::receive_buffer;
use l4::region::{Access, Backing};
use l4::{CapIndex, Error, PAGE_SIZE, Rights, utcb};
use std::vec::Vec;

/// The spawn gate, for all actors.
pub(super) const SPAWN: CapIndex = CapIndex(0x50);
/// The snapshot.
pub(super) const SNAPSHOT: CapIndex = CapIndex(0x51);
/// The account that pays for the gate and its clones.
pub(super) const GATE_ACCOUNT: CapIndex = CapIndex(0x52);
/// The account that pays for the snapshot.
pub(super) const SNAPSHOT_ACCOUNT: CapIndex = CapIndex(0x53);
/// A gate that another account pays for, and that account.
pub(super) const OTHER_SPAWN: CapIndex = CapIndex(0x54);
pub(super) const OTHER_ACCOUNT: CapIndex = CapIndex(0x55);
/// Where a clone has the right to answer.
pub(super) const ANSWER: CapIndex = CapIndex(0x13);

/// What there is to be cloned.
#[derive(Clone)]
pub(super) struct Cloning {
    /// What clones do, by their depth. A clone whose script is over sleeps.
    pub(super) scripts: Vec<Vec<Op>>,
    /// Pages of a clone's account.
    pub(super) pages: u64,
    /// Pages of the gate's account.
    pub(super) account_pages: u64,
    pub(super) deadline_ns: u64,
    pub(super) concurrent: u64,
    /// Where the write set comes from.
    pub(super) recorded: Recorded,
}

/// Where the snapshot's write set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// There is none.
    Never,
    /// A clone that ended before anything else happens has written [`WRITTEN`].
    Before,
    /// So many clones that answer like this.
    Answers(i64, u64, u32),
}

/// The snapshot has so much memory that clones may write, of which the first half is there.
const PAGES: u64 = 4;
const MEMORY: u64 = 0x40_0000;
/// Pages of it: one that is there, and one that is not.
pub(super) const WRITTEN: [u64; 2] = [MEMORY + PAGE_SIZE, MEMORY + 2 * PAGE_SIZE];
/// A page fault's error: a write of user mode.
const WRITE: u64 = 6;

impl Cloning {
    pub(super) fn new(scripts: &[Vec<Op>]) -> Cloning {
        Cloning {
            scripts: scripts.to_vec(),
            pages: 48,
            account_pages: 160,
            deadline_ns: 0,
            concurrent: 8,
            recorded: Recorded::Never,
        }
    }

    /// Makes snapshot and gate, for callers on CPU 0.
    pub(super) fn prepare(&self, world: &World) {
        let below = sub_account(world.all, 32);
        world.give(SNAPSHOT_ACCOUNT, below);
        let snapshot = snapshot(below);
        self.record(world, snapshot);
        let account = sub_account(world.all, self.account_pages);
        let binding = self.binding();
        let other = sub_account(world.all, 16);
        world.give(OTHER_SPAWN, SpawnGate::create(other, snapshot, binding).unwrap());
        world.give(OTHER_ACCOUNT, other);
        world.give(SPAWN, SpawnGate::create(account, snapshot, binding).unwrap());
        world.give(SNAPSHOT, snapshot);
        world.give(GATE_ACCOUNT, account);
    }

    /// How a gate is bound, for callers on CPU 0.
    pub(super) fn binding(&self) -> SpawnBinding {
        SpawnBinding {
            cpu: 0,
            priority: 10,
            slice_ns: DEFAULT_SLICE_NS,
            memory: self.pages * PAGE_SIZE,
            deadline_ns: self.deadline_ns,
            concurrent: self.concurrent,
            answer: ANSWER,
            label: 0,
        }
    }

    fn record(&self, world: &World, snapshot: Ref<Snapshot>) {
        match self.recorded {
            Recorded::Never => {}
            Recorded::Before => {
                let account = sub_account(world.all, 24);
                let clone = Task::begin_from(account, snapshot).unwrap().finish();
                for page in WRITTEN {
                    assert_eq!(clone.space.resolve_fault(page, WRITE), FaultOutcome::Resolved);
                }
                assert_eq!(snapshot.record(clone), Ok(WRITTEN.len()));
                assert_eq!(snapshot.record(clone), Err(Error::Exists));
                assert_eq!(snapshot.written(), WRITTEN);
                reaper::destroy(account.erase());
            }
            Recorded::Answers(label, first, clones) => {
                assert_eq!(snapshot.record_answers((label, first), clones), Ok(()));
                assert_eq!(
                    snapshot.record_answers((label, first), clones),
                    Err(Error::Exists)
                );
            }
        }
    }

    /// Tells whether a thread is a clone's.
    pub(super) fn is_clone(thread: Ref<Thread>) -> bool {
        invocation::account_of(thread.task()).is_some()
    }

    /// What a clone's thread does when it has done so much.
    pub(super) fn op(&self, thread: Ref<Thread>, done: usize) -> Op {
        let account = invocation::account_of(thread.task()).unwrap();
        let depth = account.invocation().unwrap().depth as usize;
        let script = self.scripts.get(depth);
        script
            .and_then(|script| script.get(done))
            .cloned()
            .unwrap_or_else(Op::sleep)
    }
}

/// A snapshot of a task whose thread calls, with a slot for a capability in the answer. It has capabilities to itself.
pub(super) fn snapshot(account: Ref<Account>) -> Ref<Snapshot> {
    let task = Task::create(account).unwrap();
    let thread = Thread::create(account, task, utcb::FIRST_ADDRESS).unwrap();
    hold(account, task, CapIndex::TASK, task);
    hold(account, task, CapIndex::FACTORY, account);
    hold(account, task, CapIndex::THREAD, thread);
    thread.utcb().set(utcb::BUFFER_WORDS, receive_buffer(FREE));
    let (size, access) = (PAGES * PAGE_SIZE, Access::READ_WRITE);
    task.space
        .attach(MEMORY, size, access, Backing::Anonymous, None, false)
        .unwrap();
    for page in 0..PAGES / 2 {
        let address = MEMORY + page * PAGE_SIZE;
        assert_eq!(task.space.resolve_fault(address, WRITE), FaultOutcome::Resolved);
    }
    {
        let domain = Domain::lock(cpu::get(0));
        thread.call.set(&domain, 1);
        thread.state.set(&domain, State::Calling);
    }
    let snapshot = Snapshot::create(task, thread, Some(1)).unwrap();
    while !snapshot.prepare(&mut 5).unwrap() {}
    snapshot
}

fn hold<T: Object>(account: Ref<Account>, task: Ref<Task>, slot: CapIndex, object: Ref<T>) {
    let capability = Capability {
        object: object.erase(),
        rights: Rights::all(),
        label: 0,
    };
    capability::insert_root(&task.caps, account, slot, capability).unwrap();
}
