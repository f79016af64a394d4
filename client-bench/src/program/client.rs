//! One client: registers, moves to its core, creates its function, and invokes it.

use crate::shared::{Outcome, Shared};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use client_bench::options::{Mode, Options, Payload as Wanted};
use client_bench::sample::Sample;
use interfaces::faas::client::{ClientError, Code, incoming, outgoing};
use interfaces::faas::{ActionConfig, Body, Completion, INLINE_REQUEST, InvokeOptions, Payload, Timestamps};
use interfaces::manifest::StartMode;
use interfaces::namespace::NamespaceClient;
use l4::CapIndex;
use l4_rpc::{CallError, Cap, REPLY_BYTES};
use l4re::faas::{FunctionError, Mapped, RomFunction, Session};
use l4re::{Channel, OwnedCap, clock, println};

/// Bytes of a reply that are shown.
const SHOWN: usize = 100;

/// Name and text of an error, for counting and for people.
type Failure = (&'static str, String);

fn failure(error: &ClientError) -> Failure {
    match error {
        CallError::Server(error) => (error.kind(), format!("{error}")),
        CallError::Protocol(error) => ("no-answer", format!("{error}")),
    }
}

fn function_failure(error: &FunctionError) -> Failure {
    match error {
        FunctionError::Manager(error) => failure(error),
        other => ("no-function", format!("{other}")),
    }
}

/// Runs a client to its end.
pub(crate) fn run(shared: &Shared, number: u32, registry: CapIndex) {
    let mut outcome = Outcome::default();
    let prepared = Client::prepare(&shared.options, number, registry);
    match prepared {
        Ok(client) => client.measure(shared, &mut outcome),
        Err((kind, text)) => {
            println!("client {number}: {text}");
            outcome.failures.count(kind, text);
            shared.wait_for_start();
        }
    }
    shared.hand_in(number, outcome);
}

struct Client<'a> {
    options: &'a Options,
    number: u32,
    session: Session,
    request: Vec<u8>,
}

