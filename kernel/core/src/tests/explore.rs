//! The test as hardware: it lets the CPUs go on in every order, and delivers pokes and timers at every time.

use super::cloning::Cloning;
use super::invariants;
use super::script::{Op, Seen};
use super::world::{self, CPUS, Place, World};
use crate::context::KIND_FULL;
use crate::cpu::{self, Cpu, Domain};
use crate::machine::fake::{self, Wait};
use crate::object::Ref;
use crate::thread::{Filter, State, Thread};
use crate::{entry, ipc, objects, schedule};
use core::cell::{Cell, RefCell};
use core::sync::atomic::Ordering;
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};
use std::format;
use std::rc::Rc;
use std::string::String;
use std::sync::Once;
use std::vec::Vec;

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// The thread that a CPU runs enters the kernel.
    Step(u32),
    /// A poke arrives.
    Poke(u32),
    /// A timer fires.
    Timer(u32),
}

/// Choices of a depth-first search: the one taken, and how many there were.
#[derive(Default)]
struct Path {
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    fn choose(&mut self, count: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, count));
        }
        let (taken, of) = self.choices[self.at];
        assert_eq!(of, count, "the run can't be repeated");
        self.at += 1;
        taken
    }

    /// Turns to the next path. False if there is none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((taken, of)) = self.choices.pop() {
            if taken + 1 < of {
                self.choices.push((taken + 1, of));
                return true;
            }
        }
        false
    }
}

/// What became of an actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// It did all that it had to.
    Finished,
    /// It waits.
    Sending,
    /// It waits.
    Receiving,
    /// It waits.
    Calling,
    /// It has ended.
    Gone,
}

/// What an actor saw, and its end.
pub(super) type Story = (Vec<Seen>, End);

/// A set of runs: who does what, where.
#[derive(Clone)]
pub(super) struct Scenario {
    pub(super) places: Vec<Place>,
    pub(super) scripts: Vec<Vec<Op>>,
    /// Timers that may fire while something else could happen.
    pub(super) timers: u32,
    /// CPU 1 has no thread that is always ready: it halts.
    pub(super) halting: bool,
    /// The kernel's short ways of IPC are barred.
    pub(super) ordinary: bool,
    /// There is a spawn gate, and what its clones do.
    pub(super) cloning: Option<Cloning>,
}

struct Run {
    world: World,
    path: RefCell<Path>,
    timers: Cell<u32>,
    /// How often in a row a CPU waited without anything left to happen.
    spins: Cell<u32>,
    halting: bool,
    ordinary: bool,
    cloning: Option<Cloning>,
    /// How far each clone's thread has come, by its number.
    clones: RefCell<BTreeMap<u64, usize>>,
    trace: RefCell<Vec<Event>>,
}

std::thread_local! {
    static RUN: RefCell<Option<Rc<Run>>> = const { RefCell::new(None) };
}

/// CPU 1 has no thread to run: the other goes on, once, or until there is an interrupt for the halted one.
fn wait(how: Wait) {
    let run = RUN.with_borrow(|run| run.clone());
    let this = Cpu::this().number();
    let Some(run) = run else {
        panic!("CPU {this} waits outside a run")
    };
    assert_eq!(this, 1, "a CPU waits that has a thread which is always ready");
    if how == Wait::Spin {
        if !Cpu::this().reaper.has_work() {
            // It zeroes frames: how many there are differs from run to run, and nobody else cares.
            return;
        }
        let spins = if run.step() { 0 } else { run.spins.get() + 1 };
        assert!(spins < 1000, "CPU {this} waits for something that never comes");
        run.spins.set(spins);
        fake::set_cpu(this);
        return;
    }
    let deferred = &Cpu::this().deferred;
    assert!(
        deferred.load(Ordering::SeqCst).is_null(),
        "a CPU halts before it triggers a notification"
    );
    while !fake::has_recorded(this) {
        if !run.step() {
            fake::set_cpu(0);
            let _ = ipc::interrupt_wait(world::idle_threads()[1], |_| Ok(()));
            assert!(
                fake::is_poked(this),
                "a halted CPU is not told of a thread that is ready"
            );
        }
        fake::set_cpu(this);
    }
}

