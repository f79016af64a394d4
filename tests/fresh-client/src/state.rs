//! What was computed before the first request is there in each clone; what a clone changes is seen by no other.

use crate::twins::{Fault, Twin, Twins, number, value};
use alloc::collections::{BTreeMap, BTreeSet};
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
    let mut tables = BTreeMap::new();
    for round in 0..count {
        let twin = twins.of_round(round);
        let found = look(twins, twin)?;
        let expected = tables.entry(twin).or_insert_with(|| found.table.clone());
        if found.table != *expected || found.uses != 1 {
            return Err(format!(
                "round {round}, {twin:?}: table {} instead of {expected}, {} uses",
                found.table, found.uses
            ));
        }
    }
    let different = BTreeSet::from_iter(tables.values()).len();
    if different != twins.cloned().len() {
        return Err(format!(
            "{} functions have {different} tables",
            twins.cloned().len()
        ));
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
