//! Snapshots as files, so that a later boot of the same build has them without running what made them.
//!
//! 1. [`store`] reads a snapshot and writes it to a dataspace.
//! 2. [`StoredImage::parse`] checks such a file, from whomever it comes; it never panics and reads nothing else.
//!    [`StoredImage::read`] does so for who can't tell which function and build it is for.
//! 3. [`StoredImage::fill`] makes a new task what the snapshot's was. Pages are not copied: the task shows the file's, and copies
//!    what it writes. It can be frozen at once.
//!
//! [`Record`]s carry files out of the machine.
//!
//! A file holds what the task's memory differs in from the programs that it was made of, and the registers of its thread, which
//! waits in a call. No capability is stored: the task gets its own from whoever loads it.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

mod digest;
mod error;
mod format;
mod load;
mod record;
mod store;

pub use digest::Digest;
pub use error::{LoadFault, StoreError};
pub use format::{Identity, StoredImage};
pub use record::{Record, RecordFault};
pub use store::{Source, store};
