//! What an invocation of `noop` costs, which does nothing.

use super::memory::{self, Instances};
use super::{Failed, INSTRUCTIONS, call, in_mode, invoke, lazy, median, report};
use crate::machine::Machine;
use interfaces::faas::{InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4_rpc::REPLY_BYTES;
use l4re::faas::{Function, RomFunction, Session};
use l4re::{clock, println};

/// Measured invocations, one by one.
const SINGLE: usize = 200;
/// Measured invocations, back to back.
const CYCLE: u64 = 1000;
/// Invocations before that bring everything into use that will be.
const WARMUP: u32 = 100;
/// Instances that wait at once, for the figures of their memory and of waking them.
const HELD: Instances = Instances {
    count: 1000,
    // So many fit into what a client gets of 1 GiB where there are two.
    limit: 192 << 10,
};

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    for (name, mode) in [
        ("boot", StartMode::Boot),
        ("warm", StartMode::Warm),
        ("snapshot", StartMode::Snapshot),
    ] {
        session.create(name, function.code(), in_mode(function, mode), &[])?;
        for _ in 0..WARMUP {
            invoke(session, name, &[])?;
        }
    }
    let single = |name| median(SINGLE, || invoke(session, name, &[]));
    report("invoke_boot", INSTRUCTIONS, single("boot")?, 1);
    report("invoke_warm", INSTRUCTIONS, single("warm")?, 1);
    report(
        "invoke_boot_cycle",
        INSTRUCTIONS,
        cycle(machine, || invoke(session, "boot", &[]))?,
        CYCLE,
    );
    measure_snapshots(machine, session)?;
    session.create("lazy", function.code(), lazy(function), &[])?;
    let called = session.function("lazy");
    call(&called, &[])?;
    let taken = mean(|| call(&called, &[]))?;
    report("invoke_snapshot_lazy", INSTRUCTIONS, taken, CYCLE);
    session.delete("lazy")?;
    for name in ["boot", "warm", "snapshot"] {
        session.delete(name)?;
    }
    let held = memory::hold(machine, session, function, HELD, &[])?;
    for name in ["worker_memory_kib", "clone_memory_kib"] {
        report(name, "KiB", held.bytes >> 10, u64::from(HELD.count));
    }
    report("clone_wake", INSTRUCTIONS, held.wake_ns, u64::from(HELD.count));
    Ok(())
}

/// What invocations cost that begin from a snapshot: by the manager, and by the function's gate.
fn measure_snapshots(machine: &Machine, session: &Session) -> Result<(), Failed> {
    let by_manager = mean(|| invoke(session, "snapshot", &[]))?;
    report("invoke_by_manager", INSTRUCTIONS, by_manager, CYCLE);
    let function = session.function("snapshot");
    for _ in 0..WARMUP {
        call(&function, &[])?;
    }
    let start = median(SINGLE, || time_to_start(&function))?;
    report("invoke_start", INSTRUCTIONS, start, 1);
    report(
        "invoke_snapshot",
        INSTRUCTIONS,
        mean(|| call(&function, &[]))?,
        CYCLE,
    );
    let whole = cycle(machine, || call(&function, &[]))?;
    report("invoke_snapshot_cycle", INSTRUCTIONS, whole, CYCLE);
    if function.calls_by_manager() > 0 {
        return Err(Failed("calls of the function passed the manager".into()));
    }
    Ok(())
}

/// Nanoseconds of [`CYCLE`] invocations back to back.
fn mean(mut one: impl FnMut() -> Result<u64, Failed>) -> Result<u64, Failed> {
    let begun = clock::now_ns();
    for _ in 0..CYCLE {
        one()?;
    }
    Ok(clock::now_ns() - begun)
}

/// Nanoseconds from the client's call to the function's first instruction.
fn time_to_start(function: &Function<'_>) -> Result<u64, Failed> {
    let mut buffer = [0; REPLY_BYTES];
    let begun = clock::now_ns();
    let (completion, _) = function.call(InvokeOptions::default(), Payload::Inline(&[]), &mut buffer)?;
    Ok(completion.times.start_function - begun)
}

/// Time of [`CYCLE`] invocations back to back until the last worker's memory is free again. The machine's counters must
/// be then what they were before.
fn cycle(machine: &Machine, one: impl FnMut() -> Result<u64, Failed>) -> Result<u64, Failed> {
    let before = machine.quiet()?;
    let start = clock::now_ns();
    mean(one)?;
    let after = machine.quiet()?;
    let took = clock::now_ns() - start;
    println!("before {CYCLE} invocations: {before:?}");
    println!("after {CYCLE} invocations:  {after:?}");
    if before == after {
        Ok(took)
    } else {
        Err(Failed("the machine's counters are not what they were".into()))
    }
}
