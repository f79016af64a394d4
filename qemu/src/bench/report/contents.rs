//! What the page shows besides the tables: which bars stand side by side, and which lines.

use super::plot::{Axis, Form, Scale};

/// Where a bar's value comes from: a figure of the Aerie guest, or what the Linux guest prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Aerie(&'static str),
    Linux(&'static str),
}

/// Bars side by side. Those that were not measured are left out; without one of Aerie's there is no chart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) unit: &'static str,
    pub(super) bars: &'static [(&'static str, Source)],
}

/// A plot with lines, whose points name it as their series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) x: Axis,
    pub(super) y: Axis,
}

/// A comparison at the top of the page: how many times as much Linux needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Card {
    /// What comes behind "N ×".
    pub(super) text: &'static str,
    /// The figure of the Aerie guest.
    pub(super) own: &'static str,
    /// What the Linux guest prints.
    pub(super) other: &'static str,
}

/// The comparisons at the top.
pub(super) const CARDS: &[Card] = &[
    Card {
        text: "as many instructions take a zygote's fork as an invocation from a snapshot",
        own: "invoke_snapshot_cycle",
        other: "zygote",
    },
    Card {
        text: "as many takes the smallest container",
        own: "invoke_snapshot_cycle",
        other: "container",
    },
    Card {
        text: "as much memory takes a waiting forked child as a waiting clone",
        own: "clone_memory_kib",
        other: "forked_child",
    },
];

use Source::{Aerie, Linux};

/// The charts, in the order of the page.
pub(super) const CHARTS: &[Chart] = &[
    Chart {
        title: "A fresh, isolated run of a function that does nothing",
        text: "From the request until the answer is there and what it took is on its way back. Wasmtime makes its instance in the \
               process of its caller, without isolation by hardware; a container engine does more than this smallest container.",
        unit: "instructions",
        bars: &[
            ("Aerie's kernel: call of a spawn gate", Aerie("spawn_gate_cycle")),
            ("Aerie, from its snapshot", Aerie("invoke_snapshot_cycle")),
            ("the same without a write set", Aerie("invoke_snapshot_lazy")),
            ("Aerie, loaded afresh", Aerie("invoke_boot_cycle")),
            ("Wasmtime, pooled", Linux("wasm_pooled")),
            ("Wasmtime, on demand", Linux("wasm_on_demand")),
            ("Linux: vfork + exec + wait", Linux("process")),
            ("Linux: zygote fork", Linux("zygote")),
            ("Linux: minimal container", Linux("container")),
            ("the same in a control group", Linux("container_group")),
        ],
    },
    Chart {
        title: "A run in something that is there already",
        text: "No isolation from the run before.",
        unit: "instructions",
        bars: &[
            ("Aerie, kept worker", Aerie("invoke_warm")),
            ("Linux: pipe to a waiting process", Linux("pipe_program")),
        ],
    },
    Chart {
        title: "Functions in Python",
        text: "Aerie's interpreter is RustPython. Under Linux the same program is started by vfork and exec; CPython is Debian's, \
               started without the module `site`.",
        unit: "instructions",
        bars: &[
            ("Aerie, from its snapshot", Aerie("invoke_python")),
            ("the same without a write set", Aerie("invoke_python_lazy")),
            ("Aerie, loaded afresh", Aerie("invoke_python_boot")),
            ("Aerie, kept worker", Aerie("invoke_python_warm")),
            ("Aerie, fresh interpreter to first line", Aerie("python_boot")),
            ("Linux: the same interpreter, exec", Linux("python_boot")),
            ("Linux: CPython, exec of a no-op", Linux("cpython_exec")),
            ("Linux: CPython, zygote fork", Linux("cpython_zygote")),
            ("Linux: CPython, kept process", Linux("cpython_warm")),
        ],
    },
    Chart {
        title: "Writing 16 pages of 2 MiB",
        text: "A function with a heap that was filled before, which writes to 16 pages of it.",
        unit: "instructions",
        bars: &[
            ("Aerie, from its snapshot", Aerie("invoke_touch16")),
            ("the same without a write set", Aerie("invoke_touch16_lazy")),
            ("Wasmtime, pooled", Linux("wasm_pooled_touch16")),
            ("Wasmtime, on demand", Linux("wasm_on_demand_touch16")),
        ],
    },
    Chart {
        title: "Layers of snapshots",
        text: "A runtime writes 4 MiB when it starts, a function 512 KiB, a request 16 pages. What a request costs from its begin \
               until all of its memory is free again, by where it begins: nowhere, behind the runtime, behind the function in a \
               layer of its own, or behind both in one layer, where it may begin with copies of the pages that an earlier one wrote. \
               In the kernel, with a task of its own and no service around it.",
        unit: "instructions",
        bars: &[
            ("loaded afresh", Aerie("begin_boot")),
            ("behind the runtime", Aerie("begin_runtime_layer")),
            ("behind runtime and function", Aerie("begin_two_layers")),
            ("the same as one layer", Aerie("begin_one_layer")),
            ("the same with its write set", Aerie("begin_recorded")),
        ],
    },
    Chart {
        title: "Layers of snapshots in Python",
        text: "What a request to a function in Python costs, by where it begins: nowhere, behind the runtime (which is what the first \
               request to a new function takes, its creation included), behind the function in a layer of its own, or behind both in \
               one layer, with copies of the pages that earlier ones wrote or without.",
        unit: "instructions",
        bars: &[
            ("loaded afresh", Aerie("invoke_python_boot")),
            ("behind the runtime", Aerie("python_first_spare")),
            ("behind runtime and function", Aerie("invoke_python_spare_lazy")),
            ("the same with its write set", Aerie("invoke_python_spare")),
            ("as one layer", Aerie("invoke_python_lazy")),
            ("the same with its write set", Aerie("invoke_python")),
        ],
    },
    Chart {
        title: "Memory of one that waits",
        text: "What the machine has less of when there is one more, page tables and the kernel's objects included.",
        unit: "KiB",
        bars: &[
            ("Aerie, clone", Aerie("clone_memory_kib")),
            ("Aerie, clone with Python", Aerie("clone_memory_python_kib")),
            ("Wasmtime, instance from a pool", Linux("wasm_pooled_instance")),
            (
                "the same after writing 16 pages",
                Linux("wasm_pooled_touch16_instance"),
            ),
            ("Linux: small program after exec", Linux("idle_process")),
            ("Linux: forked child", Linux("forked_child")),
            ("Linux: CPython, child of a zygote", Linux("cpython_child")),
        ],
    },
];

