//! The figures that are measured, what they must reach, and the table of the results.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {}", number(limit)),
            Self::AtLeast(limit) => format!("≥ {}", number(limit)),
        }
    }
}

/// What Linux is measured with: how the table calls it, and the name that the peer program prints.
pub(super) type LinuxOperation = Option<(&'static str, &'static str)>;

/// A figure of SPECIFICATION.md.
pub(super) struct Figure {
    /// Its name there and in the results.
    pub(super) name: &'static str,
    /// Its unit when instructions are counted.
    pub(super) unit: &'static str,
    /// What it must reach; `None` where a ratio of it must reach something.
    pub(super) goal: Option<Goal>,
    /// What it is compared with.
    pub(super) peer: LinuxOperation,
}

/// Unit of what is counted.
pub(super) const INSTRUCTIONS: &str = "instructions";

const fn instructions(
    name: &'static str,
    limit: f64,
    peer_title: &'static str,
    peer: &'static str,
) -> Figure {
    Figure {
        name,
        unit: INSTRUCTIONS,
        goal: Some(Goal::AtMost(limit)),
        peer: Some((peer_title, peer)),
    }
}

/// What is measured of a program that both guests run, to be compared as a ratio.
const fn same_program(name: &'static str, peer_title: &'static str) -> Figure {
    Figure {
        name,
        unit: INSTRUCTIONS,
        goal: None,
        peer: Some((peer_title, name)),
    }
}

const fn ratio(name: &'static str, goal: Goal) -> Figure {
    Figure {
        name,
        unit: "ratio",
        goal: Some(goal),
        peer: None,
    }
}

/// Boot time, Aerie's over Linux's.
pub(super) const BOOT_RATIO: &str = "boot_ratio";
/// Throughput of two clients over that of one.
pub(super) const SCALING: &str = "scaling_2";

const PYTHON_CPU: &str = "python_cpu";
const PYTHON_BOOT: &str = "python_boot";
const PYTHON_CPU_RATIO: &str = "python_cpu_ratio";
const PYTHON_BOOT_RATIO: &str = "python_boot_ratio";

/// Figures that cannot be had without the Linux guest.
pub(super) const NEED_PEER: [&str; 3] = [BOOT_RATIO, PYTHON_CPU_RATIO, PYTHON_BOOT_RATIO];

/// All figures, in the order of the table.
pub(super) const FIGURES: [Figure; 21] = [
    instructions("null_call", 100.0, "getppid", "null_call"),
    instructions("ipc_round_trip", 700.0, "pipe round trip", "pipe_fork"),
    instructions("page_fault", 1_000.0, "anonymous page fault", "page_fault"),
    instructions("task_lifecycle", 15_000.0, "vfork+exec+wait", "process"),
    instructions("clone_lifecycle", 10_000.0, "vfork+exec+wait", "process"),
    instructions("spawn_gate_call", 6_000.0, "vfork+exec+wait", "process"),
    instructions("spawn_gate_cycle", 8_000.0, "vfork+exec+wait", "process"),
    instructions("invoke_boot", 90_000.0, "vfork+exec+wait", "process"),
    instructions("invoke_boot_cycle", 110_000.0, "vfork+exec+wait", "process"),
    instructions("invoke_warm", 6_000.0, "pipe to waiting process", "pipe_program"),
    Figure {
        name: "worker_memory_kib",
        unit: "KiB",
        goal: Some(Goal::AtMost(64.0)),
        peer: Some(("idle exec'd process", "idle_process")),
    },
    instructions("linux_getpid", 250.0, "the same program", "linux_getpid"),
    instructions(
        "linux_clock_gettime",
        200.0,
        "the same program",
        "linux_clock_gettime",
    ),
    instructions("futex_ping_pong", 3_000.0, "the same program", "futex_ping_pong"),
    instructions("invoke_linux", 150_000.0, "vfork+exec of the same", "stream"),
    same_program(PYTHON_CPU, "the same program"),
    same_program(PYTHON_BOOT, "vfork+exec of the same"),
    ratio(PYTHON_CPU_RATIO, Goal::AtMost(1.02)),
    ratio(PYTHON_BOOT_RATIO, Goal::AtMost(1.0)),
    ratio(BOOT_RATIO, Goal::AtMost(0.5)),
    ratio(SCALING, Goal::AtLeast(1.75)),
];

/// Time to boot, in [`TIMES`] and the results.
pub(super) const BOOT: &str = "boot";

