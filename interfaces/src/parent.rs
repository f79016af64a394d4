//! What a started task tells who started it.

use core::fmt;

use l4_rpc::interface;
use serde::{Deserialize, Serialize};

/// The signal that says: the task ended, `code` is its exit code.
pub const EXIT: u64 = 0;

/// Whoever started a task.
#[interface(protocol = l4::protocol::PARENT)]
pub trait Parent {
    /// Reports a signal; [`EXIT`] ends the task, so that no answer comes.
    #[op(0, words, deferred)]
    fn signal(&self, signal: u64, code: u64) -> Result<(), ParentError>;
}

/// Why a parent refuses a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParentError {
    /// The parent has no use for this signal.
    UnknownSignal,
}

impl fmt::Display for ParentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parent does not know this signal")
    }
}

impl core::error::Error for ParentError {}
