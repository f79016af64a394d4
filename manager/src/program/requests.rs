//! What clients and workers ask for, and what the service makes of it.

use crate::machine::Machine;
use alloc::string::String;
use interfaces::faas::{
    ActionInfo, Actions, ActionsReply, ActivationId, Counters, Definition, FaasError, FunctionInfo,
    InvokeOptions, LOG_TAIL_MAX, OpenedAction, Payload, Supervisor, SupervisorReply, WorkerFailure,
    WorkerTimes,
};
use interfaces::parent::{EXIT, Parent, ParentError, ParentReply};
use l4::object::{Dataspace, Irq};
use l4::{CapIndex, Utcb};
use l4_rpc::{Caller, Cap, Reply};
use manager::body::Sent;
use manager::label::WorkerId;
use manager::platform::StoredFile;
use manager::service::{Invocation, Outcome, Service, Style};

/// Most bytes of an environment in one answer.
const ENVIRONMENT_CHUNK: usize = 400;

/// One request. Operations that the service answers by itself are deferred; the others are answered when the message
/// that was pending is out of the UTCB.
pub(crate) struct Handler<'a> {
    pub(crate) service: &'a mut Service<Machine>,
    /// The worker that asks; `None` for the client.
    pub(crate) worker: Option<WorkerId>,
    /// Answers the request.
    pub(crate) reply: CapIndex,
}

fn sent(payload: Payload<'_>) -> Sent<'_> {
    match payload {
        Payload::Inline(bytes) => Sent::Short(bytes),
        Payload::Dataspace(block) => Sent::Dataspace {
            cap: block.memory.index(),
            length: block.length,
        },
    }
}

impl Handler<'_> {
    /// What only clients may: capabilities that came along are dropped for others.
    fn only_clients<const CAPS: usize>(&mut self, caps: [Option<CapIndex>; CAPS]) -> Result<(), FaasError> {
        if self.worker.is_none() {
            return Ok(());
        }
        for cap in caps.into_iter().flatten() {
            manager::platform::Platform::discard(self.service.platform(), cap);
        }
        Err(FaasError::NotPermitted)
    }

    /// Creates an action with a stored snapshot.
    ///
    /// # Errors
    /// Only clients may; the answer that was pending is on its way then.
    fn create_from(
        &mut self,
        definition: &Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
        snapshot: StoredFile,
    ) -> Result<(), FaasError> {
        let environment = environment.map(Cap::index);
        let allowed = self.only_clients([Some(code.index()), environment, Some(snapshot.file)]);
        if allowed.is_err() {
            return self.flushed(allowed);
        }
        self.service
            .create(definition, code.index(), environment, Some(snapshot), self.reply);
        Ok(())
    }

    /// Lets the answer that is pending go, so that the UTCB is free for this one.
    fn flushed<T>(&mut self, result: T) -> T {
        self.service.platform().flush();
        result
    }
}

