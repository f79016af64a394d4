//! Preparing images: a worker runs up to its first request and is frozen there.
//!
//! Creating or updating an action waits for that, and fails with whatever happens to the worker. An action whose image
//! was given up meanwhile lets its invocations wait for a new one.

use super::Service;
use crate::action::{ActionId, ImageUse, Settings};
use crate::image::Frozen;
use crate::label::WorkerId;
use crate::platform::{Answer, FreezeError, Launch, LaunchError, Payer, Platform};
use crate::preparation::{Preparation, Purpose};
use crate::worker::{Worker, WorkerState};
use interfaces::faas::{FaasError, FreezeFault};
use interfaces::manifest::{Copying, Runtime, StartMode};
use l4::CapIndex;

/// What came of a preparation that did not fail.
pub(super) type Prepared<Memory> = Result<Frozen<Memory>, FreezeFault>;

/// How the worker of a preparation began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// From the program's file.
    Started,
    /// From the spare runtime.
    UponSpare,
    /// From a stored snapshot: it waits already.
    Loaded {
        /// It ends with its first request.
        is_single: bool,
    },
}

/// Makes a worker of `program` in the way that has the least left to do.
fn begin<P: Platform>(
    platform: &mut P,
    program: &P::Program,
    spare: Option<&Frozen<P::Image>>,
    launch: Launch,
) -> Result<Begun, LaunchError> {
    if let Some(is_single) = platform.load_stored(program, launch)? {
        return Ok(Begun::Loaded { is_single });
    }
    if let Some(spare) = spare {
        // The limit holds for the function with its runtime, whoever started that.
        let own = Launch {
            memory: launch.memory - spare.info.bytes,
            ..launch
        };
        match platform.launch_upon(&spare.memory, program, own) {
            Ok(()) => return Ok(Begun::UponSpare),
            Err(LaunchError::Later) => return Err(LaunchError::Later),
            // What is left of the limit may be nothing to begin with. It takes less to start alone.
            Err(LaunchError::LimitTooLow | LaunchError::Refused(_)) => {}
        }
    }
    platform.launch(program, launch).map(|()| Begun::Started)
}

impl<P: Platform> Service<P> {
    /// Has an image prepared. If that can't even begin, whoever asked gets the error.
    pub(super) fn prepare(&mut self, purpose: Purpose, new: Option<(Settings, P::Program)>) {
        let now = self.platform.now();
        let timeout_ns = match (&new, purpose.action().and_then(|id| self.actions.get(id))) {
            (Some((settings, _)), _) => settings.config.timeout_ns,
            (None, Some(action)) => action.settings.config.timeout_ns,
            (None, None) => 0,
        };
        let deadline = now.saturating_add(self.limits.prepare_ns.max(timeout_ns));
        let preparation = Preparation {
            purpose,
            new,
            worker: None,
            layer: None,
            is_alone: false,
            since: now,
            deadline,
        };
        match self.preparations.insert(preparation) {
            Ok(index) => {
                self.preparing_until.set(index, deadline);
                self.wake_at = self.wake_at.min(deadline);
                self.begin_preparation(index);
            }
            Err(refused) => {
                let limit = u64::from(self.preparations.limit());
                self.give_up(refused, FaasError::TooManyActivations { limit });
            }
        }
    }

    /// Has the image of an action prepared again, if nobody does that yet.
    pub(super) fn rebuild(&mut self, id: ActionId) {
        let is_full = self.preparations.is_full();
        let Some(action) = self.actions.get_mut(id) else {
            return;
        };
        // Whoever ends a preparation has the queues looked at again.
        if action.image == ImageUse::Evicted && !is_full {
            action.image = ImageUse::Preparing;
            let version = action.version;
            self.prepare(Purpose::Rebuild { id, version }, None);
        }
    }

    /// Starts the workers of preparations that lacked memory.
    pub(super) fn begin_preparations(&mut self) {
        for index in 0..self.preparations.places() {
            if self
                .preparations
                .get(index)
                .is_some_and(|preparation| preparation.worker.is_none())
            {
                self.begin_preparation(index);
            }
        }
    }

