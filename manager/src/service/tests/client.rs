//! A client, and workers, in a few words.

use super::fake::{Machine, Seen, WORKER_MEMORY};
use crate::body::Sent;
use crate::label::WorkerId;
use crate::limits::Limits;
use crate::platform::FreezeError;
use crate::service::{Invocation, Outcome, Service, Style};
use crate::worker::WorkerState;
use interfaces::faas::{
    ActionConfig, Completion, Definition, FaasError, FreezeFault, InvokeOptions, WorkerTimes,
};
use interfaces::manifest::StartMode;
use l4::CapIndex;

pub(super) type TestService = Service<Machine>;

pub(super) const TIMEOUT_NS: u64 = 75_000_000;
pub(super) const MEMORY_WAIT_NS: u64 = 50_000_000;
pub(super) const PREPARE_NS: u64 = 200_000_000;
pub(super) const KEEPALIVE_NS: u64 = 1_000_000_000;

pub(super) fn config(mode: StartMode) -> ActionConfig {
    ActionConfig {
        memory_bytes: WORKER_MEMORY,
        timeout_ns: TIMEOUT_NS,
        concurrent_requests: 2,
        queue_length: 3,
        keepalive_ns: KEEPALIVE_NS,
        reuse_limit: 3,
        mode: Some(mode),
        ..ActionConfig::default()
    }
}

pub(super) fn definition(name: &str, config: ActionConfig) -> Definition<'_> {
    Definition {
        name: name.as_bytes(),
        code_bytes: 5000,
        handler: "",
        environment_bytes: 0,
        config,
    }
}

pub(super) fn service() -> TestService {
    service_with(
        Limits {
            actions: 4,
            workers: 8,
            activations: 12,
            depth: 3,
            preparations: 2,
            prepare_ns: PREPARE_NS,
            spare_memory: WORKER_MEMORY,
            memory_wait_ns: MEMORY_WAIT_NS,
            ..Limits::default()
        },
        8,
    )
}

/// A service whose workers cannot be frozen, so that they all begin from the file.
pub(super) fn service_with(limits: Limits, workers_worth: u64) -> TestService {
    let mut machine = Machine::new(workers_worth * WORKER_MEMORY);
    machine.refuse_freeze = Some(FreezeError::NotFreezable(FreezeFault::Threads));
    Service::new(machine, limits)
}

impl TestService {
    pub(super) fn with_action(mut self, name: &str, config: ActionConfig) -> TestService {
        assert_eq!(self.create_action(name, config), Ok(()));
        self
    }

    pub(super) fn create_action(&mut self, name: &str, config: ActionConfig) -> Result<(), FaasError> {
        match self.ask_to_create(name, config) {
            Seen::Created(created) => created,
            other => panic!("{other:?} is no answer to a creation"),
        }
    }

    /// Creates an action; one that needs an image is prepared without incident.
    fn ask_to_create(&mut self, name: &str, config: ActionConfig) -> Seen {
        let reply = self.begin_create(name, config);
        self.prepare_all();
        self.seen(reply).cloned().expect("no answer")
    }

    pub(super) fn begin_create(&mut self, name: &str, config: ActionConfig) -> CapIndex {
        let (code, reply) = (self.platform.cap(), self.platform.reply());
        self.create(&definition(name, config), code, None, None, reply);
        self.check();
        reply
    }

    pub(super) fn update_action(&mut self, name: &str, config: ActionConfig) -> Result<u32, FaasError> {
        let reply = self.begin_update(name, config);
        self.prepare_all();
        match self.seen(reply) {
            Some(Seen::Updated(updated)) => updated.clone(),
            other => panic!("{other:?} is no answer to an update"),
        }
    }

    pub(super) fn begin_update(&mut self, name: &str, config: ActionConfig) -> CapIndex {
        let (code, environment) = (self.platform.cap(), self.platform.cap());
        let reply = self.platform.reply();
        let definition = Definition {
            environment_bytes: 22,
            ..definition(name, config)
        };
        self.update(&definition, code, Some(environment), reply);
        self.check();
        reply
    }

