//! What an invocation of a function in Python costs that answers its argument.

use super::memory::{self, Instances};
use super::{Failed, INSTRUCTIONS, call, in_mode, lazy, report, total};
use crate::machine::Machine;
use interfaces::manifest::StartMode;
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
