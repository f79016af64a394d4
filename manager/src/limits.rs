//! What a client may have, and what holds where it said nothing.

use l4::CapIndex;

/// The part of a client's memory that the manager keeps for what it knows of the client: one in so many.
const TABLE_SHARE: u64 = 16;

/// What the manager needs at most for a worker in bytes: its places in tables, its log, and slots for its capabilities.
const WORKER_BYTES: u64 = 1 << 10;
/// The same for an activation, with the body that it keeps.
const ACTIVATION_BYTES: u64 = 1 << 10;
/// The same for an action, with its program's plan and the usual environment.
const ACTION_BYTES: u64 = 4 << 10;
/// Environment of an action that is part of that.
const ENVIRONMENT_BYTES: u64 = 1 << 10;

/// Slots of the manager's task that clients do not share.
const OWN_SLOTS: usize = FUNCTION_SLOTS + RUNTIME_SLOTS;
/// Such slots of its own, and of functions and their images.
const FUNCTION_SLOTS: usize = 12 << 10;
/// Such slots of runtimes that functions began from, two for each. Since each takes megabytes, they are fewer than functions.
const RUNTIME_SLOTS: usize = 3 << 10;
/// Such slots for a function: its code, image, the image's account and gate, and the one that is being prepared.
const ACTION_SLOTS: usize = 6;

/// Limits and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Actions of a client.
    pub actions: u16,
    /// Environments of a client's actions together, in bytes.
    pub environments: u64,
    /// Workers of a client, running and idle.
    pub workers: u16,
    /// Invocations of a client: waiting, running, and asynchronous ones whose result was not fetched.
    pub activations: u16,
    /// Images of a client that are prepared at once.
    pub preparations: u16,
    /// How long a function may take at least until it asks for its first request when it is prepared, in nanoseconds; its
    /// own timeout, if that is longer.
    pub prepare_ns: u64,
    /// Memory that a runtime may use which is started ahead for a function to come, in bytes; 0 to start none.
    pub spare_memory: u64,
    /// Capabilities that are held for a client's callers and workers.
    pub slots: usize,
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
            environments: 256 << 10,
            workers: 96,
            activations: 160,
            preparations: 16,
            prepare_ns: 10_000_000_000,
            spare_memory: 16 << 20,
            slots: 700,
            depth: 8,
            memory_wait_ns: 1_000_000_000,
            memory_retry_ns: 100_000,
        }
    }
}

impl Limits {
    /// The limits of one of so many clients, with so much memory, of which [`table_bytes`] are not in its account. No client
    /// has less than the defaults.
    pub fn of_client(memory: u64, clients: usize) -> Limits {
        let least = Limits::default();
        let tables = table_bytes(memory);
        let places = |sixteenths: u64, bytes: u64, least: u16| {
            u16::try_from(tables * sixteenths / 16 / bytes)
                .unwrap_or(u16::MAX)
                .max(least)
        };
        let slots = (CapIndex::LIMIT as usize - OWN_SLOTS) / clients.max(1);
        let most_actions = FUNCTION_SLOTS / ACTION_SLOTS / clients.max(1);
        let actions = places(2, ACTION_BYTES, least.actions)
            .min(most_actions as u16)
            .max(least.actions);
        Limits {
            actions,
            environments: least.environments.max(u64::from(actions) * ENVIRONMENT_BYTES),
            workers: places(7, WORKER_BYTES, least.workers),
            activations: places(7, ACTIVATION_BYTES, least.activations),
            slots: slots.max(least.slots),
            ..least
        }
    }
}

/// The part of a client's memory that pays for what the manager keeps about it, in bytes.
pub const fn table_bytes(memory: u64) -> u64 {
    memory / TABLE_SHARE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::body::ShortBody;
    use crate::image::Image;
    use crate::log_tail::LogTail;
    use crate::worker::Worker;
    use core::mem::size_of;

    /// A capability's slot in the kernel's table of the manager's task.
    const SLOT_BYTES: usize = 32;
    /// A place in a heap of deadlines, and where in it each place is.
    const DEADLINE_BYTES: usize = size_of::<(u64, u16)>() + size_of::<u16>();
    /// What the heap needs for each block, and the machine below the service for each worker.
    const BLOCK_BYTES: usize = 16;
    const MACHINE_BYTES: usize = 24;

    #[test]
    fn what_is_set_aside_is_enough() {
        // Account, task, thread, and the reply capability that an idle one waits behind.
        let worker = size_of::<Option<Worker>>()
            + size_of::<Option<Image<[u64; 4]>>>()
            + size_of::<usize>()
            + size_of::<LogTail>()
            + BLOCK_BYTES
            + DEADLINE_BYTES
            + MACHINE_BYTES
            + 4 * SLOT_BYTES;
        assert!(worker <= WORKER_BYTES as usize, "a worker takes {worker} bytes");
        // Its caller, its body, and what is to be notified.
        let activation =
            size_of::<Option<Activation>>() + size_of::<ShortBody>() + 2 * DEADLINE_BYTES + 3 * SLOT_BYTES;
        assert!(
            activation <= ACTIVATION_BYTES as usize,
            "an activation takes {activation} bytes"
        );
    }

    #[test]
    fn memory_decides_how_much_a_client_may_have() {
        let small = Limits::of_client(1 << 20, 100);
        assert_eq!(small, Limits::default());
        for megabytes in [64, 256, 1000, 4096, 1 << 20] {
            let memory = megabytes << 20;
            let limits = Limits::of_client(memory, 1);
            assert!(limits.workers > small.workers && limits.activations > small.activations);
            let bytes = u64::from(limits.workers) * WORKER_BYTES
                + u64::from(limits.activations) * ACTIVATION_BYTES
                + u64::from(limits.actions) * ACTION_BYTES;
            assert!(bytes <= table_bytes(memory), "{megabytes} MiB: {bytes} bytes");
        }
        let limits = Limits::of_client(256 << 20, 4);
        assert!(limits.workers >= 1000 && limits.activations >= 1000);
        let limits = Limits::of_client(1 << 30, 1);
        assert!(limits.workers >= 25_000 && limits.slots >= 2 * 25_000);
        assert_eq!(Limits::of_client(u64::MAX, 1).workers, u16::MAX);
    }

    #[test]
    fn clients_share_the_slots() {
        for clients in [1, 2, 16, 64] {
            let limits = Limits::of_client(1 << 40, clients);
            let slots = clients * limits.slots + OWN_SLOTS;
            assert!(slots <= CapIndex::LIMIT as usize, "{clients} clients: {slots}");
        }
        let limits = Limits::of_client(1 << 40, 4);
        assert!(4 * usize::from(limits.actions) * ACTION_SLOTS <= FUNCTION_SLOTS);
    }
}
