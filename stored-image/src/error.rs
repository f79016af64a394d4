//! What can be wrong.

use core::fmt;
use l4::{CapIndex, Error};

/// Why a file is not loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadFault {
    /// It is shorter than a head, or than it says itself.
    Truncated,
    /// It does not begin as a stored snapshot does.
    NotASnapshot,
    /// It has another version of the format: this one.
    OtherFormat(u64),
    /// Its digest is not that of its contents.
    Damaged,
    /// It was made by another build of the system, or on a processor with other features.
    OtherBuild,
    /// It is one of another function, or of one with other code or another configuration.
    OtherFunction,
    /// What it says of regions or addresses makes no sense.
    BadLayout,
}

impl fmt::Display for LoadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LoadFault::Truncated => "the file is truncated",
            LoadFault::NotASnapshot => "the file is no stored snapshot",
            LoadFault::OtherFormat(version) => {
                return write!(
                    f,
                    "the file's format has version {version}, which this build does not read"
                );
            }
            LoadFault::Damaged => "the file is damaged: its digest is wrong",
            LoadFault::OtherBuild => {
                "it was stored by another build, or for another processor; store it again"
            }
            LoadFault::OtherFunction => {
                "it is one of another function, other code or another configuration; store it again"
            }
            LoadFault::BadLayout => "what the file says of the task's memory makes no sense",
        })
    }
}

/// Why a snapshot is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// Its clones have a capability that nobody could give them again, in this slot.
    Capability(CapIndex),
    /// It shows memory at this address that somebody else may change.
    ChangingMemory(u64),
    /// Its memory is in too many pieces.
    TooManyRegions,
    /// The kernel refused something.
    Kernel(Error),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        StoreError::Kernel(error)
    }
}
