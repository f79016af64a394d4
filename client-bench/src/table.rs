//! The table for people.

use crate::failures::Failures;
use crate::sample::{Phase, Sample};
use crate::statistics::{Summary, throughput_milli};
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// What one run did, for the table.
#[derive(Debug)]
pub struct Run<'a> {
    /// The function's name.
    pub function: &'a str,
    /// The start modes that the replies named, e.g. `boot`.
    pub mode: &'a str,
    /// The samples of each client's successful invocations.
    pub samples: &'a [Vec<Sample>],
    /// What failed.
    pub failures: &'a Failures,
    /// From the first measured request until the last reply, in nanoseconds.
    pub elapsed_ns: u64,
}

/// Writes the table: one line per phase, times in microseconds.
///
/// # Errors
/// What `out` reports.
pub fn write(out: &mut impl Write, run: &Run<'_>) -> fmt::Result {
    let succeeded: usize = run.samples.iter().map(Vec::len).sum();
    let clients = run.samples.len();
    let plural = |number| if number == 1 { "" } else { "s" };
    writeln!(
        out,
        "function {}, mode {}: {clients} client{}, {succeeded} invocation{} succeeded, {} failed",
        run.function,
        run.mode,
        plural(clients),
        plural(succeeded),
        run.failures.total()
    )?;
    if succeeded > 0 {
        writeln!(
            out,
            "\n{:<10}{:>12}{:>12}{:>12}{:>12}{:>12}   us",
            "phase", "min", "p50", "p90", "p99", "max"
        )?;
        for phase in Phase::ALL {
            write_phase(out, run.samples, phase)?;
        }
    }
    let throughput = throughput_milli(succeeded as u64, run.elapsed_ns);
    writeln!(
        out,
        "\nthroughput {}.{} invocations/s in {} ms",
        throughput / 1000,
        throughput % 1000 / 100,
        run.elapsed_ns / 1_000_000
    )?;
    for (kind, failure) in run.failures.iter() {
        writeln!(out, "failed: {} x {kind}: {}", failure.count, failure.first)?;
    }
    Ok(())
}

fn write_phase(out: &mut impl Write, samples: &[Vec<Sample>], phase: Phase) -> fmt::Result {
    let mut durations: Vec<u64> = samples
        .iter()
        .flatten()
        .map(|sample| phase.duration(sample))
        .collect();
    let Some(summary) = Summary::of(&mut durations) else {
        return Ok(());
    };
    if phase == Phase::Load && summary.max == 0 {
        // Most functions have nothing to load.
        return Ok(());
    }
    write!(out, "{:<10}", phase.name())?;
    for value in [summary.min, summary.p50, summary.p90, summary.p99, summary.max] {
        // The space keeps columns apart that are wider than usual.
        write!(out, " {:>7}.{:03}", value / 1000, value % 1000)?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;
    use std::vec;

    fn sample(total: u64) -> Sample {
        Sample {
            start_invocation: 1_000_000,
            end_invocation: 1_000_000 + total,
            ..Sample::default()
        }
    }

    #[test]
    fn table_has_a_line_per_phase_and_the_failures() {
        let mut failures = Failures::default();
        failures.count("timeout", "no answer within 75 ms");
        let samples = [vec![sample(12_345), sample(23_456)], vec![sample(34_567)]];
        let run = Run {
            function: "noop",
            mode: "boot",
            samples: &samples,
            failures: &failures,
            elapsed_ns: 1_500_000_000,
        };
        let mut text = String::new();
        write(&mut text, &run).unwrap();
        assert!(text.starts_with("function noop, mode boot: 2 clients, 3 invocations succeeded, 1 failed\n"));
        let total = text.lines().find(|line| line.starts_with("total")).unwrap();
        assert_eq!(
            total.split_whitespace().collect::<Vec<_>>(),
            ["total", "12.345", "23.456", "34.567", "34.567", "34.567"]
        );
        assert!(
            text.contains("\nthroughput 2.0 invocations/s in 1500 ms\n"),
            "{text}"
        );
        assert!(text.ends_with("failed: 1 x timeout: no answer within 75 ms\n"));
    }

    #[test]
    fn columns_stay_apart_however_long_it_takes() {
        let samples = [vec![sample(12_345_678_901)]];
        let run = Run {
            function: "slow",
            mode: "boot",
            samples: &samples,
            failures: &Failures::default(),
            elapsed_ns: 12_345_678_901,
        };
        let mut text = String::new();
        write(&mut text, &run).unwrap();
        let total = text.lines().find(|line| line.starts_with("total")).unwrap();
        assert_eq!(
            total.split_whitespace().collect::<Vec<_>>()[1..],
            ["12345678.901"; 5]
        );
    }

    #[test]
    fn a_run_without_success_has_no_percentiles() {
        let run = Run {
            function: "null-write",
            mode: "boot",
            samples: &[vec![]],
            failures: &Failures::default(),
            elapsed_ns: 0,
        };
        let mut text = String::new();
        write(&mut text, &run).unwrap();
        assert!(
            !text.contains("p50") && text.contains("0 invocations succeeded"),
            "{text}"
        );
    }
}
