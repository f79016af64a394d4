//! Who runs next: the actions' queues, and starting what is first.

use super::Service;
use crate::action::{ActionId, ImageUse, NONE};
use crate::activation::{Links, Stage};
use crate::platform::{Launch, LaunchError, Payer, Platform};
use crate::worker::{Worker, WorkerState};
use interfaces::faas::FaasError;
use interfaces::manifest::StartMode;

/// Why an activation was not started.
pub(super) enum NotStarted {
    /// Memory is lacking, but will be given back.
    Starved,
    /// The image that its worker is to begin from is not there.
    Unprepared,
    /// It never will be.
    Failed(FaasError),
}

impl<P: Platform> Service<P> {
    /// Puts an activation at the end of its action's queue.
    fn enqueue(&mut self, id: ActionId, index: u16) {
        let Some(action) = self.actions.get_mut(id) else {
            return;
        };
        let last = action.waiting.last;
        action.waiting.last = index;
        action.waiting.length += 1;
        if let Some(activation) = self.activations.get_mut(last) {
            activation.queue.next = index;
        } else {
            action.waiting.first = index;
        }
        if let Some(activation) = self.activations.get_mut(index) {
            activation.queue.previous = last;
        }
    }

    /// Puts an activation back to the front of its action's queue.
    fn requeue(&mut self, id: ActionId, index: u16) {
        let (Some(action), Some(activation)) = (self.actions.get_mut(id), self.activations.get_mut(index))
        else {
            return;
        };
        let next = core::mem::replace(&mut action.waiting.first, index);
        activation.stage = Stage::Waiting;
        activation.queue = Links { previous: NONE, next };
        action.waiting.length += 1;
        match self.activations.get_mut(next) {
            Some(activation) => activation.queue.previous = index,
            None => action.waiting.last = index,
        }
    }

    /// Takes the first activation out of an action's queue.
    pub(super) fn dequeue(&mut self, id: ActionId) -> Option<u16> {
        let action = self.actions.get_mut(id)?;
        let index = action.waiting.first;
        let links = core::mem::replace(&mut self.activations.get_mut(index)?.queue, Links::ALONE);
        action.waiting.first = links.next;
        action.waiting.length -= 1;
        match self.activations.get_mut(links.next) {
            Some(activation) => activation.queue.previous = NONE,
            None => action.waiting.last = NONE,
        }
        Some(index)
    }

    /// Takes an activation out of its action's queue, wherever it stands there.
    pub(super) fn unlink(&mut self, id: ActionId, index: u16) {
        let Some(action) = self.actions.get_mut(id) else {
            return;
        };
        let Some(activation) = self.activations.get_mut(index) else {
            return;
        };
        let Links { previous, next } = core::mem::replace(&mut activation.queue, Links::ALONE);
        action.waiting.length -= 1;
        match self.activations.get_mut(previous) {
            Some(activation) => activation.queue.next = next,
            None => action.waiting.first = next,
        }
        match self.activations.get_mut(next) {
            Some(activation) => activation.queue.previous = previous,
            None => action.waiting.last = previous,
        }
    }

    /// Starts a new activation if it may run at once, else puts it at the end of its action's queue.
    pub(super) fn start_or_enqueue(&mut self, id: ActionId, index: u16) {
        let is_free = self.actions.get(id).is_some_and(|action| {
            action.waiting.length == 0 && action.running < action.settings.config.concurrent_requests
        });
        if !is_free {
            self.enqueue(id, index);
            self.serve(id);
        } else if !self.start_first(id, index) {
            self.list(id);
        }
    }

    /// Starts an action's waiting activations as long as it may run more.
    pub(super) fn serve(&mut self, id: ActionId) {
        while self.may_start(id)
            && let Some(index) = self.dequeue(id)
            && self.start_first(id, index)
        {}
        self.list(id);
    }

    /// Notes if an action has waiting activations.
    fn list(&mut self, id: ActionId) {
        if let Some(action) = self.actions.get_mut(id)
            && action.waiting.length > 0
            && !action.is_listed
        {
            action.is_listed = true;
            self.queued.push_back(id);
        }
    }

