//! The FaaS server's wiring: the registry on the main thread, a thread on each client's core, and the machine below
//! the service.
//!
//! The boot script gives it the registry's gate (`registry`), and `rom` for the images that run functions which are no
//! native programs.
#![no_std]
#![no_main]

extern crate alloc;

mod answers;
mod image;
mod machine;
mod program;
mod python;
mod registry;
mod requests;
mod runtimes;
mod seat;
mod stored;

use core::fmt;
use l4::object::{Placement, Scheduler};
use l4::{CapIndex, Error};
use l4re::server::{self, Server};
use l4re::{env, println};
use manager::options::{HELP, Options};

l4re::entry!(main);

/// Highest priority of a client's threads on its core: below its manager thread, which must be able to end what is
/// late, and above the workers (see [`interfaces::faas::ActionConfig::PRIORITY_MAX`]).
const CLIENT_PRIORITY: u8 = 150;
/// Priority of the manager's threads on the clients' cores.
const SEAT_PRIORITY: u8 = 160;
/// Priority of the registry.
const REGISTRY_PRIORITY: u8 = 170;

/// Why the manager does not run.
enum StartError {
    Usage,
    NoGate,
    NoCpus,
    Kernel(&'static str, Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Usage => f.write_str("the command line is wrong"),
            StartError::NoGate => f.write_str(
                "there is no capability 'registry' to serve; the boot script passes it as caps = { registry = channel:svr() }",
            ),
            StartError::NoCpus => f.write_str("the scheduler that the boot script passes has no CPUs"),
            StartError::Kernel(doing, error) => write!(f, "{doing}: {error}"),
        }
    }
}

/// Turns an error of the kernel into one that says what was tried.
fn failed(doing: &'static str) -> impl Fn(Error) -> StartError {
    move |error| StartError::Kernel(doing, error)
}

fn main() -> Result<(), StartError> {
    let options = Options::parse(env::args().skip(1)).map_err(|error| {
        println!("{error}");
        StartError::Usage
    })?;
    if options.help {
        println!("{HELP}");
        return Ok(());
    }
    let gate = env::cap("registry").ok_or(StartError::NoGate)?;
    let scheduler = Scheduler(CapIndex::SCHEDULER);
    let info = scheduler
        .info()
        .map_err(failed("asking the scheduler for its CPUs"))?;
    if info.cpus == 0 {
        return Err(StartError::NoCpus);
    }
    let place = Placement {
        cpu: Placement::SAME_CPU,
        priority: REGISTRY_PRIORITY,
        slice_us: 0,
    };
    scheduler
        .place(CapIndex::THREAD, place)
        .map_err(failed("raising the registry's priority"))?;
    let mut registry = registry::Registry::new(info.cpus, &options)?;
    server::bind_gate(gate, registry::REGISTRY_LABEL).map_err(failed("binding the gate 'registry'"))?;
    let mut server = Server::new().map_err(failed("finding slots for the server"))?;
    println!("ready: {registry}");
    server.run(&mut registry);
    Ok(())
}
