//! A client with every comfort: payloads of any size as byte slices.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use l4::Error;
use l4::object::Dataspace;
use l4_rpc::{CallError, Cap, REPLY_BYTES, Transport};

use super::{
    ActionConfig, ActionInfo, ActionsClient, Block, Body, Completion, ConfigField, Definition, FaasError,
    INLINE_REQUEST, InvokeOptions, PAYLOAD_MAX, Payload, check_name,
};

/// Why a call of the manager has no result.
pub type ClientError = CallError<FaasError>;

/// Moves bytes into and out of dataspaces; the runtime that can map memory implements it.
pub trait Memory {
    /// Makes a sealed dataspace that starts with `bytes`.
    ///
    /// # Errors
    /// The kernel's, above all [`Error::NoMemory`].
    fn publish(&self, bytes: &[u8]) -> Result<Cap<Dataspace>, Error>;

    /// Copies the start of a dataspace.
    ///
    /// # Errors
    /// [`Error::Range`] if it is shorter than `into`.
    fn fetch(&self, memory: Cap<Dataspace>, into: &mut [u8]) -> Result<(), Error>;

    /// Gives up a dataspace.
    fn release(&self, memory: Cap<Dataspace>);
}

/// A response, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The function's response.
    pub bytes: Vec<u8>,
    /// Mode, version and times.
    pub completion: Completion,
}

/// Where a function's code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code<'a> {
    /// The dataspace that starts with the code.
    pub memory: Cap<Dataspace>,
    /// The code's length in bytes.
    pub length: u64,
    /// The handler inside the code, or "".
    pub handler: &'a str,
}

impl<'a> Code<'a> {
    fn definition(&self, name: &'a str, config: ActionConfig, environment_bytes: u64) -> Definition<'a> {
        Definition {
            name: name.as_bytes(),
            code_bytes: self.length,
            handler: self.handler,
            environment_bytes,
            config,
        }
    }
}

/// A registered client of the manager.
#[derive(Clone, Copy, Debug)]
pub struct Client<T, M> {
    actions: ActionsClient<T>,
    memory: M,
}

impl<T: Transport, M: Memory> Client<T, M> {
    /// A client that calls through the gate that registration gave.
    pub const fn new(transport: T, memory: M) -> Client<T, M> {
        Client {
            actions: ActionsClient::new(transport),
            memory,
        }
    }

    /// The plain calls.
    pub const fn actions(&self) -> &ActionsClient<T> {
        &self.actions
    }

    /// Creates a function; `environment` are the variables of its workers.
    ///
    /// # Errors
    /// As the manager says, e.g. [`FaasError::ActionExists`] or [`FaasError::InvalidImage`].
    pub fn create(
        &self,
        name: &str,
        code: Code<'_>,
        config: ActionConfig,
        environment: &[(String, String)],
    ) -> Result<(), ClientError> {
        self.with_environment(name, environment, |cap, environment_bytes| {
            let definition = code.definition(name, config, environment_bytes);
            self.actions.create(definition, code.memory, cap)
        })
    }

    /// Gives a function new code; returns its new version.
    ///
    /// # Errors
    /// As the manager says, e.g. [`FaasError::UnknownAction`] or [`FaasError::InvalidImage`].
    pub fn update(
        &self,
        name: &str,
        code: Code<'_>,
        config: ActionConfig,
        environment: &[(String, String)],
    ) -> Result<u32, ClientError> {
        self.with_environment(name, environment, |cap, environment_bytes| {
            let definition = code.definition(name, config, environment_bytes);
            self.actions.update(definition, code.memory, cap)
        })
    }

    /// Creates a function that begins from a stored snapshot.
    ///
    /// # Errors
    /// As [`Self::create`], and [`FaasError::NotRestored`] with the reason why that cannot be used.
    pub fn restore(
        &self,
        name: &str,
        code: Code<'_>,
        config: ActionConfig,
        environment: &[(String, String)],
        snapshot: Cap<Dataspace>,
    ) -> Result<(), ClientError> {
        self.with_environment(name, environment, |cap, environment_bytes| {
            let definition = code.definition(name, config, environment_bytes);
            self.actions.restore(definition, code.memory, cap, snapshot)
        })
    }

    /// Creates a function that begins from a stored snapshot, if that can be used; [`ActionInfo::unused_snapshot`] tells why not.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_with_snapshot(
        &self,
        name: &str,
        code: Code<'_>,
        config: ActionConfig,
        environment: &[(String, String)],
        snapshot: Cap<Dataspace>,
    ) -> Result<(), ClientError> {
        self.with_environment(name, environment, |cap, environment_bytes| {
            let definition = code.definition(name, config, environment_bytes);
            self.actions
                .create_with_snapshot(definition, code.memory, cap, snapshot)
        })
    }

    /// Writes a function's snapshot to a dataspace that the caller may write. Returns its length; if that is more than the
    /// dataspace has, nothing was written.
    ///
    /// # Errors
    /// [`FaasError::NotStorable`] with the reason; [`FaasError::UnknownAction`].
    pub fn store(&self, name: &str, into: Cap<Dataspace>) -> Result<u64, ClientError> {
        self.checked(name)?;
        self.actions.store(name.as_bytes(), into)
    }

    /// Deletes a function.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`].
    pub fn delete(&self, name: &str) -> Result<(), ClientError> {
        self.checked(name)?;
        self.actions.delete(name.as_bytes())
    }

