//! The kernel objects that are not a folder of their own, and how objects of each kind end.
#![expect(unsafe_code, reason = "freeing objects")]

mod answer_kinds;
mod binding;
mod gate;
mod irq;
mod machine;
mod scheduler;
mod snapshot;
mod spawn_gate;
mod task;
mod thread_end;
mod write_set;

pub use binding::Binding;
pub use gate::Gate;
pub(crate) use irq::move_timers;
pub use irq::{Irq, Line, interrupt, lines, run_deferred};
pub use machine::{Debug, Device, Icu, Platform, Vcon};
pub use scheduler::Scheduler;
pub use snapshot::Snapshot;
pub(crate) use snapshot::{Own, OwnSlot};
pub use spawn_gate::SpawnGate;
pub(crate) use spawn_gate::{Binding as SpawnBinding, CloneLinks as GateLinks};
pub use task::Task;

use crate::account::{Account, Progress};
use crate::memory::Dataspace;
use crate::object::{Header, Kind, Ref};
use crate::thread::Thread;
use core::sync::atomic::Ordering;

/// Takes a dead object apart for a while. It has no capabilities any more when this says that it is done.
pub(crate) fn destroy_step(object: Ref<Header>, budget: &mut u32) -> Progress {
    if !object.is_made() {
        return Progress::Unfinished;
    }
    // What has users left is done early, and whoever hands it over again must not find it on the way still: so this comes
    // first. A dead object gets no new capabilities.
    if !crate::capability::clear_all(object, budget) {
        return Progress::Unfinished;
    }
    let done = match object.kind() {
        Kind::Factory => {
            return object
                .downcast::<Account>()
                .map_or(Progress::Done, |account| account.destroy_step(budget));
        }
        Kind::Task => object
            .downcast::<Task>()
            .is_none_or(|task| task.destroy_step(budget)),
        Kind::Thread => object
            .downcast::<Thread>()
            .is_none_or(|thread| thread_end::destroy_step(thread, budget)),
        Kind::Gate => object
            .downcast::<Gate>()
            .is_none_or(|gate| gate::destroy_step(gate, budget)),
        Kind::SpawnGate => object
            .downcast::<SpawnGate>()
            .is_none_or(|gate| gate.destroy_step(budget)),
        Kind::Irq => object.downcast::<Irq>().is_none_or(irq::destroy_step),
        Kind::Dataspace => object
            .downcast::<Dataspace>()
            .is_none_or(|dataspace| dataspace.destroy_step(budget)),
        Kind::Snapshot => object
            .downcast::<Snapshot>()
            .is_none_or(|snapshot| snapshot.destroy_step(budget)),
        Kind::Scheduler | Kind::Icu | Kind::Vcon | Kind::Debug | Kind::Platform => true,
    };
    if done {
        Progress::Done
    } else {
        Progress::Unfinished
    }
}

/// What is done at once when an object's end begins.
pub(crate) fn begin_end(object: Ref<Header>) {
    if let Some(account) = object.downcast::<Account>() {
        account.begin_end();
    }
}

/// Begins an object's end by the will of who may delete it, or with its account: a dataspace is then taken from the
/// regions that show it as well, and a snapshot ends with its clones, while one that is only dropped stays for them.
pub(crate) fn delete(object: Ref<Header>) {
    // A task that has become a snapshot ends with it.
    let object = object
        .downcast::<Task>()
        .and_then(|task| task.space.image_owner())
        .unwrap_or(object);
    if let Some(snapshot) = object.downcast::<Snapshot>() {
        snapshot.delete();
        if snapshot.take_orphaned() && object.count_if_any() {
            crate::reaper::reopen(object);
            return;
        }
    }
    if let Some(dataspace) = object.downcast::<Dataspace>() {
        dataspace.delete();
        if dataspace.take_orphaned() && object.count_if_any() {
            crate::reaper::reopen(object);
            return;
        }
    }
    if let Some(gate) = object.downcast::<SpawnGate>()
        && object.account().is_none_or(|account| account.header.is_dead())
        && gate.take_clones_along()
        && object.count_if_any()
    {
        crate::reaper::reopen(object);
        return;
    }
    crate::reaper::destroy(object);
}

/// Triggers the irq that watches for an object's end.
pub(crate) fn notify_watcher(object: Ref<Header>) {
    let watcher = object.watcher.swap(core::ptr::null_mut(), Ordering::AcqRel);
    if let Some(irq) = core::ptr::NonNull::new(watcher) {
        // SAFETY: A watcher is counted as long as it stands in `watcher`; we took it out.
        irq::defer_trigger(unsafe { Ref::from_raw(irq) });
    }
}

/// Acts on the fact that only one capability of an object is left: a gate has no clients any more.
pub(crate) fn notify_lonely(object: Ref<Header>) {
    if matches!(object.kind(), Kind::Gate | Kind::SpawnGate) {
        tell_watcher(&object);
    }
}

/// Triggers the irq that watches an object, which goes on watching.
pub(crate) fn tell_watcher(object: &Header) {
    if let Some(irq) = Ref::load(&object.watcher)
        && irq.acquire()
    {
        irq::defer_trigger(irq);
    }
}

/// Frees an object that no CPU can see any more.
pub(crate) fn free(object: Ref<Header>) {
    // An object may be abandoned with a watcher still set.
    notify_watcher(object);
    match object.kind() {
        Kind::Task => {
            if let Some(task) = object.downcast::<Task>() {
                task.free();
            }
        }
        Kind::Snapshot => {
            if let Some(snapshot) = object.downcast::<Snapshot>() {
                snapshot.free();
            }
        }
        Kind::Thread => {
            if let Some(thread) = object.downcast::<Thread>() {
                // Somebody may have set it when the thread's end had begun.
                crate::capability::drop_slot(&thread.handler);
                thread.task().release();
            }
        }
        Kind::Factory => {
            if let Some(account) = object.downcast::<Account>() {
                account.close();
            }
        }
        _ => {}
    }
    if let Some(account) = object.account() {
        // SAFETY: The epoch is over: no CPU has a reference, no counted one exists.
        let last = unsafe { account.free(object) };
        if last {
            crate::reaper::resume(account.erase());
        }
    }
}
