//! What holds between any two entries into the kernel.

use super::world::{Baseline, CPUS, KINDS, World, idle_threads};
use crate::account::Account;
use crate::capability::{self, Slot, SlotState};
use crate::counters;
use crate::cpu::{self, Domain};
use crate::ipc::queue;
use crate::machine::fake;
use crate::memory::frame;
use crate::object::{Header, Ref};
use crate::objects::{Binding, Gate, Irq, SpawnGate, Task};
use crate::thread::{ReplyHolder, State, Thread};
use crate::timeout::Owner;
use core::sync::atomic::Ordering;
use l4::{CapIndex, PAGE_SIZE};
use std::collections::BTreeMap;
use std::vec::Vec;

/// All that an account pays for, sub-accounts' objects included.
pub(super) fn objects_of(account: Ref<Account>) -> Vec<Ref<Header>> {
    let mut found = Vec::new();
    for object in account.objects() {
        found.push(object);
        if let Some(child) = object.downcast::<Account>() {
            found.extend(objects_of(child));
        }
    }
    found
}

fn of_kind<T: crate::object::Object>(objects: &[Ref<Header>]) -> Vec<Ref<T>> {
    objects.iter().filter_map(|object| object.downcast()).collect()
}

/// Checks everything. No CPU is in the kernel.
pub(super) fn check(world: &World) {
    let objects = objects_of(world.root);
    let mut threads = of_kind::<Thread>(&objects);
    threads.extend(idle_threads());
    let domain = Domain::lock_pair(cpu::get(0), cpu::get(1));
    let places = Places::find(&domain, &threads, &objects);
    for thread in &threads {
        check_thread(&domain, *thread, &places);
        check_bindings(&domain, *thread, &objects);
    }
    check_timers(&domain, &threads, &objects);
    drop(domain);
    check_capabilities(world, &objects, &threads);
    check_invocations(&objects);
    check_counters(world, &objects);
    check_money(world, &objects);
}

/// Where threads are: how often each is a CPU's current one, in a run queue or handed to, and in queues of senders.
struct Places {
    running: Vec<Ref<Thread>>,
    ready: Vec<Ref<Thread>>,
    sending: Vec<(Ref<Thread>, State)>,
}

impl Places {
    fn find(domain: &Domain, threads: &[Ref<Thread>], objects: &[Ref<Header>]) -> Places {
        let mut places = Places {
            running: Vec::new(),
            ready: Vec::new(),
            sending: Vec::new(),
        };
        for cpu in (0..CPUS).map(cpu::get) {
            // A CPU without a thread is in the kernel still.
            assert!(cpu.current().is_none() || cpu.deferred.load(Ordering::SeqCst).is_null());
            places.running.extend(cpu.current());
            let mut ready = cpu.run_queue.threads(domain);
            ready.extend(Ref::load(&cpu.handoff));
            assert!(ready.iter().all(|thread| core::ptr::eq(thread.home(), cpu)));
            places.ready.extend(ready);
        }
        for receiver in threads {
            for sender in queue::threads(domain, &receiver.senders) {
                places.sending.push((sender, State::Sending(*receiver)));
            }
        }
        for gate in of_kind::<Gate>(objects) {
            for sender in queue::threads(domain, &gate.senders) {
                places.sending.push((sender, State::SendingUnbound(gate)));
            }
        }
        let all = places.running.iter().chain(&places.ready);
        let all = all.chain(places.sending.iter().map(|(sender, _)| sender));
        for thread in all {
            assert!(
                threads.contains(thread),
                "a queue has a thread that does not exist"
            );
        }
        places
    }
}

