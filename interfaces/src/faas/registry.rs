//! Registration: a client gets a core and a gate of its own.

use l4::Error;
use l4::object::Scheduler;
use l4_rpc::{Cap, Decode, Encode, Encoder, Source, interface};

use super::types::words_in_order;
use super::{Actions, FaasError};

/// The manager's registry.
#[interface(protocol = 0x5003)]
pub trait Registry {
    /// Takes a core for the caller. It is given back when the last copy of the client gate is gone.
    #[op(1, words, deferred)]
    fn register(&self) -> Result<Registration, FaasError>;

    /// How many clients there are and could be.
    #[op(2, words)]
    fn status(&self) -> Result<RegistryStatus, FaasError>;
}

/// What a client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Its gate, served by a thread on its core.
    pub client: Cap<dyn Actions>,
    /// The right to run threads on its core.
    pub scheduler: Cap<Scheduler>,
    /// Number of its core.
    pub cpu: u32,
}

impl Encode for Registration {
    fn encode(&self, out: &mut Encoder<'_>) {
        self.cpu.encode(out);
        self.client.encode(out);
        self.scheduler.encode(out);
    }
}

impl<S: Source> Decode<S> for Registration {
    const CAPS: usize = 2;

    fn decode(from: &mut S) -> Result<Registration, Error> {
        let cpu = Decode::decode(from)?;
        Ok(Registration {
            client: Decode::decode(from)?,
            scheduler: Decode::decode(from)?,
            cpu,
        })
    }
}

/// State of the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryStatus {
    /// Registered clients.
    pub clients: u64,
    /// Cores that no client has.
    pub free_cores: u64,
}

words_in_order!(RegistryStatus: clients, free_cores);