    fn begin_preparation(&mut self, index: u16) {
        match self.launch_preparing(index) {
            Ok(None) => {}
            // A stored snapshot's thread waits where a worker's does that asked for its first request.
            Ok(Some(id)) => self.freeze(id, index, None),
            Err(LaunchError::Later) => {
                if !self.drop_spare() && !self.end_longest_idle() {
                    let action = self
                        .preparations
                        .get(index)
                        .and_then(|preparation| preparation.purpose.action());
                    self.evict_one(action.unwrap_or(ActionId::NONE));
                }
                let now = self.platform.now();
                self.retry_at = self.retry_at.min(now.saturating_add(self.limits.memory_retry_ns));
                let since = self.preparations.get(index).map_or(now, |waiting| waiting.since);
                if now - since >= self.limits.memory_wait_ns {
                    self.finish_preparation(index, Err(FaasError::OutOfMemory));
                }
            }
            Err(LaunchError::LimitTooLow) => {
                let limit_bytes = self
                    .preparing(index)
                    .map_or(0, |(settings, _, _)| settings.config.memory_bytes);
                self.finish_preparation(index, Err(FaasError::MemoryLimit { limit_bytes }));
            }
            Err(LaunchError::Refused(error)) => self.finish_preparation(index, Err(error.into())),
        }
    }

    /// Settings, program and version of what is prepared.
    fn preparing(&self, index: u16) -> Option<(&Settings, &P::Program, u32)> {
        let preparation = self.preparations.get(index)?;
        let (settings, program) = preparation.of(&self.actions)?;
        let action = preparation.purpose.action().and_then(|id| self.actions.get(id));
        let version = match (&preparation.new, action) {
            (Some(_), action) => action.map_or(1, |action| action.version + 1),
            (None, action) => action?.version,
        };
        Some((settings, program, version))
    }

    /// The settings that a worker which prepares an image runs with, and the name of its function.
    pub(super) fn preparing_for(&self, index: u16) -> Option<(&Settings, &str)> {
        let (settings, _, _) = self.preparing(index)?;
        let name = match &self.preparations.get(index)?.purpose {
            Purpose::Create { name, .. } => name,
            Purpose::Update { id, .. } | Purpose::Rebuild { id, .. } => &self.actions.get(*id)?.name,
        };
        Some((settings, name))
    }

    /// Makes a place for the worker of a preparation.
    fn place_preparing(&mut self, index: u16) -> Result<Launch, LaunchError> {
        let generation = self.next_generation();
        let Some((settings, _, version)) = self.preparing(index) else {
            return Err(LaunchError::Refused(l4::Error::NotFound));
        };
        let (memory, priority) = (settings.config.memory_bytes, settings.config.priority);
        let action = self
            .preparations
            .get(index)
            .and_then(|preparation| preparation.purpose.action());
        let worker = Worker {
            action: action.unwrap_or(ActionId::NONE),
            version,
            ..Worker::new(generation, WorkerState::Preparing(index), memory)
        };
        let place = self.workers.insert(worker).map_err(|_| LaunchError::Later)?;
        Ok(Launch {
            worker: worker.id(place),
            payer: Payer::Client,
            memory,
            priority,
        })
    }

