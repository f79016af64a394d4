//! Instances of a function that wait at once: their memory, and what it takes to wake them. They begin from a snapshot, as all
//! kept ones do whose function can be frozen.

use super::{Failed, in_mode};
use crate::machine::Machine;
use alloc::format;
use alloc::vec::Vec;
use interfaces::faas::{ActionConfig, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4::PAGE_SIZE;
use l4_rpc::REPLY_BYTES;
use l4re::clock;
use l4re::faas::{RomFunction, Session};

const NAME: &str = "idle";

/// How many instances, and what each may use.
#[derive(Clone, Copy)]
pub(super) struct Instances {
    pub(super) count: u32,
    /// Memory limit in bytes; 0 for the function's own.
    pub(super) limit: u64,
}

/// What was measured of all of them together.
pub(super) struct Held {
    /// Free memory of the machine without them and with them.
    pub(super) bytes: u64,
    /// Nanoseconds from the first request until each has been woken once and has answered.
    pub(super) wake_ns: u64,
}

/// Holds instances of a function that answers `request`.
pub(super) fn hold(
    machine: &Machine,
    session: &Session,
    function: &RomFunction,
    instances: Instances,
    request: &[u8],
) -> Result<Held, Failed> {
    let config = || ActionConfig {
        concurrent_requests: instances.count,
        queue_length: instances.count,
        ..in_mode(function, StartMode::Warm)
    };
    session.create(NAME, function.code(), config(), &[])?;
    // The manager's memory for so many comes into use before; then the instances are made to go.
    wake(session, instances, request)?;
    session.update(NAME, function.code(), config(), &[])?;
    let without = machine.quiet()?.free_frames;
    wake(session, instances, request)?;
    let begun = session.actions().counters()?;
    if begun.workers_live != u64::from(instances.count) {
        return Err(Failed(format!(
            "{} instances are alive instead of {}",
            begun.workers_live, instances.count
        )));
    }
    let with = machine.quiet()?.free_frames;
    let wake_ns = wake(session, instances, request)?;
    if session.actions().counters()?.workers_started != begun.workers_started {
        return Err(Failed("instances ended instead of being woken".into()));
    }
    session.delete(NAME)?;
    machine.quiet()?;
    Ok(Held {
        bytes: (without - with) * PAGE_SIZE,
        wake_ns,
    })
}

/// Has so many invocations run at once. Instances have a lower priority than this thread, so all have their requests before the
/// first one runs. Returns the time that it took in nanoseconds.
fn wake(session: &Session, instances: Instances, request: &[u8]) -> Result<u64, Failed> {
    let mut numbers = Vec::with_capacity(instances.count as usize);
    let options = InvokeOptions {
        memory_bytes: instances.limit,
        ..InvokeOptions::default()
    };
    let actions = session.actions();
    let start = clock::now_ns();
    for _ in 0..instances.count {
        numbers.push(actions.invoke_async(NAME.as_bytes(), options, Payload::Inline(request), None)?);
    }
    for number in numbers {
        actions.result(number, true, &mut [0; REPLY_BYTES])?;
    }
    Ok(clock::now_ns() - start)
}
