//! The figures that are measured, what they must reach, what they are compared with, and the rows of the results.

use std::collections::BTreeMap;

use serde::Serialize;

use super::lines::Values;

/// What a figure must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// Whether a value is what it must be.
    pub(super) fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

/// What Linux is measured with: how tables call it, and the name that the peer program prints.
pub(super) type LinuxOperation = (&'static str, &'static str);

/// A figure of SPECIFICATION.md.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    /// Its name there and in the results.
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) what: &'static str,
    /// Its unit when instructions are counted.
    pub(super) unit: &'static str,
    /// What it must reach: `bench` fails otherwise.
    pub(super) goal: Option<Goal>,
    /// What it is to reach but does not need to yet.
    pub(super) aim: Option<Goal>,
    /// What it is compared with, the nearest first. What is there in `bench-report` only has its place behind that.
    pub(super) peers: &'static [LinuxOperation],
}

impl Figure {
    const fn aiming(self, aim: Goal) -> Self {
        Self {
            aim: Some(aim),
            ..self
        }
    }
}

/// Unit of what is counted.
pub(super) const INSTRUCTIONS: &str = "instructions";

const VFORK: LinuxOperation = ("vfork+exec+wait", "process");
const ZYGOTE: LinuxOperation = ("zygote fork", "zygote");
const CONTAINER: LinuxOperation = ("minimal container", "container");
const CONTAINER_GROUP: LinuxOperation = ("container with a control group", "container_group");
const POOLED: LinuxOperation = ("Wasmtime, pooled", "wasm_pooled");
const ON_DEMAND: LinuxOperation = ("Wasmtime, on demand", "wasm_on_demand");
/// What begins functions in Python under Linux.
const PYTHON: &[LinuxOperation] = &[
    ("CPython, zygote fork", "cpython_zygote"),
    ("CPython, exec of a no-op", "cpython_exec"),
    ("CPython, kept process", "cpython_warm"),
];
/// What has memory of its own under Linux, and waits.
const WAITING: &[LinuxOperation] = &[
    ("forked child", "forked_child"),
    ("idle exec'd process", "idle_process"),
    ("Wasmtime, pooled", "wasm_pooled_instance"),
];
/// What begins a fresh, isolated function under Linux.
const FRESH: &[LinuxOperation] = &[VFORK, ZYGOTE, CONTAINER, CONTAINER_GROUP, POOLED, ON_DEMAND];

const fn instructions(
    name: &'static str,
    what: &'static str,
    limit: f64,
    peers: &'static [LinuxOperation],
) -> Figure {
    Figure {
        name,
        what,
        unit: INSTRUCTIONS,
        goal: Some(Goal::AtMost(limit)),
        aim: None,
        peers,
    }
}

/// What is measured to be compared, without a limit of its own.
const fn shown(name: &'static str, what: &'static str, peers: &'static [LinuxOperation]) -> Figure {
    Figure {
        goal: None,
        ..instructions(name, what, 0.0, peers)
    }
}

const fn kibibytes(
    name: &'static str,
    what: &'static str,
    limit: f64,
    peers: &'static [LinuxOperation],
) -> Figure {
    Figure {
        unit: "KiB",
        ..instructions(name, what, limit, peers)
    }
}

const fn ratio(name: &'static str, what: &'static str, goal: Goal) -> Figure {
    Figure {
        name,
        what,
        unit: "ratio",
        goal: Some(goal),
        aim: None,
        peers: &[],
    }
}

/// Boot time, Aerie's over Linux's.
pub(super) const BOOT_RATIO: &str = "boot_ratio";
/// Throughput of two clients over that of one.
pub(super) const SCALING: &str = "scaling_2";
/// The same of two machines that run at once.
pub(super) const SCALING_OF_HOST: &str = "scaling_2_host";

/// Time of Linux's shortest way to a fresh process over that of a function from its snapshot.
const COLD_TIME_RATIO: &str = "cold_time_ratio";