    /// Starts a worker, or loads a stored one, which is returned.
    fn launch_preparing(&mut self, index: u16) -> Result<Option<WorkerId>, LaunchError> {
        let launch = self.place_preparing(index)?;
        let place = launch.worker.index;
        let preparation = self.preparations.get(index);
        let prepared =
            preparation.and_then(|preparation| Some((preparation, preparation.of(&self.actions)?)));
        let launched = match prepared {
            Some((preparation, (settings, program))) => {
                let wants_spare = settings.config.runtime == Runtime::Python && !preparation.is_alone;
                let spare = self.spare.for_function(launch.memory).filter(|_| wants_spare);
                begin(&mut self.platform, program, spare, launch)
            }
            None => Err(LaunchError::Refused(l4::Error::NotFound)),
        };
        let begun = launched.inspect_err(|_| {
            self.workers.remove(place);
        })?;
        if let (Some(worker), Begun::Loaded { is_single }) = (self.workers.get_mut(place), begun) {
            worker.is_single = is_single;
        }
        self.clear_log(place);
        if let Some(preparation) = self.preparations.get_mut(index) {
            preparation.worker = Some(place);
            if begun == Begun::UponSpare {
                preparation.layer = self.spare.take().map(|frozen| frozen.memory);
            }
        }
        Ok(matches!(begun, Begun::Loaded { .. }).then_some(launch.worker))
    }

    /// A worker that prepares an image asks for its first request, or was loaded as one that did: this is where clones of it will go on.
    pub(super) fn freeze(&mut self, id: WorkerId, index: u16, reply: Option<CapIndex>) {
        let Some(worker) = self.worker(id).copied() else {
            return self.forget(reply);
        };
        let copying = self
            .preparing(index)
            .map_or(Copying::Lazy, |(settings, ..)| settings.config.copying);
        let mut layer = self.layer_of(index).and_then(Option::take);
        let outcome = match self.platform.freeze(id.index, reply, copying, &mut layer) {
            Ok((image, mut info)) => {
                info.is_loaded = reply.is_none();
                // The task is the image now, and its account the image's.
                self.cancel_children(id);
                self.workers.remove(id.index);
                if let Some(preparation) = self.preparations.get_mut(index) {
                    preparation.worker = None;
                }
                Ok(Ok(Frozen {
                    memory: image,
                    info,
                    is_single: worker.is_single,
                }))
            }
            Err(FreezeError::NotFreezable(fault)) => {
                self.forget(reply);
                Ok(Err(fault))
            }
            Err(FreezeError::NoMemory) => {
                self.forget(reply);
                let limit_bytes = worker.memory;
                Err(FaasError::MemoryLimit { limit_bytes })
            }
        };
        if let Some(place) = self.layer_of(index) {
            *place = layer;
        }
        self.finish_preparation(index, outcome);
        self.serve_waiting();
    }

    /// The runtime that the worker of a preparation began from.
    fn layer_of(&mut self, index: u16) -> Option<&mut Option<P::Image>> {
        self.preparations
            .get_mut(index)
            .map(|preparation| &mut preparation.layer)
    }

    fn forget(&mut self, reply: Option<CapIndex>) {
        if let Some(reply) = reply {
            self.platform.forget(reply);
        }
    }

    /// Ends a preparation, and its worker if there is one. Whoever waits gets to know.
    pub(super) fn finish_preparation(&mut self, index: u16, outcome: Result<Prepared<P::Image>, FaasError>) {
        if self.starts_alone(index, &outcome) {
            return self.begin_preparation(index);
        }
        let Some(mut preparation) = self.preparations.remove(index) else {
            return self.drop_prepared(outcome);
        };
        self.preparing_until.clear(index);
        self.unserved = true;
        if let Some(place) = preparation.worker.take() {
            self.log_preparation(place);
            self.end_worker(place);
        }
        if let Some(layer) = preparation.layer.take() {
            // It was for this function.
            self.platform.drop_image(layer);
        }
        let is_required = preparation
            .new
            .as_ref()
            .is_some_and(|(settings, _)| settings.config.mode == Some(StartMode::Snapshot));
        match outcome {
            Ok(Err(fault)) if is_required => self.give_up(preparation, FaasError::NotFreezable(fault)),
            Ok(prepared) => {
                let prepare_ns = self.platform.now().saturating_sub(preparation.since);
                let prepared = prepared.map(|mut frozen| {
                    frozen.info.prepare_ns = prepare_ns;
                    frozen
                });
                self.use_prepared(preparation, prepared);
            }
            Err(error) => self.give_up(preparation, error),
        }
    }

