//! Printing the results.

use crate::shared::{Outcome, Shared};
use alloc::string::String;
use alloc::vec::Vec;
use client_bench::failures::Failures;
use client_bench::sample::Sample;
use client_bench::{json, table};
use core::fmt::{self, Write};
use l4::CapIndex;
use l4::object::Vcon;
use l4re::{console, println};

/// Prints what the options ask for. Tells whether all went as expected.
pub(crate) fn print(shared: &Shared) -> bool {
    let options = &shared.options;
    let outcomes = shared.take_outcomes();
    let mut failures = Failures::default();
    for (_, outcome) in &outcomes {
        failures.merge(&outcome.failures);
    }
    let modes = modes(&outcomes);
    let elapsed_ns = elapsed(&outcomes);
    let lost = options.threads - outcomes.len() as u32;
    let samples: Vec<Vec<Sample>> = outcomes.into_iter().map(|(_, outcome)| outcome.samples).collect();
    let mut lines = Lines::new(shared.is_silent);
    let mut written = Ok(());
    if options.format.table() {
        let run = table::Run {
            function: &options.function,
            mode: &modes,
            samples: &samples,
            failures: &failures,
            elapsed_ns,
        };
        written = table::write(&mut lines, &run);
    }
    if options.format.json() {
        written = written.and_then(|()| json::write(&mut lines, &samples));
    }
    lines.flush();
    if lost > 0 {
        println!("{lost} client{} died", if lost == 1 { "" } else { "s" });
    }
    let total = failures.total();
    let as_expected = match &options.expect {
        None => total == 0,
        Some(kind) => {
            let only = total > 0 && failures.of_kind(kind) == total && samples.iter().all(Vec::is_empty);
            println!("{kind} expected: {}", if only { "so it is" } else { "NOT SO" });
            only
        }
    };
    as_expected && lost == 0 && written.is_ok()
}

/// From the first client's start to the last one's end.
fn elapsed(outcomes: &[(u32, Outcome)]) -> u64 {
    let spans = || outcomes.iter().filter_map(|(_, outcome)| outcome.span);
    let start = spans().map(|(start, _)| start).min().unwrap_or(0);
    spans()
        .map(|(_, end)| end)
        .max()
        .unwrap_or(0)
        .saturating_sub(start)
}

/// The start modes that occurred.
fn modes(outcomes: &[(u32, Outcome)]) -> String {
    let bits = outcomes.iter().fold(0, |bits, (_, outcome)| bits | outcome.modes);
    let names: Vec<&str> = [(1, "boot"), (2, "warm"), (4, "snapshot"), (8, "direct")]
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .map(|(_, name)| *name)
        .collect();
    if names.is_empty() {
        String::from("none")
    } else {
        names.join(" and ")
    }
}

/// Collects text and writes it to the console in messages of whole lines, so that nothing that others print ends up
/// inside a line.
pub(crate) struct Lines {
    text: String,
    /// Throw the text away.
    is_silent: bool,
}

impl Lines {
    /// No text yet.
    pub(crate) fn new(is_silent: bool) -> Lines {
        Lines {
            text: String::new(),
            is_silent,
        }
    }

    /// Writes what was collected.
    pub(crate) fn flush(&mut self) {
        if !self.is_silent {
            console::write(CapIndex::LOG, self.text.as_bytes());
        }
        self.text.clear();
    }
}

impl Write for Lines {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive('\n') {
            let line_start = self.text.rfind('\n').map_or(0, |at| at + 1);
            if self.text.len() + piece.len() > Vcon::CHUNK && line_start > 0 {
                let rest = self.text.split_off(line_start);
                self.flush();
                self.text = rest;
            }
            self.text.push_str(piece);
        }
        Ok(())
    }
}
