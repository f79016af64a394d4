//! The attack as a whole: everything, so that all comes into use that will be; then again, and nothing may be lost.

use crate::attempts::Attacker;
use l4::object::{Counters, Debug};
use l4::{CapIndex, Error};
use l4re::{clock, println, slots};

/// Rounds of random input in the first attack.
const WARM_UP: u64 = 40;
/// How long the machine may take to free what was given up.
const SETTLE_NS: u64 = 3_000_000_000;
const LOOK_NS: u64 = 1_000_000;
/// Without a change for so many looks, the machine is at rest.
const STEADY_LOOKS: u32 = 20;

/// Tells whether every attempt got the answer that it must get, and nothing was lost.
pub(crate) fn run(registry: CapIndex, rounds: u64) -> bool {
    let outcome = attack(registry, rounds);
    match &outcome {
        Ok(true) => println!("all attempts were refused as they must be, and nothing is lost"),
        Ok(false) => println!("FAILED"),
        Err(error) => println!("FAILED: {error}"),
    }
    matches!(outcome, Ok(true))
}

fn attack(registry: CapIndex, rounds: u64) -> Result<bool, Error> {
    // The manager's tables grow with what a client does and go with it, and those of the next one may lie elsewhere: only after
    // a second attack like the one that counts, there is nothing new.
    let warm = Attacker::everything(registry, WARM_UP) && Attacker::everything(registry, rounds);
    let before = at_rest()?;
    let fine = Attacker::everything(registry, rounds);
    let deadline = clock::after(SETTLE_NS);
    let mut after = at_rest()?;
    while after != before && clock::now_ns() < deadline {
        after = at_rest()?;
    }
    println!("in use before: {before:?}");
    println!("in use after:  {after:?}");
    println!("leaks: {}", if before == after { "none" } else { "SOME" });
    Ok(warm && fine && before == after)
}

/// The machine's counters and this program's slots, once they don't change any more.
fn at_rest() -> Result<(Counters, usize), Error> {
    let mut last = (Debug(CapIndex::DEBUG).counters()?, slots::in_use());
    let mut looks = 0;
    while looks < STEADY_LOOKS {
        clock::sleep(LOOK_NS);
        let now = (Debug(CapIndex::DEBUG).counters()?, slots::in_use());
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}
