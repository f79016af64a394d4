//! The option `--figures`: what an invocation costs, in the lines that `make bench` reads.
//!
//! Under an instruction-counting emulator a nanosecond is an instruction. Needs the capability `debug` for the
//! machine's counters.

use crate::machine::Machine;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use interfaces::faas::client::ClientError;
use interfaces::faas::{ActionConfig, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4::object::Counters;
use l4::{CapIndex, Error, PAGE_SIZE};
use l4_rpc::REPLY_BYTES;
use l4re::faas::{FunctionError, RomFunction, Session};
use l4re::{clock, println};

/// Unit of what takes time: the emulator counts one a nanosecond.
const INSTRUCTIONS: &str = "instructions";
/// The function that is measured: it does nothing.
const FUNCTION: &str = "noop";
/// Measured invocations, one by one.
const SINGLE: usize = 200;
/// Measured invocations, back to back.
const CYCLE: u64 = 1000;
/// Invocations before that bring everything into use that will be.
const WARMUP: u32 = 100;
/// Live workers for the figure of their memory.
const WORKERS: u64 = 64;
/// Pause before each single invocation, in which the last one's worker is taken apart.
const PAUSE_NS: u64 = 2_000_000;

/// Why there are no figures.
struct Failed(String);

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Failed {
        Failed(format!("{error}"))
    }
}

impl From<FunctionError> for Failed {
    fn from(error: FunctionError) -> Failed {
        Failed(format!("{error}"))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed(format!("{error}"))
    }
}

/// Measures and prints all figures. Tells whether that worked.
pub(crate) fn run(registry: CapIndex) -> bool {
    match measure(registry) {
        Ok(()) => true,
        Err(Failed(reason)) => {
            println!("no figures: {reason}");
            false
        }
    }
}

fn measure(registry: CapIndex) -> Result<(), Failed> {
    let machine = Machine::at_rest()?;
    let session = Session::open(registry)?;
    session.enter_core()?;
    let function = RomFunction::find(FUNCTION)?;
    let boot = ActionConfig {
        mode: StartMode::Boot,
        ..function.config()
    };
    for (name, config) in [("boot", boot), ("warm", warm(&function))] {
        session.create(name, function.code(), config, &[])?;
        for _ in 0..WARMUP {
            invoke(&session, name)?;
        }
    }
    report("invoke_boot", INSTRUCTIONS, single(&session, "boot")?, 1);
    report("invoke_warm", INSTRUCTIONS, single(&session, "warm")?, 1);
    let (nanoseconds, before, after) = cycle(&machine, &session)?;
    report("invoke_boot_cycle", INSTRUCTIONS, nanoseconds, CYCLE);
    println!("before {CYCLE} invocations: {before:?}");
    println!("after {CYCLE} invocations:  {after:?}");
    if before != after {
        return Err(Failed("the machine's counters are not what they were".into()));
    }
    let bytes = memory_of_workers(&machine, &session, &function)?;
    report("worker_memory_kib", "KiB", bytes >> 10, WORKERS);
    Ok(())
}

/// The function's configuration in warm mode, with as many workers as are measured.
fn warm(function: &RomFunction) -> ActionConfig {
    ActionConfig {
        mode: StartMode::Warm,
        concurrent_requests: WORKERS as u32,
        ..function.config()
    }
}

/// Prints `total` over `count`.
fn report(name: &str, unit: &str, total: u64, count: u64) {
    let (whole, tenths) = (total / count, total % count * 10 / count);
    println!("BENCH {{\"name\":\"{name}\",\"unit\":\"{unit}\",\"value\":{whole}.{tenths}}}");
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

/// Median of single invocations.
fn single(session: &Session, name: &str) -> Result<u64, Failed> {
    let mut durations = Vec::with_capacity(SINGLE);
    for _ in 0..SINGLE {
        clock::sleep(PAUSE_NS);
        durations.push(invoke(session, name)?);
    }
    durations.sort_unstable();
    Ok(durations[SINGLE / 2])
}

/// Time of invocations back to back until the last worker's memory is free again, and the machine's counters before
/// and after.
fn cycle(machine: &Machine, session: &Session) -> Result<(u64, Counters, Counters), Failed> {
    let before = machine.quiet()?;
    let start = clock::now_ns();
    for _ in 0..CYCLE {
        invoke(session, "boot")?;
    }
    let after = machine.quiet()?;
    Ok((clock::now_ns() - start, before, after))
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
