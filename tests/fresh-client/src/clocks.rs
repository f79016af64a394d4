//! Clocks: what a clone reads lies between the client's readings before and after the call.

use crate::twins::{Fault, Twins, lines, number};
use alloc::format;
use core::ops::RangeInclusive;
use l4re::{clock, println};

/// What a clock may lose on its way through units and floating-point numbers.
const ROUNDING_NS: u64 = 2_000;

/// Reads all clocks `count` times.
pub(crate) fn run(twins: &Twins<'_>, count: u64) -> Result<(), Fault> {
    let mut readings = 0u64;
    for round in 0..count {
        let twin = twins.of_round(round);
        let (start, start_wall) = (clock::now_ns(), clock::wall_clock_ns());
        let answer = twins.ask(twin, b"clocks")?;
        let (end, end_wall) = (clock::now_ns(), clock::wall_clock_ns());
        for (name, value) in lines(&answer) {
            let possible = match name {
                "monotonic" => start..=end,
                "wall" => start_wall - ROUNDING_NS..=end_wall,
                // A clone has computed for no longer than it exists.
                "cpu" => 0..=end - start,
                _ => return Err(format!("unknown clock '{name}'")),
            };
            check(name, number(value)?, possible)?;
            readings += 1;
        }
    }
    if readings == 0 {
        return Err(format!("{count} invocations told no time"));
    }
    println!(
        "{}: {readings} readings of clocks in {count} clones, all right",
        twins.function
    );
    Ok(())
}

fn check(name: &str, time: u64, possible: RangeInclusive<u64>) -> Result<(), Fault> {
    if possible.contains(&time) {
        return Ok(());
    }
    let (from, to) = possible.into_inner();
    Err(format!("{name} is {time}, not in {from}..={to}"))
}
