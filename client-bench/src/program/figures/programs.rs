//! Functions that are Linux programs, and functions in Python: the Linux guest of `make bench` runs the same programs.

use super::{Failed, INSTRUCTIONS, fresh, median, report};
use crate::machine::Machine;
use alloc::format;
use l4re::clock;
use l4re::faas::{RomFunction, Session};

/// Invocations of the function in C.
const STREAMS: usize = 200;
/// What it counts, and the answer.
const TEXT: (&str, &str) = ("three short words\n", "1 lines, 3 words, 18 bytes");
/// Starts of an interpreter.
const STARTS: usize = 9;
/// Computations in Python.
const COMPUTATIONS: usize = 3;

/// A program in C gets its request from standard input and answers on standard output: the client's call to its reply.
pub(super) fn measure_stream(_: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    let name = "word-count";
    create(session, name, function)?;
    let one = || {
        let start = clock::now_ns();
        let reply = session.invoke(name, TEXT.0.as_bytes())?;
        let taken = clock::now_ns() - start;
        match reply.bytes.trim_ascii_end() == TEXT.1.as_bytes() {
            true => Ok(taken),
            false => Err(Failed(format!("{name} answers {}", reply.bytes.escape_ascii()))),
        }
    };
    one()?;
    report("invoke_linux", INSTRUCTIONS, median(STREAMS, one)?, 1);
    Ok(())
}

/// A fresh interpreter: the client's call to the handler's first line, which reads the same clock.
pub(super) fn measure_start(_: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    let name = "first-line";
    create(session, name, function)?;
    let one = || {
        let start = clock::now_ns();
        let line = number(name, &session.invoke(name, &[])?.bytes)?;
        line.checked_sub(start)
            .ok_or_else(|| Failed(format!("{name} ran before it was called")))
    };
    one()?;
    report("python_boot", INSTRUCTIONS, median(STARTS, one)?, 1);
    Ok(())
}

/// A computation in Python, as the function itself measures it.
pub(super) fn measure_computation(
    _: &Machine,
    session: &Session,
    function: &RomFunction,
) -> Result<(), Failed> {
    let name = "compute";
    create(session, name, function)?;
    let one = || number(name, &session.invoke(name, &[])?.bytes);
    report("python_cpu", INSTRUCTIONS, median(COMPUTATIONS, one)?, 1);
    Ok(())
}

fn create(session: &Session, name: &str, function: &RomFunction) -> Result<(), Failed> {
    let environment = &function.manifest.environment;
    Ok(session.create(name, function.code(), fresh(function), environment)?)
}

/// The number that a function answers.
fn number(name: &str, reply: &[u8]) -> Result<u64, Failed> {
    let text = core::str::from_utf8(reply).ok();
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| Failed(format!("{name} answers {}", reply.escape_ascii())))
}
