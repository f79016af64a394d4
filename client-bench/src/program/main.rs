//! The benchmark client: starts its clients, waits for them, prints what they measured.
//!
//! The boot script gives it the manager's registry (`manager`) and `rom`.
#![no_std]
#![no_main]

extern crate alloc;

mod client;
mod figures;
mod hold;
mod machine;
mod output;
mod shared;

use alloc::sync::Arc;
use alloc::vec::Vec;
use client_bench::options::{HELP, Mode, Options};
use interfaces::faas::client::ClientError;
use l4::object::{Counters, Placement, Scheduler};
use l4::{CapIndex, Error};
use l4re::thread::{Builder, JoinHandle};
use l4re::{clock, env, println};
use machine::Machine;
use shared::Shared;

l4re::entry!(main);

/// Exit code if an invocation did not go as expected.
const FAILED: i64 = 1;
/// Exit code for a wrong command line.
const USAGE: i64 = 2;

/// Stack of a client's thread: it has a buffer for replies and prints.
const STACK: u64 = 128 << 10;
/// How often the main thread looks whether the clients got further.
const LOOK_NS: u64 = 1_000_000;
/// How long a run may be silent.
const PROGRESS_NS: u64 = 5_000_000_000;
/// Between the clients' being ready and their start: enough for all to see the starting time.
const START_NS: u64 = 10_000_000;

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
    if options.figures {
        return if figures::run(registry) { 0 } else { FAILED };
    }
    // Without the right to it, the priority stays as it is.
    let _ = Scheduler(CapIndex::SCHEDULER).place(CapIndex::THREAD, best_place());
    if options.mode == Some(Mode::Hold) {
        return if hold::run(&options, registry) { 0 } else { FAILED };
    }
    if options.check_leaks {
        run_until_steady(options, registry)
    } else {
        run(options, false, registry)
    }
}

/// Does what the options say. Returns the exit code.
fn run(options: Options, is_silent: bool, registry: CapIndex) -> i64 {
    let shared = Arc::new(Shared::new(options, is_silent));
    match start_clients(&shared, registry) {
        Ok(clients) => finish(&shared, clients),
        Err(error) => {
            println!("a client's thread can't be started: {error}");
            FAILED
        }
    }
}

/// Most runs of [`run_until_steady`] after the first.
const MOST_RUNS: usize = 4;

/// [`run`] again and again: the first time everything comes into use that will be, later nothing more must. Objects are never more.
/// A heap may need a page more when things happen in another order than ever before, so as long as frames get fewer there is one
/// more run; what leaks, leaks in each of them.
fn run_until_steady(options: Options, registry: CapIndex) -> i64 {
    let compare = || -> Result<(i64, bool), ClientError> {
        let (machine, others) = (Machine::at_rest()?, machine::clients(registry)?);
        let mut code = run(options.clone(), true, registry);
        let (mut before, mut is_steady) = (machine.quiet_without_clients(registry, others)?, false);
        for number in 0..MOST_RUNS {
            code |= run(options.clone(), number > 0, registry);
            let after = machine.quiet_without_clients(registry, others)?;
            println!("in use before: {before:?}\nin use after:  {after:?}");
            is_steady = after == before;
            if is_steady || without_frames(after) != without_frames(before) {
                break;
            }
            before = after;
        }
        Ok((code, is_steady))
    };
    match compare() {
        Ok((code, is_steady)) => {
            println!("leaks: {}", if is_steady { "none" } else { "SOME" });
            if is_steady { code } else { FAILED }
        }
        Err(error) => {
            println!("the machine's counters can't be had, or don't come to rest: {error}");
            FAILED
        }
    }
}

/// What there is of objects.
fn without_frames(counters: Counters) -> Counters {
    Counters {
        free_frames: 0,
        ..counters
    }
}

/// The highest priority that the program may use, on the calling thread's CPU: neither the main thread, which only looks
/// from time to time, nor a client that wants a core shall wait for workers.
fn best_place() -> Placement {
    let info = Scheduler(CapIndex::SCHEDULER).info();
    let priority = info.map_or(1, |info| info.max_priority);
    Placement {
        cpu: Placement::SAME_CPU,
        priority,
        slice_us: 0,
    }
}

/// Starts the clients one after the other, so that they get their cores in order.
fn start_clients(shared: &Arc<Shared>, registry: CapIndex) -> Result<Vec<JoinHandle>, Error> {
    let mut clients = Vec::new();
    for number in 0..shared.options.threads {
        let own = shared.clone();
        let builder = Builder {
            stack_size: STACK,
            placement: best_place(),
            ..Builder::default()
        };
        clients.push(builder.spawn(move || client::run(&own, number, registry))?);
        while shared.ready() <= number && !shared.is_lost(clients.last()) {
            clock::sleep(LOOK_NS);
        }
    }
    Ok(clients)
}

/// Lets the clients go, waits for them and prints what they measured. Returns the exit code.
fn finish(shared: &Shared, clients: Vec<JoinHandle>) -> i64 {
    shared.start_at(clock::after(START_NS));
    watch(shared, &clients);
    for client in clients {
        // A client that died has no results, which the totals show.
        let _ = client.join();
    }
    match output::print(shared) {
        true => 0,
        false => FAILED,
    }
}

/// Reports progress until all clients have ended.
fn watch(shared: &Shared, clients: &[JoinHandle]) {
    let total = u64::from(shared.options.threads) * u64::from(shared.options.iterations);
    let mut said = clock::now_ns();
    while shared.finished() < clients.len() as u32
        && !clients.iter().all(|client| shared.is_lost(Some(client)))
    {
        clock::sleep(LOOK_NS);
        let now = clock::now_ns();
        if now - said >= PROGRESS_NS {
            println!("{} of {total} invocations done", shared.done());
            said = now;
        }
    }
}
