//! How workers' tasks are made.

use super::Machine;
use crate::SEAT_PRIORITY;
use crate::answers::encode;
use crate::image::Image;
use crate::program::Program;
use alloc::vec;
use l4::object::{MapEntry, Placement, Spawn, Task};
use l4::{CapIndex, Error, Rights, Utcb};
use l4re::OwnedCap;
use loader::{Launched, LoadError};
use manager::label::Sender;
use manager::platform::{Answer, Launch, LaunchError};

/// Ends the account of a worker that did not begin.
pub(super) fn not_begun(account: CapIndex, error: Error) -> LaunchError {
    let _ = Task(CapIndex::TASK).delete(account);
    match error {
        Error::NoMemory => LaunchError::LimitTooLow,
        error => LaunchError::Refused(error),
    }
}

pub(super) fn placement(launch: &Launch) -> Placement {
    Placement {
        cpu: Placement::SAME_CPU,
        priority: launch.priority.min(SEAT_PRIORITY),
        slice_us: 0,
    }
}

impl Machine {
    /// Makes a worker with an account of its own, and its task as `make_task` does with how it is to be made, the gate and label
    /// of its supervisor, and the slots for task and thread. If that fails, nothing of the worker is left.
    pub(super) fn make<E>(
        &mut self,
        launch: Launch,
        make_task: impl FnOnce(&loader::Launch<'_>, (CapIndex, u64), Launched) -> Result<(), E>,
    ) -> Result<Result<(), E>, LaunchError> {
        self.flush();
        let slots = self.launched_slots(launch.worker.index)?;
        let account = self.open_account(launch)?;
        let capabilities = self.capabilities(&launch, account);
        let task = self.task(&launch, account, &capabilities);
        let supervisor = (self.gate, Sender::Worker(launch.worker).label());
        let made = make_task(&task, supervisor, slots);
        match &made {
            Ok(()) => self.note_limit(&launch),
            Err(_) => {
                let _ = Task(CapIndex::TASK).delete(account);
            }
        }
        Ok(made)
    }

    /// The same from a program's file.
    pub(super) fn make_from_file(
        &mut self,
        launch: Launch,
        make_task: impl FnOnce(&loader::Launch<'_>, (CapIndex, u64), Launched) -> Result<(), LoadError>,
    ) -> Result<(), LaunchError> {
        self.make(launch, make_task)?.map_err(|error| match error {
            LoadError::Kernel {
                error: Error::NoMemory,
                ..
            } => LaunchError::LimitTooLow,
            LoadError::Kernel { error, .. } => LaunchError::Refused(error),
            LoadError::Elf(_) | LoadError::ImagesOverlap | LoadError::BadArguments => {
                LaunchError::Refused(Error::Invalid)
            }
        })
    }

    /// Makes a clone of a runtime that waits for code, and gives it that of `program`.
    pub(super) fn begin_upon(
        &mut self,
        layer: &Image,
        program: &Program,
        launch: &Launch,
        account: CapIndex,
        task: CapIndex,
    ) -> Result<(), Error> {
        let scheduler = program.scheduler(&self.task(launch, account, &[]))?;
        let mut entries = vec![self.minted(Sender::Log(launch.worker), CapIndex::LOG)];
        for slot in program.supervisor_slots() {
            entries.push(self.minted(Sender::Worker(launch.worker), *slot));
        }
        // That of the runtime is for its own priority.
        let scheduler_entry =
            |cap: &OwnedCap| MapEntry::copy(cap.index(), CapIndex::SCHEDULER, Rights::CLIENT);
        entries.extend(scheduler.iter().map(scheduler_entry));
        let spawn = Spawn {
            account,
            scheduler: CapIndex::SCHEDULER,
            place: placement(launch),
            handler: (self.gate, Sender::Fault(launch.worker).label()),
            entries: &entries,
        };
        let utcb = Utcb::current();
        let (tag, _) = encode(utcb, Answer::Code(Ok(program.code())), [0; 2]);
        utcb.set_receive_slots(&[task]);
        let spawned = layer.snapshot().spawn_with(&spawn, tag);
        utcb.set_receive_slots(&[]);
        spawned
    }

    /// What every worker is given.
    pub(super) fn capabilities(&self, launch: &Launch, account: CapIndex) -> [MapEntry; 3] {
        [
            MapEntry::copy(account, CapIndex::FACTORY, Rights::CLIENT),
            self.minted(Sender::Worker(launch.worker), CapIndex::PARENT),
            self.minted(Sender::Log(launch.worker), CapIndex::LOG),
        ]
    }

    /// How a worker's task is made.
    pub(super) fn task<'a>(
        &self,
        launch: &Launch,
        account: CapIndex,
        capabilities: &'a [MapEntry],
    ) -> loader::Launch<'a> {
        loader::Launch {
            account,
            scheduler: CapIndex::SCHEDULER,
            placement: placement(launch),
            handler: self.gate,
            handler_label: Sender::Fault(launch.worker).label(),
            capabilities,
            arguments: None,
        }
    }

    /// A capability for a worker, with a label of its own.
    pub(super) fn minted(&self, sender: Sender, to: CapIndex) -> MapEntry {
        MapEntry {
            from: self.gate,
            to,
            rights: Rights::CLIENT,
            grant: false,
            label: sender.label(),
        }
    }
}
