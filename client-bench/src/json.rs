//! The raw figures for programs.
//!
//! One object per client, each with arrays of points in time in microseconds since boot. Field names are those that
//! Mett-Eagle's scripts read. Lines stay short, so that one console message holds whole lines and nothing that
//! another program prints can end up inside one.

use crate::sample::Sample;
use alloc::vec::Vec;
use core::fmt::{self, Write};

/// The line before the figures.
pub const BEGIN: &str = "====   OUTPUT   ====";
/// The line behind them.
pub const END: &str = "==== END OUTPUT ====";

/// Values per line: a line stays below 240 bytes even if each is as long as a 64-bit number gets.
const VALUES_PER_LINE: usize = 8;

type Field = (&'static str, fn(&Sample) -> u64);

const GROUPS: [(&str, &[Field]); 4] = [
    (
        "invocation",
        &[("start", |s| s.start_invocation), ("end", |s| s.end_invocation)],
    ),
    (
        "worker",
        &[("start", |s| s.start_worker), ("end", |s| s.end_worker)],
    ),
    (
        "runtime",
        &[
            ("start", |s| s.start_runtime),
            ("load", |s| s.start_load),
            ("end", |s| s.end_runtime),
        ],
    ),
    (
        "function",
        &[
            ("start", |s| s.start_function),
            ("end", |s| s.end_function),
            ("internal_duration", |s| {
                s.end_function.saturating_sub(s.start_function)
            }),
        ],
    ),
];

/// Writes the figures of all clients between the two marker lines.
///
/// # Errors
/// What `out` reports.
pub fn write(out: &mut impl Write, clients: &[Vec<Sample>]) -> fmt::Result {
    writeln!(out, "{BEGIN}\n[")?;
    for (index, samples) in clients.iter().enumerate() {
        write_client(out, samples)?;
        writeln!(out, "{}", if index + 1 < clients.len() { "," } else { "" })?;
    }
    writeln!(out, "]\n{END}")
}

fn write_client(out: &mut impl Write, samples: &[Sample]) -> fmt::Result {
    writeln!(out, "{{")?;
    for (group_index, (group, fields)) in GROUPS.iter().enumerate() {
        writeln!(out, "\"{group}\": {{")?;
        for (field_index, (field, value)) in fields.iter().enumerate() {
            write!(out, "\"{field}\": [")?;
            write_values(out, samples, *value)?;
            writeln!(out, "]{}", if field_index + 1 < fields.len() { "," } else { "" })?;
        }
        writeln!(out, "}}{}", if group_index + 1 < GROUPS.len() { "," } else { "" })?;
    }
    write!(out, "}}")
}

fn write_values(out: &mut impl Write, samples: &[Sample], value: fn(&Sample) -> u64) -> fmt::Result {
    for (index, sample) in samples.iter().enumerate() {
        if index > 0 {
            out.write_str(if index % VALUES_PER_LINE == 0 { ",\n" } else { "," })?;
        }
        let nanoseconds = value(sample);
        write!(out, "{}.{:03}", nanoseconds / 1000, nanoseconds % 1000)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::string::String;
    use std::vec;

    fn json_of(clients: &[Vec<Sample>]) -> Value {
        let mut text = String::new();
        write(&mut text, clients).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.remove(0), lines.pop()), (BEGIN, Some(END)));
        assert!(lines.iter().all(|line| line.len() < 240), "a line is too long");
        serde_json::from_str(&lines.join("\n")).unwrap()
    }

    #[test]
    fn arrays_have_the_known_names_and_microseconds() {
        let sample = Sample {
            start_invocation: 1_000_001,
            start_worker: 2_000_020,
            start_runtime: 3_000_300,
            start_load: 3_000_400,
            start_function: 4_004_000,
            end_function: 5_050_000,
            end_runtime: 6_600_000,
            end_worker: 7_000_000,
            end_invocation: 8_000_008,
        };
        let json = json_of(&[vec![sample], vec![sample, sample]]);
        assert_eq!(json.as_array().unwrap().len(), 2);
        let first = &json[0];
        assert_eq!(first["invocation"]["start"][0], 1000.001);
        assert_eq!(first["invocation"]["end"][0], 8000.008);
        assert_eq!(
            (&first["worker"]["start"][0], &first["worker"]["end"][0]),
            (&2000.02.into(), &7000.0.into())
        );
        assert_eq!(
            (&first["runtime"]["start"][0], &first["runtime"]["end"][0]),
            (&3000.3.into(), &6600.0.into())
        );
        assert_eq!(
            (&first["function"]["start"][0], &first["function"]["end"][0]),
            (&4004.0.into(), &5050.0.into())
        );
        assert_eq!(first["function"]["internal_duration"][0], 1046.0);
        assert_eq!(json[1]["worker"]["end"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn no_samples_and_many_are_json_too() {
        assert!(
            json_of(&[vec![]])[0]["invocation"]["start"]
                .as_array()
                .unwrap()
                .is_empty()
        );
        let largest = Sample {
            start_invocation: u64::MAX,
            ..Sample::default()
        };
        let json = json_of(&[vec![largest; 1000]]);
        assert_eq!(json[0]["invocation"]["start"].as_array().unwrap().len(), 1000);
    }
}
