//! What an invocation of a function in Python costs that answers its argument.

use super::{Failed, INSTRUCTIONS, call, in_mode, lazy, memory, report, total};
use crate::machine::Machine;
use interfaces::manifest::StartMode;
use l4re::faas::{RomFunction, Session};

/// Measured invocations, back to back.
const COUNT: u64 = 100;
/// Live workers for the figure of their memory: each has the right to all that the function may use.
const WORKERS: u32 = 2;

/// Measured invocations of those that start an interpreter each time.
const COUNT_FRESH: u64 = 3;

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
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
    let bytes = memory::of_workers(machine, session, function, WORKERS)?;
    report("clone_memory_python_kib", "KiB", bytes >> 10, u64::from(WORKERS));
    Ok(())
}
