//! Two CPUs, three tasks with a thread each, and capabilities to all of it.

use super::cloning::Cloning;
use super::script::{Op, Seen};
use crate::account::Account;
use crate::capability::{self, Capability, Replace, SlotState};
use crate::cpu::{self, Cpu};
use crate::machine::fake;
use crate::memory::{PhysAddr, frame};
use crate::object::{Header, Kind, Object, Ref};
use crate::objects::{Gate, Irq, Scheduler, Task};
use crate::thread::Thread;
use crate::{counters, schedule};
use core::cell::{Cell, RefCell};
use core::ptr::null_mut;
use core::sync::atomic::Ordering;
use l4::{CapIndex, PAGE_SIZE, Rights};
use std::boxed::Box;
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::vec::Vec;

/// Number of CPUs that the tests use.
pub(super) const CPUS: u32 = 2;
/// A gate that is bound to actor 1.
pub(super) const GATE: CapIndex = CapIndex(0x20);
/// A gate that is not bound.
pub(super) const UNBOUND: CapIndex = CapIndex(0x21);
/// A notification that is bound to actor 1.
pub(super) const IRQ: CapIndex = CapIndex(0x22);
/// A notification that is not bound.
pub(super) const SIGNAL: CapIndex = CapIndex(0x23);
/// The account of all actors.
pub(super) const ALL: CapIndex = CapIndex(0x24);
/// A slot that is free for a reply capability.
pub(super) const REPLY: CapIndex = CapIndex(0x60);
/// A slot that is free for a capability.
pub(super) const FREE: CapIndex = CapIndex(0x61);
/// Label of [`GATE`], and of [`UNBOUND`] as long as it is not bound otherwise.
pub(super) const GATE_LABEL: u64 = 0x40;
/// Label of [`IRQ`].
pub(super) const IRQ_LABEL: u64 = 0x80;

/// An actor's thread.
pub(super) const fn thread(actor: u32) -> CapIndex {
    CapIndex(0x30 + actor)
}

/// An actor's task.
pub(super) const fn task(actor: u32) -> CapIndex {
    CapIndex(0x38 + actor)
}

/// An actor's account.
pub(super) const fn account(actor: u32) -> CapIndex {
    CapIndex(0x40 + actor)
}

/// Where a thread runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) cpu: u32,
    pub(super) priority: u8,
}

/// A task with one thread, and what it is to do.
pub(super) struct Actor {
    pub(super) thread: Ref<Thread>,
    pub(super) script: RefCell<VecDeque<Op>>,
    /// What it does, or did last.
    pub(super) doing: RefCell<Option<Op>>,
    pub(super) seen: RefCell<Vec<Seen>>,
    pub(super) finished: Cell<bool>,
}

/// What exists apart from the world.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    pub(super) frames: u64,
    pub(super) objects: [u64; Kind::COUNT],
    pub(super) capabilities: u64,
    pub(super) dying: u64,
}

impl Baseline {
    pub(super) fn take() -> Baseline {
        Baseline {
            frames: frame::free_count(),
            objects: KINDS.map(counters::objects),
            capabilities: counters::capabilities(),
            dying: counters::dying_objects(),
        }
    }
}

pub(super) const KINDS: [Kind; Kind::COUNT] = [
    Kind::Factory,
    Kind::Task,
    Kind::Thread,
    Kind::Gate,
    Kind::SpawnGate,
    Kind::Irq,
    Kind::Dataspace,
    Kind::Snapshot,
    Kind::Scheduler,
    Kind::Icu,
    Kind::Vcon,
    Kind::Debug,
    Kind::Platform,
];

/// Everything that a run creates.
pub(super) struct World {
    /// An account outside of it, which pays for it.
    pub(super) root: Ref<Account>,
    pub(super) all: Ref<Account>,
    pub(super) actors: Vec<Actor>,
    pub(super) before: Baseline,
}

/// The account that all runs start from; it is never given back.
pub(super) fn root_account() -> Ref<Account> {
    static ROOT: OnceLock<Ref<Account>> = OnceLock::new();
    *ROOT.get_or_init(|| {
        let header = Header::new(Kind::Factory, 0, None);
        Ref::from_static(Box::leak(Box::new(Account::new(header, 4096 * PAGE_SIZE))))
    })
}

/// A sub-account with a limit in pages.
pub(super) fn sub_account(parent: Ref<Account>, pages: u64) -> Ref<Account> {
    Account::create_within(parent, pages * PAGE_SIZE, None).unwrap()
}

/// The threads that run when no other does: one for each CPU, always ready.
pub(super) fn idle_threads() -> [Ref<Thread>; CPUS as usize] {
    static IDLE: OnceLock<[Ref<Thread>; CPUS as usize]> = OnceLock::new();
    *IDLE.get_or_init(|| {
        let header = Header::new(Kind::Factory, 0, None);
        let account = Ref::from_static(Box::leak(Box::new(Account::new(header, 64 * PAGE_SIZE))));
        [0, 1].map(|cpu| {
            fake::set_cpu(cpu);
            let task = Task::create(account).unwrap();
            let thread = Thread::create(account, task, l4::utcb::FIRST_ADDRESS).unwrap();
            schedule::begin(thread, cpu, |domain| thread.set_priority(domain, 1)).unwrap();
            schedule::run_next(cpu::get(cpu));
            cpu::get(cpu).current.store(null_mut(), Ordering::SeqCst);
            fake::set_cpu(0);
            thread
        })
    })
}

