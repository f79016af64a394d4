//! Ways to begin a function that is made of a runtime, what the function adds to it, and a request: each writes pages, and a
//! snapshot may be taken behind each of the first two.
#![expect(unsafe_code, reason = "the measured task writes pages by their address")]

use crate::lifecycle::{Memory, PLACE, settle, start};
use crate::report;
use l4::object::{Factory, Snapshot, Spawn, Task};
use l4::region::Region;
use l4::{CapIndex, Error, PAGE_SIZE, Tag, syscall};
use l4re::{OwnedCap, Slot, clock, server};

/// How often each way is gone, back to back.
const COUNT: u64 = 50;
/// Pages that the runtime writes when it starts, that the function adds, and of each that a request changes.
const RUNTIME: u64 = 1024;
const FUNCTION: u64 = 128;
const CHANGED: u64 = 8;
/// Where they are: the function's behind the runtime's.
const HEAP: Memory = Memory {
    start: 0x1000_0000,
    size: (RUNTIME + FUNCTION) * PAGE_SIZE,
    account: 8 << 20,
};

/// Writes `count` pages, each `step` pages behind the other.
fn write_pages(first: u64, count: u64, step: u64) {
    for page in 0..count {
        let address = HEAP.start + (first + page * step) * PAGE_SIZE;
        let place: *mut u64 = core::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: The region at `HEAP` is this task's, writable, and nothing else is there.
        unsafe { place.write_volatile(address) };
    }
}

fn call() {
    syscall::call(CapIndex::PARENT, Tag::new(0, 0, 0));
}

/// The runtime, the function, and requests without end; calls behind each of them.
extern "C" fn work() -> ! {
    write_pages(0, RUNTIME, 1);
    call();
    write_pages(RUNTIME, FUNCTION, 1);
    loop {
        call();
        write_pages(0, CHANGED, RUNTIME / CHANGED);
        write_pages(RUNTIME, CHANGED, FUNCTION / CHANGED);
    }
}

/// The task under measurement: its account, itself, its thread.
struct Worker<'a> {
    code: Region,
    gate: &'a OwnedCap,
    slots: [Slot; 3],
}

impl<'a> Worker<'a> {
    fn new(code: Region, gate: &'a OwnedCap) -> Result<Self, Error> {
        let slots = [Slot::allocate()?, Slot::allocate()?, Slot::allocate()?];
        Ok(Self { code, gate, slots })
    }

    fn capabilities(&self) -> [CapIndex; 3] {
        [0, 1, 2].map(|at: usize| self.slots[at].index())
    }

    /// Begins it by loading, and waits for its first call.
    fn boot(&self) -> Result<(), Error> {
        start(self.code, self.gate, self.capabilities(), work, Some(&HEAP))?;
        syscall::wait(l4::NEVER).result().map(drop)
    }

    /// Begins it from a snapshot, and waits for its first call.
    fn spawn(&self, snapshot: &OwnedCap) -> Result<(), Error> {
        let [account, task, _] = self.capabilities();
        Factory(CapIndex::FACTORY).create_factory(HEAP.account, account)?;
        let spawn = Spawn {
            account,
            scheduler: CapIndex::SCHEDULER,
            place: PLACE,
            handler: (CapIndex::NONE, 0),
            entries: &[],
        };
        Snapshot(snapshot.index()).spawn(&spawn, 0, &[1], task)?;
        syscall::wait(l4::NEVER).result().map(drop)
    }

    /// Answers its call, and waits for the next one.
    fn go_on(&self) -> Result<(), Error> {
        syscall::reply_and_wait(None, Tag::new(0, 0, 0), l4::NEVER)
            .result()
            .map(drop)
    }

    /// Makes it a snapshot where it waits now, which lives as long as its account.
    fn freeze(&self) -> Result<OwnedCap, Error> {
        let caller = server::keep_caller()?;
        let [_, task, _] = self.capabilities();
        let cap = Slot::fill(|slot| Snapshot::freeze(task, caller.index(), slot).map(drop))?;
        Snapshot(cap.index()).prepare()?;
        Ok(cap)
    }

    /// Has those that begin from the snapshot from now on begin with the pages that this one has written.
    fn record(&self, snapshot: &OwnedCap) -> Result<(), Error> {
        let [_, task, _] = self.capabilities();
        Snapshot(snapshot.index()).record(task).map(drop)
    }

    fn end(&self) -> Result<(), Error> {
        let [account, task, thread] = self.capabilities();
        let own = Task(CapIndex::TASK);
        own.delete(account)?;
        own.drop_cap(task).ok();
        own.drop_cap(thread).ok();
        Ok(())
    }

    /// Prints what one round costs from its begin until all is free again.
    fn measure(&self, name: &str, mut round: impl FnMut(&Self) -> Result<(), Error>) -> Result<(), Error> {
        let mut once = || {
            round(self)?;
            self.end()
        };
        once()?;
        settle()?;
        let begun = clock::now_ns();
        for _ in 0..COUNT {
            once()?;
        }
        settle()?;
        report(name, clock::now_ns() - begun, COUNT);
        Ok(())
    }
}

/// Measures and prints: no snapshot, one of the runtime, one of the function above it, one of both at once, and that with a
/// write set.
pub(crate) fn run(code: Region, gate: &OwnedCap) -> Result<(), Error> {
    let measured = Worker::new(code, gate)?;
    measured.measure("begin_boot", |worker| {
        worker.boot()?;
        worker.go_on()?;
        worker.go_on()
    })?;
    let below = Worker::new(code, gate)?;
    below.boot()?;
    let runtime = below.freeze()?;
    measured.measure("begin_runtime_layer", |worker| {
        worker.spawn(&runtime)?;
        worker.go_on()
    })?;
    let above = Worker::new(code, gate)?;
    above.spawn(&runtime)?;
    let function = above.freeze()?;
    measured.measure("begin_two_layers", |worker| worker.spawn(&function))?;
    let whole = Worker::new(code, gate)?;
    whole.boot()?;
    whole.go_on()?;
    let single = whole.freeze()?;
    measured.measure("begin_one_layer", |worker| worker.spawn(&single))?;
    measured.spawn(&single)?;
    measured.record(&single)?;
    measured.end()?;
    measured.measure("begin_recorded", |worker| worker.spawn(&single))?;
    for done in [above, below, whole] {
        done.end()?;
    }
    Ok(())
}
