//! What was computed before the first request is there in each clone; what a clone changes is seen by no other.

use crate::twins::{Fault, Twin, Twins, number, value};
use alloc::format;
use alloc::string::{String, ToString};
use interfaces::manifest::StartMode;
use l4re::println;

/// What an invocation found.
struct Found {
    table: String,
    uses: u64,
}

/// Looks `count` times.
pub(crate) fn run(twins: &Twins<'_>, count: u64) -> Result<(), Fault> {
    let [first, second] = [look(twins, Twin::First)?, look(twins, Twin::Second)?];
    if first.table == second.table {
        return Err(format!("both functions have the table {}", first.table));
    }
    for round in 0..count {
        let twin = Twin::of_round(round);
        let found = look(twins, twin)?;
        let expected = if twin == Twin::First { &first } else { &second };
        if found.table != expected.table || found.uses != 1 {
            return Err(format!(
                "round {round}, {twin:?}: table {} instead of {}, {} uses",
                found.table, expected.table, found.uses
            ));
        }
    }
    would_be_seen(twins)?;
    println!(
        "{}: {count} clones found what was prepared, and no change of another",
        twins.function
    );
    Ok(())
}

/// A worker that is kept sees the changes of the invocation before.
fn would_be_seen(twins: &Twins<'_>) -> Result<(), Fault> {
    let [fresh, kept] = [look(twins, Twin::Warm)?, look(twins, Twin::Warm)?];
    if twins.last_mode() != StartMode::Warm {
        println!("{}: ends with its request, in mode warm too", twins.function);
        return Ok(());
    }
    if fresh.table == kept.table || (fresh.uses, kept.uses) != (1, 2) {
        return Err(format!(
            "a warm worker shows no change: table {} and {}, {} and {} uses",
            fresh.table, kept.table, fresh.uses, kept.uses
        ));
    }
    Ok(())
}

fn look(twins: &Twins<'_>, twin: Twin) -> Result<Found, Fault> {
    let answer = twins.ask(twin, b"state")?;
    Ok(Found {
        table: value(&answer, "table")?.to_string(),
        uses: number(value(&answer, "uses")?)?,
    })
}