const PYTHON_CPU: &str = "python_cpu";
const PYTHON_BOOT: &str = "python_boot";
const PYTHON_CPU_RATIO: &str = "python_cpu_ratio";
const PYTHON_BOOT_RATIO: &str = "python_boot_ratio";

/// Figures that cannot be had without the Linux guest.
pub(super) const NEED_PEER: [&str; 4] = [BOOT_RATIO, PYTHON_CPU_RATIO, PYTHON_BOOT_RATIO, COLD_TIME_RATIO];

/// All figures, in the order of the table.
#[rustfmt::skip]
pub(super) const FIGURES: &[Figure] = &[
    instructions("null_call", "call of a kernel object that only answers", 100.0, &[("getppid", "null_call")]),
    instructions("ipc_round_trip", "call and reply between two tasks on one core, no words", 450.0,
        &[("pipe round trip", "pipe_fork")]),
    instructions("page_fault", "touch of a fresh anonymous page", 1_000.0, &[("anonymous page fault", "page_fault")]),
    shown("module_pages", "8 MiB of a boot module attached, each page read, detached, by pages of 4 KiB", &[]),
    shown("module_large_pages", "the same by pages of 2 MiB", &[]),
    instructions("task_lifecycle", "create task and thread, start, one message, destroy", 15_000.0, &[VFORK]),
    instructions("clone_lifecycle", "the same with a task that begins from a snapshot", 10_000.0, &[VFORK, ZYGOTE]),
    instructions("spawn_gate_call", "call of a spawn gate, whose clone answers at once: call to reply", 4_500.0, FRESH),
    instructions("spawn_gate_cycle", "the same with tear-down, 1,000 back to back", 7_500.0, FRESH),
    Figure {
        unit: "tasks",
        goal: Some(Goal::AtLeast(25_000.0)),
        ..shown("clones_in_1gib", "waiting tasks begun from one snapshot, each with an account, in 1 GiB", &[])
    },
    Figure {
        unit: "KiB",
        ..shown("task_clone_kib", "free memory that each of them takes", WAITING)
    },
    shown("begin_boot", "runtime, function and a request that write pages: task made, all three, destroyed", &[]),
    shown("begin_runtime_layer", "the same from a snapshot behind the runtime", &[]),
    shown("begin_two_layers", "the same from a snapshot behind the function, above that one", &[]),
    shown("begin_one_layer", "the same from one snapshot of both", &[]),
    shown("begin_recorded", "the same, with its write set copied at once", &[]),
    instructions("invoke_boot", "no-op function, loaded afresh: client's call to its reply", 90_000.0, FRESH),
    instructions("invoke_boot_cycle", "the same with tear-down, 1,000 back to back", 110_000.0, FRESH),
    instructions("invoke_start", "no-op function, from its snapshot: client's call to the function's begin", 6_000.0, &[VFORK]),
    instructions("invoke_snapshot", "the same, call to reply; mean of 1,000 back to back", 10_000.0, FRESH),
    instructions("invoke_snapshot_cycle", "the same with tear-down", 15_000.0, FRESH),
    shown("invoke_snapshot_lazy", "the same without a write set, call to reply", FRESH),
    shown("invoke_by_manager", "the same by the manager, call to reply", FRESH),
    shown("invoke_different", "a first call each of 1,000 functions, all there, from their snapshots", FRESH),
    instructions("invoke_touch16", "function that dirties 16 pages of 2 MiB, from its snapshot", 26_000.0,
        &[("Wasmtime, pooled", "wasm_pooled_touch16"), ("Wasmtime, on demand", "wasm_on_demand_touch16")]),
    shown("invoke_touch16_lazy", "the same without a write set", &[]),
    ratio("image_growth", "call to reply, snapshot of 64 MiB over one of 100 KiB", Goal::AtMost(1.10)),
    ratio("burst_1000", "1,000 requests at once over 1,000 single ones, one function, one core", Goal::AtMost(1.2)),
    instructions("invoke_warm", "no-op function, kept: client's call to its reply", 6_000.0,
        &[("pipe to waiting process", "pipe_program")]),
    kibibytes("worker_memory_kib", "a waiting no-op worker, all told", 64.0,
        &[("idle exec'd process", "idle_process")]),
    kibibytes("clone_memory_kib", "a waiting clone of a no-op function, all told; 1,000 at once", 32.0, WAITING),
    shown("clone_wake", "1,000 of them woken once each, by the manager: one of them", &[]),
    instructions("linux_getpid", "`getpid` in a Linux program", 250.0, &[("the same program", "linux_getpid")]),
    instructions("linux_clock_gettime", "`clock_gettime` in a Linux program", 200.0,
        &[("the same program", "linux_clock_gettime")]),
    instructions("futex_ping_pong", "wake and wait, round trip of two threads on one CPU", 3_000.0,
        &[("the same program", "futex_ping_pong")]),
    instructions("invoke_linux", "a C program on standard streams, loaded afresh: call to reply", 150_000.0,
        &[("vfork+exec of the same", "stream")]),
    instructions("invoke_python", "no-op function in Python, from its snapshot: call to reply", 100_000.0, PYTHON),
    shown("invoke_python_lazy", "the same without a write set", PYTHON),
    shown("invoke_python_spare", "the same upon a runtime that was started ahead", PYTHON),
    shown("invoke_python_spare_lazy", "the same without a write set", PYTHON),
    shown("invoke_python_boot", "the same, loaded afresh", PYTHON),
    shown("invoke_python_warm", "the same, kept", &[("CPython, kept process", "cpython_warm")]),
    instructions("python_first_packed",
        "function in Python, from the snapshot in the boot image: creation to first reply", 4_000_000.0, &[]),
    instructions("python_first_spare", "the same, upon a runtime that was started ahead", 4_000_000.0, &[]),
    shown("python_first_started", "the same, interpreter and function started", &[]),
    kibibytes("python_image_kib", "its snapshot", 6_000.0, &[]),
    kibibytes("python_image_spare_kib", "its snapshot upon a runtime that was started ahead, with that", 7_500.0, &[]),
    kibibytes("clone_memory_python_kib", "a waiting clone of it, all told", 256.0,
        &[("CPython, child of a zygote", "cpython_child")]),
    shown("clone_wake_python", "200 of them woken once each, by the manager: one of them", &[]),
    shown(PYTHON_CPU, "a computation in Python", &[("the same program", PYTHON_CPU)]),
    shown(PYTHON_BOOT, "fresh interpreter to the handler's first line",
        &[("vfork+exec of the same", PYTHON_BOOT)]),
    ratio(PYTHON_CPU_RATIO, "the computation over that of the same program under Linux", Goal::AtMost(1.02)),
    ratio(PYTHON_BOOT_RATIO, "the start over that of the same program under Linux", Goal::AtMost(1.0)),
    ratio(BOOT_RATIO, "time to the first user program over Linux's to `init`", Goal::AtMost(0.5)),
    Figure {
        goal: None,
        ..ratio(COLD_TIME_RATIO, "time of Linux's vfork+exec+wait over that of `invoke_snapshot`", Goal::AtLeast(12.0))
    }.aiming(Goal::AtLeast(12.0)),
    ratio(SCALING, "throughput of two clients on two CPUs over that of one", Goal::AtLeast(1.75))
        .aiming(Goal::AtLeast(1.8)),
    Figure {
        goal: None,
        ..ratio(SCALING_OF_HOST, "the same of two machines at once, one client each: what the host has", Goal::AtLeast(1.0))
    },
];