fn check_thread(domain: &Domain, thread: Ref<Thread>, places: &Places) {
    let count = |list: &[Ref<Thread>]| list.iter().filter(|other| **other == thread).count();
    let (running, ready) = (count(&places.running), count(&places.ready));
    let sending: Vec<State> = places
        .sending
        .iter()
        .filter(|place| place.0 == thread)
        .map(|place| place.1)
        .collect();
    let state = thread.state.get(domain);
    match state {
        State::Ready => assert_eq!((running + ready, sending.len()), (1, 0), "{thread:?} is ready"),
        State::Sending(_) | State::SendingUnbound(_) => {
            assert_eq!(
                (running, ready, &sending[..]),
                (0, 0, &[state][..]),
                "{thread:?} sends"
            );
        }
        // What ends is taken off its CPU by that CPU.
        State::Dead => assert_eq!((ready, sending.len()), (0, 0), "{thread:?} is dead"),
        State::New | State::Receiving(_) | State::Calling | State::Kept => {
            assert_eq!(
                (running, ready, sending.len()),
                (0, 0, 0),
                "{thread:?} is {state:?}"
            );
        }
    }
    let holder = thread.reply_holder.get(domain);
    assert_eq!(
        state == State::Calling,
        holder != ReplyHolder::Nobody,
        "{thread:?} is {state:?}, and who may answer it: {holder:?}"
    );
    if let ReplyHolder::Implicit(holder) = holder {
        assert_eq!(Ref::load(&holder.owes), Some(thread));
    }
    if let Some(caller) = Ref::load(&thread.owes) {
        assert_eq!(caller.reply_holder.get(domain), ReplyHolder::Implicit(thread));
    }
    if thread.timer.is_armed(domain) {
        assert!(
            !matches!(state, State::New | State::Ready | State::Dead),
            "{thread:?} has a timer"
        );
    }
}

fn check_bindings(domain: &Domain, thread: Ref<Thread>, objects: &[Ref<Header>]) {
    let bound = Binding::list(domain, thread);
    let mut expected = 0;
    for gate in of_kind::<Gate>(objects) {
        if gate.binding.thread() == Some(thread) {
            expected += 1;
            assert!(bound.contains(&core::ptr::from_ref(&gate.binding)));
        }
    }
    let mut pending = Vec::new();
    let mut next = thread.pending.get(domain).0;
    while let Some(irq) = next {
        pending.push(irq);
        next = irq.next_pending.get(domain);
    }
    assert_eq!(thread.pending.get(domain).1, pending.last().copied());
    for irq in of_kind::<Irq>(objects) {
        let here = irq.binding.thread() == Some(thread);
        let times = pending.iter().filter(|other| **other == irq).count();
        assert_eq!(
            times,
            usize::from(here && irq.triggered.get(domain)),
            "a pending notification"
        );
        if here {
            expected += 1;
            assert!(bound.contains(&core::ptr::from_ref(&irq.binding)));
        }
    }
    assert_eq!(bound.len(), expected, "something is bound that does not exist");
}

fn check_timers(domain: &Domain, threads: &[Ref<Thread>], objects: &[Ref<Header>]) {
    let mut armed = Vec::new();
    for cpu in (0..CPUS).map(cpu::get) {
        for (owner, deadline) in cpu.timeouts.armed(domain) {
            let home = match owner {
                Owner::Thread(thread) => {
                    assert!(
                        threads.contains(&thread),
                        "a timer of a thread that does not exist"
                    );
                    thread.home()
                }
                Owner::Irq(irq) => irq.binding.thread().unwrap().home(),
            };
            assert!(core::ptr::eq(home, cpu), "a timer is in another CPU's heap");
            assert!(!armed.contains(&owner));
            let fires = fake::timer(cpu.number());
            let told = fake::is_poked(cpu.number()) || fake::has_recorded(cpu.number());
            assert!(
                fires <= deadline || told,
                "a deadline that the timer does not know"
            );
            armed.push(owner);
        }
    }
    for thread in threads {
        assert_eq!(
            thread.timer.is_armed(domain),
            armed.contains(&Owner::Thread(*thread))
        );
    }
    for irq in of_kind::<Irq>(objects) {
        assert_eq!(irq.timer.is_armed(domain), armed.contains(&Owner::Irq(irq)));
    }
}

