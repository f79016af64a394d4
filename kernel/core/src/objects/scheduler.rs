//! Schedulers: the right to run threads on some CPUs up to some priority.
#![expect(unsafe_code, reason = "an object's type is vouched for")]

use crate::account::Account;
use crate::object::{Header, Kind, Object, Ref};
use l4::Error;

/// A scheduler.
#[repr(C, align(64))]
pub struct Scheduler {
    pub(crate) header: Header,
    cpus: u64,
    max_priority: u8,
}

// SAFETY: `repr(C)` with the header first.
unsafe impl Object for Scheduler {
    const KIND: Kind = Kind::Scheduler;
}

impl Scheduler {
    /// The first scheduler.
    pub(crate) const fn new(header: Header, cpus: u64, max_priority: u8) -> Scheduler {
        Scheduler {
            header,
            cpus,
            max_priority,
        }
    }

    /// Bit n: CPU n may be used.
    pub fn cpus(&self) -> u64 {
        self.cpus
    }

    /// Highest priority that may be given.
    pub fn max_priority(&self) -> u8 {
        self.max_priority
    }

    /// Derives a narrower one.
    ///
    /// # Errors
    /// [`Error::Invalid`] if no CPU or no priority is left, and those of object creation.
    pub fn derive(
        &self,
        account: Ref<Account>,
        cpus: u64,
        max_priority: u8,
    ) -> Result<Ref<Scheduler>, Error> {
        let (cpus, max_priority) = (self.cpus & cpus, self.max_priority.min(max_priority));
        if cpus == 0 || max_priority == 0 {
            return Err(Error::Invalid);
        }
        Account::create(account, |header| Scheduler {
            header,
            cpus,
            max_priority,
        })
    }
}
