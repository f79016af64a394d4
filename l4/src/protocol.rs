//! Protocol numbers: the label of a request says which interface it speaks.
//!
//! Numbers below zero belong to kernel objects, as in L4Re; those from 0x4000 to services. `docs/abi.md` lists
//! each operation's words.

/// Notifications: trigger (any message) on an Irq capability; label of a delivered notification.
pub const IRQ: i64 = -1;
/// A fault or exception of a thread, sent to its handler gate.
pub const EXCEPTION: i64 = -5;
/// Gate control, for who has the server right: bind, get label.
pub const GATE: i64 = -10;
/// Tasks: capability space and regions.
pub const TASK: i64 = -11;
/// Threads.
pub const THREAD: i64 = -12;
/// Consoles and logs.
pub const VCON: i64 = -13;
/// Schedulers: run threads, CPUs.
pub const SCHEDULER: i64 = -14;
/// Factories: create objects against an account.
pub const FACTORY: i64 = -15;
/// Control of Irq objects: bind, timer, watch.
pub const IRQ_CONTROL: i64 = -18;
/// Interrupt controller.
pub const ICU: i64 = -19;
/// Names and counters.
pub const DEBUG: i64 = -23;
/// Snapshots: begin tasks from them.
pub const SNAPSHOT: i64 = -24;
/// Power off.
pub const PLATFORM: i64 = -40;
/// Dataspaces, served by the kernel.
pub const DATASPACE: i64 = 0x4000;
/// Namespaces: names to capabilities.
pub const NAMESPACE: i64 = 0x4001;
/// What a started task may ask of who started it.
pub const PARENT: i64 = 0x4002;

/// What a [`FACTORY`] creates (first message word), and its other operations.
pub mod factory {
    /// Gate: label, thread (or none), both optional.
    pub const CREATE_GATE: u64 = 0;
    /// Sub-account: limit in bytes.
    pub const CREATE_FACTORY: u64 = -15i64 as u64;
    /// Task.
    pub const CREATE_TASK: u64 = -11i64 as u64;
    /// Thread: task, UTCB address, handler gate (or none), handler label.
    pub const CREATE_THREAD: u64 = -12i64 as u64;
    /// Irq: label, thread (or none).
    pub const CREATE_IRQ: u64 = -18i64 as u64;
    /// Dataspace: size in bytes, parent dataspace (or none) for a copy-on-write child.
    pub const CREATE_DATASPACE: u64 = 0x4000;
    /// Limit and use of the account in bytes.
    pub const INFO: u64 = 0x100;
    /// Give what is not in use back to the parent account.
    pub const TRIM: u64 = 0x101;
}

/// Operations of [`TASK`].
pub mod task {
    /// Copy or move capabilities into the task: pairs of (entry, label).
    pub const MAP: u64 = 0;
    /// Remove a capability, revoke what was derived from it, or delete the object.
    pub const UNMAP: u64 = 1;
    /// Is the slot in use; do two slots name the same object.
    pub const CAP_INFO: u64 = 2;
    /// Attach regions: five words each.
    pub const ATTACH: u64 = 5;
    /// Detach a range.
    pub const DETACH: u64 = 6;
    /// Change the rights of a range.
    pub const PROTECT: u64 = 7;
    /// Find the region at or behind an address.
    pub const FIND: u64 = 8;
    /// Give back the contents of a range of anonymous memory; it reads as zeroes afterwards.
    pub const DISCARD: u64 = 9;

    /// Make a snapshot of the task, which ends with that: the reply capability of its only thread's call, or the thread itself
    /// after [`super::thread::RESTORE`].
    pub const FREEZE: u64 = 10;

    /// Map what a range shows of sealed dataspaces, to be read.
    pub const SHOW: u64 = 11;

    /// Flag of [`UNMAP`]: also this slot, not only what was derived from it.
    pub const UNMAP_SELF: u64 = 1;
    /// Flag of [`UNMAP`]: delete the object (needs the delete right).
    pub const UNMAP_DELETE: u64 = 2;
}

/// Operations of [`SNAPSHOT`].
pub mod snapshot {
    /// Begin a task: see [`crate::object::Spawn`].
    pub const SPAWN: u64 = 0;
    /// Get on with what has to be done before tasks can begin; answers 1 when all is done.
    pub const PREPARE: u64 = 1;
    /// Whether it is prepared, pages and tables that it owns, snapshots below it, pages of its write set.
    pub const INFO: u64 = 2;
    /// Make a gate each call of which begins a task: see [`crate::object::GateBinding`].
    pub const BIND: u64 = 3;
    /// Say whose pages later clones begin with: a clone's; or none, label and first word of an answer, number of clones.
    pub const RECORD: u64 = 4;
    /// What the thread goes on with: see [`crate::object::CallRegisters`].
    pub const REGISTERS: u64 = 5;
    /// Find the region at or behind an address, and tell which of some dataspaces it shows.
    pub const REGION: u64 = 6;
    /// Find pages of the region at an address, and perhaps copy them to a dataspace.
    pub const PAGES: u64 = 7;
    /// Find the first slot in use from an index on.
    pub const SLOT: u64 = 8;
}

