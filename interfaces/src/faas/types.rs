//! What the interfaces have in common.

use l4::Error;
use l4_rpc::{Decode, Encode, Encoder, Source};
use serde::{Deserialize, Serialize};

use super::{Body, ConfigField, FaasError, FreezeFault, NAME_MAX, NameFault, RestoreFault, WorkerTimes};
use crate::manifest::{Copying, Manifest, Runtime, StartMode};

/// Gives structures of `u64` fields their fixed layout: one word per field, in the order of the list.
macro_rules! words_in_order {
    ($name:ident: $($field:ident),*) => {
        impl l4_rpc::Encode for $name {
            #[inline(always)]
            fn encode(&self, out: &mut l4_rpc::Encoder<'_>) {
                $(l4_rpc::Encode::encode(&self.$field, out);)*
            }
        }

        impl<S: l4_rpc::Source> l4_rpc::Decode<S> for $name {
            #[inline(always)]
            fn decode(from: &mut S) -> Result<$name, l4::Error> {
                $(let $field = l4_rpc::Decode::decode(from)?;)*
                Ok($name { $($field),* })
            }
        }
    };
}

pub(super) use words_in_order;

/// Number of an activation, unique for the client; 0 is none.
pub type ActivationId = u64;

/// How a function runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionConfig {
    /// What runs the code.
    pub runtime: Runtime,
    /// How workers are started; `None`: from a snapshot if the function can be frozen where it asks for its first request,
    /// else by loading the file each time.
    pub mode: Option<StartMode>,
    /// When workers that begin from a snapshot get their own copies of pages that they change. Copies that were not needed
    /// count for the memory limit, too, but take half of it at most.
    pub copying: Copying,
    /// Memory limit of one worker in bytes, everything included. Started from a snapshot, it pays for what it changes, and
    /// the snapshot's own pages have the same limit once more.
    pub memory_bytes: u64,
    /// Longest run time of one invocation in nanoseconds.
    pub timeout_ns: u64,
    /// How many invocations may run at once.
    pub concurrent_requests: u32,
    /// How many more may wait for their turn.
    pub queue_length: u32,
    /// Whether a worker serves one invocation only, whatever the mode.
    pub single_use: bool,
    /// How long an idle worker is kept after its last invocation, in nanoseconds.
    pub keepalive_ns: u64,
    /// How many invocations a warm worker serves before it is replaced.
    pub reuse_limit: u64,
    /// Priority of the workers, 1 to 100.
    pub priority: u8,
}

impl Default for ActionConfig {
    fn default() -> ActionConfig {
        ActionConfig {
            runtime: Runtime::Native,
            mode: None,
            copying: Copying::Eager,
            memory_bytes: 16 << 20,
            timeout_ns: 10_000_000_000,
            concurrent_requests: 16,
            queue_length: 64,
            single_use: false,
            keepalive_ns: 600_000_000_000,
            reuse_limit: u64::MAX,
            priority: 10,
        }
    }
}

impl ActionConfig {
    /// Lowest permitted memory limit in bytes.
    pub const MEMORY_MIN: u64 = 64 << 10;
    /// Highest permitted priority.
    pub const PRIORITY_MAX: u8 = 100;

    /// The configuration that a function's manifest asks for; defaults where it says nothing.
    pub fn from_manifest(manifest: &Manifest) -> ActionConfig {
        let default = ActionConfig::default();
        ActionConfig {
            runtime: manifest.runtime,
            mode: manifest.mode,
            copying: manifest.copying.unwrap_or(default.copying),
            memory_bytes: manifest.memory_bytes.unwrap_or(default.memory_bytes),
            timeout_ns: manifest.timeout_ns.unwrap_or(default.timeout_ns),
            concurrent_requests: manifest
                .concurrent_requests
                .unwrap_or(default.concurrent_requests),
            single_use: manifest.single_use,
            keepalive_ns: manifest.keepalive_ns.unwrap_or(default.keepalive_ns),
            reuse_limit: manifest.reuse_limit.unwrap_or(default.reuse_limit),
            ..default
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`FaasError::InvalidConfig`] names the field that makes no sense.
    pub fn check(&self) -> Result<(), FaasError> {
        let field = if self.memory_bytes < Self::MEMORY_MIN {
            ConfigField::Memory
        } else if self.timeout_ns == 0 {
            ConfigField::Timeout
        } else if self.concurrent_requests == 0 {
            ConfigField::ConcurrentRequests
        } else if self.reuse_limit == 0 {
            ConfigField::ReuseLimit
        } else if self.priority == 0 || self.priority > Self::PRIORITY_MAX {
            ConfigField::Priority
        } else {
            return Ok(());
        };
        Err(FaasError::InvalidConfig(field))
    }
}

/// What is said of a function when it is created, besides the code itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition<'a> {
    /// Its name; the manager [`check_name`]s it.
    pub name: &'a [u8],
    /// Length of the code in bytes.
    pub code_bytes: u64,
    /// The handler inside the code, where the runtime can choose one; else "".
    pub handler: &'a str,
    /// Length of the environment in bytes, 0 without one.
    pub environment_bytes: u64,
    /// How it runs.
    pub config: ActionConfig,
}

