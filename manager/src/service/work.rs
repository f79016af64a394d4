//! Messages of workers, and of the kernel about them.

use super::Service;
use crate::action::NONE;
use crate::activation::{self, Stage};
use crate::body::Sent;
use crate::label::WorkerId;
use crate::platform::Platform;
use crate::worker::{Worker, WorkerState};
use alloc::boxed::Box;
use interfaces::faas::{FaasError, PAYLOAD_MAX, WorkerTimes};
use l4::CapIndex;
use l4::exception::ExceptionFrame;

/// What a worker says of the request that it got.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// The function gave a result.
    Result(Sent<'a>),
    /// It gave an error; the worker can go on.
    Error(FaasError),
    /// It panicked; the worker can't go on.
    Broken(FaasError),
}

impl<P: Platform> Service<P> {
    /// A new worker asks for its request.
    pub fn worker_ready(&mut self, id: WorkerId, reply: CapIndex) {
        match self.worker_mut(id) {
            Some(worker) => match worker.state {
                WorkerState::Starting(activation) => {
                    worker.state = WorkerState::Busy(activation);
                    self.deliver(id.index, reply);
                }
                WorkerState::Preparing(index) => self.freeze(id, index, Some(reply)),
                // It asked before: that is no way to talk to one's manager.
                _ => self.fail_worker(id, Some(reply), FaasError::WorkerProtocol),
            },
            None => self.platform.forget(reply),
        }
    }

    /// A new worker asks for its request, and will end with it.
    pub fn worker_ready_once(&mut self, id: WorkerId, reply: CapIndex) {
        if let Some(worker) = self.worker_mut(id) {
            worker.is_single = true;
        }
        self.worker_ready(id, reply);
    }

    /// Gives a worker the request of its activation.
    pub(super) fn deliver(&mut self, place: u16, reply: CapIndex) {
        let Some(worker) = self.workers.get_mut(place) else {
            return;
        };
        worker.uses += 1;
        let Some(index) = worker.state.activation() else {
            return;
        };
        let Some(activation) = self.activations.get(index) else {
            return;
        };
        let request = activation.request(index, &self.bodies[index]);
        self.platform.answer(reply, request);
    }

    /// A worker is done with its request. Its caller gets the outcome before anything else happens.
    pub fn worker_done(&mut self, id: WorkerId, reply: CapIndex, times: WorkerTimes, outcome: Outcome<'_>) {
        let worker = self.worker(id).copied();
        let Some((worker, index)) = worker.and_then(|worker| match worker.state {
            WorkerState::Busy(index) => Some((worker, index)),
            _ => None,
        }) else {
            let error = self.out_of_turn(worker.map(|worker| worker.state), outcome);
            return self.fail_worker(id, Some(reply), error);
        };
        let now = self.platform.now();
        if let Some(activation) = self.activations.get_mut(index) {
            activation.times.complete(&times, now);
        }
        self.note_log(id.index, index);
        let (outcome, may_stay) = match outcome {
            Outcome::Result(sent) => (self.keep_result(index, sent), true),
            Outcome::Error(error) => (Err(error), true),
            Outcome::Broken(error) => (Err(error), false),
        };
        let is_first = worker.uses == 1 && outcome.is_ok();
        self.settle(index, outcome);
        if is_first && let Some(image) = self.images.get_mut(worker.image) {
            self.platform.record(id.index, &mut image.frozen.memory);
        }
        if may_stay && self.keeps(&worker) {
            self.make_idle(id, reply, now);
        } else {
            self.end_worker(id.index);
            self.platform.forget(reply);
        }
        self.serve_waiting();
    }

    /// What it means that a worker is done which has no request. Before its first one, it says why it can't take any.
    fn out_of_turn(&mut self, state: Option<WorkerState>, outcome: Outcome<'_>) -> FaasError {
        match (outcome, state) {
            (Outcome::Result(sent), _) => {
                self.discard_sent(sent);
                FaasError::WorkerProtocol
            }
            (
                Outcome::Error(error) | Outcome::Broken(error),
                Some(WorkerState::Preparing(_) | WorkerState::Starting(_)),
            ) => error,
            _ => FaasError::WorkerProtocol,
        }
    }

