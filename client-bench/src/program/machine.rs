//! What the whole machine has in use, for who has the capability `debug`.

use interfaces::faas::RegistryClient;
use interfaces::faas::client::ClientError;
use l4::object::{Counters, Debug};
use l4::{CapIndex, Error};
use l4re::{Channel, clock};

/// How long the machine may take to become quiet.
const QUIET_NS: u64 = 2_000_000_000;
/// Time between two looks.
const LOOK_NS: u64 = 1_000;
/// Time in which what was going on before comes to its end.
const REST_NS: u64 = 5_000_000;

/// The machine's counters.
pub(crate) struct Machine {
    /// Destroyed objects that something still uses, such as dataspaces that a region shows.
    in_use: u64,
}

impl Machine {
    /// The machine before there was anything to measure.
    ///
    /// # Errors
    /// The kernel's, above all without the capability.
    pub(crate) fn at_rest() -> Result<Machine, Error> {
        clock::sleep(REST_NS);
        Ok(Machine {
            in_use: Debug(CapIndex::DEBUG).counters()?.dying,
        })
    }

    /// As [`Machine::quiet`], but first the manager cleans up after its clients until only `others` are left.
    ///
    /// # Errors
    /// The manager's; [`Error::Busy`] if it goes on having more clients; those of [`Machine::quiet`].
    pub(crate) fn quiet_without_clients(
        &self,
        registry: CapIndex,
        others: u64,
    ) -> Result<Counters, ClientError> {
        let deadline = clock::after(QUIET_NS);
        while clients(registry)? > others {
            if clock::now_ns() >= deadline {
                return Err(Error::Busy.into());
            }
            clock::sleep(LOOK_NS);
        }
        Ok(self.quiet()?)
    }

    /// The counters as soon as nothing is being taken apart any more.
    ///
    /// # Errors
    /// [`Error::Busy`] if that does not happen.
    pub(crate) fn quiet(&self) -> Result<Counters, Error> {
        let deadline = clock::after(QUIET_NS);
        loop {
            let counters = Debug(CapIndex::DEBUG).counters()?;
            if counters.dying <= self.in_use {
                return Ok(counters);
            }
            if clock::now_ns() >= deadline {
                return Err(Error::Busy);
            }
            // The idle CPU works on them.
            clock::sleep(LOOK_NS);
        }
    }
}

/// How many clients the manager has, those among them that it still cleans up after.
///
/// # Errors
/// The manager's.
pub(crate) fn clients(registry: CapIndex) -> Result<u64, ClientError> {
    Ok(RegistryClient::new(Channel(registry)).status()?.clients)
}
