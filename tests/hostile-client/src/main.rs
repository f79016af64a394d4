//! Bad input for the manager, and what it must answer: `hostile-client attack ROUNDS`, or `uncounted` if others change the
//! machine's counters meanwhile. Beside it, `hostile-client neighbour ROUNDS` invokes functions and compares each result with
//! what it must be.
//!
//! The boot script gives all the manager's registry (`manager`) and `rom`, `attack` also `debug`.
#![no_std]
#![no_main]

extern crate alloc;

mod attempts;
mod elf;
mod neighbour;
mod world;
mod zip;

use l4re::{env, println};

l4re::entry!(main);

/// Exit code for a wrong command line.
const USAGE: i64 = 2;

fn main() -> i64 {
    let mut arguments = env::args().skip(1);
    let role = arguments.next().unwrap_or_default();
    let rounds = arguments.next().and_then(|text| text.parse().ok());
    let (Some(registry), Some(rounds)) = (env::cap("manager"), rounds) else {
        println!("usage: hostile-client attack|uncounted|neighbour ROUNDS, with the capability 'manager'");
        return USAGE;
    };
    let is_fine = match role {
        "attack" => world::run(registry, rounds),
        "uncounted" => attempts::Attacker::everything(registry, rounds),
        "neighbour" => neighbour::run(registry, rounds),
        other => {
            println!("unknown role '{other}'");
            return USAGE;
        }
    };
    i64::from(!is_fine)
}