    /// Starts an activation that was the first in its action's queue, fails it, or puts it back there. Tells whether the next
    /// one may be tried.
    fn start_first(&mut self, id: ActionId, index: u16) -> bool {
        match self.start(index) {
            Ok(()) => true,
            Err(NotStarted::Unprepared) => {
                self.requeue(id, index);
                self.rebuild(id);
                false
            }
            Err(NotStarted::Starved) if self.waits_for_itself(index) => {
                self.settle(index, Err(FaasError::OutOfMemory));
                true
            }
            Err(NotStarted::Starved) => {
                self.requeue(id, index);
                let now = self.platform.now();
                self.retry_at = self.retry_at.min(now.saturating_add(self.limits.memory_retry_ns));
                false
            }
            Err(NotStarted::Failed(error)) => {
                self.settle(index, Err(error));
                true
            }
        }
    }

    /// Serves the actions of which something ended, and all that wait if something happened that may help any of them.
    #[inline]
    pub(super) fn serve_waiting(&mut self) {
        if self.unserved || !self.servable.is_empty() {
            self.serve_all();
        }
    }

    fn serve_all(&mut self) {
        loop {
            if let Some(id) = self.servable.pop() {
                self.serve(id);
            } else if core::mem::take(&mut self.unserved) {
                self.drop_lingering_images();
                self.begin_preparations();
                self.serve_queued();
            } else {
                return;
            }
        }
    }

    /// Serves all actions with waiting activations, each once.
    fn serve_queued(&mut self) {
        for _ in 0..self.queued.len() {
            let Some(id) = self.queued.pop_front() else {
                return;
            };
            if let Some(action) = self.actions.get_mut(id) {
                action.is_listed = false;
            }
            self.serve(id);
        }
    }

    /// Notes that an action may run one more, or has one less waiting.
    #[inline]
    pub(super) fn note_servable(&mut self, id: ActionId) {
        let waits = self
            .actions
            .get(id)
            .is_some_and(|action| action.waiting.length > 0);
        if waits && self.servable.last() != Some(&id) {
            self.servable.push(id);
        }
    }

    /// Starts an activation that can't wait for its turn.
    pub(super) fn start_out_of_turn(&mut self, id: ActionId, index: u16) {
        self.requeue(id, index);
        self.serve(id);
    }

    /// Whether the first activation in the action's queue may run now.
    fn may_start(&self, id: ActionId) -> bool {
        self.actions.get(id).is_some_and(|action| {
            action.running < action.settings.config.concurrent_requests
                || self
                    .activations
                    .get(action.waiting.first)
                    .is_some_and(|first| first.recursive)
        })
    }

    /// Whether who could give back what an activation lacks waits for its answer. Memory of what has ended already
    /// comes back in any case.
    fn waits_for_itself(&self, index: u16) -> bool {
        self.activations
            .get(index)
            .is_some_and(|activation| activation.recursive && activation.starved_since == 0)
    }

    /// Gives an activation an idle worker, or a new one.
    fn start(&mut self, index: u16) -> Result<(), NotStarted> {
        let gone = || NotStarted::Failed(FaasError::Cancelled);
        let now = self.platform.now();
        let activation = self.activations.get_mut(index).ok_or_else(gone)?;
        activation.times.start_worker = now;
        let action = self.actions.get_mut(activation.action).ok_or_else(gone)?;
        activation.version = action.version;
        if let Some(worker) = self.workers.get_mut(action.idle)
            && let WorkerState::Idle { reply, next, .. } = worker.state
        {
            let place = core::mem::replace(&mut action.idle, next);
            action.idle_count -= 1;
            action.running += 1;
            worker.state = WorkerState::Busy(index);
            activation.stage = Stage::Running(place);
            activation.mode = StartMode::Warm;
            self.idle_until.clear(place);
            if let Some(WorkerState::Idle { previous, .. }) = self.state_mut(next) {
                *previous = NONE;
            }
            self.totals.reused += 1;
            self.clear_log(place);
            self.deliver(place, reply);
            return Ok(());
        }
        if matches!(action.image, ImageUse::Evicted | ImageUse::Preparing) {
            return Err(NotStarted::Unprepared);
        }
        self.launch(index, now)
    }

    /// Makes a worker for an activation: a clone of the action's image, or one that loads the file.
    fn launch(&mut self, index: u16, now: u64) -> Result<(), NotStarted> {
        let (worker, launch) = self.enlist(index, now)?;
        let place = launch.worker.index;
        let gone = || NotStarted::Failed(FaasError::Cancelled);
        let activation = self.activations.get_mut(index).ok_or_else(gone)?;
        let action = self.actions.get_mut(worker.action).ok_or_else(gone)?;
        let (launched, mode) = match self.images.get(worker.image) {
            Some(image) => {
                let request = activation.request(index, &self.bodies[index]);
                let memory = &image.frozen.memory;
                let spawned = self.platform.spawn(&action.program, memory, launch, request);
                (spawned, StartMode::Snapshot)
            }
            None => (self.platform.launch(&action.program, launch), StartMode::Boot),
        };
        match launched {
            Ok(()) => {
                action.running += 1;
                activation.stage = Stage::Running(place);
                activation.mode = mode;
                activation.starved_since = 0;
                self.totals.started += 1;
                self.clear_log(place);
                self.images.take_into_use(worker.image);
                Ok(())
            }
            Err(error) => {
                self.workers.remove(place);
                Err(self.why_not_launched(index, error, &launch, now))
            }
        }
    }

