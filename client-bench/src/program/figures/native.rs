//! What an invocation of `noop` costs, which does nothing.

use super::{Failed, INSTRUCTIONS, fresh, median, report};
use crate::machine::Machine;
use alloc::format;
use alloc::vec::Vec;
use interfaces::faas::{ActionConfig, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4::PAGE_SIZE;
use l4_rpc::REPLY_BYTES;
use l4re::faas::{RomFunction, Session};
use l4re::{clock, println};

/// Measured invocations, one by one.
const SINGLE: usize = 200;
/// Measured invocations, back to back.
const CYCLE: u64 = 1000;
/// Invocations before that bring everything into use that will be.
const WARMUP: u32 = 100;
/// Live workers for the figure of their memory.
const WORKERS: u64 = 64;
/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    let snapshot = ActionConfig {
        mode: Some(StartMode::Snapshot),
        ..function.config()
    };
    for (name, config) in [
        ("boot", fresh(function)),
        ("warm", warm(function)),
        ("snapshot", snapshot),
    ] {
        session.create(name, function.code(), config, &[])?;
        for _ in 0..WARMUP {
            invoke(session, name)?;
        }
    }
    let single = |name| median(SINGLE, || invoke(session, name));
    report("invoke_boot", INSTRUCTIONS, single("boot")?, 1);
    report("invoke_warm", INSTRUCTIONS, single("warm")?, 1);
    report(
        "invoke_boot_cycle",
        INSTRUCTIONS,
        cycle(machine, session, "boot")?,
        CYCLE,
    );
    let start = median(SINGLE, || time_to_start(session, "snapshot"))?;
    report("invoke_start", INSTRUCTIONS, start, 1);
    let begun = clock::now_ns();
    for _ in 0..CYCLE {
        invoke(session, "snapshot")?;
    }
    report("invoke_snapshot", INSTRUCTIONS, clock::now_ns() - begun, CYCLE);
    let whole = cycle(machine, session, "snapshot")?;
    report("invoke_snapshot_cycle", INSTRUCTIONS, whole, CYCLE);
    let bytes = memory_of_workers(machine, session, function)?;
    report("worker_memory_kib", "KiB", bytes >> 10, WORKERS);
    Ok(())
}

/// The function's configuration in warm mode, with as many workers as are measured.
fn warm(function: &RomFunction) -> ActionConfig {
    ActionConfig {
        mode: Some(StartMode::Warm),
        concurrent_requests: WORKERS as u32,
        ..function.config()
    }
}

/// Nanoseconds of one invocation.
fn invoke(session: &Session, name: &str) -> Result<u64, Failed> {
    let mut buffer = [0; REPLY_BYTES];
    let start = clock::now_ns();
    session.actions().invoke(
        name.as_bytes(),
        InvokeOptions::default(),
        Payload::Inline(&[]),
        &mut buffer,
    )?;
    Ok(clock::now_ns() - start)
}

/// Nanoseconds from the call to the call of the function.
fn time_to_start(session: &Session, name: &str) -> Result<u64, Failed> {
    let mut buffer = [0; REPLY_BYTES];
    let begun = clock::now_ns();
    let (completion, _) = session.actions().invoke(
        name.as_bytes(),
        InvokeOptions::default(),
        Payload::Inline(&[]),
        &mut buffer,
    )?;
    Ok(completion.times.start_function - begun)
}

/// Time of invocations back to back until the last worker's memory is free again. The machine's counters must be then
/// what they were before.
fn cycle(machine: &Machine, session: &Session, name: &str) -> Result<u64, Failed> {
    let before = machine.quiet()?;
    let start = clock::now_ns();
    for _ in 0..CYCLE {
        invoke(session, name)?;
    }
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

/// Bytes of [`WORKERS`] idle workers.
fn memory_of_workers(machine: &Machine, session: &Session, function: &RomFunction) -> Result<u64, Failed> {
    // The manager's memory for so many comes into use before; then the workers are made to go.
    start_workers(session)?;
    session.update("warm", function.code(), warm(function), &[])?;
    let without = machine.quiet()?.free_frames;
    start_workers(session)?;
    let live = session.actions().counters()?.workers_live;
    if live != WORKERS {
        return Err(Failed(format!("{live} workers are live instead of {WORKERS}")));
    }
    Ok((without - machine.quiet()?.free_frames) * PAGE_SIZE)
}

/// Has [`WORKERS`] invocations run at once. Their workers have a lower priority than this thread, so all of them are
/// started before the first one runs.
fn start_workers(session: &Session) -> Result<(), Failed> {
    let mut numbers = Vec::new();
    let options = InvokeOptions::default();
    for _ in 0..WORKERS {
        numbers.push(
            session
                .actions()
                .invoke_async(b"warm", options, Payload::Inline(&[]), None)?,
        );
    }
    for number in numbers {
        session.actions().result(number, true, &mut [0; REPLY_BYTES])?;
    }
    Ok(())
}
