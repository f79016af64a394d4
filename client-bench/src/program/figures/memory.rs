//! The memory of workers that wait. They begin from a snapshot, as all kept ones do whose function can be frozen.

use super::{Failed, in_mode};
use crate::machine::Machine;
use alloc::format;
use alloc::vec::Vec;
use interfaces::faas::{ActionConfig, InvokeOptions, Payload};
use interfaces::manifest::StartMode;
use l4::PAGE_SIZE;
use l4_rpc::REPLY_BYTES;
use l4re::faas::{RomFunction, Session};

const NAME: &str = "idle";

/// Bytes of so many idle workers of a function: free memory of the machine without and with them.
pub(super) fn of_workers(
    machine: &Machine,
    session: &Session,
    function: &RomFunction,
    workers: u32,
) -> Result<u64, Failed> {
    let config = || ActionConfig {
        concurrent_requests: workers,
        queue_length: workers,
        ..in_mode(function, StartMode::Warm)
    };
    session.create(NAME, function.code(), config(), &[])?;
    // The manager's memory for so many comes into use before; then the workers are made to go.
    start(session, workers)?;
    session.update(NAME, function.code(), config(), &[])?;
    let without = machine.quiet()?.free_frames;
    start(session, workers)?;
    let live = session.actions().counters()?.workers_live;
    if live != u64::from(workers) {
        return Err(Failed(format!("{live} workers are live instead of {workers}")));
    }
    let with = machine.quiet()?.free_frames;
    session.delete(NAME)?;
    Ok((without - with) * PAGE_SIZE)
}

/// Has so many invocations run at once. Their workers have a lower priority than this thread, so all of them are
/// started before the first one runs.
fn start(session: &Session, workers: u32) -> Result<(), Failed> {
    let mut numbers = Vec::new();
    let options = InvokeOptions::default();
    for _ in 0..workers {
        numbers.push(
            session
                .actions()
                .invoke_async(NAME.as_bytes(), options, Payload::Inline(&[]), None)?,
        );
    }
    for number in numbers {
        session.actions().result(number, true, &mut [0; REPLY_BYTES])?;
    }
    Ok(())
}
