//! Failed invocations, counted by kind.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};

/// How many invocations failed, by kind of error, with the first error of each kind in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    kinds: BTreeMap<&'static str, Kind>,
}

/// Failures of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// How many.
    pub count: u64,
    /// What the first one said.
    pub first: String,
}

impl Failures {
    /// Counts a failure; `message` is evaluated for the first of its kind only.
    pub fn count(&mut self, kind: &'static str, message: impl ToString) {
        self.kinds
            .entry(kind)
            .and_modify(|known| known.count += 1)
            .or_insert_with(|| Kind {
                count: 1,
                first: message.to_string(),
            });
    }

    /// Adds what another client counted.
    pub fn merge(&mut self, other: &Failures) {
        for (kind, more) in &other.kinds {
            self.kinds
                .entry(kind)
                .and_modify(|known| known.count += more.count)
                .or_insert_with(|| more.clone());
        }
    }

    /// All failures together.
    pub fn total(&self) -> u64 {
        self.kinds.values().map(|kind| kind.count).sum()
    }

    /// Failures of one kind.
    pub fn of_kind(&self, kind: &str) -> u64 {
        self.kinds.get(kind).map_or(0, |kind| kind.count)
    }

    /// The kinds that occurred, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Kind)> {
        self.kinds.iter().map(|(name, kind)| (*name, kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart_and_the_first_message_stays() {
        let mut failures = Failures::default();
        failures.count("timeout", "first");
        failures.count("timeout", "second");
        failures.count("fault", "at 0x0");
        assert_eq!(
            (
                failures.total(),
                failures.of_kind("timeout"),
                failures.of_kind("panic")
            ),
            (3, 2, 0)
        );
        assert_eq!(
            failures
                .iter()
                .map(|(name, _)| name)
                .collect::<std::vec::Vec<_>>(),
            ["fault", "timeout"]
        );
        assert_eq!(failures.iter().last().unwrap().1.first, "first");
    }

    #[test]
    fn merging_adds_up() {
        let mut one = Failures::default();
        one.count("timeout", "a");
        let mut other = one.clone();
        other.count("panic", "b");
        one.merge(&other);
        assert_eq!(
            (one.of_kind("timeout"), one.of_kind("panic"), one.total()),
            (2, 1, 3)
        );
    }
}