    /// Whether a function that lacked memory is to start its runtime itself, as it began upon one that was started ahead: pages that
    /// both have changed are there twice. So what becomes of it does not depend on that.
    fn starts_alone(&mut self, index: u16, outcome: &Result<Prepared<P::Image>, FaasError>) -> bool {
        let lacks_memory = matches!(
            outcome,
            Err(FaasError::MemoryLimit { .. }) | Ok(Err(FreezeFault::TooLarge))
        );
        let Some(preparation) = self.preparations.get_mut(index).filter(|_| lacks_memory) else {
            return false;
        };
        let Some(layer) = preparation.layer.take() else {
            return false;
        };
        preparation.is_alone = true;
        if let Some(place) = preparation.worker.take() {
            self.end_worker(place);
        }
        self.platform.drop_image(layer);
        true
    }

    /// Puts what was prepared to use.
    fn use_prepared(&mut self, preparation: Preparation<P::Program, P::Image>, prepared: Prepared<P::Image>) {
        let is_started = matches!(&prepared, Ok(frozen) if !frozen.info.is_loaded);
        match (preparation.purpose, preparation.new) {
            (Purpose::Create { name, reply }, Some((settings, program))) => {
                let created = self.insert_action(&name, settings, program);
                if let Ok(id) = created {
                    self.install(id, prepared);
                    if is_started {
                        self.start_spare(id);
                    }
                } else {
                    self.drop_prepared(Ok(prepared));
                }
                let created = created.as_ref().map(drop);
                self.platform.answer(reply, Answer::Created(created));
            }
            (Purpose::Update { id, reply }, Some((settings, program))) => {
                let updated = self.replace(id, settings, program);
                if updated.is_ok() {
                    self.install(id, prepared);
                    if is_started {
                        self.start_spare(id);
                    }
                } else {
                    self.drop_prepared(Ok(prepared));
                }
                self.platform
                    .answer(reply, Answer::Updated(updated.as_ref().copied()));
            }
            (Purpose::Rebuild { id, version }, _) => match self.actions.get(id) {
                Some(action) if action.version == version => self.install(id, prepared),
                _ => self.drop_prepared(Ok(prepared)),
            },
            // A new action or version comes with its program.
            (Purpose::Create { reply, .. } | Purpose::Update { reply, .. }, None) => {
                self.drop_prepared(Ok(prepared));
                self.platform
                    .answer(reply, Answer::Created(Err(&FaasError::Cancelled)));
            }
        }
    }

    /// Tells whoever waits for a preparation why there is none, and drops what was made for it.
    pub(super) fn give_up(&mut self, preparation: Preparation<P::Program, P::Image>, error: FaasError) {
        match preparation.purpose {
            Purpose::Create { reply, .. } => self.platform.answer(reply, Answer::Created(Err(&error))),
            Purpose::Update { reply, .. } => self.platform.answer(reply, Answer::Updated(Err(&error))),
            Purpose::Rebuild { id, version } => self.fail_waiting(id, version, &error),
        }
        if let Some((_, program)) = preparation.new {
            self.platform.unload(program);
        }
    }

    /// Fails all invocations that wait for the image of this version. The next one tries again.
    fn fail_waiting(&mut self, id: ActionId, version: u32, error: &FaasError) {
        let Some(action) = self
            .actions
            .get_mut(id)
            .filter(|action| action.version == version)
        else {
            return;
        };
        action.image = ImageUse::Evicted;
        while let Some(index) = self.dequeue(id) {
            self.settle(index, Err(error.clone()));
        }
    }

    fn drop_prepared(&mut self, outcome: Result<Prepared<P::Image>, FaasError>) {
        if let Ok(Ok(frozen)) = outcome {
            self.platform.drop_image(frozen.memory);
        }
    }

    /// Keeps what a worker logged for whoever asks why nothing was prepared.
    fn log_preparation(&mut self, place: u16) {
        self.last_logged = 0;
        core::mem::swap(self.logs.reach(place), &mut self.last_log);
        self.clear_log(place);
    }
}
