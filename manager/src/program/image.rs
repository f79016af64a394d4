//! Frozen workers: the snapshot and the account that pays for it.

use crate::machine::WorkerSlots;
use interfaces::faas::{FreezeFault, ImageInfo};
use l4::object::{Factory, Snapshot, Task};
use l4::{CapIndex, Error};
use l4re::{OwnedCap, Slot};
use manager::platform::FreezeError;

/// A frozen worker.
pub(crate) struct Image {
    snapshot: OwnedCap,
    /// What was the worker's account.
    account: OwnedCap,
    bytes: u64,
}

impl Image {
    /// What workers begin from.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.snapshot.index())
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the account back, which is to be deleted with all that it pays for.
    pub(crate) fn take_apart(self) -> CapIndex {
        self.account.leak()
    }

    /// Frees its memory. No worker may use it any more.
    pub(crate) fn delete(self) {
        // The account pays for the snapshot, so it goes with it.
        let _ = Task(CapIndex::TASK).delete(self.account.index());
    }
}

/// Freezes the worker in these slots, which waits for the answer to `reply`. The slots are empty afterwards.
///
/// # Errors
/// [`FreezeError`]; the worker is still in its slots then.
pub(crate) fn freeze(slots: &mut WorkerSlots, reply: CapIndex) -> Result<(Image, ImageInfo), FreezeError> {
    let next_account = Slot::allocate().map_err(refused)?;
    let task = slots.launched.task;
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task, reply, slot)).map_err(refused)?;
    let prepared = Snapshot(snapshot.index()).prepare();
    let account = Factory(slots.account);
    let sizes = prepared
        .and_then(|()| Snapshot(snapshot.index()).info())
        .and_then(|info| Ok((info, account.trim()?)));
    let (info, bytes) = sizes.map_err(refused)?;
    // The prepared snapshot holds what it needs of the task; what is left here are empty slots.
    let _ = Task(CapIndex::TASK).drop_cap(slots.launched.task);
    let _ = Task(CapIndex::TASK).drop_cap(slots.launched.thread);
    let account = OwnedCap::adopt(core::mem::replace(
        &mut slots.account,
        next_account.filled().leak(),
    ));
    let info = ImageInfo {
        bytes,
        pages: info.pages,
        tables: info.tables,
        depth: info.depth as u32,
        prepare_ns: 0,
    };
    let image = Image {
        snapshot,
        account,
        bytes,
    };
    Ok((image, info))
}

/// What an error of the kernel means.
fn refused(error: Error) -> FreezeError {
    match error {
        Error::NoMemory => FreezeError::NoMemory,
        Error::Busy => FreezeError::NotFreezable(FreezeFault::Threads),
        Error::Range => FreezeError::NotFreezable(FreezeFault::TooComplex),
        _ => FreezeError::NotFreezable(FreezeFault::Refused),
    }
}
