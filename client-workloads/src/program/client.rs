//! One client: registers, moves to its core, and takes calls from the plan until none is left.

use crate::shared::Shared;
use alloc::format;
use alloc::string::{String, ToString};
use client_workloads::answer::{self, ResultDigest};
use client_workloads::plan::Call;
use client_workloads::results::Results;
use interfaces::faas::ActionConfig;
use interfaces::faas::client::ClientError;
use l4::CapIndex;
use l4_rpc::CallError;
use l4re::clock;
use l4re::faas::{FunctionError, RomFunction, Session};

/// Runs a client to its end.
pub(crate) fn run(shared: &Shared, number: u32, registry: CapIndex) {
    match open(registry) {
        Ok(session) => {
            let mut client = Client {
                shared,
                session,
                results: Results::new(shared.options.workloads.len()),
            };
            client.work();
            shared.hand_in(client.results);
        }
        Err(text) => shared.say(&format!("client {number}: {text}\n")),
    }
}

fn open(registry: CapIndex) -> Result<Session, String> {
    let session = Session::open(registry).map_err(|error| text(&error))?;
    session
        .enter_core()
        .map_err(|error| format!("the core can't be entered: {error}"))?;
    Ok(session)
}

fn text(error: &ClientError) -> String {
    match error {
        CallError::Server(error) => format!("{}: {error}", error.kind()),
        CallError::Protocol(error) => format!("no answer: {error}"),
    }
}

struct Client<'a> {
    shared: &'a Shared,
    session: Session,
    results: Results,
}

impl Client<'_> {
    fn work(&mut self) {
        if self.shared.options.balanced {
            self.work_balanced();
        } else {
            self.work_in_order();
        }
    }

    /// One workload at a time, so that no more than one has workers that wait for calls.
    fn work_in_order(&mut self) {
        while let Some(calls) = self.shared.take_piece() {
            let Some(first) = calls.first() else { return };
            let name = &self.shared.options.workloads[first.workload];
            if let Err(error) = self.create(name) {
                self.shared.say(&format!("{name}: {error}\n"));
                let failed = calls.len() as u64;
                self.results.failed(first.workload, failed);
                self.shared.count(failed, failed);
                continue;
            }
            for call in calls {
                self.call(*call);
            }
            if let Err(error) = self.session.delete(name) {
                self.shared
                    .say(&format!("{name} can't be deleted: {}\n", text(&error)));
            }
        }
    }

    /// All functions at once, in the plan's order.
    fn work_balanced(&mut self) {
        for name in &self.shared.options.workloads {
            if let Err(error) = self.create(name) {
                // Its calls will fail, and be counted.
                self.shared.say(&format!("{name}: {error}\n"));
            }
        }
        while let Some(calls) = self.shared.take_piece() {
            for call in calls {
                self.call(*call);
            }
        }
    }

    fn create(&self, name: &str) -> Result<(), FunctionError> {
        let function = RomFunction::find(name)?;
        let config = function.config();
        let config = ActionConfig {
            mode: self.shared.options.mode.or(config.mode),
            ..config
        };
        Ok(self.session.create_function(name, &function, config)?)
    }

    /// Makes one call and takes note of how it went.
    fn call(&mut self, call: Call) {
        let name = &self.shared.options.workloads[call.workload];
        let request = format!("{{\"seed\":{}}}", call.seed);
        let begun = clock::now_ns();
        let reply = self.session.invoke(name, request.as_bytes());
        let nanoseconds = clock::now_ns() - begun;
        let read = match reply {
            Ok(reply) => self.read(name, call, &reply.bytes),
            Err(error) => {
                let log = self.session.last_log().unwrap_or_default();
                Err(format!("{}\n{}", text(&error), log.trim_end()).trim_end().into())
            }
        };
        match read {
            Ok(digest) => {
                self.results.succeeded(call.workload, nanoseconds, digest);
                self.shared.count(1, 0);
            }
            Err(error) => {
                let seed = call.seed;
                self.shared
                    .say(&format!("{name} with seed {seed} failed: {error}\n"));
                self.results.failed(call.workload, 1);
                self.shared.count(1, 1);
            }
        }
    }

    /// Reads a reply, and prints it unless it is one of very many.
    fn read(&self, name: &str, call: Call, reply: &[u8]) -> Result<ResultDigest, String> {
        let answer = answer::read(reply).map_err(|error| format!("its answer can't be read: {error}"))?;
        let digest = ResultDigest::of(&answer.result).map_err(|error| error.to_string())?;
        if !self.shared.options.balanced {
            let line = answer::line(name, call.seed, &answer, digest).map_err(|error| error.to_string())?;
            self.shared.say(&line);
        }
        Ok(digest)
    }
}