/// What is measured in time only, as it takes two CPUs: name, unit, and what it is compared with.
pub(super) const TIMES: [(&str, &str, LinuxOperation); 2] = [
    (
        "ipc_cross_core",
        "ns",
        Some(("pipe across CPUs", "pipe_cross_core")),
    ),
    (BOOT, "ms", Some(("boot to init", BOOT))),
];

/// One measured value, as `results.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    pub(super) peer: Option<&'static str>,
    pub(super) peer_value: Option<f64>,
    #[serde(skip)]
    pub(super) goal: Option<Goal>,
}

impl Row {
    /// Whether the value misses its goal.
    pub(super) fn misses(&self) -> bool {
        self.goal.is_some_and(|goal| !goal.is_reached(self.value))
    }
}

/// A line of the Aerie guest: `BENCH {"name": …, "unit": …, "value": …}`.
#[derive(Debug, Deserialize)]
struct BenchLine {
    name: String,
    #[serde(rename = "unit")]
    _unit: String,
    value: f64,
}

/// A line of the Linux guest: `PEER {"name": …, …}`.
#[derive(Debug, Deserialize)]
struct PeerLine {
    name: String,
    ticks: Option<f64>,
    ns: Option<f64>,
    kib: Option<f64>,
}

/// What a guest measured, by name.
pub(super) type Values = BTreeMap<String, f64>;

/// Marks the lines of the Aerie guest.
pub(super) const BENCH_MARK: &str = "BENCH {";
/// Marks the lines of the Linux guest.
pub(super) const PEER_MARK: &str = "PEER {";

/// Reads the Aerie guest's figures.
///
/// # Errors
/// The text of a marked line that is no figure.
pub(super) fn read_bench(console: &str) -> Result<Values, String> {
    let lines = marked::<BenchLine>(console, BENCH_MARK)?;
    Ok(lines.into_iter().map(|line| (line.name, line.value)).collect())
}

/// Reads the Linux guest's figures: instructions if they were counted, else nanoseconds. What the programs print that
/// Aerie's guest runs as well looks as it does there.
///
/// # Errors
/// The text of a marked line that is no figure.
pub(super) fn read_peer(console: &str, is_counted: bool) -> Result<Values, String> {
    let mut values = read_bench(console)?;
    for line in marked::<PeerLine>(console, PEER_MARK)? {
        let time = if is_counted { line.ticks } else { line.ns };
        if let Some(value) = line.kib.or(time) {
            values.insert(line.name, value);
        }
    }
    Ok(values)
}

fn marked<'a, T: Deserialize<'a>>(console: &'a str, mark: &str) -> Result<Vec<T>, String> {
    let texts = console
        .lines()
        .filter_map(|line| line.find(mark).map(|at| &line[at + mark.len() - 1..]));
    texts
        .map(|text| serde_json::from_str(text.trim()).map_err(|error| format!("{text}: {error}")))
        .collect()
}

/// Aerie's instructions over Linux's where a promise is about them.
pub(super) fn counted_ratios(aerie: &Values, linux: &Values) -> Values {
    let pairs = [(PYTHON_CPU_RATIO, PYTHON_CPU), (PYTHON_BOOT_RATIO, PYTHON_BOOT)];
    let ratio = |(ratio, name): (&str, &str)| {
        let linux = linux.get(name).filter(|&&value| value > 0.0)?;
        Some((ratio.to_owned(), aerie.get(name)? / linux))
    };
    pairs.into_iter().filter_map(ratio).collect()
}

/// Keeps the smaller value for each name.
pub(super) fn keep_better(values: &mut Values, others: Values) {
    for (name, other) in others {
        let value = values.entry(name).or_insert(other);
        *value = value.min(other);
    }
}

/// Throughput of a benchmark client in invocations a second, from the raw arrays between its output markers.
///
/// # Errors
/// What is missing or wrong.
pub(super) fn throughput(console: &str) -> Result<f64, String> {
    #[derive(Deserialize)]
    struct Thread {
        invocation: Times,
    }
    #[derive(Deserialize)]
    struct Times {
        start: Vec<f64>,
        end: Vec<f64>,
    }
    let behind = console
        .split_once("====   OUTPUT   ====")
        .ok_or("no figures in the client's output")?
        .1;
    let json = behind
        .split_once("==== END OUTPUT ====")
        .ok_or("the client's figures do not end")?
        .0;
    let threads: Vec<Thread> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let times = || threads.iter().map(|thread| &thread.invocation);
    let first = times()
        .flat_map(|times| &times.start)
        .copied()
        .fold(f64::INFINITY, f64::min);
    let last = times().flat_map(|times| &times.end).copied().fold(0.0, f64::max);
    let count: usize = times().map(|times| times.end.len()).sum();
    if count == 0 || last <= first {
        return Err("the client's figures have no invocation".into());
    }
    Ok(count as f64 * 1e6 / (last - first))
}

