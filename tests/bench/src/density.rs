//! How many tasks that began from one snapshot the machine holds at once.

use crate::lifecycle::{PLACE, settle, start};
use l4::object::{Debug, Factory, MapEntry, Snapshot, Spawn, Task};
use l4::region::Region;
use l4::{CapIndex, Error, PAGE_SIZE, Rights, Tag, syscall};
use l4re::{OwnedCap, Slot, println, server};

/// Limit of a clone's account in bytes.
const ACCOUNT: u64 = 32 << 10;

/// Calls to be frozen, calls to say that it lives, and waits.
extern "C" fn say_it_and_wait() -> ! {
    for _ in 0..2 {
        syscall::call(CapIndex::PARENT, Tag::new(0, 0, 0));
    }
    loop {
        syscall::sleep_until(l4::NEVER);
    }
}

/// Begins clones, each with an account of its own, until there is no memory for another one. They name themselves, as
/// functions do, so nobody has to.
pub(crate) fn run(code: Region, gate: &OwnedCap) -> Result<(), Error> {
    let slots = [Slot::allocate()?, Slot::allocate()?, Slot::allocate()?];
    let [account, task, thread] = [slots[0].index(), slots[1].index(), slots[2].index()];
    start(code, gate, [account, task, thread], say_it_and_wait, None)?;
    Task(task).map(&[
        MapEntry::copy(task, CapIndex::TASK, Rights::all()),
        MapEntry::copy(thread, CapIndex::THREAD, Rights::all()),
        MapEntry::copy(account, CapIndex::FACTORY, Rights::all()),
    ])?;
    syscall::wait(l4::NEVER).result()?;
    let caller = server::keep_caller()?;
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task, caller.index(), slot).map(drop))?;
    Snapshot(snapshot.index()).prepare()?;
    settle()?;
    let own = Task(CapIndex::TASK);
    let clone = [Slot::allocate()?, Slot::allocate()?];
    let before = Debug(CapIndex::DEBUG).counters()?;
    let mut count = 0;
    while begin(Snapshot(snapshot.index()), clone[0].index(), clone[1].index())? {
        count += 1;
    }
    let after = Debug(CapIndex::DEBUG).counters()?;
    if after.tasks - before.tasks != count {
        println!("{count} clones began, {} live", after.tasks - before.tasks);
        return Err(Error::Invalid);
    }
    println!("BENCH {{\"name\":\"clones_in_1gib\",\"unit\":\"tasks\",\"value\":{count}}}");
    let bytes = (before.free_frames - after.free_frames) * PAGE_SIZE;
    crate::report_in("task_clone_kib", "KiB", bytes >> 10, count);
    own.delete(snapshot.index())?;
    own.delete(account)?;
    own.drop_cap(task).ok();
    own.drop_cap(thread).ok();
    settle()
}

/// Begins one and waits until it lives; `false` if there is no memory for it.
fn begin(snapshot: Snapshot, account: CapIndex, task: CapIndex) -> Result<bool, Error> {
    let spawn = Spawn {
        account,
        scheduler: CapIndex::SCHEDULER,
        place: PLACE,
        handler: (CapIndex::NONE, 0),
        entries: &[],
    };
    let own = Task(CapIndex::TASK);
    match Factory(CapIndex::FACTORY).create_factory(ACCOUNT, account) {
        Err(Error::NoMemory) => return Ok(false),
        other => other?,
    };
    match snapshot.spawn(&spawn, 0, &[1], task) {
        Err(Error::NoMemory) => {
            own.delete(account)?;
            return Ok(false);
        }
        other => other?,
    }
    syscall::wait(l4::NEVER).result()?;
    syscall::reply(None, Tag::new(0, 0, 0)).result()?;
    own.drop_cap(account)?;
    own.drop_cap(task)?;
    Ok(true)
}
