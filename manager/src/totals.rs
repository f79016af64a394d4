//! What a service counts.

/// Numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Invocations that gave a result.
    pub succeeded: u64,
    /// Invocations that gave an error.
    pub failed: u64,
    /// Workers started.
    pub started: u64,
    /// Invocations that a kept worker served.
    pub reused: u64,
    /// Images that were prepared.
    pub prepared: u64,
    /// Images that were given up for others.
    pub evicted: u64,
    /// How many of `succeeded` were calls without the manager.
    pub succeeded_directly: u64,
    /// How many of `failed` were.
    pub failed_directly: u64,
}