impl<'a> Client<'a> {
    fn prepare(options: &'a Options, number: u32, registry: CapIndex) -> Result<Client<'a>, Failure> {
        let session = Session::open(registry).map_err(|error| failure(&error))?;
        session
            .enter_core()
            .map_err(|error| ("no-core", format!("the core can't be entered: {error}")))?;
        let request = match &options.payload {
            Wanted::Text(text) => text.clone().into_bytes(),
            Wanted::Size(size) => (0..*size).map(|index| index as u8).collect(),
        };
        let client = Client {
            options,
            number,
            session,
            request,
        };
        match &options.create {
            Some(module) => client.create_from_module(module)?,
            None => client.create_function()?,
        }
        for name in &options.also {
            client
                .session
                .create_from_rom(name)
                .map_err(|error| function_failure(&error))?;
        }
        Ok(client)
    }

    /// Creates the function as its manifest and the command line say.
    fn create_function(&self) -> Result<(), Failure> {
        let function = RomFunction::find(&self.options.function).map_err(|error| function_failure(&error))?;
        let config = self.configured(function.config());
        let environment = &function.manifest.environment;
        self.session
            .create(&self.options.function, function.code(), config, environment)
            .map_err(|error| failure(&error))
    }

    /// Creates the function from a module's bytes, whatever they are.
    fn create_from_module(&self, module: &str) -> Result<(), Failure> {
        let found = NamespaceClient::new(Channel(CapIndex::ROM)).query(module);
        let (memory, length) = found.map_err(|error| ("no-module", format!("rom/{module}: {error}")))?;
        let owned = OwnedCap::adopt(memory.index());
        let code = Code {
            memory: Cap::new(owned.index()),
            length,
            handler: "",
        };
        let config = self.configured(ActionConfig::default());
        self.session
            .create(&self.options.function, code, config, &[])
            .map_err(|error| failure(&error))
    }

    fn configured(&self, config: ActionConfig) -> ActionConfig {
        let mode = match self.options.mode {
            Some(Mode::Boot) => StartMode::Boot,
            Some(Mode::Warm) => StartMode::Warm,
            Some(Mode::Snapshot) => StartMode::Snapshot,
            None => config.mode,
        };
        ActionConfig {
            mode,
            timeout_ns: self.options.timeout_ns.unwrap_or(config.timeout_ns),
            memory_bytes: self.options.memory.unwrap_or(config.memory_bytes),
            ..config
        }
    }

    /// Warms up, waits for the others, and measures.
    fn measure(&self, shared: &Shared, outcome: &mut Outcome) {
        let payload = match outgoing(&Mapped, &self.request, INLINE_REQUEST) {
            Ok(payload) => payload,
            Err(error) => {
                let (kind, text) = failure(&error);
                outcome.failures.count(kind, text);
                return shared.wait_for_start();
            }
        };
        for _ in 0..self.options.warmup {
            // A failure shows up again when it is measured.
            let _ = self.invoke(payload);
        }
        outcome.samples.reserve(self.options.iterations as usize);
        shared.wait_for_start();
        let start = clock::now_ns();
        for _ in 0..self.options.iterations {
            let invoked = self.invoke(payload);
            shared.count();
            match invoked {
                Ok((sample, mode)) => {
                    outcome.samples.push(sample);
                    outcome.modes |= mode;
                }
                Err(error) => {
                    let (kind, text) = failure(&error);
                    outcome.failures.count(kind, text);
                }
            }
        }
        outcome.span = Some((start, clock::now_ns()));
        interfaces::faas::client::release(&Mapped, payload);
    }

    /// One invocation: its sample, and its start mode as a bit.
    fn invoke(&self, payload: Payload<'_>) -> Result<(Sample, u8), ClientError> {
        let mut buffer = [0; REPLY_BYTES];
        let name = self.options.function.as_bytes();
        let start_invocation = clock::now_ns();
        let answer = self
            .session
            .actions()
            .invoke(name, InvokeOptions::default(), payload, &mut buffer);
        let end_invocation = clock::now_ns();
        let (completion, length) = match answer {
            Ok(answer) => answer,
            Err(error) => {
                if self.options.show {
                    self.show_error(&error);
                }
                return Err(error);
            }
        };
        if self.options.show {
            let bytes = incoming(&Mapped, completion.body, &buffer[..length])?;
            self.show(&completion, &bytes, end_invocation - start_invocation);
        } else if let Body::Dataspace(block) = completion.body {
            drop(OwnedCap::adopt(block.memory.index()));
        }
        let mode = match completion.mode {
            StartMode::Boot => 1,
            StartMode::Warm => 2,
            StartMode::Snapshot => 4,
        };
        Ok((sample(start_invocation, &completion.times, end_invocation), mode))
    }

    fn show(&self, completion: &Completion, bytes: &[u8], nanoseconds: u64) {
        let text = &bytes[..bytes.len().min(SHOWN)];
        let text = match core::str::from_utf8(text.trim_ascii_end()) {
            Ok(text) if !text.contains(|c: char| c.is_control() && c != '\n') => String::from(text),
            _ => format!("{}", text.escape_ascii()),
        };
        let more = if bytes.len() > SHOWN { "..." } else { "" };
        println!(
            "{text}{more} (client {}, {}, {}.{:03} us, {} bytes)",
            self.number,
            mode_name(completion.mode),
            nanoseconds / 1000,
            nanoseconds % 1000,
            bytes.len()
        );
    }

    fn show_error(&self, error: &ClientError) {
        let (kind, text) = failure(error);
        println!("{kind}: {text} (client {})", self.number);
        if let Ok(log) = self.session.last_log()
            && !log.is_empty()
        {
            println!("its last words: {}", log.trim_end());
        }
    }
}

const fn mode_name(mode: StartMode) -> &'static str {
    match mode {
        StartMode::Boot => "boot",
        StartMode::Warm => "warm",
        StartMode::Snapshot => "snapshot",
    }
}

fn sample(start_invocation: u64, times: &Timestamps, end_invocation: u64) -> Sample {
    Sample {
        start_invocation,
        start_worker: times.start_worker,
        start_runtime: times.start_runtime,
        start_function: times.start_function,
        end_function: times.end_function,
        end_runtime: times.end_runtime,
        end_worker: times.end_worker,
        end_invocation,
    }
}
