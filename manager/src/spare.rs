//! A runtime that was started ahead, for a function to come.

use crate::image::Frozen;

/// What there is of a client's spare runtime. It serves one function only, since what it drew at random while it started, such as
/// the keys of its hash tables, is no other function's business.
#[derive(Debug)]
pub enum Spare<Memory> {
    /// Nothing.
    None,
    /// The worker at this place is on its way.
    Starting(u16),
    /// A frozen worker that waits for a function's code.
    Ready(Frozen<Memory>),
}

impl<Memory> Spare<Memory> {
    /// Tells whether there is nothing.
    pub fn is_none(&self) -> bool {
        matches!(self, Spare::None)
    }

    /// Memory of what is ready, in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Spare::Ready(frozen) => frozen.info.bytes,
            Spare::None | Spare::Starting(_) => 0,
        }
    }

    /// Number of workers on their way: 0 or 1.
    pub fn starting(&self) -> usize {
        usize::from(matches!(self, Spare::Starting(_)))
    }

    /// What is ready for a function that may use so much memory, which it is a part of.
    pub fn for_function(&self, memory_bytes: u64) -> Option<&Frozen<Memory>> {
        match self {
            Spare::Ready(frozen) if frozen.info.bytes < memory_bytes => Some(frozen),
            _ => None,
        }
    }

    /// Takes out what is ready.
    pub fn take(&mut self) -> Option<Frozen<Memory>> {
        match core::mem::replace(self, Spare::None) {
            Spare::Ready(frozen) => Some(frozen),
            other => {
                *self = other;
                None
            }
        }
    }
}