/// Makes this thread of the host both CPUs, each in its idle thread.
pub(super) fn take_cpus() {
    for (number, idle) in (0..CPUS).zip(idle_threads()) {
        fake::set_cpu(number);
        let cpu = Cpu::this();
        cpu.current.store(idle.as_ptr(), Ordering::SeqCst);
        cpu.tlb.set_loaded(idle.task().space.root());
        cpu.epoch.set_halted(false);
    }
    fake::set_cpu(0);
}

/// Undoes [`take_cpus`]; both CPUs are idle.
pub(super) fn give_cpus() {
    for number in (0..CPUS).rev() {
        fake::set_cpu(number);
        let cpu = Cpu::this();
        cpu.current.store(null_mut(), Ordering::SeqCst);
        cpu.tlb.set_loaded(PhysAddr(0));
        cpu.epoch.set_halted(number != 0);
    }
}

impl World {
    /// Three actors at their places. The last has the capabilities to everything; those of the others are derived.
    pub(super) fn new(places: &[Place], scripts: &[Vec<Op>], cloning: Option<&Cloning>) -> World {
        fake::set_cpu(0);
        let root = root_account();
        let before = Baseline::take();
        let all = sub_account(root, 512);
        let actors: Vec<Actor> = scripts.iter().map(|script| Actor::new(all, script)).collect();
        let world = World {
            root,
            all,
            actors,
            before,
        };
        world.give_capabilities();
        if let Some(cloning) = cloning {
            cloning.prepare(&world);
        }
        for (actor, place) in world.actors.iter().zip(places) {
            let thread = actor.thread;
            schedule::begin(thread, place.cpu, |domain| {
                thread.set_priority(domain, place.priority)
            })
            .unwrap();
        }
        world
    }

    fn give_capabilities(&self) {
        let server = Some(self.actors[1].thread);
        let gate = Gate::create(self.all, GATE_LABEL, server).unwrap();
        let unbound = Gate::create(self.all, GATE_LABEL, None).unwrap();
        let irq = Irq::create(self.all, IRQ_LABEL, server).unwrap();
        let signal = Irq::create(self.all, 0, None).unwrap();
        let scheduler = Account::create(self.all, |header| Scheduler::new(header, u64::MAX, 255)).unwrap();
        self.give(GATE, gate);
        self.give(UNBOUND, unbound);
        self.give(IRQ, irq);
        self.give(SIGNAL, signal);
        self.give(ALL, self.all);
        self.give(CapIndex::SCHEDULER, scheduler);
        for (number, actor) in (0..).zip(&self.actors) {
            self.give(thread(number), actor.thread);
            self.give(task(number), actor.thread.task());
            self.give(account(number), actor.account());
        }
        for actor in &self.actors {
            actor.hold(CapIndex::THREAD, actor.thread);
            actor.hold(CapIndex::TASK, actor.thread.task());
        }
        self.set_handler();
    }

    /// Actor 1 handles the faults of actor 0.
    fn set_handler(&self) {
        let source = self.owner().thread.task();
        let slot = source.caps.slot(GATE).unwrap();
        capability::copy_into(slot, &self.actors[0].thread.handler, Rights::CLIENT, None).unwrap();
    }

    /// The last actor, who has the first capability to everything.
    fn owner(&self) -> &Actor {
        self.actors.last().unwrap()
    }

    pub(super) fn give<T: Object>(&self, slot: CapIndex, object: Ref<T>) {
        let owner = self.owner();
        owner.hold(slot, object);
        let task = owner.thread.task();
        for actor in &self.actors[..self.actors.len() - 1] {
            let source = task.caps.slot(slot).unwrap();
            let other = actor.thread.task();
            let target = (&other.caps, actor.account(), slot);
            capability::copy(source, target, Replace::Anything, Rights::all(), None, false).unwrap();
        }
    }
}

impl Actor {
    fn new(all: Ref<Account>, script: &[Op]) -> Actor {
        let account = sub_account(all, 64);
        let task = Task::create(account).unwrap();
        let thread = Thread::create(account, task, l4::utcb::FIRST_ADDRESS).unwrap();
        Actor {
            thread,
            script: RefCell::new(script.iter().cloned().collect()),
            doing: RefCell::new(None),
            seen: RefCell::default(),
            finished: Cell::new(false),
        }
    }

    fn account(&self) -> Ref<Account> {
        self.thread.task().account().unwrap()
    }

    /// Gives the actor's task a capability with all rights.
    fn hold<T: Object>(&self, slot: CapIndex, object: Ref<T>) {
        let capability = Capability {
            object: object.erase(),
            rights: Rights::all(),
            label: 0,
        };
        let task = self.thread.task();
        match task.caps.slot(slot).map(|slot| slot.read()) {
            None | Some(SlotState::Empty) => {
                capability::insert_root(&task.caps, self.account(), slot, capability).unwrap();
            }
            _ => panic!("slot {slot:?} is taken"),
        }
    }
}
