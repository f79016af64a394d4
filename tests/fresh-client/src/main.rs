//! What clones of a function must not have in common, and what they must: `fresh-client CHECK FUNCTION COUNT`, where CHECK is
//! one of `nonces`, `clocks`, `state`, `canary`.
//!
//! The functions answer in lines of a name and a value (`tests/fresh-functions/`). Each is created twice, so that clones
//! of two functions are compared as well.
#![no_std]
#![no_main]

extern crate alloc;

mod canaries;
mod clocks;
mod nonces;
mod state;
mod twins;

use l4re::faas::Session;
use l4re::{env, println};
use twins::Twins;

l4re::entry!(main);

/// Exit code for a wrong command line.
const USAGE: i64 = 2;

fn main() -> i64 {
    let mut arguments = env::args().skip(1);
    let check = arguments.next().unwrap_or_default();
    let function = arguments.next();
    let count = arguments.next().and_then(|text| text.parse().ok());
    let (Some(registry), Some(function), Some(count)) = (env::cap("manager"), function, count) else {
        println!("usage: fresh-client CHECK FUNCTION COUNT, with the capability 'manager'");
        return USAGE;
    };
    let session = match Session::open(registry) {
        Ok(session) => session,
        Err(error) => {
            println!("the client can't register: {error}");
            return 1;
        }
    };
    let twins = match Twins::create(&session, function) {
        Ok(twins) => twins,
        Err(error) => {
            println!("{function} cannot be created: {error}");
            return 1;
        }
    };
    let outcome = match check {
        "nonces" => nonces::run(&twins, count),
        "clocks" => clocks::run(&twins, count),
        "canary" => canaries::run(&twins, count),
        "state" => state::run(&twins, count),
        other => {
            println!("unknown check '{other}'");
            return USAGE;
        }
    };
    println!(
        "{function}: {} clones without the manager",
        twins.without_manager()
    );
    if let Err(why) = &outcome {
        println!("WRONG: {function}: {why}");
    }
    i64::from(outcome.is_err())
}