/// Checks a function's name.
///
/// # Errors
/// [`FaasError::InvalidName`] says what is wrong with it.
pub fn check_name(name: &[u8]) -> Result<&str, FaasError> {
    let fault = match name.len() {
        0 => NameFault::Empty,
        1..=NAME_MAX => match core::str::from_utf8(name) {
            Ok(name) => return Ok(name),
            Err(_) => NameFault::NotUtf8,
        },
        _ => NameFault::TooLong,
    };
    Err(FaasError::InvalidName(fault))
}

/// A function as the manager knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionInfo {
    /// Its configuration.
    pub config: ActionConfig,
    /// 1 at first, one more with each update.
    pub version: u32,
    /// Length of its code in bytes.
    pub code_bytes: u64,
    /// When this version was created.
    pub created_ns: u64,
    /// Finished invocations that gave a result.
    pub succeeded: u64,
    /// Finished invocations that gave an error.
    pub failed: u64,
    /// Invocations that run now.
    pub running: u32,
    /// Invocations that wait for their turn.
    pub queued: u32,
    /// Workers that wait for a request.
    pub idle_workers: u32,
    /// What workers begin from.
    pub image: ImageState,
    /// How many of these were calls that began a clone without the manager.
    pub answered_directly: u64,
    /// Why the stored snapshot that it was created with is not used.
    pub unused_snapshot: Option<RestoreFault>,
}

/// What a function's workers begin from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageState {
    /// The file: the configuration says so.
    File,
    /// The file, as the function cannot be frozen.
    NotFreezable(FreezeFault),
    /// A snapshot, which the next invocation prepares: its memory was needed for others.
    Evicted,
    /// A snapshot that is being prepared.
    Preparing,
    /// A snapshot.
    Ready(ImageInfo),
}

/// A function's snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageInfo {
    /// Memory that it takes, everything included, that of the snapshots below it too.
    pub bytes: u64,
    /// Pages that it owns, or a snapshot below it.
    pub pages: u64,
    /// Page tables, in the same way.
    pub tables: u64,
    /// Snapshots below it: one if the function's runtime was started ahead, before there was the function.
    pub depth: u32,
    /// Memory of those, which is part of `bytes`.
    pub runtime_bytes: u64,
    /// Pages that workers begin with copies of, because the first two invocations changed them; 0 before these have ended.
    pub written: u64,
    /// How long it took to prepare.
    pub prepare_ns: u64,
    /// It was loaded from a stored one: the function's start did not run.
    pub is_loaded: bool,
}

/// What an invocation may use; the least of this and the function's own limits holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InvokeOptions {
    /// Longest time until the result in nanoseconds, waiting included; 0 for the function's own limit.
    pub timeout_ns: u64,
    /// Memory limit of the worker in bytes; 0 for the function's own limit.
    pub memory_bytes: u64,
}

words_in_order!(InvokeOptions: timeout_ns, memory_bytes);

/// When the phases of an invocation began and ended, in nanoseconds of the kernel clock. What the worker itself said
/// (`start_runtime` to `end_runtime`) is its claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// The manager got the request.
    pub queue: u64,
    /// The manager began to make the worker, or woke a warm one.
    pub start_worker: u64,
    /// First instruction of the worker's runtime; in a warm worker, the arrival of the request.
    pub start_runtime: u64,
    /// The runtime is up and begins to load the function's code, if there is anything to load; else the call of the
    /// function.
    pub start_load: u64,
    /// Call of the function.
    pub start_function: u64,
    /// Return of the function.
    pub end_function: u64,
    /// The worker's runtime sent the result.
    pub end_runtime: u64,
    /// The manager got the result.
    pub end_worker: u64,
}

