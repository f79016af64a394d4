use super::{create, request};
use crate::protocol::{FACTORY, factory};
use crate::{CapIndex, Error, Utcb};

/// A factory: an account that pays for everything created with it. All creating operations need the strong right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factory(pub CapIndex);

/// State of an account, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FactoryInfo {
    /// The limit.
    pub limit: u64,
    /// What is used, limits of sub-accounts included.
    pub used: u64,
    /// The part of it that sub-accounts hold whose end has begun: it comes back soon.
    pub returning: u64,
}

impl Factory {
    /// Creates a sub-account with a limit of `limit` bytes, taken from this account at once.
    pub fn create_factory(self, limit: u64, slot: CapIndex) -> Result<Factory, Error> {
        create(self.0, FACTORY, &[factory::CREATE_FACTORY, limit], slot)?;
        Ok(Factory(slot))
    }

    /// Creates a task: an empty address space and an empty capability space.
    pub fn create_task(self, slot: CapIndex) -> Result<super::Task, Error> {
        create(self.0, FACTORY, &[factory::CREATE_TASK], slot)?;
        Ok(super::Task(slot))
    }

    /// Creates a thread in `task` (write right needed) with its UTCB at the page `utcb`. Faults go to `handler` (a gate, or
    /// [`CapIndex::NONE`]) with `label`, or with the gate's own label if `label` is 0; another label needs the server right.
    pub fn create_thread(
        self,
        task: super::Task,
        utcb: u64,
        handler: CapIndex,
        label: u64,
        slot: CapIndex,
    ) -> Result<super::Thread, Error> {
        create(
            self.0,
            FACTORY,
            &[factory::CREATE_THREAD, task.0.word(), utcb, handler.word(), label],
            slot,
        )?;
        Ok(super::Thread(slot))
    }

    /// Creates a gate with a label (two lowest bits 0), bound to `thread` or, with [`CapIndex::NONE`], not yet bound.
    pub fn create_gate(self, label: u64, thread: CapIndex, slot: CapIndex) -> Result<super::Gate, Error> {
        create(
            self.0,
            FACTORY,
            &[factory::CREATE_GATE, label, thread.word()],
            slot,
        )?;
        Ok(super::Gate(slot))
    }

    /// Creates a notification with a label, bound to `thread` or, with [`CapIndex::NONE`], not yet bound.
    pub fn create_irq(self, label: u64, thread: CapIndex, slot: CapIndex) -> Result<super::Irq, Error> {
        create(
            self.0,
            FACTORY,
            &[factory::CREATE_IRQ, label, thread.word()],
            slot,
        )?;
        Ok(super::Irq(slot))
    }

    /// Creates a dataspace of `size` bytes (rounded up to pages) that reads as zeroes.
    pub fn create_dataspace(self, size: u64, slot: CapIndex) -> Result<super::Dataspace, Error> {
        create(
            self.0,
            FACTORY,
            &[factory::CREATE_DATASPACE, size, CapIndex::NONE.word()],
            slot,
        )?;
        Ok(super::Dataspace(slot))
    }

    /// Creates a copy-on-write child of a sealed dataspace (read right needed), as large as the parent.
    pub fn create_child(self, parent: super::Dataspace, slot: CapIndex) -> Result<super::Dataspace, Error> {
        create(
            self.0,
            FACTORY,
            &[factory::CREATE_DATASPACE, 0, parent.0.word()],
            slot,
        )?;
        Ok(super::Dataspace(slot))
    }

    /// Lowers the limit to what is in use and gives the rest back to the parent account. Returns the new limit in bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for the machine's own account; the strong right is needed.
    pub fn trim(self) -> Result<u64, Error> {
        request(self.0, FACTORY, &[factory::TRIM])?;
        Ok(Utcb::current().word(0))
    }

    /// Limit of the account, and what is in use.
    pub fn info(self) -> Result<FactoryInfo, Error> {
        request(self.0, FACTORY, &[factory::INFO])?;
        let utcb = Utcb::current();
        Ok(FactoryInfo {
            limit: utcb.word(0),
            used: utcb.word(1),
            returning: utcb.word(2),
        })
    }
}
