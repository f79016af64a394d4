//! The workloads' client: starts its clients, waits for them, prints what happened.
//!
//! The boot script gives it the manager's registry (`manager`) and `rom`.
#![no_std]
#![no_main]

extern crate alloc;

mod client;
mod console;
mod shared;

use alloc::sync::Arc;
use alloc::vec::Vec;
use client_workloads::options::{HELP, Options};
use client_workloads::results::Results;
use client_workloads::{answer, options, progress};
use l4::object::{Placement, Scheduler};
use l4::{CapIndex, Error};
use l4re::thread::{Builder, JoinHandle};
use l4re::{clock, env, println};
use shared::Shared;

l4re::entry!(main);

/// Exit code if a call failed.
const FAILED: i64 = 1;
/// Exit code for a wrong command line.
const USAGE: i64 = 2;

/// Stack of a client's thread, which reads and writes JSON.
const STACK: u64 = 256 << 10;
/// How often the main thread looks whether the clients got further.
const LOOK_NS: u64 = 1_000_000;

fn main() -> i64 {
    let options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            println!("{error}");
            return USAGE;
        }
    };
    if options.help {
        println!("{HELP}");
        return 0;
    }
    let Some(registry) = env::cap("manager") else {
        println!(
            "there is no capability 'manager'; the boot script passes it as caps = {{ manager = channel }}"
        );
        return FAILED;
    };
    // Without the right to it, the priority stays as it is.
    let _ = Scheduler(CapIndex::SCHEDULER).place(CapIndex::THREAD, best_place());
    match run(options, registry) {
        Ok(is_success) => i64::from(!is_success) * FAILED,
        Err(error) => {
            println!("a client's thread can't be started: {error}");
            FAILED
        }
    }
}

/// The highest priority that the program may use, on the calling thread's CPU: the main thread, which only looks from time
/// to time, shall not wait for workers.
fn best_place() -> Placement {
    let info = Scheduler(CapIndex::SCHEDULER).info();
    let priority = info.map_or(1, |info| info.max_priority);
    Placement {
        cpu: Placement::SAME_CPU,
        priority,
        slice_us: 0,
    }
}

/// Does what the options say; tells whether every planned call succeeded.
fn run(options: options::Options, registry: CapIndex) -> Result<bool, Error> {
    let shared = Arc::new(Shared::new(options));
    let started = clock::now_ns();
    let mut clients: Vec<JoinHandle> = Vec::new();
    for number in 0..shared.options.threads {
        let own = shared.clone();
        let builder = Builder {
            stack_size: STACK,
            placement: best_place(),
            ..Builder::default()
        };
        clients.push(builder.spawn(move || client::run(&own, number, registry))?);
    }
    watch(&shared, &clients, started);
    for client in clients {
        // What a client that died did not do is missing from the totals.
        let _ = client.join();
    }
    Ok(print(&shared, clock::now_ns() - started))
}

/// Reports progress until all clients have ended.
fn watch(shared: &Shared, clients: &[JoinHandle], started: u64) {
    let mut said = started;
    while !clients.iter().all(JoinHandle::is_finished) {
        clock::sleep(LOOK_NS);
        let now = clock::now_ns();
        let elapsed_ns = now - started;
        if now - said >= progress::pause(elapsed_ns) {
            shared.say(&alloc::format!("{}\n", shared.progress(elapsed_ns)));
            said = now;
        }
    }
}

/// Prints totals and table; tells whether every planned call succeeded.
fn print(shared: &Shared, elapsed_ns: u64) -> bool {
    let options = &shared.options;
    let mut results: Results = shared.take_results();
    if options.balanced {
        for (name, outcome) in options.workloads.iter().zip(&results.outcomes) {
            let calls = outcome.durations.len() as u64;
            if let Ok(line) = answer::total(name, options.seed, calls, outcome.digest) {
                shared.say(&line);
            }
        }
    }
    let mut lines = console::Lines::default();
    let written = results.write(&mut lines, &options.workloads);
    lines.flush();
    let (good, bad) = results.totals();
    let milliseconds = (elapsed_ns / 1_000_000).max(1);
    println!(
        "{milliseconds} ms, {} calls per minute",
        good * 60_000 / milliseconds
    );
    let planned = shared.plan.length() as u64;
    if good + bad < planned {
        println!("{} calls were not made", planned - good - bad);
    }
    written.is_ok() && good == planned && planned > 0
}