/// Time to boot, in [`TIMES`] and the results.
pub(super) const BOOT: &str = "boot";

/// What is measured in time only, as it takes two CPUs.
pub(super) const TIMES: [Figure; 2] = [
    Figure {
        name: "ipc_cross_core",
        what: "call and reply between two tasks on two cores",
        unit: "ns",
        goal: None,
        aim: None,
        peers: &[("pipe across CPUs", "pipe_cross_core")],
    },
    Figure {
        name: BOOT,
        what: "QEMU's start to the first user program",
        unit: "ms",
        goal: None,
        aim: None,
        peers: &[("boot to init", BOOT)],
    },
];

/// Something that a figure is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Peer {
    pub(super) title: &'static str,
    pub(super) value: f64,
}

/// One measured value, as `results.json` has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
    pub(super) peer: Option<&'static str>,
    pub(super) peer_value: Option<f64>,
    #[serde(skip)]
    pub(super) what: &'static str,
    #[serde(skip)]
    pub(super) goal: Option<Goal>,
    #[serde(skip)]
    pub(super) aim: Option<Goal>,
    #[serde(skip)]
    pub(super) peers: Vec<Peer>,
}

impl Row {
    /// Whether the value misses its goal.
    pub(super) fn misses(&self) -> bool {
        self.goal.is_some_and(|goal| !goal.is_reached(self.value))
    }