impl Timestamps {
    /// Completes the times of a worker that `said` the ones between, and whose answer came at `now`.
    pub fn complete(&mut self, said: &WorkerTimes, now: u64) {
        // What a clone says of the time before it began happened to its image.
        let own = |time| {
            if time < self.start_worker {
                said.start_function
            } else {
                time
            }
        };
        let (start_runtime, start_load) = (own(said.start_runtime), own(said.start_load));
        self.start_runtime = start_runtime;
        self.start_load = start_load;
        self.start_function = said.start_function;
        self.end_function = said.end_function;
        self.end_runtime = said.end_runtime;
        self.end_worker = now;
    }
}

words_in_order!(
    Timestamps: queue, start_worker, start_runtime, start_load, start_function, end_function, end_runtime, end_worker
);

/// The result of an invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Its number; 0 if it did not pass the manager.
    pub activation: ActivationId,
    /// Version of the function that ran.
    pub version: u32,
    /// How the worker was started.
    pub mode: StartMode,
    /// The call did not pass the manager.
    pub is_direct: bool,
    /// When its phases began and ended.
    pub times: Timestamps,
    /// Where the response is.
    pub body: Body,
}

impl Encode for Completion {
    #[inline]
    fn encode(&self, out: &mut Encoder<'_>) {
        out.word(self.activation);
        out.word(
            u64::from(self.version)
                | mode_number(self.mode) << 32
                | u64::from(self.is_direct) << DIRECT_SHIFT,
        );
        self.times.encode(out);
        self.body.encode(out);
    }
}

impl<S: Source> Decode<S> for Completion {
    const CAPS: usize = 1;

    #[inline]
    fn decode(from: &mut S) -> Result<Completion, Error> {
        let activation = from.word()?;
        let word = from.word()?;
        Ok(Completion {
            activation,
            version: word as u32,
            mode: mode_from_number(word >> 32 & 0xff)?,
            is_direct: word >> DIRECT_SHIFT == 1,
            times: Decode::decode(from)?,
            body: Decode::decode(from)?,
        })
    }
}

/// Where a completion's second word says that the call did not pass the manager.
const DIRECT_SHIFT: u32 = 40;

const fn mode_number(mode: StartMode) -> u64 {
    match mode {
        StartMode::Boot => 0,
        StartMode::Warm => 1,
        StartMode::Snapshot => 2,
    }
}

const fn mode_from_number(number: u64) -> Result<StartMode, Error> {
    match number {
        0 => Ok(StartMode::Boot),
        1 => Ok(StartMode::Warm),
        2 => Ok(StartMode::Snapshot),
        _ => Err(Error::Invalid),
    }
}

/// What the manager counted for a client, since it registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Finished invocations that gave a result, nested ones included.
    pub succeeded: u64,
    /// Finished invocations that gave an error, nested ones included.
    pub failed: u64,
    /// Workers that were started.
    pub workers_started: u64,
    /// Workers that exist now.
    pub workers_live: u64,
    /// Workers that wait for a request.
    pub workers_idle: u64,
    /// Workers whose account is not destroyed yet, although their invocation is finished.
    pub teardowns_pending: u64,
    /// Functions.
    pub actions: u64,
    /// Asynchronous activations whose result was not fetched.
    pub activations: u64,
    /// Snapshots from which workers can begin.
    pub images: u64,
    /// Memory that they take, in bytes.
    pub image_bytes: u64,
    /// Snapshots that were prepared.
    pub images_prepared: u64,
    /// Snapshots that were given up because their memory was needed.
    pub images_evicted: u64,
    /// Memory of the runtime that was started ahead for the next function, in bytes; 0 if there is none.
    pub spare_bytes: u64,
    /// How many of `succeeded` were calls that began a clone without the manager.
    pub succeeded_directly: u64,
    /// How many of `failed` were.
    pub failed_directly: u64,
}

words_in_order!(
    Counters: succeeded, failed, workers_started, workers_live, workers_idle, teardowns_pending, actions, activations,
    images, image_bytes, images_prepared, images_evicted, spare_bytes, succeeded_directly, failed_directly
);
