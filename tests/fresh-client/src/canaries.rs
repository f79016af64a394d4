//! Canaries: what one invocation plants wherever it can, no other finds.

use crate::twins::{Fault, Twin, Twins};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use canary::{Letters, Order, mixed};
use interfaces::faas::INLINE_REQUEST;
use l4::object::Thread;
use l4re::{println, start};

/// Invocations that look for each canary.
const SEARCHES: u64 = 100;
/// One search in so many is made by a worker whose code was loaded for it.
const BOOT_EVERY: u64 = 20;
/// The function that takes short requests only.
const SHORT: &str = "canary-native";
/// Bytes of a request that does not fit into a message.
const LONG: usize = 64 << 10;

/// Plants canaries, and has `count` clones look for them.
pub(crate) fn run(twins: &Twins<'_>, count: u64) -> Result<(), Fault> {
    let mut letters = 0;
    let mut searches = 0;
    let mut found = String::new();
    for round in 0..count {
        if round.is_multiple_of(SEARCHES) {
            letters = new_letters()?;
            plant_everywhere(twins, letters)?;
        }
        let mut searchers = Vec::from([twins.of_round(round)]);
        if round.is_multiple_of(BOOT_EVERY) {
            searchers.push(Twin::Boot);
        }
        for twin in searchers {
            found = search(twins, twin, letters)?;
            searches += 1;
            if !found.starts_with("nothing") {
                return Err(format!("search {searches}, {twin:?}: {found}"));
            }
        }
    }
    println!(
        "{}: {searches} searches, all like the last: {found}",
        twins.function
    );
    would_be_found(twins)
}

/// In a worker that is kept, a canary is found in every place where it was planted.
fn would_be_found(twins: &Twins<'_>) -> Result<(), Fault> {
    let letters = new_letters()?;
    let planted = plant(twins, Twin::Warm, letters)?;
    let found = search(twins, Twin::Warm, letters)?;
    println!("{}: in the same worker: {found}", twins.function);
    let mut places = planted.split_ascii_whitespace().skip(1).peekable();
    if places.peek().is_none() {
        return Err(format!("nothing was planted: {planted}"));
    }
    match places.find(|place| !found.contains(place)) {
        Some(place) => Err(format!("what was planted in {place} is not found: {found}")),
        None => Ok(()),
    }
}

/// Plants in clones of all functions and in a freshly loaded worker, in each in one that answers and in one that fails.
fn plant_everywhere(twins: &Twins<'_>, letters: Letters) -> Result<(), Fault> {
    for twin in twins.cloned().chain([Twin::Boot]) {
        plant(twins, twin, letters)?;
        let request = Order::Fault(letters).request(length(twins));
        if twins.ask(twin, &request).is_ok() || twins.ask_directly(twin, &request).is_ok() {
            return Err(format!("{twin:?} did not fail"));
        }
        twins.ask_directly(twin, &Order::Plant(letters).request(length(twins)))?;
    }
    Ok(())
}

/// Plants, and returns the names of the places.
fn plant(twins: &Twins<'_>, twin: Twin, letters: Letters) -> Result<String, Fault> {
    let answer = twins.ask(twin, &Order::Plant(letters).request(length(twins)))?;
    match answer.lines().next() {
        Some(planted) if planted.starts_with("planted ") => Ok(planted.to_string()),
        _ => Err(format!("{twin:?} planted nothing: {answer}")),
    }
}

fn search(twins: &Twins<'_>, twin: Twin, letters: Letters) -> Result<String, Fault> {
    twins.ask(twin, &Order::Search(mixed(letters)).request(0))
}

fn length(twins: &Twins<'_>) -> usize {
    if twins.function == SHORT {
        INLINE_REQUEST
    } else {
        LONG
    }
}

/// Four letters that nobody knows.
fn new_letters() -> Result<Letters, Fault> {
    let words = Thread(start::current_thread())
        .random()
        .map_err(|error| format!("no randomness: {error}"))?;
    Ok(Letters::from_le_bytes(
        [0, 1, 2, 3].map(|index| b'A' + (words[index] % 26) as u8),
    ))
}
