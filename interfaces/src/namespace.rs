//! Namespaces: names of dataspaces, such as the modules of the boot image.

use alloc::string::String;
use core::fmt;

use l4::object::Dataspace;
use l4_rpc::{Cap, interface};
use serde::{Deserialize, Serialize};

/// Longest name in bytes.
pub const NAME_MAX: usize = 255;

/// Finds dataspaces by name.
#[interface(protocol = l4::protocol::NAMESPACE)]
pub trait Namespace {
    /// The dataspace called `name` (read-only), and its length in bytes: dataspaces are whole pages, what they hold
    /// need not be.
    #[op(1)]
    fn query(&self, name: &str) -> Result<(Cap<Dataspace>, u64), NamespaceError>;

    /// Name and length in bytes of the entry with number `index`; `None` behind the last.
    #[op(2)]
    fn list(&self, index: u64) -> Result<Option<(String, u64)>, NamespaceError>;
}

/// Why a namespace has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceError {
    /// There is no entry of this name.
    NotFound,
    /// The name is empty or longer than [`NAME_MAX`].
    InvalidName,
}

impl fmt::Display for NamespaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamespaceError::NotFound => f.write_str("no such name; is the module part of the boot image?"),
            NamespaceError::InvalidName => write!(f, "a name has 1 to {NAME_MAX} bytes"),
        }
    }
}

impl core::error::Error for NamespaceError {}