    /// The names of all functions, sorted.
    ///
    /// # Errors
    /// Those of the transport.
    pub fn list(&self) -> Result<Vec<String>, ClientError> {
        let mut names: Vec<String> = Vec::new();
        while let Some(name) = self.actions.list(names.last().map_or("", String::as_str))? {
            // A manager that does not count upwards would keep us here for ever.
            if names.last().is_some_and(|last| *last >= name) {
                return Err(CallError::Protocol(Error::BadProtocol));
            }
            names.push(name);
        }
        Ok(names)
    }

    /// Configuration and state of a function.
    ///
    /// # Errors
    /// [`FaasError::UnknownAction`].
    pub fn describe(&self, name: &str) -> Result<ActionInfo, ClientError> {
        self.checked(name)?;
        self.actions.describe(name.as_bytes())
    }

    /// Invokes a function and waits for its response.
    ///
    /// # Errors
    /// What happened to the function, or to the request on its way.
    pub fn invoke(&self, name: &str, request: &[u8]) -> Result<Response, ClientError> {
        self.invoke_with(name, InvokeOptions::default(), request)
    }

    /// [`Self::invoke`] with limits of its own.
    ///
    /// # Errors
    /// What happened to the function, or to the request on its way.
    pub fn invoke_with(
        &self,
        name: &str,
        options: InvokeOptions,
        request: &[u8],
    ) -> Result<Response, ClientError> {
        self.checked(name)?;
        let mut buffer = [0; REPLY_BYTES];
        let payload = outgoing(&self.memory, request, INLINE_REQUEST)?;
        let outcome = self
            .actions
            .invoke(name.as_bytes(), options, payload, &mut buffer);
        release(&self.memory, payload);
        let (completion, length) = outcome?;
        let bytes = incoming(&self.memory, completion.body, &buffer[..length])?;
        Ok(Response { bytes, completion })
    }

    /// The end of what the worker of the last finished invocation logged.
    ///
    /// # Errors
    /// Those of the transport.
    pub fn last_log(&self) -> Result<String, ClientError> {
        let mut buffer = [0; REPLY_BYTES];
        let (_, length) = self.actions.log(0, &mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    fn checked(&self, name: &str) -> Result<(), ClientError> {
        check_name(name.as_bytes()).map(drop).map_err(CallError::Server)
    }

    /// Calls `send` with the environment in a dataspace, if there are variables.
    fn with_environment<R>(
        &self,
        name: &str,
        environment: &[(String, String)],
        send: impl FnOnce(Option<Cap<Dataspace>>, u64) -> Result<R, ClientError>,
    ) -> Result<R, ClientError> {
        self.checked(name)?;
        if environment.is_empty() {
            return send(None, 0);
        }
        let text = environment_text(environment).map_err(CallError::Server)?;
        let memory = self.memory.publish(&text)?;
        let result = send(Some(memory), text.len() as u64);
        self.memory.release(memory);
        result
    }
}

/// The variables as the manager takes them: `NAME=value` strings, each ended by a zero byte.
fn environment_text(environment: &[(String, String)]) -> Result<Vec<u8>, FaasError> {
    let mut text = Vec::new();
    for (name, value) in environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(FaasError::InvalidConfig(ConfigField::Environment));
        }
        for part in [name, "=", value, "\0"] {
            text.extend_from_slice(part.as_bytes());
        }
    }
    Ok(text)
}

/// The bytes as a payload: in the message up to `inline` bytes, else in a sealed dataspace.
///
/// # Errors
/// [`FaasError::RequestTooLarge`] above [`PAYLOAD_MAX`], or why there is no dataspace.
pub fn outgoing<'a, M: Memory>(
    memory: &M,
    bytes: &'a [u8],
    inline: usize,
) -> Result<Payload<'a>, ClientError> {
    let length = bytes.len() as u64;
    if bytes.len() <= inline {
        Ok(Payload::Inline(bytes))
    } else if length <= PAYLOAD_MAX {
        Ok(Payload::Dataspace(Block {
            memory: memory.publish(bytes)?,
            length,
        }))
    } else {
        Err(CallError::Server(FaasError::RequestTooLarge {
            length,
            limit: PAYLOAD_MAX,
        }))
    }
}

/// Gives up the dataspace that [`outgoing`] made, if it did.
pub fn release<M: Memory>(memory: &M, payload: Payload<'_>) {
    if let Payload::Dataspace(block) = payload {
        memory.release(block.memory);
    }
}

/// The bytes of an answer, `inline` being those that came in the message. A dataspace is given up.
///
/// # Errors
/// [`FaasError::InvalidPayload`] for a length above [`PAYLOAD_MAX`], or why the dataspace cannot be read.
pub fn incoming<M: Memory>(memory: &M, body: Body, inline: &[u8]) -> Result<Vec<u8>, ClientError> {
    let Body::Dataspace(block) = body else {
        return Ok(inline.to_vec());
    };
    if block.length > PAYLOAD_MAX {
        memory.release(block.memory);
        return Err(CallError::Server(FaasError::InvalidPayload));
    }
    let mut bytes = vec![0; block.length as usize];
    let outcome = memory.fetch(block.memory, &mut bytes);
    memory.release(block.memory);
    outcome?;
    Ok(bytes)
}
