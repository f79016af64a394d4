//! What an invocation costs by what goes in and comes out: `echo` answers its request.

use super::{Failed, MODES, in_mode, report_point, total};
use crate::machine::Machine;
use alloc::format;
use alloc::vec;
use interfaces::faas::ActionConfig;
use l4re::clock;
use l4re::faas::{RomFunction, Session};

/// The measured sizes, up to the longest request that there is.
const SIZES: [usize; 4] = [0, 1 << 10, 64 << 10, 1 << 20];
/// Measured invocations of each, back to back.
const COUNT: u64 = 50;
/// Memory of the function: request and response at once, and those before, which a CPU that is never idle frees late.
const MEMORY: u64 = 128 << 20;

/// Measures and prints.
pub(super) fn measure(machine: &Machine, session: &Session, function: &RomFunction) -> Result<(), Failed> {
    let name = "echo";
    for (mode, line) in MODES {
        let config = ActionConfig {
            memory_bytes: MEMORY,
            ..in_mode(function, mode)
        };
        session.create(name, function.code(), config, &[])?;
        for size in SIZES {
            machine.quiet()?;
            let request = vec![b'x'; size];
            let taken = total(COUNT, || {
                let start = clock::now_ns();
                let length = session.invoke(name, &request)?.bytes.len();
                let taken = clock::now_ns() - start;
                match length == size {
                    true => Ok(taken),
                    false => Err(Failed(format!("{name} answers {length} bytes to {size}"))),
                }
            })?;
            report_point("payload", line, size as u64, taken, COUNT);
        }
        session.delete(name)?;
    }
    Ok(())
}