impl Run {
    fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for cpu in 0..CPUS {
            let current = cpu::get(cpu).current();
            let acts = |thread: Ref<Thread>| {
                self.world.actors.iter().any(|actor| actor.thread == thread) || Cloning::is_clone(thread)
            };
            if current.is_some_and(acts) {
                events.push(Event::Step(cpu));
            }
            if fake::is_poked(cpu) {
                events.push(Event::Poke(cpu));
            }
        }
        let armed = (0..CPUS).filter(|cpu| fake::timer(*cpu) != u64::MAX);
        if events.is_empty() {
            // Time passes.
            events.extend(armed.min_by_key(|cpu| fake::timer(*cpu)).map(Event::Timer));
        } else if self.timers.get() > 0 {
            events.extend(armed.map(Event::Timer));
        }
        events
    }

    /// Lets one of the possible things happen. False if nothing is possible.
    fn step(&self) -> bool {
        let events = self.events();
        if events.is_empty() {
            return false;
        }
        let forced = events.len() == 1;
        let event = events[if forced {
            0
        } else {
            self.path.borrow_mut().choose(events.len())
        }];
        assert!(self.trace.borrow().len() < 1000, "the run does not end");
        self.trace.borrow_mut().push(event);
        if !forced && matches!(event, Event::Timer(_)) {
            self.timers.set(self.timers.get() - 1);
        }
        self.perform(event);
        invariants::check(&self.world);
        true
    }

    fn perform(&self, event: Event) {
        let (Event::Step(cpu) | Event::Poke(cpu) | Event::Timer(cpu)) = event;
        fake::set_cpu(cpu);
        let number = match event {
            Event::Step(_) => return self.act(cpu),
            Event::Poke(_) => {
                fake::take_poke(cpu);
                1
            }
            Event::Timer(_) => {
                fake::fire_timer(cpu);
                0
            }
        };
        match Cpu::this().current() {
            Some(thread) => interrupt(thread, number),
            None => fake::record(cpu, 1 << number),
        }
    }

    /// The CPU's thread does what it has to do next.
    fn act(&self, cpu: u32) {
        let thread = cpu::get(cpu).current().unwrap();
        let Some(actor) = self.world.actors.iter().find(|actor| actor.thread == thread) else {
            return self.act_as_clone(thread);
        };
        let last = actor.doing.take();
        if let Some(last) = last {
            let seen = last.result(thread);
            if !actor.finished.get() {
                actor.seen.borrow_mut().push(seen);
            }
        }
        let next = {
            let mut script = actor.script.borrow_mut();
            match script.front() {
                Some(Op::Call(call)) if call.again => script.front().cloned(),
                _ => script.pop_front(),
            }
        };
        actor.finished.set(next.is_none());
        let op = next.unwrap_or_else(Op::sleep);
        *actor.doing.borrow_mut() = Some(op.clone());
        op.perform(thread, self.ordinary);
    }

    /// A clone does what it has to do next, at its depth.
    fn act_as_clone(&self, thread: Ref<Thread>) {
        let cloning = self.cloning.as_ref().unwrap();
        let mut clones = self.clones.borrow_mut();
        let done = clones.entry(thread.number()).or_default();
        let op = cloning.op(thread, *done);
        *done += 1;
        drop(clones);
        op.perform(thread, self.ordinary);
    }

    fn stories(&self) -> Vec<Story> {
        let objects = invariants::objects_of(self.world.root);
        self.world
            .actors
            .iter()
            .map(|actor| {
                let exists = objects.contains(&actor.thread.erase()) && !actor.thread.header.is_dead();
                let end = if !exists {
                    End::Gone
                } else if actor.finished.get() {
                    End::Finished
                } else {
                    let domain = Domain::lock_pair(cpu::get(0), cpu::get(1));
                    match actor.thread.state.get(&domain) {
                        State::Sending(_) | State::SendingUnbound(_) => End::Sending,
                        State::Receiving(_) => End::Receiving,
                        State::Calling => End::Calling,
                        other => panic!("nothing goes on, and a thread is {other:?}"),
                    }
                };
                (actor.seen.borrow().clone(), end)
            })
            .collect()
    }

    /// Ends everything, which leaves nothing.
    fn finish(&self) {
        fake::set_cpu(0);
        if self.world.root.used() != 0 {
            objects::delete(self.world.all.erase());
        }
        for round in 0.. {
            for cpu in 0..CPUS {
                fake::set_cpu(cpu);
                fake::take_poke(cpu);
                let timer = fake::timer(cpu) != u64::MAX;
                if timer {
                    fake::fire_timer(cpu);
                }
                interrupt(Cpu::this().current().unwrap(), u32::from(!timer));
                invariants::check(&self.world);
                crate::reaper::work(u32::MAX);
            }
            let quiet = (0..CPUS).all(|cpu| fake::timer(cpu) == u64::MAX && !fake::is_poked(cpu));
            if quiet && self.world.root.used() == 0 {
                break;
            }
            assert!(round < 100, "the end does not come to an end");
        }
        invariants::check_end(&self.world);
    }
}

