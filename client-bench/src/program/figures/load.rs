//! Many invocations at once, many functions, and the first invocations of one.

use super::{Failed, INSTRUCTIONS, MODES, call, in_mode, invoke, report, report_point};
use crate::machine::Machine;
use alloc::format;
use alloc::vec::Vec;
use interfaces::faas::{ActionConfig, FaasError, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4_rpc::{CallError, REPLY_BYTES};
use l4re::clock;
use l4re::faas::{RomFunction, Session};

/// Requests of the bursts.
pub(super) const BURSTS: [u64; 3] = [1, 100, 1000];
/// Requests of the largest burst.
pub(super) const LARGEST: u32 = 1000;
/// How often a burst of one is repeated.
pub(super) const SINGLE: u64 = 200;
/// Different functions.
const FUNCTIONS: u64 = 1000;
/// Invocations of a new function that are shown one by one.
const FIRST: u64 = 8;

/// Measures and prints.
pub(super) fn measure(_: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    for (mode, line) in MODES {
        first_calls(session, function, mode, line)?;
    }
    let config = ActionConfig {
        concurrent_requests: LARGEST,
        ..in_mode(function, StartMode::Snapshot)
    };
    session.create("burst", function.code(), config, &[])?;
    let mut one = 0.0;
    for size in BURSTS {
        let rounds = if size == 1 { SINGLE } else { 1 };
        let taken = (0..rounds).try_fold(0, |sum, _| Ok::<_, Failed>(sum + burst(session, size)?))?;
        report_point("burst", "Aerie, one function", size, taken, rounds * size);
        let each = taken as f64 / (rounds * size) as f64;
        match size {
            1 => one = each,
            1000 => report("burst_1000", "ratio", (each * 1000.0) as u64, one as u64 * 1000),
            _ => {}
        }
    }
    session.delete("burst")?;
    let (taken, count) = different(session, function)?;
    report("invoke_different", INSTRUCTIONS, taken, count);
    Ok(())
}

/// The first invocations of a function that was just created.
fn first_calls(session: &Session, function: &RomFunction, mode: StartMode, line: &str) -> Result<(), Failed> {
    session.create("first", function.code(), in_mode(function, mode), &[])?;
    let called = session.function("first");
    for number in 1..=FIRST {
        report_point("first_calls", line, number, call(&called, &[])?, 1);
    }
    Ok(session.delete("first")?)
}

/// Nanoseconds from the first request until all of `count` are answered. All are made before the first answer is fetched.
fn burst(session: &Session, count: u64) -> Result<u64, Failed> {
    let actions = session.actions();
    let mut numbers = Vec::with_capacity(count as usize);
    let start = clock::now_ns();
    for _ in 0..count {
        let options = InvokeOptions::default();
        numbers.push(actions.invoke_async(b"burst", options, Payload::Inline(&[]), None)?);
    }
    for number in numbers {
        actions.result(number, true, &mut [0; REPLY_BYTES])?;
    }
    Ok(clock::now_ns() - start)
}

/// Nanoseconds of one invocation each of many functions, which are all there, and how many; making them is not counted. Where two
/// clients share 1 GiB, one can't have all of them.
fn different(session: &Session, function: &RomFunction) -> Result<(u64, u64), Failed> {
    let name = |number: u64| format!("different-{number}");
    let mut count = 0;
    while count < FUNCTIONS {
        let config = in_mode(function, StartMode::Snapshot);
        match session.create(&name(count), function.code(), config, &[]) {
            Err(CallError::Server(FaasError::TooManyActions { .. })) if count > 0 => break,
            created => created?,
        }
        count += 1;
    }
    let taken = (0..count).try_fold(0, |sum, number| {
        Ok::<_, Failed>(sum + invoke(session, &name(number), &[])?)
    })?;
    for number in 0..count {
        session.delete(&name(number))?;
    }
    Ok((taken, count))
}
