//! Places of workers: the slots of their capabilities, and their accounts.

use super::{DYING, Machine};
use l4::object::Factory;
use l4::{CapIndex, Error};
use l4re::Slot;
use loader::Launched;
use manager::platform::{Launch, LaunchError, Payer};

/// Where a worker's capabilities are.
#[derive(Clone, Copy)]
pub(crate) struct WorkerSlots {
    pub(crate) account: CapIndex,
    pub(crate) launched: Launched,
}

impl Default for WorkerSlots {
    /// No slots yet.
    fn default() -> WorkerSlots {
        WorkerSlots {
            account: CapIndex::NONE,
            launched: Launched {
                task: CapIndex::NONE,
                thread: CapIndex::NONE,
            },
        }
    }
}

/// A place for a worker.
#[derive(Clone, Copy, Default)]
pub(super) struct WorkerPlace {
    pub(super) slots: WorkerSlots,
    /// Limit of a live worker that the client's account pays for; 0 for others.
    pub(super) limit: u64,
}

/// An empty slot that stays taken.
pub(super) fn take_slot() -> Result<CapIndex, Error> {
    Slot::allocate().map(|slot| slot.filled().leak())
}

impl Machine {
    /// The slots of a place, which are taken when the place is used for the first time.
    fn slots(&mut self, place: u16) -> Result<WorkerSlots, Error> {
        let slots = &mut self.workers.reach(place).slots;
        for slot in [
            &mut slots.account,
            &mut slots.launched.task,
            &mut slots.launched.thread,
        ] {
            if *slot == CapIndex::NONE {
                *slot = take_slot()?;
            }
        }
        Ok(*slots)
    }

    /// An account for a new worker, in the slots of its place.
    pub(super) fn open_account(&mut self, launch: Launch) -> Result<WorkerSlots, LaunchError> {
        let slots = self.slots(launch.worker.index).map_err(LaunchError::Refused)?;
        match Factory(self.account_of(launch.payer)).create_factory(launch.memory, slots.account) {
            Ok(_) => {
                self.bury(DYING);
                Ok(slots)
            }
            Err(Error::NoMemory) => Err(LaunchError::Later),
            Err(error) => Err(LaunchError::Refused(error)),
        }
    }

    /// Notes that a worker lives whose account has this limit.
    pub(super) fn note_limit(&mut self, launch: &Launch) {
        if launch.payer == Payer::Client {
            self.workers[launch.worker.index].limit = launch.memory;
            self.live_bytes += launch.memory;
            self.last_limit = launch.memory;
        }
    }
}
