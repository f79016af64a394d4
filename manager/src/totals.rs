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
    /// Calls without the manager that were answered, of images that are gone.
    pub answered_directly: u64,
    /// Calls without the manager whose clone ended without an answer, of images that are gone.
    pub failed_directly: u64,
}