/// The middle one of the values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// The table for people. The ratio says how many times as much Linux needs.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<26}{:<14}{:>12}{:>12}{:>13}  {:<25}{}\n",
        "name", "unit", "Aerie", "Linux", "Linux/Aerie", "Linux operation", "goal"
    );
    for row in rows {
        let (peer_value, ratio) = match row.peer_value {
            Some(peer) => (number(peer), format!("{:.1}", peer / row.value)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        let goal = match row.goal {
            Some(goal) if row.misses() => format!("{} MISSED", goal.text()),
            Some(goal) => goal.text(),
            None => String::new(),
        };
        let line = format!(
            "{:<26}{:<14}{:>12}{:>12}{:>13}  {:<25}{goal}",
            row.name,
            row.unit,
            number(row.value),
            peer_value,
            ratio,
            row.peer.unwrap_or("–"),
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// A number with separators between thousands, with two decimals if it is small.
fn number(value: f64) -> String {
    if value.abs() < 100.0 && value.fract() != 0.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_lines_are_read() {
        let console = "noise\nBENCH {\"name\":\"null_call\",\"unit\":\"instructions\",\"value\":84}\n\
                       bench | BENCH {\"name\":\"page_fault\",\"unit\":\"instructions\",\"value\":900.5}\n\
                       PEER {\"name\": \"null_call\", \"ticks\": 323.0, \"ns\": 400.0}\n\
                       PEER {\"name\": \"idle_process\", \"kib\": 78.1}\n";
        let bench = read_bench(console).unwrap();
        assert_eq!((bench["null_call"], bench["page_fault"]), (84.0, 900.5));
        let counted = read_peer(console, true).unwrap();
        assert_eq!((counted["null_call"], counted["idle_process"]), (323.0, 78.1));
        assert_eq!(counted["page_fault"], 900.5, "of a program that both guests run");
        assert_eq!(read_peer(console, false).unwrap()["null_call"], 400.0);
        assert!(read_bench("BENCH {\"name\":1}").is_err());
    }

    #[test]
    fn the_better_linux_counts() {
        let mut values = Values::from([("a".into(), 2.0), ("b".into(), 5.0)]);
        keep_better(
            &mut values,
            Values::from([("a".into(), 3.0), ("b".into(), 4.0), ("c".into(), 1.0)]),
        );
        assert_eq!(
            values,
            Values::from([("a".into(), 2.0), ("b".into(), 4.0), ("c".into(), 1.0)])
        );
    }

    #[test]
    fn ratios_need_both_sides() {
        let aerie = Values::from([("python_cpu".into(), 51.0), ("python_boot".into(), 8.0)]);
        let linux = Values::from([("python_cpu".into(), 50.0), ("null_call".into(), 1.0)]);
        let ratios = counted_ratios(&aerie, &linux);
        assert_eq!(ratios, Values::from([("python_cpu_ratio".into(), 1.02)]));
        assert!(counted_ratios(&aerie, &Values::from([("python_cpu".into(), 0.0)])).is_empty());
    }

    #[test]
    fn throughput_covers_all_threads() {
        let console = "x\n====   OUTPUT   ====\n[{\"invocation\":{\"start\":[100.0,200.0],\"end\":[150.0,300.0]},\
                       \"worker\":{}},\n{\"invocation\":{\"start\":[90.0],\"end\":[590.0]}}]\n==== END OUTPUT ====\n";
        assert_eq!(throughput(console), Ok(6000.0));
        assert!(throughput("").is_err());
        assert!(throughput("====   OUTPUT   ====\n[]\n==== END OUTPUT ====").is_err());
    }

    #[test]
    fn missed_goals_stand_out() {
        let row = |name: &str, value, goal| Row {
            name: name.into(),
            unit: "instructions",
            value,
            peer: Some("getppid"),
            peer_value: Some(323.0),
            goal: Some(goal),
        };
        let rows = [
            row("a", 90.0, Goal::AtMost(100.0)),
            row("b", 1.5, Goal::AtLeast(1.75)),
        ];
        assert!(!rows[0].misses() && rows[1].misses());
        let table = table(&rows);
        assert!(
            table.contains("≥ 1.75 MISSED") && table.contains("3.6"),
            "{table}"
        );
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(0.5), "0.50");
        assert_eq!(number(84.0), "84");
        assert_eq!(number(999.0), "999");
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
