//! Functions as a service: three interfaces that the manager serves.
//!
//! - [`Registry`]: a client registers and gets a core of its own.
//! - [`Actions`]: a client creates and invokes functions, on the gate that it got. A worker invokes others with the same
//!   interface on its parent gate, where everything but invocations is refused.
//! - [`Supervisor`]: a worker asks for requests and gives results.
//!
//! Times are nanoseconds of the kernel clock. Names of functions are 1 to [`NAME_MAX`] bytes of UTF-8.

mod actions;
pub mod client;
pub mod direct;
mod end;
mod error;
mod opened;
mod payload;
mod registry;
mod supervisor;
mod types;

pub use actions::{Actions, ActionsClient, ActionsInterface, ActionsReply};
pub use end::FaultKind;
pub use error::{ConfigField, FaasError, FreezeFault, ImageFault, NameFault, RestoreFault, StoreFault};
pub use opened::OpenedAction;
pub use payload::{Block, Body, Payload};
pub use registry::{
    Registration, Registry, RegistryClient, RegistryInterface, RegistryReply, RegistryStatus,
};
pub use supervisor::{
    CODE_NAME, FailureKind, FunctionInfo, PR_SUPERVISE, Request, SUPERVISOR_NAME, Supervisor,
    SupervisorClient, SupervisorInterface, SupervisorReply, WorkerFailure, WorkerTimes,
};
pub use types::{
    ActionConfig, ActionInfo, ActivationId, Completion, Counters, Definition, ImageInfo, ImageState,
    InvokeOptions, Timestamps, check_name,
};

/// Longest name of a function in bytes.
pub const NAME_MAX: usize = 128;
/// Longest request or response in bytes.
pub const PAYLOAD_MAX: u64 = 1 << 20;
/// Longest request that travels in the message itself; longer ones need a dataspace.
pub const INLINE_REQUEST: usize = 304;
/// Longest response that travels in the message itself; longer ones need a dataspace.
pub const INLINE_RESPONSE: usize = 400;
/// Longest environment of a function in bytes: `NAME=value` strings, each ended by a zero byte.
pub const ENVIRONMENT_MAX: u64 = 16 << 10;
/// Longest error that a function returns in bytes; the rest is cut off.
pub const ERROR_MAX: usize = 384;
/// Longest message of a panic in bytes; the rest is cut off.
pub const MESSAGE_MAX: usize = 256;
/// Longest source location of a panic in bytes; the start is cut off.
pub const LOCATION_MAX: usize = 96;
/// Longest part of a worker's log that is kept for [`Actions::log`], in bytes; the start is cut off.
pub const LOG_TAIL_MAX: usize = 480;
