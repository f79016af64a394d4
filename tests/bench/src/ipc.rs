//! Call and reply between two tasks on one CPU.

use crate::{OWN_MODULE, measure};
use l4::object::{Dataspace, Factory, Gate, Placement, Scheduler, Task};
use l4::{CapIndex, Error, Rights, Tag, syscall};
use l4re::{OwnedCap, Slot, env, println};
use loader::{Arguments, Launch, Launched, NamedCap, Plan, Program};

const LABEL: u64 = 0x10;
const STACK: u64 = 0x1_0000;

/// The other task: answers every message with an empty one.
pub(crate) fn serve() -> ! {
    if let Some(gate) = env::cap("gate")
        && let Err(error) = Gate(gate).bind(LABEL, CapIndex::THREAD)
    {
        println!("echo can't bind its gate: {error}");
    }
    syscall::wait(l4::NEVER);
    loop {
        syscall::reply_and_wait(None, Tag::new(0, 0, 0), l4::NEVER);
    }
}

/// The CPU of this program, and the one that calls go to from there.
const OWN_CPU: u32 = 0;
const OTHER_CPU: u32 = 1;
/// Calls that are measured: at once, and, as each takes as long as two interrupts, across CPUs.
const CALLS: u64 = 10_000;
const CROSS_CORE_CALLS: u64 = 2_000;

pub(crate) fn run() -> Result<(), Error> {
    let echo = Echo::start(OWN_CPU)?;
    let empty = Tag::new(1, 0, 0);
    let call = |tag| syscall::call(echo.gate.index(), tag).result().map(drop);
    measure("ipc_round_trip", CALLS, || call(empty))?;
    let full = Tag::new(1, Tag::MAX_WORDS, 0);
    measure("ipc_round_trip_63_words", CALLS, || call(full))?;
    echo.end()?;
    if Scheduler(CapIndex::SCHEDULER).info()?.cpus & 1 << OTHER_CPU == 0 {
        return Ok(());
    }
    let echo = Echo::start(OTHER_CPU)?;
    measure("ipc_cross_core", CROSS_CORE_CALLS, || {
        syscall::call(echo.gate.index(), empty).result().map(drop)
    })?;
    echo.end()
}

/// The other task, as long as it lives.
struct Echo {
    gate: OwnedCap,
    account: OwnedCap,
    _parts: [OwnedCap; 2],
}

impl Echo {
    fn start(cpu: u32) -> Result<Echo, Error> {
        let gate = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_gate(0, CapIndex::NONE, slot))?;
        let account = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_factory(4 << 20, slot))?;
        let (task, thread) = (Slot::allocate()?, Slot::allocate()?);
        let slots = Launched {
            task: task.index(),
            thread: thread.index(),
        };
        start_echo(account.index(), gate.index(), slots, cpu)?;
        Ok(Echo {
            gate,
            account,
            _parts: [task.filled(), thread.filled()],
        })
    }

    fn end(self) -> Result<(), Error> {
        Task(CapIndex::TASK).delete(self.account.index())
    }
}

fn start_echo(account: CapIndex, gate: CapIndex, slots: Launched, cpu: u32) -> Result<(), Error> {
    let refused = |error: loader::LoadError| {
        println!("echo can't be started: {error}");
        Error::Io
    };
    let program = Program::prepare(Dataspace(OWN_MODULE), None).map_err(refused)?;
    let plan = Plan::new(&program, None, STACK, CapIndex::INFO_PAGE).map_err(refused)?;
    let arguments = Arguments {
        arguments: &["kernel-bench", "echo"],
        caps: &[NamedCap {
            name: "gate",
            cap: gate,
            rights: Rights::all(),
            label: 0,
        }],
        ..Arguments::default()
    };
    let factory = l4::object::MapEntry::copy(account, CapIndex::FACTORY, Rights::CLIENT);
    let log = l4::object::MapEntry::copy(CapIndex::LOG, CapIndex::LOG, Rights::CLIENT);
    plan.launch(
        &Launch {
            account,
            scheduler: CapIndex::SCHEDULER,
            placement: Placement {
                cpu,
                priority: 200,
                slice_us: 0,
            },
            handler: CapIndex::NONE,
            handler_label: 0,
            capabilities: &[factory, log],
            arguments: Some(&arguments),
        },
        slots,
    )
    .map_err(refused)
}
