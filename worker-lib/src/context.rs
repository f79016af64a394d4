//! What a function knows of its invocation, and how it calls others.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use interfaces::faas::client::{ClientError, incoming, outgoing, release};
use interfaces::faas::{
    ActionsClient, Completion, FunctionInfo, INLINE_REQUEST, InvokeOptions, Request as Message,
    SupervisorClient, check_name,
};
use l4::CapIndex;
use l4_rpc::{CallError, REPLY_BYTES};
use l4re::Channel;
use l4re::faas::Mapped;

/// Why a nested invocation has no reply: [`CallError::Server`] tells what happened to the function that was called,
/// [`CallError::Protocol`] that the call itself failed. It is an ordinary value: the calling function can go on.
pub type InvokeError = ClientError;

/// The invocation that a function serves.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    message: Message,
}

/// What a function that was called answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    bytes: Vec<u8>,
    completion: Completion,
}

impl Reply {
    /// The response.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The response, as an owned vector.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How it came about: version, start mode, times.
    pub fn completion(&self) -> &Completion {
        &self.completion
    }
}

impl Context {
    pub(crate) const fn new(message: Message) -> Self {
        Self { message }
    }

    /// The invocation's number, unique for the client.
    pub fn request_id(&self) -> u64 {
        self.message.activation
    }

    /// When this worker is ended if it has not answered, in nanoseconds of the kernel clock ([`now_ns`](crate::now_ns)).
    pub fn deadline_ns(&self) -> u64 {
        self.message.deadline_ns
    }

    /// The time until the deadline.
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.deadline_ns().saturating_sub(crate::now_ns()))
    }

    /// How many invocations this one is nested in: 0 if a client made it.
    pub fn depth(&self) -> u32 {
        self.message.depth
    }

    /// Fresh randomness, different in each invocation: a seed for a generator.
    pub fn seed(&self) -> [u64; 2] {
        self.message.seed
    }

    /// Calls another function (or this one) and waits for its reply. The call runs within what is left of this
    /// invocation's time and memory.
    ///
    /// ```no_run
    /// # use worker::{Context, Error, FaasError, Response};
    /// # fn handle(ctx: &Context) -> Result<Response, Error> {
    /// match ctx.invoke("thumbnail", b"image 7") {
    ///     Ok(reply) => Ok(Response::bytes(reply.into_bytes())),
    ///     Err(error) => Ok(Response::format(format_args!("no thumbnail: {error}"))),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvokeError`], with a [`FaasError`](crate::FaasError) for whatever happened to the function.
    pub fn invoke(&self, name: &str, request: &[u8]) -> Result<Reply, InvokeError> {
        self.invoke_with(name, InvokeOptions::default(), request)
    }

    /// As [`invoke`](Self::invoke), with narrower limits of time and memory.
    ///
    /// # Errors
    /// As `invoke`.
    pub fn invoke_with(
        &self,
        name: &str,
        options: InvokeOptions,
        request: &[u8],
    ) -> Result<Reply, InvokeError> {
        check_name(name.as_bytes()).map_err(CallError::Server)?;
        let mut buffer = [0; REPLY_BYTES];
        let payload = outgoing(&Mapped, request, INLINE_REQUEST)?;
        let outcome = ActionsClient::new(parent()).invoke(name.as_bytes(), options, payload, &mut buffer);
        release(&Mapped, payload);
        let (completion, length) = outcome?;
        let bytes = incoming(&Mapped, completion.body, &buffer[..length])?;
        Ok(Reply { bytes, completion })
    }

    /// Name, handler, version and memory limit of this function.
    ///
    /// # Errors
    /// If the manager cannot be asked.
    pub fn function(&self) -> Result<FunctionInfo, InvokeError> {
        function()
    }

    /// The function's environment, as its configuration says.
    ///
    /// # Errors
    /// If the manager cannot be asked.
    pub fn environment(&self) -> Result<Environment, InvokeError> {
        environment()
    }
}

/// As [`Context::environment`], for what runs before the first request ([`main`](crate::main)).
///
/// # Errors
/// If the manager cannot be asked.
pub fn environment() -> Result<Environment, InvokeError> {
    let supervisor = SupervisorClient::new(parent());
    let mut text = Vec::new();
    loop {
        let mut buffer = [0; REPLY_BYTES];
        let (total, length) = supervisor.environment(text.len() as u64, &mut buffer)?;
        text.extend_from_slice(&buffer[..length]);
        if length == 0 || text.len() as u64 >= total {
            return Ok(Environment::new(text));
        }
    }
}

/// The variables of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    text: String,
}

impl Environment {
    /// Reads `NAME=value` strings that end with zero bytes each.
    fn new(text: Vec<u8>) -> Self {
        let text =
            String::from_utf8(text).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into());
        Self { text }
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All variables, name and value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text
            .split_terminator('\0')
            .filter_map(|variable| variable.split_once('='))
    }
}

/// The function that this worker runs.
pub(crate) fn function() -> Result<FunctionInfo, InvokeError> {
    SupervisorClient::new(parent()).function()
}

fn parent() -> Channel {
    Channel(CapIndex::PARENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found() {
        let environment = Environment::new(b"A=1\0LONG=x=y\0EMPTY=\0".to_vec());
        assert_eq!(
            environment.iter().collect::<Vec<_>>(),
            [("A", "1"), ("LONG", "x=y"), ("EMPTY", "")]
        );
        assert_eq!(environment.get("LONG"), Some("x=y"));
        assert_eq!(environment.get("LON"), None);
        assert_eq!(Environment::new(Vec::new()).iter().count(), 0);
    }
}