/// Operations of [`THREAD`].
pub mod thread {
    /// Set handler gate: cap, label.
    pub const SET_HANDLER: u64 = 0;
    /// Set instruction and stack pointer, cancel IPC, or raise an exception.
    pub const EX_REGS: u64 = 1;
    /// Give the rest of the time slice to the next thread of the same priority.
    pub const YIELD: u64 = 2;
    /// CPU time used, in nanoseconds.
    pub const STATS: u64 = 3;
    /// Set FS base and GS base.
    pub const SET_BASES: u64 = 4;
    /// Set the entry for Linux system calls (0 = none).
    pub const SET_PERSONALITY: u64 = 5;
    /// Set the entry and stack for faults handled in the thread itself (0 = none).
    pub const SET_FAULT_ENTRY: u64 = 6;
    /// Continue after an in-thread fault with the registers in the UTCB page's fault record.
    pub const RESUME: u64 = 7;
    /// Move the implicit reply capability into a slot.
    pub const TAKE_REPLY: u64 = 10;
    /// End the calling thread; perhaps an exit code, for the caller of a spawn gate.
    pub const EXIT: u64 = 12;
    /// Four words of randomness.
    pub const RANDOM: u64 = 15;
    /// Set the handler gate to the calling thread's.
    pub const SHARE_HANDLER: u64 = 16;
    /// Give a thread that never ran the registers and the UTCB of one that waits for an answer.
    pub const RESTORE: u64 = 17;

    /// Flag of [`EX_REGS`]: end a blocked IPC with "cancelled".
    pub const EX_REGS_CANCEL: u64 = 0x10000;
    /// Flag of [`EX_REGS`]: raise an exception with vector 0xff.
    pub const EX_REGS_TRIGGER: u64 = 0x20000;
    /// Flag of [`EX_REGS`]: have a thread that computes enter its own fault entry, unless it handles a fault already.
    pub const EX_REGS_SIGNAL: u64 = 0x40000;
}

/// Operations of [`GATE`].
pub mod gate {
    /// Bind to a thread: label, thread.
    pub const BIND: u64 = 0x10;
    /// Ask for the label.
    pub const GET_INFO: u64 = 0x11;
    /// Ask a spawn gate for its counts.
    pub const COUNTS: u64 = 0x12;
    /// Have a spawn gate count answers by how they begin: label and first word of each kind.
    pub const TELL_APART: u64 = 0x13;
}

/// Operations of [`IRQ_CONTROL`].
pub mod irq {
    /// Bind to a thread: label, thread.
    pub const BIND: u64 = 0x10;
    /// Undo the binding.
    pub const DETACH: u64 = 1;
    /// Trigger at an absolute time in nanoseconds ([`crate::NEVER`] cancels).
    pub const SET_TIMER: u64 = 2;
    /// Trigger when an object (thread, task) dies, or a gate has no clients any more.
    pub const WATCH: u64 = 3;
}

/// Operations of [`SCHEDULER`].
pub mod scheduler {
    /// CPUs and priorities.
    pub const INFO: u64 = 0;
    /// Run a thread: thread, CPU, priority, slice in µs; optionally start it: ip, sp, argument.
    pub const RUN_THREAD: u64 = 1;
    /// Idle time of a CPU in nanoseconds.
    pub const IDLE_TIME: u64 = 2;
    /// Derive a narrower scheduler: CPU mask, highest priority.
    pub const DERIVE: u64 = 3;
}

/// Operations of [`DATASPACE`].
pub mod dataspace {
    /// Zero a range: offset, size.
    pub const CLEAR: u64 = 1;
    /// Size and flags.
    pub const INFO: u64 = 2;
    /// Copy from another dataspace: offset, source, source offset, size.
    pub const COPY_IN: u64 = 3;
    /// Make immutable for ever.
    pub const SEAL: u64 = 4;
    /// Write bytes from the message: offset, length, data.
    pub const WRITE: u64 = 5;
    /// Read bytes into the reply: offset, length.
    pub const READ: u64 = 6;

    /// Flag in the reply to [`INFO`]: sealed.
    pub const SEALED: u64 = 1;
    /// Flag in the reply to [`INFO`]: backed by fixed frames (boot module, device memory).
    pub const FIXED: u64 = 2;
}

/// Operations of [`VCON`].
pub mod vcon {
    /// Write bytes: length, data.
    pub const WRITE: u64 = 0;
}

/// Operations of [`DEBUG`].
pub mod debug {
    /// Name an object: capability, up to 15 bytes.
    pub const SET_NAME: u64 = 0;
    /// The machine's counters.
    pub const COUNTERS: u64 = 1;
    /// A CPU's counters.
    pub const CPU_COUNTERS: u64 = 2;
    /// Answers, and does nothing else.
    pub const NULL: u64 = 3;
}

/// Operations of [`PLATFORM`].
pub mod platform {
    /// Power off: 0 success, anything else failure.
    pub const POWER_OFF: u64 = 0;
}

/// Operations of [`ICU`].
pub mod icu {
    /// Bind an Irq object to a line: line, irq.
    pub const BIND: u64 = 0;
    /// Unbind a line.
    pub const UNBIND: u64 = 1;
    /// Number of lines.
    pub const INFO: u64 = 2;
    /// Unmask a line.
    pub const UNMASK: u64 = 4;
    /// Mask a line.
    pub const MASK: u64 = 5;
}