    /// Has all workers that prepare images ask for their first request.
    pub(super) fn prepare_all(&mut self) {
        while let Some(id) = self.preparing_worker() {
            self.ready(id);
        }
    }

    /// A worker that prepares an image.
    pub(super) fn preparing_worker(&self) -> Option<WorkerId> {
        self.workers
            .iter()
            .find(|(_, worker)| matches!(worker.state, WorkerState::Preparing(_)))
            .map(|(place, worker)| worker.id(place))
    }

    pub(super) fn request(
        &mut self,
        worker: Option<WorkerId>,
        style: Style,
        name: &str,
        body: Sent<'_>,
    ) -> CapIndex {
        let reply = self.platform.reply();
        let (name, options) = (name.as_bytes(), InvokeOptions::default());
        self.invoke(Invocation {
            worker,
            reply,
            style,
            name,
            options,
            body,
        });
        self.check();
        reply
    }

    pub(super) fn call(&mut self, name: &str) -> CapIndex {
        self.request(None, Style::Wait, name, Sent::Short(b"in"))
    }

    pub(super) fn nested(&mut self, worker: WorkerId, name: &str) -> CapIndex {
        self.request(Some(worker), Style::Wait, name, Sent::Short(b"in"))
    }

    pub(super) fn live(&self) -> Vec<WorkerId> {
        self.workers
            .iter()
            .map(|(place, worker)| worker.id(place))
            .collect()
    }

    /// The worker that was started last.
    pub(super) fn newest(&self) -> WorkerId {
        self.live()
            .into_iter()
            .max_by_key(|id| id.generation)
            .expect("no worker")
    }

    pub(super) fn ready(&mut self, id: WorkerId) -> CapIndex {
        let reply = self.platform.reply();
        self.worker_ready(id, reply);
        self.check();
        reply
    }

    pub(super) fn ready_once(&mut self, id: WorkerId) -> CapIndex {
        let reply = self.platform.reply();
        self.worker_ready_once(id, reply);
        self.check();
        reply
    }

    pub(super) fn asks_code(&mut self, id: WorkerId) -> CapIndex {
        let reply = self.platform.reply();
        self.worker_asks_code(id, reply);
        self.check();
        reply
    }

    pub(super) fn done(&mut self, id: WorkerId, result: Sent<'_>) -> CapIndex {
        let reply = self.platform.reply();
        self.worker_done(id, reply, WorkerTimes::default(), Outcome::Result(result));
        self.check();
        reply
    }

    pub(super) fn pass(&mut self, nanoseconds: u64) {
        self.platform.now += nanoseconds;
        self.on_time();
        self.check();
    }

    pub(super) fn seen(&self, reply: CapIndex) -> Option<&Seen> {
        self.platform.answers.get(&reply)
    }

    pub(super) fn error(&self, reply: CapIndex) -> &FaasError {
        match self.seen(reply) {
            Some(Seen::Failed(error)) => error,
            other => panic!("{other:?} is no error"),
        }
    }

    pub(super) fn result(&self, reply: CapIndex) -> (Completion, Vec<u8>) {
        match self.seen(reply) {
            Some(Seen::Result { completion, body }) => (*completion, body.clone()),
            other => panic!("{other:?} is no result"),
        }
    }

    /// Closes the service and makes sure that nothing is left.
    pub(super) fn close_and_check(mut self) {
        self.close();
        self.check();
        let machine = &self.platform;
        assert!(machine.caps.is_empty(), "left: {:?}", machine.caps);
        assert!(machine.replies.is_empty(), "unanswered: {:?}", machine.replies);
        assert!(machine.workers.is_empty() && machine.programs == 0 && machine.images.is_empty());
        assert!(self.activations.is_empty() && self.workers.is_empty());
        assert!(self.preparations.is_empty() && self.images.is_empty() && self.spare.is_none());
        let places = [
            self.activations.places(),
            self.workers.places(),
            self.actions.places(),
        ];
        assert_eq!(places, [0; 3], "memory of tables is not given back");
        assert_eq!(self.wake_at(), l4::NEVER);
    }
}