    /// Brings a result to where it outlives its worker. What was sent is used up.
    fn keep_result<'a>(&mut self, index: u16, result: Sent<'a>) -> Result<Sent<'a>, FaasError> {
        let length = result.len();
        if length > PAYLOAD_MAX {
            self.discard_sent(result);
            return Err(FaasError::ResultTooLarge {
                length,
                limit: PAYLOAD_MAX,
            });
        }
        let Sent::Dataspace { cap, length } = result else {
            return Ok(result);
        };
        let Some(activation) = self.activations.get(index) else {
            self.platform.discard(cap);
            return Err(FaasError::UnknownActivation);
        };
        let cap = self.platform.copy(cap, length, Self::payer_of(activation))?;
        Ok(Sent::Dataspace { cap, length })
    }

    /// Keeps a worker for the action's next invocation.
    fn make_idle(&mut self, id: WorkerId, reply: CapIndex, now: u64) {
        self.cancel_children(id);
        let Some(worker) = self.workers.get_mut(id.index) else {
            return;
        };
        let Some(action) = self.actions.get_mut(worker.action) else {
            return;
        };
        let until = now.saturating_add(action.settings.config.keepalive_ns);
        let next = core::mem::replace(&mut action.idle, id.index);
        worker.state = WorkerState::Idle {
            reply,
            next,
            previous: NONE,
        };
        action.idle_count += 1;
        self.idle_until.set(id.index, until);
        self.wake_at = self.wake_at.min(until);
        if let Some(WorkerState::Idle { previous, .. }) = self.state_mut(next) {
            *previous = id.index;
        }
    }

    /// A worker ended on its own.
    pub fn worker_exited(&mut self, id: WorkerId, reply: CapIndex, code: i64) {
        self.fail_worker(id, Some(reply), FaasError::Exit { code });
    }

    /// The kernel says that a worker's thread faulted.
    pub fn worker_faulted(&mut self, id: WorkerId, reply: CapIndex, frame: &ExceptionFrame) {
        let memory = self.worker(id).map_or(0, |worker| worker.memory);
        self.fail_worker(id, Some(reply), FaasError::from_exception(frame, memory));
    }

    /// A worker sent something that makes no sense.
    pub fn worker_confused(&mut self, id: WorkerId, reply: CapIndex) {
        self.fail_worker(id, Some(reply), FaasError::WorkerProtocol);
    }

    /// A worker logs something. `false` if it is none any more.
    pub fn worker_logged(&mut self, id: WorkerId, bytes: &[u8]) -> bool {
        let known = self.worker(id).is_some();
        if known {
            self.logs
                .reach(id.index)
                .get_or_insert_with(Box::default)
                .push(bytes);
        }
        known
    }

    /// Ends a worker whose activation failed; its caller is told before. `reply` belongs to the worker.
    pub(super) fn fail_worker(&mut self, id: WorkerId, reply: Option<CapIndex>, error: FaasError) {
        if let Some(Worker { state, .. }) = self.worker(id).copied() {
            if let WorkerState::Preparing(index) = state {
                self.finish_preparation(index, Err(error));
            } else if let Some(index) = state.activation() {
                let now = self.platform.now();
                if let Some(activation) = self.activations.get_mut(index) {
                    activation.times.end_worker = now;
                }
                self.note_log(id.index, index);
                self.settle(index, Err(error));
                self.end_worker(id.index);
            } else {
                self.end_worker(id.index);
            }
        }
        if let Some(reply) = reply {
            self.platform.forget(reply);
        }
        self.serve_waiting();
    }

    /// Ends an activation that is not finished with an error; the worker, if there is one, goes.
    pub(super) fn fail_activation(
        &mut self,
        index: u16,
        why: impl FnOnce(&activation::Activation) -> FaasError,
    ) {
        let Some(activation) = self.activations.get(index) else {
            return;
        };
        let error = why(activation);
        match activation.stage {
            Stage::Waiting => {
                let action = activation.action;
                self.unlink(action, index);
                self.settle(index, Err(error));
            }
            Stage::Running(place) => {
                if let Some(id) = self.workers.get(place).map(|worker| worker.id(place)) {
                    self.fail_worker(id, None, error);
                }
            }
            Stage::Finished(_) => {}
        }
    }

    /// Keeps what a worker logged for whoever asks why its activation ended as it did.
    #[inline]
    fn note_log(&mut self, place: u16, index: u16) {
        let generation = self
            .activations
            .get(index)
            .map_or(0, |activation| activation.generation);
        self.last_logged = activation::number(index, generation);
        let log = self.logs.reach(place);
        if log.as_ref().is_some_and(|log| !log.is_empty()) {
            core::mem::swap(log, &mut self.last_log);
            self.clear_log(place);
        } else if let Some(last) = &mut self.last_log {
            last.clear();
        }
    }

    /// Forgets what an earlier worker at this place logged.
    #[inline]
    pub(super) fn clear_log(&mut self, place: u16) {
        if let Some(log) = self.logs.reach(place) {
            log.clear();
        }
    }

    pub(super) fn discard_sent(&mut self, sent: Sent<'_>) {
        if let Sent::Dataspace { cap, .. } = sent {
            self.platform.discard(cap);
        }
    }
}
