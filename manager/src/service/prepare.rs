//! Preparing images: a worker runs up to its first request and is frozen there.
//!
//! Creating or updating an action waits for that, and fails with whatever happens to the worker. An action whose image
//! was given up meanwhile lets its invocations wait for a new one.

use super::Service;
use crate::action::{Action, ActionId, ImageUse, NONE, Settings};
use crate::image::Frozen;
use crate::label::WorkerId;
use crate::platform::{Answer, FreezeError, Launch, LaunchError, Payer, Platform};
use crate::preparation::{Preparation, Purpose};
use crate::worker::{Worker, WorkerState};
use interfaces::faas::{FaasError, FreezeFault};
use interfaces::manifest::{Copying, StartMode};
use l4::CapIndex;

/// What came of a preparation that did not fail.
type Prepared<Memory> = Result<Frozen<Memory>, FreezeFault>;

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
                if !self.end_longest_idle() {
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
        let action = preparation.purpose.action().and_then(|id| self.actions.get(id));
        match &preparation.new {
            Some((settings, program)) => {
                let version = action.map_or(1, |action| action.version + 1);
                Some((settings, program, version))
            }
            None => action.map(|action| (&action.settings, &action.program, action.version)),
        }
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

    /// Starts a worker, or loads a stored one, which is returned.
    fn launch_preparing(&mut self, index: u16) -> Result<Option<WorkerId>, LaunchError> {
        let generation = self.next_generation();
        let Some((settings, _, version)) = self.preparing(index) else {
            return Err(LaunchError::Refused(l4::Error::NotFound));
        };
        let (memory, priority) = (settings.config.memory_bytes, settings.config.priority);
        let action = self
            .preparations
            .get(index)
            .and_then(|preparation| preparation.purpose.action())
            .unwrap_or(ActionId::NONE);
        let worker = Worker {
            generation,
            action,
            version,
            state: WorkerState::Preparing(index),
            payer: Payer::Client,
            memory,
            uses: 0,
            is_single: false,
            first_child: NONE,
            image: NONE,
        };
        let place = self.workers.insert(worker).map_err(|_| LaunchError::Later)?;
        let launch = Launch {
            worker: worker.id(place),
            payer: Payer::Client,
            memory,
            priority,
        };
        let program = match self.preparations.get(index) {
            Some(Preparation {
                new: Some((_, program)),
                ..
            }) => Some(program),
            _ => self.actions.get(action).map(|action| &action.program),
        };
        let launched = match program {
            Some(program) => match self.platform.load_stored(program, launch) {
                Ok(None) => self.platform.launch(program, launch).map(|()| None),
                loaded => loaded,
            },
            None => Err(LaunchError::Refused(l4::Error::NotFound)),
        };
        let loaded = launched.inspect_err(|_| {
            self.workers.remove(place);
        })?;
        if let Some(worker) = self.workers.get_mut(place) {
            worker.is_single = loaded == Some(true);
        }
        self.clear_log(place);
        if let Some(preparation) = self.preparations.get_mut(index) {
            preparation.worker = Some(place);
        }
        Ok(loaded.map(|_| launch.worker))
    }

    /// A worker that prepares an image asks for its first request, or was loaded as one that did: this is where clones of it will go on.
    pub(super) fn freeze(&mut self, id: WorkerId, index: u16, reply: Option<CapIndex>) {
        let Some(worker) = self.worker(id).copied() else {
            return self.forget(reply);
        };
        let copying = self
            .preparing(index)
            .map_or(Copying::Lazy, |(settings, ..)| settings.config.copying);
        let outcome = match self.platform.freeze(id.index, reply, copying) {
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
        self.finish_preparation(index, outcome);
        self.serve_waiting();
    }

    fn forget(&mut self, reply: Option<CapIndex>) {
        if let Some(reply) = reply {
            self.platform.forget(reply);
        }
    }

    /// Ends a preparation, and its worker if there is one. Whoever waits gets to know.
    pub(super) fn finish_preparation(&mut self, index: u16, outcome: Result<Prepared<P::Image>, FaasError>) {
        let Some(mut preparation) = self.preparations.remove(index) else {
            return self.drop_prepared(outcome);
        };
        self.preparing_until.clear(index);
        self.unserved = true;
        if let Some(place) = preparation.worker.take() {
            self.log_preparation(place);
            self.end_worker(place);
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

    /// Puts what was prepared to use.
    fn use_prepared(&mut self, preparation: Preparation<P::Program>, prepared: Prepared<P::Image>) {
        match (preparation.purpose, preparation.new) {
            (Purpose::Create { name, reply }, Some((settings, program))) => {
                let created = self.insert_action(&name, settings, program);
                if let Ok(id) = created {
                    self.install(id, prepared);
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
    pub(super) fn give_up(&mut self, preparation: Preparation<P::Program>, error: FaasError) {
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

    /// Gives an action its image, and has its invocations begin from it.
    fn install(&mut self, id: ActionId, prepared: Prepared<P::Image>) {
        let image = match prepared {
            Ok(frozen) => match self.images.insert(frozen, id) {
                Ok(index) => {
                    self.totals.prepared += 1;
                    ImageUse::Ready(index)
                }
                Err(image) => {
                    self.platform.drop_image(image);
                    ImageUse::Evicted
                }
            },
            Err(fault) => ImageUse::Impossible(fault),
        };
        if let Some(action) = self.actions.get_mut(id) {
            action.image = image;
        }
        self.keep_within_budget(id);
        self.serve(id);
    }

    /// Gives up images of others until all fit into what the client may use for them.
    fn keep_within_budget(&mut self, but: ActionId) {
        let budget = self.platform.image_budget();
        while self.images.bytes() > budget && self.evict_one(but) {}
    }

    /// Gives up the image that has not been used for the longest time, but not that of one action. `false` if there is none.
    pub(super) fn evict_one(&mut self, but: ActionId) -> bool {
        let Some(index) = self.least_recently_used(but) else {
            return false;
        };
        let action = self.images.get(index).map(|image| image.action);
        if let Some(action) = action.and_then(|id| self.actions.get_mut(id)) {
            action.image = ImageUse::Evicted;
        }
        self.totals.evicted += 1;
        self.retire_image(index);
        true
    }

    /// The current image, other than that of one action, that has not been used for the longest time. Calls that do not pass the
    /// manager are seen here only: whoever is about to go and had any goes to the end of the list, once at most.
    fn least_recently_used(&mut self, but: ActionId) -> Option<u16> {
        for _ in 0..self.images.current() {
            let index = self.images.least_recently_used(but)?;
            let calls = self.platform.direct_calls(&self.images.get(index)?.frozen.memory);
            let begun = calls.live + calls.answered + calls.failed;
            if !self.images.note_direct_calls(index, begun) {
                return Some(index);
            }
        }
        self.images.least_recently_used(but)
    }

    /// Has no new workers begin from an image.
    pub(super) fn retire_image(&mut self, index: u16) {
        if let Some(image) = self.images.get_mut(index) {
            self.platform.close(&mut image.frozen.memory);
        }
        if self.images.retire(index) {
            self.drop_image_when_unused(index);
        }
    }

    /// Drops an image that no worker of this service needs, now or when the last clone has ended that a client began itself.
    fn drop_image_when_unused(&mut self, index: u16) {
        let Some(image) = self.images.get(index) else {
            return;
        };
        let calls = self.platform.direct_calls(&image.frozen.memory);
        if calls.live > 0 {
            self.lingering.push(index);
            let now = self.platform.now();
            self.retry_at = self.retry_at.min(now.saturating_add(self.limits.memory_retry_ns));
        } else if let Some(memory) = self.images.remove(index) {
            self.totals.answered_directly += calls.answered;
            self.totals.failed_directly += calls.failed;
            self.platform.drop_image(memory);
        }
    }

    /// Drops images whose last clone has ended meanwhile.
    pub(super) fn drop_lingering_images(&mut self) {
        for index in core::mem::take(&mut self.lingering) {
            self.drop_image_when_unused(index);
        }
    }

    /// Forgets what an action's workers began from, as it is deleted or replaced.
    pub(super) fn drop_image_of(&mut self, action: &Action<P::Program>) {
        if let ImageUse::Ready(index) = action.image {
            self.retire_image(index);
        }
    }

    /// Notes that a worker has ended which began from this image, if it did from any.
    pub(super) fn leave_image(&mut self, index: u16) {
        if self.images.leave(index) {
            self.drop_image_when_unused(index);
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
