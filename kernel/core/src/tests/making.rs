//! What another CPU may do while one makes an object, or is on the way to take one apart: moments within an entry into the
//! kernel, at which the other scenarios do not look.

use super::cloning::{Cloning, snapshot};
use super::world::{Baseline, give_cpus, root_account, sub_account, take_cpus};
use crate::account::Account;
use crate::capability::{self, CapTable, Capability};
use crate::machine::fake;
use crate::object::{Kind, Object, Ref};
use crate::objects::{self, Gate, Snapshot, SpawnGate, Task};
use crate::thread::Thread;
use crate::{counters, reaper};
use l4::{CapIndex, Error, Rights};

/// Runs a test in an account of its own, and checks that nothing is left of it.
fn leaving_nothing(test: impl FnOnce(Ref<Account>)) {
    let _machine = fake::lock();
    take_cpus();
    let root = root_account();
    let before = Baseline::take();
    let all = sub_account(root, 400);
    test(all);
    reaper::destroy(all.erase());
    settle();
    assert_eq!(Baseline::take(), before);
    give_cpus();
}

/// Lets both CPUs pass through the kernel until nothing is dying.
fn settle() {
    for _ in 0..64 {
        for cpu in [1, 0] {
            pass(cpu);
        }
    }
}

/// A CPU enters the kernel, works on what is dying there, and leaves. The test goes on as CPU 0.
fn pass(cpu: u32) {
    fake::set_cpu(cpu);
    reaper::work(reaper::BUDGET);
    crate::cpu::get(cpu).epoch.leave();
    fake::set_cpu(0);
}

/// The other CPU ends an object, and gets as far as it can while this one stays in the kernel.
fn end_elsewhere<T: Object>(object: Ref<T>) {
    fake::set_cpu(1);
    objects::delete(object.erase());
    fake::set_cpu(0);
    for _ in 0..16 {
        pass(1);
    }
}

fn hold<T: Object>(task: Ref<Task>, slot: u32, object: Ref<T>) -> Result<(), Error> {
    let capability = Capability {
        object: object.erase(),
        rights: Rights::all(),
        label: 0,
    };
    let account = task.account().unwrap();
    capability::insert_root(&task.caps, account, CapIndex(slot), capability)
}

/// A snapshot, and a task that holds its account, which would end otherwise.
fn prepare(all: Ref<Account>) -> (Ref<Snapshot>, Ref<Task>) {
    let below = sub_account(all, 32);
    let holder = Task::create(sub_account(all, 64)).unwrap();
    hold(holder, 0x20, below).unwrap();
    (snapshot(below), holder)
}

#[test]
fn a_clone_in_the_making_ends_when_it_is_made() {
    for end in 0..3 {
        leaving_nothing(|all| {
            let (snapshot, _) = prepare(all);
            let account = sub_account(all, 48);
            let tasks = counters::objects(Kind::Task);
            let making = Task::begin_from(account, snapshot).unwrap();
            let thread = Thread::begin_from(account, making.object(), snapshot).unwrap();
            let used = account.used();
            match end {
                0 => end_elsewhere(account),
                1 => end_elsewhere(snapshot),
                _ => end_elsewhere(making.object()),
            }
            // All of it is still there to be written.
            assert_eq!((account.used(), counters::objects(Kind::Task)), (used, tasks + 1));
            drop(thread);
            drop(making);
            settle();
            assert!(counters::objects(Kind::Task) <= tasks);
        });
    }
}

#[test]
fn an_object_that_has_ended_gets_no_capability() {
    leaving_nothing(|all| {
        let task = Task::create(sub_account(all, 32)).unwrap();
        let account = sub_account(all, 8);
        let gate = Gate::create(account, 0, None).unwrap();
        end_elsewhere(account);
        assert_eq!(hold(task, 0x20, gate), Err(Error::NotFound));
        let caps: &CapTable = &task.caps;
        assert!(caps.slot(CapIndex(0x20)).is_none_or(|slot| slot.is_empty()));
    });
}

#[test]
fn what_is_handed_over_again_is_on_no_other_list() {
    leaving_nothing(|all| {
        let (snapshot, task) = prepare(all);
        let account = sub_account(all, 160);
        let gate = SpawnGate::create(account, snapshot, Cloning::new(&[]).binding()).unwrap();
        for slot in 0..8 {
            hold(task, 0x100 + slot, gate).unwrap();
        }
        // One step of its end, with more capabilities than that can empty.
        reaper::destroy(gate.erase());
        reaper::work(2);
        // The account's end takes the gate's clones along, for which a gate whose end is over is handed over again.
        fake::set_cpu(1);
        reaper::destroy(account.erase());
        account.destroy_step(&mut 8);
        fake::set_cpu(0);
        let listed = [0, 1].map(|cpu| crate::cpu::get(cpu).reaper.contains(gate.erase()));
        assert_eq!(listed, [true, false]);
    });
}
