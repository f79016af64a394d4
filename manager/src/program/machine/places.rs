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

impl Machine {
    /// An empty slot that stays taken.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if this client has as many as it may.
    pub(super) fn take_slot(&mut self) -> Result<CapIndex, Error> {
        if self.slots_left == 0 {
            return Err(Error::NoSpace);
        }
        let slot = Slot::allocate()?.filled().leak();
        self.slots_left -= 1;
        Ok(slot)
    }

    /// A slot of a place, which is taken when it is needed for the first time.
    fn place_slot(
        &mut self,
        place: u16,
        which: fn(&mut WorkerSlots) -> &mut CapIndex,
    ) -> Result<CapIndex, LaunchError> {
        let known = *which(&mut self.workers.reach(place).slots);
        if known != CapIndex::NONE {
            return Ok(known);
        }
        // Slots come back when others end.
        let slot = self.take_slot().map_err(|_| LaunchError::Later)?;
        *which(&mut self.workers[place].slots) = slot;
        Ok(slot)
    }

    /// The slot for a worker's task, of which most clones need none.
    pub(super) fn task_slot(&mut self, place: u16) -> Result<CapIndex, LaunchError> {
        self.place_slot(place, |slots| &mut slots.launched.task)
    }

    /// The slots for task and thread of a worker that begins from the file.
    pub(super) fn launched_slots(&mut self, place: u16) -> Result<Launched, LaunchError> {
        Ok(Launched {
            task: self.task_slot(place)?,
            thread: self.place_slot(place, |slots| &mut slots.launched.thread)?,
        })
    }

    /// An account for a new worker, in the slot of its place.
    pub(super) fn open_account(&mut self, launch: Launch) -> Result<CapIndex, LaunchError> {
        let slot = self.place_slot(launch.worker.index, |slots| &mut slots.account)?;
        match Factory(self.account_of(launch.payer)).create_factory(launch.memory, slot) {
            Ok(_) => {
                self.bury(DYING);
                Ok(slot)
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
