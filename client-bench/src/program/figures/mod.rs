//! The option `--figures`: what invocations cost, in the lines that `make bench` reads.
//!
//! Under an instruction-counting emulator a nanosecond is an instruction. What is measured depends on the functions in
//! the boot image. Needs the capability `debug` for the machine's counters.

mod direct;
mod load;
mod memory;
mod native;
mod payload;
mod programs;
mod python;
mod touch;

use crate::machine::Machine;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use interfaces::faas::client::ClientError;
use interfaces::faas::{ActionConfig, InvokeOptions, Payload};
use interfaces::manifest::{Copying, StartMode};
use l4::{CapIndex, Error};
use l4_rpc::REPLY_BYTES;
use l4re::faas::{Function, FunctionError, RomFunction, Session};
use l4re::{clock, println};

/// Unit of what takes time: the emulator counts one a nanosecond.
const INSTRUCTIONS: &str = "instructions";
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

/// Measures something of a function.
type Measure = fn(&Machine, &Session, &RomFunction) -> Result<(), Failed>;

/// What is measured of which function.
const FIGURES: [(&str, Measure); 8] = [
    ("noop", native::measure),
    ("noop", load::measure),
    ("echo", payload::measure),
    ("touch", touch::measure),
    ("word-count", programs::measure_stream),
    ("nothing", python::measure),
    ("first-line", programs::measure_start),
    ("compute", programs::measure_computation),
];

/// Measures and prints the figures of all functions that the boot image has. Tells whether that worked.
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
    let session = Arc::new(Session::open(registry)?);
    session.enter_core()?;
    let mut missing = Vec::new();
    for (name, measure) in FIGURES {
        match RomFunction::find(name) {
            Ok(function) => measure(&machine, &session, &function)?,
            Err(FunctionError::Rom { name, .. }) => missing.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    if let Ok(function) = RomFunction::find("noop") {
        direct::measure(&session, &function)?;
    }
    if missing.len() == FIGURES.len() {
        return Err(Failed(format!(
            "the boot image has none of {}",
            missing.join(", ")
        )));
    }
    Ok(())
}

/// Invocations of a new function that do not count.
const FIRST: u64 = 4;

/// The start modes, and what their lines in plots are called.
const MODES: [(StartMode, &str); 3] = [
    (StartMode::Snapshot, "Aerie: from a snapshot"),
    (StartMode::Boot, "Aerie: loaded afresh"),
    (StartMode::Warm, "Aerie: kept worker"),
];

/// The function's configuration in a start mode.
fn in_mode(function: &RomFunction, mode: StartMode) -> ActionConfig {
    ActionConfig {
        mode: Some(mode),
        ..function.config()
    }
}

/// The function's configuration in mode `snapshot`, with pages copied when they are changed.
fn lazy(function: &RomFunction) -> ActionConfig {
    ActionConfig {
        copying: Copying::Lazy,
        ..in_mode(function, StartMode::Snapshot)
    }
}

/// The function's configuration in mode `boot`.
fn fresh(function: &RomFunction) -> ActionConfig {
    in_mode(function, StartMode::Boot)
}

/// Nanoseconds of one invocation by the manager.
fn invoke(session: &Session, name: &str, request: &[u8]) -> Result<u64, Failed> {
    let mut buffer = [0; REPLY_BYTES];
    let start = clock::now_ns();
    session.actions().invoke(
        name.as_bytes(),
        InvokeOptions::default(),
        Payload::Inline(request),
        &mut buffer,
    )?;
    Ok(clock::now_ns() - start)
}

/// Nanoseconds of one invocation without the manager, if the function permits that.
fn call(function: &Function<'_>, request: &[u8]) -> Result<u64, Failed> {
    let mut buffer = [0; REPLY_BYTES];
    let start = clock::now_ns();
    function.call(InvokeOptions::default(), Payload::Inline(request), &mut buffer)?;
    Ok(clock::now_ns() - start)
}

/// The sum of so many measurements back to back, after some that do not count: what the first invocations do decides what later
/// ones begin with.
fn total(count: u64, mut one: impl FnMut() -> Result<u64, Failed>) -> Result<u64, Failed> {
    for _ in 0..FIRST {
        one()?;
    }
    (0..count).try_fold(0, |sum, _| Ok(sum + one()?))
}

/// The median of so many measurements, each after a pause.
fn median(count: usize, mut one: impl FnMut() -> Result<u64, Failed>) -> Result<u64, Failed> {
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        clock::sleep(PAUSE_NS);
        values.push(one()?);
    }
    values.sort_unstable();
    Ok(values[count / 2])
}

/// Prints `total` over `count`.
fn report(name: &str, unit: &str, total: u64, count: u64) {
    let (whole, thousandths) = (total / count, total % count * 1000 / count);
    println!("BENCH {{\"name\":\"{name}\",\"unit\":\"{unit}\",\"value\":{whole}.{thousandths:03}}}");
}

/// Prints `total` over `count` as the point of a line in a plot.
fn report_point(series: &str, line: &str, x: u64, total: u64, count: u64) {
    let (whole, tenths) = (total / count, total % count * 10 / count);
    println!(
        "BENCH {{\"series\":\"{series}\",\"line\":\"{line}\",\"x\":{x},\"unit\":\"{INSTRUCTIONS}\",\"value\":{whole}.{tenths}}}"
    );
}
