use super::request;
use crate::protocol::{GATE, gate};
use crate::{CapIndex, Error, Utcb};

/// An IPC gate, for who has its server right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate(pub CapIndex);

impl Gate {
    /// Binds the gate to a thread (strong right needed) and gives it a label (two lowest bits 0). Capabilities that
    /// were minted with a label of their own keep it. Senders that wait move to the thread.
    pub fn bind(self, label: u64, thread: CapIndex) -> Result<(), Error> {
        request(self.0, GATE, &[gate::BIND, label, thread.word()]).map(drop)
    }

    /// The label of this capability.
    pub fn label(self) -> Result<u64, Error> {
        request(self.0, GATE, &[gate::GET_INFO])?;
        Ok(Utcb::current().word(0))
    }
}
