//! Actions that clients call without the manager.

use l4::Error;
use l4::object::SpawnGate;
use l4_rpc::{Cap, Decode, Encode, Encoder, Source};

/// An action's spawn gate, and what holds for calls of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedAction {
    /// Each call begins a clone; `None` if the action's workers do not begin from a snapshot now.
    pub gate: Option<Cap<SpawnGate>>,
    /// Version of the action that the clones run.
    pub version: u32,
    /// Time that a clone has, in nanoseconds.
    pub timeout_ns: u64,
    /// Memory that a clone may use, in bytes.
    pub memory_bytes: u64,
}

impl Encode for OpenedAction {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.version.encode(out);
        self.timeout_ns.encode(out);
        self.memory_bytes.encode(out);
        self.gate.encode(out);
    }
}

impl<S: Source> Decode<S> for OpenedAction {
    const CAPS: usize = 1;

    fn decode(from: &mut S) -> Result<OpenedAction, Error> {
        Ok(OpenedAction {
            version: Decode::decode(from)?,
            timeout_ns: Decode::decode(from)?,
            memory_bytes: Decode::decode(from)?,
            gate: Decode::decode(from)?,
        })
    }
}