impl Actions for Handler<'_> {
    fn create(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
    ) -> Reply {
        let environment = environment.map(Cap::index);
        if let Err(error) = self.only_clients([Some(code.index()), environment]) {
            return Reply::Now(ActionsReply::create(utcb, Err(self.flushed(&error))));
        }
        self.service
            .create(&definition, code.index(), environment, None, self.reply);
        Reply::Deferred
    }

    fn restore(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
        snapshot: Cap<Dataspace>,
    ) -> Reply {
        let snapshot = StoredFile {
            file: snapshot.index(),
            is_required: true,
        };
        match self.create_from(&definition, code, environment, snapshot) {
            Ok(()) => Reply::Deferred,
            Err(error) => Reply::Now(ActionsReply::restore(utcb, Err(&error))),
        }
    }

    fn create_with_snapshot(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
        snapshot: Cap<Dataspace>,
    ) -> Reply {
        let snapshot = StoredFile {
            file: snapshot.index(),
            is_required: false,
        };
        match self.create_from(&definition, code, environment, snapshot) {
            Ok(()) => Reply::Deferred,
            Err(error) => Reply::Now(ActionsReply::create_with_snapshot(utcb, Err(&error))),
        }
    }

    fn store(&mut self, _: Caller, name: &[u8], into: Cap<Dataspace>) -> Result<u64, FaasError> {
        let stored = self
            .only_clients([Some(into.index())])
            .and_then(|()| self.service.store(name, into.index()));
        self.flushed(stored)
    }

    fn update(
        &mut self,
        _: Caller,
        utcb: &Utcb,
        definition: Definition<'_>,
        code: Cap<Dataspace>,
        environment: Option<Cap<Dataspace>>,
    ) -> Reply {
        let environment = environment.map(Cap::index);
        if let Err(error) = self.only_clients([Some(code.index()), environment]) {
            return Reply::Now(ActionsReply::update(utcb, Err(self.flushed(&error))));
        }
        self.service
            .update(&definition, code.index(), environment, self.reply);
        Reply::Deferred
    }

    fn delete(&mut self, _: Caller, name: &[u8]) -> Result<(), FaasError> {
        let deleted = self.only_clients([]).and_then(|()| self.service.delete(name));
        self.flushed(deleted)
    }

    fn list(&mut self, _: Caller, after: &str) -> Result<Option<String>, FaasError> {
        self.only_clients([])?;
        let name = self.service.name_behind(after);
        Ok(self.flushed(name))
    }

    fn describe(&mut self, _: Caller, name: &[u8]) -> Result<ActionInfo, FaasError> {
        let info = self.only_clients([]).and_then(|()| self.service.describe(name));
        self.flushed(info)
    }

    fn open(&mut self, _: Caller, name: &[u8]) -> Result<OpenedAction, FaasError> {
        let opened = self.only_clients([]).and_then(|()| self.service.open(name));
        self.flushed(opened)
    }

    fn invoke(
        &mut self,
        _: Caller,
        _: &Utcb,
        name: &[u8],
        options: InvokeOptions,
        request: Payload<'_>,
    ) -> Reply {
        let (worker, reply, body) = (self.worker, self.reply, sent(request));
        self.service.invoke(Invocation {
            worker,
            reply,
            style: Style::Wait,
            name,
            options,
            body,
        });
        Reply::Deferred
    }

    fn invoke_async(
        &mut self,
        _: Caller,
        _: &Utcb,
        name: &[u8],
        options: InvokeOptions,
        request: Payload<'_>,
        notify: Option<Cap<Irq>>,
    ) -> Reply {
        let (worker, reply, body) = (self.worker, self.reply, sent(request));
        let style = Style::Later {
            notify: notify.map(Cap::index),
        };
        self.service.invoke(Invocation {
            worker,
            reply,
            style,
            name,
            options,
            body,
        });
        Reply::Deferred
    }

    fn result(&mut self, _: Caller, _: &Utcb, activation: ActivationId, wait: bool) -> Reply {
        self.service.fetch(self.worker, self.reply, activation, wait);
        Reply::Deferred
    }

    fn cancel(&mut self, _: Caller, activation: ActivationId) -> Result<(), FaasError> {
        let cancelled = self.service.cancel(self.worker, activation);
        self.flushed(cancelled)
    }

    fn log(&mut self, _: Caller, utcb: &Utcb, activation: ActivationId) -> Reply {
        self.flushed(());
        let mut text = [0; LOG_TAIL_MAX];
        let found = self
            .service
            .log(self.worker, activation)
            .map(|log| (log.written(), log.copy_last(&mut text)));
        Reply::Now(match found {
            Ok((written, length)) => ActionsReply::log(utcb, Ok(&written), &text[..length]),
            Err(error) => ActionsReply::log(utcb, Err(&error), &[]),
        })
    }

    fn counters(&mut self, _: Caller) -> Result<Counters, FaasError> {
        self.only_clients([])?;
        let teardowns_pending = self.service.platform().teardowns_pending();
        Ok(Counters {
            teardowns_pending,
            ..self.service.counters()
        })
    }
}