/// An axis of counted instructions.
const COUNTED: Axis = Axis {
    label: "guest instructions",
    scale: Scale::Logarithmic,
    form: Form::Number,
};

/// The plots with lines, in the order of the page.
pub(super) const SERIES: &[Series] = &[
    Series {
        key: "image_size",
        title: "Size of what is copied",
        text: "A process, or a function, that has written so much memory before: what one more of it costs.",
        x: Axis {
            label: "written memory",
            scale: Scale::Logarithmic,
            form: Form::Bytes,
        },
        y: COUNTED,
    },
    Series {
        key: "payload",
        title: "Size of requests and responses",
        text: "A function that answers its request, from the call to the reply, mean of 50 back to back.",
        x: Axis {
            label: "bytes in and out",
            scale: Scale::Steps,
            form: Form::Bytes,
        },
        y: COUNTED,
    },
    Series {
        key: "burst",
        title: "Bursts",
        text: "Requests at once for one function on one core, each in a clone of its own: what each costs until all are answered. \
               Without the manager, each is made by a thread of the client's.",
        x: Axis {
            label: "requests",
            scale: Scale::Steps,
            form: Form::Number,
        },
        y: Axis {
            scale: Scale::Linear,
            ..COUNTED
        },
    },
    Series {
        key: "first_calls",
        title: "The first calls of a function",
        text: "One by one, from its creation on. A snapshot is made when the function is created.",
        x: Axis {
            label: "number of the call",
            scale: Scale::Steps,
            form: Form::Number,
        },
        y: Axis {
            scale: Scale::Linear,
            ..COUNTED
        },
    },
    Series {
        key: "scaling",
        title: "Clients on CPUs of their own",
        text: "Invocations a second over those of one client, in time, medians of 5 rounds. Needs an otherwise idle host with as \
               many CPUs.",
        x: Axis {
            label: "clients, each on a CPU of its own",
            scale: Scale::Steps,
            form: Form::Number,
        },
        y: Axis {
            label: "throughput over one client's",
            scale: Scale::Linear,
            form: Form::Number,
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_have_something_of_aeries_and_plots_have_names_of_their_own() {
        for chart in CHARTS {
            let is_own = |bar: &(&str, Source)| matches!(bar.1, Aerie(_));
            assert!(chart.bars.iter().any(is_own), "{}", chart.title);
        }
        for (at, series) in SERIES.iter().enumerate() {
            assert!(SERIES[at + 1..].iter().all(|other| other.key != series.key));
        }
    }
}
