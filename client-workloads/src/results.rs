//! What happened in a run, and the table about it.

use crate::answer::ResultDigest;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// What happened to the calls of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How long each successful call took, from the request to the reply, in nanoseconds.
    pub durations: Vec<u64>,
    /// How many failed.
    pub failures: u64,
    /// The results' digests, combined.
    pub digest: ResultDigest,
}

/// What happened, by workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// One for each workload, in order.
    pub outcomes: Vec<Outcome>,
}

impl Results {
    /// Of so many workloads; nothing has happened yet.
    #[must_use]
    pub fn new(workloads: usize) -> Results {
        Results {
            outcomes: vec![Outcome::default(); workloads],
        }
    }

    /// Takes note of a successful call.
    pub fn succeeded(&mut self, workload: usize, nanoseconds: u64, digest: ResultDigest) {
        if let Some(outcome) = self.outcomes.get_mut(workload) {
            outcome.durations.push(nanoseconds);
            outcome.digest.combine(digest);
        }
    }

    /// Takes note of calls that failed.
    pub fn failed(&mut self, workload: usize, calls: u64) {
        if let Some(outcome) = self.outcomes.get_mut(workload) {
            outcome.failures += calls;
        }
    }

    /// Adds what another client did.
    pub fn merge(&mut self, other: Results) {
        for (own, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            own.durations.extend(more.durations);
            own.failures += more.failures;
            own.digest.combine(more.digest);
        }
    }

    /// How many calls succeeded, and how many failed.
    #[must_use]
    pub fn totals(&self) -> (u64, u64) {
        self.outcomes.iter().fold((0, 0), |(good, bad), outcome| {
            (good + outcome.durations.len() as u64, bad + outcome.failures)
        })
    }

    /// The table: one line per workload, times in milliseconds.
    ///
    /// # Errors
    /// What `out` reports.
    pub fn write(&mut self, out: &mut impl Write, names: &[String]) -> fmt::Result {
        writeln!(
            out,
            "{:<24}{:>7}{:>8}{:>12}{:>12}{:>12}   digest of the results",
            "workload", "calls", "failed", "min ms", "median ms", "max ms"
        )?;
        for (name, outcome) in names.iter().zip(&mut self.outcomes) {
            outcome.durations.sort_unstable();
            let durations = &outcome.durations;
            write!(out, "{name:<24}{:>7}{:>8}", durations.len(), outcome.failures)?;
            let middle = durations.len().saturating_sub(1) / 2;
            for duration in [durations.first(), durations.get(middle), durations.last()] {
                match duration {
                    Some(ns) => write!(out, "{:>8}.{:03}", ns / 1_000_000, ns / 1_000 % 1_000)?,
                    None => write!(out, "{:>12}", "-")?,
                }
            }
            writeln!(out, "   {}", outcome.digest)?;
        }
        let (good, bad) = self.totals();
        writeln!(out, "{good} calls succeeded, {bad} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn table_has_a_line_per_workload() {
        let digest = ResultDigest::of(&json!({"fib": 5})).unwrap();
        let mut results = Results::new(2);
        results.succeeded(0, 3_000_000, digest);
        let mut other = Results::new(2);
        other.succeeded(0, 1_500_000, ResultDigest::default());
        other.succeeded(0, 2_000_999, ResultDigest::default());
        other.failed(1, 4);
        results.merge(other);
        let mut text = String::new();
        results
            .write(&mut text, &["fib".into(), "noop-carray-10m".into()])
            .unwrap();
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        let shown = std::format!("{digest}");
        assert_eq!(words[1], ["fib", "3", "0", "1.500", "2.000", "3.000", &shown]);
        assert_eq!(
            words[2],
            ["noop-carray-10m", "0", "4", "-", "-", "-", "0000000000000000"]
        );
        assert_eq!(words[3], ["3", "calls", "succeeded,", "4", "failed"]);
        assert_eq!(results.totals(), (3, 4));
    }
}
