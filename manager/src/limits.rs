//! What a client may have, and what holds where it said nothing.

/// Limits and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Actions of a client.
    pub actions: u16,
    /// Workers of a client, running and idle.
    pub workers: u16,
    /// Invocations of a client: waiting, running, and asynchronous ones whose result was not fetched.
    pub activations: u16,
    /// Images of a client that are prepared at once.
    pub preparations: u16,
    /// How long a function may take at least until it asks for its first request when it is prepared, in nanoseconds; its
    /// own timeout, if that is longer.
    pub prepare_ns: u64,
    /// Invocations above a nested one.
    pub depth: u32,
    /// How long an invocation waits for memory that ending workers give back, in nanoseconds.
    pub memory_wait_ns: u64,
    /// How often it tries meanwhile: the time between two attempts in nanoseconds.
    pub memory_retry_ns: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            actions: 64,
            workers: 96,
            activations: 160,
            preparations: 16,
            prepare_ns: 10_000_000_000,
            depth: 8,
            memory_wait_ns: 1_000_000_000,
            memory_retry_ns: 100_000,
        }
    }
}