impl Handler<'_> {
    /// The worker that asks. Clients have no capability that speaks the workers' protocols; their requests come here
    /// only if they try.
    fn worker(&self) -> Result<WorkerId, FaasError> {
        self.worker.ok_or(FaasError::NotPermitted)
    }
}

impl Supervisor for Handler<'_> {
    fn ready(&mut self, _: Caller, utcb: &Utcb, _start_runtime: u64) -> Reply {
        match self.worker() {
            Ok(worker) => {
                self.service.worker_ready(worker, self.reply);
                Reply::Deferred
            }
            Err(error) => Reply::Now(SupervisorReply::ready(utcb, Err(&error), &[])),
        }
    }

    fn ready_once(&mut self, _: Caller, utcb: &Utcb, _start_runtime: u64) -> Reply {
        match self.worker() {
            Ok(worker) => {
                self.service.worker_ready_once(worker, self.reply);
                Reply::Deferred
            }
            Err(error) => Reply::Now(SupervisorReply::ready_once(utcb, Err(&error), &[])),
        }
    }

    fn done(&mut self, _: Caller, utcb: &Utcb, times: WorkerTimes, response: Payload<'_>) -> Reply {
        match self.worker() {
            Ok(worker) => {
                self.service
                    .worker_done(worker, self.reply, times, Outcome::Result(sent(response)));
                Reply::Deferred
            }
            Err(error) => {
                if let Payload::Dataspace(block) = response {
                    manager::platform::Platform::discard(self.service.platform(), block.memory.index());
                }
                Reply::Now(SupervisorReply::done(utcb, Err(&error), &[]))
            }
        }
    }

    fn fail(&mut self, _: Caller, utcb: &Utcb, times: WorkerTimes, failure: WorkerFailure<'_>) -> Reply {
        let worker = match self.worker() {
            Ok(worker) => worker,
            Err(error) => return Reply::Now(SupervisorReply::fail(utcb, Err(&error), &[])),
        };
        let outcome = match failure.error() {
            (error, true) => Outcome::Error(error),
            (error, false) => Outcome::Broken(error),
        };
        self.service.worker_done(worker, self.reply, times, outcome);
        Reply::Deferred
    }

    fn environment(&mut self, _: Caller, utcb: &Utcb, offset: u64) -> Reply {
        self.flushed(());
        let found = self
            .worker()
            .and_then(|worker| self.service.environment_of(worker));
        Reply::Now(match found {
            Ok(text) => {
                let rest = usize::try_from(offset)
                    .ok()
                    .and_then(|offset| text.get(offset..))
                    .unwrap_or_default();
                let chunk = &rest[..rest.len().min(ENVIRONMENT_CHUNK)];
                SupervisorReply::environment(utcb, Ok(&(text.len() as u64)), chunk)
            }
            Err(error) => SupervisorReply::environment(utcb, Err(&error), &[]),
        })
    }

    fn function(&mut self, _: Caller) -> Result<FunctionInfo, FaasError> {
        let info = self.worker().and_then(|worker| self.service.function_of(worker));
        self.flushed(info)
    }

    fn code(&mut self, _: Caller, utcb: &Utcb) -> Reply {
        match self.worker() {
            Ok(worker) => {
                self.service.worker_asks_code(worker, self.reply);
                Reply::Deferred
            }
            Err(error) => Reply::Now(SupervisorReply::code(utcb, Err(&error))),
        }
    }
}

impl Parent for Handler<'_> {
    fn signal(&mut self, _: Caller, utcb: &Utcb, signal: u64, code: u64) -> Reply {
        match self.worker {
            Some(worker) if signal == EXIT => {
                self.service.worker_exited(worker, self.reply, code as i64);
                Reply::Deferred
            }
            _ => Reply::Now(ParentReply::signal(utcb, Err(&ParentError::UnknownSignal))),
        }
    }
}
