//! The client's side of functions as a service: a session with the manager, and payloads in dataspaces.

mod function;

pub use function::Function;

use crate::memory::{SealedView, SharedView, create_dataspace, round_up};
use crate::{Channel, OwnedCap, start};
use alloc::string::String;
use core::fmt;
use core::ops::Deref;
use interfaces::faas::client::{Client, ClientError, Code, Memory};
use interfaces::faas::{ActionConfig, RegistryClient};
use interfaces::manifest::{FOLDER, Manifest, ManifestError, SNAPSHOT_SUFFIX, SUFFIX};
use interfaces::namespace::{NamespaceClient, NamespaceError};
use l4::object::{Dataspace, Placement, Scheduler};
use l4::{CapIndex, Error};
use l4_rpc::{CallError, Cap};

/// Maps dataspaces into this task to copy payloads in and out.
#[derive(Clone, Copy, Debug)]
pub struct Mapped;

impl Memory for Mapped {
    fn publish(&self, bytes: &[u8]) -> Result<Cap<Dataspace>, Error> {
        seal_copy(bytes).map(|owned| Cap::new(owned.leak()))
    }

    fn fetch(&self, memory: Cap<Dataspace>, into: &mut [u8]) -> Result<(), Error> {
        let view = SealedView::attach(Dataspace(memory.index()))?;
        into.copy_from_slice(view.bytes().get(..into.len()).ok_or(Error::Range)?);
        Ok(())
    }

    fn release(&self, memory: Cap<Dataspace>) {
        drop(OwnedCap::adopt(memory.index()));
    }
}

/// Makes a dataspace that starts with `bytes` and cannot be changed any more.
///
/// # Errors
/// The kernel's, above all [`Error::NoMemory`]; [`Error::Invalid`] if there are no bytes.
pub fn seal_copy(bytes: &[u8]) -> Result<OwnedCap, Error> {
    let length = bytes.len() as u64;
    let owned = create_dataspace(round_up(length)?)?;
    let dataspace = Dataspace(owned.index());
    SharedView::attach(dataspace, length)?.write(0, bytes)?;
    dataspace.seal()?;
    Ok(owned)
}

/// A registered client: it has a core of its own, which dropping the session gives back. All calls of
/// [`Client`] are calls of the session.
#[derive(Debug)]
pub struct Session {
    client: Client<Channel, Mapped>,
    cpu: u32,
    scheduler: OwnedCap,
    _gate: OwnedCap,
}

impl Session {
    /// Registers with the manager behind `registry`, the capability that boot scripts call `manager`.
    ///
    /// # Errors
    /// As the manager says, above all [`TooManyClients`](interfaces::faas::FaasError::TooManyClients).
    pub fn open(registry: CapIndex) -> Result<Session, ClientError> {
        let registration = RegistryClient::new(Channel(registry)).register()?;
        let gate = OwnedCap::adopt(registration.client.index());
        Ok(Session {
            client: Client::new(Channel(gate.index()), Mapped),
            cpu: registration.cpu,
            scheduler: OwnedCap::adopt(registration.scheduler.index()),
            _gate: gate,
        })
    }

    /// Number of the session's core.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    /// The right to run threads on the session's core.
    pub fn scheduler(&self) -> Scheduler {
        Scheduler(self.scheduler.index())
    }

    /// Moves the calling thread to the session's core, with the highest priority that the manager permits. Calls
    /// then cross no cores.
    ///
    /// # Errors
    /// The kernel's.
    pub fn enter_core(&self) -> Result<(), Error> {
        let priority = self.scheduler().info()?.max_priority;
        let place = Placement {
            cpu: self.cpu,
            priority,
            slice_us: 0,
        };
        self.scheduler().place(start::current_thread(), place)
    }

    /// Creates the function that the boot image has under this name, configured as its `function.toml` says.
    ///
    /// # Errors
    /// [`FunctionError`] tells whether the boot image or the manager is why.
    pub fn create_from_rom(&self, name: &str) -> Result<(), FunctionError> {
        let function = RomFunction::find(name)?;
        Ok(self.create_function(name, &function, function.config())?)
    }

