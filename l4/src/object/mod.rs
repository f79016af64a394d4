//! Typed wrappers of the kernel's objects: one method per operation of `docs/abi.md`.
//!
//! Each wrapper is a capability index that is believed to name an object of that kind; if it does not, the kernel
//! says so. Creating operations take the (free) slot for the new capability.

mod dataspace;
mod debug;
mod factory;
mod gate;
mod irq;
mod scheduler;
mod snapshot;
mod spawn_gate;
mod storing;
mod task;
mod thread;

pub use dataspace::{Dataspace, DataspaceInfo};
pub use debug::{Counters, CpuCounters, Debug, Icu, Platform, Vcon};
pub use factory::{Factory, FactoryInfo};
pub use gate::Gate;
pub use irq::Irq;
pub use scheduler::{Placement, Scheduler, SchedulerInfo, Start};
pub use snapshot::{Snapshot, SnapshotInfo, Spawn, spawn_words};
pub use spawn_gate::{
    ANSWER_KINDS, CLONE_DEPTH_MAX, CLONE_HEAD_WORDS, CallFailure, CloneFailure, FailureReason, GateBinding,
    GateCounts, SpawnGate, bind_words,
};
pub use storing::{CallRegisters, FOUND_MAX, ImagePages, Shown, StoredBacking, StoredRegion, stored_region};
pub use task::{MapEntry, RegionInfo, Task};
pub use thread::{Thread, ThreadStats};

use crate::{CapIndex, Error, Tag, Utcb, syscall};

/// Calls a kernel object: `words` are the operation and its arguments.
#[inline]
fn request(cap: CapIndex, protocol: i64, words: &[u64]) -> Result<u64, Error> {
    Utcb::current().write(0, words);
    syscall::call(cap, Tag::new(protocol, words.len(), 0)).result()
}

/// [`request`] that offers `slot` for the capability that the object creates.
#[inline]
fn create(cap: CapIndex, protocol: i64, words: &[u64], slot: CapIndex) -> Result<(), Error> {
    let utcb = Utcb::current();
    utcb.set_receive_slots(&[slot]);
    let result = request(cap, protocol, words);
    utcb.set_receive_slots(&[]);
    result.map(drop)
}
