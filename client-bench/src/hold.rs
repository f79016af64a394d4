//! `--mode=hold`: what instances of a function take that are alive at once and wait.

use crate::json::{BEGIN, END};
use core::fmt::{self, Write};
use l4::PAGE_SIZE;

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held<'a> {
    /// The function's name.
    pub function: &'a str,
    /// They are clones of the function's snapshot; otherwise each loaded the function's file.
    pub are_clones: bool,
    /// Instances that were alive at once.
    pub instances: u32,
    /// Instances that [`memory_bytes`](Self::memory_bytes) is about: the others were there before.
    pub measured: u32,
    /// Memory that the machine lost to them: frames, page tables, kernel objects, and what the manager knows of them.
    pub memory_bytes: u64,
    /// Memory limit of each in bytes.
    pub limit_bytes: u64,
    /// From the first request that began one until all had answered and waited, in nanoseconds.
    pub begin_ns: u64,
    /// From the first request that woke one until all had been woken once and had answered, in nanoseconds.
    pub wake_ns: u64,
}

/// The limit for instances of which one took `bytes`: an eighth more, since none takes exactly what another one did.
pub const fn limit_for(bytes: u64) -> u64 {
    (bytes + bytes / 8).next_multiple_of(PAGE_SIZE)
}

/// Writes the lines for people.
///
/// # Errors
/// What `out` reports.
pub fn write_table(out: &mut impl Write, held: &Held<'_>) -> fmt::Result {
    let origin = if held.are_clones {
        "clones of its snapshot"
    } else {
        "loaded one by one"
    };
    writeln!(
        out,
        "function {}, mode hold: {} instances, {origin}, alive at once and waiting",
        held.function, held.instances
    )?;
    let each = ((held.memory_bytes * 100) >> 10) / u64::from(held.measured.max(1));
    writeln!(
        out,
        "memory {:>9}.{:02} KiB each, all told; limit {} KiB",
        each / 100,
        each % 100,
        held.limit_bytes >> 10
    )?;
    write_time(out, "begin ", held.begin_ns, held.measured)?;
    write_time(out, "wake  ", held.wake_ns, held.instances)
}

fn write_time(out: &mut impl Write, what: &str, nanoseconds: u64, count: u32) -> fmt::Result {
    let each = nanoseconds / u64::from(count.max(1));
    writeln!(
        out,
        "{what} {:>8}.{:03} us each, {}.{:03} ms for {count}",
        each / 1000,
        each % 1000,
        nanoseconds / 1_000_000,
        nanoseconds / 1000 % 1000
    )
}

/// Writes the lines for programs, between the lines that mark them in the other modes.
///
/// # Errors
/// What `out` reports.
pub fn write_json(out: &mut impl Write, held: &Held<'_>) -> fmt::Result {
    writeln!(out, "{BEGIN}\n[{{")?;
    writeln!(out, "\"function\": \"{}\",", held.function.escape_default())?;
    writeln!(out, "\"hold\": {{")?;
    writeln!(out, "\"clones\": {},", held.are_clones)?;
    for (name, value) in [
        ("instances", u64::from(held.instances)),
        ("measured", u64::from(held.measured)),
        ("memory_bytes", held.memory_bytes),
        ("limit_bytes", held.limit_bytes),
        ("begin_ns", held.begin_ns),
    ] {
        writeln!(out, "\"{name}\": {value},")?;
    }
    writeln!(out, "\"wake_ns\": {}\n}}\n}}]\n{END}", held.wake_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::string::String;
    use std::vec::Vec;

    const HELD: Held<'_> = Held {
        function: "noop",
        are_clones: true,
        instances: 1000,
        measured: 998,
        memory_bytes: 998 * 28 * 1024 + 998 * 512,
        limit_bytes: 36 << 10,
        begin_ns: 19_960_000,
        wake_ns: 8_123_456,
    };

    #[test]
    fn people_read_the_share_of_each() {
        let mut text = String::new();
        write_table(&mut text, &HELD).unwrap();
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert!(
            text.starts_with("function noop, mode hold: 1000 instances, clones"),
            "{text}"
        );
        assert_eq!(lines[1][..3], ["memory", "28.50", "KiB"]);
        assert_eq!(lines[2][..3], ["begin", "20.000", "us"]);
        assert_eq!(lines[3][..3], ["wake", "8.123", "us"]);
        assert!(text.ends_with("8.123 ms for 1000\n"), "{text}");
    }

    #[test]
    fn programs_read_json() {
        let mut text = String::new();
        write_json(&mut text, &HELD).unwrap();
        let inner = text
            .strip_prefix(BEGIN)
            .unwrap()
            .trim_end()
            .strip_suffix(END)
            .unwrap();
        let json: Value = serde_json::from_str(inner).unwrap();
        assert_eq!(json[0]["function"], "noop");
        assert_eq!(json[0]["hold"]["instances"], 1000);
        assert_eq!(json[0]["hold"]["memory_bytes"], HELD.memory_bytes);
        assert_eq!(json[0]["hold"]["wake_ns"], HELD.wake_ns);
        assert_eq!(json[0]["hold"]["clones"], true);
    }

    #[test]
    fn limits_are_pages_and_leave_room() {
        assert_eq!(limit_for(28 << 10), 32 << 10);
        assert_eq!((limit_for(29 << 10), limit_for(1)), (36 << 10, 4 << 10));
    }
}
