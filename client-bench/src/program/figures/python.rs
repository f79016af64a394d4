//! What an invocation of a function in Python costs that answers its argument.

use super::{Failed, INSTRUCTIONS, call, in_mode, memory, report, total};
use crate::machine::Machine;
use interfaces::manifest::StartMode;
use l4re::faas::{RomFunction, Session};

/// Measured invocations, back to back.
const COUNT: u64 = 100;
/// Live workers for the figure of their memory: each has the right to all that the function may use.
const WORKERS: u32 = 2;

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    for (figure, mode) in [
        ("invoke_python", StartMode::Snapshot),
        ("invoke_python_warm", StartMode::Warm),
    ] {
        session.create("nothing", function.code(), in_mode(function, mode), &[])?;
        machine.quiet()?;
        let called = session.function("nothing");
        let taken = total(COUNT, || call(&called, b"{}"))?;
        report(figure, INSTRUCTIONS, taken, COUNT);
        session.delete("nothing")?;
    }
    let bytes = memory::of_workers(machine, session, function, WORKERS)?;
    report("clone_memory_python_kib", "KiB", bytes >> 10, u64::from(WORKERS));
    Ok(())
}