    /// Whether the value is not yet what it is to be one day.
    pub(super) fn is_on_the_way(&self) -> bool {
        self.aim.is_some_and(|aim| !aim.is_reached(self.value))
    }
}

/// What the two guests measured in one mode.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) aerie: Values,
    pub(super) linux: Values,
}

/// Linux's times over Aerie's where a promise is about them.
pub(super) fn timed_ratios(timed: &Pair) -> Ratios {
    let ratio = || {
        let own = timed.aerie.get("invoke_snapshot").filter(|&value| value > 0.0)?;
        Some((COLD_TIME_RATIO.to_owned(), timed.linux.get(VFORK.1)? / own))
    };
    ratio().into_iter().collect()
}

/// Figures that were not measured.
pub(super) fn missing(rows: &[Row]) -> impl Iterator<Item = &'static Figure> {
    FIGURES
        .iter()
        .filter(|figure| !rows.iter().any(|row| row.name == figure.name))
}

/// Values by name that no guest measured by itself.
pub(super) type Ratios = BTreeMap<String, f64>;

/// Aerie's instructions over Linux's where a promise is about them.
pub(super) fn counted_ratios(counted: &Pair) -> Ratios {
    let pairs = [(PYTHON_CPU_RATIO, PYTHON_CPU), (PYTHON_BOOT_RATIO, PYTHON_BOOT)];
    let ratio = |(ratio, name): (&str, &str)| {
        let linux = counted.linux.get(name).filter(|&value| value > 0.0)?;
        Some((ratio.to_owned(), counted.aerie.get(name)? / linux))
    };
    pairs.into_iter().filter_map(ratio).collect()
}

/// Brings the measurements into the order of the table: instructions and ratios with goals, then times.
pub(super) fn rows(counted: &Pair, timed: &Pair, ratios: &Ratios) -> Vec<Row> {
    let main = FIGURES.iter().filter_map(|figure| row(figure, counted, ratios));
    let same_in_time = FIGURES
        .iter()
        .filter(|figure| figure.unit == INSTRUCTIONS)
        .map(|figure| Figure {
            unit: "ns",
            goal: None,
            aim: None,
            ..*figure
        });
    let times = same_in_time.chain(TIMES).filter_map(|figure| {
        let row = row(&figure, timed, ratios)?;
        Some(Row {
            name: format!("{}_time", row.name),
            ..row
        })
    });
    main.chain(times).collect()
}

