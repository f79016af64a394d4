//! The kernel's tests: a root task that runs them, prints their results in the Test Anything Protocol, and powers off with
//! the verdict. docs/testing.md says which case each test covers.
//!
//! Some tests need another task: it is this program again, started with the name of a [`partner`] role as its argument.
#![no_std]
#![no_main]

extern crate alloc;

mod capabilities;
mod dataspaces;
mod deletion;
mod exceptions;
mod gate_ends;
mod gate_worker;
mod harness;
mod ipc;
mod large;
mod memory;
mod messages;
mod notifications;
mod objects;
mod own_faults;
mod partner;
mod registers;
mod replies;
mod scheduling;
mod snapshots;
mod spawn_gates;
mod storing;
mod threads;
mod write_sets;

use l4::CapIndex;
use l4::object::Platform;
use l4re::env;

l4re::entry!(main);

/// All tests, in the order in which they run: what later ones rely on comes first.
const SUITES: &[&[harness::Test]] = &[
    objects::TESTS,
    ipc::TESTS,
    messages::TESTS,
    replies::TESTS,
    capabilities::TESTS,
    memory::TESTS,
    dataspaces::TESTS,
    exceptions::TESTS,
    threads::TESTS,
    own_faults::TESTS,
    registers::TESTS,
    notifications::TESTS,
    scheduling::TESTS,
    snapshots::TESTS,
    spawn_gates::TESTS,
    storing::TESTS,
    write_sets::TESTS,
    gate_ends::TESTS,
    deletion::TESTS,
    large::TESTS,
];

fn main() -> i64 {
    if let Some(role) = env::args().nth(1) {
        return partner::run_role(role);
    }
    let is_success = harness::run(SUITES);
    let error = Platform(CapIndex::PLATFORM).power_off(is_success);
    l4re::println!("the machine does not power off: {error}");
    1
}