fn check_capabilities(world: &World, objects: &[Ref<Header>], threads: &[Ref<Thread>]) {
    let mut filled = 0;
    let mut slots: BTreeMap<usize, Vec<*const Slot>> = BTreeMap::new();
    let mut visit = |slot: &Slot| match slot.read() {
        SlotState::Empty => {}
        SlotState::Object(capability) => {
            filled += 1;
            assert!(
                objects.contains(&capability.object),
                "a slot names an object that does not exist"
            );
            let known = slots.entry(capability.object.as_ptr() as usize).or_default();
            known.push(slot);
        }
        SlotState::Reply(caller, call) => {
            filled += 1;
            assert!(threads.contains(&caller), "a reply capability for nobody");
            let domain = Domain::lock_with(caller);
            assert_eq!(caller.reply_holder.get(&domain), ReplyHolder::Slot(slot.into()));
            assert_eq!(
                (caller.state.get(&domain), caller.call.get(&domain)),
                (State::Calling, call)
            );
        }
    };
    for task in of_kind::<Task>(objects) {
        let indices = (0..task.caps.end()).map(CapIndex);
        indices
            .filter_map(|index| task.caps.slot(index))
            .for_each(&mut visit);
    }
    threads.iter().for_each(|thread| visit(&thread.handler));
    of_kind::<SpawnGate>(objects)
        .iter()
        .for_each(|gate| visit(gate.snapshot_slot()));
    assert_eq!(counters::capabilities() - world.before.capabilities, filled);
    for object in objects {
        let mut held = slots.remove(&(object.as_ptr() as usize)).unwrap_or_default();
        let mut tree: Vec<_> = capability::tree(*object)
            .into_iter()
            .map(|(slot, _)| slot)
            .collect();
        held.sort();
        tree.sort();
        assert_eq!(held, tree, "an object's tree and the slots that name it");
    }
}

/// Somebody waits for the answer of each clone of a spawn gate that does not end already; gates know how many there are.
fn check_invocations(objects: &[Ref<Header>]) {
    let accounts = of_kind::<Account>(objects);
    for account in &accounts {
        let Some(invocation) = account.invocation().filter(|_| !account.header.is_dead()) else {
            continue;
        };
        let task = invocation.task().unwrap();
        let answer = task.caps.slot(invocation.answer).map(Slot::read);
        assert!(
            task.header.is_dead() || matches!(answer, Some(SlotState::Reply(..))),
            "a clone goes on for nobody"
        );
    }
    for account in &accounts {
        let mut above = Some(*account);
        while let Some(next) = above.filter(|account| account.invocation().is_none()) {
            above = next.header.account();
        }
        assert_eq!(
            Account::nearest_invocation(*account),
            above,
            "whose invocation an account is of"
        );
    }
    let live: u64 = of_kind::<SpawnGate>(objects)
        .iter()
        .map(|gate| gate.counts().live)
        .sum();
    let clones = accounts.iter().filter(|account| account.invocation().is_some());
    assert_eq!(live, clones.count() as u64);
}

fn check_counters(world: &World, objects: &[Ref<Header>]) {
    for (kind, before) in KINDS.into_iter().zip(world.before.objects) {
        let exist = objects.iter().filter(|object| object.kind() == kind).count() as u64;
        assert_eq!(counters::objects(kind) - before, exist, "{kind:?}");
    }
    let dying = objects
        .iter()
        .filter(|object| object.is_dead() && !object.lives_on())
        .count() as u64;
    assert_eq!(counters::dying_objects() - world.before.dying, dying);
}

/// Each frame is paid for by exactly one account.
fn check_money(world: &World, objects: &[Ref<Header>]) {
    let accounts = of_kind::<Account>(objects);
    let mut own = world.root.used();
    for account in accounts {
        assert!(account.used() <= account.limit());
        own += account.used();
        own -= account.limit();
    }
    assert_eq!(
        (world.before.frames - frame::free_count()) * PAGE_SIZE,
        own,
        "frames and accounts"
    );
}

/// Everything is gone.
pub(super) fn check_end(world: &World) {
    assert_eq!(world.root.used(), 0, "the account has something left");
    assert_eq!(Baseline::take(), world.before);
}