fn row(figure: &Figure, pair: &Pair, ratios: &Ratios) -> Option<Row> {
    let value = pair
        .aerie
        .get(figure.name)
        .or_else(|| ratios.get(figure.name).copied())?;
    let measured = |&(title, key): &LinuxOperation| {
        let value = pair.linux.get(key)?;
        Some(Peer { title, value })
    };
    let peers: Vec<_> = figure.peers.iter().filter_map(measured).collect();
    let nearest = figure.peers.first().and_then(measured);
    Some(Row {
        name: figure.name.to_owned(),
        unit: figure.unit,
        value,
        peer: nearest.map(|peer| peer.title),
        peer_value: nearest.map(|peer| peer.value),
        what: figure.what,
        goal: figure.goal,
        aim: figure.aim,
        peers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(list: &[(&str, f64)]) -> Values {
        let figures = list.iter().map(|(name, value)| ((*name).to_owned(), *value));
        Values {
            figures: figures.collect(),
            points: Vec::new(),
        }
    }

    #[test]
    fn ratios_need_both_sides() {
        let counted = Pair {
            aerie: values(&[("python_cpu", 51.0), ("python_boot", 8.0)]),
            linux: values(&[("python_cpu", 50.0), ("null_call", 1.0)]),
        };
        assert_eq!(
            counted_ratios(&counted),
            Ratios::from([("python_cpu_ratio".into(), 1.02)])
        );
        let without = Pair {
            linux: values(&[("python_cpu", 0.0)]),
            ..counted
        };
        assert!(counted_ratios(&without).is_empty());
    }

    #[test]
    fn times_are_compared_the_other_way_round() {
        let timed = Pair {
            aerie: values(&[("invoke_snapshot", 50.0)]),
            linux: values(&[("process", 500.0)]),
        };
        assert_eq!(
            timed_ratios(&timed),
            Ratios::from([("cold_time_ratio".into(), 10.0)])
        );
        assert!(timed_ratios(&Pair::default()).is_empty());
    }

    #[test]
    fn rows_have_their_goal_and_what_was_measured_of_their_peers() {
        let counted = Pair {
            aerie: values(&[
                ("ipc_round_trip", 430.0),
                ("invoke_boot", 30_000.0),
                ("invoke_python", 90_000.0),
                ("clone_memory_python_kib", 332.0),
            ]),
            linux: values(&[("pipe_fork", 10_308.0), ("container", 1_285_734.0)]),
        };
        let timed = Pair {
            aerie: values(&[("ipc_round_trip", 7_000.0), ("boot", 90.0)]),
            linux: values(&[("boot", 1_400.0)]),
        };
        let rows = rows(
            &counted,
            &timed,
            &Ratios::from([(SCALING.to_owned(), 1.5), (COLD_TIME_RATIO.to_owned(), 9.9)]),
        );
        let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "ipc_round_trip",
                "invoke_boot",
                "invoke_python",
                "clone_memory_python_kib",
                "cold_time_ratio",
                "scaling_2",
                "ipc_round_trip_time",
                "boot_time"
            ]
        );
        let [ipc, boot, python, memory, cold, scaling, ipc_time, boot_time] = rows.as_slice() else {
            panic!("{rows:?}")
        };
        assert!(!ipc.misses() && !ipc.is_on_the_way() && ipc.peer_value == Some(10_308.0));
        assert!(!python.misses() && !python.is_on_the_way());
        assert!(memory.misses());
        assert!(!cold.misses() && cold.is_on_the_way());
        assert_eq!(boot.peer, None, "the nearest one was not measured");
        assert_eq!(boot.peers.len(), 1);
        assert!(scaling.misses());
        assert!(!ipc_time.misses() && !ipc_time.is_on_the_way());
        assert_eq!((boot_time.unit, boot_time.peer_value), ("ms", Some(1_400.0)));
    }

    #[test]
    fn no_two_figures_have_one_name() {
        let mut names: Vec<_> = FIGURES.iter().map(|figure| figure.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FIGURES.len());
        for name in NEED_PEER {
            assert!(names.contains(&name), "{name}");
        }
    }
}
