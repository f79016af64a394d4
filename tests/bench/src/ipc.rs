//! Call and reply between two tasks on one CPU.

use crate::{OWN_MODULE, measure};
use l4::object::{Dataspace, Factory, Gate, Placement, Task};
use l4::{CapIndex, Error, Rights, Tag, syscall};
use l4re::{Slot, env, println};
use loader::{Arguments, Launch, Launched, NamedCap, Plan, Program};

const LABEL: u64 = 0x10;
const STACK: u64 = 0x1_0000;

/// The other task: answers every message with an empty one.
pub(crate) fn serve() -> ! {
    if let Some(gate) = env::cap("gate") {
        if let Err(error) = Gate(gate).bind(LABEL, CapIndex::THREAD) {
            println!("echo can't bind its gate: {error}");
        }
    }
    syscall::wait(l4::NEVER);
    loop {
        syscall::reply_and_wait(None, Tag::new(0, 0, 0), l4::NEVER);
    }
}

pub(crate) fn run() -> Result<(), Error> {
    let gate = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_gate(0, CapIndex::NONE, slot))?;
    let account = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_factory(4 << 20, slot))?;
    let (task, thread) = (Slot::allocate()?, Slot::allocate()?);
    start_echo(account.index(), gate.index(), Launched { task: task.index(), thread: thread.index() })?;
    let empty = Tag::new(1, 0, 0);
    measure("ipc_round_trip", 10_000, || syscall::call(gate.index(), empty).result().map(drop))?;
    let full = Tag::new(1, Tag::MAX_WORDS, 0);
    measure("ipc_round_trip_63_words", 10_000, || syscall::call(gate.index(), full).result().map(drop))?;
    Task(CapIndex::TASK).delete(account.index())
}

fn start_echo(account: CapIndex, gate: CapIndex, slots: Launched) -> Result<(), Error> {
    let refused = |error: loader::LoadError| {
        println!("echo can't be started: {error}");
        Error::Io
    };
    let program = Program::prepare(Dataspace(OWN_MODULE), None).map_err(refused)?;
    let plan = Plan::new(&program, None, STACK, CapIndex::INFO_PAGE).map_err(refused)?;
    let arguments = Arguments {
        arguments: &["kernel-bench", "echo"],
        caps: &[NamedCap { name: "gate", cap: gate, rights: Rights::all(), label: 0 }],
        ..Arguments::default()
    };
    let factory = l4::object::MapEntry::copy(account, CapIndex::FACTORY, Rights::CLIENT);
    let log = l4::object::MapEntry::copy(CapIndex::LOG, CapIndex::LOG, Rights::CLIENT);
    plan.launch(
        &Launch {
            account,
            scheduler: CapIndex::SCHEDULER,
            placement: Placement { cpu: Placement::SAME_CPU, priority: 200, slice_us: 0 },
            handler: CapIndex::NONE,
            handler_label: 0,
            capabilities: &[factory, log],
            arguments: Some(&arguments),
        },
        slots,
    )
    .map_err(refused)
}