    /// Creates a function of the boot image under any name and with any configuration. If a snapshot of it was packed with the
    /// image, it begins from that, unless that is of another build, name or configuration
    /// ([`ActionInfo::unused_snapshot`](interfaces::faas::ActionInfo::unused_snapshot) tells).
    ///
    /// # Errors
    /// The manager's.
    pub fn create_function(
        &self,
        name: &str,
        function: &RomFunction,
        config: ActionConfig,
    ) -> Result<(), ClientError> {
        let (code, environment) = (function.code(), &function.manifest.environment);
        match function.snapshot() {
            Some(snapshot) => self
                .client
                .create_with_snapshot(name, code, config, environment, snapshot),
            None => self.client.create(name, code, config, environment),
        }
    }
}

impl Deref for Session {
    type Target = Client<Channel, Mapped>;

    fn deref(&self) -> &Client<Channel, Mapped> {
        &self.client
    }
}

/// A function in the boot image.
#[derive(Debug)]
pub struct RomFunction {
    code: OwnedCap,
    code_bytes: u64,
    /// A stored snapshot of it, if the image has one.
    snapshot: Option<OwnedCap>,
    /// What its `function.toml` says.
    pub manifest: Manifest,
}

impl RomFunction {
    /// Looks for the function in the task's `rom`.
    ///
    /// # Errors
    /// [`FunctionError`] if it is not there or not usable.
    pub fn find(name: &str) -> Result<RomFunction, FunctionError> {
        let (code, code_bytes) = query(alloc::format!("{FOLDER}{name}"))?;
        let (description, length) = query(alloc::format!("{FOLDER}{name}{SUFFIX}"))?;
        let view = SealedView::attach(Dataspace(description.index()))?;
        let bytes = view.bytes().get(..length as usize).ok_or(Error::Range)?;
        let snapshot = match query(alloc::format!("{FOLDER}{name}{SNAPSHOT_SUFFIX}")) {
            Ok((file, _)) => Some(file),
            // A name may also be too long to have the suffix.
            Err(FunctionError::Rom {
                error: CallError::Server(_),
                ..
            }) => None,
            Err(error) => return Err(error),
        };
        Ok(RomFunction {
            code,
            code_bytes,
            snapshot,
            manifest: Manifest::decode(bytes)?,
        })
    }

    /// The snapshot of it that was packed with the image, for [`Client::restore`].
    pub fn snapshot(&self) -> Option<Cap<Dataspace>> {
        self.snapshot.as_ref().map(|file| Cap::new(file.index()))
    }

    /// Its code, for [`Client::create`].
    pub fn code(&self) -> Code<'_> {
        Code {
            memory: Cap::new(self.code.index()),
            length: self.code_bytes,
            handler: self.manifest.handler.as_deref().unwrap_or_default(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> ActionConfig {
        ActionConfig::from_manifest(&self.manifest)
    }
}

fn query(name: String) -> Result<(OwnedCap, u64), FunctionError> {
    match NamespaceClient::new(Channel(CapIndex::ROM)).query(&name) {
        Ok((cap, length)) => Ok((OwnedCap::adopt(cap.index()), length)),
        Err(error) => Err(FunctionError::Rom { name, error }),
    }
}

/// Why a function of the boot image was not created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FunctionError {
    /// The boot image does not have it, or cannot be asked.
    Rom {
        /// What was looked for.
        name: String,
        /// Why it was not found.
        error: CallError<NamespaceError>,
    },
    /// Its description is not usable.
    Manifest(ManifestError),
    /// The kernel refused what was needed to read it.
    System(Error),
    /// The manager refused.
    Manager(ClientError),
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FunctionError::Rom { name, error } => write!(f, "rom/{name}: {error}"),
            FunctionError::Manifest(error) => error.fmt(f),
            FunctionError::System(error) => write!(f, "the function cannot be read: {error}"),
            FunctionError::Manager(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FunctionError {}

impl From<ManifestError> for FunctionError {
    fn from(error: ManifestError) -> FunctionError {
        FunctionError::Manifest(error)
    }
}

impl From<Error> for FunctionError {
    fn from(error: Error) -> FunctionError {
        FunctionError::System(error)
    }
}

impl From<ClientError> for FunctionError {
    fn from(error: ClientError) -> FunctionError {
        FunctionError::Manager(error)
    }
}