fn interrupt(thread: Ref<Thread>, number: u32) {
    thread.with_own_context(|context| context.kind = KIND_FULL);
    entry::interrupt(thread.context(), number, 0);
}

/// Lets CPU 1's idle thread sleep, so that the CPU halts when it has nothing to do.
fn let_idle_sleep() {
    let idle = world::idle_threads()[1];
    let domain = Domain::lock(cpu::get(1));
    assert_ne!(
        cpu::get(1).current(),
        Some(idle),
        "CPU 1 has no thread to start with"
    );
    schedule::remove(&domain, cpu::get(1), idle);
    idle.state.set(&domain, State::Receiving(Filter::Nobody));
}

impl Scenario {
    /// A scenario without timers.
    pub(super) fn new(places: &[Place], scripts: &[Vec<Op>]) -> Scenario {
        Scenario {
            places: places.to_vec(),
            scripts: scripts.to_vec(),
            timers: 0,
            halting: false,
            ordinary: false,
            cloning: None,
        }
    }

    /// Tries all orders; `check` sees what the actors saw in each. Returns all outcomes.
    pub(super) fn explore(&self, check: impl Fn(&[Story])) -> BTreeSet<Vec<Story>> {
        show_failures();
        let _hold = Hold::new();
        let mut outcomes = BTreeSet::new();
        let mut path = Path::default();
        let mut runs = 0;
        loop {
            runs += 1;
            let stories = self.run(&mut path, &check);
            outcomes.insert(stories);
            if !path.next() {
                break;
            }
        }
        std::println!("{runs} orders, {} outcomes", outcomes.len());
        outcomes
    }

    fn run(&self, path: &mut Path, check: &impl Fn(&[Story])) -> Vec<Story> {
        fake::set_now(1_000_000);
        let run = Rc::new(Run {
            world: World::new(&self.places, &self.scripts, self.cloning.as_ref()),
            cloning: self.cloning.clone(),
            clones: RefCell::default(),
            path: RefCell::new(core::mem::take(path)),
            timers: Cell::new(self.timers),
            spins: Cell::new(0),
            halting: self.halting,
            ordinary: self.ordinary,
            trace: RefCell::default(),
        });
        RUN.set(Some(run.clone()));
        run.start();
        while run.step() {}
        let stories = run.stories();
        check(&stories);
        run.finish();
        RUN.set(None);
        *path = run.path.take();
        stories
    }
}

impl Run {
    /// Both CPUs look for what to run.
    fn start(&self) {
        for cpu in 0..CPUS {
            fake::set_cpu(cpu);
            fake::take_poke(cpu);
            interrupt(Cpu::this().current().unwrap(), 1);
        }
        if self.halting {
            let_idle_sleep();
        }
        invariants::check(&self.world);
    }

    fn describe(&self) -> String {
        let seen: Vec<_> = self
            .world
            .actors
            .iter()
            .map(|actor| actor.seen.borrow().clone())
            .collect();
        format!("order: {:?}\nseen: {seen:?}", self.trace.borrow())
    }
}

/// Shows how a run went that failed: also where the kernel's entries, which can't unwind, end the process.
fn show_failures() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            before(info);
            if let Some(run) = RUN.with_borrow(|run| run.clone()) {
                std::eprintln!("{}", run.describe());
            }
        }));
    });
}

/// What the exploration has of the machine, given back at its end, or at that of a failed one.
struct Hold {
    _guard: fake::Guard,
}

impl Hold {
    fn new() -> Hold {
        let guard = fake::lock();
        fake::drive(Some(wait));
        world::take_cpus();
        Hold { _guard: guard }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        RUN.set(None);
        world::give_cpus();
        fake::drive(None);
    }
}
