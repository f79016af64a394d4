//! The kernel's benchmarks: a root task that prints what operations cost, one line of JSON each.
//!
//! Under `-icount shift=0` a nanosecond is an instruction. The first run of each operation is not counted: it fills
//! caches and tables that later runs find.
#![no_std]
#![no_main]

extern crate alloc;

mod density;
mod fault;
mod ipc;
mod layers;
mod lifecycle;

use l4::CapIndex;
use l4::object::{Debug, Platform};
use l4re::{clock, println};

l4re::entry!(main);

/// The boot module with this program.
const OWN_MODULE: CapIndex = CapIndex(0x40);
/// Slots that the kernel may have filled.
const FIRST_FREE: CapIndex = CapIndex(0x100);

fn main() -> i64 {
    if l4re::env::args().any(|argument| argument == "echo") {
        ipc::serve();
    }
    l4re::slots::reserve_below(FIRST_FREE);
    let failed = null_call()
        .and_then(|()| ipc::run())
        .and_then(|()| fault::run())
        .and_then(|()| lifecycle::run());
    if let Err(error) = &failed {
        println!("bench failed: {error}");
    }
    let error = Platform(CapIndex::PLATFORM).power_off(failed.is_ok());
    println!("can't power off: {error}");
    1
}

/// Runs `operation` `count` times after one run that does not count, and prints the mean cost.
fn measure(
    name: &str,
    count: u64,
    mut operation: impl FnMut() -> Result<(), l4::Error>,
) -> Result<(), l4::Error> {
    operation()?;
    let start = clock::now_ns();
    for _ in 0..count {
        operation()?;
    }
    report(name, clock::now_ns() - start, count);
    Ok(())
}

/// Prints `total` nanoseconds over `count` operations.
fn report(name: &str, total: u64, count: u64) {
    report_in(name, "instructions", total, count);
}

/// Prints `total` of a unit over `count`.
fn report_in(name: &str, unit: &str, total: u64, count: u64) {
    let (whole, tenths) = (total / count, total % count * 10 / count);
    println!("BENCH {{\"name\":\"{name}\",\"unit\":\"{unit}\",\"value\":{whole}.{tenths}}}");
}

fn null_call() -> Result<(), l4::Error> {
    measure("null_call", 10_000, || Debug(CapIndex::DEBUG).null())
}
