//! What a client, and in part a worker, asks of the manager.

use alloc::string::String;

use l4::object::{Dataspace, Irq};
use l4_rpc::{Cap, interface};

use super::{
    ActionInfo, ActivationId, Completion, Counters, Definition, FaasError, InvokeOptions, OpenedAction,
    Payload,
};

/// Functions and their invocations. Names are [`super::check_name`]d by the manager.
#[interface(protocol = 0x5001)]
pub trait Actions {
    /// Creates a function from the code at the start of `code`, which the manager copies unless it is sealed.
    /// `environment` holds the variables of its workers: `NAME=value` strings, each ended by a zero byte.
    #[op(1, deferred)]
    fn create(
        &self,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
    ) -> Result<(), FaasError>;

    /// Gives a function new code and a new configuration. What runs goes on with the old; returns the new version.
    #[op(2, deferred)]
    fn update(
        &self,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
    ) -> Result<u32, FaasError>;

    /// Deletes a function. What runs is finished.
    #[op(3)]
    fn delete(&self, name: &[u8]) -> Result<(), FaasError>;

    /// The first name that sorts behind `after`: with "" the first of all, `None` behind the last.
    #[op(4)]
    fn list(&self, after: &str) -> Result<Option<String>, FaasError>;

    /// Configuration and state of a function.
    #[op(5)]
    fn describe(&self, name: &[u8]) -> Result<ActionInfo, FaasError>;

    /// A gate by which the caller invokes a function without the manager, as [`super::direct`] explains.
    #[op(6, words)]
    fn open(&self, name: &[u8]) -> Result<OpenedAction, FaasError>;

    /// Writes the function's snapshot to a dataspace, from which [`Self::restore`] can begin in a later boot of the same build.
    /// Returns the length of it all in bytes; if that is more than the dataspace has, nothing was written.
    #[op(7)]
    fn store(&self, name: &[u8], into: Cap<Dataspace>) -> Result<u64, FaasError>;

    /// Creates a function as [`Self::create`] does, but begins from a stored snapshot, which the manager copies unless it is
    /// a sealed boot module. One that cannot be used is an error: [`FaasError::NotRestored`].
    #[op(8, deferred)]
    fn restore(
        &self,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
        snapshot: Cap<Dataspace>,
    ) -> Result<(), FaasError>;

    /// As [`Self::restore`], but a stored snapshot that cannot be used is as good as none: the manager's log and
    /// [`super::ActionInfo::unused_snapshot`] say why, and the function is prepared from its start.
    #[op(9, deferred)]
    fn create_with_snapshot(
        &self,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
        snapshot: Cap<Dataspace>,
    ) -> Result<(), FaasError>;

    /// Invokes a function and waits for its response, which comes in `response` if it has at most
    /// [`super::INLINE_RESPONSE`] bytes, else in a dataspace.
    #[op(10, words, deferred)]
    fn invoke(
        &self,
        name: &[u8],
        options: InvokeOptions,
        request: Payload<'_>,
        response: &mut [u8],
    ) -> Result<Completion, FaasError>;

    /// Starts an invocation and returns its number at once. `notify` is triggered when it is finished.
    #[op(11, words, deferred)]
    fn invoke_async(
        &self,
        name: &[u8],
        options: InvokeOptions,
        request: Payload<'_>,
        notify: Option<Cap<Irq>>,
    ) -> Result<ActivationId, FaasError>;

    /// The result of an asynchronous invocation, which the manager forgets then. If it is not finished, waits for it
    /// or fails with [`FaasError::NotFinished`], as `wait` says.
    #[op(12, words, deferred)]
    fn result(
        &self,
        activation: ActivationId,
        wait: bool,
        response: &mut [u8],
    ) -> Result<Completion, FaasError>;

    /// Ends an asynchronous invocation; its result is [`FaasError::Cancelled`].
    #[op(13, words)]
    fn cancel(&self, activation: ActivationId) -> Result<(), FaasError>;

    /// The end of what the worker of an invocation logged: of activation `activation`, or with 0 of the client's last
    /// finished one. At most [`super::LOG_TAIL_MAX`] bytes; the result is the number of all bytes that it logged.
    #[op(14, words, deferred)]
    fn log(&self, activation: ActivationId, text: &mut [u8]) -> Result<u64, FaasError>;

    /// What the manager counted for this client.
    #[op(20, words)]
    fn counters(&self) -> Result<Counters, FaasError>;
}