    /// Puts a worker for an activation into the table: what it will be, and what it takes to start it.
    fn enlist(&mut self, index: u16, now: u64) -> Result<(Worker, Launch), NotStarted> {
        if self.workers.is_full() && !self.end_longest_idle() {
            return Err(NotStarted::Starved);
        }
        let generation = self.next_generation();
        let gone = || NotStarted::Failed(FaasError::Cancelled);
        let activation = self.activations.get(index).ok_or_else(gone)?;
        let payer = Self::payer_of(activation);
        let memory = match payer {
            Payer::Client => activation.memory,
            Payer::Worker(parent) => {
                let room = self.platform.room(parent);
                if room.free < activation.memory && room.returning > 0 {
                    return Err(self.starve(index, now));
                }
                activation.memory.min(room.free)
            }
        };
        let action = self.actions.get(activation.action).ok_or_else(gone)?;
        let (image, state, uses) = match action.image {
            ImageUse::Ready(image) => (image, WorkerState::Busy(index), 1),
            _ => (NONE, WorkerState::Starting(index), 0),
        };
        let worker = Worker {
            generation,
            action: activation.action,
            version: action.version,
            state,
            payer,
            memory,
            uses,
            is_single: self.images.get(image).is_some_and(|image| image.frozen.is_single),
            first_child: NONE,
            image,
        };
        let priority = action.settings.config.priority;
        let place = self.workers.insert(worker).map_err(|_| NotStarted::Starved)?;
        let launch = Launch {
            worker: worker.id(place),
            payer,
            memory,
            priority,
        };
        Ok((worker, launch))
    }

    fn why_not_launched(&mut self, index: u16, error: LaunchError, launch: &Launch, now: u64) -> NotStarted {
        match error {
            LaunchError::LimitTooLow => NotStarted::Failed(FaasError::MemoryLimit {
                limit_bytes: launch.memory,
            }),
            LaunchError::Refused(error) => NotStarted::Failed(error.into()),
            LaunchError::Later => {
                // A spare runtime and idle workers hold memory that nobody uses, and images can be prepared again.
                let is_spared = launch.payer == Payer::Client && self.drop_spare();
                if !is_spared && !self.end_longest_idle() && launch.payer == Payer::Client {
                    let own = self.activations.get(index).map(|activation| activation.action);
                    self.evict_one(own.unwrap_or(ActionId::NONE));
                }
                // Busy workers of the client will give memory back when they end; who has none only waits for those
                // that ended already.
                let others = launch.payer == Payer::Client && !self.workers.is_empty();
                match self.starve(index, now) {
                    NotStarted::Failed(FaasError::OutOfMemory) if others => NotStarted::Starved,
                    outcome => outcome,
                }
            }
        }
    }

    /// Lets an activation wait for memory, but not for ever.
    fn starve(&mut self, index: u16, now: u64) -> NotStarted {
        let Some(activation) = self.activations.get_mut(index) else {
            return NotStarted::Failed(FaasError::Cancelled);
        };
        if activation.starved_since == 0 {
            activation.starved_since = now;
        }
        if now - activation.starved_since < self.limits.memory_wait_ns {
            NotStarted::Starved
        } else {
            NotStarted::Failed(FaasError::OutOfMemory)
        }
    }
}

impl<P: Platform> Service<P> {
    /// Whether a worker that has just done its work is kept.
    pub(super) fn keeps(&self, worker: &Worker) -> bool {
        // A worker that a nested call started belongs to its caller's account, and ends with it at the latest.
        let Some(action) = self.actions.get(worker.action) else {
            return false;
        };
        let config = &action.settings.config;
        config.mode == Some(StartMode::Warm)
            && !config.single_use
            && !worker.is_single
            && worker.uses < config.reuse_limit
            && worker.version == action.version
            && worker.payer == Payer::Client
            && !self.platform.is_full()
    }
}
