//! One client: registers, moves to its core, creates its function, and invokes it.

use crate::shared::{Outcome, Shared};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use client_bench::options::{Mode, Options, Payload as Wanted};
use client_bench::sample::Sample;
use interfaces::faas::client::{ClientError, Code, incoming, outgoing};
use interfaces::faas::{
    ActionConfig, ActivationId, Body, Completion, FaasError, INLINE_REQUEST, ImageState, InvokeOptions,
    Payload, Timestamps,
};
use interfaces::manifest::StartMode;
use interfaces::namespace::NamespaceClient;
use l4::object::Factory;
use l4::{CapIndex, NEVER, syscall};
use l4_rpc::{CallError, Cap, REPLY_BYTES};
use l4re::faas::{Function, FunctionError, Mapped, RomFunction, Session};
use l4re::{Channel, OwnedCap, Slot, clock, println, start};

/// Bytes of a reply that are shown.
const SHOWN: usize = 100;

/// How long all instances together may take to answer in mode `hold`, in nanoseconds.
const HOLD_TIMEOUT_NS: u64 = 3_600_000_000_000;

/// Name and text of an error, for counting and for people.
pub(crate) type Failure = (&'static str, String);

impl Outcome {
    /// Takes note of an invocation's end.
    fn record(&mut self, invoked: Result<(Sample, u8), ClientError>) {
        match invoked {
            Ok((sample, mode)) => {
                self.samples.push(sample);
                self.modes |= mode;
            }
            Err(error) => {
                let (kind, text) = failure(&error);
                self.failures.count(kind, text);
            }
        }
    }
}

/// Name and text of what went wrong.
pub(crate) fn failure(error: &ClientError) -> Failure {
    match error {
        CallError::Server(error) => (error.kind(), format!("{error}")),
        CallError::Protocol(error) => ("no-answer", format!("{error}")),
    }
}

/// Why the function `name` is not there.
fn creation_failure(name: &str, error: &FunctionError) -> Failure {
    let (kind, text) = match error {
        FunctionError::Manager(error) => failure(error),
        other => ("no-function", format!("{other}")),
    };
    (kind, format!("function {name} cannot be created: {text}"))
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

/// A client on its core, with its functions.
pub(crate) struct Client<'a> {
    options: &'a Options,
    number: u32,
    pub(crate) session: Session,
    /// What each invocation sends.
    pub(crate) request: Vec<u8>,
}

impl<'a> Client<'a> {
    /// Registers, moves to the core, and creates the functions.
    pub(crate) fn prepare(
        options: &'a Options,
        number: u32,
        registry: CapIndex,
    ) -> Result<Client<'a>, Failure> {
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
            None => client
                .create_function()
                .map_err(|error| creation_failure(&options.function, &error))?,
        }
        for name in &options.also {
            client
                .session
                .create_from_rom(name)
                .map_err(|error| creation_failure(name, &error))?;
        }
        Ok(client)
    }

    /// Creates the function as its manifest and the command line say.
    fn create_function(&self) -> Result<(), FunctionError> {
        let function = RomFunction::find(&self.options.function)?;
        let config = self.configured(function.config());
        self.session
            .create_function(&self.options.function, &function, config)
            .map_err(FunctionError::Manager)
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
        let config = self.configured(ActionConfig {
            runtime: self.options.runtime,
            ..ActionConfig::default()
        });
        self.session
            .create(&self.options.function, code, config, &[])
            .map_err(|error| creation_failure(&self.options.function, &FunctionError::Manager(error)))
    }

    fn configured(&self, config: ActionConfig) -> ActionConfig {
        let asked = self.options.mode.map(|mode| match mode {
            Mode::Boot => StartMode::Boot,
            Mode::Warm | Mode::Hold => StartMode::Warm,
            Mode::Snapshot => StartMode::Snapshot,
        });
        let config = ActionConfig {
            mode: asked.or(config.mode),
            copying: self.options.copying.unwrap_or(config.copying),
            timeout_ns: self.options.timeout_ns.unwrap_or(config.timeout_ns),
            memory_bytes: self.options.memory.unwrap_or(config.memory_bytes),
            queue_length: config.queue_length.max(self.options.in_flight),
            ..config
        };
        if self.options.mode != Some(Mode::Hold) {
            return config;
        }
        ActionConfig {
            concurrent_requests: self.options.instances,
            queue_length: self.options.instances,
            keepalive_ns: u64::MAX,
            // All have their requests before the first one has its turn.
            timeout_ns: self.options.timeout_ns.unwrap_or(HOLD_TIMEOUT_NS),
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
        let function = self.session.function(&self.options.function);
        for _ in 0..self.options.warmup {
            // A failure shows up again when it is measured.
            let _ = self.invoke(&function, payload);
        }
        outcome.samples.reserve(self.options.iterations as usize);
        shared.wait_for_start();
        let start = clock::now_ns();
        if self.options.in_flight == 0 {
            for _ in 0..self.options.iterations {
                outcome.record(self.invoke(&function, payload));
                shared.count();
            }
        } else if let Err(error) = self.measure_asynchronous(shared, outcome, payload) {
            let (kind, text) = failure(&error);
            outcome.failures.count(kind, text);
        }
        outcome.span = Some((start, clock::now_ns()));
        if self.options.show && self.number == 0 {
            self.show_image();
        }
        interfaces::faas::client::release(&Mapped, payload);
    }

    /// Keeps so many asynchronous invocations in flight; a notification says when to look for results.
    fn measure_asynchronous(
        &self,
        shared: &Shared,
        outcome: &mut Outcome,
        payload: Payload<'_>,
    ) -> Result<(), ClientError> {
        let thread = start::current_thread();
        let irq = Slot::fill(|slot| Factory(CapIndex::FACTORY).create_irq(0, thread, slot))?;
        let actions = self.session.actions();
        let name = self.options.function.as_bytes();
        let mut pending: VecDeque<(ActivationId, u64)> = VecDeque::new();
        let mut left = self.options.iterations;
        while left > 0 || !pending.is_empty() {
            while left > 0 && (pending.len() as u32) < self.options.in_flight {
                left -= 1;
                let begun = clock::now_ns();
                let notify = Some(Cap::new(irq.index()));
                match actions.invoke_async(name, InvokeOptions::default(), payload, notify) {
                    Ok(number) => pending.push_back((number, begun)),
                    Err(error) => {
                        outcome.record(Err(error));
                        shared.count();
                    }
                }
            }
            if !pending.is_empty() {
                // Notifications coalesce; the look that follows tells who is finished.
                syscall::receive(irq.index(), NEVER);
            }
            // The oldest first; the others have their turn at a later notification.
            while let Some((number, begun)) = pending.front().copied() {
                let mut buffer = [0; REPLY_BYTES];
                let answer = actions.result(number, false, &mut buffer);
                if matches!(answer, Err(CallError::Server(FaasError::NotFinished))) {
                    break;
                }
                pending.pop_front();
                outcome.record(self.finish(begun, answer, &buffer));
                shared.count();
            }
        }
        Ok(())
    }

    /// One invocation: its sample, and its start mode as a bit.
    fn invoke(&self, function: &Function<'_>, payload: Payload<'_>) -> Result<(Sample, u8), ClientError> {
        let mut buffer = [0; REPLY_BYTES];
        let options = InvokeOptions::default();
        let begun = clock::now_ns();
        let answer = if self.options.by_manager {
            let name = self.options.function.as_bytes();
            self.session.actions().invoke(name, options, payload, &mut buffer)
        } else {
            function.call(options, payload, &mut buffer)
        };
        self.finish(begun, answer, &buffer)
    }

    /// What became of an invocation that began at `begun`; shows it if that is wanted.
    fn finish(
        &self,
        begun: u64,
        answer: Result<(Completion, usize), ClientError>,
        buffer: &[u8],
    ) -> Result<(Sample, u8), ClientError> {
        let ended = clock::now_ns();
        let (completion, length) = answer.inspect_err(|error| {
            if self.options.show {
                self.show_error(error);
            }
        })?;
        if self.options.show {
            let bytes = incoming(&Mapped, completion.body, &buffer[..length])?;
            self.show(&completion, &bytes, ended - begun);
        } else if let Body::Dataspace(block) = completion.body {
            drop(OwnedCap::adopt(block.memory.index()));
        }
        let mode = match completion.mode {
            StartMode::Boot => 1,
            StartMode::Warm => 2,
            StartMode::Snapshot if completion.is_direct => 8,
            StartMode::Snapshot => 4,
        };
        Ok((sample(begun, &completion.times, ended), mode))
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
            mode_name(completion),
            nanoseconds / 1000,
            nanoseconds % 1000,
            bytes.len()
        );
    }

    /// Shows what the function's workers begin from, if that is a snapshot.
    fn show_image(&self) {
        let Ok(described) = self.session.describe(&self.options.function) else {
            return;
        };
        if let Some(why) = described.unused_snapshot {
            println!("the snapshot in the boot image is not used: {why}");
        }
        if let ImageState::Ready(info) = described.image {
            println!(
                "snapshot of {} KiB with {} pages and {} page tables; clones begin with copies of {} pages",
                info.bytes >> 10,
                info.pages,
                info.tables,
                info.written
            );
            if info.is_loaded {
                println!("loaded from the boot image");
            }
            if info.depth > 0 {
                println!(
                    "{} KiB of the snapshot are a runtime that was started ahead",
                    info.runtime_bytes >> 10
                );
            }
        }
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

const fn mode_name(completion: &Completion) -> &'static str {
    match completion.mode {
        StartMode::Snapshot if completion.is_direct => "direct",
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
        start_load: times.start_load,
        start_function: times.start_function,
        end_function: times.end_function,
        end_runtime: times.end_runtime,
        end_worker: times.end_worker,
        end_invocation,
    }
}
