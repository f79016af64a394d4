//! What an invocation of a function in Python costs that answers its argument.

use super::memory::{self, Instances};
use super::{Failed, INSTRUCTIONS, call, in_mode, lazy, report, total};
use crate::machine::Machine;
use alloc::format;
use interfaces::faas::ImageState;
use interfaces::manifest::StartMode;
use l4re::clock;
use l4re::faas::{RomFunction, Session};

/// Measured invocations, back to back.
const COUNT: u64 = 100;
/// Instances that wait at once, for the figures of their memory and of waking them. Each has the right to less than the function
/// may use, so that many fit.
const HELD: Instances = Instances {
    count: 200,
    limit: 1 << 20,
};

/// Measured invocations of those that start an interpreter each time.
const COUNT_FRESH: u64 = 3;

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    // Before anything that later ones would profit from.
    measure_first(machine, session, function)?;
    for (figure, config, count) in [
        ("invoke_python", in_mode(function, StartMode::Snapshot), COUNT),
        ("invoke_python_lazy", lazy(function), COUNT),
        (
            "invoke_python_boot",
            in_mode(function, StartMode::Boot),
            COUNT_FRESH,
        ),
        ("invoke_python_warm", in_mode(function, StartMode::Warm), COUNT),
    ] {
        session.create("nothing", function.code(), config, &[])?;
        machine.quiet()?;
        let called = session.function("nothing");
        let taken = total(count, || call(&called, b"{}"))?;
        report(figure, INSTRUCTIONS, taken, count);
        session.delete("nothing")?;
    }
    let (held, count) = (
        memory::hold(machine, session, function, HELD, b"{}")?,
        u64::from(HELD.count),
    );
    report("clone_memory_python_kib", "KiB", held.bytes >> 10, count);
    report("clone_wake_python", INSTRUCTIONS, held.wake_ns, count);
    Ok(())
}

/// Measures what it takes until a new function has answered once: begun from the snapshot in the boot image, and started.
fn measure_first(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    for (figure, is_packed) in [("python_first_packed", true), ("python_first_started", false)] {
        let mut taken = 0;
        for _ in 0..COUNT_FRESH {
            machine.quiet()?;
            taken += first_reply(session, function, is_packed)?;
            session.delete("nothing")?;
        }
        report(figure, INSTRUCTIONS, taken, COUNT_FRESH);
    }
    Ok(())
}

/// Nanoseconds from the creation to the first reply.
fn first_reply(session: &Session, function: &RomFunction, is_packed: bool) -> Result<u64, Failed> {
    let config = in_mode(function, StartMode::Snapshot);
    let start = clock::now_ns();
    if is_packed {
        session.create_function("nothing", function, config)?;
    } else {
        session.create("nothing", function.code(), config, &[])?;
    }
    session.invoke("nothing", b"{}")?;
    let taken = clock::now_ns() - start;
    match session.describe("nothing")?.image {
        ImageState::Ready(info) if info.is_loaded == is_packed => Ok(taken),
        other => Err(Failed(format!(
            "the function began from {other:?}, packed: {is_packed}"
        ))),
    }
}
