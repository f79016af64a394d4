//! Frozen workers: the snapshot and the account that pays for it.

use crate::SEAT_PRIORITY;
use crate::machine::WorkerSlots;
use alloc::boxed::Box;
use interfaces::faas::{FreezeFault, ImageInfo, direct};
use interfaces::manifest::Copying;
use l4::object::{Factory, GateBinding, Placement, Snapshot, SpawnGate, Task, Thread};
use l4::{CapIndex, Error};
use l4re::start::current_thread;
use l4re::{OwnedCap, Slot};
use manager::platform::{DirectCalls, FreezeError, GateLimits};

/// How many workers are asked what they wrote: one request may be unlike all others.
const RECORDED: u32 = 2;

/// A frozen worker.
pub(crate) struct Image {
    snapshot: OwnedCap,
    /// What was the worker's account.
    account: OwnedCap,
    /// Begins clones for clients.
    gate: Option<OwnedCap>,
    /// Memory that it takes, in bytes, without the layer.
    own_bytes: u64,
    /// What the worker began from; it goes with the image, after it.
    layer: Option<Box<Image>>,
    /// Clones shall begin with the pages that others have written, and it is not known here that these have been recorded.
    is_unrecorded: bool,
}

impl Image {
    /// What workers begin from.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.snapshot.index())
    }

    /// The gate by which clients begin clones; it is made the first time, and `account` pays for it and for the clones.
    ///
    /// # Errors
    /// The kernel's, above all [`Error::NoMemory`].
    pub(crate) fn open(&mut self, account: CapIndex, limits: GateLimits) -> Result<CapIndex, Error> {
        if let Some(gate) = &self.gate {
            return Ok(gate.index());
        }
        let binding = GateBinding {
            account,
            scheduler: CapIndex::SCHEDULER,
            place: Placement {
                cpu: Thread(current_thread()).stats()?.cpu,
                priority: limits.priority.min(SEAT_PRIORITY),
                slice_us: 0,
            },
            memory_bytes: limits.memory,
            deadline_ns: limits.timeout_ns,
            concurrent: limits.concurrent,
            // Its next message to its parent is the answer.
            answer: CapIndex::PARENT,
            label: 0,
        };
        let gate = Slot::fill(|slot| self.snapshot().bind(&binding, slot))?;
        SpawnGate(gate.index()).tell_apart(&direct::OUTCOMES)?;
        Ok(self.gate.insert(gate).index())
    }

    /// Tells whether it is worth while to know the next clone's task.
    pub(crate) fn is_unrecorded(&self) -> bool {
        self.is_unrecorded
    }

    /// Has clones begin with the pages that this one has written, as far as others have, which the kernel may have chosen.
    pub(crate) fn record(&mut self, clone: CapIndex) {
        match self.snapshot().record(clone) {
            // More are needed; or it has ended meanwhile, or began when it was not asked for its task.
            Ok(0) | Err(Error::NotFound | Error::Invalid) => {}
            Ok(_) | Err(_) => self.is_unrecorded = false,
        }
    }

    /// Pages that clones begin with, because an earlier one wrote them.
    pub(crate) fn written(&self) -> u64 {
        self.snapshot().info().map_or(0, |info| info.written)
    }

    /// Takes back the gate's capabilities that clients got.
    pub(crate) fn close(&mut self) {
        if let Some(gate) = &self.gate {
            // Only a task that is ending refuses that.
            let _ = Task(CapIndex::TASK).revoke(gate.index());
        }
    }

    /// What became of the gate's calls.
    pub(crate) fn direct_calls(&self) -> DirectCalls {
        let counts = self.gate.as_ref().map(|gate| SpawnGate(gate.index()).counts());
        match counts {
            Some(Ok(counts)) => DirectCalls {
                live: counts.live,
                begun: counts.started,
                succeeded: counts.kinds[0],
                failed: counts.failed.iter().chain(&counts.kinds[1..]).sum(),
            },
            _ => DirectCalls::default(),
        }
    }

    /// Memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.own_bytes + self.layer.as_ref().map_or(0, |layer| layer.bytes())
    }

    /// Makes what the worker began from a part of the image, of which `info` tells.
    pub(crate) fn put_upon(&mut self, layer: Image, info: &mut ImageInfo) {
        info.runtime_bytes = layer.bytes();
        info.bytes += info.runtime_bytes;
        // It is prepared, so it can be asked.
        if let Ok(below) = layer.snapshot().info() {
            info.pages += below.pages;
            info.tables += below.tables;
        }
        self.layer = Some(Box::new(layer));
    }

    /// Gives the account back, which is to be deleted with all that it pays for.
    pub(crate) fn take_apart(self) -> CapIndex {
        self.account.leak()
    }

    /// Frees its memory. No worker may use it any more.
    pub(crate) fn delete(self) {
        if let Some(gate) = self.gate {
            // Dropping it is as good, unless somebody kept a copy.
            let _ = gate.delete();
        }
        // The account pays for the snapshot, so it goes with it.
        let _ = Task(CapIndex::TASK).delete(self.account.index());
        if let Some(layer) = self.layer {
            layer.delete();
        }
    }
}

/// Freezes the worker in these slots, which waits for the answer to `reply`, or was loaded and waits for none. The slots are empty
/// afterwards. To copy eagerly takes memory that the worker may not have; then its clones copy lazily.
///
/// # Errors
/// [`FreezeError`]; the worker is still in its slots then.
pub(crate) fn freeze(
    slots: &mut WorkerSlots,
    reply: Option<CapIndex>,
    copying: Copying,
) -> Result<(Image, ImageInfo), FreezeError> {
    let next_account = Slot::allocate().map_err(refused)?;
    let task = slots.launched.task;
    let waits = reply.unwrap_or(slots.launched.thread);
    let snapshot = Slot::fill(|slot| Snapshot::freeze(task, waits, slot)).map_err(refused)?;
    let prepared = Snapshot(snapshot.index()).prepare();
    let is_unrecorded = prepared.is_ok()
        && copying == Copying::Eager
        && Snapshot(snapshot.index())
            .record_answers(direct::RESULT, RECORDED)
            .is_ok();
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
        runtime_bytes: 0,
        written: 0,
        prepare_ns: 0,
        is_loaded: false,
    };
    let image = Image {
        snapshot,
        account,
        gate: None,
        own_bytes: bytes,
        layer: None,
        is_unrecorded,
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
