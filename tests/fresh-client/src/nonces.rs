//! Random values: none comes twice, and what was drawn before the first request is shared by clones of one function only.

use crate::twins::{Fault, Twin, Twins, lines};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use l4re::println;

/// Beginning of the names of values that clones of one function share.
const SHARED: &str = "function-";

/// What was drawn so far.
#[derive(Default)]
struct Drawn {
    values: BTreeSet<String>,
    /// What each function's clones share, by its name.
    shared: BTreeMap<(Twin, String), String>,
}

/// Draws until there are `count` values.
pub(crate) fn run(twins: &Twins<'_>, count: u64) -> Result<(), Fault> {
    let mut drawn = Drawn::default();
    let mut round = 0;
    while (drawn.values.len() as u64) < count {
        let twin = twins.of_round(round);
        let before = drawn.values.len();
        for (name, value) in lines(&twins.ask(twin, b"draw")?) {
            drawn.note(twin, name, value)?;
        }
        if drawn.values.len() == before {
            return Err(String::from("nothing was drawn"));
        }
        round += 1;
    }
    twins.check_counters()?;
    println!(
        "{}: {} values in {round} clones of {} functions, no two alike; {} kinds are shared within a function",
        twins.function,
        drawn.values.len(),
        twins.cloned().len(),
        drawn.shared.len() / twins.cloned().len().max(1)
    );
    Ok(())
}

impl Drawn {
    fn note(&mut self, twin: Twin, name: &str, value: &str) -> Result<(), Fault> {
        if !name.starts_with(SHARED) {
            return match self.values.insert(String::from(value)) {
                true => Ok(()),
                false => Err(format!("{name} {value} was drawn twice, now by {twin:?}")),
            };
        }
        let key = (twin, String::from(name));
        if let Some(first) = self.shared.get(&key) {
            return match first == value {
                true => Ok(()),
                false => Err(format!("{name} of {twin:?} was {first}, and is {value}")),
            };
        }
        self.shared.insert(key, String::from(value));
        match self.values.insert(String::from(value)) {
            true => Ok(()),
            false => Err(format!("{name} {value} was drawn before, now by {twin:?}")),
        }
    }
}
